"""The second wall, on a real PostgreSQL: what the roles of web server and workers may do at all.

Queries here are written as a programmer would who forgot the owner.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import select

import migrations
from core.errors import ConfigurationError, NotFound, StorageFailed
from core.records.kinds import NATIVE
from core.records.measured import Saved
from core.records.people import Given, Remark
from core.storage import Caller, open_store
from core.storage.engine import open_engine, reading
from core.storage.tables import metadata
from migrations.roles import APART, API, OF_JOBS, WORKER, make_roles, renew_roles
from tests.builders import SOURCE, a_run
from tests.databases import fresh_database, user_of
from tests.rim.storing import a_job
from tests.shells.stories import a_failed_job, a_finished_job

pytestmark = pytest.mark.slow  # starts a PostgreSQL server

ALICE, MALLORY, CAROL = Caller("alice"), Caller("mallory"), Caller("carol")


@pytest.fixture(scope="module")
def url(postgres):
    with fresh_database(postgres) as url:
        migrations.upgrade(url)
        make_roles(url)
        yield url


@pytest.fixture(scope="module")
def login(url):
    """The URLs of two users of the database, one of each role."""
    with user_of(url, API) as web, user_of(url, WORKER) as worker:
        yield {API: web, WORKER: worker}


@pytest.fixture(scope="module")
def owned(url):
    """The store of the tables' owner."""
    store = open_store(url)
    yield store
    store.close()


@pytest.fixture
def web(login):
    store = open_store(login[API])
    yield store
    store.close()


@pytest.fixture
def worker(login):
    store = open_store(login[WORKER])
    yield store
    store.close()


@pytest.fixture(scope="module")
def both(owned):
    """A finished job of each owner, full of rows of every kind."""
    return a_full_job(owned.of(ALICE)), a_full_job(owned.of(MALLORY))


def test_several_processes_may_renew_the_rights_at_once(url):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(renew_roles, [url] * 12))


def a_full_job(store):
    job_id = a_finished_job(store)
    store.add_remark(job_id, Remark(0, "text", text="hm"))
    return job_id


def as_web(login, owner):
    """A connection of the web server's user that told the database for whom it asks, or did not."""
    connection = psycopg.connect(login[API])
    if owner is not None:
        connection.execute("SELECT set_config('rewardsmith.owner', %s, false)", (owner,))
    return connection


FILLED = [
    *("jobs", "iterations", "candidates", "runs", "curves", "evaluations", "feedback"),
    *("remarks", "exchanges", "events", "claims"),
]


@pytest.mark.parametrize("table", FILLED)
def test_a_query_that_forgets_its_owner_finds_ones_own_rows_alone(login, both, table):
    mine, others = both
    column = "id" if table == "jobs" else "job_id"
    with as_web(login, "alice") as connection:
        found = {row[0] for row in connection.execute(f"SELECT {column} FROM {table}")}
        assert found == {mine}
        named = f"SELECT count(*) FROM {table} WHERE {column} = %s"
        assert connection.execute(named, (others,)).fetchone() == (0,)


@pytest.mark.parametrize("table", OF_JOBS)
@pytest.mark.parametrize("owner", [None, "", "nobody"])
def test_a_transaction_for_nobody_finds_nothing(login, both, table, owner):
    with as_web(login, owner) as connection:
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_nobody_is_for_whom_the_next_transaction_on_a_connection_is(web, both, login):
    """The owner is told to one transaction; a pooled connection does not remember it."""
    mine, _ = both
    assert [job.id for job in web.of(ALICE).jobs().items] == [mine]
    assert web.jobs().items == (), "the store of the web server, not bound to anybody"


def test_all_rows_of_jobs_are_behind_the_wall(url):
    query = "SELECT relname, relrowsecurity FROM pg_class WHERE relname = ANY(%s)"
    with psycopg.connect(url) as connection:
        found = dict(connection.execute(query, (list(metadata.tables),)).fetchall())
        policies = connection.execute("SELECT tablename, policyname FROM pg_policies").fetchall()
    assert found == {name: name not in APART for name in metadata.tables}
    assert set(policies) == {(t, p) for t in OF_JOBS for p in ("owners", "workers")}


