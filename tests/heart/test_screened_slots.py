"""Screens within a step: what is called, what goes back, what is never trained; what is stored when."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.desk import MAX_REPAIRS
from core.errors import (
    DesignerUnavailable,
    SandboxFailed,
)
from core.loop import read_step
from core.ports import Screening, ScreenNumbers
from core.steps import carry_out
from tests.builders import a_history, a_spec
from tests.fakes import MemoryLedger, PretendLaboratory, ScriptedDesigner
from tests.heart.whole_jobs import good, run_job, toolbox

# --- screens --------------------------------------------------------------------------------------


def alike(*same):
    """Numbers in which the named candidates pay the same, and all others something of their own."""

    def paid(key):
        place = [0] if key in same else [1, *map(int, key.split("."))]
        return np.random.default_rng(place).normal(size=64)

    def numbers(order):
        none, nothing = np.zeros((0, 64)), np.zeros(0)
        return Screening(
            (),
            {
                key: ScreenNumbers(paid(key), paid(key), none, nothing, nothing)
                for key in order.programs
            },
        )

    return numbers


SCREENED = {"screens": ("duplicate",), "method": "eureka"}


def test_a_screened_candidate_is_stored_with_what_it_saved_and_never_trained():
    spec = a_spec(iterations=1, candidates=4, **SCREENED)
    ledger, _, laboratory = run_job(spec, numbers=alike("0.1", "0.3"))
    candidates = ledger.facts.iterations[0].candidates
    assert [c.status for c in candidates] == ["trained", "trained", "trained", "screened"]
    assert (candidates[3].screens[0].other, candidates[3].saved_steps) == ("0.1", 2 * 1000)
    trained_arms = {arm for o in laboratory.orders if o.stage == "search" for arm, _ in o.members}
    assert trained_arms == {"0.0", "0.1", "0.2"}


def test_a_duplicate_of_an_earlier_iteration_goes_back_to_the_designer_as_a_repair():
    spec = a_spec(iterations=2, candidates=4, **SCREENED)
    ledger, designer, _ = run_job(spec, numbers=alike("0.0", "1.2"))
    asked = [ask for ask in designer.asked if (ask.iteration, ask.slot) == (1, 2)]
    assert len(asked) == 1 + MAX_REPAIRS
    assert "It pays what candidate 0.0 pays" in asked[1].brief.repair.message
    assert "Change what is paid until it correlates" in asked[1].prompt.messages[-1][1]
    assert ledger.facts.iterations[1].candidates[2].status == "screened"
    others = [ask for ask in designer.asked if ask.iteration == 1 and ask.slot != 2]
    assert {ask.attempt for ask in others} == {0}


def test_a_propose_step_that_is_done_again_decides_the_same():
    spec = a_spec(iterations=1, candidates=4, **SCREENED)
    decided = []
    for lost in (False, True):
        ledger = MemoryLedger(a_history(spec=spec))
        laboratory = PretendLaboratory(lambda arm, seed: 0.5, numbers=alike("0.0", "0.1"))
        tools = toolbox(ScriptedDesigner(good), laboratory)
        if lost:  # as an earlier version's worker left it that died between decision and end
            decide = ledger.add_screens
            ledger.end_proposing = lambda number, screened, filled, decide=decide: decide(screened)
        carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
        if lost:
            del ledger.end_proposing
            laboratory.numbers = alike("0.2", "0.3")
            carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
        decided.append(ledger.facts.iterations[0])
    assert decided[0] == decided[1]
    assert decided[0].proposed


def test_every_program_is_called_once_in_a_step():
    called = []

    def numbers(order):
        called.append(set(order.programs))
        return alike()(order)

    run_job(a_spec(iterations=2, candidates=3, **SCREENED), numbers=numbers)
    # Every slot asks for its own; the second iteration also for those that are known.
    alone = [key for keys in called if len(keys) == 1 for key in keys]
    assert sorted(alone) == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    assert [keys for keys in called if len(keys) > 1] == [{"0.0", "0.1", "0.2"}]


def test_a_slot_that_was_mended_to_its_last_attempt_is_judged_by_its_last_program():
    """That one is not compared while its slot is filled; numbers of the one before are not its own."""
    called = []

    def numbers(order):
        called.extend((key, program.source) for key, program in order.programs.items())
        copied = any(
            "Variant 1.11" in p.source or "Variant 1.10" in p.source
            for p in order.programs.values()
        )
        return alike(*(("0.0", "1.1") if copied else ("0.0",)))(order)

    ledger, _, _ = run_job(a_spec(iterations=2, candidates=3, **SCREENED), numbers=numbers)
    mended = ledger.facts.iterations[1].candidates[1]
    assert "Variant 1.12" in mended.program.source
    assert mended.status == "trained"
    assert [source for key, source in called if key == "1.1"][-1] == mended.program.source


def test_a_program_whose_child_broke_while_its_slot_was_filled_is_asked_once_more():
    """A machine that was short of memory for a moment must not leave a program without its screens."""
    broken = set()

    def numbers(order):
        found = alike()(order)
        fresh = {key for key in order.programs if key[0] == "1"} - broken
        broken.update(fresh)
        left = {key: one for key, one in found.numbers.items() if key not in fresh}
        return replace(found, numbers=left, broken=dict.fromkeys(fresh, "no memory"))

    ledger, _, _ = run_job(a_spec(iterations=2, candidates=3, **SCREENED), numbers=numbers)
    screens = [c.screens[0] for c in ledger.facts.iterations[1].candidates]
    assert [screen.verdict for screen in screens] == ["pass"] * 3


def test_rows_of_episodes_are_asked_for_once_with_every_new_program():
    """The screens show them to its author; known programs need none."""
    asked = []

    def numbers(order):
        asked.append((set(order.programs), set(order.asked)))
        return alike()(order)

    run_job(a_spec(iterations=2, candidates=3, **SCREENED), numbers=numbers)
    of_second = [pair for pair in asked if any(key[0] == "1" for key in pair[0])]
    assert sorted(key for _, shown in of_second for key in shown) == ["1.0", "1.1", "1.2"]
    assert ({"0.0", "0.1", "0.2"}, set()) in asked


def test_why_a_program_breaks_is_told_beside_the_numbers_of_the_others():
    def numbers(order):
        found = alike()(order)
        left = {key: one for key, one in found.numbers.items() if key != "1.1"}
        return replace(
            found, numbers=left, broken={"1.1": "line 3"} if "1.1" in order.programs else {}
        )

    ledger, _, _ = run_job(a_spec(iterations=2, candidates=3, **SCREENED), numbers=numbers)
    screens = [c.screens[0] for c in ledger.facts.iterations[1].candidates]
    assert [screen.verdict for screen in screens] == ["pass", "abstain", "pass"]
    assert "line 3" in screens[1].message


def test_a_job_without_screens_asks_for_no_numbers():
    def never(order):
        raise AssertionError("nobody asked for screens")

    ledger, _, _ = run_job(a_spec(), numbers=never)
    assert ledger.facts.status == "succeeded"


# --- what cost nothing ------------------------------------------------------------------------


def a_replaying(script):
    designer = ScriptedDesigner(script)
    designer.name = "replay"
    return designer


def test_what_cost_nothing_is_stored_at_once_when_the_step_ends():
    ledger = MemoryLedger(a_history(spec=a_spec(iterations=1, candidates=3)))

    def script(ask):
        assert not ledger.paid
        assert not ledger.facts.iterations
        return good(ask)

    tools = toolbox(a_replaying(script), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    (iteration,) = ledger.facts.iterations
    assert iteration.proposed
    assert [c.status for c in iteration.candidates] == ["proposed"] * 3
    assert sorted((e.slot, e.attempt) for e in ledger.paid) == [(0, 0), (1, 0), (2, 0)]


def test_of_a_step_that_cannot_end_what_is_ready_is_stored():
    ledger = MemoryLedger(a_history(spec=a_spec(iterations=1, candidates=3)))

    def script(ask):
        if ask.slot == 1:
            raise DesignerUnavailable("no record", retry_after_seconds=5.0)
        return good(ask)

    tools = toolbox(a_replaying(script), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    (iteration,) = ledger.facts.iterations
    assert not iteration.proposed
    assert [c.number for c in iteration.candidates] == [0, 2]
    assert sorted(e.slot for e in ledger.paid) == [0, 2]
    assert ledger.rests == [5.0]


def test_what_is_filled_is_stored_where_the_screens_cannot_be_had():
    class Broken(PretendLaboratory):
        def check_and_screen(self, key, order):
            return replace(super().check_and_screen(key, order), screening=None)

        def screen(self, order, watch):
            raise SandboxFailed("no zygote")

    ledger = MemoryLedger(a_history(spec=a_spec(iterations=1, candidates=2, **SCREENED)))
    tools = toolbox(a_replaying(good), Broken(lambda arm, seed: 0.5, numbers=alike()))
    with pytest.raises(SandboxFailed):
        carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    (iteration,) = ledger.facts.iterations
    assert not iteration.proposed
    assert [c.status for c in iteration.candidates] == ["proposed"] * 2
    assert len(ledger.paid) == 2


def test_a_repair_is_told_between_the_attempts_that_it_parts():
    def script(ask):
        return "no code" if ask.attempt == 0 else good(ask)

    ledger = MemoryLedger(a_history(spec=a_spec(iterations=1, candidates=1)))
    given = []
    store = ledger.end_proposing
    ledger.end_proposing = lambda number, screened, filled: (
        given.extend(filled),
        store(number, screened, filled),
    )
    tools = toolbox(a_replaying(script), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(read_step("propose/0"), ledger, tools, watch=lambda progress: None)
    (filled,) = given
    first, repair, second = filled.before
    assert (first.attempt, repair.kind, second.attempt) == (0, "candidate.repair", 1)
    assert [kind for kind, _ in ledger.events] == ["candidate.repair"]
