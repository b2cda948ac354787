"""`python -m tests.chaos`: live through rounds of chaos and print one line of JSON."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.chaos.long import go_on_to_the_bar
from tests.chaos.mutations import MUTATIONS
from tests.chaos.plans import PLANS, SCENES
from tests.chaos.schedule import Plan
from tests.chaos.suite import run


def main() -> int:
    """Return 1 if something was lost or doubled."""
    asked = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    asked.add_argument("--long", action="store_true", help="until the bar of a release is reached")
    asked.add_argument("--plan", choices=sorted(PLANS), help="one round instead of two")
    asked.add_argument("--scene", choices=sorted(SCENES), help="a round about one protection")
    asked.add_argument("--mutate", choices=sorted(MUTATIONS), help="take a protection away")
    asked.add_argument("--embedded", action="store_true", help="one round on SQLite and a folder")
    asked.add_argument("--seed", type=int, help="that a failure told")
    given = asked.parse_args()
    if given.long:
        found = go_on_to_the_bar(a_round)
    elif given.scene:
        found = a_round(SCENES[given.scene], given.embedded, given.mutate)
    else:
        seed = random.randrange(1_000_000) if given.seed is None else given.seed
        found = rounds(seed, given.plan, given.embedded, given.mutate)
    print(json.dumps(found))
    return 1 if found["violations"] else 0


def rounds(seed: int, plan: str | None, embedded: bool, mutate: str | None) -> dict[str, Any]:
    """Live through the round that was asked for, or through one on each stack."""
    if plan or embedded:
        return a_round(PLANS[plan or "short"](seed, embedded), embedded, mutate)
    grown = a_round(PLANS["usual"](seed, False), False, mutate)
    small = a_round(PLANS["short"](seed, True), True, mutate)
    return {"violations": grown["violations"] + small["violations"], "rounds": [grown, small]}


def a_round(plan: Plan, embedded: bool, mutate: str | None = None) -> dict[str, Any]:
    """Live through one round; its logs and events stay only if something was broken."""
    print(f"seed {plan.seed}{', embedded' if embedded else ''}", file=sys.stderr)
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="rw-chaos-", dir=memory))
    found = run(plan, folder, embedded=embedded, mutations=[mutate] if mutate else [])
    if found["violations"] == 0:
        shutil.rmtree(folder)
    return found


if __name__ == "__main__":
    sys.exit(main())
