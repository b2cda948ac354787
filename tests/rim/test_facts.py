"""What the store promises of facts, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import event, text

from core.choosing import ranking
from core.errors import (
    ClaimLost,
    NotFound,
)
from core.loop import next_steps
from core.packing import rung_candidates
from core.ports import Filled, News, Screened
from core.records.asking import Exchange, Prompt, Reply, Usage
from core.records.history import History
from core.records.kinds import ANALYSIS_SLOT, FITNESS, NATIVE
from core.records.measured import Curve, Report, Saved, TermStatistics
from core.records.people import Remark
from core.records.programs import Screen
from core.records.rounds import Feedback
from core.storage import Store
from core.storage.engine import reading
from core.storage.ids import candidate_id
from tests.builders import a_preflight, a_run, a_spec, proposed, rejected
from tests.rim.storing import (
    OUTCOME,
    a_claim,
    a_job,
    a_step,
    an_exchange,
    at_once,
    kinds,
    propose,
    until,
)

PASSED = Screen("order", "pass", 0.9, "in order")


FAILED = Screen("duplicate", "fail", 0.999, "the same as 0.0", "0.0")


# --- facts are stored once --------------------------------------------------------------------


def _write_everything(step):
    step.add_preflight(a_preflight())
    step.add_runs([a_run(NATIVE, 0.2, seed=s, stage="baseline") for s in (0, 1)], {})
    step.add_exchange(an_exchange())
    propose(step, proposed(0), rejected(1), proposed(2))
    step.end_proposing(0, [Screened("0.0", (PASSED,)), Screened("0.2", (FAILED,), True, 400)])
    curve = Curve((10, 20), {"return": (1.0, 2.0)})
    given = [replace(a_run("0.0", 0.5, seed=s), curve=curve, weights="a" * 64) for s in (0, 1)]
    step.add_runs(given, {"0.0": Report(episode_length=7.0)})
    step.add_feedback(Feedback(0, "better", "0.0"))


def test_writing_every_fact_twice_stores_it_once_and_tells_of_it_once(store):
    step = a_step(store)
    _write_everything(step)
    before = (store.history(step.job_id), store.job(step.job_id), kinds(store, step.job_id))
    _write_everything(step)
    after = (store.history(step.job_id), store.job(step.job_id), kinds(store, step.job_id))
    still = replace(before[0].spent, seconds=0.0)
    assert replace(after[0], spent=still) == replace(before[0], spent=still)
    assert replace(after[1], spent=still) == replace(before[1], spent=still)
    assert after[2] == before[2]


def test_what_is_told_with_a_fact_is_told_once_and_after_preflight_before_the_end_of_an_iteration(
    store,
):
    step = a_step(store)
    for _ in range(2):
        step.add_preflight(a_preflight(), [News("log", "of the fitness")])
        step.add_feedback(Feedback(0, "told", None), [News("log", "of the budget")])
    told = [e.message for e in store.events(step.job_id, limit=100)][-4:]
    assert told == [
        "The environment is usable.",
        "of the fitness",
        "of the budget",
        "Iteration 0 is complete.",
    ]


def test_an_event_that_is_told_once_is_known_by_its_kind_and_what_it_tells(store):
    step = a_step(store)
    for slot in (0, 1, 0):
        step.event("candidate.repair", f"words that may differ {slot}", {"slot": slot}, once=True)
    step.event("log", "of another kind", {"slot": 0}, once=True)
    told = [(e.kind, e.data) for e in store.events(step.job_id, limit=100)][-3:]
    assert told == [
        ("candidate.repair", {"slot": 0}),
        ("candidate.repair", {"slot": 1}),
        ("log", {"slot": 0}),
    ]


def test_the_first_writing_of_a_fact_holds(store):
    step = a_step(store)
    step.add_exchange(an_exchange(text="first"))
    step.add_exchange(an_exchange(text="second"))
    propose(step, replace(proposed(0), analysis="first"))
    propose(step, replace(proposed(0), analysis="second"))
    assert [e.reply.text for e in step.exchanges(0)] == ["first"]
    assert [c.analysis for i in store.iterations(step.job_id) for c in i.candidates] == ["first"]


def test_the_events_of_a_job_tell_its_story_in_order(store):
    step = a_step(store)
    _write_everything(step)
    step.event("designer.note", "took another model", {"model": "m"}, level="warning")
    step.finish(OUTCOME)
    assert kinds(store, step.job_id) == [
        "job.created",
        "job.started",
        "phase.changed",
        "preflight.completed",
        "baseline.evaluated",
        "exchange.completed",
        "candidate.proposed",
        "candidate.rejected",
        "candidate.proposed",
        "iteration.proposed",
        "candidate.screened",
        "candidate.evaluated",
        "best.changed",
        "iteration.completed",
        "designer.note",
        "job.completed",
    ]
    told = store.events(step.job_id, after=14, limit=1)
    assert [(e.seq, e.level, e.data) for e in told] == [(15, "warning", {"model": "m"})]


def test_what_the_screens_decided_is_stored_once_and_keeps_a_candidate_from_training(store):
    step = a_step(store)
    propose(step, proposed(0), proposed(1))
    decided = [Screened("0.0", (PASSED,)), Screened("0.1", (FAILED,), True, 400)]
    step.end_proposing(0, decided)
    step.end_proposing(0, [Screened("0.0", (FAILED,), True, 7)])
    kept, dropped = step.history().iterations[0].candidates
    assert (kept.status, kept.screens, kept.saved_steps) == ("proposed", (PASSED,), 0)
    assert (dropped.status, dropped.screens, dropped.saved_steps) == ("screened", (FAILED,), 400)
    assert rung_candidates(step.history(), step.history().iterations[0], 0) == [kept]
    told = [e for e in store.events(step.job_id, limit=100) if e.kind == "candidate.screened"]
    assert [(e.data["key"], e.data["other"], e.data["saved_steps"]) for e in told] == [
        ("0.1", "0.0", 400)
    ]
    assert "screened and will not be trained: duplicate: the same as 0.0" in told[0].message


def test_what_cost_nothing_is_stored_with_the_end_of_proposing_in_the_order_in_which_it_happened(
    store,
):
    step = a_step(store)
    free = [replace(an_exchange(0, 0, n), designer="evolution") for n in (0, 1)]
    other = replace(an_exchange(0, 1), designer="evolution")
    repair = News("candidate.repair", "again", {"slot": 0}, "warning")
    filled = [
        Filled(proposed(0), (free[0], repair, free[1])),
        Filled(rejected(1), (other,)),
        Filled(proposed(2)),
    ]
    decided = [Screened("0.0", (PASSED,)), Screened("0.2", (FAILED,), True, 400)]
    step.end_proposing(0, decided, filled)
    told = kinds(store, step.job_id)
    assert told[-9:] == [
        "exchange.completed",
        "candidate.repair",
        "exchange.completed",
        "candidate.proposed",
        "exchange.completed",
        "candidate.rejected",
        "candidate.proposed",
        "candidate.screened",
        "iteration.proposed",
    ]
    assert [e.seq for e in store.events(step.job_id, limit=100)] == list(range(1, len(told) + 1))
    (iteration,) = store.iterations(step.job_id)
    assert iteration.proposed
    assert [c.status for c in iteration.candidates] == ["proposed", "rejected", "screened"]
    assert iteration.candidates[0].screens == (PASSED,)
    assert [(e.slot, e.attempt) for e in step.exchanges(0)] == [(0, 0), (0, 1), (1, 0)]
    assert step.history().spent.tokens == 3 * 120  # a record says what it cost once


def test_what_is_stored_already_is_not_stored_again_with_the_end_of_proposing(store):
    step = a_step(store)
    first = replace(an_exchange(0, 0), designer="evolution")
    step.add_candidate(replace(proposed(0), analysis="first"), [first])
    before = kinds(store, step.job_id)
    again = Filled(replace(proposed(0), analysis="second"), (first,))
    decided = [Screened(f"0.{n}", (FAILED,), True, 400 + n) for n in (0, 1)]
    step.end_proposing(0, decided, [again, Filled(proposed(1))])
    told = ["candidate.proposed", *["candidate.screened"] * 2, "iteration.proposed"]
    assert kinds(store, step.job_id) == [*before, *told]
    dropped = [e for e in store.events(step.job_id, limit=100) if e.kind == "candidate.screened"]
    assert [event.data["key"] for event in dropped] == ["0.0", "0.1"]  # whichever was stored first
    (iteration,) = store.iterations(step.job_id)
    known, new = iteration.candidates
    assert (known.analysis, known.screens, known.saved_steps) == ("first", (FAILED,), 400)
    assert (new.screens, new.saved_steps) == ((FAILED,), 401)
    assert {known.status, new.status} == {"screened"}
    assert step.history().spent.tokens == 120


def test_a_raw_answer_is_read_back_however_deep_it_is(store):
    """The quick reader of JSON gives up 200 levels deep."""
    step, deep = a_step(store), [1.5]
    for _ in range(250):
        deep = [deep]
    asked = an_exchange()
    asked = replace(asked, reply=replace(asked.reply, response={"answer": deep}))
    step.add_exchange(asked)
    assert [e.reply.response for e in step.exchanges(0)] == [{"answer": deep}]


def test_the_screens_decide_only_of_what_is_stored(store):
    step = a_step(store)
    with pytest.raises(NotFound, match=r"no candidate 0\.7"):
        step.end_proposing(0, [Screened("0.7", (PASSED,))])


def test_sixteen_threads_write_events_without_a_gap_or_a_double(store):
    step = a_step(store)
    other = a_claim(store, step.job_id, "baseline")

    def write(claim):
        return lambda: [claim.event("log", "hello") for _ in range(5)]

    at_once([write(step), write(other)] * 8)
    seqs = [event.seq for event in store.events(step.job_id, limit=1000)]
    assert seqs == list(range(1, len(seqs) + 1))
    assert kinds(store, step.job_id).count("log") == 80


# --- the history ------------------------------------------------------------------------------


def test_a_new_jobs_history_wants_preflight(store):
    job = a_job(store)
    assert store.history(job.id) == History(job.spec)


def test_the_history_holds_what_the_loop_needs(store):
    step = a_step(store)
    _write_everything(step)
    confirmation = a_run("0.0", 0.7, seed=500, stage="confirm")
    step.add_runs([confirmation], {})
    history = step.history()
    assert (history.status, history.preflight) == ("running", a_preflight())
    assert history.native == tuple(a_run(NATIVE, 0.2, seed=s, stage="baseline") for s in (0, 1))
    assert history.confirmations == (confirmation,)
    (iteration,) = history.iterations
    assert (iteration.proposed, iteration.feedback) == (True, Feedback(0, "better", "0.0"))
    best, other, _ = iteration.candidates
    assert (best.status, other.status) == ("trained", "rejected")
    assert [run.fitness for run in best.runs] == [0.5, 0.5]
    assert best.report == Report(episode_length=7.0)
    assert [c.key for c in ranking(history)] == ["0.0"]
    assert history.claimed == {"propose/0"}
    assert (history.spent.env_steps, history.spent.tokens) == (5000, 120)


def test_the_history_takes_a_fixed_number_of_queries(engine):
    counted = []
    event.listen(engine, "before_cursor_execute", lambda *args: counted.append(args[2]))
    store = Store(engine)
    step = a_step(store)
    needed = []
    for n in range(3):
        propose(step, *(proposed(number, iteration=n) for number in range(3)))
        step.add_runs([a_run(f"{n}.{number}", 0.1) for number in range(3)], {})
        counted.clear()
        store.history(step.job_id)
        needed.append(len([sql for sql in counted if "SELECT" in sql]))
    assert needed[0] == needed[-1] <= 13


def test_time_is_spent_from_the_start_to_the_end(store):
    job = a_job(store)
    assert job.spent.seconds == 0.0
    step = a_claim(store, job.id)
    until(lambda: store.job(job.id).spent.seconds > 0)
    step.fail("broken", "It broke.")
    ended = store.job(job.id)
    assert ended.spent.seconds == (ended.finished_at - ended.started_at).total_seconds()


# --- the standing -----------------------------------------------------------------------------


def test_runs_bring_candidate_and_job_up_to_date(store):
    step = a_step(store)
    propose(step, proposed(0), proposed(1), rejected(2))
    step.add_runs([a_run(NATIVE, f, seed=s, stage="baseline") for s, f in ((0, 0.1), (1, 0.3))], {})
    step.add_runs([a_run("0.0", f, seed=s) for s, f in ((0, 0.4), (1, 0.6))], {})
    step.add_runs([a_run("0.1", 0.9), a_run("0.1", None, seed=1)], {})
    job = store.job(step.job_id)
    assert job.counts == {"trained": 1, "failed": 1, "rejected": 1}
    assert (job.best_candidate, job.best_fitness) == ("0.0", 0.5)
    assert job.native_fitness == pytest.approx(0.2)
    found = store.candidates(step.job_id).items
    assert [stored.fitness for stored in found] == [0.5, None, None]


def test_runs_of_other_arms_are_facts_of_the_job_and_no_candidates(store):
    step = a_step(store)
    propose(step, proposed(0))
    step.add_runs([a_run(FITNESS, 0.3, seed=0, stage="baseline")], {})
    step.add_runs([a_run("0.0", 0.4, seed=20, stage="ablation")], {})
    step.add_runs([a_run("without-component-near", 0.1, seed=20, stage="ablation")], {})
    history = step.history()
    assert [run.arm for run in history.fitness_alone] == [FITNESS]
    assert [run.arm for run in history.ablations] == ["0.0", "without-component-near"]
    assert not history.native
    assert not history.iterations[0].candidates[0].runs
    assert store.job(step.job_id).native_fitness is None


def test_what_the_designer_cost_is_added_up(store):
    step = a_step(store)
    for slot in (0, 1):
        prompt, reply = Prompt((("user", "?"),)), Reply("!", usage=Usage(100, 50))
        step.add_exchange(Exchange(0, slot, 0, prompt, reply, "openai", money=0.25))
    spent = step.history().spent
    assert (spent.tokens, spent.money) == (300, 0.5)


def saved_run(steps, seed=0, **changes):
    curve = Curve((100, steps), {"native_return": (1.0, 2.0)})
    one = Saved("search", "0.0", seed, 1, steps, "a" * 64, None, ((100, "b" * 64),), curve, 1.5)
    return replace(one, adapter="numpy", backend="kernel", **changes)


def test_how_far_runs_have_come_is_replaced_and_forgotten_when_they_are_stored(store):
    step = a_step(store)
    propose(step, proposed(0))
    step.save([saved_run(200), saved_run(200, seed=1)])
    failed = saved_run(400, seed=1, checkpoint=None, failure="NaN")
    step.save([saved_run(400), failed])
    assert step.saved() == (saved_run(400), failed)
    step.add_runs([a_run("0.0", 0.5, seed=0, rung=1)], {})
    assert step.saved() == (failed,)


def test_who_has_lost_the_claim_saves_nothing(store):
    step = a_step(store)
    step.save([saved_run(200)])
    step.release()
    with pytest.raises(ClaimLost):
        step.save([saved_run(400)])


def test_a_better_candidate_becomes_the_best_and_a_worse_one_does_not(store):
    step = a_step(store)
    propose(step, *(proposed(n) for n in range(3)))
    for number, fitness in enumerate((0.5, 0.2, 0.8)):
        step.add_runs([a_run(f"0.{number}", fitness)], {})
    told = [e.data["key"] for e in store.events(step.job_id) if e.kind == "best.changed"]
    assert told == ["0.0", "0.2"]


def test_the_runoff_may_choose_another_best_than_the_search(store):
    evaluation = replace(a_spec().evaluation, runoff_candidates=2, runoff_seeds=1)
    step = a_step(store, a_spec(evaluation=evaluation))
    propose(step, proposed(0), proposed(1))
    step.add_runs([a_run("0.0", 0.8), a_run("0.1", 0.7)], {})
    again = {"0.0": 0.1, "0.1": 0.7}
    for arm, fitness in again.items():  # as two packs would
        step.add_runs([a_run(arm, fitness, seed=200, stage="runoff")], {})
    assert [run.stage for run in store.history(step.job_id).runoffs] == ["runoff", "runoff"]
    told = [e.data["key"] for e in store.events(step.job_id) if e.kind == "best.changed"]
    assert told == ["0.0", "0.1"]
    assert store.job(step.job_id).best_candidate == "0.1"


def test_a_candidates_fitness_is_that_of_its_highest_rung(store):
    step = a_step(store, a_spec(training=replace(a_spec().training, rungs=(0.5, 1.0))))
    propose(step, proposed(0))
    step.add_runs([a_run("0.0", 0.9)], {"0.0": Report(terminated=0.5)})
    assert store.job(step.job_id).best_candidate is None
    step.add_runs([a_run("0.0", 0.4, rung=1)], {"0.0": Report(terminated=1.0)})
    stored = store.candidate(candidate_id(step.job_id, 0, 0))
    assert (stored.fitness, stored.candidate.report) == (0.4, Report(terminated=1.0))
    assert store.job(step.job_id).best_fitness == 0.4


def courses(**by_checkpoint):
    """A report of components that were paid so much at the checks of one rung."""
    return Report(
        components={
            name: TermStatistics(values[-1] if values else 0.0, 1.0, 0.0, 1.0, by_checkpoint=values)
            for name, values in by_checkpoint.items()
        }
    )


RUNGS = [
    pytest.param(
        [
            courses(a=(1.0, 2.0), b=(7.0, 6.0)),
            courses(a=(3.0,), b=(5.0,)),
            courses(a=(4.0,), b=(3.0,)),
        ],
        courses(a=(1.0, 2.0, 3.0, 4.0), b=(7.0, 6.0, 5.0, 3.0)),
        id="all rungs",
    ),
    pytest.param(
        [courses(a=(1.0,), b=(7.0,)), Report(unexamined="it broke"), courses(a=(4.0,), b=(3.0,))],
        courses(a=(4.0,), b=(3.0,)),
        id="one that was not examined",
    ),
    pytest.param(
        [courses(a=(1.0,)), courses(a=(2.0,), b=(6.0,)), courses(a=(4.0,), b=(3.0,))],
        courses(a=(2.0, 4.0), b=(6.0, 3.0)),
        id="another component",
    ),
    pytest.param(
        [courses(a=(1.0,)), courses(a=()), courses(a=(4.0,))], courses(a=(4.0,)), id="no checks"
    ),
    pytest.param([courses(a=(1.0,)), Report(terminated=1.0)], Report(terminated=1.0), id="nothing"),
]


@pytest.mark.parametrize(("reports", "read"), RUNGS)
def test_a_report_tells_of_its_components_since_the_training_began(store, reports, read):
    step = a_step(store, a_spec(training=replace(a_spec().training, rungs=(0.1, 0.5, 1.0))))
    propose(step, proposed(0))
    for rung, report in enumerate(reports):
        step.add_runs([a_run("0.0", 0.5, rung=rung)], {"0.0": report})
    assert step.history().iterations[0].candidates[0].report == read


def test_the_confirmation_has_the_last_word_on_the_best(store):
    step = a_step(store)
    propose(step, proposed(0), proposed(1))
    step.add_runs([a_run("0.0", 0.8), a_run("0.1", 0.7)], {})
    step.finish(replace(OUTCOME, best="0.1"))
    job = store.job(step.job_id)
    assert (job.status, job.best_candidate, job.best_fitness) == ("succeeded", "0.1", 0.7)
    assert job.outcome == replace(OUTCOME, best="0.1")


def test_a_failed_job_says_why(store):
    step = a_step(store)
    step.fail("environment_unusable", "There is no such environment.", {"id": "Nowhere-v0"})
    job = store.job(step.job_id)
    assert (job.status, job.failure.reason) == ("failed", "environment_unusable")
    assert job.failure.message == "There is no such environment."
    assert job.failure.data == {"id": "Nowhere-v0"}
    assert store.history(job.id).failure == "There is no such environment."
    assert next_steps(store.history(job.id)) == ()


def test_runs_are_found_by_candidate_by_arm_and_alone_with_their_curve(store):
    step = a_step(store)
    propose(step, proposed(0))
    curve = Curve(tuple(range(10_000)), {"loss": tuple(n / 7 for n in range(10_000)), "empty": ()})
    given = [replace(a_run("0.0", 0.5), curve=curve), a_run("0.0", 0.6, seed=7, stage="confirm")]
    native = a_run(NATIVE, 0.1, stage="baseline")
    step.add_runs([*given, native], {})
    found = store.runs(candidate_id(step.job_id, 0, 0))
    assert [stored.run for stored in found] == [given[1], replace(given[0], curve=None)]
    assert [stored.run for stored in store.native_runs(step.job_id)] == [native]
    search = next(stored for stored in found if stored.run.stage == "search")
    assert store.run(search.id).run == given[0]


def test_every_artifact_that_a_fact_names_is_noted(store, engine):
    step = a_step(store)
    step.add_preflight(a_preflight(probe="a" * 64, recording="e" * 64))
    propose(step, proposed(0))
    run = replace(a_run("0.0", 0.5), weights="b" * 64, checkpoint="c" * 64)
    step.add_runs([run], {"0.0": Report(transitions="d" * 64, recording="f" * 64)})
    with reading(engine) as connection:
        found = connection.execute(text("SELECT sha256 FROM artifacts")).scalars().all()
    assert sorted(found) == [letter * 64 for letter in "abcdef"]


# --- waiting for people -----------------------------------------------------------------------


def a_measured_iteration(store):
    """A claimed step of a job whose first iteration is closed."""
    job = a_job(store)
    claim = a_claim(store, job.id)
    propose(claim, proposed(0))
    claim.add_feedback(Feedback(0, "one term", "0.0"))
    claim.release()
    return a_claim(store, job.id, "await/0")


def test_a_job_waits_until_somebody_has_said_something(store):
    step = a_measured_iteration(store)
    step.await_feedback("Iteration 0 is measured.")
    step.release()
    assert store.job(step.job_id).status == "awaiting_feedback"
    assert store.unfinished_jobs() == ()
    store.add_remark(step.job_id, Remark(0, "text", "0.0", text="calmer"))
    assert store.job(step.job_id).status == "running"
    assert store.history(step.job_id).remarks[0].iteration == 0


def test_a_job_does_not_wait_for_what_was_said_already(store):
    step = a_measured_iteration(store)
    store.add_remark(step.job_id, Remark(0, "text", "0.0", text="calmer"))
    step.await_feedback("Iteration 0 is measured.")
    assert store.job(step.job_id).status == "running"


def test_a_turn_without_a_program_is_kept_under_its_own_slot(store):
    step = a_step(store)
    turn = replace(an_exchange(slot=ANALYSIS_SLOT, text="`near` helps."), kind="analysis")
    step.add_exchange(an_exchange())
    step.add_exchange(turn)
    assert step.exchanges(0)[0] == turn
