"""What is trained, with which settings; one record serves both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.records.task import Task


@dataclass(frozen=True, slots=True)
class Setup:
    """One environment with one learner's settings.

    Attributes:
        environment:   gymnasium's id.
        steps:         environment steps of one run, all its environments together.
        learner:       "ppo" or "sac".
        envs, rollout: N environments per run, T steps of each between two updates.
        entropy:       weight of the entropy bonus; 0 for SAC, which finds its own.
        normalise:     observations and rewards by running statistics (SB3: VecNormalize).
        starts, batch: SAC alone: random steps at first, transitions per gradient step.
    """

    environment: str
    steps: int
    learner: str = "ppo"
    envs: int = 8
    rollout: int = 256
    minibatch: int = 64
    epochs: int = 10
    learning_rate: float = 3e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    entropy: float = 0.0
    normalise: bool = False
    starts: int = 100
    batch: int = 256
    hidden: tuple[int, ...] = (64, 64)

    @property
    def whole_steps(self) -> int:
        """Return the steps that a PPO run takes: both sides finish the rollout they are in."""
        rollout = self.envs * self.rollout
        return -(-self.steps // rollout) * rollout

    @property
    def task(self) -> Task:
        """Return the task: the environment as it is, with derived field names."""
        return Task(self.environment, self.environment, "")

    @property
    def ppo_settings(self) -> dict[str, Any]:
        """Return our PPO's settings by name."""
        return {
            "rollout": self.rollout,
            "minibatch": self.minibatch,
            "epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "gamma": self.gamma,
            "gae_lambda": self.gae_lambda,
            "entropy": self.entropy,
            "hidden": list(self.hidden),
            "normalise_observations": self.normalise,
            "normalise_rewards": self.normalise,
        }

    @property
    def sac_settings(self) -> dict[str, Any]:
        """Return our SAC's settings by name; SB3 takes one gradient step per environment step."""
        return {
            "learning_starts": self.starts,
            "minibatch": self.batch,
            "learning_rate": self.learning_rate,
            "gamma": self.gamma,
            "hidden": list(self.hidden),
        }


# Equal learning.  Pendulum as in most published PPO settings; LunarLander has the discounts and the
# entropy bonus of rl-baselines3-zoo, with rollouts short enough for 10⁵ steps.
LEARNING: dict[str, Setup] = {
    "cartpole": Setup("CartPole-v1", 50_000),
    "pendulum": Setup("Pendulum-v1", 100_000, envs=4, rollout=1024, learning_rate=1e-3, gamma=0.9),
    "hopper": Setup("Hopper-v5", 100_000),
    "hopper-normalised": Setup("Hopper-v5", 100_000, normalise=True),
    "lunarlander": Setup("LunarLander-v3", 100_000, gamma=0.999, gae_lambda=0.98, entropy=0.01),
    "sac-pendulum": Setup("Pendulum-v1", 10_000, learner="sac", envs=1, learning_rate=1e-3),
    # With the usual 3e-4 neither side has learnt anything after 20,000 steps; with 1e-3 both have.
    "sac-halfcheetah": Setup(
        "HalfCheetah-v5",
        20_000,
        learner="sac",
        envs=1,
        starts=1000,
        batch=128,
        learning_rate=1e-3,
    ),
}

# Equal settings on every environment, normalisation off on both sides: SB3 would pay more for it.
SPEED: dict[str, Setup] = {
    "CartPole-v1": Setup("CartPole-v1", 50_000),
    "Pendulum-v1": Setup("Pendulum-v1", 100_000),
    "LunarLander-v3": Setup("LunarLander-v3", 100_000),
    "Hopper-v5": Setup("Hopper-v5", 100_000),
    "HalfCheetah-v5": Setup("HalfCheetah-v5", 100_000),
    "Ant-v5": Setup("Ant-v5", 100_000),
}
