"""The catalogue's tasks, as far as their packages are there, and what their real environments show."""

import importlib
import importlib.util
from functools import cache

import numpy as np
import pytest

import tests.rim.box2d  # noqa: F401
from core.envs.building import build
from core.envs.spaces import read_observation_space
from core.fields import lay_out, read_source
from core.tasks import catalogue

STEPS = 400
NEEDED = {"Fetch": "gymnasium_robotics", "PointMaze": "gymnasium_robotics"}  # an extra


def task_parameter(name):
    """Skip what needs a package that is not installed."""
    environment = catalogue()[name].environment
    package = next((p for start, p in NEEDED.items() if environment.startswith(start)), None)
    missing = package is not None and importlib.util.find_spec(package) is None
    return pytest.param(
        name, marks=pytest.mark.skipif(missing, reason=f"needs {package}, an extra")
    )


TASKS = [task_parameter(name) for name in catalogue()]
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def rollout(task, steps=STEPS, policy=None):
    """Yield (environment, obs, action, next obs, native, terminated, truncated, info), seeded.

    Observations are as the environment gives them, a dictionary included.
    """
    env, _ = build(task)
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    for _ in range(steps):
        action = env.action_space.sample() if policy is None else policy(obs)
        following, native, terminated, truncated, info = env.step(action)
        yield env, obs, action, following, native, terminated, truncated, info
        obs = following if not (terminated or truncated) else env.reset()[0]
    env.close()


@cache
def observed(name):
    env, _ = build(catalogue()[name])
    space = read_observation_space(env.observation_space)
    env.close()
    return space


def layout_of(task):
    space = observed(task.name)
    return lay_out(task.fields, space.size, space.offsets)


def by_name(task, obs):
    flat = observed(task.name).flatten(obs)
    return {
        c.field.name: flat[c.start] if c.scalar else flat[c.start : c.stop]
        for c in layout_of(task).columns
        if c.source.kind == "obs"
    }


def simulated(env, source):
    """Return the numbers of a `sim` source, as the adapters read them."""
    numbers = np.ravel(getattr(env.unwrapped.data, source.key))
    return numbers[source.start : source.stop or source.start + 1]


def values_of(task, env, obs, info, terminated):
    """Return every field of a step by name."""
    values = by_name(task, obs)
    for field in task.fields:
        source = read_source(field)
        if source.kind == "info":
            values[field.name] = float(info[source.key])
        elif source.kind == "sim":
            numbers = simulated(env, source).copy()
            values[field.name] = float(numbers[0]) if source.stop is None else numbers
        elif source.kind == "terminated":
            values[field.name] = float(terminated)
    return values
