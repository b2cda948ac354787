"""Claims: who works on which step, until when.

A claim is a row per (job, step key).  Whoever takes it draws a fence from the job's counter; every
later write checks, under the job's lock, that the row still bears that fence.  An owner whose lease
lapsed may go on as long as nobody took the step and the job was not closed; from then on it writes
nothing.  Who let go of a step writes nothing either, but for an answer that was paid for (`hold_paid`).
A lease of NULL counts as lapsed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Row,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from core.errors import ClaimLost, StepInterrupted
from core.loop import Preflight
from core.loop import step_key as key_of
from core.ports import Progress
from core.records.kinds import FINISHED
from core.storage.clean import clean_row, clean_text
from core.storage.clock import DatabaseTime, now
from core.storage.codec import dump, load
from core.storage.facts import insert_once
from core.storage.job_reads import read_rows
from core.storage.lifecycle import (
    NOBODY,
    WORKED_ON,
    append_event,
    lock_job,
    set_job,
    settle,
    transition,
)
from core.storage.stored import Activity
from core.storage.tables import claims, jobs

TOLERATED_LAPSES = 5
"""Owners of a step that may vanish in a row before it is left to rest."""
REST_SECONDS = 5.0
LONGEST_REST_SECONDS = 300.0

_lapsed = or_(claims.c.expires_at.is_(None), claims.c.expires_at <= now())
_awake = or_(claims.c.resting_until.is_(None), claims.c.resting_until <= now())
_not_offered = or_(claims.c.offered_until.is_(None), claims.c.offered_until <= now())


Offer: TypeAlias = Literal["first", "again"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One owner's hold on one step."""

    job_id: str
    step_key: str
    owner: str
    fence: int
    lapses: int


def take(
    connection: Connection, job_id: str, step_key: str, owner: str, lease_seconds: float
) -> Claim | None:
    """Claim a step; None when somebody living owns it, it rests, or the job is not open.

    A step whose owners vanish one after the other is left to rest, longer and longer: it may be what
    ends them.  Its job does not fail for that, because workers also die for no fault of a step's.

    Raises:
        NotFound: no such job.
    """
    job = lock_job(connection, job_id)
    if not _open(job):
        return None
    _make_row(connection, job_id, step_key)
    free = and_(_is(job_id, step_key), _lapsed, _awake)
    columns = (claims.c.owner, claims.c.fence, claims.c.lapses)
    before = connection.execute(select(*columns).where(free)).first()
    if before is None:
        return None
    lapses = before.lapses + (before.owner is not None)
    if before.owner is not None and lapses > TOLERATED_LAPSES:
        _let_lapsed_rest(connection, job_id, step_key, lapses)
        return None
    claim = Claim(job_id, step_key, clean_text(owner), job.fence_count + 1, lapses)
    set_job(connection, job_id, fence_count=claim.fence)
    _write_owner(connection, claim, lease_seconds)
    if before.owner is not None:
        message = f"The worker on step {step_key} vanished; another one took it over."
        details = {"step": step_key, "lapses": lapses, "fence": claim.fence, "after": before.fence}
        append_event(connection, job_id, "log", message, details, "warning")
    if job.status == "queued":
        transition(connection, job, "running", "job.started", "A worker took up the job.")
    return claim


def _let_lapsed_rest(connection: Connection, job_id: str, step_key: str, lapses: int) -> None:
    seconds = min(LONGEST_REST_SECONDS, REST_SECONDS * 2.0 ** (lapses - TOLERATED_LAPSES - 1))
    reason = (
        f"{lapses} workers vanished with step {step_key} in hand; it rests for {seconds:.0f} s."
    )
    changed = update(claims).where(_is(job_id, step_key)).values(**NOBODY, lapses=lapses)
    connection.execute(changed.values(resting_until=now(seconds), resting_reason=reason))
    details = {"step": step_key, "lapses": lapses, "seconds": seconds}
    append_event(connection, job_id, "log", reason, details, "warning")


