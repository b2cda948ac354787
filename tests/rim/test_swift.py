"""Asked without a thread: the answers of the store, the same two walls, and no half-done work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

import migrations
from api.quick import ask
from core.errors import InvalidInput, LimitReached, NotFound, StorageFailed
from core.ports import Progress
from core.records.history import Spent
from core.storage import (
    Activity,
    Caller,
    Store,
    StoredJob,
    Submission,
    Swift,
    Unusual,
    connections,
    open_store,
    swift,
)
from core.storage.ready import Ready
from core.storage.wire import Asked, Rows, Wire
from migrations.roles import API, make_roles
from tests.builders import a_spec, proposed
from tests.databases import fresh_database, user_of
from tests.rim.storing import a_claim, a_job, at_once, until
from tests.shells.stories import a_failed_job, a_finished_job

pytestmark = pytest.mark.slow  # asks a real PostgreSQL

ALICE, MALLORY = Caller("alice", "key", "req_1"), Caller("mallory", "key", "req_2")


@pytest.fixture(scope="module")
def url(postgres) -> Iterator[str]:
    with fresh_database(postgres) as url:
        migrations.upgrade(url)
        make_roles(url)
        yield url


@pytest.fixture
def store(url) -> Iterator[Store]:
    """A store as the tables' owner has it, whom the second wall does not hold."""
    with closing(open_store(url)) as store:
        yield store


@pytest.fixture
def quick(store) -> Swift:
    assert store.swift is not None
    return store.swift


@pytest.fixture
def web(url) -> Iterator[Swift]:
    """The same for the role of the web server, which sees one owner's rows at a time."""
    with user_of(url, API) as login, closing(open_store(login)) as store:
        assert store.swift is not None
        yield store.swift


def a_submission(**changes: Any) -> Submission:
    return replace(
        Submission(a_spec(), None, "0" * 64, "a name", {"a": "b"}, 1000, 10.0), **changes
    )


def test_jobs_and_events_are_told_as_the_store_tells_them(store, quick):
    mine = store.of(ALICE)
    told = [a_job(mine), a_finished_job(mine), a_failed_job(mine), worked_on(store, mine)]

    for job_id in (job if isinstance(job, str) else job.id for job in told):
        job, doing = asyncio.run(quick.job_at_work(ALICE, job_id))
        same, done = mine.job_at_work(job_id)
        assert replace(job, spent=Spent()) == replace(same, spent=Spent())  # it grows by the clock
        assert list(map(ageless, doing)) == list(map(ageless, done))
        for after, limit in ((0, 100), (1, 2)):
            found = asyncio.run(quick.events(ALICE, job_id, after, limit))
            assert found == mine.events(job_id, after=after, limit=limit)


def ageless(activity: Activity) -> Activity:
    return replace(activity, age_seconds=0.0)


def worked_on(store: Store, mine: Store) -> StoredJob:
    """A job on which a worker works, with candidates to count."""
    job = a_job(mine)
    step = a_claim(store, job.id)
    step.add_candidate(proposed(0))
    step.beat(Progress("asking", 1, 3, "two to go"))
    return job


def test_nobody_is_told_of_another_owners_job(store, quick, web):
    job = a_job(store.of(ALICE))
    for asked in (quick, web):
        assert asyncio.run(asked.job_at_work(ALICE, job.id))[0].id == job.id
        with pytest.raises(NotFound):
            asyncio.run(asked.job_at_work(MALLORY, job.id))
        with pytest.raises(NotFound):
            asyncio.run(asked.events(MALLORY, job.id, 0, 100))


def test_a_query_that_forgets_its_owner_finds_nothing(store, web):
    """The owner is told to the database for one transaction, and forgotten with it."""
    a_job(store.of(ALICE))

    async def forgetful() -> list[int]:
        async with web._wire() as wire:
            [rows] = await wire.ask((Ready(text("SELECT count(*) AS n FROM jobs")), {}))
        return [row["n"] for row in rows]

    asyncio.run(web.create_job(ALICE, a_submission()))  # the connection has served alice
    assert asyncio.run(forgetful()) == [0]


