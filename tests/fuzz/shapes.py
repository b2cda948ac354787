"""Requests for jobs of every shape that the door lets in, drawn from the ends of what may be asked.

They are tiny, because nothing depends on what is learnt: each is to come to an end.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeAlias

from core.methods import METHODS
from core.seeding import MOST_SEED

Json: TypeAlias = dict[str, Any]

# Tasks with fast physics, by the learners that their actions take.
CHOICES, VECTORS = ("ppo", "dqn"), ("ppo", "sac")
TASKS = {
    "cartpole-park": CHOICES,
    "acrobot": CHOICES,
    "mountaincar": CHOICES,
    "mountaincar-rest": VECTORS,
    "pendulum-swing": VECTORS,
    "inverted-pendulum-park": VECTORS,
    "reacher-circle": VECTORS,
}
THEIRS = {"ppo": "PPO", "sac": "SAC", "dqn": "DQN"}
SCREENS = ("duplicate", "order", "exploit", "scale")


def a_request(chance: random.Random) -> Json:
    """Return a request that is well formed; the door may refuse what does not go together."""
    pick = chance.choice
    task = pick(sorted(TASKS))
    return {
        "task": task,
        "method": pick(sorted(METHODS)),
        "iterations": pick([1, 2, 3]),
        "candidates": pick([1, 2, 3, 6]),
        "seed": pick([0, MOST_SEED, chance.randrange(MOST_SEED)]),
        "mode": pick(["replace", "add"]),
        "weight": pick([1e-9, 0.02, 1_000]),
        "design": pick(["joint", "reward", "features"]),
        "screens": chance.sample(SCREENS, chance.randrange(len(SCREENS) + 1)),
        "smoothness": pick(["windowed", "lesr"]),
        "human_weight": pick([0, 1_000]),
        "await_feedback": False,  # nobody would answer
        "context": _context(chance),
        "training": _training(chance, TASKS[task]),
        "evaluation": _evaluation(chance, TASKS[task]),
        "budget": pick([{}, {}, {}, {}, {"env_steps": 30_000}, {"seconds": pick([0.001, 20.0])}]),
    }


def _context(chance: random.Random) -> Json:
    pick = chance.choice
    return {
        "source": pick([True, False]),
        "examples": pick([0, 4]),
        "same_task": pick([True, False]),
        "safety": pick([True, False]),
        "prompt_tokens": pick([None, 4_000, 1_000_000]),
    }


def _training(chance: random.Random, algorithms: Sequence[str]) -> Json:
    pick = chance.choice
    algorithm = pick(algorithms)
    return {
        "algorithm": algorithm,
        "steps": pick([1, 7, 100, 1_500] if algorithm == "ppo" else [1, 200]),
        "seeds": pick([1, 2, 3]),
        "envs": pick([1, 2, 33]),
        "rungs": pick([[1.0], [1.0], [0.5, 1.0], [0.01, 0.02, 1.0]]),
        "keep": pick([0.01, 0.34, 1.0]),
        "checkpoints": pick([1, 4, 20]),
        "packs": pick([0, 1, 3]),
        "warm_start": algorithm != "ppo" and pick([True, False]),
        "threshold": pick([None, None, 5.0, -1.0]),
    }


def _evaluation(chance: random.Random, algorithms: Sequence[str]) -> Json:
    pick = chance.choice
    theirs = {"library": "sb3", "algorithm": THEIRS[pick(algorithms)], "steps": pick([1, 300])}
    return {
        "episodes": pick([1, 3]),
        "confirm_seeds": pick([1, 4]),
        "confirm_episodes": pick([1, 2]),
        "confirm_candidates": pick([1, 8]),
        "runoff_candidates": pick([0, 0, 1, 16]),
        "runoff_seeds": pick([1, 2]),
        "fitness_alone": pick([True, False]),
        "ablate": pick([True, False]),
        "rollouts": pick([0, 1, 2]),
        "transfer": pick([None, theirs]),
    }