def _write_owner(connection: Connection, claim: Claim, lease_seconds: float) -> None:
    owner = update(claims).where(_is(claim.job_id, claim.step_key))
    owner = owner.values(owner=claim.owner, fence=claim.fence, lapses=claim.lapses, progress=None)
    owner = owner.values(claimed_at=now(), heartbeat_at=now(), expires_at=now(lease_seconds))
    connection.execute(owner.values(resting_until=None, resting_reason=None))


def _open(job: Row[Any]) -> bool:
    asked = job.cancel_requested or job.pause_requested
    return job.status in ("queued", "running") and not asked


def note_phase(connection: Connection, job: Row[Any], step_key: str) -> None:
    """Tell of a job that a step of it is done now."""
    phase = step_key.partition("/")[0]
    # The baseline runs beside the first iteration; it is the phase only until that begins.
    if phase == job.phase or (phase == "baseline" and job.phase != "preflight"):
        return
    set_job(connection, job.id, phase=phase)
    append_event(
        connection, job.id, "phase.changed", f"Now: {phase}.", {"phase": phase, "step": step_key}
    )


def offer(
    connection: Connection, job_id: str, step_key: str, seconds: float, again: bool = True
) -> Offer | None:
    """Tell whether the caller may publish the step now; nobody else may for that many seconds.

    "again" is a step that was published before, and that nobody who heard of it has taken.  A caller
    who does not publish again is not given one.

    Raises:
        NotFound: no such job.
    """
    if not _open(lock_job(connection, job_id)):
        return None
    _make_row(connection, job_id, step_key)
    free = and_(_is(job_id, step_key), _lapsed, _awake, _not_offered)
    before = connection.execute(select(claims.c.offered_until).where(free)).first()
    if before is None or not (again or before.offered_until is None):
        return None
    connection.execute(update(claims).where(free).values(offered_until=now(seconds)))
    return "first" if before.offered_until is None else "again"


def offer_first(connection: Connection, job_id: str, seconds: float) -> None:
    """Offer the first step of a job that is just being accepted; nobody else knows of it yet."""
    connection.execute(OFFER, first_offer(job_id, seconds))


def first_offer(job_id: str, seconds: float) -> dict[str, object]:
    """Return what OFFER needs to offer the first step of a job."""
    return {"job_id": job_id, "step_key": key_of(Preflight()), "lapses": 0, "seconds": seconds}


OFFER = insert(claims).values(offered_until=DatabaseTime(bindparam("seconds", type_=Double)))


def withdraw(connection: Connection, job_id: str, step_key: str) -> None:
    """Note that an offer could not be published: the next one is another attempt, and may come at once.

    Raises:
        NotFound: no such job.
    """
    lock_job(connection, job_id)
    offered = and_(_is(job_id, step_key), claims.c.offered_until.is_not(None))
    connection.execute(update(claims).where(offered).values(offered_until=now()))


def hold(connection: Connection, claim: Claim) -> Row[Any]:
    """Lock the job and return its standing, if the claim still stands.

    Raises:
        ClaimLost: another owner took the step, or the job was closed.
    """
    job = lock_job(connection, claim.job_id)
    check(connection, claim)
    connection.execution_options(fence=claim.fence)
    return job


def hold_paid(connection: Connection, claim: Claim) -> Row[Any]:
    """Lock the job and return its standing, for what was paid for under a claim.

    Whoever was interrupted had let go of the step before the answer came; it may still be stored, as
    long as nobody else has taken the step since, who may have asked the same.

    Raises:
        ClaimLost: somebody has, or the job has ended.
    """
    job = lock_job(connection, claim.job_id)
    here = and_(_is(claim.job_id, claim.step_key), claims.c.fence == claim.fence)
    let_go = select(claims.c.fence).where(here, claims.c.owner.is_(None))
    if job.status in FINISHED or connection.execute(let_go).first() is None:
        check(connection, claim)
    connection.execution_options(fence=claim.fence)
    return job


