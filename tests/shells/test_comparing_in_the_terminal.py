"""`rewardsmith candidates` and `rewardsmith compare`: what is told of candidates side by side."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from client.cli import app as command
from client.console import OK, USAGE
from core.storage import Store
from tests.builders import a_program, a_run, trained
from tests.databases import emptied
from tests.shells import stories


@pytest.fixture
def database_url(shared_sqlite):
    return emptied(shared_sqlite)


@pytest.fixture
def run(server, monkeypatch):
    monkeypatch.setenv("REWARDSMITH_API_URL", server)
    return lambda *arguments: CliRunner().invoke(command, [*arguments])


def two_measured(store: Store) -> list[str]:
    """Two candidates that differ in code and fitness; their ids."""
    job_id = stories.a_job_in_training(store)
    with stories.step(store, job_id, "propose/1") as claim:
        wider = a_program(trained(0).program.source.replace("np.square(", "np.abs("))
        claim.add_candidate(replace(trained(0, iteration=1), program=wider, parents=("0.0",)))
        claim.end_proposing(1)
    for arm, fitness in (("0.0", 0.4), ("1.0", 0.8)):
        with stories.step(store, job_id, f"train/{arm[0]}/0/0") as claim:
            runs = [a_run(arm, fitness + 0.02 * seed, seed=seed) for seed in (0, 1)]
            claim.add_runs(runs, {arm: stories.a_report()})
    found = store.candidates(job_id, status="trained").items
    return [stored.id for stored in found]


def test_candidates_are_listed_with_what_one_needs_to_compare_them(run, store):
    job_id = stories.a_finished_job(store)
    told = run("candidates", job_id).stdout
    assert "0.0" in told
    assert "0.8 [0.7, 0.9]" in told
    assert f"cand_{job_id.removeprefix('job_')}_0_0" in told
    assert "line 3: expected a dict" in told
    assert run("candidates", job_id, "--status", "failed").stdout == "No candidate yet.\n"


def test_two_candidates_stand_side_by_side_with_the_native_reward(run, store):
    first, second = two_measured(store)
    result = run("compare", first, second)
    assert result.exit_code == OK
    lines = result.stdout.splitlines()
    assert lines[0] == "Compared on the search, rung 0."
    assert any(line.startswith("0.0") and "0.41" in line for line in lines)
    assert any(line.startswith("1.0") and "0.81" in line for line in lines)
    assert any(line.startswith("native") and "0.2" in line for line in lines)
    assert any("better with probability 1.00" in line for line in lines)


def test_what_changes_in_the_code_is_told_as_diff_does(run, store):
    first, second = two_measured(store)
    told = run("compare", first, second).stdout
    assert "--- 0.0\n+++ 1.0\n" in told
    assert any(line.startswith("+ ") and "np.abs" in line for line in told.splitlines())
    assert "+++" not in run("compare", first, second, "--no-code").stdout


def test_only_differences_are_told_unless_all_is_wanted(run, store):
    first, second = two_measured(store)
    assert "component near" not in run("compare", first, second).stdout
    assert "component near" in run("compare", first, second, "--all").stdout


def test_candidates_of_two_jobs_are_told_apart(run, store):
    (first, _), (second, _) = two_measured(store), two_measured(store)
    told = run("compare", first, second).stdout
    assert "A:0.0" in told
    assert "B:0.0" in told


def test_the_whole_comparison_is_there_in_json(run, store):
    first, second = two_measured(store)
    told = json.loads(run("compare", first, second, "--json").stdout)
    assert [side["candidate"] for side in told["sides"]] == [first, second, None]


@pytest.mark.parametrize("names", [["cand_x"], ["cand_x", "cand_y"]])
def test_too_few_or_unknown_candidates_are_usage(run, names):
    assert run("compare", *names).exit_code == USAGE
