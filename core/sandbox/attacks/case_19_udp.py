"""A datagram carries a secret out, as a question to a name server."""

from __future__ import annotations

import socket

from core.sandbox.attacks.case import Case, Target, use


def _attack(target: Target) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        if target.udp:
            use(lambda: client.sendto(b"secret", ("127.0.0.1", target.udp)))


CASE = Case(19, "network", "open a UDP socket", "EPERM", _attack)
