"""Builders that say only what matters for a test."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

from core.records.history import History
from core.records.kinds import NATIVE, Stage
from core.records.measured import Preflight, Run
from core.records.outcome import Interval, Outcome
from core.records.programs import Program
from core.records.rounds import Candidate, Feedback, Iteration
from core.records.spec import Evaluation, JobSpec, Training
from core.records.task import Field, Fitness, Task

SOURCE = '''import numpy as np

PARAMS = {"near": 1.0, "width": 0.5}


def reward(obs, action, next_obs, params):
    """Stay near the target."""
    return {"near": params.near * np.exp(-np.square((next_obs.position - 1.0) / params.width))}
'''


def a_task(**changes: Any) -> Task:
    task = Task(
        name="point-park",
        environment="PointPark-v0",
        description="Move the point one metre to the right and keep it there.",
        fitness=Fitness("share", where="0.75 < position < 1.25", horizon=100, goal=0.8),
        fields=(
            Field("position", "obs[0]", "m", -5.0, 5.0, "where the point is"),
            Field("velocity", "obs[1]", "m/s", None, None, "how fast it moves"),
            Field("distance_driven", "info.distance", "m", visible=("metric",)),
        ),
    )
    return replace(task, **changes)


def a_spec(**changes: Any) -> JobSpec:
    spec = JobSpec(
        a_task(),
        iterations=2,
        candidates=2,
        training=Training(steps=1000, seeds=2, packs=1),
        evaluation=Evaluation(episodes=3, confirm_seeds=3, confirm_episodes=3),
    )
    return replace(spec, **changes)


def a_preflight(**changes: Any) -> Preflight:
    preflight = Preflight(
        fields=a_task().fields,
        observation_size=2,
        action={"kind": "discrete", "n": 2, "start": 0},
        max_episode_steps=100,
        quantiles={"position": (-1.0, 0.0, 1.0), "velocity": (-2.0, 0.0, 2.0)},
        random_fitness=0.1,
        steps_per_second=50_000.0,
        adapter="gymnasium",
        probe="0" * 64,
        estimate={},
    )
    return replace(preflight, **changes)


def a_program(source: str = SOURCE, **changes: Any) -> Program:
    program = Program(
        source,
        sha256(source.encode()).hexdigest(),
        has_reward=True,
        has_features=False,
        params={"near": 1.0, "width": 0.5},
        bounds={"near": (0.25, 4.0), "width": (0.125, 2.0)},
    )
    return replace(program, **changes)


def a_run(
    arm: str, fitness: float | None, *, seed: int = 0, rung: int = 0, stage: Stage = "search"
) -> Run:
    if fitness is None:
        return Run(stage, arm, seed, rung, "failed", failure="the loss was not finite")
    return Run(
        stage, arm, seed, rung, "scored", fitness=fitness, episodes=(fitness,) * 3, env_steps=1000
    )


def trained(number: int, *fitness: float | None, iteration: int = 0, rung: int = 0) -> Candidate:
    """A candidate with one run per given fitness; None stands for a failed run."""
    key = f"{iteration}.{number}"
    runs = tuple(a_run(key, value, seed=seed, rung=rung) for seed, value in enumerate(fitness))
    source = SOURCE.replace("Stay near", f"Variant {key}: stay near")
    return Candidate(
        iteration,
        number,
        "seed" if iteration == 0 else "refine",
        "trained" if runs else "proposed",
        program=a_program(source),
        runs=runs,
    )


def proposed(number: int, *, iteration: int = 0) -> Candidate:
    return trained(number, iteration=iteration)


def rejected(number: int, why: str = "no code", *, iteration: int = 0) -> Candidate:
    return Candidate(iteration, number, "seed", "rejected", rejection=why)


def an_iteration(
    *candidates: Candidate, number: int = 0, proposed: bool = True, feedback: bool = False
) -> Iteration:
    told = Feedback(number, "text", best=None) if feedback else None
    return Iteration(number, candidates, proposed, told)


def a_history(*iterations: Iteration, **changes: Any) -> History:
    """A job past preflight and baseline; say otherwise where it matters."""
    spec = changes.pop("spec", a_spec())
    history = History(
        spec,
        status="running",
        preflight=a_preflight(),
        native=tuple(
            a_run(NATIVE, 0.2, seed=seed, stage="baseline") for seed in range(spec.training.seeds)
        ),
        iterations=iterations,
    )
    return replace(history, **changes)


def confirmations(arms: dict[str, list[float]], first: int = 500) -> tuple[Run, ...]:
    return tuple(
        a_run(arm, value, seed=first + place, stage="confirm")
        for arm, values in arms.items()
        for place, value in enumerate(values)
    )


def an_outcome() -> Outcome:
    return Outcome(
        verdict="better",
        best="0.0",
        native=Interval(0.2, 0.1, 0.3, 3),
        designed=Interval(0.83, 0.8, 0.9, 3),
        native_iqm=0.2,
        designed_iqm=0.83,
        probability_of_improvement=1.0,
        sentence="The designed reward is better than the native one.",
    )
