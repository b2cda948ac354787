"""Gymnasium-Robotics as it has to be here: beside today's MuJoCo, and behind walls.

Two things stand in the way of its environments.  Since MuJoCo 3.12 a number of NumPy is no longer `in`
a tuple of MuJoCo's names for kinds of joints, which every Fetch and Hand environment asks on being
built.  And a maze is written to a temporary file that MuJoCo reads at once and nobody ever deletes,
while a jailed process may write none.  `mend` puts both right and touches nothing of what is computed.
"""

from __future__ import annotations

import contextlib
import importlib
import types
import xml.etree.ElementTree as ET
from typing import Any


def mend() -> None:
    """Make the installed gymnasium_robotics usable; a second call changes nothing."""
    utils: Any = importlib.import_module("gymnasium_robotics.utils.mujoco_utils")
    if isinstance(utils.mujoco, types.ModuleType):
        utils.mujoco = _with_numbered_joints(utils.mujoco)
        maze = importlib.import_module("gymnasium_robotics.envs.maze.maze_v4")
        point = importlib.import_module("gymnasium_robotics.envs.maze.point")
        _keep_mazes_in_memory(maze, point.PointEnv)


def _with_numbered_joints(mujoco: Any) -> Any:
    """Return the mujoco module as one of its users shall see it: kinds of joints are plain numbers."""
    kinds = {name: int(kind) for name, kind in mujoco.mjtJoint.__members__.items()}
    return types.SimpleNamespace(**vars(mujoco) | {"mjtJoint": types.SimpleNamespace(**kinds)})


class _Maze:
    """A model's description that is kept where an ElementTree would write it to a file."""

    kept = b""

    def __init__(self, path: str) -> None:
        self._root = ET.parse(path).getroot()

    def find(self, path: str) -> ET.Element | None:
        """Find a part, as an ElementTree does."""
        return self._root.find(path)

    def write(self, _: str) -> None:
        """Keep the text for whoever reads a maze next, which is who had it written."""
        _Maze.kept = ET.tostring(self._root)


def _keep_mazes_in_memory(maze: Any, point_env: Any) -> None:
    original = maze.Maze.make_maze

    def make_maze(agent_xml_path: str, *rest: Any) -> tuple[Any, str]:
        """Name the agent's file, which exists, as the maze's: gymnasium looks whether it does."""
        return original(agent_xml_path, *rest)[0], agent_xml_path

    maze.Maze.make_maze = make_maze
    maze.ET = types.SimpleNamespace(parse=_Maze, SubElement=ET.SubElement)
    maze.tempfile = types.SimpleNamespace(TemporaryDirectory=lambda: contextlib.nullcontext(""))
    point_env._initialize_simulation = _read_from_memory


def _read_from_memory(env: Any) -> tuple[Any, Any]:
    """Do what `MujocoEnv._initialize_simulation` does, for a model that is in no file."""
    import mujoco

    model = mujoco.MjModel.from_xml_string(_Maze.kept.decode())
    model.vis.global_.offwidth = max(model.vis.global_.offwidth, env.width)
    model.vis.global_.offheight = max(model.vis.global_.offheight, env.height)
    return model, mujoco.MjData(model)
