"""The ladder of tasks: native reward, fitness alone, an expert's reward, and what a job designs.

    python -m bench.design                       # everything; hours, goes on where it was interrupted
    python -m bench.design --quick               # two tasks, a few minutes; writes to build/ alone
    python -m bench.design --plan                # what it will cost
    python -m bench.design --ablations           # and then the same jobs with one thing changed
    python -m bench.design --designer openai --model NAME
    python -m bench.design --tasks hopper cartpole-park --minutes 30
    python -m bench.design --summary             # write the page again, measure nothing

What was measured are lines in docs/results/design-cells.jsonl, which can be committed half-way; a job
that was cut off goes on inside build/bench-design, where that is still there.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.design.arms import DESIGNED, FIXED, expert_notes
from bench.design.comparisons import ablation_works, compare_all, variants_for
from bench.design.costs import plan
from bench.design.house import open_house
from bench.design.ladder import EVOLUTION, FULL, LADDER, QUICK, Scale
from bench.design.page import render
from bench.design.scoring import counts, results
from bench.design.work import Order, ladder_works, work_off
from bench.trainer import machine
from bench.trainer.cells import Cells
from core.designers import OPENAI_MODEL
from core.settings import read_settings

ROOT = Path(__file__).parents[2]
HOUSE = ROOT / "build" / "bench-design"
RESULTS = ROOT / "docs" / "results"
ARMS = (*FIXED, DESIGNED)


def main(given: Sequence[str] = sys.argv[1:]) -> None:
    """Do what is missing of what is asked for, and write what is known."""
    arguments = parse(given)
    scale = scale_of(arguments)
    if arguments.plan:
        wanted = variants_for(designer_of(arguments)) if arguments.ablations else ()
        print(plan(scale, arguments.arms, wanted, designer_of(arguments)))
        return
    folder = arguments.results or (HOUSE if arguments.quick else RESULTS)
    cells = Cells(folder / "design-cells.jsonl")
    order = Order(
        scale=scale,
        arms=arguments.arms,
        designer=designer_of(arguments),
        machine=machine.describe(),
        deadline=time.monotonic() + 60 * arguments.minutes,
    )
    measured_by = [part for part in given if part != "--summary"]
    command = shlex.join(["python", "-m", "bench.design", *measured_by])
    try:
        if not arguments.summary:
            measure(order, cells, arguments.ablations)
    finally:  # whatever ended the run, what was measured is on the page
        document = document_of(order, cells, command, all_of(arguments))
        write(document, folder, order)


def parse(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.design",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [entry.task for entry in LADDER]
    parser.add_argument("--quick", action="store_true", help="two tasks, to see that it works")
    parser.add_argument("--plan", action="store_true", help="print what it will cost, and end")
    parser.add_argument("--summary", action="store_true", help="measure nothing, write the page")
    parser.add_argument("--ablations", action="store_true", help="run the ablations as well")
    parser.add_argument("--tasks", nargs="+", choices=names, help="some of the ladder")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--designer", default="evolution", help="evolution, openai, …")
    parser.add_argument("--model", help="of the designer; that of the settings otherwise")
    parser.add_argument("--repetitions", type=int, help="jobs per task")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin nothing after so many")
    parser.add_argument("--results", type=Path, help="folder for cells, JSON and page")
    return parser.parse_args(given)


def all_of(arguments: argparse.Namespace) -> Scale:
    """Return the scale whose tasks stand on the page, whichever of them are measured now."""
    scale = QUICK if arguments.quick else FULL
    return replace(scale, repetitions=arguments.repetitions or scale.repetitions)


def scale_of(arguments: argparse.Namespace) -> Scale:
    """Return the scale, with those tasks alone that were named."""
    scale = all_of(arguments)
    if not arguments.tasks:
        return scale
    return replace(scale, entries=tuple(e for e in scale.entries if e.task in arguments.tasks))


def designer_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the designer as in a request; a model is always named, so that results are its own."""
    if arguments.designer != "openai":
        return {"name": arguments.designer}
    model = arguments.model or read_settings().openai_model or OPENAI_MODEL
    return {"name": arguments.designer, "model": model}


def measure(order: Order, cells: Cells, ablations: bool) -> None:
    """Do what is missing, the ladder first."""
    with open_house(HOUSE / "house") as house:
        done = work_off(ladder_works(order, cells), cells, house, order, _say)
        if done and ablations:
            work_off(ablation_works(order), cells, house, order, _say)


def document_of(order: Order, cells: Cells, command: str, shown: Scale) -> dict[str, Any]:
    """Return what design.json says, of all tasks of the ladder that were begun."""
    order = replace(order, scale=shown)
    tasks = [one for one in results(order, cells) if _is_of(order, one)]
    begun = [one["task"] for one in tasks]
    return {
        "command": command,
        "designer": order.designer["name"],
        "model": order.designer.get("model"),
        "scale": {"repetitions": shown.repetitions, "job": dict(shown.job)},
        "counts": counts(tasks),
        "tasks": tasks,
        "not_begun": [e.task for e in shown.entries if e.task not in begun],
        "experts": {task: notes for task in begun if (notes := expert_notes(task))},
        "ablations": compare_all(order, cells),
    }


def _is_of(order: Order, task: dict[str, Any]) -> bool:
    """Tell whether a task is a designer's: the fixed arms alone make it one of the ladder's own."""
    return order.designer["name"] == EVOLUTION["name"] or bool(task["repetitions"])


def write(document: dict[str, Any], folder: Path, order: Order) -> None:
    """Write the JSON file and the page; those of a model carry the designer's name."""
    own = "" if order.designer["name"] == EVOLUTION["name"] else f"-{order.designer['name']}"
    text = json.dumps(document, indent=1, ensure_ascii=False)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"design{own}.json").write_text(text + "\n", encoding="utf-8")
    page = render(document)
    (folder / f"design{own}.md").write_text(page, encoding="utf-8")
    print(page)


def _say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)


if __name__ == "__main__":
    main()
