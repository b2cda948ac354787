"""Whatever a record holds, it comes out of either database as it went in.

Records are made at random from their own annotations, so a new field is tested the day it is added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput, NotFound
from core.records.asking import Exchange
from core.records.measured import Curve, Preflight, Report, Run
from core.records.outcome import Outcome
from core.records.rounds import Candidate, Feedback
from core.records.spec import JobSpec
from core.storage import ids
from core.storage.clean import clean_text
from core.storage.codec import dump, dump_text, load
from core.storage.ids import RunKey, candidate_id, new_job_id
from core.storage.series import chunks, curve_from
from tests.builders import a_spec, a_task
from tests.rim.storing import a_claim, a_job, a_step

TEXT = st.text(max_size=12).map(clean_text)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**40), 2**40)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
SIMPLE = {str: TEXT, float: NUMBERS, int: INTEGERS, bool: st.booleans(), object: JSON}

in_memory = settings(max_examples=25, deadline=None, derandomize=True)
on_a_database = settings(
    in_memory, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Anything of a type, as the records' annotations write them."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        own = {field.name: hints[field.name] for field in fields(kind)}
        flat = {name: of(hint) for name, hint in own.items() if kind not in get_args(hint)}
        nested = own.keys() - flat.keys()  # a fitness of fitnesses, which are of none
        parts = st.lists(st.builds(kind, **flat), max_size=2).map(tuple)
        return st.builds(kind, **flat, **dict.fromkeys(nested, parts))
    return _of_generic(get_origin(kind), get_args(kind))


def _of_generic(origin: Any, inner: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, UnionType):
        return st.none() | of(next(kind for kind in inner if kind is not NoneType))
    if origin is tuple and inner[-1] is Ellipsis:
        return st.lists(of(inner[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(of, inner))
    assert origin is Mapping
    return st.dictionaries(of(inner[0]), of(inner[1]), max_size=2)


RUNS = of(Run).map(
    lambda run: replace(
        run,
        stage="search",
        arm="3.5",
        rung=1,
        fitness=(run.fitness or 0.0) if run.status == "scored" else run.fitness,
    )
)


@pytest.mark.parametrize("kind", [JobSpec, Preflight, Outcome, Report, Candidate, Exchange])
def test_a_record_survives_being_plain_data(kind):
    @in_memory
    @given(of(kind))
    def survives(record):
        assert load(kind, dump(record)) == record

    survives()


@in_memory
@given(of(Curve))
def test_a_curve_survives_being_chunks(curve):
    assert curve_from(list(chunks(curve))) == curve


@pytest.mark.parametrize("points", [0, 1, 4096, 4097, 10_000])
def test_a_curve_of_any_length_survives_being_chunks(points):
    curve = Curve(tuple(range(points)), {"loss": tuple(n / 3 for n in range(points))})
    assert curve_from(list(chunks(curve))) == curve


@on_a_database
@given(spec=of(JobSpec))
def test_a_request_survives_the_database(store, spec):
    job = a_job(store, spec)
    assert job.spec == spec
    assert store.history(job.id).spec == spec


@on_a_database
@given(preflight=of(Preflight), exchange=of(Exchange))
def test_preflight_and_exchanges_survive_the_database(store, preflight, exchange):
    step = a_step(store)
    step.add_preflight(preflight)
    step.add_exchange(exchange)
    assert step.history().preflight == preflight
    assert store.job(step.job_id).preflight == preflight
    assert store.exchanges(step.job_id) == (exchange,)


@on_a_database
@given(candidate=of(Candidate), feedback=of(Feedback))
def test_candidates_and_feedback_survive_the_database(store, candidate, feedback):
    candidate = replace(candidate, iteration=3, number=5, runs=(), report=None)
    feedback = replace(feedback, iteration=3)
    step = a_step(store)
    step.add_candidate(candidate)
    step.add_feedback(feedback)
    (iteration,) = step.history().iterations
    assert iteration.candidates == (candidate,)
    assert iteration.feedback == feedback


@on_a_database
@given(run=RUNS, report=of(Report))
def test_runs_and_reports_survive_the_database(store, run, report):
    spec = a_spec(training=replace(a_spec().training, rungs=(0.5, 1.0)))
    step = a_step(store, spec)
    step.add_candidate(Candidate(3, 5, "seed", "proposed"))
    step.add_runs([run], {"3.5": report})
    name = ids.run_id(RunKey(step.job_id, run.stage, run.arm, run.seed, run.rung))
    assert store.run(name).run == run
    (candidate,) = step.history().iterations[0].candidates
    assert candidate.runs == (replace(run, curve=None),)
    assert candidate.report == report


@on_a_database
@given(outcome=of(Outcome))
def test_an_outcome_survives_the_database(store, outcome):
    step = a_claim(store, a_job(store).id)
    step.finish(replace(outcome, best=None))
    assert store.job(step.job_id).outcome == replace(outcome, best=None)


# --- ids --------------------------------------------------------------------------------------


def test_ids_sort_by_time_and_have_one_length():
    drawn = [new_job_id() for _ in range(500)]
    assert drawn == sorted(set(drawn))
    assert {len(name) for name in drawn} == {30}


@in_memory
@given(
    arm=st.sampled_from(["native", "fitness"])
    | st.from_regex(r"without-(component|feature)-[A-Za-z_][A-Za-z0-9_]{0,39}", fullmatch=True)
    | st.tuples(*[st.integers(0, 999)] * 2).map("{0[0]}.{0[1]}".format),
    seed=st.integers(-(10**17), 10**17),
    rung=st.integers(0, 99),
    stage=st.sampled_from(("baseline", "search", "confirm", "ablation")),
)
def test_an_id_says_where_its_run_stands(arm, seed, rung, stage):
    key = RunKey(new_job_id(), stage, arm, seed, rung)
    assert ids.read_run_id(ids.run_id(key)) == key


@in_memory
@given(st.integers(0, 10**8), st.integers(0, 10**8))
def test_an_id_says_where_its_candidate_stands(iteration, number):
    job_id = new_job_id()
    assert ids.read_candidate_id(candidate_id(job_id, iteration, number)) == (
        job_id,
        iteration,
        number,
    )


@in_memory
@given(st.text())
def test_any_other_text_is_no_id(text):
    for read in (ids.check_job_id, ids.read_candidate_id, ids.read_run_id):
        with pytest.raises(NotFound):
            read(text)


@pytest.mark.parametrize(
    "words",
    ["plain", "NaN", "Infinity", "a\x00b", "half \ud800 a pair", "1" * 30, "\\u0000", "ümläut"],
)
def test_a_record_in_one_text_is_what_the_record_is_as_data(words):
    spec = a_spec(task=a_task(description=words))
    assert json.loads(dump_text(spec)) == dump(spec)


def test_a_record_in_one_text_is_held_to_the_same_rules():
    with pytest.raises(InvalidInput):
        dump_text(a_spec(weight=float("nan")))
    with pytest.raises(InvalidInput):
        dump_text(a_spec(seed=2**70))
