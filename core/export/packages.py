"""What a download needs to run: lines of `requirements.txt`, and the same in a sentence."""

from __future__ import annotations

import re

from core.families import family_of
from core.records.task import Task

# Extras of gymnasium, by the names of the environments that need them.
_EXTRAS = (
    (re.compile(r"^(LunarLander|BipedalWalker|CarRacing)"), "box2d"),
    (
        re.compile(r"^(Ant|HalfCheetah|Hopper|Humanoid|Inverted|Pusher|Reacher|Swimmer|Walker2d)"),
        "mujoco",
    ),
)


def requirements(task: Task) -> tuple[str, ...]:
    """Return what the reward file of a task needs, as lines of a `requirements.txt`."""
    name = task.environment.rpartition(":")[2]
    extra = next((extra for known, extra in _EXTRAS if known.search(name)), None)
    family = None if module_of_yours(task) else family_of(task.environment)
    lines = ["gymnasium>=1.4" if extra is None else f"gymnasium[{extra}]>=1.4", "numpy>=2.0"]
    if family is not None:
        lines.append(family.requirement)
    if task.array == "torch":
        lines.append("torch>=2.0")
    return tuple(lines)


def in_words(task: Task) -> str:
    """Return the same without versions, for a sentence."""
    *first, last = (re.split("[<>=]", line)[0] for line in requirements(task))
    return f"{', '.join(first)} and {last}"


def module_of_yours(task: Task) -> str | None:
    """Return the module that registers the environment, if no known package brings it."""
    module, family = task.environment.rpartition(":")[0], family_of(task.environment)
    return None if not module or (family and family.module == module) else module
