"""What designers predict: how it is read, and how it is held against what was measured."""

import math
from dataclasses import replace

import pytest

from core.methods import METHODS
from core.predictions import claims_data, read_prediction, record_words, score, tally
from core.records.measured import Report, TermStatistics
from tests.prompt_situations import (
    a_job,
    broken,
    closed_iteration,
    one_iteration,
    rejected,
    runs_of,
    trained,
)

SMITH = METHODS["smith"]
INF = math.inf


def predicted(text, fitness=0.5, **facts):
    return replace(trained(1, 0, fitness), prediction=text, **facts)


def scored(text, fitness=0.5, **facts):
    """The claims of a candidate of a second iteration; the first one's best had 0.4, native 0.4."""
    first = closed_iteration(SMITH, 0, trained(0, 0, 0.4))
    return score(a_job(first), predicted(text, fitness, **facts))


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("fitness 0.7", 0.7, 0.7),
        ("The fitness will be about 0.7, I think", 0.7, 0.7),
        ("fitness 0.6 to 0.8; component hold rises", 0.6, 0.8),
        ("fitness 0.5-0.7", 0.5, 0.7),
        ("fitness -200 to -150", -200.0, -150.0),
        ("fitness: -200–-150", -200.0, -150.0),
        ("fitness −200 to −150", -200.0, -150.0),
        ("fitness at least −150", -150.0, INF),
        ("fitness improves to 0.8 by step 90000", 0.8, 0.8),
        ("fitness > 0.5", 0.5, INF),
        ("fitness of at least 4,500", 4500.0, INF),
        ("fitness below 0.2", -INF, 0.2),
        ("**Fitness** 80 %", 0.8, 0.8),
        ("fitness 60 to 80 %", 0.6, 0.8),
        ("fitness 60% to 80%", 0.6, 0.8),
        ("fitness -5 to 10 %", -0.05, 0.1),
        ("fitness 1e2", 100.0, 100.0),
        ("fitness about 0.84, with the cart in the band after 70 to 90 steps", 0.84, 0.84),
        ("the mean fitness stays at about 1.0 (above 0.97)", 1.0, 1.0),
    ],
)
def test_a_fitness_is_read_as_a_number_or_a_range(text, low, high):
    (claim,) = (c for c in read_prediction(text) if c.kind == "fitness")
    assert (claim.low, claim.high, claim.above) == (low, high, 0)


@pytest.mark.parametrize(
    ("text", "above", "than"),
    [
        ("fitness better than best", 1, "best"),
        ("fitness better than the native reward", 1, "native"),
        ("fitness worse than best", -1, "best"),
        ("fitness better", 1, "best"),
    ],
)
def test_a_comparison_is_read(text, above, than):
    (claim,) = read_prediction(text)
    assert (claim.above, claim.than) == (above, than)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("the share reaches 0.6", id="another quantity"),
        pytest.param("it works", id="no claim"),
        pytest.param(f"fitness {'9' * 400}", id="a number beyond all floats"),
        pytest.param("component hold will tell", id="a term of which nothing is said"),
        pytest.param("fitness no worse than the best", id="a comparison that is denied"),
        pytest.param("fitness will not be above native", id="another one"),
        pytest.param("fitness is not above 0.5", id="a bound that is denied"),
        pytest.param("fitness improves by 0.1", id="a change"),
        pytest.param("fitness rises by about 0.1 to 0.2", id="a range of changes"),
        pytest.param("fitness within 0.05 of the best", id="a distance"),
        pytest.param("fitness won\u2019t be above 0.8", id="a bound that is denied in type"),
        pytest.param("fitness improves by at least 0.1", id="a bound of a change"),
        pytest.param("fitness is up by ~0.1", id="a rough change"),
    ],
)
def test_words_that_claim_nothing_are_no_claim(text):
    assert read_prediction(text) == ()


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("fitness within 0.6 to 0.8", 0.6, 0.8),
        ("fitness with no loss above 0.8", 0.8, math.inf),
    ],
)
def test_words_that_only_look_like_a_denial_or_a_distance_deny_nothing(text, low, high):
    (claim,) = read_prediction(text)
    assert (claim.low, claim.high) == (low, high)


