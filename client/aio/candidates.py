"""A job's candidates and its best design, as the client holds them; asynchronous.

Made from `client/candidates.py` by `python -m client.twins`.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client.aio.transport import AsyncTransport
from client.candidates import PAGE, _module
from client.saving import whole_file
from client.transport import Unreachable, read_model
from core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from api.history_views import CandidateView


@dataclass(frozen=True, slots=True)
class AsyncCandidates:
    """The candidates of a job; read from the server anew whenever they are walked through."""

    transport: AsyncTransport
    job_id: str

    def __aiter__(self) -> AsyncIterator[CandidateView]:
        return self.of()

    async def of(self, status: str | None = None) -> AsyncIterator[CandidateView]:
        """Yield those in a state such as `trained`, by default all, as they were proposed."""
        from api.history_views import CandidateView

        path = f"/v1/jobs/{self.job_id}/candidates"
        async for document in self.transport.pages(path, PAGE, {"status": status}):
            yield read_model(CandidateView, document)

    async def __getitem__(self, name: str) -> CandidateView:
        """Return the candidate with a key such as 0.3, or with an id.

        Raises:
            NotFound: the job has no such candidate.
        """
        async for candidate in self:
            if name in (candidate.key, candidate.id):
                return candidate
        raise NotFound(
            f"no candidate {name}",
            expected="a key such as 0.3, or an id",
            where=f"candidates of job {self.job_id}",
        )

    async def to_pandas(self) -> Any:
        """Return a DataFrame with a row per candidate (columns: `client.tables.COLUMNS`).

        Raises:
            ConfigurationError: pandas is not installed.
        """
        from client.extras import load
        from client.tables import COLUMNS, candidate_row

        frame = load("pandas").DataFrame
        return frame([candidate_row(candidate) async for candidate in self], columns=COLUMNS)


@dataclass(frozen=True, slots=True)
class AsyncBest:
    """The best design of a job."""

    transport: AsyncTransport
    job_id: str

    async def view(self) -> CandidateView:
        """Return the candidate behind the design."""
        from api.history_views import CandidateView

        return await self.transport.read(CandidateView, "GET", f"/v1/jobs/{self.job_id}/best")

    async def code(self) -> str:
        """Return the text of the program alone, as the designer wrote it."""
        path = f"/v1/candidates/{(await self.view()).id}/code"
        return (await self.transport.answer("GET", path)).text

    async def source(self) -> str:
        """Return the text of the file that runs without us."""
        response = await self.transport.answer("GET", f"/v1/jobs/{self.job_id}/best/reward.py")
        digest = hashlib.sha256(response.content).hexdigest()
        tag = response.headers.get("etag", "").removeprefix("W/").strip('"')
        if tag not in ("", digest):
            raise Unreachable(self.transport.base_url, "the download arrived damaged")
        return response.text

    async def save(self, path: str | Path = "reward.py") -> Path:
        """Write the file and return where it is."""
        target, source = (Path(path), await self.source())
        with whole_file(target) as out:
            out.write(source.encode())
        return target

    async def save_bundle(self, path: str | Path = "bundle.zip") -> Path:
        """Write reward, policy, player, numbers and film as one zip, and return where it is."""
        bundle = f"/v1/jobs/{self.job_id}/best/bundle.zip"
        return await self.transport.download(bundle, Path(path))

    async def make_env(self, *, trust: bool = False, **kwargs: Any) -> Any:
        """Return the environment with the designed reward, made in this process.

        Args:
            trust:  must be True: a model or a search wrote the file, and here, in your process, no
                sandbox holds it.  Read it first: `print(job.best.source())`.
            kwargs: go to `gymnasium.make`.

        Raises:
            InvalidInput: `trust` was not given.
        """
        if trust is not True:
            raise InvalidInput(
                repr(trust),
                expected="trust=True, which runs code that a designer wrote in your own process",
                where="make_env",
                hint="Read it first: print(job.best.source()).",
            )
        return _module(await self.source()).make_env(**kwargs)
