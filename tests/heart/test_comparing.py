"""Candidates beside each other and beside the native reward."""

from __future__ import annotations

from dataclasses import replace

from core.comparing import Contestant, compare
from core.records.kinds import NATIVE
from core.records.measured import Report, TermStatistics
from core.records.programs import ProgramShape
from core.records.spec import Training
from tests.builders import a_run, a_spec, a_task, confirmations, trained

SPEC = a_spec()
TERM = TermStatistics(0.5, 0.1, 0.0, 1.0, share=0.6)
BASELINE = tuple(
    a_run(NATIVE, value, seed=s, stage="baseline") for s, value in enumerate((0.2, 0.4))
)


def side(candidate, *, confirmed=(), name=None, spec=SPEC, report=None):
    runs = (*candidate.runs, *confirmations({candidate.key: list(confirmed)}))
    return Contestant(name or candidate.key, "job", spec, 0.1, candidate, runs, report)


def native(*, confirmed=(), spec=SPEC):
    runs = (*BASELINE, *confirmations({NATIVE: list(confirmed)}))
    return Contestant(NATIVE, "job", spec, 0.1, None, runs)


def setting(comparison, name):
    return next(row for row in comparison.settings if row.name == name)


def test_confirmed_sides_are_compared_on_fresh_seeds():
    found = compare(
        [
            side(trained(0, 0.9, 0.9), confirmed=[0.6, 0.8]),
            side(trained(1, 0.1, 0.1), confirmed=[0.7, 0.9]),
            native(confirmed=[0.3, 0.5]),
        ]
    )
    assert found.ground == "confirm"
    assert [s.fitness.mean for s in found.sides] == [0.7, 0.8, 0.4]
    assert found.sides[0].seeds == (500, 501)
    assert found.notes == ()


def test_who_was_not_confirmed_is_compared_in_the_search_and_readers_are_told():
    found = compare(
        [side(trained(0, 0.9, 0.8), confirmed=[0.6]), side(trained(1, 0.5, 0.7)), native()]
    )
    assert found.ground == "search"
    assert found.sides[0].values == (0.9, 0.8)
    assert found.sides[2].values == (0.2, 0.4)
    assert any("flatter" in note for note in found.notes)


def test_the_highest_shared_rung_is_the_ground():
    spec = a_spec(training=Training(steps=1000, seeds=1, rungs=(0.5, 1.0)))
    survivor = trained(0, 0.3)
    survivor = replace(survivor, runs=(*survivor.runs, a_run("0.0", 0.9, rung=1)))
    found = compare(
        [side(survivor, spec=spec), side(trained(1, 0.2), spec=spec), native(spec=spec)]
    )
    assert found.rung == 0
    assert found.sides[0].values == (0.3,)
    assert any("shared rung" in note for note in found.notes)


def test_every_pair_has_a_probability_and_a_difference():
    found = compare([side(trained(0, 0.9, 0.3)), side(trained(1, 0.5, 0.5)), native()])
    assert [(p.first, p.second, p.probability) for p in found.pairs] == [
        ("0.0", "0.1", 0.5),
        ("0.0", NATIVE, 0.75),
        ("0.1", NATIVE, 1.0),
    ]
    assert found.pairs[0].difference.mean == 0.6 - 0.5


def test_a_failed_run_of_a_candidate_counts_as_chance():
    found = compare([side(trained(0, 0.9, None)), side(trained(1, 0.5, 0.5)), native()])
    assert found.sides[0].values == (0.9, 0.1)
    assert found.sides[0].failed == 1
    assert "0.0: 1 failed runs count as the random policy's fitness." in found.notes


def test_who_was_never_measured_has_no_numbers_and_no_pair():
    found = compare([side(trained(0, 0.9)), side(trained(1)), native()])
    assert found.sides[1].fitness is None
    assert {(p.first, p.second) for p in found.pairs} == {("0.0", NATIVE)}
    assert "0.1 was not measured here." in found.notes


def test_terms_stand_in_rows_and_say_who_has_them():
    shared = replace(trained(0, 0.9), shape=ProgramShape(("near", "calm"), (), 0.1))
    other = replace(trained(1, 0.5), shape=ProgramShape(("near",), ("energy",), 0.1))
    found = compare([side(shared, report=Report(components={"near": TERM})), side(other), native()])
    assert [(r.kind, r.name, r.differs) for r in found.terms] == [
        ("component", "near", False),
        ("component", "calm", True),
        ("feature", "energy", True),
    ]
    assert found.terms[0].cells == {"0.0": TERM}


def test_settings_say_where_sides_differ():
    spec = a_spec(training=replace(SPEC.training, steps=2000, settings={"hidden": [8, 8]}))
    tuned = trained(1, 0.5)
    tuned = replace(tuned, program=replace(tuned.program, params={"near": 2.0, "width": 0.5}))
    found = compare([side(trained(0, 0.9)), side(tuned, spec=spec), native()])
    assert setting(found, "params.near").cells == {"0.0": 1.0, "0.1": 2.0}
    assert setting(found, "params.near").differs
    assert not setting(found, "params.width").differs, "the native reward has no such number"
    assert setting(found, "training.steps").differs
    assert setting(found, "training.settings.hidden").cells == {"0.1": "[8, 8]"}
    assert not setting(found, "method").differs


def test_other_tasks_have_no_common_scale():
    elsewhere = a_spec(task=a_task(name="other"))
    found = compare([side(trained(0, 0.9)), side(trained(1, 0.5), spec=elsewhere), native()])
    assert any("no common scale" in note for note in found.notes)
