"""Rewards for the speed bench: every candidate has a six-term program of its own, as in a real job."""

from __future__ import annotations

import numpy as np

from core.fields import Layout
from core.program import read_program
from core.training.action_space import ActionSpace
from core.training.runtime import LoadedProgram, load_program

_SOURCE = """\
import numpy as np

PARAMS = {{"gain": {0}, "near": {1}, "lean": {2}, "steady": {3}, "effort": {4}, "inside": {5}}}
{features}

def reward(obs, action, next_obs, params):
    effort = {effort}
    return {{
        "gain": params.gain * (next_obs.{a} - obs.{a}),
        "near": params.near * np.exp(-np.square(next_obs.{b})),
        "lean": params.lean * np.tanh(next_obs.{c}),
        "steady": -params.steady * np.abs(next_obs.{d} - obs.{d}),
        "effort": -params.effort * effort,
        "inside": params.inside * np.where(np.abs(next_obs.{b}) < 1.0, 1.0, 0.0),
    }}
"""
_FEATURES = """

def features(obs):
    return {{
        "energy": np.square(obs.{a}) + np.square(obs.{b}),
        "bend": np.sin(obs.{c}) * obs.{d},
    }}
"""


def sources(layout: Layout, space: ActionSpace, count: int, *, features: bool) -> list[str]:
    """Return different programs: other fields and other numbers, the same six kinds of terms."""
    return [_source(layout, space, np.random.default_rng(i), features) for i in range(count)]


def load_programs(
    layout: Layout, space: ActionSpace, count: int, *, features: bool
) -> dict[str, LoadedProgram]:
    """Return arm -> program, held to the rules and loaded as in a job."""
    fields = [column.field for column in layout.columns]
    return {
        f"candidate-{i}": load_program(read_program(source, fields, "replace"), layout)
        for i, source in enumerate(sources(layout, space, count, features=features))
    }


def _source(layout: Layout, space: ActionSpace, rng: np.random.Generator, features: bool) -> str:
    names = [column.field.name for column in layout.columns if column.scalar]
    chosen = dict(zip("abcd", rng.choice(names, 4, replace=len(names) < 4).tolist(), strict=True))
    weights = [round(float(weight), 3) for weight in rng.uniform(0.1, 1.0, 6)]
    effort = "np.where(action > 0, 1.0, 0.0)" if space.discrete else "np.square(action).sum(-1)"
    extra = _FEATURES.format(**chosen) if features else ""
    return _SOURCE.format(*weights, effort=effort, features=extra, **chosen)
