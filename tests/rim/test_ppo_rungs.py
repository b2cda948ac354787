"""From rung to rung, and that PPO learns."""

from __future__ import annotations

import json
import struct
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from core.errors import TrainingFailed
from core.training.course import Span
from core.training.minutes import joined
from core.training.networks import Shapes, forward
from core.training.numpy_policy import read_weights
from core.training.weights import Progressed, peek
from tests.rim.training_parts import (
    BACKENDS,
    CART_POLE,
    PENDULUM,
    QUICK,
    Heard,
    Target,
    filled_stack,
    measured_return,
    pack_of,
    trained,
)

pytestmark = pytest.mark.usefixtures("one_thread")


TARGET = replace(PENDULUM, name="target", environment="Target-v0")


# --- rungs ----------------------------------------------------------------------------------------


def test_a_rung_goes_on_from_its_checkpoint():
    first = trained([("native", 0), ("native", 1)], 512)
    saved = first.checkpoints()
    resumed = [("native", s, saved[s]) for s in (0, 1)]
    one, other = (trained(resumed, 1024) for _ in range(2))
    assert torch.equal(one.stack.flat, other.stack.flat)
    assert one.progressed.steps == 1024
    assert one.curve(0).steps[0] == 512 + 128
    assert one.stack.updates[0, 0] == 2 * first.stack.updates[0, 0]
    fresh = pack_of(resumed)
    assert torch.equal(fresh.stack.flat, first.stack.flat)
    assert torch.equal(fresh.stack.second, first.stack.second)
    np.testing.assert_array_equal(fresh.observed.mean, first.observed.mean)
    np.testing.assert_array_equal(fresh.returns.moments.variance, first.returns.moments.variance)


def test_a_survivor_goes_on_without_those_that_did_not():
    saved = trained([("native", 0), ("native", 1), ("native", 2)], 512).checkpoints()
    together = trained([("native", s, saved[s]) for s in (0, 1, 2)], 1024)
    survivor = trained([("native", 2, saved[2])], 1024)
    assert torch.equal(survivor.stack.flat[0], together.stack.flat[2])


@pytest.mark.parametrize(
    "content", [b"", b"not tensors at all", None], ids=["empty", "text", "another"]
)
def test_a_checkpoint_that_does_not_fit_is_refused(content):
    if content is None:
        content = trained([("native", 0)], 256, settings={**QUICK, "hidden": [8]}).checkpoints()[0]
    with pytest.raises(TrainingFailed, match="a checkpoint of the same network"):
        pack_of([("native", 0, content)])


def test_how_far_a_checkpoint_had_come_is_read_without_the_rest_of_it():
    replay = {"a.replay": np.zeros((4096, 2048), np.float32), "b": np.zeros(3, np.bool_)}
    content = save({**replay, "progressed": np.array([700, 7], np.int64)})
    tracemalloc.start()
    assert peek(content) == Progressed(700, 7)
    assert tracemalloc.get_traced_memory()[1] < 2**20 < len(content) / 32
    tracemalloc.stop()
    assert peek(None) == Progressed(0, 0)


