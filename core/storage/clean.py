"""The door of the store: what may not enter a database is mended or refused here.

PostgreSQL refuses NUL and lone surrogates in text and sorts NaN above every number; SQLite turns NaN
into NULL without a word.  So text is mended (it comes from models and children, and an odd
character in the store is better than a lost reply), and a number that is not finite is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from numbers import Integral, Real
from typing import TypeAlias

from core.errors import InvalidInput

Plain: TypeAlias = bool | int | float | str | list["Plain"] | dict[str, "Plain"] | None

LARGEST_INTEGER = 2**63 - 1
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def clean_text(text: str) -> str:
    r"""Return the text with NUL and lone surrogates replaced by U+FFFD.

    >>> clean_text("a\x00b")
    'a�b'
    """
    if text.isascii() and "\x00" not in text:  # nearly all there is
        return text
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def clean_json(value: object, where: str) -> Plain:
    """Return a value as plain JSON data: clean text, finite numbers, lists and dicts.

    Args:
        value: anything made of None, bool, numbers, text, sequences, sets and mappings.
        where: how an error names the place, e.g. "runs.fitness".

    Raises:
        InvalidInput: a number is not finite or too large, or the value is not JSON data.
    """
    try:
        return _cleaned(value, "")
    except InvalidInput:
        pass
    # To write down the place of every value costs more than to clean it: it is named only where one was
    # refused.
    return _cleaned(value, where)


def _cleaned(value: object, where: str) -> Plain:
    """Do as `clean_json` does; where `where` is empty, no place is named."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean_text(value)
    # Exact types first: to ask for Mapping and Integral is slow, and every request comes through here.
    if type(value) is int and -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {clean_text(str(k)): _cleaned(v, where and f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item, where and f"{where}[{i}]") for i, item in enumerate(value)]
    return _clean_number(value, where)


def _clean_number(value: object, where: str) -> int | float:
    if isinstance(value, Integral):
        return clean_integer(int(value), where)
    if not isinstance(value, Real):
        raise InvalidInput(
            f"a {type(value).__name__}", expected="JSON data", where=clean_text(where)
        )
    return clean_float(float(value), where)


def clean_float(number: float, where: str) -> float:
    """Return the number.

    Raises:
        InvalidInput: it is NaN or infinite.
    """
    if not math.isfinite(number):
        raise InvalidInput(
            f"{number}",
            expected="a finite number",
            where=clean_text(where),
            hint="A measurement that has no value is None, or a failure with a reason.",
        )
    return number


def clean_integer(number: int, where: str) -> int:
    """Return the number.

    Raises:
        InvalidInput: it does not fit into 64 bits.
    """
    if abs(number) > LARGEST_INTEGER:
        raise InvalidInput(
            f"a number of {number.bit_length()} bits",
            expected="an integer of at most 64 bits",
            where=clean_text(where),
        )
    return number


def spell_nonfinite(value: object) -> object:
    """Return JSON data with NaN and infinities spelt out as text.

    For raw answers of a foreign endpoint only: Python's JSON reader lets them through, and an
    answer that was paid for is kept whatever it holds.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST_INTEGER:
        return hex(value)
    if isinstance(value, Mapping):
        return {key: spell_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spell_nonfinite(item) for item in value]
    return value


def clean_row(table: str, values: Mapping[str, object]) -> dict[str, object]:
    """Return the values of one row, each fit for both databases.

    Bytes and datetimes pass; everything else is treated as `clean_json` does.
    """
    return {
        name: value if isinstance(value, bytes | datetime) else clean_json(value, f"{table}.{name}")
        for name, value in values.items()
    }