def hold_own(connection: Connection, claim: Claim) -> Row[Any]:
    """Lock the job and return its standing, for what a claim has set aside itself.

    That bears its fence, so that it is the claim's own, whoever has the step by now.
    """
    job = lock_job(connection, claim.job_id)
    connection.execution_options(fence=claim.fence)
    return job


def check(connection: Connection, claim: Claim) -> None:
    """Make sure that the claim's row still bears its fence and owner.

    Raises:
        ClaimLost: it does not.
    """
    here = {name: getattr(claim, name) for name in _HOLD}
    if connection.execute(_STILL_HELD, here).first() is None:
        raise ClaimLost(
            f"`{claim.owner}` does not own it any more",
            where=f"step {claim.step_key} of job {claim.job_id}",
            hint="Nothing was written; stop working on it.",
        )


_HOLD = ("job_id", "step_key", "fence", "owner")
"""What a row bears as long as a claim stands."""
_STILL_HELD = select(claims.c.fence).where(*(claims.c[name] == bindparam(name) for name in _HOLD))


def beat(
    connection: Connection, claim: Claim, lease_seconds: float, progress: Progress
) -> Row[Any]:
    """Renew the lease, note the progress and return the job's standing.

    Raises:
        ClaimLost: as `hold`.
    """
    job = hold(connection, claim)
    renewed = {"expires_at": now(lease_seconds), "heartbeat_at": now(), "progress": dump(progress)}
    connection.execute(update(claims).where(_borne(claim)).values(**renewed))
    return job


def check_wishes(job: Row[Any]) -> None:
    """Stop the step if people asked for that.

    Raises:
        StepInterrupted: the job shall be cancelled or paused.
    """
    if job.cancel_requested:
        raise StepInterrupted(f"Job {job.id} is being cancelled.")
    if job.pause_requested:
        raise StepInterrupted(f"Job {job.id} is being paused.")


def rest(connection: Connection, claim: Claim, seconds: float, reason: str) -> None:
    """Keep everybody from a held step for a while, the owner included once it has let go."""
    words = clean_row("claims", {"resting_reason": reason})
    resting = update(claims).where(_borne(claim)).values(resting_until=now(seconds), **words)
    connection.execute(resting)
    details = {"step": claim.step_key, "seconds": seconds}
    message = f"Step {claim.step_key} waits {seconds:.0f} s: {reason}"
    append_event(connection, claim.job_id, "log", message, details, "warning")


def release(connection: Connection, claim: Claim) -> None:
    """Let go of a step, and close the job if that was all that a cancel or pause waited for.

    Letting go of what was lost already is no error.
    """
    lock_job(connection, claim.job_id)
    connection.execute(update(claims).where(_borne(claim)).values(**NOBODY))
    settle(connection, claim.job_id)


def living(connection: Connection, job_id: str) -> frozenset[str]:
    """Return the keys of the steps that somebody living owns."""
    return frozenset(connection.execute(_LIVING, {"job_id": job_id}).scalars())


def activity(connection: Connection, job_id: str) -> tuple[Activity, ...]:
    """Return who works on which steps of a job, longest first, then the steps that rest and why."""
    return activities(read_rows(connection, ACTIVITY, {"job_id": job_id}))


def activities(rows: Sequence[Mapping[str, Any]]) -> tuple[Activity, ...]:
    """Return what the rows of ACTIVITY tell, in the order of `activity`."""
    working = sorted(
        (r for r in rows if r["lives"]), key=lambda r: (r["claimed_at"], r["step_key"])
    )
    resting = sorted((r for r in rows if not r["lives"]), key=lambda r: r["step_key"])
    return (*map(_activity, working), *map(_resting, resting))


