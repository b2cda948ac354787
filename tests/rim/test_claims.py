"""Who may work on what: leases, fences, offers, and what people ask for meanwhile."""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise, product

import pytest
from sqlalchemy import text, update

from core.errors import ClaimLost, Conflict, StepInterrupted
from core.loop import next_steps
from core.ports import Progress
from core.records.kinds import FINISHED
from core.records.outcome import Interval, Outcome
from core.records.rounds import Feedback
from core.storage import ClaimedStep, open_store
from core.storage.claims import Claim, take
from core.storage.engine import reading, writing
from core.storage.lifecycle import ALLOWED
from core.storage.tables import claims
from tests.builders import a_preflight, a_run, proposed
from tests.rim.storing import (
    LONG,
    SHORT,
    a_claim,
    a_job,
    an_exchange,
    at_once,
    kinds,
    propose,
    until,
)

STEP = "propose/0"
OUTCOME = Outcome("equal", None, Interval(0, 0, 0, 3), None, 0.0, None, None, "No difference.")
HALF = Progress("training", 1, 2)


def _claim_again(store, job_id, step=STEP, owner="second"):
    """Wait until the lease of somebody else has lapsed, by the database's clock."""
    return until(lambda: store.claim(job_id, step, owner, LONG))


# --- taking a step ----------------------------------------------------------------------------


def test_the_first_claim_starts_the_job(store):
    job = a_job(store)
    claim = a_claim(store, job.id, "preflight")
    started = store.job(job.id)
    assert (started.status, started.phase) == ("running", "preflight")
    assert started.started_at >= started.created_at
    assert (claim.job_id, claim.step_key, claim.lapses) == (job.id, "preflight", 0)
    assert kinds(store, job.id) == ["job.created", "job.started"]


def test_a_step_has_one_owner_at_a_time(store):
    job = a_job(store)
    a_claim(store, job.id)
    assert store.claim(job.id, STEP, "second", LONG) is None
    assert store.claim(job.id, STEP, "worker", LONG) is None


def test_different_steps_of_a_job_have_different_owners(store):
    job = a_job(store)
    fences = [a_claim(store, job.id, step).fence for step in (STEP, "baseline", "train/0/0/0")]
    assert fences == sorted(set(fences))
    assert store.history(job.id).claimed == {STEP, "baseline", "train/0/0/0"}


def test_of_many_workers_that_race_for_a_step_exactly_one_gets_it(store):
    job = a_job(store)
    owners = [f"worker-{n}" for n in range(12)]
    got = at_once([lambda owner=o: store.claim(job.id, STEP, owner, LONG) for o in owners])
    assert sum(claim is not None for claim in got) == 1
    assert kinds(store, job.id).count("job.started") == 1


def test_of_many_workers_that_race_for_a_lapsed_step_exactly_one_gets_it(store):
    job = a_job(store)
    a_claim(store, job.id, lease=SHORT)
    until(lambda: not store.history(job.id).claimed)
    got = at_once([lambda: store.claim(job.id, STEP, "w", LONG)] * 12)
    assert sum(claim is not None for claim in got) == 1


def test_whoever_comes_while_a_step_is_being_taken_waits_and_then_sees_it_taken(store, engine):
    job = a_job(store)
    a_claim(store, job.id).release()
    taken, go_on = threading.Event(), threading.Event()

    def take_slowly(connection):
        claim = take(connection, job.id, STEP, "first", LONG)
        taken.set()
        assert go_on.wait(10)
        return claim

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(writing, engine, take_slowly)
        assert taken.wait(10)
        second = pool.submit(store.claim, job.id, STEP, "second", LONG)
        until(lambda: _somebody_waits(engine))
        go_on.set()
        assert first.result() is not None
        assert second.result() is None


def _somebody_waits(engine):
    if engine.dialect.name == "sqlite":
        return True  # who is kept waiting by BEGIN IMMEDIATE cannot be asked, and has read nothing
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with reading(engine) as connection:
        return connection.execute(text(waiting)).scalar_one() > 0


@pytest.mark.slow
def test_of_many_processes_that_race_for_a_step_exactly_one_gets_it(store, database_url):
    job = a_job(store)
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(3) as pool:
        got = pool.starmap(_try_to_claim, [(database_url, job.id, n) for n in range(9)])
    assert sum(got) == 1


