"""The bandit over ways of asking: who improves gets the slots, and every worker draws alike."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from core.bandit import posteriors, variant_for, with_posteriors
from core.budgets import REFUSED
from core.loop import next_steps
from core.methods import METHODS, find_method
from core.prices import Price, Prices, asked_models
from core.records.asking import Reply, Usage
from core.records.history import History
from core.records.kinds import NATIVE
from core.records.programs import Check
from core.records.rounds import Feedback
from core.records.spec import Budget, DesignerChoice, Variant
from core.steps import carry_out
from core.toolbox import Toolbox
from core.tuning import propose_params
from tests.builders import SOURCE, a_history, a_spec, an_iteration, rejected, trained
from tests.fakes import REPLY, MemoryLedger, PretendLaboratory, ScriptedDesigner

PLAIN, BOLD = Variant("plain"), Variant("bold", model="large")
ARMS = (PLAIN, BOLD)
UNKNOWN = Prices()


def a_job(*iterations, arms=ARMS, **spec):
    return a_history(*iterations, spec=a_spec(arms=arms, **spec))


def asked(number, arm, *fitness, iteration=0, tokens=1_000, money=0.0):
    candidate = trained(number, *fitness, iteration=iteration)
    return replace(candidate, arm=arm, tokens=tokens, money=money)


def known(history):
    return {p.name: p for p in posteriors(history)}


# --- what is learnt of an arm -----------------------------------------------------------------


def test_before_anything_is_known_every_arm_has_an_even_chance():
    for posterior in posteriors(a_job()):
        assert (posterior.alpha, posterior.beta, posterior.mean) == (1.0, 1.0, 0.5)
        assert posterior.deviation == pytest.approx(12**-0.5)
        assert posterior.cost == 2.0


def test_an_improvement_beats_the_incumbent_beyond_its_standard_error():
    first = an_iteration(asked(0, "plain", 0.5, 0.5), feedback=True)
    second = an_iteration(
        asked(0, "bold", 0.6, 0.7, iteration=1),  # 0.65 ± 0.05
        asked(1, "bold", 0.2, 0.9, iteration=1),  # 0.55 ± 0.35
        asked(2, "plain", 0.5, 0.5, iteration=1),  # as good is not better
        number=1,
        feedback=True,
    )
    found = known(a_job(first, second))
    assert (found["bold"].asked, found["bold"].improved) == (2, 1)
    assert (found["plain"].asked, found["plain"].improved) == (2, 1)  # the first beat native


def test_the_incumbent_is_one_of_earlier_iterations():
    both = an_iteration(asked(0, "plain", 0.9, 0.9), asked(1, "bold", 0.5, 0.5), feedback=True)
    assert known(a_job(both))["bold"].improved == 1


def test_a_candidate_is_compared_at_the_rung_where_it_was_given_up():
    best = asked(0, "plain", 0.3, 0.3)
    climbed = replace(best, runs=(*best.runs, *trained(0, 0.9, 0.9, rung=1).runs))
    later = asked(0, "bold", 0.5, 0.5, iteration=1)
    history = a_job(
        an_iteration(climbed, feedback=True), an_iteration(later, number=1, feedback=True)
    )
    assert known(history)["bold"].improved == 1


def test_what_was_rejected_or_failed_was_paid_for():
    bad = replace(rejected(0), arm="bold", tokens=500)
    broken = asked(1, "bold", None, 0.9)
    found = known(a_job(an_iteration(bad, broken, feedback=True)))["bold"]
    assert (found.asked, found.improved, found.beta) == (2, 0, 3.0)


def test_open_iterations_and_questions_that_were_never_asked_do_not_count():
    unasked = replace(rejected(0), arm="bold", checks=(Check(REFUSED, False, "no money"),))
    given = trained(1, 0.9, 0.9)
    closed = an_iteration(unasked, given, feedback=True)
    opened = an_iteration(asked(0, "plain", 0.95, 0.95, iteration=1), number=1)
    assert {p.asked for p in posteriors(a_job(closed, opened))} == {0}


# --- what it costs ----------------------------------------------------------------------------


def test_the_dearer_of_two_equals_is_asked_less():
    def history(price):
        candidates = [asked(n, "plain", 0.5, 0.5, tokens=1_000) for n in range(4)]
        candidates += [asked(n, "bold", 0.5, 0.5, tokens=price) for n in range(4, 8)]
        return a_job(an_iteration(*candidates, feedback=True))

    def share(price):
        draws = [variant_for(history(price), n, s).name for n in range(1, 40) for s in range(8)]
        return Counter(draws)["bold"] / len(draws)

    assert share(1_000) == pytest.approx(0.5, abs=0.1)
    assert share(20_000) < 0.1


def test_cheapness_alone_does_not_win():
    """A twentieth of the price, and never an improvement: the training has to be paid all the same."""
    candidates = [asked(n, "plain", 0.1, 0.1, tokens=100) for n in range(6)]
    candidates += [asked(n, "bold", 0.5, 0.5, tokens=2_000) for n in range(6, 12)]
    history = a_job(an_iteration(*candidates, feedback=True))
    draws = Counter(variant_for(history, n, s).name for n in range(1, 40) for s in range(8))
    assert draws["bold"] > 0.9 * draws.total()


def test_money_counts_where_everything_has_a_price_and_tokens_otherwise():
    def cost(price):
        candidates = asked(0, "plain", 0.5, money=0.01), asked(1, "bold", 0.5, money=price)
        return known(a_job(an_iteration(*candidates, feedback=True)))["bold"].cost

    assert cost(0.03) == pytest.approx(1.0 + (0.02 + 0.03) / 2 / 0.02)
    assert cost(0.0) == pytest.approx(2.0)  # as many tokens as the other


# --- which arm a slot gets --------------------------------------------------------------------


def test_the_same_facts_give_the_same_arms_whoever_asks():
    history = a_job(an_iteration(asked(0, "plain", 0.5), asked(1, "bold", 0.4), feedback=True))
    again = a_job(*history.iterations)
    arms = [variant_for(history, 1, slot) for slot in range(30)]
    assert arms == [variant_for(again, 1, slot) for slot in range(30)]
    assert {arm.name for arm in arms} == {"plain", "bold"}
    other = replace(history, spec=replace(history.spec, seed=1))
    assert arms != [variant_for(other, 1, slot) for slot in range(30)]


@pytest.mark.parametrize("seed", range(5))
def test_an_arm_that_improves_more_often_wins_most_of_the_later_slots(seed):
    """Eight iterations of eight slots; one arm improves half of the time, the other hardly ever."""
    chances, chance = {"plain": 0.05, "bold": 0.5}, np.random.default_rng(seed)
    iterations, best, picked = [], 0.2, []
    for number in range(8):
        history = a_job(*iterations, seed=seed, candidates=8)
        arms = [variant_for(history, number, slot).name for slot in range(8)]
        picked.append(arms)
        lifts = [0.01 if chance.random() < chances[arm] else -0.05 for arm in arms]
        iterations.append(
            an_iteration(
                *(
                    asked(n, arm, best + lift, best + lift, iteration=number)
                    for n, (arm, lift) in enumerate(zip(arms, lifts, strict=True))
                ),
                number=number,
                feedback=True,
            )
        )
        best += max(0.0, *lifts)
    later = Counter(arm for arms in picked[4:] for arm in arms)
    assert later["bold"] > 0.7 * later.total()


# --- what it changes in a job -----------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_without_arms_nothing_changes(method):
    history = a_history(spec=a_spec(method=method, candidates=6))
    for brief in find_method(method).briefs(history):
        assert brief.variant is None
    feedback = Feedback(0, "text", None, data={"a": 1})
    assert with_posteriors(history, feedback) is feedback


@pytest.mark.parametrize("method", METHODS)
def test_every_method_passes_on_what_an_arm_leans_to(method):
    leaning = "Prefer potentials whose difference is paid."
    arms = (Variant("one", leaning=leaning), Variant("two", leaning=leaning))
    history = a_job(arms=arms, method=method)
    briefs = find_method(method).briefs(history)
    for brief in briefs:
        prompt = find_method(method).render(brief)
        assert leaning in "\n".join(text for _, text in prompt.messages)


def test_a_short_feedback_tells_its_beginning_alone():
    long = Feedback(0, "first\n" + "more\n" * 2_000, best="0.0")
    first = replace(an_iteration(trained(0, 0.5, 0.5)), feedback=long)
    short = (Variant("a", feedback="short"), Variant("b", feedback="short"))
    brief, *_ = find_method("smith").briefs(a_job(first, arms=short))
    assert brief.feedback.text.startswith("first\n")
    assert len(brief.feedback.text) <= 3_000
    whole, *_ = find_method("smith").briefs(a_job(first))
    assert whole.feedback == long


def run(arms, script, prices=UNKNOWN, **spec):
    asks = DesignerChoice("openai", model="small")
    ledger = MemoryLedger(History(a_spec(arms=arms, designer=asks, **spec), status="running"))
    designer = ScriptedDesigner(script, name="openai")
    laboratory = PretendLaboratory(lambda arm, seed: 0.2 if arm == NATIVE else 0.5)
    tools = Toolbox(
        designer=lambda spec: designer,
        laboratory=laboratory,
        held_out=lambda job, iteration, rung, n: tuple(range(n)),
        tuner=propose_params,
        prices=prices,
        model="usual",
    )
    while steps := next_steps(ledger.facts):
        carry_out(steps[0], ledger, tools, watch=lambda progress: None)
    return ledger, designer


def good(ask):
    near = 1.0 + ask.slot / 10 + ask.iteration
    source = SOURCE.replace('"near": 1.0', f'"near": {near}')
    model = (ask.brief.variant.model if ask.brief.variant else None) or "small"
    usage = Usage(3_000, 1_000)
    return Reply(REPLY.format(source=source), model=model, usage=usage)


def test_candidates_name_their_arm_and_what_their_questions_cost():
    prices = Prices((Price("small", 1.0, 1.0), Price("large", 10.0, 10.0)))
    ledger, designer = run(ARMS, good, prices, candidates=6)
    arms = {(ask.iteration, ask.slot): ask.brief.variant.name for ask in designer.asked}
    questions = Counter((ask.iteration, ask.slot) for ask in designer.asked)
    dollars = {"plain": 0.004, "bold": 0.04}
    for iteration in ledger.facts.iterations:
        for candidate in iteration.candidates:
            slot = (candidate.iteration, candidate.number)
            arm, times = arms.get(slot), questions[slot]
            assert candidate.arm == arm  # None where nobody was asked: numbers were tuned
            assert candidate.money == pytest.approx(dollars.get(arm, 0.0) * times)
            assert candidate.tokens == 4_000 * times
    assert set(arms.values()) == {"plain", "bold"}


def test_an_iterations_feedback_holds_what_it_teaches_of_the_arms():
    ledger, _ = run(ARMS, good, candidates=6)
    first = ledger.facts.iterations[0]
    told = first.feedback.data["arms"]
    assert [arm["name"] for arm in told] == ["plain", "bold"]
    assert sum(arm["asked"] for arm in told) == 6
    assert sum(arm["improved"] for arm in told) == 6  # better than native, all of them
    json.dumps(told, allow_nan=False)


def test_a_repair_is_counted_with_its_slot():
    def once_broken(ask):
        return good(ask) if ask.attempt else replace(good(ask), text="no code at all")

    ledger, _ = run(ARMS, once_broken, iterations=1)
    assert {c.tokens for c in ledger.facts.iterations[0].candidates} == {8_000}


def test_a_cap_on_money_thinks_of_the_model_that_an_arm_asks():
    dear = (Variant("a", model="large"), Variant("b", model="large"))
    prices = Prices((Price("small", 0.0, 0.0), Price("large", 1e5, 1e5)))
    ledger, designer = run(dear, good, prices, budget=Budget(money=1.0))
    assert not designer.asked
    assert all(c.checks[0].rule == REFUSED for c in ledger.facts.iterations[0].candidates)


def test_the_models_of_a_job_are_those_of_its_arms():
    spec = a_spec(designer=DesignerChoice("openai", model="small"))
    assert asked_models(spec, "usual") == ("small",)
    assert asked_models(replace(spec, arms=ARMS), "usual") == ("small", "large")
    assert asked_models(a_spec(arms=ARMS), "usual") == ("usual", "large")


@pytest.mark.parametrize(
    ("method", "advised"), [("smith", {"seed": 0.9, "refine": 0.6}), ("eureka", {})]
)
def test_a_method_advises_a_temperature_by_operator(method, advised):
    _, designer = run((), good, method=method)
    assert {ask.brief.operator for ask in designer.asked} >= {"seed", "refine"}
    for ask in designer.asked:
        assert ask.temperature == advised.get(ask.brief.operator)
