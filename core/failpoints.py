"""Named points at which a process can be told to die or to stop, so that tests find out what is lost.

They are compiled in always, so that what is tested is what runs, and they do nothing unless a
variable is set, with which no command of the product starts.

    REWARDSMITH_FAIL_AT=fact.writing      die there at the first passing
    REWARDSMITH_FAIL_AT=fact.writing:3    at the third
    REWARDSMITH_FAIL_AT=fact.written:1:stop   stop there, until somebody sends SIGCONT
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Mapping

from core.errors import ConfigurationError

VARIABLE = "REWARDSMITH_FAIL_AT"
FAILPOINTS: Mapping[str, str] = {
    "claim.taking": "a step was claimed, and the transaction is not committed",
    "step.claimed": "a step was claimed, and nothing of it is done",
    "step.done": "a step's facts are stored, and it is still claimed",
    "step.released": "a step was given back, and what follows is not announced",
    "beat.writing": "a lease was renewed, and the transaction is not committed",
    "fact.writing": "a fact was written, and the transaction is not committed",
    "fact.written": "a fact is stored, and the step goes on",
    "ask.reserved": "the cost of a question is set aside, and it was not sent",
    "ask.answered": "an answer came, and it is not stored",
    "ask.stored": "an answer is stored, and it was not read",
    "artifact.half": "the bytes of an artifact are on disk, without their name",
    "artifact.stored": "an artifact is stored, and no fact names it",
    "offer.made": "a step may be announced, and it was not",
    "offer.published": "a step was announced",
    "job.accepting": "a job was inserted, and the transaction is not committed",
    "job.accepted": "a job is stored, and the client knows nothing of it",
}
"""Name -> what is true there."""

_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Kill or stop this process if it was told so here: as a cut cable would, without a word."""
    told = os.environ.get(VARIABLE)
    if told is None:
        return
    point, _, rest = told.partition(":")
    if name != point:
        return
    _passed[name] += 1
    count, _, how = rest.partition(":")
    if _passed[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGSTOP if how == "stop" else signal.SIGKILL)


def refuse_failpoints() -> None:
    """Make sure that no failpoint is armed, before anything is served.

    Raises:
        ConfigurationError: one is.
    """
    told = os.environ.get(VARIABLE)
    if told is not None:
        raise ConfigurationError(
            repr(told[:60]),
            expected="no such variable: it kills the process on purpose, for tests",
            where=VARIABLE,
            hint=f"Unset {VARIABLE}.",
        )
