"""How measurements are told, whatever was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Json: TypeAlias = Mapping[str, Any]


def stamped(found: Json) -> str:
    """Say how, when, where and with which code something was measured."""
    return f"`{found['command']}`, {found['day']}, commit {found['commit']}, {found['machine']}."


def counts(named: Mapping[str, int]) -> str:
    """Return `name 12, other 3`."""
    return ", ".join(f"{name} {count:,}" for name, count in named.items()) or "none"
