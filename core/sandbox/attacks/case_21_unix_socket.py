"""A unix socket with a path: a container daemon's is as good as root."""

from __future__ import annotations

import socket

from core.sandbox.attacks.case import Case, Target, any_of, use


def _attack(target: Target) -> None:
    def connect() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            if target.unix:
                use(lambda: client.connect(target.unix))

    def pair() -> None:
        for end in socket.socketpair():
            end.close()

    any_of(connect, pair)


CASE = Case(21, "network", "open a unix socket", "EPERM", _attack)
