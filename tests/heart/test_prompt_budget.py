"""A prompt fits into the tokens that a job allows: parts give way in a declared order."""

from dataclasses import replace

import pytest

from core.methods import METHODS
from core.methods.contract import system_text
from core.methods.fitting import MOST_TOKENS, Part, Rank, Turn, fit, tokens_of
from core.program import read_program
from core.records.asking import Example
from core.records.people import Remark
from core.records.rounds import Iteration
from core.records.spec import Context
from core.records.task import Field
from tests.prompt_situations import (
    FIELDS,
    GOOD,
    PREFLIGHT,
    TASK,
    a_job,
    closed_iteration,
    rejected,
    spec_of,
    text_of,
    trained,
)


def a_long_job(method, tokens):
    """Three full iterations of a talkative designer, with everything that a prompt may show."""
    context = Context(source=True, examples=2, safety=True, prompt_tokens=tokens)
    task = replace(TASK, description=f"{TASK.description} {'Wind comes and goes. ' * 400}")
    spec = spec_of(method, context=context, task=task)
    preflight = replace(PREFLIGHT, source=SOURCE)
    done = []
    for number in range(3):
        candidates = [
            replace(
                trained(number, slot, 0.4 + slot / 20, GOOD.replace("error", f"error_{slot}")),
                analysis=f"Idea {number}.{slot}. " + "It leads the sled to the mark. " * 60,
            )
            for slot in range(spec.candidates)
        ]
        closed = closed_iteration(
            method,
            number,
            *candidates,
            rejected(number, 60, "line 3: " + "wrong. " * 200),
            before=done,
            spec=spec,
            analysis="`hold` helps. " * 400,
        )
        done.append(closed)
    remarks = tuple(
        Remark(n, "text", "2.0", text="Calmer, please. " * 30, iteration=2) for n in range(20)
    )
    return a_job(*done, spec=spec, preflight=preflight, remarks=remarks)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_no_prompt_grows_beyond_all_windows_where_a_job_says_nothing(method):
    """Methods that tell all that was tried tell more with each candidate."""
    spec, done = spec_of(method, candidates=110), list[Iteration]()
    one = trained(0, 0, 0.5, GOOD + "# the mark is ahead of the sled\n" * 40)
    for number in range(2):
        candidates = [replace(one, iteration=number, number=slot) for slot in range(110)]
        done.append(closed_iteration(method, number, *candidates, before=done, spec=spec))
    (brief, *_) = method.briefs(a_job(*done, spec=spec))
    assert tokens_of(method.render(brief)) <= MOST_TOKENS


SOURCE = """class Sled:
    def _get_obs(self):
        rail = self.rail
{steps}        return rail

    def step(self, action):
        return self._get_obs(), 0.0, False, False, {{}}
""".format(steps="        rail = rail + self.wind\n" * 200)
EXAMPLES = tuple(
    Example(f"job_{n}", f"kite-{n}", "Hold a kite. " * 50, GOOD * 10, "better, n = 5")
    for n in range(2)
)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("tokens", [4_000, 6_000])
def test_every_second_prompt_fits_a_small_window(method, tokens):
    history = a_long_job(method, tokens)
    for brief in method.briefs(history):
        prompt = method.render(replace(brief, examples=EXAMPLES))
        assert tokens_of(prompt) <= tokens
        assert sum(len(text) for _, text in prompt.messages) / 4 <= tokens
        assert prompt.messages[0][1] == system_text(design=brief.design, short=True)
        for parent in brief.parents:
            assert parent.program.source.strip() in text_of(prompt)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_without_a_limit_everything_is_told(method):
    history = a_long_job(method, None)
    brief = replace(method.briefs(history)[0], examples=EXAMPLES)
    text = text_of(method.render(brief))
    assert tokens_of(method.render(brief)) > 6_000
    assert "def _get_obs" in text
    assert "Hold a kite." in text
    assert text.startswith(system_text(design=brief.design))


def test_the_highest_rank_gives_way_first_and_at_its_end():
    kept = "k" * 100
    measured = Part("m\n" * 300, Rank.MEASURED, quote="m", least=100)
    advice = Part("a" * 400, Rank.ADVICE)
    turns = [Turn("user", (kept, measured, advice))]
    whole = tokens_of(fit(turns, None))
    text = fit(turns, whole - 20).messages[0][1]
    assert "aaa" not in text
    assert "(the rest was cut)" not in text
    text = fit(turns, whole - 200).messages[0][1]
    assert "(the rest was cut)" in text
    assert text.startswith(kept)
    assert fit(turns, 10).messages == (("user", kept),)


def test_parts_of_one_order_go_together_and_the_oldest_round_first():
    def round_(order):
        return [
            Turn("assistant", (Part(f"reply {order} " * 20, Rank.EARLIER, order=order),)),
            Turn("user", (Part(f"told {order} " * 20, Rank.EARLIER, order=order),)),
        ]

    turns = [
        Turn("user", ("question",)),
        *round_(2),
        *round_(1),
        Turn("assistant", ("last",)),
        Turn("user", ("now",)),
    ]
    less = fit(turns, tokens_of(fit(turns, None)) - 5)
    assert [role for role, _ in less.messages] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    assert "reply 2" not in text_of(less)
    assert "told 2" not in text_of(less)
    assert "reply 1" in text_of(less)


def test_neighbours_of_one_role_become_one_message():
    turns = [
        Turn("user", ("a",)),
        Turn("assistant", (Part("b" * 400, Rank.EARLIER),)),
        Turn("user", ("c",)),
    ]
    assert fit(turns, 40).messages == (("user", "a\n\nc"),)


def test_a_quotation_that_is_cut_stays_closed():
    part = Part("line\n" * 400, Rank.MEASURED, "# Title", "data", least=50)
    text = fit([Turn("user", (part,))], 200).messages[0][1]
    mark = text.splitlines()[2].rpartition(" ")[2]
    assert text.endswith(f"{mark} DATA>>>")


def test_the_short_contract_is_shorter_and_its_form_passes_the_rules():
    assert len(system_text(short=True)) < 0.65 * len(system_text())
    code = (
        system_text(short=True)
        .split("The form, from another task:")[1]
        .split("```python\n")[1]
        .split("```")[0]
    )
    assert read_program(code, [*FIELDS, Field("level", "obs[0]", "m")], "replace").has_features
