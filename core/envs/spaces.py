"""Spaces of gymnasium, read once: how to flatten an observation, how to hand over an action."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from core.errors import EnvironmentUnusable
from core.fields import Floats
from core.records.kinds import Json
from core.records.task import Field

Flatten: TypeAlias = Callable[[Any], Floats]
_GREY_IMAGE_RANK, _IMAGE_RANK = 2, 3
_MOST_NUMBERS = 1024  # of an observation; more is raw data and needs another kind of network
_UNBOUNDED = 1e30  # some spaces write float32's largest number for "no bound"


@dataclass(frozen=True, slots=True)
class Observed:
    """How an observation becomes one flat float32 vector.

    Attributes:
        size:    D, its length.
        flatten: observation -> [D].
        low, high: the space's bounds per number, infinite where it has none; [D].
        offsets: for dictionary observations, key -> offset in the flat vector.
        flat:    the shape of arrays that need no flattening; None where there are none.
    """

    size: int
    flatten: Flatten
    low: Floats
    high: Floats
    offsets: dict[str, int] = field(default_factory=dict)
    flat: tuple[int, ...] | None = None


def read_observation_space(space: spaces.Space[Any], where: str = "observation space") -> Observed:
    """Say how observations of a space are flattened.

    Box of any number type, Dict (in key order), Tuple, Discrete (one-hot), MultiDiscrete (one-hot
    each) and MultiBinary.

    Raises:
        EnvironmentUnusable: images, text, sequences and graphs.
    """
    if isinstance(space, spaces.Box):
        return _box(space, where)
    if isinstance(space, spaces.Dict):
        parts = {key: read_observation_space(s, f"{where}, {key}") for key, s in space.items()}
        return _joined(list(parts.values()), lambda obs: [obs[key] for key in parts], list(parts))
    if isinstance(space, spaces.Tuple):
        return _joined([read_observation_space(s, where) for s in space.spaces], list)
    if isinstance(space, spaces.Discrete):
        return _one_hot([int(space.n)], [int(space.start)])
    if isinstance(space, spaces.MultiDiscrete):
        counts = np.asarray(space.nvec).ravel()
        starts = np.broadcast_to(np.asarray(getattr(space, "start", 0)), np.shape(space.nvec))
        return _one_hot(counts.tolist(), starts.ravel().tolist())
    if isinstance(space, spaces.MultiBinary):
        size = int(np.prod(space.shape))
        return Observed(size, _numbers, np.zeros(size, np.float32), np.ones(size, np.float32))
    raise EnvironmentUnusable(
        f"a {type(space).__name__} space",
        expected="Box, Dict, Tuple, Discrete, MultiDiscrete or MultiBinary",
        where=where,
        hint="Wrap the environment so that it gives numbers.",
    )


def _numbers(obs: Any) -> Floats:
    return np.asarray(obs, np.float32).ravel()


def _box(space: spaces.Box, where: str) -> Observed:
    pixels = space.dtype == np.uint8 and len(space.shape) >= _GREY_IMAGE_RANK
    if len(space.shape) >= _IMAGE_RANK or pixels:
        raise EnvironmentUnusable(
            f"an image of shape {space.shape}",
            expected="numbers with a meaning (images are not supported yet)",
            where=where,
            hint="Use a version of the environment that gives state vectors.",
        )
    low, high = space.low.astype(np.float32).ravel(), space.high.astype(np.float32).ravel()
    flat = space.shape if len(space.shape) == 1 else None
    return Observed(low.size, _numbers, low, high, flat=flat)


def _one_hot(counts: list[int], starts: list[int]) -> Observed:
    size = sum(counts)
    offsets = np.concatenate([[0], np.cumsum(counts)[:-1]]) - np.asarray(starts)

    def flatten(obs: Any) -> Floats:
        vector = np.zeros(size, np.float32)
        vector[offsets + np.asarray(obs).ravel()] = 1.0
        return vector

    return Observed(size, flatten, np.zeros(size, np.float32), np.ones(size, np.float32))


def _joined(
    parts: list[Observed], split: Callable[[Any], list[Any]], keys: list[str] | None = None
) -> Observed:
    if not parts:
        raise EnvironmentUnusable(
            "an empty space", expected="at least one number", where="observation space"
        )
    starts = np.cumsum([0] + [part.size for part in parts]).tolist()

    def flatten(obs: Any) -> Floats:
        pieces = zip(parts, split(obs), strict=True)
        return np.concatenate([part.flatten(piece) for part, piece in pieces])

    return Observed(
        size=starts[-1],
        flatten=flatten,
        low=np.concatenate([part.low for part in parts]),
        high=np.concatenate([part.high for part in parts]),
        offsets=dict(zip(keys or [], starts, strict=False)),
    )


def refuse_raw_data(observed: Observed) -> None:
    """Refuse observations that are too long to have been thought of as state.

    Raises:
        EnvironmentUnusable: says how long it is and what to do.
    """
    if observed.size > _MOST_NUMBERS:
        raise EnvironmentUnusable(
            f"{observed.size} numbers",
            expected=f"a state of at most {_MOST_NUMBERS} numbers",
            where="observation space",
            hint="Images, maps and scans are not supported yet; give a state vector.",
        )


def derive_fields(observed: Observed) -> tuple[Field, ...]:
    """Name the parts of an observation that nobody has described.

    A dictionary gives one field per key, anything else one field `obs_i` per number.
    """
    keys = list(observed.offsets)
    if keys and all(key.isidentifier() and not key.startswith("_") for key in keys):
        ends = [*list(observed.offsets.values())[1:], observed.size]
        fields = [
            _keyed(key, end - start)
            for (key, start), end in zip(observed.offsets.items(), ends, strict=True)
        ]
    else:
        fields = [
            Field(f"obs_{i}", f"obs[{i}]", low=_finite(low), high=_finite(high))
            for i, (low, high) in enumerate(zip(observed.low, observed.high, strict=True))
        ]
    return tuple(fields)


def _keyed(key: str, size: int) -> Field:
    source = f"obs.{key}[0]" if size == 1 else f"obs.{key}[0:{size}]"
    return Field(key, source, meaning=f"{key} of the observation")


def _finite(bound: float) -> float | None:
    return float(bound) if abs(float(bound)) < _UNBOUNDED else None


@dataclass(frozen=True, slots=True)
class Acted:
    """How actions are described, and handed over: `give(the batch's actions)`, one for each row."""

    description: Json
    give: Callable[[npt.NDArray[Any]], list[Any]]


def read_action_space(space: spaces.Space[Any]) -> Acted:
    """Say how actions of a space are described and handed over.

    Discrete (counted from 0 whatever its start is) and Box of rank 1 with finite bounds.

    Raises:
        EnvironmentUnusable: every other space, by name.
    """
    if isinstance(space, spaces.Discrete):
        return _discrete(space)
    if isinstance(space, spaces.Box):
        return _continuous(space)
    raise EnvironmentUnusable(
        f"a {type(space).__name__} space",
        expected="Discrete, or Box of rank 1 with finite bounds",
        where="action space",
        hint="Wrap the environment so that it takes one choice or one vector.",
    )


def _discrete(space: spaces.Discrete) -> Acted:
    start = int(space.start)
    description: dict[str, object] = {"kind": "discrete", "n": int(space.n)}
    if start:
        description["start"] = start
    return Acted(description, lambda actions: (np.asarray(actions, np.int64) + start).tolist())


def _continuous(space: spaces.Box) -> Acted:
    if len(space.shape) != 1 or not np.issubdtype(space.dtype, np.floating):
        raise EnvironmentUnusable(
            f"a Box of shape {space.shape} and type {space.dtype}",
            expected="a Box of rank 1 with floating-point numbers",
            where="action space",
            hint="Wrap it with gymnasium.wrappers.TransformAction.",
        )
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise EnvironmentUnusable(
            "an unbounded Box",
            expected="finite bounds",
            where="action space",
            hint="Wrap it with gymnasium.wrappers.RescaleAction or give the Box finite bounds.",
        )
    description = {
        "kind": "box",
        "size": int(space.shape[0]),
        "low": [float(v) for v in space.low],
        "high": [float(v) for v in space.high],
    }

    def give(actions: npt.NDArray[Any]) -> list[Any]:
        clipped = np.clip(np.asarray(actions, space.dtype), space.low, space.high)
        return list(np.asarray(clipped, space.dtype))

    return Acted(description, give)
