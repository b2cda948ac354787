"""What the pages tell people to type, set and look at exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.settings import Settings
from tests.shells.command_lines import written_in, wrong_in

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAST = "lab-log.md"  # says what was typed then
TODAY = [page for page in PAGES if page.name != PAST]
SETTINGS = {f"REWARDSMITH_{name.upper()}" for name in Settings.model_fields}
OF_CLIENTS = {"REWARDSMITH_API_URL", "REWARDSMITH_API_KEY", "REWARDSMITH_CHROMIUM"}


@pytest.mark.parametrize("page", TODAY, ids=lambda page: page.name)
def test_every_command_of_a_page_exists(page):
    assert [wrong for line in written_in(page) if (wrong := wrong_in(line))] == []


@pytest.mark.parametrize("page", TODAY, ids=lambda page: page.name)
def test_every_target_of_make_that_a_page_names_exists(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", page.read_text())) <= targets


@pytest.mark.parametrize("page", TODAY, ids=lambda page: page.name)
def test_every_variable_of_a_page_is_a_setting(page):
    named = set(re.findall(r"REWARDSMITH_[A-Z_]*[A-Z]", page.read_text()))
    assert named <= SETTINGS | OF_CLIENTS


def test_the_runbook_tells_of_commands_at_all():
    told = written_in(ROOT / "docs" / "operations.md")
    assert {"doctor", "db upgrade", "tidy --orphans"} <= set(told)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("doctor", None),
        ("jobs resume JOB_ID", None),
        ("--key KEY jobs ls", None),
        ("doctr", "no command"),
        ("jobs mend JOB_ID", "no command"),
        ("worker --slot 2", "has no --slot"),
        ("jobs ls -x", "has no -x"),
    ],
)
def test_a_command_that_does_not_exist_is_found_out(line, wrong):
    found = wrong_in(line)
    assert found is None if wrong is None else wrong in found
