"""An environment's source as context: what builds the observation, without what it pays.

Text in, text out; nothing is imported or executed.  The source of an environment's classes is sliced:
kept is what the observation that `step` returns depends on, and the methods that it calls.  What only
the native reward depends on falls away by itself, and whatever still names a reward, cost or success is
dropped.  What the reward is computed from is returned apart, for `core.leaks`.

A slice is found by names, without running anything: it can keep a line too many, and what an object of
another class does is not followed.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from core.syntax import syntax_tree

MOST_SOURCE = 60_000  # characters of an environment's source that are kept
MOST_EXCERPT = 8_000

_PAID = re.compile(
    r"(^|_)(rew|rewards?|costs?|penalt(y|ies)|bonus|shaping|success(es)?|score|fitness|metrics?)(_|$)",
    re.IGNORECASE,
)
_OBSERVES = re.compile(r"^_*(get_|build_|make_)?obs(ervation)?s?$")
_RETURNED = 4  # values that `step` returns at least, the observation first and the reward second
_OBSERVATION, _REWARD = 0, 1


@dataclass(frozen=True, slots=True)
class Native:
    """What the native reward is made of.

    Attributes:
        expressions: the computations, as Python expressions.
        names:       what it calls its weights and terms: `forward_reward_weight`, `ctrl_cost`.
    """

    expressions: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()


def module_constants(source: str) -> str:
    r"""Return the assignments of a module that give a capital name a number.

    >>> module_constants("import math\nFPS = 50\nname = 3\nSCALE = FPS * 2.0")
    'FPS = 50\nSCALE = FPS * 2.0'
    """
    tree = _parsed(source)
    return "\n".join(ast.unparse(s) for s in (tree.body if tree else ()) if _is_constant(s))


def observation_excerpt(source: str, hidden: Iterable[str] = (), most: int = MOST_EXCERPT) -> str:
    """Return the code that builds the observation, without comments; "" where none is found.

    Args:
        source: constants and classes of an environment, the most derived class first.
        hidden: names that must not appear, such as those of fields that only the metric may see.
        most:   characters; a longer excerpt is cut at the end of a line.
    """
    try:
        return _cut(_excerpt(source, frozenset(hidden)), most)
    except (RecursionError, ValueError):
        return (
            ""  # foreign text, nested deeper than anybody writes, or that cannot be written again
        )


def _excerpt(source: str, hidden: frozenset[str]) -> str:
    classes = _Classes.read(source)
    kept = _Excerpt(classes, hidden).functions() if classes else []
    if classes is None or not kept:
        return ""
    body: list[ast.stmt] = list(kept)
    shown = ast.ClassDef(classes.name, [], [], body, [])
    text = ast.unparse(ast.fix_missing_locations(ast.Module([shown], [])))
    return "\n".join([*_constants_of(shown, classes.constants), "", text]).strip()


def _constants_of(shown: ast.AST, constants: Sequence[ast.stmt]) -> list[str]:
    """Return the constants that the code reads, and those that they are computed from."""
    read, used = _reads(shown), list[str]()
    for statement in reversed(constants):
        if _targets(statement) & read:
            read |= _reads(statement)
            used.insert(0, ast.unparse(statement))
    return used


@lru_cache(maxsize=8)  # every prompt of a job is held against the same source
def native_reward(source: str) -> Native:
    """Return the computations that the native reward, and nothing of the observation, depends on."""
    try:
        return _native(source)
    except RecursionError:
        return Native()


def _native(source: str) -> Native:
    classes = _Classes.read(source)
    if classes is None:
        return Native()
    observed = observation_excerpt(source, most=MOST_SOURCE)
    found = [(node, _written(node)) for node in _paid_by(classes)]
    found = [(node, text) for node, text in found if text not in observed]
    expressions = tuple(dict.fromkeys(text for _, text in found))
    names = {name.lstrip("_") for node, _ in found for name in _identifiers(node)}
    return Native(expressions, frozenset(n for n in names if _PAID.search(n) and "_" in n))


def _written(node: ast.AST) -> str:
    """Return the code of a node; its syntax where Python cannot write that, which is in no prompt.

    Such are f-strings around text that needs a backslash, and the longest integers.
    """
    try:
        return ast.unparse(node)
    except ValueError:
        return ast.dump(node)


# --- the classes ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Classes:
    """Methods by name, the most derived first, and the constants beside the classes."""

    name: str
    methods: dict[str, list[ast.FunctionDef]]
    constants: tuple[ast.stmt, ...]

    @staticmethod
    def read(source: str) -> _Classes | None:
        tree = _parsed(source)
        defined = [s for s in tree.body if isinstance(s, ast.ClassDef)] if tree else []
        if tree is None or not defined:
            return None
        methods: dict[str, list[ast.FunctionDef]] = {}
        for one in defined:
            for statement in one.body:
                if isinstance(statement, ast.FunctionDef):
                    methods.setdefault(statement.name, []).append(statement)
        return _Classes(defined[0].name, methods, tuple(s for s in tree.body if _is_constant(s)))

    def called(self, nodes: Iterable[ast.AST]) -> list[ast.FunctionDef]:
        """Return the own methods and properties that the code uses; of `super()`, the next ones."""
        found: list[ast.FunctionDef] = []
        for node in (n for top in nodes for n in ast.walk(top)):
            if isinstance(node, ast.Attribute) and node.attr in self.methods:
                own = self.methods[node.attr]
                if _is_self(node.value):
                    found.append(own[0])
                elif _is_super(node.value):
                    found += own[1:2]
        return found


def _parsed(source: str) -> ast.Module | None:
    try:
        return syntax_tree(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # foreign text that cannot be read gives no context


def _is_constant(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Assign)
        and all(isinstance(t, ast.Name) and t.id.isupper() for t in statement.targets)
        and all(isinstance(n, _ARITHMETIC) for n in ast.walk(statement.value))
    )


_ARITHMETIC = (
    ast.Constant,
    ast.Name,
    ast.Load,
    ast.BinOp,
    ast.UnaryOp,
    ast.operator,
    ast.unaryop,
)


# --- slices -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Slice:
    """The statements of a function that some names depend on, found backwards.

    Attributes:
        needed: names of variables, `self.x` for attributes; it grows.
        hidden: statements that name one of these, or something paid, are not kept; None: all are.
        paid:   whether it is the reward that is followed: then neither the conditions under which it
                is paid nor the attributes that hold the state belong to it.
    """

    needed: set[str]
    hidden: frozenset[str] | None = None
    paid: bool = False
    values: list[ast.expr] = field(default_factory=list)

    def of(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Return what is kept, once nothing more is needed."""
        before = -1
        while before < len(self.needed):
            before = len(self.needed)
            self.values.clear()
            kept = self._kept(body)
        return kept

    def _kept(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        kept = [new for old in reversed(body) if (new := self._statement(old)) is not None]
        return kept[::-1]

    def _statement(self, statement: ast.stmt) -> ast.stmt | None:
        if _BODIES & set(statement._fields):
            return self._compound(statement)
        if self.hidden is not None and _names_hidden(statement, self.hidden):
            return None
        if isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign):
            if statement.value is None or not _targets(statement) & self.needed:
                return None
            self.values.append(statement.value)
        elif not (isinstance(statement, ast.Expr) and self._changes(statement.value)):
            return None
        self._follow(_reads(statement))
        return statement

    def _follow(self, names: set[str]) -> None:
        state = {n for n in names if self.paid and n.startswith("self.") and not _PAID.search(n)}
        self.needed |= names - state

    def _changes(self, call: ast.expr) -> bool:
        """Tell whether a call changes something needed in place: `parts.append(...)`."""
        function = call.func if isinstance(call, ast.Call) else None
        if not isinstance(function, ast.Attribute) or not isinstance(function.value, ast.Name):
            return False
        return function.value.id != "self" and function.value.id in self.needed

    def _compound(self, statement: ast.stmt) -> ast.stmt | None:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return None
        parts = {n: self._kept(getattr(statement, n)) for n in _BODIES & set(statement._fields)}
        if not any(parts.values()):
            return None
        if not self.paid:
            for head in _heads(statement):
                self._follow(_reads(head))
        return _with_bodies(statement, parts)


