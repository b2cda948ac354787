"""The compiled functions, called with checked arrays.

Every array that crosses into C++ is held to its type, shape and layout here: a wrong pointer cannot be
made.  Torch tensors on the CPU and NumPy arrays will both do.  Calls release the interpreter's lock.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from core.fields import Floats
from core.training.kernel.checks import (
    Numbers,
    held,
    held_actions,
    held_choices,
    held_order,
    unfit,
)
from core.training.kernel.library import Found, describe, find

if TYPE_CHECKING:
    from core.training.networks import Shapes
    from core.training.ppo import Experience, Hyper, Stack

MOST_LAYERS = 4
_NETWORKS = {"policy": 0, "value": 1}
_NUMBERS = (
    "learning_rate",
    "clip",
    "entropy",
    "value",
    "max_grad_norm",
)  # as the library reads them


class _Spec(ctypes.Structure):
    _fields_ = (
        ("inputs", ctypes.c_int64),
        ("layers", ctypes.c_int64),
        ("hidden", ctypes.c_int64 * MOST_LAYERS),
        ("actions", ctypes.c_int64),
        ("continuous", ctypes.c_int64),
    )


@dataclass(frozen=True, slots=True)
class Packed:
    """The networks of P members as they were when packed, laid out for speed."""

    shapes: Shapes
    members: int
    floats: Floats  # [P, packed size]


@dataclass(frozen=True, slots=True)
class Kernel:
    """The loaded library.  Get it from `load()`."""

    library: ctypes.CDLL
    needs: tuple[str, ...]

    def update(
        self,
        stack: Stack,
        experience: Experience,
        hyper: Hyper,
        minibatches: Sequence[npt.NDArray[np.int64]],
    ) -> Floats:
        """Take one gradient step per minibatch, as `core.training.ppo.update` does.

        Members that are not living are left as they are, and their losses are 0.  A member whose
        numbers are not finite gets parameters that are not finite.

        Args:
            stack:       the members; parameters, moments and counts are changed in place.
            experience:  [P, B, ...] what they learn from; the stack may have a row more.
            hyper:       the numbers in which members may differ.
            minibatches: row numbers of every minibatch of every epoch, shared by all members.

        Returns:
            [4, P] means of value loss, entropy, divergence and clipped share, as `Losses` has them.

        Raises:
            ValueError: an array has another type, shape or layout, or a number is out of range.
        """
        shapes, spec = stack.shapes, _spec(stack.shapes)
        members, rows = experience.inputs.shape[:2]
        size = stack.flat.shape[1]
        if size != self.library.rewardsmith_flat_size(ctypes.byref(spec)):
            raise unfit("flat", f"{size} parameters", f"those of {shapes}")
        order, bounds = held_order(minibatches, rows)
        column, f4 = (members, rows), np.float32
        arrays = [
            held("flat", stack.flat[:members], f4, (members, size), written=True),
            held("first", stack.first[:members], f4, (members, size), written=True),
            held("second", stack.second[:members], f4, (members, size), written=True),
            held("updates", stack.updates[:members], np.float64, (members, 1), written=True),
            held("living", stack.living[:members], np.bool_, (members,)),
            held("inputs", experience.inputs, f4, (*column, shapes.inputs)),
            held_choices(experience.actions, shapes, column),
            held("log_probs", experience.log_probs, f4, column),
            held("advantages", experience.advantages, f4, column),
            held("returns", experience.returns, f4, column),
            order,
            bounds,
        ]
        numbers = np.concatenate(
            [held(n, getattr(hyper, n)[:members], f4, (members, 1)) for n in _NUMBERS], axis=1
        ).astype(np.float64)
        losses = np.zeros((members, 4), np.float32)
        status = self.library.rewardsmith_update(
            ctypes.byref(spec),
            members,
            rows,
            *(array.ctypes.data for array in arrays),
            len(minibatches),
            numbers.ctypes.data,
            losses.ctypes.data,
        )
        _hold_status(status)
        return np.ascontiguousarray(losses.T)

    def pack(self, shapes: Shapes, flat: Numbers) -> Packed:
        """Lay the networks of flat [P, n] out for `forward` and `Actor`; do so after every update."""
        spec = _spec(shapes)
        size = self.library.rewardsmith_flat_size(ctypes.byref(spec))
        members = len(flat)
        given = held("flat", flat, np.float32, (members, size))
        room = np.empty(
            (members, self.library.rewardsmith_packed_size(ctypes.byref(spec))), np.float32
        )
        self.library.rewardsmith_pack(
            ctypes.byref(spec), members, given.ctypes.data, room.ctypes.data
        )
        return Packed(shapes, members, room)

    def forward(
        self, packed: Packed, network: Literal["policy", "value"], inputs: Numbers
    ) -> Floats:
        """Return logits, means or values [P, B, O] of inputs [P, B, I].

        A row's result has the same bits whatever P and B are.
        """
        shapes, rows = packed.shapes, inputs.shape[1]
        given = held("inputs", inputs, np.float32, (packed.members, rows, shapes.inputs))
        outputs = shapes.actions if network == "policy" else 1
        result = np.empty((packed.members, rows, outputs), np.float32)
        status = self.library.rewardsmith_forward(
            ctypes.byref(_spec(shapes)),
            packed.members,
            packed.floats.ctypes.data,
            _NETWORKS[network],
            rows,
            given.ctypes.data,
            result.ctypes.data,
        )
        _hold_status(status)
        return result

    def actor(self, packed: Packed, mean: Floats, scale: Floats) -> Actor:
        """Prepare to act for one rollout, with frozen statistics [P, 1, I] of what is seen."""
        shape = (packed.members, 1, packed.shapes.inputs)
        mean = held("mean", mean, np.float32, shape).copy()  # frozen, whatever the caller does
        scale = held("scale", scale, np.float32, shape).copy()
        pointers = (packed.floats.ctypes.data, mean.ctypes.data, scale.ctypes.data)
        return Actor(self.library, packed, mean, scale, _spec(packed.shapes), pointers)


@dataclass(frozen=True, slots=True)
class Actor:
    """The policies of a pack during one rollout.  Get it from `Kernel.actor`."""

    library: ctypes.CDLL
    packed: Packed
    mean: Floats  # [P, 1, I]
    scale: Floats  # [P, 1, I]
    spec: _Spec
    pointers: tuple[int, int, int]  # of the packed networks, mean and scale

    def act(self, raw: Floats, noise: Floats, inputs: Floats, actions: npt.NDArray[Any]) -> None:
        """Normalise what is seen and draw every row's action: one environment step in one call.

        Args:
            raw:     [P, N, I] observations and features.
            noise:   [P, N, A] Gumbel for choices, else Gaussian.
            inputs:  [P, N, I] is written: what the policies saw.
            actions: [P, N] int64 or [P, N, A] float32 is written, before clipping.
        """
        shapes, members, rows = self.packed.shapes, self.packed.members, raw.shape[1]
        seen, f4 = (members, rows, shapes.inputs), np.float32
        status = self.library.rewardsmith_act(
            ctypes.byref(self.spec),
            members,
            self.pointers[0],
            rows,
            held("raw", raw, f4, seen).ctypes.data,
            *self.pointers[1:],
            held("noise", noise, f4, (members, rows, shapes.actions)).ctypes.data,
            held("inputs", inputs, f4, seen, written=True).ctypes.data,
            held_actions(actions, shapes, (members, rows), written=True).ctypes.data,
        )
        _hold_status(status)


@cache
def _found() -> tuple[Found, Kernel | None]:
    found = find()
    if found.library is None:
        return found, None
    return found, Kernel(_declared(found.library), found.needs)


def load() -> Kernel | None:
    """Return the kernel, or None where it is absent; `why_absent` says why."""
    return _found()[1]


def available() -> bool:
    """Say whether there is a kernel for this processor."""
    return load() is not None


def kind() -> str:
    """Return what the kernel was built for, in a few words; empty where there is none."""
    found = _found()[0]
    return describe(found.needs) if found.library is not None else ""


def why_absent() -> str:
    """Return why there is no kernel and what to do; empty where there is one."""
    return _found()[0].reason


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """Say what the functions take: pointers as addresses, counts as 64 bits."""
    spec, address, count, code = (
        ctypes.POINTER(_Spec),
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int32,
    )
    forms: dict[str, tuple[list[Any], Any]] = {
        "packed_size": ([spec], count),
        "flat_size": ([spec], count),
        "pack": ([spec, count, address, address], None),
        "forward": ([spec, count, address, code, count, address, address], code),
        "act": ([spec, count, address, count, *[address] * 6], code),
        "update": ([spec, count, count, *[address] * 12, count, address, address], code),
    }
    for name, (takes, gives) in forms.items():
        function = getattr(library, f"rewardsmith_{name}")
        function.argtypes, function.restype = takes, gives
    return library


def _spec(shapes: Shapes) -> _Spec:
    if not 1 <= len(shapes.hidden) <= MOST_LAYERS:
        raise unfit("hidden", f"{len(shapes.hidden)} layers", f"1 to {MOST_LAYERS}")
    if min(shapes.inputs, shapes.actions, *shapes.hidden) < 1:
        raise unfit("shapes", str(shapes), "at least one input, action and unit")
    hidden = (ctypes.c_int64 * MOST_LAYERS)(*shapes.hidden)
    return _Spec(shapes.inputs, len(shapes.hidden), hidden, shapes.actions, int(shapes.continuous))


def _hold_status(status: int) -> None:
    if status:
        raise MemoryError("the compiled kernel got no memory for its work space")
