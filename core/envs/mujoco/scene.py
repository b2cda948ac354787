"""What the functions of the table of MuJoCo tasks are given, and what they give.

Nothing here knows where the arrays come from: they are NumPy arrays on the CPU and torch tensors on
a GPU, always with the rows as their first dimension.  `xp` is the module that they belong to (`numpy`
or `torch`); the functions use only what both have under one name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = Any  # np.ndarray or torch.Tensor
Fields: TypeAlias = Mapping[str, Array]  # name of an MjData field -> [B, *its shape in MjData]
Options: TypeAlias = Mapping[str, Any]  # keyword arguments of gymnasium's constructor
Start: TypeAlias = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]  # qpos [nq], qvel [nv]


@dataclass(frozen=True, slots=True)
class Machine:
    """What the functions know of the simulated machine.

    Attributes:
        dt:         seconds of one environment step (`timestep` times frame_skip).
        timestep:   seconds of one simulator step.
        qpos, qvel: where episodes start before noise is added, [nq] and [nv].
        body:       name of a body -> its index in `xpos` and the like.
        body_mass:  kg, [nbody], or [B, nbody] where rows differ.
    """

    dt: float
    timestep: float
    qpos: npt.NDArray[np.float64]
    qvel: npt.NDArray[np.float64]
    body: Mapping[str, int]
    body_mass: Array


@dataclass(slots=True)
class Scene:
    """One step of all rows, as the functions of a task see it.

    Attributes:
        after:   the simulator's fields after the step, or after a reset.
        machine: the machine.
        options: the task's options, with gymnasium's defaults where the user said nothing.
        xp:      `numpy` or `torch`.
        before:  the fields that the task names in `before`, as they were before the step.
        action:  [B, nu], as the environment received it.
    """

    after: Fields
    machine: Machine
    options: Options
    xp: Any
    before: Fields = field(default_factory=dict)
    action: Array = None


class Outcome(NamedTuple):
    """What a step gave besides the observation.

    Attributes:
        native:     [B], the environment's own reward.
        terminated: [B] bool, by the environment's own rule.
        info:       what gymnasium tells in `info` at every step, name -> [B].
    """

    native: Array
    terminated: Array
    info: dict[str, Array]


@dataclass(frozen=True, slots=True)
class MujocoTask:
    """One of gymnasium's MuJoCo tasks as functions over rows.

    Attributes:
        xml:     its model, a file among gymnasium's assets.
        options: keyword arguments of gymnasium's constructor that the functions honour, with
                 gymnasium's defaults; `frame_skip` is one of them.
        reads:   MjData fields that `observe` and `judge` find in `Scene.after`.
        before:  MjData fields that `judge` finds in `Scene.before`.
        told:    keys of `Outcome.info`.
        start:   generator, machine, options -> the first qpos and qvel of an episode, drawn from the
                 generator in gymnasium's order.  On the CPU always: it is called once per episode.
        observe: scene -> observation [B, D].
        judge:   scene -> native reward, termination and info.
    """

    xml: str
    options: Options
    reads: tuple[str, ...]
    before: tuple[str, ...]
    told: tuple[str, ...]
    start: Callable[[np.random.Generator, Machine, Options], Start]
    observe: Callable[[Scene], Array]
    judge: Callable[[Scene], Outcome]
