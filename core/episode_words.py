"""Recorded episodes, put into words: a few rows of each, with what the episode was worth."""

from __future__ import annotations

from collections.abc import Sequence

from core.records.kinds import Json
from core.records.measured import Report
from core.records.task import Field, Fitness
from core.words import number, one_line

MOST_ROWS = 12
MOST_COLUMNS = 14
MATTERS = 0.01  # share of all that is paid, from which a component is always shown
CONVENTION = (
    "Rows from recorded episodes. A row tells the fields after that step, the action that led there, "
    "and what was paid for it; steps that follow each other are one passage, the others are scattered."
)
EPISODES = ("best", "median", "worst")


def hidden_names(fields: Sequence[Field]) -> frozenset[str]:
    """Return the names of the fields that only the metric may see."""
    return frozenset(f.name for f in fields if not {"policy", "reward"} & set(f.visible))


def episode_rows(
    report: Report, fitness: Fitness, hidden: frozenset[str], names: Sequence[str] = EPISODES
) -> str:
    """Write a few rows of the named episodes.

    Args:
        report:  of the policy that lived them.
        fitness: of the task; the native reward is shown where it is the fitness, and nowhere else.
        hidden:  fields that are left out.
        names:   of the episodes.
    """
    left_out = hidden if fitness.kind == "return" else hidden | {"native_reward"}
    parts = [
        "\n".join((_headline(name, report.told.get(name, {})), *_table(rows, report, left_out)))
        for name, rows in report.episodes.items()
        if rows and name in names
    ]
    return "\n".join((CONVENTION, *parts)) if parts else ""


def _headline(name: str, told: Json) -> str:
    """Say which episode it is and what it was worth, part by part where its fitness has parts."""
    worth, parts = told.get("fitness"), told.get("parts")
    words = f"{name} episode"
    if isinstance(worth, int | float):
        words += f", fitness {number(worth)}"
    if isinstance(parts, Sequence) and not isinstance(parts, str) and parts:
        words += f" (the smallest of {', '.join(number(part) for part in parts)})"
    return words


def _table(rows: Sequence[Json], report: Report, hidden: frozenset[str]) -> list[str]:
    columns = _columns(rows[0], report, hidden)
    shown = [rows[i] for i in evenly(len(rows), MOST_ROWS)]
    lines = [" | ".join(_cell(row.get(key)) for key in columns) for row in shown]
    return [" | ".join(columns), *lines]


def _columns(row: Json, report: Report, hidden: frozenset[str]) -> list[str]:
    """Choose the columns: what matters of the pay is never cut, fields and small components are."""
    known = [key for key in row if key not in hidden]
    pay = [key for key in known if key.startswith("reward.")]
    # The largest first, so that what is cut is what counts least.
    pay.sort(key=lambda key: -_share(report, key))
    needed = [key for key in pay if _share(report, key) >= MATTERS]
    first = [key for key in known if key in ("step", "action", "native_reward")]
    chosen = {*needed, *first}
    for key in (*(k for k in known if k not in pay), *pay):
        if len(chosen) < MOST_COLUMNS:
            chosen.add(key)
    return [key for key in known if key in chosen]


def _share(report: Report, column: str) -> float:
    term = report.components.get(column.removeprefix("reward."))
    return 0.0 if term is None else term.share


def scattered(rows: Sequence[Json]) -> list[Json]:
    """Return the rows without the passage, which would weigh too much in a mean; all, if all follow."""
    follows = [
        place > 0 and row.get("step") == _next(rows[place - 1]) for place, row in enumerate(rows)
    ]
    if all(follows[1:]):
        return list(rows)
    return [row for row, after in zip(rows, follows, strict=True) if not after]


def _next(row: Json) -> int | None:
    step = row.get("step")
    return step + 1 if isinstance(step, int) else None


def evenly(length: int, most: int) -> list[int]:
    """Return at most so many evenly spaced places, the first and the last among them."""
    if length <= most:
        return list(range(length))
    return [round(i * (length - 1) / (most - 1)) for i in range(most)]


def _cell(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int | float):
        return number(float(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(_cell(item) for item in value[:6])
    return one_line(str(value), 40)
