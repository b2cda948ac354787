"""The scorer: a jailed, trusted process that owns environment, held-out seeds and fitness.

It loads no generated code.  Actions come from the actor as fixed-size frames of float32, in lock
step; a frame that is late, short, not finite or out of range fails the arm that is measured.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from core.envs import make_batch
from core.envs.batch import Actions, EnvBatch
from core.errors import EnvironmentUnusable, SandboxFailed, ScoringFailed
from core.fields import Floats
from core.records.task import Fitness
from core.sandbox import MIB
from core.sandbox.frames import Channel, FloatLink, Link
from core.training.action_space import ActionSpace, read_action_space
from core.training.episodes import Episode, run_episodes
from core.training.keeping import kept_episodes, put_together
from core.training.numpy_policy import Policies, read_weights, stack_policies
from core.training.repeating import REPEATED_STEPS, Tape, rows_that_differ
from core.training.transitions import Recording, Transitions, save_recording
from core.training.waves import FRAME_SECONDS, NUMBERS, waves
from core.training.wire import task_from_json

MOST_RECORDED_ROWS = 12_000
MOST_RECORDED_BYTES = 64 * MIB
MOST_RECORDED_EPISODES = 24
BOUND_SLACK = 1e-4


def score(channel: Channel, links: Sequence[Link]) -> None:
    """Measure all policies of one arm: an order with their weights in, their episodes out."""
    frame = channel.receive()
    try:
        measurement = _prepare(frame.header, frame.blobs, [FloatLink(link) for link in links])
        channel.send({"kind": "ready"})
        results = measurement.run(lambda wave: channel.send({"kind": "wave", "wave": wave}))
        known = _known(measurement, results) if frame.header["known"] else []
    except (ScoringFailed, EnvironmentUnusable, SandboxFailed) as error:
        channel.send({"kind": "failed", "error": type(error).__name__, "reason": str(error)})
        return
    recording = record(results, frame.header["record"])
    blobs = {}
    if recording is not None:
        kept = save_recording(kept_episodes(recording))
        blobs = {"recording": save_recording(recording), "kept": kept}
    blobs |= {"policies": _numbers(results).tobytes(), "known": _numbers(known).tobytes()}
    channel.send({"kind": "scores", "unsteady": sorted(measurement.unsteady)}, blobs)


def _prepare(
    order: Mapping[str, Any], weights: Mapping[str, bytes], links: Sequence[FloatLink]
) -> Measurement:
    task = task_from_json(order["task"])
    count, seeds = int(order["policies"]), [int(seed) for seed in order["seeds"]]
    plan = waves(count, len(seeds), int(order["most_rows"]))
    fresh = partial(make_batch, task, len(plan[0]) * len(seeds), autoreset=False)
    batch = fresh()
    space = read_action_space(batch.action)
    size = batch.layout.observation_size
    read = [read_weights(weights[f"weights.{policy}"], size, space) for policy in range(count)]
    recorded, limit = set(order["record"]), order["max_episode_steps"]
    return Measurement(batch, fresh, space, links, task.fitness, plan, seeds, recorded, limit, read)


def _known(
    measurement: Measurement, results: Sequence[Sequence[Episode]]
) -> Sequence[Sequence[Episode]]:
    """Find out what the policies are worth without an actor; note if that is not the same twice."""
    known = measurement.known()
    told = _numbers(known)
    differs = not np.array_equal(told, _numbers(results))
    if differs and not np.array_equal(told, _numbers(measurement.known())):
        measurement.unsteady.update(range(len(known)))
    return known


@dataclass(frozen=True, slots=True)
class Measurement:
    """P policies times E held-out seeds, measured wave after wave on the same environments.

    `links` lead to the actors, one for each wave: what one has seen must not help another.  `unsteady`
    are the policies that did not live the same first steps again on the same seeds.
    """

    batch: EnvBatch
    fresh: Callable[[], EnvBatch]
    space: ActionSpace
    links: Sequence[FloatLink]
    fitness: Fitness
    plan: Sequence[tuple[int, ...]]
    seeds: Sequence[int]
    record: set[int]
    limit: int | None
    weights: Sequence[Mapping[str, Floats]]
    unsteady: set[int] = field(default_factory=set)

    def run(self, begin: Callable[[int], None]) -> list[list[Episode]]:
        """Return the episodes of every policy.

        `begin` is called before each wave, with its number; its actor is to be there soon.

        Raises:
            ScoringFailed: the actor broke, or a fitness is not finite.
        """
        results: dict[int, list[Episode]] = {}
        for number, wave in enumerate(self.plan):
            begin(number)
            tape = Tape()
            episodes = self._wave(number, wave, tape)
            for place, policy in enumerate(wave):
                own = episodes[place * len(self.seeds) : (place + 1) * len(self.seeds)]
                results.setdefault(policy, own)
            # Last, for it may break the actor.
            self.unsteady.update(self._repeat(number, tape, [one.length for one in episodes]))
            self.links[number].close()
        return [results[policy] for policy in sorted(results)]

    def known(self) -> list[list[Episode]]:
        """Live the same episodes without an actor; inputs beyond the observation count as zero.

        In environments of their own, for some remember what was lived in them before a reset; so the
        first steps of each wave are lived twice here too.
        """
        results: dict[int, list[Episode]] = {}
        batch = self.fresh()
        for wave in self.plan:
            act = partial(
                self._act, stack_policies([self.weights[policy] for policy in wave], self.space)
            )
            seeds = list(self.seeds) * len(wave)
            episodes = run_episodes(batch, act, seeds, self.fitness, limit=self.limit)
            run_episodes(batch, act, seeds, self.fitness, limit=self._repeated)
            for place, policy in enumerate(wave):
                own = episodes[place * len(self.seeds) : (place + 1) * len(self.seeds)]
                results.setdefault(policy, own)
        return [results[policy] for policy in sorted(results)]

    @property
    def _repeated(self) -> int:
        """Return how many steps of an episode are lived again."""
        return min(REPEATED_STEPS, self.limit or REPEATED_STEPS)

    def _act(self, policies: Policies, state: Floats) -> Actions:
        observed = np.asarray(state[:, : self.batch.layout.observation_size], np.float32)
        more = policies.mean.shape[-1] - observed.shape[1]
        inputs = np.pad(observed, ((0, 0), (0, more))).reshape(policies.count, len(self.seeds), -1)
        return read_actions(policies.act(inputs).reshape(len(state), -1), self.space)

    def _repeat(self, number: int, tape: Tape, lengths: Sequence[int]) -> set[int]:
        """Live the first steps of a wave again; return the policies for which they differ."""
        again, wave, each = Tape(), self.plan[number], len(self.seeds)
        try:
            run_episodes(
                self.batch,
                again.of(lambda state: self._ask(number, state)),
                list(self.seeds) * len(wave),
                self.fitness,
                limit=self._repeated,
            )
        except ScoringFailed:
            return set(wave)
        differ = rows_that_differ(tape, again, lengths).reshape(len(wave), each)
        return {policy for policy, rows in zip(wave, differ, strict=True) if rows.any()}

    def _wave(self, number: int, wave: tuple[int, ...], tape: Tape) -> list[Episode]:
        each = len(self.seeds)
        keep = [
            place * each + index
            for place, policy in enumerate(wave)
            if policy in self.record and policy not in wave[:place]
            for index in range(math.ceil(MOST_RECORDED_EPISODES / len(self.record)))
            if index < each
        ]
        episodes = run_episodes(
            self.batch,
            tape.of(lambda state: self._ask(number, state)),
            list(self.seeds) * len(wave),
            self.fitness,
            keep=keep,
            limit=self.limit,
        )
        if not all(math.isfinite(e.fitness) and math.isfinite(e.native) for e in episodes):
            raise ScoringFailed("a fitness that is not finite", expected="finite numbers")
        return episodes

    def _ask(self, wave: int, state: Floats) -> Actions:
        """Return the actor's actions for the observations of all rows."""
        observed = state[:, : self.batch.layout.observation_size]
        return ask_actor(self.links[wave], observed, self.space)


