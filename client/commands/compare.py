"""`rewardsmith candidates` and `compare`: what a job has, and what sets candidates apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from client.api import Client
from client.commands.jobs import JobId
from client.console import JsonFlag, Screen
from client.summary import number

if TYPE_CHECKING:
    from api.comparison_views import ComparisonView, DiffView, SideView
    from api.history_views import CandidateView
    from api.views import IntervalView


def candidates(
    job_id: JobId,
    status: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    json_output: JsonFlag = False,
) -> None:
    """List the candidates of a job, as they were proposed."""
    screen = Screen(json_output)
    with Client() as client:
        found = list(client.jobs.get(job_id).candidates.of(status))
    screen.emit({"data": [candidate.model_dump(mode="json") for candidate in found]})
    if not found:
        screen.say("No candidate yet.")
    for line in table([_row(candidate) for candidate in found]):
        screen.say(line)


def _row(candidate: CandidateView) -> list[str]:
    told = candidate.rejection or " ".join(
        candidate.program.components if candidate.program else ()
    )
    fitness = _interval(candidate.fitness)
    return [candidate.key, candidate.status, candidate.operator, fitness, candidate.id, told[:60]]


def compare(
    names: Annotated[
        list[str], typer.Argument(metavar="CAND CAND …", help="Ids of two to six candidates.")
    ],
    everything: Annotated[
        bool, typer.Option("--all", help="Also show what all of them have in common.")
    ] = False,
    code: Annotated[bool, typer.Option(help="Show what changes in the programs.")] = True,
    json_output: JsonFlag = False,
) -> None:
    """Lay candidates side by side, with the native reward: fitness, components, settings, code."""
    screen = Screen(json_output)
    with Client() as client:
        found = client.compare(*names)
    screen.emit(found.model_dump(mode="json"))
    short = short_names(found.sides)
    for line in _lines(found, short, everything):
        screen.say(line)
    for diff in found.diffs if code else ():
        screen.say()
        for line in diff_lines(diff, short):
            screen.say(line)


def short_names(sides: Sequence[SideView]) -> dict[str, str]:
    """Return what stands for each side in a table: its arm, with a letter for its job if needed."""
    jobs = list(dict.fromkeys(side.job_id for side in sides))
    letters = {job: f"{chr(ord('A') + place)}:" for place, job in enumerate(jobs)}
    return {side.name: (letters[side.job_id] if len(jobs) > 1 else "") + side.arm for side in sides}


def _lines(found: ComparisonView, short: dict[str, str], everything: bool) -> Iterator[str]:
    ground = "fresh seeds" if found.ground == "confirm" else f"the search, rung {found.rung}"
    yield f"Compared on {ground}."
    yield from found.notes
    yield ""
    rows = [["side", "fitness", "seeds", "failed", "task", "what"]]
    for side in found.sides:
        counts = [str(len(side.seeds)), str(side.failed)]
        rows.append([short[side.name], _interval(side.fitness), *counts, side.task, side.name])
    yield from table(rows)
    yield ""
    for pair in found.pairs:
        yield (
            f"{short[pair.first]} over {short[pair.second]}: better with probability "
            f"{pair.probability:.2f}, difference {_interval(pair.difference)}"
        )
    yield ""
    yield from table(_cells(found, short, everything))


def _cells(found: ComparisonView, short: dict[str, str], everything: bool) -> list[list[str]]:
    sides = [side.name for side in found.sides]
    rows = [["", *(short[side] for side in sides)]]
    for term in found.terms:
        if everything or term.differs:
            told = {side: f"{100 * cell.share:.0f} %" for side, cell in term.cells.items()}
            if term.kind == "feature":
                told = dict.fromkeys(term.cells, "yes")
            rows.append([f"{term.kind} {term.name}", *(told.get(side, "–") for side in sides)])
    for setting in found.settings:
        if everything or setting.differs:
            shown = {side: _value(cell) for side, cell in setting.cells.items()}
            rows.append([setting.name, *(shown.get(side, "–") for side in sides)])
    return rows if len(rows) > 1 else [["No component, feature or setting differs."]]


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def diff_lines(diff: DiffView, short: dict[str, str]) -> Iterator[str]:
    """Write the changes between two programs as `diff -u` does."""
    yield f"--- {short.get(diff.old, diff.old)}"
    yield f"+++ {short.get(diff.new, diff.new)}"
    signs = {"same": " ", "removed": "-", "added": "+"}
    for hunk in diff.hunks:
        yield f"@@ -{hunk.old_start},{hunk.old_count} +{hunk.new_start},{hunk.new_count} @@"
        for line in hunk.lines:
            yield signs[line.change] + line.text
    if not diff.hunks:
        yield "The programs are the same."


def _interval(interval: IntervalView | None) -> str:
    if interval is None:
        return "–"
    return f"{number(interval.mean)} [{number(interval.low)}, {number(interval.high)}]"


def table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Write rows in columns that are as wide as what stands in them."""
    if not rows:
        return
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
