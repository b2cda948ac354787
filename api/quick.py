"""Asking the database without a thread of one's own, where that can be.

A thread for each question of each request costs more than most questions do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi.concurrency import run_in_threadpool

from core.storage import Swift, Unusual

T = TypeVar("T")


async def ask(
    swift: Swift | None, swiftly: Callable[[Swift], Awaitable[T]], plainly: Callable[[], T]
) -> T:
    """Return what the swift one answers, or else what the store does, which is asked in a thread.

    Raises:
        RewardsmithError: what either of them raises.
    """
    if swift is not None:
        try:
            return await swiftly(swift)
        except Unusual:
            pass  # it did nothing, and the store knows what to do or to say
    return await run_in_threadpool(plainly)
