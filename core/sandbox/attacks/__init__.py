"""Attacks on the wall, one file each, numbered as in the list that the suite runs.

They need the standard library alone and run inside a locked child.  The start-up self-test runs a
short subset of them (`core.sandbox.selftest`), the test suite all, so that what a worker claims of its
wall is what is tested.  They do no lasting harm where they succeed.
"""

from __future__ import annotations

import importlib
import pkgutil

from core.sandbox.attacks.case import Case, Target, attempt

__all__ = ["Case", "Target", "attempt", "every_case"]


def every_case() -> dict[int, Case]:
    """Return all cases of this folder by their numbers."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name.startswith("case_"))
    cases = [importlib.import_module(f"{__name__}.{name}").CASE for name in names]
    return {case.number: case for case in cases}
