"""Whether the user's own learner is there, found out before a job spends anything."""

from __future__ import annotations

from core.errors import InvalidInput
from core.learners import SCRIPT, WHERE, Learner, why_not_installed
from core.ports import Progress, Watch
from core.sandbox import GIB, ChildFailed, Limits, Sandbox
from core.training.attending import next_frame
from core.training.blame import clean

ENTRY = "core.training.script_learner:look"
LIMITS = Limits(wall_seconds=60.0, cpu_seconds=60, memory_bytes=2 * GIB)


def find_learner(sandbox: Sandbox, learner: Learner, watch: Watch) -> None:
    """See that a class is installed, and that a user's function can be imported in the jail.

    Raises:
        InvalidInput: it is not there; says what to do.
    """
    if (missing := why_not_installed(learner)) is not None:
        raise InvalidInput(missing, where=WHERE)
    if learner.library != SCRIPT:
        return
    with sandbox.spawn(ENTRY, LIMITS) as child:
        try:
            child.send({"function": learner.algorithm})
            said = str(next_frame(child, watch, Progress("preflight", 0, 1)).header["missing"])
        except ChildFailed as error:
            said = f"{error.found} {'' if error.exit is None else error.exit.stderr_tail}".strip()
    if said:
        raise InvalidInput(
            clean(said, 2000),
            expected=f"that {learner.algorithm} can be imported in the sandbox",
            where=WHERE,
            hint="Put the module's folder into the setting environment_paths of the worker.",
        )
