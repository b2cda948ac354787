"""The process that draws MuJoCo's states: one task and its states in, raw pictures out.

    python -m core.training.easel      a line with the length of the header, the header in JSON, float64

It is no jail's child, so it builds only what gymnasium itself registers; `painting.py` sees to that.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np

from core.envs.building import build
from core.training.wire import task_from_json


def main() -> None:
    """Read states from standard input and write pictures to standard output."""
    source, out = sys.stdin.buffer, sys.stdout.buffer
    header = json.loads(source.read(int(source.readline())))
    task = task_from_json(header["task"])
    seen = {"render_mode": "rgb_array", "width": header["width"], "height": header["height"]}
    env: Any = build(replace(task, env_kwargs={**task.env_kwargs, **seen}))[0]
    env.reset(seed=0)
    bare, whole = env.unwrapped, mujoco.mjtState.mjSTATE_INTEGRATION
    for state in np.frombuffer(source.read(), np.float64).reshape(header["count"], -1):
        mujoco.mj_setState(bare.model, bare.data, state, whole)
        mujoco.mj_forward(bare.model, bare.data)
        out.write(np.ascontiguousarray(env.render(), np.uint8).tobytes())
    out.flush()
    env.close()


if __name__ == "__main__":
    main()
