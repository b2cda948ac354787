"""Names of artifacts and recordings that lead elsewhere; archives, of which none is ever unpacked."""

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
READERS = {"extract", "extractall", "open", "infolist", "is_zipfile"}


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
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if any(OPENERS & _named(node) for node in ast.walk(tree)) and not _is_harmless(tree):
                yield f"an archive, opened in {path.relative_to(ROOT)}"


def _named(node: ast.AST) -> set[str]:
    aliases = {alias.name for alias in getattr(node, "names", ()) if hasattr(alias, "name")}
    return {getattr(node, "attr", ""), getattr(node, "module", ""), *aliases}


def _is_harmless(tree: ast.AST) -> bool:
    """Tell whether a file makes new archives, or reads from one what it names itself, and no more."""
    named = set[str]().union(*map(_named, ast.walk(tree)))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = [call for call in calls if getattr(call.func, "attr", "") == "ZipFile"]
    fresh = [call for call in made if len(call.args) > 1 and ast.unparse(call.args[1]) == "'w'"]
    read = [call for call in calls if getattr(call.func, "attr", "") == "read"]
    chosen = [call for call in read if [type(given) for given in call.args] == [ast.Constant]]
    return (
        not named & {*OPENERS - {"zipfile"}, *READERS}
        and bool(made)
        and read == chosen
        and (made == fresh or bool(read))
    )


def run(bench: object) -> list[str]:
    return [*reached(), *opened()]


CASE = Trial(90, "text", "name a file elsewhere", "refused", run)
