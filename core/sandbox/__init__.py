"""The sandbox: untrusted code runs in locked child processes, and nowhere else.

A worker owns a `Sandbox`; `spawn` gives it a `Child` to exchange frames with.  Inside, an entry
function receives a `Channel` and its links.  Reading order: supervisor, child,
zygote, jailed, lock, landlock, seccomp; frames is the wire; selftest finds what the wall is worth.
"""

from core.sandbox.child import Child
from core.sandbox.frames import (
    BadFrame,
    Channel,
    ChannelClosed,
    FloatLink,
    Frame,
    FrameTimeout,
    Link,
)
from core.sandbox.limits import GIB, MIB, Limits
from core.sandbox.lock import expect_hidden
from core.sandbox.outcomes import (
    ChildDied,
    ChildExit,
    ChildFailed,
    ChildMisbehaved,
    ChildTimedOut,
    Isolation,
    IsolationTooWeak,
    LockFailed,
    ZygoteFailed,
    clean_text,
)
from core.sandbox.supervisor import MAX_LINKS, Sandbox

__all__ = [
    "GIB",
    "MAX_LINKS",
    "MIB",
    "BadFrame",
    "Channel",
    "ChannelClosed",
    "Child",
    "ChildDied",
    "ChildExit",
    "ChildFailed",
    "ChildMisbehaved",
    "ChildTimedOut",
    "FloatLink",
    "Frame",
    "FrameTimeout",
    "Isolation",
    "IsolationTooWeak",
    "Limits",
    "Link",
    "LockFailed",
    "Sandbox",
    "ZygoteFailed",
    "clean_text",
    "expect_hidden",
]