def test_the_owner_of_a_job_cannot_be_changed_and_nothing_added_to_another_s(login, both):
    mine, others = both
    with as_web(login, "alice") as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("UPDATE jobs SET owner = 'mallory' WHERE id = %s", (mine,))
    with as_web(login, "alice") as connection:
        changed = connection.execute("UPDATE jobs SET name = 'x' WHERE id = %s", (others,))
        deleted = connection.execute("DELETE FROM jobs WHERE id = %s", (others,))
        assert (changed.rowcount, deleted.rowcount) == (0, 0)
    added = "INSERT INTO remarks SELECT %s, 99, kind, text, more, created_at FROM remarks"
    with as_web(login, "alice") as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(added, (others,))


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE runs SET fitness = 1", id="change a measurement"),
        pytest.param("UPDATE candidates SET fitness = 1", id="change a rank"),
        pytest.param("INSERT INTO runs SELECT * FROM runs", id="invent a measurement"),
        pytest.param("INSERT INTO keys SELECT * FROM keys", id="make a key"),
        pytest.param("UPDATE keys SET owner = 'alice'", id="take a key over"),
        pytest.param("UPDATE keys SET expires_at = NULL", id="keep a key alive"),
        pytest.param("SELECT * FROM audit", id="read the audit"),
        pytest.param("DELETE FROM audit", id="burn the audit"),
        pytest.param("UPDATE events SET message = ''", id="rewrite history"),
        pytest.param("DROP TABLE jobs", id="drop a table"),
        pytest.param("CREATE TABLE mine (a int)", id="make a table"),
        pytest.param("ALTER TABLE jobs DISABLE ROW LEVEL SECURITY", id="take the wall down"),
        pytest.param("DROP POLICY owners ON jobs", id="take a policy down"),
        pytest.param("SET ROLE rewardsmith_worker", id="be a worker"),
    ],
)
def test_what_the_web_server_never_does_it_may_not_do(login, both, statement):
    with as_web(login, "alice") as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement)


@pytest.mark.parametrize("table", ["keys", "audit"])
def test_a_worker_sees_no_key_and_no_audit(login, both, table):
    refused = pytest.raises(errors.InsufficientPrivilege)
    with psycopg.connect(login[WORKER]) as connection, refused:
        connection.execute(f"SELECT * FROM {table}")


def test_the_web_server_can_do_all_that_it_must(web, owned):
    """Every wish of people goes through under the role, in the order of a job's life."""
    made, key = owned.keys.create("carol")
    assert web.keys.find(key).id == made.id
    web.check_schema()
    store = web.of(CAROL)
    job = a_job(store, key="once")
    assert a_job(store, key="once").id == job.id
    store.add_remark(job.id, Remark(0, "text", text="hm"))
    store.add_given(job.id, Given(0, SOURCE, "user"))
    assert store.offer(job.id, "preflight", 1.0)
    store.request_pause(job.id)
    store.resume(job.id)
    store.request_cancel(job.id)
    store.retry(job.id)
    assert store.history(job.id).status == "queued"
    store.request_cancel(job.id)
    store.delete(job.id)
    told = [entry.action for entry in reversed(owned.keys.audit(owner="carol"))]
    wishes = ["create", "create", "feedback", "give", "pause", "resume", "cancel", "retry"]
    wishes += ["cancel", "delete"]
    assert told == [f"jobs.{wish}" for wish in wishes]
    with pytest.raises(NotFound):
        store.job(job.id)


def test_the_files_of_a_deleted_job_wait_for_a_worker(web, worker):
    store = web.of(CAROL)
    job_id = a_cancelled_job(store, worker)
    store.delete(job_id)
    waiting = worker.leftovers.discarded()
    assert waiting
    assert worker.leftovers.in_use(waiting) == frozenset()
    worker.leftovers.forget(waiting)
    assert worker.leftovers.discarded() == {}


