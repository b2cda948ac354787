"""The page docs/results/reliability.md, rendered from what is in reliability.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.reliability.load_page import load, soak
from bench.reliability.telling import Json, counts, stamped
from bench.trainer.tables import table

CHAOS_COUNTS = (
    *("worker_kills", "server_kills", "PostgreSQL_kills", "broker_kills", "broker_flushes"),
    *("partitions", "worker_pauses", "worker_stops", "full_disks", "times_without_writes"),
    *("outages", "clock_jumps"),
)


def render(document: Json) -> str:
    """Return the page: a section for each part that has been measured, in the order of PARTS.

    Args:
        document: as in reliability.json.

    Raises:
        KeyError: a part that is none of PARTS.
    """
    unknown = set(document) - set(PARTS)
    if unknown:
        raise KeyError(f"parts {sorted(unknown)}; there is room for {sorted(PARTS)}")
    missing = [name for name in PARTS if name not in document]
    sections = [PARTS[name](document[name]) for name in PARTS if name in document]
    if missing:
        sections.append(f"Not measured yet: {', '.join(missing)}.\n")
    return "\n".join(["# Reliability, measured\n", *sections])


def _chaos(found: Json) -> str:
    stacks = found["stacks"]
    rows = [
        (name.replace("_", " "), *(f"{stack.get(name, 0):,}" for stack in stacks.values()))
        for name in ("rounds", "seconds", "jobs", *CHAOS_COUNTS, "violations")
    ]
    return "\n".join(
        (
            "## Chaos\n",
            f"{stamped(found)} Seeds {found['seeds'][0]} to {found['seeds'][-1]}.",
            "Whatever died, the invariants of `tests/chaos/invariants.py` were broken "
            f"{found['violations']} times.\n",
            table(("", *stacks), rows),
            f"Deaths and stops at named points: {counts(found['failpoints'])}.\n",
            f"What the endpoint did: {counts(found['endpoint'])}.\n",
        )
    )


def _fuzz(found: Json) -> str:
    lines = list(found.values())
    requests = [line for line in lines if line["fuzz"] == "api"]
    jobs = [line for line in lines if line["fuzz"] == "jobs"]
    parsers = [line for line in lines if line["fuzz"] not in ("api", "jobs")]
    parts = [f"## Fuzzing\n\n{stamped(lines[-1])}\n"]
    if requests:
        parts.append(_requests(requests))
    parts += [
        f"Jobs of every shape, carried out: {line['jobs']:,} in {line['seconds']:,} s, commit "
        f"{line['commit']}; {counts(line['endings'])}; steps that broke: {line['broken']}.\n"
        for line in jobs
    ]
    if parsers:
        parts.append(_parsers(parsers))
    return "\n".join(parts)


def _requests(lines: list[Json]) -> str:
    heads = ("requests as", "cases", "operations", "answers 5xx", "findings", "commit")
    rows = [
        (
            f"{line['role']}, {line['database']}",
            *(f"{line[name]:,}" for name in ("cases", "operations", "server_errors", "findings")),
            line["commit"],
        )
        for line in lines
    ]
    total = f"{sum(line['cases'] for line in lines):,} cases together.\n"
    return table(heads, rows) + "\n" + total


def _parsers(lines: list[Json]) -> str:
    heads = ("parser", "inputs", "accepted", "refused", "slowest (ms)", "commit")
    rows = [
        (
            line["fuzz"],
            *(f"{line[name]:,}" for name in ("inputs", "accepted", "refused")),
            f"{1_000 * line['slowest_seconds']:.1f}",
            line["commit"],
        )
        for line in lines
    ]
    return table(heads, rows)


PARTS: Mapping[str, Callable[[Json], str]] = {
    "chaos": _chaos,
    "load": load,
    "soak": soak,
    "fuzz": _fuzz,
}
"""The parts of the document, and how each is told."""
