"""How long a program may take: a clock over every call, and a place where the parent sees whose it is.

Time is the processor time of this process, never that of the wall: a busy machine makes no program
slow.  A timer counts it, and looks at each tick who is being called, so that a call costs next to
nothing more.  Two rules, both told to the designer with their numbers:

    overdue  one call takes SECONDS, ROW_SECONDS for each of its rows, and LONGEST_TIMES the longest
             call of any other program
    slow     twice in a row, SPAN_SECONDS in its calls were SLOW_TIMES what the check lets pass for
             their rows, CHECKED_ROW_SECONDS each, and CALL_SECONDS besides for each of them

Who is slow does not depend on who else is trained, nor on how fast the environment is: `features` are
called at every step with few rows and `reward` once for a whole rollout, so programs that have them
and programs that have none cannot be compared with each other.

A call that swallows what the timer raises, or that hangs inside C, is left to the parent's patience;
`Notice` then tells it which program was being called.  Runs inside training children, except `Notice`.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from types import FrameType, TracebackType

from core.errors import ProgramRejected
from core.sandbox import Link

SECONDS = 2.0
CHECKED_ROW_SECONDS = 20e-6  # what the check lets pass, with thousands of rows
ROW_SECONDS = 10 * CHECKED_ROW_SECONDS
LONGEST_TIMES = 50.0
CALL_SECONDS = 1e-3  # what a call may cost before its first row: hundreds of operations on arrays
SLOW_TIMES = 3.0  # a busy core is slower than the one of the check
SPAN_SECONDS = 5.0  # of the program's own; a hundred ticks
_TICK_SECONDS = 0.05
_NOBODY = 0


class Notice:
    """The parent's end of a few shared bytes in which the child keeps who is being called.

    A store into a mapped page costs the child nothing, and outlives it.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        self._file.truncate(mmap.PAGESIZE)

    def link(self) -> Link:
        """Return a descriptor to hand to the child; whoever takes it closes it.

        The file is opened anew: a duplicate would share its flags, and the child could change ours.
        """
        opened = os.open(f"/proc/self/fd/{self._file.fileno()}", os.O_RDWR | os.O_CLOEXEC)
        return os.fdopen(opened, "r+b", buffering=0)

    def called(self, arms: int) -> int | None:
        """Return the place of the arm that is, or was last, inside a call; None if none was.

        Read, not mapped: a file that the child cut short must not take this process down.
        """
        number = int.from_bytes(os.pread(self._file.fileno(), 4, 0), sys.byteorder)
        return number - 1 if _NOBODY < number <= arms else None

    def close(self) -> None:
        """Forget it."""
        self._file.close()


class Overdue(BaseException):
    """Raised by the timer inside a program's call; no `except Exception` of the program stops it."""


class Deadlines:
    """The clock over the programs of one training child.

    As a context manager it runs the timer, where this is the main thread of its process.
    """

    def __init__(self, links: Sequence[Link] = ()) -> None:
        """Take the parent's notice, if there is one."""
        page = mmap.mmap(links[0].fileno() if links else -1, mmap.PAGESIZE)
        self._page = memoryview(page).cast("I")
        self._guards: list[Guard] = []
        self._inside: Guard | None = None
        self._calls = self._seen = 0
        self._ticks = 0

    def guard(self, arm: int) -> Guard:
        """Return what watches the calls of one program, by the place of its arm in the order."""
        guard = Guard(self, arm)
        self._guards.append(guard)
        return guard

    def __enter__(self) -> Deadlines:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGPROF, self._tick)
            signal.setitimer(signal.ITIMER_PROF, _TICK_SECONDS, _TICK_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            signal.signal(signal.SIGPROF, signal.SIG_IGN)

    def began(self, guard: Guard) -> None:
        """Note that a program is being called."""
        self._page[0] = guard.arm + 1
        self._calls += 1
        self._inside = guard

    def ended(self) -> None:
        """Note that nobody is being called."""
        self._inside = None
        self._page[0] = _NOBODY

    def budget(self, guard: Guard) -> float:
        """Return how many seconds one call of a program may take."""
        others = [other.longest for other in self._guards if other is not guard]
        return max(SECONDS, ROW_SECONDS * guard.rows, LONGEST_TIMES * max(others, default=0.0))

    def judge(self) -> None:
        """Condemn programs that were slow; to be called between rollouts."""
        for guard in self._guards:
            guard.judge()

    def _tick(self, number: int, frame: FrameType | None) -> None:
        guard = self._inside
        if guard is None:
            return
        guard.spent += _TICK_SECONDS
        if self._calls != self._seen:
            self._seen, self._ticks = self._calls, 0
            return
        self._ticks += 1
        if self._ticks * _TICK_SECONDS >= self.budget(guard):
            self._inside = None  # once: what swallows it is left to the parent
            raise Overdue


class Guard:
    """Watches the calls of one program; a context manager around each of them."""

    def __init__(self, deadlines: Deadlines, arm: int) -> None:
        self.arm = arm
        self.longest = 0.0
        self.rows = 0  # of the call that is under way
        self._deadlines = deadlines
        self._condemned: ProgramRejected | None = None
        self._was_slow = False
        self.spent = 0.0  # in this span, which it took for so many calls and rows
        self.calls = self.called_rows = 0
        self._since = 0.0

    def __enter__(self) -> None:
        """Begin a call.

        Raises:
            ProgramRejected: the program was found too slow before.
        """
        if self._condemned is not None:
            raise self._condemned
        self._deadlines.began(self)
        self.calls += 1
        self.called_rows += self.rows
        self._since = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._deadlines.ended()
        used = time.perf_counter() - self._since  # of the wall: at worst it makes us generous
        if error is None and used > self.longest:
            self.longest = used

    def overdue(self, where: str | None) -> ProgramRejected:
        """Return the rejection of a program whose call the timer has ended; it is called no more."""
        self._deadlines.ended()  # the timer may have struck before its number was off the page
        budget = self._deadlines.budget(self)
        self._condemned = ProgramRejected(
            f"no result after {budget:.3g} s of processor time",
            rule="time",
            expected=f"a result within {SECONDS:g} s, {1e6 * ROW_SECONDS:g} µs for each row, or "
            f"{LONGEST_TIMES:g} times the longest call of any other program, whichever is most",
            where=where,
            hint="Leave loops out; compute with whole arrays.",
        )
        return self._condemned

    def judge(self) -> None:
        """End a span once it is long enough to be measured, and condemn a program that is slow."""
        if self.spent < SPAN_SECONDS:
            return
        fair = CALL_SECONDS * self.calls + CHECKED_ROW_SECONDS * self.called_rows
        slow = self.spent > SLOW_TIMES * fair
        if slow and self._was_slow and self._condemned is None:
            self._condemned = self._too_slow()
        self._was_slow = slow
        self.spent, self.calls, self.called_rows = 0.0, 0, 0

    def _too_slow(self) -> ProgramRejected:
        return ProgramRejected(
            f"{self.spent:.1f} s of processor time in {self.calls} calls with {self.called_rows} rows",
            rule="time",
            expected=f"at most {1e6 * SLOW_TIMES * CHECKED_ROW_SECONDS:g} µs for each row and "
            f"{1e3 * SLOW_TIMES * CALL_SECONDS:g} ms for each call",
            where="reward and features",
            hint="Leave loops out; compute with whole arrays.",
        )
