"""The laboratory end to end: preflight, check, training, measurement and examination for real."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load

import core.training.laboratory
from core.ablation import without
from core.errors import EnvironmentUnusable, InvalidFitness, InvalidInput, StepInterrupted
from core.ports import Arm, Progress
from core.records.kinds import FITNESS, NATIVE
from core.records.spec import Training
from core.records.task import Field, Fitness, Task
from core.sandbox import Sandbox
from core.training import supervising
from core.training.backends import choose_backend
from core.training.laboratory import PRELOAD, PRELOAD_DESIGN, Laboratory
from core.training.measuring import measure
from core.training.supervising import Supervision
from core.training.transitions import load_transitions
from tests.rim.laboratory_parts import (
    CART_POLE,
    ESCAPE,
    PENDULUM,
    MemoryArtifacts,
    an_order,
    ignore,
    program,
    rewarding,
)

pytestmark = pytest.mark.slow  # a sandbox is started, and children are waited for


@pytest.fixture(scope="module")
def cart_pole(laboratory):
    return laboratory.preflight(CART_POLE, Training(), 0, ignore)


# --- preflight ------------------------------------------------------------------------------------


def test_preflight_says_what_the_environment_is_like(laboratory, cart_pole):
    assert cart_pole.observation_size == 4
    assert cart_pole.action == {"kind": "discrete", "n": 2}
    assert cart_pole.max_episode_steps == 500
    assert 15 < cart_pole.random_fitness < 30
    assert cart_pole.ended_early == 1.0
    assert cart_pole.steps_per_second > 100
    low, middle, high = cart_pole.quantiles["angle"]
    assert -0.5 < low < middle < high < 0.5
    assert cart_pole.isolation_level == laboratory.sandbox.isolation.level


def test_the_source_comes_along_only_where_it_is_asked_for(laboratory, cart_pole):
    assert cart_pole.source == ""
    asked = laboratory.preflight(CART_POLE, Training(), 0, ignore, source=True)
    assert "class CartPoleEnv" in asked.source
    assert "def step(self, action)" in asked.source


def test_the_probe_set_is_real_transitions_and_edge_rows(laboratory, cart_pole):
    probe = load_transitions(laboratory.artifacts.get(cart_pole.probe))
    assert len(probe) == 4096 + 256
    assert probe.state.shape == (4352, 4)
    assert probe.next.shape == (4352, 5)
    assert set(np.unique(probe.action)) == {0, 1}
    assert np.isfinite(probe.next).all()
    assert probe.next[4096:, 0].min() == np.float32(-4.8)


def test_the_same_seed_gives_the_same_preflight(laboratory, cart_pole):
    again = laboratory.preflight(CART_POLE, Training(), 0, ignore)
    assert again.probe == cart_pole.probe
    assert again.random_fitness == cart_pole.random_fitness


def test_an_environment_without_fields_gets_them_from_its_observation(laboratory):
    found = laboratory.preflight(Task("plain", "Pendulum-v1", ""), Training(), 0, ignore)
    assert [field.name for field in found.fields] == ["obs_0", "obs_1", "obs_2"]


def test_a_field_that_leaves_its_documented_range_is_a_warning(laboratory):
    narrow = replace(CART_POLE, fields=(Field("x", "obs[0]", low=-0.01, high=0.01),))
    warnings = laboratory.preflight(narrow, Training(), 0, ignore).warnings
    assert "field 'x': expected values from -0.01 to 0.01" in warnings[-1]


def test_an_unknown_environment_is_refused_by_name(laboratory):
    with pytest.raises(EnvironmentUnusable, match="CartPoole"):
        laboratory.preflight(replace(CART_POLE, environment="CartPoole-v1"), Training(), 0, ignore)


def test_a_fitness_of_an_unknown_field_is_refused(laboratory):
    wrong = replace(CART_POLE, fitness=Fitness("success", where="angel > 0"))
    with pytest.raises(InvalidFitness, match="angel"):
        laboratory.preflight(wrong, Training(), 0, ignore)


def test_a_rollout_of_a_single_transition_is_refused_before_anything_is_probed(laboratory):
    with pytest.raises(InvalidInput, match="rollouts of 1 × 1 steps"):
        laboratory.preflight(CART_POLE, Training(envs=1, settings={"rollout": 1}), 0, ignore)


def test_who_watches_a_preflight_can_stop_it(laboratory):
    def stop(progress):
        raise StepInterrupted("cancelled")

    with pytest.raises(StepInterrupted):
        laboratory.preflight(PENDULUM, Training(), 0, stop)


# --- the parent -----------------------------------------------------------------------------------


def test_the_parent_s_side_imports_neither_torch_nor_environments():
    seen, waiting = set(), ["core.training.laboratory"]
    root = Path(core.training.laboratory.__file__).parent.parent.parent
    while waiting:
        name = waiting.pop()
        file = root / (name.replace(".", "/") + ".py")
        if name in seen or not file.exists():
            continue
        seen.add(name)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting.append(node.module)
            elif isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
        seen |= set(waiting)
    assert not {n for n in seen if n.split(".")[0] in ("torch", "gymnasium") or "core.envs" in n}


# --- training -------------------------------------------------------------------------------------

GOOD = """
import numpy as np

