"""What runs say of themselves while they train: one point per rollout and member."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from core.fields import Floats
from core.records.measured import Curve

MOST_POINTS = 200
_EPISODES = 50
_HUGE = 1e30


class CurveKeeper:
    """Keeps the curves of the members of a pack; all series of a member are equally long.

    `native_return` and `episode_length` are means over the last episodes that ended.  Before the
    first end they are what the running episodes have so far, but only in a training from scratch: in
    one that goes on, episodes began anew with it, and their first steps would look like a fall.
    """

    def __init__(self, members: int, envs: int, *, resumed: bool = False) -> None:
        """Begin; `resumed` says whether the members go on from checkpoints."""
        self.members = members
        self._resumed = resumed
        self._returns = np.zeros((members, envs))
        self._lengths = np.zeros((members, envs))
        self._ended: list[deque[tuple[float, float]]] = [
            deque(maxlen=_EPISODES) for _ in range(members)
        ]
        self._steps: list[list[int]] = [[] for _ in range(members)]
        self._points: list[list[Mapping[str, float]]] = [[] for _ in range(members)]

    def watch(self, native: Floats, ended: npt.NDArray[np.bool_]) -> None:
        """Add up native returns and lengths of the episodes in what was lived.

        Args:
            native: [T, P, N] the environment's own rewards.
            ended:  [T, P, N] where episodes ended, for whatever reason.
        """
        for t in range(len(ended)):
            self._returns += native[t]
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
        """Add a point to a member's curve; what is not said has no value yet, or none any more."""
        self._steps[member].append(steps)
        self._points[member].append({**self._episodes_of(member), **said})

    def curve(self, member: int) -> Curve:
        """Return a member's curve, thinned by means of neighbours to at most 200 points."""
        steps, points = self._steps[member], self._points[member]
        names = dict.fromkeys(name for point in points for name in point)
        values = {name: _filled([point.get(name) for point in points]) for name in names}
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

    def _episodes_of(self, member: int) -> dict[str, float]:
        ended = self._ended[member]
        if not ended and self._resumed:
            return {}
        if ended:
            returned, length = np.mean(ended, axis=0)
        else:
            returned, length = self._returns[member].mean(), self._lengths[member].mean()
        return {"native_return": float(returned), "episode_length": float(length)}


def _filled(values: Sequence[float | None]) -> list[float]:
    """Put the next known value where one is missing, after the last known one that one.

    A learner says nothing of itself before its first update, and all series are equally long.
    """
    known = [i for i, value in enumerate(values) if value is not None]
    places = np.minimum(np.searchsorted(known, np.arange(len(values))), len(known) - 1)
    return [cast("float", values[known[place]]) for place in places]


def _plain(value: float) -> float:
    """Return a finite number of six digits; curves are for looking at."""
    return float(f"{np.nan_to_num(value, posinf=_HUGE, neginf=-_HUGE):.6g}")
