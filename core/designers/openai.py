"""`openai`: a language model behind any endpoint that speaks the chat-completions protocol.

The retry policy is ours alone; the client library's is switched off, because two layers multiply.  What
a model answers is an outcome, however poor; that an endpoint does not answer is `DesignerUnavailable`.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from threading import Event
from typing import Any, Literal
from urllib.parse import urlsplit

from core.designers import OPENAI_URL, Deadlines
from core.designers.completion import MOST_NAME, cleaned, head, read_completion, read_json
from core.designers.endpoint import Answer, attempt
from core.errors import DesignerUnavailable, StorageFailed
from core.ports import Gate
from core.records.asking import Ask, Reply

RETRIED = frozenset({408, 409, 425, 429, 529})
UNHEARD = frozenset({408, 502, 504, *range(520, 525)})
"""What a gateway says that passed a question on and heard no answer; the model may have one."""
NO_MONEY = frozenset(
    {
        "insufficient_quota",
        "quota_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
        "insufficient_credits",
        "access_terminated",
    }
)
FILTERED = frozenset({"content_filter", "content_policy_violation", "responsibleaipolicyviolation"})
OWN_TEMPERATURE = ("gpt-5", "o1", "o3", "o4")
"""How the names of models begin that sample as they like and refuse any temperature."""
LONGEST_REST = 86_400.0
MOST_TOLD = 300  # characters of an endpoint's own words

HINTS: Mapping[int, str] = {
    400: "The endpoint does not accept the request as it is: check the model's name, and whether it "
    "takes this temperature and this length of prompt.",
    401: "The key was refused: check REWARDSMITH_OPENAI_API_KEY.",
    402: "The account has no credit left: top it up, or choose another endpoint.",
    403: "The key may not use this model: check REWARDSMITH_OPENAI_API_KEY and the model's name.",
    404: "No such model or path: check REWARDSMITH_OPENAI_MODEL (or the job's model) and "
    "REWARDSMITH_OPENAI_BASE_URL, which usually ends in /v1.",
    413: "The prompt is too long for this endpoint.",
    422: "The endpoint does not accept the request as it is: check the model's name and settings.",
}


@dataclass(slots=True)
class _Call:
    """One question on its way: when it began, at which attempt it is, and what it has met."""

    gate: Gate
    given_up: Event
    started: float
    number: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Failure:
    """An attempt without an answer: what happened, and whether and when to try again."""

    what: str
    retry: bool
    after: float | None = None
    hint: str | None = None
    refused: bool = False  # a key or an account that people must mend
    maybe_paid: bool = False  # the question went out, and no answer came back


class Open:
    """The gate of an endpoint that nobody else asks."""

    def enter(self) -> float:
        """Let every call through at once."""
        return 0.0

    def leave(self, ended: Literal["answered", "failed", "refused"]) -> None:
        """Remember nothing."""


@dataclass(frozen=True, slots=True)
class OpenAIDesigner:
    """Asks one model.  Safe to use from several threads; tests hand in `sleep`, `clock`, `chance`."""

    base_url: str = OPENAI_URL
    api_key: str | None = field(default=None, repr=False)
    model: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)
    gates: Callable[[str], Gate] | None = field(default=None, repr=False)
    sleep: Callable[[Event, float], object] = field(default=Event.wait, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    chance: Callable[[], float] = field(default=random.random, repr=False)

    @property
    def name(self) -> str:
        """Return the name under which exchanges are stored."""
        return "openai"

    def answer(self, ask: Ask) -> Reply:
        """Ask the model, with patience.

        Raises:
            DesignerUnavailable: no answer came; `retry_after_seconds` says whether waiting helps.
        """
        request = self._request(ask)
        call = _Call(self._gate(ask), ask.given_up, self.clock())
        while call.number < self.deadlines.attempts:
            call.number += 1
            self._wait_for_turn(call)
            begun = self.clock()
            answer = self._attempt_mended(ask, request, call)
            failure = _failure(answer, self.api_key or "")
            if failure is None:
                call.gate.leave("answered")
                return self._reply(request, answer, call, self.clock() - begun)
            call.gate.leave(_ended(failure))
            self._pause(failure, call)
        raise AssertionError("the last attempt either answers or raises")

    def _gate(self, ask: Ask) -> Gate:
        if self.gates is None:
            return Open()
        host = urlsplit(self.base_url).netloc.rpartition("@")[2]
        return self.gates(f"{host} {self._model(ask)}"[:200])

    def _wait_for_turn(self, call: _Call) -> None:
        """Wait until the endpoint may be asked.

        Raises:
            DesignerUnavailable: that is too long to do here, or nobody waits for the answer any more.
        """
        self._refuse_given_up(call)
        while (wait := self._entered(call)) > 0:
            left = self.deadlines.call_seconds - (self.clock() - call.started)
            if wait > min(self.deadlines.gate_seconds, left):
                turn = _Failure("it is not asked now: it failed lately, or had its calls", True)
                raise self._unavailable(turn, wait, call)
            self.sleep(call.given_up, wait)
            self._refuse_given_up(call)

    def _entered(self, call: _Call) -> float:
        """Return 0 if the endpoint may be asked now, or for how many seconds to wait.

        Raises:
            DesignerUnavailable: nobody can say; nothing was sent.
        """
        try:
            return call.gate.enter()
        except StorageFailed as error:
            unknown = _Failure(f"whether it may be asked is not known: {error}", retry=True)
            raise self._unavailable(unknown, self.deadlines.rest_seconds, call) from error

    def _refuse_given_up(self, call: _Call) -> None:
        """Send nothing that nobody would hear the answer of, and that would be paid all the same.

        Raises:
            DesignerUnavailable: the step was given up while its question waited.
        """
        if call.given_up.is_set():
            raise self._unavailable(_Failure("its step was given up", retry=True), 0.0, call)

    def _request(self, ask: Ask) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self._model(ask),
            "messages": [{"role": role, "content": text} for role, text in ask.prompt.messages],
        }
        named = self._named_temperature(ask)
        temperature = self._advised_temperature(ask) if named is None else named
        if temperature is not None:
            request["temperature"] = temperature
        if self.max_tokens is not None:
            request[self._limit_names()[0]] = self.max_tokens
        return request

    def _limit_names(self) -> tuple[str, str]:
        """Return what the limit on an answer is called here, and its other name.

        OpenAI's newer models know only the long name, most other endpoints only the short one; but
        those models are asked through other hosts too.
        """
        host = urlsplit(self.base_url).hostname or ""
        names = "max_completion_tokens", "max_tokens"
        return names if f".{host}".endswith(".api.openai.com") else names[::-1]

    def _model(self, ask: Ask) -> str:
        variant = ask.brief.variant
        return (variant.model if variant else None) or self.model

    def _named_temperature(self, ask: Ask) -> float | None:
        """Return the temperature that people named, for the arm or for the job."""
        variant = ask.brief.variant
        own = variant.temperature if variant else None
        return self.temperature if own is None else own

    def _advised_temperature(self, ask: Ask) -> float | None:
        """Return the method's advice, unless the model is known to take none."""
        name = self._model(ask).rpartition("/")[2]
        return None if name.startswith(OWN_TEMPERATURE) else ask.temperature

    def _attempt_mended(self, ask: Ask, request: dict[str, Any], call: _Call) -> Answer:
        """Attempt, and again without a setting that is refused, or with its other name."""
        answer = self._attempt(request, call.started)
        usual, other = self._limit_names()
        if self._refuses(request, answer, usual):
            call.notes.append(f"it takes no {usual}: asked with {other}")
            request[other] = request.pop(usual)
            again = self._attempt_mended(ask, request, call)
            # Where neither name helps, the limit itself is wrong: the first words say more of that.
            return answer if self._refuses(request, again, other) else again
        if self._named_temperature(ask) is None and self._refuses(request, answer, "temperature"):
            # It was advice and nobody's wish, so that asking without it breaks no word.
            advice = request.pop("temperature")
            call.notes.append(f"it takes no temperature of {advice}: asked without")
            return self._attempt_mended(ask, request, call)
        return answer

    def _refuses(self, request: Mapping[str, Any], answer: Answer, name: str) -> bool:
        """Tell whether an answer refuses a setting of the request."""
        told = _told(answer, self.api_key or "").lower()
        return name in request and answer.status in (400, 422) and name in told

    def _attempt(self, request: Mapping[str, Any], started: float) -> Answer:
        left = self.deadlines.call_seconds - (self.clock() - started)
        seconds = max(min(self.deadlines.attempt_seconds, left), 0.1)
        return attempt(request, self.base_url, self.api_key or "none", self.deadlines, seconds)

    def _pause(self, failure: _Failure, call: _Call) -> None:
        """Wait before the next attempt.

        A question that may have been answered at our cost is not sent again in the same breath: whoever
        asks counts it first, and looks whether the budget allows another one.

        Raises:
            DesignerUnavailable: waiting does not help, is too long to do here, or was done enough.
        """
        if not failure.retry:
            raise self._unavailable(failure, None, call)
        backoff = min(60.0, 2.0 ** (call.number - 1)) * (0.5 + 0.5 * self.chance())
        wait = backoff if failure.after is None else failure.after
        over = self.clock() - call.started + wait > self.deadlines.call_seconds
        last = call.number == self.deadlines.attempts or failure.maybe_paid
        if wait > self.deadlines.pause_seconds or over or last:
            rest = max(wait, failure.after or self.deadlines.rest_seconds)
            raise self._unavailable(failure, rest, call)
        call.notes.append(f"attempt {call.number}: {failure.what}; waited {wait:.1f} s")
        self.sleep(call.given_up, wait)

    def _unavailable(
        self, failure: _Failure, rest: float | None, call: _Call
    ) -> DesignerUnavailable:
        host = urlsplit(self.base_url).hostname or self.base_url
        return DesignerUnavailable(
            failure.what,
            retry_after_seconds=rest,
            maybe_paid=failure.maybe_paid,
            where=f"designer openai at {host}, attempt {call.number}",
            hint=failure.hint,
        )

    def _reply(
        self, request: Mapping[str, Any], answer: Answer, call: _Call, seconds: float
    ) -> Reply:
        secret = self.api_key or ""
        record = cleaned(dict(request), secret)
        if answer.status == 400:
            detail = _told(answer, secret) or "The endpoint's content filter refused the prompt."
            return Reply(
                "",
                "refused",
                detail,
                model=str(request["model"]),
                latency_seconds=seconds,
                request=record,
                response={"status": answer.status, "error": detail},
                notes=tuple(call.notes),
            )
        read = read_completion(answer.body, answer.cut, secret)
        return Reply(
            read.text,
            read.outcome,
            read.detail,
            model=read.model or str(request["model"]),
            request_id=_request_id(answer, secret),
            finish_reason=read.finish_reason,
            usage=read.usage,
            latency_seconds=seconds,
            request=record,
            response=read.response,
            notes=tuple(call.notes),
        )


