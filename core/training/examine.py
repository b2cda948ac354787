"""The examination: what a program said about the episodes that the scorer recorded.  Jailed.

Statistics of components and features are self-reported in the end, for they come from generated
code; they feed the next prompt, never a rank.  So are those of the observation's dimensions, which the
same process computes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import ProgramRejected
from core.fields import Column, Floats, Layout
from core.fitness import episode_fitness
from core.records.measured import TermStatistics
from core.sandbox.frames import Channel, Link
from core.training.action_space import read_action_space
from core.training.inputs import MOST_INPUTS, Examined, dimensions, measure_inputs
from core.training.numpy_policy import Policies, read_weights, stack_policies
from core.training.ranks import spearman
from core.training.runtime import LoadedProgram, load_program
from core.training.transitions import Recording, load_recording, save_evidence
from core.training.wire import (
    fitness_from_json,
    layout_from_json,
    program_from_json,
    rejection_to_json,
)

EVIDENCE_ROWS = 1000
SCATTERED_ROWS = 7
PASSAGE_ROWS = 5  # that follow each other: how one state leads to the next
SHOWN_FIELDS = 16
AT_BOUND = 1e-6
FEWEST_EPISODES = 3  # below that a rank correlation says nothing

Terms = Mapping[str, Floats]
Rows = dict[str, list[dict[str, Any]]]


def examine(channel: Channel, links: Sequence[Link]) -> None:
    """Examine one arm: its program and a recording in, statistics and evidence out."""
    frame = channel.receive()
    order = frame.header
    layout = layout_from_json(order["space"])
    program = program_from_json(order["program"])
    recording = load_recording(frame.blobs["recording"])
    policies = _policies(order, frame.blobs, layout)
    try:
        loaded = None if program is None else load_program(program, layout)
        components, features = compute_terms(loaded, recording)
    except ProgramRejected as error:
        channel.send(rejection_to_json(error))
        return
    examined = Examined(layout, recording, fitness_from_json(order["fitness"]), policies)
    judged = judge_inputs(examined, features)
    evidence = save_evidence(
        recording.transitions.take(slice(EVIDENCE_ROWS)),
        {name: values[:EVIDENCE_ROWS] for name, values in components.items()},
    )
    channel.send(
        {
            "kind": "report",
            "components": _as_json(describe_terms(components, recording, shares=True)),
            "features": _as_json(judged.features),
            "inputs": _as_json(judged.inputs),
            "episodes": telling_episodes(recording, components, layout),
            "recorded": len(recording.fitness),
        },
        {"evidence": evidence},
    )


def tell_terms(channel: Channel, links: Sequence[Link]) -> None:
    """Say what a program pays for the rows of a recording: components out, name -> [N]."""
    frame = channel.receive()
    layout = layout_from_json(frame.header["space"])
    program = program_from_json(frame.header["program"])
    recording = load_recording(frame.blobs["recording"])
    try:
        loaded = None if program is None else load_program(program, layout)
        components, features = compute_terms(loaded, recording)
    except ProgramRejected as error:
        channel.send(rejection_to_json(error))
        return
    told = {"components": components, "features": features}
    said = {kind: {n: v.tolist() for n, v in terms.items()} for kind, terms in told.items()}
    channel.send({"kind": "terms", **said})


def _policies(
    order: Mapping[str, Any], blobs: Mapping[str, bytes], layout: Layout
) -> tuple[Policies, ...]:
    """Return the policies that lived the recorded episodes."""
    space, size = read_action_space(order["action"]), layout.observation_size
    contents = [blobs[f"weights.{number}"] for number in range(int(order["policies"]))]
    return tuple(stack_policies([read_weights(c, size, space)], space) for c in contents)


def compute_terms(program: LoadedProgram | None, recording: Recording) -> tuple[Terms, Terms]:
    """Return components and features over the recorded rows, name -> [N]; empty without program.

    Raises:
        ProgramRejected: the program breaks on rows that the trained policy met.
    """
    if program is None:
        return {}, {}
    rows = recording.transitions
    columns = program.features(rows.next[:, : program.layout.state_size])
    features = {name: columns[:, i] for i, name in enumerate(program.feature_names)}
    return program.reward(rows.state, rows.action, rows.next), features


def describe_terms(
    terms: Terms, recording: Recording, *, shares: bool
) -> dict[str, TermStatistics]:
    """Return the statistics of every term; `shares` relates them to each other."""
    total = sum(float(np.abs(v).sum(dtype=np.float64)) for v in terms.values())
    found = {}
    for name, values in terms.items():
        statistics = describe_term(values, recording)
        if shares and total > 0:
            own = float(np.abs(values).sum(dtype=np.float64))
            statistics = dataclasses.replace(statistics, share=own / total)
        found[name] = statistics
    return found


def describe_term(values: Floats, recording: Recording) -> TermStatistics:
    """Return the statistics of one term [N]; `share` and `by_checkpoint` are left open."""
    low, high = float(values.min()), float(values.max())
    slack = AT_BOUND * (high - low)
    at_bound = (values <= low + slack) | (values >= high - slack)
    return TermStatistics(
        mean=float(values.mean(dtype=np.float64)),
        std=float(values.std(dtype=np.float64)),
        low=low,
        high=high,
        saturated=float(at_bound.mean()),
        zero=float((values == 0).mean()),
        correlation=_correlation(values, recording),
    )


@dataclass(frozen=True, slots=True)
class Judged:
    """Statistics of what a policy sees: a program's features, and the observation's dimensions."""

    features: Mapping[str, TermStatistics]
    inputs: Mapping[str, TermStatistics]


def judge_inputs(examined: Examined, features: Terms) -> Judged:
    """Return the statistics of every feature, and of the dimensions that the policies use most."""
    recording, size = examined.recording, examined.layout.observation_size
    found, used = measure_inputs(examined, features)

    def describe(place: int, values: Floats) -> TermStatistics:
        measured = dataclasses.asdict(found[place]) | {"used": used[place]}
        return dataclasses.replace(describe_term(values, recording), **measured)

    places = dimensions(examined.layout)
    most = sorted(places, key=lambda name: -(used[places[name]] or 0.0))[:MOST_INPUTS]
    return Judged(
        features={n: describe(size + i, v) for i, (n, v) in enumerate(features.items())},
        inputs={
            name: describe(place, recording.transitions.next[:, place])
            for name, place in places.items()
            if name in most
        },
    )


def telling_episodes(recording: Recording, components: Terms, layout: Layout) -> Rows:
    """Return a few rows of the best, the median and the worst episode by fitness.

    Each row names the step, the fields of the next state, the native reward and the components,
    with three significant digits.
    """
    shown = Shown(recording, components, layout)
    return {name: shown.telling(episode) for name, episode in _telling(recording).items()}


def worth_of_episodes(examined: Examined) -> dict[str, dict[str, Any]]:
    """Return the fitness of the told episodes, and of its parts where it is the smallest of several."""
    recording, layout = examined.recording, examined.layout
    names = [column.field.name for column in layout.columns]
    found: dict[str, dict[str, Any]] = {}
    for name, episode in _telling(recording).items():
        rows = recording.transitions.take(np.flatnonzero(recording.episode == episode))
        values = layout.values(rows.next, names)
        parts = [episode_fitness(p, values, rows.native) for p in examined.fitness.parts]
        worth: dict[str, Any] = {"fitness": _digits(recording.fitness[episode])}
        found[name] = worth | ({"parts": [_digits(np.float64(p)) for p in parts]} if parts else {})
    return found


def _telling(recording: Recording) -> dict[str, int]:
    order = np.argsort(recording.fitness, kind="stable")
    chosen = {"best": order[-1], "median": order[len(order) // 2], "worst": order[0]}
    return {name: int(episode) for name, episode in chosen.items()}


@dataclass(frozen=True, slots=True)
class Shown:
    """Rows of a recording, as they are shown to people and models."""

    recording: Recording
    components: Terms
    layout: Layout

    def rows(self, episode: int, most: int) -> list[dict[str, Any]]:
        """Return at most `most` rows, evenly spread over one episode."""
        places = np.flatnonzero(self.recording.episode == episode)
        return [self._row(int(places[step]), step) for step in _spread(len(places), most)]

    def telling(self, episode: int) -> list[dict[str, Any]]:
        """Return rows spread over one episode, and a passage of steps in which the pay changes most."""
        places = np.flatnonzero(self.recording.episode == episode)
        steps = {*_spread(len(places), SCATTERED_ROWS), *self._passage(places)}
        return [self._row(int(places[step]), step) for step in sorted(steps)]

    def _passage(self, places: npt.NDArray[np.int64]) -> range:
        if len(places) <= PASSAGE_ROWS:
            return range(len(places))
        paid = np.zeros(len(places))
        for values in self.components.values():
            paid += values[places]
        windows = np.lib.stride_tricks.sliding_window_view(paid, PASSAGE_ROWS)
        spread = windows.max(axis=1) - windows.min(axis=1)
        # Where nothing changes, the middle; a rounding error is no change.
        still = spread.max() <= AT_BOUND * max(1.0, float(np.abs(paid).max()))
        first = len(windows) // 2 if still else int(spread.argmax())
        return range(first, first + PASSAGE_ROWS)

    def _row(self, place: int, step: int) -> dict[str, Any]:
        rows = self.recording.transitions
        row: dict[str, Any] = {"step": step}
        for column in self._columns():
            row[column.field.name] = _rounded(rows.next[place, column.start : column.stop], column)
        action = rows.action[place]
        row["action"] = int(action) if action.ndim == 0 else [_digits(a) for a in action[:8]]
        row["native_reward"] = _digits(rows.native[place])
        return row | {f"reward.{n}": _digits(v[place]) for n, v in self.components.items()}

    def _columns(self) -> list[Column]:
        seen = [c for c in self.layout.columns if "reward" in c.field.visible]
        return seen[:SHOWN_FIELDS]


def _spread(length: int, most: int) -> list[int]:
    """Return at most `most` evenly spread places, the first and the last among them."""
    return [int(step) for step in np.unique(np.linspace(0, length - 1, most).round())]


def _correlation(values: Floats, recording: Recording) -> float | None:
    count = len(recording.fitness)
    if count < FEWEST_EPISODES:
        return None
    sums = np.bincount(recording.episode, weights=values, minlength=count)
    return spearman(sums.tolist(), recording.fitness.tolist())


def _rounded(values: Floats, column: Column) -> float | list[float]:
    return _digits(values[0]) if column.scalar else [_digits(value) for value in values[:8]]


def _digits(value: npt.NDArray[Any] | np.generic | float) -> float:
    return float(f"{float(value):.3g}") + 0.0  # -0.0 becomes 0.0


def _as_json(statistics: Mapping[str, TermStatistics]) -> dict[str, Any]:
    return {name: dataclasses.asdict(term) for name, term in statistics.items()}
