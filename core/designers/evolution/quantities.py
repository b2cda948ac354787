"""What a reward can be made of: every number that a field gives, with its kind, span and landmarks.

All of it comes from the fields (name, unit, bounds, meaning) and from the quantiles that preflight
measured.  A *landmark* is a value that a meaning names: "0 at the centre", "the flag at 0.5", "angle
from upright" (0).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from core.designers.evolution.words import concepts, stem, tokens
from core.fields import read_source
from core.records.task import Field

Kind: TypeAlias = Literal[
    "position",
    "height",
    "velocity",
    "angle",
    "spin",
    "cosine",
    "contact",
    "other",
    "far",
    "change",
    "swing",
]
Ends: TypeAlias = Literal["failure", "goal", "both", "unknown", "never"]
Quantiles: TypeAlias = Mapping[str, tuple[float, float, float]]

_MOST_COMPONENTS = 12  # of one vector field
_LONGEST_NAME = 28  # letters, so that "near_<name>_scale" stays below 40
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_VALUE_WORDS = re.compile(_NUMBER + r" (?:at the |at |when (?:it is )?|if )?([a-z ]+)")
_WORD_VALUE = re.compile(r"([a-z]+) (?:is )?(?:at|near) " + _NUMBER)
_ZERO_WORD = re.compile(r"(?:from|relative to|above) (?:the )?([a-z]+)(?:'s ([a-z]+))?")
_LIMIT = re.compile(r"ends (?:beyond|outside|above) " + _NUMBER)
_DEFAULT_SPAN: Mapping[Kind, float] = {"angle": 0.5, "height": 0.5}
_IDLE_WORDS = (
    "the a an of to in on at is and or it its when else from with for by as if not positive negative "
    "episode ended because beyond either side clipped mean over step since towards"
)
_IDLE = frozenset(_IDLE_WORDS.split())


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number per row that a term may read.

    Attributes:
        name:      for naming components.
        code:      an expression in which `{s}` stands for obs or next_obs.
        kind:      what sort of number it is; the last three are what leads from side to side.
        unit:      as the field states it; `unit_size` is the number that it begins with, or 1.
        span:      a typical distance from its middle.
        middle:    where it usually is.
        limit:     absolute value beyond which the episode ends; None if the meaning states none.
        present:   readable in `obs` too, so that differences can be built.
        policy:    readable by `features`.
        words:     stem -> how telling it is for this field.
        landmarks: (stem, value).
        low, high: where the field says that it ends; None if it does not say.
    """

    name: str
    code: str
    kind: Kind
    unit: str
    unit_size: float
    span: float
    middle: float
    limit: float | None
    present: bool
    policy: bool
    words: Mapping[str, float]
    landmarks: tuple[tuple[str, float], ...]
    low: float | None = None
    high: float | None = None


def quantities(fields: Sequence[Field], quantiles: Quantiles) -> tuple[Quantity, ...]:
    """Return what the designed reward may read, field by field; `terminated` is apart."""
    found: list[Quantity] = []
    for field in fields:
        if "reward" in field.visible and field.source != "terminated":
            found += _components(field, quantiles.get(field.name))
    return tuple(found)


def ends(fields: Sequence[Field]) -> tuple[str | None, Ends]:
    """Return the name of the field that tells the end, and what an end means, as far as it says."""
    for field in fields:
        if field.source == "terminated" and "reward" in field.visible:
            touched = concepts(tokens(field.meaning)) & {"failure", "goal"}
            if len(touched) == 2:
                return field.name, "both"
            return field.name, "failure" if "failure" in touched else _goal_or_unknown(touched)
    return None, "never"


def _goal_or_unknown(touched: frozenset[str]) -> Ends:
    return "goal" if "goal" in touched else "unknown"


def _components(field: Field, quantile: tuple[float, float, float] | None) -> Iterator[Quantity]:
    source = read_source(field)
    if source.stop is None:
        yield component(field, None, quantile)
        return
    for index in range(min(source.size, _MOST_COMPONENTS)):
        yield component(field, index, quantile)


