"""What people hand in and say."""

from __future__ import annotations

from dataclasses import dataclass

from core.records.kinds import Origin, RemarkKind


@dataclass(frozen=True, slots=True)
class Given:
    """A program that came from people and not from the designer; it becomes a candidate.

    Attributes:
        number: counts from 0 in the job.
        source: the module.
        origin: user (to be improved), edit (of `parent`), library or fork (from another job).
        parent: key of the candidate that was edited, None otherwise.
        note:   why, in people's words.
    """

    number: int
    source: str
    origin: Origin = "user"
    parent: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Remark:
    """What somebody says of a candidate, or of the job as a whole.

    Attributes:
        number:    counts from 0 in the job.
        kind:      text, thumb or preference.
        candidate: key of the candidate that is meant; None for the job.
        other:     the candidate that it is compared with (preference).
        value:     thumb: 1 or -1; preference: 1 if `candidate` is better, -1 if `other`, 0 for a tie.
        text:      their words.
        iteration: the newest iteration when it was said.
    """

    number: int
    kind: RemarkKind
    candidate: str | None = None
    other: str | None = None
    value: int = 0
    text: str = ""
    iteration: int = -1
