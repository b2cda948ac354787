"""The graph of ONNX acts as the numpy player does: every activation, every kind of action."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import safetensors.numpy

from core.export.play import Policy
from core.training.numpy_policy import INPUT_CLIP

pytest.importorskip("onnxruntime")

from core.export.to_onnx import INPUT_CLIP as CLIP_IN_GRAPH
from core.export.to_onnx import TOLERANCE, difference, graph_of

BOUNDS = {"kind": "box", "size": 2, "low": [-1.0, -3.0], "high": [1.0, 0.5]}
STUCK = {"kind": "box", "size": 2, "low": [-1.0, 2.0], "high": [1.0, 2.0]}
CHOICE = {"kind": "discrete", "n": 4}


def a_bundle(folder, action, *, activation="tanh", squashed=False, hidden=(16, 8), features=2):
    """Write a policy with weights of chance; return its card."""
    chance, observation = np.random.default_rng(7), 5
    outputs = action.get("n") or action["size"]
    sizes = [observation + features, *hidden, outputs]
    names = [*(f"policy.{n}" for n in range(len(hidden))), "policy.out"]
    tensors = {
        "normaliser.mean": chance.normal(size=sizes[0]).astype(np.float32),
        "normaliser.scale": chance.uniform(0.1, 3.0, sizes[0]).astype(np.float32),
    }
    for name, (inputs, units) in zip(names, pairwise(sizes), strict=True):
        tensors[f"{name}.weight"] = chance.normal(size=(units, inputs)).astype(np.float32)
        tensors[f"{name}.bias"] = chance.normal(size=units).astype(np.float32)
    card = {
        "sha256": "5d" * 32,
        "layers": [{"name": n, "units": u} for n, u in zip(names, sizes[1:], strict=True)],
        "activation": activation,
        "squashed": squashed,
        "inputs": {"observation": observation, "features": features},
        "action": action,
    }
    safetensors.numpy.save_file(tensors, folder / "policy.safetensors")
    (folder / "policy.json").write_text(json.dumps(card))
    return card, tensors


@pytest.mark.parametrize(
    ("action", "settings"),
    [
        pytest.param(CHOICE, {}, id="a choice"),
        pytest.param(CHOICE, {"activation": "relu", "features": 0}, id="relu, no features"),
        pytest.param(CHOICE, {"hidden": ()}, id="no hidden layer"),
        pytest.param(BOUNDS, {}, id="numbers within bounds"),
        pytest.param(BOUNDS, {"activation": "relu", "squashed": True}, id="squashed"),
        pytest.param(STUCK, {}, id="a number that cannot change"),
    ],
)
def test_it_acts_as_the_player_does(tmp_path, action, settings):
    import onnx

    card, tensors = a_bundle(tmp_path, action, **settings)
    file = tmp_path / "policy.onnx"
    onnx.save(graph_of(card, tensors), file)
    width = sum(card["inputs"].values())
    inputs = (100.0 * np.random.default_rng(1).normal(size=(200, width)) ** 3).astype(np.float32)
    player = Policy(tmp_path)
    acted = np.stack([player.act(row) for row in inputs])
    chosen = acted[:, 0] if action is CHOICE else acted
    assert np.ptp(chosen) > 0, "it does not always do the same"
    assert difference(file, card, inputs, chosen) <= TOLERANCE
    assert difference(file, card, inputs, chosen + 1) > TOLERANCE, "a difference is seen"


def test_what_is_clipped_is_clipped_in_the_graph_as_well():
    assert CLIP_IN_GRAPH == INPUT_CLIP


def test_the_same_policy_gives_the_same_bytes(tmp_path):
    card, tensors = a_bundle(tmp_path, CHOICE)
    first, second = (graph_of(card, tensors).SerializeToString() for _ in range(2))
    assert first == second
