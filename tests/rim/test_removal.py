"""A deleted job leaves nothing behind, and takes nothing along that others need."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace

import pytest
from sqlalchemy import func, select, update

from core.errors import Conflict, NotFound, StorageFailed
from core.records.kinds import NATIVE
from core.records.measured import Saved
from core.storage import Caller, Extension, FolderArtifacts, remove_orphans, tidy
from core.storage.artifacts import UNFINISHED
from core.storage.clock import now
from core.storage.engine import reading, writing
from core.storage.removal import Leftovers
from core.storage.tables import discarded, jobs, metadata
from migrations.roles import APART
from tests.builders import a_run
from tests.rim.storing import a_claim, a_job
from tests.shells.stories import a_finished_job, a_job_in_training, step

ALICE = Caller("alice", "a" * 16, "req_1")
LONG_AGO = time.time() - 7 * 86_400


@pytest.fixture
def files(tmp_path):
    return FolderArtifacts(tmp_path / "artifacts")


def rows_of_jobs(engine) -> int:
    with reading(engine) as connection:
        tables = [table for name, table in metadata.tables.items() if name not in APART]
        return sum(
            connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables
        )


def a_job_with_files(store, files, *contents: bytes) -> str:
    """A job that was cancelled while a run was under way; the first file is of that run alone."""
    job_id = a_job_in_training(store)
    first, *others = [put_long_ago(files, content) for content in contents]
    with step(store, job_id, "train/0/0/0") as claim:
        claim.save([Saved("search", "0.0", 0, 0, 400, checkpoint=first)])
        runs = [a_run("0.0", 0.5, seed=1 + n) for n in range(len(others))]
        claim.add_runs([with_weights(run, sha) for run, sha in zip(runs, others, strict=True)], {})
    store.request_cancel(job_id)
    return job_id


def with_weights(run, sha256):
    return replace(run, weights=sha256)


def put_long_ago(files, content: bytes) -> str:
    sha256 = files.put(content)
    os.utime(files._path(sha256), (LONG_AGO, LONG_AGO))
    return sha256


def there(files) -> set[bytes]:
    return {files.get(name) for name in files.names()}


def test_a_deleted_job_leaves_no_row(store, engine):
    job_id = a_finished_job(store)
    assert rows_of_jobs(engine) > 20
    store.delete(job_id)
    assert rows_of_jobs(engine) == 0
    with pytest.raises(NotFound):
        store.delete(job_id)


def test_its_files_go_and_shared_ones_stay(store, files):
    mine = a_job_with_files(store, files, b"mine", b"shared", b"mine too")
    other = a_job_with_files(store, files, b"other", b"shared")
    store.delete(mine)
    assert there(files) == {b"mine", b"shared", b"mine too", b"other"}
    assert tidy(store, files).files == 2
    assert there(files) == {b"shared", b"other"}
    store.delete(other)
    tidy(store, files)
    assert there(files) == set()
    assert store.leftovers.discarded() == {}


def test_a_file_that_was_stored_again_meanwhile_is_spared(store, files):
    """A worker stores bytes first, and the row that refers to them a little later."""
    store.delete(a_job_with_files(store, files, b"mine", b"wanted again"))
    again = files.put(b"wanted again")
    tidy(store, files)
    assert there(files) == {b"wanted again"}
    assert list(store.leftovers.discarded()) == [again], "it is looked at again"
    claim = a_claim(store, a_job(store).id)
    claim.save([Saved("baseline", NATIVE, 0, 0, 1, checkpoint=again)])
    tidy(store, files, spared_seconds=0.0)
    assert there(files) == {b"wanted again"}
    assert store.leftovers.discarded() == {}


def test_a_file_whose_last_user_goes_while_its_note_is_looked_at_goes_as_well(store, engine, files):
    first, last = (a_job_with_files(store, files, b"of a run", b"shared") for _ in range(2))
    store.delete(first)
    noted = update(discarded).values(created_at=now(-60.0))
    writing(engine, lambda c: c.execute(noted))
    looked_at = store.leftovers.discarded()
    used = store.leftovers.in_use(looked_at)
    assert set(used) == set(looked_at)
    store.delete(last)
    store.leftovers.forget(looked_at)
    tidy(store, files)
    assert there(files) == set()


def test_a_file_that_is_gone_already_is_no_trouble(store, files):
    store.delete(a_job_with_files(store, files, b"mine", b"mine too"))
    for name in list(files.names()):
        files._path(name).unlink()
    tidy(store, files)
    assert store.leftovers.discarded() == {}


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        pytest.param(lambda s, j: None, "Cancel it", id="queued or running"),
        pytest.param(lambda s, j: s.request_pause(j), "Cancel it", id="paused"),
    ],
)
def test_a_job_that_has_not_ended_is_not_deleted(store, engine, wish, words):
    job_id = a_job_in_training(store)
    wish(store, job_id)
    before = rows_of_jobs(engine)
    with pytest.raises(Conflict, match=words):
        store.delete(job_id)
    assert rows_of_jobs(engine) == before


def test_a_job_that_is_being_cancelled_is_waited_for(store):
    job = a_job(store)
    claim = a_claim(store, job.id, "preflight")
    store.request_cancel(job.id)
    with pytest.raises(Conflict, match="wait for its end"):
        store.delete(job.id)
    claim.release()
    store.delete(job.id)


def test_the_audit_outlives_the_job(store):
    alices = store.of(ALICE)
    job_id = a_finished_job(alices)
    alices.delete(job_id)
    told = store.keys.audit(subject=job_id)
    assert [entry.action for entry in told] == ["jobs.delete", "jobs.create"]


def test_after_the_retention_a_job_goes_and_an_open_one_stays(store, engine, files):
    old, young, running = a_finished_job(store), a_finished_job(store), a_job_in_training(store)
    ended = update(jobs).where(jobs.c.id != young).values(finished_at=now(-31 * 86_400.0))
    writing(engine, lambda c: c.execute(ended))
    assert tidy(store, files).jobs == 0, "kept for ever unless somebody says otherwise"
    assert tidy(store, files, retention_days=30).jobs == 1
    assert {job.id for job in store.jobs().items} == {young, running}
    assert old not in {young, running}


def test_a_job_that_cannot_be_deleted_keeps_no_other_one(store, engine, files, monkeypatch):
    stuck, *_ = [a_finished_job(store) for _ in range(3)]
    writing(engine, lambda c: c.execute(update(jobs).values(finished_at=now(-31 * 86_400.0))))
    expire = Leftovers.expire

    def expire_others(self, job_id, days):
        if job_id == stuck:
            raise StorageFailed("it took the database too long")
        return expire(self, job_id, days)

    monkeypatch.setattr(Leftovers, "expire", expire_others)
    with pytest.raises(StorageFailed, match="too long"):
        tidy(store, files, retention_days=30)
    assert [job.id for job in store.jobs().items] == [stuck]


def test_a_file_that_cannot_be_removed_keeps_no_other_one_nor_a_job(
    store, engine, files, monkeypatch
):
    store.delete(a_job_with_files(store, files, b"one", b"two", b"three"))
    a_finished_job(store)
    writing(engine, lambda c: c.execute(update(jobs).values(finished_at=now(-31 * 86_400.0))))
    stuck, remove = min(files.names()), FolderArtifacts.remove

    def remove_others(self, name, spared_seconds):
        if name == stuck:
            raise StorageFailed("Permission denied")
        return remove(self, name, spared_seconds)

    monkeypatch.setattr(FolderArtifacts, "remove", remove_others)
    with pytest.raises(StorageFailed, match="Permission denied"):
        tidy(store, files, retention_days=30)
    assert len(there(files)) == 1
    assert not store.jobs().items


def test_a_job_that_went_on_since_the_list_was_read_is_kept_for_its_time_anew(
    store, engine, files, monkeypatch
):
    gone_on = a_finished_job(store)
    a_finished_job(store)  # which goes
    ended = update(jobs).values(finished_at=now(-31 * 86_400.0))
    writing(engine, lambda c: c.execute(ended))
    listed = Leftovers.ended_before

    def then_it_goes_on(self, days):
        found = listed(self, days)
        store.extend(gone_on, Extension(iterations=1), 100)
        store.request_cancel(gone_on)
        return found

    monkeypatch.setattr(Leftovers, "ended_before", then_it_goes_on)
    assert tidy(store, files, retention_days=30).jobs == 1
    assert [job.id for job in store.jobs().items] == [gone_on]


def test_files_in_a_folder_that_is_not_there_wait_until_it_is(store, files, tmp_path):
    job_id = a_job_with_files(store, files, b"one", b"two")
    store.delete(job_id)
    (tmp_path / "artifacts").rename(tmp_path / "not-mounted")
    assert tidy(store, files).files == 0
    (tmp_path / "artifacts").mkdir()  # as a place for a disk usually is
    assert tidy(store, files).files == 0
    (tmp_path / "artifacts").rmdir()
    (tmp_path / "not-mounted").rename(tmp_path / "artifacts")
    tidy(store, files)
    assert there(files) == set()


def test_orphans_are_files_of_nobody(store, files):
    a_job_with_files(store, files, b"mine", b"mine too")
    put_long_ago(files, b"of a step that was cut off")
    files.put(b"of a step under way")
    assert remove_orphans(store, files) == 1
    assert there(files) == {b"mine", b"mine too", b"of a step under way"}


def test_what_a_put_that_was_cut_off_left_is_an_orphan_and_one_under_way_is_not(store, files):
    stored = files._path(put_long_ago(files, b"mine"))
    old, young = (stored.with_name(f"{UNFINISHED}{name}") for name in ("old", "young"))
    for half in (old, young):
        half.write_bytes(b"half")
    os.utime(old, (LONG_AGO, LONG_AGO))
    assert remove_orphans(store, files) == 2, "the file and the half one"
    assert list(stored.parent.iterdir()) == [young]


def saving(files, *contents: bytes, checkpoint: bytes) -> Saved:
    """A run under way with snapshots of those contents."""
    snapshots = tuple((at, put_long_ago(files, content)) for at, content in enumerate(contents))
    return Saved("search", "0.0", 0, 0, 400, put_long_ago(files, checkpoint), snapshots=snapshots)


def test_what_a_run_under_way_supersedes_goes_and_what_it_still_needs_stays(store, files):
    job_id = a_job_in_training(store)
    claim = a_claim(store, job_id, "train/0/0/0")
    claim.save([saving(files, b"at 100", checkpoint=b"first")])
    claim.save([saving(files, b"at 100", b"at 200", checkpoint=b"second")])
    assert tidy(store, files).files == 1
    assert there(files) == {b"at 100", b"at 200", b"second"}
    weights = put_long_ago(files, b"at 200")
    claim.add_runs([replace(a_run("0.0", 0.5), weights=weights)], {})
    tidy(store, files)
    assert there(files) == {b"at 200"}
    assert store.leftovers.discarded() == {}


def test_what_is_superseded_in_one_job_and_used_in_another_stays(store, files):
    for checkpoints in ((b"shared", b"own"), (b"shared",)):
        claim = a_claim(store, a_job_in_training(store), "train/0/0/0")
        for checkpoint in checkpoints:
            claim.save([saving(files, checkpoint=checkpoint)])
    tidy(store, files)
    assert there(files) == {b"shared", b"own"}


def test_snapshots_of_a_run_under_way_are_no_orphans_and_go_with_their_job(store, files):
    job_id = a_job_in_training(store)
    with a_claim(store, job_id, "train/0/0/0") as claim:
        claim.save([saving(files, b"at 100", checkpoint=b"first")])
    assert remove_orphans(store, files) == 0
    store.request_cancel(job_id)
    store.delete(job_id)
    tidy(store, files)
    assert there(files) == set()


def test_nobody_finds_a_file_gone_that_was_just_stored(files):
    """Storing and removing at the same time: whoever stored last finds the bytes."""
    stop, lost = threading.Event(), []

    def remove():
        while not stop.is_set():
            for name in files.names():
                files.remove(name, spared_seconds=5.0)

    remover = threading.Thread(target=remove)
    remover.start()
    for _ in range(150):
        sha256 = put_long_ago(files, b"x")
        if files.put(b"x") and not files._path(sha256).exists():
            lost.append(sha256)
    stop.set()
    remover.join()
    assert lost == []
