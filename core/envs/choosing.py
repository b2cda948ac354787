"""Which implementation a task gets: the fastest that is true to the original."""

from __future__ import annotations

from core.envs.batch import EnvBatch, EnvFacts
from core.envs.building import build, time_limit
from core.envs.classic import DYNAMICS, Dynamics
from core.envs.gymnasium_rows import GymnasiumRows
from core.envs.numpy_rows import STATE, NumpyRows
from core.envs.spaces import (
    derive_fields,
    read_action_space,
    read_observation_space,
    refuse_raw_data,
)
from core.fields import Layout, lay_out, read_source
from core.records import Task


def describe_env(task: Task) -> EnvFacts:
    """Build the environment once and say what is known of it before its first step.

    Raises:
        EnvironmentUnusable: it cannot be built, or its spaces are not supported.
        InvalidInput: a field's source points outside the observation.
    """
    env, warnings = build(task)
    try:
        observed = read_observation_space(env.observation_space)
        refuse_raw_data(observed)
        facts = EnvFacts(
            observation_size=observed.size,
            key_offsets=observed.offsets,
            action=read_action_space(env.action_space).description,
            max_episode_steps=time_limit(env),
            fields=task.fields or derive_fields(observed),
            adapter="gymnasium" if _fast(task) is None else "numpy",
            warnings=warnings,
        )
    finally:
        env.close()
    lay_out(facts.fields, facts.observation_size, facts.key_offsets)
    return facts


def make_batch(task: Task, rows: int, *, autoreset: bool = True) -> EnvBatch:
    """Make a batch of `rows` environments of a task.

    Args:
        task:      the task; fields are derived where it has none.
        rows:      how many environments are stepped together.
        autoreset: start the next episode in the same step; otherwise ended rows stay frozen.

    Raises:
        EnvironmentUnusable: it cannot be built, or its spaces are not supported.
    """
    facts = describe_env(task)
    layout = lay_out(facts.fields, facts.observation_size, facts.key_offsets)
    return _rows(task, facts, layout, rows, autoreset)


def _rows(task: Task, facts: EnvFacts, layout: Layout, rows: int, autoreset: bool) -> EnvBatch:
    dynamics = _fast(task)
    if dynamics is None:
        return GymnasiumRows(task, layout, rows, autoreset=autoreset)
    limit = facts.max_episode_steps or dynamics.limit
    return NumpyRows(dynamics, layout, rows, limit=limit, autoreset=autoreset)


def _fast(task: Task) -> Dynamics | None:
    """Return the vectorised dynamics that are the same as what gymnasium would build."""
    dynamics = DYNAMICS.get(task.environment)
    if dynamics is None or task.env_kwargs:
        return None
    sources = [read_source(field) for field in task.fields]
    for source in sources:
        if source.kind == "info":
            return None
        if source.kind == "sim" and (
            source.key != STATE or source.start + source.size > dynamics.state_size
        ):
            return None
    return dynamics
