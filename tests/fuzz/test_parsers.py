"""Everything that reads what strangers, models or jailed children wrote, on 20,000 inputs each.

A parser gives what it promises or raises the error that it names, in time; nothing else ever happens.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
import pytest
from safetensors.numpy import save

from api.errors import printable
from api.limits import storable
from core.errors import InvalidInput, ProgramRejected, ScoringFailed, TrainingFailed
from core.program import read_program
from core.records.asking import Proposal
from core.replies import MOST_ANALYSIS, MOST_PREDICTION, read_reply
from core.sandbox.codec import MAX_HEADER_BYTES, BadFrame, Frame, Incoming, Outgoing
from core.storage.clean import clean_json, clean_text
from core.training.action_space import read_action_space
from core.training.numpy_policy import RELU, read_weights
from core.training.weights import Progressed, peek
from tests.builders import SOURCE, a_task
from tests.fuzz.long import keep_if_long
from tests.fuzz.mutations import blobs, texts

COUNT = 20_000
SEED = 20_261_126
LONGEST_SECONDS = 5.0  # for one small input, on a machine with other work; usual are microseconds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # 20,000 inputs take some seconds each

Input = TypeVar("Input")

REPLY = f"""<think>perhaps</think>
The pole falls because nothing pays for its angle.

Prediction: fitness rises above 0.5.

```python
{SOURCE}```
"""
REPLIES = [
    REPLY,
    REPLY.replace("```", "~~~~"),
    f"First\n```\nnot this\n```\nthen\n```py\n{SOURCE}\n```\n**Prediction**\n\nbetter",
    f"```python\n{SOURCE.replace('Stay near', 'A ``` inside')}```",
    "No code at all.",
    "",
]
SOURCES = [
    SOURCE,
    SOURCE + "\n\ndef features(obs):\n    return {'far': np.abs(obs.position)}\n",
    "import numpy as np\nimport math\n\n\ndef reward(obs, action, next_obs, params):\n"
    "    return {'a': np.where(obs.position > 0, 1.0, -1.0) * math.pi ** 2}\n",
    "PARAMS = {'a': 1e308}\ndef reward(obs, action, next_obs, params):\n    return {'a': [0]}\n",
]


def fuzz(
    name: str,
    inputs: Iterable[Input],
    read: Callable[[Input], object],
    refusals: tuple[type[Exception], ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Read every input; count those that were accepted and refused, and hold each to its time."""
    counts = {"fuzz": name, "inputs": 0, "accepted": 0, "refused": 0, "slowest_seconds": 0.0}
    for given in inputs:
        counts["inputs"] += 1
        began = time.perf_counter()
        try:
            read(given)
        except refusals:
            counts["refused"] += 1
        except BaseException:
            print(f"the input was {given!r}")
            raise
        else:
            counts["accepted"] += 1
        counts["slowest_seconds"] = max(counts["slowest_seconds"], time.perf_counter() - began)
    with capsys.disabled():
        print(f"\n{json.dumps(counts)}")
    keep_if_long(name, counts)
    assert counts["inputs"] == COUNT
    assert counts["accepted"] > COUNT / 100, "the inputs are too wild to get past the first check"
    assert counts["slowest_seconds"] < LONGEST_SECONDS


def test_the_reply_reader(capsys):
    def read(text: str) -> None:
        found = read_reply(text)
        assert isinstance(found, Proposal)
        assert len(found.analysis) <= MOST_ANALYSIS
        assert len(found.prediction) <= MOST_PREDICTION
        assert "def reward" in found.source or "def features" in found.source

    fuzz("reply reader", texts(REPLIES, SEED, COUNT), read, (ProgramRejected,), capsys)


def test_the_program_reader(capsys):
    fields = a_task().fields

    def read(source: str) -> None:
        program = read_program(source, fields, "replace")
        assert program.source == source
        assert all(np.isfinite(value) for value in program.params.values())

    fuzz("program reader", texts(SOURCES, SEED, COUNT), read, (ProgramRejected,), capsys)


def test_the_frame_decoder(capsys):
    chance = random.Random(SEED)

    def read(data: bytes) -> None:
        frame = arrived(data, chance)
        if frame is None:
            raise BadFrame("an incomplete frame")  # the channel waits for more, up to its deadline
        text = json.dumps(frame.header, allow_nan=False, ensure_ascii=False)
        assert "\x00" not in text
        text.encode()
        assert sum(map(len, frame.blobs.values())) <= len(data)

    sound = [
        wire({"kind": "ready"}),
        wire({"kind": "result", "fitness": 0.5, "n": [1, 2, {"a": None}]}, {"weights": b"x" * 50}),
        wire({"text": "ünïcode \\ \n"}, {"a": b"", "b": bytes(range(256))}),
    ]
    fuzz("frame decoder", blobs(sound, SEED, COUNT), read, (BadFrame,), capsys)


