"""How a generated program is loaded and called.  Runs inside jailed children only.

What is done here makes good messages and catches accidents: few builtins, few imports, read-only
copies, checked results.  None of it is a wall; the walls are the sandbox's.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import CodeType, ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from core.errors import ProgramRejected
from core.fields import Floats, Layout
from core.records.programs import Program
from core.training.blame import PROGRAM_FILE, explain, line_naming
from core.training.deadlines import Guard, Overdue
from core.training.namespaces import (
    describe_row,
    maker,
    parameters,
    policy_columns,
    reward_columns,
)

MOST_COMPONENTS = 16
MOST_FEATURES = 32
MOST_LETTERS_OF_A_NAME = 40
MODULES: Mapping[str, ModuleType] = {"numpy": np, "math": math}
TORCH_MODULES = ("torch", "math")
BUILTINS: tuple[str, ...] = (
    *("abs", "all", "any", "bool", "dict", "divmod", "enumerate", "filter", "float", "frozenset"),
    *("int", "isinstance", "len", "list", "map", "max", "min", "pow", "range", "reversed", "round"),
    *("set", "slice", "sorted", "str", "sum", "tuple", "zip", "ArithmeticError", "AttributeError"),
    *("Exception", "IndexError", "KeyError", "TypeError", "ValueError", "ZeroDivisionError"),
)

Actions: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.int64]


def is_name(name: str) -> bool:
    """Tell whether a component or a feature may be called so."""
    return name.isidentifier() and len(name) <= MOST_LETTERS_OF_A_NAME


class LoadedProgram:
    """A program, compiled and ready to be called on blocks of rows.

    `feature_names` and `component_names` are empty until the first call; from then on a call that
    gives other names is rejected.  Terms that the program leaves out are held to the contract like all
    others, and dropped then.
    """

    def __init__(
        self,
        program: Program,
        layout: Layout,
        module: dict[str, Any],
        *,
        strict: bool = False,
        guard: Guard | None = None,
    ) -> None:
        self.program = program
        self.strict = strict
        self.layout = layout
        self.feature_names: tuple[str, ...] = ()
        self.component_names: tuple[str, ...] = ()
        self._module = module
        self._guard = guard
        self._seen_by_features = maker(layout, policy_columns(layout), "features(obs)")
        self._present = maker(layout, reward_columns(layout, layout.state_size), "obs")
        self._next = maker(layout, reward_columns(layout, layout.size), "next_obs")
        self._params = parameters(program)
        self._left_out = {
            "features": {name for kind, name in program.left_out if kind == "feature"},
            "reward": {name for kind, name in program.left_out if kind == "component"},
        }

    def features(self, state_block: Floats) -> Floats:
        """Compute the extra dimensions of states [B, ≥ D].

        Returns:
            [B, F] float32, columns in the order of `feature_names`; F = 0 without `features`.

        Raises:
            ProgramRejected: the code raised, or its result breaks the contract.
        """
        rows = len(state_block)
        if not self.program.has_features:
            return np.zeros((rows, 0), np.float32)
        block = frozen(state_block)
        self._announce(rows)
        result = self._call("features", self._seen_by_features(block))
        self._hold_untouched("features", (block, state_block))
        terms = self._terms("features", result, rows, MOST_FEATURES)
        names = tuple(terms)
        self.feature_names = self._same_names("features", self.feature_names, names)
        columns = np.empty((rows, len(names)), np.float32)
        for index, values in enumerate(terms.values()):
            columns[:, index] = values
        self._hold_finite("feature", names, columns, state_block)
        return columns

    def reward(self, state_block: Floats, action: Actions, next_block: Floats) -> dict[str, Floats]:
        """Compute the components of transitions by name, [B] float32 each; see `components`."""
        columns = self.components(state_block, action, next_block)
        return dict(zip(self.component_names, columns, strict=True))

    def components(self, state_block: Floats, action: Actions, next_block: Floats) -> Floats:
        """Compute the components of transitions.

        Args:
            state_block: [B, state_size] present states.
            action:      int64 [B] counted from 0, or float32 [B, A] as the environment received it.
            next_block:  [B, size] the final next states, before any reset.

        Returns:
            [C, B] float32, rows in the order of `component_names`; C = 0 without `reward`.

        Raises:
            ProgramRejected: the code raised, or its result breaks the contract.
        """
        rows = len(state_block)
        if not self.program.has_reward:
            return np.zeros((0, rows), np.float32)
        block, acted, following = frozen(state_block), frozen(action), frozen(next_block)
        self._announce(rows)
        result = self._call(
            "reward", self._present(block), acted, self._next(following), self._params
        )
        if self.strict:
            self._hold_untouched(
                "reward", (block, state_block), (acted, action), (following, next_block)
            )
        terms = self._terms("reward", result, rows, MOST_COMPONENTS)
        names = tuple(terms)
        self.component_names = self._same_names("reward", self.component_names, names)
        columns = np.array(list(terms.values()), np.float32)
        self._hold_finite("component", names, columns.T, next_block)
        return columns

    def _announce(self, rows: int) -> None:
        if self._guard is not None:
            self._guard.rows = rows

    def _call(self, function: str, *arguments: Any) -> Any:
        try:
            with np.errstate(all="ignore"), watched(self._guard):
                return self._module[function](*arguments)
        except BaseException as error:
            raise explained(error, self.program, function, self._guard) from error

    def _hold_untouched(self, function: str, *pairs: tuple[Any, Any]) -> None:
        """In strict mode, look whether the copies that were handed out are still as they were."""
        if self.strict and not all(np.array_equal(copy, own) for copy, own in pairs):
            raise _rejected(
                function,
                "an input that was changed in place",
                "inputs left as they are",
                "Compute new arrays instead of writing into the inputs.",
                rule="inputs",
            )

    def _terms(
        self, function: str, result: object, rows: int, most: int
    ) -> dict[str, npt.NDArray[Any]]:
        if type(result) is not dict or not _STRINGS.issuperset(map(type, result)):
            raise _rejected(
                function, f"{_describe(result)}", "a dict of name -> array [B]", "Return a dict."
            )
        if not 1 <= len(result) <= most:
            raise _rejected(
                function,
                f"{len(result)} entries",
                f"1 to {most} named entries",
                "Merge or drop some.",
            )
        known = self.feature_names if function == "features" else self.component_names
        for name, values in result.items():
            usual = type(values) is np.ndarray and values.dtype.kind in "fiub"
            if not (usual and values.shape == (rows,) and name in known):
                self._hold_term(function, name, values, rows)
        left_out = self._left_out[function]
        if not left_out:
            return result
        return {name: values for name, values in result.items() if name not in left_out}

    def _hold_term(self, function: str, name: str, values: Any, rows: int) -> None:
        if not is_name(name):
            raise _rejected(
                function,
                repr(name[:60]),
                "a name that is a Python identifier of at most 40 letters",
            )
        numbers = isinstance(values, np.ndarray) and values.dtype.kind in "fiub"
        if numbers and values.shape == (rows,):
            return
        where = f"{function}, entry {name!r}{line_naming(self.program.source, name)}"
        if not numbers:
            raise _rejected(
                where, _describe(values), f"a float array of shape ({rows},)", _SCALAR_HINT
            )
        raise _rejected(
            where, f"shape {values.shape}", f"shape ({rows},), one number per row", _SHAPE_HINT
        )

    def _same_names(
        self, function: str, known: tuple[str, ...], names: tuple[str, ...]
    ) -> tuple[str, ...]:
        if known and names != known:
            raise _rejected(
                function,
                f"the names {list(names)} in a later call",
                f"the same names in every call, {list(known)}",
                "Return every entry always; use np.where for the rows in which it does not count.",
            )
        return names

    def _hold_finite(
        self, kind: str, names: tuple[str, ...], columns: Floats, block: Floats
    ) -> None:
        finite = np.isfinite(columns)
        if np.logical_and.reduce(finite, axis=None):
            return
        row, column = (int(i) for i in np.argwhere(~finite)[0])
        raise _rejected(
            f"{kind} {names[column]!r}{line_naming(self.program.source, names[column])}",
            f"{columns[row, column]} in row {row}, where {describe_row(self.layout, block[row])}",
            "finite float32 numbers in every row",
            "Guard divisions, logarithms, roots and exponentials, for instance with np.maximum.",
            rule="finite",
        )


def load_program(
    program: Program, layout: Layout, *, strict: bool = False, guard: Guard | None = None
) -> LoadedProgram:
    """Compile and execute the source in a namespace of its own.

    Args:
        program: what to load.
        layout:  the columns of the blocks that it will be called with.
        strict:  compare inputs before and after each call; for the check, not for training.
        guard:   watches the time of each call; for training.

    Raises:
        ProgramRejected: the module body raised, or a promised function is missing.
    """
    kind, modules = _kind(program)
    module: dict[str, Any] = {"__name__": "program", "__builtins__": _few_builtins(modules)}
    try:
        code: CodeType = compile(program.source, PROGRAM_FILE, "exec", dont_inherit=True)
        with np.errstate(all="ignore"), watched(guard):
            exec(code, module)
    except BaseException as error:
        raise explained(error, program, "the module body", guard) from error
    for name, promised in (("reward", program.has_reward), ("features", program.has_features)):
        if promised and not callable(module.get(name)):
            raise _rejected(
                "module", f"no function {name!r}", f"`def {name}(...)` at the top level"
            )
    module["PARAMS"] = dict(program.params)
    return kind(program, layout, module, strict=strict, guard=guard)


def _kind(program: Program) -> tuple[type[LoadedProgram], tuple[str, ...]]:
    """Return how a program is called and what it may import; only torch's loads torch."""
    if program.array == "numpy":
        return LoadedProgram, tuple(MODULES)
    from core.training.torch_runtime import TorchProgram

    return TorchProgram, TORCH_MODULES


