"""What is computed once of a history, however many of its candidates ask for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import TypeVar

from core.records.history import History

T = TypeVar("T")

REMEMBERED = 4  # histories: those of the steps that a worker does at a time


@dataclass(frozen=True, slots=True, eq=False)
class _Same:
    """A history that equals itself alone: to compare two of them costs more than what is saved."""

    history: History

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.history is other.history

    def __hash__(self) -> int:
        return id(self.history)


def once(work: Callable[[History], T]) -> Callable[[History], T]:
    """Remember what a pure function says of the histories that it was asked about last.

    What is asked for each candidate and looks at all of them makes a long job's feedback take minutes.
    """

    @lru_cache(maxsize=REMEMBERED)
    def remembered(same: _Same) -> T:
        return work(same.history)

    @wraps(work)
    def asked(history: History) -> T:
        return remembered(_Same(history))

    return asked
