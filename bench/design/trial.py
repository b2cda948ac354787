"""Short trainings on search seeds: by them experts were tuned and the ladder's steps were chosen.

    python -m bench.design.trial hopper --arms native expert --steps 300000 --checkpoints 10 --seeds 4

Prints the fitness of every run at every checkpoint, its mean over runs, and the time.  No result of the
ladder is computed from these seeds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.design.arms import arm_of
from bench.design.house import House, open_house
from bench.design.ladder import FULL, LADDER, Entry, spec_for

FIRST_SEED = 900_000  # jobs have 1,000 seeds each, from 0 on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--arms", nargs="+", default=["native"])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--checkpoints", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open_house(Path(folder)) as house:
        for task in arguments.tasks:
            for arm in arguments.arms:
                try_arm(house, task, arm, arguments)


def try_arm(house: House, task: str, arm: str, arguments: argparse.Namespace) -> None:
    """Train one arm and print its curve."""
    steps = arguments.steps or {entry.task: entry.steps for entry in LADDER}[task]
    spec = spec_for(Entry(task, steps, why="", speed=1.0, episode=1), FULL)
    found = house.preflight(spec)
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.seeds)
    began = time.monotonic()
    runs = house.train(spec, arm_of(arm, spec), seeds, checkpoints=arguments.checkpoints)
    seconds = time.monotonic() - began
    print(f"{task}, {arm}: random {found.random_fitness:.4g}; {seconds:.0f} s", flush=True)
    for run in runs:
        print("   ", run.seed, *(f"{f:9.4g}" for _, f in run.checkpoints), run.failure or "")
    sound = [[f for _, f in run.checkpoints] for run in runs if run.failure is None]
    if sound:
        steps = [s for s, _ in runs[0].checkpoints]
        print("  steps ", *(f"{s:9,}" for s in steps))
        print("  mean  ", *(f"{f:9.4g}" for f in np.mean(sound, axis=0)), flush=True)


if __name__ == "__main__":
    main()
