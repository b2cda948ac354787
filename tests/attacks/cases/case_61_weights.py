"""Weights that are no weights."""

from __future__ import annotations

import json
import pickle
import struct
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load, save

from tests.attacks.cases.kinds import Trial
from tests.rim.laboratory_parts import linear_policy

if TYPE_CHECKING:
    from tests.attacks.bench import Bench

SOUND = linear_policy([[0, 0, 0, 0], [0.1, 0.3, 3, 1]], [0, 0], inputs=4)


def altered(**changes: np.ndarray) -> bytes:
    return save({**load(SOUND), **{name.replace("__", "."): new for name, new in changes.items()}})


def with_header(change: dict[str, object]) -> bytes:
    length = struct.unpack("<Q", SOUND[:8])[0]
    header = json.loads(SOUND[8 : 8 + length]) | change
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + SOUND[8 + length :]


OVERLAPPING = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HOSTILE = {
    "pickle": pickle.dumps({"policy.out.weight": 1}),
    "a huge header": struct.pack("<Q", 2**62) + b"{}",
    "overlapping offsets": with_header(
        {"policy.out.bias": OVERLAPPING, "normaliser.mean": OVERLAPPING}
    ),
    "offsets outside": with_header(
        {"policy.out.bias": {"dtype": "F32", "shape": [2], "data_offsets": [2**40, 2**40 + 8]}}
    ),
    "float64": altered(policy__out__bias=np.zeros(2)),
    "integers": altered(policy__out__bias=np.zeros(2, np.int32)),
    "NaN": altered(policy__out__bias=np.array([np.nan, 0], np.float32)),
    "infinity": altered(normaliser__scale=np.full(4, np.inf, np.float32)),
    "another shape": altered(policy__out__weight=np.zeros((3, 4), np.float32)),
    "another name": altered(extra=np.zeros(2, np.float32)),
    "nothing": b"",
    "64 MB": save({"policy.out.weight": np.zeros((2**24,), np.float32)}),
}


def run(bench: Bench) -> list[str]:
    if (sound := bench.scored(SOUND)) != "scored":
        return [f"sound weights were {sound}"]
    return [name for name, weights in HOSTILE.items() if bench.scored(weights) == "scored"]


CASE = Trial(61, "output", "hand in weights that are none", "refused before anything runs", run)
