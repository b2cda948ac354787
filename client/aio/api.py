"""The Python client: create a job, follow it, save the best reward; asynchronous.

Made from `client/api.py` by `python -m client.twins`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from client.aio.jobs import AsyncJob
from client.aio.reading import AsyncReader
from client.aio.transport import AsyncTransport
from client.api import PAGE, _body
from client.transport import ApiProblem, Document, Unreachable

if TYPE_CHECKING:
    from api.cancelling_views import CancelledView
    from api.comparison_views import ComparisonView, DiffView, RunMetricsView
    from api.history_views import CandidateView, RunView, RunWithCurveView
    from api.people_views import LibraryItemView
    from api.views import MethodList, PlanView, TaskView
    from api.work_views import QueueView, UsageView, WorkerView


class AsyncClient:
    """A connection to one Rewardsmith server.

    Args:
        base_url: where the server is; by default REWARDSMITH_API_URL, else the host and
            port of REWARDSMITH_API_HOST and REWARDSMITH_API_PORT, else http://127.0.0.1:8700.
        key:      who asks, for a server that wants to know; by default REWARDSMITH_API_KEY.
        timeout:  seconds that a single answer may take.
    """

    def __init__(
        self, base_url: str | None = None, *, key: str | None = None, timeout: float = 30.0
    ) -> None:
        self._transport = AsyncTransport(base_url, key=key, timeout=timeout)
        self._reader = AsyncReader(self._transport)
        self._held = ExitStack()
        self.jobs = AsyncJobs(self._transport)

    @classmethod
    def embedded(cls, home: str | Path = ".rewardsmith", **settings: str) -> AsyncClient:
        """Return a client with a server of its own, which ends when the client is closed.

        Args:
            home:     folder for everything that is kept.
            settings: of the server, by the names of their variables: `openai_base_url="http://…"`.

        Raises:
            StorageFailed: the server does not come up; says why.
        """
        from client.embedded import served

        folder = Path(home).expanduser().absolute()
        folder.mkdir(parents=True, exist_ok=True)
        own = {f"REWARDSMITH_{name.upper()}": value for name, value in settings.items()}
        with ExitStack() as stack:
            client = cls(stack.enter_context(served(folder, own)))
            client._held = stack.pop_all()
        return client

    @property
    def base_url(self) -> str:
        """Return the server's address."""
        return self._transport.base_url

    async def tasks(self) -> list[TaskView]:
        """Return the catalogue."""
        from api.views import TaskList

        return (await self._transport.read(TaskList, "GET", "/v1/tasks")).data

    async def task(self, name: str) -> TaskView:
        """Return one task of the catalogue."""
        from api.views import TaskView

        return await self._transport.read(TaskView, "GET", f"/v1/tasks/{name}")

    async def methods(self) -> MethodList:
        """Return the methods (`data`) and the designers (`designers`)."""
        from api.views import MethodList

        return await self._transport.read(MethodList, "GET", "/v1/methods")

    async def candidate(self, candidate_id: str) -> CandidateView:
        """Return one candidate."""
        return await self._reader.candidate(candidate_id)

    async def code(self, candidate_id: str) -> str:
        """Return the text of a candidate's program."""
        return await self._reader.code(candidate_id)

    async def runs(self, candidate_id: str) -> list[RunView]:
        """Return the trainings of a candidate."""
        return await self._reader.runs(candidate_id)

    async def run(self, run_id: str) -> RunWithCurveView:
        """Return one training with its curve."""
        return await self._reader.run(run_id)

    async def metrics(
        self, run_id: str, *keys: str, max_points: int | None = None
    ) -> RunMetricsView:
        """Return series of a training, thinned so that every extreme stays; all series by default."""
        from api.comparison_views import RunMetricsView

        asked = {"keys": ",".join(keys) or None, "max_points": max_points}
        params = {name: value for name, value in asked.items() if value is not None}
        path = f"/v1/runs/{run_id}/metrics"
        return await self._transport.read(RunMetricsView, "GET", path, params=params)

    async def compare(self, *candidates: str) -> ComparisonView:
        """Lay two to six candidates, by their ids, beside each other and their native rewards."""
        from api.comparison_views import ComparisonView

        params = {"candidates": ",".join(candidates)}
        return await self._transport.read(ComparisonView, "GET", "/v1/compare", params=params)

    async def diff(self, candidate_id: str, against: str = "parent") -> DiffView:
        """Return what a candidate's program changes: against `parent`, `native`, or another's id."""
        from api.comparison_views import DiffView

        path = f"/v1/candidates/{candidate_id}/diff"
        return await self._transport.read(DiffView, "GET", path, params={"against": against})

    async def usage(self, days: int | None = None) -> UsageView:
        """Return what your jobs used, by day."""
        from api.work_views import UsageView

        params = {} if days is None else {"days": days}
        return await self._transport.read(UsageView, "GET", "/v1/usage", params=params)

    async def workers(self) -> list[WorkerView]:
        """Return the workers of the server."""
        from api.work_views import WorkerList

        return (await self._transport.read(WorkerList, "GET", "/v1/workers")).data

    async def queue(self) -> QueueView:
        """Return your jobs that have not ended, and what each waits for."""
        from api.work_views import QueueView

        return await self._transport.read(QueueView, "GET", "/v1/queue")

    async def library(
        self, query: str | None = None, *, task: str | None = None, limit: int = 20
    ) -> list[LibraryItemView]:
        """Return finished designs, those that fit the query best first."""
        from api.people_views import LibraryList

        asked = {"q": query, "task": task, "limit": limit}
        params = {name: value for name, value in asked.items() if value is not None}
        return (await self._transport.read(LibraryList, "GET", "/v1/library", params=params)).data

    async def dataset(
        self, form: str = "sft", *, task: str | None = None
    ) -> AsyncIterator[Document]:
        """Yield what all jobs teach a designer, as rows for trl.

        Args:
            form: `sft`, `dpo` or `grpo`.
            task: only jobs for this task.
        """
        params = {"format": form} | ({} if task is None else {"task": task})
        async for line in self._transport.lines("/v1/datasets/designer.jsonl", params):
            yield json.loads(line)

    async def ready(self) -> bool:
        """Tell whether the server answers and can do its work."""
        try:
            await self._transport.document("GET", "/readyz")
        except (ApiProblem, Unreachable):
            return False
        return True

    async def close(self) -> None:
        """Give the connections back, and end the server if it is the client's own."""
        await self._transport.close()
        self._held.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


