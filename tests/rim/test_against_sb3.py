"""The learner against Stable-Baselines3's own code: same data in, same numbers out.

Where both differ by design, a test says in what and that there is nothing else.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecNormalize

from bench.trainer.sb3_side import BatchVecEnv, make_model
from bench.trainer.setups import Setup
from core.envs import Transition, make_batch
from core.training import pack as packs
from core.training.action_space import read_action_space
from core.training.advantages import estimate_advantages
from core.training.backends import choose_backend
from core.training.designs import Rewards
from core.training.members import Member
from core.training.minibatches import minibatches
from core.training.networks import Shapes, initial_parameters
from core.training.normalise import ReturnScaler, RunningMoments, normalised
from core.training.pack import new_pack
from core.training.ppo import Experience, evaluate, hyper_of, new_stack, policy_of
from core.training.rollout import draw_noise
from core.training.settings import read_settings
from core.training.streams import Purpose, environment_seeds, stream
from core.training.weights import put_parameters
from tests.rim.sb3_parts import (
    OurOrder,
    Settle,
    farthest,
    give_weights,
    in_its_order,
    load_dice,
    permutations,
)
from tests.rim.training_parts import Heard

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:stable_baselines3.*"),
    pytest.mark.usefixtures("one_thread"),
]

CART_POLE = Setup("CartPole-v1", 0, envs=4, rollout=64)
HOPPER = Setup("Hopper-v5", 0, envs=4, rollout=64)


@pytest.fixture(params=["torch", "kernel"])
def backend(request):
    """Everything that may compute the networks."""
    chosen = choose_backend() if request.param == "kernel" else choose_backend("torch")
    if chosen.name != request.param:
        pytest.skip("the compiled kernel is not built")
    return chosen


# --- one update -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "actions", "setup"),
    [
        pytest.param(4, spaces.Discrete(2), CART_POLE, id="discrete"),
        pytest.param(4, spaces.Discrete(2), replace(CART_POLE, entropy=0.01), id="entropy"),
        pytest.param(11, spaces.Box(-1, 1, (3,), np.float32), HOPPER, id="continuous"),
    ],
)
def test_an_update_is_that_of_sb3(inputs, actions, setup, backend):
    steps, envs = setup.rollout, setup.envs
    settings = read_settings(setup.ppo_settings)
    discrete = isinstance(actions, spaces.Discrete)
    shapes = Shapes(inputs, (64, 64), 2 if discrete else 3, not discrete)
    stack = new_stack(shapes, 2)
    for member in range(2):
        drawn = initial_parameters(shapes, np.random.default_rng(member), -0.3)
        put_parameters(stack, member, inputs, drawn)
    model = bare_model(spaces.Box(-np.inf, np.inf, (inputs,), np.float32), actions, setup)
    give_weights(stack, 1, model)
    data = experience(stack, steps * envs)
    fill(model.rollout_buffer, data, 1, steps, envs)
    shuffled = stream(0, Purpose.MINIBATCHES, 5)
    dealt = (
        in_its_order(shuffled.permutation(steps * envs), steps, envs)
        for _ in range(settings.epochs)
    )

    with permutations(dealt):
        model.train()
    rows = minibatches(steps * envs, settings, stream(0, Purpose.MINIBATCHES, 5))
    backend.update(stack, data, hyper_of([settings] * 2), rows)

    moved = float((stack.flat[1] - stack.flat[0]).abs().max())
    assert moved > 1e-2
    assert farthest(stack, 1, model) < 1e-5


def bare_model(seen, actions, setup):
    """SB3's PPO without an environment to speak of."""

    class Bare(BatchVecEnv):
        def __init__(self):
            super(BatchVecEnv, self).__init__(setup.envs, seen, actions)

    model = make_model(setup, Bare(), 0)
    model.set_logger(Logger(None, []))
    return model


