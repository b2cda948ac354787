"""Repeat one job with different seeds and report the spread of its verdicts.

    rewardsmith serve &
    python bench/verdicts.py --task cartpole-park --seeds 0 1 2 3 4 --out verdicts.jsonl

Resumable: seeds that already stand in the output file are not run again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from client.api import Client
from client.demo import DEMO, TASK


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default=TASK)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--set", type=json.loads, default={}, help="JSON merged into the request")
    parser.add_argument("--url", default=None)
    parser.add_argument("--out", type=Path, default=Path("verdicts.jsonl"))
    arguments = parser.parse_args()
    lines = arguments.out.read_text().splitlines() if arguments.out.exists() else []
    rows = {row["seed"]: row for row in map(json.loads, lines)}
    with Client(arguments.url) as client, arguments.out.open("a") as out:
        for seed in arguments.seeds:
            if seed not in rows:
                rows[seed] = run(client, arguments.task, {**DEMO, **arguments.set, "seed": seed})
                out.write(json.dumps(rows[seed]) + "\n")
                out.flush()
            print(json.dumps(rows[seed]), flush=True)
    print(summary([rows[seed] for seed in arguments.seeds]))


def run(client: Client, task: str, request: dict) -> dict:
    """Run one job to its end and return what it came to."""
    job = client.jobs.create(task, **request)
    job.wait()
    document = job.document
    outcome = document["outcome"]
    if outcome is None:
        raise SystemExit(f"job {job.id} ended as {document['status']}: {document['failure']}")
    return {
        "seed": request["seed"],
        "verdict": outcome["verdict"],
        "native": outcome["native"]["mean"],
        "designed": outcome["designed"]["mean"],
        "seconds": document["spent"]["seconds"],
        "env_steps": document["spent"]["env_steps"],
    }


def summary(rows: list[dict]) -> str:
    designed = np.array([row["designed"] for row in rows])
    verdicts = [row["verdict"] for row in rows]
    return (
        f"{len(rows)} jobs: {verdicts.count('better')} better, {verdicts.count('equal')} equal, "
        f"{verdicts.count('worse')} worse; designed mean {designed.mean():.3f}, "
        f"min {designed.min():.3f}, max {designed.max():.3f}; "
        f"native at most {max(row['native'] for row in rows):.3f}; "
        f"{np.median([row['seconds'] for row in rows]):.0f} s a job (median)"
    )


if __name__ == "__main__":
    main()
