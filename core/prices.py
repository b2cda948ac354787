"""What asking a model costs: a table of prices, which people can replace by their own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path

from core.errors import InvalidInput
from core.records.asking import Usage
from core.records.spec import JobSpec

_MILLION = 1e6
_FREE = frozenset({"evolution", "replay"})  # designers that ask no model


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens, for models whose name fits the pattern (`*` for anything)."""

    model: str
    input: float
    output: float


@dataclass(frozen=True, slots=True)
class Prices:
    """A table of prices; the first that fits counts."""

    table: tuple[Price, ...] = ()

    def find(self, model: str) -> Price | None:
        """Return the price of a model, whatever stands before its last slash; None if unknown.

        >>> Prices((Price("gpt-5-20*", 1.0, 10.0),)).find("openai/gpt-5-2025-08-07").output
        10.0
        """
        names = (model.lower(), model.lower().rpartition("/")[2])
        fitting = (p for p in self.table if any(fnmatchcase(n, p.model.lower()) for n in names))
        return next(fitting, None)

    def money(self, model: str, usage: Usage) -> float | None:
        """Return what an exchange cost, in US dollars; None where the price is not known."""
        price = self.find(model)
        if price is None:
            return None
        prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
        return (price.input * prompt + price.output * completion) / _MILLION


def asked_models(spec: JobSpec, usual: str) -> tuple[str, ...]:
    """Return the models that a job may ask, each once; `usual` is asked where it names none."""
    own = spec.designer.model or usual
    named = [arm.model or own for arm in spec.arms] or [own]
    return tuple(dict.fromkeys(named))


def asks_a_model(designer: str) -> bool:
    """Tell whether a designer costs tokens."""
    return designer not in _FREE


def read_prices(path: Path | None = None) -> Prices:
    """Read a table of prices: the user's own, or the one that comes with the product.

    Raises:
        InvalidInput: the file cannot be read, or is no such table.
    """
    place = files("core") / "prices.toml" if path is None else path
    try:
        data = tomllib.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(
            str(error),
            expected="a readable TOML file",
            where=str(place),
            hint="Mend the file, or leave REWARDSMITH_PRICES out.",
        ) from error
    entries = data.get("price")
    if not isinstance(entries, list):
        raise InvalidInput(
            f"the entries {', '.join(data) or 'none'}", expected="`price = […]`", where=str(place)
        )
    return Prices(tuple(_price(entry, f"{place}, price {n}") for n, entry in enumerate(entries, 1)))


def _price(entry: object, where: str) -> Price:
    if isinstance(entry, Mapping) and set(entry) == {"model", "input", "output"}:
        numbers = [entry["input"], entry["output"]]
        sound = all(type(n) in (int, float) and 0 <= n < 1e6 for n in numbers)
        if sound and isinstance(entry["model"], str) and entry["model"]:
            return Price(entry["model"], float(numbers[0]), float(numbers[1]))
    raise InvalidInput(
        repr(entry)[:200],
        expected='{ model = "name or pattern", input = dollars, output = dollars } per million tokens',
        where=where,
    )
