"""The store: facts, claims and artifacts, on SQLite or PostgreSQL.

`store.py` is the way in, and has parts for what is asked of it besides jobs; `access.py` is what they
stand on; `tables.py` is the model; `lifecycle.py`, `claims.py`, `facts.py` and
`results.py` write, `reads.py`, `job_reads.py` and `glances.py` read; `swift.py` asks PostgreSQL what
most requests ask, without a thread.
"""

from core.storage.artifacts import FolderArtifacts
from core.storage.callers import Caller
from core.storage.copying import copy_sqlite
from core.storage.crew import Presence, StoredWorker
from core.storage.deliveries import Delivery, StoredDelivery
from core.storage.glances import Glance
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
    Queued,
    Series,
    StoredArtifact,
    StoredCandidate,
    StoredJob,
    StoredRollout,
    StoredRun,
)
from core.storage.swift import JobAtWork, Submission, Swift, Unusual
from core.storage.tidying import Tidied, remove_orphans, tidy
from core.storage.transcripts import Transcript, read_transcript
from core.storage.usage import Day, KeyUse

__all__ = [
    "Activity",
    "AuditEntry",
    "Caller",
    "ClaimedStep",
    "Day",
    "Delivery",
    "Event",
    "Extension",
    "Failure",
    "FolderArtifacts",
    "Glance",
    "JobAtWork",
    "KeyUse",
    "LibraryItem",
    "Page",
    "Presence",
    "Queued",
    "Request",
    "Series",
    "Standing",
    "Store",
    "StoredArtifact",
    "StoredCandidate",
    "StoredDelivery",
    "StoredJob",
    "StoredKey",
    "StoredRollout",
    "StoredRun",
    "StoredWorker",
    "Submission",
    "Swift",
    "Tidied",
    "Transcript",
    "Unusual",
    "copy_sqlite",
    "open_store",
    "read_transcript",
    "remove_orphans",
    "tidy",
]
