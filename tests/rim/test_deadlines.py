"""The clock over a program's calls: what it ends, what it never touches, what the parent sees."""

from __future__ import annotations

import mmap
import os

import numpy as np
import pytest

from core.errors import ProgramRejected
from core.fields import lay_out
from core.training import deadlines
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


def heard(*spans):
    guard = Deadlines().guard(0, members=2)
    for span in spans:
        guard.hear(*span)
    return guard


def test_a_program_that_is_slow_in_two_spans_in_a_row_is_called_no_more():
    slow = (6.0, 10.0, 0.1)  # own seconds, all seconds, what the others take for a member
    with pytest.raises(ProgramRejected, match=r"6.0 s of 10.0 s of processor time, 30 times"):
        heard(slow, slow).__enter__()


@pytest.mark.parametrize(
    "spans",
    [
        pytest.param([(6.0, 10.0, 0.1)], id="slow once"),
        pytest.param([(6.0, 10.0, 0.1), (1.0, 10.0, 0.1)] * 2, id="slow every other time"),
        pytest.param([(6.0, 10.0, 0.2)] * 2, id="fifteen times the others"),
        pytest.param([(2.0, 10.0, 0.01)] * 2, id="a hundred times nothing"),
        pytest.param([(9.0, 10.0, float("inf"))] * 2, id="nobody to compare with"),
    ],
)
def test_any_other_program_goes_on(spans):
    with heard(*spans):
        pass


def test_a_span_is_judged_by_the_median_of_the_others_that_were_called(monkeypatch):
    monkeypatch.setattr(deadlines, "SPAN_SECONDS", 0.0)
    clock = Deadlines()
    told = {}
    for number, (spent, calls) in enumerate(((8.0, 9), (0.1, 9), (0.3, 9), (0.0, 0))):
        guard = clock.guard(number)
        guard.spent, guard.calls = spent, calls
        monkeypatch.setattr(guard, "hear", lambda *span, n=number: told.update({n: span}))
    clock.judge()
    assert told[0][0] == 8.0
    assert told[0][2] == 0.1  # of 0.1 and 0.3; who was never called does not count
    assert clock._guards[0].spent == 0.0


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


def test_a_child_that_cuts_the_page_short_does_not_take_its_parent_down(notice):
    link = notice.link()
    os.ftruncate(link.fileno(), 0)
    assert notice.called(3) is None
    link.close()


def test_the_page_is_as_large_as_the_child_maps(notice):
    link = notice.link()
    assert os.fstat(link.fileno()).st_size >= mmap.PAGESIZE
    link.close()