def _request_id(answer: Answer, secret: str) -> str | None:
    told = answer.headers.get("x-request-id")
    return None if told is None else str(cleaned(told, secret))[:MOST_NAME]


def _ended(failure: _Failure) -> Literal["answered", "failed", "refused"]:
    if failure.refused:
        return "refused"
    return "failed" if failure.retry else "answered"  # it lives, and did not like the question


# --- what an answer without a completion means ------------------------------------------------


def _failure(answer: Answer, secret: str) -> _Failure | None:
    """Return why there is no completion to read; None when there is one (or a refusal)."""
    if answer.status is None:
        return _Failure(cleaned(answer.problem, secret), retry=True, maybe_paid=answer.sent)
    if 200 <= answer.status < 300:
        return None
    codes = _codes(answer, secret)
    if answer.status == 400 and codes & FILTERED:
        return None
    what = f"HTTP {answer.status}: {_told(answer, secret) or 'no reason given'}"
    if 300 <= answer.status < 400:
        hint = "Redirects are not followed: set REWARDSMITH_OPENAI_BASE_URL to the final address."
        return _Failure(what, retry=False, hint=hint)
    if answer.status == 429 and codes & NO_MONEY:
        return _Failure(what, retry=False, hint=HINTS[402], refused=True)
    if answer.status in RETRIED or answer.status >= 500:
        after = _retry_after(answer.headers)
        return _Failure(what, retry=True, after=after, maybe_paid=answer.status in UNHEARD)
    refused = answer.status in (401, 402, 403)
    return _Failure(what, retry=False, hint=HINTS.get(answer.status), refused=refused)


def _error(answer: Answer, secret: str) -> Mapping[str, Any]:
    data = read_json(answer.body, secret)
    error = data.get("error", data) if isinstance(data, Mapping) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, Mapping) else {}


def _codes(answer: Answer, secret: str) -> set[str]:
    error = _error(answer, secret)
    return {str(error.get(name) or "").lower() for name in ("code", "type")}


def _told(answer: Answer, secret: str) -> str:
    """Return the endpoint's own words, on one line."""
    message = _error(answer, secret).get("message") or head(answer.body, secret, MOST_TOLD)
    return " ".join(str(cleaned(str(message), secret)).split())[:MOST_TOLD]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a Retry-After header asks for, given as a number or as a date."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _seconds(headers.get(name), unit)
        if seconds is not None:
            return min(max(seconds, 0.0), LONGEST_REST)
    return None


def _seconds(value: str | None, unit: float) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value) * unit
        return seconds if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
