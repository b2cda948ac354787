"""The learner: its numbers against definitions, its members apart, and that it learns."""

from __future__ import annotations

import json
import struct
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from core.envs import make_batch
from core.errors import InvalidInput, TrainingFailed
from core.records.task import Task
from core.training.advantages import estimate_advantages
from core.training.backends import TorchBackend, choose_backend
from core.training.course import Span
from core.training.experience import Critics, following_values, weigh
from core.training.kernel import available, why_absent
from core.training.members import Member, scales_of
from core.training.minibatches import in_runs, minibatches, shares
from core.training.minutes import joined
from core.training.networks import Shapes, forward, initial_parameters, layers, views
from core.training.normalise import ReturnScaler, RunningMoments, normalised
from core.training.numpy_policy import read_weights
from core.training.ppo import (
    Experience,
    descend,
    evaluate,
    hyper_of,
    loss_gradient,
    new_stack,
)
from core.training.rollout import Gaze, Rollout
from core.training.settings import PPOSettings, read_settings
from core.training.streams import Purpose, environment_seeds, stream
from core.training.weights import Progressed, peek, put_parameters
from tests.rim.training_parts import (
    BACKENDS,
    CART_POLE,
    PENDULUM,
    QUICK,
    Code,
    Heard,
    Target,
    measured_return,
    pack_of,
    parameters,
    trained,
)

USUAL = {"rollout": 64, "minibatch": 64, "epochs": 2}
TARGET = replace(PENDULUM, name="target", environment="Target-v0")


pytestmark = pytest.mark.usefixtures("one_thread")


def leaning(states, action, following):
    return {"upright": 1 - np.abs(following[:, 2]), "centre": -0.1 * np.abs(following[:, 0])}


def energies(states):
    return {"energy": states[:, 3] ** 2, "lean": states[:, 2] * 10}


# --- settings -------------------------------------------------------------------------------------


def test_settings_keep_their_defaults_where_nothing_is_said():
    assert read_settings({}) == PPOSettings()
    assert read_settings({"epochs": 3.0, "hidden": [8]}) == PPOSettings(epochs=3, hidden=(8,))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"learning_rat": 1e-3}, "Did you mean 'learning_rate'"),
        ({"epochs": 0}, "from 1 to 100"),
        ({"epochs": 2.5}, "whole number"),
        ({"gamma": 1.5}, "from 0 to 1"),
        ({"gamma": "0.9"}, "finite number"),
        ({"gamma": float("nan")}, "finite number"),
        ({"anneal": 1}, "true or false"),
        ({"hidden": []}, "1 to 4"),
        ({"hidden": [64, "64"]}, "1 to 1024"),
    ],
)
def test_a_wrong_setting_is_named(given, words):
    with pytest.raises(InvalidInput, match=words):
        read_settings(given)


# --- advantages, worked out by hand ---------------------------------------------------------------


def column(*values, kind=np.float32):
    return np.array(values, kind).reshape(-1, 1, 1)


def test_advantages_are_discounted_sums_of_surprises():
    # δ = r + 0.5·V' - V: [1 + 0.5·2 - 1, 0 + 0.5·4 - 2, 2 + 0.5·6 - 4] = [1, 0, 1]; γλ = 0.25
    found = estimate_advantages(
        column(1, 0, 2),
        column(1, 2, 4),
        column(2, 4, 6),
        column(0, 0, 0, kind=bool),
        column(0, 0, 0, kind=bool),
        gamma=0.5,
        gae_lambda=0.5,
    )
    assert found.ravel().tolist() == [1 + 0.25 * 0.25, 0.25, 1]


def test_nothing_follows_a_terminated_step_and_the_final_state_follows_a_truncated_one():
    # step 0 terminates: δ = 1 - 1 = 0.  step 1 is cut: δ = 1 + 0.5·8 - 2 = 3.  No trace crosses.
    found = estimate_advantages(
        column(1, 1, 1),
        column(1, 2, 4),
        column(100, 8, 6),
        column(1, 0, 0, kind=bool),
        column(1, 1, 0, kind=bool),
        gamma=0.5,
        gae_lambda=0.5,
    )
    assert found.ravel().tolist() == [0, 3, 1 + 0.5 * 6 - 4]


def linear_value_stack(inputs):
    """A stack of one whose value is tanh(sum of its inputs)."""
    stack = new_stack(Shapes(inputs, (1,), 2, False), 1)
    stack.params["value.0.weight"].fill_(1.0)
    stack.params["value.out.weight"].fill_(1.0)
    return stack


