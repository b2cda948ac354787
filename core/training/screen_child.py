"""The screens' numbers: what programs pay for sampled transitions and stored episodes.  Jailed.

Nothing is decided here.  The episodes' fitness is told before any program is loaded; what a program
says afterwards is its own word, as everywhere.  All programs of an order share the process, as they do
in training; if one brings it down, the parent asks each alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.errors import ProgramRejected
from core.fields import Floats, Layout
from core.ordering import Doubles, best_order, canonical
from core.sandbox.frames import Channel, Link
from core.training.examine import Shown
from core.training.keeping import put_together
from core.training.probes import EDGE_ROWS
from core.training.runtime import LoadedProgram, load_program
from core.training.transitions import (
    Recording,
    Transitions,
    joined,
    load_recording,
    load_transitions,
)
from core.training.wire import layout_from_json, program_from_json, rejection_to_json

SAMPLED_ROWS = 256  # on which programs are compared, half of them from the store
COMPANIONS = 64  # sampled (action, next state) per state, over which the canonical form averages
CHUNK = 16_384
PAIR_ROWS = 6  # of each of the two episodes of a pair


def screen(channel: Channel, links: Sequence[Link]) -> None:
    """Call each program of an order: programs, probe set and recordings in, numbers out."""
    frame = channel.receive()
    probe = load_transitions(frame.blobs["probe"])
    tell_numbers(channel, tell_store(channel, frame.header, probe, frame.blobs))


def tell_store(
    channel: Channel, order: Mapping[str, Any], probe: Transitions, blobs: Mapping[str, bytes]
) -> Bench:
    """Tell of the stored episodes, before any program is loaded; lay out what they are called on."""
    store = read_store(order, blobs)
    rows = sample(probe, store)
    bench = new_bench(layout_from_json(order["space"]), rows, store, order)
    told = [] if store is None else _told(store)
    channel.send({"kind": "store", "trajectories": told, "rows": len(rows)})
    return bench


def tell_numbers(channel: Channel, bench: Bench) -> None:
    """Call each program of the bench's order and tell what it says."""
    for item in bench.order["programs"]:
        try:
            header, values = bench.numbers(item)
        except ProgramRejected as error:
            channel.send({**rejection_to_json(error), "kind": "broken", "key": item["key"]})
            continue
        sent = {name: np.ascontiguousarray(v, np.float64).tobytes() for name, v in values.items()}
        channel.send({"kind": "numbers", "key": item["key"], **header}, sent)
    channel.send({"kind": "end"})


@dataclass(frozen=True, slots=True)
class Store:
    """The stored episodes of all sources; `source` [E] says whose each is, `rows` [E] where it lies."""

    recording: Recording
    source: tuple[int, ...]
    rows: tuple[slice, ...]


