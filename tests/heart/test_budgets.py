"""Caps: what a job may still begin, and what is kept back for its end."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from core.budgets import (
    ablation_cost,
    baseline_cost,
    closing_cost,
    confirm_cost,
    iteration_cost,
    planned_cost,
)
from core.choosing import confirm_arms
from core.errors import DesignerUnavailable
from core.loop import Baseline, Confirm, Propose, Reflect, Train, next_steps, wanted
from core.outcome import no_design
from core.prices import Price, Prices, read_prices
from core.purse import COMPLETION_TOKENS, Purse, counted, prompt_tokens
from core.records.asking import Prompt, Usage
from core.records.history import Spent
from core.records.kinds import NATIVE
from core.records.programs import Check
from core.records.rounds import Feedback
from core.records.spec import Budget, Evaluation, Training
from core.searching import budget_exhausted
from core.steps import carry_out
from tests.builders import a_history, a_run, a_spec, an_iteration, proposed, rejected, trained
from tests.fakes import MemoryLedger, PretendLaboratory, ScriptedDesigner
from tests.heart.driving import drive_counting
from tests.heart.whole_jobs import good, toolbox

TWO_RUNGS = Training(steps=1000, seeds=2, packs=1, rungs=(0.3, 1.0), keep=0.5)
SPEC = a_spec(candidates=4, training=TWO_RUNGS)
CLOSING = closing_cost(SPEC)


def with_budget(*iterations, budget, spent, **changes):
    return a_history(*iterations, spec=replace(SPEC, budget=budget), spent=spent, **changes)


# --- costs ----------------------------------------------------------------------------------------


def test_an_iteration_costs_less_by_its_rungs():
    assert iteration_cost(SPEC) == 4 * 2 * 300 + 2 * 2 * 700


def test_what_is_asked_for_beside_the_design_is_planned_for():
    extra = Evaluation(confirm_seeds=3, fitness_alone=True, ablate=True)
    spec = replace(SPEC, evaluation=extra)
    assert baseline_cost(spec) == 2 * 2 * 1000
    assert confirm_cost(spec) == 3 * 3 * 1000
    assert ablation_cost(spec) == 9 * 3 * 300
    whole = (
        baseline_cost(spec) + 2 * iteration_cost(spec) + confirm_cost(spec) + ablation_cost(spec)
    )
    assert planned_cost(spec) == whole


# --- inside an iteration --------------------------------------------------------------------------

FIRST_RUNG = an_iteration(*(trained(n, 0.9 - n / 10, 0.9 - n / 10) for n in range(4)))


@pytest.mark.parametrize(
    ("left", "step"),
    [(2 * 2 * 700, Train(0, 1, 0)), (2 * 2 * 700 - 1, Reflect(0))],
    ids=["enough", "one step short"],
)
def test_a_rung_that_the_budget_does_not_allow_is_not_begun(left, step):
    spent = Spent(env_steps=5000)
    history = with_budget(FIRST_RUNG, budget=Budget(env_steps=5000 + left + CLOSING), spent=spent)
    assert next_steps(history) == (step,)


def test_a_rung_that_has_begun_is_ended():
    half = [*FIRST_RUNG.candidates]
    half[0] = replace(half[0], runs=(*half[0].runs, a_run("0.0", 0.9, rung=1)))
    over = {"budget": Budget(env_steps=1), "spent": Spent(env_steps=2)}
    assert next_steps(with_budget(an_iteration(*half), **over)) == (Train(0, 1, 0),)
    at_work = with_budget(FIRST_RUNG, **over, claimed=frozenset({"train/0/1/0"}))
    assert next_steps(at_work) == ()  # and the iteration is not closed under its worker


def test_an_iteration_that_was_cut_short_is_reflected_upon_and_its_best_confirmed():
    over = with_budget(FIRST_RUNG, budget=Budget(seconds=1.0), spent=Spent(seconds=2.0))
    ledger = MemoryLedger(over)
    tools = toolbox(ScriptedDesigner(good), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(Reflect(0), ledger, tools, watch=lambda progress: None)
    assert ledger.facts.iterations[0].feedback.best == "0.0"
    assert next_steps(ledger.facts) == (Confirm(0), Confirm(1))
    assert confirm_arms(ledger.facts) == (NATIVE, "0.0")


UNTRAINED = an_iteration(proposed(0), rejected(1))


@pytest.mark.parametrize("native", [0, 1, 2], ids="{} of two baseline runs stored".format)
def test_a_baseline_that_is_still_being_trained_is_kept_back(native):
    runs = tuple(a_run(NATIVE, 0.2, seed=s, stage="baseline") for s in range(native))
    enough = 1000 * (2 - native) + 1 * 2 * 300 + CLOSING
    for limit, step in ((enough, Train(0, 0, 0)), (enough - 1, Reflect(0))):
        history = with_budget(UNTRAINED, budget=Budget(env_steps=limit), spent=Spent(), native=runs)
        steps = [one for one in wanted(history) if one != Baseline()]
        assert steps == ([] if step == Reflect(0) and native < 2 else [step])


def test_a_rung_that_the_budget_does_not_allow_is_told_of():
    over = with_budget(UNTRAINED, budget=Budget(env_steps=CLOSING), spent=Spent())
    ledger = MemoryLedger(over)
    tools = toolbox(ScriptedDesigner(good), PretendLaboratory(lambda arm, seed: 0.5))
    carry_out(Reflect(0), ledger, tools, watch=lambda progress: None)
    message = "The budget (env_steps) does not allow the next rung of iteration 0."
    assert ledger.events == [("log", message)]


@pytest.mark.parametrize("iterations", [1, 2], ids=["the last", "not the last"])
def test_a_job_without_a_design_says_that_its_budget_did_not_allow_to_train_one(iterations):
    spec = replace(SPEC, iterations=iterations, budget=Budget(env_steps=CLOSING))
    closed = replace(UNTRAINED, feedback=Feedback(0, "text", None))
    words = "The budget (env_steps) was used up before any candidate could be trained"
    assert no_design(a_history(closed, spec=spec)).startswith(words)


def test_a_job_without_a_design_says_that_all_were_rejected_where_the_budget_would_have_allowed_them():
    spec = replace(SPEC, iterations=1, budget=Budget(env_steps=CLOSING))
    closed = an_iteration(rejected(0), rejected(1), feedback=True)
    assert "(2 rejected by a check" in no_design(a_history(closed, spec=spec))


def slow_baseline(seconds):
    return tuple(
        replace(run, seconds=seconds)
        for run in (a_run(NATIVE, 0.2, seed=s, stage="baseline") for s in (0, 1))
    )


def test_the_time_for_the_confirmation_is_kept_back():
    # The baseline's 2,000 steps took 2 s, so that the confirmation's 6,000 will take 6 s.
    for spent, step in ((3.9, Train(0, 1, 0)), (4.1, Reflect(0))):
        history = with_budget(
            FIRST_RUNG,
            budget=Budget(seconds=10.0),
            spent=Spent(seconds=spent),
            native=slow_baseline(1.0),
        )
        assert next_steps(history) == (step,)


@pytest.mark.parametrize("limit", range(8_000, 40_000, 1_700))
def test_no_job_passes_its_environment_steps(limit):
    """Whatever the limit, and with rungs that abstain: what is trained fits."""
    spec = replace(SPEC, iterations=4, budget=Budget(env_steps=limit))
    # Where all are alike below chance everybody goes on, and a rung costs more than was planned.
    for fitness in (0.0, 0.5):
        steps = drive_counting(spec, lambda arm, seed, value=fitness: value)
        assert steps[-1][1] <= limit
        assert steps[-1][0] == "finish"


# --- the designer's budget ------------------------------------------------------------------------

PROMPT = Prompt((("system", "s" * 4_000), ("user", "u" * 4_000)))
ONE = 2_000 + COMPLETION_TOKENS
PRICES = Prices((Price("small*", 1.0, 10.0),))


def purse(prices=PRICES, spent=None, **budget):
    return Purse(Budget(**budget), spent or Spent(), prices, "small-1")


def test_questions_that_are_asked_together_do_not_spend_the_same_tokens_twice():
    shared, told = purse(tokens=3 * ONE), []
    threads = [
        threading.Thread(target=lambda: told.append(shared.set_aside(PROMPT))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (told.count(None), told.count("tokens")) == (3, 5)


def test_what_was_not_needed_is_free_again():
    shared = purse(tokens=2 * ONE)
    assert shared.set_aside(PROMPT) is None
    shared.settle(PROMPT, tokens=100, money=0.0)
    assert [shared.set_aside(PROMPT) for _ in range(2)] == [None, "tokens"]


def test_money_is_kept_together_as_well():
    cost = (2_000 * 1.0 + COMPLETION_TOKENS * 10.0) / 1e6
    shared = purse(money=2.5 * cost, spent=Spent(money=cost))
    assert [shared.set_aside(PROMPT) for _ in range(2)] == [None, "money"]


def test_a_model_without_a_price_costs_nothing():
    assert purse(Prices(), money=0.01).set_aside(PROMPT) is None


@pytest.mark.parametrize(
    "model",
    ["gpt-5", "openai/gpt-5-2025-08-07", "gpt-5-mini", "o3-2025-04-16", "gpt-4.1", "gpt-4o"],
)
def test_the_table_of_prices_knows_models_and_their_dated_versions(model):
    assert read_prices().find(model) is not None


@pytest.mark.parametrize(
    "model",
    ["gpt-5-pro", "gpt-5-pro-2025-10-06", "o3-pro", "o3-deep-research", "o4-mini-deep-research"],
)
def test_a_dear_sibling_does_not_get_the_price_of_a_cheap_model(model):
    assert read_prices().find(model) is None


def test_tokens_that_the_endpoint_did_not_tell_are_estimated():
    assert prompt_tokens(PROMPT) == 2_000
    assert counted(Usage(), PROMPT, "a" * 400) == Usage(2_000, 100)
    assert counted(Usage(7, None), PROMPT, "a" * 400) == Usage(7, 100)
    assert counted(Usage(0, 0), PROMPT, "a" * 400) == Usage(2_000, 100)
    assert counted(Usage(7, 0), PROMPT, "") == Usage(7, 0)


def proposing(budget, script=good, **changes):
    ledger = MemoryLedger(a_history(spec=a_spec(candidates=4, budget=budget)))
    designer = ScriptedDesigner(script)
    tools = replace(toolbox(designer, PretendLaboratory(lambda arm, seed: 0.5)), **changes)
    carry_out(Propose(0), ledger, tools, watch=lambda progress: None)
    return ledger, designer


def test_slots_that_cannot_be_paid_are_refused_with_the_reason_and_end_the_search():
    _, everything = proposing(Budget())
    first = prompt_tokens(everything.asked[0].prompt) + COMPLETION_TOKENS
    ledger, designer = proposing(Budget(tokens=round(2.5 * first)))
    assert 1 <= len(designer.asked) < 4
    refused = [c for c in ledger.facts.iterations[0].candidates if c.status == "rejected"]
    assert len(refused) == 4 - len(designer.asked)
    assert {c.checks[-1].rule for c in refused} == {"budget"}
    assert "budget of tokens" in refused[0].rejection
    assert budget_exhausted(ledger.facts) == "tokens"
    raised = replace(ledger.facts.spec, budget=Budget(tokens=100 * first))
    assert budget_exhausted(replace(ledger.facts, spec=raised)) is None


def test_a_question_that_was_not_paid_for_leaves_its_tokens_to_the_next_one(monkeypatch):
    monkeypatch.setattr("core.steps.CONCURRENT_ASKS", 1)
    _, everything = proposing(Budget())
    one = prompt_tokens(everything.asked[0].prompt) + COMPLETION_TOKENS

    def down(ask):
        raise DesignerUnavailable("connection refused", retry_after_seconds=30.0)

    ledger, designer = proposing(Budget(tokens=round(1.5 * one)), down)
    assert len(designer.asked) == 4
    assert ledger.facts.iterations == ()  # no slot is refused for good
    assert not ledger.reserved


def test_what_an_answer_cost_is_stored_with_it():
    ledger, _ = proposing(Budget(), prices=Prices((Price("*", 1.0, 10.0),)))
    for exchange in ledger.paid:
        usage = exchange.reply.usage
        expected = (usage.prompt_tokens + 10 * usage.completion_tokens) / 1e6
        assert exchange.money == pytest.approx(expected)
        assert expected > 0


def test_a_price_that_is_not_known_is_told_once():
    ledger, _ = proposing(Budget())
    told = [message for kind, message in ledger.events if kind == "designer.unpriced"]
    assert len(told) == 1
    assert "'script'" in told[0]


@pytest.mark.parametrize(
    ("budget", "spent", "name"),
    [
        (Budget(tokens=10), Spent(tokens=10), "tokens"),
        (Budget(money=1.0), Spent(money=1.0), "money"),
        (Budget(tokens=10, money=1.0), Spent(tokens=9, money=0.2), None),
    ],
)
def test_a_designers_budget_that_is_used_up_ends_the_search(budget, spent, name):
    assert budget_exhausted(with_budget(budget=budget, spent=spent)) == name


NEARLY = Budget(tokens=10, money=1.0)


LIMITS = {"tokens": 10, "money": 1.0}


@pytest.mark.parametrize("limits", [LIMITS, None], ids=["stored", "of an older version"])
def test_a_refused_question_names_the_budget_that_was_nearest(limits):
    unasked = replace(rejected(0), checks=(Check("budget", False, "not asked", limits),))
    history = with_budget(
        an_iteration(unasked, feedback=True), budget=NEARLY, spent=Spent(tokens=2, money=0.9)
    )
    assert budget_exhausted(history) == "money"


@pytest.mark.parametrize(
    ("budget", "name"),
    [
        (replace(NEARLY, env_steps=10**9, seconds=1e9), "money"),
        (replace(NEARLY, money=2.0), None),
        (replace(NEARLY, tokens=20), None),
    ],
)
def test_a_refusal_counts_until_a_limit_of_the_designers_is_raised(budget, name):
    unasked = replace(rejected(0), checks=(Check("budget", False, "not asked", LIMITS),))
    history = with_budget(
        an_iteration(unasked, feedback=True), budget=budget, spent=Spent(tokens=2, money=0.9)
    )
    assert budget_exhausted(history) == name
