"""Libraries that only some people need, loaded when they are asked for."""

from __future__ import annotations

import importlib
from types import ModuleType

from core.errors import ConfigurationError


def load(name: str, extra: str = "notebook") -> ModuleType:
    """Return a module that comes with an extra of this distribution.

    Raises:
        ConfigurationError: it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "none",
            expected=f"the package `{name.partition('.')[0]}`",
            where="this Python",
            hint=f"Install it: pip install 'rewardsmith[{extra}]'.",
        ) from error
