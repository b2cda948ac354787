"""Read a program back as a design, so that it can be bred.

Only the form that `writing.write_module` gives is read: PARAMS, then functions that return one dict
literal.  Of any other program the code is kept, and only the numbers in PARAMS can be changed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

from core.designers.evolution.terms import Design, Feature, Term, number
from core.records.programs import Program
from core.syntax import syntax_tree

_ARGUMENTS = {"reward": {"obs", "action", "next_obs", "params", "np"}, "features": {"obs", "np"}}


def read_design(program: Program) -> Design | None:
    """Return the design of a program; None if it is not in our own form.

    Numbers are those of `program.params`, which a tuner may have changed.
    """
    return _design(program.source, tuple(program.params.items()))


@lru_cache(maxsize=512)
def _design(source: str, numbers: tuple[tuple[str, float], ...]) -> Design | None:
    """Read the same program once: every slot of an iteration looks at all of the history."""
    functions, given = _functions(syntax_tree(source)), dict(numbers)
    if functions is None:
        return None
    comments = _comments(source)
    terms = []
    for name, node in _entries(functions.get("reward")):
        used = _params_of(node)
        if name not in used or not set(used) <= set(given):
            return None
        params = tuple((key, given[key]) for key in used)
        terms.append(Term(name, ast.unparse(node), params, comments.get(name, name)))
    features = [
        Feature(name, ast.unparse(node), comments.get(name, name))
        for name, node in _entries(functions.get("features"))
    ]
    return Design(tuple(terms), tuple(features))


def _functions(tree: ast.Module) -> dict[str, ast.Dict] | None:
    """Return function -> the dict that it returns; None if there is anything else."""
    found: dict[str, ast.Dict] = {}
    for node in tree.body:
        match node:
            case ast.Import(names=[ast.alias(name="numpy", asname="np")]):
                continue
            case ast.Assign(targets=[ast.Name(id="PARAMS")]):
                continue
            case ast.FunctionDef(name=name, body=[ast.Return(value=ast.Dict() as entries)]):
                if not _plain(name, entries):
                    return None
                found[name] = entries
            case _:
                return None
    return found or None


def _plain(name: str, entries: ast.Dict) -> bool:
    names = {node.id for node in ast.walk(entries) if isinstance(node, ast.Name)}
    keyed = all(isinstance(k, ast.Constant) and isinstance(k.value, str) for k in entries.keys)
    return keyed and names <= _ARGUMENTS.get(name, set())


def _entries(entries: ast.Dict | None) -> Iterator[tuple[str, ast.expr]]:
    if entries is not None:
        for key, value in zip(entries.keys, entries.values, strict=True):
            if isinstance(key, ast.Constant):
                yield str(key.value), value


def _params_of(node: ast.expr) -> list[str]:
    """Return the names of the numbers that an expression reads, in order of appearance."""
    found = [
        (n.lineno, n.col_offset, n.attr)
        for n in ast.walk(node)
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "params"
    ]
    return list(dict.fromkeys(name for _, _, name in sorted(found)))


def _comments(source: str) -> dict[str, str]:
    """Return entry -> the comment that stands right above it."""
    found, above = {}, None
    for line in source.splitlines():
        text = line.strip()
        if above is not None and text.startswith('"'):
            found[text.split('"')[1]] = above
        above = text.removeprefix("#").strip() if text.startswith("#") else None
    return found


def with_numbers(program: Program, change: Callable[[str, float], float]) -> str | None:
    """Return the source with every number of PARAMS changed; None if it declares none."""
    if not program.params:
        return None
    changed = {name: change(name, value) for name, value in program.params.items()}
    for node in syntax_tree(program.source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and _declares_params(node):
            return _replaced(program.source, node, changed)
    return None


def with_features(program: Program, drawn: Sequence[Feature]) -> str:
    """Return the source with other features; those that the reward reads stay.

    The former function is kept under another name, so that whatever calls it finds what it knew.
    """
    tree = syntax_tree(program.source)
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    entries = [f'        "{f.name}": {f.code},' for f in drawn]
    source, former = program.source, functions.pop("features", None)
    if former is not None:
        called = any(
            isinstance(node, ast.Name) and node.id == "features"
            for function in functions.values()
            for node in ast.walk(function)
        )
        lines = source.splitlines()
        if called:
            name = next(n for n in map("former_{}".format, range(100)) if n not in functions)
            lines[former.lineno - 1] = f"def {name}(obs):"
            entries.insert(0, f"        **{name}(obs),")
        else:
            del lines[former.lineno - 1 : former.end_lineno]
        source = "\n".join(lines)
    if not any(isinstance(n, ast.Import) and _is_np(n) for n in tree.body):
        source = f"import numpy as np\n{source}"
    body = "\n".join(["def features(obs):", "    return {", *entries, "    }"])
    return f"{source.rstrip()}\n\n\n{body}\n"


def _is_np(node: ast.Import) -> bool:
    return any(alias.name == "numpy" and alias.asname == "np" for alias in node.names)


def _declares_params(node: ast.Assign | ast.AnnAssign) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(isinstance(t, ast.Name) and t.id == "PARAMS" for t in targets)


def _replaced(source: str, node: ast.stmt, params: Mapping[str, float]) -> str:
    lines = source.splitlines()
    table = [f'    "{name}": {number(value)},' for name, value in params.items()]
    stop = node.end_lineno or node.lineno
    return "\n".join([*lines[: node.lineno - 1], "PARAMS = {", *table, "}", *lines[stop:]]) + "\n"
