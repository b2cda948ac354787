"""What stands behind the wall: numbers, fitness and text, each attacked through its real path."""

from __future__ import annotations

import pytest

from core.sandbox.attacks import every_case
from tests.attacks.bench import Bench
from tests.attacks.cases import LIVES, trials

pytestmark = pytest.mark.slow  # a sandbox with the trainer is started, and programs are trained

TRIALS = trials()


@pytest.fixture(scope="module")
def bench():
    made = Bench()
    yield made
    made.close()


@pytest.mark.parametrize("case", TRIALS, ids=lambda case: f"{case.number} {case.name}")
def test_nothing_gets_through(bench, case):
    assert case.run(bench) == []


def test_an_honest_program_has_its_true_score(bench):
    outcome = bench.outcome("")
    assert outcome.verdict == "true score"
    assert outcome.run.fitness == pytest.approx(sum(outcome.truth) / len(outcome.truth))


def test_a_score_that_is_not_the_truth_is_found_out(bench):
    forged = bench.outcome("", features=lambda observation: observation[:1])
    assert forged.verdict.startswith("scored")


def test_all_cases_of_the_list_are_here():
    numbers = [*every_case(), *LIVES, *(case.number for case in TRIALS)]
    assert sorted(numbers) == list(range(1, 92))
