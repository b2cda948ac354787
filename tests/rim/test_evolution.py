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
from core.program import read_program, refuse_changed_reward
from core.records import (
    Ask,
    Brief,
    Candidate,
    Field,
    Fitness,
    Preflight,
    Prompt,
    Repair,
    Report,
    Task,
    TermStatistics,
)
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
    assert "one metre to the right of the centre" in proposal.analysis
    assert proposal.prediction == "fitness better than native; component near_cart_position rises"
    assert proposal.source.startswith("import numpy as np")


def test_every_component_has_a_comment_that_names_it():
    for program in seeded("cartpole-park"):
        lines = program.source.split("def reward")[1].splitlines()
        for above, line in itertools.pairwise(lines):
            if re.match(r'\s{8}"', line):
                assert above.strip().startswith("# ")


# --- honesty ----------------------------------------------------------------------------------


def test_the_fitness_is_never_looked_at():
    for fitness in (Fitness(), Fitness("success", where="cart_position < -2", goal=1.0)):
        other = dataclasses.replace(PARK, fitness=fitness)
        for slot in range(6):
            assert answer(other, slot) == answer(PARK, slot)


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Task)])
def test_only_the_text_the_fields_and_the_actions_matter(field):
    if field in ("description", "fields", "actions"):
        return
    values = {
        "fitness": Fitness("statistic", field="x", over="max"),
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
    for slot in SLOTS:
        assert "secret" not in read_reply(answer(task, slot)).source


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
    reading = read_task(catalogue()[name].description, catalogue()[name].fields, {})
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
    reading = read_task(task.description, task.fields, {}, actions=task.actions)
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
