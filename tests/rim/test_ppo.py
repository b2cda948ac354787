"""What one update of PPO computes: its numbers against slow definitions and against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.errors import InvalidInput
from core.training.advantages import estimate_advantages
from core.training.backends import TorchBackend
from core.training.experience import Critics, following_values, weigh
from core.training.members import scales_of
from core.training.minibatches import in_runs, minibatches, shares
from core.training.networks import Shapes, initial_parameters, layers, views
from core.training.normalise import ReturnScaler, RunningMoments, normalised
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
from tests.rim.training_parts import (
    QUICK,
    Heard,
    filled_stack,
    pack_of,
    trained,
)

pytestmark = pytest.mark.usefixtures("one_thread")


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
