"""Two owners in one store: neither sees, changes or even notices what the other one has."""

from __future__ import annotations

from functools import cached_property
from typing import get_type_hints

import pytest
from sqlalchemy import insert, select, text

from core.errors import IdempotencyMismatch, LimitReached, NotFound
from core.records.people import Given, Remark
from core.records.spec import Context
from core.storage import Caller, Extension, Presence, Request, Store
from core.storage.engine import writing
from core.storage.tables import jobs
from tests.builders import SOURCE, a_spec, a_task
from tests.rim.storing import a_job
from tests.shells.stories import a_failed_job, a_finished_job

ALICE, MALLORY = Caller("alice", "a" * 16, "req_1"), Caller("mallory", "b" * 16, "req_2")


@pytest.fixture
def alices(store):
    return store.of(ALICE)


@pytest.fixture
def mallorys(store):
    return store.of(MALLORY)


def body(job_id: str) -> str:
    return job_id.removeprefix("job_")


# Every question about one job that a bound store answers.  The test below this table holds it complete.
QUESTIONS = {
    "job": lambda s, j: s.job(j),
    "status": lambda s, j: s.status(j),
    "job_at_work": lambda s, j: s.job_at_work(j),
    "request_cancel": lambda s, j: s.request_cancel(j),
    "request_pause": lambda s, j: s.request_pause(j),
    "resume": lambda s, j: s.resume(j),
    "delete": lambda s, j: s.delete(j),
    "extend": lambda s, j: s.extend(j, Extension(1), 50),
    "retry": lambda s, j: s.retry(j),
    "settle": lambda s, j: s.settle(j),
    "add_given": lambda s, j: s.add_given(j, Given(0, SOURCE, "user")),
    "given": lambda s, j: s.given(j),
    "add_remark": lambda s, j: s.add_remark(j, Remark(0, "text", text="mine")),
    "remarks": lambda s, j: s.remarks(j),
    "library.item": lambda s, j: s.library.item(j),
    "history": lambda s, j: s.history(j),
    "iterations": lambda s, j: s.iterations(j),
    "candidates": lambda s, j: s.candidates(j),
    "candidate": lambda s, j: s.candidate(f"cand_{body(j)}_0_0"),
    "runs": lambda s, j: s.runs(f"cand_{body(j)}_0_0"),
    "native_runs": lambda s, j: s.native_runs(j),
    "run": lambda s, j: s.run(f"run_{body(j)}_search_0-0_0_0"),
    "series": lambda s, j: s.series(f"run_{body(j)}_search_0-0_0_0", None, 500),
    "all_runs": lambda s, j: s.all_runs(j),
    "all_reports": lambda s, j: s.all_reports(j),
    "rollouts": lambda s, j: s.rollouts(j),
    "artifacts": lambda s, j: s.artifacts(j),
    "artifact": lambda s, j: s.artifact(j, "a" * 64),
    "describe": lambda s, j: s.describe(j, name="mine"),
    "exchanges": lambda s, j: s.exchanges(j),
    "events": lambda s, j: s.events(j),
    "glances.candidates": lambda s, j: s.glances.candidates(j),
    "glances.told": lambda s, j: s.glances.told(j),
    "glances.last_words": lambda s, j: s.glances.last_words(j, "job.created"),
    "deliveries.of": lambda s, j: s.deliveries.of(j),
    "activity": lambda s, j: s.activity(j),
    "offer": lambda s, j: s.offer(j, "preflight", 1.0),
    "withdraw": lambda s, j: s.withdraw(j, "preflight"),
    "claim": lambda s, j: s.claim(j, "preflight", "w", 1.0),
}
OF_NO_JOB = {
    *("close", "check_schema", "check_writes", "of", "create_job", "imports.accept"),
    *("jobs", "open_jobs", "library.search", "glances.best_so_far", "glances.resting"),
    "glances.waiting",
    "glances.announced",
    *("usage", "usage_by_key", "crew.workers", "crew.ahead_of"),
}
FOR_WORKERS = {
    "check_serves_all",
    *("unfinished_jobs", "neglected_jobs", "unheard_jobs"),
    *("endpoints.enter", "endpoints.leave"),
    *("leftovers.ended_before", "leftovers.discarded", "leftovers.in_use", "leftovers.forget"),
    "leftovers.expire",
    *("crew.report", "crew.sign_off"),
    *("deliveries.owners_due", "deliveries.take", "deliveries.settle", "deliveries.rest"),
}
FOR_MONITORS = {"standing"}


