"""Seeds of the evaluation episodes: nobody who trains can know them."""

from __future__ import annotations

import hashlib
import hmac


def held_out_seeds(
    secret: bytes, job_id: str, iteration: int | str, rung: int, n: int
) -> tuple[int, ...]:
    """Derive n environment seeds in [0, 2³¹) by HMAC-SHA256 from the server's secret.

    All candidates of a rung share them.  Another iteration, rung or job has others.

    Args:
        secret:    the server's; it never enters a jail.
        job_id:    the job's id.
        iteration: the iteration's number, or the stage's name outside of iterations.
        rung:      the rung's number.
        n:         how many; a longer list begins with the shorter one.
    """
    return tuple(_seed(secret, f"{job_id}/{iteration}/{rung}/{index}") for index in range(n))


def _seed(secret: bytes, purpose: str) -> int:
    digest = hmac.new(secret, purpose.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFF_FFFF
