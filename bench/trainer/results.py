"""From measurements to results: medians over repetitions, one entry per environment and K."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any, TypeAlias

Cell: TypeAlias = dict[str, Any]
Entry: TypeAlias = dict[str, Any]


def entries_of(cells: Iterable[Cell]) -> list[Entry]:
    """Return one entry per machine, environment, steps, K, backend and use of features.

    Those without SB3's time or without the environments' own are left out: there is nothing to compare.
    """
    cells = list(cells)
    ours = _grouped(
        [cell for cell in cells if cell["key"]["what"] == "ours"],
        ("machine", "env", "steps", "k", "backend", "features"),
    )
    entries = [_entry(key, group, cells) for key, group in ours.items()]
    return [entry for entry in entries if entry is not None]


def _entry(key: tuple[Any, ...], group: list[Cell], cells: list[Cell]) -> Entry | None:
    machine, env, steps, k, backend, features = key
    beside = [c for c in cells if c["key"]["machine"] == machine and c["key"]["env"] == env]
    theirs = [c for c in beside if c["key"]["what"] == "sb3" and c["key"]["steps"] == steps]
    alone = [c for c in beside if c["key"]["what"] == "alone" and c["key"]["k"] == k]
    one, two = (_of_processes(group, n) for n in (1, 2))
    best = two or one
    in_turn, in_pairs = (_of_processes(theirs, n) for n in (1, 2))
    if not in_turn or not alone or (k > 1 and not in_pairs):
        return None
    seconds = median(cell["seconds"] for cell in best)
    physics = median(cell["seconds"] * steps / cell["key"]["steps"] for cell in alone)
    return {
        "env": env,
        "k": k,
        "steps": steps,
        "ours_seconds": _round(seconds),
        "sb3_sequential_seconds": _round(_multiplied(in_turn, k)),
        "sb3_two_processes_seconds": _round(_multiplied(in_pairs if k > 1 else in_turn, k)),
        "physics_share": _round(physics / seconds),
        "date": max(cell["date"] for cell in best)[:10],
        "machine": machine,
        "kernel": backend == "kernel",
        "backend": backend,
        "features": features,
        "ours_processes": best[0]["key"]["processes"],
        "ours_one_process_seconds": _round(median(c["seconds"] for c in one)) if one else None,
        "physics_alone_seconds": _round(physics),
        "stepping_share": _round(median(c["shares"]["physics"] for c in best)),
        "reward_share": _round(median(c["shares"]["rewards"] for c in best)),
        "feature_share": _round(median(c["shares"]["features"] for c in best)),
        "mebibytes": _round(median(sum(s["mebibytes"] for s in c["spent"]) for c in best)),
        "spread": _spread(best),
        "sb3_spread": _spread(in_turn),
        "repetitions": len(best),
        "sb3_candidates": in_turn[0]["key"]["k"],
        "extrapolated": in_turn[0]["key"]["k"] != k,
        "foreign_cores": max(c["foreign_cores"] for c in (*best, *in_turn, *in_pairs)),
    }


def scaling_of(cells: Iterable[Cell]) -> list[Entry]:
    """Return time and memory per machine, P and N."""
    groups = _grouped(
        [cell for cell in cells if cell["key"]["what"] == "scaling"],
        ("machine", "k", "envs", "steps"),
    )
    return [
        {
            "members": k,
            "envs": envs,
            "steps": steps,
            "seconds": _round(median(c["seconds"] for c in group)),
            "microseconds_per_step": _round(
                1e6 * median(c["seconds"] for c in group) / (k * steps)
            ),
            "mebibytes": _round(median(c["spent"][0]["mebibytes"] for c in group)),
            "spread": _spread(group),
            "repetitions": len(group),
            "date": max(c["date"] for c in group)[:10],
            "machine": machine,
        }
        for (machine, k, envs, steps), group in sorted(groups.items())
    ]


def _grouped(cells: list[Cell], names: tuple[str, ...]) -> dict[tuple[Any, ...], list[Cell]]:
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(tuple(cell["key"][name] for name in names), []).append(cell)
    return groups


def _of_processes(cells: list[Cell], processes: int) -> list[Cell]:
    return [cell for cell in cells if cell["key"]["processes"] == processes]


def _multiplied(cells: list[Cell], k: int) -> float:
    """Return SB3's time for K candidates from that of those measured: it is linear in them."""
    return k * float(median(cell["seconds"] / cell["key"]["k"] for cell in cells))


def _spread(cells: list[Cell]) -> float:
    """Return (longest - shortest) / median."""
    seconds = [cell["seconds"] for cell in cells]
    return _round((max(seconds) - min(seconds)) / median(seconds))


def _round(value: float) -> float:
    return float(f"{value:.4g}")
