"""Rewards that are no numbers."""

from __future__ import annotations

from tests.attacks.cases.fakes import checks, rewarding

CASE = checks(
    63,
    "pay NaN or infinity",
    "finite",
    {
        "NaN": rewarding("return {'a': obs.x * np.nan}"),
        "infinity": rewarding("return {'a': obs.x + np.inf}"),
        "at the edges alone": rewarding("return {'a': np.log(np.abs(obs.x) - 0.5)}"),
    },
)
