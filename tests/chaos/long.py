"""The long form: rounds until the bar of a release is reached, kept on the way, and written down."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.chaos.plans import PLANS
from tests.chaos.schedule import Plan

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".chaos" / "rounds.jsonl"
RESULTS = ROOT / "docs" / "results"
BAR = {"worker_kills": 1_000, "PostgreSQL_kills": 50, "broker_kills": 50, "partitions": 50}
EMBEDDED_BAR = {"worker_kills": 200}
COUNTS = (
    *("worker_kills", "server_kills", "PostgreSQL_kills", "broker_kills", "broker_flushes"),
    *(
        "partitions",
        "worker_pauses",
        "worker_stops",
        "full_disks",
        "times_without_writes",
        "outages",
        "clock_jumps",
    ),
)
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
                "day": _today(),
                **live(PLANS[plan](seed, embedded), embedded),
            }
            known.append(found)
            _keep(found)
            if found["violations"]:
                return found
    return _write_down(known)


def commit() -> str:
    """Name the state of the code; one with changes that are not committed has a mark."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


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
        total.update({name: one.get(name, 0) for name in (*COUNTS, "jobs", "violations")})
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
        "command": "make chaos LONG=1",
        "day": known[-1]["day"],
        "commit": commit(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}",
        "violations": sum(one["violations"] for one in known),
        "stacks": stacks,
        "failpoints": dict(sorted(points.items())),
        "endpoint": dict(sorted(endpoint.items())),
        "seeds": [one["seed"] for one in known],
    }
    _merge_json(found)
    _merge_page(_page(found))
    return found


def _merge_json(found: dict[str, Any]) -> None:
    path = RESULTS / "reliability.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, "chaos": found}, indent=1) + "\n")


BEGIN, END = "<!-- chaos: written by make chaos LONG=1 -->", "<!-- end of chaos -->"


def _merge_page(part: str) -> None:
    """Put the part in its place in the page, which holds other measurements too."""
    path = RESULTS / "reliability.md"
    text = path.read_text() if path.exists() else f"# Reliability, measured\n\n{BEGIN}\n{END}\n"
    if BEGIN not in text:
        text += f"\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    path.write_text(f"{before}{BEGIN}\n{part}{END}{rest.partition(END)[2]}")


def _page(found: dict[str, Any]) -> str:
    names = list(found["stacks"])
    rows = [("| | " + " | ".join(names) + " |"), "|---" * (len(names) + 1) + "|"]
    for name in ("rounds", "seconds", "jobs", *COUNTS, "violations"):
        cells = [f"{found['stacks'][stack].get(name, 0):,}" for stack in names]
        rows.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    points = ", ".join(f"{name} {count}" for name, count in found["failpoints"].items())
    endpoint = ", ".join(f"{name} {count}" for name, count in found["endpoint"].items())
    seeds = f"Seeds {found['seeds'][0]} to {found['seeds'][-1]}"
    return f"""## Chaos

`{found["command"]}`, {found["day"]}, commit {found["commit"]}, {found["machine"]}. {seeds}.
Whatever died, the invariants of `tests/chaos/invariants.py` were broken {found["violations"]} times.

{chr(10).join(rows)}

Deaths and stops at named points: {points}.

What the endpoint did: {endpoint}.

"""


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
