"""The clock over a program's calls: what it ends, what it never touches, what the parent sees."""

from __future__ import annotations

import fcntl
import mmap
import os

import numpy as np
import pytest

from core.errors import ProgramRejected
from core.fields import lay_out
from core.training import deadlines
from core.training.check import MOST_MICROSECONDS
from core.training.deadlines import Deadlines, Notice
from core.training.runtime import load_program
from tests.rim.laboratory_parts import CART_POLE, program, rewarding

LAYOUT = lay_out(CART_POLE.fields, 4)
ENDLESS = "while True:\n    pass"
CATCHES = "while True:\n    try:\n        pass\n    except Exception:\n        pass"


@pytest.fixture
def quick(monkeypatch):
    """A tenth of the time that programs are given, so that nobody has to wait."""
    monkeypatch.setattr(deadlines, "SECONDS", 0.2)
    monkeypatch.setattr(deadlines, "_TICK_SECONDS", 0.05)


def rewarded(body, guard):
    loaded = load_program(rewarding(body), LAYOUT, guard=guard)
    block = np.zeros((3, LAYOUT.size), np.float32)
    return loaded.reward(block[:, : LAYOUT.state_size], np.zeros(3, np.int64), block)


@pytest.mark.parametrize("body", [ENDLESS, CATCHES], ids=["a loop", "a loop that catches errors"])
def test_a_call_without_end_is_ended_and_names_its_line(quick, body):
    with Deadlines() as clock:
        guard = clock.guard(0)
        with pytest.raises(ProgramRejected, match=r"line 5.*no result after 0.2 s") as caught:
            rewarded(body, guard)
        assert caught.value.rule == "time"
        with pytest.raises(ProgramRejected, match="no result"):
            rewarded("return {'a': obs.x}", guard)  # once ended, it is called no more


def test_a_module_that_never_ends_to_load_is_ended_as_well(quick):
    with Deadlines() as clock, pytest.raises(ProgramRejected, match="no result"):
        load_program(
            program(ENDLESS + "\ndef reward(a, b, c, d):\n    pass\n"), LAYOUT, guard=clock.guard(0)
        )


def test_a_program_may_take_as_long_as_many_times_the_longest_call_of_the_others(quick):
    with Deadlines() as clock:
        guard, other = clock.guard(0), clock.guard(1)
        assert clock.budget(guard) == 0.2
        other.longest = 0.1
        assert clock.budget(guard) == pytest.approx(5.0)
        assert clock.budget(other) == 0.2
        guard.rows = other.rows = 100_000  # a whole replay, relabelled
        assert clock.budget(other) == pytest.approx(20.0)


def test_what_is_called_afterwards_is_not_interrupted(quick):
    with Deadlines() as clock:
        guard = clock.guard(0)
        with pytest.raises(ProgramRejected):
            rewarded(ENDLESS, guard)
        assert sum(range(10_000_000)) > 0  # longer than any deadline here
        rewarded("return {'a': obs.x}", clock.guard(1))


# --- slow programs --------------------------------------------------------------------------------


SPAN = 6.0  # seconds that a program took for its calls


def judged(*spans):
    """A guard of a program that took so many seconds for so many calls and rows, span after span."""
    clock = Deadlines()
    guard = clock.guard(0)
    for spent, calls, rows in spans:
        guard.spent, guard.calls, guard.called_rows = spent, calls, rows
        clock.judge()
    return guard


def test_a_program_that_is_slow_in_two_spans_in_a_row_is_called_no_more():
    slow = (SPAN, 100, 60_000)  # 100 µs a row
    expected = (
        r"at most 60 µs for each row and 3 ms for each call.*6.0 s.*100 calls with 60000 rows"
    )
    with pytest.raises(ProgramRejected, match=expected) as caught:
        judged(slow, slow).__enter__()
    assert caught.value.rule == "time"


@pytest.mark.parametrize(
    "spans",
    [
        pytest.param([(SPAN, 100, 60_000)], id="slow once"),
        pytest.param([(SPAN, 100, 60_000), (SPAN, 100, 600_000)] * 2, id="slow every other time"),
        pytest.param([(4.9, 0, 0)] * 9, id="too short to be measured"),
        pytest.param([(SPAN, 50, 300_000)] * 2, id="as many rows as the check lets pass in a span"),
        pytest.param([(SPAN, 6_000, 24_000)] * 2, id="features of few rows at every step"),
    ],
)
def test_any_other_program_goes_on(spans):
    with judged(*spans):
        pass


def test_who_is_slow_does_not_depend_on_who_else_is_trained():
    clock = Deadlines()
    with_features = clock.guard(0)
    others = [clock.guard(number) for number in range(1, 8)]
    for _ in range(2):
        # A rollout of CartPole: features at each of its 128 steps, rewards once for all of them.
        with_features.spent, with_features.calls, with_features.called_rows = 8.0, 12_900, 400_000
        for other in others:
            other.spent, other.calls, other.called_rows = 0.05, 100, 200_000
        clock.judge()
    with with_features:
        pass


def test_calls_are_counted_with_their_rows():
    guard = Deadlines().guard(0)
    loaded = load_program(rewarding("return {'a': obs.x}"), LAYOUT, guard=guard)
    block = np.zeros((3, LAYOUT.size), np.float32)
    for _ in range(3):
        loaded.reward(block[:, : LAYOUT.state_size], np.zeros(3, np.int64), block)
    assert (guard.calls, guard.called_rows) == (1 + 3, 9)  # its module counts as a call


def test_what_the_check_lets_pass_is_what_a_training_takes_for_fair():
    assert pytest.approx(1e-6 * MOST_MICROSECONDS) == deadlines.CHECKED_ROW_SECONDS


# --- what the parent sees -------------------------------------------------------------------------


@pytest.fixture
def notice():
    made = Notice()
    yield made
    made.close()


def test_the_parent_sees_whose_program_is_being_called(notice):
    link = notice.link()
    clock = Deadlines([link])
    assert notice.called(3) is None
    with clock.guard(2):
        assert notice.called(3) == 2
        assert notice.called(2) is None  # no such arm: the child has lied
    assert notice.called(3) is None
    link.close()


def test_a_call_that_the_timer_has_ended_leaves_nobody_s_number_behind(notice):
    link = notice.link()
    clock = Deadlines([link])
    guard = clock.guard(2)
    guard.__enter__()  # the timer strikes before `__exit__` has done anything
    assert notice.called(3) == 2
    guard.overdue("reward")
    assert notice.called(3) is None
    link.close()


def test_a_child_that_cuts_the_page_short_does_not_take_its_parent_down(notice):
    link = notice.link()
    os.ftruncate(link.fileno(), 0)
    assert notice.called(3) is None
    link.close()


def test_a_child_that_changes_the_flags_of_its_page_does_not_change_its_parent_s(notice):
    """With O_DIRECT set, a file on a disk refuses to give four bytes away."""
    link = notice.link()
    clock = Deadlines([link])
    fcntl.fcntl(link.fileno(), fcntl.F_SETFL, os.O_RDWR | os.O_APPEND)
    assert not fcntl.fcntl(notice._file.fileno(), fcntl.F_GETFL) & os.O_APPEND
    with clock.guard(0):
        assert notice.called(1) == 0
    link.close()


def test_the_page_is_as_large_as_the_child_maps(notice):
    link = notice.link()
    assert os.fstat(link.fileno()).st_size >= mmap.PAGESIZE
    link.close()
