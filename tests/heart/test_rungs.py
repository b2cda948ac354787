"""Successive halving: who goes on, and who is the incumbent."""

from __future__ import annotations

import pytest

from core.records.spec import Training
from core.rungs import never, promoted, ranked
from tests.builders import trained

CHANCE = 0.1


def after(alive, rungs=(0.3, 1.0), keep=0.34, suspect=never, seeds=2):
    """Return the keys of those who go on after the first rung."""
    training = Training(rungs=rungs, keep=keep, seeds=seeds)
    return keys(promoted(training, CHANCE, alive, 0, suspect))


def keys(candidates):
    return [c.key for c in candidates]


def test_a_steady_candidate_goes_on_before_one_that_was_lucky_once():
    alive = [trained(0, 0.9, 0.3), trained(1, 0.6, 0.56), trained(2, 0.2, 0.2)]
    assert after(alive) == ["0.1"]  # 0.9 and 0.3 have the higher mean


@pytest.mark.parametrize("fitness", [0.0, CHANCE], ids=["below chance", "at chance"])
def test_a_rung_that_tells_nobody_from_another_abstains(fitness):
    alive = [trained(n, fitness, fitness) for n in range(3)]
    assert after(alive) == ["0.0", "0.1", "0.2"]


def test_below_chance_who_ties_with_the_last_that_goes_on_goes_on_as_well():
    alive = [
        trained(0, 0.0, 0.0),
        trained(1, 0.05, 0.05),
        *(trained(n, 0.02, 0.02) for n in (2, 3)),
    ]
    assert after(alive, keep=0.5) == ["0.1", "0.2", "0.3"]
    straggler = [*(trained(n, 0.02, 0.02) for n in range(3)), trained(3, 0.0, 0.0)]
    assert after(straggler, keep=0.5) == ["0.0", "0.1", "0.2"]


def test_below_chance_single_runs_order_nobody():
    alive = [trained(0, 0.0), trained(1, 0.05), trained(2, 0.02)]
    assert after(alive, seeds=1) == ["0.0", "0.1", "0.2"]


def test_below_chance_nobody_is_suspected():
    alive = [trained(0, 0.05, 0.05), trained(1, 0.0, 0.0)]
    assert after(alive, suspect=lambda candidate, rung: candidate.key == "0.0") == ["0.0"]


@pytest.mark.parametrize("share", [0.3, 0.6], ids=["early", "late"])
def test_an_order_below_chance_is_followed(share):
    alive = [trained(0, 0.0, 0.0), trained(1, 0.05, 0.02), trained(2, 0.0, 0.0)]
    assert after(alive, (share, 1.0)) == ["0.1"]


def test_above_chance_equals_are_halved_in_their_order():
    alive = [trained(n, 0.5, 0.5) for n in range(3)]
    assert after(alive) == ["0.0"]


def test_a_candidate_that_could_not_be_scored_goes_nowhere_even_then():
    alive = [trained(0, 0.0, None), trained(1, 0.0, 0.0), trained(2, 0.0, 0.0)]
    assert after(alive) == ["0.1", "0.2"]


@pytest.mark.parametrize(
    ("share", "left"), [(0.3, ["0.0", "0.1"]), (0.6, ["0.0"])], ids=["early", "late"]
)
def test_who_is_not_above_chance_after_most_of_the_steps_is_given_up(share, left):
    alive = [trained(0, 0.5, 0.5), trained(1, 0.1, 0.1), trained(2, 0.0, 0.0)]
    assert after(alive, (share, 1.0), keep=0.67) == left


def test_a_suspected_exploit_is_not_promoted():
    alive = [trained(0, 0.5, 0.5), trained(1, 0.4, 0.4), trained(2, 0.3, 0.3)]

    def suspect(candidate, rung):
        return (candidate.key, rung) == ("0.0", 0)

    assert after(alive, suspect=suspect) == ["0.1"]


def test_where_everybody_is_suspected_the_best_alone_goes_on():
    alive = [trained(0, 0.5, 0.5), trained(1, 0.4, 0.4), trained(2, 0.3, 0.3)]
    assert after(alive, keep=0.67, suspect=lambda candidate, rung: True) == ["0.0"]


def test_who_went_on_under_suspicion_still_does_when_it_is_suspected_no_longer():
    """As once it has runs beyond the rung (`core.exploits.is_suspect`): the decision stands."""
    alive = [trained(0, 0.5, 0.5), trained(1, 0.4, 0.4), trained(2, 0.3, 0.3)]
    assert after(alive, keep=0.67, suspect=lambda candidate, rung: candidate.number > 0) == ["0.0"]


def test_the_incumbent_gives_way_to_a_better_lower_bound_alone():
    incumbent = trained(0, 0.6, 0.6)
    lucky = trained(0, 1.0, 0.3, iteration=1)
    assert ranked([incumbent, lucky])[0] is incumbent
    better = trained(1, 0.8, 0.7, iteration=1)
    assert ranked([incumbent, lucky, better])[0] is better


def test_ties_go_to_the_earlier_candidate():
    assert keys(ranked([trained(1, 0.5, iteration=1), trained(2, 0.5), trained(0, 0.4)])) == [
        "0.2",
        "1.1",
        "0.0",
    ]


def test_a_search_that_ended_early_ranks_those_who_came_farthest():
    assert keys(ranked([trained(0, 0.5), trained(1, 0.7)])) == ["0.1", "0.0"]
    assert keys(ranked([trained(0, 0.5, rung=1), trained(1, 0.7)])) == ["0.0"]
    assert ranked([trained(0, None), trained(1)]) == []
