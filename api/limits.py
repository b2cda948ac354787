"""How much a stranger may send: size of a body, shape of its JSON, bounds of every number."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from api.errors import printable

MAX_BODY_BYTES = 1 << 20
MAX_IMPORT_BYTES = 1 << 25
IMPORT_PATH = "/v1/jobs/import"  # the one body that may be longer
MAX_DESCRIPTION = 20_000
MAX_WORDS = 20_000
MAX_PROGRAM_CHARACTERS = 64 * 1024
MAX_STARTS = 8
MAX_ARMS = 8
MAX_LEANING = 2_000
MAX_ITERATIONS = 50
MAX_CANDIDATES = 32
MAX_STEPS = 50_000_000
MAX_SEEDS = 20
MAX_ENVS = 1_024
MAX_PACKS = 64
MAX_RUNGS = 8
MAX_EPISODES = 1_000
MAX_ROLLOUTS = 5
MAX_FIELDS = 512
MAX_FITNESS_PARTS = 8
MAX_PAGE = 100
MAX_SEED = 2**31 - 1
MAX_EVENT = 2**53 - 1
MAX_BUDGET_STEPS = 10**12
MAX_PLANNED_STEPS = 10**11
MAX_BUDGET_TOKENS = 10**10
MAX_BUDGET_SECONDS = 60 * 86_400.0
MAX_BUDGET_MONEY = 1e6
MIN_PROMPT_TOKENS = 4_000
MAX_DEPTH = 16
MAX_INTEGER = 2**53 - 1
MAX_VALUES = 50_000  # in the JSON of a body
ALGORITHMS = ("ppo", "sac", "dqn")

# `module:namespace/Name-v0`, all but the name optional, as gymnasium.make reads it.  The name has one
# letter at least; what stands before its first letter has none, so that there is one way to read it.
ENVIRONMENT_ID = (
    r"^(?:[A-Za-z_][A-Za-z0-9_.]*:)?(?:[A-Za-z0-9_-]+/)?[0-9_.-]*[A-Za-z][A-Za-z0-9_.-]*$"
)
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """Return the text if every database can keep it.

    Raises:
        ValueError: it holds a NUL or half of a surrogate pair.
    """
    if _FORBIDDEN.search(text):
        raise ValueError("expected Unicode text, but found a NUL or a lone surrogate; remove it")
    return text


Text = Annotated[str, AfterValidator(storable)]


@dataclass(frozen=True, slots=True)
class Form:
    """Text of a given form, refused in words instead of with the pattern.

    Attributes:
        pattern: regular expression that the whole text matches.
        words:   what is expected, for people.
        most:    characters; of longer text nothing else is looked at, whatever the pattern costs.
    """

    pattern: str
    words: str
    most: int = 200

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Check the form after everything else was checked."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, object]:
        """Tell the documentation the pattern."""
        return {**handler(schema), "pattern": self.pattern}

    def _check(self, text: str) -> str:
        if len(text) > self.most:
            raise ValueError(f"expected at most {self.most} characters, but found {len(text)}")
        if re.fullmatch(self.pattern, text) is None:
            raise ValueError(f"expected {self.words}, but found {printable(text, 60)!r}")
        return text


def check_body(value: object) -> object:
    """Return the JSON of a body as `check_json` does, if it has not too many values.

    Bodies are looked at where all requests are waited for, so looking must be soon over.

    Raises:
        PydanticCustomError: as there.
    """
    return check_json(value, MAX_VALUES)


def check_json(value: object, most: float = math.inf) -> object:
    """Return a parsed JSON value if it is flat, finite and storable; see MAX_DEPTH, MAX_INTEGER.

    Raises:
        PydanticCustomError: with the reason, and the place as `pointer`.
    """
    for number, (pointer, item, depth) in enumerate(_walk(value)):
        if number > most:
            raise _refusal("", f"expected at most {most} values, but there are more")
        if depth > MAX_DEPTH:
            reason = f"expected JSON at most {MAX_DEPTH} levels deep, but it goes on below that"
            raise _refusal(pointer, reason)
        if found := _unacceptable(item):
            raise _refusal(pointer, found)
    return value


def _refusal(pointer: str, reason: str) -> PydanticCustomError:
    return PydanticCustomError("unacceptable", "{reason}", {"reason": reason, "pointer": pointer})


def _walk(value: object) -> Iterator[tuple[str, object, int]]:
    """Yield (pointer, value, depth) of everything inside, without recursion: depth is hostile."""
    stack: list[tuple[str, object, int]] = [("", value, 0)]
    while stack:
        pointer, item, depth = stack.pop()
        yield pointer, item, depth
        if isinstance(item, dict):
            yield from ((pointer, key, depth) for key in item)
            stack.extend((f"{pointer}/{key}", inner, depth + 1) for key, inner in item.items())
        elif isinstance(item, list):
            stack.extend((f"{pointer}/{n}", inner, depth + 1) for n, inner in enumerate(item))


def _unacceptable(item: object) -> str | None:
    if isinstance(item, float) and not math.isfinite(item):
        return "expected a finite number, but found NaN or an infinity"
    if isinstance(item, int) and abs(item) > MAX_INTEGER:
        return f"expected an integer within ±{MAX_INTEGER}, but found a larger one"
    if isinstance(item, str) and _FORBIDDEN.search(item):
        return "expected Unicode text, but found a NUL or a lone surrogate"
    return None
