"""Attacks on what stands behind the wall, one file each: output, numbers, fitness, text."""

from __future__ import annotations

import importlib
import pkgutil

from tests.attacks.cases.kinds import Life, Trial

_NAMES = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name.startswith("case_"))
_OUTPUT = ("case_56", "case_57", "case_58", "case_59", "case_60", "case_62")


def _load(name: str) -> Life:
    case: Life = importlib.import_module(f"{__name__}.{name}").CASE
    return case


LIVES = {case.number: case for case in map(_load, (n for n in _NAMES if n.startswith(_OUTPUT)))}
"""Hostile children, which need the standard library alone and are run in every mode."""


def trials() -> list[Trial]:
    """Return all other cases; they need everything that a worker has, and are run once."""
    names = [name for name in _NAMES if not name.startswith(_OUTPUT)]
    return [importlib.import_module(f"{__name__}.{name}").CASE for name in names]
