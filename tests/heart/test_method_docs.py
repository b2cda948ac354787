"""docs/methods.md says what the methods are, and cannot rot."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from core.methods import METHODS

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


def rows():
    lines = [
        line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    ]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name.strip("`"): rest for name, *rest in cells}


def in_words(defaults):
    told = []
    for name, value in defaults.items():
        if isinstance(value, Mapping):
            told += [f"`{name}.{key}` {_value(item)}" for key, item in value.items()]
        else:
            told.append(f"`{name}` {_value(value)}")
    return ", ".join(told) or "none"


def _value(value):
    return value if isinstance(value, str) else json.dumps(value)


def test_every_method_has_its_row():
    assert list(rows()) == list(METHODS)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_row_tells_the_defaults_and_the_source(method):
    _, source, deviations, defaults = rows()[method.name]
    assert defaults == in_words(method.defaults)
    assert source == method.source or method.name == "smith"
    assert deviations
