"""Prompts are the product: each of them is pinned, letter by letter, in tests/golden.

`make golden` (REWARDSMITH_GOLDEN=write) writes the files again; a change then shows as a diff.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from core.methods import METHODS
from core.records import Repair
from tests.prompt_situations import REPLY, a_job, some_iteration

GOLDEN = Path(__file__).parent.parent / "golden"
SMITH, EUREKA = METHODS["smith"], METHODS["eureka"]
MESSAGE = (
    "reward, entry 'hold' (line 9): expected shape (7,), one number per row, but found shape (7, 3). "
    "Fields are [B] or [B, n]: reduce over the last axis with .sum(-1), never over rows."
)


def brief(method, history, operator):
    return next(b for b in method.briefs(history) if b.operator == operator)


def smith(operator):
    return brief(SMITH, some_iteration(SMITH), operator)


PROMPTS = {
    "eureka_first": lambda: EUREKA.render(brief(EUREKA, a_job(), "seed")),
    "eureka_refine": lambda: EUREKA.render(brief(EUREKA, some_iteration(EUREKA), "refine")),
    "smith_seed": lambda: SMITH.render(brief(SMITH, a_job(), "seed")),
    "smith_refine": lambda: SMITH.render(smith("refine")),
    "smith_different": lambda: SMITH.render(smith("different")),
    "smith_repair": lambda: SMITH.render(
        replace(brief(SMITH, a_job(), "seed"), repair=Repair(REPLY, MESSAGE))
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
