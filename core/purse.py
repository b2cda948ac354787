"""What a job may still spend on its designer, while several questions are on their way at once.

What a question will cost is known when its answer is there.  Until then an estimate of it is set
aside, so that ten questions that are asked together do not spend the last of the budget ten times.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

from core.prices import Prices
from core.records.asking import Prompt, Usage
from core.records.history import Spent
from core.records.spec import Budget

LETTERS_PER_TOKEN = 4.0
"""Of English and Python, about; tokenisers differ by a quarter."""
COMPLETION_TOKENS = 1_500
"""Of a usual answer: an analysis, a prediction and a module."""


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text has.

    >>> estimated_tokens("four")
    1
    """
    return math.ceil(len(text) / LETTERS_PER_TOKEN)


def prompt_tokens(prompt: Prompt) -> int:
    """Return about how many tokens a prompt has."""
    return sum(estimated_tokens(text) for _, text in prompt.messages)


def counted(usage: Usage, prompt: Prompt, answer: str) -> Usage:
    """Return the tokens of an exchange, estimated where the endpoint did not say them, or said none.

    Servers that do not count say 0, and by that no budget would ever be used up.
    """
    told = usage.prompt_tokens, usage.completion_tokens
    guessed = prompt_tokens(prompt), estimated_tokens(answer)
    return Usage(*(t or g for t, g in zip(told, guessed, strict=True)))


@dataclass
class Purse:
    """Tokens and money of one Propose step.  Safe to use from several threads.

    Attributes:
        budget: of the job.
        spent:  before the step began.
        prices: of models.
        model:  that is asked where a question names no other.
    """

    budget: Budget
    spent: Spent
    prices: Prices
    model: str
    _tokens: float = 0.0  # spent and set aside in this step
    _money: float = 0.0
    _wondered: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set_aside(self, prompt: Prompt, model: str | None = None) -> str | None:
        """Set aside what a question will cost; return the name of the cap that forbids it, or None."""
        tokens, money = self.expected(prompt, model)
        with self._lock:
            used = self.spent.tokens + self._tokens + tokens
            if self.budget.tokens is not None and used > self.budget.tokens:
                return "tokens"
            paid = self.spent.money + self._money + money
            if self.budget.money is not None and paid > self.budget.money:
                return "money"
            self._tokens += tokens
            self._money += money
        return None

    def settle(self, prompt: Prompt, tokens: int, money: float, model: str | None = None) -> None:
        """Put what a question has cost in the place of what was set aside for it."""
        expected, paid = self.expected(prompt, model)
        with self._lock:
            self._tokens += tokens - expected
            self._money += money - paid

    def wonder(self, model: str) -> bool:
        """Tell whether a model's unknown price is to be told of: the first time it comes up."""
        with self._lock:
            first = model not in self._wondered
            self._wondered.add(model)
        return first

    def expected(self, prompt: Prompt, model: str | None = None) -> tuple[int, float]:
        """Return about how many tokens and how much money a question will cost."""
        usage = Usage(prompt_tokens(prompt), COMPLETION_TOKENS)
        total = (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)
        return total, self.prices.money(model or self.model, usage) or 0.0