def a_rollout(states, following, terminated, truncated):
    steps = len(states)
    states, following = (
        np.array(b, np.float32).reshape(steps, 1, 1, -1) for b in (states, following)
    )
    nothing = np.zeros((steps, 1, 1))
    flags = (np.array(f, bool).reshape(steps, 1, 1) for f in (terminated, truncated))
    choices = nothing.astype(np.int64)
    return Rollout(
        states,
        (states - 1) * 2,
        choices,
        choices,
        states,
        following,
        nothing.astype(np.float32),
        *flags,
    )


def test_a_cut_episode_is_worth_what_its_final_state_is_worth_normalised_as_in_the_rollout():
    # inputs are (s - 1)·2; the second step is cut at state 1.5, the next episode starts at 9
    rollout = a_rollout([1.1, 1.2, 9.0], [1.2, 1.5, 0.7], [0, 0, 0], [0, 1, 0])
    gaze = Gaze(
        1,
        lambda s: s[..., :0],
        np.full((1, 1, 1), 1, np.float32),
        np.full((1, 1, 1), 2, np.float32),
    )
    stack = linear_value_stack(1)
    values = np.tanh((np.array([1.1, 1.2, 9.0], np.float32) - 1) * 2).reshape(3, 1, 1)
    critics = Critics(TorchBackend().networks(stack, gaze.mean, gaze.scale), stack, gaze)
    found = following_values(rollout, values, critics)
    expected = np.tanh([0.4, 1.0, -0.6])
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-6)
    scales = scales_of([PPOSettings(gamma=0.5, gae_lambda=0.0)])
    experience = weigh(rollout, np.ones((3, 1, 1), np.float32), critics, scales)
    np.testing.assert_allclose(experience.returns.numpy().ravel(), 1 + 0.5 * expected, atol=1e-6)


# --- normalisers against slow definitions ---------------------------------------------------------


def test_running_moments_are_those_of_all_rows_ever_seen():
    rng = np.random.default_rng(0)
    blocks = [rng.normal(5, 3, (2, n, 4)).astype(np.float32) for n in (7, 1, 30)]
    moments = RunningMoments(2, 4)
    for block in blocks:
        moments.add(block)
    seen = np.concatenate(blocks, axis=1).astype(np.float64)
    np.testing.assert_allclose(moments.mean, seen.mean(1), rtol=1e-4)
    np.testing.assert_allclose(moments.variance, seen.var(1), rtol=1e-3)
    np.testing.assert_allclose(moments.scale(), 1 / seen.std(1), rtol=1e-3)


def test_what_is_seen_is_clipped_at_ten_deviations():
    rows = np.array([[[0.0, 100.0]]], np.float32)
    mean, scale = np.array([[[1.0, 0.0]]], np.float32), np.array([[[2.0, 1.0]]], np.float32)
    assert normalised(rows, mean, scale).tolist() == [[[-2.0, 10.0]]]


def test_rewards_are_divided_by_the_deviation_of_discounted_returns():
    rng = np.random.default_rng(1)
    rewards = rng.normal(3, 2, (40, 1, 2)).astype(np.float32)
    ended = rng.random((40, 1, 2)) < 0.1
    history = []
    for row in range(2):
        running = 0.0
        for reward, end in zip(rewards[:, 0, row], ended[:, 0, row], strict=True):
            running = 0.9 * running + reward
            history.append(running)
            running = 0.0 if end else running
    found = ReturnScaler(1, 2, 0.9).scale(rewards, ended)
    expected = np.clip(rewards / np.sqrt(np.var(history)), -10, 10)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


# --- gradients against autograd -------------------------------------------------------------------


def filled_stack(shapes, members=3):
    stack = new_stack(shapes, members)
    for member in range(members):
        drawn = initial_parameters(shapes, np.random.default_rng(member), log_std=-0.3)
        drawn["policy.out.weight"] *= 50
        put_parameters(stack, member, shapes.inputs, drawn)
    return stack


def some_experience(shapes, members=3, size=40):
    torch.manual_seed(0)
    actions = (
        torch.randn(members, size, shapes.actions)
        if shapes.continuous
        else torch.randint(0, shapes.actions, (members, size))
    )
    draw = torch.randn(4, members, size)
    inputs = torch.randn(members, size, shapes.inputs)
    return Experience(inputs, actions, draw[0] * 0.3 - 1.2, draw[1], draw[2])


