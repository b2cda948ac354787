"""The `openai` designer against a real HTTP server on loopback that misbehaves on purpose."""

import gzip
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from core.designers import Deadlines
from core.designers.completion import read_completion
from core.designers.endpoint import Answer
from core.designers.openai import OpenAIDesigner
from core.errors import DesignerUnavailable, StorageFailed
from core.records.asking import Ask, Brief, Prompt, Usage
from core.records.spec import Variant
from core.records.task import Task

pytestmark = pytest.mark.slow  # deadlines and retries of a real server are waited for

KEY = "sk-very-secret-0123456789"
PROMPT = Prompt((("system", "Be brief."), ("user", "Write a reward.")))
ASK = Ask(0, 0, 0, Brief(Task("t", "E-v0", "d"), 0, 0, "seed", "replace", 1), PROMPT)


def completion(content="fine", finish="stop", **message):
    return json.dumps(
        {
            "id": "c1",
            "model": "tiny-1",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish,
                    "message": {"role": "assistant", "content": content, **message},
                }
            ],
            "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
        }
    ).encode()


def error(code, message="no", kind=None):
    return json.dumps({"error": {"message": message, "code": code, "type": kind}}).encode()


class Script:
    """What the server does with each request in turn; the last entry is for all that follow."""

    def __init__(self, *acts):
        self.acts = list(acts)
        self.requests = []

    def next(self):
        return self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]