def features(obs):
    return {"lean": obs.angle + 0.5 * obs.spin}

def reward(obs, action, next_obs, params):
    return {
        "upright": np.cos(next_obs.angle),
        "centre": -0.1 * np.abs(next_obs.x),
        "fall": -5.0 * next_obs.terminated,
    }
"""
BREAKS = "return {'a': obs.x / (np.abs(obs.angle) < 0.1)}"  # NaN or infinite where the pole leans
HANGS = "global n\nn += 1\nwhile n > 1:\n    pass\nreturn {'a': obs.x}"
SWALLOWS = """
global n
n += 1
while n > 1:
    try:
        while True:
            pass
    except:
        n += 1
return {'a': obs.x}
"""
ENDS = "global n\nn += 1\nif n > 1:\n    os._exit(0)\nreturn {'a': obs.x}"


def order_of(cart_pole, programs, seeds=(0,), **changes):
    arms = {key: Arm(key, one) for key, one in programs.items()}
    return an_order(
        CART_POLE,
        cart_pole,
        arms=arms,
        members=tuple((key, seed) for key in arms for seed in seeds),
        **{"stop_steps": 1500, "training": Training(steps=1500, envs=4), **changes},
    )


@pytest.fixture(scope="module")
def result(laboratory, cart_pole):
    programs = {NATIVE: None, "0.0": program(GOOD)}
    order = order_of(
        cart_pole,
        programs,
        seeds=(0, 1),
        stop_steps=12_000,
        training=Training(steps=12_000, envs=8),
        checkpoints=3,
        held_out=(1, 2, 3, 4, 5),
    )
    return laboratory.train(order, ignore)


@pytest.mark.slow
def test_training_gives_a_measured_run_for_every_member_in_order(result):
    assert [(run.arm, run.seed) for run in result.runs] == [
        (NATIVE, 0),
        (NATIVE, 1),
        ("0.0", 0),
        ("0.0", 1),
    ]
    for run in result.runs:
        assert run.status == "scored"
        assert len(run.episodes) == 5
        assert run.fitness == pytest.approx(np.mean(run.episodes))
        assert [steps for steps, _ in run.checkpoints] == [4_000, 8_000, 12_000]
        assert run.checkpoints[-1][1] == run.fitness
        assert run.env_steps >= 12_000
        assert (run.adapter, run.backend) == ("numpy", choose_backend().name)
        assert run.fitness > 60  # the random policy has about 22


@pytest.mark.slow
def test_runs_that_are_not_recorded_are_measured_all_the_same_and_have_no_report(
    laboratory, cart_pole
):
    order = order_of(cart_pole, {NATIVE: None, "0.0": program(GOOD)}, checkpoints=2)
    recorded = laboratory.train(order, ignore)
    bare = laboratory.train(replace(order, record=False), ignore)
    assert set(recorded.reports) == {NATIVE, "0.0"}
    assert not bare.reports
    assert [run.fitness for run in bare.runs] == [run.fitness for run in recorded.runs]
    assert all(run.status == "scored" and len(run.checkpoints) == 2 for run in bare.runs)


@pytest.mark.slow
def test_a_policy_that_learnt_without_a_term_is_measured_without_it(laboratory, cart_pole):
    whole = program(GOOD)
    arms = {
        "0.0": whole,
        "without-feature-lean": without(whole, "feature", "lean"),
        "without-component-centre": without(whole, "component", "centre"),
    }
    order = order_of(cart_pole, arms, stage="ablation", record=False)
    runs = {run.arm: run for run in laboratory.train(order, ignore).runs}
    assert {run.status for run in runs.values()} == {"scored"}
    inputs = {
        arm: len(load(laboratory.artifacts.get(run.weights))["normaliser.mean"])
        for arm, run in runs.items()
    }
    assert inputs == {"0.0": 5, "without-feature-lean": 4, "without-component-centre": 5}
    told = {arm: set(run.curve.series) for arm, run in runs.items()}
    assert "component.centre" in told["without-feature-lean"]
    assert "component.centre" not in told["without-component-centre"]


@pytest.mark.slow
def test_the_fitness_alone_is_trained_and_measured_like_any_arm(laboratory, cart_pole):
    order = order_of(cart_pole, {FITNESS: None}, seeds=(0, 1), stage="baseline", record=False)
    runs = laboratory.train(order, ignore).runs
    assert [(run.arm, run.status) for run in runs] == [(FITNESS, "scored")] * 2


@pytest.mark.slow
def test_weights_and_checkpoints_are_stored(laboratory, result):
    for run in result.runs:
        assert "policy.out.weight" in load(laboratory.artifacts.get(run.weights))
        assert laboratory.artifacts.get(run.checkpoint)


@pytest.mark.slow
def test_the_report_describes_components_features_and_episodes(result):
    report = result.reports["0.0"]
    assert list(report.components) == ["upright", "centre", "fall"]
    assert sum(term.share for term in report.components.values()) == pytest.approx(1.0)
    assert len(report.components["upright"].by_checkpoint) == 3
    assert list(report.features) == ["lean"]
    assert list(report.inputs) == ["x", "v", "angle", "spin"]
    judged = [*report.inputs.values(), *report.features.values()]
    assert sum(term.used for term in judged) == pytest.approx(1.0)
    assert all(term.smooth > 0 and 0 < term.explains <= 1 for term in judged)
    assert list(result.reports[NATIVE].inputs) == ["x", "v", "angle", "spin"]
    assert 1 <= len(report.episodes["worst"]) <= 12
    assert {"step", "angle", "action", "reward.upright"} <= set(report.episodes["best"][0])
    assert "secret" not in report.episodes["best"][0]
    assert report.episode_length == pytest.approx(
        np.mean([e for run in result.runs if run.arm == "0.0" for e in run.episodes])
    )


@pytest.mark.slow
def test_what_the_shown_episodes_were_worth_is_the_scorer_s_word(laboratory, cart_pole):
    """The examination runs the program, and prompts quote the fitness of episodes."""
    boasting = rewarding(
        "return {'upright': np.cos(next_obs.angle)}",
        before=ESCAPE
        + "examine = sys.modules.get('core.training.examine')\n"
        + "if examine is not None:\n"
        + "    examine.worth_of_episodes = lambda examined: {'best': {'fitness': 499.5}}\n",
    )
    order = an_order(
        CART_POLE, cart_pole, members=(("0.0", 0),), arms={"0.0": Arm("0.0", boasting)}
    )
    found = laboratory.train(order, ignore)
    told = found.reports["0.0"].told
    assert set(told) == {"best", "median", "worst"}
    assert 0 < told["worst"]["fitness"] <= told["median"]["fitness"] <= told["best"]["fitness"]
    assert told["best"]["fitness"] != 499.5


def test_the_terms_are_told_whatever_kind_of_fitness_is_measured(laboratory, cart_pole):
    both = Fitness(
        "least",
        parts=(
            Fitness("share", where="x > 0", horizon=500),
            Fitness("share", where="x < 0", horizon=500),
        ),
    )
    order = order_of(cart_pole, {"0.0": program(GOOD)})
    order = replace(order, task=replace(order.task, fitness=both))
    report = laboratory.train(order, ignore).reports["0.0"]
    assert (list(report.components), report.unexamined) == (["upright", "centre", "fall"], "")


@pytest.mark.slow
def test_a_report_without_terms_says_why(laboratory, cart_pole):
    # In training it is called with whole rollouts, in the examination with all recorded rows.
    uneven = program(
        "def reward(obs, action, next_obs, params):\n"
        "    return {'a': obs.x / (len(obs.x) % 256 == 0)}\n"
    )
    done = laboratory.train(order_of(cart_pole, {"0.0": uneven}, held_out=(1, 2, 3)), ignore)
    report = done.reports["0.0"]
    assert done.runs[0].status == "scored"
    assert not report.components
    assert "line 2" in report.unexamined


ONLY_FEATURES = """
import numpy as np
def features(obs):
    return {"lean": 1000 * (obs.angle + 0.5 * obs.spin), "same": obs.x}
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["replace", "add"])
def test_features_alone_are_trained_on_the_native_reward_and_judged(laboratory, cart_pole, mode):
    order = order_of(cart_pole, {"0.0": program(ONLY_FEATURES)}, mode=mode, weight=0.5)
    done = laboratory.train(order, ignore)
    report = done.reports["0.0"]
    assert done.runs[0].status == "scored"
    assert set(done.runs[0].curve.series["training_reward"]) == {1.0}
    assert not report.components
    assert list(report.features) == ["lean", "same"]
    assert report.features["same"].redundant == pytest.approx(1.0)
    assert 0 < report.features["lean"].used < 1


