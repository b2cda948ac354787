"""From a request to a complete job spec: defaults, and every check that needs no environment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter, ValidationError

from api.designers import DESIGNERS
from api.errors import InvalidField
from api.limits import (
    ALGORITHMS,
    MAX_FREE_CHARACTERS,
    MAX_FREE_NODES,
    MAX_PLANNED_STEPS,
    too_large,
)
from api.schemas import JobRequest, Piece, SpecBody, TaskBody, TrainingBody
from core.budgets import overlong_plan, planned_cost
from core.errors import InvalidInput, UnknownDesigner
from core.learners import read_learner
from core.methods import find_method
from core.prices import Prices, asked_models, asks_a_model
from core.profiles import PROFILES
from core.records.spec import (
    Budget,
    Context,
    DesignerChoice,
    Evaluation,
    JobSpec,
    Training,
    Variant,
)
from core.records.task import Task
from core.rungs import rung_steps
from core.tasks import (
    catalogue,
    check_task,
    find_task,
    task_from_mapping,
    with_known_fields,
)

SPEC: TypeAdapter[SpecBody] = TypeAdapter(SpecBody)
RECORD: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)  # takes it apart ten times as fast as `asdict`


def complete(request: JobRequest) -> JobSpec:
    """Fill in every default and hold the request to what can be known without the environment.

    Raises:
        InvalidInput: unknown task, method or designer, unreadable fitness, a budget that buys nothing.
    """
    request = _sized(request)
    task = _task(request)
    method = find_method(request.method)
    request = _with_defaults(request, method.defaults)
    spec = JobSpec(
        task=task,
        method=method.name,
        designer=DesignerChoice(**request.designer.model_dump()),
        iterations=request.iterations,
        candidates=request.candidates,
        mode=request.mode,
        weight=request.weight,
        training=_training(task, request.training),
        evaluation=Evaluation(**request.evaluation.model_dump()),
        budget=Budget(**request.budget.model_dump()),
        seed=request.seed,
        design=request.design,
        screens=request.screens,
        smoothness=request.smoothness,
        context=Context(**request.context.model_dump()),
        human_weight=request.human_weight,
        await_feedback=request.await_feedback,
        arms=tuple(Variant(**arm.model_dump()) for arm in request.arms),
    )
    check_free_parts(spec)
    _check_designer(spec.designer)
    _check_arms(spec)
    _check_library(spec)
    _check_learner(spec)
    _check_budget(spec, len(request.start))
    return spec


def check_free_parts(spec: JobSpec) -> None:
    """Refuse free-form JSON that is larger than any honest one: whoever lists jobs reads all of it.

    Not a part of the schema, by which stored jobs are shown as well.

    Raises:
        InvalidField: names the first one.
    """
    parts: Mapping[str, object] = {
        "/task/env_kwargs": spec.task.env_kwargs,
        "/task/training": spec.task.training,
        "/training/settings": spec.training.settings,
        "/evaluation/transfer": spec.evaluation.transfer,
    }
    for pointer, part in parts.items():
        if part and (found := too_large(part)):
            raise InvalidField(
                found,
                pointer=pointer,
                expected=f"JSON of at most {MAX_FREE_NODES:,} values and keys, and "
                f"{MAX_FREE_CHARACTERS:,} characters",
                where=", ".join(pointer.split("/")[1:]),
                hint="Let the environment or the learner read large data from a file of its own.",
            )


def _sized(request: JobRequest) -> JobRequest:
    """Put the numbers of the request's profile where it says nothing itself."""
    if request.profile is None:
        return request
    given = request.model_dump(exclude_unset=True)
    sizes = PROFILES[request.profile]
    sized = {**sizes["job"], **given}
    for part in ("training", "evaluation"):
        sized[part] = {**sizes[part], **given.get(part, {})}
    return JobRequest.model_validate(sized)


