"""The page docs/results/trainer.md, rendered from the numbers in trainer.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Entry: TypeAlias = dict[str, Any]

# K = 16: times faster than SB3 one after another, with the compiled kernel and without it.
TARGETS = {
    "CartPole-v1": {"kernel": 40.0, "torch": 25.0},
    "Pendulum-v1": {"kernel": 45.0, "torch": 25.0},
    "LunarLander-v3": {"kernel": 12.0, "torch": 8.0},
    "Hopper-v5": {"kernel": 10.0, "torch": 7.0},
    "HalfCheetah-v5": {"kernel": 15.0, "torch": 10.0},
}
ALONE = 3.0  # K = 1
PHYSICS = {
    "Hopper-v5": 0.80,
    "HalfCheetah-v5": 0.65,
}  # end-to-end over the environments alone, K = 16
_MORE = 1.005  # a ratio that rounds to the same is the same


def render(
    entries: Sequence[Entry],
    scaling: Sequence[Entry],
    command: str,
    gpu: Mapping[str, Any] | None = None,
) -> str:
    """Return the page.

    Args:
        entries: as in trainer.json.
        scaling: as in trainer-scaling.json; may be empty.
        command: what measured them.
        gpu:     as in trainer-gpu.json, which `bench/trainer_gpu.py` measures on another machine.
    """
    parts = ["# The trainer against Stable-Baselines3: time\n", _preface(entries, command)]
    plain = [entry for entry in entries if not entry["features"]]
    for backend in _distinct(entry["backend"] for entry in plain):
        own = [entry for entry in plain if entry["backend"] == backend]
        how = "with the compiled kernel" if backend == "kernel" else f"networks in {backend}"
        parts.append(_section(f"How many times faster, {how}", _ratios(own)))
    parts.append(_section("Where our time goes", _shares(entries)))
    growth = _growth(plain)
    if growth:
        parts.append(_section("K = 64 against K = 16", growth))
    if scaling:
        parts.append(
            _section("Members P and environments N, CartPole, one process", _sizes(scaling))
        )
    if gpu is not None:
        parts.append(_section("One GPU", _gpu(gpu)))
    return "\n".join(parts)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are aligned to the right."""
    lines = [
        "| " + " | ".join(heads) + " |",
        "|" + "|".join(["---", *["---:"] * (len(heads) - 1)]) + "|",
    ]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _preface(entries: Sequence[Entry], command: str) -> str:
    machines = "; ".join(_distinct(entry["machine"] for entry in entries))
    dates = sorted(_distinct(entry["date"] for entry in entries))
    repetitions = sorted({entry["repetitions"] for entry in entries})
    measured = sorted({entry["sb3_candidates"] for entry in entries})
    words = [
        f"Machine: {machines}. Measured: {_span(dates)}, `{command}`.",
        f"Repetitions: {_span([str(n) for n in repetitions])}; times are medians.",
        "PPO, 8 environments × 256 steps per rollout, minibatches of 64, 10 epochs, two tanh layers "
        "of 64, no normalisation, the same on both sides.",
        "SB3: its PPO with `device='cpu'`, one torch thread and a `DummyVecEnv` of 8, which is its "
        "best setting on a CPU; on the native reward, without a wrapper that would slow it down.",
        "Ours: every candidate has a six-term program of its own, called through the same loader as "
        "in a job; in two processes of K/2, split into packs as a job splits them. Both sides run in "
        "fresh forks of a process that has imported everything.",
    ]
    if any(entry["extrapolated"] for entry in entries):
        words.append(
            f"**SB3 was measured on {_span([str(n) for n in measured])} candidates "
            "and multiplied to K.**"
        )
    busiest = max(entry["foreign_cores"] for entry in entries)
    words.append(f"Other processes used at most {busiest:.2f} cores during a measurement.")
    return " ".join(words) + "\n"


def _ratios(entries: Sequence[Entry]) -> str:
    heads = (
        *("environment", "K", "steps", "ours (s)", "in one process (s)", "SB3 in turn (s)"),
        *("SB3 in two processes (s)", "× in turn", "× two", "target", "spread ours, SB3"),
    )
    return table(heads, (_ratio_row(entry) for entry in _ordered(entries)))


def _ratio_row(entry: Entry) -> tuple[str, ...]:
    ours, one = entry["ours_seconds"], entry["ours_one_process_seconds"]
    in_turn = entry["sb3_sequential_seconds"] / ours
    in_pairs = entry["sb3_two_processes_seconds"] / ours
    return (
        entry["env"],
        str(entry["k"]),
        f"{entry['steps']:,}",
        f"{ours:.2f}",
        "" if one is None else f"{one:.2f}",
        f"{entry['sb3_sequential_seconds']:.0f}",
        f"{entry['sb3_two_processes_seconds']:.0f}",
        f"**{in_turn:.1f}**",
        f"{in_pairs:.1f}",
        _verdict(entry, in_turn),
        f"{entry['spread']:.0%}, {entry['sb3_spread']:.0%}" if entry["repetitions"] > 1 else "",
    )


