"""What the walls do not cover, shown: `docs/security.md` says the same in words."""

from __future__ import annotations

import pytest

from tests.attacks.bench import HELD_OUT, Bench, truth
from tests.attacks.cases.fakes import rewarding
from tests.rim.laboratory_parts import ESCAPE

pytestmark = pytest.mark.slow  # a sandbox with the trainer is started, and programs are trained

PLAIN = rewarding("return {'upright': np.cos(next_obs.angle)}")
SPOILER = rewarding(
    "for thing in builtins.__import__('gc').get_objects():\n"
    "    if builtins.type(thing).__name__ == 'LoadedProgram':\n"
    "        module = thing._module\n"
    "        if 'SPOILER' not in module and 'reward' in module:\n"
    "            module['reward'] = lambda o, a, n, p: {'upright': 0 * n.angle}\n"
    "return {'upright': obs.x}",
    f"{ESCAPE}\nbuiltins = sys.modules['builtins']\nSPOILER = True",
)


@pytest.fixture(scope="module")
def bench():
    made = Bench()
    yield made
    made.close()


def test_a_member_of_a_pack_can_spoil_the_training_of_another_but_not_its_score(bench):
    spoilt = bench.train({"0.0": SPOILER, "0.1": PLAIN}, record=False).runs[1]
    alone = bench.train({"0.1": PLAIN}, record=False).runs[0]
    assert spoilt.weights != alone.weights
    weights = bench.laboratory.artifacts.get(spoilt.weights)
    assert spoilt.episodes == truth(weights, lambda observation: observation[:0])
    assert len(spoilt.episodes) == len(HELD_OUT)


def test_in_a_pack_of_its_own_a_program_is_safe_from_all_others(bench):
    before = bench.train({"0.1": PLAIN}, record=False).runs[0]
    bench.train({"0.0": SPOILER}, record=False)
    after = bench.train({"0.1": PLAIN}, record=False).runs[0]
    assert (after.weights, after.episodes) == (before.weights, before.episodes)
