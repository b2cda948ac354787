"""The top level of a program: imports, PARAMS, BOUNDS, constants and functions, and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from core.errors import ProgramRejected
from core.syntax import syntax_tree

MOST_PARAMS = 16
LARGEST = 1e100  # of a number in PARAMS or BOUNDS, and the inverse of the smallest
SPREAD = 4.0  # default bounds of a parameter: a quarter of its value to four times its value

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "features": ("obs",),
    "reward": ("obs", "action", "next_obs", "params"),
}


@dataclass(frozen=True, slots=True)
class Module:
    """A program's top level, read.

    `numpy` and `math` are the names under which the array library and `math` are imported.  `nodes`
    holds everything below each function, itself included: a dozen rules look through it.
    """

    numpy: frozenset[str]
    math: frozenset[str]
    constants: frozenset[str]
    functions: Mapping[str, ast.FunctionDef]
    nodes: Mapping[str, tuple[ast.AST, ...]]
    params: Mapping[str, float]
    bounds: Mapping[str, tuple[float, float]]


def rejected(
    node: ast.AST,
    rule: str,
    found: str,
    expected: str | None = None,
    hint: str | None = None,
    *,
    line: int | None = None,
) -> ProgramRejected:
    """Make the error for a node, with its line."""
    number = line if line is not None else getattr(node, "lineno", None)
    where = None if number is None else f"line {number}"
    return ProgramRejected(found, rule=rule, expected=expected, where=where, hint=hint)


def default_bounds(value: float) -> tuple[float, float]:
    """Return the range in which the tuner may move a number for which BOUNDS says nothing.

    >>> default_bounds(2.0), default_bounds(-2.0), default_bounds(0.0)
    ((0.5, 8.0), (-8.0, -0.5), (-1.0, 1.0))
    """
    if value == 0.0:
        return (-1.0, 1.0)
    low, high = sorted((value / SPREAD, value * SPREAD))
    return (low, high)


@dataclass(slots=True)
class _Reading:
    """What has been read of a module so far, and which library it may use."""

    library: str
    library_constants: frozenset[str]
    numpy: set[str]
    math: set[str]
    constants: set[str]
    functions: dict[str, ast.FunctionDef]
    tables: dict[str, tuple[ast.expr, int]]  # PARAMS and BOUNDS, with their lines


def read_module(
    tree: ast.Module, library: str = "numpy", library_constants: frozenset[str] = frozenset()
) -> tuple[Module, list[ProgramRejected]]:
    """Read the top level; what is wrong there comes back as a list.

    Args:
        tree:              the parsed module.
        library:           the array library that it may import.
        library_constants: what of it, besides `math` and numbers, may make a constant.
    """
    reading = _Reading(library, library_constants, set(), set(), set(), {}, {})
    problems = [problem for node in tree.body for problem in _read_top(node, reading)]
    params: dict[str, float] = {}
    bounds: dict[str, tuple[float, float]] = {}
    if "PARAMS" in reading.tables:
        problems += _read_params(*reading.tables["PARAMS"], params)
    problems += _read_bounds(reading, params, bounds)
    module = Module(
        numpy=frozenset(reading.numpy),
        math=frozenset(reading.math),
        constants=frozenset(reading.constants),
        functions=reading.functions,
        nodes={name: tuple(ast.walk(node)) for name, node in reading.functions.items()},
        params=params,
        bounds=bounds,
    )
    return module, problems


def _read_top(node: ast.stmt, reading: _Reading) -> Iterator[ProgramRejected]:
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return
        case ast.Import():
            yield from _read_import(node, reading)
        case ast.FunctionDef():
            yield from _read_function(node, reading)
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield from _read_assignment(name, value, node, reading)
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            yield from _read_assignment(name, value, node, reading)
        case ast.ImportFrom():
            yield _bad_import(node, f"`from {node.module} import ...`")
        case _:
            yield rejected(
                node,
                "top_level",
                f"{_kind(node)} at the top level",
                "only imports, PARAMS, BOUNDS, constants and functions there",
                "Move it into a function or drop it.",
            )


def _read_import(node: ast.Import, reading: _Reading) -> Iterator[ProgramRejected]:
    known = {reading.library: reading.numpy, "math": reading.math}
    for alias in node.names:
        if alias.name in known:
            known[alias.name].add(alias.asname or alias.name)
        else:
            yield _bad_import(node, f"`import {alias.name}`")


def _bad_import(node: ast.stmt, found: str) -> ProgramRejected:
    return rejected(
        node,
        "import",
        found,
        "only `import numpy as np` and `import math`",
        "Everything that is needed is there; call it as np.<name> or math.<name>.",
    )


def _read_function(node: ast.FunctionDef, reading: _Reading) -> Iterator[ProgramRejected]:
    if node.name in reading.functions or node.name in reading.constants:
        yield rejected(node, "top_level", f"a second `{node.name}`", "one definition of each name")
    reading.functions[node.name] = node
    if node.decorator_list:
        yield rejected(node, "statement", "a decorator", "plain functions")
    if (wanted := ARGUMENTS.get(node.name)) is not None and _signature(node) != ", ".join(wanted):
        yield rejected(
            node,
            "signature",
            f"`def {node.name}({_signature(node)})`",
            f"`def {node.name}({', '.join(wanted)})`",
            "Keep the argument names and their order.",
        )
    for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
        if not _is_constant(default, reading):
            yield rejected(
                default, "state", "a default that is not a constant", "numbers, strings or tuples"
            )


def _signature(node: ast.FunctionDef) -> str:
    bare = syntax_tree(f"def f({ast.unparse(node.args)}): pass").body[0]
    assert isinstance(bare, ast.FunctionDef)
    for argument in ast.walk(bare.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return ast.unparse(bare.args)


def _read_assignment(
    name: str, value: ast.expr, node: ast.stmt, reading: _Reading
) -> Iterator[ProgramRejected]:
    if name in reading.tables or name in reading.constants or name in reading.functions:
        yield rejected(node, "top_level", f"a second `{name}`", "one definition of each name")
    if name in ("PARAMS", "BOUNDS"):
        reading.tables[name] = (value, node.lineno)
        return
    reading.constants.add(name)
    if not _is_constant(value, reading):
        yield rejected(
            node,
            "state",
            f"`{name} = {ast.unparse(value)[:60]}`",
            "a constant made of numbers, strings and tuples",
            "A module keeps no state: write a tuple for a list, and arrays inside the functions.",
        )


def _is_constant(node: ast.expr, reading: _Reading) -> bool:
    match node:
        case ast.Constant():
            return True
        case ast.Name(id=name):
            return name in reading.constants
        case ast.Tuple(elts=parts):
            return all(_is_constant(part, reading) for part in parts)
        case ast.UnaryOp(operand=operand):
            return _is_constant(operand, reading)
        case ast.BinOp(left=left, right=right):
            return _is_constant(left, reading) and _is_constant(right, reading)
        case ast.Attribute(value=ast.Name(id=owner), attr=attr):
            known = owner in reading.numpy and attr in reading.library_constants
            return owner in reading.math or known
        case ast.Call(func=ast.Attribute() as called, args=parts, keywords=[]):
            return all(_is_constant(part, reading) for part in [called, *parts])
    return False


def _kind(node: ast.stmt) -> str:
    words = {
        ast.ClassDef: "a class",
        ast.If: "an `if`",
        ast.For: "a loop",
        ast.Expr: "an expression",
    }
    return words.get(type(node), f"`{ast.unparse(node).splitlines()[0][:40]}`")


# --- PARAMS and BOUNDS ------------------------------------------------------------------------


def _read_params(node: ast.expr, line: int, params: dict[str, float]) -> Iterator[ProgramRejected]:
    for key, value in _entries(node):
        name, number = _name_of(key), _number(value)
        if name is None or number is None:
            shown = "an entry" if key is None else f"{ast.unparse(key)}: {ast.unparse(value)}"[:60]
            yield rejected(
                node,
                "params",
                shown,
                'a dict literal of identifier -> finite number, e.g. {"progress": 1.0}',
                "Write the numbers themselves, in size from 1e-100 to 1e100; anything else belongs "
                "into the functions.",
                line=line,
            )
        else:
            params[name] = number
    if len(params) > MOST_PARAMS:
        yield rejected(
            node, "params", f"{len(params)} numbers", f"at most {MOST_PARAMS}", line=line
        )


def _entries(node: ast.expr) -> list[tuple[ast.expr | None, ast.expr]]:
    if isinstance(node, ast.Dict):
        return list(zip(node.keys, node.values, strict=True))
    return [(None, node)]


def _name_of(node: ast.expr | None) -> str | None:
    """Return a parameter's name; None if it is no identifier or begins with an underscore."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return None
    name = node.value
    return name if name.isidentifier() and name[0] != "_" and len(name) <= 40 else None


