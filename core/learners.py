"""The user's own learner, with which a design is trained once more to show that it transfers.

    {"library": "sb3", "algorithm": "PPO", "settings": {"n_epochs": 5}, "steps": 100000, "envs": 8}
    {"library": "script", "algorithm": "my_learner:train", "settings": {"lr": 0.001}}

A class of Stable-Baselines3, or a function of the user's own, whose form stands in
`core/training/script_learner.py`.  Their policies leave the jail as plain numbers, like ours, and are
measured by the same scorer; no pickle is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec

from core.errors import InvalidInput
from core.records.kinds import Json

SB3, SCRIPT = "sb3", "script"
WHERE = "evaluation.transfer"
LIBRARIES = (SB3, SCRIPT)
ALGORITHMS = ("PPO", "A2C", "SAC", "TD3", "DDPG", "DQN")  # of Stable-Baselines3
ACTIVATIONS = ("tanh", "relu")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_KEYS = ("library", "algorithm", "settings", "steps", "envs")
_MOST_STEPS, _MOST_ENVS, _MOST_WIDTH, _MOST_LAYERS = 50_000_000, 1_024, 1_024, 6


@dataclass(frozen=True, slots=True)
class Learner:
    """A learner that is not ours.

    Attributes:
        library:   by its short name.
        algorithm: a class of the library; of a script `module:function`.
        settings:  arguments of that class or function by name; of a class, `net_arch` (widths of hidden
                   layers) and `activation` (tanh or relu) are those of its networks.
        steps:     environment steps per run; None for those of the job.
        envs:      environments per run; None for those of the job.
    """

    library: str
    algorithm: str
    settings: Json = field(default_factory=dict)
    steps: int | None = None
    envs: int | None = None


def read_learner(given: Json) -> Learner:
    """Read what a request says of the user's learner.

    Raises:
        InvalidInput: an unknown library, algorithm or key, or a setting that is no plain number.
    """
    if unknown := sorted(set(given) - set(_KEYS)):
        raise _wrong(", ".join(unknown), f"the keys {', '.join(_KEYS)}")
    library, algorithm = given.get("library"), given.get("algorithm")
    if library not in LIBRARIES:
        raise _wrong(f"library = {library!r}", f"one of {', '.join(LIBRARIES)}")
    if library == SB3 and algorithm not in ALGORITHMS:
        raise _wrong(f"algorithm = {algorithm!r}"[:200], f"one of {', '.join(ALGORITHMS)}")
    if library == SCRIPT and not _FUNCTION.fullmatch(str(algorithm)):
        raise _wrong(f"algorithm = {algorithm!r}"[:200], "module:function")
    settings = given.get("settings", {})
    if not isinstance(settings, Mapping):
        raise _wrong(f"settings = {settings!r}"[:200], "an object of settings by name")
    for name, value in settings.items():
        _check_setting(str(name), value)
    return Learner(
        str(library),
        str(algorithm),
        dict(settings),
        _whole("steps", given.get("steps"), _MOST_STEPS),
        _whole("envs", given.get("envs"), _MOST_ENVS),
    )


def why_not_installed(learner: Learner) -> str | None:
    """Return what to do where a learner's library is not installed; None where it is."""
    if learner.library != SB3 or find_spec("stable_baselines3") is not None:
        return None  # a script is looked for where its folder is known, in the jail
    return (
        f"The job wants to be confirmed with {learner.algorithm} of stable-baselines3, which is not "
        "installed where this worker runs. Install it there (pip install stable-baselines3), or leave "
        "evaluation.transfer out."
    )


def _check_setting(name: str, value: object) -> None:
    if not name.isidentifier() or name.startswith("_"):
        raise _wrong(f"the setting {name!r}"[:80], "the name of an argument")
    if name == "net_arch":
        widths = value if isinstance(value, (list, tuple)) else []
        if not 1 <= len(widths) <= _MOST_LAYERS or not all(
            type(w) is int and 1 <= w <= _MOST_WIDTH for w in widths
        ):
            raise _wrong(f"net_arch = {value!r}"[:200], f"1 to {_MOST_LAYERS} widths of layers")
    elif name == "activation":
        if value not in ACTIVATIONS:
            raise _wrong(f"activation = {value!r}"[:80], f"one of {', '.join(ACTIVATIONS)}")
    elif not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _wrong(f"{name} = {value!r}"[:200], "a number, true or false")


def _whole(name: str, value: object, most: int) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= most:
        raise _wrong(f"{name} = {value!r}"[:80], f"a whole number from 1 to {most:,}")
    return value


def _wrong(found: str, expected: str) -> InvalidInput:
    return InvalidInput(found, expected=expected, where=WHERE)
