"""How values, and text that others wrote, are put into words for prompts and feedback."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence

from core.records.task import Field
from core.statistics import mean, standard_error

MOST_MEANING = 300
FEWEST_FOR_AN_ERROR = 4  # of fewer values a standard error is a matter of luck
ROUNDING = 1e-12  # of the mean: equal numbers have a standard error of this size in floating point
_ANSWER_NUMBER = re.compile(r"^This is answer \d+ of \d+;.*\n*", re.MULTILINE)
# What no reader sees and a model reads: controls, marks of width and direction, separators, fillers,
# selectors of variants, and the tags that spell ASCII.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def number(value: float | None) -> str:
    """Write a number with three significant digits, without exponents where people use none.

    >>> [number(x) for x in (12345.6, 0.00012345, -0.0, 2.5, None)]
    ['12300', '0.000123', '0', '2.5', '?']
    """
    if value is None or not math.isfinite(value):
        return "?"
    if value == 0.0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    if 1e-4 <= abs(rounded) < 1e7:
        return (
            f"{rounded:.{max(digits, 0)}f}".rstrip("0").rstrip(".")
            if digits > 0
            else f"{rounded:.0f}"
        )
    return f"{value:.3g}"


def signed(value: float) -> str:
    """Write a difference with its sign."""
    return number(value) if value <= 0 else f"+{number(value)}"


def percent(share: float) -> str:
    """Write a share as a percentage of at most two digits after the point.

    >>> percent(0.253), percent(0.0004)
    ('25 %', '0.04 %')
    """
    value = 100.0 * share
    return f"{value:.0f} %" if value >= 1 or value == 0 else f"{number(value)} %"


def one_line(text: str, most: int = 160) -> str:
    """Put text on one line of at most `most` characters, without control characters.

    It is cut behind a word, unless the last one is long.
    """
    line = " ".join(_CONTROL.sub(" ", text).split())
    if len(line) <= most:
        return line
    kept = line[: most - 1]
    end = kept.rfind(" ") if line[most - 1] != " " else len(kept)
    return (kept[:end] if end > most // 2 else kept).rstrip(" ,;:") + "…"


def first_sentence(text: str, most: int = 200) -> str:
    """Return the first sentence of a text on one line.

    >>> first_sentence("A bell pays for 0.5 m. It is wide.")
    'A bell pays for 0.5 m'
    """
    first = re.split(r"(?<=[.!?])\s+(?=[A-Z`])", text.strip(), maxsplit=1)[0]
    return one_line(first.rstrip("."), most)


def spread(values: Sequence[float]) -> str:
    """Write the mean of several seeds, with the values of few and the standard error of many.

    >>> spread([0.4, 0.6]), spread([0.4]), spread([0.2, 0.2, 0.2, 0.2])
    ('0.5 (seeds 0.4, 0.6)', '0.4 (1 seed)', '0.2 ± 0 (4 seeds)')
    """
    if len(values) < 2:
        return f"{number(values[0])} (1 seed)" if values else "not measured"
    middle = mean(values)
    if len(values) < FEWEST_FOR_AN_ERROR:
        return f"{number(middle)} (seeds {', '.join(map(number, values))})"
    error = standard_error(values)
    if error <= ROUNDING * abs(middle):
        error = 0.0
    return f"{number(middle)} ± {number(error)} ({len(values)} seeds)"


def cut(text: str, most: int) -> str:
    """Cut text to at most `most` characters at the end of a line, and say so."""
    if len(text) <= most:
        return text
    kept = text[: most - 40]
    end = kept.rfind("\n")
    return (kept[:end] if end > most // 2 else kept).rstrip() + "\n(the rest was cut)"


def quoted(name: str, text: str, most: int = 20_000) -> str:
    """Fence text that others wrote as data, between lines that nothing in it looks like.

    Their mark is the text's own hash, so that the same prompt is written twice.  It has eight digits: a
    text that holds its own can be computed, so that the text may hold no mark's neighbours either.
    """
    body = cut(_CONTROL.sub(" ", text.replace("\r\n", "\n")), most).strip("\n")
    body = body.replace("<<<DATA", "<< <DATA").replace("DATA>>>", "DATA> >>")
    mark = hashlib.sha256(body.encode("utf-8", "replace")).hexdigest()[:8]
    return f"<<<DATA {name} {mark}\n{body}\n{mark} DATA>>>"


def imported_from(origin: str) -> str:
    """Say that nobody here vouches for a design; `origin` is its job's id where it was exported."""
    return (
        f"Imported from job {origin}, and neither checked nor measured here: every number, and who "
        "wrote it, is as it was told."
    )


def answer_number(number_: int, of: int) -> str:
    """Say which of several answers to one question is asked for; see `without_answer_number`."""
    return f"This is answer {number_} of {of};"


def without_answer_number(text: str) -> str:
    """Drop the paragraph that begins with `answer_number`: apart from it, slots are asked the same."""
    return _ANSWER_NUMBER.sub("", text)


def without_metric(text: str, fields: Sequence[Field]) -> str:
    """Replace the names of fields that only the metric may see by what they mean.

    All at once, and a meaning loses such names itself: "height of the torso" would show `height` again,
    and a few meanings that name each other would fill the memory.
    """
    meanings = {f.name: f.meaning for f in fields if not {"policy", "reward"} & set(f.visible)}
    if not meanings:
        return text
    names = re.compile(rf"\b(?:{'|'.join(map(re.escape, meanings))})\b")
    words = {
        name: one_line(names.sub("…", meaning), MOST_MEANING) or "a value kept for measuring"
        for name, meaning in meanings.items()
    }
    return names.sub(lambda found: f"[{words[found[0]]}]", text)
