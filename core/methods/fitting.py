"""Fit a prompt into a number of tokens: its parts give way in a declared order.

What a prompt cannot do without is plain text and never gives way: the contract, the fields, the work
that is asked for, and the program that is to be improved.  Everything else is a `Part` with a rank; the
highest rank gives way first, at its end or as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from core.records.asking import Prompt
from core.words import cut, quoted

CHARACTERS = 3.5  # per token; prose has more, but tables of numbers and code have fewer
OVERHEAD = 16  # characters that a message costs beyond its text
SMALL = 8_000  # tokens up to which the contract is said briefly
MOST_TOKENS = 60_000  # where a job does not say: what tells all that was tried grows without end


class Rank(IntEnum):
    """In which order parts give way: the highest first."""

    REMARKS = 1  # what people said
    MEASURED = 2  # the last measurements; they begin with the most important
    REPLY = 3  # a reply that is to be mended
    ADVICE = 4  # rules of thumb
    OTHERS = 5  # other candidates
    EARLIER = 6  # earlier turns of a conversation
    SOURCE = 7  # the environment's source code
    EXAMPLES = 8  # designs of the library


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a prompt that may give way.

    Attributes:
        text:  what it says.
        rank:  when it gives way.
        title: stands before the text; goes with it.
        quote: name under which the text is fenced as data; empty for text of our own.
        most:  characters of the text that are told in any case.
        least: characters below which it is not worth telling; None if it is told whole or not at all.
        order: within a rank, higher gives way sooner; parts of the same order go together.
    """

    text: str
    rank: Rank
    title: str = ""
    quote: str = ""
    most: int = 26_000
    least: int | None = None
    order: int = 0

    def written(self, most: int) -> str:
        """Write it with at most so many characters of its text; nothing for 0."""
        if most <= 0 or not self.text:
            return ""
        body = quoted(self.quote, self.text, most) if self.quote else cut(self.text, most)
        return f"{self.title}\n\n{body}" if self.title else body


Piece: TypeAlias = "str | Part"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says."""

    role: str
    pieces: tuple[Piece, ...]


def tokens_of(prompt: Prompt) -> int:
    """Return how many tokens a prompt has at most, estimated from its characters."""
    return _tokens(sum(len(text) + OVERHEAD for _, text in prompt.messages))


def _tokens(characters: int) -> int:
    return math.ceil(characters / CHARACTERS)


def fit(turns: Sequence[Turn], tokens: int | None) -> Prompt:
    """Write the turns as messages of at most so many tokens, as far as parts can give way.

    Turns of which nothing is left go, and neighbours of the same role become one message.
    """
    parts = [piece for turn in turns for piece in turn.pieces if isinstance(piece, Part)]
    told = {id(part): min(part.most, len(part.text)) for part in parts}
    prompt = _written(turns, told)
    if tokens is None:
        return prompt
    for key in sorted({(part.rank, part.order) for part in parts}, reverse=True):
        excess = math.ceil((tokens_of(prompt) - tokens) * CHARACTERS)
        if excess <= 0:
            break
        for part in parts:
            if (part.rank, part.order) == key:
                told[id(part)] = _room(part, told[id(part)] - excess)
        prompt = _written(turns, told)
    return prompt


def _room(part: Part, left: int) -> int:
    """Return what is told of a part that may have so many characters."""
    return left if part.least is not None and left >= part.least else 0


def _written(turns: Sequence[Turn], told: Mapping[int, int]) -> Prompt:
    messages: list[tuple[str, str]] = []
    for turn in turns:
        texts = (p if isinstance(p, str) else p.written(told[id(p)]) for p in turn.pieces)
        text = "\n\n".join(filter(None, texts))
        if not text:
            continue
        if messages and messages[-1][0] == turn.role:
            messages[-1] = (turn.role, f"{messages[-1][1]}\n\n{text}")
        else:
            messages.append((turn.role, text))
    return Prompt(tuple(messages))
