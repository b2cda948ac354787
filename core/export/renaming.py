"""Other names for what a program binds where a file that holds it needs those names itself.

A helper called `main` or a constant called `WEIGHT` is sound in a program and would be overwritten by
the file; one called `float` or `np` would overwrite what the file computes with.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator, Mapping

from core.syntax import syntax_tree

BUILT_IN = frozenset([*dir(builtins), "__builtins__", "__file__"])
NOTE = "# Names that this file needs itself were changed; comments were lost by that."


def bound_names(source: str) -> frozenset[str]:
    """Return the names that a module binds at its top level, in whatever way."""
    table = symtable.symtable(source, "<program>", "exec")
    return frozenset(name for name in _bound(table))


def without_clashes(source: str, reserved: frozenset[str]) -> str:
    """Rename what a program binds at its top level under a reserved name, wherever it says it.

    A program without clashes is returned as it is.  The array library under its usual name is the same
    in program and file.
    """
    tree = syntax_tree(source)
    clashes = bound_names(source) & (reserved | BUILT_IN)
    if _only_numpy(tree):
        clashes -= {"np"}
    if not clashes:
        return source
    own = _all_names(source)
    renamed = _Renamer({name: _free(f"{name}_of_program", own) for name in clashes}, own)
    return f"{NOTE}\n{ast.unparse(renamed.visit(tree))}"


def _bound(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_assigned() or symbol.is_imported():
            yield symbol.get_name()


def _all_names(source: str) -> frozenset[str]:
    """Return every name that a program binds, parameters included, in whatever scope."""
    tables = [symtable.symtable(source, "<program>", "exec")]
    found: set[str] = set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        found |= {s.get_name() for s in table.get_symbols() if s.is_parameter()} | {*_bound(table)}
    return frozenset(found)


def _free(name: str, taken: frozenset[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _only_numpy(tree: ast.Module) -> bool:
    """Tell whether `np` is NumPy throughout."""
    for node in ast.walk(tree):
        match node:
            case ast.alias(name=name, asname=asname) if (asname or name) == "np" != name:
                if name != "numpy":
                    return False
            case ast.Name(id="np", ctx=ast.Store() | ast.Del()) | ast.arg(arg="np"):
                return False
            case ast.FunctionDef(name="np") | ast.ClassDef(name="np") | ast.alias(name="np"):
                return False
            case ast.ExceptHandler(name="np"):
                return False
    return True


class _Renamer(ast.NodeTransformer):
    """Changes names in every scope alike, so that whatever referred to each other still does."""

    def __init__(self, names: Mapping[str, str], own: frozenset[str]) -> None:
        self._names = names
        self._own = own

    def _new(self, name: str) -> str:
        return self._names.get(name, name)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._new(node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self._new(node.arg)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = self._new(node.name)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name = self._new(node.name)
        return self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = None if node.name is None else self._new(node.name)
        return self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> ast.AST:
        node.names = [self._new(name) for name in node.names]
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        node.names = [self._new(name) for name in node.names]
        return node

    def visit_alias(self, node: ast.alias) -> ast.AST:
        bound = node.asname or node.name
        if bound in self._names:
            node.asname = self._names[bound]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        # Parameters of the program's own functions have new names; those of everybody else's do not.
        if isinstance(node.func, ast.Name) and node.func.id in self._own:
            for keyword in node.keywords:
                keyword.arg = None if keyword.arg is None else self._new(keyword.arg)
        return self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> ast.AST:
        node.name = None if node.name is None else self._new(node.name)
        return self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> ast.AST:
        node.name = None if node.name is None else self._new(node.name)
        return self.generic_visit(node)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        node.rest = None if node.rest is None else self._new(node.rest)
        return self.generic_visit(node)
