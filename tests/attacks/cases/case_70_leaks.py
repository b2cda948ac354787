"""State of one program that reaches another one of its pack through names that both use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attacks.cases.fakes import rewarding
from tests.attacks.cases.kinds import Trial

if TYPE_CHECKING:
    from tests.attacks.bench import Bench

HOSTILE = rewarding(
    "global SCALE\nSCALE = SCALE * 2\nreturn {'upright': SCALE * obs.x}", "SCALE = 1.0"
)
PLAIN = rewarding("return {'upright': SCALE * np.cos(next_obs.angle)}", "SCALE = 1.0")


def run(bench: Bench) -> list[str]:
    together = bench.train({"0.0": HOSTILE, "0.1": PLAIN}, record=False).runs[1]
    alone = bench.train({"0.1": PLAIN}, record=False).runs[0]
    same = together.weights == alone.weights and together.episodes == alone.episodes
    return [] if same else ["a global of one program reached another one"]


CASE = Trial(70, "numerics", "leak state into other programs", "without effect", run)
