"""The designer without a model reads what is wanted from a task's words and fields."""

import time

import numpy as np
import pytest

from core.designers.evolution import EvolutionDesigner
from core.designers.evolution.reading import read_task
from core.designers.evolution.words import measures, stem, tokens
from core.fields import lay_out
from core.fitness import fields_of
from core.program import read_program
from core.records.measured import Preflight
from core.records.task import Field, Fitness, Task
from core.replies import read_reply
from core.tasks import catalogue
from core.training.runtime import load_program
from tests.rim.evolving import (
    PARK,
    SEEDS,
    SLOTS,
    TASKS,
    answer,
    ask,
    asked,
    program_of,
    seeded,
    transitions,
)

pytestmark = pytest.mark.slow  # many programs are written and run


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("one metre", [(1.0, "m")], id="a number word"),
        pytest.param("half a metre per second", [(0.5, "m/s")], id="half a unit of speed"),
        pytest.param("90 degrees", [(np.pi / 2, "rad")], id="degrees are turned into radians"),
        pytest.param("at 0.2 rad/s", [(0.2, "rad/s")], id="a slash"),
        pytest.param("-1.5 m and 50 cm", [(-1.5, "m"), (0.5, "m")], id="several"),
        pytest.param("the first one", [], id="a word without a unit is no number"),
        pytest.param("near 3", [(3.0, None)], id="digits without a unit are one"),
    ],
)
def test_numbers_are_read_with_their_units(text, expected):
    found = [(m.value, m.dimension) for m in measures(tokens(text))]
    assert [d for _, d in found] == [d for _, d in expected]
    assert [v for v, _ in found] == pytest.approx([v for v, _ in expected])


@pytest.mark.parametrize(
    "words", ["balance balancing balanced", "stop stopped stopping", "velocity velocities"]
)
def test_the_forms_of_a_word_are_the_same_word(words):
    assert len({stem(word) for word in words.split()}) == 1


def wishes(task, description=None):
    text = task.description if description is None else description
    return read_task(text, task.fields, {}, actions=task.actions).wishes


@pytest.mark.parametrize(
    ("name", "description", "expected"),
    [
        ("cartpole-park", None, ("near", "cart_position", 1.0)),
        ("cartpole-park", "Wait half a metre to the left.", ("near", "cart_position", -0.5)),
        ("cartpole-park", "Wait at -0.5 m left of the centre.", ("near", "cart_position", -0.5)),
        ("cartpole-park", "Move backwards at 0.5 m/s.", ("near", "cart_velocity", -0.5)),
        ("cartpole-park", "Lean 5 degrees to the left.", ("near", "pole_angle", -0.0873)),
        ("cartpole-park", "Keep cart_position at 1.5.", ("near", "cart_position", 1.5)),
        ("cartpole", None, ("near", "pole_angle", 0.0)),
        ("mountaincar", None, ("near", "position", 0.5)),
        ("acrobot", None, ("near", "first_angle_cos", -1.0)),
        ("pendulum", None, ("near", "height", 1.0)),
        ("lunarlander", None, ("near", "x", 0.0)),
        ("hopper", None, ("more", "x_velocity", 0.0)),
        ("hopper", "Hop backwards.", ("less", "x_velocity", 0.0)),
        ("hopper-stand", None, ("near", "torso_angle", 0.0)),
        ("halfcheetah", None, ("more", "x_velocity", 0.0)),
        ("cheetah-backwards", None, ("less", "x_velocity", 0.0)),
        ("swimmer-backwards", None, ("less", "x_velocity", 0.0)),
        ("ant", None, ("more", "x_velocity", 0.0)),
        ("inverted-pendulum-park", None, ("near", "cart_position", 0.5)),
        ("mountaincar-rest", None, ("near", "position", -0.65)),
        ("lunarlander-hover", None, ("near", "y", 0.6)),
        ("reacher-circle", None, ("near", "first_angular_velocity", 5.0)),
    ],
)
def test_the_text_is_read_as_a_wish_about_a_field(name, description, expected):
    clearest = wishes(catalogue()[name], description)[0]
    assert (clearest.aim, clearest.quantity.name, clearest.target) == expected


