"""The trainer on a device: the same learner as on the host, and nothing leaks between members."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.envs import make_batch
from core.envs.tensor_batch import OnDevice
from core.errors import InvalidInput, ProgramRejected
from core.training.advantages import estimate_advantages
from core.training.course import Span
from core.training.designs import Rewards
from core.training.device_pack import new_device_pack
from core.training.device_statistics import TensorMoments, TensorReturnScaler, advantages_of
from core.training.members import Member
from core.training.normalise import ReturnScaler, RunningMoments
from core.training.settings import read_settings
from tests.rim.device_parts import on_every_device
from tests.rim.training_parts import (
    CART_POLE,
    PENDULUM,
    QUICK,
    Code,
    Heard,
    measured_return,
    pack_of,
    parameters,
)

TASKS = pytest.mark.parametrize("task", [CART_POLE, PENDULUM], ids=["choices", "vectors"])


pytestmark = pytest.mark.usefixtures("one_thread")


def device_pack_of(members, device, programs=None, task=CART_POLE, envs=4, settings=None, **how):
    """A pack on a device; members are (arm, seed) or (arm, seed, checkpoint)."""
    programs = programs or {arm: None for arm, *_ in members}
    batch = OnDevice(make_batch(task, len(members) * envs), torch.device(device))
    settings = read_settings(QUICK if settings is None else settings)
    heard = how.pop("heard", None) or Heard()
    return new_device_pack(
        [Member(*m) for m in members], Rewards(programs, **how), batch, settings, heard
    )


class TensorCode:
    """A program in torch without the machinery of generated code."""

    def __init__(self, reward=None, features=None):
        self._reward, self._features = reward, features
        self.calls = 0

    def tensor_features(self, state_block):
        if self._features is None:
            return state_block.new_zeros(len(state_block), 0)
        return torch.stack(list(self._features(state_block).values()), 1)

    def tensor_reward(self, state_block, action, next_block):
        self.calls += 1
        return {} if self._reward is None else self._reward(state_block, action, next_block)


def leaning(states, action, following):
    return {"upright": 1 - abs(following[:, 2]), "centre": -0.1 * abs(following[:, 0])}


def energies(states):
    return {"energy": states[:, 3] ** 2, "lean": states[:, 2] * 10}


def close(ours, theirs, tolerance=2e-4):
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(
            ours[name], theirs[name], atol=tolerance, rtol=tolerance, err_msg=name
        )


# --- the same as on the host ------------------------------------------------------------------


@on_every_device
def test_statistics_and_advantages_are_those_of_the_host(device):
    rng = np.random.default_rng(0)
    moments, scaler = RunningMoments(2, 3), ReturnScaler(2, 4, 0.9)
    on_device = TensorMoments(moments, torch.device(device))
    returns = TensorReturnScaler(scaler, 0.9, 4, torch.device(device))
    for _ in range(3):
        rows = rng.normal(3, 2, (2, 50, 3)).astype(np.float32)
        moments.add(rows)
        on_device.add(torch.tensor(rows, device=device))
        rewards = rng.normal(size=(6, 2, 4)).astype(np.float32)
        ended = rng.random((6, 2, 4)) < 0.2
        ours = returns.scale(*(torch.tensor(x, device=device) for x in (rewards, ended)))
        np.testing.assert_allclose(ours.cpu(), scaler.scale(rewards, ended), atol=1e-6)
    for name in ("mean", "variance", "count"):
        np.testing.assert_allclose(getattr(on_device.on_host(), name), getattr(moments, name))
    for observations in (True, False):
        for ours, theirs in zip(
            on_device.sight(2, observations), moments.sight(2, observations), strict=True
        ):
            np.testing.assert_allclose(ours.cpu(), theirs, rtol=1e-6)
    terminated, ended = rng.random((2, 6, 2, 4)) < 0.2
    values, following = rng.normal(size=(2, 6, 2, 4)).astype(np.float32)
    parts = (rewards, values, following, terminated, terminated | ended)
    expected = estimate_advantages(*parts, 0.9, 0.8)
    ours = advantages_of(*(torch.tensor(p, device=device) for p in parts), 0.9, 0.8)
    np.testing.assert_allclose(ours.cpu(), expected, atol=1e-5)


@TASKS
@on_every_device
def test_a_pack_on_a_device_learns_what_the_pack_on_the_host_learns(task, device):
    members = [("native", 0), ("native", 7)]
    ours, theirs = device_pack_of(members, device, task=task), pack_of(members, task=task)
    for pack in (ours, theirs):
        pack.train(Span(256, 256))  # two rollouts: the second one is learnt from
    assert ours.progressed == theirs.progressed
    for member in range(2):
        close(parameters(ours, member), parameters(theirs, member))
        mine, other = ours.curve(member), theirs.curve(member)
        assert mine.steps == other.steps
        assert mine.series.keys() == other.series.keys()
        for name, values in mine.series.items():
            np.testing.assert_allclose(values, other.series[name], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@on_every_device
def test_programs_in_numpy_and_torch_train_to_the_same_parameters(library, device):
    kind = Code if library == "numpy" else TensorCode
    members = [("a", 0), ("b", 1), ("a", 2)]
    ours = device_pack_of(
        members, device, {"a": kind(leaning, energies), "b": kind(leaning)}, mode="add", weight=0.5
    )
    theirs = pack_of(
        members, {"a": Code(leaning, energies), "b": Code(leaning)}, mode="add", weight=0.5
    )
    for pack in (ours, theirs):
        pack.train(Span(256, 256))
    for member in range(3):
        close(parameters(ours, member), parameters(theirs, member))
        expected = theirs.curve(member).series
        for name in ("component.upright", "component.centre", "training_reward"):
            np.testing.assert_allclose(
                ours.curve(member).series[name], expected[name], atol=1e-3, rtol=1e-3
            )


@pytest.mark.parametrize("mode", ["replace", "add"])
@pytest.mark.parametrize("members", [1, 2])
@on_every_device
def test_what_a_program_pays_leaves_the_native_rewards_as_they_were(members, mode, device):
    arms = [("a", seed) for seed in range(members)]
    ours = device_pack_of(arms, device, {"a": TensorCode(leaning)}, mode=mode, weight=0.5)
    theirs = pack_of(arms, {"a": Code(leaning)}, mode=mode, weight=0.5)
    for pack in (ours, theirs):
        pack.train(Span(256, 256))
    for member in range(members):
        mine, other = ours.curve(member).series, theirs.curve(member).series
        for name in ("native_return", "training_reward"):
            np.testing.assert_allclose(mine[name], other[name], atol=1e-3, rtol=1e-3)


@on_every_device
def test_weights_and_checkpoints_are_those_that_the_host_reads(device):
    ours = device_pack_of([("native", 3)], device, task=PENDULUM)
    ours.train(Span(256, 512))
    continued = pack_of([("native", 3, ours.checkpoints()[0])], task=PENDULUM)
    assert continued.progressed == ours.progressed
    close(parameters(continued, 0), parameters(ours, 0), tolerance=0)
    back = device_pack_of([("native", 3, continued.checkpoints()[0])], device, task=PENDULUM)
    close(parameters(back, 0), parameters(ours, 0), tolerance=0)
    back.train(Span(512, 512))
    assert back.progressed.steps == 512
    assert "native_return" not in back.curve(0).series  # no episode of 200 steps has ended yet
    assert np.isfinite(measured_return(PENDULUM, ours.weights()[0], episodes=2, limit=200))


@on_every_device
def test_a_rollout_of_a_single_transition_is_refused(device):
    with pytest.raises(InvalidInput, match="at least 2 transitions per member in a rollout"):
        device_pack_of([("native", 0)], device, envs=1, settings={**QUICK, "rollout": 1})


# --- members apart ----------------------------------------------------------------------------


@TASKS
@on_every_device
def test_the_same_seed_gives_the_same_curve_bit_for_bit(task, device):
    packs = [device_pack_of([("native", 1), ("native", 2)], device, task=task) for _ in range(2)]
    for pack in packs:
        pack.train(Span(512, 512))
    assert packs[0].checkpoints() == packs[1].checkpoints()
    assert packs[0].curve(1) == packs[1].curve(1)


@TASKS
@on_every_device
def test_the_size_of_the_pack_changes_no_more_than_rounding(task, device):
    alone = device_pack_of([("native", 5), ("native", 5)], device, task=task)
    among = device_pack_of([("native", s) for s in (1, 5, 2, 3)], device, task=task)
    for pack in (alone, among):
        pack.train(Span(256, 256))
    close(parameters(alone, 0), parameters(among, 1))


def nan_in_the_second_rollout():
    calls = []

    def reward(states, action, following):
        calls.append(1)
        value = following[:, 0] * (float("nan") if len(calls) > 1 else 1.0)
        return {"fine": following[:, 1], "bad": value}

    return reward


def raising(states, action, following):
    raise ProgramRejected("a shape", expected="another", where="reward")


def overflowing(states, action, following):
    return {"large": following[:, 0] * 0 + 1e31}


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        (nan_in_the_second_rollout, "NaN or infinity in 'bad'"),
        (lambda: raising, "a shape"),
        (lambda: overflowing, "a sum of 1e"),
    ],
    ids=["nan", "raises", "overflows"],
)
@on_every_device
def test_a_broken_member_is_taken_out_and_its_neighbours_do_not_feel_it(reward, words, device):
    members = [("good", 0), ("bad", 1), ("good", 2)]
    heard = Heard()
    programs = {"good": TensorCode(leaning, energies), "bad": TensorCode(reward())}
    mixed = device_pack_of(members, device, programs, heard=heard)
    sound = {"good": TensorCode(leaning, energies), "bad": TensorCode(leaning)}
    whole = device_pack_of(members, device, sound)
    for pack in (mixed, whole):
        pack.train(Span(512, 512))
    assert mixed.living == [0, 2]
    assert words in heard.failures[1]
    for member in (0, 2):
        close(parameters(mixed, member), parameters(whole, member), tolerance=0)


@on_every_device
def test_a_program_is_called_once_per_rollout_for_all_its_members(device):
    code = TensorCode(leaning)
    pack = device_pack_of([("a", s) for s in range(4)], device, {"a": code})
    pack.train(Span(384, 384))
    assert code.calls == 3


@on_every_device
def test_snapshots_come_when_their_steps_are_reached_and_nobody_is_left_ends_it(device):
    heard = Heard()
    pack = device_pack_of([("a", 0)], device, heard=heard)
    pauses = []
    pack.train(Span(512, 512, (128, 512), lambda: pauses.append(pack.progressed.steps)))
    assert pauses == [128, 256, 384, 512]
    assert [steps for steps, _ in heard.snapshots] == [128, 512]
    lost = device_pack_of([("a", 0)], device, {"a": TensorCode(overflowing)})
    lost.train(Span(4096, 4096))
    assert lost.living == []
    assert lost.progressed.steps == 128


@pytest.mark.slow
@on_every_device
def test_it_learns_to_balance_the_pole(device):
    pack = device_pack_of(
        [("native", seed) for seed in range(4)],
        device,
        envs=8,
        settings={"rollout": 64, "minibatch": 128, "epochs": 5, "hidden": [32, 32]},
    )
    pack.train(Span(30_000, 30_000))
    returns = [measured_return(CART_POLE, pack.weights()[m]) for m in range(4)]
    assert np.median(returns) > 200
