"""What learning costs, by the settings alone: generous estimates for limits, usual ones for people.

A pass over one transition costs time for every parameter; every gradient step costs time for every
parameter once more, and some whatever the network.  The constants are about ten times what one core
was measured to need.
"""

from __future__ import annotations

from itertools import pairwise

from core.ports import PackOrder
from core.records.measured import Preflight
from core.records.spec import Training
from core.training.action_space import read_action_space
from core.training.deadlines import ROW_SECONDS
from core.training.numpy_policy import MOST_BYTES
from core.training.runtime import MOST_FEATURES
from core.training.settings import (
    MOST_REPLAY_BYTES,
    PPOSettings,
    SACSettings,
    Settings,
    read_settings,
)

PASS_SECONDS = 1e-9  # per parameter and transition
DESCENT_SECONDS = 1e-7  # per parameter and gradient step
UPDATE_SECONDS = 5e-3  # per gradient step
GENEROSITY = {"ppo": 50.0, "sac": 10.0, "dqn": 10.0}
"""How far a limit lies above what was measured; PPO with the kernel, without which it needs more."""
_FLOAT, _INTEGER = 4, 8  # bytes
_WIDEST_FIELD = 8  # columns; most have one
_CALLS_TO_LABEL = 3


def learning_seconds(order: PackOrder) -> float:
    """Return how long learning from one step of one member may take.

    Raises:
        InvalidInput: a setting is unknown or absurd.
    """
    return _learning_seconds(order.preflight, order.training)


def usual_learning_seconds(found: Preflight, training: Training) -> float:
    """Return about how long learning from one step of one run will take, on one core.

    Raises:
        InvalidInput: a setting is unknown or absurd.
    """
    return _learning_seconds(found, training) / GENEROSITY[training.algorithm]


def _learning_seconds(found: Preflight, training: Training) -> float:
    settings = read_settings(training.settings, training.algorithm)
    parameters = _parameters(found, settings)
    if isinstance(settings, PPOSettings):
        minibatch = min(settings.minibatch, settings.rollout * training.envs)
        descent = (UPDATE_SECONDS + parameters * DESCENT_SECONDS) / minibatch
        return settings.epochs * (parameters * PASS_SECONDS + descent)
    passes = settings.minibatch * parameters * PASS_SECONDS
    update = UPDATE_SECONDS + parameters * DESCENT_SECONDS + passes
    return settings.updates_per_step * update


def recalling_seconds(order: PackOrder) -> float:
    """Return how long one member may take to label what it brings into its replay; 0 for PPO.

    It is what its program may take before it is overdue, for the rewards and the inputs on both sides.

    Raises:
        InvalidInput: a setting is unknown or absurd.
    """
    settings = _settings(order)
    if isinstance(settings, PPOSettings):
        return 0.0
    space = read_action_space(order.preflight.action)
    action = _INTEGER if space.discrete else _FLOAT * space.size
    least = _FLOAT * (2 * order.preflight.observation_size + 1) + action + 1  # bytes of a row
    fitting = MOST_REPLAY_BYTES // least
    lived = order.stop_steps * (len(order.members) if settings.share_replay else 1)
    kept = min(2 * lived, fitting)  # twice: what a rung before this one began warm with
    brought = max((len(order.warm.get(member, ())) for member in order.members), default=0)
    rows = min(settings.buffer, max(kept, brought * fitting))
    return _CALLS_TO_LABEL * rows * ROW_SECONDS


def replay_bytes(order: PackOrder) -> int:
    """Return how much memory the replays of a pack may take, labels included; 0 for PPO.

    Raises:
        InvalidInput: a setting is unknown or absurd.
    """
    settings = _settings(order)
    if isinstance(settings, PPOSettings):
        return 0
    inputs = order.preflight.observation_size + MOST_FEATURES
    row = _FLOAT * (4 * inputs + 2 * _WIDEST_FIELD * len(order.preflight.fields) + 32)
    members = len(order.members)
    lived = order.stop_steps * (members if settings.share_replay else 1)
    rows = min(settings.buffer, 2 * lived)  # twice: what a warm start or a resumption brings
    return members * (rows * row + 2 * MOST_REPLAY_BYTES)


def checkpoint_bytes(order: PackOrder) -> int:
    """Return how many bytes the checkpoints of a pack may have together, those it starts warm with too.

    Raises:
        InvalidInput: a setting is unknown or absurd.
    """
    count = len(order.members) + len({sha for shas in order.warm.values() for sha in shas})
    return count * member_bytes(order)


def member_bytes(order: PackOrder) -> int:
    """Return how many bytes the checkpoint of one member may have.

    Raises:
        InvalidInput: a setting is unknown or absurd.
    """
    if order.learner is not None:
        return MOST_BYTES  # its weights are all that it leaves
    settings = _settings(order)
    # Parameters, their targets, and the first and second moments.
    replay = 0 if isinstance(settings, PPOSettings) else MOST_REPLAY_BYTES
    return 4 * _FLOAT * _parameters(order.preflight, settings) + replay + 2**20


def weights_bytes(order: PackOrder) -> int:
    """Return how many bytes the weights of one policy may have.

    Raises:
        InvalidInput: a setting is unknown or absurd.
    """
    if order.learner is not None:
        return MOST_BYTES
    return min(MOST_BYTES, _FLOAT * _parameters(order.preflight, _settings(order)) + 2**16)


def _settings(order: PackOrder) -> Settings:
    return read_settings(order.training.settings, order.training.algorithm)


def _parameters(found: Preflight, settings: Settings) -> int:
    """Return about how many parameters a member has, with the most features."""
    actions = read_action_space(found.action).size
    inputs = found.observation_size + MOST_FEATURES + actions
    widths = (inputs, *settings.hidden, 2 * actions)
    networks = 3 if isinstance(settings, SACSettings) else 2
    return networks * sum((before + 1) * after for before, after in pairwise(widths))
