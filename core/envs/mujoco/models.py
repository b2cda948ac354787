"""Compiled models of the MuJoCo tasks, shared by all rows, and what can be varied in them."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Mapping, Sequence
from functools import cache

import mujoco
import numpy as np
import numpy.typing as npt
from gymnasium.envs.mujoco.mujoco_env import expand_model_path

from core.envs.mujoco.clock import stop_the_clock
from core.envs.mujoco.scene import Machine
from core.envs.variations import Variation, checked_factors, unknown_parameter

WORDS = {
    "mass": ("body_mass", "body_inertia"),
    "friction": ("geom_friction",),
    "gain": ("actuator_gainprm", "actuator_biasprm"),  # the strength of motors and servos
    "damping": ("dof_damping",),
    "gravity": ("opt.gravity",),
}
FIELDS = (
    "body_mass",
    "body_inertia",
    "geom_friction",
    "actuator_gear",
    "actuator_gainprm",
    "dof_damping",
    "dof_armature",
    "dof_frictionloss",
    "jnt_stiffness",
    "opt.gravity",
)
_INDEXED = re.compile(r"^(?P<name>[\w.]+?)(?:\[(?P<index>\d+)\])?$")


@cache
def compiled(xml: str) -> mujoco.MjModel:
    """Return the model of a file among gymnasium's assets; do not write into it.

    It is compiled once per process: compiling takes milliseconds, and HalfCheetah's prints a line
    about a deprecated attribute each time.

    MuJoCo looks for islands, parts that do not touch each other, to solve them apart.  A model of one
    tree of bodies is one island at most: without the search the numbers are the same, 8 % sooner.
    """
    stop_the_clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = mujoco.MjModel.from_xml_path(expand_model_path(xml))
    if model.ntree == 1:
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND.value
    return model


def describe_machine(
    model: mujoco.MjModel, frame_skip: int, body_mass: npt.NDArray[np.float64]
) -> Machine:
    """Return what the functions of a task know of a model; `body_mass` is [nbody] or [B, nbody]."""
    data = mujoco.MjData(model)
    return Machine(
        dt=model.opt.timestep * frame_skip,
        timestep=model.opt.timestep,
        qpos=data.qpos.copy(),
        qvel=data.qvel.copy(),
        body={model.body(index).name: index for index in range(model.nbody)},
        body_mass=body_mass,
    )


def varied_fields(
    model: mujoco.MjModel, variations: Sequence[Variation], rows: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the MjModel fields that vary, each [rows, *its shape].

    Raises:
        InvalidInput: an unknown parameter, or factors that do not fit.
    """
    varied: dict[str, npt.NDArray[np.float64]] = {}
    for variation in variations:
        factors = checked_factors(variation, rows)
        fields, index = _meant(variation, model)
        for field in fields:
            own = np.asarray(value_of(model, field))
            values = varied.setdefault(field, np.repeat(own[None], rows, axis=0))
            part = values if index is None else values[:, index : index + 1]
            part *= factors.reshape(rows, *[1] * own.ndim)
    return varied


def varied_models(
    model: mujoco.MjModel, varied: Mapping[str, npt.NDArray[np.float64]], rows: int
) -> list[mujoco.MjModel]:
    """Return one model per row, the same object for all where nothing varies."""
    if not varied:
        return [model] * rows
    models = [copy.copy(model) for _ in range(rows)]
    for row, own in enumerate(models):
        for field, values in varied.items():
            value_of(own, field)[...] = values[row]
        mujoco.mj_setConst(own, mujoco.MjData(own))
    return models


def value_of(model: mujoco.MjModel, field: str) -> npt.NDArray[np.float64]:
    """Return the live array of a field of the model or, after `opt.`, of its options."""
    holder, name = (model.opt, field[4:]) if field.startswith("opt.") else (model, field)
    value: npt.NDArray[np.float64] = getattr(holder, name)
    return value


def _meant(variation: Variation, model: mujoco.MjModel) -> tuple[tuple[str, ...], int | None]:
    """Return the fields that a variation's name means, and the index in them if it has one."""
    match = _INDEXED.match(variation.name)
    name = match["name"] if match else variation.name
    fields = WORDS.get(name, (name,) if name in FIELDS else ())
    if not fields:
        raise unknown_parameter(variation, [*WORDS, *FIELDS], "a MuJoCo model")
    index = int(match["index"]) if match and match["index"] else None
    size = min(len(value_of(model, field)) for field in fields)
    if index is not None and index >= size:
        raise unknown_parameter(variation, [f"{name}[0] to {name}[{size - 1}]"], "a MuJoCo model")
    return fields, index
