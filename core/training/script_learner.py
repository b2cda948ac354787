"""The user's own training function: their script trains on our rows, in the jail.

    def train(envs: gymnasium.vector.VectorEnv, steps: int, seed: int, **settings) -> torch.nn.Module

`envs` is the job's environment with the designed reward and features.  A row that ends begins anew in
the same step (`AutoresetMode.SAME_STEP`), with what was seen last in `infos["final_obs"]`.  `steps`
counts those of all rows together.  What is returned acts: linear layers with tanh or ReLU between
them, which give a score for every choice, or the action in the environment's units; with a tanh
at the end, -1 and 1 are the bounds.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import nn

from core.errors import InvalidInput, TrainingFailed
from core.fields import Floats
from core.learners import WHERE, Learner
from core.sandbox import Channel, Link
from core.training.acting import Acting
from core.training.learner_rows import Live, Rows
from core.training.numpy_policy import MOST_LAYERS


class NoMoreSteps(Exception):
    """The function went on after all its steps, or after its program was rejected."""


def train_script(learner: Learner, rows: Rows, steps: int, seed: int, live: Live) -> Acting:
    """Let the user's function train; return the network that acts.

    Raises:
        InvalidInput: there is no such function, it does not take a setting, or returned no network.
        TrainingFailed: the function raised, or took more steps than it was given.
    """
    # Parts of torch that only its own optimisers load make a folder for a cache, which no jail allows.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(torch.__file__).parent)
    train = find_function(learner.algorithm)
    envs = VectorRows(rows, steps, live)
    torch.manual_seed(seed)
    try:
        module = train(envs, steps, seed, **learner.settings)
    except NoMoreSteps as error:
        raise TrainingFailed(f"{learner.algorithm} {error}") from error
    except Exception as error:
        raise TrainingFailed(
            f"{learner.algorithm} raised {type(error).__name__}: {error}"
        ) from error
    return read_network(module, learner.algorithm)


def find_function(name: str) -> Callable[..., object]:
    """Import `module:function`.

    Raises:
        InvalidInput: there is no such module or function.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:
        raise InvalidInput(
            f"{type(error).__name__}: {error}",
            expected="module:function that can be imported where the worker runs",
            where=WHERE,
            hint="Put the module's folder into the setting environment_paths.",
        ) from error
    if not callable(found):
        raise InvalidInput(f"{name} is no function", expected="a function", where=WHERE)
    function_found: Callable[..., object] = found
    return function_found


def look(channel: Channel, links: Sequence[Link]) -> None:
    """Say why a function cannot be imported, or nothing; an entry point of the sandbox."""
    name = str(channel.receive().header["function"])
    try:
        find_function(name)
    except InvalidInput as error:
        channel.send({"missing": error.found})
    else:
        channel.send({"missing": ""})


def read_network(module: object, name: str) -> Acting:
    """Read a module as an acting network.

    Raises:
        InvalidInput: it has layers of another kind, or in another order.
    """
    layers = list(_layers(module)) if isinstance(module, nn.Module) else []
    squashed = bool(layers) and isinstance(layers[-1], nn.Tanh)
    inner = layers[:-1] if squashed else layers
    linear, between = inner[::2], inner[1::2]
    sound = (
        len(inner) % 2 == 1
        and 1 <= len(linear) <= MOST_LAYERS
        and all(isinstance(layer, nn.Linear) and layer.bias is not None for layer in linear)
        and any(all(isinstance(one, kind) for one in between) for kind in (nn.Tanh, nn.ReLU))
    )
    if not sound:
        found = [type(layer).__name__ for layer in layers] or type(module).__name__
        raise InvalidInput(
            f"{name} returned {found}"[:300],
            expected="a torch module of linear layers with Tanh or ReLU between them throughout, "
            f"at most {MOST_LAYERS}, and at most a Tanh after the last",
            where=WHERE,
        )
    return Acting(inner, squashed)


def _layers(module: nn.Module) -> Sequence[nn.Module]:
    """Return the layers in the order in which they were registered."""
    return [one for one in module.modules() if not list(one.children())]


class VectorRows(VectorEnv[Floats, npt.NDArray[Any], Floats]):
    """One member's rows as gymnasium wants them."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 - the library's form

    def __init__(self, rows: Rows, steps: int, live: Live) -> None:
        self._rows, self._most, self._live = rows, steps + rows.count, live
        self._wanted = True
        self.num_envs = rows.count
        self.single_observation_space, self.single_action_space = rows.space, rows.acts
        self.observation_space = batch_space(rows.space, rows.count)
        self.action_space = batch_space(rows.acts, rows.count)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Floats, dict[str, Any]]:
        """Start all rows anew, where the run's own seed says; a seed given here changes nothing."""
        return self._rows.reset(), {}

    def step(self, actions: npt.NDArray[Any]) -> tuple[Floats, Floats, Any, Any, dict[str, Any]]:
        """Advance every row by one step."""
        if not self._wanted:
            raise NoMoreSteps("went on although its reward had been rejected")
        if self._rows.steps + self._rows.count > self._most:
            raise NoMoreSteps(f"took more than its {self._most - self._rows.count:,} steps")
        lived = self._rows.step(actions)
        self._wanted = self._live(self._rows.steps, self._rows.earned)
        infos: dict[str, Any] = {}
        if (ended := lived.terminated | lived.truncated).any():
            final = np.full(self.num_envs, None, dtype=object)
            for row in np.flatnonzero(ended):
                final[row] = lived.last[row]
            infos = {"final_obs": final, "_final_obs": ended}
        return lived.seen, lived.rewards, lived.terminated, lived.truncated, infos
