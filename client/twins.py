"""Make the asynchronous twins of the client from the client itself: `python -m client.twins`.

The client is written once, for threads.  What waits for the server is found here, and becomes what is
awaited; everything else is imported from where it is.  The type checker holds the result to it: what
should have been awaited and was not has the wrong type.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
THERE = HERE / "aio"
MODULES = ("transport", "reading", "candidates", "jobs", "api")  # each stands on those before it
HEAD = '"""{title}\n\nMade from `client/{name}.py` by `python -m client.twins`.\n"""\n'
# What a receiver is, where its text says so; `self` is the class at hand.
RECEIVERS = {
    "self._transport": "Transport",
    "self.transport": "Transport",
    "self._reader": "Reader",
    "reader": "Reader",
    "self.best": "Best",
    "self.candidates": "Candidates",
}
HTTP = "self._http"
RENAMED = {  # what httpx and the standard library call the twin
    "time.sleep": "asyncio.sleep",
    "httpx2.Client": "httpx2.AsyncClient",
    "response.read": "response.aread",
    "response.iter_lines": "response.aiter_lines",
    "response.iter_bytes": "response.aiter_bytes",
    f"{HTTP}.close": f"{HTTP}.aclose",
}
AWAITED = {"asyncio.sleep", "response.aread", f"{HTTP}.aclose", f"{HTTP}.request"}
WALKED = {"response.aiter_lines", "response.aiter_bytes", "httpx2.EventSource"}
HELD = {f"{HTTP}.stream"}
TWINS = {"__enter__": "__aenter__", "__exit__": "__aexit__", "__iter__": "__aiter__"}
LEFT_OUT = {"_repr_html_"}  # a notebook asks for it and waits for nothing

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Twins(ast.NodeTransformer):
    """Rewrites modules, one after the other, and remembers what became asynchronous.

    Attributes:
        awaited: (class or "", name) of the coroutines.
        walked:  (class or "", name) of the asynchronous iterators.
        classes: names of the classes that have a twin, and the module of each.
    """

    def __init__(self) -> None:
        self.awaited: set[tuple[str, str]] = set()
        self.walked: set[tuple[str, str]] = set()
        self.classes: dict[str, str] = {}
        self._class = ""

    def module(self, name: str, source: str) -> ast.Module:
        """Return the twin of a module."""
        while True:  # until nothing more is found to wait
            tree, before = ast.parse(source), len(self.awaited) + len(self.walked)
            self._class = ""
            made = self.visit(tree)
            if len(self.awaited) + len(self.walked) == before:
                return _trimmed(made, name, self)

    # --- definitions ------------------------------------------------------------------------

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        self._class = node.name
        node.body = [part for part in node.body if getattr(part, "name", "") not in LEFT_OUT]
        self.generic_visit(node)
        self._class = ""
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Function:
        name = node.name
        self.generic_visit(node)
        waits = any(map(_waits, ast.walk(node)))
        yields = any(isinstance(part, ast.Yield) for part in ast.walk(node))
        if name == "__iter__":
            self.walked.add((self._class, name))
            node.name = TWINS[name]
            _walks(node)
            return node
        if name == "__enter__":
            return _asynchronous(node, TWINS[name])
        if not waits:
            return node
        (self.walked if yields else self.awaited).add((self._class, name))
        if yields:
            _walks(node)
        return _asynchronous(node, TWINS.get(name, name))

    # --- what is waited for -----------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        text = ast.unparse(node.func)
        if text in RENAMED:
            text = RENAMED[text]
            node.func = ast.parse(text, mode="eval").body
        if text in AWAITED or self._meant(node.func) in self.awaited:
            return ast.Await(node)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        owner = RECEIVERS.get(ast.unparse(node.value), "")
        return ast.Await(node) if (owner, "__getitem__") in self.awaited else node

    def visit_For(self, node: ast.For) -> ast.For | ast.AsyncFor:
        self.generic_visit(node)
        if not self._is_walked(node.iter):
            return node
        return ast.AsyncFor(node.target, node.iter, node.body, node.orelse)

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        self.generic_visit(node)
        node.is_async = int(self._is_walked(node.iter))
        return node

    def visit_With(self, node: ast.With) -> ast.With | ast.AsyncWith:
        self.generic_visit(node)
        held = any(
            isinstance(item.context_expr, ast.Call) and ast.unparse(item.context_expr.func) in HELD
            for item in node.items
        )
        return ast.AsyncWith(node.items, node.body) if held else node

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        self.generic_visit(node)
        if not isinstance(node.value, ast.YieldFrom):
            return node
        item = ast.Name("item", ast.Store())
        body: list[ast.stmt] = [ast.Expr(ast.Yield(ast.Name("item", ast.Load())))]
        kind = ast.AsyncFor if self._is_walked(node.value.value) else ast.For
        return kind(item, node.value.value, body, [])

    def _is_walked(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name) and node.id == "self":
            return (self._class, "__iter__") in self.walked
        if not isinstance(node, ast.Call):
            return False
        return ast.unparse(node.func) in WALKED or self._meant(node.func) in self.walked

    def _meant(self, called: ast.expr) -> tuple[str, str]:
        """Return (class or "", name) of what is called, as far as its text says so."""
        if isinstance(called, ast.Name):
            return ("", called.id)
        if not isinstance(called, ast.Attribute):
            return ("", "")
        owner = ast.unparse(called.value)
        return (self._class if owner == "self" else RECEIVERS.get(owner, "?"), called.attr)


def _waits(node: ast.AST) -> bool:
    if isinstance(node, ast.comprehension):
        return bool(node.is_async)
    return isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith)


def _asynchronous(node: ast.FunctionDef, name: str) -> ast.AsyncFunctionDef:
    return ast.AsyncFunctionDef(name, node.args, node.body, node.decorator_list, node.returns)


def _walks(node: Function) -> None:
    """Say that a function returns an asynchronous iterator."""
    if isinstance(node.returns, ast.Subscript) and ast.unparse(node.returns.value) == "Iterator":
        node.returns.value = ast.Name("AsyncIterator", ast.Load())


# --- modules ----------------------------------------------------------------------------------


def _trimmed(made: ast.Module, name: str, twins: Twins) -> ast.Module:
    """Leave in a module what has become asynchronous; import the rest from the original."""
    kept: list[ast.stmt] = []
    shared: set[str] = set()
    for node in made.body:
        defined = _defined(node)
        if not defined:
            kept.append(node)
        elif isinstance(node, ast.ClassDef) and _differs(node, twins):
            twins.classes[node.name] = name
            kept.append(node)
        elif isinstance(node, ast.AsyncFunctionDef):
            kept.append(node)
        else:
            shared |= defined
    body = [part for node in kept for part in _rehomed(node, twins)]
    used = {n.id for part in body for n in ast.walk(part) if isinstance(n, ast.Name)}
    borrowed = sorted(shared & used)
    imports: list[ast.stmt] = [
        ast.Import([ast.alias("asyncio")]),
        ast.ImportFrom("collections.abc", [ast.alias("AsyncIterator")], 0),
    ]
    if borrowed:
        imports.append(ast.ImportFrom(f"client.{name}", [ast.alias(n) for n in borrowed], 0))
    # After the docstring and the `__future__` import.
    return ast.Module([*body[:2], *imports, *body[2:]], [])


def _defined(node: ast.stmt) -> set[str]:
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return {node.name}
        case ast.Assign():
            return {ast.unparse(target) for target in node.targets}
        case ast.AnnAssign():
            return {ast.unparse(node.target)}
    return set()


def _differs(node: ast.ClassDef, twins: Twins) -> bool:
    """Tell whether a class has become asynchronous, or makes what has."""
    waits = any(_waits(part) or isinstance(part, ast.AsyncFunctionDef) for part in ast.walk(node))
    named = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return waits or bool(named & set(twins.classes))


def _rehomed(node: ast.stmt, twins: Twins) -> Iterator[ast.stmt]:
    """Yield a statement in which twins go by their own names and come from their own modules."""
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("client."):
        module = str(node.module).removeprefix("client.")
        own = [a for a in node.names if twins.classes.get(a.name) == module]
        coroutines = [a for a in node.names if ("", a.name) in twins.awaited]
        others = [a for a in node.names if a not in (*own, *coroutines)]
        if own or coroutines:
            names = [*(ast.alias(f"Async{a.name}") for a in own), *coroutines]
            yield ast.ImportFrom(f"client.aio.{module}", names, 0)
        if others:
            yield ast.ImportFrom(node.module, others, 0)
        return
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in twins.classes:
            part.id = f"Async{part.id}"
        elif isinstance(part, ast.ClassDef) and part.name in twins.classes:
            part.name = f"Async{part.name}"
        elif isinstance(part, ast.Constant) and part.value in twins.classes:
            part.value = f"Async{part.value}"
    yield node


def texts() -> dict[str, str]:
    """Return the text of each twin, by its name, as `ruff` leaves it."""
    twins, found = Twins(), {}
    for name in MODULES:
        source = (HERE / f"{name}.py").read_text(encoding="utf-8")
        made = ast.fix_missing_locations(twins.module(name, source))
        title = (ast.get_docstring(made) or "").splitlines()[0]
        made.body = made.body[1:]
        text = HEAD.format(title=f"{title.rstrip('.')}; asynchronous.", name=name)
        found[name] = _formatted(f"{text}\n{ast.unparse(made)}\n", THERE / f"{name}.py")
    return found


def _formatted(text: str, file: Path) -> str:
    for arguments in (("check", "--fix", "--quiet", "--exit-zero"), ("format", "--quiet")):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(file), "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
        text = done.stdout
    return text


def main() -> None:
    """Write the twins."""
    for name, text in texts().items():
        (THERE / f"{name}.py").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
