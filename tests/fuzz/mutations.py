"""Inputs for parsers: sound ones, spoilt in the ways in which strangers and accidents spoil them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

INTERESTING = (0, 1, 7, 8, 127, 128, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
TOKENS = (
    *("```", "```python\n", "~~~", "````", "<think>", "</think>", "Prediction:", "def reward("),
    *(
        "def features(",
        "return {",
        "lambda",
        "import os",
        "\\u0000",
        "\\ud800",
        "NaN",
        "1e999",
        "-0",
    ),
    *("\x00", "\ud800", "\udfff", "\u202e", "\u2028", "\r\n", "\r", "\t", '"""', "'''", "#", "\\"),
    *("{", "}", "[", "]", "(", ")", ":", ",", '"', "{}", "[]", "null", "é", "\U0001f600", "\ufeff"),
    *("*" * 40, "_" * 40, " " * 200, "\n" * 50, "(" * 80, "9" * 400),
)


def texts(sound: Sequence[str], seed: int, count: int) -> Iterator[str]:
    """Yield so many texts, the same for the same seed: sound, spoilt, spliced, or made of tokens."""
    chance = random.Random(seed)
    ways: tuple[Callable[[str], str], ...] = (
        lambda text: text,
        lambda text: _spoil_text(text, chance),
        lambda text: _spoil_text(_spoil_text(text, chance), chance),
        lambda text: text[: chance.randrange(len(text) + 1)],
        lambda text: _splice(text, chance.choice(sound), chance),
        lambda _: "".join(chance.choices(TOKENS, k=chance.randrange(40))),
        lambda _: "".join(chr(_any_point(chance)) for _ in range(chance.randrange(60))),
    )
    for _ in range(count):
        yield chance.choice(ways)(chance.choice(sound))


def blobs(sound: Sequence[bytes], seed: int, count: int) -> Iterator[bytes]:
    """Yield so many strings of bytes, the same for the same seed."""
    chance = random.Random(seed)
    ways: tuple[Callable[[bytes], bytes], ...] = (
        lambda data: data,
        lambda data: _flip(data, chance),
        lambda data: _number(data, chance),
        lambda data: _token(data, chance),
        lambda data: _number(_token(data, chance), chance),
        lambda data: data[: chance.randrange(len(data) + 1)],
        lambda data: data + chance.randbytes(chance.randrange(1, 40)),
        lambda data: _splice(data, chance.choice(sound), chance),
        lambda _: chance.randbytes(chance.randrange(80)),
    )
    for _ in range(count):
        yield chance.choice(ways)(chance.choice(sound))


def _any_point(chance: random.Random) -> int:
    return chance.choice(
        (chance.randrange(128), chance.randrange(0x3000), chance.randrange(0x110000))
    )


def _spoil_text(text: str, chance: random.Random) -> str:
    start = chance.randrange(len(text) + 1)
    stop = min(len(text), start + chance.randrange(12))
    return text[:start] + "".join(chance.choices(TOKENS, k=chance.randrange(3))) + text[stop:]


def _splice(one: str | bytes, other: str | bytes, chance: random.Random) -> str | bytes:
    return one[: chance.randrange(len(one) + 1)] + other[chance.randrange(len(other) + 1) :]  # type: ignore[operator]


def _flip(data: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        if spoilt:
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    return bytes(spoilt)


def _number(data: bytes, chance: random.Random) -> bytes:
    """Put a length or offset where it hurts, mostly near the beginning."""
    size = chance.choice((4, 8))
    number = (chance.choice(INTERESTING) % 2 ** (8 * size)).to_bytes(size, "little")
    place = chance.randrange(chance.choice((17, len(data) + 1)))
    return data[:place] + number + data[place + size :]


def _token(data: bytes, chance: random.Random) -> bytes:
    """Change a digit, a bracket or a word of the JSON inside."""
    place = chance.randrange(len(data) + 1)
    token = chance.choice((*TOKENS, *map(str, INTERESTING), "-1", "1.5", "F64", "I64", "BOOL"))
    width = chance.choice((0, 1, len(token)))
    return data[:place] + token.encode(errors="surrogatepass") + data[place + width :]
