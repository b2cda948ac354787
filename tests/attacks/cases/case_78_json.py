"""The writer of results, replaced."""

from __future__ import annotations

from tests.attacks.cases.fakes import fake

CASE = fake(
    78,
    "replace the writer of results",
    "json = sys.modules['json']\n"
    "dumps = json.dumps\n"
    "json.dumps = lambda value, **k: dumps(value, **k).replace('\"fitness\": ', '\"fitness\": 999')\n",
)
