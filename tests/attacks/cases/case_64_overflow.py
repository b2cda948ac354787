"""Numbers that a float64 holds and a float32 does not."""

from __future__ import annotations

from tests.attacks.cases.fakes import checks, rewarding

CASE = checks(
    64,
    "pay 1e300",
    "finite",
    {
        "1e300": rewarding("return {'a': obs.x.astype(np.float64) * 0 + 1e300}"),
        "-1e300": rewarding("return {'a': obs.x.astype(np.float64) * 0 - 1e300}"),
    },
)
