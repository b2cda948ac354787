"""What people say and hand in, and jobs that go on after their end, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import update

from core.budgets import closing_cost, planned_cost
from core.errors import ClaimLost, Conflict, IdempotencyMismatch, InvalidInput, NotFound
from core.loop import next_steps, step_key
from core.records.asking import Example
from core.records.kinds import NATIVE
from core.records.outcome import Outcome
from core.records.people import Given, Remark
from core.records.programs import Check
from core.records.rounds import Feedback
from core.records.spec import Budget
from core.searching import search_ended
from core.seeding import ablation_seeds, confirm_seeds
from core.storage import Extension, Request
from core.storage.clock import now
from core.storage.engine import writing
from core.storage.tables import jobs
from tests.builders import (
    SOURCE,
    a_preflight,
    a_run,
    a_spec,
    an_outcome,
    confirmations,
    rejected,
    trained,
)
from tests.rim.storing import a_claim, a_job, at_once, kinds, propose, until
from tests.shells.stories import a_failed_job, a_finished_job, a_job_in_training

MOST = 50  # iterations of a job
TEXT = Remark(0, "text", text="slower, please")
MINE = Given(0, SOURCE.replace("Stay near", "My own: stay near"))


def waiting_for_people(store) -> str:
    job_id = a_job_in_training(store)
    with a_claim(store, job_id, "reflect/0") as claim:
        claim.await_feedback("Say what you think.")
    return job_id


# --- remarks ----------------------------------------------------------------------------------


def test_remarks_are_numbered_in_order_and_know_the_iteration_in_which_they_were_said(store):
    job_id = a_job(store).id
    store.add_remark(job_id, TEXT)
    with a_claim(store, job_id) as claim:
        propose(claim, trained(0), trained(1))
    store.add_remark(job_id, Remark(0, "preference", "0.0", "0.1", 1))
    said = store.remarks(job_id)
    assert [(r.number, r.kind, r.iteration) for r in said] == [
        (0, "text", -1),
        (1, "preference", 0),
    ]
    assert store.history(job_id).remarks == said


def test_a_remark_lets_a_waiting_job_go_on_and_its_steps_can_be_claimed_at_once(store):
    job_id = waiting_for_people(store)
    assert store.job(job_id).status == "awaiting_feedback"
    assert store.claim(job_id, "train/0/0/0", "worker", 30.0) is None
    store.add_remark(job_id, TEXT)
    assert store.job(job_id).status == "running"
    assert job_id in store.unfinished_jobs()
    assert step_key(next_steps(store.history(job_id))[0]) == "train/0/0/0"
    a_claim(store, job_id, "train/0/0/0").release()


def test_a_step_that_was_just_announced_is_announced_again_when_its_job_goes_on(store):
    job_id = a_job(store).id
    assert store.offer(job_id, "preflight", 1_000.0)
    with a_claim(store, job_id, "preflight") as claim:
        claim.await_feedback("Say what you think.")
    assert not store.offer(job_id, "preflight", 1_000.0)
    store.add_remark(job_id, TEXT)
    assert store.offer(job_id, "preflight", 1_000.0)


@pytest.mark.parametrize(
    ("remark", "error", "words"),
    [
        (Remark(0, "thumb", "0.9", value=1), NotFound, "no candidate 0.9"),
        (Remark(0, "preference", "0.0", "3.0", 1), NotFound, "no candidate 3.0"),
        (Remark(0, "thumb", "0.1", value=1), InvalidInput, "no program"),
    ],
)
def test_judgements_are_of_candidates_that_exist_and_have_a_program(store, remark, error, words):
    job_id = a_job_in_training(store)
    with pytest.raises(error, match=words):
        store.add_remark(job_id, remark)
    assert store.remarks(job_id) == ()


def test_words_may_be_about_a_candidate_without_a_program(store):
    job_id = a_job_in_training(store)
    assert store.add_remark(job_id, replace(TEXT, candidate="0.1"))[0].candidate == "0.1"


def test_the_same_request_is_kept_once_however_often_it_comes_at_the_same_time(store):
    job_id = a_job(store).id
    request = Request("key", "a" * 64)
    kept = at_once([lambda: store.add_remark(job_id, TEXT, request)] * 4)
    assert len(store.remarks(job_id)) == 1
    assert {remark.number for remark, _ in kept} == {0}
    assert sorted(replayed for _, replayed in kept) == [False, True, True, True]
    with pytest.raises(IdempotencyMismatch, match="another body"):
        store.add_remark(job_id, TEXT, Request("key", "b" * 64))
    store.add_given(job_id, MINE, Request("key", "b" * 64))  # another kind of request


def test_a_job_takes_so_many_remarks_and_no_more(store, monkeypatch):
    monkeypatch.setattr("core.storage.people.MOST_REMARKS", 2)
    job_id = a_job(store).id
    for _ in range(2):
        store.add_remark(job_id, TEXT)
    with pytest.raises(Conflict, match="2 remarks already"):
        store.add_remark(job_id, TEXT)


# --- programs ---------------------------------------------------------------------------------


def test_programs_of_the_start_are_stored_with_the_job_and_only_once(store):
    for _ in range(2):
        job, replayed = store.create_job(
            a_spec(),
            idempotency_key="k",
            body_sha256="0" * 64,
            name=None,
            labels={},
            start=(MINE, replace(MINE, note="again")),
        )
    assert replayed
    assert [(g.number, g.note) for g in store.given(job.id)] == [(0, ""), (1, "again")]
    assert store.history(job.id).given == store.given(job.id)


def test_an_edit_needs_a_parent_that_exists(store):
    job_id = a_job_in_training(store)
    edit = replace(MINE, origin="edit", parent="0.0")
    assert store.add_given(job_id, edit)[0].number == 0
    with pytest.raises(NotFound, match=r"no candidate 7\.0"):
        store.add_given(job_id, replace(edit, parent="7.0"))
    assert len(store.given(job_id)) == 1


def test_a_finished_job_takes_no_program_and_says_how_it_would(store):
    with pytest.raises(Conflict, match="Extend the job with the program in `start`"):
        store.add_given(a_finished_job(store), MINE)


def test_a_program_that_the_budget_cannot_pay_is_refused(store):
    spec = a_spec(iterations=1, budget=Budget(env_steps=14_000))
    job_id = a_job(store, spec).id
    with a_claim(store, job_id) as claim:
        claim.add_preflight(a_preflight())
        propose(claim, trained(0), rejected(1))
        claim.add_runs([a_run("0.0", 0.5, seed=s) for s in range(8)], {})
        claim.add_feedback(Feedback(0, "text", "0.0"))
    with pytest.raises(Conflict, match="env_steps"):
        store.add_given(job_id, MINE)
    assert store.given(job_id) == ()


def confirmed_and_ablated(store) -> str:
    """A job whose winner is confirmed and known without one of its terms; it is filmed, say."""
    job_id = a_job_in_training(store)
    with a_claim(store, job_id, "train/0/0/0") as claim:
        claim.add_runs([a_run("0.0", 0.5, seed=s) for s in (0, 1)], {})
        claim.add_feedback(Feedback(0, "text", "0.0"))
        claim.add_runs(confirmations({NATIVE: [0.1] * 3, "0.0": [0.9] * 3}), {})
        left_out = "without-component-near"
        seeds = ablation_seeds(store.history(job_id))[:3]
        claim.add_runs([a_run(left_out, 0.1, seed=s, stage="ablation") for s in seeds], {})
    return job_id


def test_a_program_that_comes_after_the_confirmation_is_confirmed_with_all_others_on_fresh_seeds(
    store,
):
    job_id = confirmed_and_ablated(store)
    before = store.history(job_id)
    store.add_given(job_id, replace(MINE, origin="edit", parent="0.0"))
    after = store.history(job_id)
    assert (len(before.confirmations), len(before.ablations), before.extensions) == (6, 3, 0)
    assert (after.confirmations, after.ablations, after.extensions) == ((), (), 1)
    assert not set(confirm_seeds(before)) & set(confirm_seeds(after))
    (told,) = (e for e in store.events(job_id, limit=100) if e.kind == "confirmation.renewed")
    assert told.data == {"confirmations": 2}


def test_what_failed_before_a_confirmation_is_renewed_counts_no_longer(store):
    job_id = confirmed_and_ablated(store)
    with a_claim(store, job_id, "confirm/0") as claim:
        claim.event("step.failed", "It broke.", {"step": "confirm/0"})
        assert claim.failures() == 1
        store.add_given(job_id, MINE)
        assert claim.failures() == 0


def test_a_program_that_comes_before_the_confirmation_leaves_its_seeds(store):
    job_id = a_job_in_training(store)
    store.add_given(job_id, MINE)
    assert store.history(job_id).extensions == 0


def test_every_further_confirmation_belongs_to_what_a_job_may_plan(store):
    job_id = a_finished_job(store)
    spec = store.job(job_id).spec
    one_more = planned_cost(spec, starts=1) + closing_cost(spec)
    mine = Extension(start=(MINE,))
    with pytest.raises(InvalidInput, match=f"but found a plan of {one_more:,}"):
        store.extend(job_id, mine, MOST, most_steps=one_more - 1)
    assert store.extend(job_id, mine, MOST, most_steps=one_more)[0].status == "queued"


# --- extending --------------------------------------------------------------------------------


def test_an_extended_job_keeps_its_facts_and_goes_on_with_another_iteration(store):
    job_id = a_finished_job(store)
    before = store.history(job_id)
    job, replayed = store.extend(job_id, Extension(iterations=2), MOST)
    after = store.history(job_id)
    assert (job.status, job.outcome, job.finished_at, replayed) == ("queued", None, None, False)
    assert after.iterations == before.iterations
    assert after.spec == replace(before.spec, iterations=before.spec.iterations + 2)
    assert [step_key(step) for step in next_steps(after)] == ["propose/1"]


def test_how_an_extended_job_had_ended_stands_in_its_event(store):
    job_id = a_finished_job(store)
    store.extend(job_id, Extension(iterations=1), MOST)
    told = store.events(job_id, limit=1000)[-1]
    assert (told.kind, told.data["outcome"]["verdict"]) == ("job.extended", "better")


def test_the_next_confirmation_starts_over_on_fresh_seeds_and_gets_its_own_verdict(store):
    job_id = a_finished_job(store)
    seen = {run.seed for run in store.history(job_id).confirmations}
    store.extend(job_id, Extension(iterations=1), MOST)
    history = store.history(job_id)
    assert (history.extensions, history.confirmations) == (1, ())
    assert not seen & set(confirm_seeds(history))
    with a_claim(store, job_id, "confirm/0") as claim:
        fresh = confirm_seeds(history)[0]
        claim.add_runs(confirmations({NATIVE: [0.1] * 3, "0.0": [0.9] * 3}, first=fresh), {})
    assert {r.fitness for r in store.history(job_id).confirmations} == {0.1, 0.9}
    with a_claim(store, job_id, "finish") as claim:
        claim.finish(replace(an_outcome(), verdict="equal"))
    assert store.job(job_id).outcome.verdict == "equal"
    assert kinds(store, job_id).count("job.completed") == 2


def test_a_job_can_be_extended_before_its_end_and_its_first_confirmation_stays_the_first(store):
    job_id = a_job_in_training(store)
    assert store.extend(job_id, Extension(iterations=1), MOST)[0].status == "running"
    assert store.history(job_id).extensions == 0


def test_an_extension_for_a_program_alone_measures_just_that(store):
    job_id = a_finished_job(store)
    spec = store.job(job_id).spec
    store.extend(job_id, Extension(iterations=0, start=(MINE,), budget=Budget()), MOST)
    history = store.history(job_id)
    assert (history.spec, history.given) == (spec, (MINE,))
    assert not search_ended(history)


def one_for_my_program_alone(store) -> str:
    """A job whose plan was one iteration, and whose second one measured a program of mine."""
    job_id = a_job_in_training(store, iterations=1)
    with a_claim(store, job_id, "reflect/0") as claim:
        claim.add_runs([a_run("0.0", 0.5, seed=s) for s in (0, 1)], {})
        claim.add_feedback(Feedback(0, "text", "0.0"))
    store.add_given(job_id, MINE)
    with a_claim(store, job_id, "propose/1") as claim:
        propose(claim, replace(trained(0, iteration=1), operator="given", given=0))
        claim.add_runs([a_run("1.0", 0.6, seed=s) for s in (0, 1)], {})
        claim.add_feedback(Feedback(1, "text", "1.0"))
        claim.finish(an_outcome())
    return job_id


@pytest.mark.parametrize("more", [1, 2])
def test_iterations_of_peoples_own_programs_are_none_of_the_further_ones(store, more):
    job_id = one_for_my_program_alone(store)
    job, _ = store.extend(job_id, Extension(iterations=more), MOST)
    assert job.spec.iterations == 2 + more
    assert [step_key(step) for step in next_steps(store.history(job_id))] == ["propose/2"]


def test_an_iteration_that_is_just_being_proposed_is_none_of_the_further_ones(store):
    job_id = a_job(store, a_spec(iterations=1)).id
    with a_claim(store, job_id, "propose/0") as claim:
        propose(claim, trained(0), rejected(1))
        claim.add_feedback(Feedback(0, "text", "0.0"))
    store.add_given(job_id, MINE)
    with a_claim(store, job_id, "propose/1"):
        assert store.extend(job_id, Extension(iterations=1), MOST)[0].spec.iterations == 3


@pytest.mark.parametrize(
    ("extension", "words"),
    [
        (Extension(iterations=MOST), "at most 50 iterations"),
        (Extension(iterations=1, budget=Budget(env_steps=10)), "at least what the job has"),
        (Extension(budget=Budget(tokens=10)), "no limit"),
    ],
)
def test_an_extension_that_makes_no_sense_changes_nothing(store, extension, words):
    job_id = finished_with(store, Budget(env_steps=1_000_000))
    before = store.job(job_id)
    with pytest.raises(InvalidInput, match=words):
        store.extend(job_id, extension, MOST)
    assert store.job(job_id) == before


def finished_with(store, budget) -> str:
    job_id = a_job(store, a_spec(budget=budget)).id
    with a_claim(store, job_id) as claim:
        claim.add_preflight(a_preflight())
        claim.add_runs([a_run(NATIVE, 0.2, seed=s, stage="baseline") for s in (0, 1)], {})
        propose(claim, trained(0), rejected(1))
        claim.add_runs([a_run("0.0", 0.5, seed=s) for s in (0, 1)], {})
        claim.add_feedback(Feedback(0, "text", "0.0"))
        claim.add_runs(confirmations({NATIVE: [0.1] * 3, "0.0": [0.9] * 3}), {})
        claim.finish(an_outcome())
    return job_id


def test_a_job_that_its_budget_ended_goes_on_when_it_gets_more(store):
    job_id = finished_with(store, Budget(env_steps=12_000))
    with pytest.raises(InvalidInput, match="allows one more iteration: at least"):
        store.extend(job_id, Extension(iterations=1), MOST)
    store.extend(job_id, Extension(budget=Budget(env_steps=100_000)), MOST)
    assert [step_key(s) for s in next_steps(store.history(job_id))] == ["propose/1"]


def test_a_job_that_once_refused_a_question_goes_on_when_its_tokens_are_raised(store):
    budget = Budget(tokens=10_000)
    job_id = a_job(store, a_spec(budget=budget)).id
    limits = {"tokens": 10_000, "money": None}
    unasked = replace(rejected(1), checks=(Check("budget", False, "not asked", limits),))
    with a_claim(store, job_id) as claim:
        claim.add_preflight(a_preflight())
        claim.add_runs([a_run(NATIVE, 0.2, seed=s, stage="baseline") for s in (0, 1)], {})
        propose(claim, trained(0), unasked)
        claim.add_runs([a_run("0.0", 0.5, seed=s) for s in (0, 1)], {})
        claim.add_feedback(Feedback(0, "text", "0.0"))
        claim.finish(an_outcome())
    with pytest.raises(InvalidInput, match="used up"):
        store.extend(job_id, Extension(iterations=1), MOST)
    store.extend(job_id, Extension(budget=Budget(tokens=20_000)), MOST)
    assert [step_key(s) for s in next_steps(store.history(job_id))] == ["propose/1"]


def test_a_job_without_a_usable_candidate_can_be_extended_but_not_just_retried(store):
    job_id = a_job_in_training(store)
    with a_claim(store, job_id, "finish") as claim:
        claim.fail("no_valid_candidate", "None could be used.")
    with pytest.raises(Conflict, match="would change nothing"):
        store.retry(job_id)
    job, _ = store.extend(job_id, Extension(iterations=1), MOST)
    assert (job.status, job.failure) == ("queued", None)


def test_cancelled_and_broken_jobs_are_not_extended(store):
    cancelled = a_job(store).id
    store.request_cancel(cancelled)
    for job_id in (cancelled, a_failed_job(store)):
        with pytest.raises(Conflict, match="Retry or fork"):
            store.extend(job_id, Extension(iterations=1), MOST)


def test_the_same_extension_is_made_once(store):
    job_id = a_finished_job(store)
    request = Request("key", "a" * 64)
    made = at_once([lambda: store.extend(job_id, Extension(iterations=1), MOST, request)] * 3)
    assert sorted(replayed for _, replayed in made) == [False, True, True]
    assert store.job(job_id).spec.iterations == 3


@pytest.mark.parametrize("wish", ["extend", "give"])
def test_a_worker_that_is_about_to_end_a_job_finds_that_it_goes_on(store, wish):
    job_id = a_job_in_training(store)
    claim = a_claim(store, job_id, "finish")
    if wish == "extend":
        store.extend(job_id, Extension(iterations=1), MOST)
    else:
        store.add_given(job_id, MINE)
    with pytest.raises(ClaimLost):
        claim.finish(an_outcome())
    claim.release()
    assert store.job(job_id).status == "running"
    a_claim(store, job_id, "finish").release()


# --- retrying ---------------------------------------------------------------------------------


def test_the_steps_of_runs_that_a_retry_forgets_stay_spent(store):
    job_id, seeds = a_job(store).id, range(2)
    broken = [replace(a_run(NATIVE, None, seed=n, stage="baseline"), env_steps=900) for n in seeds]
    with a_claim(store, job_id, "baseline") as claim:
        claim.add_runs(broken, {})
        claim.fail("baseline_failed", "It broke.")
    store.retry(job_id)
    assert store.native_runs(job_id) == ()
    assert store.job(job_id).spent.env_steps == 1800
    sound = [replace(a_run(NATIVE, 0.2, seed=n, stage="baseline"), env_steps=1000) for n in seeds]
    with a_claim(store, job_id, "baseline") as claim:
        for _ in range(2):  # the second time they are known
            claim.add_runs(sound, {})
    assert store.job(job_id).spent.env_steps == 1800 + 2000


def test_a_failed_job_goes_on_from_its_last_fact(store):
    job_id = a_job_in_training(store)
    with a_claim(store, job_id, "train/0/0/0") as claim:
        claim.fail("crash_loop", "It broke again and again.")
    job, _ = store.retry(job_id)
    assert (job.status, job.failure, job.finished_at) == ("queued", None, None)
    assert [step_key(s) for s in next_steps(store.history(job_id))] == ["train/0/0/0"]
    told = store.events(job_id, limit=1000)[-1]
    assert (told.kind, told.data["failure_reason"]) == ("job.retried", "crash_loop")


def test_failures_and_rests_of_the_former_life_are_not_held_against_a_step(store):
    job_id = a_job(store).id
    with a_claim(store, job_id, "preflight") as claim:
        claim.event("step.failed", "broke", {"step": "preflight"})
        claim.wait(1_000.0, "broke")
    with a_claim(store, job_id, "baseline") as claim:
        claim.fail("crash_loop", "It broke again and again.")
    store.retry(job_id)
    again = a_claim(store, job_id, "preflight")
    assert (again.failures(), again.lapses) == (0, 0)


def test_failures_from_before_an_extension_are_not_held_against_the_next_confirmation(store):
    job_id = a_job_in_training(store)
    with a_claim(store, job_id, "confirm/0") as claim:
        claim.event("step.failed", "broke", {"step": "confirm/0"})
        claim.add_runs(confirmations({NATIVE: [0.1] * 3, "0.0": [0.9] * 3}), {})
        claim.finish(an_outcome())
    store.extend(job_id, Extension(iterations=1), MOST)
    assert a_claim(store, job_id, "confirm/0").failures() == 0


def test_a_cancelled_job_can_be_taken_up_again(store):
    job_id = a_job(store).id
    store.request_cancel(job_id)
    job, _ = store.retry(job_id)
    assert (job.status, job.cancel_requested) == ("queued", False)
    a_claim(store, job_id, "preflight").release()


def test_broken_runs_of_the_native_reward_are_trained_again(store):
    job_id = a_job(store).id
    with a_claim(store, job_id, "baseline") as claim:
        claim.add_preflight(a_preflight())
        runs = [
            a_run(NATIVE, fitness, seed=s, stage="baseline")
            for s, fitness in enumerate((0.2, None))
        ]
        claim.add_runs(runs, {})
        claim.fail("baseline_failed", "It broke.")
    store.retry(job_id)
    history = store.history(job_id)
    assert [run.seed for run in history.native] == [0]
    assert "baseline" in {step_key(s) for s in next_steps(history)}


def test_only_what_failed_or_was_cancelled_is_retried(store):
    for job_id in (a_finished_job(store), a_job(store).id):
        with pytest.raises(Conflict, match="retry is possible while a job is failed or cancelled"):
            store.retry(job_id)


# --- time -------------------------------------------------------------------------------------


def test_time_in_which_nobody_may_work_on_a_job_is_not_spent(store):
    job_id = waiting_for_people(store)
    resting = store.job(job_id)
    until(lambda: store.job(a_job(store).id).created_at > resting.started_at)
    assert store.job(job_id).spent.seconds == resting.spent.seconds
    store.add_remark(job_id, TEXT)
    until(lambda: store.job(job_id).spent.seconds > resting.spent.seconds)


def test_a_job_that_ended_does_not_age_until_it_goes_on(store, engine):
    job_id = a_finished_job(store)
    lived = {"started_at": now(-3_700.0), "finished_at": now(-3_600.0), "rested_at": now(-3_600.0)}
    writing(engine, lambda c: c.execute(update(jobs).where(jobs.c.id == job_id).values(lived)))
    assert store.job(job_id).spent.seconds == pytest.approx(100.0, abs=1.0)
    store.extend(job_id, Extension(iterations=1), MOST)
    assert 99.0 <= store.job(job_id).spent.seconds < 1_000.0


# --- the library ------------------------------------------------------------------------------


def a_design(
    store, name, description, verdict="better", environment="PointPark-v0", **changes
) -> str:
    task = replace(
        a_spec().task, name=name, description=description, environment=environment, **changes
    )
    job_id = a_job(store, replace(a_spec(), task=task)).id
    with a_claim(store, job_id) as claim:
        propose(claim, trained(0), rejected(1))
        claim.finish(replace(an_outcome(), verdict=verdict))
    return job_id


def found(store, query, **options):
    return [item.task.name for item in store.library.search(query, **options)]


def test_designs_are_found_by_the_words_of_their_task_best_fit_first(store):
    a_design(store, "walker", "Walk upright with the legs apart.")
    a_design(store, "cart", "Balance the pole, and park the cart.")
    assert found(store, "balancing a pole on a cart") == ["cart"]
    assert found(store, "walking legs") == ["walker"]
    assert found(store, "submarine") == []


def test_designs_are_found_by_their_fields_and_by_parts_of_names(store):
    a_design(store, "point", "Go.", "better", "PointPark-v0")
    a_design(store, "hopper", "Hop.", "better", "HalfCheetah-v5", fields=())
    assert found(store, "distance_driven velocity") == ["point"]
    assert found(store, "cheetah") == ["hopper"]


@pytest.mark.parametrize("query", ['" OR 1', "NEAR(", "*", "a:b", "'; DROP TABLE designs", "–", ""])
def test_no_query_is_anything_else_than_words(store, query):
    a_design(store, "cart", "Park.")
    assert found(store, query) == []


def test_without_words_the_newest_designs_come_first_and_a_task_can_be_asked_for(store):
    for name in ("first", "second", "third"):
        a_design(store, name, "Park.")
    a_job_in_training(store)
    assert found(store, None) == ["third", "second", "first"]
    assert found(store, None, limit=1) == ["third"]
    assert found(store, None, task="second") == ["second"]


def test_a_design_comes_with_its_source_and_its_evidence(store):
    job_id = a_finished_job(store)
    item = store.library.item(job_id)
    assert (item.job, item.candidate, item.verdict) == (job_id, "0.0", "better")
    assert item.fields == ("position", "velocity", "distance_driven")
    assert "def reward" in item.source
    assert item.evidence == "The designed reward is better than the native one."
    with pytest.raises(NotFound, match="finished design"):
        store.library.item(a_job_in_training(store))


def examples(store, **context) -> list[str]:
    base = a_spec()
    spec = replace(base, context=replace(base.context, **context))
    with a_claim(store, a_job(store, spec).id, "preflight") as claim:
        return [example.description for example in claim.find_examples()]


def test_examples_are_of_other_tasks_and_none_is_worse_than_the_native_reward(store):
    other = {"fitness": replace(a_spec().task.fitness, where="position > 2")}
    a_design(store, "point-park", "The same task.")
    a_design(store, "renamed", "The same task by another name.")
    a_design(store, "far", "Move the point far to the right.", **other)
    a_design(store, "far", "Move the point far to the right, again.", **other)
    a_design(store, "left", "Move the point to the left.", verdict="worse", **other)
    assert len(examples(store, examples=4)) == 1
    assert examples(store, examples=4)[0].startswith("Move the point far")
    assert len(examples(store, examples=4, same_task=True)) == 3
    assert len(examples(store, examples=1, same_task=True)) == 1


def test_examples_are_chosen_once(store):
    job_id = a_job(store).id
    first, second = (Example("job_x", name, "words", SOURCE, "better") for name in ("a", "b"))
    with a_claim(store, job_id) as claim:
        claim.add_examples([first])
        claim.add_examples([second])
        assert claim.history().examples == (first,)
    assert kinds(store, job_id).count("examples.chosen") == 1


def test_an_outcome_without_a_design_is_no_library_item(store):
    job_id = a_job(store).id
    with a_claim(store, job_id) as claim:
        claim.finish(nothing_found())
    assert store.library.search() == ()


def nothing_found() -> Outcome:
    return replace(an_outcome(), best=None, designed=None)
