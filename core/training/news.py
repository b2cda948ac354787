"""Reading what a training child says: a process in which generated code ran, so nothing is believed.

Channels have checked every length, and that every number of a header is finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from core.records.measured import Curve
from core.sandbox.codec import BadFrame, Frame
from core.training.blame import clean
from core.training.protocol import (
    MOST_REASON_LETTERS,
    Advanced,
    Begun,
    Broken,
    Done,
    MemberDone,
    MemberFailed,
    MemberSaved,
    News,
    PackSaved,
    Snapshot,
)

MOST_POINTS = 1000
MOST_SERIES = 64
MOST_NAME_LETTERS = 80
MOST_DIGITS = 9
LARGEST = 1e300  # far from where sums overflow
MOST = 1e9  # seconds, or steps a second


def read_news(frame: Frame, members: int) -> News:
    """Read one frame of a training child, and hold it to its form.

    Args:
        frame:   from the child; every length was checked by the channel, every number is finite.
        members: how many the order named.

    Raises:
        BadFrame: the child says something that no honest child says.
    """
    header, blobs = frame.header, frame.blobs
    match header.get("kind"):
        case "begun":
            words = (_text(header, name)[:MOST_NAME_LETTERS] for name in ("adapter", "backend"))
            return Begun(*words)
        case "progress":
            return Advanced(_count(header, "done"), _positive(header, "steps_per_second"))
        case "snapshot":
            weights = {_place(name, members): blob for name, blob in blobs.items()}
            return Snapshot(_count(header, "steps"), weights)
        case "member_saved":
            curve, checkpoint = _read_state(header, blobs)
            return MemberSaved(_place(header.get("member"), members), curve, checkpoint)
        case "pack_saved":
            return PackSaved(_count(header, "steps"), _positive(header, "seconds"))
        case "member_failed":
            place, steps = _place(header.get("member"), members), _count(header, "steps")
            return MemberFailed(place, steps, _text(header, "reason"))
        case "member_done":
            curve, checkpoint = _read_state(header, blobs)
            place = _place(header.get("member"), members)
            return MemberDone(place, _count(header, "env_steps"), curve, checkpoint)
        case "done":
            return Done(_positive(header, "seconds"))
        case "broken":
            return Broken(_text(header, "error"), _text(header, "reason"))
    raise BadFrame(repr(header.get("kind"))[:80], expected="news of a training")


def _read_state(header: Mapping[str, Any], blobs: Mapping[str, bytes]) -> tuple[Curve, bytes]:
    if set(blobs) != {"checkpoint"}:
        raise BadFrame(f"blobs {sorted(blobs)[:4]}", expected="one checkpoint")
    return _read_curve(header.get("steps"), header.get("series")), blobs["checkpoint"]


def _read_curve(steps: object, series: object) -> Curve:
    if not isinstance(steps, list) or len(steps) > MOST_POINTS:
        expected = f"a list of at most {MOST_POINTS} step counts"
        raise BadFrame(_counted(steps), expected=expected)
    if not isinstance(series, dict) or len(series) > MOST_SERIES:
        raise BadFrame(_counted(series), expected=f"at most {MOST_SERIES} named series")
    read = {_series_name(name): _numbers(values) for name, values in series.items()}
    if any(len(values) != len(steps) for values in read.values()):
        raise BadFrame("series of different lengths", expected=f"{len(steps)} points each")
    return Curve(tuple(_read_count(value, "a curve's steps") for value in steps), read)


def _counted(found: object) -> str:
    return f"{len(found):,} of them" if isinstance(found, list | dict) else "something else"


def _series_name(name: str) -> str:
    """Return a name such as `component.near`: it comes into tables, charts and prompts."""
    if len(name) > MOST_NAME_LETTERS or not all(map(str.isidentifier, name.split("."))):
        raise BadFrame(repr(name)[:80], expected="identifiers with points between", where="a curve")
    return name


def _numbers(values: object) -> tuple[float, ...]:
    if not isinstance(values, list) or not all(_is_number(value) for value in values):
        raise BadFrame("something else", expected="a list of finite numbers", where="a curve")
    return tuple(float(value) for value in values)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def _count(header: Mapping[str, Any], name: str) -> int:
    return _read_count(header.get(name), name)


def _read_count(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise BadFrame(repr(value)[:80], expected="a count", where=where)
    return value


def _positive(header: Mapping[str, Any], name: str) -> float:
    value = header.get(name)
    if not _is_number(value) or not 0 <= value <= MOST:
        raise BadFrame(repr(value)[:80], expected=f"a number from 0 to {MOST:g}", where=name)
    return float(value)


def _place(value: object, members: int) -> int:
    if isinstance(value, str) and value.isdecimal() and len(value) <= MOST_DIGITS:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < members:
        raise BadFrame(repr(value)[:80], expected=f"a member from 0 to {members - 1}")
    return value


def _text(header: Mapping[str, Any], name: str) -> str:
    value = header.get(name)
    if not isinstance(value, str):
        raise BadFrame(repr(value)[:80], expected="text", where=name)
    return clean(value, MOST_REASON_LETTERS)