_lives = claims.c.expires_at > now()
_LIVING = select(claims.c.step_key).where(claims.c.job_id == bindparam("job_id"), _lives)
_rests = and_(claims.c.resting_until > now(), _lapsed, claims.c.claimed_at.is_not(None))
ACTIVITY = select(
    *(claims.c.step_key, claims.c.owner, claims.c.progress, claims.c.claimed_at),
    *(claims.c.heartbeat_at, claims.c.resting_reason, _lives.label("lives"), now().label("now")),
).where(claims.c.job_id == bindparam("job_id"), or_(_lives, _rests))
"""Made once: every poll asks it, and to put it together costs more than to ask it."""


def _resting(row: Mapping[str, Any]) -> Activity:
    waiting = Progress("waiting", 0, 0, row["resting_reason"])
    return Activity(row["step_key"], "", waiting, row["claimed_at"], 0)


def _activity(row: Mapping[str, Any]) -> Activity:
    progress = None if row["progress"] is None else load(Progress, row["progress"])
    age = max(0.0, (row["now"] - row["heartbeat_at"]).total_seconds())
    return Activity(row["step_key"], row["owner"], progress, row["claimed_at"], age)


def unfinished(
    connection: Connection, after: str = "", limit: int | None = None
) -> tuple[str, ...]:
    """Return ids of jobs for which there may be something to do, oldest first: those after one."""
    query = select(jobs.c.id).where(jobs.c.status.in_(WORKED_ON), jobs.c.id > after)
    return tuple(connection.execute(query.order_by(jobs.c.id).limit(limit)).scalars())


def neglected(connection: Connection) -> tuple[str, ...]:
    """Return the ids of the unfinished jobs that somebody has to see to now, oldest first.

    Those of which a wish waits, an owner vanished, or nothing was ever announced.  A job of which one
    step is long while another one's successor was never announced is not found here.
    """
    asked = or_(jobs.c.cancel_requested, jobs.c.pause_requested)
    vanished = and_(claims.c.owner.is_not(None), _lapsed)
    known = or_(
        claims.c.expires_at > now(),
        claims.c.offered_until.is_not(None),
        claims.c.resting_until > now(),
    )
    own = claims.c.job_id == jobs.c.id
    query = select(jobs.c.id).outerjoin(claims, own).where(jobs.c.status.in_(WORKED_ON))
    query = query.group_by(jobs.c.id)
    query = query.having(or_(_any(asked), _any(vanished), ~_any(known)))
    return tuple(connection.execute(query.order_by(jobs.c.id)).scalars())


def unheard(
    connection: Connection, kinds: Collection[str], limit: int, after: str = ""
) -> tuple[str, ...]:
    """Return ids of unfinished jobs, those after one, a step of which was announced in vain so far."""
    mine = or_(*(_of_kind(kind) for kind in kinds))
    own = claims.c.job_id == jobs.c.id
    waits = exists().where(
        own, mine, claims.c.owner.is_(None), claims.c.offered_until <= now(), _awake
    )
    query = select(jobs.c.id).where(jobs.c.status.in_(WORKED_ON), jobs.c.id > after, waits)
    return tuple(connection.execute(query.order_by(jobs.c.id).limit(limit)).scalars())


def _any(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Tell of a group whether the condition holds in one of its rows; both databases can do this."""
    return func.coalesce(func.max(case((condition, 1), else_=0)), 0) == 1


def _of_kind(kind: str) -> ColumnElement[bool]:
    return or_(claims.c.step_key == kind, claims.c.step_key.startswith(f"{kind}/"))


def _is(job_id: str, step_key: str) -> Any:
    return and_(claims.c.job_id == job_id, claims.c.step_key == step_key)


def _borne(claim: Claim) -> Any:
    return and_(*(claims.c[name] == getattr(claim, name) for name in _HOLD))


def _make_row(connection: Connection, job_id: str, step_key: str) -> None:
    insert_once(connection, claims, {"job_id": job_id, "step_key": step_key, "lapses": 0})
