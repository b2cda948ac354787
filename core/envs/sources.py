"""The source text of an environment's classes, read where it is built; `core.context` cuts it down."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator

from core.context import MOST_SOURCE, module_constants
from core.envs.building import Env, build
from core.records.task import Task

_COMMON = (  # tell nothing of a task
    "builtins",
    "abc",
    "typing",
    "gymnasium.core",
    "gymnasium.utils",
    "gymnasium.envs.mujoco.mujoco_env",
)


def environment_source(task: Task) -> str:
    """Return the constants and classes of the task's environment, the most derived class first.

    At most MOST_SOURCE characters, in whole classes; "" where nothing can be read, as of an extension.

    Raises:
        EnvironmentUnusable: the environment cannot be built.
    """
    env, _ = build(task)
    try:
        return "\n\n".join(_within(_parts(env)))
    finally:
        env.close()


def _parts(env: Env) -> Iterator[str]:
    constants: dict[str, None] = {}
    for kind in type(env.unwrapped).__mro__:
        if not kind.__module__.startswith(_COMMON):
            try:
                text = textwrap.dedent(inspect.getsource(kind))
                module = inspect.getsource(inspect.getmodule(kind) or kind)
            except (OSError, TypeError):
                continue  # compiled, or made at run time
            added = [line for line in module_constants(module).split("\n") if line not in constants]
            constants |= dict.fromkeys(added)
            yield "\n".join([*added, text]).strip()


def _within(parts: Iterator[str]) -> Iterator[str]:
    left = MOST_SOURCE
    for part in parts:
        left -= len(part) + 2
        if left < 0:
            return
        yield part
