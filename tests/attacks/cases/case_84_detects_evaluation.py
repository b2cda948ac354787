"""Behaves differently while it is measured: harmless, for that behaviour is what is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attacks.bench import HELD_OUT
from tests.attacks.cases.kinds import Trial

if TYPE_CHECKING:
    from tests.attacks.bench import Bench

DETECTS = (
    "def features(obs):\n"
    f"    measured = len(obs.angle) == {len(HELD_OUT)}\n"
    "    return {'lean': (-3 if measured else 3) * obs.angle}\n"
)


def run(bench: Bench) -> list[str]:
    verdict = bench.outcome("", lambda o: -3 * o[2:3], honest=DETECTS).verdict
    return [] if verdict == "true score" else [verdict]


CASE = Trial(84, "fitness", "detect that it is measured", "true score", run)
