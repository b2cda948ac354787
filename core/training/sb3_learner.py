"""Stable-Baselines3 as the user's own learner: a class of it with the user's settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.errors import InvalidInput
from core.learners import WHERE, Learner
from core.training.acting import Acting
from core.training.learner_rows import Live, Rows
from core.training.sb3_rows import callback, vec_env


def train_sb3(learner: Learner, rows: Rows, steps: int, seed: int, live: Live) -> Acting:
    """Train a new model for so many environment steps; return the network that acts.

    Raises:
        InvalidInput: the class does not take a setting, or such actions.
    """
    seen = vec_env(rows)
    model = new_model(learner, seen, seed)
    model.learn(steps, callback=callback(rows, live))
    return acting_network(model)


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
            where=WHERE,
        ) from error
    model.set_logger(Logger(folder=None, output_formats=[]))  # its own would make a folder
    return model


def acting_network(model: Any) -> Acting:
    """Return the layers of a model that choose its actions."""
    policy = model.policy
    if hasattr(policy, "q_net"):  # DQN
        return Acting(list(policy.q_net.q_net))
    if hasattr(policy, "action_net"):  # PPO, A2C
        return Acting([*policy.mlp_extractor.policy_net, policy.action_net])
    actor = policy.actor
    if hasattr(actor, "latent_pi"):  # SAC
        return Acting([*actor.latent_pi, actor.mu], squashed=True)
    return Acting(
        list(actor.mu), squashed=True
    )  # TD3, DDPG: its last layer is the squashing itself
