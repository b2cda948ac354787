"""The demo's job, in one place: small enough for two cores, large enough to be believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TASK = "cartpole-park"

DEMO: Mapping[str, Any] = {
    "method": "smith",
    "designer": {"name": "evolution"},
    "iterations": 2,
    "candidates": 5,
    "training": {"steps": 200_000, "seeds": 2, "envs": 8},
    "evaluation": {"episodes": 10, "confirm_seeds": 5, "confirm_episodes": 20},
    "budget": {"env_steps": 8_000_000},
    "seed": 0,
    "name": "demo",
}
