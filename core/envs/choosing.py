"""Which implementation a task gets: the fastest that is true to the original."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.envs.batch import EnvBatch, EnvFacts
from core.envs.building import build, time_limit
from core.envs.classic import DYNAMICS
from core.envs.gymnasium_rows import GymnasiumRows
from core.envs.mujoco.routes import BATCH, DATA, Adapter, mujoco_route
from core.envs.numpy_rows import STATE, NumpyRows
from core.envs.spaces import (
    derive_fields,
    read_action_space,
    read_observation_space,
    refuse_raw_data,
)
from core.envs.variations import Variation, unknown_parameter
from core.fields import Layout, lay_out, read_source
from core.records.task import Task


def describe_env(task: Task) -> EnvFacts:
    """Build the environment once and say what is known of it before its first step.

    Raises:
        EnvironmentUnusable: it cannot be built, or its spaces are not supported.
        InvalidInput: a field's source points outside the observation.
    """
    env, warnings = build(task)
    try:
        observed = read_observation_space(
            env.observation_space, f"observation space of {task.environment}"
        )
        refuse_raw_data(observed)
        facts = EnvFacts(
            observation_size=observed.size,
            key_offsets=observed.offsets,
            action=read_action_space(env.action_space).description,
            max_episode_steps=time_limit(env),
            fields=task.fields or derive_fields(observed),
            adapter=_route(task).adapter,
            warnings=warnings,
        )
    finally:
        env.close()
    lay_out(facts.fields, facts.observation_size, facts.key_offsets)
    return facts


def make_batch(
    task: Task,
    rows: int,
    *,
    autoreset: bool = True,
    nthread: int = 1,
    variations: Sequence[Variation] = (),
) -> EnvBatch:
    """Make a batch of `rows` environments of a task.

    Args:
        task:       the task; fields are derived where it has none.
        rows:       how many environments are stepped together.
        autoreset:  start the next episode in the same step; otherwise ended rows stay frozen.
        nthread:    threads for simulators that can use them; results do not depend on it.  Where it
                    is more than 1, do not fork while the batch is open.
        variations: model parameters that differ between rows.

    Raises:
        EnvironmentUnusable: it cannot be built, or its spaces are not supported.
        InvalidInput: a variation that this environment does not have.
    """
    facts = describe_env(task)
    layout = lay_out(facts.fields, facts.observation_size, facts.key_offsets)
    wish = _Wish(task, facts, layout, rows, autoreset, nthread, variations)
    return _route(task).make(wish)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What `make_batch` was asked for, and what is known of the environment."""

    task: Task
    facts: EnvFacts
    layout: Layout
    rows: int
    autoreset: bool
    nthread: int
    variations: Sequence[Variation]


@dataclass(frozen=True, slots=True)
class _Route:
    """One implementation: its name, the tasks that it is true to, and how to make it."""

    adapter: str
    true_to: Callable[[Task], bool]
    make: Callable[[_Wish], EnvBatch]


def _numpy(wish: _Wish) -> EnvBatch:
    dynamics = DYNAMICS[wish.task.environment]
    limit = wish.facts.max_episode_steps or dynamics.limit
    return NumpyRows(
        dynamics,
        wish.layout,
        wish.rows,
        limit=limit,
        autoreset=wish.autoreset,
        variations=wish.variations,
    )


def _mujoco(wish: _Wish, adapter: Adapter) -> EnvBatch:
    from core.envs.mujoco.rows import MujocoRows  # mujoco is loaded where it is needed

    return MujocoRows(
        wish.task,
        wish.facts,
        wish.layout,
        wish.rows,
        adapter=adapter,
        autoreset=wish.autoreset,
        nthread=wish.nthread,
        variations=wish.variations,
    )


def _gymnasium(wish: _Wish) -> EnvBatch:
    if wish.variations:
        raise unknown_parameter(wish.variations[0], [], f"{wish.task.environment} as an object")
    return GymnasiumRows(wish.task, wish.layout, wish.rows, autoreset=wish.autoreset)


def _is_classic(task: Task) -> bool:
    """Tell whether the vectorised dynamics are the same as what gymnasium would build."""
    dynamics = DYNAMICS.get(task.environment)
    if dynamics is None or task.env_kwargs:
        return False
    for source in map(read_source, task.fields):
        if source.kind == "info":
            return False
        if source.kind == "sim" and (
            source.key != STATE or source.start + source.size > dynamics.state_size
        ):
            return False
    return True


_ROUTES = (  # the first that is true to a task is taken
    _Route("numpy", _is_classic, _numpy),
    _Route(BATCH, lambda task: mujoco_route(task) == BATCH, lambda wish: _mujoco(wish, BATCH)),
    _Route(DATA, lambda task: mujoco_route(task) == DATA, lambda wish: _mujoco(wish, DATA)),
    _Route("gymnasium", lambda task: True, _gymnasium),
)


def _route(task: Task) -> _Route:
    return next(route for route in _ROUTES if route.true_to(task))