def _number(node: ast.expr) -> float | None:
    """Return the value of a literal with one sign at most, as `ast.literal_eval` reads it.

    None if it is no number, or one of a size that no reward needs: bounds and what the tuner computes
    from it would not be finite.
    """
    sign = 1.0
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        sign, node = (-sign if isinstance(node.op, ast.USub) else sign), node.operand
    if not isinstance(node, ast.Constant) or type(node.value) not in (int, float):
        return None
    try:
        number = sign * float(node.value)  # type: ignore[arg-type]
    except OverflowError:
        return None
    return number if number == 0.0 or 1.0 / LARGEST <= abs(number) <= LARGEST else None


def _read_bounds(
    reading: _Reading, params: Mapping[str, float], bounds: dict[str, tuple[float, float]]
) -> Iterator[ProgramRejected]:
    bounds.update({name: default_bounds(value) for name, value in params.items()})
    if "BOUNDS" not in reading.tables:
        return
    node, line = reading.tables["BOUNDS"]
    for key, value in _entries(node):
        name, pair = _name_of(key), _pair(value)
        value_of = params.get(name or "")
        if name and value_of is not None and pair and pair[0] <= value_of <= pair[1]:
            bounds[name] = pair
            continue
        shown = "an entry" if key is None else f"{ast.unparse(key)}: {ast.unparse(value)}"[:60]
        yield rejected(
            node,
            "bounds",
            shown,
            "a dict literal of a name in PARAMS -> (low, high) with low < high around its value",
            line=line,
        )


def _pair(node: ast.expr) -> tuple[float, float] | None:
    if not isinstance(node, ast.Tuple | ast.List) or len(node.elts) != 2:
        return None
    low, high = _number(node.elts[0]), _number(node.elts[1])
    return (low, high) if low is not None and high is not None and low < high else None