def _try_to_claim(database_url, job_id, number):
    store = open_store(database_url)
    claim = store.claim(job_id, STEP, f"process-{number}", LONG)
    store.close()
    return claim is not None


def test_the_phase_follows_the_steps_and_the_baseline_does_not_hide_the_design(store):
    job = a_job(store)
    for step in ("preflight", "baseline", STEP, "baseline", "train/0/0/0"):
        a_claim(store, job.id, step).release()
    told = [e.data["phase"] for e in store.events(job.id) if e.kind == "phase.changed"]
    assert told == ["baseline", "propose", "train"]
    assert store.job(job.id).phase == "train"


# --- leases and fences ------------------------------------------------------------------------


def test_a_lapsed_claim_is_taken_over_under_a_higher_fence(store):
    job = a_job(store)
    first = a_claim(store, job.id, lease=SHORT)
    second = _claim_again(store, job.id)
    assert second.fence > first.fence
    assert (second.lapses, _claim_again(store, job.id, "baseline").lapses) == (1, 0)
    assert [e.message for e in store.events(job.id) if e.level == "warning"] == [
        "The worker on step propose/0 vanished; another one took it over."
    ]


def test_a_beat_renews_the_lease(store, engine):
    job = a_job(store)
    claim = a_claim(store, job.id, lease=SHORT)
    until(lambda: not store.history(job.id).claimed)
    patient = ClaimedStep(engine, Claim(job.id, STEP, "worker", claim.fence, lapses=0), LONG)
    patient.beat(HALF)
    assert store.history(job.id).claimed == {STEP}
    assert store.claim(job.id, STEP, "second", LONG) is None


def test_a_lease_of_null_counts_as_lapsed(store, engine):
    job = a_job(store)
    a_claim(store, job.id)
    writing(engine, lambda c: c.execute(update(claims).values(expires_at=None)))
    assert store.claim(job.id, STEP, "second", LONG) is not None


WRITES = {
    "beat": lambda c: c.beat(HALF),
    "event": lambda c: c.event("log", "I am still here"),
    "add_preflight": lambda c: c.add_preflight(a_preflight()),
    "add_exchange": lambda c: c.add_exchange(an_exchange()),
    "add_candidate": lambda c: c.add_candidate(proposed(1)),
    "end_proposing": lambda c: c.end_proposing(1),
    "add_runs": lambda c: c.add_runs([a_run("0.0", 0.5)], {}),
    "add_feedback": lambda c: c.add_feedback(Feedback(0, "late", None)),
    "finish": lambda c: c.finish(OUTCOME),
    "fail": lambda c: c.fail("late", "too late"),
    "wait": lambda c: c.wait(100.0, "tired"),
    "history": lambda c: c.history(),
    "exchanges": lambda c: c.exchanges(0),
}


@pytest.mark.parametrize("name", ["second", "worker"], ids=["another", "one of the same name"])
def test_a_zombie_whose_step_was_taken_over_writes_nothing(store, name):
    job = a_job(store)
    zombie = a_claim(store, job.id, lease=SHORT)
    propose(zombie, proposed(0))
    owner = _claim_again(store, job.id, owner=name)
    _assert_powerless(store, zombie)
    owner.beat(HALF)


def test_a_zombie_whose_job_was_cancelled_meanwhile_writes_nothing(store):
    job = a_job(store)
    zombie = a_claim(store, job.id, lease=SHORT)
    propose(zombie, proposed(0))
    store.request_cancel(job.id)
    until(lambda: store.settle(job.id) or store.job(job.id).status == "cancelled")
    _assert_powerless(store, zombie)


def test_a_released_claim_writes_nothing_but_what_was_paid_for(store):
    job = a_job(store)
    claim = a_claim(store, job.id)
    propose(claim, proposed(0))
    claim.release()
    _assert_powerless(store, claim, but={"add_exchange"})


