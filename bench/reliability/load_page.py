"""The sections of docs/results/reliability.md that `make load` measures."""

from __future__ import annotations

from collections.abc import Sequence

from bench.reliability.telling import Json, counts, stamped
from bench.trainer.tables import table


def load(found: Json) -> str:
    """Return the section about requests under load and single moments."""
    parts = found["parts"]
    mixes = {name: part for name, part in parts.items() if "submissions" in part}
    moments = {name: part for name, part in parts.items() if "submissions" not in part}
    mixed = [row for name, mix in mixes.items() for row in _mix_rows(name, mix)]
    single = [row for name, part in moments.items() for row in _moment_rows(name, part)]
    return "\n".join(
        (
            f"## Load\n\n{stamped(found)} {_WORDS}\n",
            table(_MIX_HEADS, mixed),
            *(f"- {_beside(name, mix)}" for name, mix in mixes.items()),
            "",
            f"{_OF_STEPS}\n",
            table(_MOMENT_HEADS, single),
            f"Missed: {'; '.join(shortfalls(found)) or 'nothing'}.\n",
        )
    )


_WORDS = """\
Two server processes (`rewardsmith serve --workers 0 --processes 2`), two workers of one slot each, \
PostgreSQL that waits for its disk, Valkey, and the load itself share the machine. Requests come when \
they come, whether or not earlier ones were answered, and count from when they were due. *busy*: both \
workers train all the time, and what is submitted waits behind that; *idle*: both live, see to the \
queue and have nothing to do.\
"""
_OF_STEPS = """\
What is wanted of a step's time holds for steps that step no environment: they check and screen \
programs in locked children, write down, and decide. The others train, measure or film for as long as \
they were asked to.\
"""
_MIX_HEADS = (
    *("workers", "requests", "offered (/s)", "answered (/s)", "p50 (ms)", "p99 (ms)", "max (ms)"),
    *("wanted p99 (ms)", "errors"),
)
_MOMENT_HEADS = ("moment", "times", "p50 (ms)", "p99 (ms)", "max (ms)", "wanted p99 (ms)")
_MOMENT_WORDS = {
    "cancel": "cancel to dead process",
    "reclaim": "worker killed until its step has another owner",
    "jail": "start of a locked child",
    "steps": "a step that steps no environment",
}
ENOUGH = 0.98  # of the rate that was offered; chance makes it a little more or less


def _mix_rows(name: str, mix: Json) -> list[tuple[str, ...]]:
    goal = mix["goal"]
    return [
        (
            name,
            kind,
            f"{goal[kind]:g}",
            f"{mix[kind]['per_second']:g}",
            *(_milliseconds(mix[kind][figure]) for figure in ("p50_ms", "p99_ms", "max_ms")),
            f"< {goal['p99_ms']:g}",
            f"{sum(mix[kind]['errors'].values())}",
        )
        for kind in ("submissions", "polls")
    ]


def _milliseconds(found: float | None) -> str:
    return "" if found is None else f"{found:g}"


def _beside(name: str, mix: Json) -> str:
    cores = ", ".join(f"{part} {used:g}" for part, used in mix["cores"].items())
    return (
        f"{name}, {mix['seconds']:g} s: {mix['jobs']:,} jobs in the end, {mix['lost']} accepted ones "
        f"lost, {mix['unasked']} that nobody asked for. Cores used: {cores}. Load average before: "
        f"{mix['load_before']:g}."
    )


def _moment_rows(name: str, part: Json) -> list[tuple[str, ...]]:
    words = _MOMENT_WORDS[name]
    if "lease_seconds" in part:
        words += f", lease {part['lease_seconds']:g} s"
    rows = [(words, part)]
    rows += [
        (f"… {kind}{' (steps one)' if one.get('lives') else ''}", one)
        for kind, one in part.get("by_kind", {}).items()
    ]
    return [
        (
            label,
            f"{one['times']:,}",
            *(f"{one[figure]:g}" for figure in ("p50_ms", "p99_ms", "max_ms")),
            f"< {one['goal_ms']:g}" if "goal_ms" in one else "",
        )
        for label, one in rows
    ]


def shortfalls(found: Json) -> list[str]:
    """Say in words which figures of a load are not what is wanted.

    Args:
        found: the part `load` of the document.
    """
    missed = []
    for name, part in found["parts"].items():
        if "submissions" not in part:
            if part["p99_ms"] > part["goal_ms"]:
                missed.append(f"{_MOMENT_WORDS[name]}: p99 {part['p99_ms']:g} ms")
            continue
        for kind in ("submissions", "polls"):
            goal, figures = part["goal"], part[kind]
            if figures["per_second"] < ENOUGH * goal[kind]:
                missed.append(f"{name}: {figures['per_second']:g} {kind} a second")
            if figures["p99_ms"] is None:
                missed.append(f"{name}: no {kind} were answered in time")
            elif figures["p99_ms"] > goal["p99_ms"]:
                missed.append(f"{name}: p99 of {kind} {figures['p99_ms']:g} ms")
    return missed


def soak(found: Json) -> str:
    """Return the section about a long life."""
    heads = ("process", "memory (MiB)", "growth", "descriptors", "threads")
    rows = [
        (
            name,
            _span(size["mebibytes"]),
            f"{size['percent']:+.1f} %",
            _span(size["descriptors"]),
            _span(size["threads"]),
        )
        for name, size in found["sizes"].items()
    ]
    done = ", ".join(
        f"{found.get(name, 0):,} {name}" for name in ("submissions", "polls", "streams", "cancels")
    )
    words = (
        f"{found['minutes']:g} minutes: {done}; one of two workers was replaced "
        f"{found['recycled_workers']} times. Errors: {counts(found['errors_by_kind'])}; "
        f"steps that broke: {counts(found['broken_steps'])}; jobs that failed: {found['failed']}; "
        f"accepted jobs lost: {found['lost']}. Load average before: {found['load_before']:g}.\n"
    )
    sizes = (
        "Resident memory, open descriptors and threads of those who lived through all of it: medians "
        "of the sixth after the warm-up, and of the last sixth.\n"
    )
    return "\n".join((f"## Soak\n\n{stamped(found)} {words}", sizes, table(heads, rows)))


def _span(ends: Sequence[float]) -> str:
    return f"{ends[0]:g} → {ends[1]:g}"