def questions_of(kind, before=""):
    """The names of what a store, and every part of it, can be asked."""
    for name, found in vars(kind).items():
        if isinstance(found, cached_property):
            yield from questions_of(get_type_hints(found.func)["return"], f"{name}.")
        elif not name.startswith("_"):
            yield before + name


def test_every_question_that_a_store_answers_is_asked_here():
    assert set(questions_of(Store)) == set(QUESTIONS) | OF_NO_JOB | FOR_WORKERS | FOR_MONITORS


@pytest.mark.parametrize(
    "question",
    [
        pytest.param(lambda s: s.check_serves_all(), id="check_serves_all"),
        pytest.param(lambda s: s.unfinished_jobs(), id="unfinished_jobs"),
        pytest.param(lambda s: s.neglected_jobs(), id="neglected_jobs"),
        pytest.param(lambda s: s.unheard_jobs(["train"], 1), id="unheard_jobs"),
        pytest.param(
            lambda s: s.endpoints.enter("models.example small-1", None), id="endpoints.enter"
        ),
        pytest.param(
            lambda s: s.endpoints.leave("models.example small-1", "answered"), id="endpoints.leave"
        ),
        pytest.param(lambda s: s.leftovers.ended_before(1.0), id="leftovers.ended_before"),
        pytest.param(lambda s: s.leftovers.expire("job_" + "0" * 26, 1.0), id="leftovers.expire"),
        pytest.param(lambda s: s.leftovers.discarded(), id="leftovers.discarded"),
        pytest.param(lambda s: s.standing(), id="standing"),
        pytest.param(lambda s: s.leftovers.in_use(["0" * 64]), id="leftovers.in_use"),
        pytest.param(lambda s: s.deliveries.owners_due(), id="deliveries.owners_due"),
        pytest.param(lambda s: s.deliveries.take("alice", 1.0), id="deliveries.take"),
        pytest.param(lambda s: s.deliveries.rest(None, {}, None), id="deliveries.rest"),
        pytest.param(lambda s: s.deliveries.settle(None, "failed", {}), id="deliveries.settle"),
        pytest.param(lambda s: s.leftovers.forget({}), id="leftovers.forget"),
        pytest.param(lambda s: s.crew.report(Presence("w", (), 1, 0, "cpu")), id="crew.report"),
        pytest.param(lambda s: s.crew.sign_off("w"), id="crew.sign_off"),
    ],
)
def test_what_workers_ask_is_not_for_a_store_that_is_bound(alices, question):
    with pytest.raises(RuntimeError, match="bound to nobody"):
        question(alices)


@pytest.mark.parametrize("question", QUESTIONS)
def test_somebody_elses_job_does_not_exist(store, alices, mallorys, question):
    job_id = a_finished_job(alices)
    before = (alices.job(job_id), alices.events(job_id, limit=1000))
    with pytest.raises(NotFound) as found:
        QUESTIONS[question](mallorys, job_id)
    with pytest.raises(NotFound) as never:
        QUESTIONS[question](mallorys, "job_" + "0" * 26)
    said = str(found.value).replace(body(job_id), "0" * 26)
    assert said == str(never.value), "the answer tells that there is something"
    assert (alices.job(job_id), alices.events(job_id, limit=1000)) == before


def test_lists_hold_what_is_ones_own(alices, mallorys):
    mine, other = a_finished_job(alices), a_finished_job(mallorys)
    assert [job.id for job in alices.jobs().items] == [mine]
    assert [item.job for item in alices.library.search()] == [mine]
    assert [item.job for item in alices.library.search("point")] == [mine]
    assert [job.id for job in mallorys.jobs(task="point-park").items] == [other]
    assert list(alices.glances.best_so_far([mine, other])) == [mine]
    keys = {candidate.candidate.key for candidate in alices.candidates(mine).items}
    assert {glance.key for glance in alices.glances.candidates(mine)} == keys
    assert {
        parent for glance in alices.glances.candidates(mine) for parent in glance.parents
    } <= keys
    assert [told.iteration for told in alices.glances.told(mine)] == [
        iteration.number for iteration in alices.iterations(mine)
    ]
    assert list(mallorys.glances.resting([mine])) == []
    waits, _ = a_job(alices), a_job(mallorys)
    assert [job.id for job in alices.glances.waiting(10)] == [waits.id]
    alices.offer(waits.id, "preflight", 60.0)
    assert alices.glances.announced([waits.id]) == {waits.id: ("preflight",)}
    assert mallorys.glances.announced([waits.id]) == {}


