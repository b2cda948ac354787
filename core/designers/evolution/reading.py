"""Read a task as wishes: what should be near what, more, less, or calm.

The fitness comes first (`goals.py`): it says in comparisons what counts.  Of the text only numbers,
number words and words near the fields' names and meanings are understood; it tells of what the
fitness leaves open.  What is not understood is not guessed at here; the grammar's chance covers it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from core.designers.evolution.goals import Goals, read_goals
from core.designers.evolution.quantities import Ends, Quantiles, Quantity, ends, quantities
from core.designers.evolution.wishes import Aim, Wish
from core.designers.evolution.words import (
    CONCEPTS,
    Measure,
    around,
    concepts,
    direction,
    measures,
    stem,
    tokens,
)
from core.records.kinds import Json
from core.records.task import Field, Fitness

_DIMENSIONS = {  # kinds that a measure of a dimension may be about
    "m": ("position", "height"),
    "m/s": ("velocity",),
    "rad": ("angle",),
    "rad/s": ("spin",),
}
_MEASURED = 3.0  # clarity of a number in the text
_LEFT_OPEN = 0.5  # so much less plain is what the text tells beside the fitness
_AWAY = frozenset({"from", "out", "away", "off"})


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that the search uses of a task.

    `wishes` come clearest first, those of the fitness before those of the text.  `sides` is what must
    hold together, once for each of several sides that must be visited in turn; mostly there are none.
    `survive`, `hurry` and `thrift` are clarities between 0 and 1.  `idle` is the discrete action that
    does nothing, if the text on actions names one.
    """

    wishes: tuple[Wish, ...]
    ended: str | None
    ends: Ends
    survive: float
    hurry: float
    thrift: float
    box: bool
    idle: int | None
    sides: tuple[tuple[Wish, ...], ...] = ()


def read_task(
    description: str,
    fields: Sequence[Field],
    quantiles: Quantiles,
    *,
    fitness: Fitness = Fitness(),  # noqa: B008 - a frozen value
    actions: str = "",
    action: Json | None = None,
) -> Reading:
    """Read a fitness and a description against the fields of their task."""
    words = tokens(description)
    readable = quantities(fields, quantiles)
    goals = read_goals(fitness, fields, quantiles)
    ended, meaning = ends(fields)
    if goals.lasting and ended is not None:
        meaning = "failure"  # steps that are not lived count as false
    told: list[Wish] = []
    for rule in _RULES:
        told += rule(words, readable)
    touched = concepts(words)
    return Reading(
        wishes=_clearest([*goals.wishes, *_left_open(told, goals)]),
        ended=ended,
        ends=meaning,
        survive=_survival(meaning, touched),
        hurry=(1.0 if "fast" in touched else 0.6) if meaning == "goal" else 0.0,
        thrift=1.0 if "thrift" in touched else 0.3,
        box=_is_box(action, actions),
        idle=_idle_action(actions),
        sides=goals.sides,
    )


def _left_open(told: Sequence[Wish], goals: Goals) -> list[Wish]:
    """Return what the text tells of that the fitness does not settle, and mostly less plainly.

    A number that the fitness names too was meant there.  What keeps an episode alive is told by the
    text alone, and stays as plain as it was.
    """
    if not goals.wishes:
        return list(told)
    asked = [wish.quantity for wish in (*goals.wishes, *(w for s in goals.sides for w in s))]
    numbers = {abs(round(number, 4)) for number in goals.numbers}
    kept: list[Wish] = []
    for wish in told:
        measured = wish.clarity >= _MEASURED
        if wish.quantity in asked or (measured and abs(round(wish.target, 4)) in numbers):
            continue
        stays = wish.aim == "calm" or wish.quantity.limit is not None
        kept.append(wish if stays else replace(wish, clarity=_LEFT_OPEN * wish.clarity))
    return kept


