"""Put the policy into a model of Stable-Baselines3, to act, or to be trained further.

    pip install stable-baselines3
    python to_sb3.py                    writes model.zip

    from stable_baselines3 import PPO
    from reward import make_env
    from to_sb3 import flat
    model = PPO.load("model.zip", env=flat(make_env()))

The normaliser is folded into the first layer; its clip at ±10 deviations has no place there and is left
out.  The value function was not kept and begins anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from play import Player
from stable_baselines3 import PPO

HERE = Path(__file__).resolve().parent


def model_of(player: Player) -> PPO:
    """Return a PPO model that acts as the player's policy does.

    Raises:
        SystemExit: the policy is squashed, which PPO's is not.
    """
    policy = player.policy
    if policy.card["squashed"]:
        sys.exit("This policy squashes its actions (SAC); PPO's does not. Use play.py.")
    hidden = [layer["units"] for layer in policy.card["layers"][:-1]]
    activation = torch.nn.ReLU if policy.relu else torch.nn.Tanh
    kwargs = {"net_arch": {"pi": hidden, "vf": hidden or [64]}, "activation_fn": activation}
    model = PPO("MlpPolicy", flat(player.env), policy_kwargs=kwargs, device="cpu")
    layers = [m for m in model.policy.mlp_extractor.policy_net if isinstance(m, torch.nn.Linear)]
    for layer, (weight, bias) in zip(
        [*layers, model.policy.action_net], _folded(policy), strict=True
    ):
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(np.array(weight)))
            layer.bias.copy_(torch.from_numpy(np.array(bias)))
    return model


def flat(env: gym.Env) -> gym.Env:
    """Return the environment as the model meets it.

    Observations are one row of numbers, and choices count from 0, as Stable-Baselines3 has them.
    """
    space, acts = env.observation_space, env.action_space
    if isinstance(acts, gym.spaces.Discrete) and acts.start != 0:
        choices = gym.spaces.Discrete(acts.n)
        env = gym.wrappers.TransformAction(env, lambda chosen: chosen + acts.start, choices)
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        return env
    return gym.wrappers.FlattenObservation(env)


def _folded(policy) -> list:
    """Return the layers as [out, in] and [out], the normaliser inside the first one."""
    layers = [(weight[0].T, bias[0, 0]) for weight, bias in policy.layers]
    mean, scale = policy.mean.ravel(), policy.scale.ravel()
    weight, bias = layers[0]
    layers[0] = (weight * scale, bias - weight @ (scale * mean))
    return layers


def main() -> None:
    """Write `model.zip`."""
    player = Player()
    model_of(player).save(HERE / "model.zip")
    player.env.close()
    print(HERE / "model.zip")


if __name__ == "__main__":
    main()
