"""How programs of one Propose step are checked and screened: each is called once, known ones too."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from core.errors import StepInterrupted
from core.ports import Laboratory, Progress, Screened, Screening, Watch, watch_nothing
from core.records.history import History
from core.records.programs import Program, ProgramShape, Screen
from core.records.rounds import Candidate
from core.records.task import Task
from core.screens import SCREENS, Case, judge, known_candidates, known_duplicate, screen_order

BEAT_SECONDS = 0.5


@dataclass(slots=True)
class ProgramBench:
    """Checks, ranks and screens the programs of an iteration; used by several threads.

    Compared is with the trained programs of closed iterations, whose numbers are asked for once.

    Attributes:
        history: as it was when the step began; what the open iteration holds plays no part in it.
        laboratory: calls the programs.
    """

    history: History
    laboratory: Laboratory
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _called: Future[Screening] | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _own: dict[str, tuple[Program, Screening]] = field(default_factory=dict)

    def check(self, candidate: Candidate, task: Task) -> ProgramShape:
        """Hold a candidate's program to the contract, and keep what the screens will ask of it.

        Raises:
            ProgramRejected, SandboxFailed: as the laboratory's.
        """
        program, found = candidate.program, self.history.preflight
        assert program is not None  # its reader made one
        assert found is not None  # the loop proposes nothing before
        if not self.history.spec.screens:
            return self.laboratory.check(program, task, found)
        order = screen_order(self.history, [candidate], shown=True)
        checked = self.laboratory.check_and_screen(candidate.key, order)
        if checked.screening is not None:
            self._keep(candidate, checked.screening)
        return checked.shape

    def problem(self, candidate: Candidate) -> str | None:
        """Say what a candidate is a duplicate of, for its designer; None if it is new.

        Compared is with earlier iterations alone, so that the slots do not wait for each other.
        """
        known = known_candidates(self.history)
        if "duplicate" not in self.history.spec.screens or candidate.program is None or not known:
            return None
        own = self._asked_for(candidate)
        if own is None:
            own = self._ask([candidate], watch_nothing, shown=True)
            self._keep(candidate, own)
        screening = self._with_known(own, watch_nothing)
        found = known_duplicate(self.history, candidate, screening)
        return found.message if found.verdict == "fail" else None

    def judge(self, candidates: Sequence[Candidate], watch: Watch) -> tuple[Screened, ...]:
        """Say what the screens decide of the iteration's sound candidates, in order of the slots."""
        asked = {
            c.key: screening for c in candidates if (screening := self._asked_for(c)) is not None
        }
        left = [c for c in candidates if c.key not in asked]
        found = [*asked.values(), *([self._ask(left, watch, shown=True)] if left else [])]
        return judge(self.history, candidates, self._with_known(_joined(found), watch))

    def _keep(self, candidate: Candidate, own: Screening) -> None:
        """Keep the numbers of a program; one that broke is asked again when all are judged."""
        if candidate.key in own.numbers and candidate.program is not None:
            self._own[candidate.key] = candidate.program, own

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
        found = self._with_known(self._ask(candidates, watch_nothing), watch_nothing)
        known = known_candidates(self.history)
        cases = {c.key: Case(self.history, c, found, known) for c in candidates}
        said = {key: [SCREENS[name](case) for name in wanted] for key, case in cases.items()}
        return sorted(candidates, key=lambda c: _worth(said[c.key]))

    def _ask(
        self, candidates: Sequence[Candidate], watch: Watch, *, shown: bool = False
    ) -> Screening:
        return self.laboratory.screen(screen_order(self.history, candidates, shown=shown), watch)

    def _with_known(self, own: Screening, watch: Watch) -> Screening:
        """Put the numbers of the known programs beside others; they are asked for once."""
        return replace(own, numbers={**self._of_known(watch).numbers, **own.numbers})

    @contextmanager
    def calling_known(self) -> Iterator[None]:
        """Have the known programs called meanwhile: all slots need their numbers in the end."""
        if self.history.spec.screens and known_candidates(self.history):
            self._known_call()
        try:
            yield
        finally:
            self._over.set()

    def _of_known(self, watch: Watch) -> Screening:
        if not known_candidates(self.history):
            return Screening((), {})
        call = self._known_call()
        while not wait([call], BEAT_SECONDS).done:
            watch(Progress("screening", 0, 1))
        try:
            return call.result()
        except Exception:
            with self._lock:  # whoever comes next asks again
                self._called = None if self._called is call else self._called
            raise

    def _known_call(self) -> Future[Screening]:
        with self._lock:
            if self._called is None:
                known = known_candidates(self.history)
                pool = ThreadPoolExecutor(1, thread_name_prefix="propose-known")
                self._called = pool.submit(self._ask, known, self._until_over)
                pool.shutdown(wait=False)  # its thread ends with its work
            return self._called

    def _until_over(self, progress: Progress) -> None:
        if self._over.is_set():
            raise StepInterrupted("The step that wanted these numbers has ended.")


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
