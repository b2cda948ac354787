"""A member of an off-policy pack as bytes: its policy for scoring, and the checkpoint to go on from.

Both are safetensors.  A checkpoint holds the raw transitions of the replay as well, so that the next
rung, or another program, can go on with them.  They are most of its bytes; kept are the newest ones
that fit into MOST_REPLAY_BYTES, whatever the pack, and what is older is forgotten at a boundary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor

from core.errors import CheckpointUnusable
from core.fields import Floats
from core.training.settings import MOST_REPLAY_BYTES
from core.training.transitions import Transitions
from core.training.weights import Progressed

UNCLIPPED = 2.0**13
_REPLAY = "replay."
_OBSERVED = ("mean", "variance", "count")


def export_policy(
    policy: Mapping[str, Tensor], normaliser: tuple[Floats, Floats], as_they_are: int
) -> bytes:
    """Return what is needed to act.

    Who acts clips what comes out of the normaliser to ±10.  A policy that learned from observations
    as they are must not be clipped, so they are made small by a power of two and the first layer's
    weights larger by the same, which changes no digit.

    Args:
        policy:      as the learner says.
        normaliser:  mean and scale [I].
        as_they_are: how many of the first inputs are seen as they are.
    """
    tensors = {name: _array(value) for name, value in policy.items()}
    mean, scale = normaliser
    stretch = np.ones_like(scale)
    stretch[:as_they_are] = UNCLIPPED
    tensors["policy.0.weight"] = tensors["policy.0.weight"] * stretch
    tensors["normaliser.mean"], tensors["normaliser.scale"] = mean, scale / stretch
    content: bytes = save(tensors)
    return content


def export_member(
    memory: Mapping[str, Tensor],
    observed: Mapping[str, npt.NDArray[np.float64]],
    rows: Transitions,
    progressed: Progressed,
    counts: tuple[int, int],
) -> bytes:
    """Return everything that the next rung needs; environments and their streams restart.

    Args:
        memory:     of the learner.
        observed:   moments of the observations: mean, variance, count.
        rows:       [R] raw transitions, oldest first.
        progressed: how far the member has come.
        counts:     transitions that it ever had, forgotten ones included, and how many of them it
                    began with because others had lived them.
    """
    tensors = {name: _array(value) for name, value in memory.items()}
    tensors |= {f"observed.{name}": observed[name].copy() for name in _OBSERVED}
    for name in Transitions.__slots__:
        tensors[_REPLAY + name] = np.ascontiguousarray(getattr(rows, name))
    tensors["progressed"] = np.array([progressed.steps, progressed.rollouts], np.int64)
    tensors["counts"] = np.array(counts, np.int64)
    content: bytes = save(tensors)
    return content


def import_member(
    content: bytes,
    memory: Mapping[str, Tensor],
    observed: Mapping[str, npt.NDArray[np.float64]],
    like: Transitions,
) -> tuple[Transitions, tuple[int, int]]:
    """Put a checkpoint into a member's place; return its transitions and their counts.

    Args:
        content:  safetensors bytes.
        memory:   views of the learner's tensors, overwritten.
        observed: views of the moments, overwritten.
        like:     no rows, with the shapes and types that the pack's transitions have.

    Raises:
        CheckpointUnusable: it is not a checkpoint, or one of another network.
    """
    try:
        tensors = load(content)
        for name, view in memory.items():
            view.copy_(torch.from_numpy(_fitting(tensors[name], tuple(view.shape), name)))
        for name in _OBSERVED:
            moments = observed[name]
            stored = tensors[f"observed.{name}"]
            if name == "count" and stored.shape == (1,):  # older ones hold a single count
                stored = np.broadcast_to(stored, moments.shape)
            moments[...] = _fitting(stored, moments.shape, name)
        return _rows_of(tensors, like), _counts(tensors)
    except (SafetensorError, KeyError, ValueError, IndexError) as error:
        raise _not_a_checkpoint(error, "resuming a run") from error


def transitions_of(content: bytes, like: Transitions) -> Transitions:
    """Return the raw transitions of a checkpoint that its run lived itself.

    What it began with is left out: it comes from runs that can be named themselves.

    Raises:
        CheckpointUnusable: it holds none, or those of another environment.
    """
    try:
        tensors = load(content)
        rows = _rows_of(tensors, like)
        added, inherited = _counts(tensors)
        return rows.take(slice(max(0, len(rows) - max(0, added - inherited)), None))
    except (SafetensorError, KeyError, ValueError) as error:
        raise _not_a_checkpoint(error, "starting warm") from error


def fitting_rows(like: Transitions) -> int:
    """Return how many rows fit into a checkpoint."""
    return max(1, MOST_REPLAY_BYTES // _row_bytes(like))


def _row_bytes(like: Transitions) -> int:
    arrays = [getattr(like, name) for name in Transitions.__slots__]
    return sum(a.dtype.itemsize * int(np.prod(a.shape[1:])) for a in arrays)


def _rows_of(tensors: Mapping[str, npt.NDArray[Any]], like: Transitions) -> Transitions:
    found = {name: tensors[_REPLAY + name] for name in Transitions.__slots__}
    rows = len(found["native"])
    for name, array in found.items():
        expected = getattr(like, name)
        _fitting(array, (rows, *expected.shape[1:]), name)
        if array.dtype != expected.dtype:
            raise ValueError(f"{name} has type {array.dtype} instead of {expected.dtype}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
    return Transitions(**found)


def _counts(tensors: Mapping[str, npt.NDArray[Any]]) -> tuple[int, int]:
    added, inherited = (int(count) for count in _fitting(tensors["counts"], (2,), "counts"))
    return added, inherited


def _fitting(value: npt.NDArray[Any], shape: tuple[int, ...], name: str) -> npt.NDArray[Any]:
    if value.shape != shape:
        raise ValueError(f"{name} has shape {value.shape} instead of {shape}")
    return value


def _array(value: Tensor) -> npt.NDArray[Any]:
    return np.ascontiguousarray(value.detach().cpu().numpy())


def _not_a_checkpoint(error: Exception, where: str) -> CheckpointUnusable:
    return CheckpointUnusable(
        f"{type(error).__name__}: {error}",
        expected="a checkpoint of the same network and environment",
        where=where,
    )
