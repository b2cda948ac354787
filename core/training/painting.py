"""The parent's side of drawing MuJoCo's states: outside the jail, in a process of its own.

A renderer needs a graphics driver, which the jail does not let in, and MuJoCo settles on one for the
whole process; so the camera in the jail records states, and `easel.py` draws them.  Nothing but numbers
goes there, and no code of anybody's: environments of the user's own are not drawn.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

import core
from core.errors import FilmingFailed
from core.ports import Progress, Watch
from core.records.task import Task
from core.sandbox.start import clean_environment
from core.training.video import HEIGHT, WIDTH, run_attended
from core.training.wire import task_to_json

PAINT_SECONDS = 240.0
DRIVERS = ("egl", "osmesa")  # the first that works is taken
EASEL = "core.training.easel"


def paint(
    task: Task, states: bytes, count: int, watch: Watch, progress: Progress
) -> npt.NDArray[np.uint8]:
    """Draw states of a task's environment.

    Args:
        task:     whose environment.
        states:   float64 [count, state size].
        count:    how many.
        watch:    called about twice a second.
        progress: what it is told.

    Returns:
        [count, HEIGHT, WIDTH, 3]

    Raises:
        FilmingFailed: no driver could do it; says what each said.
    """
    if ":" in task.environment:
        raise FilmingFailed(
            f"{task.environment} is code of yours, which never runs outside the sandbox, and MuJoCo "
            "cannot draw inside it"
        )
    said = []
    for driver in DRIVERS:
        try:
            return _painted(task, states, count, driver, watch, progress)
        except FilmingFailed as error:
            said.append(f"{driver}: {error}")
    raise FilmingFailed(
        "; ".join(said),
        where="MuJoCo's renderer",
        hint="Install a software renderer, on Debian: apt-get install libegl1 libgl1-mesa-dri",
    )


def _painted(
    task: Task, states: bytes, count: int, driver: str, watch: Watch, progress: Progress
) -> npt.NDArray[np.uint8]:
    asked = {"task": task_to_json(task), "count": count, "width": WIDTH, "height": HEIGHT}
    header = json.dumps(asked).encode()
    environment = {**clean_environment(), "MUJOCO_GL": driver, "PYTHONPATH": _root()}
    command = [sys.executable, "-P", "-s", "-m", EASEL]
    given = b"%d\n%b%b" % (len(header), header, states)
    drawn = run_attended(command, given, environment, PAINT_SECONDS, watch, progress)
    if len(drawn) != count * WIDTH * HEIGHT * 3:
        raise FilmingFailed(f"{len(drawn)} bytes", expected=f"{count} pictures")
    return np.frombuffer(drawn, np.uint8).reshape(count, HEIGHT, WIDTH, 3)


def _root() -> str:
    return str(Path(core.__file__).resolve().parent.parent)
