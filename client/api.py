"""The Python client: create a job, follow it, save the best reward.

>>> from client.api import Client                            # doctest: +SKIP
>>> job = Client().jobs.create("cartpole-park")              # doctest: +SKIP
>>> for event in job.events(): print(event.kind)             # doctest: +SKIP
>>> job.best.save("reward.py")                               # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from client.transport import ApiProblem, Document, StreamedEvent, Transport, Unreachable

__all__ = ["ApiProblem", "Best", "Client", "Job", "Jobs", "StreamedEvent", "Unreachable"]

FINISHED = frozenset({"succeeded", "failed", "cancelled"})
TRANSIENT = frozenset({"progress", "end"})
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
        self.jobs = Jobs(self._transport)

    @property
    def base_url(self) -> str:
        """Return the server's address."""
        return self._transport.base_url

    def tasks(self) -> list[Document]:
        """Return the catalogue."""
        return _data(self._transport.document("GET", "/v1/tasks"))

    def task(self, name: str) -> Document:
        """Return one task of the catalogue."""
        return self._transport.document("GET", f"/v1/tasks/{name}")

    def methods(self) -> Document:
        """Return the methods (`data`) and the designers (`designers`)."""
        return self._transport.document("GET", "/v1/methods")

    def candidate(self, candidate_id: str) -> Document:
        """Return one candidate."""
        return self._transport.document("GET", f"/v1/candidates/{candidate_id}")

    def code(self, candidate_id: str) -> str:
        """Return the text of a candidate's program."""
        return self._transport.answer("GET", f"/v1/candidates/{candidate_id}/code").text

    def runs(self, candidate_id: str) -> list[Document]:
        """Return the trainings of a candidate."""
        return _data(self._transport.document("GET", f"/v1/candidates/{candidate_id}/runs"))

    def run(self, run_id: str) -> Document:
        """Return one training with its curve."""
        return self._transport.document("GET", f"/v1/runs/{run_id}")

    def library(
        self, query: str | None = None, *, task: str | None = None, limit: int = 20
    ) -> list[Document]:
        """Return finished designs, those that fit the query best first."""
        asked = {"q": query, "task": task, "limit": limit}
        params = {name: value for name, value in asked.items() if value is not None}
        return _data(self._transport.document("GET", "/v1/library", params=params))

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
        """Give the connections back."""
        self._transport.close()

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
        return Job(
            self.transport, self.transport.document("POST", "/v1/jobs", json=body, headers=headers)
        )

    def estimate(
        self,
        /,
        task: str | Mapping[str, object],
        description: str | None = None,
        **request: Any,
    ) -> Document:
        """Return what a job would cost, without starting it; arguments and errors as `create`."""
        body = _body(task, description, request)
        return self.transport.document("POST", "/v1/jobs/estimate", json=body)

    def get(self, job_id: str) -> Job:
        """Return a job."""
        return Job(self.transport, self.transport.document("GET", f"/v1/jobs/{job_id}"))

    def page(self, after: str | None = None, limit: int = PAGE, **filters: str | None) -> Document:
        """Return one page of jobs as the server gives it, newest first."""
        asked = {"after": after, "limit": limit, **filters}
        params = {name: value for name, value in asked.items() if value is not None}
        return self.transport.document("GET", "/v1/jobs", params=params)

    def list(self, *, status: str | None = None, task: str | None = None) -> Iterator[Job]:
        """Yield jobs, newest first, as far back as the caller reads."""
        after: str | None = None
        while True:
            page = self.page(after, status=status, task=task)
            yield from (Job(self.transport, document) for document in page["data"])
            after = page["next"]
            if after is None:
                return

    def cancel(self, job_id: str) -> Job:
        """Ask for the end of a job; what it has so far stays."""
        return self._act(job_id, "cancel")

    def pause(self, job_id: str) -> Job:
        """Let a job rest after what is under way has been given up."""
        return self._act(job_id, "pause")

    def resume(self, job_id: str) -> Job:
        """Let a paused job go on."""
        return self._act(job_id, "resume")

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended, with all it owns."""
        self.transport.answer("DELETE", f"/v1/jobs/{job_id}")

    def extend(self, job_id: str, **more: Any) -> Job:
        """Let a job go on for longer: `iterations` more, a higher `budget`, programs in `start`."""
        return Job(self.transport, _post(self.transport, f"/v1/jobs/{job_id}/extend", more))

    def retry(self, job_id: str) -> Job:
        """Let a failed or cancelled job go on, once its cause was mended."""
        return Job(self.transport, _post(self.transport, f"/v1/jobs/{job_id}/retry", None))

    def fork(self, job_id: str, candidate: str | None = None, **overrides: Any) -> Job:
        """Submit another job for the same task that starts from a candidate, by default the best."""
        body = {"overrides": overrides} | ({} if candidate is None else {"candidate": candidate})
        return Job(self.transport, _post(self.transport, f"/v1/jobs/{job_id}/fork", body))

    def _act(self, job_id: str, verb: str) -> Job:
        return Job(self.transport, self.transport.document("POST", f"/v1/jobs/{job_id}/{verb}"))


class Job:
    """A job as it was when last read; `document` is the whole of it."""

    def __init__(self, transport: Transport, document: Document) -> None:
        self._transport = transport
        self.document = document

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
    def best(self) -> Best:
        """Return the best design so far; asking for what is not there yet raises ApiProblem."""
        return Best(self._transport, self.id)

    def refresh(self) -> Job:
        """Read the job again."""
        self.document = self._transport.document("GET", f"/v1/jobs/{self.id}")
        return self

    def events(self, after: int = 0, *, transient: bool = False) -> Iterator[StreamedEvent]:
        """Yield what happens until the job ends; each event once, in order, whatever breaks.

        Args:
            after: number of the last event already seen.
            transient: also yield `progress`, which says what is being done right now.
        """
        for event in self._transport.stream(f"/v1/jobs/{self.id}/events", after):
            if transient or event.kind not in TRANSIENT:
                yield event

    def wait(self, timeout: float | None = None, *, poll: float = 1.0) -> Job:
        """Return when the job has ended.

        Raises:
            TimeoutError: it has not, within `timeout` seconds; the job goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.refresh().finished:
            if deadline is not None and time.monotonic() + poll > deadline:
                raise TimeoutError(f"job {self.id} is still {self.status} after {timeout} seconds")
            time.sleep(poll)
        return self

    def iterations(self) -> list[Document]:
        """Return the refinement history."""
        return _data(self._transport.document("GET", f"/v1/jobs/{self.id}/iterations"))

    def exchanges(self) -> list[Document]:
        """Return every prompt and reply."""
        return _data(self._transport.document("GET", f"/v1/jobs/{self.id}/exchanges"))

    def candidates(self, status: str | None = None) -> Iterator[Document]:
        """Yield the candidates in the order in which they were proposed."""
        after: str | None = None
        while True:
            asked = {"after": after, "limit": PAGE, "status": status}
            params = {name: value for name, value in asked.items() if value is not None}
            page = self._transport.document("GET", f"/v1/jobs/{self.id}/candidates", params=params)
            yield from page["data"]
            after = page["next"]
            if after is None:
                return

    def cancel(self) -> Job:
        """Ask for the job's end."""
        return Jobs(self._transport).cancel(self.id)

    def pause(self) -> Job:
        """Let the job rest."""
        return Jobs(self._transport).pause(self.id)

    def resume(self) -> Job:
        """Let the paused job go on."""
        return Jobs(self._transport).resume(self.id)

    def delete(self) -> None:
        """Delete the job, which has ended, with all it owns."""
        Jobs(self._transport).delete(self.id)

    def say(self, text: str, candidate: str | None = None) -> Document:
        """Leave words, of a candidate or of the whole job; the next prompts quote them."""
        return self._feedback({"kind": "text", "text": text, "candidate": candidate})

    def thumb(self, candidate: str, up: bool, text: str = "") -> Document:
        """Judge a candidate."""
        value = 1 if up else -1
        return self._feedback(
            {"kind": "thumb", "candidate": candidate, "value": value, "text": text}
        )

    def prefer(self, candidate: str, other: str, value: int = 1, text: str = "") -> Document:
        """Judge two candidates: 1 if the first is better, -1 if the other is, 0 if neither."""
        judged = {"candidate": candidate, "other": other, "value": value, "text": text}
        return self._feedback({"kind": "preference", **judged})

    def _feedback(self, body: Mapping[str, object]) -> Document:
        said = {name: value for name, value in body.items() if value is not None}
        return _post(self._transport, f"/v1/jobs/{self.id}/feedback", said)

    def feedback(self) -> list[Document]:
        """Return everything that was said of the job."""
        return _data(self._transport.document("GET", f"/v1/jobs/{self.id}/feedback"))

    def give(self, source: str, parent: str | None = None, note: str = "") -> Document:
        """Hand in a program, say an edit of a candidate; it is measured in the next iteration."""
        body = {"source": source, "note": note} | ({} if parent is None else {"parent": parent})
        return _post(self._transport, f"/v1/jobs/{self.id}/candidates", body)

    def programs(self) -> list[Document]:
        """Return the programs that people handed in, with the candidates that they became."""
        return _data(self._transport.document("GET", f"/v1/jobs/{self.id}/programs"))

    def extend(self, **more: Any) -> Job:
        """Let the job go on for longer: `iterations`, `budget`, `start`."""
        return Jobs(self._transport).extend(self.id, **more)

    def retry(self) -> Job:
        """Let the failed or cancelled job go on."""
        return Jobs(self._transport).retry(self.id)

    def fork(self, candidate: str | None = None, **overrides: Any) -> Job:
        """Submit another job for the same task that starts from a candidate."""
        return Jobs(self._transport).fork(self.id, candidate, **overrides)

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.status}>"


