"""Read generated code: what may stand in a program, and what it declares.

These rules need no execution.  They give good messages; safety is given by the walls of the sandbox.
Everything that is wrong is found in one go, so that one repair can mend it all.
"""

from __future__ import annotations

import ast
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from core.errors import ProgramRejected
from core.program.arrays import broken_array_rules
from core.program.frozen import refuse_changed_reward
from core.program.libraries import LIBRARIES, broken_torch_rules
from core.program.module import Module, default_bounds, read_module, rejected
from core.program.names import broken_name_rules, visible_fields
from core.records.kinds import ArrayLibrary, Design, Mode
from core.records.programs import Program
from core.records.task import Field
from core.syntax import syntax_tree

__all__ = [
    "current_source",
    "default_bounds",
    "read_program",
    "refuse_changed_reward",
    "same_code",
    "visible_fields",
    "with_params",
]

MOST_BYTES = 64 * 1024
MOST_NODES = 2_000
MOST_NESTED = 60
MOST_BITS = 1_024  # Python itself refuses to print the largest integers
MOST_TOLD = 6  # problems in one message


def read_program(
    source: str,
    task_fields: Sequence[Field],
    mode: Mode,
    array: ArrayLibrary = "numpy",
    design: Design = "joint",
) -> Program:
    """Hold a module's source to every rule that needs no execution.

    Args:
        source:      the text of the module.
        task_fields: the fields of the task, those of the metric included (they are refused by name).
        mode:        how the reward is used; it only words the message of an empty module, because a
                     program with features alone trains on the native reward in both modes.
        array:       the library of the task, the only one that may be imported besides `math`.
        design:      what may be designed: the reward, the features, or both.

    Raises:
        ProgramRejected: `rule` names the first rule that is broken; the sentence tells about the
            others as well.
    """
    tree = _parse(source)
    library = LIBRARIES[array]
    module, problems = read_module(tree, library.name, library.constants)
    problems += broken_name_rules(module, task_fields)
    problems += broken_array_rules(module)
    problems = [library.spelled(problem) for problem in problems]
    if array == "torch":
        problems += broken_torch_rules(module, task_fields)
    if not {"reward", "features"} & set(module.functions):
        problems.append(_empty(mode))
    problems += _undesigned(module, design)
    if problems:
        raise _together(problems)
    return Program(
        source=source,
        sha256=hashlib.sha256(source.encode()).hexdigest(),
        has_reward="reward" in module.functions,
        has_features="features" in module.functions,
        params=module.params,
        bounds=module.bounds,
        array=array,
    )


def with_params(program: Program, params: Mapping[str, float]) -> Program:
    """Return the same code with other numbers; the sha256 stays that of the source.

    Raises:
        ProgramRejected: a name that PARAMS does not declare, one missing, or a number not finite.
    """
    if set(params) != set(program.params):
        raise ProgramRejected(
            f"the names {sorted(params)}", rule="params", expected=f"{sorted(program.params)}"
        )
    if bad := [name for name, value in params.items() if not math.isfinite(value)]:
        raise ProgramRejected(
            f"{bad[0]} = {params[bad[0]]}", rule="params", expected="finite numbers"
        )
    return replace(program, params={name: float(params[name]) for name in program.params})


def current_source(program: Program) -> str:
    """Return the source with the numbers in force, which the tuner may have changed, in PARAMS.

    What the author wrote stays as it is when its numbers are the ones in force.  Otherwise they are
    written on as many lines as the author's, so that a comparison shows those that changed.
    """
    for node in syntax_tree(program.source).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id == "PARAMS" and isinstance(value, ast.Dict):
            if ast.literal_eval(value) == dict(program.params):
                return program.source
            several = value.end_lineno != value.lineno
            return _replaced(program.source, value, _listed(program.params, several=several))
    return program.source


def _listed(params: Mapping[str, float], *, several: bool) -> str:
    entries = [f'"{name}": {value!r}' for name, value in params.items()]
    if not several:
        return f"{{{', '.join(entries)}}}"
    return "\n".join(["{", *(f"    {entry}," for entry in entries), "}"])


def same_code(one: Program, other: Program) -> bool:
    """Tell whether two programs do the same: the same syntax tree and the same numbers in force.

    Layout, comments, docstrings and annotations make no difference.
    """
    if dict(one.params) != dict(other.params):
        return False
    return one.sha256 == other.sha256 or _bare(one.source) == _bare(other.source)


@lru_cache(maxsize=512)
def _bare(source: str) -> str:
    """Return the syntax tree as text, without what does nothing; PARAMS are compared apart."""
    tree = syntax_tree(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.FunctionDef | ast.Module):
            node.body = [part for part in node.body if not _says_nothing(part)]
    return ast.dump(tree)