FIELDS = (
    Field("x", "obs[0]", unit="m"),
    Field("y", "obs[1]", unit="m"),
    Field("v", "obs[2]", unit="m/s"),
    Field("high", "obs[3]", low=-1.0, high=1.0),
    Field("joints", "obs[4:7]", unit="rad"),
)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        pytest.param("0.5 < x < 1.5", [("near", "x", 1.0)], id="a band has a middle"),
        pytest.param("x > 0.5 and 1.5 > x", [("near", "x", 1.0)], id="a band in two comparisons"),
        pytest.param("x > 2", [("least", "x", 2.2)], id="past a lower bound"),
        pytest.param("x < 2", [("most", "x", 1.8)], id="short of an upper bound"),
        pytest.param("-x < 2", [("least", "x", -1.8)], id="the sign turns the comparison round"),
        pytest.param("x > -2", [("least", "x", -1.8)], id="past a bound below zero"),
        pytest.param("high > 0.9", [("least", "high", 0.95)], id="not past the end of the field"),
        pytest.param("abs(x) < 2", [("near", "x", 0.0)], id="a size at most is a band"),
        pytest.param("abs(x - 3) < 2", [("near", "x", 3.0)], id="a band around a number"),
        pytest.param("abs(3 - x) < 2", [("near", "x", 3.0)], id="the same the other way round"),
        pytest.param("abs(v) < 0.1", [("calm", "v", 0.0)], id="a velocity near zero is calm"),
        pytest.param("abs(x) > 2", [("least", "size_x", 2.2)], id="a size at least"),
        pytest.param("x - y > 1", [("least", "x_less_y", 1.1)], id="a difference"),
        pytest.param("x > y", [("least", "x_less_y", 0.2)], id="one field beyond another"),
        pytest.param(
            "abs(x - y) < 1", [("near", "x_less_y", 0.0)], id="two fields near each other"
        ),
        pytest.param("joints[2] > 1", [("least", "joints_2", 1.1)], id="a component"),
        pytest.param("z > 1", [], id="a field that is none"),
    ],
)
def test_a_condition_is_read_as_a_wish(where, expected):
    assert asked(Fitness("success", where=where), FIELDS) == expected
    assert asked(Fitness("share", where=where, horizon=10), FIELDS) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("v", [("more", "v", 0.0)]),
        ("-v", [("less", "v", 0.0)]),
        ("x - y", [("more", "x_less_y", 0.0)]),
        ("-abs(x - 3)", [("near", "x", 3.0)]),
        ("v - abs(x)", [("near", "x", 0.0), ("more", "v", 0.0)]),
    ],
)
def test_a_statistic_is_read_as_a_wish(field, expected):
    found = asked(Fitness("statistic", field=field, over="mean"), FIELDS)
    assert sorted(found) == sorted(expected)


def test_what_the_fitness_asks_for_comes_before_what_the_text_says():
    far = Fitness("success", where="2 < x < 4")
    assert asked(far, FIELDS, "Move x to one metre.")[0] == ("near", "x", 3.0)
    names = [w.quantity.name for w in read_task("x at 1 m", FIELDS, {}, fitness=far).wishes]
    assert names.count("x") == 1


def test_a_step_that_is_not_lived_is_a_loss_where_steps_are_counted():
    rest = catalogue()["mountaincar-rest"]
    reading = read_task(rest.description, rest.fields, {}, fitness=rest.fitness)
    assert reading.ends == "failure"
    assert read_task(rest.description, rest.fields, {}).ends == "goal"


def test_sides_that_exclude_each_other_are_visited_in_turn():
    parts = tuple(
        Fitness("share", where=where, horizon=10)
        for where in ("x > 2 and y < 1", "x < -2 and y < 1")
    )
    reading = read_task("", FIELDS, {}, fitness=Fitness("least", parts=parts))
    assert [[w.target for w in side] for side in reading.sides] == [[2.2, 0.9], [-2.2, 0.9]]
    aims = {(w.aim, w.quantity.kind) for w in reading.wishes if w.asked}
    assert {("near", "swing"), ("move", "change"), ("least", "far"), ("most", "position")} == aims


def test_parts_that_hold_at_once_are_all_wished_for():
    parts = (
        Fitness("share", where="x > 2", horizon=10),
        Fitness("statistic", field="v", over="mean"),
    )
    assert asked(Fitness("least", parts=parts), FIELDS) == [("least", "x", 2.2), ("more", "v", 0.0)]
    assert not read_task("", FIELDS, {}, fitness=Fitness("least", parts=parts)).sides


WISHES = [name for name in TASKS if catalogue()[name].fitness.kind != "return"]


@pytest.mark.parametrize("name", WISHES)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_slots_read_every_field_that_the_fitness_compares(name, seed):
    task = catalogue()[name]
    readable = {f.name for f in task.fields if "reward" in f.visible}
    source = "\n".join(read_reply(answer(task, slot, seed=seed)).source for slot in range(4))
    rewards = "\n".join(part.split("def features")[0] for part in source.split("def reward")[1:])
    for field in fields_of(task.fitness) & readable:
        assert f"next_obs.{field}" in rewards


def test_a_swing_pays_more_than_resting_or_going_over():
    """Of a pendulum's own motions, swinging to 90 degrees collects most, in one of four seeds."""
    task = catalogue()["pendulum-swing"]
    layout = lay_out(task.fields, 3)
    best = []
    for slot in range(4):
        loaded = load_program(program_of(answer(task, slot, seed=0), task), layout)
        totals = {e: collected(loaded, e) for e in (-15.0, -14.0, -8.0, 0.0, 14.0, 40.0)}
        best.append(max(totals, key=totals.get))
    assert 0.0 in best