def test_an_answer_that_comes_after_a_pause_is_paid_once_and_kept_for_whoever_goes_on(store):
    job = a_job(store)
    claim = a_claim(store, job.id)
    claim.reserve(0, 0, 0, tokens=1_000, money=0.5)
    store.request_pause(job.id)
    claim.release()
    store.settle(job.id)
    assert store.job(job.id).status == "paused"
    claim.add_exchange(replace(an_exchange(), money=0.2))
    store.resume(job.id)
    after = a_claim(store, job.id)
    assert len(after.exchanges(0)) == 1
    assert after.history().spent.money == pytest.approx(0.2)


@pytest.mark.parametrize("again", [False, True], ids=["at work", "let go of again"])
def test_an_answer_that_comes_after_somebody_else_asked_changes_nothing(store, again):
    job = a_job(store)
    late = a_claim(store, job.id)
    late.release()
    other = a_claim(store, job.id)
    other.add_exchange(replace(an_exchange(), money=0.3))
    if again:
        other.release()
    with pytest.raises(ClaimLost):
        late.add_exchange(replace(an_exchange(), money=0.2))
    assert [e.money for e in store.exchanges(job.id)] == [0.3]
    assert store.history(job.id).spent.money == pytest.approx(0.3)


def test_an_answer_that_comes_after_the_end_is_not_stored(store):
    job = a_job(store)
    claim = a_claim(store, job.id)
    store.request_cancel(job.id)
    claim.release()
    store.settle(job.id)
    assert store.job(job.id).status == "cancelled"
    with pytest.raises(ClaimLost):
        claim.add_exchange(an_exchange())


def _assert_powerless(store, zombie, but=frozenset()):
    before = _standing(store, zombie.job_id)
    for name in WRITES.keys() - but:
        with pytest.raises(ClaimLost, match="does not own it any more"):
            WRITES[name](zombie)
    zombie.release()
    assert _standing(store, zombie.job_id) == before


def _standing(store, job_id):
    history, job = store.history(job_id), store.job(job_id)
    return history.iterations, history.claimed, job.status, store.events(job_id, limit=1000)


def test_whoever_ends_a_job_ends_the_claims_of_all_others(store):
    job = a_job(store)
    one, other = a_claim(store, job.id, "baseline"), a_claim(store, job.id, STEP)
    one.fail("baseline_failed", "No baseline.")
    with pytest.raises(ClaimLost):
        other.add_exchange(an_exchange())
    assert store.activity(job.id) == ()


def test_an_owner_that_merely_overslept_may_go_on(store):
    job = a_job(store)
    claim = a_claim(store, job.id, lease=SHORT)
    until(lambda: not store.history(job.id).claimed)
    claim.add_exchange(an_exchange())
    claim.beat(HALF)
    assert len(store.exchanges(job.id)) == 1


def test_of_a_job_that_is_being_cancelled_only_paid_answers_are_stored(store):
    job = a_job(store)
    claim = a_claim(store, job.id)
    propose(claim, proposed(0))
    store.request_cancel(job.id)
    claim.add_exchange(an_exchange())
    before = _standing(store, job.id)
    for name in WRITES.keys() - {"history", "exchanges", "add_exchange", "beat"}:
        with pytest.raises(StepInterrupted):
            WRITES[name](claim)
    assert _standing(store, job.id) == before


def test_a_claim_ends_with_its_block(store):
    job = a_job(store)
    with a_claim(store, job.id) as claim:
        assert store.history(job.id).claimed == {claim.step_key}
    assert store.history(job.id).claimed == frozenset()


# --- what people see --------------------------------------------------------------------------


def test_activity_tells_who_works_on_what_and_how_far(store):
    job = a_job(store)
    claim = a_claim(store, job.id, "train/0/0/1", owner="host-7")
    (fresh,) = store.activity(job.id)
    assert (fresh.step_key, fresh.owner, fresh.progress) == ("train/0/0/1", "host-7", None)
    claim.beat(Progress("training", 10, 100, "pack 1"))
    (beaten,) = store.activity(job.id)
    assert beaten.progress == Progress("training", 10, 100, "pack 1")
    assert 0 <= beaten.age_seconds < 60
    claim.release()
    assert store.activity(job.id) == ()


def test_failures_of_a_step_are_counted_per_step(store):
    job = a_job(store)
    claim = a_claim(store, job.id)
    assert claim.failures() == 0
    claim.event("step.failed", "broken", {"step": STEP}, level="error")
    claim.event("step.failed", "broken too", {"step": "baseline"}, level="error")
    assert claim.failures() == 1


