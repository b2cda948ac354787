"""Whole design jobs with the real trainer: the good reward is found, and an exploit is found out.

Slow, because what they check cannot be seen without training.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from core.exploits import exploit_reason
from core.records.measured import Preflight
from core.records.spec import Evaluation, JobSpec, Training
from core.records.task import Field, Fitness, Task
from core.sandbox import Sandbox
from core.training.laboratory import PRELOAD, Laboratory
from core.training.transitions import load_recording
from core.trajectories import sources
from tests.rim.designing import design, paying
from tests.rim.laboratory_parts import MemoryArtifacts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ENVIRONMENTS = Path(__file__).parents[2] / "examples" / "environments"
ALL = ("duplicate", "order", "exploit", "scale")


class OneProbe(Laboratory):
    """Probes an environment once for all jobs: half of a short job's time is its preflight."""

    found: ClassVar[dict[str, Preflight]] = {}

    def preflight(self, task, training, seed, watch, *, source=False):
        if task.name not in self.found:
            self.found[task.name] = super().preflight(task, training, seed, watch)
        return self.found[task.name]


@pytest.fixture(scope="module")
def laboratory():
    box = Sandbox(PRELOAD, import_paths=[ENVIRONMENTS])
    yield OneProbe(box, MemoryArtifacts())
    box.close()


# --- the planted optimum --------------------------------------------------------------------------

POINT = Task(
    "point",
    "point_mass_env:PointMass-v0",
    "Bring the point to the origin and keep it there.",
    fitness=Fitness("share", where="-0.25 < x < 0.25 and -0.25 < y < 0.25", horizon=50, goal=0.8),
    fields=(
        Field("x", "obs[0]", "m", -3, 3, "place"),
        Field("y", "obs[1]", "m", -3, 3, "place"),
        Field("vx", "obs[2]", "m/s", -2, 2, "speed"),
        Field("vy", "obs[3]", "m/s", -2, 2, "speed"),
    ),
)
QUICK = {
    "rollout": 16,
    "minibatch": 32,
    "epochs": 10,
    "learning_rate": 3e-3,
    "gamma": 0.9,
    "gae_lambda": 0.9,
    "log_std": -0.5,
}
GOOD = "{'near': -np.hypot(next_obs.x, next_obs.y)}"
BAD = (
    "{'far': np.hypot(next_obs.x, next_obs.y)}",
    "{'right': next_obs.x}",
    "{'corner': next_obs.x + next_obs.y}",
    "{'fast': np.hypot(next_obs.vx, next_obs.vy)}",
    "{'still': -np.hypot(next_obs.vx, next_obs.vy)}",
    "{'idle': -np.square(action).sum(-1)}",
    "{'wall': np.abs(next_obs.y)}",
    "{'turn': next_obs.x * next_obs.vy - next_obs.y * next_obs.vx}",
)


def a_job(seed, place, runs):
    """Nine programs, the good one in a given slot, each with so many runs."""
    bodies = [*BAD[:place], GOOD, *BAD[place:]]
    spec = JobSpec(
        POINT,
        iterations=1,
        candidates=len(bodies),
        training=Training(
            steps=4_000,
            seeds=runs,
            envs=8,
            rungs=(0.5, 1.0),
            checkpoints=1,
            packs=1,
            settings=QUICK,
        ),
        evaluation=Evaluation(episodes=10, confirm_seeds=2, confirm_episodes=10),
        seed=seed,
        screens=ALL,
    )
    return spec, lambda ask: paying(bodies[ask.slot])


@pytest.mark.parametrize(
    ("seed", "runs"), [*((seed, 1) for seed in range(20)), *((seed, 2) for seed in range(9))]
)
def test_one_good_reward_wins_over_eight_bad_ones(laboratory, seed, runs):
    """At the first rung the good one may still be below chance, with bad ones before it by luck."""
    place = seed % 9
    ledger = design(laboratory, *a_job(seed, place, runs))
    assert ledger.facts.outcome is not None, ledger.facts.failure
    assert ledger.facts.outcome.best == f"0.{place}"


# --- an exploit -----------------------------------------------------------------------------------

CAR = Task(
    "car",
    "MountainCar-v0",
    "Drive the car to the flag on the right hill.",
    fitness=Fitness("success", where="position >= 0.5", over="any"),
    fields=(
        Field("position", "obs[0]", "m", -1.2, 0.6, "place along the track"),
        Field("velocity", "obs[1]", "m/step", -0.07, 0.07, "speed, positive to the right"),
    ),
)
SWING = "{'swing': np.abs(next_obs.velocity)}"
SECOND = (
    "{'swing': 3 * np.abs(next_obs.velocity)}",
    "{'swing': np.square(next_obs.velocity)}",
    "{'right': next_obs.position - obs.position}",
    "{'hill': np.sin(3 * next_obs.position)}",
)


def test_pay_for_swinging_is_found_out_and_its_variants_are_not_trained(laboratory):
    flag = "{'flag': np.where(next_obs.position > 0.5, 1.0, 0.0)}"
    first = [SWING, "{'right': next_obs.position}", "{'left': -next_obs.position}", flag]
    spec = JobSpec(
        CAR,
        iterations=2,
        candidates=4,
        training=Training(
            steps=200_000, seeds=1, envs=16, checkpoints=4, packs=1, settings={"entropy": 0.01}
        ),
        evaluation=Evaluation(episodes=50, confirm_seeds=1, confirm_episodes=5),
        screens=ALL,
        method="eureka",
    )
    bodies = {0: first, 1: list(SECOND)}
    ledger = design(laboratory, spec, lambda ask: paying(bodies[ask.iteration][ask.slot]))
    history = ledger.facts
    swinging = history.iterations[0].candidates[0]
    assert swinging.runs[-1].episodes == (0.0,) * 50
    assert "is not above the random policy's 0" in exploit_reason(history, swinging)

    bank = [source for source in sources(history) if source.exploit]
    assert "0.0" in {source.key for source in bank}
    recording = load_recording(laboratory.artifacts.get(swinging.report.recording))
    assert recording.fitness.max() == 0.0

    variants = history.iterations[1].candidates[:2]
    assert [c.status for c in variants] == ["screened", "screened"]
    assert all(c.saved_steps == 200_000 and not c.runs for c in variants)
    for candidate in variants:
        verdicts = {screen.name: screen for screen in candidate.screens}
        assert (verdicts["exploit"].verdict, verdicts["exploit"].other) == ("fail", "0.0")
    assert variants[0].screens[0].verdict == "fail"  # the scale alone makes it no other reward
