"""A new job: pick a task, say what is wanted, see what it costs and what the model will be shown."""

from __future__ import annotations

import copy
import json
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import BackgroundTasks, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from api import jobs
from api.dependencies import Visit
from api.errors import ApiError, Problem
from api.pages.door import Reader, Writer
from api.pages.forms import Form, Sent
from api.pages.pictures import picture_of
from api.pages.render import page, who
from api.pages.trouble import page_router, said_of
from api.schemas import JobRequest
from api.submission import complete, fingerprint, show_spec
from api.tasks import list_methods, list_tasks
from api.views import PlanView
from core.errors import InvalidInput, NotFound, RewardsmithError
from core.leaks import Leak
from core.preview import first_prompt
from core.profiles import PROFILES
from core.records.asking import Prompt
from core.tasks import catalogue

router = page_router()

# Where in the request each field of the form belongs, and whether it is a whole number.
PLACES: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "description": (("description",), False),
    "name": (("name",), False),
    "profile": (("profile",), False),
    "method": (("method",), False),
    "designer": (("designer", "name"), False),
    "model": (("designer", "model"), False),
    "iterations": (("iterations",), True),
    "candidates": (("candidates",), True),
    "steps": (("training", "steps"), True),
    "seeds": (("training", "seeds"), True),
    "seed": (("seed",), True),
    "max_env_steps": (("budget", "env_steps"), True),
}
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Preview:
    """What a request would do.

    Attributes:
        plan:   what it would cost at most.
        prompt: that a model would be shown first; `asked` tells whether the designer is one.
        leaks:  that would keep the prompt back.
        copies: the request as commands, by their name.
    """

    plan: PlanView
    prompt: Prompt
    leaks: tuple[Leak, ...]
    asked: bool
    copies: Mapping[str, str]


