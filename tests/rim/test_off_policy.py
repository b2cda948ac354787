"""What one update of SAC and of DQN computes, against definitions and against autograd."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from core.errors import InvalidInput
from core.training.dqn import DQN
from core.training.sac import SAC
from core.training.settings import DQNSettings, SACSettings, check_algorithm, read_settings
from core.training.stacked import Adam, Batch, clip_rows, new_stack
from tests.rim.off_policy_parts import (
    by_hand,
    pack_of,
)
from tests.rim.training_parts import CART_POLE

pytestmark = pytest.mark.usefixtures("one_thread", "one_seed")


CPU = torch.device("cpu")


# --- settings -------------------------------------------------------------------------------------


def test_every_algorithm_has_its_own_settings():
    assert read_settings({"tau": 0.01}, "sac") == SACSettings(tau=0.01)
    assert read_settings({"double": True, "hidden": [8]}, "dqn") == DQNSettings(
        double=True, hidden=(8,)
    )
    with pytest.raises(InvalidInput, match="training settings of sac"):
        read_settings({"double": True}, "sac")
    with pytest.raises(InvalidInput, match="one of ppo, sac, dqn"):
        read_settings({}, "td3")


@pytest.mark.parametrize(
    ("algorithm", "discrete", "warm", "words"),
    [
        ("sac", True, False, "Use dqn or ppo for choices"),
        ("dqn", False, False, "Use sac or ppo for vectors"),
        ("ppo", True, True, "keeps no replay"),
    ],
)
def test_an_algorithm_that_does_not_fit_is_refused_with_what_would(
    algorithm, discrete, warm, words
):
    with pytest.raises(InvalidInput, match=words):
        check_algorithm(algorithm, discrete, warm)


def test_a_pack_refuses_actions_that_its_learner_cannot_give():
    with pytest.raises(InvalidInput, match="vectors"):
        pack_of("sac", [0], task=CART_POLE)


# --- stacks against autograd and torch's optimiser ------------------------------------------------


def a_stack(sizes, rows=3):
    stack = new_stack(sizes, rows, CPU)
    for row in range(rows):
        stack.draw(row, sizes[0], np.random.default_rng(row))
    return stack


def test_gradients_written_by_hand_are_those_of_autograd():
    stack = a_stack((5, 8, 6, 2))
    x, d = torch.randn(3, 7, 5), torch.randn(3, 7, 2)
    outputs = stack.forward(x)
    stack.backward(outputs, d)
    slope = stack.input_slope(outputs, d)
    flat, asked = stack.flat.clone().requires_grad_(), x.clone().requires_grad_()
    free = replace(stack, flat=flat)
    loss = sum((by_hand(free, row, asked[row]) * d[row]).sum() for row in range(3))
    loss.backward()
    torch.testing.assert_close(outputs[-1][1], by_hand(stack, 1, x[1]))
    torch.testing.assert_close(stack.gradient, flat.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(slope, asked.grad, atol=1e-5, rtol=1e-4)


def test_initial_weights_are_uniform_as_those_of_torch_s_layers():
    stack = a_stack((16, 100, 100, 4), rows=2)
    layers = stack.row(stack.flat, 0, 16)
    assert 0.24 < layers["0.weight"].abs().max() <= 1 / 4
    assert 0.095 < layers["1.weight"].abs().max() <= 1 / 10
    assert layers["2.bias"].abs().max() <= 1 / 10
    assert abs(float(layers["1.weight"].mean())) < 0.002


def test_a_step_is_that_of_adam_for_each_row_with_its_own_rate_and_norm():
    values, rates = torch.randn(3, 10), [1e-2, 1e-3, 3e-4]
    own = [torch.nn.Parameter(values[row].clone()) for row in range(3)]
    optimisers = [torch.optim.Adam([p], lr=rate) for p, rate in zip(own, rates, strict=True)]
    adam = Adam(values, torch.tensor(rates)[:, None])
    for size in (10.0, 0.01, 1.0):
        gradient = torch.randn(3, 10) * size
        for row, (parameter, optimiser) in enumerate(zip(own, optimisers, strict=True)):
            parameter.grad = gradient[row].clone()
            torch.nn.utils.clip_grad_norm_([parameter], 0.5)
            optimiser.step()
        clip_rows(gradient, torch.full((3, 1), 0.5))
        adam.descend(gradient, None)
    torch.testing.assert_close(values, torch.stack([p.data for p in own]), atol=1e-6, rtol=1e-5)


def test_rows_that_do_not_learn_keep_everything():
    values = torch.randn(2, 4)
    adam, before = Adam(values, torch.full((2, 1), 0.1)), values.clone()
    adam.descend(torch.full((2, 4), float("nan")), torch.tensor([False, False]))
    adam.descend(torch.ones(2, 4), torch.tensor([True, False]))
    assert torch.equal(values[1], before[1])
    assert adam.updates.ravel().tolist() == [1, 0]
    assert not adam.first[1].any()
    torch.testing.assert_close(values[0], before[0] - 0.1)  # the first step of Adam is its rate


# --- SAC, worked out --------------------------------------------------------------------------------


def a_sac(members=2, inputs=3, actions=2, **settings):
    learner = SAC(inputs, actions, [SACSettings(hidden=(16,), **settings)] * members, CPU)
    for member in range(members):
        learner.start(member, inputs, np.random.default_rng(member))
    return learner


def a_batch(learner, size=12, inputs=3, choices=False):
    draw = torch.Generator().manual_seed(0)
    rows = 2
    actions = (
        torch.randint(0, learner.actions, (rows, size), generator=draw)
        if choices
        else torch.rand(rows, size, learner.actions, generator=draw) * 2 - 1
    )
    return Batch(
        torch.randn(rows, size, inputs, generator=draw),
        torch.randn(rows, size, inputs, generator=draw),
        actions,
        torch.randn(rows, size, generator=draw),
        (torch.arange(size) % 3 > 0).float().expand(rows, size).clone(),
    )


def test_squashed_log_probabilities_are_those_of_torch_s_distributions():
    learner = a_sac()
    output, noise = torch.randn(2, 9, 4) * 0.7, torch.randn(2, 9, 2)
    action, log_prob, _ = learner.squashed(output, noise)
    normal = Independent(Normal(output[..., :2], output[..., 2:].exp()), 1)
    policy = TransformedDistribution(normal, TanhTransform())
    drawn = torch.tanh(output[..., :2] + output[..., 2:].exp() * noise)
    torch.testing.assert_close(action, drawn)
    u = output[..., :2] + output[..., 2:].exp() * noise
    expected = normal.log_prob(u) - TanhTransform().log_abs_det_jacobian(u, action).sum(-1)
    torch.testing.assert_close(log_prob, expected, atol=1e-5, rtol=1e-5)
    inside = action.abs().amax(-1) < 0.99  # beyond, their inverse of tanh runs out of digits
    torch.testing.assert_close(
        log_prob[inside], policy.log_prob(action)[inside], atol=1e-3, rtol=1e-3
    )


def test_targets_stop_where_the_environment_ended_the_episode_and_go_on_where_time_did():
    # Networks of zeros: the policy is tanh of a standard normal, and every value is its last bias.
    learner = SAC(1, 1, [SACSettings(hidden=(2,), gamma=0.5)] * 2, CPU)
    learner.targets.row(learner.targets.flat, 0, 2)["1.bias"].fill_(4.0)
    learner.targets.row(learner.targets.flat, 1, 2)["1.bias"].fill_(3.0)
    nothing = torch.zeros(2, 2, 1)
    batch = Batch(
        nothing,
        nothing,
        nothing,
        rewards=torch.tensor([[1.0, 1.0], [0, 0]]),
        continues=torch.tensor([[0.0, 1.0], [0, 0]]),
    )
    found = learner.target(batch, nothing, torch.full((2, 1), 0.2))
    density = -0.5 * math.log(2 * math.pi)  # of u = 0, and tanh has slope 1 there
    expected = [1.0, 1.0 + 0.5 * (3.0 - 0.2 * density)]
    assert found[0].tolist() == pytest.approx(expected)


def textbook_losses(learner, batch, noise, member, actor, critics):
    """SAC's losses of one member with autograd's parameters, as in the paper."""
    one = Batch(*(getattr(batch, name)[member] for name in Batch.__slots__))
    temperature = learner.log_temperature[member].exp().detach()

    def policy(x, drawn):
        mean, log_std = by_hand(actor, member, x).chunk(2, -1)
        u = mean + log_std.clamp(-20, 2).exp() * drawn
        jacobian = TanhTransform().log_abs_det_jacobian(u, torch.tanh(u))
        density = Normal(mean, log_std.clamp(-20, 2).exp()).log_prob(u)
        return torch.tanh(u), (density - jacobian).sum(-1)

    def lowest(stack, x, action):
        both = [by_hand(stack, 2 * member + c, torch.cat([action, x], -1))[:, 0] for c in (0, 1)]
        return torch.minimum(*both), both

    with torch.no_grad():
        action, density = policy(one.following, noise[member, :, 2:])
        value, _ = lowest(learner.targets, one.following, action)
        target = one.rewards + 0.99 * one.continues * (value - temperature * density)
    _, both = lowest(critics, one.inputs, one.actions)
    critic_loss = sum(0.5 * (value - target).square().mean() for value in both)
    action, density = policy(one.inputs, noise[member, :, :2])
    return (
        critic_loss,
        lambda later: (temperature * density - lowest(later, one.inputs, action)[0]).mean(),
        -(density.detach() - 2).mean(),
    )


def test_an_update_follows_the_textbook_losses():
    learner = a_sac(tau=0.25, learning_rate=1e-2)
    batch, noise = a_batch(learner), torch.randn(2, 12, 4)
    actor = replace(learner.actor, flat=learner.actor.flat.clone().requires_grad_())
    critics = replace(learner.critics, flat=learner.critics.flat.clone().requires_grad_())
    targets, temperature = learner.targets.flat.clone(), learner.log_temperature.clone()
    losses = [textbook_losses(learner, batch, noise, m, actor, critics) for m in range(2)]
    said = learner.update(batch, noise, None)
    sum(critic for critic, _, _ in losses).backward()
    torch.testing.assert_close(learner.critics.gradient, critics.flat.grad, atol=1e-5, rtol=1e-3)
    # The policy follows the critics as they are after their step, the temperature as it was before.
    later = [policy_loss(learner.critics) for _, policy_loss, _ in losses]
    sum(later).backward()
    torch.testing.assert_close(learner.actor.gradient, actor.flat.grad, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(said["actor"], torch.stack(later).detach())
    # One step of Adam is the learning rate long, against the slope -(log π + target entropy).
    slopes = torch.stack([slope for _, _, slope in losses])[:, None]
    torch.testing.assert_close(learner.log_temperature, temperature - 1e-2 * slopes.sign())
    # Targets follow softly.
    expected = 0.75 * targets + 0.25 * learner.critics.flat
    torch.testing.assert_close(learner.targets.flat, expected)


def test_a_temperature_stays_if_it_is_not_learned():
    learner = a_sac(temperature=0.3, learn_temperature=False)
    learner.update(a_batch(learner), torch.randn(2, 12, 4), None)
    torch.testing.assert_close(learner.log_temperature.exp(), torch.full((2, 1), 0.3))


def test_members_may_have_numbers_of_their_own():
    one, other = SACSettings(hidden=(8,)), SACSettings(hidden=(8,), learning_rate=1e-2, gamma=0.5)
    found = []
    for pair in ([one, one], [other, other], [one, other]):
        learner = SAC(3, 2, pair, CPU)
        for member in range(2):
            learner.start(member, 3, np.random.default_rng(member))
        torch.manual_seed(1)
        learner.update(a_batch(learner), torch.randn(2, 12, 4), None)
        found.append(learner.actor.flat)
    assert torch.equal(found[2], torch.stack([found[0][0], found[1][1]]))


# --- DQN, worked out --------------------------------------------------------------------------------


def a_dqn(**settings):
    learner = DQN(3, 4, [DQNSettings(hidden=(8,), **settings)] * 2, CPU)
    for member in range(2):
        learner.start(member, 3, np.random.default_rng(member))
    learner.targets.flat.add_(0.1 * torch.randn_like(learner.targets.flat))
    return learner


@pytest.mark.parametrize("double", [False, True])
def test_a_step_of_dqn_follows_the_huber_loss(double):
    learner = a_dqn(double=double, max_grad_norm=1e6)
    batch = a_batch(learner, choices=True)
    free = replace(learner.values, flat=learner.values.flat.clone().requires_grad_())
    losses = []
    for member in range(2):
        with torch.no_grad():
            following = by_hand(learner.targets, member, batch.following[member])
            own = by_hand(learner.values, member, batch.following[member])
            chosen = (own if double else following).argmax(-1, keepdim=True)
            best = following.gather(-1, chosen)[:, 0]
            target = batch.rewards[member] + 0.99 * batch.continues[member] * best
        value = by_hand(free, member, batch.inputs[member])
        value = value.gather(-1, batch.actions[member][:, None])[:, 0]
        losses.append(torch.nn.functional.smooth_l1_loss(value, target))
    sum(losses).backward()
    said = learner.update(batch, torch.zeros(2, 12, 0), None)
    torch.testing.assert_close(learner.values.gradient, free.flat.grad, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(said["critic"], torch.stack(losses).detach())


def test_the_target_network_is_renewed_when_its_steps_have_passed():
    learner = a_dqn(target_every=100, tau=1.0)
    for before, after in ((0, 96), (100, 196)):
        learner.after_steps(before, after)
    assert not torch.equal(learner.targets.flat, learner.values.flat)
    learner.after_steps(96, 104)
    assert torch.equal(learner.targets.flat, learner.values.flat)


def test_exploration_falls_to_its_end_and_then_stays():
    learner = a_dqn(exploration_fraction=0.5, exploration_initial=0.9, exploration_final=0.1)
    found = [float(learner.exploration(progress)[0]) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert found == pytest.approx([0.9, 0.5, 0.1, 0.1])
    inputs, noise = torch.randn(2, 1000, 3), torch.rand(2, 1000, 2)
    greedy = learner.act(inputs, torch.ones(2, 1000, 2), torch.tensor([False, False]), 1.0)
    some = learner.act(inputs, noise, torch.tensor([False, True]), 1.0)
    assert (some[0] != greedy[0]).float().mean() == pytest.approx(0.1 * 3 / 4, abs=0.03)
    assert (some[1] != greedy[1]).float().mean() == pytest.approx(3 / 4, abs=0.05)
