"""Hold a program to its parent's reward, where only the features were to be changed.

The reward is compared as syntax, with everything that it calls and reads in the module: how it is
laid out, its comments and its docstring do not matter, and a number copied in four digits is the
same number.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping

from core.errors import ProgramRejected
from core.records.programs import Program
from core.syntax import syntax_tree

_COPIED = 1e-3  # relative: four significant digits


def refuse_changed_reward(program: Program, parent: Program) -> None:
    """Refuse a program whose reward is not its parent's.

    A reward that reads a feature may change when that feature changes or goes; nothing could keep
    it then.

    Raises:
        ProgramRejected: with the rule `frozen_reward`.
    """
    before, after = _functions(parent.source), _functions(program.source)
    if _reads_changed_feature(before, after):
        return
    if _signature(parent.source) != _signature(program.source):
        found = "another `reward`"
    elif not _same_numbers(parent.params, program.params):
        found = "other numbers in PARAMS"
    else:
        return
    raise ProgramRejected(
        found,
        rule="frozen_reward",
        expected="the parent's `reward`, with PARAMS and all that it calls, unchanged",
        hint="Only `features` is to be changed this time: copy everything else from the parent.",
    )


def _same_numbers(first: Mapping[str, float], second: Mapping[str, float]) -> bool:
    return set(first) == set(second) and all(
        math.isclose(first[name], second[name], rel_tol=_COPIED, abs_tol=1e-9) for name in first
    )


def _functions(source: str) -> dict[str, ast.FunctionDef]:
    return {n.name: n for n in syntax_tree(source).body if isinstance(n, ast.FunctionDef)}


def _signature(source: str) -> dict[str, str]:
    """Return what the reward is made of: every definition that it reaches, without `features`."""
    known = _definitions(syntax_tree(source))
    reached: dict[str, str] = {}
    names = ["reward"]
    while names:
        name = names.pop()
        if name in reached or name not in known:
            continue
        reached[name] = ast.dump(known[name])
        names += [node.id for node in ast.walk(known[name]) if isinstance(node, ast.Name)]
    return reached


def _definitions(tree: ast.Module) -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name != "features":
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:]
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            found[node.target.id] = node.value
    return found


def _reads_changed_feature(
    before: Mapping[str, ast.FunctionDef], after: Mapping[str, ast.FunctionDef]
) -> bool:
    read = _features_read(before)
    if read is None:
        return True  # it calls `features` in a way that names cannot be seen of
    old, new = _entries(before.get("features")), _entries(after.get("features"))
    if read and (old is None or new is None):
        return True
    return any((old or {}).get(name) != (new or {}).get(name) for name in read)


def _features_read(functions: Mapping[str, ast.FunctionDef]) -> set[str] | None:
    """Return the names of the features that the reward reads; None where they cannot be told."""
    calls, named = 0, set()
    for name, function in functions.items():
        if name == "features":
            continue
        for node in ast.walk(function):
            calls += isinstance(node, ast.Name) and node.id == "features"
            match node:
                case ast.Subscript(
                    value=ast.Call(func=ast.Name(id="features")),
                    slice=ast.Constant(value=str() as key),
                ):
                    calls -= 1
                    named.add(key)
    return named if calls == 0 else None


def _entries(function: ast.FunctionDef | None) -> dict[str, str] | None:
    """Return feature -> its expression, where the function is one returned dict literal."""
    match function:
        case ast.FunctionDef(body=[*_, ast.Return(value=ast.Dict(keys=keys, values=values))]):
            plain = len(function.body) == 1 or (
                len(function.body) == 2 and ast.get_docstring(function) is not None
            )
            if plain and all(isinstance(key, ast.Constant) for key in keys):
                return {
                    str(key.value): ast.dump(value)
                    for key, value in zip(keys, values, strict=True)
                    if isinstance(key, ast.Constant)
                }
    return None