def _with_defaults(request: JobRequest, defaults: Mapping[str, object]) -> JobRequest:
    """Lay a method's defaults under what was asked for, piece by piece."""
    silent: dict[str, object] = {}
    for name, value in defaults.items():
        piece = getattr(request, name)
        if isinstance(piece, Piece) and isinstance(value, Mapping):
            unsaid = {k: v for k, v in value.items() if k not in piece.model_fields_set}
            silent[name] = piece.model_copy(update=unsaid)
        elif name not in request.model_fields_set:
            silent[name] = value
    return request.model_copy(update=silent)


def fingerprint(request: JobRequest) -> str:
    """Return the sha256 of what was asked for, independent of spaces and the order of keys."""
    asked = request.model_dump(mode="json", exclude_unset=True)
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def show_spec(spec: JobSpec) -> SpecBody:
    """Return the spec as it can be posted again."""
    return SPEC.validate_python(RECORD.dump_python(spec, warnings=False))


# --- the task ---------------------------------------------------------------------------------


def _task(request: JobRequest) -> Task:
    asked = request.task
    task = _named_task(asked, request.description) if isinstance(asked, str) else _full_task(asked)
    if request.description is not None:
        task = replace(task, description=request.description)
    if not task.description.strip():
        overrides = isinstance(asked, str) or request.description is not None
        raise InvalidField(
            "an empty description",
            pointer="/description" if overrides else "/task/description",
            expected="a description of what is wanted, in words",
            hint="Say in a sentence or two what the agent should do.",
        )
    if task is not catalogue().get(task.name):  # whose tasks keep every rule
        check_task(task)
    return task


def _named_task(name: str, description: str | None) -> Task:
    """Find a task by name.  Whether an id outside the catalogue exists is found out by preflight."""
    task = find_task(name)
    if name not in catalogue() and description is None:
        raise InvalidField(
            f"the environment {name} without a description",
            pointer="/description",
            expected="a task of the catalogue, or an environment id with a description",
            hint="Add `description`: what is wanted, in words.",
        )
    return task


def _full_task(body: TaskBody) -> Task:
    given = body.model_dump(mode="json", exclude_unset=True)
    named = {name: value for name, value in given.items() if value is not None}
    return with_known_fields(task_from_mapping(named))


# --- training and budget ----------------------------------------------------------------------


def _training(task: Task, asked: TrainingBody) -> Training:
    """Lay the request's numbers over the task's own, and those over the general defaults."""
    own = _given_training(task.training)
    given = asked.model_dump(exclude_unset=True)
    chosen = Training().algorithm
    if given.get("algorithm", own.get("algorithm", chosen)) != own.get("algorithm", chosen):
        own.pop("settings", None)  # they are those of another learner
    settings = {**own.pop("settings", {}), **given.pop("settings", {})}
    training = Training(**{**own, **given, "settings": settings})
    _check_algorithm(training)
    _check_rungs(training)
    return training


def _given_training(values: Mapping[str, object]) -> dict[str, Any]:
    try:
        return TrainingBody.model_validate(dict(values)).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = "/".join(map(str, first["loc"]))
        raise InvalidField(
            first["msg"], pointer=f"/task/training/{place}", where=f"training of the task, {place}"
        ) from error


def _check_algorithm(training: Training) -> None:
    # Not a part of the schema, by which stored jobs are shown as well, whatever they once named.
    # Whether an algorithm fits the actions is found out by preflight, which knows the environment.
    if training.algorithm not in ALGORITHMS:
        raise InvalidField(
            repr(training.algorithm),
            pointer="/training/algorithm",
            expected=f"one of {', '.join(ALGORITHMS)}",
            hint="Leave it out, or name `ppo`.",
        )
    if training.warm_start and training.algorithm == "ppo":
        raise InvalidField(
            "a warm start with ppo",
            pointer="/training/warm_start",
            expected="the algorithm sac or dqn",
            hint="PPO learns from what its present policy lived and keeps no replay to be filled.",
        )


def _check_rungs(training: Training) -> None:
    ends = [rung_steps(training, rung) for rung in range(-1, len(training.rungs))]
    if all(before < after for before, after in pairwise(ends)):
        return
    raise InvalidField(
        f"rungs that end after {', '.join(f'{end:,}' for end in ends[1:])} steps",
        pointer="/training/rungs",
        expected="at least one step more from rung to rung",
        hint="Train for more steps, or set training.rungs to [1.0].",
    )


