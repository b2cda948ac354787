"""What a mutation is, and how it is tried."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".rewardsmith", "__pycache__", ".*_cache", "*.egg-info", "build"
)
_FAILED, _PASSED = 1, 0
_RED_TEST = re.compile(r"^FAILED (?P<test>\S.*?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mutation:
    """One protection, and how it is removed.

    Attributes:
        name:   of the protection.
        file:   where it stands.
        before: its text, which stands there once.
        after:  the text without it.
        red:    tests of which at least one must fail then.
    """

    name: str
    file: str
    before: str
    after: str
    red: tuple[str, ...]

    def applied(self, root: Path) -> str:
        """Return the text of the file without the protection.

        Raises:
            ValueError: the protection is not there, or more than once: the mutation is out of date.
        """
        text = (root / self.file).read_text(encoding="utf-8")
        if (count := text.count(self.before)) != 1:
            raise ValueError(
                f"{self.name}: expected its text once in {self.file}, but found it {count} times; "
                "bring the mutation up to date"
            )
        return text.replace(self.before, self.after)


@contextmanager
def copied_tree() -> Iterator[Path]:
    """Yield a copy of the tree, to be changed; an ordinary user can read it too."""
    with tempfile.TemporaryDirectory(prefix="mutated-") as folder:
        Path(folder).chmod(0o755)
        tree = Path(folder, "tree")
        shutil.copytree(ROOT, tree, ignore=_LEFT_OUT)
        yield tree


def try_out(mutation: Mutation, tree: Path) -> dict[str, object]:
    """Remove the protection in a copy of the tree, run its tests, and put it back."""
    path = tree / mutation.file
    text, began = path.read_text(encoding="utf-8"), time.monotonic()
    path.write_text(mutation.applied(tree), encoding="utf-8")
    try:
        code, said = run_tests(mutation.red, tree)
    finally:
        path.write_text(text, encoding="utf-8")
    return {
        "name": mutation.name,
        "file": mutation.file,
        "red": code == _FAILED,
        "by": sorted(set(_RED_TEST.findall(said)))[:8],
        "seconds": round(time.monotonic() - began, 1),
        **({} if code in (_FAILED, _PASSED) else {"broken": said[-1000:]}),
    }


def run_tests(tests: Sequence[str], tree: Path) -> tuple[int, str]:
    """Run tests in a tree; return pytest's exit code and what it said."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command,
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
