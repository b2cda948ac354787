"""The long form: how it is asked for, and where what it found is kept."""

from __future__ import annotations

import os
from typing import Any

from bench.reliability.results import keep_line, stamp

LONG = os.environ.get("REWARDSMITH_FUZZ") == "long"


def keep_if_long(name: str, line: dict[str, Any]) -> None:
    """Keep a line of counts in `docs/results/reliability.*`, unless this is the short form."""
    if LONG:
        keep_line("fuzz", name, {**stamp("make fuzz LONG=1"), **line})
