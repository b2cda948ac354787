"""How a job ended: the chosen design against the native reward, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

from core.records.kinds import Json, TermKind, Verdict


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval over n seeds."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Ablated:
    """The winner without one of its terms, against the whole winner at the same steps and seeds."""

    kind: TermKind
    name: str
    fitness: Interval
    difference: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: the chosen design against the native reward on fresh seeds.

    Attributes:
        fitness_alone: the arm that trains on the fitness alone, on the same seeds.
        normalised:    (designed − fitness alone) / |native − fitness alone|; None where the interval of
            that denominator holds 0.
        ablation:      what each term of the winner is worth; empty unless asked for.
        transfer:      the winner under the user's own learner, beside the native reward under it.
    """

    verdict: Verdict
    best: str | None
    native: Interval
    designed: Interval | None
    native_iqm: float
    designed_iqm: float | None
    probability_of_improvement: float | None
    sentence: str
    fitness_alone: Interval | None = None
    normalised: float | None = None
    ablation: tuple[Ablated, ...] = ()
    transfer: Json | None = None
