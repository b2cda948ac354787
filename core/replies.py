"""Read a designer's reply: analysis, prediction, and the module."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from core.errors import ProgramRejected
from core.records.asking import Proposal
from core.records.kinds import Design
from core.syntax import syntax_tree

MOST_ANALYSIS = 4_000  # characters kept
MOST_PREDICTION = 600
MOST_FENCES = 1_000  # lines that open or close a block; a reply has a handful
MOST_CLOSINGS = 20  # fences at which a block is tried to end

_FENCE = re.compile(r"^\s*(?P<mark>`{3,}|~{3,})(?P<info>[^`]*)$")
# Space of one line: with that of many, each empty line would be begun with all that follow it.
_DEFINES = re.compile(r"^[^\S\n]*def[^\S\n]+(reward|features)[^\S\n]*\(", re.MULTILINE)
_PREDICTION = re.compile(
    r"^[ \t>#*_-]*prediction[ \t*_]*(?::|$)[ \t*_]*(?P<text>.*)$", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class _Block:
    """A fenced block: the lines between `start` and `stop`; `closed` is false if the reply ended."""

    start: int
    stop: int
    text: str
    closed: bool

    @property
    def defines(self) -> frozenset[str]:
        """Return which of the functions that a program is made of the block defines."""
        return frozenset(_DEFINES.findall(self.text))


def read_reply(text: str, design: Design = "joint") -> Proposal:
    """Take a reply apart.

    The program is the last fenced block that defines `reward` or `features`.  What a model thought
    aloud between <think> tags is not part of its answer.

    Args:
        text:   of the reply.
        design: what is designed; where it is one function alone, blocks with the other one are quotes.

    Raises:
        ProgramRejected: `no_code` when no block defines either, `truncated` when the block that would
            have done so was never closed, `several_blocks` when an earlier one defines what it lacks.
    """
    lines = _spoken(text).splitlines()
    blocks = _blocks(lines)
    if blocks and not blocks[-1].closed and (blocks[-1].defines or not _programs(blocks[:-1])):
        raise ProgramRejected(
            "a code block that is not closed",
            rule="truncated",
            expected="one complete fenced code block",
            hint="Answer more briefly, and end the block with ```.",
        )
    programs = _programs(blocks)
    if not programs:
        raise ProgramRejected(
            "a reply without a program" if blocks else "a reply without a code block",
            rule="no_code",
            expected="one fenced ```python block that defines `reward`, `features` or both",
        )
    chosen = programs[-1]
    if design == "joint":
        _refuse_parts(programs)
    before = "\n".join(lines[: chosen.start])
    after = "\n".join(lines[chosen.stop + 1 :])
    prediction = _prediction(before) or _prediction(after)
    return Proposal(_analysis(before), prediction, textwrap.dedent(chosen.text).strip("\n") + "\n")


def _refuse_parts(programs: Sequence[_Block]) -> None:
    """Refuse a module in parts: the last one alone would be trained on without a word.

    Raises:
        ProgramRejected: an earlier block defines a function that the last one lacks.
    """
    here = programs[-1].defines
    lacking = sorted(frozenset().union(*(block.defines for block in programs)) - here)
    if lacking:
        raise ProgramRejected(
            f"`{lacking[0]}` in one code block and `{min(here)}` in a later one",
            rule="several_blocks",
            expected="the whole module in one fenced ```python block",
            hint="Put all functions that belong to the module into one block, and show no other code.",
        )


def _spoken(text: str) -> str:
    """Drop what stands before the last </think>."""
    return text.replace("\r\n", "\n").rpartition("</think>")[2]


def _programs(blocks: Sequence[_Block]) -> list[_Block]:
    return [block for block in blocks if block.closed and block.defines]


def _blocks(lines: Sequence[str]) -> list[_Block]:
    found_ones = ((i, found) for i, line in enumerate(lines) if (found := _FENCE.match(line)))
    fences = list(islice(found_ones, MOST_FENCES))
    blocks: list[_Block] = []
    for place, (index, opening) in enumerate(fences):
        if not blocks or index > blocks[-1].stop:
            later = (i for i, found in fences[place + 1 :] if _closes(found, opening))
            blocks.append(_block(lines, index, list(islice(later, MOST_CLOSINGS))))
    return blocks


def _block(lines: Sequence[str], start: int, closings: Sequence[int]) -> _Block:
    """Find where a block ends: at the first closing fence after which its text is sound Python.

    A fence inside a docstring would otherwise cut the module in two.  A text that is sound at no
    fence ends at the first.
    """
    if not closings:
        return _Block(start, len(lines), "\n".join(lines[start + 1 :]), closed=False)
    for stop in closings:
        text = "\n".join(lines[start + 1 : stop])
        if _DEFINES.search(text) and _parses(text):
            return _Block(start, stop, text, closed=True)
    return _Block(start, closings[0], "\n".join(lines[start + 1 : closings[0]]), closed=True)


def _closes(found: re.Match[str], opening: re.Match[str]) -> bool:
    mark = opening["mark"]
    return (
        not found["info"].strip()
        and found["mark"][0] == mark[0]
        and len(found["mark"]) >= len(mark)
    )


def _parses(text: str) -> bool:
    try:
        syntax_tree(textwrap.dedent(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _prediction(text: str) -> str:
    """Return the paragraph that begins with "Prediction:", or that follows such a heading."""
    found = None
    for found in _PREDICTION.finditer(text):  # noqa: B007 - the last one counts
        pass
    if found is None:
        return ""
    rest = text[found.start("text") :].lstrip()
    paragraph = re.split(r"\n\s*\n|\n\s*(?:```|~~~)", rest)[0]
    return " ".join(paragraph.split()).strip("*_ ")[:MOST_PREDICTION]


def _analysis(before: str) -> str:
    """Return the words before the program, without the prediction."""
    found = _PREDICTION.search(before)
    text = before if found is None else before[: found.start()]
    return text.strip()[:MOST_ANALYSIS]
