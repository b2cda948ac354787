"""Environments as batches of rows: one interface, the fastest true implementation behind it.

`make_batch(task, rows)` gives an `EnvBatch`; `describe_env(task)` says what is known before the first
step.  Classic control runs as vectorised NumPy dynamics, MuJoCo tasks as rows of one compiled model,
everything else as gymnasium objects.  A `Variation` gives every row a model parameter of its own.
"""

from core.envs.batch import EnvBatch, EnvFacts, Transition
from core.envs.choosing import describe_env, make_batch
from core.envs.simulators import load_simulators
from core.envs.variations import Variation, spread

__all__ = [
    "EnvBatch",
    "EnvFacts",
    "Transition",
    "Variation",
    "describe_env",
    "load_simulators",
    "make_batch",
    "spread",
]
