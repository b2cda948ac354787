"""Rules on arrays: no branch on their values, no mixing of rows, and what is returned."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from core.errors import ProgramRejected
from core.program.module import Module, rejected
from core.program.names import is_observation, root

MOST_COMPONENTS = 16
MOST_FEATURES = 32

_WORDS = (
    "sum mean std var prod max min amax amin all any median average ptp argmax argmin norm nansum "
    "nanmean quantile percentile cumsum cumprod"
)
_REDUCTIONS = frozenset(_WORDS.split())
_NO_DICT = (ast.Tuple, ast.List, ast.Constant, ast.BinOp, type(None))
_SHAPE = frozenset({"shape", "ndim", "size", "dtype"})


def broken_array_rules(module: Module) -> list[ProgramRejected]:
    """Return every problem with arrays and returned entries, function by function."""
    problems: list[ProgramRejected] = []
    for function in module.functions.values():
        problems += _arrays(function, module)
        if function.name in ("reward", "features"):
            problems += _entries(function, module)
    return problems


# --- arrays: no branches, no scalars, no mixing of rows ---------------------------------------


def _arrays(function: ast.FunctionDef, module: Module) -> Iterator[ProgramRejected]:
    tainted = _tainted(function, module)
    for node in module.nodes[function.name]:
        if isinstance(node, ast.If | ast.IfExp) and _mentions(node.test, tainted):
            yield _branch(node, ast.unparse(node.test))
        elif isinstance(node, ast.BoolOp) and any(_mentions(v, tainted) for v in node.values):
            yield _branch(node, ast.unparse(node))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            if _mentions(node.operand, tainted):
                yield _branch(node, ast.unparse(node))
        elif isinstance(node, ast.Compare) and len(node.ops) > 1 and _mentions(node, tainted):
            yield _branch(node, ast.unparse(node))
        elif isinstance(node, ast.Call):
            yield from _call(node, module, tainted)


def _branch(node: ast.AST, text: str) -> ProgramRejected:
    return rejected(
        node,
        "branch",
        f"`{text[:60]}`, which is decided once for all rows",
        "a choice per row",
        "Use np.where(condition, a, b), and & | ~ between conditions in parentheses.",
    )


def _call(node: ast.Call, module: Module, tainted: set[str]) -> Iterator[ProgramRejected]:
    arguments = [*node.args, *(k.value for k in node.keywords)]
    touched = any(_mentions(argument, tainted) for argument in arguments)
    match node.func:
        case ast.Name(id="min" | "max" | "float" | "int" | "bool" | "round" as name) if touched:
            better = {"min": "np.minimum(a, b)", "max": "np.maximum(a, b)", "round": "np.round(a)"}
            advice = better.get(name, "an array as it is, or .astype(np.float32)")
            yield rejected(node, "scalar", f"`{name}(...)` of an array", advice)
        case ast.Attribute(value=ast.Name(id=owner), attr=attr) if owner in module.math and touched:
            hint = f"Arrays need np.{attr} or its like."
            yield rejected(
                node, "scalar", f"`{owner}.{attr}(...)` of an array", "plain numbers", hint
            )
        case ast.Attribute(value=owner, attr=attr) if attr in _REDUCTIONS:
            called_on_array = _mentions(owner, tainted)
            first = 0 if called_on_array else 1
            if called_on_array or (touched and root(owner) in module.numpy):
                yield from _reduction(node, attr, first)


def _reduction(node: ast.Call, name: str, first: int) -> Iterator[ProgramRejected]:
    """Refuse a reduction without an axis: it would mix the rows of the batch."""
    axis = next((k.value for k in node.keywords if k.arg in ("axis", "dim")), None)
    # quantile(a, q, axis): what follows the array is not yet the axis.
    place = first + (name in ("quantile", "percentile", "norm"))
    if axis is None and len(node.args) > place:
        axis = node.args[place]
    if axis is None or (isinstance(axis, ast.Constant) and axis.value is None):
        yield rejected(
            node,
            "rows",
            f"`{ast.unparse(node)[:60]}` without an axis",
            "a reduction within each row",
            f"Write {name}(..., axis=-1); the first axis is the batch, and rows must not mix.",
        )


def _tainted(function: ast.FunctionDef, module: Module) -> set[str]:
    """Return the names that hold arrays: the arguments, and all that is computed from them."""
    arguments = {a.arg for a in function.args.args} - {"params"}
    known = function.name in ("reward", "features")
    # What a helper is given is known by its name alone.
    tainted = arguments if known else arguments & {"obs", "next_obs", "action"}
    before = -1
    while len(tainted) != before:
        before = len(tainted)
        for node in module.nodes[function.name]:
            if isinstance(node, ast.Assign) and _mentions(node.value, tainted):
                tainted |= {n for target in node.targets for n in _stored(target)}
            elif isinstance(node, ast.AugAssign | ast.NamedExpr) and _mentions(node.value, tainted):
                tainted |= _stored(node.target)
    return tainted


def _stored(target: ast.AST) -> set[str]:
    return {
        n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }


def _mentions(node: ast.AST, tainted: set[str]) -> bool:
    """Tell whether a value depends on array values, not only on their shapes or on dict keys."""
    if isinstance(node, ast.Name):
        return node.id in tainted
    if isinstance(node, ast.Attribute) and node.attr in _SHAPE and not is_observation(node.value):
        return False
    match node:
        case ast.Call(func=ast.Name(id="len" | "isinstance")):
            return False
        case ast.Compare(ops=[ast.In() | ast.NotIn() | ast.Is() | ast.IsNot()]):
            return False
    return any(_mentions(child, tainted) for child in ast.iter_child_nodes(node))


# --- what is returned -------------------------------------------------------------------------


def _entries(function: ast.FunctionDef, module: Module) -> Iterator[ProgramRejected]:
    nodes = module.nodes[function.name]
    returns = [node for node in nodes if isinstance(node, ast.Return)]
    if not returns:
        yield rejected(
            function,
            "components",
            f"no `return` in `{function.name}`",
            "a dict of name -> array [B]",
        )
    most = MOST_COMPONENTS if function.name == "reward" else MOST_FEATURES
    for node in returns:
        if isinstance(node.value, ast.Dict):
            yield from _entry_names(node.value, most)
        elif isinstance(node.value, _NO_DICT) and not _inside(node, nodes):
            yield rejected(
                node,
                "components",
                f"`{ast.unparse(node)[:60]}`",
                "a dict of name -> array [B]",
                "The sum is made by the service.",
            )


def _inside(node: ast.Return, nodes: Sequence[ast.AST]) -> bool:
    """Tell whether a return belongs to a function nested in the first of these nodes."""
    nested = (inner for inner in nodes[1:] if isinstance(inner, ast.FunctionDef))
    return any(node in ast.walk(inner) for inner in nested)


def _entry_names(node: ast.Dict, most: int) -> Iterator[ProgramRejected]:
    names = [k.value for k in node.keys if isinstance(k, ast.Constant)]
    for name in names:
        if not isinstance(name, str) or not name.isidentifier() or len(name) > 40:
            yield rejected(
                node,
                "components",
                f"the entry {str(name)[:50]!r}",
                "identifiers of at most 40 letters",
            )
    if len(set(map(str, names))) < len(names):
        yield rejected(node, "components", "one name twice", "different names")
    if len(names) > most:
        yield rejected(node, "components", f"{len(names)} entries", f"at most {most}")
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
            yield rejected(
                value,
                "components",
                f"the single number {value.value!r} for {str(key.value)[:40]!r}",
                "an array [B], one number per row",
                "A constant needs rows as well: np.full_like(<a scalar field>, number).",
            )
