"""A check and the screens' numbers from one child: the same as from two, and as hard to deceive."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import ProgramRejected
from core.ports import Source
from core.sandbox import Sandbox
from core.training.checking import check_and_screen, check_program
from core.training.laboratory import PRELOAD_DESIGN
from core.training.probing import probe_task
from core.training.screening import screen_programs
from tests.rim.laboratory_parts import (
    CART_POLE,
    ESCAPE,
    MemoryArtifacts,
    ignore,
    rewarding,
    screening_order,
)

ARTIFACTS = MemoryArtifacts()
UPRIGHT = rewarding("return {'upright': np.cos(next_obs.angle)}")
COMPANION_ROWS = 16_384  # the screens call programs with so many rows at a time, the check never


@pytest.fixture(scope="module")
def sandbox():
    box = Sandbox([*PRELOAD_DESIGN, "core.training.preflight"])
    yield box
    box.close()


@pytest.fixture(scope="module")
def cart_pole(sandbox):
    return probe_task(sandbox, ARTIFACTS, CART_POLE, 0, ignore)


def an_order(preflight, program, **changes):
    return screening_order(preflight, {"0.0": program}, **changes)


def both(sandbox, preflight, program, **changes):
    return check_and_screen(sandbox, ARTIFACTS, "0.0", an_order(preflight, program, **changes))


def test_one_child_says_what_two_say(sandbox, cart_pole):
    found = both(sandbox, cart_pole, UPRIGHT)
    apart = screen_programs(sandbox, ARTIFACTS, an_order(cart_pole, UPRIGHT), ignore)
    shape = check_program(sandbox, ARTIFACTS, UPRIGHT, cart_pole)
    assert (found.shape.components, found.shape.at_random) == (shape.components, shape.at_random)
    assert found.screening.trajectories == apart.trajectories
    assert len(apart.trajectories) >= 16
    assert found.screening.normalised is apart.normalised
    one, other = found.screening.numbers["0.0"], apart.numbers["0.0"]
    for name in ("reward", "canonical", "features", "per_step", "in_sum"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.rows == other.rows


def test_a_program_that_breaks_the_contract_is_rejected_as_by_a_check(sandbox, cart_pole):
    mixed = rewarding("return {'mixed': obs.x - obs.x.mean()}")
    with pytest.raises(ProgramRejected) as caught:
        both(sandbox, cart_pole, mixed)
    assert caught.value.rule == "rows"


def test_a_program_that_breaks_on_what_policies_met_keeps_the_contract(sandbox, cart_pole):
    code = f"return {{'a': next_obs.x / (len(next_obs.x) != {COMPANION_ROWS})}}"
    found = both(sandbox, cart_pole, rewarding(code))
    assert found.shape.components == ("a",)
    assert found.screening.numbers["0.0"].canonical is None  # of no use for a comparison, no more


def test_a_child_that_breaks_over_the_numbers_leaves_them_to_another(sandbox, cart_pole):
    code = f"(os._exit(0) if len(obs.x) == {COMPANION_ROWS} else 0)\nreturn {{'a': obs.x}}"
    found = both(sandbox, cart_pole, rewarding(code, before=ESCAPE))
    assert found.shape.components == ("a",)
    assert found.screening is None


def test_a_child_that_breaks_in_the_check_is_the_program_s_fault(sandbox, cart_pole):
    deadly = rewarding("os._exit(0)", before=ESCAPE)
    with pytest.raises(ProgramRejected) as caught:
        both(sandbox, cart_pole, deadly)
    assert caught.value.rule == "exit"


def test_episodes_that_cannot_be_read_are_not_the_program_s_fault(sandbox, cart_pole):
    broken = ARTIFACTS.put(b"no recording")
    found = both(sandbox, cart_pole, UPRIGHT, sources=(Source("random", broken),))
    assert found.shape.components == ("upright",)
    assert found.screening is None


def test_what_episodes_are_worth_is_told_before_a_program_can_lie_about_it(sandbox, cart_pole):
    forger = rewarding(
        "return {'a': obs.x}",
        before=ESCAPE + "forged = sys.modules['core.training.screen_child']\n"
        "forged._told = lambda store: []\n",
    )
    honest = both(sandbox, cart_pole, UPRIGHT).screening.trajectories
    assert both(sandbox, cart_pole, forger).screening.trajectories == honest
