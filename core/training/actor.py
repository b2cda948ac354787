"""The actor: a jailed, untrusted process that computes features and actions, and nothing else.

It sees observations and answers with actions; it knows neither seeds nor fitness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import ProgramRejected, ScoringFailed
from core.fields import Floats
from core.sandbox.frames import Channel, ChannelClosed, FloatLink, Frame, Link
from core.training.action_space import read_action_space
from core.training.numpy_policy import Policies, read_weights, stack_policies
from core.training.runtime import LoadedProgram, load_program
from core.training.waves import waves
from core.training.wire import layout_from_json, program_from_json, rejection_to_json


def act(channel: Channel, links: Sequence[Link]) -> None:
    """Answer frames of observations with frames of actions until the scorer hangs up."""
    try:
        _prepare(channel.receive()).serve(FloatLink(links[0]))
    except ProgramRejected as error:
        channel.send(rejection_to_json(error))
    except ScoringFailed as error:
        channel.send({"kind": "failed", "reason": str(error)})


def _prepare(frame: Frame) -> Actor:
    order = frame.header
    layout = layout_from_json(order["space"])
    program = program_from_json(order["program"])
    space = read_action_space(order["action"])
    count, episodes = int(order["policies"]), int(order["episodes"])
    weights = [
        read_weights(frame.blobs[f"weights.{i}"], layout.observation_size, space)
        for i in range(count)
    ]
    plan = waves(count, episodes, int(order["most_rows"]))
    return Actor(
        None if program is None else load_program(program, layout),
        tuple(stack_policies([weights[i] for i in wave], space) for wave in plan),
        episodes,
        layout.observation_size,
    )


@dataclass(frozen=True, slots=True)
class Actor:
    """The policies of one arm, wave by wave, with the program that gives their features."""

    program: LoadedProgram | None
    waves: tuple[Policies, ...]
    episodes: int
    observation_size: int

    def serve(self, link: FloatLink) -> None:
        """Answer until the other end closes.  A frame is the wave's number, then [rows, D]."""
        rows = self.waves[0].count * self.episodes
        nbytes = 4 * (1 + rows * self.observation_size)
        while True:
            try:
                frame = np.frombuffer(link.receive_exactly(nbytes), np.float32)
            except ChannelClosed:
                return
            observed = frame[1:].reshape(rows, self.observation_size)
            link.send(self.answer(int(frame[0]), observed).tobytes())

    def answer(self, wave: int, observed: Floats) -> Floats:
        """Return the actions [rows, 1 or A] for observations [rows, D] of a wave."""
        policies = self.waves[wave]
        inputs = observed
        if self.program is not None:
            inputs = np.concatenate([observed, self.program.features(observed)], axis=1)
        stacked = inputs.reshape(policies.count, self.episodes, -1)
        actions = policies.act(stacked)
        return np.ascontiguousarray(actions.reshape(len(observed), -1), np.float32)