def textbook_loss(params, shapes, batch, settings, member):
    """PPO's loss of one member, written down as in the paper."""

    def network(name):
        x = batch.inputs[member]
        for layer in layers(shapes, name)[:-1]:
            x = torch.tanh(
                x @ params[f"{layer}.weight"][member].T + params[f"{layer}.bias"][member]
            )
        return x @ params[f"{name}.out.weight"][member].T + params[f"{name}.out.bias"][member]

    if shapes.continuous:
        policy = torch.distributions.Normal(
            network("policy"), params["policy.log_std"][member].exp()
        )
        log_probs = policy.log_prob(batch.actions[member]).sum(-1)
        entropy = policy.entropy().sum(-1)
    else:
        policy = torch.distributions.Categorical(logits=network("policy"))
        log_probs, entropy = policy.log_prob(batch.actions[member]), policy.entropy()
    advantages = batch.advantages[member]
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    ratio = (log_probs - batch.log_probs[member]).exp()
    clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
    surrogate = torch.min(ratio * advantages, clipped * advantages).mean()
    error = (network("value")[:, 0] - batch.returns[member]).square().mean()
    return -surrogate + settings.value * error - settings.entropy * entropy.mean()


@pytest.mark.parametrize("continuous", [False, True], ids=["choices", "vectors"])
@pytest.mark.parametrize("entropy", [0.0, 0.05])
def test_the_gradient_written_by_hand_is_that_of_the_textbook_loss(continuous, entropy):
    shapes, settings = Shapes(5, (8, 6), 3, continuous), PPOSettings(entropy=entropy)
    stack, batch = filled_stack(shapes), some_experience(shapes)
    every = torch.arange(batch.inputs.shape[1])
    losses = loss_gradient(stack, batch.minibatch(every), hyper_of([settings] * 3)).losses()
    flat = stack.flat.clone().requires_grad_()
    sum(textbook_loss(views(flat, shapes), shapes, batch, settings, m) for m in range(3)).backward()
    torch.testing.assert_close(stack.gradient, flat.grad, atol=1e-5, rtol=1e-4)
    assert 0 < losses.clipped.min() < 1


@pytest.mark.slow
@pytest.mark.parametrize("continuous", [False, True], ids=["choices", "vectors"])
def test_a_step_is_that_of_clipped_adam_for_each_member(continuous):
    shapes = Shapes(3, (4,), 2, continuous)
    stack = filled_stack(shapes)
    own = [torch.nn.Parameter(stack.flat[m].clone()) for m in range(3)]
    optimisers = [torch.optim.Adam([p], lr=0.01, eps=1e-5) for p in own]
    hyper = hyper_of([PPOSettings(learning_rate=0.01, max_grad_norm=0.5)] * 3)
    torch.manual_seed(1)
    for size in (10.0, 0.01, 1.0):
        gradient = torch.randn_like(stack.flat) * size
        stack.gradient.copy_(gradient)
        descend(stack, hyper)
        for m, (parameter, optimiser) in enumerate(zip(own, optimisers, strict=True)):
            parameter.grad = gradient[m].clone()
            torch.nn.utils.clip_grad_norm_([parameter], 0.5)
            optimiser.step()
    torch.testing.assert_close(stack.flat, torch.stack([p.data for p in own]), atol=1e-6, rtol=1e-5)


def test_log_probabilities_and_entropies_are_those_of_torch_s_distributions():
    shapes = Shapes(2, (4,), 3, True)
    stack, output, actions = filled_stack(shapes), torch.randn(3, 5, 3), torch.randn(3, 5, 3)
    log_probs, entropy = evaluate(stack, output, actions)
    policy = torch.distributions.Normal(output, stack.params["policy.log_std"].exp()[:, None])
    torch.testing.assert_close(log_probs, policy.log_prob(actions).sum(-1))
    torch.testing.assert_close(entropy, policy.entropy().sum(-1))


def test_every_row_is_used_once_per_epoch():
    settings = PPOSettings(minibatch=30, epochs=3)
    parts = minibatches(100, settings, np.random.default_rng(0))
    assert [len(part) for part in parts] == [34, 33, 33] * 3
    assert sorted(np.concatenate(parts[:3])) == list(range(100))