def test_a_job_is_accepted_as_the_store_accepts_it(store, quick, web):
    mine = store.of(ALICE)
    plain, _ = mine.create_job(
        a_spec(),
        idempotency_key=None,
        body_sha256="0" * 64,
        name="a name",
        labels={"a": "b"},
        offer_seconds=10.0,
    )
    for asked in (quick, web):
        job = asyncio.run(asked.create_job(ALICE, a_submission()))
        assert job == mine.job(job.id)
        own = {"id": plain.id, "created_at": plain.created_at}
        assert replace(job, **own) == mine.job(plain.id)
        assert story(mine, job.id) == story(mine, plain.id)
        assert [(e.action, e.key_id, e.request_id) for e in store.keys.audit(subject=job.id)] == [
            ("jobs.create", "key", "req_1")
        ]
        assert store.offer(job.id, "preflight", 10.0) is None, "it is offered already"


def story(store: Store, job_id: str) -> list[tuple[int, str, str, object]]:
    return [(e.seq, e.kind, e.message, e.data) for e in store.events(job_id)]


def test_a_repeated_request_and_one_too_many_are_left_to_the_store(store, quick):
    owner = Caller("keen")
    first = asyncio.run(quick.create_job(owner, a_submission(idempotency_key="k", most_open=2)))
    with pytest.raises(Unusual):
        asyncio.run(quick.create_job(owner, a_submission(idempotency_key="k")))
    asyncio.run(quick.create_job(owner, a_submission(most_open=2)))
    with pytest.raises(Unusual):
        asyncio.run(quick.create_job(owner, a_submission(most_open=2)))
    kept = store.of(owner).jobs().items
    assert len(kept) == 2
    assert kept[-1].id == first.id


@pytest.mark.parametrize("most", [10, 40])
def test_a_rush_of_one_owner_does_not_pass_the_limit(store, quick, most):
    owner = Caller(f"rushing to {most}")
    one = a_submission(most_open=most)

    async def rush() -> list[object]:
        asked = [quick.create_job(owner, one) for _ in range(2 * most)]
        return await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(quick.create_job(owner, one))
    told = asyncio.run(rush())
    accepted = [answer for answer in told if isinstance(answer, StoredJob)]
    assert {type(answer) for answer in told} == {StoredJob, Unusual}
    assert len(accepted) == len(store.of(owner).open_jobs(1000)) - 1 == most - 1


def test_a_rush_that_the_store_sees_to_does_not_pass_the_limit_either(store):
    """Also with jobs that had ended, and in transactions that do not see each other."""
    mine = store.of(Caller("rushing by hand"))
    ended = [mine.request_cancel(a_job(mine).id).id for _ in range(8)]
    asked = [lambda job_id=job_id: mine.retry(job_id, most_open=5) for job_id in ended]
    told = at_once([asking(LimitReached, one) for one in asked])
    assert len(mine.open_jobs(100)) == 5
    assert told.count(None) == 3


def asking(refusal: type[Exception], ask: Any) -> Any:
    """Return a question that is answered with None where it is refused."""

    def asked() -> object:
        try:
            return ask()
        except refusal:
            return None

    return asked


def test_an_owner_far_from_the_limit_is_not_counted_for_every_job(quick, monkeypatch):
    owner, counted = Caller("busy"), []
    ask = Wire.ask

    async def noted(wire: Wire, *asked: Asked) -> list[Rows]:
        counted.extend(ready for ready, _ in asked if ready is swift._UNFINISHED)
        return await ask(wire, *asked)

    async def several() -> None:
        for _ in range(20):
            await quick.create_job(owner, a_submission())

    monkeypatch.setattr(Wire, "ask", noted)
    monkeypatch.setattr(swift, "COUNT_SECONDS", 60.0)
    asyncio.run(several())
    assert len(counted) == 1


def test_what_cannot_be_stored_is_refused(quick):
    with pytest.raises(InvalidInput):
        asyncio.run(quick.create_job(ALICE, a_submission(idempotency_key="")))


