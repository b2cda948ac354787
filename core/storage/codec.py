"""Records ↔ plain data ↔ columns.

A record is written as data made of dicts, lists, text and finite numbers, and read back through its
type annotations.  Reading ignores fields that this version does not know, and fills in the defaults
of those that an older version did not write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json
from sqlalchemy import Table

from core.errors import StorageFailed
from core.storage.clean import Plain, clean_json

T = TypeVar("T")


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}  # making one costs milliseconds


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def dump(record: object) -> Plain:
    """Return a record as plain data.

    Raises:
        InvalidInput: a number is not finite, or something in it is not JSON data.
    """
    kind = type(record)
    # Python mode: JSON mode would turn NaN into null before anybody could object.
    return clean_json(_adapter(kind).dump_python(record, warnings=False), kind.__name__)


def dump_text(record: object) -> str:
    """Return a record as the JSON text of what `dump` gives, in a fraction of the time.

    Raises:
        InvalidInput: as `dump`.
    """
    data = _adapter(type(record)).dump_python(record, warnings=False)
    try:
        text = to_json(data, inf_nan_mode="constants").decode()
    except PydanticSerializationError:
        text = ""
    if text and not _DOUBTFUL.search(text):
        return text
    return json.dumps(dump(record), allow_nan=False, ensure_ascii=False)


# What `dump` mends or refuses shows in the text in one of these ways, and other things do as well.
_DOUBTFUL = re.compile(r"NaN|Infinity|\\u0000|[\x00\ud800-\udfff]|\d{19}")


def dump_record(record: object) -> dict[str, Plain]:
    """Return a record as a dict of its fields.

    Raises:
        InvalidInput: as `dump`.
    """
    data = dump(record)
    assert isinstance(data, dict)  # a dataclass always gives one
    return data


def load(kind: type[T], data: object) -> T:
    """Return the record that was written.

    Raises:
        StorageFailed: what is stored does not fit the record's annotations.
    """
    try:
        value: T = _adapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise StorageFailed(
            f"{first['msg']} at `{place}`",
            where=f"a stored {kind.__name__}",
            hint="Was it written by a newer version of the program?",
        ) from error
    return value


def to_columns(table: Table, data: Mapping[str, Plain]) -> dict[str, object]:
    """Spread a record's fields over the columns of those names; `more` takes the others."""
    columns = {name: value for name, value in data.items() if name in table.c}
    more = {name: value for name, value in data.items() if name not in table.c}
    return {**columns, "more": more}


def from_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what `to_columns` spread."""
    return {**row["more"], **row}
