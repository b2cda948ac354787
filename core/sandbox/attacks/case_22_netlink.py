"""The kernel's own protocol for networks, routes and audit."""

from __future__ import annotations

import socket

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()


CASE = Case(22, "network", "open a netlink socket", "EPERM", _attack)
