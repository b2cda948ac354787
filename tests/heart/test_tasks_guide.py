"""The guide to tasks tells the truth: its table is the catalogue, its examples are tasks."""

import json
import os
import re
import tomllib
from pathlib import Path
from typing import get_args

from core.fields import Source, read_source
from core.fitness import describe
from core.records.kinds import FitnessKind
from core.records.task import Field
from core.tasks import catalogue, check_task, task_from_mapping

GUIDE = Path(__file__).parents[2] / "docs" / "tasks.md"
START, END = "<!-- catalogue -->\n", "<!-- /catalogue -->"


def catalogue_table():
    rows = ["| task | environment | fields | wish | fitness |", "|---|---|---|---|---|"]
    for task in catalogue().values():
        measured = describe(task.fitness).removesuffix(".")
        if task.fitness.kind == "return":
            measured = f"its own reward; solved at {task.fitness.goal:g}"
        row = (f"`{task.name}`", f"`{task.environment}`", len(task.fields))
        rows.append(f"| {' | '.join(map(str, row))} | {task.description} | {measured} |")
    return "\n".join(rows) + "\n"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)


def test_the_table_is_the_catalogue():
    before, rest = GUIDE.read_text().split(START)
    found, after = rest.split(END)
    if os.environ.get("REWARDSMITH_GOLDEN") == "write":
        GUIDE.write_text(f"{before}{START}{catalogue_table()}{END}{after}")
        return
    assert found == catalogue_table(), "run `make golden`"


def test_the_task_in_full_is_one():
    task = task_from_mapping(json.loads(blocks("json")[0]))
    check_task(task)
    assert {f.name: f.visible for f in task.fields}["judge_mark"] == ("metric",)


def test_the_file_that_is_like_another_one_is_a_task():
    own = tomllib.loads(blocks("toml")[0])
    base = own.pop("like")
    assert base in catalogue()
    named = {"environment": catalogue()[base].environment}
    plain = task_from_mapping({**named, **own})
    assert plain.fitness.goal == 0.9


def test_every_kind_of_fitness_and_of_source_is_explained():
    text = GUIDE.read_text()
    assert all(f"| `{kind}` |" in text for kind in get_args(FitnessKind))
    assert read_source(Field("x", "obs.key[0:2]")) == Source("obs", "key", 0, 2)
    for source in ("obs[0]", "obs.key[0]", "sim.name[0]", "info.key", "terminated"):
        read_source(Field("x", source))
        assert re.sub(r"\d", "i", source) in text