def test_minibatches_are_gathered_an_epoch_at_a_time():
    parts = minibatches(100, PPOSettings(minibatch=30, epochs=3), np.random.default_rng(0))
    runs = list(in_runs(parts, 100))
    assert [[len(one) for one in run] for run in runs] == [[34, 33, 33]] * 3
    assert [len(run) for run in in_runs(parts, 1)] == [1] * 9
    weights = np.concatenate([shares(run, len(parts)) for run in runs])
    assert weights.sum() == pytest.approx(1)
    assert weights[[0, 34]] * 9 == pytest.approx([1 / 34, 1 / 33])


@pytest.mark.parametrize("sizes", [(20, 20), (14, 13, 13)], ids=["equal", "unequal"])
def test_minibatches_gathered_at_once_are_those_gathered_one_by_one(sizes):
    experience = some_experience(Shapes(3, (4,), 2, False))
    rows = np.split(np.random.default_rng(0).permutation(40), np.cumsum(sizes)[:-1])
    for one, chosen in zip(experience.minibatches(rows), rows, strict=True):
        alone = experience.minibatch(torch.from_numpy(chosen))
        for name in Experience.__slots__:
            assert torch.equal(getattr(one, name), getattr(alone, name)), name
        torch.testing.assert_close(one.advantages.std(1), torch.ones(3))


@pytest.mark.parametrize("size", [2, 3, 5, 7, 9, 31, 257])
@pytest.mark.parametrize("minibatch", [2, 3, 4])
def test_no_minibatch_is_too_small_for_a_deviation(size, minibatch):
    parts = minibatches(size, PPOSettings(minibatch=minibatch, epochs=1), np.random.default_rng(0))
    assert min(len(part) for part in parts) >= 2
    assert sorted(np.concatenate(parts)) == list(range(size))


@pytest.mark.parametrize("size", [256, 1000, 2048, 4096, 50_000])
@pytest.mark.parametrize("minibatch", [30, 64, 256, 1024])
def test_usual_minibatches_are_cut_as_ever(size, minibatch):
    found = minibatches(size, PPOSettings(minibatch=minibatch, epochs=2), np.random.default_rng(3))
    rng, count = np.random.default_rng(3), max(1, round(size / minibatch))
    wanted = [rows for _ in range(2) for rows in np.array_split(rng.permutation(size), count)]
    assert [rows.tolist() for rows in found] == [rows.tolist() for rows in wanted]


def test_a_rollout_of_a_single_transition_is_refused():
    with pytest.raises(InvalidInput, match="at least 2 transitions per member in a rollout"):
        pack_of([("native", 0), ("native", 1)], envs=1, settings={**QUICK, "rollout": 1})
    for rollout, envs in ((3, 1), (1, 2)):
        heard = Heard()
        trained(
            [("native", 0)],
            12,
            envs=envs,
            settings={**QUICK, "rollout": rollout, "minibatch": 2},
            heard=heard,
        )
        assert not heard.failures


def test_initial_weights_are_orthogonal_and_the_first_policy_nearly_uniform():
    drawn = initial_parameters(Shapes(6, (16, 16), 3, False), np.random.default_rng(0), 0.0)
    square = drawn["policy.1.weight"]
    np.testing.assert_allclose(square @ square.T, 2 * np.eye(16), atol=1e-5)
    assert np.linalg.norm(drawn["policy.out.weight"], axis=1) == pytest.approx(0.01, abs=1e-6)


# --- random streams -------------------------------------------------------------------------------


def test_streams_are_keyed_by_seed_purpose_and_rollout():
    keys = [
        (0, Purpose.WEIGHTS, 0),
        (0, Purpose.ACTIONS, 0),
        (0, Purpose.ACTIONS, 1),
        (1, Purpose.ACTIONS, 0),
    ]
    drawn = [float(stream(*key).random()) for key in keys]
    assert len(set(drawn)) == 4
    assert drawn == [float(stream(*key).random()) for key in keys]
    assert environment_seeds(3, 0, 4)[:2] == environment_seeds(3, 0, 2)
    assert environment_seeds(3, 0, 2) != environment_seeds(3, 1, 2)


@pytest.mark.parametrize("task", [CART_POLE, PENDULUM], ids=["choices", "vectors"])
def test_the_same_seed_gives_the_same_curve(task):
    one, other = (trained([("native", 3), ("native", 4)], task=task) for _ in range(2))
    assert one.curve(0) == other.curve(0)
    assert torch.equal(one.stack.flat, other.stack.flat)
    assert not torch.equal(one.stack.flat[0], one.stack.flat[1])


