"""What `rewardsmith doctor` says of one part of a machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part, and what to do if it does not work, or could be better."""

    name: str
    ok: bool
    found: str
    fix: str = ""