def experience(stack, size):
    """Random transitions under a policy a little older than the stack's, so that ratios clip."""
    rng = np.random.default_rng(3)
    members, shapes = len(stack.flat), stack.shapes
    inputs = torch.from_numpy(rng.standard_normal((members, size, shapes.inputs), np.float32))
    output = policy_of(stack, inputs)
    if shapes.continuous:
        actions = output + torch.from_numpy(rng.standard_normal(output.shape, np.float32))
    else:
        actions = torch.from_numpy(rng.integers(0, shapes.actions, (members, size)))
    log_probs, _ = evaluate(stack, output, actions)
    older = torch.from_numpy(0.1 * rng.standard_normal((members, size), np.float32))
    noise = [torch.from_numpy(rng.standard_normal((members, size), np.float32)) for _ in range(2)]
    return Experience(inputs, actions, log_probs + older, noise[0], noise[1])


def fill(buffer, data, member, steps, envs):
    """Put a member's rows, which run t·N + n, into SB3's buffer [T, N]."""
    buffer.reset()
    size = (steps, envs)
    buffer.observations[:] = data.inputs[member].numpy().reshape(*size, -1)
    buffer.actions[:] = data.actions[member].numpy().reshape(*size, -1)
    buffer.log_probs[:] = data.log_probs[member].numpy().reshape(size)
    buffer.advantages[:] = data.advantages[member].numpy().reshape(size)
    buffer.returns[:] = data.returns[member].numpy().reshape(size)
    buffer.full = True


# --- advantages -----------------------------------------------------------------------------------


def test_advantages_are_those_of_sb3_through_terminations_and_time_limits():
    rng = np.random.default_rng(0)
    steps, envs, gamma, decay = 200, 4, 0.99, 0.95
    rewards, values, final = rng.standard_normal((3, steps, envs)).astype(np.float32)
    last = rng.standard_normal(envs).astype(np.float32)
    terminated = rng.random((steps, envs)) < 0.05
    truncated = rng.random((steps, envs)) < 0.05
    terminated[-1], truncated[-1] = [True, False, True, False], [False, True, True, False]
    ended, cut = terminated | truncated, truncated & ~terminated
    following = np.concatenate([values[1:], last[None]])
    following = np.where(cut, final, following)

    ours = estimate_advantages(rewards, values, following, terminated, ended, gamma, decay)
    space = spaces.Box(-1, 1, (1,))
    buffer = RolloutBuffer(steps, space, space, "cpu", decay, gamma, envs)
    buffer.rewards = rewards + gamma * np.where(cut, final, 0).astype(np.float32)
    buffer.values = values
    buffer.episode_starts[1:] = ended[:-1]
    buffer.compute_returns_and_advantage(torch.from_numpy(last), ended[-1])

    assert cut.sum() > 10
    assert terminated.sum() > 10
    np.testing.assert_allclose(ours, buffer.advantages, atol=2e-6, rtol=1e-5)


# --- running statistics ---------------------------------------------------------------------------


class Played:
    """A batch that plays back what was recorded, for VecNormalize to look at."""

    def __init__(self, seen, rewards, ended):
        self.rows, self.action = seen.shape[1], {"kind": "discrete", "n": 2}
        self.layout = make_batch(CART_POLE.task, 1).layout
        self.seen, self.rewards, self.ended, self.t = seen, rewards, ended, 0

    def reset(self, seeds):
        return self.seen[0]

    def step(self, action):
        t, self.t = self.t, self.t + 1
        never = np.zeros(self.rows, np.bool_)
        return Transition(self.seen[t + 1], self.rewards[t], self.ended[t], never, self.seen[t + 1])


def played(steps=500, envs=8):
    rng = np.random.default_rng(1)
    drift = np.linspace(0, 3, steps + 1)[:, None, None]
    seen = (rng.standard_normal((steps + 1, envs, 4)) * [1, 5, 0.01, 100] + drift).astype(
        np.float32
    )
    rewards = (rng.standard_normal((steps, envs)) * 3 + 1).astype(np.float32)
    return seen, rewards, rng.random((steps, envs)) < 0.03


