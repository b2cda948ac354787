"""The live picture of a job on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from client.console import WAITING, printable
from client.summary import number
from client.tally import Tally
from client.transport import Document


def draw(tally: Tally) -> Group:
    """Draw where the job stands, what is being done, and what happened last."""
    return Group(_headline(tally.job), _standing(tally), _steps(tally), *_messages(tally))


def _headline(job: Document) -> Text:
    spec = job["spec"]
    designer = spec["designer"]
    who = designer["name"] if not designer["model"] else f"{designer['name']} {designer['model']}"
    text = Text.assemble((spec["task"]["name"], "bold"), f"  {spec['method']} · {who}  ")
    return text.append(str(job["id"]), style="dim")


def _standing(tally: Tally) -> Text:
    job = tally.job
    counts, rounds = job["counts"], job["spec"]["iterations"]
    number_of_round = 0 if job["iteration"] is None else min(job["iteration"] + 1, rounds)
    best = job["best"]["fitness"] if job["best"] else None
    parts = [
        f"{job['status']}: {WAITING if tally.waiting else job['phase'] or '–'}",
        f"iteration {number_of_round}/{rounds}",
        f"candidates {counts['proposed']} proposed, {counts['rejected']} rejected, "
        f"{counts['trained']} trained",
        f"best {number(best)} (native {number(job['native_fitness'])})",
        f"{job['spent']['env_steps']:,} steps",
        _left(tally.seconds_left()),
    ]
    return Text("  ·  ".join(part for part in parts if part))


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"about {minutes} min {rest} s left" if minutes else f"about {rest} s left"


def _steps(tally: Tally) -> Table:
    table = Table.grid(padding=(0, 2))
    for item in tally.activity:
        if item["phase"] == "waiting":
            table.add_row(Text(f"  {item['step']}"), Text("waiting"), Text(printable(item["note"])))
            continue
        # The trainer's own note may tell its speed, better than we can from here.
        speed = None if "steps/s" in item["note"] else tally.speed(item["step"])
        table.add_row(
            Text(f"  {item['step']}"),
            ProgressBar(total=max(1, item["total"]), completed=item["done"], width=24),
            Text(f"{item['done']:,}/{item['total']:,}"),
            Text(f"{speed:,.0f} steps/s" if speed else ""),
            Text(printable(item["note"])),
        )
    return table


def _messages(tally: Tally) -> Iterator[Text]:
    return (
        Text(f"  {line}", style="dim", overflow="ellipsis", no_wrap=True)
        for line in map(printable, tally.recent)
    )
