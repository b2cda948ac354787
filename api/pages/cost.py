"""What a job's questions cost, by iteration and model, and every prompt and reply word for word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Query, Request, Response

from api.dependencies import JobId
from api.pages.door import Reader
from api.pages.job import allowances
from api.pages.render import page, who
from api.pages.trouble import page_router
from api.show import job_view
from api.show_history import exchange_view
from core.records.asking import Exchange

router = page_router()


@dataclass(frozen=True, slots=True)
class Line:
    """What one model was asked in one iteration."""

    iteration: int
    model: str
    asked: int
    prompt_tokens: int
    completion_tokens: int
    money: float
    seconds: float
    unanswered: int


@router.get("/jobs/{job_id}/cost")
def read_cost(
    request: Request,
    job_id: JobId,
    here: Reader,
    iteration: int | None = Query(None, ge=0, le=1_000),
) -> Response:
    """Return the page; words are shown of one iteration at a time."""
    job = here.store.job(job_id)
    exchanges = here.store.exchanges(job_id)
    lines = by_iteration(exchanges)
    chosen = (
        iteration if iteration is not None else max((e.iteration for e in exchanges), default=0)
    )
    return page(
        request,
        "cost.html",
        job=job_view(job),
        lines=lines,
        total=_sum(lines),
        allowances=allowances(job_view(job)),
        chosen=chosen,
        iterations=sorted({e.iteration for e in exchanges}),
        exchanges=[exchange_view(e) for e in exchanges if e.iteration == chosen],
        **who(here),
    )


def by_iteration(exchanges: Sequence[Exchange]) -> list[Line]:
    """Return one line for each iteration and model, in order."""
    groups: dict[tuple[int, str], list[Exchange]] = {}
    for one in exchanges:
        groups.setdefault((one.iteration, one.reply.model or one.designer), []).append(one)
    return [
        Line(
            iteration=iteration,
            model=model,
            asked=len(found),
            prompt_tokens=sum(e.reply.usage.prompt_tokens or 0 for e in found),
            completion_tokens=sum(e.reply.usage.completion_tokens or 0 for e in found),
            money=sum(e.money for e in found),
            seconds=sum(e.reply.latency_seconds for e in found),
            unanswered=sum(e.reply.outcome != "answered" for e in found),
        )
        for (iteration, model), found in groups.items()
    ]


def _sum(lines: Sequence[Line]) -> Line | None:
    if not lines:
        return None
    names = ("asked", "prompt_tokens", "completion_tokens", "money", "seconds", "unanswered")
    sums = {name: sum(getattr(line, name) for line in lines) for name in names}
    return Line(iteration=-1, model="", **sums)
