"""Design jobs: create, list, read, cancel, pause, resume, and what came out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Header, Query, Request, Response, status
from fastapi.concurrency import run_in_threadpool

from api import downloads, openapi
from api.answers import answer
from api.bodies import DescribeBody
from api.dependencies import Herald, Here, House, JobId, Visit, house
from api.history_views import CandidateView, ExchangeList
from api.limits import MAX_PAGE, Text
from api.patience import Prefer, hold, patience_for
from api.programs import read_starts
from api.quick import ask
from api.schemas import JobRequest
from api.short import Route, arrive, job_in, key_in, short_cut
from api.show import job_view, plan_view, submitted_view
from api.show_history import candidate_view, exchange_view
from api.submission import check_priced, complete, fingerprint
from api.views import JobView, Page, PlanView
from api.webhooks import read_webhook
from core.estimates import before_start
from core.records.kinds import FINISHED, JobStatus
from core.storage import Activity, JobAtWork, StoredJob, StoredKey, Submission, Swift

router = APIRouter(tags=["jobs"], route_class=Route)


KEY_PATTERN = r"^[\x21-\x7e]{1,255}$"
_KEY = re.compile(KEY_PATTERN[:-1] + r"\Z")
_JSON_UTF8 = "application/json; charset=utf-8"

IdempotencyKey = Annotated[
    str | None,
    Header(
        pattern=KEY_PATTERN,
        description="Repeat a key with the same body, and the job is created once.",
        examples=["3f9a6a0e-6c1f-4f0e-9e59-0f0c6b0d8a11"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many at most.")]
After = Annotated[
    str | None, Query(max_length=200, description="`next` of the page before; leave out to begin.")
]


async def create_job_shortly(request: Request) -> Response | None:
    """Accept a plain request that cannot be refused for what it says."""
    key = key_in(request)
    if key is None or not is_json(request):
        return None
    idempotency_key = request.headers.get("idempotency-key")
    if idempotency_key is not None and not _KEY.match(idempotency_key):
        return None
    here, background = await arrive(request, key), BackgroundTasks()
    try:
        asked = JobRequest.model_validate(await request.json())
    except (ValueError, RecursionError):
        return None
    if not is_plain(asked):
        return None
    response = await _accepted(asked, here, background, idempotency_key, here.herald())
    response.background = background
    return response


@router.post(
    "/jobs",
    operation_id="create_job",
    summary="Submit a design job",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=JobView,
    response_description="The job was accepted; follow it under `Location`.",
    responses=openapi.refusals(408, 413, 422) | openapi.ACCEPTED,
)
@short_cut(create_job_shortly)
async def create_job(
    request: JobRequest,
    here: Here,
    background: BackgroundTasks,
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response:
    """Check a request, store it, and wake a worker.

    Only `task` is needed; an environment that is not in the catalogue also needs a description. Every
    default is echoed in `spec`. The environment itself is built by the first step of the job: where
    that fails, the job fails with the same kind of problem that a refusal here would have had.
    """
    seconds = patience_for(here, prefer)
    herald = here.herald()
    if not seconds:
        return await _accepted(request, here, background, idempotency_key, herald)
    job, headers = await _store(request, here, idempotency_key, herald)
    await run_in_threadpool(herald.now, job.id)
    held = Response()
    await hold(here, job.id, seconds, held)
    shown = await run_in_threadpool(here.store.job_at_work, job.id)
    return answer(submitted_view(*shown), status.HTTP_202_ACCEPTED, {**_said(held), **headers})


async def _accepted(
    request: JobRequest,
    here: Visit,
    background: BackgroundTasks,
    key: str | None,
    herald: Herald,
) -> Response:
    job, headers = await _store(request, here, key, herald)
    herald.go(background, job.id)
    return answer(submitted_view(job), status.HTTP_202_ACCEPTED, headers)


async def _store(
    request: JobRequest, here: Visit, key: str | None, herald: Herald
) -> tuple[StoredJob, dict[str, str]]:
    """Store what was asked for; return it with the headers of the answer."""
    job, replayed = await ask(
        here.swift if is_plain(request) else None,
        lambda swift: accept_swiftly(swift, request, here, key, herald),
        lambda: accept(request, here, key, herald),
    )
    repeated = {"Idempotent-Replayed": "true"} if replayed else {}
    return job, {"Location": f"/v1/jobs/{job.id}", **repeated}


def is_json(request: Request) -> bool:
    """Tell whether a request says in the usual words that its body is JSON."""
    return request.headers.get("content-type", "") in ("application/json", _JSON_UTF8)


def is_plain(request: JobRequest) -> bool:
    """Tell whether a request takes no time to be checked: it bears no programs, tasks and addresses."""
    return isinstance(request.task, str) and not request.start and request.webhook is None


async def accept_swiftly(
    swift: Swift, request: JobRequest, here: Visit, key: str | None, herald: Herald
) -> tuple[StoredJob, bool]:
    """Check a plain request and store it, as `accept` does.

    Raises:
        Unusual: the store has to be asked.
    """
    spec = complete(request)
    check_priced(spec, here.prices, here.model)
    new = Submission(
        spec,
        key,
        fingerprint(request),
        request.name,
        request.labels,
        here.settings.jobs_per_owner,
        herald.offer_seconds,
    )
    return await swift.create_job(here.caller, new), False


def accept(
    request: JobRequest, here: Visit, key: str | None, herald: Herald
) -> tuple[StoredJob, bool]:
    """Check a request and store it; True when the same one was stored before."""
    if any(start.source is not None for start in request.start):
        here.need("code:submit")
    spec = complete(request)
    check_priced(spec, here.prices, here.model)
    return here.store.create_job(
        spec,
        idempotency_key=key,
        body_sha256=fingerprint(request),
        name=request.name,
        labels=request.labels,
        start=read_starts(here.store, request.start, spec.task, spec.mode),
        most_open=here.settings.jobs_per_owner,
        webhook=read_webhook(request.webhook, here.settings, here.caller.owner),
        offer_seconds=herald.offer_seconds,
    )


@router.post(
    "/jobs/estimate",
    operation_id="estimate_job",
    summary="Say what a job would cost",
    responses=openapi.refusals(408, 413, 422),
)
def estimate_job(request: JobRequest, here: Here) -> PlanView:
    """Check a request like a submission, and say what it would use at most; nothing is stored.

    Tokens and money are guesses from the length of the first prompt. The time is not known before the
    preflight, which measures the environment; a started job tells it under `estimate`.
    """
    spec = complete(request)
    check_priced(spec, here.prices, here.model)
    return plan_view(before_start(spec, here.prices, here.model))


@router.get(
    "/jobs",
    operation_id="list_jobs",
    summary="List jobs, newest first",
    responses=openapi.refusals(404, 422),
)
def list_jobs(
    here: Here,
    after: After = None,
    limit: Limit = 20,
    status: Annotated[JobStatus | None, Query(description="Only jobs in this state.")] = None,
    task: Annotated[
        Text | None, Query(max_length=200, description="Only jobs for the task of this name.")
    ] = None,
) -> Page[JobView]:
    """Return one page; new jobs never shift what was read already."""
    page = here.store.jobs(after=after, limit=limit, status=status, task=task)
    shown = [job_view(job) for job in page.items]
    return Page(data=shown, has_more=page.has_more, next=shown[-1].id if page.has_more else None)


async def read_job_shortly(request: Request) -> Response | None:
    """Answer a plain request for a job."""
    key, job_id = key_in(request), job_in(request)
    if key is None or job_id is None:
        return None
    opened = Together(await house(request), job_id)
    here = await arrive(request, key, opened.find)
    return answer(job_view(*(opened.job or await _at_work(here, job_id))))


@dataclass(slots=True)
class Together:
    """Finds a key and a job in one go, where that can be."""

    house: House
    job_id: str
    job: JobAtWork | None = None

    async def find(self, shown: str) -> StoredKey | None:
        """Return the row of a key; see `Keyring.find`."""
        store = self.house.store

        async def swiftly(swift: Swift) -> StoredKey | None:
            key, self.job = await swift.open_job(shown, self.job_id)
            return key

        return await ask(store.swift, swiftly, lambda: store.keys.find(shown))


@router.get(
    "/jobs/{job_id}",
    operation_id="read_job",
    summary="Read a job",
    response_model=JobView,
    responses=openapi.refusals(404),
)
@short_cut(read_job_shortly)
async def read_job(job_id: JobId, here: Here, prefer: Prefer = None) -> Response:
    """Return the job with what is being done for it, its outcome, and its complete request."""
    held = Response()
    if seconds := patience_for(here, prefer):
        await hold(here, job_id, seconds, held)
    return answer(job_view(*await _at_work(here, job_id)), headers=_said(held))


async def _at_work(here: Visit, job_id: str) -> tuple[StoredJob, tuple[Activity, ...]]:
    return await ask(
        here.swift,
        lambda swift: swift.job_at_work(here.caller, job_id),
        lambda: here.store.job_at_work(job_id),
    )


def _said(held: Response) -> dict[str, str]:
    """Return what was said in headers while the answer was held back."""
    return {name: value for name, value in held.headers.items() if name != "content-length"}


@router.patch(
    "/jobs/{job_id}",
    operation_id="describe_job",
    summary="Change a job's name, notes and labels",
    responses=openapi.refusals(404, 408, 413, 422),
)
def describe_job(job_id: JobId, body: DescribeBody, here: Here) -> JobView:
    """Change what you call a job and write down about it; nothing of it moves the job itself."""
    job = here.store.describe(job_id, name=body.name, notes=body.notes, labels=body.labels)
    return job_view(job, () if job.status in FINISHED else here.store.activity(job_id))


@router.post(
    "/jobs/{job_id}/cancel",
    operation_id="cancel_job",
    summary="Cancel a job",
    status_code=status.HTTP_202_ACCEPTED,
    responses=openapi.refusals(404, 409),
)
def cancel_job(job_id: JobId, here: Here) -> JobView:
    """Ask for the end of a job; what is under way is stopped, what is stored stays."""
    return job_view(here.store.request_cancel(job_id))


@router.post(
    "/jobs/{job_id}/pause",
    operation_id="pause_job",
    summary="Pause a job",
    status_code=status.HTTP_202_ACCEPTED,
    responses=openapi.refusals(404, 409),
)
def pause_job(job_id: JobId, here: Here) -> JobView:
    """Let a job rest; the step under way is given up and done again after the pause."""
    return job_view(here.store.request_pause(job_id))


@router.post(
    "/jobs/{job_id}/resume",
    operation_id="resume_job",
    summary="Resume a paused job",
    status_code=status.HTTP_202_ACCEPTED,
    responses=openapi.refusals(404, 409),
)
def resume_job(job_id: JobId, here: Here, background: BackgroundTasks) -> JobView:
    """Let a paused job go on where it stopped."""
    job = here.store.resume(job_id)
    background.add_task(here.wake, job.id)
    return job_view(job)


@router.delete(
    "/jobs/{job_id}",
    operation_id="delete_job",
    summary="Delete a job with all it owns",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=openapi.refusals(404, 409),
)
def delete_job(job_id: JobId, here: Here) -> None:
    """Delete a job that has ended: its rows at once, its files within about an hour.

    A job that runs is cancelled first. What other jobs took over from it, such as a program that they
    started from, is theirs and stays; that somebody deleted it stays in the audit.
    """
    here.store.delete(job_id)


@router.get(
    "/jobs/{job_id}/exchanges",
    operation_id="list_exchanges",
    summary="Read every prompt and reply",
    responses=openapi.refusals(404, 422),
)
def list_exchanges(
    job_id: JobId,
    here: Here,
    iteration: Annotated[int | None, Query(ge=0, le=1_000, description="Only this one.")] = None,
) -> ExchangeList:
    """Return what the designer was asked and what it answered, word for word."""
    found = here.store.exchanges(job_id, iteration)
    return ExchangeList(data=[exchange_view(exchange) for exchange in found])


@router.get(
    "/jobs/{job_id}/best",
    operation_id="read_best",
    summary="Read the best candidate so far",
    responses=openapi.refusals(404),
)
def read_best(job_id: JobId, here: Here) -> CandidateView:
    """Return the chosen candidate, or, while the job runs, the best one so far."""
    _, best = downloads.best(here.store, job_id)
    return candidate_view(best)


@router.get(
    "/jobs/{job_id}/best/reward.py",
    operation_id="download_reward",
    summary="Download the best reward as one file",
    response_class=openapi.PythonResponse,
    responses=openapi.refusals(404) | openapi.python_file("The file, which needs only NumPy."),
)
def download_reward(job_id: JobId, here: Here) -> Response:
    """Return a file that runs in the user's own project without this service."""
    return downloads.reward_file(here.store, job_id)