def a_cancelled_job(store, worker):
    job_id = a_job(store).id
    with worker.claim(job_id, "preflight", "w", 60.0) as step:
        step.save([Saved("baseline", NATIVE, 0, 0, 1, checkpoint="f" * 64)])
    store.request_cancel(job_id)
    return job_id


def test_a_retry_forgets_broken_baselines_under_the_role(web, worker):
    store = web.of(CAROL)
    job_id = a_job(store).id
    with worker.claim(job_id, "baseline", "w", 60.0) as step:
        step.add_runs([a_run(NATIVE, None, stage="baseline")], {})
        step.fail("baseline_failed", "It broke.")
    assert store.retry(job_id)[0].status == "queued"
    assert store.native_runs(job_id) == ()


def test_a_worker_can_do_all_that_it_must(worker, both):
    worker.check_schema()
    made = {a_finished_job(worker), a_failed_job(worker)}
    assert {*made, *both} <= {job.id for job in worker.jobs(limit=100).items}


def test_a_monitor_is_told_sums_over_all_owners_and_nothing_else(web, worker, both):
    told = web.standing()
    assert told == replace(
        worker.standing(),
        sign_of_life_seconds=told.sign_of_life_seconds,
        oldest_queued_seconds=told.oldest_queued_seconds,
    )
    assert told.jobs["succeeded"] >= 2
    assert web.jobs().items == ()


def test_a_worker_under_a_user_who_sees_one_owner_at_a_time_does_not_start(web, worker, owned):
    with pytest.raises(StorageFailed, match="rewardsmith db roles"):
        web.check_serves_all()
    worker.check_serves_all()
    owned.check_serves_all()


def test_a_user_from_before_the_roles_is_told_what_to_do(postgres):
    """Somebody who had given the program a user of its own with rights to all tables."""
    with fresh_database(postgres) as database:
        migrations.upgrade(database)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("CREATE ROLE old_hand")
            connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO old_hand")
            try:
                with user_of(database, "old_hand") as url, closing(open_store(url)) as store:
                    store.check_schema()
                    with pytest.raises(StorageFailed, match="member of rewardsmith_worker"):
                        store.check_serves_all()
            finally:
                connection.execute("DROP OWNED BY old_hand")
                connection.execute("DROP ROLE old_hand")


def test_roles_can_be_made_again(url, login, both):
    make_roles(url)
    with as_web(login, "alice") as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (1,)


def test_an_upgrade_lets_the_roles_in_again(url, login, both):
    with psycopg.connect(url) as connection:
        connection.execute(f"REVOKE SELECT ON events FROM {API}")
    migrations.upgrade(url)
    with as_web(login, "alice") as connection:
        assert connection.execute("SELECT count(*) > 0 FROM events").fetchone() == (True,)


def test_an_upgrade_waits_for_nobody_who_reads(url):
    """A backup reads every table for as long as it takes; nobody else may wait for it meanwhile."""
    with psycopg.connect(url) as dump:
        for table in OF_JOBS:
            dump.execute(f"LOCK TABLE {table} IN ACCESS SHARE MODE")
        migrations.upgrade(url)
    make_roles(url)


def test_a_policy_that_was_taken_down_is_put_up_again(url):
    with psycopg.connect(url) as connection:
        connection.execute("DROP POLICY workers ON rollouts")
    migrations.upgrade(url)
    found = "SELECT 1 FROM pg_policies WHERE tablename = 'rollouts' AND policyname = 'workers'"
    with psycopg.connect(url) as connection:
        assert connection.execute(found).fetchone()


def test_sqlite_has_no_roles_and_says_so(tmp_path):
    with pytest.raises(ConfigurationError, match="whoever may read the file"):
        make_roles(f"sqlite:///{tmp_path / 'x.db'}")


def test_without_roles_the_owner_of_the_tables_sees_all(owned, both):
    """One user for everything goes on working; there the first wall stands alone."""
    engine = open_engine(str(owned._engine.url.render_as_string(hide_password=False)))
    with reading(engine) as connection:
        assert set(connection.execute(select(metadata.tables["jobs"].c.id)).scalars()) >= set(both)
    engine.dispose()
