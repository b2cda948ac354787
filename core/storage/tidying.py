"""Removing what nobody needs: jobs past their time, files noted for removal, files of nobody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from core.errors import NotFound, StorageFailed
from core.storage.artifacts import FolderArtifacts
from core.storage.store import Store

# Bytes are stored before the row that refers to them; within this time nothing is taken for unused.
SPARED_SECONDS = 3_600.0
ORPHAN_SECONDS = 86_400.0
AT_ONCE = 500
MOST_BROKEN = 3  # jobs that cannot be deleted, before the rest wait for the next time


@dataclass(frozen=True, slots=True)
class Tidied:
    """How many jobs and files are gone."""

    jobs: int = 0
    files: int = 0


def tidy(
    store: Store,
    artifacts: FolderArtifacts,
    retention_days: float | None = None,
    spared_seconds: float = SPARED_SECONDS,
) -> Tidied:
    """Delete jobs that ended long ago, and remove the files noted for removal that no row refers to.

    Safe to run in several processes at once, and to be cut off anywhere.

    Args:
        store:          bound to nobody.
        artifacts:      where the files are.
        retention_days: how long a job is kept after its end; None for ever.
        spared_seconds: a file that was stored or used so recently waits.

    Raises:
        StorageFailed: the database or the folder cannot be used, or not for some job or file; the
            others are gone all the same.
    """
    broken: list[StorageFailed] = []
    jobs = 0 if retention_days is None else _expire(store, retention_days, broken)
    files = sum(_remove(store, artifacts, b, spared_seconds, broken) for b in _waiting(store))
    if broken:
        raise broken[0]
    return Tidied(jobs, files)


def _expire(store: Store, days: float, broken: list[StorageFailed]) -> int:
    """Delete jobs but for those that cannot be (so large that the database gives up, say)."""
    gone = 0
    for job_id in store.leftovers.ended_before(days):
        if len(broken) == MOST_BROKEN:
            break
        try:
            gone += store.leftovers.expire(job_id, days)
        except NotFound:
            continue  # somebody was faster
        except StorageFailed as error:
            broken.append(error)
    return gone


def _waiting(store: Store) -> Iterator[Mapping[str, datetime]]:
    last = ""
    while batch := store.leftovers.discarded(last):
        yield batch
        last = max(batch)


def _remove(
    store: Store,
    artifacts: FolderArtifacts,
    noted: Mapping[str, datetime],
    spared_seconds: float,
    broken: list[StorageFailed],
) -> int:
    used, gone = store.leftovers.in_use(noted), list[str]()
    for name in noted:
        try:
            if name not in used and artifacts.remove(name, spared_seconds):
                gone.append(name)
        except StorageFailed as error:  # it stays noted
            broken.append(error)
    store.leftovers.forget({h: noted[h] for h in (*used, *gone)})
    return len(gone)


def remove_orphans(
    store: Store, artifacts: FolderArtifacts, spared_seconds: float = ORPHAN_SECONDS
) -> int:
    """Remove files that no row refers to, say of steps that were cut off, and half-written ones.

    Reads the whole folder.

    Returns:
        how many files are gone.

    Raises:
        StorageFailed: as `tidy`.
    """
    found, gone = artifacts.names(), artifacts.remove_unfinished(spared_seconds)
    while batch := tuple(islice(found, AT_ONCE)):
        used = store.leftovers.in_use(batch)
        gone += sum(artifacts.remove(h, spared_seconds) for h in batch if h not in used)
    return gone
