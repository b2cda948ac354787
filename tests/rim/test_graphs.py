"""The update as a CUDA graph: the same numbers as step by step, on whatever device."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from core.training.device_pack import hyper_on, moved
from core.training.graphs import GraphedUpdate, gradient_step
from core.training.minibatches import minibatches
from core.training.networks import Shapes, initial_parameters
from core.training.ppo import Experience, new_stack
from core.training.settings import PPOSettings
from core.training.weights import put_parameters
from tests.rim.device_parts import CUDA, on_every_device

MEMBERS, ROWS = 3, 100
SETTINGS = PPOSettings(minibatch=30, epochs=3, entropy=0.01)


pytestmark = pytest.mark.usefixtures("one_thread")


def filled_stack(shapes, device):
    stack = new_stack(shapes, MEMBERS)
    for member in range(MEMBERS):
        rng = np.random.default_rng(member)
        put_parameters(stack, member, shapes.inputs, initial_parameters(shapes, rng, -0.5))
    return moved(stack, torch.device(device))


def some_experience(shapes, device, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, generator=generator)

    actions = normal(MEMBERS, ROWS, shapes.actions)
    if not shapes.continuous:
        actions = torch.randint(0, shapes.actions, (MEMBERS, ROWS), generator=generator)
    parts = (
        normal(MEMBERS, ROWS, shapes.inputs),
        actions,
        normal(MEMBERS, ROWS) - 2,
        normal(MEMBERS, ROWS),
        normal(MEMBERS, ROWS),
    )
    return Experience(*(part.to(device) for part in parts))


def eager(stack, rate, experience, rows):
    """Take the same steps without any of the machinery."""
    step = gradient_step(stack, rate)
    device = stack.flat.device
    said = [step(experience.minibatch(torch.from_numpy(one).to(device))) for one in rows]
    return {
        f.name: torch.stack([getattr(s, f.name) for s in said]).mean(0) for f in fields(said[0])
    }


def hyper(device):
    return hyper_on(torch.device(device), [SETTINGS] * MEMBERS)


@pytest.mark.parametrize("continuous", [False, True], ids=["choices", "vectors"])
@on_every_device
def test_three_rollouts_give_the_parameters_and_losses_of_eager_steps(device, continuous):
    shapes = Shapes(5, (8, 6), 3, continuous)
    one, other = filled_stack(shapes, device), filled_stack(shapes, device)
    rates = hyper(device), hyper(device)
    update = GraphedUpdate(one, gradient_step(one, rates[0]))
    for rollout in range(3):
        for rate in rates:
            rate.learning_rate.fill_(1e-3 / (1 + rollout))
        experience = some_experience(shapes, device, rollout)
        rows = minibatches(ROWS, SETTINGS, np.random.default_rng(rollout))
        said = update(experience, rows)
        expected = eager(other, rates[1], experience, rows)
        torch.testing.assert_close(one.flat, other.flat, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(one.updates, other.updates)
        for name, value in expected.items():
            torch.testing.assert_close(getattr(said, name), value, atol=1e-5, rtol=1e-5)


@on_every_device
def test_a_member_that_is_not_living_keeps_its_parameters_although_its_loss_is_nan(device):
    shapes = Shapes(5, (8,), 3, True)
    stack = filled_stack(shapes, device)
    before = stack.flat.clone()
    update = GraphedUpdate(stack, gradient_step(stack, hyper(device)))
    experience = some_experience(shapes, device)
    rows = minibatches(ROWS, SETTINGS, np.random.default_rng(0))
    update(experience, rows)  # on CUDA the graph exists before the member is taken out
    kept = stack.flat[1].clone()
    stack.living[1] = False
    experience.returns[1] = float("nan")
    losses = update(experience, rows)
    assert torch.equal(stack.flat[1], kept)
    assert not torch.isfinite(losses.value[1])
    assert torch.isfinite(stack.flat).all()
    assert (stack.flat[[0, 2]] != before[[0, 2]]).any(1).all()


@on_every_device
def test_rollouts_of_another_size_are_learnt_from_as_well(device):
    shapes = Shapes(5, (8,), 3, True)
    one, other = filled_stack(shapes, device), filled_stack(shapes, device)
    rate = hyper(device)
    update = GraphedUpdate(one, gradient_step(one, rate))
    for seed, size in enumerate((ROWS, 64, ROWS)):
        experience = some_experience(shapes, device, seed).at(torch.arange(size, device=device))
        rows = minibatches(size, SETTINGS, np.random.default_rng(seed))
        update(experience, rows)
        eager(other, rate, experience, rows)
    torch.testing.assert_close(one.flat, other.flat, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("device", [CUDA])
def test_each_size_of_a_minibatch_has_one_graph(device):
    shapes = Shapes(5, (8,), 3, True)
    stack = filled_stack(shapes, device)
    update = GraphedUpdate(stack, gradient_step(stack, hyper(device)))
    update(some_experience(shapes, device), minibatches(ROWS, SETTINGS, np.random.default_rng(0)))
    assert update.captured == (33, 34)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("device", [CUDA])
def test_replaying_waits_for_nothing(device):
    shapes = Shapes(5, (8,), 3, True)
    stack = filled_stack(shapes, device)
    update = GraphedUpdate(stack, gradient_step(stack, hyper(device)))
    experience = some_experience(shapes, device)
    rows = minibatches(ROWS, SETTINGS, np.random.default_rng(0))
    update(experience, rows)
    torch.cuda.synchronize()
    placed = update._filled(experience, np.concatenate(rows))
    try:
        torch.cuda.set_sync_debug_mode("error")
        for one in rows:
            update._advance(placed, len(one))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("continuous", [False, True], ids=["choices", "vectors"])
@pytest.mark.parametrize("device", [CUDA])
def test_a_gradient_step_on_a_device_is_that_of_the_cpu(continuous, device):
    shapes = Shapes(5, (8, 6), 3, continuous)
    stacks = filled_stack(shapes, "cpu"), filled_stack(shapes, device)
    for stack in stacks:
        place = stack.flat.device
        losses = gradient_step(stack, hyper(place))(some_experience(shapes, place))
        assert torch.isfinite(losses.value).all()
    for name in ("gradient", "flat", "first", "second"):
        ours, theirs = getattr(stacks[1], name).cpu(), getattr(stacks[0], name)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
