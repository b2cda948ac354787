"""Read the body of a chat completion: what kind of answer it is, and its text.  Secrets are blanked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from core.records.asking import Usage
from core.records.kinds import Json, ReplyOutcome

BLANK = "[key]"
SHORTEST_SECRET = (
    8  # below that it is a placeholder for an endpoint without keys, and part of many words
)
MOST_TEXT = 256 * 1024  # characters of a reply that are kept; a program has at most 64 KB
MOST_RAW = 1024 * 1024  # bytes of a raw response that are kept whole
MOST_TOKENS = 10**9  # of one answer; an endpoint that says more counts wrongly
MOST_DETAIL = 2_000  # characters of a refusal; it is told in events, and to the designer
MOST_NAME = 200  # of a model, of a request, of why an answer ended
HEAD = 4_000


@dataclass(frozen=True, slots=True)
class Completion:
    """A completion, read.  `response` is the body, for the record."""

    outcome: ReplyOutcome
    text: str = ""
    detail: str = ""
    model: str = ""
    finish_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    response: Json = field(default_factory=dict)


def read_completion(body: bytes, cut: bool, secret: str) -> Completion:
    """Read a body that came with status 200; whatever it is, it is an outcome.

    Args:
        body:   the bytes.
        cut:    whether there were more of them than we read.
        secret: blanked wherever it occurs.
    """
    data = None if cut else read_json(body, secret)
    choice = _first(data.get("choices")) if isinstance(data, Mapping) else None
    message = choice.get("message") if choice is not None else None
    if data is None or choice is None or not isinstance(message, Mapping):
        return _garbage(body, cut, data, secret)
    finish = choice.get("finish_reason")
    text = _text(message.get("content"))[:MOST_TEXT]
    refusal = _text(message.get("refusal"))
    outcome, detail = _outcome(text, refusal, finish)
    return Completion(
        outcome=outcome,
        text=text,
        detail=detail[:MOST_DETAIL],
        model=str(data.get("model") or "")[:MOST_NAME],
        finish_reason=finish[:MOST_NAME] if isinstance(finish, str) else None,
        usage=_usage(data.get("usage")),
        response=data if len(body) <= MOST_RAW else _shortened(body, secret),
    )


def _outcome(text: str, refusal: str, finish: object) -> tuple[ReplyOutcome, str]:
    if refusal or finish == "content_filter":
        return "refused", refusal or "The endpoint's content filter held the answer back."
    if finish == "length":
        return "truncated", "The answer reached the endpoint's length limit."
    if not text.strip():
        return "empty", ""
    return "answered", ""


def _garbage(body: bytes, cut: bool, data: object, secret: str) -> Completion:
    if cut:
        detail = f"The body is longer than {len(body)} bytes."
    elif data is None:
        detail = "The body is not JSON."
    else:
        detail = "The JSON has no choices[0].message."
    return Completion("garbage", detail=detail, response=_shortened(body, secret))


def _shortened(body: bytes, secret: str) -> Json:
    return {"body": head(body, secret, HEAD), "bytes": len(body)}


def head(body: bytes, secret: str, most: int) -> str:
    """Return the beginning of a body as text, cut after blanking: nobody finds half a key."""
    return str(cleaned(body.decode("utf-8", "replace"), secret))[:most]


def read_json(body: bytes, secret: str) -> Any:
    """Return parsed JSON without secrets and unstorable characters; None if it is none."""
    try:
        return cleaned(json.loads(body, parse_constant=_no_constant), secret)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")  # PostgreSQL would refuse it


def cleaned(value: Any, secret: str) -> Any:
    """Blank a secret, and replace NUL and lone surrogates, which databases refuse, at any depth.

    A key such as `x`, with which people ask endpoints of their own, is none: blanked, it would spoil
    every program that holds the letter.
    """
    if isinstance(value, str):
        text = value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
        secret = secret.strip()  # a newline at its end would be told in another way, and not found
        return text.replace(secret, BLANK) if len(secret) >= SHORTEST_SECRET else text
    if isinstance(value, Mapping):
        return {cleaned(key, secret): cleaned(item, secret) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [cleaned(item, secret) for item in value]
    return value


def _first(choices: object) -> Mapping[str, Any] | None:
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        return choices[0]
    return None


def _text(content: object) -> str:
    """Return a message's text; some endpoints send it in parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def _usage(told: object) -> Usage:
    if not isinstance(told, Mapping):
        return Usage()
    prompt, completion = _count(told.get("prompt_tokens")), _count(told.get("completion_tokens"))
    total = _count(told.get("total_tokens"))
    if prompt is not None and total is not None and total > prompt:
        # Some endpoints count what a model thinks in the total alone, and it is paid as its answer.
        completion = max(completion or 0, total - prompt)
    return Usage(prompt, completion)


def _count(value: object) -> int | None:
    """Return a number of tokens; None, which is estimated, for what cannot be one."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MOST_TOKENS else None