def test_workers_see_the_jobs_of_all(store, alices, mallorys):
    both = {a_job(alices).id, a_job(mallorys).id}
    assert set(store.unfinished_jobs()) == both
    assert {job.id for job in store.jobs().items} == both


def test_prompts_show_designs_of_the_same_owner_only(store, alices, mallorys):
    a_finished_job(mallorys)
    other = a_spec(task=a_task(name="point-push"), context=Context(examples=2, same_task=True))
    job = a_job(alices, other)
    claim = store.claim(job.id, "preflight", "worker", 30.0)
    assert claim.find_examples() == ()
    own = a_finished_job(alices)
    assert [example.job for example in claim.find_examples()] == [own]


def test_an_idempotency_key_belongs_to_its_owner(alices, mallorys):
    mine, other = a_job(alices, key="k"), a_job(mallorys, key="k")
    assert mine.id != other.id
    assert a_job(alices, key="k").id == mine.id
    with pytest.raises(IdempotencyMismatch) as refused:
        mallorys.create_job(
            a_spec(), idempotency_key="k", body_sha256="1" * 64, name=None, labels={}
        )
    assert mine.id not in str(refused.value)


def submit(store: Store, key: str | None = None):
    return store.create_job(
        a_spec(), idempotency_key=key, body_sha256="0" * 64, name=None, labels={}, most_open=2
    )


def test_an_owner_with_too_many_unfinished_jobs_is_told_to_wait(alices, mallorys):
    first, _ = submit(alices, "first")
    submit(alices)
    with pytest.raises(LimitReached, match="cancel one"):
        submit(alices)
    submit(mallorys)
    assert submit(alices, "first") == (first, True), "a repeated request is no further job"
    alices.request_cancel(first.id)
    submit(alices)
    assert len(alices.jobs().items) == 3


def test_a_job_that_goes_on_counts_as_one_that_is_new(alices, mallorys):
    failed, finished = a_failed_job(alices), a_finished_job(alices)
    first, _ = submit(alices)
    submit(alices)
    cancelled = alices.request_cancel(first.id)
    submit(alices)
    going_on = (
        lambda: alices.retry(failed, most_open=2),
        lambda: alices.retry(cancelled.id, most_open=2),
        lambda: alices.extend(finished, Extension(1), 50, most_open=2),
    )
    for go_on in going_on:
        with pytest.raises(LimitReached, match="cancel one"):
            go_on()
    assert len(alices.open_jobs(100)) == 2
    alices.extend(alices.open_jobs(1)[0], Extension(1), 50, most_open=2)
    alices.request_cancel(alices.open_jobs(1)[0])
    once = Request("once")
    job, replayed = alices.retry(failed, once, most_open=2)
    assert (job.status, replayed) == ("queued", False)
    assert alices.retry(failed, once, most_open=2)[1], "a repeated request is no further one"


def test_who_asked_for_a_change_is_written_down_with_the_change(store, alices):
    job = a_job(alices)
    alices.add_remark(job.id, Remark(0, "text", text="hm"), Request("once"))
    alices.request_cancel(job.id)
    told = store.keys.audit(subject=job.id)
    assert [entry.action for entry in told] == ["jobs.cancel", "jobs.feedback", "jobs.create"]
    assert {(e.owner, e.key_id, e.request_id) for e in told} == {("alice", "a" * 16, "req_1")}


def test_a_change_that_is_refused_is_not_written_down(store, alices):
    job_id = a_finished_job(alices)
    with pytest.raises(NotFound):
        alices.add_remark(job_id, Remark(0, "thumb", candidate="7.7", value=1))
    assert [entry.action for entry in store.keys.audit(subject=job_id)] == ["jobs.create"]


def test_a_worker_is_nobody_who_asks(store):
    a_finished_job(store)
    assert store.keys.audit() == ()


def test_a_job_is_local_if_nobody_in_particular_submits_it(store, engine):
    job = a_job(store)
    owner = writing(engine, lambda c: c.execute(select(jobs.c.owner)).scalar_one())
    assert owner == "local"
    assert store.of(Caller()).job(job.id).id == job.id


def test_an_older_server_that_names_no_owner_still_submits(store, engine, alices):
    """During a rolling upgrade both versions write."""
    a_job(alices)

    def copy(connection):
        row = dict(connection.execute(select(jobs)).mappings().one())
        del row["owner"]
        connection.execute(insert(jobs).values({**row, "id": "job_" + "0" * 26}))
        return connection.execute(text("SELECT owner FROM jobs ORDER BY id")).scalars().all()

    assert writing(engine, copy) == ["local", "alice"]
