"""Prompts with hostile text in every place that others write, and what of it stands outside quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from core.methods import METHODS
from core.methods.prompting import repair_text
from core.records.asking import Prompt, Repair
from core.records.measured import Report, TermStatistics
from core.records.people import Remark
from tests.prompt_situations import (
    PREFLIGHT,
    TASK,
    broken,
    closed_iteration,
    rejected,
    spec_of,
    trained,
)
from tests.prompt_situations import a_job as job_of

_QUOTED = re.compile(r"<<<DATA [^\n]* (?P<mark>[0-9a-f]{8})\n.*?\n(?P=mark) DATA>>>", re.DOTALL)


def outside(text: str) -> str:
    """Return what a prompt says in our own words: everything that is not quoted as data."""
    return _QUOTED.sub("", text)


def prompts(task_words: str, code: str, said: str) -> Iterator[tuple[str, Prompt]]:
    """Yield every method's first and second prompt, and its repair, with these texts in them.

    Args:
        task_words: description of the task, meaning and unit of its fields, what actions are.
        code:       a line for a program, a comment for instance.
        said:       what errors, failures, people and reports say.
    """
    fields = tuple(replace(f, meaning=task_words, unit=task_words[:30]) for f in TASK.fields)
    task = replace(TASK, description=task_words, actions=task_words, fields=fields)
    for name, method in METHODS.items():
        spec = replace(spec_of(method), task=task)
        known = replace(PREFLIGHT, fields=fields)
        for brief in method.briefs(job_of(spec=spec, preflight=known)):
            yield f"{name}, first", method.render(brief)
            yield f"{name}, features", method.render(replace(brief, design="features"))
        report = Report(components={}, unexamined=said, episodes={"best": ({"step": 0},)})
        best = trained(0, 0, 0.55, report=replace(_report(), unexamined=said))
        hostile = replace(best.program, source=f"{code}\n{best.program.source}")
        candidates = (
            replace(best, program=hostile, analysis=said, prediction=said),
            replace(trained(0, 1, 0.3, report=report), program=hostile),
            rejected(0, 2, said),
            broken(0, 3, said),
        )
        iteration = closed_iteration(method, 0, *candidates, spec=spec, analysis="")
        remarks = (Remark(0, "text", "0.0", text=said, iteration=0),)
        history = job_of(iteration, spec=spec, preflight=known, remarks=remarks)
        for brief in method.briefs(history):
            yield f"{name}, second", method.render(brief)
            yield f"{name}, features again", method.render(replace(brief, design="features"))
            for duplicate in (False, True):
                text = repair_text(brief, Repair("", said, duplicate=duplicate))
                yield f"{name}, repair", Prompt((("user", text),))


def ours(prompt: Prompt) -> str:
    """Return what the prompt says in our own words; what an assistant said is the designer's."""
    return "\n".join(outside(text) for role, text in prompt.messages if role != "assistant")


def _report() -> Report:
    term = TermStatistics(0.7, 0.2, 0.0, 1.0, 0.9, 0.1, 0.0, 0.8, (0.1, 0.3, 0.6, 0.7))
    return Report(components={"hold": term, "calm": term})
