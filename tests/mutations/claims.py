"""Protections of claims, of what jobs cost, and of what was promised to clients."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

_CLAIMS, _CREW = "tests/rim/test_claims.py", "tests/shells/test_crew.py"
_SCENE = "tests/chaos/test_chaos.py::test_a_scene_that_one_protection_is_for_ends_well"

MUTATIONS = (
    Mutation(
        "a step judged by what others do",
        "workers/carrying.py",
        "    others = replace(history, claimed=history.claimed - {key})\n",
        "    others = replace(history)\n",
        (
            "tests/shells/test_side_by_side.py::"
            "test_a_worker_that_comes_late_does_not_begin_a_rung_that_the_budget_refuses",
        ),
    ),
    Mutation(
        "fence predicate",
        "core/storage/claims.py",
        "    if connection.execute(_STILL_HELD, here).first() is None:\n",
        "    if False:\n",
        (
            f"{_CLAIMS}::test_a_zombie_whose_step_was_taken_over_writes_nothing",
            f"{_SCENE}[no-fence]",
        ),
    ),
    Mutation(
        "commit before reply",
        "tests/chaos/nursery.py",
        'mutations.apply(told.get("mutations", ()))',
        'mutations.apply(("reply-before-commit",))',
        (f"{_SCENE}[reply-before-commit]",),
    ),
    Mutation(
        "reservation before the question",
        "core/storage/ledger.py",
        "        self._write(proposing.reserve, iteration, slot, attempt, tokens, money)\n",
        "        pass\n",
        (
            "tests/rim/test_reservations.py::test_a_question_is_counted_before_it_is_asked",
            f"{_SCENE}[no-reservation]",
        ),
    ),
    Mutation(
        "cancel flag in the writing transaction",
        "core/storage/ledger.py",
        "            if job.cancel_requested and hold is claims.hold:\n",
        "            if False:\n",
        (f"{_CLAIMS}::test_of_a_job_that_is_being_cancelled_only_paid_answers_are_stored",),
    ),
    Mutation(
        "dead-man's switch",
        "workers/heartbeat.py",
        "        if silent > self._patience:\n",
        "        if False:\n",
        ("tests/shells/test_heartbeat.py::test_a_renewal_that_hangs_ends_the_step_as_well",),
    ),
    Mutation(
        "deadline of the database's answers",
        "core/storage/engine.py",
        '    event.listen(engine, "do_connect", postgres.connect)\n',
        "",
        ("tests/rim/test_store.py::test_a_database_whose_answers_do_not_arrive_is_given_up",),
    ),
    Mutation(
        "work without a broker",
        "workers/messages.py",
        "        if take is not None and take(queue, job_id, key):\n            return\n",
        "",
        (f"{_CREW}::test_without_a_broker_a_worker_does_whole_steps_from_the_database",),
    ),
)
