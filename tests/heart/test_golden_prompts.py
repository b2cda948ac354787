"""Prompts are the product: each of them is pinned, letter by letter, in tests/golden.

`make golden` (REWARDSMITH_GOLDEN=write) writes the files again; a change then shows as a diff.
"""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from core.methods import METHODS
from core.records.asking import Repair
from core.records.spec import Context
from core.screens import duplicate_words
from tests.prompt_situations import (
    REMARK,
    REPLY,
    SPEC,
    a_job,
    one_iteration,
    reopened,
    some_iteration,
    spec_of,
    trained_screened,
)

GOLDEN = Path(__file__).parent.parent / "golden"
SMITH = METHODS["smith"]
MESSAGE = (
    "reward, entry 'hold' (line 9): expected shape (7,), one number per row, but found shape (7, 3). "
    "Fields are [B] or [B, n]: reduce over the last axis with .sum(-1), never over rows."
)


def first(name):
    """The first prompt of a method with its own defaults, before anything was tried."""
    method = METHODS[name]
    return method.render(method.briefs(a_job(spec=spec_of(method)))[0])


def second(name):
    """Its second prompt: after an iteration in which everything happened, with a remark."""
    method = METHODS[name]
    history = some_iteration(method, spec_of(method), analysis="`gap` helps; `calm` does nothing.")
    return method.render(method.briefs(replace(history, remarks=(REMARK,)))[0])


def smith(operator, slots=9):
    history = some_iteration(SMITH, replace(SPEC, candidates=slots))
    return SMITH.render(next(b for b in SMITH.briefs(history) if b.operator == operator))


def duplicate():
    history = some_iteration(SMITH, replace(SPEC, screens=("duplicate",)))
    repair = Repair(REPLY, duplicate_words("0.0", 0.9981), duplicate=True)
    return SMITH.render(replace(SMITH.briefs(history)[1], repair=repair))


def screened():
    history = one_iteration(METHODS["card"], trained_screened(0, 0), spec=spec_of(METHODS["card"]))
    return METHODS["card"].render(METHODS["card"].briefs(history)[0])


def analysis():
    lesr = METHODS["lesr"]
    history = some_iteration(lesr, spec_of(lesr))
    return lesr.render(lesr.analyse(reopened(history), 0))


PROMPTS = {
    **{f"{name}_first": partial(first, name) for name in METHODS},
    **{f"{name}_second": partial(second, name) for name in METHODS},
    "card_screened": screened,
    "lesr_analysis": analysis,
    "smith_cross": lambda: smith("cross"),
    "smith_features": lambda: smith("features"),
    "smith_different": lambda: smith("different"),
    "smith_repair": lambda: SMITH.render(
        replace(SMITH.briefs(a_job())[0], repair=Repair(REPLY, MESSAGE))
    ),
    "smith_duplicate": duplicate,
    "smith_small": lambda: SMITH.render(
        replace(SMITH.briefs(some_iteration(SMITH))[0], context=Context(prompt_tokens=4_000))
    ),
}


def written(prompt):
    return "\n".join(f"===== {role} =====\n\n{text}\n" for role, text in prompt.messages)


@pytest.mark.parametrize("name", PROMPTS)
def test_the_prompt_reads_exactly_so(name):
    path, text = GOLDEN / f"{name}.txt", written(PROMPTS[name]())
    if os.environ.get("REWARDSMITH_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "run `make golden` if the change is meant"
