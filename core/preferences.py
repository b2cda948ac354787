"""What people prefer, as one number per candidate: Bradley–Terry scores.

Source: Bradley & Terry 1952, Biometrika 39(3/4): a beats b with probability σ(s_a − s_b).  A thumb is a
win or a loss against the field, an opponent of score 0; a tie is half a win each.  A standard normal
prior keeps every score finite, however one-sided the judgements are, and makes the maximum unique.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from core.records.people import Remark

FIELD = -1  # the opponent of a thumb
STEPS = 50  # of Newton's method; a handful suffice
ACCURACY = 1e-10

Game: TypeAlias = tuple[int, int, float]  # (winner, loser, weight)


def preference_scores(remarks: Sequence[Remark], keys: Collection[str]) -> dict[str, float]:
    """Return the scores of all candidates that were judged, in logits; 0 is the field.

    Args:
        remarks: what people said; words alone count for nothing here.
        keys:    the candidates that may be ranked; what was said of others is left out.

    >>> preference_scores([Remark(0, "thumb", "0.1", value=1)], ["0.0", "0.1"])["0.1"] > 0
    True
    """
    judged = dict.fromkeys(key for r in remarks for key in _meant(r) if key in keys)
    places = {key: place for place, key in enumerate(judged)}
    games = [game for remark in remarks for game in _games(remark, places)]
    scores = np.zeros(len(places))
    for _ in range(STEPS):
        # The log posterior is strictly concave: Newton's steps, kept short, climb to its one maximum.
        slope, curvature = -scores, np.eye(len(places))
        for winner, loser, weight in games:
            ahead = _score(scores, winner) - _score(scores, loser)
            lost = 1.0 / (1.0 + np.exp(ahead))
            pull = _difference(winner, loser, len(places))
            slope = slope + weight * lost * pull
            curvature = curvature + weight * lost * (1.0 - lost) * np.outer(pull, pull)
        step = np.linalg.solve(curvature, slope)
        scores = scores + step / max(1.0, float(np.abs(step).max(initial=0.0)))
        if np.abs(step).max(initial=0.0) < ACCURACY:
            break
    return {key: float(scores[place]) for key, place in places.items()}


def _meant(remark: Remark) -> tuple[str, ...]:
    if remark.kind == "text":
        return ()
    return tuple(key for key in (remark.candidate, remark.other) if key is not None)


def _games(remark: Remark, places: dict[str, int]) -> Iterator[Game]:
    if remark.kind == "text" or any(key not in places for key in _meant(remark)):
        return
    first = places[str(remark.candidate)]
    second = places[remark.other] if remark.other is not None else FIELD
    if remark.value == 0:
        yield first, second, 0.5
        yield second, first, 0.5
    else:
        yield (first, second, 1.0) if remark.value > 0 else (second, first, 1.0)


def _score(scores: np.ndarray, place: int) -> float:
    return 0.0 if place == FIELD else float(scores[place])


def _difference(winner: int, loser: int, size: int) -> np.ndarray:
    pull = np.zeros(size)
    if winner != FIELD:
        pull[winner] += 1.0
    if loser != FIELD:
        pull[loser] -= 1.0
    return pull