@pytest.mark.slow
def test_the_evidence_shows_what_each_component_was_on_recorded_transitions(laboratory, result):
    evidence = load(laboratory.artifacts.get(result.reports["0.0"].transitions))
    assert len(evidence["state"]) <= 1000
    np.testing.assert_allclose(
        evidence["component.upright"], np.cos(evidence["next"][:, 2]), rtol=1e-5
    )


@pytest.mark.slow
def test_a_member_trained_alone_is_scored_as_in_company(laboratory, cart_pole):
    together = order_of(cart_pole, {NATIVE: None, "0.0": program(GOOD)})
    alone = order_of(cart_pole, {"0.0": program(GOOD)})
    in_company, on_its_own = laboratory.train(together, ignore), laboratory.train(alone, ignore)
    assert in_company.runs[1].fitness == on_its_own.runs[0].fitness


@pytest.mark.slow
def test_the_next_rung_goes_on_from_the_checkpoint(laboratory, cart_pole):
    first = laboratory.train(order_of(cart_pole, {NATIVE: None}), ignore).runs[0]
    order = order_of(
        cart_pole,
        {NATIVE: None},
        rung=1,
        start_steps=1500,
        stop_steps=3000,
        training=Training(steps=3000, envs=4),
        resume={(NATIVE, 0): first.checkpoint},
    )
    second = laboratory.train(order, ignore).runs[0]
    assert (second.status, second.rung) == ("scored", 1)
    assert second.curve.steps[0] > 1500
    assert second.env_steps < 3000


