"""A second name for a file outside, in a folder of one's own."""

from __future__ import annotations

import os

from core.sandbox.attacks.case import Case, Target


def _attack(target: Target) -> None:
    os.link(target.secret, f"{target.shared}/{target.token}-hard")


# Without a wall, kernels with protected_hardlinks refuse it for files of other users.
CASE = Case(9, "files", "make a hard link to a file", "EPERM", _attack, unwalled=False)
