"""Sockets between a virtual machine and its host."""

from __future__ import annotations

import socket

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()


CASE = Case(23, "network", "open a vsock socket", "EPERM", _attack, unwalled=False)
