"""Put the policy into a graph of ONNX, to act where there is no Python, or in another runtime.

    pip install onnx onnxruntime
    python to_onnx.py                   writes policy.onnx and tries it on the recorded episodes

In the graph: the normaliser with its clip, every layer, and the choice.  `inputs` is float32
[batch, D + F]: the flat observation, followed by the designed features.  `action` is int64 [batch], an
index counted from 0, with `logits` beside it; or float32 [batch, A], in the environment's own units and
within its bounds.

Not in the graph: the designed features, which are Python (`designed_features` in reward.py, if
`policy.json` says that there are any), the flattening of observations that are dictionaries, and a
first action other than 0.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
INPUT_CLIP = 10.0
TOLERANCE = 1e-4  # of an action, relative to its bounds; runtimes add in another order
OPSET = 17


def graph_of(card: dict, tensors: dict) -> onnx.ModelProto:
    """Return the graph that acts as the policy does.

    Args:
        card:    `policy.json`.
        tensors: `policy.safetensors`, name -> array.
    """
    graph = Graph()
    x = graph.add("Sub", "inputs", graph.keep("mean", tensors["normaliser.mean"]))
    x = graph.add("Mul", x, graph.keep("scale", tensors["normaliser.scale"]))
    x = graph.add("Clip", x, graph.keep("least", -INPUT_CLIP), graph.keep("most", INPUT_CLIP))
    *hidden, last = (layer["name"] for layer in card["layers"])
    for name in hidden:
        x = graph.layer(x, name, tensors)
        x = graph.add("Relu" if card["activation"] == "relu" else "Tanh", x)
    x = graph.layer(x, last, tensors)
    outputs = _choice(graph, x, card)
    width = card["inputs"]["observation"] + card["inputs"]["features"]
    made = helper.make_graph(
        graph.nodes,
        "policy",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["batch", width])],
        outputs,
        graph.kept,
    )
    model = helper.make_model(
        made, producer_name="rewardsmith", opset_imports=[helper.make_opsetid("", OPSET)]
    )
    model.ir_version = 8  # the oldest that knows this opset, so that older runtimes read it
    helper.set_model_props(model, {"policy_sha256": card["sha256"]})
    onnx.checker.check_model(model, full_check=True)
    return model


class Graph:
    """Nodes and constants in the order in which they were added."""

    def __init__(self):
        self.nodes, self.kept = [], []

    def keep(self, name: str, value) -> str:
        """Add a constant and return its name."""
        array = np.ascontiguousarray(value, np.float32)
        self.kept.append(numpy_helper.from_array(array, name))
        return name

    def add(self, kind: str, *inputs: str, name: str = "", **settings) -> str:
        """Add a node and return the name of what it gives."""
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **settings))
        return name

    def layer(self, x: str, name: str, tensors: dict) -> str:
        """Add a layer of the network."""
        weight = self.keep(f"{name}.weight", tensors[f"{name}.weight"])
        bias = self.keep(f"{name}.bias", tensors[f"{name}.bias"])
        return self.add("Gemm", x, weight, bias, transB=1)


def _choice(graph: Graph, x: str, card: dict) -> list:
    action = card["action"]
    if action["kind"] == "discrete":
        graph.add("Identity", x, name="logits")
        graph.add("ArgMax", "logits", name="action", axis=1, keepdims=0)
        return [
            helper.make_tensor_value_info("action", TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", action["n"]]),
        ]
    low, high = (np.asarray(action[end], np.float32) for end in ("low", "high"))
    if card["squashed"]:
        x = graph.add("Mul", graph.add("Tanh", x), graph.keep("half", (high - low) / 2))
        x = graph.add("Add", x, graph.keep("middle", (low + high) / 2))
    x = graph.add("Max", x, graph.keep("low", low))
    graph.add("Min", x, graph.keep("high", high), name="action")
    shape = ["batch", card["layers"][-1]["units"]]
    return [helper.make_tensor_value_info("action", TensorProto.FLOAT, shape)]


def difference(file: Path, card: dict, inputs: np.ndarray, actions: np.ndarray) -> float:
    """Return the largest difference between the graph's actions and those of the numpy player.

    Args:
        file:    of the graph.
        card:    `policy.json`.
        inputs:  float32 [N, D + F].
        actions: [N] indices, or [N, A]; a difference of these is relative to their bounds.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (found,) = session.run(["action"], {"inputs": inputs})
    if card["action"]["kind"] == "discrete":
        return float((found != actions).sum())
    span = np.asarray(card["action"]["high"]) - np.asarray(card["action"]["low"])
    unit = np.where(np.isfinite(span) & (span > 0), span, 1.0)
    return float((np.abs(found - actions) / unit).max())


def _lived(card: dict) -> tuple:
    """Let play.py live the recorded episodes; return what its policy was shown and what it chose."""
    from play import Player

    player = Player()
    shown, chosen, act = [], [], player.policy.act

    def noted(inputs: np.ndarray) -> np.ndarray:
        shown.append(inputs)
        chosen.append(act(inputs))
        return chosen[-1]

    player.policy.act = noted
    recorded = json.loads((HERE / "results.json").read_text(encoding="utf-8"))["episodes"]
    for episode in recorded or [{"seed": 0}]:
        player.play(episode["seed"])
    player.env.close()
    actions = np.stack(chosen)
    return np.stack(shown), actions[:, 0] if card["action"]["kind"] == "discrete" else actions


def main() -> int:
    """Write `policy.onnx`, and compare it with the player on what was recorded."""
    from safetensors.numpy import load_file

    card = json.loads((HERE / "policy.json").read_text(encoding="utf-8"))
    file = HERE / "policy.onnx"
    onnx.save(graph_of(card, load_file(HERE / "policy.safetensors")), file)
    print(file)
    inputs, actions = _lived(card)
    found = difference(file, card, inputs, actions)
    print(f"{len(inputs)} recorded steps, largest difference from play.py: {found:.3g}")
    return 1 if found > TOLERANCE else 0


if __name__ == "__main__":
    sys.exit(main())