@pytest.mark.slow
def test_a_member_that_breaks_is_a_failed_run_with_the_line_and_the_others_go_on(
    laboratory, cart_pole
):
    order = order_of(cart_pole, {"0.0": rewarding(BREAKS), "0.1": program(GOOD)})
    broken, sound = laboratory.train(order, ignore).runs
    assert (broken.status, broken.fitness) == ("failed", None)
    assert "line 5" in broken.failure
    assert sound.status == "scored"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "before", "part"),
    [
        pytest.param(SWALLOWS, "n = 0", "said nothing for 4 s", id="swallows its deadline"),
        pytest.param(ENDS, "n = 0\n" + ESCAPE, "exit code 0", id="ends the process"),
    ],
)
def test_a_program_that_takes_its_process_down_loses_its_own_runs_only(
    laboratory, cart_pole, body, before, part
):
    quick = replace(laboratory, supervision=Supervision(silence_seconds=4.0, patience=1.0))
    order = order_of(cart_pole, {"0.0": rewarding(body, before), "0.1": program(GOOD)})
    fallen, sound = quick.train(order, ignore).runs
    assert fallen.status == "failed"
    assert part in fallen.failure
    assert (fallen.adapter, fallen.backend) == ("numpy", choose_backend().name)
    assert sound.status == "scored"
    assert learnt(sound) == learnt(alone(quick, cart_pole))


def learnt(run):
    """Everything that a run learnt and said of itself, to the last bit."""
    return run.checkpoint, run.weights, run.curve


def alone(laboratory, cart_pole):
    """The run of GOOD without anybody beside it."""
    return laboratory.train(order_of(cart_pole, {"0.1": program(GOOD)}), ignore).runs[0]


