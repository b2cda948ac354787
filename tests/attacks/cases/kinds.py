"""The two kinds of cases behind the wall."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.sandbox.frames import Channel

if TYPE_CHECKING:
    from tests.attacks.bench import Bench


@dataclass(frozen=True, slots=True)
class Life:
    """Hostile children: what each says on its way to its end.

    must   per life, what must come of it: the name of the error that ends it, or "answered" where
           its one sound answer counts and the rest does not
    """

    number: int
    family: str
    name: str
    must: Mapping[str, str]
    lives: Mapping[str, Callable[[Channel], object]]


@dataclass(frozen=True, slots=True)
class Trial:
    """An attack that goes through the real path of what it is after.

    run   returns what got through, in words; nothing is what must come of it
    """

    number: int
    family: str
    name: str
    must: str
    run: Callable[[Bench], list[str]]
