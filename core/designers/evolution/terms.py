"""The grammar's terminals: every kind of reward term and feature, as an expression with its numbers.

A term is one component: bounded, finite on any finite input, float32 [B].  Its weight and scale stand
in PARAMS, so that they can be tuned; its target stands in the code, because the task set it.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal, TypeAlias

from core.designers.evolution.quantities import Quantity
from core.designers.evolution.wishes import Aim, Wish
from core.syntax import syntax_tree

Shape: TypeAlias = Literal["gauss", "bell", "hyper", "linear", "tanh"]
SHAPES: tuple[Shape, ...] = ("gauss", "bell", "hyper", "linear", "tanh")
# How much wider than the others a shape must be to be felt from the same distance.
REACH: Mapping[Shape, float] = {
    "gauss": 1.3,
    "bell": 1.0,
    "hyper": 0.8,
    "linear": 2.0,
    "tanh": 1.2,
}

# Closeness: 1 on the target, 0 far from it.  {x} is the deviation in scales.
_CLOSE: Mapping[Shape, str] = {
    "gauss": "np.exp(-np.square({x}))",
    "bell": "(1.0 / (1.0 + np.square({x})))",
    "hyper": "(1.0 / (1.0 + np.abs({x})))",
    "linear": "np.maximum(0.0, 1.0 - np.abs({x}))",
    "tanh": "(1.0 - np.tanh(np.abs({x})))",
}
# Cost: 0 on the target, -1 far from it.
_COST: Mapping[Shape, str] = {
    "gauss": "(np.exp(-np.square({x})) - 1.0)",
    "bell": "(1.0 / (1.0 + np.square({x})) - 1.0)",
    "hyper": "(1.0 / (1.0 + np.abs({x})) - 1.0)",
    "linear": "-np.minimum(1.0, np.abs({x}))",
    "tanh": "-np.tanh(np.abs({x}))",
}
_SHAPE_WORDS: Mapping[Shape, str] = {
    "gauss": "a narrow hill",
    "bell": "a hill with long slopes",
    "hyper": "a sharp peak with long slopes",
    "linear": "a cone",
    "tanh": "a peak that flattens out",
}
_NAMES: Mapping[Aim, str] = {
    "near": "near",
    "least": "least",
    "most": "most",
    "more": "more",
    "less": "less",
    "calm": "calm",
    "move": "move",
}
LIVING = ("alive", "fell", "arrive", "hurry", "effort")  # terms that are about no quantity


@dataclass(frozen=True, slots=True)
class Term:
    """One component: its name, its expression, the numbers that it reads, and what it is for."""

    name: str
    code: str
    params: tuple[tuple[str, float], ...]
    comment: str

    @property
    def weight(self) -> float:
        """Return the number that multiplies the whole term: the one that bears its name."""
        return dict(self.params).get(self.name, 1.0)

    @property
    def charges(self) -> bool:
        """Tell whether it is 0 at best; its comment, which a program keeps, says so."""
        return self.comment.startswith("charges")


@dataclass(frozen=True, slots=True)
class Feature:
    """One extra dimension of the state."""

    name: str
    code: str
    comment: str


@dataclass(frozen=True, slots=True)
class Design:
    """A program before it is written down."""

    terms: tuple[Term, ...]
    features: tuple[Feature, ...] = ()


def number(value: float) -> str:
    """Write a number shortly, as Python reads it back.

    >>> number(1.0), number(0.12345), number(-2)
    ('1.0', '0.1235', '-2.0')
    """
    return repr(float(f"{value:.4g}"))


def closeness(wish: Wish, shape: Shape, scale: float, weight: float) -> Term:
    """Pay for being near the target, at most `weight` per step."""
    return _shaped(wish, _CLOSE[shape], shape, scale, weight, "pays for")


def cost(wish: Wish, shape: Shape, scale: float, weight: float) -> Term:
    """Charge for being away from the target, at most `weight` per step."""
    return _shaped(wish, _COST[shape], shape, scale, weight, "charges for leaving")


def _shaped(wish: Wish, form: str, shape: Shape, scale: float, weight: float, verb: str) -> Term:
    name = f"{_NAMES[wish.aim]}_{wish.quantity.name}"
    code = form.format(x=f"(({deviation(wish)}) / params.{name}_scale)")
    comment = f"{verb} {in_words(wish)}: {_SHAPE_WORDS[shape]}"
    return _weighted(name, code, weight, comment, {f"{name}_scale": scale})


def progress(wish: Wish, scale: float, weight: float) -> Term:
    """Pay for every bit that the state comes nearer to the target; what is lost is charged."""
    name = f"gain_{wish.quantity.name}"
    before, after = deviation(wish, "obs"), deviation(wish)
    code = f"np.clip((np.abs({before}) - np.abs({after})) / params.{name}_scale, -1.0, 1.0)"
    comment = f"pays for coming nearer to {in_words(wish)} in this step"
    return _weighted(name, code, weight, comment, {f"{name}_scale": scale})


def onward(wish: Wish, scale: float, weight: float, *, bounded: bool) -> Term:
    """Pay for more (or less) of a quantity, or for moving at all."""
    name = f"{_NAMES[wish.aim]}_{wish.quantity.name}"
    value = wish.quantity.code.format(s="next_obs")
    value = {"less": f"-{value}", "move": f"np.abs({value})"}.get(wish.aim, value)
    ratio = f"{value} / params.{name}_scale"
    code = f"np.tanh({ratio})" if bounded else f"np.clip({ratio}, -5.0, 5.0)"
    return _weighted(name, code, weight, f"pays for {in_words(wish)}", {f"{name}_scale": scale})


def gate(parts: tuple[tuple[Wish, Shape, float], ...], weight: float) -> Term:
    """Pay only while several things hold at once: the product of their closenesses."""
    name = "both" if len(parts) == 2 else "together"
    scales = {f"{name}_scale_{i}": scale for i, (_, _, scale) in enumerate(parts, start=1)}
    factors = [
        _CLOSE[shape].format(x=f"(({deviation(wish)}) / params.{name}_scale_{i})")
        for i, (wish, shape, _) in enumerate(parts, start=1)
    ]
    comment = "pays only while all hold: " + "; ".join(in_words(wish) for wish, _, _ in parts)
    return _weighted(name, " * ".join(factors), weight, comment, scales)


def either(
    sides: Sequence[Sequence[Wish]], shape: Shape, scales: Mapping[str, float], weight: float
) -> Term:
    """Pay for being on any side: the largest of the sides' products of closenesses.

    `scales` are by quantity; a quantity has one, on whichever side it is asked for.
    """
    names = {name: f"either_scale_{i}" for i, name in enumerate(scales, start=1)}
    products = [
        " * ".join(
            _CLOSE[shape].format(x=f"(({deviation(w)}) / params.{names[w.quantity.name]})")
            for w in side
        )
        for side in sides
    ]
    code = reduce(lambda first, second: f"np.maximum({first}, {second})", products)
    said = " or ".join(" with ".join(in_words(wish) for wish in side) for side in sides)
    numbers = {names[name]: scale for name, scale in scales.items()}
    return _weighted("either", code, weight, f"pays on any side: {said}", numbers)


def alive(ended: str, weight: float) -> Term:
    """Pay a constant for every step that does not end the episode."""
    return _weighted("alive", f"(1.0 - next_obs.{ended})", weight, "pays for every step lived")


def fell(ended: str, weight: float) -> Term:
    """Charge once for the end."""
    return _weighted("fell", f"-next_obs.{ended}", weight, "charges once for the end")


def arrive(ended: str, weight: float) -> Term:
    """Pay once for the end, where the end is the goal."""
    return _weighted("arrive", f"next_obs.{ended}", weight, "pays once for arriving")


def hurry(ended: str, weight: float) -> Term:
    """Charge every step before the goal."""
    code = f"(next_obs.{ended} - 1.0)"
    return _weighted("hurry", code, weight, "charges for every step before arriving")


def effort(weight: float, *, box: bool, idle: int | None) -> Term:
    """Charge for the size of the action, or for any action but the idle one."""
    if box:
        code = "-np.square(action).mean(axis=-1)"
        return _weighted("effort", code, weight, "charges for strong actions")
    code = f"-(action != {idle}).astype(np.float32)"
    return _weighted("effort", code, weight, "charges for every action but doing nothing")


def _weighted(
    name: str, code: str, weight: float, comment: str, more: Mapping[str, float] | None = None
) -> Term:
    numbers = {name: weight, **(more or {})}
    params = tuple((key, float(f"{value:.4g}")) for key, value in numbers.items())
    return Term(name, ast.unparse(syntax_tree(f"params.{name} * {code}")), params, comment)


def deviation(wish: Wish, state: str = "next_obs") -> str:
    """Write the difference from the target; 0 on the wished side of a bound."""
    value = wish.quantity.code.format(s=state)
    if wish.target != 0.0:
        sign = "-" if wish.target > 0 else "+"
        value = f"{value} {sign} {number(abs(wish.target))}"
    if wish.aim in ("least", "most"):
        return f"np.{'minimum' if wish.aim == 'least' else 'maximum'}({value}, 0.0)"
    return value


def in_words(wish: Wish) -> str:
    """Say what a wish asks for."""
    quantity = wish.quantity
    unit = "" if quantity.unit == "1" else f" {quantity.unit}"
    unit = f" x {unit.strip()}" if quantity.unit_size != 1.0 else unit
    return {
        "near": f"{quantity.name} near {wish.target:.4g}{unit}",
        "least": f"{quantity.name} at least {wish.target:.4g}{unit}",
        "most": f"{quantity.name} at most {wish.target:.4g}{unit}",
        "calm": f"{quantity.name} near 0{unit}",
        "more": f"more {quantity.name}",
        "less": f"less {quantity.name}",
        "move": f"{quantity.name} in either direction",
    }[wish.aim]


# --- features ---------------------------------------------------------------------------------


def distance_feature(wish: Wish) -> Feature:
    """Give the distance from the target."""
    code = f"np.abs({deviation(wish, 'obs')})"
    name = f"off_{wish.quantity.name}"
    return Feature(name, code, f"how far the state is from {in_words(wish)}")


def energy_feature(quantity: Quantity) -> Feature:
    """Give the energy of a motion, in its own units, clipped."""
    code = f"0.5 * np.square({_clipped(quantity)})"
    return Feature(f"energy_{quantity.name}", code, f"energy of the motion {quantity.name}")


def square_feature(quantity: Quantity) -> Feature:
    """Give the square of a quantity, in its own units, clipped."""
    code = f"np.square({_clipped(quantity)})"
    return Feature(f"square_{quantity.name}"[:40], code, f"{quantity.name} squared")


def product_feature(first: Quantity, second: Quantity) -> Feature:
    """Give the product of two quantities, each in its own units, clipped."""
    code = " * ".join(_clipped(quantity) for quantity in (first, second))
    name = f"{first.name[:18]}_by_{second.name[:18]}"
    return Feature(name, code, f"{first.name} times {second.name}")


def _clipped(quantity: Quantity) -> str:
    value = quantity.code.format(s="obs")
    ratio = value if quantity.span == 1.0 else f"{value} / {number(quantity.span)}"
    return f"np.clip({ratio}, -10.0, 10.0)"


def circle_feature(quantity: Quantity, function: Literal["sin", "cos"]) -> Feature:
    """Give the sine or cosine of an angle."""
    code = f"np.{function}({quantity.code.format(s='obs')})"
    return Feature(f"{function}_{quantity.name}", code, f"{function} of {quantity.name}")
