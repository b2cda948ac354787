"""Bradley–Terry scores from thumbs and preferences."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from core.methods.breeding import by_lower_bound
from core.preferences import preference_scores
from core.records.people import Remark
from tests.builders import a_history, a_spec, an_iteration, trained

KEYS = ("0.0", "0.1", "0.2")


def preferred(winner: str, loser: str, value: int = 1) -> Remark:
    return Remark(0, "preference", winner, loser, value)


def thumb(key: str, value: int) -> Remark:
    return Remark(0, "thumb", key, value=value)


def test_nobody_is_scored_who_was_not_judged():
    assert preference_scores([], KEYS) == {}
    assert set(preference_scores([thumb("0.1", 1)], KEYS)) == {"0.1"}


def test_words_alone_count_for_nothing():
    assert preference_scores([Remark(0, "text", "0.1", text="wonderful")], KEYS) == {}


def test_one_thumb_up_gives_the_score_at_which_prior_and_likelihood_meet():
    # The slope of log σ(s) − s²/2 is zero where s = σ(−s).
    score = preference_scores([thumb("0.0", 1)], KEYS)["0.0"]
    assert score == pytest.approx(1.0 / (1.0 + math.exp(score)), abs=1e-9)
    assert preference_scores([thumb("0.0", -1)], KEYS)["0.0"] == pytest.approx(-score)


def test_the_winner_of_a_comparison_stands_as_far_above_the_field_as_the_loser_below():
    scores = preference_scores([preferred("0.0", "0.1")], KEYS)
    assert scores["0.0"] == pytest.approx(-scores["0.1"])
    assert scores["0.0"] > 0
    assert preference_scores([preferred("0.1", "0.0", -1)], KEYS) == pytest.approx(scores)


def test_preferences_are_passed_on_along_a_chain():
    scores = preference_scores([preferred("0.0", "0.1"), preferred("0.1", "0.2")], KEYS)
    assert scores["0.0"] > scores["0.1"] > scores["0.2"]


def test_ties_draw_the_two_together():
    apart = preference_scores([thumb("0.0", 1), thumb("0.1", -1)], KEYS)
    tied = preference_scores([thumb("0.0", 1), thumb("0.1", -1), preferred("0.0", "0.1", 0)], KEYS)
    assert 0 < tied["0.0"] - tied["0.1"] < apart["0.0"] - apart["0.1"]


def test_however_one_sided_the_judgements_are_the_scores_stay_finite_and_settle():
    scores = preference_scores([thumb("0.0", 1)] * 500 + [preferred("0.0", "0.1")] * 500, KEYS)
    assert all(math.isfinite(score) for score in scores.values())
    slope = 500 / (1 + math.exp(scores["0.0"])) - scores["0.0"]
    slope += 500 / (1 + math.exp(scores["0.0"] - scores["0.1"]))
    assert slope == pytest.approx(0.0, abs=1e-6)


def test_the_order_in_which_things_were_said_does_not_matter():
    said = [preferred("0.0", "0.1"), thumb("0.2", -1), preferred("0.2", "0.1", 0)]
    assert preference_scores(said, KEYS) == pytest.approx(preference_scores(said[::-1], KEYS))


def test_what_was_said_of_candidates_that_are_not_ranked_is_left_out():
    assert preference_scores([preferred("0.0", "9.9"), thumb("9.9", 1)], KEYS) == {"0.0": 0.0}


@pytest.mark.parametrize(("weight", "first"), [(0.0, "0.1"), (0.01, "0.1"), (1.0, "0.0")])
def test_judgements_choose_parents_by_the_weight_that_the_job_gives_them(weight, first):
    measured = an_iteration(trained(0, 0.5, 0.5), trained(1, 0.6, 0.6), feedback=True)
    said = (preferred("0.0", "0.1"),)
    history = a_history(measured, spec=a_spec(human_weight=weight), remarks=said)
    assert by_lower_bound(history)[0].key == first
    assert by_lower_bound(replace(history, remarks=()))[0].key == "0.1"
