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


# --- a check whose process the program has taken over ---------------------------------------------

SAYING = (
    ESCAPE
    + """
builtins = sys.modules["builtins"]
check = sys.modules["core.training.check"]
channel = [
    o
    for o in builtins.__import__("gc").get_objects()
    if builtins.type(o) is sys.modules["core.sandbox.frames"].Channel
][0]
"""
)
"""What a program needs that says in its check's place what it likes."""


def saying(header, before=""):
    body = f"channel.send({header!r})\nos._exit(0)"
    return rewarding(body, before=SAYING + before)


def verdict(**changes):
    honest = {"kind": "shape", "components": ["a"], "features": [], "microseconds_per_row": 0.1}
    return {**honest, **changes}


@pytest.mark.parametrize(
    "said",
    [
        verdict(components=["a" * 41]),
        verdict(components=["a", "a"]),
        verdict(components=["<b>"]),
        verdict(microseconds_per_row=1e300),
        verdict(microseconds_per_row="fast"),
        {"kind": "shape"},
    ],
)
def test_a_verdict_that_no_check_gives_is_the_program_s_fault(sandbox, cart_pole, said):
    """Else one program would stop its whole job."""
    with pytest.raises(ProgramRejected, match="in the verdict") as caught:
        check_program(sandbox, ARTIFACTS, saying(said), cart_pole)
    assert caught.value.rule == "runtime"


@pytest.mark.parametrize("rule", ["budget", "duplicate", "frozen_reward", "\x1b[2J", None])
def test_no_program_says_of_itself_what_only_the_parent_can_know(sandbox, cart_pole, rule):
    """A budget that is used up ends the search; a duplicate is asked for anew."""
    said = {"kind": "rejected", "rule": rule, "found": "x"}
    with pytest.raises(ProgramRejected) as caught:
        check_program(sandbox, ARTIFACTS, saying(said), cart_pole)
    assert caught.value.rule == "runtime"


def test_what_a_program_says_of_its_rejection_is_cleaned(sandbox, cart_pole):
    foul = "one\ntwo\x1b[2J\u202e\x07"
    parts = dict.fromkeys(("found", "expected", "where", "hint"), foul)
    with pytest.raises(ProgramRejected) as caught:
        check_program(sandbox, ARTIFACTS, saying({"kind": "rejected", **parts}), cart_pole)
    assert str(caught.value).isprintable()
    assert "one two" in caught.value.found


def test_so_is_the_stage_at_which_it_says_that_it_died(sandbox, cart_pole):
    with pytest.raises(ProgramRejected) as caught:
        check_program(
            sandbox, ARTIFACTS, saying({"kind": "stage", "stage": "a\nb\x1b[2J"}), cart_pole
        )
    assert caught.value.rule == "exit"
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("huge", [1.7e308, 1e61])
def test_numbers_that_would_overflow_where_they_are_compared_are_not_taken(
    sandbox, cart_pole, huge
):
    """The screens square them and sum them up, and what is not finite cannot be stored."""
    forger = rewarding(
        "return {'a': obs.x}",
        before=SAYING
        + f"""
def tell(channel, bench):
    rows, episodes = len(bench.rows), len(bench.store.rows)
    sizes = {{"reward": rows, "canonical": rows, "per_step": episodes, "in_sum": episodes}}
    sent = {{name: np.full(size, {huge}).tobytes() for name, size in sizes.items()}}
    channel.send({{"kind": "numbers", "key": "0.0", "rows": []}}, {{"features": b"", **sent}})
    channel.send({{"kind": "end"}})
check.tell_numbers = tell
""",
    )
    assert both(sandbox, cart_pole, forger).screening.numbers == {}
