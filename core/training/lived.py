"""A filmed episode with all its steps, as safetensors bytes that other programs can read.

observations   float32 [N + 1, D], flat, the last one included
actions        int64 [N] counted from 0, or float32 [N, A], as the environment received them
rewards        float32 [N], the environment's own
terminations, truncations   bool [N]
component.NAME float32 [N], what the program paid for each step, where it could say
feature.NAME   float32 [N], what it made of the state that the step led to
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from core.fields import Floats
from core.training.transitions import Transitions, as_safetensors


def save_lived(lived: Transitions, size: int, told: Mapping[str, Mapping[str, Floats]]) -> bytes:
    """Return the bytes of one episode.

    Args:
        lived: its steps, all of them.
        size:  D, of an observation; fields of the simulator follow it in a state and are left out.
        told:  `components` and `features`, name -> [N].
    """
    last = np.zeros(len(lived), np.bool_)
    last[-1] = True
    terms = {
        f"{kind.removesuffix('s')}.{name}": values
        for kind, found in told.items()
        for name, values in found.items()
    }
    return as_safetensors(
        {
            "observations": np.concatenate([lived.state[:, :size], lived.next[-1:, :size]]),
            "actions": lived.action,
            "rewards": lived.native,
            "terminations": lived.terminated,
            "truncations": last & ~lived.terminated,
            **terms,
        }
    )
