"""Runs of the user's own learner, Stable-Baselines3, on the same rows and programs as ours.

One run after the other, in the same jail and under the same supervision.  The environment is our batch
with the designed reward and features, which is what the downloaded wrapper does step for step.  Of a
trained model only the acting network's numbers leave, in the form of our own policies, so that the
scorer measures it like any other and nobody reads a pickle.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from torch import nn

from core.envs import EnvBatch
from core.errors import InvalidInput
from core.fields import Floats
from core.learners import Learner
from core.records import Curve
from core.training.action_space import ActionSpace, read_action_space
from core.training.course import Course, Span
from core.training.designs import Designs
from core.training.numpy_policy import RELU, SQUASHED
from core.training.sb3_rows import callback, vec_env
from core.training.weights import Progressed

REACH = 1e3
"""Our actor clips inputs to ±10, theirs does not: inputs are divided by it, weights multiplied."""


@dataclass(slots=True)
class Sb3Pack:
    """Members that are trained one after the other with somebody else's learner.

    Attributes:
        batch:   the rows of one member, which all use in turn.
        designs: of each member, its program alone.
    """

    course: Course
    batch: EnvBatch
    designs: Sequence[Designs]
    learner: Learner
    points: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    _weights: dict[int, bytes] = field(default_factory=dict)

    @property
    def computed_by(self) -> str:
        """Name what computes the networks."""
        return f"{self.learner.library} {self.learner.algorithm}"

    @property
    def progressed(self) -> Progressed:
        """Return how far the members have come."""
        return self.course.progressed

    @property
    def living(self) -> list[int]:
        """Return the places of the members that can go on."""
        return self.course.living

    def train(self, span: Span) -> None:
        """Train every member for `span.stop` steps, and tell the weights of all in the end.

        Raises:
            InvalidInput: the learner does not take a setting.
        """
        for place in range(len(self.course.members)):
            if place not in self.course.failures:
                self._train_one(place, span)
        self.course.count(span.stop)
        weights = {place: self._weights[place] for place in self.living}
        if weights:
            self.course.listener.snapshot(span.stop, weights)

    def checkpoints(self) -> dict[int, bytes]:
        """Return the weights of the living members; nobody goes on from them."""
        return {place: self._weights[place] for place in self.living}

    def curve(self, member: int) -> Curve:
        """Return the reward per step that a member was trained on."""
        points = self.points.get(member, [])
        return Curve(
            tuple(steps for steps, _ in points), {"training_reward": tuple(r for _, r in points)}
        )

    def _train_one(self, place: int, span: Span) -> None:
        designs, seed = self.designs[place], self.course.members[place].seed
        rows = vec_env(self.batch, designs, seed)
        model = new_model(self.learner, rows, seed)

        def told(lived: int, earned: float) -> bool:
            self.course.tick((place * span.stop + min(lived, span.stop)) // len(self.designs))
            if lived >= self._due(place, span):
                self.points.setdefault(place, []).append((lived, earned))
                span.pause()
            return not designs.rejections

        model.learn(span.stop, callback=callback(rows, told))
        if designs.rejections:
            self.course.take_out({place: designs.rejections[0]}, lambda member: None)
            return
        weights = acting_weights(model, read_action_space(self.batch.action))
        if all(np.isfinite(tensor).all() for tensor in weights.values()):
            self._weights[place] = save(weights)
        else:
            self.course.take_out({place: "the network became NaN or infinite"}, lambda member: None)

    def _due(self, place: int, span: Span) -> int:
        """Return at how many steps a member has something to tell: a hundred times in all."""
        last = self.points.get(place, [(0, 0.0)])[-1][0]
        return last + max(1, span.stop // 100)


def new_model(learner: Learner, rows: Any, seed: int) -> Any:
    """Make an untrained model of the learner's class.

    Raises:
        InvalidInput: the class does not take a setting, or such actions.
    """
    # Parts of torch that only its own optimisers load make a folder for a cache, which no jail allows.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(torch.__file__).parent)
    import stable_baselines3
    from stable_baselines3.common.logger import Logger

    given = dict(learner.settings)
    networks: dict[str, Any] = {}
    if "net_arch" in given:
        networks["net_arch"] = list(given.pop("net_arch"))  # type: ignore[call-overload]
    if "activation" in given:
        networks["activation_fn"] = nn.ReLU if given.pop("activation") == "relu" else nn.Tanh
    kind = getattr(stable_baselines3, learner.algorithm)
    try:
        model = kind(
            "MlpPolicy", rows, seed=seed, device="cpu", policy_kwargs=networks or None, **given
        )
    except (TypeError, ValueError, AssertionError) as error:
        raise InvalidInput(
            str(error),
            expected=f"settings and actions that {learner.algorithm} of Stable-Baselines3 takes",
            where="evaluation.transfer",
        ) from error
    model.set_logger(Logger(folder=None, output_formats=[]))  # its own would make a folder
    return model


# --- what leaves ----------------------------------------------------------------------------------


def acting_weights(model: Any, space: ActionSpace) -> dict[str, Floats]:
    """Return the acting network of a model in the form of our policies (`numpy_policy.py`)."""
    layers, squashed = _acting_layers(model)
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    relu = any(isinstance(layer, nn.ReLU) for layer in layers)
    names = [*(f"policy.{i}" for i in range(len(linear) - 1)), "policy.out"]
    weights: dict[str, Floats] = {}
    for name, layer in zip(names, linear, strict=True):
        weights[f"{name}.weight"] = _array(layer.weight)
        weights[f"{name}.bias"] = _array(layer.bias)
    weights[f"{names[0]}.weight"] *= np.float32(REACH)
    inputs = linear[0].in_features
    weights["normaliser.mean"] = np.zeros(inputs, np.float32)
    weights["normaliser.scale"] = np.full(inputs, 1.0 / REACH, np.float32)
    if relu:
        weights[RELU] = np.ones(1, np.float32)
    if squashed:
        weights[SQUASHED] = np.ones(1, np.float32)
    elif not space.discrete:
        weights["policy.log_std"] = np.zeros(space.size, np.float32)  # not used to act for sure
    return weights


def _acting_layers(model: Any) -> tuple[Sequence[nn.Module], bool]:
    """Return the layers from inputs to output, and whether the output is squashed to the bounds."""
    policy = model.policy
    if hasattr(policy, "q_net"):  # DQN
        return list(policy.q_net.q_net), False
    if hasattr(policy, "action_net"):  # PPO, A2C
        return [*policy.mlp_extractor.policy_net, policy.action_net], False
    actor = policy.actor
    if hasattr(actor, "latent_pi"):  # SAC
        return [*actor.latent_pi, actor.mu], True
    return list(actor.mu), True  # TD3, DDPG: its last layer is the squashing itself


def _array(parameter: torch.Tensor) -> Floats:
    array: Floats = parameter.detach().cpu().numpy().astype(np.float32).copy()
    return array