_BODIES = frozenset({"body", "orelse", "finalbody"})


def _heads(statement: ast.stmt) -> list[ast.AST]:
    """Return what stands before the bodies: a condition, a loop's target and range."""
    values = [value for name, value in ast.iter_fields(statement) if name not in _BODIES]
    nodes = [node for value in values for node in (value if isinstance(value, list) else [value])]
    return [node for node in nodes if isinstance(node, ast.AST)]


def _with_bodies(statement: ast.stmt, parts: dict[str, list[ast.stmt]]) -> ast.stmt:
    """Return a copy of a compound statement with other bodies."""
    other = copy.copy(statement)
    for name, body in parts.items():
        setattr(other, name, body or ([ast.Pass()] if name == "body" else []))
    return other


def _targets(statement: ast.AST) -> set[str]:
    """Return the names that an assignment gives a value, `self.x` for an attribute."""
    if isinstance(statement, ast.Assign):
        places: list[ast.expr] = list(statement.targets)
    elif isinstance(statement, ast.AugAssign | ast.AnnAssign):
        places = [statement.target]
    else:
        return set()
    found: set[str] = set()
    while places:
        place = places.pop()
        if isinstance(place, ast.Tuple | ast.List):
            places += place.elts
        elif isinstance(place, ast.Starred | ast.Subscript):
            places.append(place.value)
        elif isinstance(place, ast.Name):
            found.add(place.id)
        elif isinstance(place, ast.Attribute) and _is_self(place.value):
            found.add(f"self.{place.attr}")
    return found


