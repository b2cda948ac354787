"""How long K candidates take: our packs, SB3 one after another and two at a time, physics alone.

    python -m bench.trainer.speed                # everything; hours, and it can be interrupted
    python -m bench.trainer.speed --quick        # K = 16, a quarter of the steps, about five minutes
    python -m bench.trainer.speed --envs Hopper-v5 --ks 16 --repetitions 3 --minutes 8

Every measurement is a line in build/bench-trainer/, so a second call goes on where the first one ended;
--fresh begins anew.  Results: docs/results/trainer.json, trainer-scaling.json and trainer.md.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from bench.trainer import machine, timing
from bench.trainer.cells import Cells, Key
from bench.trainer.our_side import backend_of, backends
from bench.trainer.results import Entry, entries_of, scaling_of
from bench.trainer.setups import SPEED, Setup
from bench.trainer.tables import render
from core.packs import waves

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "bench-trainer"
RESULTS = ROOT / "docs" / "results"
QUICK_ENVS = [name for name in SPEED if name != "Ant-v5"]
KS = [1, 4, 16, 64]
SCALED = [(4, 8), (16, 8), (64, 8), (256, 8), (16, 32), (16, 128), (16, 256)]  # P, N
SCALED_ROLLOUTS = 4
ALONE_STEPS = 2_000  # at most, of every row


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        part:           of the usual number of steps, 1 or 1/4.
        sb3_candidates: measured and multiplied to K.
        backends:       of our trainer, its own choice first.
        patience:       seconds to wait for a quiet machine before each measurement.
        deadline:       on the monotonic clock; nothing is begun after it.
    """

    envs: Sequence[str]
    ks: Sequence[int]
    part: float
    repetitions: int
    sb3_candidates: int
    backends: Sequence[str]
    scaling: bool
    patience: float
    deadline: float


Work = tuple[dict, Callable[[], timing.Timed]]


def main() -> None:
    arguments = parse(sys.argv[1:])
    plan = plan_of(arguments)
    path = CACHE / ("quick.jsonl" if arguments.quick else "full.jsonl")
    if arguments.fresh:
        path.unlink(missing_ok=True)
    cells = Cells(path)
    timing.warm()
    measure(plan, cells)
    write(cells, arguments.results, "python -m bench.trainer.speed " + shlex.join(sys.argv[1:]))


