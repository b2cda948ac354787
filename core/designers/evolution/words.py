"""Words and numbers of a task's text: tokens, stems, concepts and measures.

Nothing here knows a task.  The concepts are everyday words for what bodies do; a measure is a number
or a number word with its unit, turned into SI units.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

_TOKEN = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?|[a-z]+(?:'s)?|°|[/.,;:!?]")
_SUFFIXES = ("ingly", "edly", "ing", "ed", "ly", "es", "s", "e")
_MOST = 1e6  # a larger number is no target
_CLAUSE = frozenset({".", ",", ";", ":", "!", "?", "and", "then", "while", "without", "with"})

_CONCEPTS: Mapping[str, str] = {
    "still": "still rest stop halt park motionless steady stay calm slow quiet hover settle soft "
    "gentle smooth freeze",
    "upright": "upright balance stand vertical erect level straight",
    "up": "up upward high height above over raise lift jump climb top tall stand",
    "low": "low lower crouch sink duck",
    "forward": "forward ahead run walk hop travel gallop race advance",
    "backward": "backward backwards reverse",
    "fast": "fast quick speed swift rapid soon",
    "thrift": "effort energy torque fuel efficient economical gentle",
    "survive": "fall crash alive survive balance long stand upright drop",
    "contact": "land ground touch contact stand",
    "swing": "swing pump drive climb momentum rock",
    "failure": "fell fall crash left unhealthy flip lost tip leave drop",
    "goal": "reach goal success flag target arrive solve rest",
}
_COUNTED = "zero one two three four five six seven eight nine ten eleven twelve"
_NUMBERS: Mapping[str, float] = {
    **{word: float(value) for value, word in enumerate(_COUNTED.split())},
    "fifteen": 15.0,
    "twenty": 20.0,
    "thirty": 30.0,
    "forty": 40.0,
    "fifty": 50.0,
    "sixty": 60.0,
    "ninety": 90.0,
    "hundred": 100.0,
    "half": 0.5,
    "quarter": 0.25,
}
_UNITS: Mapping[str, tuple[str, float]] = {  # stem -> dimension, size in it
    "m": ("m", 1.0),
    "metr": ("m", 1.0),
    "meter": ("m", 1.0),
    "cm": ("m", 0.01),
    "centimetr": ("m", 0.01),
    "centimeter": ("m", 0.01),
    "degre": ("rad", math.pi / 180),
    "°": ("rad", math.pi / 180),
    "deg": ("rad", math.pi / 180),
    "rad": ("rad", 1.0),
    "radian": ("rad", 1.0),
}
_BACK = "left backward backwards behind below under beneath down downward minus negative"
_NEGATIVE = frozenset(_BACK.split())


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of the text in SI units; `dimension` is None when no known unit follows it.

    `start` and `stop` are the tokens that it takes up.
    """

    value: float
    dimension: str | None
    start: int
    stop: int


def tokens(text: str) -> tuple[str, ...]:
    """Split a text into lower-case words, numbers and marks.

    >>> tokens("The cart's at -0.5 m.")
    ('the', 'cart', 'at', '-0.5', 'm', '.')
    """
    found = _TOKEN.findall(text.lower().replace("_", " ").replace("’", "'"))
    return tuple(word.removesuffix("'s") for word in found)


@lru_cache(maxsize=4_096)
def stem(word: str) -> str:
    """Strip the ending, crudely: the same for all forms of a word is all that counts.

    >>> stem("balancing") == stem("balance"), stem("stopped") == stem("stop")
    (True, True)
    """
    if word.endswith("ies"):
        word = word[:-3] + "y"
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    word = {"center": "centr", "middl": "centr", "hung": "hang"}.get(word, word)
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


CONCEPTS: Mapping[str, frozenset[str]] = {
    name: frozenset(stem(word) for word in words.split()) for name, words in _CONCEPTS.items()
}


def concepts(words: Sequence[str]) -> frozenset[str]:
    """Return the concepts that the words touch.

    >>> sorted(concepts(["hovering"]))
    ['still']
    """
    stems = {stem(word) for word in words}
    return frozenset(name for name, members in CONCEPTS.items() if members & stems)


def measures(words: Sequence[str]) -> tuple[Measure, ...]:
    """Find the numbers.  A number word counts only with a unit: "one" is often no number.

    >>> measures(tokens("one metre to the right"))
    (Measure(value=1.0, dimension='m', start=0, stop=2),)
    """
    found: list[Measure] = []
    for index, word in enumerate(words):
        if found and index < found[-1].stop:
            continue
        digits = word.lstrip("-").replace(".", "").isdigit()
        value = float(word) if digits else _NUMBERS.get(word)
        if value is None or abs(value) > _MOST:
            continue
        measure = _with_unit(value, words, index)
        if digits or measure.dimension is not None:
            found.append(measure)
    return tuple(found)


def _with_unit(value: float, words: Sequence[str], start: int) -> Measure:
    stop = start + 1
    while stop < len(words) and words[stop] in ("a", "an", "of"):
        stop += 1
    if stop >= len(words) or stem(words[stop]) not in _UNITS:
        return Measure(value, None, start, start + 1)
    dimension, size = _UNITS[stem(words[stop])]
    stop += 1
    if stop + 1 < len(words) and words[stop] in ("per", "/") and stem(words[stop + 1])[0] == "s":
        return Measure(value * size, f"{dimension}/s", start, stop + 2)
    return Measure(value * size, dimension, start, stop)


def direction(words: Sequence[str], measure: Measure) -> float:
    """Return -1 if the words around a measure point left, back or down, else 1.

    A number with a sign of its own says where it points by itself: "at -0.5 m left of the centre".
    """
    return -1.0 if measure.value > 0 and _NEGATIVE & set(around(words, measure)) else 1.0


def around(words: Sequence[str], measure: Measure, before: int = 4, after: int = 8) -> list[str]:
    """Return the words of the same clause around a measure."""
    left: list[str] = []
    for word in reversed(words[max(0, measure.start - before) : measure.start]):
        if word in _CLAUSE:
            break
        left.insert(0, word)
    right: list[str] = []
    for word in words[measure.stop : measure.stop + after]:
        if word in _CLAUSE:
            break
        right.append(word)
    return left + right
