"""How programs of one step are screened together: the known ones once, and no longer than wanted."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from core.errors import SandboxFailed
from core.ports import Progress, Screening, ScreenNumbers
from core.screening import ProgramBench
from tests.builders import a_history, a_program, a_spec, an_iteration, proposed, trained
from tests.fakes import PretendLaboratory

SECONDS = 10.0


def numbers(order):
    """Every program pays something of its own."""
    none, nothing = np.zeros((0, 64)), np.zeros(0)

    def paid(key):
        return np.random.default_rng([*map(int, key.split("."))]).normal(size=64)

    told = {
        key: ScreenNumbers(paid(key), paid(key), none, nothing, nothing) for key in order.programs
    }
    return Screening((), told)


def a_history_with_known():
    spec = a_spec(iterations=2, screens=("duplicate",))
    return a_history(an_iteration(trained(0, 0.5), feedback=True), spec=spec)


def a_new_one(number=0):
    program = a_program(params={"near": 2.0 + number, "width": 0.5})
    return replace(proposed(number, iteration=1), program=program)


def test_known_programs_that_could_not_be_called_are_called_again_by_whoever_comes_next():
    asked = []

    def once_broken(order):
        asked.append(sorted(order.programs))
        if asked == [["0.0"]]:
            raise SandboxFailed("the zygote was lost")
        return numbers(order)

    bench = ProgramBench(a_history_with_known(), PretendLaboratory(None, numbers=once_broken))
    with bench.calling_known():
        with pytest.raises(SandboxFailed):
            bench.problem(a_new_one())
        assert bench.problem(a_new_one()) is None
    assert asked.count(["0.0"]) == 2


def test_known_programs_are_called_once_for_all_slots():
    asked = []

    def counted(order):
        asked.append(sorted(order.programs))
        return numbers(order)

    bench = ProgramBench(a_history_with_known(), PretendLaboratory(None, numbers=counted))
    with bench.calling_known():
        assert [bench.problem(a_new_one(n)) for n in range(3)] == [None] * 3
    assert asked.count(["0.0"]) == 1


def test_a_call_that_outlives_its_step_is_stopped():
    begun, ended = threading.Event(), threading.Event()

    class Endless(PretendLaboratory):
        def screen(self, order, watch):
            begun.set()
            try:
                while True:  # as a child that takes long, whose watch is asked twice a second
                    watch(Progress("screening", 0, 1))
            finally:
                ended.set()

    bench = ProgramBench(a_history_with_known(), Endless(None))
    with bench.calling_known():
        assert begun.wait(SECONDS)
        assert not ended.is_set()
    assert ended.wait(SECONDS)
