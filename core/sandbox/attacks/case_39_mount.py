"""Another file system over what is there."""

from __future__ import annotations

import os

from core.sandbox.attacks.calls import libc
from core.sandbox.attacks.case import Case, Target, any_of


def _attack(target: Target) -> None:
    mount = lambda: libc("mount", b"none", target.shared.encode(), b"tmpfs", 0, None)  # noqa: E731
    any_of(mount, lambda: os.chroot("/"))


CASE = Case(39, "kernel", "mount a file system", "EPERM", _attack, unwalled=False)
