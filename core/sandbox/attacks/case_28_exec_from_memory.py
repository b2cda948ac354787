"""A program that was never in any folder."""

from __future__ import annotations

import os
from pathlib import Path

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    program = os.memfd_create("program")
    os.write(program, Path("/bin/true").read_bytes())
    os.execve(program, ["true"], {})


CASE = Case(28, "processes", "execute a program in memory", "EPERM", _attack)
