"""Names of artifacts and recordings that lead elsewhere; archives, of which none is ever opened."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Iterator
from pathlib import Path

from core.errors import NotFound
from core.storage import FolderArtifacts
from tests.attacks.cases.kinds import Trial
from tests.attacks.pages import recording_status

ROOT = Path(__file__).resolve().parent.parent.parent.parent
NAMES = (
    "../../secret",
    "/etc/passwd",
    "a\0b",
    "con",
    "x" * 5_000,
    "..",
    "",
    "ab/cd/../../secret",
    "Z" * 64,
    f"{'a' * 64}\n",
)
OPENERS = {"zipfile", "tarfile", "unpack_archive", "patoolib"}


def reached() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "secret").write_text("secret")
        artifacts = FolderArtifacts(Path(folder, "artifacts"))
        for name in NAMES:
            try:
                artifacts.get(name)
            except NotFound:
                continue
            yield f"the artifact {name[:40]!r}"
    for name in NAMES:
        leads_elsewhere = name and not name.isalnum()
        if leads_elsewhere and (status := recording_status(name)) != 422:
            yield f"the recording {name[:40]!r} was answered with {status}"


def opened() -> Iterator[str]:
    for package in ("api", "client", "core", "workers"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = {
                    alias.name for alias in getattr(node, "names", ()) if hasattr(alias, "name")
                }
                named = {getattr(node, "attr", ""), getattr(node, "module", ""), *names}
                if OPENERS & named:
                    yield f"an archive, opened in {path.relative_to(ROOT)}"


def run(bench: object) -> list[str]:
    return [*reached(), *opened()]


CASE = Trial(90, "text", "name a file elsewhere", "refused", run)
