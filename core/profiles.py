"""How much a job may cost, in one word: what is proposed, trained and confirmed at each of four sizes.

A request that names a profile gets its numbers where it says nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

ProfileName: TypeAlias = Literal["smoke", "lean", "standard", "thorough"]
Numbers: TypeAlias = Mapping[str, object]

# A first rung at a third of the steps, from which half of the candidates go on, saves a third of the
# steps, and the pick is as good or nearly so (docs/lab-log.md).
_HALVED: Numbers = {"rungs": (0.35, 1.0), "keep": 0.5}

# The best of many on few seeds is mostly a lucky one; these few runs choose better than another seed
# for everybody would (docs/lab-log.md).
_RUNOFF: Numbers = {"runoff_candidates": 4, "runoff_seeds": 3}
_SHORT_RUNOFF: Numbers = {"runoff_candidates": 3, "runoff_seeds": 2}

PROFILES: Mapping[ProfileName, Mapping[str, Numbers]] = {
    "smoke": {
        "job": {"iterations": 2, "candidates": 2},
        "training": {"steps": 2_000, "seeds": 1, "rungs": (1.0,)},
        "evaluation": {"episodes": 3, "confirm_seeds": 2, "confirm_episodes": 3},
    },
    "lean": {
        "job": {"iterations": 3, "candidates": 6},
        "training": {"seeds": 2, **_HALVED},
        "evaluation": {"confirm_seeds": 5, **_SHORT_RUNOFF},
    },
    "standard": {
        "job": {"iterations": 5, "candidates": 9},
        "training": {"seeds": 3, **_HALVED},
        "evaluation": {"confirm_seeds": 10, "confirm_candidates": 2, **_RUNOFF},
    },
    "thorough": {
        "job": {"iterations": 15, "candidates": 9},
        "training": {"seeds": 3, **_HALVED},
        "evaluation": {"confirm_seeds": 10, "confirm_candidates": 2, **_RUNOFF},
    },
}
