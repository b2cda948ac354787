"""Design a reward for an environment of your own, given as `module:EnvId`.

    python examples/custom_environment.py

The folder of the module is named to the server once; the environment then runs in the sandbox of its
workers.  To try an environment first:

    rewardsmith env check corridor_env:Corridor-v0 --path examples/environments
"""

from __future__ import annotations

import argparse
from pathlib import Path

from client import Client

FOLDER = Path(__file__).parent / "environments"
TASK = {
    "environment": "corridor_env:Corridor-v0",
    "description": "Reach the far end of the corridor, three metres to the right, quickly.",
    "fitness": {"kind": "success", "where": "place >= 3", "over": "any"},
    "fields": [
        {"name": "place", "source": "obs[0]", "unit": "m", "meaning": "where the walker is"},
        {"name": "move", "source": "obs[1]", "unit": "m", "meaning": "its last step"},
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path(".rewardsmith"))
    parser.add_argument("--steps", type=int, default=20_000, help="environment steps of a training")
    parser.add_argument("--out", type=Path, default=Path("corridor_reward.py"))
    asked = parser.parse_args()

    with Client.embedded(asked.home, environment_paths=str(FOLDER.absolute())) as client:
        job = client.jobs.create(
            TASK,
            iterations=1,
            candidates=4,
            training={"steps": asked.steps, "seeds": 2},
            evaluation={"confirm_seeds": 3},
        )
        for event in job.stream():
            print(event.data["message"], flush=True)
        outcome = job.refresh().view.outcome
        if outcome is None:
            raise SystemExit(f"The job is {job.status}: {job.view.failure}")
        print(outcome.sentence)
        if outcome.best is not None:
            print(f"saved as {job.best.save(asked.out)}")


if __name__ == "__main__":
    main()
