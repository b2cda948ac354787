"""The check: is a program a pure, batched, row-wise function?  Runs in a short-lived jailed child.

Each property is tried on the probe set; the first that fails ends the check with a sentence for the
author.  Nothing here imports torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import ProgramRejected
from core.fields import Floats
from core.records.programs import ProgramShape
from core.sandbox.frames import Channel, Link
from core.training.blame import line_naming
from core.training.namespaces import describe_row
from core.training.probes import PROBE_ROWS
from core.training.runtime import LoadedProgram, load_program
from core.training.screen_child import tell_numbers, tell_store
from core.training.transitions import Transitions, load_transitions
from core.training.wire import (
    layout_from_json,
    program_from_json,
    rejection_to_json,
)

BATCH_SIZES = (7, 1, 256, 4096)  # 7 first: with one row, a branch on an array passes for sound
RELATIVE = 1e-5
SMALLEST_STD = 1e-6
MOST_MICROSECONDS = 20.0
TIMINGS = 5
SINGLE_ROWS = 24

Say = Callable[[str], None]
Terms = dict[str, Floats]


def check(channel: Channel, links: Sequence[Link]) -> None:
    """Check one program: an order with the program and the probe set in, one verdict out.

    With an order of the screens within it, a sound program's numbers follow the verdict: they cost half
    of what another child would.
    """
    frame = channel.receive()
    program = program_from_json(frame.header["program"])
    assert program is not None  # the native reward is not checked
    layout = layout_from_json(frame.header["space"])
    probe = load_transitions(frame.blobs["probe"])
    screens = frame.header.get("screens")
    bench = None if screens is None else tell_store(channel, screens, probe, frame.blobs)
    try:
        channel.send({"kind": "stage", "stage": "the module body"})
        loaded = load_program(program, layout, strict=True)
        shape = hold_to_contract(
            loaded, probe, lambda stage: channel.send({"kind": "stage", "stage": stage})
        )
    except ProgramRejected as error:
        channel.send(rejection_to_json(error))
        return
    channel.send(
        {
            "kind": "shape",
            "components": list(shape.components),
            "features": list(shape.features),
            "microseconds_per_row": shape.microseconds_per_row,
            "at_random": shape.at_random,
        }
    )
    if bench is not None:
        tell_numbers(channel, bench)


def hold_to_contract(program: LoadedProgram, probe: Transitions, say: Say) -> ProgramShape:
    """Call the program in every way that must not matter, and compare.

    Raises:
        ProgramRejected: the first property that does not hold.
    """
    trial = Trial(program, probe)
    for stage, hold in (
        ("calls with 7, 1, 256 and 4096 rows", trial.hold_sizes),
        ("a second call with the same rows", trial.hold_determinism),
        ("calls in another order", trial.hold_statelessness),
        ("rows on their own and in another order", trial.hold_row_independence),
        ("the same rows after many other calls", trial.hold_determinism),
        ("the comparison over rows", trial.hold_variation),
    ):
        say(stage)
        hold()
    say("the timing with 4096 rows")
    speed = trial.hold_speed()
    return ProgramShape(program.component_names, program.feature_names, speed, trial.at_random())


@dataclass(slots=True)
class Trial:
    """A program and the rows it is tried on; `whole` is its answer to all rows at once."""

    program: LoadedProgram
    probe: Transitions
    _whole: Terms | None = None

    @property
    def whole(self) -> Terms:
        """Return every term over the whole probe set, computed once."""
        if self._whole is None:
            self._whole = self.terms(self.probe)
        return self._whole

    def terms(self, rows: Transitions) -> Terms:
        """Return components and features of rows, name -> [B]; features are named "features.x"."""
        features = self.program.features(rows.state)
        named = {
            f"features.{name}": features[:, i] for i, name in enumerate(self.program.feature_names)
        }
        return named | self.program.reward(rows.state, rows.action, rows.next)

    def hold_sizes(self) -> None:
        """Shapes and finiteness at several batch sizes, edge rows included."""
        for size in BATCH_SIZES:
            self.terms(self.probe.take(np.arange(min(size, len(self.probe)))))
        self.terms(self.probe)

    def hold_determinism(self) -> None:
        """Two calls with the same rows agree."""
        again = self.terms(self.probe)
        if (found := self._difference(self.whole, again, self.probe)) is not None:
            name, before, after, where = found
            raise self._rejected(
                name,
                "deterministic",
                f"{before:.6g} and then {after:.6g} from two calls, {where}",
                "the same numbers from two calls with the same rows",
                "Use no randomness, no clock, and keep nothing between calls.",
            )

    def hold_statelessness(self) -> None:
        """What came before makes no difference: chunks called in order and in reversed order."""
        chunks = [self.probe.take(c) for c in np.array_split(np.arange(len(self.probe)), 8)]
        forward = [self.terms(chunk) for chunk in chunks]
        backward = [self.terms(chunk) for chunk in reversed(chunks)][::-1]
        for chunk, one, other in zip(chunks, forward, backward, strict=True):
            if (found := self._difference(one, other, chunk)) is not None:
                name, before, after, where = found
                raise self._rejected(
                    name,
                    "stateless",
                    f"{before:.6g}, and {after:.6g} after other calls, {where}",
                    "values that do not depend on earlier calls",
                    "Keep nothing between calls: no globals, no caches, no counters.",
                )

    def hold_row_independence(self) -> None:
        """A row has the same value alone, in a small batch, and in a shuffled one."""
        rng = np.random.default_rng(0)
        count = len(self.probe)
        order = rng.permutation(count)
        singles = np.unique(np.linspace(0, count - 1, SINGLE_ROWS).astype(np.int64))
        for rows in (
            order,
            order[:7],
            order[:256],
            *(singles[i : i + 1] for i in range(SINGLE_ROWS)),
        ):
            if len(rows):
                self._hold_rows(rows)

    def _hold_rows(self, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        part = self.probe.take(rows)
        expected = {name: values[rows] for name, values in self.whole.items()}
        if (found := self._difference(expected, self.terms(part), part)) is not None:
            self.hold_determinism()  # it may be time that matters, and not the company
            name, before, after, where = found
            company = "alone" if len(rows) == 1 else f"in another batch of {len(rows)} rows"
            raise self._rejected(
                name,
                "rows",
                f"{before:.6g} in the whole batch and {after:.6g} {company}, {where}",
                "each row's value to depend on that row alone",
                "Do not mix rows: no mean, max, sort, cumsum or normalisation over the first axis.",
            )

    def hold_variation(self) -> None:
        """At least one term tells rows apart."""
        spread = {name: float(v.std(dtype=np.float64)) for name, v in self.whole.items()}
        components = {n: s for n, s in spread.items() if not n.startswith("features.")} or spread
        if max(components.values()) > SMALLEST_STD:
            return
        first = next(iter(components))
        raise self._rejected(
            first,
            "constant",
            f"{self.whole[first][0]:.6g} in all {len(self.probe)} rows",
            "at least one term that differs between states",
            "Use the fields; a constant teaches nothing.",
        )

    def at_random(self) -> tuple[float, float] | None:
        """Return mean and standard deviation of the summed components, edge rows left out."""
        paid = [v[:PROBE_ROWS] for n, v in self.whole.items() if not n.startswith("features.")]
        if not paid:
            return None
        total = np.sum(paid, axis=0, dtype=np.float64)
        return float(total.mean()), float(total.std())

    def hold_speed(self) -> float:
        """Return microseconds per row at 4096 rows, the best of several calls."""
        rows = self.probe.take(np.arange(BATCH_SIZES[-1]) % len(self.probe))
        fastest = min(self._seconds(rows) for _ in range(TIMINGS))
        microseconds = 1e6 * fastest / len(rows)
        if microseconds > MOST_MICROSECONDS:
            raise ProgramRejected(
                f"{microseconds:.1f} µs per row",
                rule="speed",
                expected=f"at most {MOST_MICROSECONDS:g} µs per row with {len(rows)} rows",
                where="reward and features",
                hint="Use NumPy operations on whole arrays instead of Python loops over rows.",
            )
        return microseconds

    def _seconds(self, rows: Transitions) -> float:
        before = time.perf_counter()
        self.terms(rows)
        return time.perf_counter() - before

    def _difference(
        self, one: Mapping[str, Floats], other: Mapping[str, Floats], rows: Transitions
    ) -> tuple[str, float, float, str] | None:
        """Return the first term that differs: its name, both values, and the row in words."""
        for name, values in one.items():
            scale = np.abs(self.whole[name]).max(initial=0.0) if self._whole else 0.0
            slack = RELATIVE * np.maximum(np.abs(values), 0.1 * scale)
            apart = np.abs(values - other[name]) > slack
            if apart.any():
                row = int(apart.argmax())
                where = f"where {describe_row(self.program.layout, rows.next[row])}"
                return name, float(values[row]), float(other[name][row]), where
        return None

    def _rejected(
        self, name: str, rule: str, found: str, expected: str, hint: str
    ) -> ProgramRejected:
        plain = name.removeprefix("features.")
        kind = "feature" if plain != name else "component"
        where = f"{kind} {plain!r}{line_naming(self.program.program.source, plain)}"
        return ProgramRejected(found, rule=rule, expected=expected, where=where, hint=hint)
