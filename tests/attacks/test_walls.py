"""The wall: 55 attacks from inside a jailed child, and hostile children, as every kind of worker.

Every case is refused with the error that its file names, but one: stat() tells whether a path exists,
how large it is and when it changed.  The control shows that the attacks are real: an ordinary user
without a wall gets through.
"""

from __future__ import annotations

import functools
import json

import pytest

from core.sandbox import selftest
from core.sandbox.attacks import every_case
from core.sandbox.outcomes import clean_text
from tests.attacks import modes
from tests.attacks.cases import LIVES
from tests.attacks.running import judge

pytestmark = (
    pytest.mark.slow
)  # each mode starts a process and a sandbox, and waits for loops to be ended

CASES = every_case()
REAL = [n for n, case in CASES.items() if case.unwalled and case.ends in {"refused", "allowed"}]
HOSTILE = [(number, life) for number, case in LIVES.items() for life in case.lives]


@functools.cache
def outcomes(mode: modes.Mode) -> dict[str, str]:
    try:
        return modes.run(mode)
    except modes.NotHere as reason:
        return {"not here": str(reason)}


def outcomes_or_skip(mode: modes.Mode) -> dict[str, str]:
    found = outcomes(mode)
    if "not here" in found:
        if mode.container:
            pytest.fail(found["not here"])
        pytest.skip(found["not here"])
    return found


each_mode = pytest.mark.parametrize("mode", modes.MODES, ids=lambda mode: mode.name)


@each_mode
@pytest.mark.parametrize("number", CASES)
def test_the_attack_is_refused(mode, number):
    case = CASES[number]
    verdict = judge(case, outcomes_or_skip(mode)[str(number)])
    assert verdict == ("allowed" if number == 13 else "refused"), f"it tried to {case.name}"


@each_mode
@pytest.mark.parametrize(("number", "life"), HOSTILE)
def test_a_hostile_child_ends_as_it_must_and_its_words_are_clean(mode, number, life):
    outcome = outcomes_or_skip(mode)[f"{number} {life}"]
    assert outcome.startswith(LIVES[number].must[life])
    assert clean_text(outcome, max_characters=len(outcome)) == outcome


@each_mode
def test_the_selftest_finds_the_full_level(mode):
    level, failed = outcomes_or_skip(mode)["isolation"].split(" ", 1)
    assert (int(level), json.loads(failed)) == (selftest.FULL, [])


@pytest.mark.parametrize("number", REAL)
def test_without_a_wall_the_attack_gets_through(number):
    assert outcomes_or_skip(modes.NO_WALL)[str(number)] == "reached"


def test_the_cases_are_numbered_without_a_gap_and_only_one_may_be_allowed():
    assert list(CASES) == list(range(1, 56))
    assert [case.number for case in CASES.values() if case.ends == "allowed"] == [13]


def test_what_the_selftest_runs_is_what_is_tested_here():
    for case in (*selftest.CASES, selftest.LAST_CASE):
        assert CASES[case.number] is case
        assert case.ends == "refused"