# --- resting and offering ---------------------------------------------------------------------


def test_a_resting_step_is_neither_claimed_nor_offered(store):
    job = a_job(store)
    claim = a_claim(store, job.id)
    claim.wait(LONG, "the endpoint asks for patience")
    claim.release()
    assert store.claim(job.id, STEP, "second", LONG) is None
    assert not store.offer(job.id, STEP, LONG)
    told = next(event for event in store.events(job.id) if event.level == "warning")
    assert "the endpoint asks for patience" in told.message


def test_a_step_that_has_rested_is_claimed_again(store):
    job = a_job(store)
    claim = a_claim(store, job.id)
    claim.wait(SHORT, "a moment, please")
    claim.release()
    assert _claim_again(store, job.id).lapses == 0


def test_a_step_is_offered_once(store):
    job = a_job(store)
    assert store.offer(job.id, STEP, LONG) == "first"
    assert not store.offer(job.id, STEP, LONG)
    assert store.offer(job.id, "baseline", LONG) == "first"


def test_a_step_that_nobody_took_is_offered_again_after_a_while(store):
    job = a_job(store)
    assert store.offer(job.id, STEP, SHORT)
    assert until(lambda: store.offer(job.id, STEP, SHORT)) == "again"


def test_an_offer_that_could_not_be_published_is_made_again_at_once(store):
    job = a_job(store)
    assert store.offer(job.id, STEP, LONG)
    store.withdraw(job.id, STEP)
    assert until(lambda: store.offer(job.id, STEP, LONG)) == "again"


def test_of_many_sweeps_exactly_one_offers_a_step(store):
    job = a_job(store)
    assert sum(map(bool, at_once([lambda: store.offer(job.id, STEP, LONG)] * 8))) == 1


def test_a_step_that_somebody_works_on_is_not_offered(store):
    job = a_job(store)
    claim = a_claim(store, job.id)
    assert not store.offer(job.id, STEP, LONG)
    claim.release()
    assert store.offer(job.id, STEP, LONG)


def test_letting_go_of_a_step_makes_it_worth_offering_again(store):
    job = a_job(store)
    assert store.offer(job.id, STEP, LONG)
    a_claim(store, job.id).release()
    assert store.offer(job.id, STEP, LONG) == "first"


def test_who_announces_nothing_twice_is_given_no_step_a_second_time(store):
    job = a_job(store)
    assert store.offer(job.id, STEP, 0.0, again=False) == "first"
    assert store.offer(job.id, STEP, 0.0, again=False) is None
    assert until(lambda: store.offer(job.id, STEP, LONG)) == "again"


def test_a_job_is_accepted_together_with_the_offer_of_its_first_step(store):
    job = a_job(store, offer_seconds=LONG)
    assert store.offer(job.id, "preflight", LONG) is None
    assert store.neglected_jobs() == ()
    assert a_claim(store, job.id, "preflight")


def test_a_sweep_is_told_of_the_jobs_that_nobody_sees_to(store):
    fresh, owned, offered, asked = (a_job(store) for _ in range(4))
    claim = a_claim(store, owned.id)
    store.offer(offered.id, STEP, LONG)
    working = a_claim(store, asked.id)
    assert store.neglected_jobs() == (fresh.id,)
    store.request_cancel(asked.id)
    assert store.neglected_jobs() == (fresh.id, asked.id)
    working.release()
    claim.release()
    assert store.neglected_jobs() == (fresh.id, owned.id)


def test_a_sweep_is_told_of_owners_that_vanished(store):
    left, rested = (a_job(store) for _ in range(2))
    for job in (left, rested):
        a_claim(store, job.id, "baseline")  # somebody is at work beside it
    a_claim(store, left.id, lease=SHORT)
    with a_claim(store, rested.id) as claim:
        claim.wait(LONG, "tired")
    assert until(store.neglected_jobs) == (left.id,)


