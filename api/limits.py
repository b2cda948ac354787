"""How much a stranger may send: size of a body, shape of its JSON, bounds of every number."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, TypeAlias

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
MAX_EVENT = 2**53 - 1
MAX_BUDGET_STEPS = 10**12
MAX_PLANNED_STEPS = 10**11
MAX_BUDGET_TOKENS = 10**10
MAX_BUDGET_SECONDS = 60 * 86_400.0
MAX_BUDGET_MONEY = 1e6
MIN_PROMPT_TOKENS = 4_000
MAX_DEPTH = 16
MAX_NODES = 200_000  # values in one JSON text; the longest curve has 65,000
MAX_FREE_NODES = 2_000
MAX_FREE_CHARACTERS = 64 * 1024
MAX_INTEGER = 2**53 - 1
MAX_VALUES = 50_000  # in the JSON of a body
ALGORITHMS = ("ppo", "sac", "dqn")

# `module:namespace/Name-v0`, all but the name optional, as gymnasium.make reads it.  The name has one
# letter at least; what stands before its first letter has none, so that there is one way to read it.
ENVIRONMENT_ID = (
    r"^(?:[A-Za-z_][A-Za-z0-9_.]*:)?(?:[A-Za-z0-9_-]+/)?[0-9_.-]*[A-Za-z][A-Za-z0-9_.-]*$"
)
Step: TypeAlias = str | int  # a key, or a place in a list
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


def check_json(value: object, most: int = MAX_NODES) -> object:
    """Return a parsed JSON value if it is flat, short, finite and storable; see MAX_DEPTH, MAX_INTEGER.

    Raises:
        PydanticCustomError: with the reason, and the place as `pointer`.
    """
    trail: list[Step] = []
    for count, item in enumerate(_walk(value, trail)):
        if found := _too_much(count, len(trail), most) or _unacceptable(item):
            pointer = "".join(f"/{step}" for step in trail)
            raise PydanticCustomError(
                "unacceptable", "{reason}", {"reason": found, "pointer": pointer}
            )
    return value


def too_large(value: object) -> str | None:
    """Return how large a part of a spec is whose entries are free, if that is more than it may be."""
    count = sum(1 for _ in itertools.islice(_walk(value, []), MAX_FREE_NODES + 1))
    if count > MAX_FREE_NODES:
        return f"more than {MAX_FREE_NODES:,} values and keys"
    characters = len(json.dumps(value, ensure_ascii=False))
    return f"{characters:,} characters" if characters > MAX_FREE_CHARACTERS else None


def _walk(value: object, trail: list[Step]) -> Iterator[object]:
    """Yield everything inside, keys as well, without recursion: depth and size are hostile.

    `trail` always leads to what was yielded, or for a key to its object; one pointer for each value
    would be many times as large as the values.
    """
    yield value
    stack = [_inside(value)]
    while stack:
        del trail[len(stack) - 1 :]
        step, item = next(stack[-1], (None, None))
        if step is None:
            stack.pop()
            continue
        if isinstance(step, str):
            yield step
        trail.append(step)
        yield item
        if isinstance(item, dict | list) and item:
            stack.append(_inside(item))


def _inside(value: object) -> Iterator[tuple[Step | None, object]]:
    if isinstance(value, dict):
        return iter(value.items())
    return iter(enumerate(value)) if isinstance(value, list) else iter(())


def _too_much(count: int, depth: int, most: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"expected JSON at most {MAX_DEPTH} levels deep, but it goes on below that"
    if count > most:
        return f"expected at most {most:,} values and keys in one JSON text, but there are more"
    return None


def _unacceptable(item: object) -> str | None:
    if isinstance(item, float) and not math.isfinite(item):
        return "expected a finite number, but found NaN or an infinity"
    if isinstance(item, int) and abs(item) > MAX_INTEGER:
        return f"expected an integer within ±{MAX_INTEGER}, but found a larger one"
    if isinstance(item, str) and _FORBIDDEN.search(item):
        return "expected Unicode text, but found a NUL or a lone surrogate"
    return None
