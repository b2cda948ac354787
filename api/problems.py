"""The pages that a problem's `type` points to."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from api import openapi
from api.kinds import KINDS
from core.errors import NotFound

router = APIRouter(tags=["problems"])


class KindView(BaseModel):
    """A kind of problem."""

    code: str
    status: int
    title: str
    hint: str


class KindList(BaseModel):
    """Every kind of problem."""

    data: list[KindView]


@router.get("/problems", operation_id="list_problems", summary="List the kinds of problem")
async def list_problems() -> KindList:
    """Return every kind of problem that an answer or a failed job may name."""
    return KindList(data=[_view(code) for code in KINDS])


@router.get(
    "/problems/{code}",
    operation_id="read_problem",
    summary="Read what a kind of problem means",
    responses=openapi.refusals(404),
)
async def read_problem(
    code: Annotated[str, Path(max_length=100, examples=["unknown-task"])],
) -> KindView:
    """Return one kind of problem with the usual advice."""
    if code not in KINDS:
        raise NotFound(f"no kind of problem {code!r}", hint="List them with GET /problems.")
    return _view(code)


def _view(code: str) -> KindView:
    kind = KINDS[code]
    return KindView(code=kind.code, status=kind.status, title=kind.title, hint=kind.hint)