def collected(loaded, energy):
    """Return the reward of 200 steps of a free pendulum; -15 hangs still, 0 turns at 90 degrees."""
    angle, speed, rows = np.pi, np.sqrt(2 * (energy + 15.0)), []
    for _ in range(200 * 50):
        speed += 0.001 * 15.0 * np.sin(angle)
        angle += 0.001 * speed
        rows.append((np.cos(angle), np.sin(angle), speed))
    states = np.array(rows[::50], np.float32)
    action = np.zeros((len(states) - 1, 1), np.float32)
    return float(sum(loaded.reward(states[:-1], action, states[1:]).values()).sum())


def test_measured_quantiles_set_the_scale_where_no_bound_does():
    field = Field("speed", "obs[0]", unit="m/s", meaning="velocity")
    near = read_task("go", (field,), {"speed": (-0.1, 0.0, 0.1)}).wishes[0].quantity.span
    far = read_task("go", (field,), {"speed": (-10.0, 0.0, 10.0)}).wishes[0].quantity.span
    assert far == pytest.approx(100 * near)


def test_the_first_slots_of_the_demo_ask_for_what_the_text_says():
    for seed in range(10):
        sensible = 0
        for slot in range(4):
            loaded = load_program(
                program_of(answer(PARK, slot, seed=seed), PARK), lay_out(PARK.fields, 4)
            )
            sensible += prefers_parking(loaded)
        assert sensible >= 3


def prefers_parking(loaded):
    """Tell whether resting upright at 1 m pays more than at 0 or 2 m, leaning, or having fallen."""
    states = np.array(
        [
            [1.0, 0, 0, 0, 0],
            [0.0, 0, 0, 0, 0],
            [2.0, 0, 0, 0, 0],
            [1.0, 0, 0.15, 0, 0],
            [1.0, 0, 0.2, 0, 1],
        ],
        dtype=np.float32,
    )
    total = sum(loaded.reward(states[:, :4], np.zeros(5, np.int64), states).values())
    return bool((total[0] > total[1:] + 1e-3).all() and total[0] > 0)


@pytest.mark.parametrize("name", TASKS)
def test_living_is_paid_only_where_an_end_is_a_failure(name):
    task = catalogue()[name]
    reading = read_task(task.description, task.fields, {}, fitness=task.fitness)
    names = {n for p in seeded(name) for n in p.params}
    assert ("alive" in names) == (reading.ends in ("failure", "both"))
    assert ("arrive" in names) == (reading.ends == "goal")


def test_lingering_before_the_goal_never_pays():
    """Where arriving ends the episode, every step before it costs or is neutral on balance."""
    for name in ("mountaincar", "acrobot"):
        layout, states, actions, _ = transitions(name)
        for program in seeded(name)[:4]:
            loaded = load_program(program, layout)
            still = np.zeros((len(states), layout.size), np.float32)
            still[:, : layout.state_size] = states
            components = loaded.reward(states, actions, still)
            moving = {n for n in components if n.startswith(("move", "gain", "calm"))}
            assert sum(v for n, v in components.items() if n not in moving).max() <= 0


def test_an_unknown_environment_is_searched_by_its_measured_ranges():
    fields = tuple(Field(f"obs_{i}", f"obs[{i}]") for i in range(3))
    preflight = Preflight(
        fields,
        observation_size=3,
        action={"kind": "box", "size": 2, "low": [-1.0], "high": [1.0]},
        max_episode_steps=None,
        quantiles={f.name: (-1.0, 0.5, 2.0) for f in fields},
        random_fitness=0.0,
        steps_per_second=1.0,
        adapter="gymnasium",
        probe="",
        estimate={},
    )
    task = Task("Arm-v0", "Arm-v0", "Do what you do.")
    sources = set()
    for slot in SLOTS:
        source = read_reply(answer(task, slot, preflight=preflight)).source
        read_program(source, fields, "replace")
        sources.add(source)
    assert len(sources) >= 10


def test_components_of_a_vector_are_read_one_by_one():
    fields = (Field("joints", "obs[0:3]", unit="rad", meaning="joint angles, 0 when straight"),)
    task = Task("t", "T-v0", "Stand with straight joints.", fields=fields, actions="action[0]")
    layout = lay_out(fields, 3)
    block = np.ones((5, 3), np.float32)
    for slot in SLOTS:
        loaded = load_program(program_of(answer(task, slot), task), layout)
        assert loaded.reward(block, np.ones((5, 1), np.float32), block)


def test_without_a_field_there_is_nothing_to_write():
    reply = EvolutionDesigner().answer(ask(Task("t", "T-v0", "Go.")))
    assert (reply.outcome, reply.text) == ("empty", "")
    assert "no field" in reply.detail


@pytest.mark.parametrize("text", ["1/", "at 1 ", "0.1 to "])
def test_a_description_that_is_made_of_numbers_is_read_in_no_time(text):
    fields = [Field(f"x_{n}", f"obs[{n}]", "m") for n in range(8)]
    began = time.process_time()
    read_task((text * 5_000)[:20_000], fields, {})
    assert time.process_time() - began < 2.0


def test_an_idle_action_is_a_number_of_one():
    assert read_task("Wait.", [], {}, actions="0 does nothing, 1 pushes").idle == 0
    assert read_task("Wait.", [], {}, actions="9" * 4_500 + " does nothing").idle is None