def _check_designer(designer: DesignerChoice) -> None:
    if designer.name not in DESIGNERS:
        raise UnknownDesigner(
            repr(designer.name), expected=f"one of {', '.join(DESIGNERS)}", where="designer"
        )
    if designer.name == "replay" and designer.recording is None:
        raise InvalidField(
            "no recording",
            pointer="/designer/recording",
            expected="the name of a recording for the designer `replay`",
            hint="Name a recording, or use the designer `evolution`, which needs none.",
        )


def _check_arms(spec: JobSpec) -> None:
    """Refuse arms that cannot compete: fewer than two, of one name, or where no model is asked."""
    if not spec.arms:
        return
    if not asks_a_model(spec.designer.name):
        raise InvalidField(
            f"arms for the designer `{spec.designer.name}`, which asks no model",
            pointer="/arms",
            expected="a designer that asks a model, such as `openai`",
            hint="Leave `arms` out, or name the designer `openai`.",
        )
    if len(spec.arms) < 2:
        raise InvalidField(
            "one arm",
            pointer="/arms",
            expected="two or more, or none",
            hint="For one way of asking, set designer.model and designer.temperature.",
        )
    names = [arm.name for arm in spec.arms]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InvalidField(
                f"the name {name!r} a second time",
                pointer=f"/arms/{place}/name",
                expected="another name for every arm",
                hint="Candidates and results name their arm by it.",
            )


def check_priced(spec: JobSpec, prices: Prices, usual_model: str) -> None:
    """Refuse a budget of money for a model whose price is not known.

    Raises:
        InvalidInput: says which model, and how its price is made known.
    """
    if spec.budget.money is None or not asks_a_model(spec.designer.name):
        return
    for model in asked_models(spec, usual_model):
        if prices.find(model) is not None:
            continue
        raise InvalidField(
            f"a budget of money for the model {model!r}, whose price is not known",
            pointer="/budget/money",
            expected="a model of the price table",
            hint="Add the model to the table that REWARDSMITH_PRICES names (core/prices.toml shows the "
            "form), or set budget.tokens instead.",
        )


def _check_learner(spec: JobSpec) -> None:
    if spec.evaluation.transfer is None:
        return
    try:
        read_learner(spec.evaluation.transfer)
    except InvalidInput as error:
        raise InvalidField(
            error.found, pointer="/evaluation/transfer", expected=error.expected
        ) from error


def _check_library(spec: JobSpec) -> None:
    if spec.task.array == "torch" and spec.designer.name == "evolution":
        raise InvalidField(
            "programs in torch from the designer `evolution`",
            pointer="/task/array",
            expected="array = numpy for this designer",
            hint="Its grammar writes NumPy. Leave `array` out, or name a designer that asks a model.",
        )


def _check_budget(spec: JobSpec, starts: int) -> None:
    """Refuse a budget that buys nothing, and a plan that nobody would live to see the end of."""
    allowed = spec.budget.env_steps
    needed = least_env_steps(spec, starts)
    if allowed is not None and allowed < needed:
        raise InvalidField(
            f"{allowed}",
            pointer="/budget/env_steps",
            expected=f"at least {needed} environment steps: baseline, one iteration and confirmation",
            hint="Raise the budget, or lower training.steps, training.seeds or candidates.",
        )
    planned = overlong_plan(spec, MAX_PLANNED_STEPS, starts)
    if planned is not None:
        raise InvalidField(
            f"a plan of {planned:,}",
            pointer="/training/steps",
            expected=f"a job of at most {MAX_PLANNED_STEPS:,} environment steps",
            hint="Lower training.steps, training.seeds, candidates or iterations, or set "
            "budget.env_steps.",
        )


def least_env_steps(spec: JobSpec, starts: int = 0) -> int:
    """Return the environment steps of the shortest sensible job."""
    return planned_cost(replace(spec, iterations=1), starts)
