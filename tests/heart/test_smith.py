"""What the method `smith` asks in which slot, and what it shows there."""

import re
from dataclasses import replace

import pytest

from core.methods import METHODS
from core.methods.breeding import elites
from core.program import with_params
from core.records.programs import ProgramShape
from tests.prompt_situations import (
    PLAIN,
    SPEC,
    a_job,
    broken,
    closed_iteration,
    one_iteration,
    rejected,
    runs_of,
    some_iteration,
    text_of,
    trained,
    with_slots,
)

SMITH, EUREKA = METHODS["smith"], METHODS["eureka"]


def operators(history):
    return [brief.operator for brief in SMITH.briefs(history)]


def test_smith_begins_with_seeds_that_lean_in_different_directions():
    briefs = SMITH.briefs(a_job())
    assert {brief.operator for brief in briefs} == {"seed"}
    assert len({text_of(SMITH.render(brief)) for brief in briefs}) == len(briefs)


def answer_lines(history):
    texts = [(b.operator, text_of(SMITH.render(b))) for b in SMITH.briefs(history)]
    return [(operator, *re.findall(r"^This is answer .*$", text, re.M)) for operator, text in texts]


def test_smith_numbers_the_answers_to_one_question_and_wants_only_free_ones_to_differ():
    free = "each is written without sight of the others. The higher its number, the further let it"
    seeds = answer_lines(a_job(spec=replace(SPEC, candidates=9)))
    assert [len(found) - 1 for found in seeds] == [1, 1, 1, 0, 0, 0, 1, 1, 1]  # six leanings
    assert seeds[0][1].startswith(f"This is answer 1 of 2; {free}")
    assert seeds[6][1].startswith(f"This is answer 2 of 2; {free}")
    later = answer_lines(with_slots(some_iteration(SMITH), 9))
    told = "each is written without sight of the others."
    assert [line for line in later if line[0] not in ("parameters",)] == [
        ("refine",),
        ("refine",),
        ("cross", f"This is answer 1 of 2; {told}"),
        ("cross", f"This is answer 2 of 2; {told}"),
        ("features",),
        ("different",),
    ]


@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        (1, ["refine"]),
        (2, ["refine"] * 2),
        (3, ["refine"] * 3),
        (4, ["refine"] * 2 + ["cross", "parameters"]),
        (6, ["refine"] * 2 + ["cross", "features"] + ["parameters"] * 2),
        (9, ["refine"] * 2 + ["cross"] * 2 + ["features", "different"] + ["parameters"] * 3),
    ],
)
def test_smith_shares_out_the_work_of_a_later_iteration(slots, expected):
    history = one_iteration(SMITH, trained(0, 0, 0.5), trained(0, 1, 0.4))
    assert operators(with_slots(history, slots)) == expected


@pytest.mark.parametrize(
    ("slots", "turns"),
    [(3, ["refine", "different", "refine"]), (4, ["cross", "different", "features"])],
)
def test_small_iterations_take_turns(slots, turns):
    done = [closed_iteration(SMITH, 0, trained(0, 0, 0.5), trained(0, 1, 0.4))]
    seen = []
    for number in (1, 2, 3):
        seen.append(operators(with_slots(a_job(*done), slots))[2])
        done.append(
            closed_iteration(SMITH, number, trained(number, 0, 0.5 + number / 10), before=done)
        )
    assert seen == turns


def test_the_best_is_crossed_with_an_elite_that_is_built_otherwise():
    best = trained(0, 0, 0.5)
    alike = replace(trained(0, 1, 0.45), shape=best.shape)
    unlike = replace(trained(0, 2, 0.4), shape=ProgramShape(("glide",), (), 0.1))
    history = with_slots(one_iteration(SMITH, best, alike, unlike), 9)
    crossed = [b for b in SMITH.briefs(history) if b.operator == "cross"]
    assert [[p.key for p in b.parents] for b in crossed] == [["0.0", "0.2"], ["0.0", "0.1"]]


def test_no_more_than_three_elites_come_from_one_seed():
    seeds = closed_iteration(SMITH, 0, trained(0, 0, 0.9), trained(0, 1, 0.1))
    children = [trained(1, n, 0.8 - n / 100, parents=("0.0",)) for n in range(4)]
    history = a_job(seeds, closed_iteration(SMITH, 1, *children, before=[seeds]))
    assert [c.key for c in elites(history)] == ["0.0", "1.0", "1.1", "0.1"]


def test_where_only_the_reward_is_designed_nobody_is_asked_for_features():
    history = one_iteration(SMITH, trained(0, 0, 0.5), trained(0, 1, 0.4))
    spec = replace(SPEC, candidates=9, design="reward")
    assert operators(replace(history, spec=spec)).count("different") == 2
    assert "features" not in operators(replace(history, spec=spec))


