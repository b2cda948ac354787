"""What the tests of the laboratory share: memory instead of a disk, tasks, programs, policies."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
from safetensors.numpy import save

from core.errors import NotFound
from core.ports import Arm, PackOrder, ScreenOrder, Source
from core.records.kinds import NATIVE
from core.records.measured import Preflight
from core.records.programs import Program
from core.records.spec import Training
from core.records.task import Field, Fitness, Task
from core.training.wire import fields_to_json

CART_POLE = Task(
    "cart-pole",
    "CartPole-v1",
    "Keep the pole upright.",
    fields=(
        Field("x", "obs[0]", "m", -4.8, 4.8, "position of the cart"),
        Field("v", "obs[1]", "m/s", meaning="velocity of the cart"),
        Field("angle", "obs[2]", "rad", meaning="angle of the pole"),
        Field("spin", "obs[3]", "rad/s", meaning="angular velocity of the pole"),
        Field("all_of_it", "obs[0:4]"),
        Field("secret", "obs[0]", visible=("metric",)),
        Field("terminated", "terminated", visible=("reward",)),
    ),
)
PENDULUM = Task(
    "pendulum",
    "Pendulum-v1",
    "Swing up.",
    fields=(
        Field("cosine", "obs[0]", low=-1, high=1),
        Field("sine", "obs[1]", low=-1, high=1),
        Field("spin", "obs[2]", low=-8, high=8),
    ),
    fitness=Fitness("share", where="cosine > 0.9", horizon=200),
)


def ignore(progress: object) -> None:
    """Hear how far a step is, and do nothing about it."""


class MemoryArtifacts:
    """Content-addressed bytes in a dictionary."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    def put(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        self.stored[sha256] = content
        return sha256

    def get(self, sha256: str) -> bytes:
        if sha256 not in self.stored:
            raise NotFound(sha256)
        return self.stored[sha256]


def program(source: str, **params: float) -> Program:
    """A program as `read_program` would give it, but without its static rules."""
    return Program(
        source=source,
        sha256=hashlib.sha256(source.encode()).hexdigest(),
        has_reward="def reward(" in source,
        has_features="def features(" in source,
        params=params,
    )


def rewarding(body: str, before: str = "") -> Program:
    """A program whose `reward` has the given body; it may use all that `before` defines."""
    lines = "\n".join("    " + line for line in body.strip("\n").splitlines())
    return program(
        f"import numpy as np\nimport math\n{before}\n"
        f"def reward(obs, action, next_obs, params):\n{lines}\n"
    )


def linear_policy(weight: np.ndarray, bias: np.ndarray, inputs: int, box: bool = False) -> bytes:
    """Weights of a policy without hidden layers, safetensors bytes."""
    tensors = {
        "policy.out.weight": np.asarray(weight, np.float32),
        "policy.out.bias": np.asarray(bias, np.float32),
        "normaliser.mean": np.zeros(inputs, np.float32),
        "normaliser.scale": np.ones(inputs, np.float32),
    }
    if box:
        tensors["policy.log_std"] = np.zeros(len(bias), np.float32)
    return save(tensors)


def space(task: Task, size: int) -> dict[str, object]:
    """The JSON from which a child lays blocks out."""
    return {"fields": fields_to_json(task.fields), "observation_size": size}


ESCAPE = """
_found = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == "_wrap_close"]
os = _found[0].__init__.__globals__["sys"].modules["os"]
sys = _found[0].__init__.__globals__["sys"]
getattr = sys.modules["builtins"].getattr
vars = sys.modules["builtins"].vars
"""
"""How a program gets around the few builtins; the walls must hold although it does."""


def an_order(task: Task, preflight: Preflight, **changes: Any) -> PackOrder:
    """A pack of one native run, to be changed."""
    order = PackOrder(
        task=replace(task, fields=preflight.fields),
        preflight=preflight,
        training=Training(steps=1000, seeds=1, envs=4),
        stage="search",
        rung=0,
        mode="replace",
        weight=0.02,
        members=((NATIVE, 0),),
        arms={NATIVE: Arm(NATIVE)},
        start_steps=0,
        stop_steps=1000,
        held_out=(11, 12, 13, 14),
        checkpoints=1,
    )
    return replace(order, **changes)


def screening_order(preflight, programs, **changes):
    order = ScreenOrder(
        preflight=preflight,
        training=Training(),
        mode="replace",
        weight=0.5,
        programs=programs,
        asked=frozenset(programs),
        sources=(Source("random", preflight.recording),),
    )
    return replace(order, **changes)
