"""What the store promises of facts, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select, text, update
from sqlalchemy.exc import IntegrityError

from core.errors import (
    ClaimLost,
    Conflict,
    IdempotencyMismatch,
    InvalidInput,
    NotFound,
    StorageFailed,
)
from core.loop import next_steps, ranking, rung_candidates
from core.ports import Screened
from core.records.asking import Exchange, Prompt, Reply, Usage
from core.records.history import History, Spent
from core.records.kinds import ANALYSIS_SLOT, FITNESS, NATIVE
from core.records.measured import Curve, Report, Run, Saved, TermStatistics
from core.records.outcome import Interval, Outcome
from core.records.people import Remark
from core.records.programs import Check, Screen
from core.records.rounds import Feedback
from core.storage import Store, open_store
from core.storage.clock import now
from core.storage.engine import open_engine, reading, writing
from core.storage.ids import candidate_id
from core.storage.postgres import BoundedConnection
from core.storage.tables import evaluations, runs
from tests.builders import a_preflight, a_run, a_spec, a_task, proposed, rejected
from tests.rim.storing import (
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
OUTCOME = Outcome(
    verdict="better",
    best="0.0",
    native=Interval(0.2, 0.1, 0.3, 3),
    designed=Interval(0.8, 0.7, 0.9, 3),
    native_iqm=0.2,
    designed_iqm=0.8,
    probability_of_improvement=1.0,
    sentence="The designed reward is better than the native one.",
)


# --- accepting jobs ---------------------------------------------------------------------------


def test_a_new_job_is_queued_and_keeps_its_whole_request(store):
    spec = a_spec()
    job, replayed = store.create_job(
        spec, idempotency_key=None, body_sha256="0" * 64, name="mine", labels={"team": "a"}
    )
    assert not replayed
    assert (job.id[:4], len(job.id)) == ("job_", 30)
    assert (job.spec, job.name, job.labels) == (spec, "mine", {"team": "a"})
    assert (job.status, job.iteration, job.started_at) == ("queued", -1, None)
    assert (job.spent, job.counts, job.event_count) == (Spent(), {}, 1)
    assert kinds(store, job.id) == ["job.created"]


def test_times_are_aware_and_in_utc(store):
    created = a_job(store).created_at
    assert created.tzinfo is UTC
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=5)


def test_the_same_key_with_the_same_body_is_the_same_job(store):
    first = a_job(store, key="k")
    again, replayed = store.create_job(
        a_spec(), idempotency_key="k", body_sha256="0" * 64, name=None, labels={}
    )
    assert (replayed, again.id) == (True, first.id)
    assert kinds(store, first.id) == ["job.created"]


def test_the_same_key_with_another_body_is_refused(store):
    first = a_job(store, key="k")
    with pytest.raises(IdempotencyMismatch, match=f"job {first.id} with another body"):
        store.create_job(a_spec(), idempotency_key="k", body_sha256="1" * 64, name=None, labels={})


def test_without_a_key_every_request_is_a_new_job(store):
    assert a_job(store).id != a_job(store).id


def test_twenty_requests_with_one_key_at_the_same_time_make_one_job(store):
    def create():
        return store.create_job(
            a_spec(), idempotency_key="k", body_sha256="0" * 64, name=None, labels={}
        )

    answers = at_once([create] * 20)
    assert len({job.id for job, _ in answers}) == 1
    assert sum(not replayed for _, replayed in answers) == 1
    assert len(store.jobs(limit=50).items) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "a\x00b"], ids=["empty", "too long", "NUL"])
def test_a_key_that_cannot_be_stored_is_refused(store, key):
    with pytest.raises(InvalidInput, match="idempotency key"):
        a_job(store, key=key)


# --- lists ------------------------------------------------------------------------------------


def test_jobs_come_newest_first_and_page_by_page_without_gaps(store):
    ids = [a_job(store).id for _ in range(5)]
    seen, after, more = [], None, True
    while more:
        page = store.jobs(after=after, limit=2)
        seen += [job.id for job in page.items]
        after, more = seen[-1], page.has_more
    assert seen == ids[::-1]


def test_a_new_job_does_not_shift_the_next_page(store):
    ids = [a_job(store).id for _ in range(4)]
    first = store.jobs(limit=2)
    a_job(store)
    second = store.jobs(after=first.items[-1].id, limit=2)
    assert [job.id for job in second.items] == [ids[1], ids[0]]
    assert not second.has_more


def test_jobs_are_filtered_by_status_and_by_task(store):
    queued, running = a_job(store), a_job(store, a_spec(task=a_task(name="other")))
    a_claim(store, running.id)
    assert [job.id for job in store.jobs(status="queued").items] == [queued.id]
    assert [job.id for job in store.jobs(task="other").items] == [running.id]
    assert store.jobs(task="other\x00", status="queued").items == ()


def test_candidates_come_in_order_page_by_page(store):
    step = a_step(store)
    propose(step, *(proposed(n) for n in range(11)))
    propose(step, proposed(0, iteration=1), rejected(1, iteration=1))
    seen, after, more = [], None, True
    while more:
        page = store.candidates(step.job_id, after=after, limit=4)
        seen += [stored.candidate.key for stored in page.items]
        after, more = page.items[-1].id, page.has_more
    assert seen == [*(f"0.{n}" for n in range(11)), "1.0", "1.1"]
    only = store.candidates(step.job_id, status="rejected")
    assert [stored.candidate.key for stored in only.items] == ["1.1"]


def test_a_job_without_candidates_has_an_empty_page_of_them(store):
    page = store.candidates(a_job(store).id, status="trained")
    assert (page.items, page.has_more) == ((), False)


def test_a_number_beyond_64_bits_is_refused(store):
    job = a_job(store)
    with pytest.raises(InvalidInput, match="64 bits"):
        store.events(job.id, after=2**70)
    with pytest.raises(InvalidInput, match="64 bits"):
        store.exchanges(job.id, iteration=2**70)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_a_size(store, limit):
    with pytest.raises(InvalidInput, match="limit"):
        store.jobs(limit=limit)


# --- what is not there ------------------------------------------------------------------------


NOBODY = [
    pytest.param("job_" + "0" * 26, id="nobody's id"),
    pytest.param("'; DROP TABLE jobs; --", id="an attack"),
    pytest.param("job_\x00" + "0" * 25, id="NUL"),
    pytest.param("\ud800", id="a lone surrogate"),
]


@pytest.mark.parametrize("name", NOBODY)
def test_an_unknown_job_is_not_found(store, name):
    for ask in (
        store.job,
        store.history,
        store.iterations,
        store.candidates,
        store.native_runs,
        store.exchanges,
        store.events,
        store.activity,
        store.request_cancel,
        store.request_pause,
        store.resume,
        store.settle,
        lambda job_id: store.claim(job_id, "propose/0", "w", 1.0),
        lambda job_id: store.offer(job_id, "propose/0", 1.0),
    ):
        with pytest.raises(NotFound, match="no job"):
            ask(name)


def test_an_unknown_part_of_a_job_is_not_found(store):
    body = a_job(store).id.removeprefix("job_")
    for ask, name in (
        (store.candidate, f"cand_{body}_0_7"),
        (store.candidate, f"cand_{body}_0_99999999999999999999"),
        (store.candidate, "nonsense"),
        (store.runs, f"cand_{body}_0_7"),
        (store.run, f"run_{body}_search_0-0_0_0"),
        (store.run, f"run_{body}_search_0-0_99999999999999999999_0"),
        (store.run, "nonsense"),
    ):
        with pytest.raises(NotFound, match="There is no"):
            ask(name)


# --- facts are stored once --------------------------------------------------------------------


def _write_everything(step):
    step.add_preflight(a_preflight())
    step.add_runs([a_run(NATIVE, 0.2, seed=s, stage="baseline") for s in (0, 1)], {})
    step.add_exchange(an_exchange())
    propose(step, proposed(0), rejected(1), proposed(2))
    step.add_screens([Screened("0.0", (PASSED,)), Screened("0.2", (FAILED,), True, 400)])
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
    step.add_screens(decided)
    step.add_screens([Screened("0.0", (FAILED,), True, 7)])
    kept, dropped = step.history().iterations[0].candidates
    assert (kept.status, kept.screens, kept.saved_steps) == ("proposed", (PASSED,), 0)
    assert (dropped.status, dropped.screens, dropped.saved_steps) == ("screened", (FAILED,), 400)
    assert rung_candidates(step.history(), step.history().iterations[0], 0) == [kept]
    told = [e for e in store.events(step.job_id, limit=100) if e.kind == "candidate.screened"]
    assert [(e.data["key"], e.data["other"], e.data["saved_steps"]) for e in told] == [
        ("0.1", "0.0", 400)
    ]
    assert "screened and will not be trained: duplicate: the same as 0.0" in told[0].message


def test_the_screens_decide_only_of_what_is_stored(store):
    step = a_step(store)
    with pytest.raises(NotFound, match=r"no candidate 0\.7"):
        step.add_screens([Screened("0.7", (PASSED,))])


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
    step.add_runs([a_run("0.0", 0.4, stage="ablation")], {})
    step.add_runs([a_run("without-component-near", 0.1, stage="ablation")], {})
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


# --- the door ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, -math.inf], ids=str)
@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda s, x: s.add_runs([a_run("0.0", x)], {}), id="fitness"),
        pytest.param(
            lambda s, x: s.add_runs([replace(a_run("0.0", 1.0), episodes=(1.0, x))], {}),
            id="episodes",
        ),
        pytest.param(
            lambda s, x: s.add_runs(
                [replace(a_run("0.0", 1.0), curve=Curve((1,), {"loss": (x,)}))], {}
            ),
            id="curve",
        ),
        pytest.param(
            lambda s, x: s.add_runs(
                [a_run("0.0", 1.0)],
                {"0.0": Report(components={"near": TermStatistics(x, 0.0, 0.0, 0.0)})},
            ),
            id="report",
        ),
        pytest.param(lambda s, x: s.event("log", "", {"deep": [{"x": x}]}), id="event data"),
        pytest.param(lambda s, x: s.add_preflight(a_preflight(random_fitness=x)), id="preflight"),
        pytest.param(
            lambda s, x: s.add_exchange(
                replace(an_exchange(), reply=replace(an_exchange().reply, latency_seconds=x))
            ),
            id="latency",
        ),
    ],
)
def test_a_number_that_is_not_finite_is_refused_and_nothing_is_written(store, write, bad):
    step = a_step(store)
    propose(step, proposed(0))
    before = kinds(store, step.job_id)
    with pytest.raises(InvalidInput, match=r"expected a finite number, but found (nan|-inf)"):
        write(step, bad)
    assert kinds(store, step.job_id) == before
    history = step.history()
    assert history.preflight is None
    assert history.iterations[0].candidates[0].runs == ()


def test_a_spec_with_nan_is_refused(store):
    with pytest.raises(InvalidInput, match="finite"):
        a_job(store, a_spec(weight=math.nan))


def test_an_endpoints_raw_answer_is_kept_even_if_it_holds_nan(store):
    step = a_step(store)
    exchange = an_exchange()
    reply = replace(exchange.reply, response={"usage": {"x": math.nan}, "n": 10**30})
    step.add_exchange(replace(exchange, reply=reply))
    (stored,) = step.exchanges(0)
    assert stored.reply.response == {"usage": {"x": "nan"}, "n": hex(10**30)}


@pytest.mark.parametrize("dirt", ["a\x00b", "a\ud800b"], ids=["NUL", "lone surrogate"])
def test_text_that_no_database_takes_is_mended_everywhere(store, dirt):
    step = a_step(store)
    exchange = an_exchange(text=dirt)
    step.add_exchange(replace(exchange, reply=replace(exchange.reply, request={dirt: [dirt]})))
    propose(step, replace(rejected(0, dirt), checks=(Check("rules", False, dirt),), analysis=dirt))
    step.event("log", dirt, {dirt: {"deep": dirt}})
    clean = "a\ufffdb"
    (stored,) = step.exchanges(0)
    assert (stored.reply.text, stored.reply.request) == (clean, {clean: [clean]})
    (candidate,) = step.history().iterations[0].candidates
    assert (candidate.analysis, candidate.rejection) == (clean, clean)
    assert candidate.checks == (Check("rules", False, clean),)
    told = store.events(step.job_id)[-1]
    assert (told.message, told.data) == (clean, {clean: {"deep": clean}})


@pytest.mark.parametrize(
    ("write", "why"),
    [
        (lambda s: s.add_runs([a_run("0.9", 1.0)], {}), "no stored candidate"),
        (lambda s: s.add_runs([a_run("best", 1.0)], {}), "a candidate's key such as"),
        (lambda s: s.add_runs([Run("search", "0.0", 0, 0, "scored")], {}), "fitness of a scored"),
        (lambda s: s.add_runs([], {"0.0": Report()}), "a report without a run"),
        (lambda s: s.add_runs([replace(a_run("0.0", 1.0), seed=2**64)], {}), "64 bits"),
        (lambda s: s.event("log", "", {"x": object()}), "JSON data"),
    ],
    ids=["unknown candidate", "no arm", "no fitness", "no run", "a huge seed", "no data"],
)
def test_a_fact_that_makes_no_sense_is_refused(store, write, why):
    step = a_step(store)
    propose(step, proposed(0))
    with pytest.raises(InvalidInput, match=why):
        write(step)


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity"])
def test_postgresql_itself_refuses_a_fitness_that_is_not_finite(store, engine, bad):
    if engine.dialect.name != "postgresql":
        bad = {"NaN": None, "Infinity": math.inf, "-Infinity": -math.inf}[bad]
    step = a_step(store)
    propose(step, proposed(0))
    step.add_runs([a_run("0.0", 1.0)], {})
    with pytest.raises(IntegrityError):
        writing(engine, lambda c: c.execute(update(runs).values(fitness=bad)))


def test_fields_of_a_newer_version_are_ignored_and_missing_ones_get_their_default(store, engine):
    step = a_step(store)
    propose(step, proposed(0))
    step.add_runs([a_run("0.0", 1.0)], {"0.0": Report(episode_length=3.0)})
    newer = update(evaluations).values(report={"episode_length": 4.0, "colour": "blue"})
    writing(engine, lambda connection: connection.execute(newer))
    assert step.history().iterations[0].candidates[0].report == Report(episode_length=4.0)


def test_a_stored_record_that_cannot_be_read_is_a_failure_of_the_store(store, engine):
    step = a_step(store)
    propose(step, proposed(0))
    step.add_runs([a_run("0.0", 1.0)], {"0.0": Report()})
    broken = update(evaluations).values(report={"episode_length": "long"})
    writing(engine, lambda connection: connection.execute(broken))
    with pytest.raises(StorageFailed, match="a stored Report"):
        step.history()


# --- the database itself ----------------------------------------------------------------------


def test_the_databases_clock_counts_forward_and_adds_seconds(engine):
    with reading(engine) as connection:
        early, late = connection.execute(select(now(), now(90.5))).one()
        ordered = connection.execute(select(now() < now(0.01), now(-0.01) < now())).one()
    assert early.tzinfo is UTC
    assert (late - early).total_seconds() == pytest.approx(90.5, abs=0.01)
    assert all(ordered)


def test_a_busy_sqlite_file_is_waited_for_a_bounded_time(tmp_path, migrated_sqlite):
    path = tmp_path / "busy.db"
    path.write_bytes(migrated_sqlite.read_bytes())
    owner, waiting = (open_engine(f"sqlite:///{path}", busy_seconds=0.02) for _ in range(2))
    with owner.connect() as connection:
        connection.execution_options(writes=True)
        with connection.begin(), pytest.raises(StorageFailed, match="stayed busy"):
            a_job(Store(waiting))
    assert a_job(Store(waiting)).status == "queued"
    owner.dispose()
    waiting.dispose()


def test_a_lost_connection_is_replaced(store, engine):
    job = a_job(store)
    if engine.dialect.name == "postgresql":
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        kill = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
        with reading(engine) as connection:
            connection.execute(text(kill))
    assert store.job(job.id) == job


@pytest.mark.slow  # it waits for an answer that does not come
def test_a_database_whose_answers_do_not_arrive_is_given_up(migrated_postgres, monkeypatch):
    """Between us and the server something acknowledges whatever we send, and passes nothing on."""
    monkeypatch.setattr(BoundedConnection, "answer_seconds", 0.5)
    engine = open_engine(migrated_postgres)
    begun = time.monotonic()
    with pytest.raises(StorageFailed, match=r"no answer within 0\.5 s"):
        writing(engine, lambda c: c.execute(text("SELECT pg_sleep(20)")))
    assert time.monotonic() - begun < 10
    assert writing(engine, lambda c: c.execute(text("SELECT 1")).scalar_one()) == 1
    engine.dispose()


def test_a_database_that_takes_no_writes_is_named_so(database_url):
    store = open_store(database_url)
    event.listen(store._engine, "begin", _begin_read_only)
    with pytest.raises(StorageFailed, match=r"takes no writes|readonly"):
        a_job(store)
    store.close()


def _begin_read_only(connection):
    sqlite = connection.dialect.name == "sqlite"
    connection.exec_driver_sql("PRAGMA query_only = ON" if sqlite else "SET TRANSACTION READ ONLY")


def test_a_server_that_does_not_answer_is_named_so():
    store = open_store("postgresql://somebody:hunter2@127.0.0.1:9/nothing")
    with pytest.raises(StorageFailed, match="REWARDSMITH_DATABASE_URL") as caught:
        store.check_schema()
    assert "hunter2" not in str(caught.value)


def test_a_transition_that_the_graph_does_not_know_is_refused(store):
    step = a_step(store)
    step.finish(replace(OUTCOME, best=None))
    with pytest.raises(
        Conflict,
        match="cancel is possible while a job is queued, running, awaiting feedback or paused",
    ):
        store.request_cancel(step.job_id)


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
