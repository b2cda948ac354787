"""Bytes that would run if anybody unpickled them."""

from __future__ import annotations

import os
import pickle
import time

from core.sandbox.frames import Channel
from tests.attacks.cases.kinds import Life


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/rewardsmith-pickle-bomb",)


def raw_pickle(channel: Channel) -> None:
    os.write(3, pickle.dumps(Bomb()))
    time.sleep(60)


def pickled_header(channel: Channel) -> None:
    text = pickle.dumps(Bomb())
    os.write(3, b"RSF1" + len(text).to_bytes(4, "little") + bytes(4) + text)
    time.sleep(60)


CASE = Life(
    60,
    "output",
    "send a pickle",
    {"raw": "ChildMisbehaved", "header": "ChildMisbehaved"},
    {"raw": raw_pickle, "header": pickled_header},
)