def test_taken_in_step_by_step_statistics_and_scaling_are_those_of_vec_normalize():
    seen, rewards, ended = played()
    theirs = VecNormalize(BatchVecEnv(Played(seen, rewards, ended), [0] * 8), gamma=0.99)
    moments, returns = RunningMoments(1, 4), ReturnScaler(1, 8, 0.99)

    shown = theirs.reset()
    for t in range(len(rewards)):
        moments.add(seen[t][None])
        mean, scale = (x.astype(np.float32) for x in (moments.mean, moments.scale()))
        np.testing.assert_allclose(normalised(seen[t], mean, scale), shown, atol=2e-5)
        shown, paid, _, _ = theirs.step(np.zeros(8))
        scaled = returns.scale(rewards[t][None, None], ended[t][None, None])
        np.testing.assert_allclose(scaled[0, 0], paid, atol=1e-6)


def test_taken_in_a_rollout_at_a_time_only_the_moment_of_use_differs_from_vec_normalize():
    """After a rollout both hold the same statistics.

    During it, VecNormalize scales a reward by what was known at its step, we by what is known at the
    rollout's end; it shows an observation by what is known now, we by what was known at the start.
    """
    seen, rewards, ended = played()
    theirs = VecNormalize(BatchVecEnv(Played(seen, rewards, ended), [0] * 8), gamma=0.99)
    moments, returns = RunningMoments(1, 4), ReturnScaler(1, 8, 0.99)

    theirs.reset()
    paid = np.stack([theirs.step(np.zeros(8))[1] for _ in rewards[:-1]])
    scaled = returns.scale(rewards[:-1, None], ended[:-1, None])[:, 0]
    moments.add(seen[:-1].reshape(1, -1, 4))

    np.testing.assert_allclose(moments.mean[0], theirs.obs_rms.mean, rtol=1e-6)
    np.testing.assert_allclose(moments.variance[0], theirs.obs_rms.var, rtol=1e-5)
    np.testing.assert_allclose(returns.moments.variance[0, 0], theirs.ret_rms.var, rtol=1e-6)
    np.testing.assert_allclose(scaled[-1], paid[-1], rtol=1e-5)
    assert np.abs(scaled[0] - paid[0]).max() > 0.01


# --- lock step ------------------------------------------------------------------------------------


class Kept(BaseCallback):
    """Keeps SB3's rollouts as they stand before it learns from them."""

    def __init__(self):
        super().__init__()
        self.rollouts = []

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        buffer = self.model.rollout_buffer
        names = ("observations", "actions", "advantages", "returns", "log_probs")
        self.rollouts.append({name: getattr(buffer, name).copy() for name in names})


def lock_step(monkeypatch, setup, limit, iterations, backend):
    """Train both from the same weights with the same noise and permutations.

    Returns per iteration: our rollout, what we learn from, what SB3 learns from, and how far apart
    the parameters are thereafter.
    """
    task = replace(setup.task, max_episode_steps=limit)
    seed, steps, envs = 7, setup.rollout, setup.envs
    collected, weighed = [], []
    keep_what_it_returns(monkeypatch, "collect", collected)
    keep_what_it_returns(monkeypatch, "weigh", weighed)
    settings = read_settings(setup.ppo_settings)
    batch = make_batch(task, envs)
    members, rewards = [Member("native", seed)], Rewards({"native": None})
    pack = new_pack(members, rewards, batch, settings, Heard(), backend)

    env = BatchVecEnv(make_batch(task, envs), environment_seeds(seed, 0, envs))
    kept, callbacks = Kept(), []
    if setup.normalise:
        env = OurOrder(env, setup.gamma)
        callbacks = [Settle(env)]
    model = make_model(setup, env, 0)
    give_weights(pack.stack, 0, model)
    load_dice(model, noise_of(pack.space, seed, steps, envs, iterations).__next__)
    start, distances = pack.stack.flat.clone(), []

    def deal():
        for rollout in range(iterations):
            rng = stream(0, Purpose.MINIBATCHES, rollout)
            for _ in range(setup.epochs):
                yield in_its_order(rng.permutation(steps * envs), steps, envs)

    with permutations(deal()):
        for iteration in range(iterations):
            pack.advance()
            model.learn(steps * envs, [*callbacks, kept], reset_num_timesteps=iteration == 0)
            distances.append(farthest(pack.stack, 0, model))
    assert (pack.stack.flat - start).abs().max() > 0.03
    return [rollout for rollout, _ in collected], weighed, kept.rollouts, distances