def test_a_named_term_is_read_once():
    claims = read_prediction("component `hold` rises; feature gap is used; component hold falls")
    assert [(c.kind, c.name, c.move) for c in claims] == [
        ("component", "hold", "rises"),
        ("feature", "gap", "used"),
    ]


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ("fitness 0.5", True),
        ("fitness 0.56", True),  # within 15 % of the distance to chance, and the error of the seeds
        ("fitness 0.7", False),
        ("fitness 0.45 to 0.55", True),
        ("fitness 0.51 to 0.6", True),  # within the error of the seeds, 0.02
        ("fitness 0.53 to 0.6", False),
        ("fitness > 0.45", True),
        ("fitness better than best", True),
        ("fitness better than native", True),
        ("fitness worse than best", False),
        ("component hold rises", True),
        ("component hold falls", False),
        ("component calm falls", False),
        ("feature gap used", True),
    ],
)
def test_a_claim_is_decided_by_what_was_measured(text, hit):
    assert [claim.hit for claim in scored(text)] == [hit]


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        pytest.param("fitness 0.5", {"runs": ()}, id="never trained"),
        pytest.param("component other rises", {}, id="no such component"),
        pytest.param("feature gap used", {"report": None}, id="no report"),
        pytest.param(
            "component hold rises",
            {"report": Report({"hold": TermStatistics(0.1, 0.1, 0.0, 1.0)})},
            id="no curve",
        ),
    ],
)
def test_what_was_not_measured_stays_open(text, facts):
    (claim,) = scored(text, **facts)
    assert claim.hit is None
    assert claim.words.endswith("not measured")


def test_of_who_was_stopped_early_no_number_is_judged_and_the_best_at_equal_steps():
    early = {"runs": runs_of("1.0", 0.3, rung=0)}
    (number,) = scored("fitness 0.6 to 0.7", **early)
    assert number.hit is None
    assert number.words.endswith("not judged: stopped after 30,000 of 100,000 steps")
    (better,) = scored("fitness better than best", **early)  # the best had 0.2 there
    assert better.hit is True
    assert "better than the best (0.2 after 30,000 of 100,000 steps), measured 0.3" in better.words
    (native,) = scored("fitness better than native", **early)
    assert native.hit is None


@pytest.mark.parametrize("move", ["rises", "falls"])
@pytest.mark.parametrize(
    ("course", "flat"),
    [((0.355, 0.356), True), ((0.855, 0.836), True), ((0.577, 0.741), False), ((0.9, 0.7), False)],
)
def test_a_component_that_hardly_moved_is_neither_hit_nor_missed(course, flat, move):
    report = Report({"hold": TermStatistics(0.5, 0.4, 0.0, 1.0, by_checkpoint=course)})
    (claim,) = scored(f"component hold {move}", report=report)
    assert (claim.hit is None) is flat
    assert claim.decided
    assert claim.words.endswith("flat, not counted") is flat


def test_a_range_that_is_met_within_the_error_says_so():
    (claim,) = scored("fitness 0.51 to 0.6")
    assert claim.words.endswith("measured 0.5 within the error of the seeds: hit")


def test_a_feature_says_from_which_share_on_it_counts_as_used():
    (claim,) = scored("feature gap used")
    assert claim.words.endswith("measured 20 % (used is from 1 % on): hit")


def test_the_words_set_both_side_by_side():
    claims = scored("fitness 0.7; component hold rises", 0.41)
    assert [c.words for c in claims] == [
        "predicted fitness 0.7, measured 0.41: missed",
        "predicted component `hold` rises, measured 0.1 at first and 0.7 at last: hit",
    ]


def test_before_anything_was_scored_the_native_reward_stands_for_the_best():
    candidate = replace(trained(0, 0, 0.5), prediction="fitness better than best")
    (claim,) = score(a_job(), candidate)
    assert claim.words == "predicted fitness better than native (0.4), measured 0.5: hit"


def test_the_record_counts_every_decided_claim_and_tells_a_leaning():
    history = one_iteration(
        SMITH,
        *(replace(trained(0, n, 0.3), prediction="fitness 0.9") for n in range(3)),
        replace(trained(0, 3, 0.3), prediction="fitness 0.3; component hold rises"),
        rejected(0, 4),
        broken(0, 5),
    )
    assert tally(history) == (2, 5)
    assert record_words(history) == (
        "Predictions so far: fitness 1 of 4 hit, components and features 1 of 1 hit. Of the missed "
        "fitness values 3 were too high."
    )


def test_nothing_decided_means_no_record():
    assert record_words(one_iteration(SMITH, rejected(0, 0))) == ""


def test_the_data_are_numbers_that_json_knows():
    data = claims_data(scored("fitness > 0.45; feature gap used"))
    assert [(d["low"], d["high"], d["hit"]) for d in data] == [
        (0.45, None, True),
        (None, None, True),
    ]


def test_one_unlucky_seed_widens_what_a_number_may_miss():
    runs = tuple(
        replace(run, fitness=1.0 if run.seed else 0.2) if run.rung == 1 else run
        for run in runs_of("1.0", 0.5)
    )
    (claim,) = scored("fitness 0.85", runs=runs)
    assert claim.hit