def component(
    field: Field, index: int | None, quantile: tuple[float, float, float] | None
) -> Quantity:
    """Return one component of a vector field, or a field that is one number (index None)."""
    if index is None:
        return _quantity(field, field.name, f"{{s}}.{field.name}", quantile)
    code = f"{{s}}.{field.name}[:, {index}]"
    return _quantity(field, f"{field.name[: _LONGEST_NAME - 3]}_{index}", code, quantile)


def _quantity(
    field: Field, name: str, code: str, quantile: tuple[float, float, float] | None
) -> Quantity:
    kind, limit = _kind(field), _limit(field)
    size = re.match(r"(\d+(?:\.\d+)?) ", field.unit)
    source = read_source(field)
    return Quantity(
        name=name[:_LONGEST_NAME],
        code=code,
        kind=kind,
        unit=field.unit,
        unit_size=float(size[1]) if size else 1.0,
        span=_span(field, kind, limit, quantile),
        middle=_middle(field, quantile),
        limit=limit,
        present=source.kind in ("obs", "sim"),
        policy=source.kind == "obs" and "policy" in field.visible,
        words=_words(field),
        landmarks=tuple(dict(_landmarks(field.meaning)).items()),
        low=field.low,
        high=field.high,
    )


def _kind(field: Field) -> Kind:
    name, unit = field.name.lower(), field.unit
    said = f"{name} {field.meaning.lower()}"
    rules: tuple[tuple[bool, Kind], ...] = (
        (unit.endswith("rad/s") or "angular_velocity" in name, "spin"),
        (unit.endswith("m/s") or "velocity" in name or "speed" in name, "velocity"),
        ("touch" in said or "contact" in said, "contact"),
        ("height" in said.split(";")[0].split(",")[0], "height"),
        ("sine" in said or name.endswith(("_sin", "_cos")), "cosine"),
        (unit in ("rad", "deg") or "angle" in name, "angle"),
        (unit.endswith("m") or "position" in name or name in ("x", "y", "z"), "position"),
    )
    return next((kind for holds, kind in rules if holds), "other")


def _limit(field: Field) -> float | None:
    found = _LIMIT.search(field.meaning)
    return abs(float(found[1])) if found else None


def _span(
    field: Field, kind: Kind, limit: float | None, quantile: tuple[float, float, float] | None
) -> float:
    half = None
    if field.low is not None and field.high is not None:
        half = (field.high - field.low) / 2
    seen = None
    if quantile is not None:
        seen = max(quantile[2] - quantile[1], quantile[1] - quantile[0])
    moving = kind in ("velocity", "spin")
    if limit is not None:
        return limit
    if seen is not None and seen > 1e-6 and (moving or half is None):
        # Chance moves less than a trained policy will.
        return _rounded(min(2 * seen, half) if half is not None else 2 * seen)
    if half is not None:
        return _rounded(half / 4 if moving else half)
    return _DEFAULT_SPAN.get(kind, 1.0)


def _middle(field: Field, quantile: tuple[float, float, float] | None) -> float:
    if quantile is not None:
        return quantile[1]
    if field.low is not None and field.high is not None:
        return (field.low + field.high) / 2
    return 0.0


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def _words(field: Field) -> dict[str, float]:
    meaning = field.meaning.lower().split(";")[0]
    words = {stem(w): 0.3 for w in tokens(meaning) if w.isalpha() and w not in _IDLE}
    words.update({stem(w): 1.0 for w in tokens(field.name) if w.isalpha() and w not in _IDLE})
    return words


def _landmarks(meaning: str) -> Iterator[tuple[str, float]]:
    """Yield (stem, value); what says when an episode ends, or a switch's 1 and 0, is no landmark."""
    text = re.sub(r"[^;]*\bends\b[^;]*|\bwhen the\b[^,;]*", "", meaning.lower())
    for found in _ZERO_WORD.finditer(text):
        yield from ((stem(word), 0.0) for word in found.groups() if word)
    for found in _VALUE_WORDS.finditer(text):
        yield from ((stem(w), float(found[1])) for w in found[2].split() if w not in _IDLE)
    for found in _WORD_VALUE.finditer(text):
        yield stem(found[1]), float(found[2])
