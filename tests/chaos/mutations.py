"""Protections that can be taken away, one at a time, to show that the suite then goes red.

`python -m tests.chaos --scene NAME --mutate NAME` lives through a round without one of MUTATIONS.
PATCHES take the same and others away in the text of a copy of the tree.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from core.failpoints import failpoint
from core.records import JobSpec, Spent
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


MUTATIONS: Mapping[str, tuple[Callable[[], None], str]] = {
    "no-fence": (no_fence, "I5"),
    "reply-before-commit": (reply_before_commit, "I1"),
    "no-reservation": (no_reservation, "I8"),
}
"""Name -> what takes the protection away, and the invariant that must then be broken."""


def apply(names: Iterable[str]) -> None:
    for name in names:
        MUTATIONS[name][0]()


_CLAIMS, _CREW = "tests/rim/test_claims.py", "tests/shells/test_crew.py"
_SCENE = "tests/chaos/test_chaos.py::test_a_scene_that_one_protection_is_for_ends_well"

PATCHES: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    (
        "fence predicate",
        "core/storage/claims.py",
        "    if connection.execute(select(claims.c.fence).where(_borne(claim))).first() is None:\n",
        "    if False:\n",
        (
            f"{_CLAIMS}::test_a_zombie_whose_step_was_taken_over_writes_nothing",
            f"{_SCENE}[no-fence]",
        ),
    ),
    (
        "commit before reply",
        "tests/chaos/nursery.py",
        'mutations.apply(told.get("mutations", ()))',
        'mutations.apply(("reply-before-commit",))',
        (f"{_SCENE}[reply-before-commit]",),
    ),
    (
        "reservation before the question",
        "core/storage/ledger.py",
        "        self._write(facts.reserve, iteration, slot, attempt, tokens, money)\n",
        "        pass\n",
        (
            "tests/rim/test_reservations.py::test_a_question_is_counted_before_it_is_asked",
            f"{_SCENE}[no-reservation]",
        ),
    ),
    (
        "cancel flag in the writing transaction",
        "core/storage/ledger.py",
        "            if job.cancel_requested and not after_cancel:\n",
        "            if False:\n",
        (f"{_CLAIMS}::test_of_a_job_that_is_being_cancelled_only_paid_answers_are_stored",),
    ),
    (
        "dead-man's switch",
        "workers/heartbeat.py",
        "        if silent > self._patience:\n",
        "        if False:\n",
        ("tests/shells/test_heartbeat.py::test_a_renewal_that_hangs_ends_the_step_as_well",),
    ),
    (
        "deadline of the database's answers",
        "core/storage/engine.py",
        '    event.listen(engine, "do_connect", postgres.connect)\n',
        "",
        ("tests/rim/test_store.py::test_a_database_whose_answers_do_not_arrive_is_given_up",),
    ),
    (
        "work without a broker",
        "workers/messages.py",
        "        if take is not None and take(queue, job_id, key):\n            return\n",
        "",
        (f"{_CREW}::test_without_a_broker_a_worker_does_whole_steps_from_the_database",),
    ),
)
"""(name, file, its text, the text without the protection, tests of which one must fail then)."""
