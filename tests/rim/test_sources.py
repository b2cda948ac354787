"""Sources of real environments: excerpts that show observations, and prompts that do not leak."""

import ast
from dataclasses import replace
from functools import cache

import pytest

import tests.rim.box2d  # noqa: F401
from core.context import MOST_SOURCE, native_reward, observation_excerpt
from core.envs.sources import environment_source
from core.leaks import audit_prompt
from core.methods import METHODS
from core.records.asking import Prompt
from core.records.history import History
from core.records.spec import JobSpec
from core.records.task import Task
from core.tasks import catalogue
from core.words import quoted
from tests.prompt_situations import PREFLIGHT
from tests.rim.catalogue_parts import TASKS

pytestmark = pytest.mark.slow  # every task, with every method's first prompt


@cache
def source_of(environment):
    return environment_source(Task(environment, environment, "Go."))


def first_prompts(method, task, source):
    """Return the prompts of a job's first iteration on a task of the catalogue."""
    quantiles = {field.name: (-1.0, 0.0, 1.0) for field in task.fields}
    known = replace(PREFLIGHT, fields=task.fields, quantiles=quantiles, source=source)
    history = History(JobSpec(task, method=method.name), preflight=known)
    return [method.render(brief) for brief in method.briefs(history)]


@pytest.mark.parametrize("name", TASKS)
def test_the_source_is_read_and_shows_how_the_observation_is_built(name):
    source = source_of(catalogue()[name].environment)
    shown = observation_excerpt(source)
    assert 0 < len(source) <= MOST_SOURCE
    assert ast.parse(shown)
    assert "def step" in shown
    assert "reward" not in shown
    assert '"""' not in shown


@pytest.mark.parametrize(
    ("name", "kept", "paid"),
    [
        ("pendulum", "np.sin(theta)", "angle_normalize(th) ** 2 + 0.1 * thdot ** 2"),
        ("acrobot", "cos(s[0])", "-cos(s[0]) - cos(s[1] + s[0])"),
        ("lunarlander", "self.lander.angle", "-100 * np.sqrt(state[0] * state[0]"),
        ("bipedalwalker", "for l in self.lidar", "0.00035 * MOTORS_TORQUE"),
        ("mountaincar-continuous", "self.power", "math.pow(action[0], 2) * 0.1"),
        ("ant", "self.contact_forces[1:]", "x_velocity * self._forward_reward_weight"),
        ("humanoid", "self.data.cinert[1:]", "rewards - costs"),
        ("humanoid-standup", "self.data.cvel[1:]", "(pos_after - 0) / self.model.opt.timestep"),
        ("inverted-double-pendulum", "np.sin(self.data.qpos[1:])", "0.01 * x ** 2 + (y - 2) ** 2"),
        ("reacher", "self.get_body_com('fingertip')", "-np.linalg.norm(vec)"),
        pytest.param("fetch-push", "object_pos - grip_pos", "-(d > self.", marks=TASKS[-1].marks),
    ],
)
def test_the_excerpt_shows_what_is_observed_and_not_what_is_paid(name, kept, paid):
    source = source_of(catalogue()[name].environment)
    assert kept in observation_excerpt(source)
    assert paid not in observation_excerpt(source)
    assert any(paid in expression for expression in native_reward(source).expressions)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_no_first_prompt_leaks_with_or_without_the_source(name, method):
    task = catalogue()[name]
    source = source_of(task.environment)
    native = native_reward(source)
    for shown in ("", source):
        for prompt in first_prompts(method, task, shown):
            assert audit_prompt(prompt, task.fields, native) == ()
            text = "\n".join(text for _, text in prompt.messages)
            assert ("# How the environment builds" in text) == bool(shown)


@pytest.mark.parametrize("name", TASKS)
def test_the_whole_source_would_leak_wherever_it_computes_a_reward(name):
    task = catalogue()[name]
    source = source_of(task.environment)
    naked = Prompt((("user", quoted("source", source, MOST_SOURCE)),))
    leaks = audit_prompt(naked, task.fields, native_reward(source))
    constant = ("MountainCar-v0", "CartPole-v1")  # so much a step, whatever happens
    assert bool(leaks) or task.environment in constant