def _says_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return any(isinstance(t, ast.Name) and t.id in ("PARAMS", "BOUNDS") for t in targets)


def _replaced(source: str, node: ast.expr, text: str) -> str:
    """Put `text` in the place of a node, whose offsets count bytes of UTF-8."""
    lines = source.encode().splitlines(keepends=True)
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    before = b"".join(lines[:first]) + lines[first][: node.col_offset]
    after = lines[last][node.end_col_offset :] + b"".join(lines[last + 1 :])
    return (before + text.encode() + after).decode()


# --- the text ---------------------------------------------------------------------------------


def _parse(source: str) -> ast.Module:
    try:
        size = len(source.encode())
    except UnicodeEncodeError as error:
        raise ProgramRejected("a lone surrogate", rule="syntax", expected="UTF-8 text") from error
    if size > MOST_BYTES:
        raise ProgramRejected(f"{size} bytes", rule="size", expected=f"at most {MOST_BYTES} bytes")
    try:
        tree = syntax_tree(source)
    except SyntaxError as error:
        raise _unreadable(error, source) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ProgramRejected(str(error) or "nesting too deep", rule="syntax") from error
    _hold_size(tree)
    _refuse_unwritable(tree)
    return tree


def _unreadable(error: SyntaxError, source: str) -> ProgramRejected:
    lines = source.splitlines()
    number = error.lineno or 1
    text = lines[number - 1].strip()[:120] if 0 < number <= len(lines) else ""
    # What Python guesses ("Perhaps you forgot a comma?") misleads more often than it helps.
    message = error.msg.partition(" Perhaps ")[0].rstrip(".")
    return ProgramRejected(
        f"{message}: {text}" if text else message,
        rule="syntax",
        expected="a Python module that parses",
        where=f"line {number}",
    )


def _hold_size(tree: ast.Module) -> None:
    nodes: list[ast.AST] = []
    layer: list[ast.AST] = [tree]
    depth = 0
    while layer:
        nodes, depth = nodes + layer, depth + 1
        layer = [child for node in layer for child in ast.iter_child_nodes(node)]
    if len(nodes) > MOST_NODES:
        raise ProgramRejected(
            f"{len(nodes)} syntax nodes",
            rule="size",
            expected=f"at most {MOST_NODES}",
            hint="Write a shorter program: fewer components, loops over names, helper functions.",
        )
    for node in nodes:
        value = getattr(node, "value", None)
        if isinstance(value, int) and value.bit_length() > MOST_BITS:
            raise ProgramRejected("an integer of hundreds of digits", rule="size")
    if depth > MOST_NESTED:
        raise ProgramRejected(
            f"expressions nested {depth} deep", rule="size", expected=f"at most {MOST_NESTED}"
        )


def _refuse_unwritable(tree: ast.Module) -> None:
    """Refuse what Python reads and cannot write again: rules quote code, and downloads rename in it.

    In the Pythons that we run on, that is an f-string around text that needs a backslash.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            try:
                ast.unparse(node)
            except ValueError as error:
                raise ProgramRejected(
                    "an f-string around unusual characters",
                    rule="syntax",
                    expected="plain text inside the braces of an f-string",
                    where=f"line {node.lineno}",
                ) from error


def _empty(mode: Mode) -> ProgramRejected:
    use = "is the reward" if mode == "replace" else "is weighted and added to the native reward"
    return ProgramRejected(
        "a module without `reward` and without `features`",
        rule="empty",
        expected="`def reward(obs, action, next_obs, params)`, `def features(obs)`, or both",
        hint=f"The sum of the components that `reward` returns {use}.",
    )


def _undesigned(module: Module, design: Design) -> Iterator[ProgramRejected]:
    """Refuse the function that is not to be designed."""
    other = {"reward": "features", "features": "reward"}.get(design, "")
    if other in module.functions:
        yield rejected(
            module.functions[other],
            "design",
            f"`def {other}`",
            f"a module with `{design}` alone",
            f"In this job the {design} alone {'is' if design == 'reward' else 'are'} designed; drop "
            f"`{other}`.",
        )


def _together(problems: Sequence[ProgramRejected]) -> ProgramRejected:
    """Tell the first problem as the error, and the others in its hint."""
    first, others = problems[0], [p.sentence() for p in problems[1:]]
    told = list(dict.fromkeys(others))[: MOST_TOLD - 1]
    hint = " ".join(
        [
            *([f"{first.hint.rstrip('.')}."] if first.hint else []),
            *(f"Also: {sentence.rstrip('.')}." for sentence in told),
        ]
    )
    return ProgramRejected(
        first.found,
        rule=first.rule,
        expected=first.expected,
        where=first.where,
        hint=hint or None,
    )
