"""How long a training takes from its spawn in a warm zygote to its first environment steps.

    python bench/start.py [--repeat 9] [--envs 8]

Prints medians: what the worker waits for, and what the child does in that time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

from core.envs import make_batch
from core.ports import Arm, PackOrder
from core.records.kinds import NATIVE
from core.records.measured import Preflight
from core.records.spec import Training
from core.records.task import Task
from core.sandbox import GIB, Limits, Sandbox
from core.training.deadlines import Notice
from core.training.laboratory import PRELOAD
from core.training.protocol import order_message, train_order
from core.training.supervising import ENTRY

LIMITS = Limits(wall_seconds=120, cpu_seconds=120, memory_bytes=8 * GIB)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--envs", type=int, default=8)
    parser.add_argument("--environments", nargs="+", default=["CartPole-v1", "Hopper-v5"])
    arguments = parser.parse_args()
    box = Sandbox(PRELOAD)
    box.ensure_started()
    try:
        for environment in arguments.environments:
            times = [started(box, environment, arguments.envs) for _ in range(arguments.repeat + 1)]
            print(
                json.dumps(
                    {"environment": environment, "envs": arguments.envs, **medians(times[1:])}
                )
            )
    finally:
        box.close()


def medians(times: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of every part, in milliseconds."""
    return {name: round(1e3 * statistics.median(t[name] for t in times), 1) for name in times[0]}


def started(box: Sandbox, environment: str, envs: int) -> dict[str, float]:
    """Start one training of two members, and say when things happened, in seconds from the spawn."""
    message = order_message(train_order(order(environment, envs), {}))
    began = time.perf_counter()
    notice = Notice()
    with box.spawn(ENTRY, LIMITS, links=[notice.link()]) as child:
        forked = time.perf_counter()
        child.send(*message)
        frame = child.receive(60)
        assert frame.header["kind"] == "progress", frame.header
        stepped = time.perf_counter()
    notice.close()
    before = time.perf_counter()
    make_batch(Task("bench", environment, ""), 2 * envs).close()
    built = time.perf_counter() - before
    return {
        "forked_and_locked": forked - began,
        "first_step": stepped - began,
        "make_batch_here": built,
    }


def order(environment: str, envs: int) -> PackOrder:
    """Return an order for two members on the native reward."""
    found = Preflight((), 1, {}, None, {}, 0.0, 1e4, "", "", {})
    return PackOrder(
        task=Task("bench", environment, ""),
        preflight=found,
        training=Training(steps=10**6, envs=envs),
        stage="search",
        rung=0,
        mode="replace",
        weight=0.0,
        members=((NATIVE, 0), (NATIVE, 1)),
        arms={NATIVE: Arm(NATIVE)},
        start_steps=0,
        stop_steps=10**6,
        held_out=(),
        checkpoints=1,
    )


if __name__ == "__main__":
    main()
