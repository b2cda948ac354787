"""The parent's side of the screens: one child calls all programs; if it breaks, each is asked alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from core.errors import SandboxFailed
from core.ports import (
    Artifacts,
    Doubles,
    Progress,
    Screening,
    ScreenNumbers,
    ScreenOrder,
    Trajectory,
    Watch,
)
from core.sandbox import GIB, MIB, Child, ChildFailed, Frame, Limits, Sandbox
from core.training.attending import next_frame
from core.training.blame import clean
from core.training.examining import MOST_REASON_LETTERS, read_rows
from core.training.runtime import MOST_FEATURES
from core.training.settings import PPOSettings, read_settings
from core.training.wire import program_to_json, rejection_from_json, space_to_json

ENTRY = "core.training.screen_child:screen"
LIMITS = Limits(
    wall_seconds=60.0, cpu_seconds=60, memory_bytes=2 * GIB, stderr_bytes=MIB, niceness=0
)
LARGEST = 1e60
"""Of a number that a program says.  Sums of float32 over a million steps stay below 1e46; beyond this,
products of squares, which the screens form, would not be finite."""
ALONE = replace(LIMITS, wall_seconds=15.0, cpu_seconds=15)


def screen_programs(
    sandbox: Sandbox, artifacts: Artifacts, order: ScreenOrder, watch: Watch
) -> Screening:
    """Return the numbers of an order's programs; one that breaks has a reason instead.

    Raises:
        SandboxFailed: the sandbox itself is broken.
    """
    desk = ScreenDesk(order, watch)
    blobs = desk.blobs(artifacts)
    try:
        return desk.screening(*desk.ask(sandbox, order.programs, blobs, LIMITS))
    except ChildFailed:
        return desk.screening(*desk.ask_each(sandbox, blobs))


Store: TypeAlias = tuple[tuple[Trajectory, ...], int]
"""The stored episodes, and how many sampled rows there are beside them."""
Told: TypeAlias = dict[str, ScreenNumbers]
"""What programs say, by key."""


class ScreenDesk:
    """What is asked of a child for one order, and how its answers are read."""

    def __init__(self, order: ScreenOrder, watch: Watch) -> None:
        """Ask nothing yet; why programs broke is noted as it is told."""
        self._order = order
        self._watch = watch
        self._broken: dict[str, str] = {}

    def screening(self, store: Store, numbers: Told) -> Screening:
        """Put together what was read."""
        training = self._order.training
        settings = read_settings(training.settings, training.algorithm)
        normalised = isinstance(settings, PPOSettings) and settings.normalise_rewards
        return Screening(store[0], numbers, normalised, self._broken)

    def ask(
        self, sandbox: Sandbox, keys: Iterable[str], blobs: Mapping[str, bytes], limits: Limits
    ) -> tuple[Store, Told]:
        """Ask one child for the numbers of some programs.

        Raises:
            ChildFailed: it did not survive them.
        """
        wanted = list(keys)
        with sandbox.spawn(ENTRY, limits) as child:
            child.send(self.header(wanted), blobs)
            store = self.read_store(child)
            return store, self.read_numbers(child, wanted, store)

    def ask_each(self, sandbox: Sandbox, blobs: Mapping[str, bytes]) -> tuple[Store, Told]:
        """Ask a child of its own for every program, so that one harms no other."""
        numbers: Told = {}
        try:
            store, _ = self.ask(sandbox, (), blobs, ALONE)
        except ChildFailed as error:
            raise SandboxFailed(f"{error}", expected="stored episodes that can be read") from error
        for key in self._order.programs:
            try:
                numbers |= self.ask(sandbox, (key,), blobs, ALONE)[1]
            except ChildFailed as error:
                self._note(key, error)  # the screens can say nothing of it
        return store, numbers

    def blobs(self, artifacts: Artifacts) -> dict[str, bytes]:
        """Return the probe set and the recordings, as a child reads them."""
        recordings = {
            f"recording.{number}": artifacts.get(source.recording)
            for number, source in enumerate(self._order.sources)
        }
        return {"probe": artifacts.get(self._order.preflight.probe), **recordings}

    def read_store(self, child: Child) -> Store:
        """Read what a child tells of the stored episodes before it loads any program.

        Raises:
            ChildFailed: it did not survive them.
            SandboxFailed: that is no list of episodes.
        """
        sources = self._order.sources
        header = self._next(child).header
        try:
            known = tuple(
                Trajectory(
                    source=sources[int(one["source"])].key,
                    fitness=float(one["fitness"]),
                    length=int(one["length"]),
                    exploit=sources[int(one["source"])].exploit,
                )
                for one in header["trajectories"]
            )
            return known, int(header["rows"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SandboxFailed(f"{error}", expected="the stored episodes in numbers") from error

    def read_numbers(self, child: Child, wanted: Sequence[str], store: Store) -> Told:
        """Read what the wanted programs say, up to the child's last word.

        Raises:
            ChildFailed: it did not survive them.
        """
        trajectories, rows = store
        numbers: Told = {}
        while (frame := self._next(child)).header.get("kind") != "end":
            key = str(frame.header.get("key"))
            if frame.header.get("kind") == "numbers" and key in wanted:
                read = _numbers(frame, rows, len(trajectories))
                numbers |= {} if read is None else {key: read}
            elif frame.header.get("kind") == "broken" and key in wanted:
                self._note(key, rejection_from_json(frame.header))
        return numbers

    def _note(self, key: str, reason: Exception) -> None:
        self._broken[key] = clean(str(reason), MOST_REASON_LETTERS)

    def _next(self, child: Child) -> Frame:
        return next_frame(child, self._watch, Progress("screening", 0, len(self._order.programs)))

    def header(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the order of some of the programs, as a child reads it."""
        order = self._order
        return {
            "space": space_to_json(order.preflight),
            "gamma": read_settings(order.training.settings, order.training.algorithm).gamma,
            "mode": order.mode,
            "weight": order.weight,
            "sources": len(order.sources),
            "trajectories": order.trajectories,
            "programs": [
                {
                    "key": key,
                    "program": program_to_json(order.programs[key]),
                    "asked": key in order.asked,
                }
                for key in keys
            ],
        }


def _numbers(frame: Frame, rows: int, trajectories: int) -> ScreenNumbers | None:
    """Read what a child in which generated code ran says of a program; None if it is malformed."""
    features = _series(frame, "features")
    per_step, in_sum = _series(frame, "per_step"), _series(frame, "in_sum")
    per_step = np.zeros(0) if per_step is None else per_step
    in_sum = np.zeros(0) if in_sum is None else in_sum
    if features is None or len(features) % rows or len(features) > MOST_FEATURES * rows:
        return None
    if not len(per_step) == len(in_sum) == trajectories:
        return None
    pair = frame.header.get("rows")
    shown = [read_rows(one) for one in pair] if isinstance(pair, list) and len(pair) == 2 else []
    return ScreenNumbers(
        reward=_of_length(_series(frame, "reward"), rows),
        canonical=_of_length(_series(frame, "canonical"), rows),
        features=features.reshape(-1, rows),
        per_step=per_step,
        in_sum=in_sum,
        rows=(shown[0], shown[1]) if shown else ((), ()),
    )


def _series(frame: Frame, name: str) -> Doubles | None:
    content = frame.blobs.get(name)
    if content is None or len(content) % 8:
        return None
    values = np.frombuffer(content, np.float64)
    return values if (np.abs(values) < LARGEST).all() else None


def _of_length(values: Doubles | None, rows: int) -> Doubles | None:
    return values if values is not None and len(values) == rows else None
