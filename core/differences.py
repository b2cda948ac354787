"""What two programs have in common and what not, as data that a page can lay out.

hunks(old, new)          groups of changed lines with some lines around them
side_by_side(old, new)   rows of two columns, all lines of both texts
unified(old, new, …)     the text that `diff -u` would print
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile, zip_longest
from typing import Literal, TypeAlias

Change: TypeAlias = Literal["same", "removed", "added"]
Part: TypeAlias = Literal["replace", "delete", "insert", "equal"]
Opcode: TypeAlias = tuple[str, int, int, int, int]

CONTEXT_LINES = 3
MOST_PAIRS = 1_000_000  # lines of one text times those of the other: a tenth of a second at worst

_SIGNS: Mapping[Change, str] = {"same": " ", "removed": "-", "added": "+"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its end; `old` and `new` are its numbers there, from 1, None where it is not."""

    change: Change
    text: str
    old: int | None
    new: int | None


@dataclass(frozen=True, slots=True)
class Hunk:
    """Neighbouring changes: where they begin, how many lines of each text, and the lines in order.

    A part without lines begins at the line before it, as `diff -u` counts.
    """

    old_start: int
    old_count: int
    new_start: int
    new_count: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Two lines beside each other; None where the other text has nothing there."""

    left: Line | None
    right: Line | None

    @property
    def differs(self) -> bool:
        """Tell whether something was changed here."""
        return self.left is None or self.right is None or self.left.change != "same"


def hunks(old: str, new: str, context: int = CONTEXT_LINES) -> tuple[Hunk, ...]:
    """Return the groups of changes between two texts; none if their lines are the same."""
    before, after = old.splitlines(), new.splitlines()
    groups = _Matcher(before, after).get_grouped_opcodes(context)
    return tuple(_hunk(before, after, group) for group in groups)


def side_by_side(old: str, new: str) -> tuple[Row, ...]:
    """Return all lines of both texts in rows; a replaced line stands beside its replacement."""
    before, after = old.splitlines(), new.splitlines()
    found: list[Row] = []
    for opcode in _Matcher(before, after).get_opcodes():
        if opcode[0] == "equal":
            found += [Row(line, line) for line in _lines(before, after, opcode)]
            continue
        lines = list(_lines(before, after, opcode))
        removed = [line for line in lines if line.change == "removed"]
        added = [line for line in lines if line.change == "added"]
        found += [Row(left, right) for left, right in zip_longest(removed, added)]
    return tuple(found)


def unified(old: str, new: str, old_name: str, new_name: str, context: int = CONTEXT_LINES) -> str:
    """Return the differences as text for people and for `patch`; empty if there are none."""
    found = hunks(old, new, context)
    lines = [f"--- {old_name}", f"+++ {new_name}"] if found else []
    for hunk in found:
        ranges = (hunk.old_start, hunk.old_count), (hunk.new_start, hunk.new_count)
        lines.append("@@ -{} +{} @@".format(*(_range(*pair) for pair in ranges)))
        lines += [f"{_SIGNS[line.change]}{line.text}" for line in hunk.lines]
    return "".join(f"{line}\n" for line in lines)


def _range(start: int, count: int) -> str:
    return f"{start}" if count == 1 else f"{start},{count}"


class _Matcher(difflib.SequenceMatcher[str]):
    """Finds what two texts have in common.

    The time for that grows with the square of their length, and with the cube where the same lines
    stand everywhere.  So in texts of 200 lines and more such lines are no hold (difflib's `autojunk`),
    and of texts that are longer still only the ends are compared.
    """

    def __init__(self, before: Sequence[str], after: Sequence[str]) -> None:
        super().__init__(None, before, after)
        self._before, self._after = before, after

    def get_opcodes(self) -> list[tuple[Part, int, int, int, int]]:
        """Return how the first text becomes the second, also to `get_grouped_opcodes`."""
        before, after = self._before, self._after
        if len(before) * len(after) <= MOST_PAIRS:
            return super().get_opcodes()
        head = _shared(before, after)
        tail = _shared(before[head:][::-1], after[head:][::-1])
        old_end, new_end = len(before) - tail, len(after) - tail
        parts: list[tuple[Part, int, int, int, int]] = [
            ("equal", 0, head, 0, head),
            ("replace", head, old_end, head, new_end),
            ("equal", old_end, len(before), new_end, len(after)),
        ]
        return [part for part in parts if part[1] < part[2] or part[3] < part[4]]


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many lines two texts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _hunk(before: Sequence[str], after: Sequence[str], group: Sequence[Opcode]) -> Hunk:
    (_, old_from, _, new_from, _), (_, _, old_to, _, new_to) = group[0], group[-1]
    old_count, new_count = old_to - old_from, new_to - new_from
    return Hunk(
        old_start=old_from + (old_count > 0),
        old_count=old_count,
        new_start=new_from + (new_count > 0),
        new_count=new_count,
        lines=tuple(line for opcode in group for line in _lines(before, after, opcode)),
    )


def _lines(before: Sequence[str], after: Sequence[str], opcode: Opcode) -> Iterator[Line]:
    kind, old_from, old_to, new_from, new_to = opcode
    if kind == "equal":
        for n in range(old_to - old_from):
            yield Line("same", before[old_from + n], old_from + n + 1, new_from + n + 1)
        return
    for n in range(old_from, old_to):
        yield Line("removed", before[n], n + 1, None)
    for n in range(new_from, new_to):
        yield Line("added", after[n], None, n + 1)
