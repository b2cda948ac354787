"""A namespace in which one is root: the door to most holes of the kernel."""

from __future__ import annotations

from core.sandbox.attacks.calls import libc
from core.sandbox.attacks.case import Case, Target, any_of

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000


def _attack(target: Target) -> None:
    any_of(lambda: libc("unshare", _NEW_USER), lambda: libc("unshare", _NEW_NETWORK))


CASE = Case(38, "kernel", "make a user namespace", "EPERM", _attack, unwalled=False)
