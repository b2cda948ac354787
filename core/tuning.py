"""Choose other numbers for a program's PARAMS, without a designer.

The optimiser has no memory of its own: it is rebuilt from the stored trials each time, so that any
worker, at any moment, makes the same choice.

First a few points are spread around the first trial, by factors inside the bounds (a Halton sequence
turned by the seed: even cover, Owen 2017, arXiv 1706.02808).  Then the best trial is moved by
log-normal steps that grow after a success and shrink after failures: the one-fifth rule of evolution
strategies in the form of Kern et al. 2004 (Natural Computing 3(1)).  Where only few trials are paid
for, this needs no model of the fitness and stands noise well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Params: TypeAlias = Mapping[str, float]
Bounds: TypeAlias = Mapping[str, tuple[float, float]]
Point: TypeAlias = npt.NDArray[np.float64]

_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53)
_SAME = 1e-3  # points closer than this (of the box) are the same trial
_FIRST_STEP, _LEAST_STEP, _LARGEST_STEP = 0.2, 0.02, 0.35  # of the box's side
_GROWTH, _SHRINK = 1.5, 1.5**-0.25  # one success in five keeps the step


def propose_params(
    trials: Sequence[tuple[Params, float]], bounds: Bounds, seed: int
) -> dict[str, float]:
    """Choose the next numbers to try.

    Args:
        trials: (numbers, fitness) in the order in which they were tried; the first is the program's
            own choice.  Fitness is better when higher.
        bounds: name -> (low, high); searched in the logarithm where both have the same sign.
        seed:   turns the sequence, and draws the steps.

    Returns:
        Numbers inside the bounds, that no trial has had.

    Raises:
        ValueError: no trial, or no parameter.

    Example:
        >>> propose_params([({"w": 1.0}, 0.0)], {"w": (0.25, 4.0)}, seed=0)["w"] != 1.0
        True
    """
    names = tuple(bounds)
    if not trials or not names:
        raise ValueError(f"expected a trial and a parameter, but found {len(trials)}, {len(names)}")
    tried = np.array([_to_box(params, bounds) for params, _ in trials])
    if len(trials) <= _first_points(len(names)):
        candidate = _spread(len(trials), tried[0], seed)
    else:
        candidate = _stepped(tried, [fitness for _, fitness in trials], seed)
    return _from_box(_away(candidate, tried, seed), bounds)


def _first_points(size: int) -> int:
    """Return how many points are spread before steps are taken."""
    return min(4, 2 + size // 2)


def _spread(index: int, centre: Point, seed: int) -> Point:
    """Return point `index` ≥ 1 of a Halton sequence that the seed turns by a little.

    The sequence covers half the box around the centre, which is from a half to the double where BOUNDS
    is silent: far enough to learn something, and most of the points still train.
    """
    halton = np.array([_radical_inverse(index, base) for base in _bases(len(centre))])
    turn = 0.25 * np.random.default_rng([seed, index]).random(len(centre))
    return _reflected(centre + 0.5 * ((halton + turn) % 1.0 - 0.5))


def _bases(size: int) -> list[int]:
    return [_PRIMES[i % len(_PRIMES)] for i in range(size)]


def _radical_inverse(index: int, base: int) -> float:
    """Return the digits of `index`, mirrored at the point: 6 = 110 -> 0.011 in base 2.

    >>> _radical_inverse(6, 2)
    0.375
    """
    result, scale = 0.0, 1.0 / base
    while index:
        index, digit = divmod(index, base)
        result += digit * scale
        scale /= base
    return result


def _stepped(tried: Point, fitness: Sequence[float], seed: int) -> Point:
    best, step = 0, _FIRST_STEP
    for number in range(1, len(fitness)):
        better = fitness[number] > fitness[best]
        best = number if better else best
        if number > _first_points(tried.shape[1]):
            step *= _GROWTH if better else _SHRINK
    step = min(max(step, _LEAST_STEP), _LARGEST_STEP)
    rng = np.random.default_rng([seed, len(fitness)])
    return _reflected(tried[best] + step * rng.standard_normal(tried.shape[1]))


def _away(candidate: Point, tried: Point, seed: int) -> Point:
    """Move a point that has been tried already, further and further, until it is new."""
    rng = np.random.default_rng([seed, len(tried), 1])
    width = 10 * _SAME
    while np.abs(tried - candidate).max(axis=1).min() < _SAME:
        candidate = _reflected(candidate + width * rng.standard_normal(len(candidate)))
        width = min(1.3 * width, 0.5)
    return candidate


def _reflected(point: Point) -> Point:
    """Fold a point back into the unit box, mirrored at its walls."""
    folded: Point = np.abs((point + 1.0) % 2.0 - 1.0)
    return folded


# --- the unit box -----------------------------------------------------------------------------


def _to_box(params: Params, bounds: Bounds) -> Point:
    return np.array([_place(params[name], *bounds[name]) for name in bounds])


def _place(value: float, low: float, high: float) -> float:
    value = min(max(value, low), high)
    if low * high > 0:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _from_box(point: Point, bounds: Bounds) -> dict[str, float]:
    pairs = zip(bounds.items(), point, strict=True)
    return {name: _value(float(x), low, high) for (name, (low, high)), x in pairs}


def _value(place: float, low: float, high: float) -> float:
    raw = low * (high / low) ** place if low * high > 0 else low + place * (high - low)
    # Six digits are enough for a weight, and read well on a page.
    return min(max(float(f"{raw:.6g}"), low), high)