def test_a_key_opens_until_it_is_revoked(store, quick):
    made, key = store.keys.create("alice")
    with pytest.raises(Unusual):  # its first use has to be noted
        asyncio.run(quick.find_key(key))
    store.keys.find(key)
    assert asyncio.run(quick.find_key(key)) == store.keys.find(key)
    for other in (key[:-1] + ("a" if key[-1] != "a" else "b"), "rws_" + "0" * 16 + key[20:], ""):
        assert asyncio.run(quick.find_key(other)) is None
    store.keys.revoke(made.id)
    assert asyncio.run(quick.find_key(key)) is None


def test_a_job_is_told_together_with_the_key_that_opens_it_and_not_without(store, quick):
    made, key = store.keys.create("alice")
    _, others = store.keys.create("mallory")
    job = a_job(store.of(ALICE))
    for one in (key, others):
        store.keys.find(one)

    def opened(shown: str, job_id: str = job.id):
        return asyncio.run(quick.open_job(shown, job_id))

    assert opened(key) == (store.keys.find(key), None)  # whose it is was not known yet
    assert opened(key) == (store.keys.find(key), store.of(ALICE).job_at_work(job.id))
    assert opened(others) == opened(others) == (store.keys.find(others), None)
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    assert opened(wrong) == (None, None)
    for shown in (key, wrong):  # what is wrong with the key is told first
        assert opened(shown, "no job") == (store.keys.find(shown), None)
    store.keys.revoke(made.id)
    assert opened(key) == (None, None)


def test_connections_that_died_are_given_up(url, store, quick):
    job = a_job(store.of(ALICE))

    async def twice() -> str:
        await quick.job_at_work(ALICE, job.id)
        end_others(url)
        with pytest.raises(Unusual):
            await quick.job_at_work(ALICE, job.id)
        return (await quick.job_at_work(ALICE, job.id))[0].id

    assert asyncio.run(twice()) == job.id


def test_a_connection_that_breaks_before_the_commit_leaves_nothing_and_says_that_it_is_not_known(
    url, store, quick, monkeypatch
):
    monkeypatch.setattr(
        swift, "failpoint", lambda name: name == "job.accepting" and end_others(url)
    )
    owner = Caller("unlucky")
    with pytest.raises(StorageFailed):
        asyncio.run(quick.create_job(owner, a_submission()))
    assert store.of(owner).jobs().items == ()


def test_a_deadline_that_passes_within_the_commit_says_that_it_is_not_known_and_makes_no_second_job(
    url, store, quick, monkeypatch
):
    owner = Caller("patient")
    asyncio.run(quick.job_at_work(ALICE, a_job(store.of(ALICE)).id))  # a connection is open
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 1.5)

    async def post() -> StoredJob:
        return await ask(
            quick,
            lambda quick: quick.create_job(owner, a_submission()),
            lambda: pytest.fail("the store would store it a second time"),
        )

    with a_commit_that_waits(url), pytest.raises(StorageFailed, match="no answer"):
        asyncio.run(post())
    until(lambda: store.of(owner).jobs().items)
    assert len(store.of(owner).jobs().items) == 1


def test_more_ask_at_once_than_there_are_connections(store, quick):
    job = a_job(store.of(ALICE))

    async def many() -> set[str]:
        found = await asyncio.gather(*(quick.job_at_work(ALICE, job.id) for _ in range(100)))
        return {one.id for one, _ in found}

    assert asyncio.run(many()) == {job.id}


@contextmanager
def a_commit_that_waits(url: str) -> Iterator[None]:
    """Let commits that tell a first event wait, as they do for a disk or a standby; then they go on."""
    wait = (
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END';"
        " CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION wait()"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(wait)
        connection.execute("SELECT pg_advisory_lock(7)")
        try:
            yield
        finally:
            connection.execute("SELECT pg_advisory_unlock(7)")
            connection.execute("DROP FUNCTION wait CASCADE")


def end_others(url: str) -> None:
    """End every other connection to the database, as a restart does."""
    query = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(query)
