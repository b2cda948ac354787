"""What went wrong inside a generated program, as a sentence its author can act upon.

The text of an exception is foreign: it is cut, cleaned of control characters and of machine paths.
"""

from __future__ import annotations

import re
from types import TracebackType

from core.errors import ProgramRejected

PROGRAM_FILE = "<program>"
MOST_LETTERS = 300
_MACHINE_PATH = re.compile(r"(?<![\w.)\]])/(?:[\w.+@-]+/)+[\w.+@-]*")

_HINTS: tuple[tuple[str, str], ...] = (
    ("truth value of an array", "Never branch on array values; use np.where."),
    (
        "Boolean value of Tensor",
        "Never branch on tensor values; use torch.where.",
    ),
    ("read-only", "Inputs cannot be changed; compute a new array instead."),
    ("cannot be assigned", "Inputs cannot be changed; compute a new array instead."),
    (
        "only 0-dimensional arrays can be",
        "Use NumPy functions on whole arrays, not float() or math.",
    ),
    ("only length-1 arrays can be", "Use NumPy functions on whole arrays, not float() or math."),
    (
        "could not be broadcast",
        "Fields are [B] or [B, n]; reduce over the last axis with .sum(-1).",
    ),
    ("is not visible there", "Use only the available fields."),
    ("is known of next_obs alone", "Read it from next_obs."),
    (
        "must match the size of tensor",
        "Fields are [B] or [B, n]; reduce over the last dim with .sum(-1).",
    ),
    ("out of bounds for array of dimension", "[B] fields have one axis, [B, n] fields have two."),
    ("does not exist; available", "Use only the available names."),
    ("is not allowed; available", "Import only what is available."),
)
_KIND_HINTS: dict[str, str] = {
    "MemoryError": "Work on [B] arrays; do not build matrices over pairs of rows.",
    "RecursionError": "Compute the value without recursion.",
    "IndexError": "Look the shape of the field up; [B] has one axis, [B, n] has two.",
    "NameError": "Use only names that the program defines, numpy, math and common builtins.",
    "SystemExit": "Return the components; never end the process.",
}


def explain(error: BaseException, source: str, function: str) -> ProgramRejected:
    """Turn an exception raised by generated code into a rejection that names the line.

    A rejection passes through unchanged.
    """
    if isinstance(error, ProgramRejected):
        return error
    kind = type(error).__name__[:60]
    text = clean(_text_of(error))
    return ProgramRejected(
        f"{kind}: {text}" if text else kind,
        rule="runtime",
        expected=f"{function} to return without an error",
        where=_where(error, source, function),
        hint=_hint(kind, text),
    )


def clean(text: str, most: int = MOST_LETTERS) -> str:
    """Return foreign text on one line, printable, without machine paths, at most `most` letters."""
    return printable(_MACHINE_PATH.sub("(a path)", printable(text, 4 * most)), most)


def printable(text: str, most: int) -> str:
    """Return foreign text on one line, at most `most` letters, without what steers a terminal."""
    line = "".join(c if c.isprintable() else " " for c in text[: 4 * most])
    line = " ".join(line.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def line_naming(source: str, name: str) -> str:
    """Return ", line 7: `code`" for the first line that quotes the name; empty if there is none."""
    for number, line in enumerate(source.splitlines(), start=1):
        if f'"{name}"' in line or f"'{name}'" in line:
            return f", {quote_line(source, number)}"
    return ""


def quote_line(source: str, number: int) -> str:
    """Return "line 7: `code`"."""
    lines = source.splitlines()
    code = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    return f"line {number}: `{code[:120]}`"


def _where(error: BaseException, source: str, function: str) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return quote_line(source, error.lineno)
    number = _line_of(error.__traceback__)
    return function if number is None else f"{function}, {quote_line(source, number)}"


def _line_of(trace: TracebackType | None) -> int | None:
    """Return the innermost line of the program that the traceback passes through."""
    found = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == PROGRAM_FILE:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def _text_of(error: BaseException) -> str:
    """Return what the exception says; a foreign class is not asked to say it itself."""
    if type(error).__module__.split(".")[0] in ("builtins", "numpy"):
        return str(error)
    return next((argument for argument in error.args if type(argument) is str), "")


def _hint(kind: str, text: str) -> str | None:
    return next((hint for part, hint in _HINTS if part in text), _KIND_HINTS.get(kind))
