"""Fitness is what the environment says: equal to a plain loop, and out of a program's reach."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from safetensors.numpy import load, save

from core.errors import EnvironmentUnusable, ScoringFailed
from core.ports import Progress
from core.records.task import Fitness
from core.sandbox import GIB, MAX_LINKS, MIB, ChildDied, Frame, Sandbox
from core.training.action_space import read_action_space
from core.training.held_out import held_out_seeds
from core.training.measuring import Companion, measure
from core.training.numpy_policy import read_weights, stack_policies
from core.training.probing import probe_task
from core.training.repeating import REPEATED_STEPS
from core.training.transitions import load_recording
from core.training.waves import MOST_ROWS, rows_that_fit, waves
from tests.rim.laboratory_parts import (
    CART_POLE,
    ESCAPE,
    PENDULUM,
    MemoryArtifacts,
    an_order,
    linear_policy,
    program,
)

pytestmark = pytest.mark.slow  # a sandbox is started, and children are waited for

ARTIFACTS = MemoryArtifacts()
BALANCING = linear_policy([[0, 0, 0, 0], [0.1, 0.3, 3, 1]], [0, 0], inputs=4)
LAZY = linear_policy([[0, 0, 0, 0], [0, 0, -1, 0]], [0, 0], inputs=4)
SWINGING = linear_policy([[-2.0, 0.5, 0.7]], [0.1], inputs=3, box=True)
FEATURED = linear_policy([[0, 0, 0, 0, 0], [0, 0, 0, 0, 1]], [0, 0], inputs=5)


@pytest.fixture(scope="module")
def sandbox():
    modules = ("preflight", "scorer", "actor")
    box = Sandbox([f"core.training.{module}" for module in modules])
    yield box
    box.close()


@pytest.fixture(scope="module")
def cart_pole(sandbox):
    return an_order(CART_POLE, _probed(sandbox, CART_POLE))


@pytest.fixture(scope="module")
def pendulum(sandbox):
    return an_order(PENDULUM, _probed(sandbox, PENDULUM))


def _probed(sandbox, task):
    return probe_task(sandbox, ARTIFACTS, task, 0, lambda progress: None)


def scores(sandbox, order, policies, code=None, recorded=()):
    return measure(
        sandbox, order, code, policies, recorded, lambda p: None, Progress("measure", 0, 1)
    )


def plain_loop(environment, seed, choose):
    """Gymnasium as its documentation shows it: observations of next states, rewards."""
    env = gymnasium.make(environment)
    obs, _ = env.reset(seed=seed)
    seen, rewards, over = [], [], False
    while not over:
        obs, reward, terminated, truncated, _ = env.step(choose(obs))
        seen.append(obs)
        rewards.append(reward)
        over = terminated or truncated
    env.close()
    return np.array(seen), np.array(rewards)


def chosen_by(weights):
    tensors = load(weights)
    return lambda obs: int(
        np.argmax(tensors["policy.out.weight"] @ obs + tensors["policy.out.bias"])
    )


@pytest.mark.parametrize("policy", [BALANCING, LAZY], ids=["balancing", "lazy"])
def test_the_return_equals_a_plain_gymnasium_loop(sandbox, cart_pole, policy):
    measured = scores(sandbox, cart_pole, [policy]).scores[0]
    for seed, fitness, length in zip(
        cart_pole.held_out, measured.fitness, measured.length, strict=True
    ):
        _, rewards = plain_loop("CartPole-v1", seed, chosen_by(policy))
        assert fitness == rewards.sum()
        assert length == len(rewards)


def test_a_share_of_continuous_control_equals_a_plain_gymnasium_loop(sandbox, pendulum):
    measured = scores(sandbox, pendulum, [SWINGING]).scores[0]
    tensors = load(SWINGING)

    def torque(obs):
        mean = tensors["policy.out.weight"] @ obs + tensors["policy.out.bias"]
        return np.clip(mean, -2, 2).astype(np.float32)

    for index, seed in enumerate(pendulum.held_out):
        seen, rewards = plain_loop("Pendulum-v1", seed, torque)
        assert measured.fitness[index] == pytest.approx((seen[:, 0] > 0.9).mean(), abs=0.01)
        assert measured.native[index] == pytest.approx(rewards.sum(), rel=1e-3)


def test_the_last_step_counts_and_what_comes_after_the_end_does_not(sandbox, cart_pole):
    fitness = Fitness("statistic", field="terminated", over="sum")
    order = replace(cart_pole, task=replace(cart_pole.task, fitness=fitness))
    assert scores(sandbox, order, [LAZY]).scores[0].fitness == (1.0, 1.0, 1.0, 1.0)


def test_many_policies_are_measured_together_as_each_alone(sandbox, cart_pole):
    together = scores(sandbox, cart_pole, [BALANCING, LAZY, BALANCING]).scores
    alone = [scores(sandbox, cart_pole, [p]).scores[0] for p in (BALANCING, LAZY)]
    assert list(together) == [alone[0], alone[1], alone[0]]


def test_more_policies_than_rows_are_measured_in_waves(sandbox, cart_pole):
    large = replace(cart_pole.preflight, row_reserved_bytes=10 * MIB)
    order = replace(cart_pole, held_out=tuple(range(60)), preflight=large)
    together = scores(sandbox, order, [LAZY, BALANCING, LAZY, LAZY, LAZY]).scores
    assert len(waves(5, 60, rows_that_fit(10 * MIB, 2 * GIB))) > 1
    assert together[0] == together[2] == together[3] == together[4]
    assert np.mean(together[1].fitness) > np.mean(together[0].fitness)


def test_no_wave_knows_what_another_has_seen(sandbox, cart_pole):
    """All live the same seeds: an early policy could find out what a later one needs to know."""
    order = one_policy_a_wave(cart_pole)
    calls = 500 + REPEATED_STEPS
    knowing = program(
        "calls = []\n"
        "def features(obs):\n"
        "    calls.append(1)\n"
        f"    return {{'lean': 3 * obs.angle * (1 if len(calls) <= {calls} else -1)}}\n"
    )
    found = scores(sandbox, order, [FEATURED] * 12, knowing)
    assert len({one.fitness for one in found.scores}) == 1
    assert not found.unsteady


def test_more_waves_than_a_scorer_has_links_are_measured_in_parts(sandbox, cart_pole):
    order, policies = one_policy_a_wave(cart_pole), [LAZY] * MAX_LINKS + [BALANCING, LAZY]
    found = scores(sandbox, order, policies, recorded=[MAX_LINKS])
    assert len({one.fitness for one in found.scores[:MAX_LINKS]}) == 1
    assert np.mean(found.scores[MAX_LINKS].fitness) > np.mean(found.scores[-1].fitness)
    assert load_recording(found.recording).fitness.max() == max(found.scores[MAX_LINKS].fitness)


def one_policy_a_wave(order):
    """Return an order whose environments are so large that no two policies fit beside each other."""
    large = replace(order.preflight, row_reserved_bytes=10 * MIB)
    return replace(order, held_out=tuple(range(60)), preflight=large)


def test_an_actor_that_has_said_something_is_looked_after_all_the_same(cart_pole):
    """It may still run: its deadlines, its memory and its output are held to their limits."""
    asked = []

    class Chatty:
        def send(self, header, blobs): ...

        def receive_or_none(self, seconds):
            asked.append(seconds)
            if len(asked) < 3:
                return Frame({"kind": "nonsense"}, {})
            raise ChildDied("too much on its standard error")

    actor = Companion(Chatty(), cart_pole, None, [LAZY])
    assert [actor.look(), actor.look(), actor.look(), actor.look()] == [
        "the actor gave no reason"
    ] * 4
    assert len(asked) == 3


def test_policies_that_do_not_fit_into_one_frame_are_measured_in_parts(
    sandbox, cart_pole, monkeypatch
):
    policies = [LAZY, BALANCING, LAZY, BALANCING, BALANCING]
    whole = scores(sandbox, cart_pole, policies, recorded=[1, 4])
    monkeypatch.setattr("core.training.measuring.MOST_WEIGHT_BYTES", 2 * len(LAZY))
    assert scores(sandbox, cart_pole, policies, recorded=[1, 4]) == whole


def test_the_scores_of_many_episodes_are_more_than_a_header_could_hold(
    sandbox, cart_pole, monkeypatch
):
    monkeypatch.setattr("core.sandbox.codec.MAX_HEADER_BYTES", 8192)  # of ours, and what we read
    order = replace(cart_pole, held_out=tuple(range(400)))
    found = scores(sandbox, order, [LAZY, BALANCING]).scores
    assert [len(one.fitness) for one in found] == [400, 400]


def test_what_cannot_be_sent_fails_the_arm_and_not_the_job(sandbox, cart_pole, monkeypatch):
    monkeypatch.setattr("core.sandbox.codec.MAX_HEADER_BYTES", 64)
    with pytest.raises(ScoringFailed, match="a header of"):
        scores(sandbox, cart_pole, [LAZY])


def test_as_many_policies_as_fit_into_memory_are_one_wave(cart_pole):
    measured = cart_pole.preflight.row_reserved_bytes
    assert len(waves(8, 20, rows_that_fit(measured, 2 * GIB))) == 1
    assert rows_that_fit(0, 2 * GIB) == MOST_ROWS
    assert rows_that_fit(64 * MIB, 2 * GIB) == 16
    assert rows_that_fit(4 * GIB, 2 * GIB) == 1


def test_features_reach_the_policy_after_the_observation(sandbox, cart_pole):
    lean = program("def features(obs):\n    return {'lean': 3 * obs.angle}\n")
    same = linear_policy([[0, 0, 0, 0], [0, 0, 3, 0]], [0, 0], inputs=4)
    with_feature = scores(sandbox, cart_pole, [FEATURED], lean).scores
    assert with_feature == scores(sandbox, cart_pole, [same]).scores


def test_the_recording_holds_whole_episodes_as_they_were_lived(sandbox, cart_pole):
    measured = scores(sandbox, cart_pole, [BALANCING, LAZY], recorded=[1])
    recording = load_recording(measured.recording)
    assert tuple(recording.fitness) == measured.scores[1].fitness
    for episode, seed in enumerate(cart_pole.held_out):
        seen, _ = plain_loop("CartPole-v1", seed, chosen_by(LAZY))
        rows = recording.transitions.take(recording.episode == episode)
        np.testing.assert_allclose(rows.next[:, :4], seen, rtol=1e-5)
        np.testing.assert_array_equal(rows.state[1:], rows.next[:-1, :4])
        assert rows.terminated.tolist() == [False] * (len(seen) - 1) + [True]


def test_hidden_layers_and_the_normaliser_give_what_their_definition_says():
    rng = np.random.default_rng(0)
    shapes = {
        "policy.0.weight": (7, 5),
        "policy.0.bias": (7,),
        "policy.out.weight": (2, 7),
        "policy.out.bias": (2,),
        "policy.log_std": (2,),
        "normaliser.mean": (5,),
        "normaliser.scale": (5,),
    }
    each = [
        {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(3)
    ]
    space = read_action_space({"kind": "box", "size": 2, "low": [-1, -1], "high": [1, 2]})
    read = [read_weights(save(one), 5, space) for one in each]
    inputs = rng.normal(scale=20, size=(3, 4, 5)).astype(np.float32)
    actions = stack_policies(read, space).act(inputs)
    for policy, w in enumerate(each):
        for row in range(4):
            x = (inputs[policy, row] - w["normaliser.mean"]) * w["normaliser.scale"]
            hidden = np.tanh(w["policy.0.weight"] @ np.clip(x, -10, 10) + w["policy.0.bias"])
            mean = w["policy.out.weight"] @ hidden + w["policy.out.bias"]
            np.testing.assert_allclose(
                actions[policy, row], np.clip(mean, [-1, -1], [1, 2]), rtol=1e-4, atol=1e-5
            )


# --- weights come from a process in which generated code ran ----------------------------------


def altered(**changes):
    return save({**load(BALANCING), **changes})


def without(name):
    return save({key: value for key, value in load(BALANCING).items() if key != name})


@pytest.mark.parametrize(
    ("weights", "part"),
    [
        pytest.param(b"\x80\x04K\x01.", "readable safetensors", id="a pickle"),
        pytest.param(b"\xff" * 64, "readable safetensors", id="a huge header"),
        pytest.param(BALANCING[:-4], "readable safetensors", id="cut short"),
        pytest.param(without("normaliser.scale"), "normaliser.scale", id="a missing name"),
        pytest.param(altered(extra=np.zeros(2, np.float32)), "extra", id="another name"),
        pytest.param(
            altered(**{"policy.out.bias": np.array([np.nan, 0], np.float32)}), "finite", id="NaN"
        ),
        pytest.param(
            altered(**{"policy.out.weight": np.full((2, 4), 2e6, np.float32)}), "huge", id="huge"
        ),
        pytest.param(
            altered(**{"normaliser.mean": np.full(4, 1e31, np.float32)}), "1e+30", id="huge mean"
        ),
        pytest.param(
            altered(**{"policy.out.weight": np.zeros((3, 4), np.float32)}), "(3, 4)", id="shape"
        ),
        pytest.param(altered(**{"policy.out.bias": np.zeros(2)}), "float64", id="type"),
        pytest.param(
            altered(**{"normaliser.mean": np.zeros(99, np.float32)}), "99 inputs", id="inputs"
        ),
    ],
)
def test_weights_of_another_form_are_refused_before_anything_runs(
    sandbox, cart_pole, weights, part
):
    with pytest.raises(ScoringFailed) as caught:
        scores(sandbox, cart_pole, [weights])
    assert part in str(caught.value)


def test_observations_and_actions_may_be_large_in_their_own_units():
    large = altered(
        **{
            "normaliser.mean": np.full(4, 3e9, np.float32),
            "policy.out.bias": np.array([2e9, 0], np.float32),
        }
    )
    space = read_action_space({"kind": "discrete", "n": 2})
    policies = stack_policies([read_weights(large, 4, space)], space)
    assert policies.act(np.full((1, 1, 4), 3e9, np.float32)).tolist() == [[[0.0]]]


# --- a program can only act ---------------------------------------------------------------------

HONEST = "def features(obs):\n    return {'lean': 3 * obs.angle}\n"

FAKES = {
    "replace json.dumps": (
        "json = sys.modules['json']\njson.dumps = lambda *a, **k: '{\"fitness\": 999}'\n" + HONEST
    ),
    "replace np.mean and np.sum": (
        "import numpy as np\nnp.mean = np.sum = lambda *a, **k: 999.0\n" + HONEST
    ),
    "replace the environment's step": (
        "for module in list(sys.modules.values()):\n"
        "    for kind in list(vars(module).values()):\n"
        "        try:\n"
        "            if 'step' in vars(kind):\n"
        "                kind.step = lambda *a, **k: (0, 999.0, False, False, {})\n"
        "        except Exception:\n"
        "            pass\n" + HONEST
    ),
    "walk the frames": (
        "def features(obs):\n"
        "    frame = sys._getframe()\n"
        "    while frame is not None:\n"
        "        for value in list(frame.f_locals.values()):\n"
        "            if value.__class__ is list:\n"
        "                value[:] = [999.0] * len(value)\n"
        "        frame = frame.f_back\n"
        "    return {'lean': 3 * obs.angle}\n"
    ),
    "hunt through the garbage collector": (
        "gc = sys.modules['builtins'].__import__('gc')\n"
        "for thing in gc.get_objects():\n"
        "    if getattr(thing, '__name__', '') == 'episode_fitness':\n"
        "        thing.__code__ = (lambda *a, **k: 999.0).__code__\n" + HONEST
    ),
    "print a result and end": ("os.write(1, b'{\"fitness\": 999}\\n')\nos._exit(0)\n" + HONEST),
    "forge frames on every descriptor": (
        "for fd in range(3, 20):\n"
        "    try:\n"
        "        os.write(fd, b'RSF1' + b'\\x40' * 4000)\n"
        "    except Exception:\n"
        "        pass\n" + HONEST
    ),
    "end in the middle": (
        "calls = []\n"
        "def features(obs):\n"
        "    calls.append(1)\n"
        "    if len(calls) > 5:\n"
        "        os._exit(0)\n"
        "    return {'lean': 3 * obs.angle}\n"
    ),
    "run code at exit": ("sys.modules['atexit'].register(lambda: os.write(3, b'999'))\n" + HONEST),
    "a thread in the background": (
        "def forge():\n"
        "    while True:\n"
        "        sys.modules['json'].dumps = lambda *a, **k: '999'\n"
        "sys.modules['_thread'].start_new_thread(forge, ())\n" + HONEST
    ),
    "blind the policy in place": (
        "def features(obs):\n"
        "    block = obs.angle.base\n"
        "    block.flags.writeable = True\n"
        "    lean = 3 * obs.angle\n"
        "    block[:] = 0\n"
        "    return {'lean': lean}\n"
    ),
    "infinite features": "def features(obs):\n    return {'lean': obs.angle / 0}\n",
    "hang": "def features(obs):\n    while True:\n        pass\n",
    "answer ahead of time": (
        "def features(obs):\n"
        "    os.write(4, b'\\x00\\x00\\xc0\\x7f' * 4)\n"
        "    return {'lean': 3 * obs.angle}\n"
    ),
}
REFUSED = {
    "print a result and end",
    "forge frames on every descriptor",
    "end in the middle",
    "infinite features",
    "hang",
    "answer ahead of time",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAKES)
def test_a_fake_brings_the_honest_fitness_or_none(sandbox, cart_pole, name):
    honest = scores(sandbox, cart_pole, [FEATURED], program(HONEST)).scores
    fake = program("import numpy as np\n" + ESCAPE + FAKES[name])
    assert outcome(sandbox, cart_pole, fake) == (None if name in REFUSED else honest)


def outcome(sandbox, order, fake):
    try:
        return scores(sandbox, order, [FEATURED], fake).scores
    except ScoringFailed:
        return None


def test_a_program_that_breaks_while_acting_is_named_with_its_line(sandbox, cart_pole):
    late = program(
        "import numpy as np\ndef features(obs):\n    return {'lean': np.log(obs.angle)}\n"
    )
    with pytest.raises(ScoringFailed, match=r"line 3: `return .*np.log"):
        scores(sandbox, cart_pole, [FEATURED], late)


def test_an_environment_that_cannot_be_built_is_no_fault_of_the_policy(sandbox, cart_pole):
    order = replace(cart_pole, task=replace(cart_pole.task, environment="NoSuchThing-v0"))
    with pytest.raises(EnvironmentUnusable, match="NoSuchThing"):
        scores(sandbox, order, [BALANCING])


# --- seeds --------------------------------------------------------------------------------------


def test_held_out_seeds_are_the_same_for_all_and_differ_by_every_part():
    seeds = held_out_seeds(b"secret", "job_1", 0, 0, 5)
    assert seeds == held_out_seeds(b"secret", "job_1", 0, 0, 8)[:5]
    assert len(set(seeds)) == 5
    assert all(0 <= seed < 2**31 for seed in seeds)
    others = [
        held_out_seeds(b"other", "job_1", 0, 0, 5),
        held_out_seeds(b"secret", "job_2", 0, 0, 5),
        held_out_seeds(b"secret", "job_1", 1, 0, 5),
        held_out_seeds(b"secret", "job_1", 0, 1, 5),
    ]
    assert all(not set(seeds) & set(other) for other in others)
