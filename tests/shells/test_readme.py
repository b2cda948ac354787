"""The README tells the truth: settings, tree, reading order and commands exist."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from core.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
START, END = "<!-- settings -->\n", "<!-- /settings -->"


def settings_table() -> str:
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        given = field.default
        default = "" if given is PydanticUndefined or given in (None, "", ()) else f"`{given}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def test_every_setting_stands_in_the_readme_with_its_default():
    text = README.read_text()
    before, rest = text.split(START)
    found, after = rest.split(END)
    if os.environ.get("REWARDSMITH_GOLDEN") == "write":
        README.write_text(f"{before}{START}{settings_table()}{END}{after}")
        return
    assert found == settings_table(), "run `make golden`"


def test_the_reading_order_names_files_that_exist():
    order = README.read_text().split("## Read the code")[1].split("```")[0]
    paths = re.findall(r"`((?:core|workers|api|client)/[\w/.]*)`", order)
    assert len(paths) >= 8
    assert all((ROOT / path).exists() for path in paths)


@pytest.mark.parametrize("target", ["demo", "test", "check"])
def test_the_commands_of_the_readme_are_targets_of_the_makefile(target):
    assert f"make {target}" in README.read_text()
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_continuous_integration_runs_the_readmes_commands():
    script = (ROOT / ".ci" / "run").read_text()
    assert "make test" in script
    assert "make demo" in script