def _survival(meaning: Ends, touched: frozenset[str]) -> float:
    asked = "survive" in touched
    known = {"failure": 0.7, "unknown": 0.4, "both": 0.1, "goal": 0.0, "never": 0.0}[meaning]
    return 1.0 if asked and meaning in ("failure", "unknown") else known


def _is_box(action: Json | None, actions: str) -> bool:
    if action is not None:
        return action.get("kind") == "box"
    return "action[" in actions


def _idle_action(actions: str) -> int | None:
    found = re.search(r"(?<!\d)(\d{1,9}) (?:does|do|is) (?:nothing|noop|idle)", actions)
    return int(found[1]) if found else None


def _clearest(wishes: Sequence[Wish]) -> tuple[Wish, ...]:
    """Keep the clearest wish per aim and quantity, and drop what contradicts a clearer one."""
    kept: list[Wish] = []
    for wish in sorted(wishes, key=lambda w: -w.clarity):
        others = [w.aim for w in kept if w.quantity == wish.quantity]
        against = {
            "calm": {"more", "less"},
            "more": {"calm", "less", "most"},
            "less": {"calm", "more", "least"},
        }
        if wish.aim not in others and not against.get(wish.aim, set()) & set(others):
            kept.append(wish)
    return tuple(kept)


# --- rules ------------------------------------------------------------------------------------


def _measured(words: Sequence[str], readable: Sequence[Quantity]) -> Iterator[Wish]:
    """Read a number with its unit: "one metre to the right of the centre"."""
    about = [(_told(words, q), q) for q in readable]  # once: a text may be made of numbers
    for measure in measures(words):
        nearby = around(words, measure)
        fitting = [
            (told, q) for told, q in about if _fits(measure, q) and (measure.dimension or told)
        ]
        if not fitting:
            continue
        _, best = max(fitting, key=lambda one: 2 * _told(nearby, one[1]) + one[0])
        base = next((v for w in nearby for s, v in best.landmarks if s == stem(w)), 0.0)
        size = best.unit_size if measure.dimension else 1.0
        target = base + direction(words, measure) * measure.value / size
        why = " ".join([*words[measure.start : measure.stop], *nearby[-6:]])
        yield Wish("near", best, round(target, 4), _MEASURED, why)


def _fits(measure: Measure, quantity: Quantity) -> bool:
    if measure.dimension is None:
        return quantity.kind != "contact"
    return quantity.kind in _DIMENSIONS[measure.dimension]


def _told(words: Sequence[str], quantity: Quantity) -> float:
    """Say how much the words are about a quantity."""
    stems = {stem(word) for word in words}
    return sum(weight for word, weight in quantity.words.items() if word in stems)


def _landmarks(words: Sequence[str], readable: Sequence[Quantity]) -> Iterator[Wish]:
    """Read a named value: "upright", "the flag", "the pad"."""
    stems = [stem(word) for word in words]
    for quantity in readable:
        told = min(1.0, _told(words, quantity)) / 2
        for name, value in quantity.landmarks:
            place = stems.index(name) if name in stems else None
            if place is not None and not _AWAY & set(words[max(0, place - 3) : place]):
                yield Wish("near", quantity, value, 2.0 + told, words[place])


_MEANT: tuple[tuple[str, str, float], ...] = (  # concept, landmark that it means, clarity
    ("upright", "upright", 1.6),
    ("up", "upright", 1.5),
    ("upright", "straight", 0.6),
)


def _meant_landmarks(words: Sequence[str], readable: Sequence[Quantity]) -> Iterator[Wish]:
    """Read a named value by a word that means it: "balance" is upright, upright is straight."""
    touched = concepts(words)
    for quantity in readable:
        named = dict(quantity.landmarks)
        for concept, name, clarity in _MEANT:
            # "hanging straight down" is straight, but not what is meant.
            other = name == "straight" and bool({"hang", "upright"} & set(named))
            if concept in touched and name in named and not other:
                told = min(1.0, _told(words, quantity)) / 2
                yield Wish("near", quantity, named[name], clarity + told, _first(words, concept))


