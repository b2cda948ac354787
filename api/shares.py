"""How much of something is taken by each, so that nobody takes all of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Shares:
    """So much of something for all together, and so much for one name.

    Attributes:
        most:  for all together.
        share: for one name.
        taken: by each; who has none is not named.
    """

    most: int
    share: int
    taken: Counter[str] = field(default_factory=Counter)
    total: int = 0

    def refusal(self, name: str, amount: int = 1) -> int:
        """Return the limit that taking so much more would break, or 0."""
        if self.taken[name] + amount > self.share:
            return self.share
        return self.most if self.total + amount > self.most else 0

    def take(self, name: str, amount: int = 1) -> None:
        """Take something; whether there is enough says `refusal`."""
        self.taken[name] += amount
        self.total += amount

    def give_back(self, name: str, amount: int = 1) -> None:
        """Give back what was taken."""
        self.total -= amount
        self.taken[name] -= amount
        if not self.taken[name]:
            del self.taken[name]