def _verdict(entry: Entry, ratio: float) -> str:
    of_sixteen = TARGETS.get(entry["env"], {}).get(entry["backend"])
    wanted = {1: ALONE, 16: of_sixteen}.get(entry["k"])
    return "" if wanted is None else f"≥ {wanted:g}: {_reached(ratio, wanted)}"


def _reached(found: float, wanted: float) -> str:
    return "yes" if found * _MORE >= wanted else "no"


def _physics(entry: Entry) -> str:
    share, wanted = entry["physics_share"], PHYSICS.get(entry["env"])
    if wanted is None or entry["k"] != 16 or entry["features"] or entry["backend"] != "kernel":
        return f"{share:.0%}"
    return f"{share:.0%} (≥ {wanted:.0%}: {_reached(share, wanted)})"


def _shares(entries: Sequence[Entry]) -> str:
    heads = (
        *("environment", "K", "backend", "features", "environments alone", "in their steps"),
        *("rewards", "features' part", "memory (MiB)"),
    )
    words = (
        "*Environments alone*: the time of the same rows with random actions and nothing else, over "
        "ours; *in their steps*: measured inside our run. Parts of the wall-clock of all processes.\n\n"
    )
    return words + table(
        heads,
        (
            (
                entry["env"],
                str(entry["k"]),
                entry["backend"],
                "yes" if entry["features"] else "no",
                _physics(entry),
                f"{entry['stepping_share']:.0%}",
                f"{entry['reward_share']:.2%}",
                f"{entry['feature_share']:.1%}",
                f"{entry['mebibytes']:.0f}",
            )
            for entry in _ordered(entries)
        ),
    )


def _growth(entries: Sequence[Entry]) -> str:
    def seconds(k: int) -> dict[tuple[str, str, int], float]:
        return {
            (entry["env"], entry["backend"], entry["steps"]): entry["ours_seconds"]
            for entry in _ordered(entries)
            if entry["k"] == k
        }

    few, many = seconds(16), seconds(64)
    rows = [
        (*map(str, key[:2]), f"{key[2]:,}", f"{many[key] / few[key]:.2f}", "≤ 4.2")
        for key in few
        if key in many
    ]
    heads = ("environment", "backend", "steps", "times as long", "target")
    return table(heads, rows) if rows else ""


def _sizes(scaling: Sequence[Entry]) -> str:
    heads = ("P", "N", "steps of each member", "seconds", "µs per step", "memory (MiB)", "spread")
    return table(
        heads,
        (
            (
                str(entry["members"]),
                str(entry["envs"]),
                f"{entry['steps']:,}",
                f"{entry['seconds']:.2f}",
                f"{entry['microseconds_per_step']:.2f}",
                f"{entry['mebibytes']:.0f}",
                f"{entry['spread']:.0%}",
            )
            for entry in sorted(scaling, key=lambda entry: (entry["envs"], entry["members"]))
        ),
    )


def _gpu(gpu: Mapping[str, Any]) -> str:
    machine = gpu["machine"]
    said = (
        f"{machine['gpu']}, torch {machine['torch']}, {machine['processor']}; {machine['date']}, "
        f"`{gpu['command']}`. {gpu['note']} The CPU's figures are one thread's of the same machine.\n"
    )
    update = table(
        (
            "members",
            "minibatch",
            "inputs",
            "CPU, torch (µs)",
            "CUDA (µs)",
            "CUDA graph (µs)",
            "× CPU",
        ),
        [
            (
                *(str(row[name]) for name in ("members", "minibatch", "inputs")),
                *(_number(row.get(n)) for n in ("cpu_us", "cuda_eager_us", "cuda_graph_us")),
                _number(row.get("cpu_over_graph")),
            )
            for row in gpu["update"]
        ],
    )
    simulator = table(
        ("MuJoCo Warp alone", "members × environments", "steps/s", "first compiled in (s)"),
        [
            (
                row["env"],
                f"{row['members']} × {row['envs']}",
                _number(row["steps_per_second"]),
                _number(row["prepare_seconds"]),
            )
            for row in gpu["simulator"]
        ],
    )
    training = table(
        (
            "whole training",
            "where",
            "members × environments",
            "steps/s",
            "return reached, at steps",
        ),
        [
            (
                row["env"],
                row["where"],
                f"{row['members']} × {row['envs']}",
                _number(row["steps_per_second"]),
                f"{row['curve_median_return'][-1]:.0f} at {row['curve_steps'][-1]:,}",
            )
            for row in gpu["training"]
        ],
    )
    return "\n".join((said, "One gradient step of all members:\n", update, simulator, training))


def _number(value: float | None) -> str:
    return "" if value is None else f"{float(f'{value:.3g}'):,g}"


def _ordered(entries: Sequence[Entry]) -> list[Entry]:
    places = {name: i for i, name in enumerate(_distinct(entry["env"] for entry in entries))}
    return sorted(entries, key=lambda e: (places[e["env"]], e["features"], e["k"]))


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _span(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"
