"""The store: facts, claims and artifacts, on SQLite or PostgreSQL.

`store.py` is the way in; `tables.py` is the model; `lifecycle.py`, `claims.py`, `facts.py` and
`results.py` write, `reads.py` and `job_reads.py` read.
"""

from core.storage.artifacts import FolderArtifacts
from core.storage.callers import Caller
from core.storage.copying import copy_sqlite
from core.storage.going_on import Extension
from core.storage.keyring import AuditEntry, StoredKey
from core.storage.ledger import ClaimedStep
from core.storage.library import LibraryItem
from core.storage.requests import Request
from core.storage.standing import Standing
from core.storage.store import Store, open_store
from core.storage.stored import (
    Activity,
    Event,
    Failure,
    Page,
    StoredCandidate,
    StoredJob,
    StoredRun,
)
from core.storage.tidying import Tidied, remove_orphans, tidy

__all__ = [
    "Activity",
    "AuditEntry",
    "Caller",
    "ClaimedStep",
    "Event",
    "Extension",
    "Failure",
    "FolderArtifacts",
    "LibraryItem",
    "Page",
    "Request",
    "Standing",
    "Store",
    "StoredCandidate",
    "StoredJob",
    "StoredKey",
    "StoredRun",
    "Tidied",
    "copy_sqlite",
    "open_store",
    "remove_orphans",
    "tidy",
]
