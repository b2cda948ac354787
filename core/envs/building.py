"""Building gymnasium environments, with errors that say what to install or to mend."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from typing import Any, TypeAlias

import gymnasium

from core.envs import robotics
from core.errors import EnvironmentUnusable
from core.families import ROBOTICS, family_of
from core.records.task import Task

Env: TypeAlias = gymnasium.Env[Any, Any]


_PACKAGES = {
    "box2d": '"gymnasium[box2d]"',
    "mujoco": '"gymnasium[mujoco]"',
    "pygame": '"gymnasium[classic_control]"',
}


def build(task: Task) -> tuple[Env, tuple[str, ...]]:
    """Make the task's environment; also return what gymnasium warned of.

    Raises:
        EnvironmentUnusable: unknown id, missing package, or the environment itself raised.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            env = _make(task)
        except (gymnasium.error.NameNotFound, gymnasium.error.NamespaceNotFound) as error:
            env = _make_from_family(task, error)
    return env, tuple(dict.fromkeys(str(warning.message) for warning in caught))


def _make(task: Task) -> Env:
    _mend(task)
    options: dict[str, Any] = dict(task.env_kwargs)
    if task.max_episode_steps is not None:
        options["max_episode_steps"] = task.max_episode_steps
    try:
        return gymnasium.make(task.environment, disable_env_checker=True, **options)
    except (gymnasium.error.NameNotFound, gymnasium.error.NamespaceNotFound):
        raise
    except gymnasium.error.DependencyNotInstalled as error:
        raise _missing_package(task, error) from error
    except gymnasium.error.UnregisteredEnv as error:  # version not found, and the like
        raise _unknown(task, error) from error
    except ModuleNotFoundError as error:
        raise _missing_package(task, error) from error
    except Exception as error:
        raise EnvironmentUnusable(
            f"{type(error).__name__}: {error}",
            where=f"building {task.environment}",
            hint="Check the environment's id and env_kwargs.",
        ) from error


def _mend(task: Task) -> None:
    family = family_of(task.environment)
    if family is None or family.module != ROBOTICS:
        return
    if importlib.util.find_spec(ROBOTICS) is not None:
        robotics.mend()


def _make_from_family(task: Task, error: gymnasium.error.UnregisteredEnv) -> Env:
    """Import the package that a known family comes in, and try again."""
    family = family_of(task.environment)
    if family is None:
        raise _unknown(task, error) from error
    try:
        module = importlib.import_module(family.module)
    except ImportError as missing:
        raise EnvironmentUnusable(
            f"the package {family.module} is not installed",
            where=f"building {task.environment}",
            hint=f"Install it: pip install {family.package}",
        ) from missing
    gymnasium.register_envs(module)
    try:
        return _make(task)
    except gymnasium.error.UnregisteredEnv as still_unknown:
        raise _unknown(task, still_unknown) from still_unknown


def _unknown(task: Task, error: Exception) -> EnvironmentUnusable:
    return EnvironmentUnusable(
        f"no environment {task.environment!r} ({error})",
        expected="an id that gymnasium.make knows, or module:EnvId",
        hint="Environments of your own: put their folder into the setting environment_paths and "
        "write the id as module:EnvId.",
    )


def _missing_package(task: Task, error: Exception) -> EnvironmentUnusable:
    module, colon, _ = task.environment.partition(":")
    if colon and f"No module named {module.partition('.')[0]!r}" in str(error):
        hint = "Install it, or put its folder into the setting environment_paths."
    else:
        said = str(error).lower()
        known = next((package for word, package in _PACKAGES.items() if word in said), None)
        package = known or getattr(error, "name", None)
        hint = f"Install it: pip install {package}" if package else "Install what it names."
    return EnvironmentUnusable(
        f"a package is missing ({error})", where=f"building {task.environment}", hint=hint
    )


def time_limit(env: Env) -> int | None:
    """Return the episode length in force, None if there is none."""
    limit = env.spec.max_episode_steps if env.spec is not None else None
    return None if limit is None or limit < 0 else int(limit)
