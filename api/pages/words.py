"""How a job stands, in plain words: a badge, a sentence, and what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from api.views import JobView
from core.records.kinds import FINISHED
from core.records.measured import TermStatistics
from core.storage import Glance
from core.waiting import Crew, Waiting, why_waiting
from core.words import number, one_line

Tone: TypeAlias = Literal["good", "bad", "plain", "busy", "warn"]
Writer: TypeAlias = Callable[[float], str]
Flags: TypeAlias = Callable[[TermStatistics], tuple[str, ...]]

STATUS: dict[str, tuple[str, Tone]] = {
    "queued": ("queued", "plain"),
    "running": ("running", "busy"),
    "awaiting_feedback": ("awaiting your feedback", "warn"),
    "paused": ("paused", "warn"),
    "succeeded": ("finished", "good"),
    "failed": ("failed", "bad"),
    "cancelled": ("cancelled", "plain"),
}
CANDIDATE: dict[str, Tone] = {
    "proposed": "busy",
    "rejected": "bad",
    "screened": "warn",
    "trained": "good",
    "failed": "bad",
}
PHASES = {
    "preflight": "looking at the environment",
    "baseline": "training the native reward",
    "propose": "writing programs",
    "train": "training candidates",
    "reflect": "summing up the iteration",
    "show": "filming what you will judge",
    "await": "waiting for your feedback",
    "confirm": "confirming on fresh seeds",
    "ablate": "taking terms away, one by one",
    "transfer": "trying your own learner",
    "film": "filming the winner",
    "finish": "writing the verdict",
}
HEADLINES = {
    "better": "The designed reward is better than the native one.",
    "equal": "The designed reward cannot be told from the native one.",
    "worse": "The native reward was better.",
}
TONES: dict[str, Tone] = {"better": "good", "equal": "plain", "worse": "bad"}
FLAGS = {
    "FLAT": "flat: hardly changes, so it teaches nothing",
    "DOMINANT": "dominant: drowns the other components",
    "SATURATED": "saturated: at its limit most of the time",
    "NEVER_ACTIVE": "never active: 0 at almost every step",
    "ANTI_CORRELATED": "against the fitness: pays more where less is achieved",
    "CONST_FEATURE": "constant: tells the policy nothing",
    "ROUGH_FEATURE": "rough: jumps between neighbouring values",
    "DUP_FEATURE": "repeats another input",
    "UNUSED_FEATURE": "unused: the policy hardly looks at it",
}


@dataclass(frozen=True, slots=True)
class Sentence:
    """What a job has come to: a headline, what is behind it, and how glad one may be."""

    headline: str
    detail: str = ""
    tone: Tone = "plain"


def status(job: JobView) -> tuple[str, Tone]:
    """Return the badge of a job; a wish that is not carried out yet is told first."""
    if job.status not in FINISHED:
        if job.cancel_requested:
            return "being cancelled", "warn"
        if job.pause_requested and job.status == "running":
            return "pausing", "warn"
    return STATUS[job.status]


def phase(name: str | None) -> str:
    """Return what a phase is about."""
    return "" if name is None else PHASES.get(name, name)


def verdict(job: JobView, candidates: Sequence[Glance], blocked: str | None = None) -> Sentence:
    """Say in a plain sentence what a job has come to so far.

    Args:
        job:        as it stands.
        candidates: all of them.
        blocked:    why it was stopped for people to mend something, if it was.
    """
    if job.outcome is not None and job.status == "succeeded":
        kind = job.outcome.verdict
        return Sentence(HEADLINES[kind], job.outcome.sentence, TONES[kind])
    if job.failure is not None:
        detail = " ".join(part for part in (job.failure.detail, job.failure.hint) if part)
        return Sentence(f"The job failed: {job.failure.title}.", detail, "bad")
    if job.status == "cancelled":
        return Sentence("Cancelled.", _so_far(job), "plain")
    if job.status == "awaiting_feedback":
        words = "Say below what you think of the candidates; then the next iteration begins."
        return Sentence("The job waits for you.", words, "warn")
    if job.status == "paused" and blocked:
        return Sentence("Paused, because something has to be mended first.", blocked, "warn")
    if job.status == "paused":
        return Sentence("Paused.", _so_far(job), "warn")
    return _underway(job, candidates)


def _underway(job: JobView, candidates: Sequence[Glance]) -> Sentence:
    if job.best is not None and job.best.fitness is not None:
        return Sentence(_standing(job.best.fitness, job.native_fitness), _so_far(job), "busy")
    if candidates and all(c.status in ("rejected", "screened") for c in candidates):
        first = next((c for c in candidates if c.rejection), None)
        reason = (
            ""
            if first is None
            else f"The first, {first.key}: {one_line(first.rejection or '', 400)}"
        )
        return Sentence(f"All {len(candidates)} candidates so far were rejected.", reason, "bad")
    if job.status == "queued":
        return Sentence("Nothing has happened yet.", "", "plain")
    return Sentence("Nothing is measured yet.", _counted(job), "busy")


def _standing(best: float, native: float | None) -> str:
    if native is None:
        return f"The best candidate so far has a fitness of {number(best)}."
    better = "above" if best > native else "not above"
    return (
        f"So far the best candidate is {better} the native reward: {number(best)} "
        f"against {number(native)}."
    )


def _so_far(job: JobView) -> str:
    if job.best is None:
        return _counted(job)
    best = f"The best was {job.best.key} with a fitness of {number(job.best.fitness)}"
    if job.status not in FINISHED:
        best = best.replace("was", "is", 1)
    return f"{best}. {_counted(job)}" + (
        " Only the confirmation on fresh seeds decides." if job.outcome is None else ""
    )


def _counted(job: JobView) -> str:
    counts = job.counts
    return (
        f"{counts.proposed} candidates: {counts.trained} trained, {counts.rejected} rejected, "
        f"{counts.failed} failed."
    )


def waiting(
    job: JobView, ahead: int, crew: Crew, rests: str | None, needs: Sequence[str] = ()
) -> str | None:
    """Say why nothing happens for a job, None where something does, or where its state says it.

    Args:
        job:   as it stands.
        ahead: older jobs, of all owners, that wait or are worked on.
        crew:  all living workers.
        rests: why a step of it rests, if one does.
        needs: queues of its steps that were announced and that nobody has taken.
    """
    if rests is not None:
        return one_line(rests, 300)
    if job.status != "queued":
        return None
    return why_waiting(Waiting(job.status, ahead, in_hand=0, needs=needs), crew)


def steps(value: int | float) -> str:
    """Write a number of steps in few characters.

    >>> steps(6422528), steps(950)
    ('6.42 M', '950')
    """
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {sign}"
    return f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """Write a time span with its largest units.

    >>> duration(42), duration(3700), duration(200000)
    ('42 s', '1 h 1 min', '2 d 7 h')
    """
    if seconds is None:
        return "–"
    whole = int(seconds)
    for size, unit, smaller, small in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{whole // 60} min" if whole >= 60 else f"{max(0, whole)} s"
