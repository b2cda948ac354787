"""The bench of the trainer: what it plans, keeps, computes and writes.  Nothing here is a timing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from bench.trainer import learning, speed, timing
from bench.trainer.cells import Cells
from bench.trainer.comparing import compare
from bench.trainer.comparing import render as render_learning
from bench.trainer.programs import load_programs, sources
from bench.trainer.results import entries_of, scaling_of
from bench.trainer.sb3_side import BatchVecEnv
from bench.trainer.setups import LEARNING, SPEED, Setup
from bench.trainer.tables import render, table
from bench.trainer.watching import Watched, evaluate, last_mean, learning_curve
from core.envs import make_batch
from core.records.task import Task
from core.training.action_space import read_action_space

CART_POLE, PENDULUM = (Task(name, name, "") for name in ("CartPole-v1", "Pendulum-v1"))


# --- our batch as SB3 sees it ---------------------------------------------------------------------


def test_a_batch_gives_sb3_what_its_own_environments_give():
    ours = BatchVecEnv(make_batch(CART_POLE, 2), [5, 6])
    theirs = DummyVecEnv([lambda: gymnasium.make("CartPole-v1")] * 2)
    theirs.seed(5)  # the second one gets 6
    np.testing.assert_allclose(ours.reset(), theirs.reset(), rtol=1e-6)
    assert ours.action_space == theirs.action_space
    alive = np.ones(2, bool)
    while alive.any():  # to the end of both first episodes: later ones have other seeds
        seen, paid, ended, infos = ours.step(np.array([1, 1]))
        its, its_paid, its_ended, its_infos = theirs.step(np.array([1, 1]))
        np.testing.assert_array_equal(ended[alive], its_ended[alive])
        np.testing.assert_allclose(paid[alive], its_paid[alive])
        for row in np.flatnonzero(alive & ended):
            final = its_infos[row]["terminal_observation"]
            np.testing.assert_allclose(infos[row]["terminal_observation"], final, rtol=1e-5)
        alive &= ~ended
        np.testing.assert_allclose(seen[alive], its[alive], rtol=1e-5)


def test_sb3_is_told_of_time_limits_but_not_where_the_episode_ended_by_itself():
    fallen = steps_to_fall(CART_POLE)
    for limit, cut in ((fallen + 1, False), (fallen, False), (fallen - 1, True)):
        env = BatchVecEnv(make_batch(replace(CART_POLE, max_episode_steps=limit), 1), [0])
        env.reset()
        for _ in range(min(fallen, limit)):
            _, _, ended, (info,) = env.step(np.array([1]))
            assert ("terminal_observation" in info) == ended[0]
        assert ended[0]
        assert info["TimeLimit.truncated"] == cut


def steps_to_fall(task):
    """How long an episode of seed 0 lasts that always pushes to the right."""
    watched = Watched(make_batch(task, 1))
    watched.reset([0])
    while not watched.episodes[0]:
        watched.step(np.array([1]))
    return watched.episodes[0][0][0]


# --- what is measured of a training ---------------------------------------------------------------


def test_a_watched_batch_adds_up_native_returns_and_changes_nothing():
    plain, watched = make_batch(PENDULUM, 3), Watched(make_batch(PENDULUM, 3))
    np.testing.assert_array_equal(plain.reset([1, 2, 3]), watched.reset([1, 2, 3]))
    total, rng = np.zeros(3), np.random.default_rng(0)
    for _ in range(400):
        action = rng.uniform(-2, 2, (3, 1)).astype(np.float32)
        step, seen = plain.step(action), watched.step(action)
        np.testing.assert_array_equal(step.state, seen.state)
        total += step.native
    assert watched.layout is watched.batch.layout
    assert [[end for end, _ in row] for row in watched.episodes] == [[200, 400]] * 3
    returned = [sum(value for _, value in row) for row in watched.episodes]
    np.testing.assert_allclose(returned, total, rtol=1e-6)
    assert watched.of(range(1, 3))[0][0] == 200
    assert len(watched.of(range(1, 3))) == 4


def test_the_last_hundred_episodes_count_and_a_curve_has_twenty_points():
    episodes = [(step, float(step)) for step in range(1, 201)]
    assert last_mean(episodes) == np.mean(range(101, 201))
    curve = learning_curve(episodes, 400)
    assert curve[:10] == [10.5 + 20 * i for i in range(10)]
    assert curve[10:] == [None] * 10
    with pytest.raises(ValueError, match="train for more steps"):
        last_mean([])


def test_an_evaluation_runs_on_gymnasiums_own_environment_to_its_end():
    falling = evaluate("CartPole-v1", lambda seen: np.ones(len(seen), np.int64), [1, 2, 3])
    assert all(8 <= returned <= 10 for returned in falling)


# --- the candidates' programs ---------------------------------------------------------------------


@pytest.mark.parametrize("task", [CART_POLE, PENDULUM])
def test_every_candidate_has_a_program_of_its_own_that_the_rules_accept(task):
    batch = make_batch(task, 5)
    space = read_action_space(batch.action)
    written = sources(batch.layout, space, 16, features=True)
    assert len(set(written)) == 16
    programs = load_programs(batch.layout, space, 16, features=True)
    states = batch.reset(range(5))
    action = np.zeros(5, np.int64) if space.discrete else np.zeros((5, 1), np.float32)
    step = batch.step(action)
    for program in programs.values():
        assert len(program.reward(states, action, step.next_block)) == 6
        assert program.features(states).shape == (5, 2)


# --- measurements that survive --------------------------------------------------------------------


def test_a_line_that_was_cut_off_is_measured_again_and_the_others_are_kept(tmp_path):
    path = tmp_path / "cells.jsonl"
    Cells(path).add({"env": "a", "k": 1}, {"seconds": 1.0})
    Cells(path).add({"env": "b", "k": 1}, {"seconds": 2.0})
    path.write_bytes(path.read_bytes()[:-9])

    cells = Cells(path)
    assert {"k": 1, "env": "a"} in cells
    assert {"k": 1, "env": "b"} not in cells
    cells.add({"env": "b", "k": 1}, {"seconds": 3.0})
    assert [cell["seconds"] for cell in Cells(path)] == [1.0, 3.0]
    assert Cells(path).of(env="b")[0]["seconds"] == 3.0


# --- plans ----------------------------------------------------------------------------------------


def plan(*words):
    return speed.plan_of(speed.parse(words))


def test_the_quick_plan_is_sixteen_candidates_on_five_environments_once():
    keys = [key for key, _ in speed.works(plan("--quick"))]
    ours = [key for key in keys if key["what"] == "ours"]
    theirs = [key for key in keys if key["what"] == "sb3"]
    assert {key["env"] for key in keys} == set(SPEED) - {"Ant-v5"}
    assert {key["k"] for key in ours} == {16}
    assert {key["repetition"] for key in keys} == {0}
    assert {key["k"] for key in theirs} == {2}
    steps = {key["env"]: key["steps"] for key in ours}
    assert steps["CartPole-v1"] == 7 * 2048  # 12,500 in whole rollouts
    assert steps["Hopper-v5"] == 13 * 2048
    assert not any(key["what"] == "scaling" for key in keys)


def test_the_full_plan_interleaves_both_sides_and_repeats_three_times():
    keys = [key for key, _ in speed.works(plan())]
    assert {key["k"] for key in keys if key["what"] == "ours"} == {1, 4, 16, 64}
    assert {key["repetition"] for key in keys} == {0, 1, 2}
    first = [(key["what"], key["env"]) for key in keys if key["repetition"] == 0]
    assert first[0] == ("sb3", "CartPole-v1")
    assert ("ours", "CartPole-v1") in first[: first.index(("sb3", "Pendulum-v1"))]
    assert max(key["k"] for key in keys if key["what"] == "scaling") == 256
    assert len({json.dumps(key, sort_keys=True) for key in keys}) == len(keys)


def test_candidates_are_dealt_evenly_and_none_is_lost():
    assert speed.split(16, 2) == [range(8), range(8, 16)]
    assert [len(part) for part in speed.split(7, 3)] == [2, 2, 3]


def test_candidates_are_dealt_to_packs_as_a_job_deals_them():
    objects, arrays = SPEED["LunarLander-v3"], SPEED["CartPole-v1"]
    assert speed.packs_of(objects, 16, 2) == [[range(8)], [range(8, 16)]]
    in_turn = [[range(16), range(16, 32)], [range(32, 48), range(48, 64)]]
    assert speed.packs_of(objects, 64, 2) == in_turn
    assert speed.packs_of(arrays, 64, 2) == [[range(32)], [range(32, 64)]]


def test_learning_leaves_out_what_is_known_and_lets_the_sides_take_turns(tmp_path):
    cells = Cells(tmp_path / "learning.jsonl")
    setup = LEARNING["cartpole"]
    cells.add(learning.key_of("cartpole", setup, "sb3", 1, None), {"trained": 1.0})
    words = ["--setups", "cartpole", "--seeds", "4", "--pack", "3"]
    units = learning.units(learning.parse(words), cells)
    assert [(unit.side, unit.seeds) for unit in units] == [
        ("ours", (0, 1, 2)),
        ("sb3", (0,)),
        ("ours", (3,)),
        ("sb3", (2,)),
        ("sb3", (3,)),
    ]


# --- results --------------------------------------------------------------------------------------


def cell(what, k, processes, seconds, repetition=0, **more):
    key = {
        "what": what,
        "env": "Hopper-v5",
        "steps": 1000,
        "k": k,
        "envs": 8,
        "processes": processes,
        "backend": "kernel",
        "features": False,
        "repetition": repetition,
        "machine": "a machine",
    }
    return {
        "key": key | more,
        "seconds": seconds,
        "spent": [{"mebibytes": 10.0}] * processes,
        "shares": {"physics": 0.7, "rewards": 0.004, "features": 0.0},
        "foreign_cores": 0.1,
        "date": "2026-11-26T01:00:00+00:00",
    }


def measured():
    return [
        *(cell("ours", 16, 2, seconds, i) for i, seconds in enumerate((9.0, 10.0, 14.0))),
        cell("ours", 16, 1, 18.0),
        cell("ours", 64, 2, 41.0),
        *(cell("alone", k, 2, seconds, steps=500) for k, seconds in ((16, 4.0), (64, 17.0))),
        cell("sb3", 4, 1, 40.0),
        cell("sb3", 4, 2, 22.0),
    ]


def test_an_entry_has_medians_and_sb3s_time_multiplied_to_k():
    entry = next(entry for entry in entries_of(measured()) if entry["k"] == 16)
    wanted = {
        "env": "Hopper-v5",
        "steps": 1000,
        "ours_seconds": 10.0,
        "ours_one_process_seconds": 18.0,
        "sb3_sequential_seconds": 160.0,
        "sb3_two_processes_seconds": 88.0,
        "physics_share": 0.8,
        "reward_share": 0.004,
        "mebibytes": 20.0,
        "spread": 0.5,
        "repetitions": 3,
        "extrapolated": True,
        "date": "2026-11-26",
        "machine": "a machine",
    }
    assert {name: entry[name] for name in wanted} == wanted


def test_a_single_candidate_is_compared_with_one_process_and_what_has_no_match_is_left_out():
    cells = [cell("ours", 1, 1, 2.0), cell("alone", 1, 1, 1.0), cell("sb3", 1, 1, 9.0)]
    (entry,) = entries_of(cells)
    assert entry["sb3_sequential_seconds"] == entry["sb3_two_processes_seconds"] == 9.0
    assert not entry["extrapolated"]
    assert entries_of(cells[:2]) == []
    assert entries_of([cells[0], cells[2]]) == []
    assert entries_of([*cells[:2], cell("sb3", 1, 1, 9.0, machine="another")]) == []


def test_the_page_shows_ratios_targets_and_how_sb3_was_measured():
    scaling = scaling_of([cell("scaling", 256, 1, 8.0), cell("scaling", 16, 1, 1.0)])
    page = render(entries_of(measured()), scaling, "make bench-trainer")
    assert "a machine" in page
    assert "`make bench-trainer`" in page
    assert "**SB3 was measured on 4 candidates and multiplied to K.**" in page
    assert (
        "| Hopper-v5 | 16 | 1,000 | 10.00 | 18.00 | 160 | 88 | **16.0** | 8.8 | ≥ 10: yes |" in page
    )
    assert "| Hopper-v5 | kernel | 1,000 | 4.10 | ≤ 4.2 |" in page
    assert "| Hopper-v5 | 16 | kernel | no | 80% (≥ 80%: yes) | 70% | 0.40% | 0.0% | 20 |" in page
    assert page.index("| 16 | 8 | 1,000 | 1.00 | 62.50 |") < page.index("| 256 | 8 |")


def test_a_missed_target_is_called_missed_and_without_the_kernel_it_is_lower():
    slow = [cell("ours", 16, 2, 20.0), *measured()[4:]]
    page = render(entries_of(slow), [], "x")
    assert "| **8.0** | 4.4 | ≥ 10: no |" in page
    assert "| 40% (≥ 80%: no) |" in page
    slow = [cell("ours", 16, 2, 20.0, backend="torch"), *measured()[4:]]
    assert "| **8.0** | 4.4 | ≥ 7: yes |" in render(entries_of(slow), [], "x")


def test_a_table_is_markdown_with_numbers_to_the_right():
    assert table(("a", "b"), [("x", "1")]) == "| a | b |\n|---|---:|\n| x | 1 |\n"


def runs(side, values, **more):
    key = {"setup": "hopper", "side": side, "steps": 100, "backend": None}
    return [
        {
            "key": key | more | {"seed": seed},
            "trained": value,
            "evaluated": 2 * value,
            "curve": [None] * 10 + [value] * 10,
            "seconds": 3.0,
            "date": "2026-11-26T01:00:00+00:00",
        }
        for seed, value in enumerate(values)
    ]


def test_a_comparison_gives_whole_lists_intervals_and_the_chance_to_be_better():
    (found,) = compare([*runs("ours", [3, 1, 2, 10]), *runs("sb3", [1, 1, 1])])
    trained = found["trained"]
    assert trained["ours"]["runs"] == [1, 2, 3, 10]
    assert trained["ours"]["median"] == trained["ours"]["iqm"] == 2.5
    assert trained["ours"]["low"] < trained["ours"]["mean"] == 4 < trained["ours"]["high"]
    assert trained["difference"]["mean"] == 3
    assert trained["probability_of_improvement"] == 0.875
    assert found["evaluated"]["ours"]["mean"] == 8
    assert found["curves"]["ours"][9:11] == [None, 4.0]


def test_backends_of_ours_are_compared_apart_with_the_same_runs_of_sb3():
    cells = [
        *runs("ours", [1.0]),
        *runs("ours", [2.0], backend="kernel"),
        *runs("sb3", [1.0, 3.0]),
        *runs("ours", [9.0], setup="alone"),
    ]
    found = compare(cells)
    assert [(one["backend"], one["trained"]["ours"]["runs"]) for one in found] == [
        (None, [1.0]),
        ("kernel", [2.0]),
    ]
    page = render_learning(found, "x")
    assert "| hopper (kernel) | 100 | 1, 2 | 2.0 [2.0, 2.0] | 2.0 [1.0, 3.0] | 0.0 [" in page
    assert "- hopper, last 100 training episodes, sb3: 1, 3" in page


# --- the whole, tiny ------------------------------------------------------------------------------


def raising():
    raise ValueError("out of luck")


@pytest.mark.slow
def test_a_process_that_breaks_says_why():
    with pytest.raises(RuntimeError, match="out of luck"):
        timing.in_processes([raising])


@pytest.mark.slow
def test_a_tiny_bench_runs_from_measurement_to_page_and_measures_nothing_twice(tmp_path):
    tiny = plan(
        *("--quick", "--envs", "Pendulum-v1", "--ks", "2", "--part", "0.001"),
        *("--patience", "0"),
    )
    cells = Cells(tmp_path / "cells.jsonl")
    speed.measure(tiny, cells)
    before = (tmp_path / "cells.jsonl").read_text()
    speed.measure(tiny, Cells(tmp_path / "cells.jsonl"))
    assert (tmp_path / "cells.jsonl").read_text() == before

    speed.write(cells, tmp_path / "results", "tiny")
    (entry,) = json.loads((tmp_path / "results" / "trainer.json").read_text())
    assert (entry["env"], entry["k"], entry["steps"]) == ("Pendulum-v1", 2, 2048)
    assert 0 < entry["stepping_share"] < 1
    assert 0 < entry["reward_share"] < 0.5
    assert entry["sb3_sequential_seconds"] > 0
    assert "| Pendulum-v1 | 2 |" in (tmp_path / "results" / "trainer.md").read_text()


@pytest.mark.slow
def test_both_sides_learn_and_are_evaluated_in_processes_of_their_own(tmp_path):
    words = ["--setups", "cartpole", "--seeds", "2", "--steps", "2048", "--episodes", "2"]
    cells = Cells(tmp_path / "learning.jsonl")
    arguments = learning.parse(words)
    assert learning.carry_out(learning.units(arguments, cells), cells, 2, minutes=5) == []
    learning.write(Cells(tmp_path / "learning.jsonl"), tmp_path, "tiny")
    (found,) = json.loads((tmp_path / "learning.json").read_text())
    assert len(found["trained"]["ours"]["runs"]) == len(found["trained"]["sb3"]["runs"]) == 2
    assert found["evaluated"]["sb3"]["mean"] > 8
    assert learning.units(arguments, Cells(tmp_path / "learning.jsonl")) == []


@pytest.mark.slow
def test_a_run_that_breaks_is_told_and_is_left_for_another_call(tmp_path):
    arguments = learning.parse(["--setups", "pendulum", "--seeds", "1", "--side", "ours"])
    cells = Cells(tmp_path / "learning.jsonl")
    (unit,) = learning.units(arguments, cells)
    absurd = replace(unit, setup=replace(unit.setup, gamma=7.0))
    (said,) = learning.carry_out([absurd], cells, 1, minutes=5)
    assert "pendulum, ours, seeds (0,): InvalidInput" in said
    assert len(learning.units(arguments, cells)) == 1


def test_a_setup_counts_whole_rollouts():
    assert Setup("CartPole-v1", 50_000).whole_steps == 25 * 2048


def test_the_page_shows_what_was_measured_on_a_gpu_with_its_machine_and_gaps():
    gpu = json.loads((Path(__file__).parents[2] / "docs/results/trainer-gpu.json").read_text())
    page = render(entries_of(measured()), [], "x", gpu)
    assert gpu["machine"]["gpu"] in page
    assert gpu["note"] in page
    assert page.count("mujoco-warp") == sum(r["where"] == "mujoco-warp" for r in gpu["training"])
    assert "One GPU" not in render(entries_of(measured()), [], "x")
