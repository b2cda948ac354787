"""The optional compiled kernel: PPO's update and the networks' forward pass in C++.

Built at install where a C++ compiler is, absent otherwise; whoever trains asks `load()` and goes on
with the stacked torch update where it returns None.  Both compute the same, to rounding.
"""

from core.training.kernel.compiled import (
    Actor,
    Kernel,
    Packed,
    available,
    kind,
    load,
    why_absent,
)

__all__ = ["Actor", "Kernel", "Packed", "available", "kind", "load", "why_absent"]
