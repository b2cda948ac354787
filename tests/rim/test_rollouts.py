"""Filmed episodes, files and thinned curves in the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import update

from core.errors import NotFound, StorageFailed
from core.records.kinds import NATIVE
from core.records.measured import Curve, Rollout
from core.storage import Caller, Presence
from core.storage.engine import writing
from core.storage.tables import curves
from tests.builders import a_run
from tests.rim.storing import a_claim, a_job, until
from tests.shells.stories import a_finished_job, a_job_in_training, step

FILMED = Rollout(
    "0.0", 0, 77, training_seed=500, fitness=0.8, native=3.0, length=90, frames=45, fps=30.0,
    video="a" * 64, preview="b" * 64, trace="c" * 64,
)  # fmt: skip
DARK = Rollout(NATIVE, 0, 77, failure="no driver", trace="d" * 64)


def a_filmed_job(store):
    job_id = a_job_in_training(store)
    with step(store, job_id, "film") as claim:
        claim.add_rollouts([FILMED, DARK])
    return job_id


def test_a_rollout_comes_back_as_it_was_stored(store):
    job_id = a_filmed_job(store)
    assert [one.rollout for one in store.rollouts(job_id)] == [FILMED, DARK]
    assert [one.rollout for one in store.rollouts(job_id, NATIVE)] == [DARK]
    assert store.history(job_id).rollouts == (FILMED, DARK)


def test_writing_it_twice_stores_it_once_and_tells_of_it_once(store):
    job_id = a_filmed_job(store)
    with step(store, job_id, "film") as claim:
        claim.add_rollouts([replace(FILMED, fitness=0.1)])
    assert store.rollouts(job_id, "0.0")[0].rollout.fitness == 0.8
    told = [e for e in store.events(job_id, limit=1000) if e.kind.startswith("rollout.")]
    assert [(e.kind, e.level) for e in told] == [
        ("rollout.filmed", "info"),
        ("rollout.failed", "warning"),
    ]
    assert told[1].data["reason"] == "no driver"


def test_its_files_are_the_jobs(store):
    job_id = a_filmed_job(store)
    kinds = {one.sha256: one.kind for one in store.artifacts(job_id)}
    assert {sha: kinds[sha * 64] for sha in "abcd"} == dict.fromkeys("abcd", "rollout")
    assert store.leftovers.in_use(["a" * 64, "e" * 64]) == {"a" * 64}
    assert store.artifact(job_id, "a" * 64).kind == "rollout"
    with pytest.raises(NotFound):
        store.artifact(job_id, "e" * 64)


def test_they_go_with_the_job(store):
    job_id = a_filmed_job(store)
    store.request_cancel(job_id)
    store.delete(job_id)
    assert {"a" * 64, "b" * 64, "c" * 64, "d" * 64} <= set(store.leftovers.discarded())


def test_another_confirmation_is_filmed_anew(store):
    job_id = a_finished_job(store)
    from core.storage import Extension

    store.extend(job_id, Extension(1), 50)
    with step(store, job_id, "film") as claim:
        claim.add_rollouts([FILMED, replace(FILMED, extension=1, fitness=0.5)])
    assert [one.rollout.fitness for one in store.rollouts(job_id)] == [0.5]


def test_what_people_judged_stays_beside_every_confirmation_and_comes_after_it(store):
    from core.storage import Extension

    job_id = a_finished_job(store)
    judged = replace(FILMED, stage="search", fitness=0.3)
    with_native = replace(judged, arm=NATIVE, stage="baseline")
    store.extend(job_id, Extension(1), 50)
    with step(store, job_id, "film") as claim:
        claim.add_rollouts([with_native, judged, FILMED, replace(FILMED, extension=1, fitness=0.5)])
    found = [one.rollout for one in store.rollouts(job_id)]
    assert [(one.arm, one.stage, one.fitness) for one in found] == [
        ("0.0", "confirm", 0.5),
        ("0.0", "search", 0.3),
        (NATIVE, "baseline", 0.3),
    ]


# --- curves -----------------------------------------------------------------------------------


def a_long_run(store, points=20_000):
    values = np.sin(np.arange(points) / 50.0)
    values[points // 3] = 9.0
    curve = Curve(
        tuple(range(0, 10 * points, 10)),
        {"native_return": tuple(values.tolist()), "component.near": (1.0,) * points},
    )
    job_id = a_job(store).id
    with a_claim(store, job_id, "baseline") as claim:
        claim.add_runs([replace(a_run(NATIVE, 0.3, stage="baseline"), curve=curve)], {})
    return f"run_{job_id.removeprefix('job_')}_baseline_native_0_0", values


def test_a_curve_is_thinned_and_keeps_its_extremes(store):
    run_id, values = a_long_run(store)
    names, (series,) = store.series(run_id, {"native_return"}, 500)
    assert names == ("native_return", "component.near")
    assert (series.points, series.steps[0], series.steps[-1]) == (20_000, 0, 199_990)
    assert len(series.values) <= 500
    assert (max(series.values), min(series.values)) == (9.0, values.min())
    assert series.steps[series.values.index(9.0)] == 10 * (20_000 // 3)


def test_all_series_are_read_where_none_is_named(store):
    run_id, _ = a_long_run(store, points=100)
    _, found = store.series(run_id, None, 500)
    assert [(one.name, len(one.values)) for one in found] == [
        ("native_return", 100),
        ("component.near", 100),
    ]
    assert store.series(run_id, {"nobody"}, 500)[1] == ()


def test_a_run_without_a_curve_has_no_series_and_no_run_is_not_found(store):
    job_id = a_finished_job(store)
    body = job_id.removeprefix("job_")
    assert store.series(f"run_{body}_baseline_native_0_0", None, 500) == ((), ())
    with pytest.raises(NotFound):
        store.series(f"run_{body}_baseline_native_9_0", None, 500)


def test_a_damaged_chunk_is_said_to_be_damaged(store, engine):
    run_id, _ = a_long_run(store, points=100)
    writing(engine, lambda c: c.execute(update(curves).values(data=b"spoilt")))
    with pytest.raises(StorageFailed, match="damaged chunk"):
        store.series(run_id, None, 500)


# --- who works, who waits, what was used ------------------------------------------------------


def test_a_worker_is_there_until_it_signs_off(store):
    store.crew.report(Presence("box-1", ("train",), 2, 0, "cpu"))
    store.crew.report(Presence("box-1", ("train",), 2, 1, "cpu"))
    (worker,) = store.crew.workers()
    assert (worker.name, worker.queues, worker.slots, worker.busy) == ("box-1", ("train",), 2, 1)
    assert worker.alive
    store.crew.sign_off("box-1")
    assert store.crew.workers() == ()


def test_those_ahead_are_counted_over_all_owners(store):
    first = a_job(store.of(Caller("mallory")))
    until(lambda: datetime.now(UTC) - first.created_at > timedelta(milliseconds=5))  # clocks tick
    second = a_job(store.of(Caller("alice")))
    assert store.of(Caller("alice")).crew.ahead_of([second]) == (1,)
    store.of(Caller("mallory")).request_cancel(first.id)
    assert store.of(Caller("alice")).crew.ahead_of([second]) == (0,)


def test_usage_is_ones_own_by_day(store):
    alice = store.of(Caller("alice"))
    a_finished_job(alice)
    a_finished_job(store.of(Caller("mallory")))
    (day,) = alice.usage(30)
    assert (day.jobs, day.runs, day.env_steps) == (1, 10, 10_000)
    assert (day.exchanges, day.tokens) == (1, 150)
    assert {d.jobs for d in store.usage(30)} == {2}


def test_usage_is_told_by_the_key_that_a_job_was_submitted_with(store):
    key, _ = store.keys.create("alice", "laptop")
    with_key = store.of(Caller("alice", key_id=key.id))
    job_id = a_finished_job(with_key)
    a_finished_job(store.of(Caller("alice")))
    a_finished_job(store.of(Caller("mallory", key_id="0" * 16)))
    assert with_key.job(job_id).key_id == key.id
    uses = {use.key_id: use for use in with_key.usage_by_key(30)}
    assert set(uses) == {key.id, None}
    assert (uses[key.id].name, uses[None].name) == ("laptop", "")
    used = uses[key.id].used
    assert (used.jobs, used.runs, used.env_steps, used.tokens) == (1, 10, 10_000, 150)
    assert {use.key_id for use in store.usage_by_key(30)} == {key.id, None, "0" * 16}


def test_a_job_is_described_by_people(store):
    job = a_job(store)
    changed = store.describe(job.id, name="gentle", notes="for the *paper*", labels={"v": "2"})
    assert (changed.name, changed.notes, changed.labels) == (
        "gentle",
        "for the *paper*",
        {"v": "2"},
    )
    assert store.describe(job.id, notes="").notes is None
    assert store.job(job.id).name == "gentle"