def keep_what_it_returns(monkeypatch, name, into):
    original = getattr(packs, name)

    def keeping(*arguments, **named):
        into.append(original(*arguments, **named))
        return into[-1]

    monkeypatch.setattr(packs, name, keeping)


def noise_of(space, seed, steps, envs, iterations):
    """The noise of a member's rollouts, step by step."""
    for rollout in range(iterations):
        yield from draw_noise(space, stream(seed, Purpose.ACTIONS, rollout), steps, envs)


def by_env(rows, steps, envs):
    """Turn [1, T·N, ...] into SB3's [T, N, ...]."""
    return np.asarray(rows)[0].reshape(steps, envs, *rows.shape[2:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setup", "limit", "iterations", "near"),
    [
        pytest.param(CART_POLE, 30, 8, 1e-5, id="discrete"),
        pytest.param(HOPPER, 25, 8, 1e-4, id="continuous"),
        pytest.param(replace(CART_POLE, normalise=True), 30, 8, 1e-5, id="discrete, normalised"),
        pytest.param(replace(HOPPER, normalise=True), 25, 8, 1e-3, id="continuous, normalised"),
    ],
)
def test_trainings_stay_in_lock_step_past_truncations_and_terminations(
    monkeypatch, backend, setup, limit, iterations, near
):
    rollouts, weighed, theirs, distances = lock_step(monkeypatch, setup, limit, iterations, backend)
    steps, envs = setup.rollout, setup.envs

    for kind in ("truncated", "terminated"):
        assert sum(int(getattr(rollout, kind).sum()) for rollout in rollouts[1:]) > 5
    assert len(weighed) == len(theirs) == iterations
    for ours, kept in zip(weighed, theirs, strict=True):
        for name in ("inputs", "actions", "log_probs", "advantages", "returns"):
            rows = by_env(getattr(ours, name).numpy(), steps, envs)
            theirs_of = kept["observations" if name == "inputs" else name]
            np.testing.assert_allclose(rows.reshape(theirs_of.shape), theirs_of, atol=10 * near)
    assert max(distances) < near


# --- chance ---------------------------------------------------------------------------------------


def test_noise_draws_choices_from_the_softmax_and_vectors_from_the_standard_normal():
    choices, vectors = (make_batch(setup.task, 1) for setup in (CART_POLE, HOPPER))
    logits = np.array([0.3, -1.2])
    drawn = noise_from(choices, range(100))
    picked = (logits + drawn).argmax(-1).mean()
    assert picked == pytest.approx(np.exp(-1.2) / np.exp(logits).sum(), abs=0.003)

    drawn = noise_from(vectors, range(100)).astype(np.float64)
    assert drawn.mean() == pytest.approx(0, abs=0.003)
    assert drawn.var() == pytest.approx(1, abs=0.005)
    assert (drawn**4).mean() == pytest.approx(3, abs=0.03)
    for shifted in (drawn[1:] * drawn[:-1], drawn[:, 1:] * drawn[:, :-1]):
        assert shifted.mean() == pytest.approx(0, abs=0.003)
    correlations = np.corrcoef(drawn.reshape(100, -1)) - np.eye(100)
    assert np.abs(correlations).max() < 0.06


def noise_from(batch, rollouts):
    space = read_action_space(batch.action)
    return np.stack([draw_noise(space, stream(3, Purpose.ACTIONS, r), 256, 8) for r in rollouts])
