"""The designer without a model breeds: it refines, crosses, and departs from what was measured."""

import dataclasses

import numpy as np
import pytest

from core.designers.evolution.breeding import main_names, refine
from core.designers.evolution.grammar import seed_design
from core.designers.evolution.parsing import read_design
from core.designers.evolution.reading import read_task
from core.designers.evolution.terms import Design, cost
from core.designers.evolution.writing import write_module
from core.program import read_program, refuse_changed_reward
from core.records.asking import Repair
from core.records.measured import Report, TermStatistics
from core.replies import read_reply
from core.tasks import catalogue
from core.training.runtime import load_program
from tests.rim.evolving import (
    PARK,
    SLOTS,
    TASKS,
    answer,
    candidate,
    program_of,
    seeded,
    structure,
    transitions,
)

pytestmark = pytest.mark.slow  # many programs are written and run


@pytest.mark.parametrize("name", TASKS)
def test_its_own_programs_are_read_back_as_they_were_meant(name):
    task = catalogue()[name]
    reading = read_task(
        task.description, task.fields, {}, fitness=task.fitness, actions=task.actions
    )
    for slot in SLOTS:
        design = seed_design(reading, slot, np.random.default_rng(slot))
        source = write_module(design)
        again = read_design(read_program(source, task.fields, "replace"))
        assert again is not None
        assert [t.name for t in again.terms] == [t.name for t in design.terms]
        assert write_module(again) == source


OPERATORS = ["refine", "cross", "different", "features", "parameters"]


@pytest.mark.slow
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", TASKS)
def test_children_keep_the_contract_and_are_new(name, operator):
    task = catalogue()[name]
    layout, states, actions, nexts = transitions(name)
    programs = seeded(name)[:12]
    history = tuple(candidate(p, i, report=a_report(p)) for i, p in enumerate(programs))
    known = {p.source for p in programs}
    sources = []
    for slot in range(8):
        parents = (history[slot], history[slot + 1])
        named = {"operator": operator, "iteration": 1, "parents": parents, "history": history}
        program = program_of(answer(task, slot, **named), task)
        loaded = load_program(program, layout)
        assert np.isfinite(loaded.features(states)).all()
        for values in loaded.reward(states, actions, nexts).values():
            assert np.isfinite(values).all()
        sources.append(program.source)
    assert sum(source in known for source in sources) <= 1
    assert len(set(sources)) >= 7


def a_report(program, **changes):
    names = [n for n in program.params if "_scale" not in n]
    flat = TermStatistics(mean=0.5, std=0.2, low=0.0, high=1.0, share=1 / len(names))
    return Report({n: changes.get(n, flat) for n in names})


def a_parent(**changes):
    program = program_of(answer(PARK, 0), PARK)
    return candidate(program, report=a_report(program, **changes))


def children(parent, operator="refine", slots=16, **named):
    for slot in range(slots):
        text = answer(PARK, slot, operator=operator, iteration=1, parents=(parent,), **named)
        yield program_of(text, PARK), text


def test_a_faint_component_is_made_heavier():
    faint = TermStatistics(mean=0.0, std=0.1, low=0.0, high=1.0, share=0.01)
    parent = a_parent(near_pole_angle=faint)
    before = parent.program.params["near_pole_angle"]
    heavier = [p.params.get("near_pole_angle", 0) > before for p, _ in children(parent)]
    assert np.mean(heavier) > 0.6


def test_a_component_that_was_never_felt_is_widened():
    flat = TermStatistics(mean=0.0, std=0.0, low=0.0, high=0.0, share=0.2)
    parent = a_parent(near_cart_position=flat)
    texts = [text for _, text in children(parent)]
    assert all("near_cart_position was never felt: widened" in text for text in texts)


@pytest.mark.parametrize(
    ("charged", "widened"),
    [(-1.0, True), (-0.99, True), (-0.5, False), (-0.01, False), (0.0, False)],
)
def test_a_cost_is_widened_where_all_of_it_was_charged_and_not_where_nothing_was(charged, widened):
    task = catalogue()["mountaincar"]
    reading = read_task(task.description, task.fields, {}, fitness=task.fitness)
    near = next(wish for wish in reading.wishes if wish.aim == "near")
    term = cost(near, "gauss", 0.1, 2.0)
    stuck = TermStatistics(2.0 * charged, 0.0, 2.0 * charged, 2.0 * charged, share=0.3, saturated=1)
    for seed in range(8):
        _, notes = refine(Design((term,)), {term.name: stuck}, reading, np.random.default_rng(seed))
        assert ("was never felt: widened" in notes) == widened


def test_a_component_that_stayed_silent_makes_way_for_another_shape():
    silent = TermStatistics(mean=0.0, std=0.0, low=0.0, high=0.0, share=0.0, zero=1.0)
    parent = a_parent(near_pole_angle=silent)
    found = [text for _, text in children(parent)]
    assert np.mean(["near_pole_angle takes another shape" in text for text in found]) > 0.3


