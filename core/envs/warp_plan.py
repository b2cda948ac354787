"""Which tasks MuJoCo Warp can simulate, and what is known of one before it is put on a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from core.envs.building import build, time_limit
from core.envs.mujoco.scene import Machine, MujocoTask
from core.envs.mujoco.tasks import TASKS
from core.envs.spaces import derive_fields, read_action_space, read_observation_space
from core.errors import EnvironmentUnusable
from core.fields import Layout, lay_out
from core.records.kinds import Json
from core.records.task import Task


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known before anything is put on a device.

    Attributes:
        task:    what is observed, paid and ended at.
        options: keyword arguments of gymnasium's constructor, defaults included.
        model:   `mujoco.MjModel`.
        machine: the same as the functions of `task` know it.
        skip:    simulator steps per environment step.
        limit:   episode length.
        layout:  the columns of a block.
        action:  as in `Preflight.action`.
    """

    task: MujocoTask
    options: Json
    model: Any
    machine: Machine
    skip: int
    limit: int
    layout: Layout
    action: Json


def simulated(task: Task) -> bool:
    """Tell whether MuJoCo Warp can take the place of this task's environment."""
    known = TASKS.get(task.environment)
    return known is not None and set(task.env_kwargs) <= set(known.options)


def plan(task: Task) -> Plan:
    """Build gymnasium's environment once and read model, limits and spaces from it.

    Raises:
        EnvironmentUnusable: it is none of the tasks of the table, or cannot be built.
        InvalidInput: a field's source points outside the observation.
    """
    if not simulated(task):
        raise EnvironmentUnusable(
            f"{task.environment} with {sorted(task.env_kwargs)}",
            expected=f"one of {', '.join(TASKS)} with options of its own",
            where="simulating on a GPU",
            hint="Train this task on the CPU: REWARDSMITH_DEVICE=cpu.",
        )
    known = TASKS[task.environment]
    env, _ = build(task)
    try:
        inner: Any = env.unwrapped
        observed = read_observation_space(env.observation_space)
        fields = task.fields or derive_fields(observed)
        return Plan(
            task=known,
            options={**known.options, **task.env_kwargs},
            model=inner.model,
            machine=_machine(inner),
            skip=int(inner.frame_skip),
            limit=time_limit(env) or 2**31,
            layout=lay_out(fields, observed.size, observed.offsets),
            action=read_action_space(env.action_space).description,
        )
    finally:
        env.close()


def _machine(inner: Any) -> Machine:
    model = inner.model
    return Machine(
        dt=float(inner.dt),
        timestep=float(model.opt.timestep),
        qpos=np.array(inner.init_qpos, np.float64),
        qvel=np.array(inner.init_qvel, np.float64),
        body={model.body(i).name: i for i in range(model.nbody)},
        body_mass=np.array(model.body_mass),
    )