@router.get("/jobs/new")
def read_form(
    request: Request,
    here: Reader,
    task: Annotated[str, Query(max_length=200)] = "cartpole-park",
    library: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Return the form."""
    return _page(request, here, _filled(here, task, library))


def _filled(here: Visit, task: str, library: str) -> Sent:
    """Return what the form says at first.

    A task outside the catalogue has no picture to pick: it is told in full, as the job of the library
    has it, or else by the id of its environment.
    """
    started = {"library": library} if library else {}
    if task in catalogue():
        return {"task": task, **started}
    try:
        known = show_spec(here.store.job(library).spec).task
    except NotFound:
        return {"task": OTHER, "environment": task, **started}
    more = {"task": known.model_dump(mode="json", exclude_defaults=True)}
    return {"task": OTHER, "more": json.dumps(more, ensure_ascii=False, indent=1), **started}


@router.get("/jobs/new/preview")
def lead_to_form() -> Response:
    """Lead whoever comes back to the address of a form that was sent to the form."""
    return RedirectResponse("/jobs/new", 303)


@router.post("/jobs/new/preview")
def preview(request: Request, here: Writer, form: Form) -> Response:
    """Return what a request would do: the part alone for a script, else the whole page."""
    try:
        seen, problem = _preview(request, here, form), None
    except (RewardsmithError, ApiError, RequestValidationError) as error:
        seen, problem = None, said_of(request, error)
    if request.headers.get("hx-request"):
        return page(request, "new/preview.html", preview=seen, problem=problem)
    return _page(request, here, form, seen, problem)


@router.post("/jobs")
def create(request: Request, here: Writer, form: Form, background: BackgroundTasks) -> Response:
    """Submit the job and show it; a request that cannot be accepted is shown again."""
    try:
        asked = wanted(form)
        herald = here.herald()
        made, _ = jobs.accept(asked, here, _key(form, asked), herald)
    except (RewardsmithError, ApiError, RequestValidationError) as error:
        said = said_of(request, error)
        return _page(request, here, form, None, said, said.status)
    herald.go(background, made.id)
    return RedirectResponse(f"/jobs/{made.id}", 303, background=background)


def _key(form: Sent, asked: JobRequest) -> str | None:
    """Return a key by which a form that is sent twice makes one job; one that was changed, another."""
    return f"{form['once']}-{fingerprint(asked)[:32]}" if "once" in form else None


def wanted(form: Sent) -> JobRequest:
    """Return the request that a form stands for.

    Raises:
        RequestValidationError: it cannot be accepted; names the places.
        InvalidInput: what stands under "more" is no JSON object.
    """
    try:
        return JobRequest.model_validate(body_of(form))
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        places = [{**item, "loc": ("body", *item["loc"])} for item in found]
        raise RequestValidationError(places) from error


def body_of(form: Sent) -> dict[str, Any]:
    """Return the body of the request: the fields of the form over what stands under "more".

    That may hold a task in full, which counts where another environment is chosen and none is named.
    """
    body = _more(form.get("more", "{}"))
    if (task := form.get("task", OTHER)) != OTHER:
        body["task"] = task
    elif "environment" in form or "task" not in body:
        body["task"] = form.get("environment", "")
    for field, (place, is_whole) in PLACES.items():
        if field in form:
            *above, last = place
            inner = body
            for name in above:
                inner = inner.setdefault(name, {})
            inner[last] = _whole(form[field]) if is_whole else form[field]
    if "await_feedback" in form:
        body["await_feedback"] = True
    if "library" in form:
        body["start"] = [{"library": form["library"]}]
    return body


def _whole(text: str) -> object:
    """Return a number where there is one; anything else is refused by name, where it stands."""
    try:
        return int(text)
    except ValueError:
        return text


def _more(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(str(error), expected="readable JSON", where="more options") from error
    nested = ("designer", "training", "budget")
    if not isinstance(body, dict) or any(not isinstance(body.get(n, {}), dict) for n in nested):
        raise InvalidInput(
            "something else", expected="a JSON object of a job's request", where="more options"
        )
    return body


def _preview(request: Request, here: Visit, form: Sent) -> Preview:
    asked = wanted(form)
    spec = complete(asked)
    prompt, leaks = first_prompt(spec)
    body = asked.model_dump(mode="json", exclude_unset=True)
    return Preview(
        plan=jobs.estimate_job(asked, here),
        prompt=prompt,
        leaks=leaks,
        asked=spec.designer.name == "openai",
        copies=copies(body, f"{request.url.scheme}://{request.headers.get('host', '')}"),
    )


def copies(body: Mapping[str, Any], server: str) -> dict[str, str]:
    """Return the same request for a shell, for the command line, and for Python."""
    text = json.dumps(body, ensure_ascii=False)
    url = shlex.quote(f"{server}/v1/jobs")
    curl = f"curl -X POST {url} -H 'Content-Type: application/json' \\\n  -d {shlex.quote(text)}"
    flags, rest = _flags(body)
    words = [str(body[n]) for n in ("task", "description") if isinstance(body.get(n), str)]
    file = f" --file <(echo {shlex.quote(json.dumps(rest, ensure_ascii=False))})" if rest else ""
    command = f"rewardsmith design {shlex.join([*words, *flags])}{file} --watch"
    named = "".join(f"    {name}={value!r},\n" for name, value in body.items())
    return {
        "curl": curl,
        "command line": command,
        "Python": "from client.api import Client\n\n"
        f"job = Client({server!r}).jobs.create(\n{named})\n"
        'job.wait().best.save("reward.py")',
    }


def _flags(body: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Return the options of the command line, and what of the request has none."""
    rest, flags = copy.deepcopy(dict(body)), []
    for field, (place, _) in PLACES.items():
        *above, last = place
        inner = rest
        for name in above:
            inner = inner.get(name, {})
        if last in inner and field != "description":
            flags += [f"--{field.replace('_', '-')}", str(inner.pop(last))]
    kept = {k: v for k, v in rest.items() if v not in ({}, None) and k != "description"}
    if isinstance(kept.get("task"), str):
        del kept["task"]
    return flags, kept


def _page(
    request: Request,
    here: Visit,
    form: Sent,
    seen: Preview | None = None,
    problem: Problem | None = None,
    status: int = 200,
) -> Response:
    known = list_methods()
    return page(
        request,
        "new.html",
        status,
        form=form,
        tasks=[(task, picture_of(task.environment)) for task in list_tasks().data],
        methods=known.data,
        designers=[one for one in known.designers if one.name != "replay"],
        profiles=list(PROFILES),
        preview=seen,
        problem=problem,
        once=form.get("once") or secrets.token_hex(8),
        **who(here),
    )
