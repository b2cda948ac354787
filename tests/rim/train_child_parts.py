"""What the tests of the training child share: its order, a channel to it, and what it said."""

from __future__ import annotations

import dataclasses
import hashlib
import socket
import threading
from dataclasses import replace

from core.ports import Arm, PackOrder
from core.records.measured import Curve, Preflight
from core.records.programs import Program
from core.records.spec import Training
from core.sandbox.frames import Channel
from core.training.news import read_news
from core.training.protocol import (
    Broken,
    Done,
    TrainOrder,
    order_message,
)
from core.training.train_child import train
from tests.rim.training_parts import CART_POLE, QUICK

CURVE = Curve((128, 256), {"native_return": (20.0, 21.5)})


def program(body, features=""):
    source = (
        f"import numpy as np\n{features}\ndef reward(obs, action, next_obs, params):\n    {body}\n"
    )
    sha256 = hashlib.sha256(source.encode()).hexdigest()
    return Program(source, sha256, has_reward=True, has_features=bool(features))


UPRIGHT = program("return {'upright': 1 - np.abs(next_obs.angle)}")
RICH = program(
    "return {'upright': features(next_obs)['cosine']}",
    "def features(obs):\n    return {'cosine': np.cos(obs.angle)}\n",
)


def an_order(arms, steps=1024, **changes):
    order = TrainOrder(
        task=CART_POLE,
        settings=QUICK,
        envs=4,
        mode="replace",
        weight=0.02,
        members=tuple((arm, 0) for arm in arms),
        programs=arms,
        start_steps=0,
        stop_steps=steps,
        total_steps=steps,
        checkpoint_at=(steps // 2, steps),
    )
    return dataclasses.replace(order, **changes)


def carried_out(order):
    """The news of a child that lives in a thread of this process."""
    ours, theirs = (Channel(end) for end in socket.socketpair())
    child = threading.Thread(target=train, args=(theirs, ()))
    child.start()
    ours.send(*order_message(order))
    news = until_the_last_word(ours.receive, order)
    child.join()
    ours.close()
    theirs.close()
    return news


def until_the_last_word(receive, order):
    news = []
    while not news or not isinstance(news[-1], (Done, Broken)):
        news.append(read_news(receive(), len(order.members)))
    return news


def only(news, kind):
    return [one for one in news if isinstance(one, kind)]


def a_pack(**changes):
    preflight = Preflight((), 4, {"kind": "discrete", "n": 2}, 500, {}, 0.0, 1.0, "numpy", "", {})
    pack = PackOrder(
        task=CART_POLE,
        preflight=preflight,
        training=Training(steps=3000, envs=16, settings={"epochs": 4}),
        stage="search",
        rung=1,
        mode="add",
        weight=0.5,
        members=(("0.1", 7), ("native", 7)),
        arms={"0.1": Arm("0.1", UPRIGHT), "native": Arm("native")},
        start_steps=1000,
        stop_steps=2000,
        held_out=(1, 2),
        checkpoints=4,
    )
    return replace(pack, **changes)
