"""The whole API under generated requests, as an owner and as a stranger.

No answer is a fault, has a status or a shape that is not documented, or shows a row of somebody else.
The short form is part of `make test`; `make fuzz LONG=1` goes on until there were 25,000 cases a role.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
from fastapi import FastAPI

import migrations
from api import kinds
from api.dependencies import House
from api.main import create_app
from core.errors import NotFound
from core.prices import read_prices
from core.settings import Settings
from core.storage import Caller, Store, open_store
from core.storage.engine import open_engine
from core.storage.keyring import SCOPES
from migrations.roles import API, make_roles
from tests.databases import fresh_database, user_of
from tests.fuzz.api import Rows, Tally, Watched, campaign, is_astray
from tests.fuzz.long import LONG, keep_if_long
from tests.shells.stories import a_failed_job, a_finished_job, a_job_in_training, a_new_job

LONG_CASES = 25_000  # of each role
# Some minutes of generated requests; an hour in the long form.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(6 * 3600 if LONG else 900)]


@dataclass
class Ground:
    """A server with jobs of alice's, and a stranger, mallory, who knows their ids."""

    app: FastAPI
    rows: Rows
    jobs: list[str]
    keys: dict[str, str]

    @property
    def bodies(self) -> list[str]:
        return [job.removeprefix("job_") for job in self.jobs]

    @property
    def names(self) -> dict[str, list[object]]:
        finished, training, *_ = self.bodies
        return {
            "job_id": [*self.jobs],
            "candidate_id": [
                f"cand_{finished}_0_0",
                f"cand_{finished}_0_1",
                f"cand_{training}_0_0",
            ],
            "run_id": [f"run_{finished}_search_0-0_0_0", f"run_{finished}_confirm_native_0_0"],
            "number": [0],
            "name": ["cartpole-park"],
            "code": ["not-found"],
        }

    def as_owner(self, phases: list[str], examples: int, seed: int) -> Tally:
        rows = None if "stateful" in phases else self.rows
        watched = Watched(self.app, rows, [])
        return self._campaign(watched, "alice", phases, examples, seed)

    def as_stranger(self, phases: list[str], examples: int, seed: int) -> Tally:
        watched = Watched(self.app, self.rows, self.bodies)
        return self._campaign(watched, "mallory", phases, examples, seed)

    def _campaign(
        self, watched: Watched, who: str, phases: list[str], examples: int, seed: int
    ) -> Tally:
        self.rows.restore()
        return campaign(
            watched, self.keys[who], self.names, phases=phases, examples=examples, seed=seed
        )


@pytest.fixture
def lay_out(tmp_path) -> Iterator[Callable[[str, str], Ground]]:
    """Make a ground on a database, which the server opens as `server_url`."""
    with ExitStack() as stack:

        def lay(url: str, server_url: str) -> Ground:
            owner, server = open_store(url), open_store(server_url)
            engine = open_engine(url)
            for end in (owner.close, server.close, engine.dispose):
                stack.callback(end)
            settings = Settings(
                home=tmp_path,
                database_url=server_url,
                requests_per_minute=10_000_000,
                jobs_per_owner=1_000_000,
            )
            app = create_app(settings, notify, server)
            app.state.house = House(settings, server, notify, read_prices())
            alice = owner.of(Caller("alice"))
            stories = (a_finished_job, a_job_in_training, a_failed_job, a_new_job)
            jobs = [story(alice) for story in stories]
            keys = {who: owner.keys.create(who, scopes=SCOPES)[1] for who in ("alice", "mallory")}
            return Ground(app, Rows(engine), jobs, keys)

        yield lay


def notify(store: Store, job_id: str) -> None:
    """Look at the job as the workers' dispatcher does, which may not break a request."""
    try:
        store.history(job_id)
    except NotFound:
        return


@pytest.fixture
def on_sqlite(lay_out, migrated_sqlite, tmp_path) -> Ground:
    """There the first wall stands alone."""
    url = f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'fuzz.db')}"
    return lay_out(url, url)


