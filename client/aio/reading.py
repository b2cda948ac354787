"""Reading what has an id of its own: candidates and trainings, and their curves; asynchronous.

Made from `client/reading.py` by `python -m client.twins`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from client.aio.transport import AsyncTransport
from client.reading import FITNESS, STAGES

if TYPE_CHECKING:
    from api.history_views import CandidateView, RunView, RunWithCurveView
    from client.curves import Curve, Curves


@dataclass(frozen=True, slots=True)
class AsyncReader:
    """Reads what has an id of its own."""

    transport: AsyncTransport

    async def candidate(self, candidate_id: str) -> CandidateView:
        """Return one candidate."""
        from api.history_views import CandidateView

        return await self.transport.read(CandidateView, "GET", f"/v1/candidates/{candidate_id}")

    async def code(self, candidate_id: str) -> str:
        """Return the text of a candidate's program."""
        return (await self.transport.answer("GET", f"/v1/candidates/{candidate_id}/code")).text

    async def runs(self, candidate_id: str) -> list[RunView]:
        """Return the trainings of a candidate."""
        from api.history_views import RunList

        return (
            await self.transport.read(RunList, "GET", f"/v1/candidates/{candidate_id}/runs")
        ).data

    async def run(self, run_id: str) -> RunWithCurveView:
        """Return one training with its curve."""
        from api.history_views import RunWithCurveView

        return await self.transport.read(RunWithCurveView, "GET", f"/v1/runs/{run_id}")


async def read_curves(
    reader: AsyncReader, candidates: Sequence[str], native: Sequence[RunView], series: str
) -> Curves:
    """Read one series of the search's trainings of some candidates, and of the native reward's."""
    from client.curves import Curves

    runs = [run for candidate in candidates for run in await reader.runs(candidate)]
    wanted = [run for run in (*native, *runs) if run.stage in STAGES]
    found = [await _curve(reader, run, series) for run in wanted]
    return Curves(series, tuple(curve for curve in found if curve.steps))


async def _curve(reader: AsyncReader, run: RunView, series: str) -> Curve:
    from client.curves import Curve

    points: list[tuple[int, float]] = []
    if series == FITNESS:
        points = run.checkpoints
    elif (told := (await reader.run(run.id)).curve) is not None and series in told.series:
        points = list(zip(told.steps, told.series[series], strict=True))
    steps, values = (tuple((x for x, _ in points)), tuple((y for _, y in points)))
    return Curve(run.arm, run.seed, run.rung, steps, values)
