"""Candidates side by side on one page."""

from __future__ import annotations

import pytest

from tests.shells import stories
from tests.shells.reading_pages import read


@pytest.fixture
def names(store):
    job_id = stories.a_job_that_awaits_feedback(store)
    return [f"cand_{job_id.removeprefix('job_')}_0_{n}" for n in (0, 1)]


def address(names, **more):
    query = "&".join([*(f"c={name}" for name in names), *(f"{k}={v}" for k, v in more.items())])
    return f"/compare?{query}"


def test_two_candidates_stand_beside_each_other_and_the_native_reward(api, names):
    page = read(api.get(address(names)))
    assert "Compare 0.0, 0.1" in page.text
    assert "native reward" in page.text
    assert "P(better)" in page.text
    assert page.all("table", **{"class": "diff source"})
    assert len(page.all("svg", **{"class": "interval"})) >= 2


def test_only_what_differs_is_shown_unless_everything_is_asked_for(api, names):
    few = read(api.get(address(names))).text
    everything = read(api.get(address(names, all="true"))).text
    assert "lines are the same" in few
    assert "lines are the same" not in everything
    assert "training.steps" not in few
    assert "training.steps" in everything


def test_a_changed_line_is_told_without_its_colour(api, names):
    page = read(api.get(address(names)))
    assert "removed:" in page.text
    assert "added:" in page.text


@pytest.mark.parametrize("number", [0, 1, 7])
def test_other_numbers_of_candidates_are_refused_in_words(api, names, number):
    many = [*names, *(f"{names[0]}{n}" for n in range(1, 7))][:number]
    answer = api.get(address(many))
    assert answer.status_code == 422
    assert "2 to 6 candidates" in read(answer).text


def test_a_candidate_that_is_not_there_is_told(api, names):
    answer = api.get(address([names[0], names[1].replace("_0_1", "_7_7")]))
    assert answer.status_code == 404