# --- members apart --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", [CART_POLE, PENDULUM], ids=["choices", "vectors"])
def test_packs_of_one_two_eight_and_sixteen_give_a_member_the_same_curve_bit_for_bit(task, backend):
    alone, *larger = (
        trained([("native", s) for s in range(n)], task=task, backend=backend, settings=USUAL)
        for n in (1, 2, 8, 16)
    )
    for pack in larger:
        assert pack.curve(0) == alone.curve(0)
        assert torch.equal(pack.stack.flat[0], alone.stack.flat[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_member_s_place_does_not_matter(backend):
    members = [("native", 0), ("native", 1), ("native", 2)]
    forth, back = trained(members, backend=backend), trained(members[::-1], backend=backend)
    assert torch.equal(forth.stack.flat, back.stack.flat.flip(0))


@pytest.mark.slow
@pytest.mark.parametrize("task", [CART_POLE, PENDULUM], ids=["choices", "vectors"])
@pytest.mark.skipif(not available(), reason="needs both backends")
def test_torch_and_the_compiled_kernel_train_alike(task):
    one, other = (
        trained([("native", 0), ("native", 1)], 256, task=task, backend=b)
        for b in ("torch", "kernel")
    )
    torch.testing.assert_close(one.stack.flat, other.stack.flat, atol=1e-5, rtol=1e-4)
    assert one.curve(1).steps == other.curve(1).steps


def test_an_unknown_backend_is_refused():
    with pytest.raises(InvalidInput, match="auto, torch or kernel"):
        choose_backend("jax")


# Torch's products round by the place of a matrix in memory unless its rows come in fours.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "envs"),
    [("torch", 4), *(pytest.param(*k.values, 3, marks=k.marks) for k in BACKENDS[1:])],
)
def test_widths_that_no_vector_divides_change_nothing_of_that(backend, envs):
    settings = {"rollout": 50, "minibatch": 40, "epochs": 3, "hidden": [15, 9]}
    one, *others = (
        trained(
            [("native", s) for s in range(n)],
            300,
            task=Task("hopper", "Hopper-v5", ""),
            envs=envs,
            settings=settings,
            backend=backend,
        )
        for n in (2, 1, 3, 8)
    )
    for pack in others:
        assert torch.equal(pack.stack.flat[0], one.stack.flat[0])
    assert torch.equal(others[1].stack.flat[1], one.stack.flat[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_members_may_differ_in_the_numbers_of_the_learner(backend):
    own = {"learning_rate": 1e-4, "clip": 0.1, "entropy": 0.02, "gamma": 0.9, "gae_lambda": 0.8}
    members = [Member("native", 0), Member("native", 0, settings=own), Member("native", 1)]
    beside = pack_of(members, backend=backend)
    beside.train(Span(512, 512))
    for place, settings in ((0, QUICK), (1, QUICK | own)):
        alone = trained([("native", 0)], 512, settings=settings, backend=backend)
        assert torch.equal(beside.stack.flat[place], alone.stack.flat[0])
    assert not torch.equal(beside.stack.flat[0], beside.stack.flat[1])


def test_a_member_cannot_differ_in_what_a_pack_shares():
    with pytest.raises(InvalidInput, match="the whole pack's"):
        pack_of([Member("native", 0, settings={"rollout": 64})])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_neighbour_with_more_features_changes_nothing(backend):
    programs = {"plain": Code(leaning), "rich": Code(leaning, energies)}
    plain = {"plain": programs["plain"]}
    alone = trained([("plain", 0), ("plain", 1)], programs=plain, backend=backend)
    members = [("plain", 0), ("rich", 0), ("plain", 1)]
    beside = trained(members, programs=programs, backend=backend)
    one, other = parameters(alone, 0), parameters(beside, 0)
    assert one.keys() == other.keys()
    for name, value in one.items():  # sums over a wider matrix may round otherwise
        np.testing.assert_allclose(other[name], value, rtol=1e-4, atol=1e-5)
    assert parameters(beside, 1)["parameter.policy.0.weight"].shape == (16, 6)
    padding = views(beside.stack.flat, beside.stack.shapes)["policy.0.weight"][0, :, 4:]
    assert torch.count_nonzero(padding) == 0


@pytest.mark.skipif(not available(), reason=why_absent() or "-")
@pytest.mark.parametrize("task", [CART_POLE, PENDULUM], ids=["choices", "vectors"])
def test_with_the_usual_networks_a_neighbour_with_more_features_changes_no_bit(task):
    programs = {"native": None, "rich": Code(features=first_two), "richer": Code(features=three)}
    members = [("rich", 0), ("native", 0), ("richer", 1), ("rich", 2)]
    how = {"task": task, "settings": USUAL, "backend": "kernel"}
    beside = trained(members, programs=programs, **how)
    for place, member in enumerate(members):
        alone = trained([member], programs={member[0]: programs[member[0]]}, **how)
        assert beside.curve(place) == alone.curve(0)
        one, other = parameters(alone, 0), parameters(beside, place)
        assert all(np.array_equal(one[name], other[name]) for name in one)


def first_two(states):
    return {"square": states[:, 0] ** 2, "product": states[:, 0] * states[:, 1]}


def three(states):
    return {**first_two(states), "sine": np.sin(states[:, 1])}


# --- the unit of a feature ------------------------------------------------------------------------


def in_units_of(unit):
    """A program whose features are as many times larger."""
    return Code(features=lambda s: {n: v * np.float32(unit) for n, v in first_two(s).items()})


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("observations", [True, False], ids=["normalised", "as it is"])
@pytest.mark.parametrize("unit", [1024.0, 2.0**-20], ids=["2^10", "2^-20"])
def test_the_unit_of_a_feature_changes_nothing_of_what_is_learnt(unit, observations, backend):
    settings = {**QUICK, "normalise_observations": observations}
    one, other = (
        trained([("a", 0), ("a", 1)], programs={"a": code}, settings=settings, backend=backend)
        for code in (in_units_of(1), in_units_of(unit))
    )
    assert torch.equal(one.stack.flat, other.stack.flat)
    assert one.curve(0) == other.curve(0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_unit_that_is_no_power_of_two_changes_roundings_only(backend):
    how = {"task": PENDULUM, "backend": backend, "steps": 512}
    one, other = (
        trained([("a", 0)], programs={"a": code}, **how)
        for code in (in_units_of(1), in_units_of(1000))
    )
    torch.testing.assert_close(one.stack.flat, other.stack.flat, atol=1e-3, rtol=1e-3)
    for name, values in one.curve(0).series.items():
        np.testing.assert_allclose(other.curve(0).series[name], values, rtol=1e-3, atol=1e-3)


def test_a_feature_of_any_size_can_leave_for_scoring():
    pack = trained([("a", 0)], programs={"a": in_units_of(1e-12)})
    weights = read_weights(pack.weights()[0], 4, pack.space)
    assert weights["normaliser.scale"][4:].min() > 1e9


def test_a_feature_that_never_changes_is_seen_as_nothing():
    moments = RunningMoments(1, 3)
    moments.add(np.tile(np.array([0.5, 0.1, 0.0], np.float32), (1, 64, 1)))
    mean, scale = moments.sight(1, observations=True)
    seen = normalised(np.array([[[0.5, 0.1, 0.0]]], np.float32), mean[:, None], scale[:, None])
    np.testing.assert_allclose(seen, 0, atol=0.1)


def test_features_are_seen_in_deviations_even_where_observations_are_seen_as_they_are():
    rows = np.random.default_rng(0).normal(7, 0.001, (1, 500, 2)).astype(np.float32)
    moments = RunningMoments(1, 2, prior=0.0)
    moments.add(rows)
    mean, scale = moments.sight(1, observations=False)
    seen = normalised(rows, mean[:, None], scale[:, None])
    np.testing.assert_array_equal(seen[..., 0], rows[..., 0])
    np.testing.assert_allclose([seen[..., 1].mean(), seen[..., 1].std()], [0, 1], atol=0.01)


def test_features_are_seen_by_the_policy_and_measured_with_it():
    pack = trained([("rich", 0), ("rich", 1)], programs={"rich": Code(leaning, energies)})
    weights = read_weights(pack.weights()[0], 4, pack.space)
    assert weights["policy.0.weight"].shape == (16, 6)
    assert np.abs(weights["policy.0.weight"][:, 4:]).max() > 0
    assert weights["normaliser.scale"][4] != 1.0


# --- programs -------------------------------------------------------------------------------------


def rewards_of(mode, code, weight=1.0, steps=1024):
    pack = trained(
        [("a", 0), ("b", 0)], steps, programs={"a": code, "b": None}, mode=mode, weight=weight
    )
    return pack.curve(0), pack.curve(1)


@pytest.mark.parametrize("mode", ["replace", "add"])
def test_features_alone_leave_the_native_reward_in_either_mode(mode):
    own, native = rewards_of(mode, Code(features=energies), weight=0.5)
    assert set(own.series["training_reward"]) == set(native.series["training_reward"]) == {1.0}
    assert not [name for name in own.series if name.startswith("component.")]


def test_components_are_summed_and_kept_apart_in_the_curve():
    own, native = rewards_of("replace", Code(leaning))
    parts = np.add(own.series["component.upright"], own.series["component.centre"])
    np.testing.assert_allclose(own.series["training_reward"], parts, rtol=1e-4)
    assert set(native.series["training_reward"]) == {1.0}
    assert "component.upright" not in native.series
    assert len(own.steps) == len(own.series["native_return"]) == 8


def test_in_mode_add_the_weighted_design_is_added_to_the_native_reward():
    own, _ = rewards_of("add", Code(leaning), weight=0.5)
    parts = np.add(own.series["component.upright"], own.series["component.centre"])
    np.testing.assert_allclose(own.series["training_reward"], 1 + 0.5 * parts, rtol=1e-4)


def test_a_program_without_a_reward_trains_on_the_native_one():
    own, _ = rewards_of("replace", Code(None, energies))
    assert set(own.series["training_reward"]) == {1.0}


def test_a_program_is_called_once_per_rollout_for_all_its_members():
    code = Code(leaning)
    trained([("a", 0), ("a", 1), ("a", 2)], 1024, programs={"a": code})
    assert code.calls == 1024 // (32 * 4)


def breaking_at(limit):
    calls = {"n": 0}

    def reward(states, action, following):
        calls["n"] += 1
        terms = leaning(states, action, following)
        if calls["n"] > limit:
            terms["centre"] = np.full(len(states), np.nan)
        return terms

    return reward


def too_large(states, action, following):
    return {"a": np.full(len(states), 3e38), "b": np.full(len(states), 3e38)}


@pytest.mark.parametrize(
    ("reward", "words"),
    [(breaking_at(0), "finite"), (breaking_at(3), "finite"), (too_large, "sum of components")],
    ids=["at once", "after a while", "a sum that overflows"],
)
def test_a_broken_member_is_taken_out_and_its_neighbours_do_not_feel_it(reward, words):
    heard = Heard()
    members = [("good", 0), ("bad", 0), ("good", 1)]
    beside = trained(members, programs={"good": Code(leaning), "bad": Code(reward)}, heard=heard)
    whole = trained(members, programs={"good": Code(leaning), "bad": Code(leaning)})
    assert words in heard.failures.pop(1)
    assert not heard.failures
    assert beside.living == [0, 2]
    assert set(beside.weights()) == set(beside.checkpoints()) == {0, 2}
    for place in (0, 2):
        assert torch.equal(beside.stack.flat[place], whole.stack.flat[place])


def test_only_the_seed_whose_own_rows_break_the_contract_is_taken_out():
    first = make_batch(CART_POLE, 4).reset(environment_seeds(1, 0, 4))

    def broken_where_seed_1_begins(states, action, following):
        terms = leaning(states, action, following)
        begins = np.isin(states[:, 0], first[:, 0])
        return terms | {"centre": np.where(begins, np.nan, terms["centre"])}

    heard = Heard()
    members = [("a", 0), ("a", 1), ("a", 2)]
    trained(members, programs={"a": Code(broken_where_seed_1_begins)}, heard=heard)
    assert list(heard.failures) == [1]


def test_a_loss_that_is_not_finite_takes_a_member_out_and_nobody_else():
    heard = Heard()
    pack = pack_of([("native", 0), ("native", 1)], heard=heard)
    pack.train(Span(256, 1024))
    with torch.no_grad():
        pack.stack.params["value.out.weight"][0].fill_(torch.inf)
    pack.train(Span(1024, 1024))
    assert "NaN or infinite" in heard.failures[0]
    assert pack.living == [1]
    assert torch.equal(pack.stack.flat[1], trained([("native", 0), ("native", 1)]).stack.flat[1])


def test_training_ends_when_nobody_is_left():
    pack = trained([("bad", 0), ("bad", 1)], 10_000, programs={"bad": Code(breaking_at(0))})
    assert pack.living == []
    assert pack.progressed.steps < 10_000


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