@dataclass(frozen=True, slots=True)
class AsyncJobs:
    """The jobs of a server."""

    transport: AsyncTransport

    async def create(
        self,
        /,
        task: str | Mapping[str, object],
        description: str | None = None,
        *,
        idempotency_key: str | None = None,
        **request: Any,
    ) -> AsyncJob:
        """Submit a job; repeating a lost request cannot make two.

        Args:
            task: a name of the catalogue, an environment id, or a whole task.
            description: what is wanted, in words.
            idempotency_key: names this request; made up if left out.
            request: further entries of the body: iterations, candidates, training, budget, …

        Raises:
            ApiProblem: the request was refused; says where and why.
            Unreachable: nobody answered.
        """
        body = _body(task, description, request)
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return AsyncJob.of_answer(
            self.transport,
            await self.transport.document("POST", "/v1/jobs", json=body, headers=headers),
        )

    async def estimate(
        self, /, task: str | Mapping[str, object], description: str | None = None, **request: Any
    ) -> PlanView:
        """Return what a job would cost, without starting it; arguments and errors as `create`."""
        from api.views import PlanView

        body = _body(task, description, request)
        return await self.transport.read(PlanView, "POST", "/v1/jobs/estimate", json=body)

    async def get(self, job_id: str) -> AsyncJob:
        """Return a job."""
        return AsyncJob.of_answer(
            self.transport, await self.transport.document("GET", f"/v1/jobs/{job_id}")
        )

    async def cancel(
        self,
        *ids: str,
        status: str | None = None,
        task: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[CancelledView]:
        """Ask for the end of jobs: those that are named, or all of yours that are open and fit.

        What became of each is told; one that cannot be cancelled keeps no other from it.

        Raises:
            ApiProblem: neither ids nor a filter, or both, were given.
            Unreachable: nobody answered.
        """
        from api.cancelling_views import CancelledList

        filters = {"status": status, "task": task, "labels": labels and dict(labels)}
        body = {name: value for name, value in filters.items() if value is not None}
        found: list[CancelledView] = []
        for first in range(0, max(1, len(ids)), PAGE):
            some = [*ids[first : first + PAGE]]
            more = True
            while more:
                asked = {**body, **({"ids": some} if some else {})}
                answer = await self.transport.read(
                    CancelledList, "POST", "/v1/jobs/cancel", json=asked
                )
                found, more = ([*found, *answer.data], answer.has_more)
        return found

    async def take_in(self, history: str | Path) -> AsyncJob:
        """Import a job that was exported elsewhere (`Job.save_history`), as your own.

        Raises:
            ApiProblem: a line cannot be accepted; says which.
            Unreachable: nobody answered.
            OSError: the file cannot be read.
        """
        content = Path(history).read_bytes()
        headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/jsonl"}
        return AsyncJob.of_answer(
            self.transport,
            await self.transport.document(
                "POST", "/v1/jobs/import", content=content, headers=headers
            ),
        )

    async def list(
        self, *, status: str | None = None, task: str | None = None
    ) -> AsyncIterator[AsyncJob]:
        """Yield jobs, newest first, as far back as the caller reads."""
        asked = {"status": status, "task": task}
        async for document in self.transport.pages("/v1/jobs", PAGE, asked):
            yield AsyncJob.of_answer(self.transport, document)
