"""One message to one receiver: how it is signed, where it may go, and how long it may take."""

from __future__ import annotations

import base64
import itertools
import socket
import threading
import time
from contextlib import closing, contextmanager, suppress

import pytest

from core.errors import InvalidInput, LimitReached, ResolverUnavailable
from core.webhooks import check_secret, check_target, headers_of, new_secret, pause_after, send
from core.webhooks.addresses import is_public, read_target
from core.webhooks.look_ups import AT_ONCE, MOST_OF_ONE, LookUps
from core.webhooks.schedule import PAUSES_SECONDS
from tests.receiver import receiving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PUBLIC = "1.1.1.1"


@pytest.fixture
def resolved(monkeypatch):
    """Let names have the addresses that a test says, one list after the other."""
    asked: list[str] = []

    def resolving(*answers: list[str]) -> list[str]:
        turns = itertools.chain(answers, itertools.repeat(answers[-1]))

        def look_up(host, port, *_, **__):
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in next(turns)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        return asked

    return resolving


# --- signing ----------------------------------------------------------------------------------


def test_a_signature_is_that_of_the_specification():
    """The worked example that implementations of Standard Webhooks are tested with."""
    told = headers_of(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert told == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_secret_of_ours_is_one_and_never_twice_the_same():
    one, other = new_secret(), new_secret()
    assert one != other
    check_secret(one)


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", id="no prefix"),
        pytest.param("whsec_" + base64.b64encode(b"short").decode(), id="short"),
        pytest.param("whsec_" + base64.b64encode(b"x" * 65).decode(), id="long"),
        pytest.param("whsec_not base64 at all!" + "A" * 32, id="no base64"),
        pytest.param("whsec_ü" + "A" * 40, id="no ASCII"),
    ],
)
def test_a_secret_of_another_form_is_refused_and_not_repeated(secret):
    with pytest.raises(InvalidInput, match="24 to 64 bytes") as refused:
        check_secret(secret)
    assert secret not in str(refused.value)


# --- where it may go --------------------------------------------------------------------------

NOT_PUBLIC = [
    *("127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("0.0.0.0", "100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1"),
    *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::", "fe80::1%eth0"),
    *("::ffff:100.100.100.200", "64:ff9b:1::a00:1", "64:ff9b:1::1", "fec0::1"),
    *("::7f00:1", "::ffff:0:a00:1"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused_whatever_it_is_wrapped_in(address, resolved):
    assert not is_public(address)
    resolved([address])
    with pytest.raises(InvalidInput, match="not public"):
        check_target("https://hooks.example.org/x")


@pytest.mark.parametrize(
    "address", [PUBLIC, "2606:4700:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]
)
def test_a_public_address_is_one(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("https://127.0.0.1/", "https://[::1]/", "https://localhost/", "https://2130706433/"),
        *("https://0x7f.1/", "https://127.1/", "https://[::ffff:7f00:1]/"),
    ],
)
def test_the_loopback_is_refused_however_it_is_spelt(url):
    with pytest.raises(InvalidInput, match=r"not public|cannot be resolved"):
        check_target(url)


def test_one_private_address_among_public_ones_is_enough(resolved):
    resolved([PUBLIC, "10.0.0.1"])
    with pytest.raises(InvalidInput, match="not public"):
        check_target("https://hooks.example.org/")


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example.org/", "ftp://hooks.example.org/", "file:///etc/passwd"),
        *("https://user:pw@hooks.example.org/", "https://hooks.example.org:22/", "hooks"),
        *("https://hooks.example.org:99999/", "https://hooks.example.org/#x", "https:///x"),
        *(
            "https://hooks.example.org\\@127.0.0.1/",
            "https://a b/",
            "https://[::1",
            "https://é.org/",
        ),
        *("https://hooks.example.org/ HTTP/1.1", "https://hooks.example.org/\r\nx: y"),
    ],
)
def test_a_url_of_another_form_is_refused_without_resolving_anything(url, resolved):
    asked = resolved([PUBLIC])
    with pytest.raises(InvalidInput):
        check_target(url)
    assert asked == []


@contextmanager
def slow_names(monkeypatch, seconds: float = 0.05):
    """Let names below `slow.example` wait for an answer, until the end; yield which were asked for."""
    asked: list[str] = []
    over = threading.Event()

    def look_up(host, port, *_, **__):
        asked.append(host)
        if host.endswith("slow.example"):
            over.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, port))]

    look_ups = LookUps()
    monkeypatch.setattr("core.webhooks.look_ups.PATIENCE_SECONDS", seconds)
    monkeypatch.setattr("core.webhooks.addresses._look_ups", look_ups)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        yield asked
    finally:
        over.set()
        look_ups._pool.shutdown()


