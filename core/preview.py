"""What a model would be shown first: the very prompt, held to the leak audit, before a job is started.

Ranges that the preflight measures and the environment's own source are not known yet, so a job's first
prompt may say more of the environment, never more of the metric.
"""

from __future__ import annotations

from core.desk import written_by_people
from core.leaks import Leak, audit_prompt
from core.methods import find_method
from core.records.asking import Prompt
from core.records.history import History
from core.records.spec import JobSpec


def first_prompt(spec: JobSpec) -> tuple[Prompt, tuple[Leak, ...]]:
    """Return the prompt of a job's first question, and what it would show and must not.

    Leaks are found here as they are before a prompt is sent, where each of them would keep it back.
    """
    method, task = find_method(spec.method), spec.task
    brief = next(b for b in method.briefs(History(spec)) if b.operator != "given")
    prompt = method.render(brief)
    told = (task.description, task.actions)
    return prompt, audit_prompt(prompt, task.fields, written=written_by_people(brief), told=told)