def safetensors(header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def two_numbers(**changes):
    entry = {"dtype": "I64", "shape": [2], "data_offsets": [0, 16], **changes}
    return safetensors({"progressed": entry}, bytes(16))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "at least 8 bytes"),
        (b"not tensors at all", "a header of"),
        (struct.pack("<Q", 2**63) + b"{}", "a header of 9223372036854775808 bytes"),
        (safetensors(b"{"), "JSON"),
        (safetensors(b"\xff\xfe{}"), "UnicodeDecodeError"),
        (safetensors(b"[" * 100_000), "RecursionError"),
        (safetensors([]), "indices"),
        (safetensors({"progressed": 7}), "subscriptable"),
        (safetensors({"other": {}}), "progressed"),
        (two_numbers(dtype="F64"), r"F64 \[2\] instead of I64 \[2\]"),
        (two_numbers(shape=[1, 2]), r"I64 \[1, 2\]"),
        (two_numbers(data_offsets=[0, 8]), "instead of I64"),
        (two_numbers(data_offsets=["0", "16"]), "unsupported operand"),
        (two_numbers(data_offsets=[8, 24]), "8 of 16 bytes"),
        (two_numbers(data_offsets=[-16, 0]), "-16 of 16 bytes"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_what_is_no_checkpoint_is_refused_before_anything_is_made(content, words):
    with pytest.raises(TrainingFailed, match=words):
        peek(content)


def test_snapshots_come_when_their_steps_are_reached():
    heard = Heard()
    pack = pack_of([("native", 0), ("native", 1)], heard=heard)
    pack.train(Span(1000, 1000, snapshots=(1000, 300)))
    assert [steps for steps, _ in heard.snapshots] == [300, 1000]
    assert heard.snapshots[-1][1] == pack.weights()
    assert heard.steps[-1] == 1024


def test_a_rung_that_the_one_before_went_beyond_still_gives_its_snapshots():
    first = trained([("native", 0)], 100)  # whole rollouts: 128 steps
    heard = Heard()
    pack = pack_of([("native", 0, first.checkpoints()[0])], heard=heard)
    pack.train(Span(120, 300, snapshots=(110, 120)))
    assert pack.progressed.steps == 128
    assert [steps for steps, _ in heard.snapshots] == [110, 120]
    assert heard.snapshots[-1][1] == first.weights()
    assert not pack.curve(0).steps


def test_a_training_that_goes_on_makes_no_dent_in_its_curve():
    first = trained([("native", 0)], 1024, task=PENDULUM)  # 256 steps of 4 rows, episodes of 200
    begun, resumed = first.curve(0), [("native", 0, first.checkpoints()[0])]
    assert begun.series["episode_length"] == (32, 64, 96, 128, 160, 192, 200, 200)
    short, long = (trained(resumed, steps, task=PENDULUM).curve(0) for steps in (1280, 2048))
    assert "native_return" not in short.series
    whole = joined(begun, short)
    assert whole.series["native_return"][-3:] == (begun.series["native_return"][-1],) * 3
    assert long.series["episode_length"] == (200,) * 8
    assert len(set(long.series["native_return"])) == 1  # of the episodes that ended at 200 steps
    assert set(long.series) == set(begun.series)


def test_a_curve_tells_the_losses_from_the_first_rollout_on():
    curve = trained([("native", 0)], 512).curve(0)
    assert {"value", "entropy", "divergence", "clipped"} <= set(curve.series)
    assert {len(values) for values in curve.series.values()} == {len(curve.steps)} == {4}
    assert len(set(curve.series["entropy"])) == 4


def test_the_first_rollout_teaches_through_its_own_statistics():
    pack = pack_of([("native", 0), ("native", 1)])
    before = pack.stack.flat.clone()
    pack.train(Span(128, 1024))
    assert not torch.equal(pack.stack.flat, before)
    np.testing.assert_allclose(pack.observed.count, 128, atol=1e-3)


def test_a_continuous_policy_leaves_in_the_environment_s_own_units():
    pack = trained([("native", 0)], task=PENDULUM)
    weights = read_weights(pack.weights()[0], 3, pack.space)
    inside = pack.stack.params["policy.out.weight"][0].numpy()
    np.testing.assert_allclose(weights["policy.out.weight"], 2 * inside, rtol=1e-6)


def test_the_learning_rate_falls_only_when_asked():
    still, falling = (
        pack_of([("native", 0)], settings={**QUICK, "anneal": a}) for a in (False, True)
    )
    for pack in (still, falling):
        pack.train(Span(512, 1024))
    assert still._rate(1024) == 1
    assert falling._rate(1024) == pytest.approx(0.5)


# --- that it learns -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_it_learns_to_balance_the_pole(backend):
    pack = trained([("native", s) for s in range(4)], 40_000, envs=8, settings={}, backend=backend)
    returns = [measured_return(CART_POLE, w) for w in pack.weights().values()]
    assert np.median(returns) > 400
    assert min(returns) > 150


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_it_learns_the_right_action_for_each_of_two_states(backend):
    settings = {**QUICK, "minibatch": 32, "epochs": 4, "learning_rate": 3e-3, "gamma": 0.0}
    pack = trained(
        [("native", 0), ("native", 1)], 6000, task=TARGET, settings=settings, backend=backend
    )
    for weights in pack.weights().values():
        assert measured_return(TARGET, weights, limit=10) > -0.05
    assert Target.action_space.shape == (1,)


@pytest.mark.slow
def test_it_learns_to_swing_a_pendulum_up():
    settings = {"gamma": 0.95, "rollout": 256, "epochs": 10}
    pack = trained([("native", s) for s in range(3)], 60_000, task=PENDULUM, settings=settings)
    returns = [measured_return(PENDULUM, w, limit=200) for w in pack.weights().values()]
    assert np.median(returns) > -300  # a random policy has -1200


def test_values_are_computed_as_the_network_says():
    shapes = Shapes(3, (4,), 2, False)
    stack, x = filled_stack(shapes), torch.randn(3, 5, 3)
    found = forward(stack.value, x)[-1][1, :, 0]
    w = {n: v[1] for n, v in stack.params.items()}
    hidden = torch.tanh(x[1] @ w["value.0.weight"].T + w["value.0.bias"])
    torch.testing.assert_close(
        found, (hidden @ w["value.out.weight"].T + w["value.out.bias"])[:, 0]
    )
