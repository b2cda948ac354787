"""One job as the client holds it: follow it, steer it, and read what became of it; asynchronous.

Made from `client/jobs.py` by `python -m client.twins`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client.aio.candidates import AsyncBest, AsyncCandidates
from client.aio.reading import AsyncReader, read_curves
from client.aio.transport import AsyncTransport
from client.jobs import FINISHED, PARTS, TRANSIENT
from client.transport import Document, StreamedEvent, of_ours, parsed, read_model

if TYPE_CHECKING:
    from api.comparison_views import ArtifactView, RolloutView
    from api.history_views import ArmView, ExchangeView, IterationView, RunView
    from api.people_views import GivenView, RemarkView
    from api.views import DeliveryView, JobView
    from client.curves import Curves


class AsyncJob:
    """A job as it was when last read.

    `document` is the JSON as the server sent it, `view` the same as the server's model.
    """

    def __init__(self, transport: AsyncTransport, document: Document) -> None:
        self._transport = transport
        self.document = document

    @classmethod
    def of_answer(cls, transport: AsyncTransport, found: Any) -> AsyncJob:
        """Return the job that a server told.

        Raises:
            ApiProblem: it told something else.
        """
        return cls(transport, of_ours(found, *PARTS))

    @property
    def id(self) -> str:
        """Return the job's id."""
        return str(self.document["id"])

    @property
    def status(self) -> str:
        """Return the status as last read."""
        return str(self.document["status"])

    @property
    def finished(self) -> bool:
        """Tell whether the job had ended when last read."""
        return self.status in FINISHED

    @property
    def view(self) -> JobView:
        """Return the job as last read."""
        from api.views import JobView

        return read_model(JobView, self.document)

    @property
    def best(self) -> AsyncBest:
        """Return the best design so far; asking for what is not there yet raises ApiProblem."""
        return AsyncBest(self._transport, self.id)

    @property
    def candidates(self) -> AsyncCandidates:
        """Return the candidates, in the order in which they were proposed."""
        return AsyncCandidates(self._transport, self.id)

    async def refresh(self) -> AsyncJob:
        """Read the job again."""
        self.document = of_ours(await self._transport.document("GET", self._path()), *PARTS)
        return self

    async def stream(
        self, after: int = 0, *, transient: bool = False
    ) -> AsyncIterator[StreamedEvent]:
        """Yield what happens until the job ends; each event once, in order, whatever breaks.

        Args:
            after: number of the last event already seen.
            transient: also yield `progress`, which says what is being done right now.
        """
        async for event in self._transport.stream(self._path("events"), after):
            if transient or event.kind not in TRANSIENT:
                yield event

    async def wait(self, timeout: float | None = None, *, poll: float = 1.0) -> AsyncJob:
        """Return when the job has ended.

        Raises:
            TimeoutError: it has not, within `timeout` seconds; the job goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (await self.refresh()).finished:
            left = poll if deadline is None else min(poll, deadline - time.monotonic())
            if deadline is not None and left <= 0.0:
                raise TimeoutError(f"job {self.id} is still {self.status} after {timeout} seconds")
            await asyncio.sleep(left)
        return self

    async def iterations(self) -> list[IterationView]:
        """Return the refinement history."""
        from api.history_views import IterationList

        return (await self._transport.read(IterationList, "GET", self._path("iterations"))).data

    async def iteration(self, number: int) -> IterationView:
        """Return one round of the history, counted from 0."""
        from api.history_views import IterationView

        return await self._transport.read(IterationView, "GET", self._path(f"iterations/{number}"))

    async def exchanges(self) -> list[ExchangeView]:
        """Return every prompt and reply."""
        from api.history_views import ExchangeList

        return (await self._transport.read(ExchangeList, "GET", self._path("exchanges"))).data

    async def arms(self) -> list[ArmView]:
        """Return what is known of the ways to ask that compete in this job."""
        from api.history_views import ArmList

        return (await self._transport.read(ArmList, "GET", self._path("arms"))).data

    async def deliveries(self, after: int = 0) -> list[DeliveryView]:
        """Return what became of the messages to the job's webhook, those after an event's number."""
        from api.views import DeliveryPage

        found: list[DeliveryView] = []
        while page := (
            await self._transport.read(
                DeliveryPage, "GET", self._path("webhook-deliveries"), params={"after": after}
            )
        ).data:
            found, after = ([*found, *page], page[-1].number)
        return found

    async def native_runs(self) -> list[RunView]:
        """Return the trainings of the native reward."""
        from api.history_views import RunList

        return (await self._transport.read(RunList, "GET", self._path("runs"))).data

    async def curves(self, *names: str, series: str = "fitness") -> Curves:
        """Return how candidates of the search, and the native reward beside them, learnt.

        Args:
            names:  keys such as 0.3, or ids, of candidates; the best one so far if left out.
            series: `fitness`, which the scorer measured on the way, or one that the training
                process tells of itself, such as `return`.
        """
        ids = [(await self.candidates[name]).id for name in names] or [(await self.best.view()).id]
        return await read_curves(self.reader(), ids, await self.native_runs(), series)

    async def save_page(self, path: str | Path) -> Path:
        """Write the job as one HTML file, which needs nothing beside it; return where it is."""
        return await self._transport.download(self._path("export.html"), Path(path))

    async def save_history(self, path: str | Path) -> Path:
        """Write every fact of the job as lines of JSON, which `jobs.take_in` reads elsewhere."""
        return await self._transport.download(self._path("export"), Path(path))

    async def rollouts(self, candidate: str | None = None) -> list[RolloutView]:
        """Return filmed episodes: of all arms, or of the candidate with an id."""
        from api.comparison_views import RolloutList

        whose = (
            self._path("rollouts") if candidate is None else f"/v1/candidates/{candidate}/rollouts"
        )
        return (await self._transport.read(RolloutList, "GET", whose)).data

    async def artifacts(self) -> list[ArtifactView]:
        """Return the files that belong to the job, by their hashes."""
        from api.comparison_views import ArtifactList

        return (await self._transport.read(ArtifactList, "GET", self._path("artifacts"))).data

    async def save_artifact(self, sha256: str, path: str | Path) -> Path:
        """Write one of the job's files."""
        return await self._transport.download(self._path(f"artifacts/{sha256}"), Path(path))

    async def describe(self, **changes: Any) -> AsyncJob:
        """Change what people call the job and write down about it: `name`, `notes`, `labels`."""
        document = await self._transport.document("PATCH", self._path(), json=changes)
        return AsyncJob.of_answer(self._transport, document)

    async def cancel(self) -> AsyncJob:
        """Ask for the job's end; what it has so far stays."""
        return await self._act("cancel")

    async def pause(self) -> AsyncJob:
        """Let the job rest after what is under way has been given up."""
        return await self._act("pause")

    async def resume(self) -> AsyncJob:
        """Let the paused job go on."""
        return await self._act("resume")

    async def delete(self) -> None:
        """Delete the job, which has ended, with all it owns."""
        await self._transport.answer("DELETE", self._path())

    async def say(self, text: str, candidate: str | None = None) -> RemarkView:
        """Leave words, of a candidate or of the whole job; the next prompts quote them."""
        return await self._remark({"kind": "text", "text": text, "candidate": candidate})

    async def thumb(self, candidate: str, up: bool, text: str = "") -> RemarkView:
        """Judge a candidate."""
        value = 1 if up else -1
        return await self._remark(
            {"kind": "thumb", "candidate": candidate, "value": value, "text": text}
        )

    async def prefer(
        self, candidate: str, other: str, value: int = 1, text: str = ""
    ) -> RemarkView:
        """Judge two candidates: 1 if the first is better, -1 if the other is, 0 if neither."""
        judged = {"candidate": candidate, "other": other, "value": value, "text": text}
        return await self._remark({"kind": "preference", **judged})

    async def _remark(self, body: Mapping[str, object]) -> RemarkView:
        from api.people_views import RemarkView

        said = {name: value for name, value in body.items() if value is not None}
        return read_model(
            RemarkView, (await self._transport.post(self._path("feedback"), said)).content
        )

    async def feedback(self) -> list[RemarkView]:
        """Return everything that was said of the job."""
        from api.people_views import RemarkList

        return (await self._transport.read(RemarkList, "GET", self._path("feedback"))).data

    async def give(self, source: str, parent: str | None = None, note: str = "") -> GivenView:
        """Hand in a program, say an edit of a candidate; it is measured in the next iteration."""
        from api.people_views import GivenView

        body = {"source": source, "note": note} | ({} if parent is None else {"parent": parent})
        return read_model(
            GivenView, (await self._transport.post(self._path("candidates"), body)).content
        )

    async def programs(self) -> list[GivenView]:
        """Return the programs that people handed in, with the candidates that they became."""
        from api.people_views import GivenList

        return (await self._transport.read(GivenList, "GET", self._path("programs"))).data

    async def extend(self, **more: Any) -> AsyncJob:
        """Let the job go on for longer: `iterations` more, a higher `budget`, programs in `start`."""
        return await self._other("extend", more)

    async def retry(self) -> AsyncJob:
        """Let the failed or cancelled job go on, once its cause was mended."""
        return await self._other("retry", None)

    async def fork(self, candidate: str | None = None, **overrides: Any) -> AsyncJob:
        """Submit another job for the same task that starts from a candidate, by default the best."""
        body = {"overrides": overrides} | ({} if candidate is None else {"candidate": candidate})
        return await self._other("fork", body)

    async def _other(self, verb: str, body: Mapping[str, object] | None) -> AsyncJob:
        return AsyncJob.of_answer(
            self._transport, parsed(await self._transport.post(self._path(verb), body))
        )

    async def _act(self, verb: str) -> AsyncJob:
        return AsyncJob.of_answer(
            self._transport, await self._transport.document("POST", self._path(verb))
        )

    def _path(self, part: str = "") -> str:
        return f"/v1/jobs/{self.id}" + (f"/{part}" if part else "")

    def reader(self) -> AsyncReader:
        """Return who reads candidates and trainings by their ids."""
        return AsyncReader(self._transport)

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.status}>"
