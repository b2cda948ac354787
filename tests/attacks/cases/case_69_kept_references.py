"""References to inputs and outputs, kept and changed at a later call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attacks.cases.fakes import rewarding
from tests.attacks.cases.kinds import Trial

if TYPE_CHECKING:
    from tests.attacks.bench import Bench

KEEPS = rewarding(
    "for array in kept:\n"
    "    while array.base is not None:\n"
    "        array = array.base\n"
    "    array.flags.writeable = True\n"
    "    array[...] = 0\n"
    "paid = np.cos(next_obs.angle)\n"
    "kept[:] = [obs.x, next_obs.x, paid]\n"
    "return {'upright': paid}",
    "kept = []",
)
PLAIN = rewarding("return {'upright': np.cos(next_obs.angle)}")


def run(bench: Bench) -> list[str]:
    """What is handed out is a copy, and what comes back is copied: later changes reach nobody."""
    kept, plain = (bench.train({"0.0": source}, record=False).runs[0] for source in (KEEPS, PLAIN))
    same = kept.weights == plain.weights and kept.episodes == plain.episodes
    return [] if same else ["its own training went another way"]


CASE = Trial(69, "numerics", "change kept references later", "without effect", run)