@dataclass(frozen=True, slots=True)
class Best:
    """The best design of a job."""

    transport: Transport
    job_id: str

    def document(self) -> Document:
        """Return the candidate behind the design."""
        return self.transport.document("GET", f"/v1/jobs/{self.job_id}/best")

    def code(self) -> str:
        """Return the text of the program alone, as the designer wrote it."""
        path = f"/v1/candidates/{self.document()['id']}/code"
        return self.transport.answer("GET", path).text

    def source(self) -> str:
        """Return the text of the file that runs without us."""
        response = self.transport.answer("GET", f"/v1/jobs/{self.job_id}/best/reward.py")
        digest = hashlib.sha256(response.content).hexdigest()
        if response.headers.get("etag", "").strip('"') not in ("", digest):
            raise Unreachable(self.transport.base_url, "the download arrived damaged")
        return response.text

    def save(self, path: str | Path = "reward.py") -> Path:
        """Write the file and return where it is."""
        target = Path(path)
        target.write_text(self.source(), encoding="utf-8")
        return target


def _post(transport: Transport, path: str, body: Mapping[str, object] | None) -> Document:
    """Send a request that is carried out once, however often it has to be repeated."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    return transport.document("POST", path, json=body, headers=headers)


def _data(document: Document) -> list[Document]:
    return list(document["data"])
