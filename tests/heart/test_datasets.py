"""What a job teaches a designer: only honest comparisons, only of answers to the same question."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from core.datasets import rewards, rows_of, split_of
from core.records.asking import Exchange, Prompt, Reply
from core.records.programs import Check
from core.words import answer_number
from tests.builders import a_history, a_run, an_iteration, rejected, trained

QUESTION = Prompt((("system", "You design rewards."), ("user", "Park the point.")))
ANOTHER = Prompt((("system", "You design rewards."), ("user", "Park the point, calmly.")))


def exchange(slot, text, prompt=QUESTION, attempt=0, **changes):
    made = Exchange(0, slot, attempt, prompt, Reply(text, model="m"), "openai")
    return replace(made, **changes)


def rows(form, exchanges, *candidates, **changes):
    history = a_history(an_iteration(*candidates, feedback=True), **changes)
    return list(rows_of("job_x", history, exchanges, form))


def said(text):
    return [{"role": "assistant", "content": text}]


ASKED = [{"role": "system", "content": "You design rewards."}]
ASKED += [{"role": "user", "content": "Park the point."}]
FOUR = [exchange(n, text) for n, text in enumerate(("good", "bad", "near good", "broken"))]
MEASURED = (trained(0, 0.8, 0.9), trained(1, 0.1, 0.3), trained(2, 0.7, 0.85), rejected(3))


def test_supervised_rows_hold_the_best_answer_to_each_question():
    (row,) = rows("sft", FOUR, *MEASURED)
    assert (row["prompt"], row["completion"]) == (ASKED, said("good"))
    assert (row["fitness"], row["native"]) == (pytest.approx(0.85), pytest.approx(0.2))
    assert (row["job"], row["task"], row["iteration"]) == ("job_x", "point-park", 0)


def test_an_answer_that_did_not_beat_the_native_reward_is_no_model():
    assert rows("sft", FOUR[:1], trained(0, 0.1, 0.3)) == []
    assert rows("sft", FOUR[:1], trained(0, 0.9, 0.9), native=()) == []


def test_pairs_exist_only_where_intervals_do_not_touch_and_invalid_always_loses():
    pairs = {
        (row["chosen"][0]["content"], row["rejected"][0]["content"])
        for row in rows("dpo", FOUR, *MEASURED)
    }
    assert pairs == {
        ("good", "bad"),
        ("near good", "bad"),
        ("good", "broken"),
        ("near good", "broken"),
        ("bad", "broken"),
    }


def test_a_single_run_has_no_interval_and_makes_no_pair():
    assert rows("dpo", FOUR[:2], trained(0, 0.9), trained(1, 0.1)) == []


def test_answers_are_compared_at_the_rung_that_both_reached():
    far = trained(0, 0.2, 0.2)
    far = replace(far, runs=(*far.runs, *(a_run("0.0", 0.9, seed=s, rung=1) for s in (0, 1))))
    (pair,) = rows("dpo", FOUR[:2], far, trained(1, 0.5, 0.5))
    assert pair["chosen"] == said("bad")  # at the first rung it was the better one


def test_answers_to_different_questions_are_never_compared():
    asked = [exchange(0, "good"), exchange(1, "bad", ANOTHER)]
    both = (trained(0, 0.9, 0.9), trained(1, 0.1, 0.1))
    assert rows("dpo", asked, *both) == []
    assert rows("grpo", asked, *both) == []
    assert len(rows("sft", asked, trained(0, 0.9, 0.9), trained(1, 0.8, 0.8))) == 2


def test_the_number_of_an_answer_is_no_part_of_the_question():
    def numbered(slot):
        told = f"Park the point.\n\n{answer_number(slot + 1, 4)} others are written apart.\n\nNow."
        return Prompt((("system", "You design rewards."), ("user", told)))

    (row,) = rows("grpo", [replace(e, prompt=numbered(e.slot)) for e in FOUR], *MEASURED)
    assert len(row["completions"]) == 4
    assert row["prompt"][-1]["content"] == "Park the point.\n\nNow."


def test_an_attempt_that_had_to_be_repaired_loses_against_its_repair():
    repair = Prompt((*QUESTION.messages, ("assistant", "broken"), ("user", "line 3: no code")))
    asked = [exchange(0, "broken"), exchange(0, "mended", repair, attempt=1)]
    (pair,) = rows("dpo", asked, trained(0, 0.1, 0.1))
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == (
        ASKED,
        said("mended"),
        said("broken"),
    )


def test_a_group_has_a_reward_for_every_answer():
    (row,) = rows("grpo", FOUR, *MEASURED)
    assert row["completions"] == [said(e.reply.text) for e in FOUR]
    # The random policy reaches 0.1 and the native reward 0.2: that is the unit.
    assert row["rewards"] == pytest.approx([7.5, 1.0, 6.75, -1.0])
    assert row["fitness"][3] is None


@pytest.mark.parametrize(
    "open_end",
    [
        pytest.param(trained(1), id="not trained yet"),
        pytest.param(replace(trained(1), status="screened"), id="kept from training"),
        pytest.param(
            replace(rejected(1), checks=(Check("duplicate", False, "known"),)), id="known already"
        ),
    ],
)
def test_what_is_neither_measured_nor_invalid_is_left_out(open_end):
    assert rows("dpo", FOUR[:2], trained(0, 0.9, 0.9), open_end) == []
    assert rows("grpo", FOUR[:2], trained(0, 0.9, 0.9), open_end) == []


def test_empty_replies_and_turns_without_a_program_teach_nothing():
    asked = [exchange(0, "good"), exchange(1, ""), exchange(2, "thoughts", kind="analysis")]
    assert rows("grpo", asked, trained(0, 0.9, 0.9), rejected(1), rejected(2)) == []


def test_the_same_words_twice_are_one_answer():
    asked = [exchange(0, "good"), exchange(1, "good"), exchange(2, "bad")]
    (row,) = rows("grpo", asked, trained(0, 0.9, 0.9), trained(1, 0.9, 0.9), trained(2, 0.1, 0.1))
    assert [c[0]["content"] for c in row["completions"]] == ["good", "bad"]


def test_an_invalid_answer_gets_less_than_every_other_however_bad_that_was():
    assert rewards([None, -0.4], a_history()) == pytest.approx([-6.0, -5.0])


def test_a_task_is_on_one_side_everywhere_and_every_side_has_tasks():
    names = [f"task-{n}" for n in range(500)]
    sides = [split_of(name) for name in names]
    assert sides == [split_of(name) for name in names]
    assert 0.7 < sides.count("train") / 500 < 0.9
    assert sides.count("test") > 20 < sides.count("validation")
    assert split_of("cartpole-park") == "train"


@pytest.mark.parametrize("form", ["sft", "dpo", "grpo"])
def test_every_row_is_json_and_names_its_side(form):
    for row in rows(form, FOUR, *MEASURED):
        assert json.loads(json.dumps(row, allow_nan=False))["split"] == split_of("point-park")
