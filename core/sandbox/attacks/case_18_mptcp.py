"""Multipath TCP, which Landlock's rule for TCP does not cover."""

from __future__ import annotations

import socket

from core.sandbox.attacks.case import Case, Target, use

_IPPROTO_MPTCP = 262


def _attack(target: Target) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, _IPPROTO_MPTCP) as client:
        if target.tcp:
            use(lambda: client.connect(("127.0.0.1", target.tcp)))


CASE = Case(18, "network", "open an MPTCP socket", "EPERM", _attack, unwalled=False)
