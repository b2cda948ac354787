"""Which episodes are filmed: for people who are to judge an iteration, and of the winner in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from core.choosing import winner
from core.records.history import History
from core.records.kinds import NATIVE, Stage
from core.rungs import ranked

MOST_SHOWN = 3  # candidates of an iteration that people are shown


class Scene(NamedTuple):
    """An episode to be filmed: of an arm's best run of a stage."""

    arm: str
    episode: int
    stage: Stage = "confirm"


def to_film(history: History) -> tuple[Scene, ...]:
    """Return every episode of the winner and of the native reward that is still to be filmed.

    What could not be filmed is stored as well, with the reason, and is not tried again.
    """
    best = winner(history)
    return (
        ()
        if best is None
        else _missing_scenes(history, [(best.key, "confirm"), (NATIVE, "confirm")])
    )


def to_show(history: History, iteration: int) -> tuple[Scene, ...]:
    """Return every episode that is still to be filmed before people judge an iteration.

    They see the best candidates of the search and the native reward, all of them on the same seeds.
    """
    judged = ranked(history.iterations[iteration].candidates)[:MOST_SHOWN]
    arms: list[tuple[str, Stage]] = [(c.key, "search") for c in judged]
    return _missing_scenes(history, [*arms, (NATIVE, "baseline")]) if judged else ()


def _missing_scenes(history: History, arms: Sequence[tuple[str, Stage]]) -> tuple[Scene, ...]:
    known = {Scene(one.arm, one.episode, one.stage) for one in history.rollouts}
    episodes = range(history.spec.evaluation.rollouts)
    wanted = [Scene(arm, n, stage) for arm, stage in arms for n in episodes]
    return tuple(scene for scene in wanted if scene not in known)
