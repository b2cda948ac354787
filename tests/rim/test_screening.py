"""The screens' numbers, by a real child on real transitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.errors import StepInterrupted
from core.ordering import likeness
from core.ports import Source
from core.records.spec import Training
from core.sandbox import Sandbox
from core.training import screening
from core.training.keeping import MOST_KEPT_ROWS, kept_episodes, put_together
from core.training.laboratory import PRELOAD_DESIGN, Laboratory
from core.training.probing import probe_task
from core.training.screening import screen_programs
from core.training.transitions import Transitions, load_recording, save_recording
from tests.rim.laboratory_parts import (
    CART_POLE,
    ESCAPE,
    MemoryArtifacts,
    ignore,
    program,
    rewarding,
    screening_order,
)

ARTIFACTS = MemoryArtifacts()


@pytest.fixture(scope="module")
def sandbox():
    box = Sandbox([*PRELOAD_DESIGN, "core.training.preflight"])
    yield box
    box.close()


@pytest.fixture(scope="module")
def cart_pole(sandbox):
    return probe_task(sandbox, ARTIFACTS, CART_POLE, 0, ignore)


def screened(sandbox, preflight, programs, **changes):
    order = screening_order(preflight, programs, **changes)
    return screen_programs(sandbox, ARTIFACTS, order, ignore)


UPRIGHT = rewarding("return {'upright': np.cos(next_obs.angle)}")


# --- what is kept ---------------------------------------------------------------------------------


def test_preflight_keeps_episodes_of_the_random_policy(cart_pole):
    recording = load_recording(ARTIFACTS.get(cart_pole.recording))
    lengths = np.bincount(recording.episode)
    assert len(lengths) == len(recording.fitness) >= 16
    assert (lengths == recording.fitness).all()  # the native reward of an episode is its length
    assert recording.fitness[0] == recording.fitness.max()
    assert recording.fitness[1] == recording.fitness.min()


def test_kept_are_whole_episodes_within_the_limit_the_most_telling_first():
    def episode(fitness, rows=1_500):
        column = np.full((rows, 1), fitness, np.float32)
        flags = np.zeros(rows, np.bool_)
        return Transitions(column, column, column, column[:, 0], flags), fitness

    kept = kept_episodes(put_together([episode(f) for f in (1.0, 3.0, 2.0, 5.0, 4.0)]))
    assert kept.fitness.tolist() == [5.0, 1.0]
    assert np.bincount(kept.episode).tolist() == [1_500, 1_500]
    assert kept.transitions.native[0] == 5.0
    long = kept_episodes(put_together([episode(1.0, 9_000), episode(2.0, 9_000)]))
    assert (long.fitness.tolist(), len(long.transitions)) == ([2.0], MOST_KEPT_ROWS)


# --- what programs say ----------------------------------------------------------------------------


def test_a_program_s_pay_for_trajectories_is_what_its_components_sum_to(sandbox, cart_pole):
    alive = rewarding("return {'a': np.ones_like(obs.x) + 0 * obs.x, 'b': 0.5 + 0 * obs.x}")
    found = screened(sandbox, cart_pole, {"0.0": alive})
    lengths = np.array([one.length for one in found.trajectories])
    numbers = found.numbers["0.0"]
    assert numbers.per_step == pytest.approx(1.5)
    assert numbers.in_sum == pytest.approx(1.5 * (1 - 0.99**lengths) / 0.01)
    assert [one.fitness for one in found.trajectories] == lengths.tolist()
    assert {one.source for one in found.trajectories} == {"random"}
    assert found.normalised


def test_in_mode_add_the_native_reward_is_part_of_it(sandbox, cart_pole):
    found = screened(
        sandbox, cart_pole, {"0.0": rewarding("return {'a': 2 + 0 * obs.x}")}, mode="add"
    )
    assert found.numbers["0.0"].per_step == pytest.approx(1.0 + 0.5 * 2)
    assert found.numbers["0.0"].reward == pytest.approx(2.0)


def test_potential_shaping_leaves_the_canonical_form_as_it_was(sandbox, cart_pole):
    shaped = rewarding(
        "return {'upright': np.cos(next_obs.angle),"
        " 'shaping': 0.99 * np.square(next_obs.x) - np.square(obs.x)}"
    )
    other = rewarding("return {'still': -np.square(next_obs.v)}")
    found = screened(sandbox, cart_pole, {"0.0": UPRIGHT, "1.0": shaped, "1.1": other}).numbers
    assert likeness(found["0.0"].canonical, found["1.0"].canonical) > 0.999
    assert likeness(found["0.0"].reward, found["1.0"].reward) < 0.99
    assert likeness(found["0.0"].canonical, found["1.1"].canonical) < 0.9


def test_features_are_told_apart_by_their_values(sandbox, cart_pole):
    code = "def features(obs):\n    return {{'a': {}}}\n"
    found = screened(
        sandbox,
        cart_pole,
        {"0.0": program(code.format("obs.x")), "1.0": program(code.format("1000 * obs.x"))},
    ).numbers
    assert found["0.0"].reward is None
    assert likeness(found["0.0"].features[0], found["1.0"].features[0]) > 0.999


def test_the_worst_ordered_pair_comes_with_rows_of_both_episodes(sandbox, cart_pole):
    short = rewarding("return {'early': np.abs(obs.angle) - 0.5}")  # it pays for a fall
    better, worse = screened(sandbox, cart_pole, {"0.0": short}).numbers["0.0"].rows
    assert 2 <= len(better) <= 6
    assert 2 <= len(worse) <= 6
    assert better[-1]["step"] > worse[-1]["step"]
    assert set(better[0]) >= {"step", "x", "angle", "reward.early"}
    assert "secret" not in better[0]


def test_without_sources_programs_are_compared_on_the_probe_set_alone(sandbox, cart_pole):
    found = screened(sandbox, cart_pole, {"0.0": UPRIGHT}, sources=())
    assert found.trajectories == ()
    assert found.numbers["0.0"].reward.shape == (256,)


def test_the_learner_says_whether_rewards_are_divided_by_their_scale(sandbox, cart_pole):
    for training, normalised in (
        (Training(settings={"normalise_rewards": False}), False),
        (Training(algorithm="dqn"), False),
    ):
        assert screened(sandbox, cart_pole, {}, training=training).normalised is normalised


# --- programs that break --------------------------------------------------------------------------


def test_a_program_that_breaks_has_a_reason_and_harms_no_other(sandbox, cart_pole):
    bad = rewarding("return {'a': np.log(obs.x)}")
    found = screened(sandbox, cart_pole, {"0.0": bad, "1.0": UPRIGHT})
    assert set(found.numbers) == {"1.0"}
    assert set(found.broken) == {"0.0"}
    assert "finite" in found.broken["0.0"]


@pytest.mark.slow
def test_a_program_that_ends_the_process_is_left_out(sandbox, cart_pole):
    deadly = rewarding("os._exit(0)", before=ESCAPE)
    found = screened(sandbox, cart_pole, {"0.0": deadly, "1.0": UPRIGHT})
    assert set(found.numbers) == {"1.0"}
    assert found.broken["0.0"]
    assert len(found.trajectories) >= 16


@pytest.mark.slow
def test_a_program_without_end_is_left_out(sandbox, cart_pole, monkeypatch):
    monkeypatch.setattr(screening, "LIMITS", replace(screening.LIMITS, wall_seconds=3.0))
    monkeypatch.setattr(screening, "ALONE", replace(screening.ALONE, wall_seconds=3.0))
    found = screened(
        sandbox, cart_pole, {"0.0": rewarding("while True:\n    pass"), "1.0": UPRIGHT}
    )
    assert set(found.numbers) == {"1.0"}


def test_who_watches_a_screening_can_stop_it(sandbox, cart_pole):
    def stop(progress):
        raise StepInterrupted("cancelled")

    with pytest.raises(StepInterrupted):
        Laboratory(sandbox, ARTIFACTS).screen(screening_order(cart_pole, {"0.0": UPRIGHT}), stop)


def test_many_sources_share_the_trajectories_evenly(sandbox, cart_pole):
    recording = load_recording(ARTIFACTS.get(cart_pole.recording))
    again = ARTIFACTS.put(save_recording(recording))
    both = (Source("random", cart_pole.recording), Source("0.0", again, exploit=True))
    found = screened(sandbox, cart_pole, {}, sources=both, trajectories=6)
    assert [one.source for one in found.trajectories] == ["random"] * 3 + ["0.0"] * 3
    assert [one.exploit for one in found.trajectories] == [False] * 3 + [True] * 3
