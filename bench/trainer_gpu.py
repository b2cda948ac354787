"""One GPU against the CPU beside it: the packed update, MuJoCo Warp, and whole trainings.

    PYTHONPATH=. python3 bench/trainer_gpu.py --out DIR

Writes DIR/trainer_gpu.json and DIR/trainer_gpu.md.  Every part stands alone: one that fails prints
its traceback and the others go on; one that would begin after --seconds is left out and said so.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.envs import make_batch
from core.records.task import Task
from core.training.designs import Rewards
from core.training.device_pack import DevicePack, hyper_on, moved, new_device_pack
from core.training.graphs import GraphedUpdate, Step, gradient_step
from core.training.members import Member
from core.training.networks import Shapes, initial_parameters
from core.training.pack import new_pack
from core.training.ppo import Experience, new_stack
from core.training.settings import PPOSettings, read_settings
from core.training.weights import put_parameters

Row = dict[str, Any]
CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SHAPES = ((11, 3), (17, 6))  # observations and actions of Hopper and HalfCheetah
CROWD = {"rollout": 32, "minibatch": 2048, "epochs": 4}  # for hundreds of environments per member
MOST_ON_CPU = 65_536  # members times rows; beyond it one CPU step takes a second
FEW = {"rollout": 128, "minibatch": 256, "epochs": 5}  # for eight


# --- the update -------------------------------------------------------------------------------


def stack_and_rows(members: int, batch: int, shape: tuple[int, int], device: torch.device):
    """Return a filled stack, some experience of 4 minibatches, and their row numbers."""
    shapes = Shapes(shape[0], (64, 64), shape[1], True)
    stack = new_stack(shapes, members)
    drawn = initial_parameters(shapes, np.random.default_rng(0), 0.0)
    for member in range(members):
        put_parameters(stack, member, shape[0], drawn)
    rows = 4 * batch
    generator = torch.Generator().manual_seed(0)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(members, rows, *size, generator=generator).to(device)

    experience = Experience(
        normal(shape[0]), normal(shape[1]), normal() - shape[1], normal(), normal()
    )
    order = np.array_split(np.random.default_rng(0).permutation(rows), 4)
    return moved(stack, device), experience, order


def seconds_per_call(call: Callable[[], object], budget: float, device: torch.device) -> float:
    """Return the median time of a call, over three at least or as many as the budget allows."""
    call()
    times: list[float] = []
    while sum(times) < budget or not times:
        settle(device)
        begun = time.perf_counter()
        call()
        settle(device)
        times.append(time.perf_counter() - begun)
    return float(np.median(times))


def settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def update_row(members: int, batch: int, shape: tuple[int, int], budget: float) -> Row:
    """Microseconds per gradient step of the whole stack: CPU, CUDA step by step, CUDA graph."""
    row: Row = {"members": members, "minibatch": batch, "inputs": shape[0], "actions": shape[1]}
    settings = PPOSettings(minibatch=batch, learning_rate=1e-4)
    for name, device in (("cpu_us", CPU), ("cuda_eager_us", CUDA), ("cuda_graph_us", CUDA)):
        if device.type == "cuda" and not torch.cuda.is_available():
            continue
        if device.type == "cpu" and members * batch > MOST_ON_CPU:
            continue
        stack, experience, rows = stack_and_rows(members, batch, shape, device)
        step = gradient_step(stack, hyper_on(device, [settings] * members))
        if name == "cuda_graph_us":
            call: Callable[[], object] = partial(GraphedUpdate(stack, step), experience, rows)
        else:
            rows = rows[:1] if device.type == "cpu" else rows
            call = partial(take, step, experience, [torch.from_numpy(r).to(device) for r in rows])
        row[name] = 1e6 * seconds_per_call(call, budget, device) / len(rows)
    if "cuda_graph_us" in row:
        row["eager_over_graph"] = row["cuda_eager_us"] / row["cuda_graph_us"]
        if "cpu_us" in row:
            row["cpu_over_graph"] = row["cpu_us"] / row["cuda_graph_us"]
    return row


def take(step: Step, experience: Experience, rows: list[torch.Tensor]) -> None:
    """Take gradient steps one after another, as without a graph."""
    for one in rows:
        step(experience.minibatch(one))


def update_table(budget: float) -> list[Row]:
    rows = []
    for shape in SHAPES:
        for members in (16, 64, 256):
            for batch in (64, 256, 1024):
                with torch.no_grad():
                    rows.append(update_row(members, batch, shape, budget))
                say("update", rows[-1])
    return rows


# --- the simulator ----------------------------------------------------------------------------


def warp_batch(environment: str, rows: int):
    from core.envs.warp_rows import WarpRows

    device = CUDA if torch.cuda.is_available() else CPU
    begun = time.perf_counter()
    batch = WarpRows(Task("bench", environment, ""), rows, device)
    batch.reset(range(rows))
    settle(device)
    return batch, time.perf_counter() - begun


def simulator_row(environment: str, members: int, envs: int, seconds: float) -> Row:
    """Environment steps per second with random actions, resets included."""
    rows = members * envs
    batch, prepared = warp_batch(environment, rows)
    high = torch.tensor(batch.action["high"], device=batch.device)
    action = (2 * torch.rand(16, rows, len(high), device=batch.device) - 1) * high
    batch.step(action[0])
    settle(batch.device)
    begun, steps, ended = time.perf_counter(), 0, torch.zeros((), device=batch.device)
    while time.perf_counter() - begun < seconds:
        for one in action:
            step = batch.step(one)
            ended += step.terminated.sum()
        steps += len(action)
        settle(batch.device)
    took = time.perf_counter() - begun
    batch.look()
    return {
        "env": environment,
        "members": members,
        "envs": envs,
        "device": str(batch.device),
        "prepare_seconds": prepared,
        "steps_per_second": steps * rows / took,
        "milliseconds_per_step": 1e3 * took / steps,
        "terminated": float(ended),
    }


# --- whole trainings --------------------------------------------------------------------------


class Silent:
    """Hears nothing."""

    def progress(self, steps: int, seconds: float) -> None: ...

    def snapshot(self, steps: int, weights: object) -> None: ...

    def failed(self, member: int, steps: int, reason: str) -> None:
        print(f"  member {member} failed at {steps}: {reason}", flush=True)


def train_for(pack: Any, seconds: float) -> Row:
    """Train a pack for some seconds after its first two rollouts, which warm everything up."""
    for _ in range(2):
        pack.advance()
    before, begun = pack.progressed.steps, time.perf_counter()
    while time.perf_counter() - begun < seconds and pack.living:
        pack.advance()
    took = time.perf_counter() - begun
    members = len(pack.course.members)
    curves = [pack.curve(m) for m in pack.living]
    returns = [list(c.series["native_return"]) for c in curves]
    return {
        "members": members,
        "envs": pack.envs,
        "settings": {n: getattr(pack.settings, n) for n in ("rollout", "minibatch", "epochs")},
        "seconds": took,
        "steps_per_member": pack.progressed.steps,
        "steps_per_second": (pack.progressed.steps - before) * members / took,
        "living": len(pack.living),
        "curve_steps": list(curves[0].steps) if curves else [],
        "curve_median_return": np.median(returns, axis=0).tolist() if returns else [],
        "last_returns": [one[-1] for one in returns],
    }


def gpu_training(environment: str, members: int, envs: int, seconds: float) -> Row:
    batch, prepared = warp_batch(environment, members * envs)
    settings = read_settings(CROWD)
    pack: DevicePack = new_device_pack(
        [Member("native", seed) for seed in range(members)],
        Rewards({"native": None}),
        batch,
        settings,
        Silent(),
    )
    row = train_for(pack, seconds)
    return {"env": environment, "where": batch.adapter, "prepare_seconds": prepared, **row}


def cpu_training(environment: str, members: int, envs: int, seconds: float) -> Row:
    batch = make_batch(Task("bench", environment, ""), members * envs)
    settings = read_settings(FEW)
    pack = new_pack(
        [Member("native", seed) for seed in range(members)],
        Rewards({"native": None}),
        batch,
        settings,
        Silent(),
    )
    row = train_for(pack, seconds)
    batch.close()
    return {"env": environment, "where": f"cpu, {batch.adapter}, one process", **row}


# --- the whole --------------------------------------------------------------------------------


def say(part: str, row: Row) -> None:
    short = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()}
    short = {k: v for k, v in short.items() if not isinstance(v, (list, dict))}
    print(f"[{time.perf_counter() - BEGUN:6.1f} s] {part}: {short}", flush=True)


BEGUN = time.perf_counter()


def machine() -> Row:
    cuda = torch.cuda.is_available()
    return {
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "processor": processor(),
        "threads_for_cpu_figures": torch.get_num_threads(),
        "date": time.strftime("%Y-%m-%d"),
    }


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def parts(budget: float) -> list[tuple[str, Callable[[], Any]]]:
    """Return what is measured, the most wanted first; `budget` scales every measurement."""
    return [
        ("update", lambda: update_table(0.18 * budget)),
        ("simulator", lambda: simulator_row("Hopper-v5", 16, 512, 3 * budget)),
        ("training", lambda: gpu_training("Hopper-v5", 16, 512, 20 * budget)),
        ("training", lambda: cpu_training("Hopper-v5", 16, 8, 5 * budget)),
        ("simulator", lambda: simulator_row("Hopper-v5", 64, 128, 3 * budget)),
        ("simulator", lambda: simulator_row("HalfCheetah-v5", 16, 512, 3 * budget)),
        ("training", lambda: gpu_training("HalfCheetah-v5", 16, 512, 20 * budget)),
        ("training", lambda: cpu_training("HalfCheetah-v5", 16, 8, 5 * budget)),
        ("simulator", lambda: simulator_row("HalfCheetah-v5", 64, 128, 3 * budget)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    parser.add_argument("--seconds", type=float, default=165.0, help="begin no part after this")
    parser.add_argument("--budget", type=float, default=1.0, help="factor on every measurement")
    kinds = ("update", "simulator", "training")
    parser.add_argument("--only", choices=kinds, action="append", help="kinds to measure")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    given.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"machine": machine(), "left_out": []}
    print(results["machine"], flush=True)
    for number, (kind, measure) in enumerate(parts(given.budget)):
        if given.only and kind not in given.only:
            continue
        if time.perf_counter() - BEGUN > given.seconds:
            results["left_out"].append(f"{kind} {number}: no time was left")
            continue
        try:
            measured = measure()
        except Exception as error:  # noqa: BLE001 - a bench says what broke and measures the rest
            traceback.print_exc()
            results["left_out"].append(f"{kind} {number}: {type(error).__name__}: {error}")
            continue
        rows = measured if isinstance(measured, list) else [measured]
        results.setdefault(kind, []).extend(rows)
        if kind != "update":
            say(kind, rows[0])
        write(given.out, results)
    write(given.out, results)
    print((given.out / "trainer_gpu.md").read_text(), flush=True)


def write(folder: Path, results: dict[str, Any]) -> None:
    (folder / "trainer_gpu.json").write_text(json.dumps(results, indent=1) + "\n")
    lines = [f"{name}: {value}" for name, value in results["machine"].items()]
    text = ["## One GPU", "", "; ".join(lines) + ".", ""]
    for kind in ("update", "simulator", "training"):
        if results.get(kind):
            text += [f"### {kind}", "", *table(results[kind]), ""]
    text += [f"Left out: {what}." for what in results["left_out"]]
    (folder / "trainer_gpu.md").write_text("\n".join(text) + "\n")


def table(rows: list[Row]) -> list[str]:
    names = [n for n in dict.fromkeys(n for row in rows for n in row) if plain(rows, n)]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [row.get(name, "") for name in names]
        shown = [f"{c:,.4g}" if isinstance(c, float) else str(c) for c in cells]
        lines.append("| " + " | ".join(shown) + " |")
    return lines


def plain(rows: list[Row], name: str) -> bool:
    return not any(isinstance(row.get(name), (list, dict)) for row in rows)


if __name__ == "__main__":
    main()