def ask_actor(link: FloatLink, observed: Floats, space: ActionSpace) -> Actions:
    """Send the observations of all rows of a wave to its actor and return its checked actions.

    Raises:
        ScoringFailed: it did not answer in time, or with no actions.
    """
    frame = np.ascontiguousarray(observed, np.float32)
    deadline = time.monotonic() + FRAME_SECONDS
    try:
        link.send(frame.tobytes(), deadline)
        answer = link.receive_exactly(4 * len(frame) * space.columns, deadline)
    except SandboxFailed as error:
        raise ScoringFailed(f"the actor did not answer: {error}", where="actor") from error
    return read_actions(np.frombuffer(answer, np.float32).reshape(len(frame), space.columns), space)


def read_actions(frame: Floats, space: ActionSpace) -> Actions:
    """Turn an actor's frame [rows, 1 or A] into actions.

    Raises:
        ScoringFailed: a number is not finite, not an index, or outside the bounds.
    """
    if not np.isfinite(frame).all():
        raise ScoringFailed("an action that is not finite", expected="finite", where="actor")
    if space.discrete:
        index = np.clip(frame[:, 0], -1, space.size).astype(np.int64)
        if (index != frame[:, 0]).any() or (index < 0).any() or (index >= space.size).any():
            raise ScoringFailed(
                "no index", expected=f"indices from 0 to {space.size - 1}", where="actor"
            )
        return index
    slack = BOUND_SLACK * (1 + np.abs(frame))
    if (frame < space.low - slack).any() or (frame > space.high + slack).any():
        raise ScoringFailed("an action outside", expected="actions in their bounds", where="actor")
    return np.clip(frame, space.low, space.high)


def record(results: Sequence[Sequence[Episode]], policies: Sequence[int]) -> Recording | None:
    """Choose episodes of the named policies, in turn, within MOST_RECORDED_ROWS and _BYTES.

    Whole ones; if not even one fits, the beginning of the first.
    """
    turns = zip(*(results[policy] for policy in policies), strict=True)
    known = [
        (e.transitions, e.fitness) for turn in turns for e in turn if e.transitions is not None
    ]
    if not known:
        return None
    room = _rows_that_fit(known[0][0])
    chosen: list[tuple[Transitions, float]] = []
    for rows, fitness in known:
        if sum(len(one) for one, _ in chosen) + len(rows) <= room:
            chosen.append((rows, fitness))
    chosen = chosen or [(known[0][0].take(slice(room)), known[0][1])]
    return put_together(chosen)


def _rows_that_fit(transitions: Transitions) -> int:
    return max(1, min(MOST_RECORDED_ROWS, MOST_RECORDED_BYTES // transitions.row_bytes))


def _numbers(results: Sequence[Sequence[Episode]]) -> npt.NDArray[np.float64]:
    """Return what is told of the episodes of every policy: [P, 4, E], too many for a header."""
    told = [[[getattr(one, name) for one in own] for name in NUMBERS] for own in results]
    return np.array(told, "<f8")
