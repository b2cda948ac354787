"""What a method is: pure functions and defaults under one name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from core.records.asking import Brief, Prompt
from core.records.history import History
from core.records.kinds import Operator
from core.records.rounds import Candidate, Feedback


@dataclass(frozen=True, slots=True)
class Method:
    """How prompts, feedback, breeding and selection are done.

    The same facts always give the same answer: none of the functions has a clock, chance or memory.

    Attributes:
        name:     under which a job asks for it.
        summary:  one sentence for people.
        source:   where the idea comes from.
        briefs:   history -> what is asked in the open iteration, one brief per slot.  What the open
            iteration itself holds already plays no part, so that a resumed step asks the same.
        render:   brief -> the messages for a language model.
        digest:   history and iteration number -> what was learnt in it, in words and as data.
        select:   history -> the scored candidates, best parent first.
        defaults: what makes a job this method's own where the request says nothing: fields of
            `JobSpec`, those of `training`, `evaluation` and `context` as mappings.
        temperatures: of a model's sampling by operator, where neither the job nor an arm of it names
            one; operators that are left out get the endpoint's own.
        analyse:  history and iteration number -> a question about the iteration whose answer is words
            and no program; None where nothing was measured.  None where the method has no such turn.
    """

    name: str
    summary: str
    source: str
    briefs: Callable[[History], tuple[Brief, ...]]
    render: Callable[[Brief], Prompt]
    digest: Callable[[History, int], Feedback]
    select: Callable[[History], list[Candidate]]
    defaults: Mapping[str, object] = field(default_factory=dict)
    temperatures: Mapping[Operator, float] = field(default_factory=dict)
    analyse: Callable[[History, int], Brief | None] | None = None
