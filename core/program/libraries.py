"""The array library of a program: NumPy, or torch for simulators that live on a GPU.

The contract is one; what differs is what may be imported, which constants and functions there are,
and how the messages spell them.  For NumPy what reaches outside is refused by name; torch reaches
too much for that, so what may be used of it is a list.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from core.errors import ProgramRejected
from core.program.module import Module, rejected
from core.program.names import is_observation
from core.records.kinds import ArrayLibrary
from core.records.task import Field


@dataclass(frozen=True, slots=True)
class Library:
    """What the rules need to know of an array library.

    Attributes:
        name:      the module that is imported.
        constants: what a module constant may be computed with, besides numbers and `math`.
        words:     how messages written for NumPy are spelled for this one, in this order.
    """

    name: ArrayLibrary
    constants: frozenset[str]
    words: tuple[tuple[str, str], ...] = ()

    def spelled(self, error: ProgramRejected) -> ProgramRejected:
        """Return a rejection whose advice names this library's functions."""
        expected, hint = (self._worded(text) for text in (error.expected, error.hint))
        return ProgramRejected(
            error.found, rule=error.rule, expected=expected, where=error.where, hint=hint
        )

    def _worded(self, text: str | None) -> str | None:
        for numpy, own in self.words if text is not None else ():
            text = text.replace(numpy, own) if text is not None else None
        return text


LIBRARIES: Mapping[ArrayLibrary, Library] = {
    "numpy": Library(
        "numpy", frozenset({"pi", "e", "inf", "float32", "deg2rad", "radians", "sqrt", "exp"})
    ),
    "torch": Library(
        "torch",
        frozenset({"pi", "e", "inf", "float32"}),
        (
            ("The arrays are numpy arrays; use np.", "Begin the module with `import torch`."),
            ("import numpy as np", "import torch"),
            (".astype(np.float32)", ".float()"),
            ("axis", "dim"),
            ("np.", "torch."),
            ("numpy", "torch"),
        ),
    ),
}

_ELEMENTWISE = (
    "abs absolute neg negative positive reciprocal square sqrt rsqrt pow exp exp2 expm1 "
    "log log1p log2 log10 sin cos tan asin acos atan arcsin arccos arctan atan2 arctan2 "
    "sinh cosh tanh sigmoid softmax sign floor ceil round trunc frac fmod remainder clamp "
    "clip clamp_min clamp_max minimum maximum fmin fmax where hypot lerp add sub subtract "
    "mul multiply div divide true_divide floor_divide relu erf logaddexp heaviside deg2rad "
    "rad2deg nan_to_num isfinite isnan isinf isclose eq ne lt le gt ge less less_equal "
    "greater greater_equal equal logical_and logical_or logical_not logical_xor"
)
_SHAPES = (
    "stack cat concatenate unsqueeze squeeze expand_as broadcast_to zeros_like ones_like full_like "
    "shape ndim size dim dtype T"
)
_WITHIN_ROWS = (
    "sum mean std var prod amax amin all any norm vector_norm argmax argmin cumsum cumprod diff dot "
    "linalg logsumexp"
)
_NUMBERS = "float bool int long type_as float32 float64 int64 pi e inf nan"
_OF_PYTHON = "items values keys get append extend index count"
TORCH_NAMES = frozenset(
    " ".join((_ELEMENTWISE, _SHAPES, _WITHIN_ROWS, _NUMBERS, _OF_PYTHON)).split()
)
"""Attributes that a program in torch may use: functions of torch, methods of tensors and dicts."""


def broken_torch_rules(module: Module, fields: Sequence[Field]) -> list[ProgramRejected]:
    """Return every use of something that is neither on the list nor a field, function by function."""
    known = TORCH_NAMES | {field.name for field in fields}
    return [
        problem
        for function in module.functions.values()
        for node in module.nodes[function.name]
        for problem in _torch_names(node, module, known)
    ]


def _torch_names(node: ast.AST, module: Module, known: frozenset[str]) -> Iterator[ProgramRejected]:
    if isinstance(node, ast.Call):
        for keyword in node.keywords:
            if keyword.arg in ("out", "device", "generator"):
                yield rejected(
                    node, "attribute", f"the argument `{keyword.arg}=`", "a new tensor where it is"
                )
    if not isinstance(node, ast.Attribute) or _is_named(node.value, module):
        return
    text = ast.unparse(node)[:40]
    if node.attr.endswith("_") and node.attr not in known and not node.attr.startswith("_"):
        hint = f"Write `.{node.attr.rstrip('_')}`, which gives a new tensor."
        yield rejected(node, "inputs", f"`{text}`", "nothing changed in place", hint)
    elif node.attr not in known and not node.attr.startswith("_"):
        near = difflib.get_close_matches(node.attr, TORCH_NAMES, n=1, cutoff=0.75)
        hint = f"Did you mean `{near[0]}`?" if near else _STAY
        yield rejected(
            node,
            "attribute",
            f"`{text}`",
            "tensor arithmetic such as torch.where or .sum(-1)",
            hint,
        )


_STAY = "Numbers stay on the device: no .item(), .cpu() or .numpy(), and no randomness."


def _is_named(owner: ast.AST, module: Module) -> bool:
    """Tell whether what follows the dot is a field, a parameter or a function of `math`."""
    named = isinstance(owner, ast.Name) and owner.id in {"params", *module.math}
    return named or is_observation(owner)
