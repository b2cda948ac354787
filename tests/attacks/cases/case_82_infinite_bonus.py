"""An infinite bonus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attacks.cases.fakes import rewarding
from tests.attacks.cases.kinds import Trial

if TYPE_CHECKING:
    from tests.attacks.bench import Bench

SOURCE = rewarding("return {'bonus': obs.x + np.inf}")


def run(bench: Bench) -> list[str]:
    made = bench.train({"0.0": SOURCE}, record=False).runs[0]
    refused = bench.rejection(SOURCE) == "finite" and made.status == "failed"
    return [] if refused and made.fitness is None else [f"{made.status} with {made.fitness}"]


CASE = Trial(82, "fitness", "add an infinite bonus", "failed", run)
