"""The camera: a jailed process like the scorer that lives one episode and takes pictures of it.

It loads no generated code: actions come from the actor, in lock step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from core.envs import describe_env
from core.envs.filmed_row import FilmedRow
from core.errors import EnvironmentUnusable, SandboxFailed, ScoringFailed
from core.fields import lay_out
from core.fitness import MOST_STEPS
from core.sandbox.frames import Channel, FloatLink, Link
from core.training.action_space import read_action_space
from core.training.episodes import Episode, run_episodes
from core.training.keeping import put_together
from core.training.scorer import ask_actor
from core.training.transitions import save_recording
from core.training.video import fitted
from core.training.wire import task_from_json

MOST_PICTURES = 300
MOST_STATES = 150  # a state takes a software renderer a tenth of a second


def film(channel: Channel, links: Sequence[Link]) -> None:
    """Live one episode: an order in; numbers, pictures and the recorded steps out."""
    order = channel.receive().header
    try:
        row, every = _set_up(order)
        channel.send({"kind": "ready"})
        episode = _live(row, order, FloatLink(links[0]))
    except (ScoringFailed, EnvironmentUnusable, SandboxFailed) as error:
        channel.send({"kind": "failed", "error": type(error).__name__, "reason": str(error)})
        return
    assert episode.transitions is not None  # it was kept
    said = {
        "fitness": episode.fitness,
        "native": episode.native,
        "length": episode.length,
        "terminated": episode.terminated,
        "camera": row.camera,
        "why": row.why,
        "shots": len(row.shots),
        "size": list(row.size),
        "fps": row.fps,
        "every": every,
    }
    recording = save_recording(put_together([(episode.transitions, episode.fitness)]))
    channel.send({"kind": "filmed", **said}, {"shots": b"".join(row.shots), "recording": recording})


def _set_up(order: Mapping[str, Any]) -> tuple[FilmedRow, int]:
    task = task_from_json(order["task"])
    facts = describe_env(task)
    layout = lay_out(facts.fields, facts.observation_size, facts.key_offsets)
    limit = order["max_episode_steps"] or MOST_STEPS
    every = math.ceil(limit / MOST_PICTURES)
    row = FilmedRow(task, layout, every, fitted)
    if row.camera == "states":
        every = math.ceil(limit / MOST_STATES)
        row = FilmedRow(task, layout, every, fitted)
    return row, every


def _live(row: FilmedRow, order: Mapping[str, Any], link: FloatLink) -> Episode:
    space, task = read_action_space(row.action), task_from_json(order["task"])
    size = row.layout.observation_size
    (episode,) = run_episodes(
        row,
        lambda state: ask_actor(link, state[:, :size], space),
        [int(order["seed"])],
        task.fitness,
        keep=[0],
        limit=order["max_episode_steps"],
    )
    link.close()
    if not math.isfinite(episode.fitness) or not math.isfinite(episode.native):
        raise ScoringFailed("a fitness that is not finite", expected="finite numbers")
    return episode
