"""The parent's side of a measurement: a scorer for the policies of an arm, and an actor for each wave.

All waves live the same held-out seeds.  An actor that knew more than one of them could have early
policies find out what a later one needs to know, so each wave has a process of its own.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import EnvironmentUnusable, ScoringFailed
from core.ports import FilmOrder, PackOrder, Progress, Watch
from core.records.programs import Program
from core.sandbox import (
    GIB,
    MAX_LINKS,
    MIB,
    BadFrame,
    Child,
    ChildFailed,
    ChildTimedOut,
    Frame,
    Limits,
    Sandbox,
)
from core.training.attending import POLL_SECONDS, next_frame
from core.training.blame import clean
from core.training.waves import (
    FRAME_SECONDS,
    NUMBERS,
    policies_at_a_time,
    rows_that_fit,
    waves,
)
from core.training.wire import (
    program_to_json,
    rejection_from_json,
    space_to_json,
    task_to_json,
)

SCORER = "core.training.scorer:score"
ACTOR = "core.training.actor:act"
MEMORY_BYTES = 4 * GIB
MOST_WEIGHT_BYTES = 128 * MIB
"""Of policies that are measured together: half of what a frame may hold."""
_ASSUMED_STEPS = 2_000  # of an episode without a time limit


@dataclass(frozen=True, slots=True)
class Score:
    """What one policy achieved: fitness, native return, length and end of every held-out episode."""

    fitness: tuple[float, ...]
    native: tuple[float, ...]
    length: tuple[float, ...]
    terminated: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """The scores of an arm's policies in their order, and the scorer's recording.

    `kept` is the part of the recording that the screens of later iterations look at.  `unsteady` are
    the policies, by index, that did not live the same steps again on the same seeds.  `known` is what
    the scorer found without an actor, where it was asked to.
    """

    scores: tuple[Score, ...]
    recording: bytes | None
    kept: bytes | None = None
    unsteady: frozenset[int] = frozenset()
    known: tuple[Score, ...] = ()


def measure(
    sandbox: Sandbox,
    order: PackOrder,
    program: Program | None,
    policies: Sequence[bytes],
    recorded: Sequence[int],
    watch: Watch,
    progress: Progress,
    *,
    known: bool = False,
) -> Measured:
    """Measure policies of one arm on the order's held-out seeds, in parts if they are very large.

    Args:
        sandbox:  where children come from.
        order:    names task, preflight and held-out seeds.
        program:  of the arm; only the actor gets it.
        policies: weights as safetensors bytes.
        recorded: indices of the policies whose transitions are recorded, as far as one part holds them.
        watch:    called about twice a second.
        progress: what `watch` is told.
        known:    whether the scorer also lives the episodes by itself, features as zeros.

    Raises:
        ScoringFailed: weights or actor broke, which is the arm's own fault; says which and how.
        EnvironmentUnusable: the environment broke, which is no arm's fault.
        SandboxFailed: the scorer, which runs nothing of the arm, or the sandbox itself broke.
    """
    together = MAX_LINKS * policies_at_a_time(len(order.held_out), _most_rows(order))
    parts = _parts([len(content) for content in policies], recorded, together)
    measured = [
        _measure_part(
            sandbox,
            order,
            program,
            [policies[index] for index in part],
            [part.index(index) for index in recorded if index in part] if part is parts[0] else [],
            watch,
            progress,
            known=known,
        )
        for part in parts
    ]
    return _together(parts, measured)


def _parts(sizes: Sequence[int], recorded: Sequence[int], most: int) -> list[list[int]]:
    """Split policies, by index, into parts that fit into a frame; the recorded ones are the first.

    A part has at most `most`.  How many are measured together changes no number.
    """
    others = [index for index in range(len(sizes)) if index not in recorded]
    parts: list[list[int]] = [[]]
    room = MOST_WEIGHT_BYTES
    for index in (*recorded, *others):
        if parts[-1] and (sizes[index] > room or len(parts[-1]) == most):
            parts.append([])
            room = MOST_WEIGHT_BYTES
        parts[-1].append(index)
        room -= sizes[index]
    return [sorted(part) for part in parts]


def _together(parts: Sequence[Sequence[int]], measured: Sequence[Measured]) -> Measured:
    """Put parts together, in the policies' order."""
    both = [(part, one) for part, one in zip(parts, measured, strict=True)]
    scores = {i: score for part, one in both for i, score in zip(part, one.scores, strict=True)}
    known = {i: score for part, one in both for i, score in zip(part, one.known, strict=False)}
    return Measured(
        scores=tuple(scores[index] for index in sorted(scores)),
        recording=measured[0].recording,
        kept=measured[0].kept,
        unsteady=frozenset(part[place] for part, one in both for place in one.unsteady),
        known=tuple(known[index] for index in sorted(known)),
    )


