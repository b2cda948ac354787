"""The address at which clouds give credentials to whoever asks from inside a machine."""

from __future__ import annotations

import socket

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        client.connect_ex(("169.254.169.254", 80))  # having a socket to try it is enough


CASE = Case(24, "network", "reach a cloud's metadata service", "EPERM", _attack)
