"""Which tasks the MuJoCo rows are true to, and by which of the two simulations.

"mujoco-batch" is the faster one.  "mujoco-data" is for tasks and fields that need contact forces:
Ant, Humanoid, HumanoidStandup, and `sim.cfrc_ext` and the like in any task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from core.envs.mujoco.scene import MujocoTask, Options
from core.envs.mujoco.tasks import TASKS
from core.fields import Source, read_source
from core.records.task import Task

Adapter: TypeAlias = Literal["mujoco-batch", "mujoco-data"]
BATCH: Adapter = "mujoco-batch"
DATA: Adapter = "mujoco-data"

EQUAL = frozenset(
    [
        "act",
        "actuator_force",
        "actuator_length",
        "actuator_velocity",
        "cam_xmat",
        "cam_xpos",
        "cdof",
        "cinert",
        "crb",
        "ctrl",
        "cvel",
        "geom_xmat",
        "geom_xpos",
        "qacc",
        "qacc_smooth",
        "qfrc_actuator",
        "qfrc_applied",
        "qfrc_bias",
        "qfrc_constraint",
        "qfrc_passive",
        "qfrc_smooth",
        "qpos",
        "qvel",
        "sensordata",
        "site_xmat",
        "site_xpos",
        "subtree_com",
        "ten_length",
        "ten_velocity",
        "xanchor",
        "xaxis",
        "ximat",
        "xipos",
        "xiquat",
        "xmat",
        "xpos",
        "xquat",
    ]
)
"""MjData fields that both simulations leave as gymnasium does, bit for bit, as tests show."""
CONTACT = frozenset({"cacc", "cfrc_ext", "cfrc_int"})
"""What `mj_rnePostConstraint` writes."""


def mujoco_route(task: Task) -> Adapter | None:
    """Return the simulation that is true to a task, None if only gymnasium's own objects are."""
    known = TASKS.get(task.environment)
    if known is None or read_options(known, task.env_kwargs) is None:
        return None
    sources = [read_source(field) for field in task.fields]
    if any(s.kind == "info" and not _told(known, s) for s in sources):
        return None
    names = {*known.reads, *(str(s.key) for s in sources if s.kind == "sim")}
    if not names <= EQUAL | CONTACT:
        return None
    return BATCH if names <= EQUAL else DATA


def _told(known: MujocoTask, source: Source) -> bool:
    return source.key in known.told and (source.start, source.size) == (0, 1)


def read_options(known: MujocoTask, given: Mapping[str, Any]) -> Options | None:
    """Return a task's options with the given ones in place, None if one is not honoured here."""
    if any(not _alike(value, known.options.get(name)) for name, value in given.items()):
        return None
    return {**known.options, **given}


def _alike(value: Any, default: Any) -> bool:
    """Tell whether a value is of the kind of the default, None being no default at all."""
    if isinstance(default, tuple):
        pair = isinstance(value, Sequence) and len(value) == len(default)
        return pair and all(_alike(v, d) for v, d in zip(value, default, strict=True))
    if isinstance(default, bool) or isinstance(value, bool):
        return type(value) is type(default)
    if isinstance(default, int):  # frame_skip
        return isinstance(value, int) and value > 0
    return isinstance(default, float) and isinstance(value, int | float)