def test_a_name_that_is_resolved_slowly_is_refused_in_time_and_not_called_wrong(monkeypatch):
    with slow_names(monkeypatch), pytest.raises(ResolverUnavailable, match="in time"):
        check_target("https://slow.example/")


def test_name_servers_that_do_not_answer_say_nothing_against_a_name(monkeypatch):
    def look_up(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(ResolverUnavailable):
        check_target("https://hooks.example.org/")
    sent = send("https://hooks.example.org/", {}, b"{}")
    assert (sent.status, sent.error) == (None, "refused: no answer about a name")


def test_slow_names_of_one_owner_keep_no_other_ones_from_being_resolved(monkeypatch):
    with slow_names(monkeypatch) as asked:
        for number in range(3 * AT_ONCE):
            with pytest.raises((ResolverUnavailable, LimitReached)):
                check_target(f"https://{number}.slow.example/", owner="mallory")
        assert check_target("https://hooks.example.org/", owner="alice").host == asked[-1]
        assert len(asked) == MOST_OF_ONE + 1
        with pytest.raises(LimitReached, match="webhooks of one owner"):
            check_target("https://hooks.example.org/", owner="mallory")


def test_what_has_not_begun_when_its_time_is_over_leaves_the_line(monkeypatch):
    with slow_names(monkeypatch) as asked:
        for number in range(AT_ONCE):
            with pytest.raises(ResolverUnavailable):
                check_target(f"https://{number}.slow.example/", owner=f"{number // MOST_OF_ONE}")
        for number in range(3 * MOST_OF_ONE):
            with pytest.raises(ResolverUnavailable, match="in time"):
                check_target(f"https://{number}.example.org/", owner="alice")
    assert asked == [f"{number}.slow.example" for number in range(AT_ONCE)]


def test_a_name_that_is_being_looked_up_is_not_looked_up_again(monkeypatch):
    with slow_names(monkeypatch) as asked:
        for _ in range(2 * MOST_OF_ONE):
            with pytest.raises(ResolverUnavailable):
                check_target("https://slow.example/", owner="alice")
    assert asked == ["slow.example"]


@pytest.mark.parametrize("allowed", [("127.0.0.1",), ("127.0.0.1:9000",)])
def test_the_operator_may_allow_a_host_or_one_port_of_it(allowed):
    target = check_target("http://127.0.0.1:9000/a?b=c", allowed)
    assert (target.host, target.port, target.path) == ("127.0.0.1", 9000, "/a?b=c")
    with pytest.raises(InvalidInput):
        check_target("http://127.0.0.2:9000/", allowed)


def test_a_port_that_is_not_the_allowed_one_is_refused():
    with pytest.raises(InvalidInput):
        read_target("http://127.0.0.1:22/", ("127.0.0.1:9000",))


# --- one attempt ------------------------------------------------------------------------------


def test_a_message_arrives_with_its_headers_path_and_body():
    with receiving(204) as receiver:
        headers = headers_of(SECRET, "msg_1", 1, b"{}")
        sent = send(receiver.url, headers, b"{}", [receiver.host])
    assert (sent.status, sent.error, sent.delivered) == (204, "", True)
    (got,) = receiver.received
    assert (got.path, got.body) == ("/hook?a=b", b"{}")
    assert got.headers.items() >= {**headers, "host": receiver.host}.items()
    assert got.headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [400, 404, 410, 500, 503])
