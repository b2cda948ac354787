"""The writer of one claimed step: every method is one fenced transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine, Row

from core.errors import ClaimLost, StorageFailed
from core.failpoints import failpoint
from core.ports import Filled, News, Progress, Screened
from core.records.asking import Example, Exchange
from core.records.history import History
from core.records.kinds import Json
from core.records.measured import Preflight, Report, Rollout, Run, Saved
from core.records.outcome import Outcome
from core.records.rounds import Candidate, Feedback
from core.storage import claims, facts, importing, library, proposing, reads, results
from core.storage.claims import Claim
from core.storage.engine import reading, writing
from core.storage.lifecycle import append_event, append_once

T = TypeVar("T")
Hold: TypeAlias = Callable[[Connection, Claim], Row[Any]]
"""Locks the job, and makes sure that its claim may write what is to be written."""
AGAIN_SECONDS = 0.5


class ClaimedStep:
    """Implements `core.ports.Ledger`, whose words say what each method does.

    Of a job that is being cancelled only answers that were paid for are still stored; every other
    write raises StepInterrupted.  Such answers are also stored after the step was let go of, unless
    somebody else has taken it since or the job has ended; what they cost is counted all the same.
    Used as a context manager it lets go of the step at the end.  Safe to use from several threads.
    """

    def __init__(self, engine: Engine, claim: Claim, lease_seconds: float) -> None:
        self._engine = engine
        self._claim = claim
        self._lease_seconds = lease_seconds

    def __enter__(self) -> ClaimedStep:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    @property
    def job_id(self) -> str:
        """The job that the step belongs to."""
        return self._claim.job_id

    @property
    def step_key(self) -> str:
        """The step that is claimed (`core.loop.read_step`)."""
        return self._claim.step_key

    @property
    def fence(self) -> int:
        """The number that tells this claim from all earlier ones in the job."""
        return self._claim.fence

    @property
    def lapses(self) -> int:
        """How many earlier owners of this step vanished without a word."""
        return self._claim.lapses

    def release(self) -> None:
        """End the claim; what was lost already is let go of silently."""
        writing(self._engine, lambda connection: claims.release(connection, self._claim))

    # --- reading ------------------------------------------------------------------------------

    def failures(self) -> int:
        """Return how often this step broke so far: its events of the kind `step.failed`."""
        return self._read(lambda c: reads.failures_of(c, self.job_id, self.step_key))

    def history(self) -> History:
        """Return every stored fact of the job."""
        return self._read(lambda connection: reads.history(connection, self.job_id))

    def exchanges(self, iteration: int) -> Sequence[Exchange]:
        """Return the exchanges already paid for in an iteration."""
        return self._read(lambda connection: reads.exchanges_of(connection, self.job_id, iteration))

    def saved(self) -> Sequence[Saved]:
        """Return how far the job's runs under way have come."""
        return self._read(lambda connection: reads.saved_of(connection, self.job_id))

    def _read(self, work: Callable[[Connection], T]) -> T:
        with reading(self._engine) as connection:
            claims.check(connection, self._claim)
            return work(connection)

    # --- writing ------------------------------------------------------------------------------

    def begin(self) -> None:
        """Tell of the job that this is done now, once the step is known to be wanted."""

        def note(connection: Connection) -> None:
            claims.note_phase(connection, claims.hold(connection, self._claim), self.step_key)

        writing(self._engine, note)

    def beat(self, progress: Progress) -> None:
        """Renew the claim and note the progress; raise StepInterrupted when the job shall stop."""

        def renew(connection: Connection) -> Row[Any]:
            job = claims.beat(connection, self._claim, self._lease_seconds, progress)
            failpoint("beat.writing")
            return job

        claims.check_wishes(writing(self._engine, renew))

    def event(
        self,
        kind: str,
        message: str,
        data: Json | None = None,
        level: str = "info",
        *,
        once: bool = False,
    ) -> None:
        """Append an event; one that is told `once` only if none of its kind tells the same data."""
        self._write(append_once if once else append_event, kind, message, data, level)

    def take_in(self) -> None:
        """Write all facts of an exported job, and end it as it had ended."""
        self._write(importing.take_in)

    def add_preflight(self, preflight: Preflight, told: Sequence[News] = ()) -> None:
        """Store what preflight found, and tell of it."""
        self._write(facts.add_preflight, preflight, told)

    def find_examples(self) -> Sequence[Example]:
        """Return finished designs of the library that fit the job, as many as its prompts show."""
        return self._read(lambda c: library.examples_for(c, self.job_id))

    def add_examples(self, examples: Sequence[Example]) -> None:
        """Store the designs that all prompts of the job show, unless they were chosen before."""
        self._write(facts.add_examples, examples)

    def add_exchange(self, exchange: Exchange) -> None:
        """Store a question and its answer; where somebody else has the step by now, only its cost."""
        try:
            self._write_paid(claims.hold_paid, proposing.add_exchange, exchange)
        except ClaimLost:
            self._write_paid(claims.hold_own, proposing.settle, exchange)
            raise

    def reserve(self, iteration: int, slot: int, attempt: int, tokens: int, money: float) -> None:
        """Count what a question will cost before it is asked."""
        self._write(proposing.reserve, iteration, slot, attempt, tokens, money)

    def unreserve(self, iteration: int, slot: int, attempt: int) -> None:
        """Count no more what was set aside for a question that was certainly not paid for."""
        self._write_paid(claims.hold_own, proposing.unreserve, iteration, slot, attempt)

    def add_candidate(self, candidate: Candidate, before: Sequence[Exchange | News] = ()) -> None:
        """Store a candidate with its checks, and what led to it and is not stored yet."""
        self._write(proposing.add_candidate, Filled(candidate, tuple(before)))

    def end_proposing(
        self,
        iteration: int,
        screened: Sequence[Screened] = (),
        filled: Sequence[Filled] = (),
    ) -> None:
        """Mark every slot of the iteration as filled, and store what was decided and made of it."""
        self._write(proposing.end_proposing, iteration, screened, filled)

    def save(self, saved: Sequence[Saved]) -> None:
        """Note how far runs under way have come, in place of what was noted before."""
        self._write(results.save, saved)

    def add_runs(self, runs: Sequence[Run], reports: Mapping[str, Report]) -> None:
        """Store runs, curves and reports, and bring the candidates' status up to date."""
        self._write(results.add_runs, runs, reports)

    def add_feedback(self, feedback: Feedback, told: Sequence[News] = ()) -> None:
        """Store what an iteration taught and close it, and tell of it."""
        self._write(facts.add_feedback, feedback, told)

    def add_rollouts(self, filmed: Sequence[Rollout]) -> None:
        """Store filmed episodes, those without a video as well."""
        self._write(facts.add_rollouts, filmed)

    def finish(self, outcome: Outcome) -> None:
        """Store the outcome and end the job as succeeded."""
        self._write(facts.finish, outcome)

    def fail(self, reason: str, message: str, data: Json | None = None) -> None:
        """End the job as failed."""
        self._write(facts.fail, reason, message, data or {})

    def pause(self, reason: str) -> None:
        """Let the job rest until people have mended something and resume it."""
        self._write(facts.pause_for, reason)

    def await_feedback(self, reason: str) -> None:
        """Let the job rest until people have said something."""
        self._write(facts.await_feedback, reason)

    def wait(self, seconds: float, reason: str) -> None:
        """Let the step rest for that many seconds."""
        self._write(lambda c, _: claims.rest(c, self._claim, seconds, reason))

    def _write_paid(self, hold: Hold, work: Callable[..., None], *given: Any) -> None:
        """Write of what may have been paid for: a database that is away is asked again for a lease.

        Nobody tells us once more; and what was written though we did not hear of it is written once.
        """
        until = time.monotonic() + self._lease_seconds
        while True:
            try:
                return self._write(work, *given, hold=hold)
            except StorageFailed:
                if time.monotonic() > until:
                    raise
            time.sleep(AGAIN_SECONDS)

    def _write(self, work: Callable[..., None], *given: Any, hold: Hold = claims.hold) -> None:
        def fenced(connection: Connection) -> None:
            job = hold(connection, self._claim)
            if job.cancel_requested and hold is claims.hold:
                claims.check_wishes(job)
            work(connection, self.job_id, *given)
            failpoint("fact.writing")

        writing(self._engine, fenced)
        failpoint("fact.written")