_STRINGS = frozenset({str})
_UNWATCHED: AbstractContextManager[None] = nullcontext()


def watched(guard: Guard | None) -> AbstractContextManager[None]:
    """Return the guard as a context, or one that watches nothing."""
    return _UNWATCHED if guard is None else guard


def explained(
    error: BaseException, program: Program, function: str, guard: Guard | None
) -> ProgramRejected:
    """Turn what a program raised into a rejection; one that the guard raised tells of the time."""
    said = explain(error, program.source, function)
    return guard.overdue(said.where) if guard and isinstance(error, Overdue) else said


def frozen(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a read-only copy, column after column in memory; the caller's own stays untouched."""
    copy = values.copy(order="F")
    copy.setflags(write=False)
    return copy


def _few_builtins(modules: tuple[str, ...]) -> dict[str, Any]:
    few: dict[str, Any] = {name: getattr(builtins, name) for name in BUILTINS}

    def import_few(
        name: str,
        _globals: object = None,
        _locals: object = None,
        fromlist: tuple[str, ...] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if level or name.partition(".")[0] not in modules:
            raise ImportError(f"import of {name!r} is not allowed; available: {', '.join(modules)}")
        return builtins.__import__(name, None, None, fromlist or (), 0)

    few["__import__"] = import_few
    return few


_SCALAR_HINT = (
    "Compute it from the fields, so that every row has a number (for instance with np.where)."
)
_SHAPE_HINT = "Fields are [B] or [B, n]: reduce over the last axis with .sum(-1), never over rows."


def _rejected(
    where: str, found: str, expected: str, hint: str | None = None, rule: str = "runtime"
) -> ProgramRejected:
    return ProgramRejected(found, rule=rule, expected=expected, where=where, hint=hint)


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with shape {value.shape}"
    if isinstance(value, (bool, int, float, type(None))):
        return f"the single value {str(value)[:40]}"
    return f"a value of type {type(value).__name__[:40]}"
