"""The members of a pack: none feels the others, and a program that breaks takes out its own alone."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch

from core.envs import make_batch
from core.errors import InvalidInput
from core.records.task import Task
from core.training.backends import choose_backend
from core.training.course import Span
from core.training.kernel import available, why_absent
from core.training.members import Member
from core.training.networks import views
from core.training.normalise import RunningMoments, normalised
from core.training.numpy_policy import read_weights, stack_policies
from core.training.streams import Purpose, environment_seeds, stream
from tests.rim.training_parts import (
    BACKENDS,
    CART_POLE,
    PENDULUM,
    QUICK,
    Code,
    Heard,
    pack_of,
    parameters,
    trained,
)

pytestmark = pytest.mark.usefixtures("one_thread")


USUAL = {"rollout": 64, "minibatch": 64, "epochs": 2}


def leaning(states, action, following):
    return {"upright": 1 - np.abs(following[:, 2]), "centre": -0.1 * np.abs(following[:, 0])}


def energies(states):
    return {"energy": states[:, 3] ** 2, "lean": states[:, 2] * 10}


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


class Stuck(gymnasium.Env):
    """The second number of an action can only be 2."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    action_space = gymnasium.spaces.Box(np.float32([-1, 2]), np.float32([1, 2]))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 1).astype(np.float32), {}

    def step(self, action):
        assert action[1] == 2
        return self.reset()[0], float(action[0]), False, False, {}


gymnasium.register("Stuck-v0", entry_point=Stuck, max_episode_steps=10)


def test_a_number_of_an_action_that_cannot_change_keeps_nobody_from_being_scored():
    pack = trained([("native", 0)], task=Task("stuck", "Stuck-v0", ""), steps=256)
    policies = stack_policies([read_weights(pack.weights()[0], 1, pack.space)], pack.space)
    inputs = np.random.default_rng(0).normal(size=(1, 9, 1)).astype(np.float32)
    assert (policies.act(inputs)[..., 1] == 2).all()
    assert np.isfinite(policies.slopes(inputs)).all()


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
