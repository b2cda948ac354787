"""Protections that can be taken away, one at a time, to show that the suite then goes red.

`python -m tests.chaos --scene NAME --mutate NAME` lives through a round without one of these;
`make mutations` takes the same and others away in the text (`tests/mutations/claims.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from core.failpoints import failpoint
from core.records.history import Spent
from core.records.spec import JobSpec
from core.storage.stored import StoredJob

COMMIT_AFTER_SECONDS = 0.4


def no_fence() -> None:
    """Let whoever once owned a step go on writing."""
    from core.storage import claims

    claims.check = lambda connection, claim: None


def reply_before_commit() -> None:
    """Tell the client of a job, and store it a moment later."""
    from core.storage import accept
    from core.storage.store import Store

    sound, new_job_id, late = Store.create_job, accept.new_job_id, threading.local()

    def create_job(self: Store, spec: JobSpec, **given: Any) -> tuple[StoredJob, bool]:
        job_id = new_job_id()

        def commit() -> None:
            failpoint("job.accepted")
            late.job_id = job_id
            sound(self, spec, **given)

        threading.Timer(COMMIT_AFTER_SECONDS, commit).start()
        return _promised(job_id, spec), False

    accept.new_job_id = lambda: getattr(late, "job_id", None) or new_job_id()
    Store.create_job = create_job  # type: ignore[method-assign]


def _promised(job_id: str, spec: JobSpec) -> StoredJob:
    return StoredJob(
        *(job_id, None, {}, spec, "queued", "preflight", datetime.now(UTC), None, None),
        *(False, False, None, None, None, None, None, None, {}, Spent(), -1, 1),
    )


def no_reservation() -> None:
    """Ask designers without setting aside what that costs."""
    from core.storage.ledger import ClaimedStep

    ClaimedStep.reserve = lambda self, *given: None  # type: ignore[method-assign]


def no_owners() -> None:
    """Let every key ask for everybody."""
    from core.storage.store import Store

    Store.of = lambda self, caller: self  # type: ignore[method-assign]


MUTATIONS: Mapping[str, tuple[Callable[[], None], str]] = {
    "no-fence": (no_fence, "I5"),
    "reply-before-commit": (reply_before_commit, "I1"),
    "no-reservation": (no_reservation, "I8"),
    "no-owners": (no_owners, "I16"),
}
"""Name -> what takes the protection away, and the invariant that must then be broken."""


def apply(names: Iterable[str]) -> None:
    for name in names:
        MUTATIONS[name][0]()
