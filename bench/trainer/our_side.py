"""Our side: packs of runs, watched from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from safetensors.numpy import load

from bench.trainer.setups import Setup
from bench.trainer.watching import Choose, Outcome, Watched
from core.envs import EnvBatch, make_batch
from core.training.action_space import ActionSpace, read_action_space
from core.training.backends import Backend, choose_backend
from core.training.course import Span
from core.training.designs import Code, Rewards
from core.training.members import Member
from core.training.numpy_policy import stack_policies
from core.training.pack import Pack, new_pack
from core.training.settings import read_settings


class Silence:
    """A listener that keeps only who failed."""

    def __init__(self) -> None:
        self.failures: dict[int, str] = {}

    def progress(self, steps: int, seconds: float) -> None:
        """Say nothing."""

    def snapshot(self, steps: int, weights: Mapping[int, bytes]) -> None:
        """Say nothing."""

    def failed(self, member: int, steps: int, reason: str) -> None:
        self.failures[member] = reason


def make_pack(
    setup: Setup,
    members: Sequence[Member],
    programs: Mapping[str, Code | None],
    batch: EnvBatch,
    backend: str | None = None,
) -> Pack:
    """Put members together with a setup's settings."""
    settings = read_settings(setup.ppo_settings)
    listener, chosen = Silence(), backend_of(backend)
    return new_pack(members, Rewards(programs), batch, settings, listener, chosen)


def train(setup: Setup, seeds: Sequence[int], backend: str | None = None) -> list[Outcome]:
    """Train one run per seed on the native reward, all in one pack.

    Raises:
        RuntimeError: a run broke.
    """
    watched = Watched(make_batch(setup.task, len(seeds) * setup.envs))
    members = [Member("native", seed) for seed in seeds]
    pack: Any
    if setup.learner == "sac":
        pack = _make_off_policy_pack(setup, members, watched)
    else:
        pack = make_pack(setup, members, {"native": None}, watched, backend)
    pack.train(Span(stop=setup.steps, total=setup.steps))
    if pack.course.failures:
        raise RuntimeError(f"{setup.environment}: {pack.course.failures}")
    weights, space = pack.weights(), read_action_space(watched.action)
    watched.close()
    return [
        (
            watched.of(range(place * setup.envs, (place + 1) * setup.envs)),
            chooser(weights[place], space),
        )
        for place in range(len(seeds))
    ]


def _make_off_policy_pack(setup: Setup, members: Sequence[Member], batch: EnvBatch) -> Any:
    from core.training.off_policy_pack import new_off_policy_pack

    settings = read_settings(setup.sac_settings, "sac")
    return new_off_policy_pack(members, Rewards({"native": None}), batch, settings, Silence())


def chooser(weights: bytes, space: ActionSpace) -> Choose:
    """Return a policy without chance, from the weights that leave for scoring."""
    policies = stack_policies([load(weights)], space)

    def choose(seen: np.ndarray) -> np.ndarray:
        action = policies.act(seen[None])[0]
        return action[:, 0].astype(np.int64) if space.discrete else action

    return choose


def backend_of(name: str | None) -> Backend:
    """Return who computes the networks; None leaves the choice to the trainer.

    Raises:
        InvalidInput: it is not there.
    """
    return choose_backend() if name is None else choose_backend(name)


def backends() -> list[str]:
    """Return the names of all that are there, the trainer's own choice first."""
    return list(dict.fromkeys([choose_backend().name, "torch"]))
