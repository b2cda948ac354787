"""What a policy's inputs tell of the fitness, and how much of what it does hangs on each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.feature_statistics import Doubles, InputStatistics, fitness_signal, relate
from core.fields import Floats, Layout
from core.fitness import step_fitness
from core.records.task import Fitness
from core.training.numpy_policy import Policies
from core.training.transitions import Recording

MOST_INPUTS = 64
SLOPE_ROWS = 256
SLOPE_WORK = 2e9  # multiplications


@dataclass(frozen=True, slots=True)
class Examined:
    """What is known of an arm's recorded episodes, besides its program.

    Attributes:
        layout:    of the blocks.
        recording: of whole episodes.
        fitness:   of the task.
        policies:  that lived the episodes, one after the other; empty where they are not known.
    """

    layout: Layout
    recording: Recording
    fitness: Fitness
    policies: Sequence[Policies] = ()


def dimensions(layout: Layout) -> dict[str, int]:
    """Return the observation's dimensions by name, in the order of their columns.

    A dimension is called as its field, or `field[i]` where the field is a vector; where several
    fields cover it, as the one that is a single number.  Dimensions of the metric alone have no name.

    >>> from core.fields import lay_out
    >>> from core.records.task import Field
    >>> dimensions(lay_out((Field("all", "obs[0:2]"), Field("x", "obs[1]")), 2))
    {'all[0]': 0, 'x': 1}
    """
    names: dict[int, str] = {}
    for column in sorted(layout.columns, key=lambda column: not column.scalar):
        field = column.field
        if column.source.kind != "obs" or not {"policy", "reward"} & set(field.visible):
            continue
        for place in range(column.start, column.stop):
            own = field.name if column.scalar else f"{field.name}[{place - column.start}]"
            names.setdefault(place, own)
    return {names[place]: place for place in sorted(names)}


def measure_inputs(
    examined: Examined, features: Mapping[str, Floats]
) -> tuple[list[InputStatistics], list[float | None]]:
    """Return the statistics of all D + F inputs, and the share of each in what the policies do.

    Args:
        examined: the recording and what belongs to it.
        features: name -> [N] at the states that were reached, in the order of the program.
    """
    rows, episode = examined.recording.transitions, examined.recording.episode
    observed = rows.next[:, : examined.layout.observation_size]
    inputs = np.column_stack([observed, *features.values()])
    signal = fitness_signal(steps_of(examined), episode, rows.terminated)
    return relate(inputs, signal, rows.native, episode), shares(examined.policies, inputs)


def steps_of(examined: Examined) -> Doubles:
    """Return the fitness of every recorded step, [N]."""
    rows, episode = examined.recording.transitions, examined.recording.episode
    layout = examined.layout
    names = [column.field.name for column in layout.columns]
    found = np.empty(len(rows))
    for number in range(len(examined.recording.fitness)):
        own = np.flatnonzero(episode == number)
        values = layout.values(rows.next[own], names)
        found[own] = step_fitness(examined.fitness, values, rows.native[own])
    return found


def shares(policies: Sequence[Policies], inputs: Floats) -> list[float | None]:
    """Return the share of each input [N, I] in how strongly the policies react, over all of them.

    A policy reacts by the mean of |∂output/∂z|, z the input in standard deviations over the rows.
    """
    unknown: list[float | None] = [None] * inputs.shape[1]
    found = []
    deviations = inputs.std(axis=0, dtype=np.float64)
    for policy in policies:
        rows = inputs[_spread(len(inputs), _affordable(policy))]
        strength = policy.slopes(rows[None])[0].astype(np.float64) * deviations
        if strength.sum() > 0:
            found.append(strength / strength.sum())
    return np.mean(found, axis=0).tolist() if found else unknown


def _affordable(policy: Policies) -> int:
    """Return how many rows may be looked at, so that wide networks take no longer."""
    weights = sum(weight[0].size for weight, _ in policy.layers)
    return int(np.clip(SLOPE_WORK / (weights * policy.space.size), 16, SLOPE_ROWS))


def _spread(length: int, most: int) -> npt.NDArray[np.int64]:
    """Return at most `most` row numbers, evenly spread."""
    return np.unique(np.linspace(0, length - 1, most).round().astype(np.int64))
