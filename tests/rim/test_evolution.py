"""The designer without a model: what it reads, what it writes, and how it breeds."""

import ast
import dataclasses
import importlib
import itertools
import re
import warnings
from functools import cache

import numpy as np
import pytest

from core.designers.evolution import EvolutionDesigner
from core.designers.evolution.breeding import main_names
from core.designers.evolution.grammar import MOST_NUMBERS, MOST_TERMS, seed_design
from core.designers.evolution.parsing import read_design
from core.designers.evolution.reading import read_task
from core.designers.evolution.words import measures, stem, tokens
from core.designers.evolution.writing import write_module
from core.envs import make_batch
from core.fields import lay_out
from core.fitness import fields_of
from core.program import read_program, refuse_changed_reward
from core.records.asking import Ask, Brief, Prompt, Repair
from core.records.measured import Preflight, Report, TermStatistics
from core.records.rounds import Candidate
from core.records.task import Field, Fitness, Task
from core.replies import read_reply
from core.tasks import catalogue
from core.training.runtime import load_program

pytestmark = pytest.mark.slow  # many programs are written and run

with warnings.catch_warnings():  # Box2D's extension warns while it loads, and cannot bear an error
    warnings.simplefilter("ignore")
    importlib.import_module("Box2D")

TASKS = list(catalogue())
PARK = catalogue()["cartpole-park"]
SEEDS, SLOTS = range(8), range(12)


def ask(task, slot=0, *, seed=0, iteration=0, attempt=0, operator="seed", mode="replace", **brief):
    asked = Brief(task, iteration, slot, operator, mode, seed, **brief)
    return Ask(iteration, slot, attempt, asked, Prompt(()))


def answer(*arguments, **named):
    return EvolutionDesigner().answer(ask(*arguments, **named)).text


def program_of(text, task, mode="replace"):
    return read_program(read_reply(text).source, task.fields, mode)


@cache
def seeded(name):
    task = catalogue()[name]
    return [program_of(answer(task, slot, seed=s), task) for s in SEEDS for slot in SLOTS]


def candidate(program, number=0, *, report=None, iteration=0):
    return Candidate(iteration, number, "seed", "trained", program=program, report=report)


@cache
def transitions(name, rows=8, steps=40):
    """Return the layout and real transitions under random actions."""
    task = catalogue()[name]
    batch = make_batch(task, rows)
    rng = np.random.default_rng(0)
    state = batch.reset(list(range(rows)))
    found = []
    for _ in range(steps):
        action = random_action(batch.action, rows, rng)
        step = batch.step(action)
        found.append((state.copy(), action, step.next_block.copy()))
        state = step.state
    batch.close()
    states, actions, nexts = (np.concatenate(part) for part in zip(*found, strict=True))
    return batch.layout, states, actions, nexts


def random_action(space, rows, rng):
    if space["kind"] == "discrete":
        return rng.integers(space["n"], size=rows)
    size = (rows, space["size"])
    return rng.uniform(space["low"], space["high"], size).astype(np.float32)


# --- what it writes ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_every_program_keeps_the_contract_on_real_transitions(name):
    layout, states, actions, nexts = transitions(name)
    for program in seeded(name):
        loaded = load_program(program, layout, strict=True)
        features = loaded.features(states)
        assert np.isfinite(features).all()
        components = loaded.reward(states, actions, nexts)
        assert 1 <= len(components) <= MOST_TERMS
        assert len(program.params) <= MOST_NUMBERS
        for values in components.values():
            assert values.dtype == np.float32
            assert values.shape == (len(states),)
            assert np.isfinite(values).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("size", [0.0, 1e6, -1e6, 3e38, -3e38])
def test_every_program_is_finite_on_any_finite_input(name, size):
    layout, states, actions, nexts = transitions(name)
    for program in seeded(name):
        loaded = load_program(program, layout)
        far, further = np.full_like(states[:2], size), np.full_like(nexts[:2], -size)
        for column in layout.columns:
            if column.source.kind == "terminated":  # is 0 or 1, whatever else breaks
                further[:, column.start] = [0.0, 1.0]
        assert np.isfinite(loaded.features(far)).all()
        for values in loaded.reward(far, actions[:2], further).values():
            assert np.isfinite(values).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_programs_differ(name):
    sources = [program.source for program in seeded(name)]
    assert len(set(sources)) > 0.9 * len(sources)
    for first in range(0, len(sources), len(SLOTS)):  # within one iteration
        shapes = {structure(source) for source in sources[first : first + 6]}
        assert len(shapes) >= 4


def structure(source):
    """Return the code without the numbers of PARAMS."""
    return ast.dump(ast.parse(re.sub(r"PARAMS = \{.*?\}", "PARAMS = {}", source, flags=re.S)))


@pytest.mark.parametrize("name", TASKS)
def test_the_same_question_has_the_same_answer(name):
    task = catalogue()[name]
    assert answer(task, 5, seed=3) == answer(task, 5, seed=3)
    assert answer(task, 5, seed=3) != answer(task, 5, seed=4)
    assert answer(task, 5, seed=3) != answer(task, 5, seed=3, attempt=1)


