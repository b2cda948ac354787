"""Tasks: the catalogue, and what a user may send instead."""

import dataclasses
import json
from importlib.resources import files

import pytest

from core.errors import InvalidFitness, InvalidInput, UnknownTask
from core.records.task import Field, Fitness, Task
from core.tasks import (
    catalogue,
    check_task,
    find_task,
    task_from_mapping,
    task_to_mapping,
    with_known_fields,
)

HEIGHT = Field("height", "obs[0]", unit="m", low=0.0, high=2.0)
TASK = Task("climb", "Hill-v0", "Climb the hill.", Fitness(), (HEIGHT,))


@pytest.mark.parametrize("name", list(catalogue()))
def test_a_task_of_the_catalogue_is_complete(name):
    task = catalogue()[name]
    assert task.name == name
    assert (files("core") / "catalogue" / f"{name}.toml").is_file()
    assert name == name.lower()
    assert "_" not in name
    assert task.actions
    assert task.fitness.goal is not None
    assert task.training["steps"]
    assert all(field.meaning for field in task.fields)


@pytest.mark.parametrize("name", list(catalogue()))
def test_a_task_survives_the_way_through_json(name):
    task = catalogue()[name]
    assert task_from_mapping(json.loads(json.dumps(task_to_mapping(task)))) == task


def test_the_task_of_the_demo_is_measured_where_the_text_says():
    task = find_task("cartpole-park")
    assert task.fitness == Fitness(
        "share", where="0.75 < cart_position < 1.25", horizon=500, goal=0.8
    )


@pytest.mark.parametrize("name", ["Blackjack-v1", "my_module:Arm", "ns/Arm-v0"])
def test_any_environment_is_a_task_with_its_own_return_as_fitness(name):
    task = find_task(name)
    assert (task.name, task.environment, task.fields) == (name, name, ())
    assert task.fitness == Fitness()
    check_task(task)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        pytest.param("cartpole-parc", "Did you mean cartpole-park", id="a typing error"),
        pytest.param("HalfCheetah", "one of the tasks acrobot", id="no version, no task"),
        pytest.param("", "one of the tasks", id="nothing"),
        pytest.param("../secret-v1 x", "one of the tasks", id="nonsense"),
    ],
)
def test_an_unknown_task_is_refused_with_what_is_known(name, near):
    with pytest.raises(UnknownTask, match=near):
        find_task(name)


def changed(**entries):
    return dataclasses.replace(TASK, **entries)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        pytest.param(changed(name=" "), "task name", id="no name"),
        pytest.param(changed(environment="a b"), "environment id", id="no environment id"),
        pytest.param(changed(description=" "), "1 to 20000 characters", id="no description"),
        pytest.param(changed(description="x" * 20_001), "found 20001", id="too long a description"),
        pytest.param(changed(max_episode_steps=0), "positive number", id="episodes without steps"),
        pytest.param(changed(fields=(HEIGHT, HEIGHT)), "'height' twice", id="a name twice"),
        pytest.param(changed(fields=(Field("a b", "obs[0]"),)), "identifier", id="no identifier"),
        pytest.param(changed(fields=(Field("for", "obs[0]"),)), "keyword", id="a keyword"),
        pytest.param(changed(fields=(Field("_x", "obs[0]"),)), "start with _", id="an underscore"),
        pytest.param(changed(fields=(Field("x", "obs"),)), "obs", id="a source without index"),
        pytest.param(changed(fields=(Field("x", "qpos[0]"),)), "sim.name", id="unknown source"),
        pytest.param(
            changed(fields=(Field("x", "obs[0]", low=1.0, high=0.0),)), "low below", id="bounds"
        ),
        pytest.param(
            changed(fields=(Field("x", "obs[0]", low=float("nan")),)), "finite", id="no number"
        ),
        pytest.param(
            changed(fields=(Field("x", "info.x"),)), "policy", id="info shown to the policy"
        ),
        pytest.param(
            changed(fields=(Field("x", "obs[0]", visible=("all",)),)),
            "some of",
            id="unknown reader",
        ),
    ],
)
def test_a_task_that_cannot_be_meant_is_refused(task, message):
    with pytest.raises(InvalidInput, match=message):
        check_task(task)


def test_a_fitness_over_an_unknown_field_is_refused():
    with pytest.raises(InvalidFitness, match="Did you mean height"):
        check_task(changed(fitness=Fitness("success", where="hight > 1")))


def test_fields_that_are_not_known_yet_are_left_to_preflight():
    check_task(changed(fields=(), fitness=Fitness("success", where="hight > 1")))


def test_what_is_left_out_has_a_sensible_default():
    task = task_from_mapping({"environment": "Hill-v0", "description": "Climb\n  the hill."})
    assert task == Task("Hill-v0", "Hill-v0", "Climb\n  the hill.")
    data = {**task_to_mapping(task), "fields": [{"name": "won", "source": "info.won"}]}
    assert task_from_mapping(data).fields[0].visible == ("reward",)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        pytest.param({"enviroment": "x"}, "Did you mean environment", id="a typing error"),
        pytest.param({"environment": 3}, "expected a text", id="a number for a text"),
        pytest.param({"fitness": "return"}, "table of named entries", id="a text for a table"),
        pytest.param({"fitness": {"kind": "share", "horizon": 1.5}}, "whole", id="half a step"),
        pytest.param({"fitness": {"goal": True}}, "finite number", id="a truth value for a number"),
        pytest.param({"fitness": {"code": "1"}}, "entry 'code'", id="code for a fitness"),
        pytest.param({"fields": {"x": 1}}, "expected a list", id="a table for a list"),
        pytest.param({"fields": [{"name": "x"}]}, "'source'", id="a field without source"),
        pytest.param({"fields": [{"source": "obs[0]"}]}, "'name'", id="a field without name"),
        pytest.param({"max_episode_steps": "9"}, "whole number", id="a text for a number"),
        pytest.param({"training": {"step": 9}}, "Did you mean steps", id="unknown training entry"),
        pytest.param({"env_kwargs": [1]}, "table of named entries", id="a list of arguments"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused(entries, message):
    with pytest.raises(InvalidInput, match=message):
        task_from_mapping({"environment": "Hill-v0", "description": "Climb.", **entries})


def test_the_required_entries_are_asked_for():
    with pytest.raises(InvalidInput, match="'environment'"):
        task_from_mapping({"description": "Climb."})
    with pytest.raises(InvalidInput, match="'description'"):
        task_from_mapping({"environment": "Hill-v0"})


@pytest.mark.parametrize(
    ("environment", "name"),
    [("LunarLander-v3", "lunarlander"), ("CartPole-v1", "cartpole-park"), ("Hopper-v5", "hopper")],
)
def test_an_environment_that_the_catalogue_knows_brings_its_fields_and_keeps_its_own_wish(
    environment, name
):
    task = find_task(environment)
    assert task.name == environment
    assert task.fields == catalogue()[name].fields
    assert task.fitness == Fitness()


def test_fields_that_are_given_are_kept():
    own = Task("mine", "CartPole-v1", "Stand.", fields=(Field("place", "obs[0]"),))
    assert with_known_fields(own) == own


def test_another_variant_of_an_environment_is_another_environment():
    windy = Task("mine", "LunarLander-v3", "Land.", env_kwargs={"enable_wind": True})
    assert with_known_fields(windy).fields == ()
