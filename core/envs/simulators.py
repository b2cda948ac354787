"""Loading simulators early: some look for libraries with a child process, which a jail refuses."""

from __future__ import annotations

import importlib
import importlib.util
import warnings

_SIMULATORS = {
    "mujoco": "gymnasium.envs.mujoco.mujoco_env",
    "Box2D": "gymnasium.envs.box2d",
    "pygame": "gymnasium.envs.toy_text",
}


def load_simulators() -> tuple[str, ...]:
    """Import what gymnasium would import on first use, and return what is installed.

    Call it before the sandbox closes.  Warnings are about windows and sound, which nobody opens.
    """
    installed = [name for name in _SIMULATORS if importlib.util.find_spec(name) is not None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in installed:
            importlib.import_module(_SIMULATORS[name])
        if "mujoco" in installed:
            importlib.import_module("gymnasium.envs.mujoco.mujoco_rendering")
            importlib.import_module("core.envs.mujoco.rows")  # with mujoco.batch
    return tuple(installed)
