"""Choose other numbers for a program's PARAMS, without a designer: a tree-structured Parzen estimator.

Source: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization" (NeurIPS 24), in the form of
Optuna's `TPESampler`.  It has no memory of its own but the trials, so that it is rebuilt from what is
stored each time: any worker, at any moment, makes the same choice (docs/decisions/0015).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import create_trial

from core.ports import Bounds, Params
from core.seeding import for_old_generators

_SAME = 1e-3  # points closer than this (of the box's side) are the same trial
_MOST_ASKS = 200


def propose_params(
    trials: Sequence[tuple[Params, float]], bounds: Bounds, seed: int, count: int = 1
) -> list[dict[str, float]]:
    """Choose the next numbers to try; implements `core.ports.Tuner`.

    Numbers are searched in the logarithm where both bounds have the same sign.

    Raises:
        ValueError: no trial, or no parameter.

    Example:
        >>> propose_params([({"w": 1.0}, 0.0)], {"w": (0.25, 4.0)}, seed=0)[0]["w"] != 1.0
        True
    """
    names = tuple(bounds)
    if not trials or not names:
        raise ValueError(f"expected a trial and a parameter, but found {len(trials)}, {len(names)}")
    box: dict[str, BaseDistribution] = {name: FloatDistribution(0.0, 1.0) for name in names}
    study = _study(seed)
    tried = [_to_box(params, bounds) for params, _ in trials]
    for point, (_, fitness) in zip(tried, trials, strict=True):
        study.add_trial(create_trial(params=point, distributions=box, value=fitness))
    chosen: list[dict[str, float]] = []
    for _ in range(count):
        point = _new_point(study, box, tried)
        tried.append(point)
        chosen.append(_from_box(point, bounds))
    return chosen


def _study(seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # One trial is enough to begin with: its neighbourhood is where good numbers are likely.
    sampler = TPESampler(seed=for_old_generators(seed), n_startup_trials=1)
    return optuna.create_study(direction="maximize", sampler=sampler)


def _new_point(
    study: optuna.Study, box: dict[str, BaseDistribution], tried: Sequence[Params]
) -> dict[str, float]:
    """Ask until a point is new.  Points that are asked for and not told of are kept away from."""
    for _ in range(_MOST_ASKS):
        point: dict[str, float] = dict(study.ask(box).params)
        if _distance(point, tried) >= _SAME:
            return point
    raise ValueError(f"expected a point that was not tried, but found none in {_MOST_ASKS} draws")


def _distance(point: Params, tried: Sequence[Params]) -> float:
    """Return the distance from the nearest trial, by the largest of its coordinates."""
    places: npt.NDArray[np.float64] = np.array([[other[n] for n in point] for other in tried])
    here = np.array(list(point.values()))
    return float(np.abs(places - here).max(axis=1).min())


# --- the unit box -----------------------------------------------------------------------------


def _to_box(params: Params, bounds: Bounds) -> dict[str, float]:
    return {name: _place(params[name], *bounds[name]) for name in bounds}


def _place(value: float, low: float, high: float) -> float:
    value = min(max(value, low), high)
    if low * high > 0:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _from_box(point: Params, bounds: Bounds) -> dict[str, float]:
    return {name: _value(point[name], low, high) for name, (low, high) in bounds.items()}


def _value(place: float, low: float, high: float) -> float:
    raw = low * (high / low) ** place if low * high > 0 else low + place * (high - low)
    # Six digits are enough for a weight, and read well on a page.
    return min(max(float(f"{raw:.6g}"), low), high)
