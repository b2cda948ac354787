"""The replay: raw steps, kept and drawn, and paid for by whatever program asks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.training.course import Span
from tests.rim.off_policy_parts import (
    ALGORITHMS,
    QUICK,
    TARGET,
    first_column,
    pack_of,
    remembered,
    same,
    squares,
    trained,
)
from tests.rim.training_parts import Code

# Trainings of a second each.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread", "one_seed")]


def doubled(states, action, following):
    return {"twice": 2 * following[:, 0]}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_was_lived_is_stored_raw_and_in_order(algorithm):
    pack = trained(algorithm, [0, 1], 300)
    rows = pack.memory.replay.kept(0)
    size = pack.batch.layout.state_size
    assert len(rows) == 300
    assert rows.native.std() > 0 or rows.terminated.any()
    for env in (0, 1):  # a turn is two steps of two environments
        states, following = rows.state[env::2], rows.next[env::2, :size]
        on = ~rows.terminated[env::2][:-1]
        goes_on = np.isclose(states[1:], following[:-1], atol=1e-6).all(1)
        assert goes_on[on].mean() > 0.95  # elsewhere a time limit cut the episode


def test_a_ring_forgets_its_oldest_rows():
    small, large = (trained("dqn", [0], 300, settings={**QUICK, "buffer": n}) for n in (100, 1000))
    assert len(small.memory.replay.kept(0)) == 100
    everything = large.memory.replay.kept(0)
    assert len(everything) == 300
    # Both act the same at first, when nothing is learned yet.
    beginning = trained("dqn", [0], 40).memory.replay.kept(0)
    np.testing.assert_array_equal(everything.state[:40], beginning.state)


def test_a_time_limit_does_not_end_what_values_are_about():
    pack = trained("sac", [0], 420, task=TARGET)
    assert not pack.memory.replay.kept(0).terminated.any()
    batch = pack.memory.sample(torch.rand(1, 500, dtype=torch.float64))
    assert batch.continues[0].all()
    fallen = trained("dqn", [0], 300)
    share = fallen.memory.replay.kept(0).terminated.mean()
    drawn = fallen.memory.sample(torch.rand(1, 5000, dtype=torch.float64))
    assert 0.01 < share < 0.2
    assert float((1 - drawn.continues[0]).mean()) == pytest.approx(share, abs=0.02)


def test_actions_are_kept_in_half_ranges_and_given_in_the_environment_s_units():
    pack = trained("sac", [0], 100)
    rows = pack.memory.replay.kept(0)
    assert 1.5 < np.abs(rows.action).max() <= 2.0
    drawn = pack.memory.sample(torch.rand(1, 500, dtype=torch.float64))
    assert 0.75 < float(drawn.actions.abs().max()) <= 1.0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_relabelling_gives_what_the_program_would_have_given_from_the_start(algorithm):
    native = trained(algorithm, [0])
    programs = {"0.0": Code(first_column, squares)}
    warm = {0: [native.checkpoints()[0]]}
    relabelled = pack_of(algorithm, [("0.0", 0)], programs, warm=warm)
    rows = native.memory.replay.kept(0)
    assert same_rows(rows, relabelled.memory.replay.kept(0))
    pointed = torch.arange(200, dtype=torch.float64).expand(1, -1) / 200
    found = relabelled.memory.sample(pointed + 1e-4)
    expected = rows.next[:, 0] - 0.1 * rows.next[:, 1] ** 2
    np.testing.assert_allclose(found.rewards[0].numpy(), expected, rtol=1e-6, atol=1e-6)
    mean, scale = relabelled.memory.normaliser(0)
    square = (rows.state[:, 0] ** 2 - mean[-2]) * scale[-2]
    product = (rows.next[:, 0] * rows.next[:, 1] - mean[-1]) * scale[-1]
    np.testing.assert_array_equal(found.inputs[0, :, -2].numpy(), np.clip(square, -10, 10))
    np.testing.assert_array_equal(found.following[0, :, -1].numpy(), np.clip(product, -10, 10))


def same_rows(one, other):
    return all(np.array_equal(getattr(one, n), getattr(other, n)) for n in one.__slots__)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_learning_from_relabelled_rows_is_learning_from_the_program_s_own(algorithm):
    # Until learning starts, what is lived does not depend on the program.
    settings = {**QUICK, "learning_starts": 100}
    programs = {"0.0": Code(doubled)}
    random = trained(algorithm, [0], 100, settings=settings)
    own = trained(algorithm, [("0.0", 0)], 100, programs=programs, settings=settings)
    resumed = pack_of(algorithm, [("0.0", 0, random.checkpoints()[0])], programs, settings=settings)
    continued = pack_of(algorithm, [("0.0", 0, own.checkpoints()[0])], programs, settings=settings)
    for pack in (resumed, continued):
        pack.train(Span(200, 200))
    assert same(remembered(resumed, 0), remembered(continued, 0)) == []
    assert len(continued.curve(0).series["critic"]) > 0


def test_what_a_run_began_with_is_not_passed_on_again():
    first = trained("dqn", [0]).checkpoints()[0]
    second = trained("dqn", [1], 100, warm={0: [first]})
    resumed = pack_of("dqn", [("native", 1, second.checkpoints()[0])])
    third = pack_of("dqn", [2], warm={0: [first, resumed.checkpoints()[0]]})
    whole = second.memory.replay.kept(0)
    assert len(whole) == 200 + 100
    assert same_rows(third.memory.replay.kept(0), whole)


def test_programs_are_not_called_for_every_minibatch():
    code = Code(first_column)
    trained("sac", [("0.0", 0)], 200, programs={"0.0": code})
    assert code.calls == 200 / (2 * 2)  # once per turn: two steps of two environments


def test_members_may_share_what_they_live():
    programs = {"0.0": Code(first_column), "0.1": Code(doubled)}
    members = [("0.0", 0), ("0.1", 1)]
    settings = {**QUICK, "share_replay": True}
    pack = trained("sac", members, 120, programs=programs, settings=settings)
    one, other = pack.memory.replay.kept(0), pack.memory.replay.kept(1)
    assert len(one) == 240
    assert same_rows(one, other)
    chance = torch.rand(1, 100, dtype=torch.float64).expand(2, -1)
    drawn = pack.memory.sample(chance)
    assert torch.equal(drawn.inputs[0], drawn.inputs[1])
    assert not torch.equal(drawn.rewards[0], drawn.rewards[1])