def test_without_numbers_there_is_nothing_to_tune():
    history = one_iteration(SMITH, trained(0, 0, 0.5, PLAIN))
    assert operators(history) == ["refine"] * 4


def test_nothing_scored_means_seeds_again_with_the_reasons():
    history = one_iteration(SMITH, rejected(0, 0), broken(0, 1))
    assert operators(history) == ["seed"] * 4
    assert "shape (7, 3)" in text_of(SMITH.render(SMITH.briefs(history)[0]))


def test_nobody_better_than_chance_means_other_ideas():
    history = one_iteration(SMITH, trained(0, 0, 0.05), trained(0, 1, 0.01))
    assert operators(history) == ["refine", "cross", "different", "different"]
    assert operators(with_slots(history, 1)) == ["different"]
    nine = operators(with_slots(history, 9))
    assert nine == ["refine", "cross", "cross", *["features"] * 2, *["different"] * 4]


def test_a_plateau_means_one_more_other_idea():
    done = [closed_iteration(SMITH, 0, trained(0, 0, 0.5))]
    for number in (1, 2):
        done.append(closed_iteration(SMITH, number, trained(number, 0, 0.5), before=done))
    spec = replace(SPEC, candidates=6)
    assert operators(a_job(*done, spec=spec)) == [
        "refine",
        "cross",
        "features",
        "different",
        *["parameters"] * 2,
    ]


def test_smith_prefers_the_reliable_parent_to_the_lucky_one():
    lucky = trained(0, 0, 0.6)
    spread = [1.0, 0.2]
    runs = tuple(
        replace(run, fitness=spread[run.seed]) if run.rung == 1 else run for run in lucky.runs
    )
    history = one_iteration(SMITH, replace(lucky, runs=runs), trained(0, 1, 0.55))
    assert SMITH.select(history)[0].key == "0.1"
    assert EUREKA.select(history)[0].key == "0.0"


def test_a_different_design_is_shown_the_best_to_stay_away_from_and_why_it_stops():
    history = with_slots(some_iteration(SMITH), 9)
    brief = next(b for b in SMITH.briefs(history) if b.operator == "different")
    text = SMITH.render(brief).messages[1][1]
    assert "Idea 0.0: pull towards the mark" in text
    assert "expected shape (7,)" in text
    away = text[text.index("# The best so far, to stay away from: candidate 0.0") :]
    assert away.count("def reward") == text.count("def reward") == 1
    assert "np.exp(-np.square(error))" in away
    assert "- STILL_RISING: the fitness was still rising when the budget ended (0.44, then" in away
    assert "- ANTI_CORRELATED: episodes with more `calm` have less fitness" in away


def test_where_nothing_was_scored_there_is_nothing_to_stay_away_from():
    history = one_iteration(SMITH, rejected(0, 0))
    brief = replace(SMITH.briefs(history)[0], operator="different")
    assert "stay away from" not in text_of(SMITH.render(brief))


def test_a_tuned_design_stands_among_the_ideas_only_where_it_is_the_best():
    tuned = trained(0, 1, 0.5, operator="parameters", parents=("0.0",))
    for fitness, listed in ((0.4, ["0.1", "0.0"]), (0.6, ["0.0"])):
        history = with_slots(one_iteration(SMITH, trained(0, 0, fitness), tuned), 9)
        brief = next(b for b in SMITH.briefs(history) if b.operator == "different")
        lines = text_of(SMITH.render(brief)).splitlines()
        assert [x[:3] for x in lines if re.match(r"\d\.\d \(fitness", x)] == listed


def test_ideas_are_listed_by_the_rule_that_is_told_with_the_stopped_behind():
    early = replace(trained(0, 2, 0.9), runs=runs_of("0.2", 0.9, rung=0))
    history = with_slots(one_iteration(SMITH, trained(0, 0, 0.3), trained(0, 1, 0.5), early), 9)
    brief = next(b for b in SMITH.briefs(history) if b.operator == "different")
    text = SMITH.render(brief).messages[1][1]
    ideas = text[text.index("# What was tried in the whole job") :]
    assert "by mean fitness less its standard error" in ideas
    listed = [line.split(" ")[0] for line in ideas.splitlines() if re.match(r"\d\.\d \(", line)]
    assert listed == ["0.1", "0.0", "0.2"]
    assert (
        "0.9 (seeds 0.92, 0.88), stopped after 30,000 of 100,000 steps, where 0.1 had 0.25" in ideas
    )


def test_the_numbers_in_force_are_the_ones_that_are_shown():
    best = trained(0, 0, 0.5)
    tuned = replace(best, program=with_params(best.program, {"hold": 3.5, "calm": 0.01}))
    brief = SMITH.briefs(one_iteration(SMITH, tuned))[0]
    assert 'PARAMS = {"hold": 3.5, "calm": 0.01}' in text_of(SMITH.render(brief))
