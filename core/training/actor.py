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
    return Actor(
        None if program is None else load_program(program, layout),
        stack_policies(weights, space),
        episodes,
        layout.observation_size,
    )


@dataclass(frozen=True, slots=True)
class Actor:
    """The policies of one wave, with the program that gives their features."""

    program: LoadedProgram | None
    policies: Policies
    episodes: int
    observation_size: int

    def serve(self, link: FloatLink) -> None:
        """Answer frames of observations [rows, D] until the other end closes."""
        rows = self.policies.count * self.episodes
        nbytes = 4 * rows * self.observation_size
        while True:
            try:
                frame = np.frombuffer(link.receive_exactly(nbytes), np.float32)
            except ChannelClosed:
                return
            link.send(self.answer(frame.reshape(rows, self.observation_size)).tobytes())

    def answer(self, observed: Floats) -> Floats:
        """Return the actions [rows, 1 or A] for observations [rows, D]."""
        inputs = observed
        if self.program is not None:
            inputs = np.concatenate([observed, self.program.features(observed)], axis=1)
        stacked = inputs.reshape(self.policies.count, self.episodes, -1)
        actions = self.policies.act(stacked)
        return np.ascontiguousarray(actions.reshape(len(observed), -1), np.float32)