def parse(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="K = 16, five environments, once")
    parser.add_argument("--envs", nargs="+", choices=list(SPEED))
    parser.add_argument("--ks", nargs="+", type=int)
    parser.add_argument("--part", type=float, help="part of the usual steps, from 0 to 1")
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--sb3-candidates", type=int, help="how many SB3 runs are measured")
    parser.add_argument(
        "--backends",
        nargs="+",
        help="of our update: kernel, torch; unless said, all that are there",
    )
    parser.add_argument("--no-scaling", action="store_true", help="leave out P and N up to 256")
    parser.add_argument("--patience", type=float, help="seconds to wait for a quiet machine")
    parser.add_argument("--minutes", type=float, help="begin no measurement after so many")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(given)


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Fill in what was not said."""

    def said(value: object, quick: object, full: object) -> object:
        return value if value is not None else quick if arguments.quick else full

    names = said(arguments.backends, backends()[:1], backends())
    for name in names:
        backend_of(name)  # not there: say so now, not after an hour
    minutes = arguments.minutes or 1e9
    return Plan(
        envs=said(arguments.envs, QUICK_ENVS, list(SPEED)),
        ks=said(arguments.ks, [16], KS),
        part=said(arguments.part, 0.25, 1.0),
        repetitions=said(arguments.repetitions, 1, 3),
        sb3_candidates=said(arguments.sb3_candidates, 2, 4),
        backends=names,
        scaling=not (arguments.quick or arguments.no_scaling),
        patience=said(arguments.patience, 5.0, 60.0),
        deadline=time.monotonic() + 60 * minutes,
    )


def measure(plan: Plan, cells: Cells) -> None:
    """Measure what is not in the cells yet, SB3 and ours in turns."""
    host = machine.describe()
    for planned, work in works(plan):
        key = {**planned, "machine": host}
        if key in cells:
            continue
        if time.monotonic() > plan.deadline:
            print("The time is up; call again to go on.", flush=True)
            return
        before = machine.wait_until_quiet(plan.patience)
        foreign = machine.Foreign()
        timed = work()
        said = {
            "seconds": timed.seconds,
            "spent": [asdict(one) for one in timed.spent],
            "shares": {of: timed.share(of) for of in ("physics", "rewards", "features")},
            "foreign_cores": round(foreign.cores(), 3),
            "foreign_before": round(before, 3),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        cells.add(key, said)
        names = ("env", "k", "envs", "processes", "backend", "features", "repetition")
        words = [f"{n} {key[n]}" for n in names if key.get(n) is not None]
        print(
            f"{key['what']:7} {', '.join(words)}: {timed.seconds:.2f} s"
            f" (others used {said['foreign_cores']:.2f} cores)",
            flush=True,
        )


def works(plan: Plan) -> Iterator[Work]:
    """Say what is to be measured, in order: what is compared stands close together."""
    for repetition in range(plan.repetitions):
        for name in plan.envs:
            setup = SPEED[name]
            setup = replace(setup, steps=max(1, int(setup.steps * plan.part)))
            setup = replace(setup, steps=setup.whole_steps)
            for key, work in (*sb3_works(setup, plan), *our_works(setup, plan)):
                yield {**key, "repetition": repetition}, work
        if plan.scaling:
            for key, work in scaling_works(plan.backends[0]):
                yield {**key, "repetition": repetition}, work


def sb3_works(setup: Setup, plan: Plan) -> Iterator[Work]:
    seeds = list(range(plan.sb3_candidates))
    for processes in (1, 2) if len(seeds) > 1 else (1,):
        parts = [seeds[start::processes] for start in range(processes)]
        key = {"what": "sb3", "env": setup.environment, "steps": setup.steps}
        yield (
            {**key, "k": len(seeds), "processes": processes},
            lambda parts=parts: timing.in_processes(
                [lambda part=part: timing.sb3(setup, part) for part in parts]
            ),
        )


def our_works(setup: Setup, plan: Plan) -> Iterator[Work]:
    for k in plan.ks:
        for backend in plan.backends:
            for processes in (1, 2) if k > 1 else (1,):
                yield our_work(setup, k, processes, backend, False)
        if k == 16:
            yield our_work(setup, k, 2, plan.backends[0], True)
        yield alone_work(setup, k, 2 if k > 1 else 1)


def our_work(
    setup: Setup, k: int, processes: int, backend: str, features: bool, what: str = "ours"
) -> Work:
    key = {
        "what": what,
        "env": setup.environment,
        "steps": setup.steps,
        "k": k,
        "envs": setup.envs,
        "processes": processes,
        "backend": backend,
        "features": features,
    }
    return key, lambda: timing.in_processes(
        [
            lambda packs=packs: timing.ours(setup, packs, features, backend)
            for packs in packs_of(setup, k, processes)
        ]
    )


def packs_of(setup: Setup, k: int, processes: int) -> list[list[range]]:
    """Deal K candidates to processes, and each one's to packs as a job does: places by pack."""
    shares = split(k, processes)
    after = waves(timing.adapter_of(setup), max(map(len, shares)) * setup.envs)
    packs = split(k, processes * after)
    return [packs[first : first + after] for first in range(0, len(packs), after)]


def alone_work(setup: Setup, k: int, processes: int) -> Work:
    """The environments alone, the same rows in the same processes, for some of the steps."""
    steps = min(ALONE_STEPS, setup.steps // setup.envs)
    key = {
        "what": "alone",
        "env": setup.environment,
        "steps": steps * setup.envs,
        "k": k,
        "processes": processes,
    }
    return key, lambda: timing.in_processes(
        [
            lambda packs=packs: timing.alone(setup, packs, steps)
            for packs in packs_of(setup, k, processes)
        ]
    )


def scaling_works(backend: str) -> Iterator[Work]:
    """P and N on CartPole, in one process, a few rollouts each."""
    for members, envs in SCALED:
        setup = replace(SPEED["CartPole-v1"], envs=envs)
        setup = replace(setup, steps=SCALED_ROLLOUTS * setup.rollout * envs)
        yield our_work(setup, members, 1, backend, False, what="scaling")


def split(k: int, processes: int) -> list[range]:
    """Deal K places to processes, as evenly as can be."""
    edges = [k * i // processes for i in range(processes + 1)]
    return [range(a, b) for a, b in pairwise(edges)]


def write(cells: Cells, folder: Path, command: str) -> None:
    """Write the results of what has been measured so far, and print the tables."""
    entries, scaling = entries_of(cells), scaling_of(cells)
    if not entries:
        print("Nothing to write yet: a candidate of ours and one of SB3's are needed.")
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trainer.json").write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    if scaling:
        text = json.dumps(scaling, indent=1) + "\n"
        (folder / "trainer-scaling.json").write_text(text)
    device = folder / "trainer-gpu.json"
    gpu = json.loads(device.read_text()) if device.exists() else None
    document = render(entries, scaling, command, gpu)
    (folder / "trainer.md").write_text(document)
    print(document)


__all__ = ["Entry", "Key", "Plan", "measure", "works"]

if __name__ == "__main__":
    main()
