"""`rewardsmith env check`: what a job would find in an environment, before there is a job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.cli import app as command
from client.console import FAILED, OK, USAGE

EXAMPLES = Path(__file__).parents[2] / "examples" / "environments"

pytestmark = pytest.mark.slow  # each test starts a sandbox


@pytest.fixture
def check(monkeypatch, tmp_path):
    monkeypatch.setenv("REWARDSMITH_HOME", str(tmp_path / "home"))

    def invoke(*arguments: str):
        return CliRunner().invoke(command, ["env", "check", *arguments])

    return invoke


def test_an_environment_is_told_with_spaces_fields_fitness_and_what_prompts_show(check):
    result = check("cartpole-park")
    assert result.exit_code == OK
    assert "one of 2 choices" in result.stdout
    assert "cart_position" in result.stdout
    assert "The share of" in result.stdout
    assert "a random policy has" in result.stdout
    assert "leak guard" in result.stdout


def test_an_environment_of_ones_own_is_imported_from_the_folder_that_is_named(check, tmp_path):
    result = check("corridor_env:Corridor-v0", "--path", str(EXAMPLES), "--json")
    assert result.exit_code == OK
    told = json.loads(result.stdout)
    assert told["ok"]
    assert told["fields"]
    assert told["isolation_level"] >= 0


def test_the_source_is_shown_without_what_it_pays(check):
    told = json.loads(check("Pendulum-v1", "--json").stdout)
    assert "def _get_obs" in told["source_shown"]
    assert told["source_withheld"]
    assert not any(withheld in told["source_shown"] for withheld in told["source_withheld"])


def test_an_environment_that_cannot_be_built_is_a_check_that_failed(check):
    result = check("no_such_module:Nothing-v0", "--json")
    assert result.exit_code == FAILED
    told = json.loads(result.stdout)
    assert not told["ok"]
    assert "no_such_module" in told["problem"]


def test_a_fitness_that_names_no_field_is_told_with_the_fields(check):
    fitness = json.dumps({"kind": "success", "where": "altitude > 1", "over": "any"})
    result = check("cartpole-park", "--fitness", fitness)
    assert result.exit_code == USAGE
    assert "altitude" in result.stderr
