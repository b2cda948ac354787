"""What the store promises of jobs and lists, at its door, and of the database, on both kinds alike."""

from __future__ import annotations

import math
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from core.errors import (
    Conflict,
    IdempotencyMismatch,
    InvalidInput,
    NotFound,
    StorageFailed,
)
from core.records.history import Spent
from core.records.measured import Curve, Report, Run, TermStatistics
from core.records.programs import Check
from core.storage import Store, open_store
from core.storage.clock import now
from core.storage.engine import open_engine, reading, writing
from core.storage.postgres import BoundedConnection
from core.storage.tables import evaluations, remarks, runs
from tests.builders import a_preflight, a_run, a_spec, a_task, proposed, rejected
from tests.rim.storing import (
    OUTCOME,
    a_claim,
    a_job,
    a_step,
    an_exchange,
    at_once,
    kinds,
    propose,
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


def test_a_number_that_is_refused_is_named_by_its_place(store):
    with pytest.raises(InvalidInput, match=r"deep\[1\]\.x"):
        a_step(store).event("log", "", {"deep": [{"x": 1.0}, {"x": math.inf}]})


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


def test_the_trace_of_a_row_that_was_refused_does_not_repeat_the_row(store, engine):
    """It goes into the log, where nothing that people and models said belongs."""
    row = {"job_id": a_job(store).id, "number": 0, "text": "canary-17", "more": {}}
    wrong = insert(remarks).values(kind="no such kind", created_at=now(), **row)
    with pytest.raises(IntegrityError, match="ck_remarks_kind") as refused:
        writing(engine, lambda c: c.execute(wrong))
    told = "".join(traceback.format_exception(refused.value))
    assert "INSERT INTO remarks" in told
    assert "canary-17" not in told


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
