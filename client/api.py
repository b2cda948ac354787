"""The Python client: create a job, follow it, save the best reward.

What the server answers is read into the server's own models (`api.views` and its neighbours), so client
and server cannot drift apart.  They are imported when somebody first reads one.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from client.jobs import Job
from client.reading import Reader
from client.transport import ApiProblem, Document, StreamedEvent, Transport, Unreachable

if TYPE_CHECKING:
    from api.cancelling_views import CancelledView
    from api.comparison_views import ComparisonView, DiffView, RunMetricsView
    from api.history_views import CandidateView, RunView, RunWithCurveView
    from api.people_views import LibraryItemView
    from api.views import MethodList, PlanView, TaskView
    from api.work_views import QueueView, UsageView, WorkerView

__all__ = ["ApiProblem", "Client", "Job", "Jobs", "StreamedEvent", "Unreachable"]

PAGE = 100


class Client:
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
        self._transport = Transport(base_url, key=key, timeout=timeout)
        self._reader = Reader(self._transport)
        self._held = ExitStack()
        self.jobs = Jobs(self._transport)

    @classmethod
    def embedded(cls, home: str | Path = ".rewardsmith", **settings: str) -> Client:
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

    def tasks(self) -> list[TaskView]:
        """Return the catalogue."""
        from api.views import TaskList

        return self._transport.read(TaskList, "GET", "/v1/tasks").data

    def task(self, name: str) -> TaskView:
        """Return one task of the catalogue."""
        from api.views import TaskView

        return self._transport.read(TaskView, "GET", f"/v1/tasks/{name}")

    def methods(self) -> MethodList:
        """Return the methods (`data`) and the designers (`designers`)."""
        from api.views import MethodList

        return self._transport.read(MethodList, "GET", "/v1/methods")

    def candidate(self, candidate_id: str) -> CandidateView:
        """Return one candidate."""
        return self._reader.candidate(candidate_id)

    def code(self, candidate_id: str) -> str:
        """Return the text of a candidate's program."""
        return self._reader.code(candidate_id)

    def runs(self, candidate_id: str) -> list[RunView]:
        """Return the trainings of a candidate."""
        return self._reader.runs(candidate_id)

    def run(self, run_id: str) -> RunWithCurveView:
        """Return one training with its curve."""
        return self._reader.run(run_id)

    def metrics(self, run_id: str, *keys: str, max_points: int | None = None) -> RunMetricsView:
        """Return series of a training, thinned so that every extreme stays; all series by default."""
        from api.comparison_views import RunMetricsView

        asked = {"keys": ",".join(keys) or None, "max_points": max_points}
        params = {name: value for name, value in asked.items() if value is not None}
        path = f"/v1/runs/{run_id}/metrics"
        return self._transport.read(RunMetricsView, "GET", path, params=params)

    def compare(self, *candidates: str) -> ComparisonView:
        """Lay two to six candidates, by their ids, beside each other and their native rewards."""
        from api.comparison_views import ComparisonView

        params = {"candidates": ",".join(candidates)}
        return self._transport.read(ComparisonView, "GET", "/v1/compare", params=params)

    def diff(self, candidate_id: str, against: str = "parent") -> DiffView:
        """Return what a candidate's program changes: against `parent`, `native`, or another's id."""
        from api.comparison_views import DiffView

        path = f"/v1/candidates/{candidate_id}/diff"
        return self._transport.read(DiffView, "GET", path, params={"against": against})

    def usage(self, days: int | None = None) -> UsageView:
        """Return what your jobs used, by day."""
        from api.work_views import UsageView

        params = {} if days is None else {"days": days}
        return self._transport.read(UsageView, "GET", "/v1/usage", params=params)

    def workers(self) -> list[WorkerView]:
        """Return the workers of the server."""
        from api.work_views import WorkerList

        return self._transport.read(WorkerList, "GET", "/v1/workers").data

    def queue(self) -> QueueView:
        """Return your jobs that have not ended, and what each waits for."""
        from api.work_views import QueueView

        return self._transport.read(QueueView, "GET", "/v1/queue")

    def library(
        self, query: str | None = None, *, task: str | None = None, limit: int = 20
    ) -> list[LibraryItemView]:
        """Return finished designs, those that fit the query best first."""
        from api.people_views import LibraryList

        asked = {"q": query, "task": task, "limit": limit}
        params = {name: value for name, value in asked.items() if value is not None}
        return self._transport.read(LibraryList, "GET", "/v1/library", params=params).data

    def dataset(self, form: str = "sft", *, task: str | None = None) -> Iterator[Document]:
        """Yield what all jobs teach a designer, as rows for trl.

        Args:
            form: `sft`, `dpo` or `grpo`.
            task: only jobs for this task.
        """
        params = {"format": form} | ({} if task is None else {"task": task})
        for line in self._transport.lines("/v1/datasets/designer.jsonl", params):
            yield json.loads(line)

    def ready(self) -> bool:
        """Tell whether the server answers and can do its work."""
        try:
            self._transport.document("GET", "/readyz")
        except (ApiProblem, Unreachable):
            return False
        return True

    def close(self) -> None:
        """Give the connections back, and end the server if it is the client's own."""
        self._transport.close()
        self._held.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _body(
    task: str | Mapping[str, object], description: str | None, request: Mapping[str, Any]
) -> dict[str, Any]:
    body = {"task": task, "description": description, **request}
    return {name: value for name, value in body.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of a server."""

    transport: Transport

    def create(
        self,
        /,
        task: str | Mapping[str, object],
        description: str | None = None,
        *,
        idempotency_key: str | None = None,
        **request: Any,
    ) -> Job:
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
        return Job.of_answer(
            self.transport, self.transport.document("POST", "/v1/jobs", json=body, headers=headers)
        )

    def estimate(
        self,
        /,
        task: str | Mapping[str, object],
        description: str | None = None,
        **request: Any,
    ) -> PlanView:
        """Return what a job would cost, without starting it; arguments and errors as `create`."""
        from api.views import PlanView

        body = _body(task, description, request)
        return self.transport.read(PlanView, "POST", "/v1/jobs/estimate", json=body)

    def get(self, job_id: str) -> Job:
        """Return a job."""
        return Job.of_answer(self.transport, self.transport.document("GET", f"/v1/jobs/{job_id}"))

    def cancel(
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
                answer = self.transport.read(CancelledList, "POST", "/v1/jobs/cancel", json=asked)
                found, more = [*found, *answer.data], answer.has_more
        return found

    def take_in(self, history: str | Path) -> Job:
        """Import a job that was exported elsewhere (`Job.save_history`), as your own.

        Raises:
            ApiProblem: a line cannot be accepted; says which.
            Unreachable: nobody answered.
            OSError: the file cannot be read.
        """
        content = Path(history).read_bytes()
        headers = {"Idempotency-Key": str(uuid.uuid4()), "Content-Type": "application/jsonl"}
        return Job.of_answer(
            self.transport,
            self.transport.document("POST", "/v1/jobs/import", content=content, headers=headers),
        )

    def list(self, *, status: str | None = None, task: str | None = None) -> Iterator[Job]:
        """Yield jobs, newest first, as far back as the caller reads."""
        asked = {"status": status, "task": task}
        for document in self.transport.pages("/v1/jobs", PAGE, asked):
            yield Job.of_answer(self.transport, document)