def send(status, body=b"", **headers):
    def act(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return act


def reset(handler):
    """Close the connection hard, so that the client sees a reset."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    handler.connection.close()


def drip(handler):
    """Send a byte now and then, always sooner than any time-out of a single read."""
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.closing.wait(0.05):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def hang(handler):
    handler.server.closing.wait(30)


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.closing.is_set():
        handler.wfile.write(b"x" * 65536)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.script.requests.append((self.path, headers, json.loads(body)))
        with suppress(BrokenPipeError, ConnectionResetError):  # the client had enough
            self.server.script.next()(self)
        self.close_connection = True

    def finish(self):
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_):
        pass


@contextmanager
def serving(*acts):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.script, server.closing = Script(*acts), threading.Event()
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Sleeper:
    """A clock that only sleeping moves, so that no test waits."""

    def __init__(self):
        self.now = 0.0
        self.naps = []

    def sleep(self, given_up, seconds):
        self.naps.append(seconds)
        self.now += seconds

    def clock(self):
        return self.now


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)


def designer(server, sleeper=None, **settings):
    sleeper = sleeper or Sleeper()
    return OpenAIDesigner(
        base_url=f"http://127.0.0.1:{server.server_address[1]}/v1",
        api_key=settings.pop("api_key", KEY),
        model="tiny",
        deadlines=settings.pop("deadlines", Deadlines(attempt_seconds=5.0)),
        sleep=sleeper.sleep,
        clock=sleeper.clock,
        chance=lambda: 1.0,
        **settings,
    )


# --- answers ----------------------------------------------------------------------------------


def test_an_answer_comes_with_its_model_tokens_and_raw_exchange():
    with serving(send(200, completion("here"), x_request_id="req-7")) as server:
        reply = designer(server, temperature=0.5, max_tokens=900).answer(ASK)
    path, headers, body = server.script.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert body == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Write a reward."},
        ],
        "temperature": 0.5,
        "max_tokens": 900,
    }
    assert (reply.text, reply.outcome, reply.model) == ("here", "answered", "tiny-1")
    assert (reply.request_id, reply.finish_reason) == ("req-7", "stop")
    assert reply.usage == Usage(12, 3)
    assert reply.request == body
    assert reply.response["choices"][0]["message"]["content"] == "here"


def test_settings_that_nobody_made_are_not_sent():
    with serving(send(200, completion())) as server:
        designer(server).answer(ASK)
    assert set(server.script.requests[0][2]) == {"model", "messages"}


def test_an_arm_names_its_model_and_its_temperature():
    arm = Variant("bold", model="large", temperature=1.2)
    ask = replace(ASK, brief=replace(ASK.brief, variant=arm), temperature=0.6)
    with serving(send(200, completion())) as server:
        designer(server, temperature=0.5).answer(ask)
        designer(server, temperature=0.5).answer(
            replace(ask, brief=replace(ask.brief, variant=Variant("plain")))
        )
    sent = [(body["model"], body["temperature"]) for _, _, body in server.script.requests]
    assert sent == [("large", 1.2), ("tiny", 0.5)]


def test_the_methods_advice_is_followed_where_nobody_named_a_temperature():
    with serving(send(200, completion())) as server:
        reply = designer(server).answer(replace(ASK, temperature=0.6))
        replace(designer(server), model="vendor/gpt-5-mini").answer(replace(ASK, temperature=0.6))
    assert reply.request["temperature"] == 0.6
    assert "temperature" not in server.script.requests[1][2]  # it would refuse any


REFUSED = send(400, error("unsupported_value", "'temperature' does not support 0.6.", "invalid"))


def test_a_model_that_takes_no_temperature_is_asked_without_the_advice():
    sleeper = Sleeper()
    with serving(REFUSED, send(200, completion())) as server:
        reply = designer(server, sleeper).answer(replace(ASK, temperature=0.6))
    assert ["temperature" in body for _, _, body in server.script.requests] == [True, False]
    assert "temperature" not in reply.request
    assert any("no temperature of 0.6" in note for note in reply.notes)


def test_a_temperature_that_somebody_named_is_not_dropped_in_silence():
    with serving(REFUSED) as server, pytest.raises(DesignerUnavailable, match="does not support"):
        designer(server, temperature=0.6).answer(ASK)
    assert len(server.script.requests) == 1


NO_SHORT_NAME = send(
    400,
    error(
        "unsupported_parameter",
        "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.",
    ),
)


def test_a_model_that_knows_the_limit_by_its_other_name_is_asked_with_that():
    with serving(NO_SHORT_NAME, send(200, completion())) as server:
        reply = designer(server, max_tokens=900).answer(ASK)
    assert "max_tokens" not in reply.request
    assert reply.request["max_completion_tokens"] == 900
    assert any("no max_tokens" in note for note in reply.notes)


@pytest.mark.parametrize("acts", [(NO_SHORT_NAME, REFUSED), (REFUSED, NO_SHORT_NAME)])
def test_a_model_that_refuses_one_setting_after_the_other_is_asked_in_the_end(acts):
    with serving(*acts, send(200, completion())) as server:
        reply = designer(server, max_tokens=900).answer(replace(ASK, temperature=0.6))
    assert set(reply.request) == {"model", "messages", "max_completion_tokens"}


def test_a_limit_that_is_too_high_under_either_name_is_told_in_the_first_words():
    acts = [
        send(400, error("invalid", "max_tokens is too large: at most 8192.")),
        send(400, error("invalid", "Unknown parameter max_completion_tokens.")),
    ]
    with serving(*acts) as server, pytest.raises(DesignerUnavailable, match="at most 8192"):
        designer(server, max_tokens=16_000).answer(ASK)
    assert len(server.script.requests) == 2


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://eu.api.openai.com/v1", "max_completion_tokens"),
        ("https://notapi.openai.com.example/v1", "max_tokens"),
        ("http://127.0.0.1:8000/v1", "max_tokens"),
    ],
)
def test_hosts_of_openai_are_asked_by_the_limits_long_name(monkeypatch, address, name):
    asked = []

    def answers(body, *_):
        asked.append(body)
        return Answer(200, completion())

    monkeypatch.setattr("core.designers.openai.attempt", answers)
    OpenAIDesigner(address, KEY, "tiny", max_tokens=900).answer(ASK)
    assert asked[0][name] == 900


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        pytest.param(
            {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 515},
            Usage(12, 503),
            id="thoughts in the total alone",
        ),
        pytest.param(
            {"prompt_tokens": 12, "completion_tokens": 503, "total_tokens": 515},
            Usage(12, 503),
            id="thoughts in both",
        ),
        pytest.param({"prompt_tokens": 12, "total_tokens": 515}, Usage(12, 503), id="no answer's"),
        pytest.param(
            {"completion_tokens": 3, "total_tokens": 515}, Usage(None, 3), id="no prompt's"
        ),
        pytest.param(
            {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 0},
            Usage(12, 3),
            id="a total that is none",
        ),
    ],
)
def test_what_a_model_thinks_is_counted_where_only_the_total_tells_it(usage, counted):
    body = json.loads(completion()) | {"usage": usage}
    with serving(send(200, json.dumps(body).encode())) as server:
        assert designer(server).answer(ASK).usage == counted


@pytest.mark.parametrize("tokens", [10**9 + 1, 2**62, 2**70, -1, 1.5, True, "12"])
def test_a_number_of_tokens_that_can_be_none_stays_unknown(tokens):
    for name, known in (("prompt_tokens", Usage(None, 3)), ("completion_tokens", Usage(12, None))):
        usage = {"prompt_tokens": 12, "completion_tokens": 3, name: tokens}
        body = json.dumps(json.loads(completion()) | {"usage": usage}).encode()
        assert read_completion(body, cut=False, secret=KEY).usage == known


def test_missing_usage_stays_unknown():
    body = json.loads(completion())
    del body["usage"]
    with serving(send(200, json.dumps(body).encode())) as server:
        assert designer(server).answer(ASK).usage == Usage(None, None)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        pytest.param(completion("def rew", finish="length"), "truncated", id="cut off"),
        pytest.param(completion("", finish="length"), "truncated", id="thought until the limit"),
        pytest.param(completion("  \n"), "empty", id="blank"),
        pytest.param(completion(None), "empty", id="null"),
        pytest.param(completion(None, refusal="I will not."), "refused", id="refusal field"),
        pytest.param(completion("", finish="content_filter"), "refused", id="content filter"),
        pytest.param(
            completion([{"type": "text", "text": "in "}, {"text": "parts"}]), "answered", id="parts"
        ),
        pytest.param(b"<html>maintenance</html>", "garbage", id="HTML"),
        pytest.param(b'{"choices": []}', "garbage", id="no choice"),
        pytest.param(b'{"choices": [{"message": "hello"}]}', "garbage", id="no message"),
        pytest.param(b"[1, 2]", "garbage", id="a list"),
        pytest.param(b'{"choices": NaN}', "garbage", id="NaN"),
        pytest.param(b"[" * 100_000, "garbage", id="nested without end"),
        pytest.param(b"\xff\xfe\x00", "garbage", id="no UTF-8"),
        pytest.param(b"", "garbage", id="nothing"),
    ],
)
def test_every_kind_of_completion_is_an_outcome(body, outcome):
    with serving(send(200, body)) as server:
        reply = designer(server).answer(ASK)
    assert reply.outcome == outcome
    assert len(server.script.requests) == 1  # what was paid for is not asked again
    json.dumps(asdict(reply), allow_nan=False).encode()  # storable as it is


def test_what_an_endpoint_says_beside_its_answer_is_short():
    body = json.loads(completion(finish="f" * 5_000, refusal="no " * 5_000)) | {
        "model": "m" * 5_000
    }
    with serving(send(200, json.dumps(body).encode(), x_request_id="r" * 5_000)) as server:
        reply = designer(server).answer(ASK)
    assert len(reply.detail) == 2_000
    assert {len(reply.model), len(reply.request_id), len(reply.finish_reason)} == {200}


def test_characters_that_databases_refuse_are_replaced():
    body = completion("nul \x00 and half a pair \ud800")
    with serving(send(200, body)) as server:
        reply = designer(server).answer(ASK)
    reply.text.encode("utf-8")
    assert "\x00" not in reply.text + json.dumps(reply.response, ensure_ascii=False)


def test_a_refused_prompt_is_an_outcome_too():
    with serving(send(400, error("content_filter", "The prompt was filtered."))) as server:
        reply = designer(server).answer(ASK)
    assert (reply.outcome, reply.detail) == ("refused", "The prompt was filtered.")


def test_many_threads_may_ask_at_once():
    with serving(send(200, completion("here"))) as server, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(designer(server).answer, [ASK] * 16))
    assert {reply.text for reply in replies} == {"here"}
    assert len(server.script.requests) == 16


# --- patience ---------------------------------------------------------------------------------


def test_a_busy_endpoint_is_asked_again_when_it_says():
    sleeper = Sleeper()
    with serving(
        send(429, error("rate_limit"), Retry_After="7"), send(200, completion())
    ) as server:
        reply = designer(server, sleeper).answer(ASK)
    assert reply.outcome == "answered"
    assert sleeper.naps == [7.0]
    assert "429" in reply.notes[0]


@pytest.mark.parametrize("status", [409, 425, 429, 500, 503, 529])
def test_a_passing_trouble_is_tried_again(status):
    with serving(send(status, error("x")), send(200, completion())) as server:
        assert designer(server).answer(ASK).outcome == "answered"


def test_a_burst_of_trouble_is_waited_out_with_growing_pauses():
    sleeper = Sleeper()
    with serving(*[send(500)] * 4, send(200, completion())) as server:
        assert designer(server, sleeper).answer(ASK).outcome == "answered"
    assert sleeper.naps == [1.0, 2.0, 4.0, 8.0]


def test_five_attempts_are_enough():
    with (
        serving(send(500)) as server,
        pytest.raises(DesignerUnavailable, match="HTTP 500") as caught,
    ):
        designer(server).answer(ASK)
    assert len(server.script.requests) == 5
    assert caught.value.retry_after_seconds >= 60.0


def test_nobody_listening_is_unavailable_for_now():
    with serving(send(200)) as server:
        pass
    with pytest.raises(DesignerUnavailable) as caught:
        designer(server).answer(ASK)
    assert caught.value.retry_after_seconds is not None


@pytest.mark.parametrize("wanted", ["3600", "121"])
def test_a_long_pause_sets_the_worker_free(wanted):
    sleeper = Sleeper()
    with (
        serving(send(429, error("rate_limit"), Retry_After=wanted)) as server,
        pytest.raises(DesignerUnavailable) as caught,
    ):
        designer(server, sleeper).answer(ASK)
    assert caught.value.retry_after_seconds == float(wanted)
    assert sleeper.naps == []


@pytest.mark.parametrize("wanted", ["soon", "nan", "-5", "1e999", ""])
def test_a_strange_retry_after_does_no_harm(wanted):
    sleeper = Sleeper()
    with serving(send(503, Retry_After=wanted), send(200, completion())) as server:
        assert designer(server, sleeper).answer(ASK).outcome == "answered"
    assert all(0 <= nap <= 60 for nap in sleeper.naps)


def test_a_retry_after_may_be_a_date():
    sleeper = Sleeper()
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    with serving(send(503, Retry_After=past), send(200, completion())) as server:
        designer(server, sleeper).answer(ASK)
    assert sleeper.naps == [0.0]


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        pytest.param(401, "invalid_api_key", "REWARDSMITH_OPENAI_API_KEY", id="key refused"),
        pytest.param(403, None, "REWARDSMITH_OPENAI_API_KEY", id="forbidden"),
        pytest.param(404, "model_not_found", "REWARDSMITH_OPENAI_BASE_URL", id="no such model"),
        pytest.param(400, "invalid_request", "model's name", id="bad request"),
        pytest.param(413, None, "too long", id="too long"),
        pytest.param(422, None, "settings", id="unprocessable"),
        pytest.param(402, None, "credit", id="no credit"),
        pytest.param(429, "insufficient_quota", "credit", id="quota used up"),
        pytest.param(307, None, "Redirects are not followed", id="redirect"),
    ],
)
def test_what_waiting_cannot_mend_is_told_at_once_with_a_hint(status, code, hint):
    act = send(status, error(code), Retry_After="5", Location="http://127.0.0.1:9/v1")
    with serving(act) as server, pytest.raises(DesignerUnavailable, match=hint) as caught:
        designer(server).answer(ASK)
    assert caught.value.retry_after_seconds is None
    assert len(server.script.requests) == 1


def test_a_pause_ends_when_the_step_is_given_up_and_nothing_more_is_sent():
    asked = replace(ASK, given_up=threading.Event())

    def act(handler):
        send(500)(handler)
        asked.given_up.set()

    with serving(act) as server:
        patient = replace(designer(server), sleep=threading.Event.wait, chance=lambda: 60.0)
        with pytest.raises(DesignerUnavailable, match="given up") as caught:
            patient.answer(asked)
    assert len(server.script.requests) == 1
    assert not caught.value.maybe_paid


# --- what all workers know of the endpoint -----------------------------------------------------


class PlayedGate:
    """Says in turn how long to wait; remembers how calls ended."""

    def __init__(self, *waits):
        self.waits, self.ended = list(waits), []

    def enter(self):
        return self.waits.pop(0) if self.waits else 0.0

    def leave(self, ended):
        self.ended.append(ended)


def gated(server, gate, sleeper=None, **settings):
    return designer(server, sleeper, gates=lambda name: gate, **settings)


def test_a_short_wait_for_a_turn_is_spent():
    sleeper, gate = Sleeper(), PlayedGate(1.5, 0.5)
    with serving(send(200, completion())) as server:
        assert gated(server, gate, sleeper).answer(ASK).outcome == "answered"
    assert sleeper.naps == [1.5, 0.5]
    assert gate.ended == ["answered"]


def test_an_endpoint_that_is_left_alone_is_not_asked_and_sets_the_worker_free():
    sleeper = Sleeper()
    with serving(send(200, completion())) as server, pytest.raises(DesignerUnavailable) as caught:
        gated(server, PlayedGate(42.0), sleeper).answer(ASK)
    assert caught.value.retry_after_seconds == 42.0
    assert not caught.value.maybe_paid
    assert (server.script.requests, sleeper.naps) == ([], [])


class LostGate(PlayedGate):
    """Cannot be asked: the database is away."""

    def enter(self):
        raise StorageFailed("All connections to the database are in use.")


def test_a_question_that_was_not_sent_for_want_of_the_database_was_not_paid_for():
    with serving(send(200, completion())) as server, pytest.raises(DesignerUnavailable) as caught:
        gated(server, LostGate()).answer(ASK)
    assert "connections to the database" in str(caught.value)
    assert caught.value.retry_after_seconds == Deadlines().rest_seconds
    assert not caught.value.maybe_paid
    assert server.script.requests == []


@pytest.mark.parametrize(
    ("status", "ended"),
    [(500, "failed"), (429, "failed"), (401, "refused"), (402, "refused"), (404, "answered")],
)
def test_everybody_is_told_how_a_call_ended(status, ended):
    gate = PlayedGate()
    with serving(send(status, error("x"))) as server, pytest.raises(DesignerUnavailable):
        gated(server, gate, deadlines=Deadlines(attempts=1)).answer(ASK)
    assert gate.ended == [ended]


def test_an_endpoint_is_known_by_its_host_and_its_model_and_by_no_secret():
    names = []
    with serving(send(200, completion())) as server:
        one = replace(
            designer(server, gates=lambda name: names.append(name) or PlayedGate()),
            base_url=f"http://user:hidden@127.0.0.1:{server.server_address[1]}/v1",
        )
        one.answer(ASK)
    assert names == [f"127.0.0.1:{server.server_address[1]} tiny"]


@pytest.mark.parametrize(
    ("act", "seconds"),
    [pytest.param(reset, 30.0, id="a reset"), pytest.param(hang, 0.4, id="silence")],
)
def test_a_question_that_may_have_been_paid_for_is_sent_again_only_when_it_was_counted(
    act, seconds
):
    limits = Deadlines(attempt_seconds=seconds)
    with serving(act) as server, pytest.raises(DesignerUnavailable) as caught:
        designer(server, deadlines=limits).answer(ASK)
    assert caught.value.maybe_paid
    assert caught.value.retry_after_seconds == limits.rest_seconds
    assert len(server.script.requests) == 1


@pytest.mark.parametrize("status", [408, 502, 504, 520, 521, 522, 523, 524])
def test_a_question_that_a_gateway_passed_on_in_vain_may_have_been_paid_for(status):
    """The model may think on behind it: to ask again in the same breath would be paid twice."""
    with (
        serving(send(status, error("x"), Retry_After="7")) as server,
        pytest.raises(DesignerUnavailable, match=f"HTTP {status}") as caught,
    ):
        designer(server).answer(ASK)
    assert caught.value.maybe_paid
    assert caught.value.retry_after_seconds == 7.0
    assert len(server.script.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_a_question_that_was_answered_with_an_error_was_not_paid_for(status):
    with serving(send(status)) as server, pytest.raises(DesignerUnavailable) as caught:
        designer(server).answer(ASK)
    assert not caught.value.maybe_paid


def test_a_question_that_nobody_got_was_not_paid_for():
    with serving(send(200)) as server:
        pass
    with pytest.raises(DesignerUnavailable) as caught:
        designer(server).answer(ASK)
    assert not caught.value.maybe_paid


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(f"{KEY}\n", id="a newline at its end"),
        pytest.param(f"é-{KEY}", id="a letter that no header takes"),
    ],
)
def test_a_key_that_no_header_can_carry_is_not_shown_and_nothing_was_paid_for(key):
    with serving(send(200, completion())) as server, pytest.raises(DesignerUnavailable) as caught:
        designer(server, api_key=key, deadlines=Deadlines(attempts=1)).answer(ASK)
    assert KEY not in str(caught.value)
    assert not caught.value.maybe_paid
    assert server.script.requests == []


def test_an_address_that_cannot_be_asked_was_not_paid_for():
    with pytest.raises(DesignerUnavailable) as caught:
        OpenAIDesigner("ftp://host/v1", KEY, "tiny", deadlines=Deadlines(attempts=1)).answer(ASK)
    assert not caught.value.maybe_paid


# --- time and memory --------------------------------------------------------------------------


@pytest.mark.parametrize("act", [drip, hang], ids=["drips", "hangs"])
def test_a_slow_server_does_not_beat_the_deadline_of_an_attempt(act):
    limits = Deadlines(attempt_seconds=0.4, attempts=1)
    begun = time.monotonic()
    with serving(act) as server:
        with pytest.raises(DesignerUnavailable, match=r"within 0\.4 s"):
            designer(server, deadlines=limits).answer(ASK)
        assert time.monotonic() - begun < 3.0


def test_all_attempts_together_have_a_deadline():
    sleeper = Sleeper()
    limits = Deadlines(attempt_seconds=5.0, call_seconds=6.0)
    with serving(send(500)) as server, pytest.raises(DesignerUnavailable):
        designer(server, sleeper, deadlines=limits).answer(ASK)
    assert sleeper.now <= 6.0


def test_a_body_without_end_is_read_up_to_the_limit_only():
    limits = Deadlines(attempt_seconds=5.0, response_bytes=100_000)
    with serving(endless) as server:
        reply = designer(server, deadlines=limits).answer(ASK)
    assert reply.outcome == "garbage"
    assert "longer than 100000 bytes" in reply.detail


def test_a_compressed_body_is_not_unpacked():
    bomb = gzip.compress(b" " * 50_000_000)
    with serving(send(200, bomb, Content_Encoding="gzip")) as server:
        reply = designer(server).answer(ASK)
    assert server.script.requests[0][1]["accept-encoding"] == "identity"
    assert reply.outcome == "garbage"


def test_an_endless_error_is_read_up_to_the_limit_too():
    def act(handler):
        handler.send_response(500)
        handler.end_headers()
        while not handler.server.closing.is_set():
            handler.wfile.write(b"x" * 65536)

    limits = Deadlines(attempt_seconds=5.0, response_bytes=100_000, attempts=1)
    with serving(act) as server, pytest.raises(DesignerUnavailable, match="HTTP 500") as caught:
        designer(server, deadlines=limits).answer(ASK)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("charset", ["zlib", "hex", "rot13", "idna", "undefined", "utf-16"])
def test_the_character_set_of_an_error_is_not_believed(charset):
    gone = send(504, b"\xffgone", Content_Type=f"text/plain; charset={charset}")
    limits = Deadlines(attempt_seconds=5.0, attempts=1)
    with serving(gone) as server, pytest.raises(DesignerUnavailable, match=r"504: .gone") as caught:
        designer(server, deadlines=limits).answer(ASK)
    assert caught.value.maybe_paid


# --- secrets ----------------------------------------------------------------------------------


def test_the_key_is_in_no_reply_even_when_the_endpoint_echoes_it():
    body = completion(f"your key is {KEY}", note=KEY)
    prompt = Prompt((("user", f"my key is {KEY}"),))
    with serving(send(200, body, x_request_id=KEY)) as server:
        reply = designer(server).answer(replace(ASK, prompt=prompt))
    assert KEY not in json.dumps(asdict(reply))
    assert reply.text == "your key is [key]"


def test_a_placeholder_for_a_key_leaves_programs_as_they_are():
    with serving(send(200, completion("np.exp(next_obs.x)"))) as server:
        reply = designer(server, api_key="x").answer(ASK)
    assert reply.text == "np.exp(next_obs.x)"


@pytest.mark.parametrize("status", [401, 429, 500])
def test_the_key_is_in_no_error(status):
    with (
        serving(send(status, error("x", f"Incorrect key {KEY}"))) as server,
        pytest.raises(DesignerUnavailable) as caught,
    ):
        designer(server).answer(ASK)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("place", range(250, 276, 5))
def test_no_part_of_the_key_is_in_the_beginning_of_an_error(place):
    limits = Deadlines(attempt_seconds=5.0, attempts=1)
    body = f"{KEY} {'x' * place}{KEY}".encode()
    with serving(send(500, body)) as server, pytest.raises(DesignerUnavailable) as caught:
        designer(server, deadlines=limits).answer(ASK)
    assert KEY[:4] not in str(caught.value)


@pytest.mark.parametrize("place", range(3_950, 3_976, 5))
def test_no_part_of_the_key_is_in_the_beginning_of_garbage(place):
    body = f"{KEY} {'x' * place}{KEY}".encode()
    read = read_completion(body, cut=False, secret=KEY)
    assert read.outcome == "garbage"
    assert KEY[:4] not in read.response["body"]


def test_the_key_is_not_in_the_designers_own_description():
    with serving(send(200)) as server:
        assert KEY not in repr(designer(server))
