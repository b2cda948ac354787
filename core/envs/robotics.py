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
from pathlib import Path
from typing import Any, cast


def mend() -> None:
    """Make the installed gymnasium_robotics usable; a second call changes nothing."""
    utils: Any = importlib.import_module("gymnasium_robotics.utils.mujoco_utils")
    if isinstance(utils.mujoco, types.ModuleType):
        utils.mujoco = _with_numbered_joints(utils.mujoco)
        maze = importlib.import_module("gymnasium_robotics.envs.maze.maze_v4")
        point = importlib.import_module("gymnasium_robotics.envs.maze.point")
        _keep_mazes_in_memory(maze, point)


def _with_numbered_joints(mujoco: Any) -> Any:
    """Return the mujoco module as one of its users shall see it: kinds of joints are plain numbers."""
    kinds = {name: int(kind) for name, kind in mujoco.mjtJoint.__members__.items()}
    return types.SimpleNamespace(**vars(mujoco) | {"mjtJoint": types.SimpleNamespace(**kinds)})


class _Maze:
    """A model's description that is kept where an ElementTree would write it to a file."""

    kept: bytes | None = None

    def __init__(self, path: str) -> None:
        self._root = ET.parse(path).getroot()

    def find(self, path: str) -> ET.Element | None:
        """Find a part, as an ElementTree does."""
        return self._root.find(path)

    def write(self, _: str) -> None:
        """Keep the text for the simulation that is built next, for which it was made."""
        _Maze.kept = ET.tostring(self._root)


def _keep_mazes_in_memory(maze: Any, point: Any) -> None:
    """Let PointMaze's mazes go to its simulation by hand; those of ants keep their files."""
    make, initialize = maze.Maze.make_maze, point.PointEnv._initialize_simulation
    ball = Path(point.__file__).resolve().parent / "../assets/point/point.xml"

    def make_maze(agent_xml_path: str, *rest: Any) -> tuple[Any, str]:
        if agent_xml_path != str(ball):
            return cast(tuple[Any, str], make(agent_xml_path, *rest))
        files = maze.ET, maze.tempfile
        maze.ET = types.SimpleNamespace(parse=_Maze, SubElement=ET.SubElement)
        maze.tempfile = types.SimpleNamespace(TemporaryDirectory=lambda: contextlib.nullcontext(""))
        try:
            return make(agent_xml_path, *rest)[
                0
            ], agent_xml_path  # gymnasium asks for a file that is
        finally:
            maze.ET, maze.tempfile = files

    def initialize_simulation(env: Any) -> tuple[Any, Any]:
        """Do what `MujocoEnv._initialize_simulation` does, for a model that is in no file."""
        text, _Maze.kept = _Maze.kept, None
        if text is None:
            return cast(tuple[Any, Any], initialize(env))
        model = mujoco.MjModel.from_xml_string(text.decode())
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, env.width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, env.height)
        return model, mujoco.MjData(model)

    mujoco = importlib.import_module("mujoco")
    maze.Maze.make_maze = make_maze
    point.PointEnv._initialize_simulation = initialize_simulation
