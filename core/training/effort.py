"""What learning costs: a generous estimate from the settings alone, for deadlines and nothing else.

A pass over one transition costs time for every parameter; every gradient step costs time for every
parameter once more, and some whatever the network.  The constants are about ten times what one core
was measured to need.
"""

from __future__ import annotations

from itertools import pairwise

from core.ports import PackOrder
from core.training.action_space import read_action_space
from core.training.runtime import MOST_FEATURES
from core.training.settings import PPOSettings, read_settings

PASS_SECONDS = 1e-9  # per parameter and transition
DESCENT_SECONDS = 1e-7  # per parameter and gradient step
UPDATE_SECONDS = 5e-3  # per gradient step


def learning_seconds(order: PackOrder) -> float:
    """Return how long learning from one step of one member may take.

    Raises:
        InvalidInput: a setting is unknown or absurd.
    """
    settings = read_settings(order.training.settings)
    parameters = _parameters(order, settings)
    minibatch = min(settings.minibatch, settings.rollout * order.training.envs)
    descent = (UPDATE_SECONDS + parameters * DESCENT_SECONDS) / minibatch
    return settings.epochs * (parameters * PASS_SECONDS + descent)


def _parameters(order: PackOrder, settings: PPOSettings) -> int:
    """Return about how many parameters a member has: policy and value, with the most features."""
    inputs = order.preflight.observation_size + MOST_FEATURES
    widths = (inputs, *settings.hidden, read_action_space(order.preflight.action).size)
    return 2 * sum((before + 1) * after for before, after in pairwise(widths))
