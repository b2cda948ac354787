"""Does our learner learn what Stable-Baselines3's learns?  Returns after equal steps, seed by seed.

    python -m bench.trainer.learning --jobs 16 --minutes 8         # both sides, all setups
    python -m bench.trainer.learning --setups hopper-normalised --side ours --seeds 40
    python -m bench.trainer.learning --summary                     # the table from what is there

Both sides train on the same environment class with the same environment seeds.  One line per (setup,
side, seed) goes to build/bench-trainer/learning.jsonl as soon as it is known; what stands there is not
trained again.  The summary is written to docs/results/learning.json and learning.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from bench.trainer.cells import Cells
from bench.trainer.comparing import compare, render
from bench.trainer.setups import LEARNING, Setup

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "bench-trainer" / "learning.jsonl"
RESULTS = ROOT / "docs" / "results"
EVALUATION_SEED = 10_000_000
_A_WEEK = 7 * 24 * 60.0


@dataclass(frozen=True, slots=True)
class Unit:
    """What one process does in one go: some seeds of one side."""

    name: str
    setup: Setup
    side: str
    seeds: tuple[int, ...]
    episodes: int
    backend: str | None


def main() -> None:
    arguments = parse(sys.argv[1:])
    cells, broken = Cells(arguments.out), []
    if not arguments.summary:
        broken = carry_out(units(arguments, cells), cells, arguments.jobs, arguments.minutes)
    write(cells, arguments.results, "python -m bench.trainer.learning " + shlex.join(sys.argv[1:]))
    if broken:
        raise SystemExit("\n".join(broken))


def parse(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--setups", nargs="+", choices=list(LEARNING), default=list(LEARNING))
    parser.add_argument("--side", choices=["ours", "sb3", "both"], default="both")
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    parser.add_argument("--pack", type=int, default=5, help="seeds in one pack of ours")
    parser.add_argument("--episodes", type=int, default=10, help="of the evaluation, per seed")
    parser.add_argument("--steps", type=int, help="instead of the setups' own")
    parser.add_argument("--backend", help="of our update: torch, kernel")
    parser.add_argument("--minutes", type=float, default=_A_WEEK, help="stop after so many")
    parser.add_argument("--summary", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, default=CACHE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(given)


def key_of(name: str, setup: Setup, side: str, seed: int, backend: str | None) -> dict[str, Any]:
    """Return under which key a run is kept."""
    return {"setup": name, "side": side, "seed": seed, "steps": setup.steps, "backend": backend}


def backend_of(setup: Setup, side: str, wanted: str | None) -> str | None:
    """Return what computes the networks of a side, None where there is no choice."""
    if side != "ours" or setup.learner != "ppo":
        return None
    from bench.trainer.our_side import backend_of

    return backend_of(wanted).name


def units(arguments: argparse.Namespace, cells: Cells) -> list[Unit]:
    """Say what is left to do; the sides take turns, so that a cut leaves both with equal numbers."""
    planned: list[Unit] = []
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    for name in arguments.setups:
        setup = LEARNING[name]
        if arguments.steps is not None:
            setup = replace(setup, steps=arguments.steps)
        sides = [
            list(_units_of(name, setup, side, seeds, arguments, cells))
            for side in ("ours", "sb3")
            if arguments.side in (side, "both")
        ]
        planned += [unit for turn in zip_longest(*sides) for unit in turn if unit is not None]
    return planned


def _units_of(
    name: str, setup: Setup, side: str, seeds: range, arguments: argparse.Namespace, cells: Cells
) -> Iterator[Unit]:
    backend = backend_of(setup, side, arguments.backend)
    missing = [s for s in seeds if key_of(name, setup, side, s, backend) not in cells]
    size = arguments.pack if side == "ours" else 1
    for start in range(0, len(missing), size):
        chosen = tuple(missing[start : start + size])
        yield Unit(name, setup, side, chosen, arguments.episodes, backend)


def carry_out(planned: Sequence[Unit], cells: Cells, jobs: int, minutes: float) -> list[str]:
    """Train in processes of one thread each, and write every run down as soon as it is known.

    Returns:
        what went wrong, one line per unit that broke.
    """
    deadline = time.monotonic() + 60 * minutes
    broken: list[str] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes end with us
    pool = ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=one_thread
    )
    waiting = {pool.submit(train, unit): unit for unit in planned}
    try:
        while waiting and time.monotonic() < deadline:
            ended, _ = wait(waiting, deadline - time.monotonic(), FIRST_COMPLETED)
            for future in ended:
                broken += _note(future, waiting.pop(future), cells)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children() if waiting else ():
            process.kill()  # what is running cannot be cancelled
    if waiting:
        print(f"The time is up; {len(waiting)} units are left for another call.", flush=True)
    return broken


def _note(future: Future[list[dict[str, Any]]], unit: Unit, cells: Cells) -> list[str]:
    error = future.exception()
    if error is not None:
        return [f"{unit.name}, {unit.side}, seeds {unit.seeds}: {type(error).__name__}: {error}"]
    for seed, said in zip(unit.seeds, future.result(), strict=True):
        cells.add(key_of(unit.name, unit.setup, unit.side, seed, unit.backend), said)
        print(
            f"{unit.name} {unit.side} seed {seed}: trained {said['trained']:.1f},"
            f" evaluated {said['evaluated']:.1f}, {said['seconds']:.0f} s",
            flush=True,
        )
    return []


def one_thread() -> None:
    """Give a worker process one thread."""
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def train(unit: Unit) -> list[dict[str, Any]]:
    """Train and evaluate a unit's seeds, in a process of the pool."""
    from bench.trainer import our_side, sb3_side
    from bench.trainer.watching import evaluate, last_mean, learning_curve

    begun, setup = time.perf_counter(), unit.setup
    if unit.side == "ours":
        outcomes = our_side.train(setup, unit.seeds, unit.backend)
    else:
        outcomes = [sb3_side.train(setup, seed) for seed in unit.seeds]
    seconds = (time.perf_counter() - begun) / len(unit.seeds)
    row_steps = (setup.whole_steps if setup.learner == "ppo" else setup.steps) // setup.envs
    said = []
    for episodes, choose in outcomes:
        seeds = range(EVALUATION_SEED, EVALUATION_SEED + unit.episodes)
        evaluated = evaluate(setup.environment, choose, seeds)
        said.append(
            {
                "trained": last_mean(episodes),
                "evaluated": sum(evaluated) / len(evaluated),
                "curve": learning_curve(episodes, row_steps),
                "episodes": len(episodes),
                "seconds": seconds,
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )
    return said


def write(cells: Cells, folder: Path, command: str) -> None:
    """Write and print the comparison of what is there."""
    compared = compare(cells)
    if not compared:
        print("Nothing to compare yet: runs of both sides are needed.")
        return
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(compared, indent=1, ensure_ascii=False) + "\n"
    (folder / "learning.json").write_text(text)
    document = render(compared, command)
    (folder / "learning.md").write_text(document)
    print(document)


if __name__ == "__main__":
    main()
