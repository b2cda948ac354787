"""What a job will cost, before it is started: environment steps, questions, tokens, money, time.

Everything here is at most what the plan needs, but for tokens, which are a guess: what a model will
answer nobody knows.
"""

from __future__ import annotations

from core.budgets import closing_cost, planned_cost
from core.methods import find_method
from core.packs import UNKNOWN_CORES
from core.prices import Prices, asked_models, asks_a_model
from core.purse import COMPLETION_TOKENS, prompt_tokens
from core.records.asking import Usage
from core.records.history import History
from core.records.measured import Preflight
from core.records.spec import JobSpec

FEEDBACK_TOKENS = 4_000
"""That a later prompt has beyond the first: a program, and what was measured."""
REPAIRED = 0.3
"""Share of the questions that have to be asked once more."""


def before_start(spec: JobSpec, prices: Prices, model: str) -> dict[str, object]:
    """Say what a job will cost, by its request alone.

    Args:
        spec:   the request.
        prices: of models.
        model:  that is asked where the request names none.

    Returns:
        env_steps, asks, tokens, money (None where the price is not known), seconds (None: what a step
        takes is measured by the preflight), and `notes` on what was assumed.
    """
    usage = expected_usage(spec)
    tokens = (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)
    asked = asks_a_model(spec.designer.name)
    models = asked_models(spec, model)
    paid = {name: prices.money(name, usage) for name in models} if asked else {}
    unknown = [name for name, dollars in paid.items() if dollars is None]
    # Of several arms the dearest, as if it were asked alone: nobody knows which will win.
    money = None if unknown else max((d for d in paid.values() if d is not None), default=0.0)
    notes = [
        "The time is known after the preflight, which measures the environment on your machine."
    ]
    if asked:
        notes.append(
            f"Tokens assume answers of {COMPLETION_TOKENS:,}, {FEEDBACK_TOKENS:,} of feedback in later "
            f"prompts, and a repair for {REPAIRED:.0%} of the answers."
        )
    notes += [
        f"The price of the model {name!r} is not known; see REWARDSMITH_PRICES." for name in unknown
    ]
    if len(paid) > 1:
        notes.append("Money is that of the arm with the dearest model, if it were always asked.")
    return {
        "env_steps": planned_cost(spec),
        "asks": _asks(spec),
        "tokens": tokens,
        "money": money,
        "seconds": None,
        "notes": notes,
    }


def expected_usage(spec: JobSpec) -> Usage:
    """Return the tokens that a job's questions and answers will have, by its first prompt."""
    if not asks_a_model(spec.designer.name):
        return Usage(0, 0)
    method = find_method(spec.method)
    first = sum(prompt_tokens(method.render(brief)) for brief in method.briefs(History(spec)))
    later = (spec.iterations - 1) * (first + spec.candidates * FEEDBACK_TOKENS)
    again = 1.0 + REPAIRED
    return Usage(round(again * (first + later)), round(again * _asks(spec) * COMPLETION_TOKENS))


def _asks(spec: JobSpec) -> int:
    return spec.iterations * spec.candidates if asks_a_model(spec.designer.name) else 0


def after_preflight(spec: JobSpec, found: Preflight) -> dict[str, object]:
    """Say what a job will cost, by what was measured: environment steps, questions and seconds.

    Seconds are those of stepping and learning; measuring, and the designer's thinking, come on top.
    `stepping_seconds` are those of stepping alone.
    """
    env_steps = planned_cost(spec)
    stepping = found.stepping_seconds or 1.0 / max(found.steps_per_second, 1e-9)
    at_once = max(1, found.at_once or UNKNOWN_CORES)
    return {
        "env_steps": env_steps,
        "closing_env_steps": closing_cost(spec),
        "stepping_seconds": round(env_steps * stepping, 1),
        "seconds": round(env_steps * (stepping + found.learning_seconds) / at_once, 1),
        "asks": _asks(spec),
    }
