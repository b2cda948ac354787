"""The real paths that attacks behind the wall go through, and an independent view of the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import gymnasium
import numpy as np
from safetensors.numpy import load

from core.errors import ProgramRejected, ScoringFailed
from core.ports import Arm, PackOrder, PackResult, Progress
from core.records.measured import Preflight, Run
from core.records.programs import Program
from core.records.spec import Training
from core.sandbox import Sandbox
from core.statistics import mean
from core.training.checking import check_program
from core.training.laboratory import PRELOAD, Laboratory
from core.training.measuring import measure
from tests.rim.laboratory_parts import CART_POLE, ESCAPE, MemoryArtifacts, an_order, program

HELD_OUT = tuple(0xBEEF + (half << 16) for half in (30_011, 21_013, 28_027, 25_031))
"""Seeds that share their lower half, so that case 85 can look for all of them at once."""
STEPS = 1_500
HONEST = "def features(obs):\n    return {'lean': 3 * obs.angle}\n"
REWARD = (
    "def reward(obs, action, next_obs, params):\n"
    "    return {'upright': np.cos(next_obs.angle), 'x': -0.1 * np.abs(next_obs.x)}\n"
)

Features = Callable[[np.ndarray], np.ndarray]


def lean(observation: np.ndarray) -> np.ndarray:
    """What HONEST computes, for one observation [4]."""
    return 3 * observation[2:3]


@dataclass(frozen=True)
class Outcome:
    """What came of a hostile program in the whole split: trainer, weights, scorer, actor."""

    run: Run
    truth: tuple[float, ...]

    @property
    def verdict(self) -> str:
        """Return "true score", "failed: WHY", or what was believed instead of the truth."""
        if self.run.status == "failed":
            return f"failed: {self.run.failure}"
        believed = (self.run.fitness, self.run.episodes)
        if believed == (mean(self.truth), self.truth):
            return "true score"
        return f"scored {believed} where the truth is {self.truth}"


class Bench:
    """A laboratory on a real sandbox."""

    def __init__(self) -> None:
        self.laboratory = Laboratory(Sandbox(PRELOAD), MemoryArtifacts())

    def close(self) -> None:
        self.laboratory.sandbox.close()

    @cached_property
    def preflight(self) -> Preflight:
        return self.laboratory.preflight(CART_POLE, Training(), 0, _ignore)

    def rejection(self, source: str) -> str:
        """Check a program, in torch if it imports that; return the broken rule, or "accepted"."""
        array = "torch" if "import torch" in source else "numpy"
        hostile = replace(program(source), array=array)
        laboratory = self.laboratory
        try:
            check_program(laboratory.sandbox, laboratory.artifacts, hostile, self.preflight)
        except ProgramRejected as error:
            return str(error.rule)
        return "accepted"

    def order(self, programs: Mapping[str, Program]) -> PackOrder:
        arms = {key: Arm(key, one) for key, one in programs.items()}
        return an_order(
            CART_POLE,
            self.preflight,
            arms=arms,
            members=tuple((key, 0) for key in arms),
            training=Training(steps=STEPS, envs=4),
            stop_steps=STEPS,
            held_out=HELD_OUT,
        )

    def train(self, sources: Mapping[str, str], **changes: object) -> PackResult:
        """Train programs as one pack and measure them."""
        order = self.order({key: program(source) for key, source in sources.items()})
        return self.laboratory.train(replace(order, **changes), _ignore)

    def outcome(self, hostile: str, features: Features = lean, honest: str = HONEST) -> Outcome:
        """Train and measure a program whose body does something hostile first."""
        source = f"import numpy as np\n{ESCAPE}\n{hostile}\n{honest}{REWARD}"
        run = self.train({"0.0": source}, record=False).runs[0]
        if run.weights is None:
            return Outcome(run, ())
        return Outcome(run, truth(self.laboratory.artifacts.get(run.weights), features))

    def scored(self, weights: bytes) -> str:
        """Hand weights to the scorer; return "scored", or why they were refused."""
        try:
            measure(
                self.laboratory.sandbox,
                self.order({}),
                None,
                [weights],
                (),
                _ignore,
                Progress("measure", 0, 1),
            )
        except ScoringFailed as error:
            return f"refused: {error}"
        return "scored"


def truth(weights: bytes, features: Features) -> tuple[float, ...]:
    """Live the held-out episodes in plain Gymnasium, with the policy written out by hand."""
    w = load(weights)
    hidden = sum(name.endswith(".weight") for name in w) - 1
    layers = [*(f"policy.{i}" for i in range(hidden)), "policy.out"]

    def choose(observation: np.ndarray) -> int:
        x = np.concatenate([observation, features(observation)]).astype(np.float32)
        x = np.clip((x - w["normaliser.mean"]) * w["normaliser.scale"], -10, 10)
        for name in layers[:-1]:
            x = np.tanh(w[f"{name}.weight"] @ x + w[f"{name}.bias"])
        return int(np.argmax(w["policy.out.weight"] @ x + w["policy.out.bias"]))

    return tuple(_episode(seed, choose) for seed in HELD_OUT)


def _episode(seed: int, choose: Callable[[np.ndarray], int]) -> float:
    env = gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        observation, reward, terminated, truncated, _ = env.step(choose(observation))
        total += float(reward)
        over = terminated or truncated
    env.close()
    return total


def _ignore(progress: Progress) -> None:
    """Nobody watches."""
