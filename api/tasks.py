"""What a request may name: tasks of the catalogue, methods and designers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path

from api import openapi
from api.designers import DESIGNERS
from api.schemas import FieldBody, FitnessBody
from api.views import MethodList, NamedView, TaskList, TaskView
from core.errors import NotFound
from core.fitness import describe
from core.methods import METHODS
from core.records.task import Task
from core.tasks import catalogue

router = APIRouter(tags=["catalogue"])


@router.get("/tasks", operation_id="list_tasks", summary="List the catalogue of tasks")
def list_tasks() -> TaskList:
    """Return every task that a request may name; any other environment can be described instead."""
    return TaskList(data=[task_view(task) for task in catalogue().values()])


@router.get(
    "/tasks/{name}",
    operation_id="read_task",
    summary="Read a task of the catalogue",
    responses=openapi.refusals(404),
)
def read_task(
    name: Annotated[str, Path(max_length=200, examples=["cartpole-park"])],
) -> TaskView:
    """Return one task with its fields and its fitness."""
    task = catalogue().get(name)
    if task is None:
        raise NotFound(f"no task {name!r} in the catalogue", hint="List it with GET /v1/tasks.")
    return task_view(task)


@router.get("/methods", operation_id="list_methods", summary="List methods and designers")
def list_methods() -> MethodList:
    """Return what `method` and `designer.name` may be."""
    methods = [NamedView(name=m.name, description=m.summary) for m in METHODS.values()]
    designers = [NamedView(name=name, description=text) for name, text in DESIGNERS.items()]
    return MethodList(data=methods, designers=designers)


def task_view(task: Task) -> TaskView:
    """Show a task."""
    return TaskView(
        name=task.name,
        environment=task.environment,
        description=task.description,
        fitness=FitnessBody(**asdict(task.fitness)),
        measured=describe(task.fitness, task.fields),
        fields=[FieldBody(**asdict(field)) for field in task.fields],
        env_kwargs=dict(task.env_kwargs),
        max_episode_steps=task.max_episode_steps,
        actions=task.actions,
        training=dict(task.training),
        array=task.array,
    )
