"""What is no array at all."""

from __future__ import annotations

from tests.attacks.cases.fakes import checks, rewarding

BODIES = {
    "nothing": "None",
    "a list": "[obs.x]",
    "a generator": "(x for x in obs.x)",
    "a list inside": "{'a': list(obs.x)}",
    "nothing inside": "{'a': None}",
    "a function": "{'a': len}",
    "no terms": "{}",
    "a number as a name": "{1: obs.x}",
}
CASE = checks(
    66,
    "return something else than arrays",
    "runtime",
    {name: rewarding(f"return {body}") for name, body in BODIES.items()},
)
