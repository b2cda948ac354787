"""The second wall of a prompt: what the audit finds, and what it lets pass."""

from dataclasses import replace

import pytest

from core.context import Native, native_reward
from core.errors import ProgramRejected, PromptLeak
from core.leaks import audit_prompt, refuse_leaks
from core.methods import METHODS
from core.program import read_program
from core.records.asking import Prompt
from core.records.task import Field
from core.words import quoted
from tests.heart.test_context import SLED
from tests.prompt_situations import FIELDS, PREFLIGHT, TASK, a_job, some_iteration

NATIVE = native_reward(SLED)
PROGRAM = """import numpy as np


def reward(obs, action, next_obs, params):
    return {"all": 2.0 * forward_weight * speed}
"""


def prompt(text, role="user"):
    return Prompt((("system", "Write a program."), (role, text)))


def found(text, **named):
    return [(leak.kind, leak.found) for leak in audit_prompt(prompt(text), FIELDS, NATIVE, **named)]


def test_a_field_of_the_metric_is_found_as_a_word():
    assert found("Make the judge_mark high.") == [("metric_field", "judge_mark")]
    assert found("`next_obs.judge_mark` is 1.") == [("metric_field", "judge_mark")]
    assert found("Make the judge_marks and misjudge_mark high; judge well.") == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("It pays self._forward_weight * speed.", id="as it stands"),
        pytest.param("It pays (forward_weight*speed).", id="without spaces and self"),
        pytest.param("r = 5 * np.exp(-drift * sharpness)", id="without brackets, np and zeros"),
        pytest.param("(self.position - before) * FPS", id="a part of it"),
        pytest.param("weighted by effort_cost_weight", id="a weight by name"),
    ],
)
def test_the_native_reward_is_found(text):
    assert [kind for kind, _ in found(text)] == ["native_reward"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Pay 2.0 * position - 0.1 * velocity", id="another reward"),
        pytest.param("reward, cost, speed and drift", id="single words"),
        pytest.param("self._forward_weights * speed", id="another name"),
        pytest.param("a False, False", id="constants"),
    ],
)
def test_what_is_not_the_native_reward_passes(text):
    assert found(text) == []


def test_a_program_may_arrive_at_the_native_reward_and_be_quoted():
    text = f"# The best program\n\n{quoted('program 1.0', PROGRAM)}\n\nDo better."
    assert found(text) == []
    assert found(text.replace("DATA program", "DATA source")) != []
    assert audit_prompt(prompt(PROGRAM, "assistant"), FIELDS, NATIVE) == ()


def test_a_quotation_cannot_be_left_by_what_stands_in_it():
    forged = quoted("program 1.0", "x = 1\nffffffff DATA>>>\n") + "\nforward_weight * speed"
    assert found(forged) == [("native_reward", "self._forward_weight * speed")]


def test_a_task_cannot_call_a_part_of_the_prompt_a_program():
    task = replace(TASK, description="x\n<<<DATA program 1.0 f", actions="x\nf DATA>>>")
    (brief, *_) = METHODS["smith"].briefs(a_job())
    told = METHODS["smith"].render(replace(brief, task=task)).messages[-1][1]
    assert found(told.replace("# Fields", "judge_mark")) == [("metric_field", "judge_mark")]


def test_what_the_designer_wrote_may_come_again_in_other_words():
    text = "Its idea: effort_cost against forward_weight * speed, and judge_mark."
    assert len(found(text)) == 3
    assert found(text, written=[PROGRAM, "effort_cost and judge_mark"]) == []


def test_the_user_may_give_the_native_reward_away_but_not_the_metrics_fields():
    text = "Wanted: forward_weight * speed, and judge_mark."
    assert found(text, told=[text]) == [("metric_field", "judge_mark")]


def test_a_field_that_programs_may_read_is_no_leak():
    fields = (Field("effort_cost", "info.effort_cost", visible=("reward",)),)
    assert audit_prompt(prompt("effort_cost"), fields, NATIVE) == ()
    assert audit_prompt(prompt("effort_cost"), (), NATIVE) != ()


def test_a_leak_is_refused_with_where_it_stands():
    with pytest.raises(PromptLeak, match=r"judge_mark.*message 1.*rename"):
        refuse_leaks(audit_prompt(prompt("judge_mark"), FIELDS))
    refuse_leaks(())


def test_a_program_that_names_a_field_of_the_metric_is_refused():
    source = PROGRAM.replace("forward_weight * speed", "next_obs.judge_mark")
    with pytest.raises(ProgramRejected, match="judge_mark"):
        read_program(source, FIELDS, "replace")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("source", ["", SLED], ids=["fields alone", "with the source"])
def test_no_method_leaks(name, source):
    method, preflight = METHODS[name], replace(PREFLIGHT, source=source)
    task = replace(TASK, description="Hold the sled where judge_mark is high.")
    for history in (a_job(), some_iteration(method)):
        for brief in method.briefs(history):
            if brief.operator == "parameters":
                continue
            shown = method.render(replace(brief, preflight=preflight, task=task))
            assert audit_prompt(shown, FIELDS, NATIVE, told=[task.actions]) == ()
            told = "\n".join(text for _, text in shown.messages)
            assert ("parts.append(self.position / WIDE)" in told) == bool(source)


HIDDEN = {
    "its own meaning": lambda said: {"fields": renamed("judge_mark", meaning=said)},
    "another's meaning": lambda said: {"fields": renamed("wind", meaning=said)},
    "a unit": lambda said: {"fields": renamed("wind", unit=said)},
    "the end's meaning": lambda said: {"fields": renamed("terminated", meaning=said)},
    "the actions": lambda said: {"actions": said},
    "the environment": lambda said: {"environment": "sleds:judge_mark-v0"},
}


def renamed(name, **changed):
    return tuple(replace(f, **changed) if f.name == name else f for f in FIELDS)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("place", HIDDEN)
def test_a_task_that_speaks_of_its_metric_anywhere_stops_no_job(name, place):
    task = replace(TASK, **HIDDEN[place]("the judge_mark"))
    preflight = replace(PREFLIGHT, fields=task.fields)
    for brief in METHODS[name].briefs(a_job(preflight=preflight)):
        for design in ("joint", "features"):
            shown = METHODS[name].render(
                replace(brief, preflight=preflight, task=task, design=design)
            )
            assert audit_prompt(shown, task.fields) == ()


def test_nothing_is_known_of_a_source_that_was_not_asked_for():
    assert native_reward("") == Native()
