"""The fixed arms: native reward, fitness alone, and an expert's hand-written program per task."""

from __future__ import annotations

import ast
from importlib.resources import files

from core.ports import Arm
from core.program import read_program
from core.records.kinds import FITNESS, NATIVE
from core.records.spec import JobSpec
from core.records.task import Task

EXPERT = "expert"
DESIGNED = "designed"
FIXED = (NATIVE, FITNESS, EXPERT)


def expert_source(task: str) -> str | None:
    """Return the text of a task's expert program; None where nobody has written one."""
    path = files("bench.design") / "experts" / f"{task.replace('-', '_')}.py"
    return path.read_text(encoding="utf-8") if path.is_file() else None


def arm_of(name: str, spec: JobSpec) -> Arm:
    """Return what a fixed arm trains on.

    Raises:
        FileNotFoundError: there is no expert program for the task.
        ProgramRejected: the expert program breaks the rules.
    """
    if name != EXPERT:
        return Arm(name)
    source = expert_source(spec.task.name)
    if source is None:
        raise FileNotFoundError(f"no expert program for {spec.task.name} in bench/design/experts")
    return Arm(EXPERT, read_program(source, spec.task.fields, spec.mode, spec.task.array))


def fitness_is_native(task: Task) -> bool:
    """Tell whether training on the fitness alone is training on the native reward."""
    return task.fitness.kind == "return"


def expert_notes(task: str) -> str | None:
    """Return what the author of an expert program says of it: how derived, how long tuned."""
    source = expert_source(task)
    docstring = ast.get_docstring(ast.parse(source)) if source is not None else None
    return docstring.partition("\n")[2].strip() if docstring else None