def _measure_part(
    sandbox: Sandbox,
    order: PackOrder,
    program: Program | None,
    policies: Sequence[bytes],
    recorded: Sequence[int],
    watch: Watch,
    progress: Progress,
    *,
    known: bool,
) -> Measured:
    weights = {f"weights.{index}": content for index, content in enumerate(policies)}
    limits = limits_of(order, len(policies))
    plan = waves(len(policies), len(order.held_out), _most_rows(order))
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM) for _ in plan]
    with ExitStack() as stack:
        links = [stack.enter_context(theirs) for _, theirs in pairs]
        scorer = stack.enter_context(
            sandbox.spawn(SCORER, limits, links=[ours for ours, _ in pairs])
        )

        def companion(wave: int, held: ExitStack) -> Companion:
            child = held.enter_context(sandbox.spawn(ACTOR, limits, links=[links[wave]]))
            own = [policies[policy] for policy in plan[wave]]
            return Companion(child, order, program, own)

        try:
            asked = _scorer_order(order, len(policies), recorded) | {"known": known}
            scorer.send(asked, weights)
            expect_ready(next_frame(scorer, watch, progress))
            actors = stack.enter_context(Actors(companion))
            frame = converse(scorer, actors, "scores", watch, progress)
            return _read_scores(frame, len(policies), len(order.held_out))
        except BadFrame as error:  # it was not sent
            raise ScoringFailed(str(error), where="scorer") from error
        except ChildTimedOut as error:
            # A slow actor uses up the scorer's time as well; without a program nobody is to blame.
            if program is None:
                raise
            raise ScoringFailed(str(error), where="scorer") from error


def _scorer_order(order: PackOrder, policies: int, recorded: Sequence[int]) -> dict[str, Any]:
    return {
        "task": task_to_json(order.task),
        "policies": policies,
        "seeds": list(order.held_out),
        "record": list(recorded),
        "max_episode_steps": order.preflight.max_episode_steps,
        "most_rows": _most_rows(order),
    }