def test_steps_that_were_announced_in_vain_are_found_by_kind_oldest_first(store):
    first, second, other, rested, waiting = (a_job(store) for _ in range(5))
    for job in (first, second):
        store.offer(job.id, "train/0/1/2", SHORT)
    store.offer(other.id, "propose/0", SHORT)
    store.offer(waiting.id, "train/0/0/0", LONG)
    store.offer(rested.id, "train/0/0/0", SHORT)
    with a_claim(store, rested.id, "train/0/0/0") as claim:
        claim.wait(LONG, "tired")
    assert until(lambda: len(store.unheard_jobs(["train", "propose"], 10)) == 3)
    assert store.unheard_jobs(["train"], 10) == (first.id, second.id)
    assert store.unheard_jobs(["train"], 1) == (first.id,)
    assert store.unheard_jobs(["propose"], 10) == (other.id,)
    assert store.unheard_jobs(["prop"], 10) == ()
    assert store.neglected_jobs() == (), "they wait for a slot, and somebody was told"


def test_open_jobs_are_listed_for_the_sweep(store):
    queued, running, paused, ended = (a_job(store) for _ in range(4))
    a_claim(store, running.id)
    store.request_pause(paused.id)
    store.request_cancel(ended.id)
    assert store.unfinished_jobs() == (queued.id, running.id)
    assert store.unfinished_jobs(limit=1) == (queued.id,)
    assert store.unfinished_jobs(after=queued.id) == (running.id,)


# --- cancel, pause, resume --------------------------------------------------------------------


def _queued(store):
    return a_job(store).id


def _running(store):
    job = a_job(store)
    a_claim(store, job.id)
    return job.id


def _paused(store):
    job = a_job(store)
    a_claim(store, job.id).release()
    store.request_pause(job.id)
    return job.id


def _pausing(store):
    job_id = _running(store)
    store.request_pause(job_id)
    return job_id


def _cancelling(store):
    job_id = _running(store)
    store.request_cancel(job_id)
    return job_id


def _cancelled(store):
    job_id = _queued(store)
    store.request_cancel(job_id)
    return job_id


def _succeeded(store):
    job = a_job(store)
    a_claim(store, job.id).finish(OUTCOME)
    return job.id


SITUATIONS = {
    f.__name__.strip("_"): f
    for f in (_queued, _running, _paused, _pausing, _cancelling, _cancelled, _succeeded)
}
WAIT, OVER = "refused: .*wait for its end", "refused: .*fork the job"
WISHES = {
    # situation:   (cancel, pause, resume): how the job stands afterwards, or the refusal
    "queued": ("cancelled", "paused", "queued"),
    "running": ("running, cancelling", "running, pausing", "running"),
    "paused": ("cancelled", "paused", "running"),
    "pausing": ("running, cancelling", "running, pausing", "running"),
    "cancelling": ("running, cancelling", WAIT, WAIT),
    "cancelled": ("cancelled", OVER, OVER),
    "succeeded": (OVER, OVER, OVER),
}


def _asked(value):
    return value if isinstance(value, str) else ("cancel", "pause", "resume")[value]


@pytest.mark.parametrize(("situation", "wish"), list(product(WISHES, range(3))), ids=_asked)
def test_what_people_may_ask_for(store, situation, wish):
    job_id = SITUATIONS[situation](store)
    ask = (store.request_cancel, store.request_pause, store.resume)[wish]
    expected = WISHES[situation][wish]
    if expected.startswith("refused: "):
        with pytest.raises(Conflict, match=expected.removeprefix("refused: ")):
            ask(job_id)
        return
    for job in (ask(job_id), ask(job_id)):  # asking twice is asking once
        assert _described(job) == expected


@pytest.mark.parametrize(
    ("ask", "possible"),
    [
        (
            "request_cancel",
            "cancel is possible while a job is queued, running, awaiting feedback or paused",
        ),
        ("request_pause", "pause is possible while a job is queued, running or awaiting feedback"),
        ("resume", "resume is possible while a job is paused"),
    ],
)
def test_a_refused_wish_names_the_states_in_which_it_is_granted(store, ask, possible):
    job_id = _succeeded(store)
    with pytest.raises(Conflict, match=f"{possible}; job {job_id} is succeeded"):
        getattr(store, ask)(job_id)


def _described(job):
    if job.status in FINISHED or job.status == "paused":
        return job.status
    asked = [", cancelling"] * job.cancel_requested or [", pausing"] * job.pause_requested
    return job.status + "".join(asked)