@pytest.fixture
def on_postgresql(lay_out, postgres) -> Iterator[Ground]:
    """There a number or text that the database refuses is a fault; the server has its own role."""
    with fresh_database(postgres) as url:
        migrations.upgrade(url)
        make_roles(url)
        with user_of(url, API) as server_url:
            yield lay_out(url, server_url)


def sound(tally: Tally, capsys: pytest.CaptureFixture[str], role: str, database: str) -> None:
    with capsys.disabled():
        print(f"\n{json.dumps(tally.line(role=role, database=database))}")
        print("\n\n".join(tally.findings[:20]))  # at once: the long form goes on for long
    keep_if_long(role, tally.line(role=role, database=database))
    assert tally.findings == [], "\n\n".join(tally.findings[:20])
    assert not [status for status in tally.statuses if status >= 500]
    assert len(tally.operations) >= 35


def until_enough(campaigns: Callable[[int], Tally]) -> Tally:
    """Once in the short form, with one seed after another in the long one."""
    tally, seed = campaigns(1), 1
    while LONG and tally.cases < LONG_CASES and not tally.findings:
        seed += 1
        tally += campaigns(seed)
    return tally


def test_an_owner_finds_no_fault_on_postgresql(on_postgresql, capsys):
    examples = 200 if LONG else 12

    def campaigns(seed: int) -> Tally:
        first = ["examples", "coverage"] if seed == 1 else []
        tally = on_postgresql.as_owner([*first, "fuzzing"], examples, seed)
        return tally + on_postgresql.as_owner(["stateful"], examples, seed)

    sound(until_enough(campaigns), capsys, "owner", "postgresql")


def test_a_stranger_finds_no_row_on_sqlite(on_sqlite, capsys):
    examples = 300 if LONG else 60
    phases = ["coverage", "fuzzing"] if LONG else ["fuzzing"]
    campaigns = lambda seed: on_sqlite.as_stranger(phases, examples, seed)  # noqa: E731
    sound(until_enough(campaigns), capsys, "stranger", "sqlite")


@pytest.mark.parametrize(
    ("job_id", "astray"), [("a?", False), (["a"], False), (["a?"], True), ({"a": "?"}, True)]
)
def test_no_operation_is_held_to_a_request_that_went_to_another(job_id, astray):
    assert is_astray(SimpleNamespace(path_parameters={"job_id": job_id})) is astray


# --- the suite can fail -----------------------------------------------------------------------


def test_a_server_that_forgets_the_owner_is_found_out(on_sqlite, monkeypatch):
    monkeypatch.setattr(Store, "of", lambda self, caller: self)
    tally = on_sqlite.as_stranger(["fuzzing"], 4, 1)
    assert [finding for finding in tally.findings if finding.startswith("foreign row")]


def test_a_list_that_forgets_the_owner_is_found_out(on_sqlite, monkeypatch):
    whole = Store.jobs
    monkeypatch.setattr(
        Store, "jobs", lambda self, **asked: whole(Store(self._engine, None), **asked)
    )
    tally = on_sqlite.as_stranger(["fuzzing"], 4, 1)
    assert [finding for finding in tally.findings if "GET /v1/jobs" in finding]


def test_a_fault_is_found_out(on_sqlite, monkeypatch):
    def broken(self, job_id):
        raise KeyError(job_id)

    monkeypatch.setattr(Store, "job", broken)
    tally = on_sqlite.as_owner(["fuzzing"], 4, 1)
    assert tally.statuses[500]
    assert any(finding.startswith("fault") for finding in tally.findings)
    assert any("server error" in finding.lower() for finding in tally.findings)


def test_an_undeclared_status_is_found_out(on_sqlite, monkeypatch):
    hidden = replace(kinds.ERRORS[NotFound], status=410)
    monkeypatch.setitem(kinds.ERRORS, NotFound, hidden)
    tally = on_sqlite.as_owner(["fuzzing"], 2, 1)
    assert any("status_code_conformance" in finding for finding in tally.findings)
