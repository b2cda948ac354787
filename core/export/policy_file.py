"""`policy.json`: what a file of weights holds, read from its header alone."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from core.errors import StorageFailed
from core.fields import read_source
from core.fitness import MOST_STEPS, fields_of
from core.records.kinds import Json
from core.records.measured import Preflight, Run
from core.records.task import Task

RELU, SQUASHED = "activation.relu", "output.tanh"


def describe_policy(weights: bytes, run: Run, task: Task, preflight: Preflight) -> Json:
    """Return what whoever wants to run the policy has to know.

    Args:
        weights:   safetensors bytes of a policy that was measured.
        run:       the training that it comes from.
        task:      with the fields that preflight confirmed or derived.
        preflight: for the spaces.

    Raises:
        StorageFailed: these are no weights of a policy.
    """
    shapes = _shapes(weights)
    hidden = sum(name.endswith(".weight") for name in shapes) - 1
    names = [*(f"policy.{n}" for n in range(hidden)), "policy.out"]
    if any(f"{name}.weight" not in shapes for name in names):
        raise StorageFailed("weights of something else", expected="those of a policy")
    layers = [
        {"name": name, "inputs": shapes[f"{name}.weight"][1], "units": shapes[f"{name}.weight"][0]}
        for name in names
    ]
    inputs = shapes["normaliser.mean"][0]
    return {
        "file": "policy.safetensors",
        "sha256": sha256(weights).hexdigest(),
        "layers": layers,
        "activation": "relu" if RELU in shapes else "tanh",
        "squashed": SQUASHED in shapes,
        "inputs": {
            "observation": preflight.observation_size,
            "features": inputs - preflight.observation_size,
            "normaliser": "clip((x - mean) * scale, -10, 10)",
        },
        "action": dict(preflight.action),
        "most_steps": preflight.max_episode_steps or MOST_STEPS,
        "fitness_fields": _fields(task),
        "training": {
            "stage": run.stage,
            "seed": run.seed,
            "env_steps": run.env_steps,
            "fitness": run.fitness,
        },
    }


def _shapes(weights: bytes) -> Mapping[str, list[int]]:
    """Return the shape of each tensor; the form is described at huggingface.co/docs/safetensors."""
    try:
        (length,) = struct.unpack_from("<Q", weights)
        header: dict[str, Any] = json.loads(weights[8 : 8 + length].decode())
        return {n: entry["shape"] for n, entry in header.items() if n != "__metadata__"}
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise StorageFailed(f"{error}", expected="safetensors", where="weights") from error


def _fields(task: Task) -> dict[str, list[object]]:
    """Return where each field that the fitness reads comes from: kind, key, start, stop."""
    read = fields_of(task.fitness)
    found: dict[str, list[object]] = {}
    for field in task.fields:
        if field.name in read:
            source = read_source(field)
            found[field.name] = [source.kind, source.key, source.start, source.stop]
    return found
