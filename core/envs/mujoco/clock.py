"""MuJoCo's profiling clock, which its Python package starts and nobody here reads.

The package gives MuJoCo a function that tells the time, and MuJoCo then asks it dozens of times in each
step to fill in `MjData.timer`.  That was 18 % of a Hopper step and changes no number of the simulation.
`mujoco.set_mjcb_time(None)` brings the same clock back, so the library's own pointer is cleared.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import mujoco


@cache
def stop_the_clock() -> bool:
    """Stop profiling in this process; tell whether the library let us.

    Whoever wants `MjData.timer` filled in calls `mujoco.set_mjcb_time` with a clock afterwards.
    """
    libraries = sorted(Path(mujoco.__file__).parent.glob("libmujoco*.*"))
    if not libraries:
        return False
    try:
        pointer = ctypes.c_void_p.in_dll(ctypes.CDLL(str(libraries[0])), "mjcb_time")
    except (OSError, ValueError):  # built another way; then it is only slower
        return False
    pointer.value = None
    return True
