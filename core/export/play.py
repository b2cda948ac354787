"""Let the trained policy act in the environment, without the service that trained it.

    python play.py                     live the recorded episodes again and compare
    python play.py --episodes 5        live five other ones
    python play.py --render            show them

Needs gymnasium, numpy and safetensors.  The numbers to compare with are in `results.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parent
INPUT_CLIP = 10.0
TOLERANCE = 1e-6  # relative; on the machine that recorded them the numbers are the same


class Policy:
    """The network that `policy.json` describes, acting without chance."""

    def __init__(self, folder: Path = HERE):
        """Read `policy.json` and `policy.safetensors` of a folder."""
        self.card = json.loads((folder / "policy.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "policy.safetensors")
        names = [layer["name"] for layer in self.card["layers"]]
        self.layers = [
            (np.stack([tensors[f"{name}.weight"].T]), np.stack([tensors[f"{name}.bias"][None]]))
            for name in names
        ]
        self.mean = tensors["normaliser.mean"][None, None]
        self.scale = tensors["normaliser.scale"][None, None]
        self.relu = self.card["activation"] == "relu"

    def act(self, inputs: np.ndarray) -> np.ndarray:
        """Choose an action.

        Args:
            inputs: float32 [D + F], the flat observation followed by the designed features.

        Returns:
            An index counted from 0, [1], or the action in the environment's own units, [A].
        """
        x = np.clip((inputs[None, None] - self.mean) * self.scale, -INPUT_CLIP, INPUT_CLIP)
        for weight, bias in self.layers[:-1]:
            x = x @ weight + bias
            x = np.asarray(np.maximum(x, 0.0) if self.relu else np.tanh(x), np.float32)
        weight, bias = self.layers[-1]
        x = (x @ weight + bias)[0, 0]
        action = self.card["action"]
        if action["kind"] == "discrete":
            return np.asarray([x.argmax()])
        low, high = (np.asarray(action[end], np.float32) for end in ("low", "high"))
        if self.card["squashed"]:
            x = np.asarray((low + high) / 2 + (high - low) / 2 * np.tanh(x), np.float32)
        return np.clip(x, low, high)


class Player:
    """A policy in its environment, with the designed reward and features around it."""

    def __init__(self, folder: Path = HERE, **make_kwargs):
        """Make the environment of a bundle's folder; keyword arguments go to `gymnasium.make`."""
        sys.path.insert(0, str(folder))
        try:
            import reward
        finally:
            sys.path.remove(str(folder))
        self.reward = reward
        self.policy = Policy(folder)
        self.design = json.loads((folder / "design.json").read_text(encoding="utf-8"))
        self.env = reward.make_env(**make_kwargs)
        self.space = self.env.env.observation_space
        self.offsets = reward._offsets(self.space)

    def play(self, seed: int) -> dict:
        """Live one episode and say how it went."""
        shown, _ = self.env.reset(seed=seed)
        native, designed, steps = [], 0.0, []
        over, most = (
            False,
            self.policy.card["most_steps"],
        )  # not every environment ends its episodes
        while not over:
            inputs = np.asarray(gym.spaces.flatten(self.env.observation_space, shown), np.float32)
            shown, paid, terminated, truncated, info = self.env.step(self._given(inputs))
            native.append(np.float32(info["native_reward"]))
            designed += paid
            steps.append(self._fields(shown, info, terminated))
            over = terminated or truncated or len(native) >= most
        total = np.array(native, np.float64)
        return {
            "seed": seed,
            "fitness": fitness_of(self.design["task"]["fitness"], steps, total),
            "native_return": float(total.sum()),
            "designed_return": designed,
            "length": len(native),
            "terminated": bool(terminated),
        }

    def _given(self, inputs: np.ndarray):
        chosen, space = self.policy.act(inputs), self.env.action_space
        if isinstance(space, gym.spaces.Discrete):
            return int(chosen[0]) + int(space.start)
        clipped = np.clip(np.asarray(chosen, space.dtype), space.low, space.high)
        return np.asarray(clipped, space.dtype)

    def _fields(self, shown, info: dict, terminated: bool) -> dict:
        """Read the fields of the state just reached that the fitness asks for."""
        flat = np.asarray(gym.spaces.flatten(self.env.observation_space, shown), np.float32)
        found = {}
        for name, (kind, key, start, stop) in self.policy.card["fitness_fields"].items():
            if kind == "terminated":
                found[name] = float(terminated)
                continue
            shift = 0
            if kind == "obs":
                source, shift = flat, self.offsets.get(key, 0)
            elif kind == "info":
                source = np.asarray(info[key], np.float32).ravel()
            else:
                holder = getattr(self.env.unwrapped, "data", self.env.unwrapped)
                source = np.asarray(getattr(holder, key), np.float32).ravel()
            part = source[start + shift :] if stop is None else source[start + shift : stop + shift]
            found[name] = float(part[0]) if stop is None else part.tolist()
        return found


def fitness_of(fitness: dict, steps: list, native: np.ndarray) -> float:
    """Measure an episode as the service does.

    Args:
        fitness: as in `design.json`.
        steps:   the fields of the state reached by each step.
        native:  the environment's own rewards.
    """
    kind, over = fitness["kind"], fitness.get("over")
    if kind == "return":
        return float(native.sum())
    if kind == "least":
        return min(fitness_of(part, steps, native) for part in fitness["parts"])
    if kind == "statistic":
        values = np.array([_evaluate(fitness["field"], step) for step in steps])
        reduce = {"mean": np.mean, "max": np.max, "min": np.min, "sum": np.sum}
        return float(values[-1] if over == "last" else reduce[over or "mean"](values))
    held = [bool(_evaluate(fitness["where"], step)) for step in steps]
    if kind == "share":
        return sum(held) / fitness["horizon"]
    return float(held[-1] if over == "last" else any(held))


def _evaluate(text: str, values: dict):
    """Evaluate comparisons and sums of fields; the text is from `design.json` beside this file."""
    return eval(text, {"__builtins__": {}, "abs": abs}, values)


def main() -> int:
    """Live episodes, print them, and compare them with what was recorded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, help="so many other ones, from --seed on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--render", action="store_true", help="show them")
    asked = parser.parse_args()
    player = Player(**({"render_mode": "human"} if asked.render else {}))
    recorded = json.loads((HERE / "results.json").read_text(encoding="utf-8"))["episodes"]
    if asked.episodes is not None or not recorded:
        recorded = [{"seed": asked.seed + n} for n in range(asked.episodes or 3)]
    differ = 0
    for known in recorded:
        lived = player.play(known["seed"])
        names = ("fitness", "native_return", "length")
        unlike = [n for n in names if n in known and not _close(lived[n], known[n])]
        differ += bool(unlike)
        told = "  ".join(f"{name} {lived[name]:.6g}" for name in names)
        compared = "" if len(known) == 1 else "  as recorded"
        for name in unlike:
            compared = f"  recorded: {name} {known[name]:.6g}"
        print(f"seed {known['seed']}  {told}{compared}")
    player.env.close()
    return 1 if differ else 0


def _close(found: float, known: float) -> bool:
    return abs(found - known) <= TOLERANCE * max(1.0, abs(known))


if __name__ == "__main__":
    sys.exit(main())
