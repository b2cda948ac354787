"""What runs say of themselves while they train: one point per rollout and member."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from core.fields import Floats
from core.records import Curve

MOST_POINTS = 200
_EPISODES = 50
_HUGE = 1e30


class Lived(Protocol):
    """What a rollout tells of episodes, [T, P, N]."""

    @property
    def native(self) -> Floats:
        """Return the environment's own reward."""
        ...

    @property
    def ended(self) -> npt.NDArray[np.bool_]:
        """Return where episodes ended, for whatever reason."""
        ...


class CurveKeeper:
    """Keeps the curves of the members of a pack; all series of a member are equally long.

    `native_return` and `episode_length` are means over the last episodes that ended; before the
    first end, what the running episodes have so far.
    """

    def __init__(self, members: int, envs: int) -> None:
        self._returns = np.zeros((members, envs))
        self._lengths = np.zeros((members, envs))
        self._ended: list[deque[tuple[float, float]]] = [
            deque(maxlen=_EPISODES) for _ in range(members)
        ]
        self._steps: list[list[int]] = [[] for _ in range(members)]
        self._points: list[list[Mapping[str, float]]] = [[] for _ in range(members)]

    def watch(self, rollout: Lived) -> None:
        """Add up native returns and lengths of the episodes in a rollout."""
        ended = rollout.ended
        for t in range(len(ended)):
            self._returns += rollout.native[t]
            self._lengths += 1
            if not ended[t].any():
                continue
            for member in np.flatnonzero(ended[t].any(axis=1)):
                returns = self._returns[member, ended[t, member]].tolist()
                lengths = self._lengths[member, ended[t, member]].tolist()
                self._ended[member].extend(zip(returns, lengths, strict=True))
            self._returns[ended[t]] = 0.0
            self._lengths[ended[t]] = 0.0

    def add(self, member: int, steps: int, said: Mapping[str, float]) -> None:
        """Add a point to a member's curve."""
        ended = self._ended[member]
        if ended:
            returned, length = np.mean(ended, axis=0)
        else:
            returned, length = self._returns[member].mean(), self._lengths[member].mean()
        self._steps[member].append(steps)
        self._points[member].append(
            {"native_return": float(returned), "episode_length": float(length), **said}
        )

    def curve(self, member: int) -> Curve:
        """Return a member's curve, thinned by means of neighbours to at most 200 points."""
        steps, points = self._steps[member], self._points[member]
        values = {n: [p[n] for p in points] for n in (points[-1] if points else ())}
        chunks = np.array_split(np.arange(len(steps)), min(MOST_POINTS, max(1, len(steps))))
        return Curve(
            steps=tuple(steps[int(chunk[-1])] for chunk in chunks if chunk.size),
            series={
                name: tuple(
                    _plain(float(np.mean([known[i] for i in chunk])))
                    for chunk in chunks
                    if chunk.size
                )
                for name, known in values.items()
            },
        )


def _plain(value: float) -> float:
    """Return a finite number of six digits; curves are for looking at."""
    return float(f"{np.nan_to_num(value, posinf=_HUGE, neginf=-_HUGE):.6g}")
