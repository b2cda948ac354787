"""What a jailed child may use.

>>> Limits(wall_seconds=5).memory_bytes == 2 * GIB
True
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

MIB = 1024**2
GIB = 1024**3

NICENESS = 10
"""Children take a tenth of a core from whoever else wants it, and all of it where nobody does.

A training uses every core that it gets; a server, a database and the worker's own claims beside it
should not have to wait for that.
"""

GRACE_SECONDS = 5.0
"""How long after the wall deadline the zygote itself kills a child whose worker does not."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Budget of one child; every number is above what the zygote already holds.

    wall_seconds  life from the spawn to the kill, on the monotonic clock
    cpu_seconds   processor time of all threads together
    memory_bytes  private memory that the child may add to what it inherits
    result_bytes  binary blobs of one frame, in either direction
    stderr_bytes  everything that the child prints; only the end of it is kept
    threads       threads of the child, enforced where it has a user id of its own (worker is root)
    gpu           whether the child may speak to the GPU's driver (`core.sandbox.gpu`); its
                  address space is then without limit, because CUDA reserves very much of it
    niceness      by how much the child gives way to whoever else wants its core, 0 to 19
    """

    wall_seconds: float = 60.0
    cpu_seconds: int = 60
    memory_bytes: int = 2 * GIB
    result_bytes: int = 256 * MIB
    stderr_bytes: int = 16 * MIB
    threads: int = 64
    gpu: bool = False
    niceness: int = NICENESS

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if name not in ("gpu", "niceness") and not 0 < value < 2**53:
                raise ValueError(f"{name}: expected a positive, finite number, but found {value}")

    def to_json(self) -> dict[str, Any]:
        """Return the limits as the zygote reads them."""
        return dataclasses.asdict(self)
