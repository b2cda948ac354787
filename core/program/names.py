"""Rules on names: statements, builtins, attributes, fields and parameters that a function may use."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping, Sequence

from core.errors import ProgramRejected
from core.fields import read_source
from core.program.module import Module, rejected
from core.records.task import Field

_PLAIN = (
    "abs all any bool dict divmod enumerate filter float frozenset int isinstance len list map max min "
    "pow range reversed round set slice sorted str sum tuple zip"
)
BUILTINS = frozenset(_PLAIN.split())
# Attributes that reach files, the interpreter, or the write protection of the inputs.
_OUTWARD = (
    "load loadtxt genfromtxt fromfile fromregex save savez savez_compressed savetxt memmap tofile dump "
    "dumps open DataSource ctypeslib ctypes f2py lib core testing distutils setflags seterr seterrcall "
    "setbufsize set_printoptions sys os"
)
_FILES = frozenset(_OUTWARD.split())
_BANNED: Mapping[type[ast.AST], str] = {
    ast.Global: "`global`",
    ast.Nonlocal: "`nonlocal`",
    ast.ClassDef: "a class",
    ast.AsyncFunctionDef: "an async function",
    ast.Import: "an import inside a function",
    ast.ImportFrom: "an import inside a function",
    ast.While: "a `while` loop",
    ast.Try: "`try`",
    ast.TryStar: "`try`",
    ast.With: "`with`",
    ast.AsyncWith: "`with`",
    ast.AsyncFor: "an async loop",
    ast.Raise: "`raise`",
    ast.Assert: "`assert`",
    ast.Delete: "`del`",
    ast.Await: "`await`",
    ast.Yield: "`yield`",
    ast.YieldFrom: "`yield`",
    ast.Match: "`match`",
}


def broken_name_rules(module: Module, fields: Sequence[Field]) -> list[ProgramRejected]:
    """Return every problem with names inside the functions, function by function."""
    problems: list[ProgramRejected] = []
    for function in module.functions.values():
        problems += _statements(function, module)
        problems += _names(function, module)
        problems += _attributes(function, module)
        problems += _fields(function, module, fields)
        problems += _params(function, module)
        problems += _inputs(function, module)
    return problems


# --- statements, names, attributes ------------------------------------------------------------


def _statements(function: ast.FunctionDef, module: Module) -> Iterator[ProgramRejected]:
    for node in module.nodes[function.name]:
        if (word := _BANNED.get(type(node))) is not None:
            yield rejected(
                node,
                "statement",
                word,
                "assignments, expressions, `for` over names, and `return`",
                "Choose per row with np.where, and guard with np.maximum or np.clip.",
            )
        if isinstance(node, ast.FunctionDef) and node is not function and node.decorator_list:
            yield rejected(node, "statement", "a decorator", "plain functions")


def _names(function: ast.FunctionDef, module: Module) -> Iterator[ProgramRejected]:
    own = _bound(module.nodes[function.name])
    known = own | module.numpy | module.math | module.constants | set(module.functions) | BUILTINS
    told: set[str] = set()
    for node in module.nodes[function.name]:
        if not isinstance(node, ast.Name) or node.id in known or node.id in told:
            continue
        told.add(node.id)
        if node.id in ("PARAMS", "BOUNDS"):
            yield rejected(node, "params", f"`{node.id}` in `{function.name}`", *_PARAMS_ADVICE)
        else:
            yield rejected(
                node, "name", f"the unknown name `{node.id}`", _KNOWN, _name_hint(node.id)
            )


_KNOWN = "names defined in the module, numpy, math, or plain builtins such as abs, len, sum, zip"
_PARAMS_ADVICE = (
    "`params.<name>` in `reward`",
    "The numbers are tuned from outside and reach `reward` as `params`; in `features` use a constant.",
)


def _name_hint(name: str) -> str | None:
    if name in ("np", "numpy"):
        return "Begin the module with `import numpy as np`."
    if name == "torch":
        return "The arrays are numpy arrays; use np."
    if name in ("print", "open", "eval", "exec", "getattr", "__import__", "input"):
        return "A program only computes: it reads no files, prints nothing and looks nothing up."
    if name in ("obs", "action", "next_obs", "params"):
        return f"Give `{name}` to the helper as an argument."
    return None


def _bound(nodes: Sequence[ast.AST]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
    return names


def _attributes(function: ast.FunctionDef, module: Module) -> Iterator[ProgramRejected]:
    for node in module.nodes[function.name]:
        if not isinstance(node, ast.Attribute):
            continue
        if node.attr.startswith("_"):
            yield rejected(node, "attribute", f"`.{node.attr}`", "no attribute beginning with `_`")
        elif node.attr == "random":
            yield rejected(
                node, "randomness", f"`{ast.unparse(node)[:40]}`", "the same result in every call"
            )
        elif node.attr in _FILES and not is_observation(node.value):
            yield rejected(
                node,
                "attribute",
                f"`{ast.unparse(node)[:40]}`",
                "array arithmetic of numpy and math",
            )


# --- fields and parameters --------------------------------------------------------------------


def is_observation(node: ast.AST) -> bool:
    """Tell whether a node is the plain name `obs` or `next_obs`."""
    return isinstance(node, ast.Name) and node.id in ("obs", "next_obs")


def _fields(
    function: ast.FunctionDef, module: Module, fields: Sequence[Field]
) -> Iterator[ProgramRejected]:
    for node in module.nodes[function.name]:
        if isinstance(node, ast.Subscript) and is_observation(node.value):
            owner = ast.unparse(node.value)
            yield rejected(
                node,
                "field",
                f"`{ast.unparse(node)[:40]}`",
                f"fields by name, `{owner}.<field>`",
                "Fields are attributes, not indices or keys.",
            )
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = node.value.id
            if owner in ("obs", "next_obs"):
                seen = visible_fields(fields, function.name, owner)
                if node.attr not in seen and not node.attr.startswith("_"):
                    yield _unseen(node, owner, function.name, fields, seen)


def visible_fields(fields: Sequence[Field], function: str, argument: str) -> tuple[str, ...]:
    """Return the fields that an argument (`obs` or `next_obs`) of a function may be asked for.

    `features` sees what the policy sees; `reward` what is visible to the reward, where `obs` lacks
    what only a step can tell (info values, `terminated`).  Helpers are read as generously as possible.
    """
    observed = [f.name for f in fields if "policy" in f.visible and _kind(f) == "obs"]
    if function == "features":
        return tuple(observed)
    rewarded = [f.name for f in fields if "reward" in f.visible]
    if function == "reward" and argument == "obs":
        rewarded = [f.name for f in fields if "reward" in f.visible and _kind(f) in ("obs", "sim")]
    return tuple(rewarded) if function == "reward" else tuple(dict.fromkeys([*rewarded, *observed]))


def _kind(field: Field) -> str:
    return read_source(field).kind


def _unseen(
    node: ast.Attribute, owner: str, function: str, fields: Sequence[Field], seen: Sequence[str]
) -> ProgramRejected:
    known = {f.name: f for f in fields}.get(node.attr)
    found, listed = f"`{owner}.{node.attr}`", ", ".join(seen) or "none"
    if known is not None and not {"policy", "reward"} & set(known.visible):
        return rejected(node, "metric_field", found, f"one of the fields {listed}", _METRIC_HINT)
    if known is not None and function == "reward" and "reward" in known.visible:
        hint = f"It is known only after the step: read `next_obs.{node.attr}`."
        return rejected(node, "field", found, "a field of the state before the step", hint)
    near = difflib.get_close_matches(node.attr, seen, n=1)
    advice = f"Did you mean `{owner}.{near[0]}`?" if near else None
    return rejected(node, "field", found, f"one of the fields {listed}", advice)


_METRIC_HINT = "That value is kept for measuring and is not available to programs."


def _params(function: ast.FunctionDef, module: Module) -> Iterator[ProgramRejected]:
    if "params" not in {a.arg for a in module.nodes[function.name] if isinstance(a, ast.arg)}:
        return
    for node in module.nodes[function.name]:
        match node:
            case ast.Subscript(value=ast.Name(id="params")):
                yield rejected(node, "param", f"`{ast.unparse(node)[:40]}`", "`params.<name>`")
            case ast.Attribute(value=ast.Name(id="params"), attr=name) if name not in module.params:
                near = difflib.get_close_matches(name, module.params, n=1)
                yield rejected(
                    node,
                    "param",
                    f"`params.{name}`",
                    f"a name that PARAMS declares ({', '.join(module.params) or 'it declares none'})",
                    f"Did you mean `params.{near[0]}`?" if near else f'Add "{name}" to PARAMS.',
                )


# --- inputs -----------------------------------------------------------------------------------


_KEPT = ("obs", "next_obs", "params")  # `action = np.clip(action, -1, 1)` does no harm


def _inputs(function: ast.FunctionDef, module: Module) -> Iterator[ProgramRejected]:
    arguments = {a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)}
    outside = arguments | module.constants | set(module.functions) | module.numpy | module.math
    for node in module.nodes[function.name]:
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield _writes(node, ast.unparse(node))
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            if root(node) in outside | {"PARAMS", "BOUNDS"}:
                yield _writes(node, ast.unparse(node))
        elif isinstance(node, ast.AugAssign) and root(node.target) in arguments:
            yield _writes(node, ast.unparse(node))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in _KEPT:
            yield _writes(node, f"{node.id} = ...")


def _writes(node: ast.AST, text: str) -> ProgramRejected:
    return rejected(
        node,
        "inputs",
        f"`{text[:50]}`",
        "inputs and the module to stay as they are",
        "Compute a new array under a new name.",
    )


def root(node: ast.AST) -> str | None:
    """Return the name at the bottom of `a.b[c].d`; None if there is none."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