@pytest.mark.parametrize(
    ("ask", "status", "sentence"),
    [("request_cancel", "cancelled", "cancelled"), ("request_pause", "paused", "paused")],
)
def test_a_step_under_way_is_told_at_its_next_beat_and_the_job_settles(
    store, ask, status, sentence
):
    job = a_job(store)
    claim = a_claim(store, job.id)
    getattr(store, ask)(job.id)
    with pytest.raises(StepInterrupted, match=f"being {sentence}"):
        claim.beat(HALF)
    assert store.job(job.id).status == "running"
    claim.release()
    assert store.job(job.id).status == status


def test_what_was_paid_for_is_stored_even_if_the_job_is_being_cancelled(store):
    job = a_job(store)
    claim = a_claim(store, job.id)
    store.request_cancel(job.id)
    claim.add_exchange(an_exchange())
    assert len(store.exchanges(job.id)) == 1


@pytest.mark.parametrize("ask", ["request_cancel", "request_pause"])
def test_nothing_is_claimed_or_wanted_any_more_once_people_asked(store, ask):
    job_id = _running(store)
    getattr(store, ask)(job_id)
    assert store.claim(job_id, "baseline", "second", LONG) is None
    assert not store.offer(job_id, "baseline", 1.0)
    assert next_steps(store.history(job_id)) == ()


def test_a_paused_job_wants_nothing_and_a_resumed_one_goes_on(store):
    job_id = _paused(store)
    assert store.claim(job_id, STEP, "second", LONG) is None
    assert next_steps(store.history(job_id)) == ()
    store.resume(job_id)
    assert next_steps(store.history(job_id)) != ()
    assert store.claim(job_id, STEP, "second", LONG) is not None


def test_whoever_resumes_a_job_does_not_wait_for_its_rests_but_what_broke_stays_counted(store):
    job_id = a_job(store).id
    with a_claim(store, job_id, "propose/0") as claim:
        claim.event("step.failed", "broke", {"step": "propose/0"})
        claim.wait(86_400.0, "The endpoint asks for a day.")
    store.request_pause(job_id)
    store.resume(job_id)
    assert store.activity(job_id) == ()
    assert store.offer(job_id, "propose/0", LONG)
    assert a_claim(store, job_id, "propose/0").failures() == 1


def test_a_pause_that_is_withdrawn_ends_rests_as_well(store):
    job_id = a_job(store).id
    with a_claim(store, job_id, "propose/0") as claim:
        claim.wait(86_400.0, "The endpoint asks for a day.")
    at_work = a_claim(store, job_id, "baseline")
    store.request_pause(job_id)
    store.resume(job_id)
    a_claim(store, job_id, "propose/0").release()
    at_work.release()


def test_a_job_that_was_paused_before_it_started_is_queued_again(store):
    job_id = _queued(store)
    store.request_pause(job_id)
    assert store.resume(job_id).status == "queued"


def test_settling_waits_for_the_last_living_claim(store):
    job = a_job(store)
    one, other = a_claim(store, job.id, "baseline"), a_claim(store, job.id, STEP)
    store.request_cancel(job.id)
    one.release()
    store.settle(job.id)
    assert store.job(job.id).status == "running"
    other.release()
    assert store.job(job.id).status == "cancelled"


def test_settling_a_job_of_which_nobody_asked_anything_changes_nothing(store):
    job = a_job(store)
    store.settle(job.id)
    assert store.job(job.id) == job


def test_a_job_has_one_last_event_and_its_statuses_follow_the_graph(store):
    job = a_job(store)
    a_claim(store, job.id).release()
    store.request_pause(job.id)
    store.resume(job.id)
    claim = a_claim(store, job.id)
    at_once([lambda: store.request_cancel(job.id), claim.release, lambda: store.settle(job.id)])
    until(lambda: store.settle(job.id) or store.job(job.id).status == "cancelled")
    told = [e for e in store.events(job.id) if "status" in e.data]
    assert all(e.data["status"] in ALLOWED[e.data["from"]] for e in told)
    assert all(a.data["status"] == b.data["from"] for a, b in pairwise(told))
    assert kinds(store, job.id).count("job.completed") == 1
    assert kinds(store, job.id)[-1] == "job.completed"
