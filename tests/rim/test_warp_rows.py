"""MuJoCo Warp as rows of tensors: near MuJoCo itself, reset by masks, keyed by seeds.

It runs on warp's CPU device too, slowly, so these tests need the extra `gpu-sim` and no GPU.
"""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from core.envs.device_starts import chosen, row_keys
from core.errors import EnvironmentUnusable
from core.records.task import Field, Task
from tests.rim.device_parts import on_every_device

pytest.importorskip("mujoco_warp", reason="needs the extra gpu-sim")

from core.envs.warp_plan import simulated
from core.envs.warp_rows import WarpRows

HOPPER = Task(
    "hopper",
    "Hopper-v5",
    "",
    fields=(
        Field("joints", "obs[0:5]"),
        Field("x", "sim.qpos[0]", visible=("reward",)),
        Field("torso", "sim.xpos[3:6]", visible=("reward",)),
        Field("speed", "info.x_velocity", visible=("reward",)),
        Field("terminated", "terminated", visible=("reward",)),
    ),
)
PLAIN = replace(HOPPER, fields=())


def actions(batch, seed):
    rng = np.random.default_rng(seed)
    return torch.tensor(
        rng.uniform(-1, 1, (batch.rows, len(batch.action["high"]))).astype(np.float32),
        device=batch.device,
    )


# --- where episodes begin -----------------------------------------------------------------------


@on_every_device
def test_first_states_are_chosen_by_seed_and_episode_alone(device):
    keys = row_keys([5, 6, 2**63 + 5, 5], torch.device(device))
    first = chosen(keys, torch.zeros(4, dtype=torch.int64, device=device)).tolist()
    second = chosen(keys, torch.ones(4, dtype=torch.int64, device=device)).tolist()
    assert first[0] == first[3]
    assert len({*first[:3], *second[:3]}) == 6
    many = chosen(
        row_keys(range(20_000), torch.device("cpu")), torch.zeros(20_000, dtype=torch.int64), 8
    )
    assert (torch.bincount(many, minlength=8) - 2500).abs().max() < 200


def test_only_tasks_of_the_table_with_options_of_their_own_are_simulated():
    assert simulated(PLAIN)
    assert simulated(replace(PLAIN, env_kwargs={"healthy_reward": 2.0}))
    assert not simulated(replace(PLAIN, env_kwargs={"xml_file": "other.xml"}))
    assert not simulated(Task("c", "CartPole-v1", ""))
    with pytest.raises(EnvironmentUnusable, match="REWARDSMITH_DEVICE=cpu"):
        WarpRows(Task("c", "CartPole-v1", ""), 2, torch.device("cpu"))


# --- near the original ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("environment", ["Hopper-v5", "HalfCheetah-v5"])
@on_every_device
def test_a_few_steps_are_those_of_mujoco_to_single_precision(environment, device):
    batch = WarpRows(Task("t", environment, ""), 3, torch.device(device))
    batch.reset([1, 2, 3])
    env = gymnasium.make(environment)
    env.reset(seed=0)
    for name in ("qpos", "qvel"):
        assert batch._view(name).dtype == torch.float32
    env.unwrapped.set_state(*(batch._view(n)[1].cpu().double().numpy() for n in ("qpos", "qvel")))
    for t in range(8):
        action = actions(batch, t)
        ours, theirs = batch.step(action), env.step(action[1].cpu().numpy())
        block = ours.next_block[1].cpu().numpy()
        np.testing.assert_allclose(block, theirs[0], atol=2e-3)
        assert float(ours.native[1]) == pytest.approx(theirs[1], abs=2e-3)
        assert bool(ours.terminated[1]) == theirs[2]
    batch.look()
    env.close()


