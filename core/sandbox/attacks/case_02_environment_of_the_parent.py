"""/proc shows the environment of every process of the same user."""

from __future__ import annotations

import os
from pathlib import Path

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    Path(f"/proc/{os.getppid()}/environ").read_bytes()


CASE = Case(2, "files", "read the parent's environment", "EACCES", _attack)