@pytest.mark.slow
def test_a_program_that_hangs_is_masked_by_its_own_process_and_nobody_else_feels_it(
    laboratory, cart_pole
):
    order = order_of(cart_pole, {"0.0": rewarding(HANGS, "n = 0"), "0.1": program(GOOD)})
    hung, sound = laboratory.train(order, ignore).runs
    assert "no result after 2 s of processor time" in hung.failure
    assert "line 7" in hung.failure
    assert sound.status == "scored"
    assert learnt(sound) == learnt(alone(laboratory, cart_pole))


@pytest.mark.slow
def test_policies_of_a_program_that_breaks_while_acting_are_failed_runs(laboratory, cart_pole):
    # In training it is called with many rows, in the actor with one row per episode.
    late = program(
        "import numpy as np\n"
        "def features(obs):\n"
        "    return {'a': obs.x if len(obs.x) != 3 else obs.x / 0}\n"
        "def reward(obs, action, next_obs, params):\n    return {'a': obs.x}\n"
    )
    order = order_of(cart_pole, {"0.0": late, "0.1": program(GOOD)}, held_out=(1, 2, 3))
    broken, sound = laboratory.train(order, ignore).runs
    assert broken.status == "failed"
    assert "line 3" in broken.failure
    assert sound.status == "scored"


@pytest.mark.slow
def test_who_watches_a_training_hears_of_it_and_can_stop_it(laboratory, cart_pole):
    heard = []

    def stop_in_the_middle(progress):
        heard.append(progress)
        if progress.done > 0:
            raise StepInterrupted("cancelled")

    order = order_of(cart_pole, {NATIVE: None}, stop_steps=10_000_000)
    with pytest.raises(StepInterrupted):
        laboratory.train(order, stop_in_the_middle)
    assert heard[-1].phase == "training"
    assert 0 < heard[-1].done < heard[-1].total


@pytest.mark.slow
def test_what_a_program_adds_to_the_native_reward_is_not_its_fitness(laboratory, cart_pole):
    huge = rewarding("return {'huge': np.full_like(obs.x, 1e6) + obs.x}")
    order = order_of(cart_pole, {"0.0": huge}, mode="add", weight=1.0)
    run = laboratory.train(order, ignore).runs[0]
    assert all(0 < episode <= 500 for episode in run.episodes)


def test_a_worker_that_only_designs_gets_a_sandbox_without_torch_and_gymnasium():
    imports = "; ".join(f"import {module}" for module in PRELOAD_DESIGN)
    heavy = "{'torch', 'gymnasium', 'mujoco'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {imports}; sys.exit(len({heavy}))"], check=False
    )
    assert done.returncode == 0


FAKES = {
    "replace json.dumps": "sys.modules['json'].dumps = lambda *a, **k: '{}'",
    "replace np.mean and np.sum": "np.mean = np.sum = lambda *a, **k: 999.0",
    "replace the environment's step": (
        "for module in list(sys.modules.values()):\n"
        "    for kind in list(vars(module).values()):\n"
        "        try:\n"
        "            if 'advance' in vars(kind):\n"
        "                kind.advance = lambda *a, **k: (a[1], a[1][:, 0] + 999, a[1][:, 0] > 9)\n"
        "        except Exception:\n"
        "            pass"
    ),
    "print a forged result": 'os.write(1, b\'{"kind": "done", "fitness": 999}\\n\')',
    "forge a frame": "os.write(3, b'RSF1' + b'\\x40' * 4000)",
    "a thread in the background": (
        "def forge():\n"
        "    while True:\n"
        "        sys.modules['json'].dumps = lambda *a, **k: '{}'\n"
        "sys.modules['_thread'].start_new_thread(forge, ())"
    ),
    "close every descriptor": "os.closerange(3, 64)",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAKES)
def test_a_fake_in_the_training_process_is_scored_honestly_or_fails(laboratory, cart_pole, name):
    body = "return {'upright': np.cos(next_obs.angle)}"
    fake = rewarding(body, before=ESCAPE + FAKES[name])
    order = order_of(cart_pole, {"0.0": fake, "0.1": program(GOOD)})
    faked, sound = laboratory.train(order, ignore).runs
    assert sound.status == "scored"
    if faked.status == "scored":
        weights = laboratory.artifacts.get(faked.weights)
        again = measure(
            laboratory.sandbox, order, None, [weights], (), ignore, Progress("measuring", 0, 1)
        )
        assert faked.episodes == again.scores[0].fitness
    else:
        assert faked.fitness is None
        assert faked.failure


