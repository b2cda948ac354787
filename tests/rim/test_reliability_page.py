"""The page of what was measured of reliability: every suite has a part, and none loses another's."""

from __future__ import annotations

import json

import pytest

from bench.reliability.page import PARTS, render
from bench.reliability.results import keep, keep_line

STAMP = {"command": "make it", "day": "2026-01-02", "commit": "abc", "machine": "2 cores"}
CHAOS = {
    **STAMP,
    "violations": 0,
    "stacks": {"PostgreSQL": {"rounds": 3, "worker_kills": 1_234}, "SQLite": {"rounds": 1}},
    "failpoints": {"step.done": 7},
    "endpoint": {"reset": 2},
    "seeds": [1_000, 1_003],
}
REQUESTS = {
    **{**STAMP, "fuzz": "api", "role": "owner", "database": "postgresql"},
    **{"cases": 25_040, "operations": 40, "server_errors": 0, "findings": 0},
}
PARSER = {
    **{**STAMP, "fuzz": "reply reader", "inputs": 20_000, "accepted": 9_000},
    **{"refused": 11_000, "slowest_seconds": 0.0123},
}

JOBS = {
    **STAMP,
    "fuzz": "jobs",
    "jobs": 150,
    "broken": 3,
    "seconds": 2_400,
    "endings": {"succeeded": 150},
}


@pytest.fixture
def page(tmp_path):
    def read() -> str:
        return (tmp_path / "reliability.md").read_text()

    return read


def test_a_suite_replaces_its_own_part_and_leaves_the_others(tmp_path, page):
    keep("fuzz", {"owner": REQUESTS}, tmp_path)
    keep("chaos", {**CHAOS, "violations": 5}, tmp_path)
    keep("chaos", CHAOS, tmp_path)
    document = json.loads((tmp_path / "reliability.json").read_text())
    assert document == {"fuzz": {"owner": REQUESTS}, "chaos": CHAOS}
    assert page() == render(document)
    assert "were broken 0 times" in page()
    assert "25,040" in page()


def test_a_line_of_a_part_replaces_its_own_and_leaves_the_others(tmp_path, page):
    keep_line("fuzz", "owner", {**REQUESTS, "cases": 1}, tmp_path)
    keep_line("fuzz", "reply reader", PARSER, tmp_path)
    keep_line("fuzz", "owner", REQUESTS, tmp_path)
    keep_line("fuzz", "jobs", JOBS, tmp_path)
    assert "25,040 cases together" in page()
    told = "150 in 2,400 s, commit abc; succeeded 150; steps that broke: 3."
    assert f"Jobs of every shape, carried out: {told}" in page()
    assert "| reply reader | 20,000 | 9,000 | 11,000 | 12.3 | abc |" in page()


def test_a_stack_that_was_not_hit_by_a_fault_says_zero():
    assert "| worker kills | 1,234 | 0 |" in render({"chaos": CHAOS})


def test_the_page_says_what_has_not_been_measured():
    assert f"Not measured yet: {', '.join(PARTS)}." in render({})
    assert "Not measured yet: chaos" not in render({"chaos": CHAOS})


def test_a_part_that_nobody_can_tell_is_not_kept(tmp_path):
    with pytest.raises(KeyError):
        keep("choas", CHAOS, tmp_path)
    assert not (tmp_path / "reliability.json").exists()