@pytest.mark.parametrize(
    ("used", "redundant", "kept"), [(0.2, 0.5, True), (0.005, 0.5, False), (0.2, 0.99, False)]
)
def test_a_feature_that_is_of_no_use_is_dropped(used, redundant, kept):
    parent = next(p for p in map(candidate, seeded("cartpole-park")) if p.program.has_features)
    names = {f.name for f in read_design(parent.program).features}
    statistics = TermStatistics(0.0, 1.0, -1.0, 1.0, used=used, redundant=redundant)
    report = dataclasses.replace(
        a_report(parent.program), features=dict.fromkeys(names, statistics)
    )
    for program, _ in children(dataclasses.replace(parent, report=report), slots=6):
        left = {f.name for f in read_design(program).features}
        assert left == (names if kept else set())


def test_the_tuners_numbers_are_those_that_are_bred():
    parent = a_parent()
    tuned = dataclasses.replace(
        parent.program, params={n: 4 * v for n, v in parent.program.params.items()}
    )
    child, _ = next(children(dataclasses.replace(parent, program=tuned), slots=1))
    shared = set(child.params) & set(tuned.params)
    ratios = [child.params[n] / parent.program.params[n] for n in shared]
    assert np.median(ratios) > 2


def test_a_different_program_is_mainly_about_something_else():
    history = tuple(candidate(p, i) for i, p in enumerate(seeded("cartpole-park")[:3]))
    used = {name for c in history for name in main_names(c)}
    for slot in range(12):
        text = answer(PARK, slot, operator="different", iteration=1, history=history)
        assert not used & main_names(candidate(program_of(text, PARK)))


def test_a_cross_has_components_of_both_parents():
    first, second = (candidate(program_of(answer(PARK, s), PARK)) for s in (1, 2))
    only_first = set(first.program.params) - set(second.program.params)
    only_second = set(second.program.params) - set(first.program.params)
    found = set()
    for slot in range(8):
        parents = (first, second)
        text = answer(PARK, slot, operator="cross", iteration=1, parents=parents)
        found |= set(program_of(text, PARK).params)
    assert found & only_first
    assert found & only_second


def test_features_alone_keep_the_reward():
    parent = a_parent()
    rewards = {p.source.split("def reward")[1] for p, _ in children(parent, "features", slots=4)}
    assert rewards == {parent.program.source.split("def reward")[1]}
    assert all(p.has_features for p, _ in children(parent, "features", slots=4))


def test_features_alone_in_add_mode_leave_the_reward_to_the_environment():
    program = program_of(answer(PARK, 0, operator="features", mode="add"), PARK, "add")
    assert program.has_features
    assert not program.has_reward


FOREIGN = """import numpy as np

SCALE = 0.5
PARAMS = {"near": 1.0, "alive": 0.5}
BOUNDS = {"near": (0.9, 1.1)}


def closeness(x):
    return np.exp(-np.square(x / SCALE))


def reward(obs, action, next_obs, params):
    # somebody else's code
    near = closeness(next_obs.cart_position - 1.0)
    return {"near": params.near * near, "alive": params.alive * np.ones_like(near)}
"""


@pytest.mark.parametrize("operator", ["refine", "cross", "parameters"])
def test_of_somebody_elses_program_only_the_numbers_are_changed(operator):
    foreign = candidate(read_program(FOREIGN, PARK.fields, "replace"))
    seen = set()
    for program, _ in children(foreign, operator, slots=6):
        assert structure(program.source) == structure(FOREIGN)
        assert 0.9 <= program.params["near"] <= 1.1
        seen.add(tuple(program.params.values()))
    assert len(seen) == 6


def test_a_program_without_numbers_is_followed_by_a_fresh_one():
    source = "import numpy as np\n\n\ndef reward(obs, action, next_obs, params):\n"
    source += "    position = next_obs.cart_position\n    return {'x': position}\n"
    foreign = candidate(read_program(source, PARK.fields, "replace"))
    program, _ = next(children(foreign, slots=1))
    assert "near_cart_position" in program.params


def test_a_repair_is_another_program():
    first = answer(PARK, 0)
    second = answer(PARK, 0, attempt=1, repair=Repair(first, "line 1: expected another"))
    assert read_reply(first).source != read_reply(second).source


def test_a_repaired_refinement_goes_further_from_its_parent():
    parent = a_parent()

    def changed(attempt):
        before = set(parent.program.params.items())
        return sum(
            len(set(child.params.items()) ^ before)
            for child, _ in children(parent, attempt=attempt)
        )

    assert changed(0) < changed(1) < changed(2)


READS_FEATURE = FOREIGN.replace(
    "def reward",
    """def features(obs):
    off = obs.cart_position - 1.0
    return {"off": off, "lean": np.sin(obs.pole_angle)}


def reward""",
).replace("closeness(next_obs.cart_position - 1.0)", 'closeness(features(next_obs)["off"])')


@pytest.mark.parametrize("source", [FOREIGN, READS_FEATURE], ids=["plain", "reads a feature"])
def test_somebody_elses_reward_gets_other_features_and_stays(source):
    layout, states, actions, nexts = transitions("cartpole-park")
    foreign = candidate(read_program(source, PARK.fields, "replace"))
    before = load_program(foreign.program, layout).reward(states, actions, nexts)
    program, _ = next(children(foreign, "features", slots=1))
    grandchild, _ = next(children(candidate(program), "features", slots=1))
    for child in (program, grandchild):
        refuse_changed_reward(child, foreign.program)
        loaded = load_program(child, layout, strict=True)
        assert np.isfinite(loaded.features(states)).all()
        after = loaded.reward(states, actions, nexts)
        for name, values in before.items():
            np.testing.assert_array_equal(after[name], values)
