"""Database and broker listen on loopback ports."""

from __future__ import annotations

import socket

from core.sandbox.attacks.case import Case, Target, any_of, use


def _attack(target: Target) -> None:
    def connect() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            if target.tcp:
                use(lambda: client.connect(("127.0.0.1", target.tcp)))

    any_of(connect, lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close())


CASE = Case(17, "network", "open a TCP socket", "EPERM", _attack)
