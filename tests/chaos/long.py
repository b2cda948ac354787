"""The long form: rounds until the bar of a release is reached, kept on the way, and written down."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from bench.reliability.page import CHAOS_COUNTS
from bench.reliability.results import ROOT, commit, keep, stamp, today
from tests.chaos.plans import PLANS
from tests.chaos.schedule import Plan

KEPT = ROOT / ".chaos" / "rounds.jsonl"
BAR = {"worker_kills": 1_000, "PostgreSQL_kills": 50, "broker_kills": 50, "partitions": 50}
EMBEDDED_BAR = {"worker_kills": 200}
Live = Callable[[Plan, bool], dict[str, Any]]


def go_on_to_the_bar(live: Live) -> dict[str, Any]:
    """Live through rounds until both stacks have reached their bar; a second call goes on.

    Rounds of another state of the code do not count.
    """
    known = [one for one in _kept() if one["commit"] == commit()]
    for embedded, bar, plan in ((False, BAR, "usual"), (True, EMBEDDED_BAR, "short")):
        while missing := _missing(known, embedded, bar):
            print(f"missing: {missing}", file=sys.stderr)
            seed = 1_000 + len(known)
            found = {
                "commit": commit(),
                "day": today(),
                **live(PLANS[plan](seed, embedded), embedded),
            }
            known.append(found)
            _keep(found)
            if found["violations"]:
                return found
    return _write_down(known)


def _kept() -> list[dict[str, Any]]:
    lines = KEPT.read_text().splitlines() if KEPT.exists() else []
    return [json.loads(line) for line in lines]


def _keep(found: dict[str, Any]) -> None:
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a") as file:
        file.write(json.dumps(found) + "\n")


def _missing(
    known: Iterable[dict[str, Any]], embedded: bool, bar: dict[str, int]
) -> dict[str, int]:
    reached = _total(one for one in known if _is_embedded(one) == embedded)
    return {name: least - reached[name] for name, least in bar.items() if reached[name] < least}


def _is_embedded(found: dict[str, Any]) -> bool:
    return str(found["stack"]).startswith("SQLite")


def _total(rounds: Iterable[dict[str, Any]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in rounds:
        total["rounds"] += 1
        total.update({name: one.get(name, 0) for name in (*CHAOS_COUNTS, "jobs", "violations")})
        total["seconds"] += round(one["seconds"])
    return total


def _write_down(known: list[dict[str, Any]]) -> dict[str, Any]:
    stacks = {
        name: dict(_total(one for one in known if one["stack"] == name))
        for name in dict.fromkeys(one["stack"] for one in known)
    }
    points = sum((Counter(one["failpoints"]) for one in known), Counter[str]())
    endpoint = sum((Counter(one["endpoint"]) for one in known), Counter[str]())
    found = {
        **stamp("make chaos LONG=1"),
        "violations": sum(one["violations"] for one in known),
        "stacks": stacks,
        "failpoints": dict(sorted(points.items())),
        "endpoint": dict(sorted(endpoint.items())),
        "seeds": [one["seed"] for one in known],
    }
    keep("chaos", found)
    return found
