"""`make attacks`: all cases in all modes, and one line of JSON that says what came of them."""

from __future__ import annotations

import json
import sys
import time

from core.sandbox.attacks import every_case
from tests.attacks import modes
from tests.attacks.bench import Bench
from tests.attacks.cases import LIVES, trials
from tests.attacks.running import judge

FAKES = range(71, 83)


def main() -> None:
    """Run everything; end with 1 if anything got through, or if no container could be emulated."""
    walls = {mode.name: _in_mode(mode) for mode in modes.MODES}
    behind = _behind_the_wall()
    reached = [name for part in (*walls.values(), behind) for name in part.get("got_through", ())]
    allowed = sorted({name for part in walls.values() for name in part.get("allowed", ())})
    cases = len(every_case()) + len(LIVES) + len(trials())
    found = {
        "cases": cases,
        "refused": cases - len(allowed) - len(set(reached)),
        "allowed": allowed,
        "got_through": sorted(set(reached)),
        "modes": walls,
        "behind_the_wall": behind,
        "without_a_wall": _control(),
    }
    print(json.dumps({"attacks": found}))
    missing = [m.name for m in modes.MODES if m.container and "not_run" in walls[m.name]]
    sys.exit(1 if reached or missing else 0)


def _in_mode(mode: modes.Mode) -> dict[str, object]:
    began = time.monotonic()
    try:
        outcomes = modes.run(mode)
    except modes.NotHere as reason:
        return {"not_run": str(reason)}
    verdicts = {c.name: judge(c, outcomes[str(c.number)]) for c in every_case().values()}
    for number, case in LIVES.items():
        told = {life: outcomes[f"{number} {life}"] for life in case.lives}
        wrong = [said for life, said in told.items() if not said.startswith(case.must[life])]
        verdicts[case.name] = "; ".join(wrong)[:300] if wrong else "refused"
    return _told(verdicts, began)


def _behind_the_wall() -> dict[str, object]:
    began, bench = time.monotonic(), Bench()
    try:
        through = {case: case.run(bench) for case in trials()}
    finally:
        bench.close()
    verdicts = {case.name: "; ".join(found) or "refused" for case, found in through.items()}
    fakes = sum(1 for case, found in through.items() if case.number in FAKES and found)
    return _told(verdicts, began) | {"fitness_fakes": {"tried": len(FAKES), "succeeded": fakes}}


def _told(verdicts: dict[str, str], began: float) -> dict[str, object]:
    reached = {n: why for n, why in verdicts.items() if why not in ("refused", "allowed")}
    return {
        "cases": len(verdicts),
        "refused": sum(why == "refused" for why in verdicts.values()),
        "allowed": [name for name, why in verdicts.items() if why == "allowed"],
        "got_through": reached,
        "seconds": round(time.monotonic() - began, 1),
    }


def _control() -> dict[str, object]:
    try:
        outcomes = modes.run(modes.NO_WALL)
    except modes.NotHere as reason:
        return {"not_run": str(reason)}
    return {"tried": len(outcomes), "got_through": sum(o == "reached" for o in outcomes.values())}


if __name__ == "__main__":
    main()
