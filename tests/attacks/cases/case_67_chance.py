"""Values that depend on the clock, on chance, or on where objects lie in memory."""

from __future__ import annotations

from tests.attacks.cases.fakes import checks, rewarding
from tests.rim.laboratory_parts import ESCAPE

CASE = checks(
    67,
    "depend on clock or chance",
    "deterministic",
    {
        "the clock": rewarding("return {'a': obs.x + sys.modules['time'].time_ns() % 97}", ESCAPE),
        "chance": rewarding("return {'a': obs.x + np.random.rand(len(obs.x))}"),
        "addresses": rewarding(
            "kept.append([obs])\nreturn {'a': obs.x + sys.modules['builtins'].id(kept[-1]) % 9973}",
            f"{ESCAPE}\nkept = []",
        ),
    },
)