@pytest.mark.slow
@on_every_device
def test_fields_of_the_simulator_and_of_info_are_in_the_block(device):
    batch = WarpRows(HOPPER, 2, torch.device(device))
    state = batch.reset([1, 2])
    assert state.shape == (2, batch.layout.state_size)
    before = {n: v.clone() for n, v in batch.layout.values(state, ("x", "torso")).items()}
    step = batch.step(actions(batch, 0))
    after = batch.layout.values(step.next_block, ("x", "speed", "terminated"))
    torch.testing.assert_close(
        after["speed"], (after["x"] - before["x"]) / 0.008, atol=1e-3, rtol=0
    )
    assert after["terminated"].tolist() == [0, 0]
    torch.testing.assert_close(before["torso"][:, 2], state[:, 0], atol=1e-4, rtol=0)


@pytest.mark.slow
@on_every_device
def test_a_row_that_fell_starts_anew_in_the_same_step_and_its_neighbour_goes_on(device):
    batch = WarpRows(PLAIN, 2, torch.device(device))
    first = batch.reset([1, 2]).clone()
    batch._view("qpos")[0, 1] = 0.3  # far below what counts as healthy
    step = batch.step(torch.zeros(2, 3, device=batch.device))
    assert step.terminated.tolist() == [True, False]
    assert float(step.next_block[0, 0]) < 0.7
    assert float(step.state[0, 0]) > 1.2
    assert not torch.equal(step.state[0], first[0])
    assert torch.equal(step.state[1], step.next_block[1])
    following = batch.step(torch.zeros(2, 3, device=batch.device))
    assert following.terminated.tolist() == [False, False]
    assert batch._lived.tolist() == [1, 2]


@pytest.mark.slow
@on_every_device
def test_a_time_limit_cuts_the_episode(device):
    batch = WarpRows(replace(PLAIN, max_episode_steps=3), 2, torch.device(device))
    batch.reset([1, 2])
    cuts = [batch.step(torch.zeros(2, 3, device=batch.device)).truncated.tolist() for _ in range(4)]
    assert cuts == [[False] * 2, [False] * 2, [True] * 2, [False] * 2]


@pytest.mark.slow
@on_every_device
def test_a_row_s_future_depends_on_its_seed_and_actions_alone(device):
    few, many = (WarpRows(PLAIN, rows, torch.device(device)) for rows in (2, 5))
    states = few.reset([7, 8]), many.reset([1, 7, 2, 8, 3])
    torch.testing.assert_close(states[0], states[1][[1, 3]], atol=0, rtol=0)
    for t in range(5):
        action = actions(many, t)
        one, other = few.step(action[[1, 3]]), many.step(action)
        torch.testing.assert_close(one.next_block, other.next_block[[1, 3]], atol=1e-4, rtol=0)


@pytest.mark.slow
@on_every_device
def test_random_policies_earn_in_distribution_what_they_earn_in_mujoco(device):
    rows, steps = 24, 60
    batch = WarpRows(PLAIN, rows, torch.device(device))
    batch.reset(range(rows))
    ours, theirs = first_returns(batch, steps), mujoco_returns(rows, steps)
    error = np.hypot(*(np.std(x) / np.sqrt(len(x)) for x in (ours, theirs)))
    assert abs(np.mean(ours) - np.mean(theirs)) < 4 * error


def first_returns(batch, steps):
    """What every row's first episode earned in at most so many steps."""
    total = torch.zeros(batch.rows, device=batch.device)
    alive = torch.ones(batch.rows, dtype=torch.bool, device=batch.device)
    for t in range(steps):
        step = batch.step(actions(batch, t))
        total += step.native * alive
        alive &= ~(step.terminated | step.truncated)
    batch.look()
    return total.tolist()


def mujoco_returns(episodes, steps):
    env = gymnasium.make("Hopper-v5")
    rng, returns = np.random.default_rng(99), []
    for seed in range(episodes):
        env.reset(seed=seed)
        total = 0.0
        for _ in range(steps):
            _, reward, terminated, _, _ = env.step(rng.uniform(-1, 1, 3).astype(np.float32))
            total += reward
            if terminated:
                break
        returns.append(total)
    env.close()
    return returns