def _most_rows(order: PackOrder | FilmOrder) -> int:
    """Return how many episodes are lived side by side: as many policies as fit are one wave."""
    return rows_that_fit(order.preflight.row_reserved_bytes, MEMORY_BYTES // 2)


class Companion:
    """The actor as the parent sees it: it is fed once, and asked only why it failed."""

    def __init__(
        self,
        child: Child,
        order: PackOrder | FilmOrder,
        program: Program | None,
        weights: Sequence[bytes],
    ) -> None:
        self._child = child
        self._reason: str | None = None
        self._over = False
        header = {
            "space": space_to_json(order.preflight),
            "action": dict(order.preflight.action),
            "program": program_to_json(program),
            "policies": len(weights),
            "episodes": len(order.held_out),
        }
        try:
            child.send(header, {f"weights.{place}": one for place, one in enumerate(weights)})
        except ChildFailed as error:
            self._reason, self._over = str(error), True

    def look(self, wait_seconds: float = 0.0) -> str | None:
        """Return why the actor cannot go on, or None; keeps its deadlines and output in check.

        It is looked after also when it has said something: whoever is known to be broken may still run.
        """
        if self._over:
            return self._reason
        try:
            frame = self._child.receive_or_none(0.0 if self._reason else wait_seconds)
            if frame is not None and self._reason is None:
                self._reason = _actor_reason(frame)
        except ChildFailed as error:
            self._reason, self._over = self._reason or str(error), True
        return self._reason


class Actors:
    """The actors of a measurement, one after the other; as a context manager, it ends the last one.

    Args:
        begin: begins the actor of a wave, which ends with the stack that it is put on.
    """

    def __init__(self, begin: Callable[[int, ExitStack], Companion]) -> None:
        self._begin = begin
        self._held = ExitStack()
        self._now: Companion | None = None

    def __enter__(self) -> Actors:
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()

    def turn(self, wave: int) -> None:
        """End the actor of the wave before and begin that of this one."""
        self._held.close()
        self._now = self._begin(wave, self._held)

    def look(self, wait_seconds: float = 0.0) -> str | None:
        """Return why the present actor cannot go on, or None; see `Companion`."""
        return None if self._now is None else self._now.look(wait_seconds)


def converse(
    scorer: Child, actors: Actors, awaited: str, watch: Watch, progress: Progress
) -> Frame:
    """Wait for the scorer's frame of a kind; it talks with an actor meanwhile.

    Raises:
        ScoringFailed, EnvironmentUnusable: it sent another one; says why.
    """
    while True:
        watch(progress)
        actors.look()
        frame = scorer.receive_or_none(POLL_SECONDS)
        if frame is None:
            continue
        if frame.header.get("kind") == "wave":
            actors.turn(int(frame.header["wave"]))
            continue
        if frame.header.get("kind") == awaited:
            return frame
        _refuse_environment(frame)
        reason = actors.look(wait_seconds=FRAME_SECONDS / 10) or frame.header.get("reason", "")
        raise ScoringFailed(clean(str(reason), 1200))


def expect_ready(frame: Frame) -> None:
    """Make sure that the scorer has its environments.

    Raises:
        ScoringFailed, EnvironmentUnusable: it has not.
    """
    if frame.header.get("kind") != "ready":
        _refuse_environment(frame)
        raise ScoringFailed(clean(str(frame.header.get("reason", "no reason given")), 1200))


def _refuse_environment(frame: Frame) -> None:
    if frame.header.get("error") == EnvironmentUnusable.__name__:
        raise EnvironmentUnusable(clean(str(frame.header.get("reason", "")), 1200))


def _actor_reason(frame: Frame) -> str:
    if frame.header.get("kind") == "rejected":
        return str(rejection_from_json(frame.header))
    return str(frame.header.get("reason", "the actor gave no reason"))


def _read_scores(frame: Frame, policies: int, episodes: int) -> Measured:
    try:
        scores = _read_numbers(frame.blobs["policies"], episodes)
        known = _read_numbers(frame.blobs["known"], episodes)
        unsteady = frozenset(map(int, frame.header["unsteady"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ScoringFailed(f"{error}", expected="scores of every policy") from error
    if len(scores) != policies:
        raise ScoringFailed(f"{len(scores)} scores", expected=f"those of {policies} policies")
    recording, kept = frame.blobs.get("recording"), frame.blobs.get("kept")
    return Measured(scores, recording, kept, unsteady, known)


def _read_numbers(told: bytes, episodes: int) -> tuple[Score, ...]:
    """Read [P, 4, E] numbers.  Raises ValueError."""
    numbers = np.frombuffer(told, "<f8").reshape(-1, len(NUMBERS), episodes)
    if not np.isfinite(numbers).all():
        raise ValueError("a number that is not finite")
    return tuple(
        Score(**{name: tuple(row.tolist()) for name, row in zip(NUMBERS, one, strict=True)})
        for one in numbers
    )


def limits_of(order: PackOrder | FilmOrder, policies: int) -> Limits:
    """Return the limits of whoever lives an order's episodes with so many policies."""
    steps = policies * len(order.held_out) * (order.preflight.max_episode_steps or _ASSUMED_STEPS)
    estimate = steps / max(order.preflight.steps_per_second, 1.0)
    seconds = 120.0 + 20.0 * estimate
    return Limits(wall_seconds=seconds, cpu_seconds=math.ceil(seconds), memory_bytes=MEMORY_BYTES)
