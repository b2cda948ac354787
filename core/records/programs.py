"""Programs, and what was found out of them before any training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.records.kinds import ArrayLibrary, Json, ScreenVerdict, TermKind


@dataclass(frozen=True, slots=True)
class Program:
    """Generated code that passed the static rules.

    `sha256` is that of the source; `params` are the numbers that PARAMS declares, in order, possibly
    replaced by the tuner; `bounds` give (low, high) per name; `array` is the library it is written in.
    `left_out` are terms that whoever calls the program leaves out of what it returned (ablation).
    """

    source: str
    sha256: str
    has_reward: bool
    has_features: bool
    params: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    array: ArrayLibrary = "numpy"
    left_out: tuple[tuple[TermKind, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ProgramShape:
    """What a check in the sandbox learnt by calling the program.

    `at_random` is the mean and the standard deviation of what it pays for a step of the random policy;
    None where it has no reward, or where an older version checked it.
    """

    components: tuple[str, ...]
    features: tuple[str, ...]
    microseconds_per_row: float
    at_random: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict on a program: which rule, passed or not, and the message for two readers.

    `limits` are the designer's, by name, under which a budget did not allow the question for it.
    """

    rule: str
    passed: bool
    message: str = ""
    limits: Json | None = None


@dataclass(frozen=True, slots=True)
class Screen:
    """What a screen says of a program before any training.

    Attributes:
        name:    duplicate, order, exploit or scale.
        score:   the number that decided; None where the screen abstains.
        message: for two readers: people, and the designer if the screen failed.
        other:   key of the candidate that it was compared with, if there is one.
    """

    name: str
    verdict: ScreenVerdict
    score: float | None = None
    message: str = ""
    other: str | None = None
