"""How a generated program in torch is called: on tensors wherever they are, or on arrays.

A trainer on a device calls `tensor_features` and `tensor_reward`, which wait for nothing: whether
the numbers were finite is for the caller to note on the device.  Everybody else calls `features` and
`reward` with arrays, as with a program in NumPy, and the same rules hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.errors import ProgramRejected
from core.fields import Floats
from core.training.blame import line_naming
from core.training.runtime import (
    MOST_COMPONENTS,
    MOST_FEATURES,
    Actions,
    LoadedProgram,
    explained,
    is_name,
    watched,
)


class TorchProgram(LoadedProgram):
    """A program in torch, compiled and ready to be called on blocks of rows."""

    def features(self, state_block: Floats) -> Floats:
        """Compute the extra dimensions of states [B, ≥ D], as `LoadedProgram.features`."""
        columns: Floats = self.tensor_features(_tensor(state_block)).numpy()
        self._hold_finite("feature", self.feature_names, columns, state_block)
        return columns

    def components(self, state_block: Floats, action: Actions, next_block: Floats) -> Floats:
        """Compute the components of transitions, as `LoadedProgram.components`."""
        terms = self.tensor_reward(_tensor(state_block), _tensor(action), _tensor(next_block))
        columns = np.zeros((len(terms), len(state_block)), np.float32)
        for column, values in zip(columns, terms.values(), strict=True):
            column[:] = values.numpy()
        self._hold_finite("component", tuple(terms), columns.T, next_block)
        return columns

    def tensor_features(self, state_block: Tensor) -> Tensor:
        """Compute the extra dimensions [B, F] of states [B, ≥ D], on their device.

        Raises:
            ProgramRejected: the code raised, or its result breaks the contract.
        """
        rows = len(state_block)
        if not self.program.has_features:
            return state_block.new_zeros(rows, 0)
        block: Any = state_block.clone()
        self._announce(rows)
        result = self._call("features", self._seen_by_features(block))
        self._hold_as_they_were("features", (block, state_block))
        terms: Mapping[str, Any] = self._terms("features", result, rows, MOST_FEATURES)
        self.feature_names = self._same_names("features", self.feature_names, tuple(terms))
        if not terms:  # all were left out
            return state_block.new_zeros(rows, 0)
        return torch.stack([*self._plain("features", terms, state_block).values()], 1)

    def tensor_reward(
        self, state_block: Tensor, action: Tensor, next_block: Tensor
    ) -> dict[str, Tensor]:
        """Compute the components of transitions, name -> [B] float32, on their device.

        Raises:
            ProgramRejected: the code raised, or its result breaks the contract.
        """
        if not self.program.has_reward:
            return {}
        own: tuple[Any, ...] = (state_block.clone(), action.clone(), next_block.clone())
        self._announce(len(state_block))
        result = self._call(
            "reward", self._present(own[0]), own[1], self._next(own[2]), self._params
        )
        given = (state_block, action, next_block)
        self._hold_as_they_were("reward", *zip(own, given, strict=True))
        terms: Mapping[str, Any] = self._terms("reward", result, len(state_block), MOST_COMPONENTS)
        self.component_names = self._same_names("reward", self.component_names, tuple(terms))
        return self._plain("reward", terms, state_block)

    def _plain(self, function: str, terms: Mapping[str, Any], given: Tensor) -> dict[str, Tensor]:
        """Return the terms as float32 without a history, held to the device of what was given."""
        for name, values in terms.items():
            if values.device != given.device:
                raise _rejected(
                    f"{function}, entry {name!r}{line_naming(self.program.source, name)}",
                    f"a tensor on the device {values.device}",
                    f"a tensor on {given.device}, where the fields are",
                    "Make new tensors from the fields, for instance with torch.zeros_like.",
                )
        return {name: values.detach().float() for name, values in terms.items()}

    def _call(self, function: str, *arguments: Any) -> Any:
        try:
            with torch.no_grad(), watched(self._guard):
                return self._module[function](*arguments)
        except BaseException as error:
            raise explained(error, self.program, function, self._guard) from error

    def _hold_as_they_were(self, function: str, *pairs: tuple[Tensor, Tensor]) -> None:
        """In strict mode, look whether the copies that were handed out are still as they were."""
        arrays = [(copy.numpy(), own.numpy()) for copy, own in pairs] if self.strict else []
        self._hold_untouched(function, *arrays)

    def _hold_term(self, function: str, name: str, values: object, rows: int) -> None:
        if not is_name(name):
            raise _rejected(
                function,
                repr(name[:60]),
                "a name that is a Python identifier of at most 40 letters",
            )
        where = f"{function}, entry {name!r}{line_naming(self.program.source, name)}"
        if not isinstance(values, Tensor) or values.is_complex():
            found = f"a value of type {type(values).__name__[:40]}"
            raise _rejected(where, found, f"a float tensor of shape ({rows},)", _SCALAR_HINT)
        if tuple(values.shape) != (rows,):
            found = f"shape {tuple(values.shape)}"
            raise _rejected(where, found, f"shape ({rows},), one number per row", _SHAPE_HINT)


_SCALAR_HINT = (
    "Compute it from the fields, so that every row has a number (for instance with torch.where)."
)
_SHAPE_HINT = "Fields are [B] or [B, n]: reduce over the last dim with .sum(-1), never over rows."


def _rejected(where: str, found: str, expected: str, hint: str | None = None) -> ProgramRejected:
    return ProgramRejected(found, rule="runtime", expected=expected, where=where, hint=hint)


def _tensor(array: npt.NDArray[Any]) -> Tensor:
    """Return a copy of an array as a tensor; arrays may be read-only, which torch warns of."""
    return torch.from_numpy(np.array(array, order="C"))
