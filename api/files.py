"""Files that belong to a job: listed, and passed on whole or in part without being read into memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import StreamingResponse

from api import errors, kinds, openapi
from api.comparison_views import ArtifactList, ArtifactView, RolloutList
from api.dependencies import CandidateId, Here, JobId
from api.show_comparison import artifact_path, rollout_view
from core.errors import NotFound
from core.records.measured import Rollout
from core.storage import FolderArtifacts, StoredArtifact, StoredRollout
from core.storage.ids import read_candidate_id

router = APIRouter(tags=["files"])

CHUNK_BYTES = 1 << 18
OPAQUE = "application/octet-stream"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
# Bytes never change under their hash.
_FOR_EVER = "private, max-age=31536000, immutable"

Sha256 = Annotated[
    str, Path(max_length=64, description="sha256 of the file, in hex.", examples=["5d" * 32])
]


@router.get(
    "/jobs/{job_id}/rollouts",
    operation_id="list_job_rollouts",
    summary="List filmed episodes",
    responses=openapi.refusals(404),
)
def list_job_rollouts(job_id: JobId, here: Here) -> RolloutList:
    """Return what was filmed, also what could not be: winner and native reward, and what people judged.

    Where a job waits for feedback, the best candidates of the iteration are filmed before it does.
    """
    return RolloutList(data=[rollout_view(one) for one in here.store.rollouts(job_id)])


@router.get(
    "/candidates/{candidate_id}/rollouts",
    operation_id="list_rollouts",
    summary="List a candidate's filmed episodes",
    responses=openapi.refusals(404),
)
def list_rollouts(candidate_id: CandidateId, here: Here) -> RolloutList:
    """Return the filmed episodes of a candidate: of a winner, or of one that people were to judge."""
    stored = here.store.candidate(candidate_id)
    found = here.store.rollouts(read_candidate_id(candidate_id).job_id, stored.candidate.key)
    return RolloutList(data=[rollout_view(one) for one in found])


@router.get(
    "/jobs/{job_id}/artifacts",
    operation_id="list_artifacts",
    summary="List a job's files",
    responses=openapi.refusals(404),
)
def list_artifacts(job_id: JobId, here: Here) -> ArtifactList:
    """Return every file of a job: policies and checkpoints, recorded steps, films.

    Names and types are the server's.
    """
    roles = _roles(here.store.rollouts(job_id))
    found = here.store.artifacts(job_id)
    return ArtifactList(data=[artifact_view(one, roles) for one in found])


@router.get(
    "/jobs/{job_id}/artifacts/{sha256}",
    operation_id="read_artifact",
    summary="Download a file",
    response_class=openapi.FileBytes,
    responses=openapi.refusals(404, 416) | openapi.FILE,
)
def read_artifact(
    job_id: JobId,
    sha256: Sha256,
    here: Here,
    asked: Annotated[
        str | None,
        Header(alias="Range", max_length=100, description="One range, such as `bytes=0-1023`."),
    ] = None,
    if_none_match: Annotated[str | None, Header(max_length=4_000)] = None,
    if_range: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Return the bytes. The `ETag` is their sha256, by which you can check them; they never change."""
    stored = here.store.artifact(job_id, sha256)
    name, media_type = _name(stored, _roles(here.store.rollouts(job_id)))
    headers = {
        "ETag": f'"{sha256}"',
        "Cache-Control": _FOR_EVER,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"{'attachment' if media_type == OPAQUE else 'inline'}; "
        f"filename={name}",
    }
    if if_none_match is not None and f'"{sha256}"' in if_none_match:
        return Response(status_code=304, headers=headers)
    if if_range is not None and if_range != f'"{sha256}"':
        asked = None
    path = FolderArtifacts(here.settings.artifacts_path).locate(sha256)
    return _answer(path, asked, media_type, headers)


def _answer(
    path: FilePath, asked: str | None, media_type: str, headers: Mapping[str, str]
) -> Response:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise NotFound(
            "The file is not on this server.",
            hint="Workers and server share one folder of artifacts; see docs/operations.md.",
        ) from None
    part = _part(asked, size)
    first, last = part or (0, size - 1)
    told = {**headers, "Content-Length": str(last - first + 1)}
    if part is not None:
        told["Content-Range"] = f"bytes {first}-{last}/{size}"
    return StreamingResponse(
        _bytes(path, first, last),
        status_code=200 if part is None else 206,
        media_type=media_type,
        headers=told,
    )


def _part(asked: str | None, size: int) -> tuple[int, int] | None:
    """Return the first and the last byte that were asked for; None for the whole file.

    What is no single range of bytes may be ignored (RFC 9110), and is.
    """
    found = _RANGE.fullmatch((asked or "").strip())
    if found is None or found.groups() == ("", ""):
        return None
    begin, end = found.groups()
    if not begin:
        first, last = max(0, size - int(end)), size - 1
    else:
        first, last = int(begin), min(size - 1, int(end) if end else size - 1)
    if first > last or (begin and end and int(end) < int(begin)):
        raise errors.ApiError(
            kinds.NO_SUCH_RANGE,
            f"expected a range within {size} bytes",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return first, last


def _bytes(path: FilePath, first: int, last: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(first)
        left = last - first + 1
        while left > 0 and (piece := file.read(min(CHUNK_BYTES, left))):
            left -= len(piece)
            yield piece


# --- names ------------------------------------------------------------------------------------

_SORTS = {
    "video": ("mp4", "video/mp4"),
    "preview": ("webp", "image/webp"),
    "trace": ("json", "application/json"),
    "recording": ("safetensors", OPAQUE),
}


def _roles(filmed: tuple[StoredRollout, ...]) -> dict[str, tuple[str, str]]:
    """Return name and media type of the files of filmed episodes, by hash."""
    return {
        sha256: (f"{_scene(one.rollout)}.{ending}", media_type)
        for one in filmed
        for role, (ending, media_type) in _SORTS.items()
        if (sha256 := getattr(one.rollout, role)) is not None
    }


def _scene(one: Rollout) -> str:
    stage = "" if one.stage == "confirm" else f"-{one.stage}"
    return f"{one.arm}{stage}-episode-{one.episode}"


def _name(stored: StoredArtifact, roles: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    return roles.get(stored.sha256, (f"{stored.kind}-{stored.sha256[:12]}.safetensors", OPAQUE))


def artifact_view(stored: StoredArtifact, roles: Mapping[str, tuple[str, str]]) -> ArtifactView:
    """Show a file; `roles` are name and media type of those that have a part in a film."""
    name, media_type = _name(stored, roles)
    return ArtifactView.model_validate(
        {
            "sha256": stored.sha256,
            "kind": stored.kind,
            "name": name,
            "media_type": media_type,
            "url": artifact_path(stored.job_id, stored.sha256),
            "created_at": stored.created_at,
        }
    )
