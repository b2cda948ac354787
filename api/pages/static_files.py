"""Style, scripts and pictures, read once; each is named with its hash and kept by browsers for long."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from core.errors import NotFound

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parent / "static"
KINDS = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".LICENSE": "text/plain",
}
LONG = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that is the same for everybody."""

    content: bytes
    packed: bytes | None
    kind: str
    sha256: str


@cache
def files() -> dict[str, StaticFile]:
    """Return every file by its path below the folder."""
    found = (path for path in sorted(FOLDER.rglob("*")) if path.suffix in KINDS)
    return {path.relative_to(FOLDER).as_posix(): _read(path) for path in found}


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    packed = None if path.suffix == ".webp" else gzip.compress(content, mtime=0)
    return StaticFile(content, packed, KINDS[path.suffix], hashlib.sha256(content).hexdigest())


@cache
def address(name: str) -> str:
    """Return where a file is found; another content has another address."""
    return f"/static/{name}?v={files()[name].sha256[:12]}"


@router.get("/static/{name:path}")
async def read_static(name: str, request: Request) -> Response:
    """Return a file."""
    found = files().get(name)
    if found is None:
        raise NotFound("no such file")
    headers = {"Cache-Control": LONG, "ETag": f'"{found.sha256}"', "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if found.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(found.packed, media_type=found.kind, headers=headers)
    return Response(found.content, media_type=found.kind, headers=headers)
