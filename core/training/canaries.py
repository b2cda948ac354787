"""Canaries: policies of known fitness, measured beside a planted cheat before a scorer is believed.

A fixed policy and one of random weights are measured as any arm is, by scorer and actor, while the
actor runs a program that tries to forge the score.  The scorer also lives the same episodes by itself,
without an actor: that is the known score, and the measured one must equal it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np
from safetensors.numpy import save

from core.errors import SandboxFailed, ScoringFailed
from core.fields import read_source
from core.ports import PackOrder, Progress, Watch
from core.records.kinds import Canaries
from core.records.programs import Program
from core.records.task import Field
from core.sandbox import Sandbox
from core.training.action_space import read_action_space
from core.training.measuring import Measured, measure

EPISODES = 2
STEPS = 200
FROZEN, RANDOM, FROZEN_AGAIN = 0, 1, 2

_CHEAT = """\
import numpy as np


def cheat():
    found = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == "_wrap_close"]
    sys = found[0].__init__.__globals__["sys"]
    text, forged = sys.modules["json"].dumps, '"fitness": [999.0], "was": ['
    sys.modules["json"].dumps = lambda *a, **k: text(*a, **k).replace('"fitness": [', forged)
    for module in list(sys.modules.values()):
        for name in ("episode_fitness", "run_episodes"):
            if name in module.__dict__:
                module.__dict__[name] = lambda *a, **k: 999.0
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if value.__class__ is list:
                value[:] = [999.0 if v.__class__ is float else v for v in value]
        frame = frame.f_back


try:
    cheat()
except Exception:
    cheat = None


def features(obs):
    return {"cheat": 0 * obs.FIELD + 999.0}
"""


class ScorerBroken(SandboxFailed):
    """What the scorer says of a policy is not what that policy is worth."""


def try_scorer(sandbox: Sandbox, order: PackOrder, watch: Watch, progress: Progress) -> Canaries:
    """Measure the canaries in the environment of an order.

    Returns:
        "passed"; "unsteady" where the environment itself is not the same twice on the same seeds, so
        that nothing can be compared; "unanswered" where the machine was too slow to answer in time.

    Raises:
        ScorerBroken: the measured fitness of a canary is not the known one.
    """
    limit = min(STEPS, order.preflight.max_episode_steps or STEPS)
    small = replace(
        order,
        held_out=order.held_out[:EPISODES],
        preflight=replace(order.preflight, max_episode_steps=limit),
    )
    program = _cheat(order.preflight.fields)
    policies = _policies(order, 0 if program is None else 1)
    try:
        measured = measure(sandbox, small, program, policies, (), watch, progress, known=True)
    except ScoringFailed:
        return "unanswered"
    return _verdict(measured)


def _verdict(measured: Measured) -> Canaries:
    scores, known = measured.scores, measured.known
    if measured.unsteady or scores[FROZEN] != scores[FROZEN_AGAIN]:
        return "unsteady"
    if scores == known:
        return "passed"
    names = {FROZEN: "a fixed policy", RANDOM: "a policy of random weights"}
    wrong = next(i for i, score in enumerate(scores) if score != known[i])
    raise ScorerBroken(
        f"fitness {scores[wrong].fitness} for {names.get(wrong, names[FROZEN])}",
        expected=f"{known[wrong].fitness}, which the scorer finds by itself",
        where="canaries of the scorer",
        hint="Trust no score of this machine before you know why; is its software as installed?",
    )


def _cheat(fields: Sequence[Field]) -> Program | None:
    """Return the planted cheat for these fields; None where a policy may see none of them."""
    for field in fields:
        source = read_source(field)
        if source.kind == "obs" and "policy" in field.visible:
            column = field.name if source.stop is None else f"{field.name}[:, 0]"
            text = _CHEAT.replace("FIELD", column)
            return Program(
                text, sha256(text.encode()).hexdigest(), has_reward=False, has_features=True
            )
    return None


def _policies(order: PackOrder, features: int) -> list[bytes]:
    """Return the weights of the canaries: fixed, random, fixed.  Features have no weight at all."""
    space = read_action_space(order.preflight.action)
    size = order.preflight.observation_size
    frozen = np.zeros((space.size, size + features), np.float32)
    drawn = frozen.copy()
    drawn[:, :size] = np.random.default_rng(0).normal(size=(space.size, size)) / np.sqrt(size)
    weights = []
    for weight in (frozen, drawn, frozen):
        tensors = {
            "policy.out.weight": weight,
            "policy.out.bias": np.zeros(space.size, np.float32),
            "normaliser.mean": np.zeros(size + features, np.float32),
            "normaliser.scale": np.ones(size + features, np.float32),
        }
        if not space.discrete:
            tensors["policy.log_std"] = np.zeros(space.size, np.float32)
        weights.append(save(tensors))
    return weights
