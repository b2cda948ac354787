"""Honest work for a jailed child: what training and measuring need must run behind the lock."""

from __future__ import annotations

import gymnasium
import gymnasium.envs.mujoco  # loads glfw, which asks a process for its version
import mujoco
import mujoco.batch
import numpy as np
import safetensors.numpy
import torch

PENDULUM = """
<mujoco><worldbody><body><joint name="hinge" type="hinge" axis="0 1 0"/>
<geom type="capsule" size="0.02" fromto="0 0 0 0 0 0.5"/></body></worldbody></mujoco>
"""


def warm_up():
    train()


def train():
    """One step of Adam on a small network; return the change of the loss."""
    generator = torch.Generator().manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    inputs = torch.randn(64, 8, generator=generator)
    losses = []
    for _ in range(2):
        loss = network(inputs).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses[0] - losses[1]


def decompose():
    matrix = np.random.default_rng(0).normal(size=(60, 40))
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    spectrum = np.fft.irfft(np.fft.rfft(matrix, axis=0), n=60, axis=0)
    return float(np.abs(u * s @ v - matrix).max() + np.abs(spectrum - matrix).max())


def simulate():
    model = mujoco.MjModel.from_xml_string(PENDULUM)
    batch = mujoco.batch.Batch(model, nsim=16, nthread=2)
    positions = batch.bind("qpos")
    positions[:] = np.linspace(0.1, 1.0, 16)[:, None]
    for _ in range(50):
        batch.step()
    return float(positions.min())


def play(name):
    env = gymnasium.make(name)
    env.action_space.seed(0)
    env.reset(seed=0)
    total = 0.0
    for _ in range(10):
        total += float(env.step(env.action_space.sample())[1])
    env.close()
    return total


def round_trip():
    weights = {"layer": np.arange(6, dtype=np.float32).reshape(2, 3)}
    again = safetensors.numpy.load(safetensors.numpy.save(weights))
    return float(np.abs(again["layer"] - weights["layer"]).max())


WORK = {
    "torch": train,
    "svd and fft": decompose,
    "mujoco batch": simulate,
    "Hopper-v5": lambda: play("Hopper-v5"),
    "LunarLander-v3": lambda: play("LunarLander-v3"),
    "CartPole-v1": lambda: play("CartPole-v1"),
    "safetensors": round_trip,
}


def do(channel, links):
    channel.send({"result": WORK[channel.receive().header["work"]]()})


def nothing(channel, links):
    channel.send({})
