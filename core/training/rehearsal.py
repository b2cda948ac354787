"""Called once before the sandbox closes: what a check and a screen need, every child then finds loaded.

Libraries load parts of themselves at the first call (numpy's unique brings numpy.ma: 16 ms), and a
child that lives for one program would pay for them each time.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from core.records.programs import Program
from core.records.task import Field
from core.sandbox.frames import Channel, Link
from core.training.check import check
from core.training.probes import EDGE_ROWS
from core.training.screen_child import screen
from core.training.transitions import Recording, Transitions, save_recording, save_transitions
from core.training.wire import fields_to_json, program_to_json

Entry: TypeAlias = Callable[[Channel, Sequence[Link]], None]

ROWS = 64 + EDGE_ROWS
EPISODES = 4
SOURCE = """
import numpy as np

PARAMS = {"width": 0.5, "calm": 0.1}

def features(obs):
    return {"distance": np.abs(obs.x), "product": obs.x * obs.v}

def reward(obs, action, next_obs, params):
    near = np.exp(-np.square(next_obs.x / params.width))
    calm = -params.calm * np.square(next_obs.v) * (next_obs.x > 0)
    return {"near": near, "calm": np.clip(calm, -1.0, 1.0)}
"""
FIELDS = (Field("x", "obs[0]", low=-1.0, high=1.0), Field("v", "obs[1]"))


def warm_up() -> None:
    """Check and screen a program of our own."""
    rows = _rows()
    recording = Recording(rows, np.arange(ROWS) * EPISODES // ROWS, np.arange(float(EPISODES)))
    program = program_to_json(
        Program(
            *(SOURCE, hashlib.sha256(SOURCE.encode()).hexdigest(), True, True),
            params={"width": 0.5, "calm": 0.1},
        )
    )
    space = {"fields": fields_to_json(FIELDS), "observation_size": 2}
    probe = {"probe": save_transitions(rows)}
    _rehearse(check, {"program": program, "space": space}, probe)
    order = {
        **{"space": space, "gamma": 0.99, "mode": "add", "weight": 0.1},
        **{"sources": 1, "trajectories": EPISODES},
        "programs": [{"key": "0.0", "program": program, "asked": True}],
    }
    _rehearse(screen, order, {**probe, "recording.0": save_recording(recording)})


def _rows() -> Transitions:
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (ROWS + 1, 2)).astype(np.float32)
    return Transitions(
        states[:-1],
        np.arange(ROWS) % 2,
        states[1:],
        np.ones(ROWS, np.float32),
        np.zeros(ROWS, np.bool_),
    )


def _rehearse(entry: Entry, order: Mapping[str, Any], blobs: Mapping[str, bytes]) -> None:
    """Call a child's entry as the sandbox would, and expect that nothing broke."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    worker, child = Channel(ours), Channel(theirs)
    try:
        worker.send(order, blobs)
        entry(child, ())
        while (said := worker.receive_now()) is not None:
            if said.header["kind"] in ("rejected", "broken"):
                raise RuntimeError(f"a rehearsal of {entry.__name__} failed: {said.header}")
    finally:
        worker.close()
        child.close()
