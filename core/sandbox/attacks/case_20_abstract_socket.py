"""Unix sockets without a path are reachable from everywhere in a network namespace."""

from __future__ import annotations

import socket

from core.sandbox.attacks.case import Case, Target, use


def _attack(target: Target) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        if target.abstract:
            use(lambda: client.connect(f"\0{target.abstract}"))


CASE = Case(20, "network", "connect to an abstract unix socket", "EPERM", _attack)
