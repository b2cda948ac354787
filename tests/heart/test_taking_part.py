"""What people hand in and say, as loop and steps see it; and jobs that go on after their end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core import loop, searching, seeding
from core.desk import new_desk
from core.errors import DesignerUnavailable, PromptLeak
from core.methods.breeding import brief_for, briefs_for_given
from core.outcome import decide
from core.records.asking import Example, Prompt
from core.records.history import History
from core.records.kinds import NATIVE
from core.records.people import Given, Remark
from core.records.rounds import Iteration
from core.records.spec import Budget, Context
from core.screening import ProgramBench
from core.steps import carry_out
from tests.builders import (
    SOURCE,
    a_history,
    a_spec,
    an_iteration,
    confirmations,
    rejected,
    trained,
)
from tests.fakes import MemoryLedger, PretendLaboratory, ScriptedDesigner
from tests.heart.whole_jobs import good, run_job, toolbox

MINE = SOURCE.replace("Stay near", "My own: stay near")
OTHER = SOURCE.replace("Stay near", "Another of mine: stay near")


def carry_on(ledger, designer, laboratory):
    """Carry out steps until the job wants nothing more."""
    for _ in range(100):
        steps = loop.next_steps(ledger.facts)
        if not steps:
            return
        carry_out(steps[0], ledger, toolbox(designer, laboratory), watch=lambda progress: None)
    raise AssertionError("the job does not end")


def a_start(*given, script=good, **changes):
    """A job that starts from programs, done to its end."""
    facts = History(a_spec(iterations=1, **changes), status="running", given=given)
    ledger, designer = MemoryLedger(facts), ScriptedDesigner(script)
    laboratory = PretendLaboratory(lambda arm, seed: 0.1 if arm == NATIVE else 0.9)
    carry_on(ledger, designer, laboratory)
    return ledger, designer, laboratory


def candidates(ledger, iteration=0):
    return ledger.facts.iterations[iteration].candidates


# --- programs ---------------------------------------------------------------------------------


def test_a_program_becomes_a_candidate_beside_the_designers_and_nobody_is_asked_for_it():
    ledger, designer, _ = a_start(Given(0, MINE, note="from the old project"))
    last = candidates(ledger)[-1]
    assert [c.number for c in candidates(ledger)] == [0, 1, 2]
    assert (last.operator, last.given, last.analysis) == ("given", 0, "from the old project")
    assert (last.program.source, last.status) == (MINE, "trained")
    assert {ask.slot for ask in designer.asked} == {0, 1}


def test_an_edit_names_its_parent_and_is_measured_in_the_next_iteration():
    first = an_iteration(trained(0, 0.5, 0.5), trained(1, 0.6, 0.6), feedback=True)
    history = a_history(first, given=(Given(0, MINE, "edit", parent="0.1"),))
    ledger = MemoryLedger(history)
    carry_on(ledger, ScriptedDesigner(good), PretendLaboratory(lambda arm, seed: 0.9))
    assert candidates(ledger, 1)[-1].parents == ("0.1",)


def test_a_program_that_breaks_a_rule_is_rejected_with_the_message_and_not_repaired():
    ledger, designer, _ = a_start(Given(0, "import os\n"))
    last = candidates(ledger)[-1]
    assert (last.status, last.given) == ("rejected", 0)
    assert "os" in last.rejection
    assert all(ask.slot != 2 for ask in designer.asked)


def test_a_program_that_is_known_already_is_rejected_as_that():
    first = an_iteration(trained(0, 0.5, 0.5), feedback=True)
    same = first.candidates[0].program.source
    ledger = MemoryLedger(a_history(first, given=(Given(0, same, "edit", parent="0.0"),)))
    carry_on(ledger, ScriptedDesigner(good), PretendLaboratory(lambda arm, seed: 0.9))
    assert candidates(ledger, 1)[-1].rejection.startswith("expected a program that has not")


def test_a_step_that_is_taken_up_again_gives_every_program_the_slot_that_it_had():
    down = [1]

    def script(ask):
        if ask.slot in down:
            raise DesignerUnavailable("down", retry_after_seconds=1.0)
        return good(ask)

    designer = ScriptedDesigner(script)
    ledger = MemoryLedger(a_history(spec=a_spec(iterations=1), given=(Given(0, MINE),)))
    tools = toolbox(designer, PretendLaboratory(lambda arm, seed: 0.9))
    carry_out(loop.Propose(0), ledger, tools, watch=lambda progress: None)
    assert [c.number for c in candidates(ledger)] == [0, 2]
    down.clear()
    ledger.facts = replace(ledger.facts, given=(*ledger.facts.given, Given(1, OTHER)))
    carry_out(loop.Propose(0), ledger, tools, watch=lambda progress: None)
    assert [(c.number, c.given) for c in candidates(ledger)] == [
        (0, None),
        (1, None),
        (2, 0),
        (3, 1),
    ]


def test_a_program_that_comes_after_the_last_iteration_gets_one_of_its_own():
    ledger, designer, laboratory = run_job(a_spec(iterations=1))
    asked = len(designer.asked)
    ledger.facts = replace(
        ledger.facts,
        status="running",
        outcome=None,
        confirmations=(),
        extensions=1,
        given=(Given(0, MINE),),
    )
    carry_on(ledger, designer, laboratory)
    assert [(c.number, c.given) for c in candidates(ledger, 1)] == [(0, 0)]
    assert len(designer.asked) == asked
    assert ledger.facts.status == "succeeded"


def test_a_budget_pays_for_programs_as_for_other_candidates():
    spec = a_spec(budget=Budget(env_steps=10_000))
    alone = searching.next_cost(a_history(spec=spec))
    together = searching.next_cost(a_history(spec=spec, given=(Given(0, MINE), Given(1, OTHER))))
    assert (alone, together) == (4_000, 8_000)
    done = an_iteration(trained(0, 0.5, 0.5), feedback=True)
    last = a_history(done, spec=replace(spec, iterations=1), given=(Given(0, MINE),))
    assert searching.next_cost(last) == 2_000


def test_a_program_for_which_the_budget_has_nothing_left_does_not_keep_the_job_open():
    done = an_iteration(trained(0, 0.5, 0.5), feedback=True)
    spec = a_spec(iterations=1, budget=Budget(env_steps=1))
    assert searching.search_ended(a_history(done, spec=spec, given=(Given(0, MINE),)))


def test_a_program_that_was_taken_waits_no_more():
    taken = replace(trained(2, 0.7, 0.7), operator="given", given=0)
    done = an_iteration(trained(0, 0.5, 0.5), taken, feedback=True)
    given = (Given(0, MINE), Given(1, OTHER))
    assert searching.waiting_programs(a_history(done, given=given)) == given[1:]


def test_the_designer_is_shown_a_program_that_is_to_be_improved_but_not_an_edit():
    mine, edit = Given(0, MINE, "library"), Given(0, MINE, "edit", parent="0.0")
    assert brief_for(a_history(given=(mine,)), 0, "seed").given == mine
    assert brief_for(a_history(given=(edit,)), 0, "seed").given is None


def test_briefs_for_programs_follow_those_of_the_method():
    history = a_history(given=(Given(0, MINE), Given(1, OTHER)))
    planned = [brief_for(history, slot, "seed") for slot in range(2)]
    briefs = briefs_for_given(history, planned)
    assert [(b.slot, b.operator, b.given.number) for b in briefs] == [
        (2, "given", 0),
        (3, "given", 1),
    ]


# --- words and examples -----------------------------------------------------------------------


def test_words_enter_the_iteration_after_the_one_in_which_they_were_said():
    early = Remark(0, "text", text="slower", iteration=-1)
    late = Remark(1, "text", text="now faster", iteration=0)
    done = an_iteration(trained(0, 0.5, 0.5), feedback=True)
    said = (early, late)
    assert brief_for(a_history(remarks=said), 0, "seed").remarks == (early,)
    assert brief_for(a_history(done, remarks=said), 0, "refine").remarks == said


def test_words_of_peoples_that_name_what_only_the_metric_sees_do_not_stop_the_job():
    said = Remark(0, "text", text="make distance_driven larger", iteration=-1)
    prompt = Prompt((("user", f"Somebody said: {said.text}"),))
    history = a_history(remarks=(said,))
    tools = toolbox(ScriptedDesigner(good), PretendLaboratory(lambda arm, seed: 0.9))
    bench = ProgramBench(history, tools.laboratory)
    desk = new_desk(MemoryLedger(history), tools, history, {}, bench)
    desk.audit(brief_for(history, 0, "seed"), prompt)
    with pytest.raises(PromptLeak, match="distance_driven"):
        desk.audit(brief_for(replace(history, remarks=()), 0, "seed"), prompt)


EXAMPLE = Example("job_x", "pendulum", "Swing up.", SOURCE, "better")


def test_examples_are_chosen_once_before_the_first_prompt_and_every_brief_shows_them():
    spec = a_spec(iterations=1, context=Context(examples=1))
    designer = ScriptedDesigner(good)
    ledger = MemoryLedger(History(spec, status="running"), library=(EXAMPLE, EXAMPLE))
    carry_on(ledger, designer, PretendLaboratory(lambda arm, seed: 0.9))
    assert {ask.brief.examples for ask in designer.asked} == {(EXAMPLE,)}


def test_a_job_that_shows_no_examples_does_not_look_into_the_library():
    ledger = MemoryLedger(History(a_spec(iterations=1), status="running"), library=(EXAMPLE,))
    carry_on(ledger, ScriptedDesigner(good), PretendLaboratory(lambda arm, seed: 0.9))
    assert ledger.facts.examples == ()


# --- going on ---------------------------------------------------------------------------------


def test_every_confirmation_has_seeds_that_none_before_it_had():
    rounds = [
        seeding.confirm_seeds(a_history(extensions=n)) for n in range(1 + seeding.MOST_EXTENSIONS)
    ]
    assert len({seed for seeds in rounds for seed in seeds}) == sum(map(len, rounds))
    assert max(rounds[-1]) < 1_000  # where the search of the next job's seed begins
    assert not set(rounds[0]) & set(seeding.search_seeds(a_history()))


@pytest.mark.parametrize("seed", [0, 7])
def test_no_stage_of_a_job_has_a_seed_of_another_however_many_it_asks_for(seed):
    most = seeding.CONFIRM_STRIDE
    spec = a_spec(
        seed=seed,
        training=replace(a_spec().training, seeds=most),
        evaluation=replace(a_spec().evaluation, runoff_seeds=most, confirm_seeds=most),
    )
    jobs = [a_history(spec=spec, extensions=n) for n in range(1 + seeding.MOST_EXTENSIONS)]
    first = jobs[0]
    stages = [seeding.search_seeds(first), seeding.runoff_seeds(first)]
    stages += [of(job) for of in (seeding.confirm_seeds, seeding.ablation_seeds) for job in jobs]
    every = [one for seeds in stages for one in seeds]
    assert len(set(every)) == len(every) == most * len(stages)
    assert 1_000 * seed <= min(every) <= max(every) < 1_000 * (1 + seed)


def test_a_later_confirmation_draws_other_evaluation_episodes():
    drawn = []

    def held_out(job, iteration, rung, n):
        drawn.append(iteration)
        return tuple(range(n))

    done = an_iteration(trained(0, 0.5, 0.5), feedback=True)
    for extensions in (0, 1):
        facts = a_history(done, spec=a_spec(iterations=1), extensions=extensions)
        laboratory = PretendLaboratory(lambda arm, seed: 0.9)
        tools = replace(toolbox(ScriptedDesigner(good), laboratory), held_out=held_out)
        carry_out(loop.Confirm(0), MemoryLedger(facts), tools, watch=lambda progress: None)
    assert len(set(drawn)) == 2


@pytest.mark.parametrize(("extensions", "verdict"), [(0, "better"), (5, "equal")])
def test_each_further_look_asks_for_a_clearer_difference(extensions, verdict):
    # Nine of ten in order of rank: p = 4 / 252, enough for one look and too little for six.
    arms = {NATIVE: [0.1, 0.2, 0.3, 0.4, 0.6], "0.0": [0.5, 0.7, 0.8, 0.9, 1.0]}
    spec = a_spec(evaluation=replace(a_spec().evaluation, confirm_seeds=5))
    history = a_history(
        an_iteration(trained(0, 0.9, 0.9), feedback=True),
        spec=spec,
        extensions=extensions,
        confirmations=confirmations(arms),
    )
    assert decide(history).verdict == verdict


def test_more_iterations_open_a_job_whose_search_had_ended():
    done = an_iteration(trained(0, 0.5, 0.5), rejected(1), feedback=True)
    ended = a_history(done, spec=a_spec(iterations=1))
    assert searching.search_ended(ended)
    longer = replace(ended, spec=a_spec(iterations=2))
    assert loop.wanted(longer) == (loop.Propose(1),)
    assert searching.current_iteration(longer) == Iteration(1)
