"""How the screens of one Propose step come by their numbers: known programs are called once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from core.ports import Laboratory, Progress, Screened, Screening, Watch
from core.records.history import History
from core.records.programs import Program, Screen
from core.records.rounds import Candidate
from core.screens import SCREENS, Case, judge, known_candidates, known_duplicate, screen_order


@dataclass(slots=True)
class ScreenBench:
    """Screens the candidates of an iteration against the closed ones; used by several threads.

    Attributes:
        history: as it was when the step began; what the open iteration holds plays no part in it.
        laboratory: calls the programs.
    """

    history: History
    laboratory: Laboratory
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: Screening | None = None
    _own: dict[str, tuple[Program, Screening]] = field(default_factory=dict)

    def problem(self, candidate: Candidate) -> str | None:
        """Say what a candidate is a duplicate of, for its designer; None if it is new.

        Compared is with earlier iterations alone, so that the slots do not wait for each other.
        """
        known = known_candidates(self.history)
        if "duplicate" not in self.history.spec.screens or candidate.program is None or not known:
            return None
        screening = self._numbers([candidate], _nobody, shown=True)
        if candidate.key in screening.numbers:  # for `judge`, if the candidate stays as it is
            self._own[candidate.key] = candidate.program, screening
        found = known_duplicate(self.history, candidate, screening)
        return found.message if found.verdict == "fail" else None

    def judge(self, candidates: Sequence[Candidate], watch: Watch) -> tuple[Screened, ...]:
        """Say what the screens decide of the iteration's sound candidates, in order of the slots."""
        asked = {
            c.key: screening for c in candidates if (screening := self._asked_for(c)) is not None
        }
        left = [c for c in candidates if c.key not in asked]
        found = [*asked.values(), *([self._numbers(left, watch, shown=True)] if left else [])]
        return judge(self.history, candidates, _joined(found))

    def _asked_for(self, candidate: Candidate) -> Screening | None:
        """Return the numbers of a candidate if they were asked for while its slot was filled."""
        program, screening = self._own.get(candidate.key, (None, None))
        return screening if program == candidate.program else None

    def by_worth(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return candidates in the order in which they are worth a training, most of all first.

        Those that the order screen passes, by Kendall's τ; then those of which it cannot tell; then
        those that it fails; last of all, copies of what is known.  As they came where the job has
        neither screen.
        """
        wanted = [name for name in ("duplicate", "order") if name in self.history.spec.screens]
        if not wanted:
            return list(candidates)
        found, known = self._numbers(candidates, _nobody), known_candidates(self.history)
        cases = {c.key: Case(self.history, c, found, known) for c in candidates}
        said = {key: [SCREENS[name](case) for name in wanted] for key, case in cases.items()}
        return sorted(candidates, key=lambda c: _worth(said[c.key]))

    def _numbers(
        self, candidates: Sequence[Candidate], watch: Watch, *, shown: bool = False
    ) -> Screening:
        with self._lock:
            if self._known is None:
                self._known = self._of_known(watch)
        own = self.laboratory.screen(screen_order(self.history, candidates, shown=shown), watch)
        return replace(own, numbers={**self._known.numbers, **own.numbers})

    def _of_known(self, watch: Watch) -> Screening:
        known = known_candidates(self.history)
        if not known:
            return Screening((), {})
        return self.laboratory.screen(screen_order(self.history, known), watch)


def _joined(found: Sequence[Screening]) -> Screening:
    """Put the numbers of several programs together; their trajectories are the same."""
    numbers = {key: one for screening in found for key, one in screening.numbers.items()}
    broken = {key: why for screening in found for key, why in screening.broken.items()}
    return replace(found[0], numbers=numbers, broken=broken)


def _worth(screens: Sequence[Screen]) -> tuple[bool, int, float]:
    copied = any(s.name == "duplicate" and s.verdict == "fail" for s in screens)
    place, score = 0, 0.0
    for screen in screens:
        if screen.name == "order":
            place, score = ("pass", "abstain", "fail").index(screen.verdict), screen.score or 0.0
    return copied, place, -score


def _nobody(progress: Progress) -> None:
    """Watch nothing: the step's own thread keeps its claim alive."""