def _reads(node: ast.AST) -> set[str]:
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            found.add(part.id)
        elif isinstance(part, ast.Attribute) and _is_self(part.value):
            found.add(f"self.{part.attr}")
    return found - {"self"}


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _is_super(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    )


def _identifiers(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value  # a key of a dictionary
        elif isinstance(part, ast.keyword) and part.arg:
            yield part.arg


def _names_hidden(node: ast.AST, hidden: frozenset[str]) -> bool:
    return any(name in hidden or _PAID.search(name) for name in _identifiers(node))


# --- the observation --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Excerpt:
    """The functions that build an observation."""

    classes: _Classes
    hidden: frozenset[str]

    def functions(self) -> list[ast.FunctionDef]:
        """Return `step` cut down to the observation, then what it calls, in order of need."""
        waiting = self._first()
        known = {id(f) for f in waiting}
        kept: list[ast.FunctionDef] = []
        while waiting:
            function = waiting.pop(0)
            shown = self._stripped(function)
            if shown is None:
                continue
            kept.append(shown)
            for other in self.classes.called(shown.body):
                if id(other) not in known and not _PAID.search(other.name):
                    known.add(id(other))
                    waiting.append(other)
        return kept

    def _first(self) -> list[ast.FunctionDef]:
        step = self.classes.methods.get("step", [])
        if step and _returned(step[0], _OBSERVATION) is not None:
            return step[:1]
        return [fs[0] for name, fs in self.classes.methods.items() if _OBSERVES.match(name)]

    def _stripped(self, function: ast.FunctionDef) -> ast.FunctionDef | None:
        observation = _returned(function, _OBSERVATION) if function.name == "step" else None
        if observation is None:
            body = _without(function.body, self.hidden)
        else:
            kept = _Slice(_reads(observation), self.hidden).of(function.body)
            body = [*kept, ast.Return(observation)]
        if not body or _names_hidden(body[-1], self.hidden):
            return None
        decorators: list[ast.expr] = [d for d in function.decorator_list if isinstance(d, ast.Name)]
        arguments = ast.arguments(
            [], [ast.arg(a.arg) for a in function.args.args], None, [], [], None, []
        )
        return ast.FunctionDef(function.name, arguments, body, decorators)


def _returned(function: ast.FunctionDef, place: int) -> ast.expr | None:
    """Return what `step` returns as its observation or reward, in its last return."""
    for node in reversed(list(ast.walk(function))):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            values = node.value.elts
            if len(values) >= _RETURNED:
                return values[place]
    return None


def _without(body: Sequence[ast.stmt], hidden: frozenset[str]) -> list[ast.stmt]:
    """Drop docstrings, and statements that name what is hidden."""
    kept: list[ast.stmt] = []
    for statement in body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        parts = _BODIES & set(statement._fields)
        if not parts:
            if not _names_hidden(statement, hidden):
                kept.append(statement)
            continue
        inner = {n: _without(getattr(statement, n), hidden) for n in parts}
        told = any(_names_hidden(head, hidden) for head in _heads(statement))
        if not told and any(inner.values()):
            kept.append(_with_bodies(statement, inner))
    return kept


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return text[: text.rfind("\n", 0, most)] + "\n    ..."


# --- the native reward ------------------------------------------------------------------------


def _paid_by(classes: _Classes) -> Iterator[ast.expr]:
    """Yield the expressions that the reward is computed from."""
    waiting = [f for name, own in classes.methods.items() if _PAID.search(name) for f in own]
    known = {id(f) for f in waiting}
    for step in classes.methods.get("step", []):
        used = list(_paid_in_step(step))
        yield from used
        waiting += [f for f in classes.called(used) if id(f) not in known]
    for own in classes.methods.values():
        for function in own:
            yield from _paid_assignments(function)
    for function in waiting:
        yield from _computed(function)


def _paid_in_step(step: ast.FunctionDef) -> Iterator[ast.expr]:
    """Yield what the second value that `step` returns depends on, and the first does not."""
    reward, observation = _returned(step, _REWARD), _returned(step, _OBSERVATION)
    if reward is None or observation is None:
        return
    yield reward
    seen = _Slice(_reads(observation))
    seen.of(step.body)
    paid = _Slice(_reads(reward) - seen.needed, paid=True)
    paid.of(step.body)
    observed = {id(value) for value in seen.values}
    yield from (value for value in paid.values if id(value) not in observed)


def _paid_assignments(function: ast.FunctionDef) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and node.value is not None:
            names = [name.removeprefix("self.") for name in _targets(node)]
            if any(_PAID.search(name) for name in names):
                yield node.value


def _computed(function: ast.FunctionDef) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Return) and node.value is not None:
            yield node.value
