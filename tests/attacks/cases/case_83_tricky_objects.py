"""Objects that are not what they say when they are compared, converted or measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attacks.cases.fakes import rewarding
from tests.attacks.cases.kinds import Trial
from tests.rim.laboratory_parts import ESCAPE

if TYPE_CHECKING:
    from tests.attacks.bench import Bench

TYPE = (
    f"{ESCAPE}\ntype = sys.modules['builtins'].type\nproperty = sys.modules['builtins'].property\n"
)
LIES = {
    "a dict that lies": rewarding(
        "return Liar({'a': obs.x})",
        TYPE
        + "Liar = type('Liar', (dict,), {'__eq__': lambda s, o: True, '__len__': lambda s: 1})",
    ),
    "a number that lies": rewarding(
        "return {'a': Liar(1.0)}",
        TYPE + "Liar = type('Liar', (float,), {'__float__': lambda s: 999.0})",
    ),
    "a name that lies": rewarding(
        "return {Liar('a'): obs.x}",
        TYPE
        + "Liar = type('Liar', (str,), {'__eq__': lambda s, o: True, '__hash__': lambda s: 1})",
    ),
    "an array that lies": rewarding(
        "return {'a': obs.x[:3].view(Liar)}",
        TYPE + "Liar = type('Liar', (np.ndarray,), {'shape': property(lambda s: (len(BATCH),))})\n"
        "BATCH = range(7)",
    ),
}


def run(bench: Bench) -> list[str]:
    accepted = [name for name, source in LIES.items() if bench.rejection(source) == "accepted"]
    trained = {name: bench.train({"0.0": source}, record=False) for name, source in LIES.items()}
    scored = [name for name, made in trained.items() if made.runs[0].status == "scored"]
    return accepted + [f"{name} was trained and scored" for name in scored]


CASE = Trial(83, "fitness", "return objects that lie", "refused", run)
