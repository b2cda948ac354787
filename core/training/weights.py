"""A member as bytes: the weights that leave for scoring, and the checkpoint to go on from.

Both are safetensors.  A member's own inputs are I = D + F; the pack may have padded them.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from core.errors import CheckpointUnusable
from core.fields import Floats
from core.training.action_space import ActionSpace
from core.training.networks import Shapes, views
from core.training.normalise import ReturnScaler, RunningMoments
from core.training.ppo import Stack
from core.training.rollout import half_range, middle

_TINY = np.finfo(np.float32).tiny
_FIRST_WEIGHTS = ("policy.0.weight", "value.0.weight")


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far a member has come: environment steps and rollouts."""

    steps: int
    rollouts: int


def export_weights(
    stack: Stack, member: int, inputs: int, space: ActionSpace, sight: tuple[Floats, Floats]
) -> bytes:
    """Return what is needed to act: the policy, and how it sees its inputs.

    The output layer is brought to the environment's own units, so that a continuous policy's mean
    is the action itself.

    Args:
        stack:  the pack's networks.
        member: whose.
        inputs: I = D + F of it.
        space:  of actions.
        sight:  what is subtracted from its inputs, and multiplied, [≥ I] each.
    """
    tensors = {
        name: value
        for name, value in _member_arrays(stack.flat, stack.shapes, member, inputs).items()
        if name.startswith("policy.")
    }
    if not space.discrete:
        half = half_range(space)
        tensors["policy.out.weight"] = tensors["policy.out.weight"] * half[:, None]
        tensors["policy.out.bias"] = tensors["policy.out.bias"] * half + middle(space)
        # A number whose bounds are one has no deviation, and no logarithm of it.
        tensors["policy.log_std"] = tensors["policy.log_std"] + np.log(np.maximum(half, _TINY))
    tensors["normaliser.mean"], tensors["normaliser.scale"] = (part[:inputs] for part in sight)
    return save({name: np.ascontiguousarray(value) for name, value in tensors.items()})


def export_checkpoint(
    stack: Stack,
    member: int,
    inputs: int,
    observed: RunningMoments,
    returns: ReturnScaler,
    progressed: Progressed,
) -> bytes:
    """Return everything that the next rung needs; environments and their streams restart."""
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    for prefix, flat in _tensors(stack).items():
        for name, value in _member_arrays(flat, stack.shapes, member, inputs).items():
            tensors[f"{prefix}.{name}"] = np.ascontiguousarray(value)
    for prefix, moments in (("observed", observed), ("returns", returns.moments)):
        width = inputs if prefix == "observed" else 1
        tensors[f"{prefix}.mean"] = moments.mean[member, :width].copy()
        tensors[f"{prefix}.variance"] = moments.variance[member, :width].copy()
        tensors[f"{prefix}.count"] = moments.count[member, :width].copy()
    tensors["updates"] = stack.updates[member].numpy().copy()
    tensors["progressed"] = np.array([progressed.steps, progressed.rollouts], np.int64)
    return save(tensors)


def import_checkpoint(
    content: bytes,
    stack: Stack,
    member: int,
    inputs: int,
    observed: RunningMoments,
    returns: ReturnScaler,
) -> None:
    """Put a checkpoint into a member's place.

    Raises:
        CheckpointUnusable: it is not a checkpoint, or one of another network.
    """
    try:
        tensors = load(content)
        for prefix, flat in _tensors(stack).items():
            for name, view in _member_arrays(flat, stack.shapes, member, inputs).items():
                view[...] = _same_shape(tensors[f"{prefix}.{name}"], view.shape, name)
        for prefix, moments in (("observed", observed), ("returns", returns.moments)):
            width = inputs if prefix == "observed" else 1
            moments.mean[member, :width] = tensors[f"{prefix}.mean"]
            moments.variance[member, :width] = tensors[f"{prefix}.variance"]
            moments.count[member, :width] = tensors[
                f"{prefix}.count"
            ]  # older ones hold a single one
        stack.updates[member] = float(tensors["updates"][0])
    except (SafetensorError, KeyError, ValueError, IndexError) as error:
        raise _not_a_checkpoint(error) from error


def peek(content: bytes | None) -> Progressed:
    """Say how far a checkpoint had come; None is the beginning.

    Read is its header and one tensor of two numbers; the rest may be a replay of many megabytes.

    Raises:
        CheckpointUnusable: it is not a checkpoint.
    """
    if content is None:
        return Progressed(0, 0)
    try:
        steps, rollouts = (int(value) for value in _one_tensor(content, "progressed", 2))
    except (KeyError, TypeError, ValueError, RecursionError, struct.error) as error:
        raise _not_a_checkpoint(error) from error
    return Progressed(steps, rollouts)


def _one_tensor(content: bytes, name: str, size: int) -> tuple[int, ...]:
    """Return the whole numbers [size] of one tensor of safetensors bytes, without the others.

    The format is the header's length, uint64 and little-endian, the header in JSON, and the data.

    Source: https://huggingface.co/docs/safetensors, "Format".
    """
    (length,) = struct.unpack_from("<Q", content)
    data = struct.calcsize("<Q") + length
    if data > len(content):
        raise ValueError(f"a header of {length} bytes in {len(content)}")
    entry = json.loads(content[data - length : data].decode())[name]
    begin, end = entry["data_offsets"]
    kind = f"<{size}q"
    if (entry["dtype"], entry["shape"], end - begin) != ("I64", [size], struct.calcsize(kind)):
        raise ValueError(f"{name} is {entry['dtype']} {entry['shape']} instead of I64 [{size}]")
    if not 0 <= begin <= end <= len(content) - data:
        raise ValueError(f"{name} lies at {begin} of {len(content) - data} bytes of data")
    return struct.unpack_from(kind, content, data + begin)


def _not_a_checkpoint(error: Exception) -> CheckpointUnusable:
    return CheckpointUnusable(
        f"{type(error).__name__}: {error}",
        expected="a checkpoint of the same network",
        where="resuming a run",
    )


def _tensors(stack: Stack) -> dict[str, Tensor]:
    return {"parameter": stack.flat, "first": stack.first, "second": stack.second}


def _member_arrays(
    flat: Tensor, shapes: Shapes, member: int, inputs: int
) -> dict[str, npt.NDArray[np.float32]]:
    """Return views of a member's named arrays, first layers cut to its own inputs."""
    arrays = {name: view[member].numpy() for name, view in views(flat, shapes).items()}
    return {
        name: value[:, :inputs] if name in _FIRST_WEIGHTS else value
        for name, value in arrays.items()
    }


def put_parameters(
    stack: Stack, member: int, inputs: int, values: dict[str, npt.NDArray[np.float32]]
) -> None:
    """Write a member's parameters; what pads its inputs stays zero."""
    with torch.no_grad():
        for name, view in _member_arrays(stack.flat, stack.shapes, member, inputs).items():
            view[...] = values[name]


def _same_shape(
    value: npt.NDArray[np.float32], shape: tuple[int, ...], name: str
) -> npt.NDArray[np.float32]:
    if value.shape != shape:
        raise ValueError(f"{name} has shape {value.shape} instead of {shape}")
    return value
