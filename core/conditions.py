"""The little language of a fitness: terms over fields, and comparisons of them joined by `and`.

    0.75 < cart_position < 1.25 and abs(pole_angle - joint[2]) <= 0.1

Read with `ast`, never executed.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from core.errors import InvalidFitness
from core.syntax import expression_tree

Doubles: TypeAlias = npt.NDArray[np.float64]
Values: TypeAlias = Mapping[str, npt.NDArray[np.floating]]

TERMS = "fields, components such as name[2], numbers, abs(...), + and -"
ALLOWED = f"comparisons (<, <=, >, >=) of {TERMS}, joined by `and`"
_COMPARE: Mapping[str, Callable[[Doubles, Doubles], npt.NDArray[np.bool_]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MAX_CHARACTERS = 500
_SIGNS: dict[type[ast.cmpop], str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


@dataclass(frozen=True, slots=True)
class Number:
    """A finite constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Value:
    """A field, or one component of a vector field."""

    name: str
    index: int | None = None

    def __str__(self) -> str:
        return self.name if self.index is None else f"{self.name}[{self.index}]"


@dataclass(frozen=True, slots=True)
class Absolute:
    """The absolute value of a term."""

    term: Term


@dataclass(frozen=True, slots=True)
class Sum:
    """Signed summands; the sign is +1 or -1."""

    parts: tuple[tuple[int, Term], ...]


Term: TypeAlias = Number | Value | Absolute | Sum


@dataclass(frozen=True, slots=True)
class Comparison:
    """`left sign right`, where sign is one of <, <=, >, >=."""

    left: Term
    sign: str
    right: Term


@dataclass(frozen=True, slots=True)
class Condition:
    """Comparisons that must all hold."""

    comparisons: tuple[Comparison, ...]


def parse_where(text: str) -> Condition:
    """Read a condition.

    >>> len(parse_where("0.75 < x < 1.25 and abs(v) < 0.1").comparisons)
    3

    Raises:
        InvalidFitness: anything but the allowed forms; says where and what is allowed.
    """
    return Condition(tuple(_comparisons(_tree(text, "where"))))


def parse_term(text: str) -> Term:
    """Read what a statistic is taken of: `height`, `joints[2]`, `-x_velocity`, `abs(x - y)`.

    Raises:
        InvalidFitness: anything but the allowed forms, or no field in it.
    """
    tree = _tree(text, "field", TERMS)
    try:
        term = _term(tree)
    except InvalidFitness as error:
        raise InvalidFitness(error.found, expected=TERMS, where="fitness field") from error
    if not list(read_by(term)):
        raise InvalidFitness(repr(text), expected="at least one field", where="fitness field")
    return term


def _tree(text: str, entry: str, allowed: str = ALLOWED) -> ast.expr:
    if len(text) > _MAX_CHARACTERS:
        raise InvalidFitness(
            f"{len(text)} characters",
            expected=f"at most {_MAX_CHARACTERS} characters",
            where=f"fitness {entry}",
        )
    try:
        return expression_tree(text.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        column = getattr(error, "offset", None)
        place = f", column {column}" if column else ""
        raise InvalidFitness(
            repr(text), expected=allowed, where=f"fitness {entry}{place}"
        ) from error


def _comparisons(node: ast.expr) -> Iterator[Comparison]:
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        for part in node.values:
            yield from _comparisons(part)
    elif isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        for left, sign, right in zip(sides, node.ops, sides[1:], strict=False):
            if type(sign) not in _SIGNS:
                raise _refused(node)
            yield Comparison(_term(left), _SIGNS[type(sign)], _term(right))
    else:
        raise _refused(node)


def _term(node: ast.expr) -> Term:
    match node:
        case ast.Constant():
            return _number(node)
        case ast.Name() | ast.Subscript():
            return _value(node)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return Sum(((-1, _term(operand)),))
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _term(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return Sum(((1, _term(left)), (1, _term(right))))
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return Sum(((1, _term(left)), (-1, _term(right))))
        case ast.Call(func=ast.Name(id="abs"), args=[argument], keywords=[]):
            return Absolute(_term(argument))
        case _:
            raise _refused(node)


def _number(node: ast.Constant) -> Number:
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refused(node)
    return Number(float(value))


def _value(node: ast.expr) -> Value:
    match node:
        case ast.Name(id=name):
            return Value(name)
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=int(index))):
            if not isinstance(index, bool):
                return Value(name, index)
    raise _refused(node)


def _refused(node: ast.expr) -> InvalidFitness:
    return InvalidFitness(
        f"`{ast.unparse(node)}`",
        expected=ALLOWED,
        where=f"fitness, column {node.col_offset + 1}",
    )


# --- meaning ----------------------------------------------------------------------------------


def holds(condition: Condition, values: Values, steps: int) -> npt.NDArray[np.bool_]:
    """Tell at which steps a condition holds.

    Args:
        condition: as read by `parse_where`.
        values:    field name -> [T] or [T, n].
        steps:     T.

    Returns:
        [T] booleans; a comparison with NaN is false.

    Raises:
        InvalidFitness: a field is missing, or is a vector used without an index.
    """
    result = np.ones(steps, dtype=np.bool_)
    for comparison in condition.comparisons:
        left = evaluate(comparison.left, values)
        right = evaluate(comparison.right, values)
        result &= _COMPARE[comparison.sign](left, right)
    return result


def evaluate(term: Term, values: Values) -> Doubles:
    """Return the numbers that a term means: [T], or one for all steps where it reads no field.

    Raises:
        InvalidFitness: as `holds`.
    """
    if isinstance(term, Number):
        return np.asarray(term.value, dtype=np.float64)  # broadcasts to [T]
    if isinstance(term, Value):
        return _series_of(term, values)
    if isinstance(term, Absolute):
        return np.abs(evaluate(term.term, values))
    total = np.zeros((), dtype=np.float64)
    for sign, part in term.parts:
        total = np.asarray(total + sign * evaluate(part, values))
    return total


def _series_of(term: Value, values: Values) -> Doubles:
    if term.name not in values:
        raise unknown_field(term.name, values)
    series = np.asarray(values[term.name], dtype=np.float64)
    size = series.shape[1] if series.ndim == 2 else None
    check_index(term, size)
    return series if term.index is None else series[:, term.index]


def read_by(term: Term) -> Iterator[Value]:
    """Yield the values that a term reads, left to right."""
    if isinstance(term, Value):
        yield term
    elif isinstance(term, Absolute):
        yield from read_by(term.term)
    elif isinstance(term, Sum):
        for _, part in term.parts:
            yield from read_by(part)


def check_index(value: Value, size: int | None) -> None:
    """Check an index against a field of `size` components; size None means one number.

    Raises:
        InvalidFitness: a vector without an index, a number with one, or an index too large.
    """
    if size is None and value.index is not None:
        raise InvalidFitness(
            str(value), expected=f"{value.name} without an index, it is one number", where="fitness"
        )
    if size is not None and value.index is None:
        raise InvalidFitness(
            value.name,
            expected=f"one component, {value.name}[0] to {value.name}[{size - 1}]",
            where="fitness",
        )
    if size is not None and value.index is not None and value.index >= size:
        raise InvalidFitness(str(value), expected=f"an index from 0 to {size - 1}", where="fitness")


def unknown_field(name: str, known: Iterable[str]) -> InvalidFitness:
    """Make the error for a name that no field has, with near misses."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else None
    expected = f"one of the fields {', '.join(names)}" if names else "no field, none is known"
    return InvalidFitness(repr(name), expected=expected, where="fitness", hint=hint)
