"""How large a round is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tests.chaos.schedule import Plan

Make = Callable[[int, bool], Plan]


EMBEDDED = frozenset(
    {
        "kill a worker",
        "stop a worker",
        "pause a worker",
        "kill the server",
        "take the endpoint down",
    }
)
"""What can happen where the database is a file and the broker a folder."""


def _plan(seconds: float, jobs: int, least_kills: int, faults: Mapping[str, int]) -> Make:
    def make(seed: int, embedded: bool) -> Plan:
        chosen = {k: n for k, n in faults.items() if not embedded or k in EMBEDDED}
        return Plan(seed, seconds, jobs, chosen, least_kills=least_kills)

    return make


def _faults(kills: int, servers: int, others: int) -> dict[str, int]:
    """So many kills of workers, of each server and partitions, and of everything else."""
    each = dict.fromkeys(
        ("kill PostgreSQL", "kill the broker", "flush the broker", "partition"), servers
    )
    rest = (
        *("stop a worker", "pause a worker", "kill the server", "fill the disk"),
        "take no writes",
    )
    more = dict.fromkeys((*rest, "take the endpoint down"), others)
    return {"kill a worker": kills, **each, **more}


PLANS: Mapping[str, Make] = {
    "tiny": _plan(12, 6, 4, _faults(4, 1, 1)),
    "short": _plan(40, 24, 30, _faults(18, 3, 3)),
    "usual": _plan(160, 80, 200, _faults(120, 10, 8)),
}


_CALM = Plan(
    *(7, 12.0, 8, {}),
    armed=0.0,
    stopped=0.0,
    slow=0.0,
    shifted=0.0,
    cancelled=0.0,
    misbehaviour=0.0,
    server_armed=0.0,
    openai=0.0,
)
SCENES: Mapping[str, Plan] = {
    "no-fence": replace(
        _CALM, seconds=24.0, workers=6, stopped=1.0, stops=("artifact.stored",), slow=1.0
    ),
    "reply-before-commit": replace(
        _CALM, jobs=16, server_armed=1.0, server_points=("job.accepted",)
    ),
    "no-owners": replace(_CALM, seconds=6.0, jobs=3, server_armed=1.0),
    "no-reservation": replace(_CALM, openai=1.0, armed=1.0, points=("ask.answered",)),
}
"""Mutation -> a round that is sound, and is not so without the protection."""
