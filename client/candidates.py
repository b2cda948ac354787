"""A job's candidates and its best design, as the client holds them."""

from __future__ import annotations

import hashlib
import linecache
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from client.saving import whole_file
from client.transport import Transport, Unreachable, read_model
from core.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from api.history_views import CandidateView

PAGE = 100


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidates of a job; read from the server anew whenever they are walked through."""

    transport: Transport
    job_id: str

    def __iter__(self) -> Iterator[CandidateView]:
        return self.of()

    def of(self, status: str | None = None) -> Iterator[CandidateView]:
        """Yield those in a state such as `trained`, by default all, as they were proposed."""
        from api.history_views import CandidateView

        path = f"/v1/jobs/{self.job_id}/candidates"
        for document in self.transport.pages(path, PAGE, {"status": status}):
            yield read_model(CandidateView, document)

    def __getitem__(self, name: str) -> CandidateView:
        """Return the candidate with a key such as 0.3, or with an id.

        Raises:
            NotFound: the job has no such candidate.
        """
        for candidate in self:
            if name in (candidate.key, candidate.id):
                return candidate
        raise NotFound(
            f"no candidate {name}",
            expected="a key such as 0.3, or an id",
            where=f"candidates of job {self.job_id}",
        )

    def to_pandas(self) -> Any:
        """Return a DataFrame with a row per candidate (columns: `client.tables.COLUMNS`).

        Raises:
            ConfigurationError: pandas is not installed.
        """
        from client.extras import load
        from client.tables import COLUMNS, candidate_row

        frame = load("pandas").DataFrame
        return frame([candidate_row(candidate) for candidate in self], columns=COLUMNS)


@dataclass(frozen=True, slots=True)
class Best:
    """The best design of a job."""

    transport: Transport
    job_id: str

    def view(self) -> CandidateView:
        """Return the candidate behind the design."""
        from api.history_views import CandidateView

        return self.transport.read(CandidateView, "GET", f"/v1/jobs/{self.job_id}/best")

    def code(self) -> str:
        """Return the text of the program alone, as the designer wrote it."""
        path = f"/v1/candidates/{self.view().id}/code"
        return self.transport.answer("GET", path).text

    def source(self) -> str:
        """Return the text of the file that runs without us."""
        response = self.transport.answer("GET", f"/v1/jobs/{self.job_id}/best/reward.py")
        digest = hashlib.sha256(response.content).hexdigest()
        # A proxy that compresses calls the tag a weak one.
        tag = response.headers.get("etag", "").removeprefix("W/").strip('"')
        if tag not in ("", digest):
            raise Unreachable(self.transport.base_url, "the download arrived damaged")
        return response.text

    def save(self, path: str | Path = "reward.py") -> Path:
        """Write the file and return where it is."""
        target, source = Path(path), self.source()
        with whole_file(target) as out:
            out.write(source.encode())
        return target

    def save_bundle(self, path: str | Path = "bundle.zip") -> Path:
        """Write reward, policy, player, numbers and film as one zip, and return where it is."""
        bundle = f"/v1/jobs/{self.job_id}/best/bundle.zip"
        return self.transport.download(bundle, Path(path))

    def make_env(self, *, trust: bool = False, **kwargs: Any) -> Any:
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
        return _module(self.source()).make_env(**kwargs)

    def _repr_html_(self) -> str:
        from client.notebook import show_candidate

        return show_candidate(self.view(), self.code())


def _module(source: str) -> ModuleType:
    """Run a reward file as a module; Gymnasium finds it again by its name when it rebuilds wrappers."""
    name = f"reward_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    file = f"<{name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    sys.modules[name] = module
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module