# --- a training that is cut off -------------------------------------------------------------------


class Cut(Exception):
    """Whoever watches goes away."""


def long_order(cart_pole, programs, **changes):
    training = Training(steps=60_000, envs=4, settings={"epochs": 4})
    return order_of(
        cart_pole, programs, stop_steps=60_000, training=training, checkpoints=6, **changes
    )


@pytest.fixture
def saving_often(monkeypatch):
    """A laboratory whose children save several times a second."""
    box = Sandbox((*PRELOAD, "tests.rim.hasty_training"))
    monkeypatch.setattr(supervising, "ENTRY", "tests.rim.hasty_training:train")
    monkeypatch.setattr("core.training.retrying.SOONEST_SECONDS", 0.0)
    yield Laboratory(box, MemoryArtifacts())
    box.close()


def test_a_training_that_is_cut_off_goes_on_from_where_it_was_saved(saving_often, cart_pole):
    kept = []

    def cut(saved):
        kept.append(saved)
        if len(kept) == 3:
            raise Cut

    broken, good = rewarding(BREAKS), program(GOOD)
    order = long_order(cart_pole, {NATIVE: None, "0.0": broken, "0.1": good})
    with pytest.raises(Cut):
        saving_often.train(order, ignore, cut)
    saved = {(one.arm, one.seed): one for one in kept[-1]}
    assert saved[(NATIVE, 0)].env_steps == saved[("0.1", 0)].env_steps
    assert saved[("0.0", 0)].failure
    assert saved[("0.0", 0)].env_steps < saved[(NATIVE, 0)].env_steps
    heard = []
    resumed = saving_often.train(replace(order, saved=saved), heard.append)
    start = min(p.done for p in heard if p.phase == "training" and p.done > 0)
    assert start > saved[(NATIVE, 0)].env_steps
    native, failed, designed = resumed.runs
    assert failed.failure == saved[("0.0", 0)].failure
    assert failed.env_steps == saved[("0.0", 0)].env_steps
    assert {(run.adapter, run.backend) for run in resumed.runs} == {
        ("numpy", choose_backend().name)
    }
    for run in (native, designed):
        assert [steps for steps, _ in run.checkpoints] == [10_000 * n for n in range(1, 7)]
        assert run.curve.steps[0] < 2_000
        assert list(run.curve.steps) == sorted(set(run.curve.steps))
        assert 60_000 <= run.env_steps < 60_000 + 4 * 128
        assert run.curve.steps[: len(saved[(run.arm, 0)].curve.steps)] == (
            saved[(run.arm, 0)].curve.steps
        )


def test_a_child_that_somebody_kills_is_followed_by_one_that_goes_on(saving_often, cart_pole):
    kept, killed = [], []

    def kill_the_child(saved):
        kept.append(saved[0].env_steps)
        if not killed:
            killed.extend(kill_children_of(saving_often.sandbox))

    order = long_order(cart_pole, {NATIVE: None})
    (run,) = saving_often.train(order, ignore, kill_the_child).runs
    assert len(killed) == 1
    assert run.status == "scored"
    assert kept == sorted(set(kept))
    assert [steps for steps, _ in run.checkpoints] == [10_000 * n for n in range(1, 7)]
    assert list(run.curve.steps) == sorted(set(run.curve.steps))


def kill_children_of(sandbox):
    children = psutil.Process(sandbox._zygote.pid).children()
    for child in children:
        child.kill()
    return children


EXITS_LATE = "global n\nn += 1\nif n > 40:\n    os._exit(3)\nreturn {'a': obs.x}"


def test_a_program_that_ends_its_process_late_costs_the_others_only_what_was_not_saved(
    saving_often, cart_pole
):
    late = rewarding(EXITS_LATE, "n = 0\n" + ESCAPE)
    kept = []
    order = long_order(cart_pole, {"0.0": late, "0.1": program(GOOD)})
    fallen, sound = saving_often.train(order, ignore, lambda s: kept.append(s[1].env_steps)).runs
    assert "exit code 3" in fallen.failure
    assert kept == sorted(kept)  # nobody began anew
    assert sound.status == "scored"
    assert [steps for steps, _ in sound.checkpoints] == [10_000 * n for n in range(1, 7)]
