"""Syntax trees of program text, one at a time in a process.

CPython 3.11 counts the depth of a tree that it hands out in one place for all threads: where garbage is
collected meanwhile, another thread's tree may make it raise a SystemError ("AST constructor recursion
depth mismatch").  See python/cpython#106905.
"""

from __future__ import annotations

import ast
from threading import Lock

_ONE = Lock()


def syntax_tree(source: str) -> ast.Module:
    """Parse a module.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as `ast.parse`.
    """
    with _ONE:
        return ast.parse(source)


def expression_tree(source: str) -> ast.expr:
    """Parse one expression; raises as `syntax_tree` does."""
    with _ONE:
        return ast.parse(source, mode="eval").body
