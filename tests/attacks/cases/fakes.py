"""How the twelve fakes of the fitness are judged: the true score each time, or no score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attacks.cases.kinds import Trial

if TYPE_CHECKING:
    from tests.attacks.bench import Bench


def fake(
    number: int, name: str, hostile: str, must: str = "true score", honest: str | None = None
) -> Trial:
    """Return a case that trains and measures a program with hostile code in its body, or features."""

    def run(bench: Bench) -> list[str]:
        verdict = bench.outcome(hostile, **({} if honest is None else {"honest": honest})).verdict
        return [] if verdict.partition(":")[0] == must else [verdict]

    return Trial(number, "fitness", name, must, run)


def checks(number: int, name: str, must: str, sources: dict[str, str]) -> Trial:
    """Return a case whose programs must each be rejected by the check, under one of some rules."""

    def run(bench: Bench) -> list[str]:
        found = {label: bench.rejection(source) for label, source in sources.items()}
        return [f"{label}: {rule}" for label, rule in found.items() if rule not in must.split()]

    return Trial(number, "numerics", name, must, run)


def rewarding(body: str, before: str = "") -> str:
    """Return a program whose reward has this body."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return (
        f"import numpy as np\nimport math\n{before}\n"
        f"def reward(obs, action, next_obs, params):\n{lines}"
    )
