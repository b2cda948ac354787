"""`python -m bench.load`: the service under load, part by part, and one line of JSON.

A part that was measured with the same code is not measured again, so that a run which was cut off goes
on; `--fresh` measures all of them anew.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any, TypeAlias

from bench.load import moments, phases
from bench.load.soak import soak
from bench.reliability.load_page import shortfalls
from bench.reliability.results import ROOT, commit, keep, stamp

Json: TypeAlias = dict[str, Any]

KEPT = ROOT / ".load" / "parts.jsonl"
SECONDS = 60.0
PARTS = (*phases.PHASES, *moments.MOMENTS)


def main() -> int:
    """Return 1 if a promise was broken: something was lost, doubled, failed or answered by an error."""
    asked = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    asked.add_argument("--seconds", type=float, default=SECONDS, help="of each mix of requests")
    asked.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    asked.add_argument("--fresh", action="store_true", help="measure again what is known")
    asked.add_argument("--soak", type=float, metavar="MINUTES", help="instead: live that long")
    given = asked.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    found = soaked(given.soak) if given.soak else loaded(given.seconds, given.parts, given.fresh)
    print(json.dumps(found))
    return 1 if found["broken"] else 0


def loaded(seconds: float, parts: list[str], fresh: bool) -> Json:
    """Measure the parts that are not known yet; whole runs are kept in docs/results."""
    known = {} if fresh else _known(seconds)
    for name in parts:
        if name not in known:
            print(f"measuring: {name}", file=sys.stderr)
            known[name] = _measure(name, seconds)
            _remember(name, seconds, known[name])
            print(json.dumps({name: known[name]}), file=sys.stderr)
    found = {**stamp("make load"), "parts": {name: known[name] for name in PARTS if name in known}}
    found["broken"] = sum(_broken(part) for part in found["parts"].values())
    found["missed"] = shortfalls(found)
    if seconds >= SECONDS and set(found["parts"]) == set(PARTS):
        keep("load", found)
    return found


def soaked(minutes: float) -> Json:
    """Live through a soak; those of half an hour and more are kept in docs/results."""
    found = {**stamp(f"make load SOAK={minutes:g}"), **soak(minutes * 60.0)}
    if minutes >= 30.0:
        keep("soak", found)
    return found


def _measure(name: str, seconds: float) -> Json:
    if name in phases.PHASES:
        return phases.measure(name, seconds)
    return moments.measure(name, min(1.0, seconds / SECONDS))


def _broken(part: Json) -> int:
    return sum(
        int(part.get(name, 0)) for name in ("errors", "lost", "unasked", "failed", "orphans")
    )


def _known(seconds: float) -> dict[str, Json]:
    lines = KEPT.read_text().splitlines() if KEPT.exists() else []
    own = (commit(), seconds)
    if own[0].endswith("-dirty"):
        return {}  # of two such trees nobody knows whether they are the same
    rows = (json.loads(line) for line in lines)
    return {row["name"]: row["found"] for row in rows if (row["commit"], row["seconds"]) == own}


def _remember(name: str, seconds: float, found: Json) -> None:
    Path(KEPT).parent.mkdir(exist_ok=True)
    with KEPT.open("a") as file:
        file.write(
            json.dumps({"commit": commit(), "seconds": seconds, "name": name, "found": found})
            + "\n"
        )


def _leave(*_: object) -> None:
    """Let what was started be ended, as an interrupt does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