def test_what_is_not_2xx_is_not_delivered(status):
    with receiving(status) as receiver:
        sent = send(receiver.url, {}, b"{}", [receiver.host])
    assert (sent.status, sent.delivered, sent.unwanted) == (status, False, status == 410)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status):
    with receiving(status) as receiver:
        sent = send(receiver.url, {}, b"{}", [receiver.host])
    assert not sent.delivered
    assert [got.path for got in receiver.received] == ["/hook?a=b"]


def test_an_address_is_looked_at_again_when_it_is_connected_to(resolved):
    """The name was public when the job was submitted; now it leads to this machine."""
    with receiving(204) as receiver:
        resolved([PUBLIC], ["127.0.0.1"])
        url = f"https://hooks.example.org:8443/{receiver.port}"
        check_target(url)
        sent = send(url, {}, b"{}")
    assert (sent.status, sent.error) == (None, "refused: an address that is not public")
    assert receiver.received == []


def test_what_is_connected_to_is_what_was_looked_at(resolved, monkeypatch):
    """A name that leads elsewhere at every look is resolved once."""
    asked = resolved([PUBLIC], ["127.0.0.1"])
    connected = []

    def connect(address, *_, **__):
        connected.append(address)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", connect)
    send("https://hooks.example.org/", {}, b"{}")
    assert (asked, connected) == (["hooks.example.org"], [(PUBLIC, 443)])


def test_the_next_address_is_tried_where_one_does_not_answer(resolved, monkeypatch):
    resolved([PUBLIC, "8.8.8.8"])
    connected = []

    def connect(address, *_, **__):
        connected.append(address[0])
        raise OSError

    monkeypatch.setattr(socket, "create_connection", connect)
    assert send("https://hooks.example.org/", {}, b"{}").error == "ConnectError"
    assert connected == [PUBLIC, "8.8.8.8"]


def test_nobody_who_listens_is_an_error_and_no_exception():
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    sent = send(f"http://127.0.0.1:{port}/", {}, b"{}", ["127.0.0.1"])
    assert (sent.status, sent.error) == (None, "ConnectError")


def drips(handler) -> None:
    """Send a byte of a header now and then, for ever: every single wait is short."""
    with suppress(OSError):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
        while True:
            handler.wfile.write(b"y")
            time.sleep(0.02)


def is_silent(handler) -> None:
    with suppress(OSError):
        handler.connection.recv(1)


@pytest.mark.parametrize("answer", [drips, is_silent])
def test_a_receiver_that_takes_its_time_is_left_at_the_deadline(answer):
    with receiving() as receiver:
        receiver.answer = answer
        sent = send(receiver.url, {}, b"{}", [receiver.host], total_seconds=0.3)
    assert (sent.status, sent.error) == (None, "no answer within 0.3 s")
    assert sent.seconds < 5


def test_an_answer_without_end_is_not_read():
    def floods(handler) -> None:
        with suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                handler.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    with receiving() as receiver:
        receiver.answer = floods
        sent = send(receiver.url, {}, b"{}", [receiver.host])
    assert sent.delivered


@pytest.mark.parametrize(
    "answer", [b"nonsense\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\n" + b"x" * 300_000]
)
def test_an_answer_that_is_none_is_an_error_and_no_exception(answer):
    with receiving() as receiver:
        receiver.answer = lambda handler: handler.wfile.write(answer)
        sent = send(receiver.url, {}, b"{}", [receiver.host], total_seconds=2)
    assert sent.status is None
    assert sent.error


# --- how often --------------------------------------------------------------------------------


def test_a_message_is_tried_for_about_a_day():
    pauses = [pause_after(n + 1, lambda: 0.5) for n in range(len(PAUSES_SECONDS))]
    assert pauses == sorted(PAUSES_SECONDS)
    assert 20 * 3600 < sum(PAUSES_SECONDS) < 26 * 3600
    assert pause_after(len(PAUSES_SECONDS) + 1, lambda: 0.5) is None


def test_messages_that_failed_together_do_not_come_back_together():
    early, late = (pause_after(3, lambda chance=chance: chance) for chance in (0.0, 1.0))
    assert (early, late) == (96.0, 144.0)
