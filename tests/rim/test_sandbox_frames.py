"""Frames: what passes the wire between a worker and a jailed child, and what does not."""

from __future__ import annotations

import math
import socket
import struct
import threading
import time

import pytest

from core.sandbox import BadFrame, Channel, ChannelClosed, FloatLink, FrameTimeout


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def channels(pair):
    return Channel(pair[0]), Channel(pair[1])


def soon():
    return time.monotonic() + 5


def framed(text, *blobs):
    sizes = struct.pack(f"<{len(blobs)}Q", *map(len, blobs))
    return struct.pack("<4sII", b"RSF1", len(text), len(blobs)) + sizes + text + b"".join(blobs)


@pytest.mark.parametrize(
    ("header", "blobs"),
    [
        pytest.param({}, {}, id="nothing at all"),
        pytest.param({"curve": [0.5, -1e300, 3], "ok": None}, {}, id="numbers"),
        pytest.param({"text": 'ünïcode 🤖 \\u0000 "quoted" \n\t'}, {}, id="text"),
        pytest.param({"n": 1}, {"weights": b"\x00\xff" * 1000, "empty": b""}, id="blobs"),
    ],
)
def test_a_frame_arrives_as_it_was_sent(channels, header, blobs):
    sender, receiver = channels
    sender.send(header, blobs)
    frame = receiver.receive(soon())
    assert (frame.header, frame.blobs) == (header, blobs)


def test_a_frame_larger_than_the_socket_buffer_arrives_whole(channels):
    sender, receiver = channels
    blob = bytes(range(256)) * 40_000
    thread = threading.Thread(target=sender.send, args=({"large": True}, {"blob": blob}))
    thread.start()
    assert receiver.receive(soon()).blobs["blob"] == blob
    thread.join()


def test_frames_arrive_one_by_one_in_their_order(channels):
    sender, receiver = channels
    for number in range(10):
        sender.send({"number": number}, {"blob": bytes([number])})
    assert [receiver.receive(soon()).header["number"] for _ in range(10)] == list(range(10))


def test_a_frame_may_arrive_byte_by_byte(pair):
    receiver = Channel(pair[1])
    data = framed(b'{"header": {"n": 1}, "blobs": ["b"]}', b"xyz")
    for byte in data[:-1]:
        pair[0].send(bytes([byte]))
        assert receiver.receive_now() is None
    pair[0].send(data[-1:])
    assert receiver.receive_now().blobs == {"b": b"xyz"}


def test_the_deadline_is_for_the_whole_frame_and_loses_nothing(pair):
    receiver = Channel(pair[1])
    data = framed(b'{"header": {"n": 1}, "blobs": []}')
    pair[0].send(data[:20])
    with pytest.raises(FrameTimeout):
        receiver.receive(time.monotonic() + 0.05)
    pair[0].send(data[20:])
    assert receiver.receive(soon()).header == {"n": 1}


def test_a_closed_other_end_is_told(pair):
    receiver = Channel(pair[1])
    pair[0].close()
    with pytest.raises(ChannelClosed):
        receiver.receive(soon())
    with pytest.raises(ChannelClosed):
        receiver.send({"anybody": "there"})


def test_sending_to_somebody_who_does_not_read_ends_at_the_deadline(channels):
    with pytest.raises(FrameTimeout):
        channels[0].send({}, {"blob": bytes(10_000_000)}, deadline=time.monotonic() + 0.05)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"score": math.nan}, id="NaN"),
        pytest.param({"score": math.inf}, id="infinity"),
        pytest.param({"text": "\ud800"}, id="half a surrogate pair"),
        pytest.param({"text": "a\x00b"}, id="NUL"),
        pytest.param({"object": object()}, id="not JSON"),
        pytest.param({"text": "x" * 2_000_000}, id="too long"),
    ],
)
def test_a_bad_header_is_refused_before_it_is_sent(channels, header):
    with pytest.raises(BadFrame):
        channels[0].send(header)
    assert channels[1].receive_now() is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"score": 999}\n', id="a printed line"),
        pytest.param(struct.pack("<4sII", b"RSF1", 2**32 - 1, 0), id="4 GB header"),
        pytest.param(struct.pack("<4sII", b"RSF1", 2, 2**32 - 1), id="4 billion blobs"),
        pytest.param(struct.pack("<4sIIQ", b"RSF1", 2, 1, 2**63), id="huge blob"),
        pytest.param(struct.pack("<4sIIQQ", b"RSF1", 2, 2, 600, 600), id="blobs over the cap"),
        pytest.param(framed(b""), id="no header"),
        pytest.param(framed(b"\xff\xfe"), id="not utf-8"),
        pytest.param(framed(b'{"header": {"s": NaN}, "blobs": []}'), id="NaN"),
        pytest.param(framed(b'{"header": {"s": -Infinity}, "blobs": []}'), id="-Infinity"),
        pytest.param(framed(b'{"header": {"s": 1e999}, "blobs": []}'), id="overflowing number"),
        pytest.param(framed(b'{"header": {"s": ' + b"9" * 5000 + b'}, "blobs": []}'), id="big int"),
        pytest.param(framed(b'{"header": {"s": "\\ud800"}, "blobs": []}'), id="lone surrogate"),
        pytest.param(framed(b'{"header": {"s": "\\u0000"}, "blobs": []}'), id="NUL"),
        pytest.param(framed(b"[" * 100_000), id="deep nesting"),
        pytest.param(framed(b"[]"), id="not an object"),
        pytest.param(framed(b'{"header": {}, "blobs": ["a"]}'), id="a name too many"),
        pytest.param(framed(b'{"header": {}, "blobs": []}', b"x"), id="a name too few"),
        pytest.param(
            framed(b'{"header": {}, "blobs": ["a", "a"]}', b"x", b"y"), id="one name twice"
        ),
        pytest.param(framed(b'{"header": {}, "blobs": [1]}', b"x"), id="a number as a name"),
    ],
)
def test_bad_bytes_are_refused(pair, data):
    receiver = Channel(pair[1], max_blob_bytes=1000)
    sender = threading.Thread(target=pair[0].sendall, args=(data,))
    sender.start()
    with pytest.raises(BadFrame):
        receiver.receive(soon())
    sender.join()


def test_a_claimed_length_sets_no_memory_aside(pair):
    receiver = Channel(pair[1], max_blob_bytes=2**60)
    header = b'{"header": {}, "blobs": ["a"]}'
    pair[0].send(struct.pack("<4sIIQ", b"RSF1", len(header), 1, 2**59) + header)
    assert receiver.receive_now() is None


def test_floats_cross_in_both_directions(pair):
    ours, theirs = FloatLink(pair[0]), FloatLink(pair[1])
    frame = struct.pack("<4f", 1.0, -2.0, 0.5, 3.25)
    ours.send(frame)
    assert theirs.receive_exactly(16, soon()) == frame
    theirs.send(memoryview(frame))
    assert ours.receive_exactly(16) == frame


def test_floats_that_are_missing_time_out(pair):
    pair[0].send(b"123")
    with pytest.raises(FrameTimeout):
        FloatLink(pair[1]).receive_exactly(16, time.monotonic() + 0.05)


def test_a_float_link_tells_that_the_other_end_is_gone(pair):
    pair[0].close()
    with pytest.raises(ChannelClosed):
        FloatLink(pair[1]).receive_exactly(16, soon())
