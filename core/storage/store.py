"""The store: what the web server and the workers ask of the database, one method per question.

Every method is one transaction.  Raises StorageFailed where the database cannot be used.  A store that
is bound to a caller (`of`) knows the jobs of that owner alone; all others do not exist for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property, partial
from typing import TypeVar

from sqlalchemy import Connection, Engine, text

from core.errors import NotFound, StorageFailed
from core.failpoints import failpoint
from core.records.asking import Exchange
from core.records.history import History
from core.records.kinds import FINISHED, JobStatus
from core.records.people import Given, Remark
from core.records.rounds import Iteration
from core.records.spec import JobSpec, Webhook
from core.storage import (
    accept,
    claims,
    filmed,
    going_on,
    job_reads,
    lifecycle,
    people,
    reads,
    removal,
    thinning,
    usage,
    whole,
)
from core.storage.access import Access, check_limit
from core.storage.callers import Caller, note, sees_all
from core.storage.claims import Claim, Offer
from core.storage.clean import clean_integer, clean_text
from core.storage.crew import Crew
from core.storage.deliveries import Deliveries
from core.storage.endpoints import Endpoints
from core.storage.engine import (
    MIGRATE_HINT,
    USER,
    USER_HINT,
    open_engine,
    takes_writes,
)
from core.storage.glances import Glances
from core.storage.going_on import Extension
from core.storage.ids import check_job_id, no_such, read_candidate_id, read_run_id
from core.storage.importing import Imports
from core.storage.keyring import Keyring
from core.storage.ledger import ClaimedStep
from core.storage.library import Library
from core.storage.removal import Leftovers
from core.storage.requests import UNMARKED, Request
from core.storage.standing import Standing, read_standing
from core.storage.stored import (
    Activity,
    Event,
    Page,
    Series,
    StoredArtifact,
    StoredCandidate,
    StoredJob,
    StoredRollout,
    StoredRun,
)
from core.storage.swift import Swift
from core.storage.tables import HEAD, LOCAL
from core.storage.usage import Day, KeyUse
from core.storage.whole import StoredReport

T = TypeVar("T")


def open_store(database_url: str) -> Store:
    """Return the store behind a database URL; nothing is connected yet.

    A process that forks opens its store after the fork: connections cannot be shared.

    Raises:
        ConfigurationError: the URL is of an unknown kind.
    """
    engine = open_engine(database_url)
    return Store(engine, swift=Swift(engine) if engine.dialect.name == "postgresql" else None)


class Store(Access):
    """Jobs and everything that is known of them.

    Attributes:
        keys:  who may ask.
        swift: answers a few of the questions without a thread; None where nobody does.
    """

    def __init__(
        self, engine: Engine, caller: Caller | None = None, swift: Swift | None = None
    ) -> None:
        super().__init__(engine, caller)
        self.swift = swift
        self.keys = Keyring(engine)

    # --- questions of other kinds, as the same caller -----------------------------------------

    @cached_property
    def crew(self) -> Crew:
        """Who works, and who waits."""
        return Crew(self._engine, self._caller)

    @cached_property
    def deliveries(self) -> Deliveries:
        """Messages to webhooks."""
        return Deliveries(self._engine, self._caller)

    @cached_property
    def endpoints(self) -> Endpoints:
        """Whether designers' endpoints may be asked."""
        return Endpoints(self._engine, self._caller)

    @cached_property
    def glances(self) -> Glances:
        """What lists and pages show at a glance."""
        return Glances(self._engine, self._caller)

    @cached_property
    def imports(self) -> Imports:
        """Jobs that were exported elsewhere."""
        return Imports(self._engine, self._caller)

    @cached_property
    def leftovers(self) -> Leftovers:
        """What is left of deleted jobs."""
        return Leftovers(self._engine, self._caller)

    @cached_property
    def library(self) -> Library:
        """Finished designs."""
        return Library(self._engine, self._caller)

    # --- the database -------------------------------------------------------------------------

    def of(self, caller: Caller) -> Store:
        """Return the same store as one owner may see it; its connections are shared."""
        return Store(self._engine, caller, self.swift)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        if self.swift is not None:
            self.swift.close()

    def check_schema(self) -> None:
        """Make sure that the database can be reached and has this version's tables.

        Raises:
            StorageFailed: with what to do.
        """
        query = text("SELECT version_num FROM alembic_version")
        found = self._read(lambda connection: connection.execute(query).scalar_one_or_none())
        if found != HEAD:
            raise StorageFailed(
                f"revision {found}",
                expected=f"revision {HEAD}",
                where="database not migrated",
                hint=MIGRATE_HINT,
            )

    def check_writes(self) -> None:
        """Make sure that the database takes writes.

        Raises:
            StorageFailed: it is a standby, or was told to take none, as one with a full disk may be.
        """
        if not self._write(takes_writes):
            raise StorageFailed(
                "a database that takes no writes",
                hint="Make room on its disk, or name the server that is no standby.",
            )

    def check_serves_all(self) -> None:
        """Make sure that the database shows this process the jobs of all owners, as workers need it.

        Raises:
            StorageFailed: row-level security hides them; says what to do.
        """
        if not self._of_all()._read(sees_all):
            raise StorageFailed(
                "a user who is shown the rows of one owner at a time",
                expected="a member of rewardsmith_worker, or the owner of the tables",
                where=USER,
                hint=USER_HINT,
            )

    # --- jobs ---------------------------------------------------------------------------------

    def create_job(
        self,
        spec: JobSpec,
        *,
        idempotency_key: str | None,
        body_sha256: str,
        name: str | None,
        labels: Mapping[str, str],
        start: Sequence[Given] = (),
        most_open: int | None = None,
        webhook: Webhook | None = None,
        offer_seconds: float | None = None,
    ) -> tuple[StoredJob, bool]:
        """Accept a job; True when the same request was accepted before, and this is that job.

        The programs of `start` become candidates of its first iteration.  `most_open` is how many
        unfinished jobs its owner may have, this one included.  `webhook` is told of its events.  With
        `offer_seconds` the first step is offered (see `offer`), and the caller announces it.

        Raises:
            IdempotencyMismatch: the key was used with another body.
            InvalidInput: a number of the spec is not finite, or the key is not storable.
            LimitReached: the owner has too many unfinished jobs.
        """
        owner = self._owner or LOCAL
        row = accept.job_row(
            spec, idempotency_key, body_sha256, name, labels, owner, webhook, self._key_id
        )

        def work(connection: Connection) -> tuple[str, datetime | None]:
            created_at = accept.insert_job(connection, row, start, most_open, offer_seconds)
            job_id = str(row["id"]) if created_at else accept.earlier_job(connection, row)
            note(connection, self._caller, "jobs.create", job_id)
            failpoint("job.accepting")
            return job_id, created_at

        job_id, created_at = self._write(work)
        failpoint("job.accepted")
        if created_at is None or start or webhook is not None:
            return self.job(job_id), created_at is None
        return accept.new_job(spec, row, created_at), False

    def job(self, job_id: str) -> StoredJob:
        """Return a job.

        Raises:
            NotFound: no such job.
        """
        check_job_id(job_id)
        return self._read(lambda connection: job_reads.job(connection, job_id, self._owner))

    def status(self, job_id: str) -> JobStatus:
        """Return a job's status, which is cheaper than the job.

        Raises:
            NotFound: no such job.
        """
        check_job_id(job_id)
        return self._read(lambda connection: job_reads.status(connection, job_id, self._owner))

    def job_at_work(self, job_id: str) -> tuple[StoredJob, tuple[Activity, ...]]:
        """Return a job and, unless it has ended, who works on which of its steps, as of one moment.

        Raises:
            NotFound: no such job.
        """
        check_job_id(job_id)

        def work(connection: Connection) -> tuple[StoredJob, tuple[Activity, ...]]:
            job = job_reads.job(connection, job_id, self._owner)
            return job, () if job.status in FINISHED else claims.activity(connection, job_id)

        return self._read(work)

    def jobs(
        self,
        *,
        after: str | None = None,
        limit: int = 20,
        status: str | None = None,
        task: str | None = None,
    ) -> Page[StoredJob]:
        """Return jobs, newest first; the next page starts after the id of the last job.

        Raises:
            NotFound: `after` is not a job's id.
            InvalidInput: `limit` is out of range.
        """
        check_limit(limit)
        after = after and check_job_id(after)
        status, task = status and clean_text(status), task and clean_text(task)
        return self._read(
            lambda c: job_reads.jobs_page(c, after or None, limit, status, task, self._owner)
        )

    def describe(
        self,
        job_id: str,
        *,
        name: str | None = None,
        notes: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> StoredJob:
        """Change what people call a job and write down about it; None leaves a part as it is.

        An empty name or empty notes are none.

        Raises:
            NotFound: no such job.
        """
        changes: dict[str, object] = {}
        if name is not None:
            changes["name"] = name or None
        if notes is not None:
            changes["notes"] = notes or None
        if labels is not None:
            changes["labels"] = dict(labels)
        if changes:
            self._change("describe", job_id, lambda c: lifecycle.set_job(c, job_id, **changes))
        return self.job(job_id)

    def request_cancel(self, job_id: str) -> StoredJob:
        """Ask for a job's end; it is cancelled at once when nobody works on it.

        Raises:
            NotFound: no such job.
            Conflict: it succeeded or failed already.
        """
        return self._ask("cancel", lifecycle.request_cancel, job_id)

    def open_jobs(
        self,
        limit: int,
        *,
        status: str | None = None,
        task: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> tuple[str, ...]:
        """Return ids of jobs that have not ended and whose end nobody asked for, oldest first.

        Only those in a state, for a task, and with all of the labels, where these are given.
        """
        wanted = {name: clean_text(value) for name, value in (labels or {}).items()}
        status, task = status and clean_text(status), task and clean_text(task)
        return self._read(
            lambda c: job_reads.open_jobs(c, limit, status, task, wanted, self._owner)
        )

    def request_pause(self, job_id: str) -> StoredJob:
        """Ask a job to rest; it is paused at once when nobody works on it.

        Raises:
            NotFound: no such job.
            Conflict: it is finished or being cancelled.
        """
        return self._ask("pause", lifecycle.request_pause, job_id)

    def resume(self, job_id: str) -> StoredJob:
        """Let a paused job go on.

        Raises:
            NotFound: no such job.
            Conflict: it is finished or being cancelled.
        """
        return self._ask("resume", lifecycle.resume, job_id)

    def extend(
        self,
        job_id: str,
        extension: Extension,
        most_iterations: int,
        request: Request = UNMARKED,
        *,
        most_open: int | None = None,
        most_steps: int | None = None,
    ) -> tuple[StoredJob, bool]:
        """Let a job go on for longer; True when the same request was carried out before.

        `most_open` is how many unfinished jobs its owner may have, this one included; `most_steps` are
        the environment steps that a job may plan.

        Raises:
            NotFound: no such job.
            Conflict: its state does not allow it.
            InvalidInput: the extension asks for too much, or for nothing.
            LimitReached: it had ended, and its owner has too many unfinished jobs.
            IdempotencyMismatch: the key was used with another body.
        """
        accept.check_key(request.key)
        asked = (job_id, extension, most_iterations, request, most_open, most_steps)
        replayed = self._change("extend", job_id, lambda c: going_on.extend(c, *asked))
        return self.job(job_id), replayed

    def retry(
        self, job_id: str, request: Request = UNMARKED, *, most_open: int | None = None
    ) -> tuple[StoredJob, bool]:
        """Let a failed or cancelled job go on; True when the same request was carried out before.

        Raises:
            NotFound: no such job.
            Conflict: it did not fail, or it would at once fail again.
            LimitReached: its owner has too many unfinished jobs (`most_open`, see `extend`).
            IdempotencyMismatch: the key was used with another body.
        """
        accept.check_key(request.key)
        work = partial(going_on.retry, job_id=job_id, request=request, most_open=most_open)
        replayed = self._change("retry", job_id, work)
        return self.job(job_id), replayed

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended, with all it owns; a worker removes its files soon after.

        Raises:
            NotFound: no such job.
            Conflict: it has not ended.
        """
        self._change("delete", job_id, lambda c: removal.delete_job(c, job_id))

    def settle(self, job_id: str) -> None:
        """Cancel or pause a job as it was asked for, if nobody works on it any more.

        Raises:
            NotFound: no such job.
        """
        self._write_of(job_id, lambda connection: lifecycle.settle(connection, job_id))

    def _ask(self, action: str, wish: Callable[[Connection, str], None], job_id: str) -> StoredJob:
        self._change(action, job_id, lambda connection: wish(connection, job_id))
        return self.job(job_id)

    # --- what people hand in and say ----------------------------------------------------------

    def add_given(
        self,
        job_id: str,
        program: Given,
        request: Request = UNMARKED,
        *,
        most_steps: int | None = None,
    ) -> tuple[Given, bool]:
        """Store a program of the user's; it becomes a candidate of the next iteration.

        True when the same request had handed it in before.

        Raises:
            NotFound: no such job, or no such parent.
            Conflict: the job is finished, its budget is used up, or it has too many programs.
            InvalidInput: the job would take more than `most_steps` environment steps.
            IdempotencyMismatch: the key was used with another body.
        """
        accept.check_key(request.key)
        asked = (job_id, program, request, most_steps)
        return self._change("give", job_id, lambda c: people.add_given(c, *asked))

    def given(self, job_id: str) -> tuple[Given, ...]:
        """Return the programs that people handed in, in order.

        Raises:
            NotFound: no such job.
        """
        return self._of_job(job_id, lambda c: reads.given_of(c, job_id))

    def add_remark(
        self, job_id: str, remark: Remark, request: Request = UNMARKED
    ) -> tuple[Remark, bool]:
        """Store what somebody says; a job that waits for feedback goes on.

        True when the same request had said it before.

        Raises:
            NotFound: no such job, or no such candidate.
            InvalidInput: a candidate that never had a program is judged.
            Conflict: the job has too many remarks.
            IdempotencyMismatch: the key was used with another body.
        """
        accept.check_key(request.key)
        work = partial(people.add_remark, job_id=job_id, remark=remark, request=request)
        return self._change("feedback", job_id, work)

    def remarks(self, job_id: str) -> tuple[Remark, ...]:
        """Return what people said, in order.

        Raises:
            NotFound: no such job.
        """
        return self._of_job(job_id, lambda c: reads.remarks_of(c, job_id))

    # --- what is known of a job ---------------------------------------------------------------

    def history(self, job_id: str) -> History:
        """Return every stored fact of a job that decides what comes next.

        Raises:
            NotFound: no such job.
        """
        check_job_id(job_id)
        return self._read(lambda connection: reads.history(connection, job_id, self._owner))

    def iterations(self, job_id: str) -> tuple[Iteration, ...]:
        """Return the iterations of a job, with candidates and feedback.

        Raises:
            NotFound: no such job.
        """
        return self._of_job(job_id, lambda c: reads.iterations_of(c, job_id))

    def candidates(
        self, job_id: str, after: str | None = None, limit: int = 20, status: str | None = None
    ) -> Page[StoredCandidate]:
        """Return candidates of a job, oldest first; the next page starts after the last id.

        Raises:
            NotFound: no such job, or `after` is not a candidate's id.
            InvalidInput: `limit` is out of range.
        """
        check_limit(limit)
        start = read_candidate_id(after) if after else None
        status = status and clean_text(status)
        return self._of_job(
            job_id, lambda c: reads.candidates_page(c, job_id, start, limit, status)
        )

    def candidate(self, candidate_id: str) -> StoredCandidate:
        """Return a candidate with its runs and report.

        Raises:
            NotFound: no such candidate.
        """
        key = read_candidate_id(candidate_id)
        with _named("candidate", candidate_id):
            return self._of_job(key.job_id, lambda connection: reads.candidate(connection, key))

    def runs(self, candidate_id: str) -> tuple[StoredRun, ...]:
        """Return all runs of a candidate, of every stage, without their curves.

        Raises:
            NotFound: no such candidate.
        """
        key = read_candidate_id(candidate_id)
        with _named("candidate", candidate_id):
            return self._of_job(key.job_id, lambda connection: reads.runs_of(connection, key))

    def native_runs(self, job_id: str) -> tuple[StoredRun, ...]:
        """Return the runs of the native reward, of every stage, without their curves.

        Raises:
            NotFound: no such job.
        """
        return self._of_job(job_id, lambda c: reads.native_runs(c, job_id))

    def run(self, run_id: str) -> StoredRun:
        """Return a run with its curve.

        Raises:
            NotFound: no such run.
        """
        key = read_run_id(run_id)
        with _named("run", run_id):
            return self._of_job(key.job_id, lambda connection: reads.run(connection, key))

    def series(
        self, run_id: str, names: Collection[str] | None, most: int
    ) -> tuple[tuple[str, ...], tuple[Series, ...]]:
        """Return the names of a run's series, and those asked for (None: all) of `most` points each.

        Raises:
            NotFound: no such run.
        """
        key = read_run_id(run_id)
        with _named("run", run_id):
            return self._of_job(key.job_id, lambda c: thinning.series_of(c, key, names, most))

    def all_runs(self, job_id: str) -> tuple[StoredRun, ...]:
        """Return every run of a job, of all arms and confirmations, without curves.

        Raises:
            NotFound: no such job.
        """
        return self._of_job(job_id, lambda c: whole.runs_of_all(c, job_id))

    def all_reports(self, job_id: str) -> tuple[StoredReport, ...]:
        """Return what is known of every arm's behaviour.

        Raises:
            NotFound: no such job.
        """
        return self._of_job(job_id, lambda c: whole.reports_of_all(c, job_id))

    def rollouts(self, job_id: str, arm: str | None = None) -> tuple[StoredRollout, ...]:
        """Return what was filmed of the last confirmation, of one arm if one is named.

        Raises:
            NotFound: no such job.
        """
        return self._of_job(job_id, lambda c: filmed.rollouts_of(c, job_id, arm))

    def artifacts(self, job_id: str) -> tuple[StoredArtifact, ...]:
        """Return which bytes belong to a job.

        Raises:
            NotFound: no such job.
        """
        return self._of_job(job_id, lambda c: filmed.artifacts_of(c, job_id))

    def artifact(self, job_id: str, sha256: str) -> StoredArtifact:
        """Return that bytes belong to a job.

        Raises:
            NotFound: no such job, or they do not.
        """
        return self._of_job(job_id, lambda c: filmed.artifact(c, job_id, clean_text(sha256)))

    def exchanges(self, job_id: str, iteration: int | None = None) -> tuple[Exchange, ...]:
        """Return the questions to the designer and its answers.

        Raises:
            NotFound: no such job.
        """
        if iteration is not None:
            clean_integer(iteration, "iteration")
        return self._of_job(job_id, lambda c: reads.exchanges_of(c, job_id, iteration))

    def events(self, job_id: str, after: int = 0, limit: int = 100) -> tuple[Event, ...]:
        """Return the events with a number above `after`, oldest first.

        Raises:
            NotFound: no such job.
            InvalidInput: `limit` or `after` is out of range.
        """
        check_limit(limit)
        clean_integer(after, "after")
        return self._of_job(job_id, lambda c: reads.events_of(c, job_id, after, limit))

    def usage(self, days: int) -> tuple[Day, ...]:
        """Return what the caller's jobs used on each of the last days, the newest first."""
        return self._read(lambda c: usage.usage(c, self._owner, days))

    def usage_by_key(self, days: int) -> tuple[KeyUse, ...]:
        """Return what jobs used in the last days, by the key that they were submitted with."""
        return self._read(lambda c: usage.usage_by_key(c, self._owner, days))

    # --- all owners' jobs together ------------------------------------------------------------

    def standing(self) -> Standing:
        """Return how all jobs stand, in numbers."""
        return self._of_all()._read(read_standing)

    # --- who does what ------------------------------------------------------------------------

    def activity(self, job_id: str) -> tuple[Activity, ...]:
        """Return the steps that somebody living works on.

        Raises:
            NotFound: no such job.
        """
        return self._of_job(job_id, lambda c: claims.activity(c, job_id))

    def unfinished_jobs(self, after: str = "", limit: int | None = None) -> tuple[str, ...]:
        """Return the ids of queued and running jobs, oldest first: those after one, and so many."""
        return self._of_all()._read(lambda c: claims.unfinished(c, after, limit))

    def neglected_jobs(self) -> tuple[str, ...]:
        """Return the ids of the unfinished jobs that somebody has to see to now, oldest first."""
        return self._of_all()._read(claims.neglected)

    def unheard_jobs(self, kinds: Collection[str], limit: int, after: str = "") -> tuple[str, ...]:
        """Return ids, after one and in order, of jobs with a step of these kinds announced in vain."""
        return self._of_all()._read(lambda c: claims.unheard(c, kinds, limit, after))

    def offer(
        self, job_id: str, step_key: str, seconds: float, *, again: bool = True
    ) -> Offer | None:
        """Tell whether the caller may publish the step; nobody else may for that many seconds.

        "again" is a step that was published before, and that nobody who heard of it has taken; it is
        given only to callers who publish such as well.

        Raises:
            NotFound: no such job.
        """
        return self._write_of(job_id, lambda c: claims.offer(c, job_id, step_key, seconds, again))

    def withdraw(self, job_id: str, step_key: str) -> None:
        """Note that an offer could not be published, so that the next sweep sees to the step.

        Raises:
            NotFound: no such job.
        """
        self._write_of(job_id, lambda c: claims.withdraw(c, job_id, step_key))

    def claim(
        self, job_id: str, step_key: str, owner: str, lease_seconds: float
    ) -> ClaimedStep | None:
        """Take a step; None when somebody living owns it, it rests, or the job is not open.

        Raises:
            NotFound: no such job.
        """

        def take(connection: Connection) -> Claim | None:
            taken = claims.take(connection, job_id, step_key, owner, lease_seconds)
            failpoint("claim.taking")
            return taken

        taken = self._write_of(job_id, take)
        return None if taken is None else ClaimedStep(self._engine, taken, lease_seconds)


@contextmanager
def _named(kind: str, name: str) -> Iterator[None]:
    """Let whoever asks for a part of a job that is not there hear of the part, not of the job."""
    try:
        yield
    except NotFound as error:
        raise no_such(kind, name) from error
