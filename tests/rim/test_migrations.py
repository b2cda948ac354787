"""Migrations make the tables of `core/storage/tables.py`, from nothing and more than once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, Table, insert, inspect, select, text

import migrations
from core.errors import ConfigurationError, StorageFailed
from core.records.history import Spent
from core.records.kinds import NATIVE
from core.records.measured import Saved
from core.storage import Caller, open_store
from core.storage.accept import job_row
from core.storage.clock import now
from core.storage.engine import open_engine, writing
from core.storage.tables import HEAD, jobs, metadata
from tests.builders import a_spec
from tests.rim.storing import a_job
from tests.shells.stories import STORIES


@pytest.fixture
def migrated_url(unmigrated_url):
    migrations.upgrade(unmigrated_url)
    return unmigrated_url


@pytest.fixture
def engine(migrated_url):
    engine = open_engine(migrated_url)
    yield engine
    engine.dispose()


def test_the_migrated_schema_is_that_of_the_tables(migrated_url):
    command.check(migrations.configuration(migrated_url))


def test_constraints_are_those_of_the_tables(engine):
    found = {name for table in metadata.tables for name in _constraints(inspect(engine), table)}
    assert found == {str(c.name) for t in metadata.tables.values() for c in t.constraints}


def _constraints(inspector, table):
    yield inspector.get_pk_constraint(table)["name"]
    for kind in ("foreign_keys", "unique_constraints", "check_constraints"):
        yield from (found["name"] for found in getattr(inspector, f"get_{kind}")(table))


def test_upgrading_again_changes_nothing(migrated_url):
    migrations.upgrade(migrated_url)
    command.check(migrations.configuration(migrated_url))


# Every revision but the newest one.
RELEASED = ["0001", "0002", "0003", "0004", "0005", "0006", "0007", "0009", "0010", "0012"]


def test_every_revision_is_upgraded_from_with_rows_in_it():
    scripts = ScriptDirectory.from_config(migrations.configuration("sqlite://"))
    revisions = sorted(script.revision for script in scripts.walk_revisions())
    assert revisions == [*RELEASED, HEAD], "the tests below are for each that was released"


@pytest.fixture(scope="module")
def lived(migrated_sqlite, tmp_path_factory):
    """A database in which jobs have come to various ends, and their ids."""
    file = shutil.copy(migrated_sqlite, tmp_path_factory.mktemp("lived") / "lived.db")
    store = open_store(f"sqlite:///{file}")
    ids = [story(store.of(Caller("local"))) for story in STORIES.values()]
    yield store, ids
    store.close()


@pytest.mark.parametrize("released", RELEASED)
def test_rows_of_every_older_version_are_left_as_they_are(unmigrated_url, released, lived):
    command.upgrade(migrations.configuration(unmigrated_url), released)
    source, ids = lived
    engine = open_engine(unmigrated_url)
    writing(engine, lambda connection: _copy(source, connection))
    migrations.upgrade(unmigrated_url)
    store = open_store(unmigrated_url)
    for job_id in ids:
        before, after = source.history(job_id), store.history(job_id)
        assert _facts(after) == _facts(before)
        assert [_told(e) for e in store.events(job_id)] == [_told(e) for e in source.events(job_id)]
        assert store.job(job_id).status == source.job(job_id).status
    store.close()
    engine.dispose()


def _copy(source, connection):
    """Write the rows of a newer database into an older one, as far as that has columns for them."""
    old = MetaData()
    old.reflect(connection)
    with source._engine.connect() as there:
        for table in (table for table in metadata.sorted_tables if table.name in old.tables):
            known = [column for column in table.c if column.name in old.tables[table.name].c]
            rows = [dict(row) for row in there.execute(select(*known)).mappings()]
            if rows:
                connection.execute(insert(table), rows)


def _facts(history):
    return replace(history, spent=Spent(), claimed=frozenset())


def _told(event):
    return (event.seq, event.kind, event.message, event.data)


@pytest.mark.parametrize("released", RELEASED)
def test_a_job_of_every_older_version_goes_on(unmigrated_url, released):
    command.upgrade(migrations.configuration(unmigrated_url), released)
    engine = open_engine(unmigrated_url)
    old = Table("jobs", MetaData(), autoload_with=engine)
    row = job_row(a_spec(), "a key", "0" * 64, None, {})
    known = {name: value for name, value in row.items() if name in old.c}
    written = insert(jobs).values(created_at=now(), **known)
    writing(engine, lambda connection: connection.execute(written))
    migrations.upgrade(unmigrated_url)
    store = open_store(unmigrated_url)
    local = store.of(Caller("local"))
    assert local.job(row["id"]).spec == a_spec()
    assert a_job(local, key="a key").id == row["id"], "its idempotency key still holds"
    with store.claim(row["id"], "preflight", "worker", 60.0) as step:
        step.save([Saved("baseline", NATIVE, 0, 0, 400)])
        assert step.saved() == (Saved("baseline", NATIVE, 0, 0, 400),)
    store.close()
    engine.dispose()


@pytest.mark.slow
def test_several_processes_may_upgrade_at_once(unmigrated_url):
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_upgrade_in_a_process, [unmigrated_url] * 2))
    command.check(migrations.configuration(unmigrated_url))


def _upgrade_in_a_process(url):
    code = "import sys, migrations; migrations.upgrade(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, url], check=True)


def test_the_store_knows_the_newest_revision(migrated_url):
    scripts = ScriptDirectory.from_config(migrations.configuration(migrated_url))
    assert scripts.get_current_head() == HEAD


def test_an_upgraded_database_passes_the_check(migrated_url):
    store = open_store(migrated_url)
    store.check_schema()
    store.close()


def test_a_database_that_was_never_upgraded_is_named_so(unmigrated_url):
    store = open_store(unmigrated_url)
    with pytest.raises(StorageFailed, match=r"not migrated.*rewardsmith db upgrade"):
        store.check_schema()
    with pytest.raises(StorageFailed, match=r"not migrated.*rewardsmith db upgrade"):
        store.unfinished_jobs()
    store.close()


def test_a_database_of_a_newer_version_is_left_alone(engine, migrated_url):
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    writing(engine, lambda connection: connection.execute(newer))
    with pytest.raises(StorageFailed, match="newer version"):
        migrations.upgrade(migrated_url)
    store = open_store(migrated_url)
    with pytest.raises(StorageFailed, match=f"expected revision {HEAD}, but found revision 9999"):
        store.check_schema()
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("mysql://host/name", id="another kind of database"),
        pytest.param("no url at all", id="no URL"),
        pytest.param("sqlite://", id="a database in memory"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_an_example(url):
    with pytest.raises(ConfigurationError, match="sqlite:///path"):
        migrations.upgrade(url)


def test_a_server_that_does_not_answer_is_named_so_without_the_password():
    url = "postgresql://somebody:hunter2@127.0.0.1:9/nothing"
    with pytest.raises(StorageFailed, match="REWARDSMITH_DATABASE_URL") as caught:
        migrations.upgrade(url)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_cannot_be_made_is_named_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFailed, match="REWARDSMITH_DATABASE_URL"):
        migrations.upgrade(f"sqlite:///{tmp_path / 'file' / 'rewardsmith.db'}")
