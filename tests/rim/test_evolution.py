"""The designer without a model: what it writes, and that it leaves what nobody may see."""

import dataclasses
import itertools
import re

import numpy as np
import pytest

from core.designers.evolution import EvolutionDesigner
from core.designers.evolution.grammar import MOST_NUMBERS, MOST_TERMS
from core.program import read_program
from core.records.task import Field, Fitness, Task
from core.replies import read_reply
from core.tasks import catalogue
from core.training.runtime import load_program
from tests.builders import a_preflight
from tests.rim.evolving import (
    PARK,
    SLOTS,
    TASKS,
    answer,
    ask,
    asked,
    candidate,
    program_of,
    seeded,
    structure,
    transitions,
)

pytestmark = pytest.mark.slow  # many programs are written and run


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


def test_one_that_has_answered_for_another_task_answers_like_a_new_one():
    """It keeps what it has read of the last task."""
    designer = EvolutionDesigner()
    near, far = (
        a_preflight(quantiles={"cart_velocity": (-w, 0.0, w), "pole_angle": (-w, 0.0, w)})
        for w in (0.1, 8.0)
    )
    questions = [ask(catalogue()[name], slot) for name in TASKS for slot in (0, 1)]
    questions += [ask(PARK, preflight=found) for found in (None, near, far)]
    answers = [designer.answer(question) for question in questions]
    assert answers == [EvolutionDesigner().answer(question) for question in questions]
    assert len({one.text for one in answers[-3:]}) == 3  # what preflight found makes a difference
