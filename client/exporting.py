"""A job's numbers as files that other programs read: CSV tables, and TensorBoard's events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from client.jobs import Job
from client.reading import Reader
from client.tables import COLUMNS, candidate_row
from core.spreadsheets import write_table

if TYPE_CHECKING:
    from api.history_views import RunView, RunWithCurveView

CURVE_COLUMNS = ("arm", "stage", "seed", "rung", "series", "step", "value")
FITNESS = "fitness"  # the scorer's measurements; all other series are the trainer's own

CurveRow: TypeAlias = tuple[str, str, int, int, str, int, float]


@dataclass(frozen=True, slots=True)
class Trained:
    """A training of a job, with its curve."""

    view: RunWithCurveView

    def series(self) -> Iterator[tuple[str, Sequence[int], Sequence[float]]]:
        """Yield name, environment steps and values of each series."""
        points = self.view.checkpoints
        if points:
            yield FITNESS, [step for step, _ in points], [value for _, value in points]
        if self.view.curve is not None:
            for name, values in self.view.curve.series.items():
                yield name, self.view.curve.steps, values


def trainings(job: Job) -> Iterator[Trained]:
    """Yield every training of a job with its curve: the native reward's first, then by candidate."""
    reader = job.reader()
    for run in _runs(job, reader):
        yield Trained(reader.run(run.id))


def _runs(job: Job, reader: Reader) -> Iterator[RunView]:
    yield from job.native_runs()
    for candidate in job.candidates:
        yield from reader.runs(candidate.id)


def write_csv(job: Job, folder: Path) -> list[Path]:
    """Write `candidates.csv` and `curves.csv` into a folder, which is made; return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    candidates = ([row[name] for name in COLUMNS] for row in map(candidate_row, job.candidates))
    return [
        _table(folder / "candidates.csv", COLUMNS, candidates),
        _table(folder / "curves.csv", CURVE_COLUMNS, curve_rows(trainings(job))),
    ]


def curve_rows(found: Iterable[Trained]) -> Iterator[CurveRow]:
    """Yield a row per point of every series of every training."""
    for one in found:
        run = one.view
        for name, steps, values in one.series():
            for step, value in zip(steps, values, strict=True):
                yield (run.arm, run.stage, run.seed, run.rung, name, step, value)


def _table(file: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with file.open("w", encoding="utf-8", newline="") as out:
        write_table(out, head, rows)
    return file


def write_tensorboard(job: Job, folder: Path) -> list[Path]:
    """Write a folder per arm and seed below `folder`, as TensorBoard expects, and return them.

    Raises:
        ConfigurationError: tensorboardX is not installed.
    """
    from client.extras import load

    writer_of = load("tensorboardX", extra="tensorboard").SummaryWriter
    written: Mapping[Path, None] = {}
    for one in trainings(job):
        run = one.view
        place = folder / run.stage / run.arm / f"seed-{run.seed}"
        with writer_of(str(place), write_to_disk=True) as writer:
            for name, steps, values in one.series():
                for step, value in zip(steps, values, strict=True):
                    writer.add_scalar(name, value, step)
        written = {**written, place: None}
    return list(written)