def read_store(order: Mapping[str, Any], blobs: Mapping[str, bytes]) -> Store | None:
    """Take the first episodes of every recording, as many of each, within the order's number."""
    count = int(order["sources"])
    if not count:
        return None
    each = max(1, int(order["trajectories"]) // count)
    episodes: list[tuple[Transitions, float]] = []
    source: list[int] = []
    for number in range(count):
        recording = load_recording(blobs[f"recording.{number}"])
        for rows, fitness in zip(recording.spans()[:each], recording.fitness, strict=False):
            episodes.append((recording.transitions.take(rows), float(fitness)))
            source.append(number)
    recording = put_together(episodes)
    return Store(recording, tuple(source), recording.spans())


def _told(store: Store) -> list[dict[str, Any]]:
    return [
        {"source": source, "fitness": float(fitness), "length": rows.stop - rows.start}
        for source, fitness, rows in zip(
            store.source, store.recording.fitness, store.rows, strict=True
        )
    ]


def sample(probe: Transitions, store: Store | None) -> Transitions:
    """Return SAMPLED_ROWS transitions, evenly spread over probe set and store, edge rows left out."""
    if store is None:
        return probe.take(_spread(len(probe) - EDGE_ROWS, SAMPLED_ROWS))
    lived = store.recording.transitions
    half = SAMPLED_ROWS // 2
    parts = [
        probe.take(_spread(len(probe) - EDGE_ROWS, half)),
        lived.take(_spread(len(lived), half)),
    ]
    return joined(parts)


def _spread(length: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.linspace(0, length - 1, count).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Bench:
    """What every program is called on.

    Attributes:
        rows:       [R] the sampled transitions.
        from_next:  [R x COMPANIONS] sampled (a, s'') after the next state of each of them;
        from_state: the same after its state.
    """

    layout: Layout
    rows: Transitions
    from_next: Transitions
    from_state: Transitions
    store: Store | None
    order: Mapping[str, Any]

    def numbers(self, item: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what one program says, arrays by name and what else is to be told.

        Raises:
            ProgramRejected: it breaks on rows that policies met.
        """
        program = program_from_json(item["program"])
        assert program is not None  # the native reward is not screened
        loaded = load_program(program, self.layout)
        state_size = self.layout.state_size
        values: dict[str, Any] = {"features": loaded.features(self.rows.next[:, :state_size]).T}
        if program.has_reward:
            values["reward"] = total(loaded, self.rows)
            values |= self._canonical(loaded, values["reward"])
        told: dict[str, Any] = {"rows": []}
        if self.store is not None:
            paid, components = self._paid(loaded, self.store.recording)
            values["per_step"], values["in_sum"] = self._by_trajectory(self.store, paid)
            if item["asked"]:
                told["rows"] = list(self._pair(self.store, values, components))
        return told, values

    def _canonical(self, loaded: LoadedProgram, paid: Doubles) -> dict[str, Doubles]:
        """Return the canonical form; nothing if the program breaks on states that were put together."""
        try:
            from_next = total(loaded, self.from_next).reshape(len(self.rows), -1).mean(axis=1)
            from_state = total(loaded, self.from_state).reshape(len(self.rows), -1).mean(axis=1)
        except ProgramRejected:
            return {}
        return {"canonical": canonical(paid, from_next, from_state, float(self.order["gamma"]))}

    def _paid(
        self, loaded: LoadedProgram, recording: Recording
    ) -> tuple[Doubles, dict[str, Floats]]:
        rows = recording.transitions
        components = terms(loaded, rows)
        native: Doubles = rows.native.astype(np.float64)
        if not components:
            return native, {}
        designed: Doubles = np.sum(list(components.values()), axis=0, dtype=np.float64)
        if self.order["mode"] == "add":
            designed = native + float(self.order["weight"]) * designed
        return designed, components

    def _by_trajectory(self, store: Store, paid: Doubles) -> tuple[Doubles, Doubles]:
        longest = max(rows.stop - rows.start for rows in store.rows)
        discount = float(self.order["gamma"]) ** np.arange(longest)
        per_step, in_sum = [], []
        for rows in store.rows:
            own = paid[rows]
            per_step.append(own.mean())
            in_sum.append((own * discount[: len(own)]).sum())
        return np.array(per_step), np.array(in_sum)

    def _pair(
        self, store: Store, values: Mapping[str, Doubles], components: Mapping[str, Floats]
    ) -> Iterator[list[dict[str, Any]]]:
        """Yield rows of the better and of the worse episode of the worst-ordered pair."""
        fitness = store.recording.fitness
        found, _ = best_order(values["per_step"], values["in_sum"], fitness)
        shown = Shown(store.recording, components, self.layout)
        for episode in found.worst or ():
            yield shown.rows(episode, PAIR_ROWS)


def new_bench(
    layout: Layout, rows: Transitions, store: Store | None, order: Mapping[str, Any]
) -> Bench:
    """Lay out what programs are called on: once, for all of them are called on the same."""
    chosen = np.random.default_rng(0).permutation(len(rows))[:COMPANIONS]
    following = rows.take(np.tile(chosen, len(rows)))

    def after(states: Floats) -> Transitions:
        return replace(following, state=np.repeat(states, len(chosen), axis=0))

    from_next = after(rows.next[:, : layout.state_size])
    return Bench(layout, rows, from_next, after(rows.state), store, order)


def terms(loaded: LoadedProgram, rows: Transitions) -> dict[str, Floats]:
    """Return the components of many rows, name -> [N]; empty without `reward`."""
    parts = [
        loaded.reward(part.state, part.action, part.next)
        for start in range(0, len(rows), CHUNK)
        for part in [rows.take(slice(start, start + CHUNK))]
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def total(loaded: LoadedProgram, rows: Transitions) -> Doubles:
    """Return the sum of the components [N]."""
    summed: Doubles = np.sum(list(terms(loaded, rows).values()), axis=0, dtype=np.float64)
    return summed
