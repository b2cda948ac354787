"""The store of trajectories: which recorded episodes the screens of an iteration look at.

What was recorded of the random policy, of the native reward and of every trained candidate is an
artifact of its arm.  The store is not kept anywhere: it follows from the facts of the closed
iterations, so that a Propose step that is done again looks at the same episodes, however fast the
baseline was.
"""

from __future__ import annotations

from core.choosing import search_fitness
from core.exploits import exploits
from core.ports import Source
from core.records.history import History
from core.records.kinds import NATIVE
from core.records.rounds import Candidate, Iteration

RANDOM = "random"  # the arm of the random policy, whose episodes preflight recorded
MOST_SOURCES = 24
MOST_EXPLOITS = 8
MOST_TRAJECTORIES = 200  # of all sources together; each gives as many as the others


def sources(history: History) -> tuple[Source, ...]:
    """Return whose episodes are looked at, most telling first; none before an iteration has closed.

    The random policy and the native reward first, then the exploits from the newest on, then of each
    iteration from the newest on the best candidate, the worst, and what lies between.
    """
    closed = [i for i in history.iterations if i.feedback is not None]
    found = history.preflight
    if not closed or found is None:
        return ()
    known_exploits = exploits(history)
    bank = known_exploits[::-1][:MOST_EXPLOITS]
    named = [(RANDOM, found.recording, False)]
    if history.native_report is not None:
        named.append((NATIVE, history.native_report.recording, False))
    named += [(c.key, _recording(c), True) for c in bank]
    hacks = {c.key for c in known_exploits}
    for iteration in reversed(closed):
        named += [(c.key, _recording(c), False) for c in _telling(iteration) if c.key not in hacks]
    kept = [Source(key, sha256, hack) for key, sha256, hack in named if sha256 is not None]
    return tuple(kept[:MOST_SOURCES])


def _recording(candidate: Candidate) -> str | None:
    return None if candidate.report is None else candidate.report.recording


def _telling(iteration: Iteration) -> list[Candidate]:
    """Order an iteration's scored candidates: best, worst, second best, second worst and so on."""
    scored = [(f, c) for c in iteration.candidates if (f := search_fitness(c)) is not None]
    ranked = [c for _, c in sorted(scored, key=lambda pair: (-pair[0], pair[1].number))]
    half = (len(ranked) + 1) // 2
    from_top, from_bottom = ranked[:half], ranked[half:][::-1]
    pairs = [c for pair in zip(from_top, from_bottom, strict=False) for c in pair]
    return [*pairs, *from_top[len(from_bottom) :]]