def _calm(words: Sequence[str], readable: Sequence[Quantity]) -> Iterator[Wish]:
    """Read "still", "softly", "park": velocities near zero; "balance" asks for it less plainly."""
    touched = concepts(words)
    resting = "still" in touched
    if not (resting or "upright" in touched):
        return
    why = _first(words, "still" if resting else "upright")
    for quantity in readable:
        if quantity.kind in ("velocity", "spin"):
            told = min(1.0, _told(words, quantity)) / 2
            wholes = 0.3 if {"torso", "cart", "pole"} & set(quantity.words) else 0.0
            yield Wish("calm", quantity, 0.0, (1.0 if resting else 0.3) + told + wholes, why)


def _onward(words: Sequence[str], readable: Sequence[Quantity]) -> Iterator[Wish]:
    """Read "run forward as fast as possible", "hop backwards"."""
    touched = concepts(words)
    aim: Aim = "less" if "backward" in touched else "more"
    if not touched & {"forward", "backward"}:
        return
    why = " ".join(w for w in words if concepts([w]) & {"forward", "backward", "fast"})
    for quantity in readable:
        if "forward" in quantity.words and quantity.kind in ("velocity", "position"):
            plain = 2.5 if quantity.kind == "velocity" else 1.0
            yield Wish(aim, quantity, 0.0, plain + (0.2 if not quantity.present else 0.0), why)


def _upward(words: Sequence[str], readable: Sequence[Quantity]) -> Iterator[Wish]:
    """Read "stand", "jump high", "crouch low"."""
    touched = concepts(words)
    for quantity in readable:
        if quantity.kind == "height":
            if "up" in touched:
                yield Wish("more", quantity, 0.0, 1.5, _first(words, "up"))
            elif "low" in touched:
                yield Wish("less", quantity, 0.0, 1.5, _first(words, "low"))


def _touching(words: Sequence[str], readable: Sequence[Quantity]) -> Iterator[Wish]:
    """Read "land", "on the ground"."""
    if "contact" in concepts(words):
        for quantity in readable:
            if quantity.kind == "contact":
                yield Wish("more", quantity, 0.0, 1.0, _first(words, "contact"))


def _swinging(words: Sequence[str], readable: Sequence[Quantity]) -> Iterator[Wish]:
    """Read "swing", "drive", "climb": work into the motion first."""
    if "swing" in concepts(words):
        for quantity in readable:
            if quantity.kind in ("velocity", "spin"):
                yield Wish("move", quantity, 0.0, 1.1, _first(words, "swing"))


def _possible(words: Sequence[str], readable: Sequence[Quantity]) -> Iterator[Wish]:
    """Offer what no word asks for: keep off the limits, and keep what is told of in its middle."""
    for quantity in readable:
        told = min(1.0, _told(words, quantity))
        if quantity.limit is not None:
            yield Wish("near", quantity, 0.0, 0.4, "its limit")
        elif quantity.kind in ("velocity", "spin"):
            yield Wish("calm", quantity, 0.0, 0.1 + 0.2 * told, "a possibility")
        elif quantity.kind == "contact":
            yield Wish("more", quantity, 0.0, 0.1 + 0.2 * told, "a possibility")
        else:
            middle = float(f"{quantity.middle:.3g}")
            yield Wish("near", quantity, middle, 0.1 + 0.2 * told, "a possibility")


def _first(words: Sequence[str], concept: str) -> str:
    return next(word for word in words if stem(word) in CONCEPTS[concept])


Rule: TypeAlias = Callable[[Sequence[str], Sequence[Quantity]], Iterator[Wish]]
_RULES: tuple[Rule, ...] = (
    _measured,
    _landmarks,
    _meant_landmarks,
    _calm,
    _onward,
    _upward,
    _touching,
    _swinging,
    _possible,
)
