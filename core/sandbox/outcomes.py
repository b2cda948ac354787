"""How the life of a child can end, and the errors that say so.

SandboxFailed
├── ChildFailed         the child's own fault, stored as data by whoever asked
│   ├── ChildDied           it ended before it answered
│   ├── ChildTimedOut       wall clock or processor time ran out; it was killed
│   └── ChildMisbehaved     it sent a bad frame or flooded its output; it was killed
├── LockFailed          the wall could not be raised in the child, so nothing was run in it
├── ZygoteFailed        the zygote cannot be started, or was lost with its children
└── IsolationTooWeak    this machine offers less than the caller requires
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from core.errors import ConfigurationError, SandboxFailed

TAIL_BYTES = 8 * 1024

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_UNWANTED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # controls of writing direction
    "\u2028\u2029\ufeff\ud800-\udfff]"  # line separators, byte order mark, half surrogate pairs
)


def clean_text(raw: bytes | str, max_characters: int = TAIL_BYTES) -> str:
    r"""Return the end of a text from a jailed child, safe for databases, terminals and pages.

    >>> clean_text("ok\x1b[31m red\x00\u202e!")
    'ok red!'
    """
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    text = text[-4 * max_characters :].replace("\r\n", "\n")
    return _UNWANTED.sub("", _ESCAPE_SEQUENCE.sub("", text))[-max_characters:]


@dataclass(frozen=True, slots=True)
class ChildExit:
    """How a child ended.  Both `exit_code` and `signal` are None if the zygote was lost first.

    `max_rss_bytes` counts pages inherited from the zygote too; `stderr_tail` is cleaned text.
    """

    exit_code: int | None
    signal: int | None
    max_rss_bytes: int
    cpu_seconds: float
    stderr_tail: str

    def sentence(self) -> str:
        """Return the end in words."""
        if self.signal is not None:
            return f"it was ended by {_signal_name(self.signal)}"
        if self.exit_code is not None:
            return f"it ended with exit code {self.exit_code}"
        return "its end was not seen"


@dataclass(frozen=True, slots=True)
class Isolation:
    """What the wall of this machine is worth: 3, 1 or 0, and the attacks that got through.

    | level | what was refused                           | verdict                              |
    |-------|--------------------------------------------|--------------------------------------|
    | 3     | everything                                 | the default requirement              |
    | 1     | all but reading and writing files          | only if the operator says so by name |
    | 0     | less, or there is no wall on this platform | refuse model-written code            |
    """

    level: int
    failed: tuple[str, ...] = ()


class ChildFailed(SandboxFailed):
    """A child did not do what it was started for; `exit` says how it ended."""

    def __init__(
        self,
        found: str,
        *,
        exit: ChildExit | None = None,
        expected: str | None = None,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.exit = exit
        super().__init__(found, expected=expected, where=where, hint=hint)


class ChildDied(ChildFailed):
    """The child ended before it answered: an exception, an exit, a signal or too much memory."""


class ChildTimedOut(ChildFailed):
    """The child was killed because its time ran out."""


class ChildMisbehaved(ChildFailed):
    """The child was killed because it broke the rules of the channel."""


class LockFailed(SandboxFailed):
    """The wall could not be raised in a child, so nothing was run in it."""


class ZygoteFailed(SandboxFailed):
    """The zygote cannot be started, does not answer, or was lost together with its children."""


class IsolationTooWeak(SandboxFailed, ConfigurationError):
    """This machine offers less isolation than the caller requires: its operator can mend that."""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