def wire(header: dict[str, object], named: dict[str, bytes] | None = None) -> bytes:
    data = bytearray()

    def send(piece: memoryview) -> int:
        data.extend(piece)
        return len(piece)

    assert Outgoing(header, named or {}, 1 << 20).write_now(send)
    return bytes(data)


def arrived(data: bytes, chance: random.Random) -> Frame | None:
    """Take bytes as a socket gives them, in pieces; no more is kept than has come."""
    incoming = Incoming(1 << 20)
    rest = memoryview(data)
    while not incoming.complete:
        piece = rest[: min(incoming.wanted(), chance.choice((1, 7, MAX_HEADER_BYTES)))]
        if not piece:
            return None
        incoming.take(bytes(piece))
        rest = rest[len(piece) :]
    return incoming.frame()


def policy(**changes: object) -> bytes:
    rng = np.random.default_rng(0)
    tensors = {
        "policy.0.weight": rng.normal(size=(3, 4)),
        "policy.0.bias": rng.normal(size=3),
        "policy.out.weight": rng.normal(size=(2, 3)),
        "policy.out.bias": rng.normal(size=2),
        "normaliser.mean": np.zeros(4),
        "normaliser.scale": np.ones(4),
    }
    return save({name: np.float32(value) for name, value in {**tensors, **changes}.items()})


def test_the_weights_that_the_scorer_is_given(capsys):
    space = read_action_space({"kind": "discrete", "n": 2})

    def read(content: bytes) -> None:
        weights = read_weights(content, 4, space)
        assert sum(tensor.nbytes for tensor in weights.values()) <= len(content)
        assert all(np.isfinite(tensor).all() for tensor in weights.values())

    sound = [policy(), policy(**{RELU: np.ones(1)})]
    fuzz("safetensors weights", blobs(sound, SEED, COUNT), read, (ScoringFailed,), capsys)


def test_the_header_of_a_checkpoint(capsys):
    def read(content: bytes) -> None:
        assert isinstance(peek(content), Progressed)

    tensors = {"progressed": np.array([400, 3], np.int64), "other": np.zeros(5, np.float32)}
    fuzz("safetensors header", blobs([save(tensors)], SEED, COUNT), read, (TrainingFailed,), capsys)


def test_the_text_cleaner(capsys):
    def read(text: str) -> None:
        cleaned = clean_text(text)
        assert clean_text(cleaned) == cleaned
        assert len(cleaned) == len(text)
        assert "\x00" not in cleaned
        cleaned.encode()
        assert storable(cleaned) == cleaned
        shown = printable(text)
        assert not set(shown) & set("\x00\x1b\x7f\u202e\u2066")
        shown.encode()
        json.dumps(clean_json({text: [text, {"a": text}]}, "here"), allow_nan=False).encode()

    fuzz("text cleaner", texts([*REPLIES, *SOURCES], SEED, COUNT), read, (), capsys)


def test_the_cleaner_of_json(capsys):
    """What JSON can say beyond JSON: numbers that are none, text that is none, keys of any kind."""
    chance = random.Random(SEED)
    words = list(texts(REPLIES, SEED, 200))

    def value(depth: int) -> object:
        plain = (None, True, 0, -1, 1.5, 2**63 - 1, chance.choice(words))
        wild = (float("nan"), float("inf"), 2**63, -(2**70), 1e308, np.float32(2.0), np.int64(7))
        kinds = [*plain, *plain, *plain, chance.choice(wild)]
        if depth < 4:
            kinds += [[value(depth + 1) for _ in range(chance.randrange(4))]] * 4
            kinds += [
                {chance.choice(words): value(depth + 1) for _ in range(chance.randrange(3))}
            ] * 4
        return chance.choice(kinds)

    def read(given: object) -> None:
        text = json.dumps(clean_json(given, "here"), allow_nan=False, ensure_ascii=False)
        text.encode()
        assert "\\u0000" not in text.replace("\\\\", "")

    fuzz("json cleaner", (value(0) for _ in range(COUNT)), read, (InvalidInput,), capsys)
