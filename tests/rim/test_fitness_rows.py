"""The fitness as a reward: its steps add up to the fitness of the episode."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from core.envs import make_batch
from core.fitness import episode_fitness
from core.ports import Arm
from core.records.kinds import FITNESS, NATIVE
from core.records.task import Fitness
from core.tasks import find_task
from core.training.fitness_rows import FitnessRows
from core.training.protocol import train_order
from tests.builders import a_preflight
from tests.rim.laboratory_parts import an_order

TASK = find_task("cartpole-park")
ROWS = 6
KINDS = [
    Fitness("return"),
    Fitness("success", where="cart_position > 0.05", over="any"),
    Fitness("success", where="cart_position > 0.0", over="last"),
    Fitness("share", where="abs(pole_angle) < 0.05", horizon=500),
    *(Fitness("statistic", field="cart_velocity", over=over) for over in ("sum", "last")),
    *(Fitness("statistic", field="cart_velocity", over=over) for over in ("max", "min", "mean")),
    Fitness(
        "least",
        parts=(
            Fitness("share", where="cart_position > 0", horizon=100),
            Fitness("statistic", field="cart_velocity + pole_angle", over="max"),
            Fitness("success", where="cart_velocity > 0.3"),
        ),
    ),
]


def live(fitness, limit, steps=400):
    """Return, per whole episode of all rows, what was paid and what the plain batch gave."""
    paying = FitnessRows(make_batch(TASK, ROWS), fitness, limit)
    plain = make_batch(TASK, ROWS)
    paying.reset(range(ROWS))
    plain.reset(range(ROWS))
    rng = np.random.default_rng(3)
    rows = [([], [], []) for _ in range(ROWS)]
    for _ in range(steps):
        action = rng.integers(0, 2, ROWS)
        paid, step = paying.step(action), plain.step(action)
        assert np.array_equal(paid.next_block, step.next_block)
        assert np.array_equal(paid.state, step.state)
        ended = step.terminated | step.truncated
        for row, (rewards, blocks, native) in enumerate(rows):
            rewards.append(float(paid.native[row]))
            blocks.append(step.next_block[row].copy())
            native.append(float(step.native[row]))
            if ended[row]:
                yield rewards, np.stack(blocks), np.array(native)
                rows[row] = ([], [], [])
    paying.close()
    plain.close()


@pytest.mark.parametrize("fitness", KINDS, ids=lambda f: f"{f.kind}-{f.over or ''}")
def test_the_rewards_of_an_episode_add_up_to_its_fitness(fitness):
    layout, episodes = make_batch(TASK, 1).layout, 0
    for rewards, blocks, native in live(fitness, limit=500):
        values = layout.values(blocks, layout.names("metric"))
        expected = episode_fitness(fitness, values, native)
        if fitness.over == "mean":
            # Nobody knows an episode's length before its end: the mean is scaled by the time limit.
            expected *= len(native) / 500
        assert math.fsum(rewards) == pytest.approx(expected, abs=1e-5)
        episodes += 1
    assert episodes > 20


def test_only_the_first_success_is_paid():
    fitness = Fitness("success", where="cart_velocity > 0.3", over="any")
    paid = [rewards for rewards, _, _ in live(fitness, None)]
    assert {sum(r != 0 for r in rewards) for rewards in paid} == {0, 1}


def test_without_a_time_limit_a_mean_is_paid_as_a_sum():
    fitness = Fitness("statistic", field="cart_velocity", over="mean")
    layout = make_batch(TASK, 1).layout
    for rewards, blocks, _ in live(fitness, None, steps=100):
        velocity = layout.values(blocks, ["cart_velocity"])["cart_velocity"]
        assert math.fsum(rewards) == pytest.approx(float(velocity.sum()), abs=1e-4)


def test_the_fitness_never_shares_a_pack():
    arms = {FITNESS: Arm(FITNESS), NATIVE: Arm(NATIVE)}
    order = an_order(TASK, a_preflight(), arms=arms, members=((FITNESS, 0), (NATIVE, 0)))
    with pytest.raises(ValueError, match="a pack of its own"):
        train_order(order, {})
    alone = train_order(replace(order, arms={FITNESS: Arm(FITNESS)}, members=((FITNESS, 0),)), {})
    assert (alone.fitness_alone, alone.time_limit) == (True, 100)
    assert not train_order(replace(order, arms={NATIVE: Arm(NATIVE)}), {}).fitness_alone
