"""What an attack is, what it aims at, and what came of it."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Ends = Literal["refused", "allowed", "stopped", "gone", "orphaned"]

REFUSALS = frozenset(
    {errno.EACCES, errno.EPERM, errno.ENOSYS, errno.ENOMEM, errno.EAGAIN, errno.EFBIG}
)
"""What a wall answers.  Any other error (no such file, a bad argument) is a fault of the attack."""


class Absent(Exception):
    """The attack looked for something that is not there."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the attacks aim at; laid out before the child is locked.

    secret     a file that everybody may read
    private    a file that only its owner may read
    shared     a folder that everybody may write
    token      a name for files in shared places that nobody else uses
    link       a symbolic link to the secret, in a folder that the child may read
    canary     a text that stands in the worker's environment
    inherited  names of variables that came from the worker's environment
    tcp, udp   ports on which somebody listens at 127.0.0.1
    unix       path of a unix socket on which somebody listens
    abstract   name of one without a path
    """

    secret: str
    shared: str = "/tmp"
    token: str = "attack"
    private: str = ""
    link: str = ""
    canary: str = ""
    inherited: tuple[str, ...] = ()
    tcp: int = 0
    udp: int = 0
    unix: str = ""
    abstract: str = ""


Attack = Callable[[Target], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One attack.

    Attributes:
        number:   its place in the list.
        family:   what it is after.
        name:     what it tries, as words after "it tried to".
        must:     what must come of it: the names of the errors that refuse or end it, in words.
        attack:   succeeds by returning; being refused raises OSError or MemoryError.
        ends:     refused   the attack raises
                  allowed   it returns, and that is written down as not covered
                  stopped   it never comes back, and whoever supervises ends it
                  gone      it returns, and nothing of it is left when the child has ended
                  orphaned  it returns, and dies together with its zygote
        unwalled: whether an ordinary user without a wall gets through on every machine: the suite
                  tries it, so that an attack that cannot succeed is found out.
    """

    number: int
    family: str
    name: str
    must: str
    attack: Attack
    ends: Ends = "refused"
    unwalled: bool = True


def attempt(case: Case, target: Target) -> str:
    """Run an attack here; return "reached", "refused: WHY" or "broken: WHY"."""
    try:
        case.attack(target)
    except Absent:
        return "refused: absent"
    except MemoryError:
        return "refused: ENOMEM"
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        return f"refused: {name}" if error.errno in REFUSALS else f"broken: {error!r}"
    return "reached"


def any_of(*ways: Callable[[], object]) -> None:
    """Try several ways; one that returns is enough.  Raises what refused the last one."""
    refusal: OSError | None = None
    for way in ways:
        try:
            way()
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            refusal = error
        else:
            return
    if refusal is not None:
        raise refusal


def use(gained: Callable[[], object]) -> None:
    """Use what was gained; the attack has got through even if this is refused."""
    with contextlib.suppress(PermissionError):
        gained()