def test_the_reply_has_the_form_that_a_model_is_asked_for():
    reply = EvolutionDesigner().answer(ask(PARK))
    assert (reply.outcome, reply.model, reply.finish_reason) == ("answered", "evolution", "stop")
    proposal = read_reply(reply.text)
    assert "no language model" in proposal.analysis
    assert "The fitness asks for: cart_position near 1 m." in proposal.analysis
    assert '"balance" is read as pole_angle near 0 rad' in proposal.analysis.lower()
    assert proposal.prediction == "fitness better than native; component near_cart_position rises"
    assert proposal.source.startswith("import numpy as np")


def test_every_component_has_a_comment_that_names_it():
    for program in seeded("cartpole-park"):
        lines = program.source.split("def reward")[1].splitlines()
        for above, line in itertools.pairwise(lines):
            if re.match(r'\s{8}"', line):
                assert above.strip().startswith("# ")


# --- honesty ----------------------------------------------------------------------------------


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Task)])
def test_only_what_a_prompt_tells_matters(field):
    if field in ("description", "fields", "actions", "fitness"):
        return
    values = {
        "env_kwargs": {"a": 1},
        "training": {},
        "max_episode_steps": 9,
        "name": "other",
        "environment": "Other-v0",
        "array": "torch",  # refused at the door; the grammar writes NumPy
    }
    other = dataclasses.replace(PARK, **{field: values[field]})
    assert answer(other, 3) == answer(PARK, 3)


def test_what_only_the_metric_may_see_is_not_used():
    fields = (
        Field("x", "obs[0]", meaning="position", unit="m"),
        Field("secret", "info.secret", meaning="position of the cart", visible=("metric",)),
    )
    task = Task("t", "T-v0", "Move the cart to one metre.", fields=fields)
    fitness = Fitness("success", where="secret > 1 and abs(secret - x) < 2 and x < 3")
    for measured in (Fitness(), fitness, Fitness("statistic", field="-abs(secret)", over="mean")):
        for slot in SLOTS:
            text = answer(dataclasses.replace(task, fitness=measured), slot)
            assert "secret" not in text
    assert asked(fitness, fields) == [("most", "x", 2.7)]


@pytest.mark.parametrize(
    "description",
    [
        pytest.param('Go "there"\n```python\nimport os\n``` 5 m', id="a code fence"),
        pytest.param("# ''' \"\"\" \\ 3 m \x00", id="quotes"),
        pytest.param("上へ 進む 5 メートル", id="another script"),
        pytest.param("1e999 m 5" + "0" * 400 + " m", id="a number without end"),
        pytest.param("the " * 5000, id="a long text"),
        pytest.param("Prediction: all 2 m", id="a prediction"),
    ],
)
def test_a_strange_description_breaks_nothing(description):
    task = dataclasses.replace(PARK, description=description)
    for slot in (0, 1, 5):
        program_of(answer(task, slot), task)


# --- reading ----------------------------------------------------------------------------------


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


def asked(fitness, fields=(), description=""):
    found = read_task(description, fields, {}, fitness=fitness).wishes
    return [(w.aim, w.quantity.name, w.target) for w in found if w.asked]


@pytest.mark.parametrize(
    ("name", "description", "expected"),
    [
        ("cartpole-park", None, ("near", "cart_position", 1.0)),
        ("cartpole-park", "Wait half a metre to the left.", ("near", "cart_position", -0.5)),
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


# --- breeding ---------------------------------------------------------------------------------


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


# --- what is designed -------------------------------------------------------------------------


@pytest.mark.parametrize("operator", ["seed", "refine", "cross", "different", "features"])
@pytest.mark.parametrize("name", TASKS)
def test_features_alone_are_designed_where_the_job_says_so(name, operator):
    task = catalogue()[name]
    layout, states, _, _ = transitions(name)
    seeds = [answer(task, slot, design="features") for slot in (0, 1)]
    programs = [read_program(read_reply(t).source, task.fields, "replace") for t in seeds]
    parents = tuple(candidate(p, i) for i, p in enumerate(programs))
    named = {"operator": operator, "iteration": 1, "parents": parents, "history": parents}
    sources = set()
    for slot in range(6):
        source = read_reply(answer(task, slot, design="features", **named)).source
        program = read_program(source, task.fields, "replace", design="features")
        loaded = load_program(program, layout, strict=True)
        assert np.isfinite(loaded.features(states)).all()
        sources.add(source)
    assert len(sources) >= 3


@pytest.mark.parametrize("operator", ["seed", "refine", "cross", "different"])
def test_the_reward_alone_is_designed_where_the_job_says_so(operator):
    programs = [p for p in seeded("cartpole-park") if p.has_features][:2]
    parents = tuple(candidate(p, i) for i, p in enumerate(programs))
    named = {"operator": operator, "iteration": 1, "parents": parents, "history": parents}
    for slot in SLOTS:
        text = answer(PARK, slot, design="reward", **named)
        read_program(read_reply(text).source, PARK.fields, "replace", design="reward")


def test_an_analysis_is_answered_with_nothing():
    reply = EvolutionDesigner().answer(ask(PARK, kind="analysis"))
    assert (reply.outcome, reply.text) == ("empty", "")
