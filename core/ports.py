"""What the loop needs from the outside world, and nothing else.

Four seams: a designer that answers, a laboratory that runs generated code behind walls, a store of
artifacts, and the ledger of one claimed step.  Real ones live in the rim; tests use small fakes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from core.records.asking import Ask, Example, Exchange, Reply
from core.records.history import History
from core.records.kinds import Json, Mode, Stage
from core.records.measured import Preflight, Report, Rollout, Run, Saved, Walls
from core.records.outcome import Outcome
from core.records.programs import Program, ProgramShape, Screen
from core.records.rounds import Candidate, Feedback
from core.records.spec import Training
from core.records.task import Task

Doubles: TypeAlias = npt.NDArray[np.float64]


class Designer(Protocol):
    """Writes programs.  One method; called from several threads at once."""

    @property
    def name(self) -> str:
        """Return the name under which its exchanges are stored."""
        ...

    def answer(self, ask: Ask) -> Reply:
        """Answer one question.  A bad reply is an outcome.

        Raises:
            DesignerUnavailable: the endpoint cannot answer now; nothing is known about the program.
        """
        ...


class Gate(Protocol):
    """What all workers together know of an endpoint: whether to ask it now."""

    def enter(self) -> float:
        """Return 0 if a call may be made now, and count it; else for how many seconds to wait.

        Raises:
            StorageFailed: what all workers know cannot be asked.
        """
        ...

    def leave(self, ended: Literal["answered", "failed", "refused"]) -> None:
        """Note how a call ended: "failed" may pass by itself, "refused" must be mended by people."""
        ...


class Artifacts(Protocol):
    """Content-addressed bytes."""

    def put(self, content: bytes) -> str:
        """Store bytes durably and return their sha256.

        Raises:
            StorageFailed: the disk is full or not writable.
        """
        ...

    def get(self, sha256: str) -> bytes:
        """Return the bytes.

        Raises:
            NotFound: nothing is stored under that hash.
            StorageFailed: what is stored does not have that hash any more.
        """
        ...


Params: TypeAlias = Mapping[str, float]
Bounds: TypeAlias = Mapping[str, tuple[float, float]]


class Tuner(Protocol):
    """Chooses other numbers for a program's PARAMS, from stored trials alone."""

    def __call__(
        self, trials: Sequence[tuple[Params, float]], bounds: Bounds, seed: int, count: int
    ) -> Sequence[Params]:
        """Choose the next numbers to try.

        The same arguments give the same numbers, in whatever process.

        Args:
            trials: (numbers, fitness) in the order in which they were tried; the first is the
                program's own choice.
            bounds: name -> (low, high).
            seed:   of what is left to chance.
            count:  how many sets of numbers, to be tried at the same time.

        Returns:
            `count` different sets of numbers inside the bounds, that no trial has had.
        """
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step has come, for people: 0 ≤ done ≤ total in environment steps or items."""

    phase: str
    done: int
    total: int
    note: str = ""


Watch = Callable[[Progress], None]
"""Called at least once a second while a child runs.  Raises StepInterrupted or ClaimLost to stop."""


def watch_nothing(progress: Progress) -> None:
    """Hear how far something is: somebody else keeps the claim alive, and stops it."""


Save = Callable[[Sequence[Saved]], None]
"""Called now and then with all members of a pack that is being trained.  Raises ClaimLost to stop."""


def save_nothing(saved: Sequence[Saved]) -> None:
    """Keep nothing: a training that is cut off starts over."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What a run trains on: the native reward (program None) or a candidate's program."""

    key: str
    program: Program | None = None


@dataclass(frozen=True, slots=True)
class PackOrder:
    """Runs to be trained together for one rung and then measured.

    Attributes:
        members:     (arm key, seed) of every run, in a fixed order.
        arms:        arm key -> arm.
        start_steps, stop_steps: environment steps at which the rung begins and ends.
        resume:      (arm key, seed) -> sha256 of the checkpoint to go on from; empty at rung 0.
        warm:        (arm key, seed) -> sha256 of other runs' checkpoints, whose raw transitions go into
                     the member's replay before its first step, the first of them first.
        held_out:    seeds of the evaluation episodes, the same for all members.
        checkpoints: how many times the policy is measured on the way, the end included.
        record:      whether transitions are recorded and component statistics computed.
        saved:       (arm key, seed) -> how far an earlier attempt came; of all members or of none.
        threads:     that the environments may use for their physics.
        learner:     the user's own, which trains in place of ours; None for ours.
    """

    task: Task
    preflight: Preflight
    training: Training
    stage: Stage
    rung: int
    mode: Mode
    weight: float
    members: tuple[tuple[str, int], ...]
    arms: Mapping[str, Arm]
    start_steps: int
    stop_steps: int
    held_out: tuple[int, ...]
    checkpoints: int
    record: bool = True
    resume: Mapping[tuple[str, int], str] = field(default_factory=dict)
    saved: Mapping[tuple[str, int], Saved] = field(default_factory=dict)
    warm: Mapping[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    threads: int = 1
    learner: Json | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Recorded episodes that screens look at.

    Attributes:
        key:       of the arm that lived them: "random", "native" or a candidate's key.
        recording: sha256 of the artifact, the most telling episodes first.
        exploit:   whether the arm is one that was paid for what is not the task.
    """

    key: str
    recording: str
    exploit: bool = False


@dataclass(frozen=True, slots=True)
class ScreenOrder:
    """Programs to be called, without any training, on the probe set and on stored trajectories.

    Attributes:
        programs:     key -> program: those to be screened and those that they are compared with.
        asked:        keys of those to be screened.
        sources:      whose trajectories; none for a comparison on the probe set alone.
        trajectories: how many there may be in all.
    """

    preflight: Preflight
    training: Training
    mode: Mode
    weight: float
    programs: Mapping[str, Program]
    asked: frozenset[str]
    sources: tuple[Source, ...] = ()
    trajectories: int = 200


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One stored episode: who lived it, how well it was done, and whether it is an exploit's."""

    source: str
    fitness: float
    length: int
    exploit: bool = False


@dataclass(frozen=True, slots=True)
class ScreenNumbers:
    """What one program says of the screens' rows; R sampled transitions, T trajectories.

    Attributes:
        reward:    [R] the sum of the components; None without `reward`.
        canonical: [R] the same after canonicalisation (EPIC); None where that was not possible.
        features:  [F, R] the features of the next states.
        per_step:  [T] mean of what a trajectory is paid per step, native reward included in mode "add".
        in_sum:    [T] its discounted sum.
        rows:      rows of the better and of the worse episode of the worst-ordered pair, for people.
    """

    reward: Doubles | None
    canonical: Doubles | None
    features: Doubles
    per_step: Doubles
    in_sum: Doubles
    rows: tuple[tuple[Json, ...], tuple[Json, ...]] = ((), ())


@dataclass(frozen=True, slots=True)
class Screening:
    """The numbers of all programs of an order.

    Attributes:
        trajectories: [T], the same for all programs.
        numbers:      key -> numbers; a program that broke has none.
        normalised:   whether the learner divides rewards by their running scale.
        broken:       key -> why a program has none.
    """

    trajectories: tuple[Trajectory, ...]
    numbers: Mapping[str, ScreenNumbers]
    normalised: bool = True
    broken: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checked:
    """A program that keeps the contract.

    Attributes:
        shape:     what it is made of.
        screening: what the screens ask of it; None where its child broke over that, which the contract
            does not forbid.
    """

    shape: ProgramShape
    screening: Screening | None = None


@dataclass(frozen=True, slots=True)
class News:
    """What an event tells, before it is stored."""

    kind: str
    message: str
    data: Json = field(default_factory=dict)
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Filled:
    """A slot's candidate, and what led to it and is not stored yet, in order."""

    candidate: Candidate
    before: tuple[Exchange | News, ...] = ()


@dataclass(frozen=True, slots=True)
class Screened:
    """What the screens decided of a candidate: dropped ones are not trained.

    `saved_steps` are the environment steps of its first rung with all seeds, which it would have had
    for certain; what later rungs would have cost nobody knows.
    """

    candidate: str
    screens: tuple[Screen, ...]
    dropped: bool = False
    saved_steps: int = 0


@dataclass(frozen=True, slots=True)
class FilmOrder:
    """One episode of one policy, to be lived again before a camera.

    Attributes:
        arm:      whose policy acts, with the program that gives its features.
        run:      the training that it comes from; it has weights.
        episode:  number among the arm's filmed ones.
        held_out: the seed of the environment, alone.
    """

    task: Task
    preflight: Preflight
    arm: Arm
    run: Run
    episode: int
    held_out: tuple[int, ...]
    mode: Mode
    weight: float


@dataclass(frozen=True, slots=True)
class PackResult:
    """What a pack gave: one run per member, in the order's order, and a report per arm."""

    runs: tuple[Run, ...]
    reports: Mapping[str, Report]


class Laboratory(Protocol):
    """Everything that happens behind the walls of the sandbox."""

    def walls(self) -> Walls:
        """Return how strong these are, and whether the operator lets them do although weak."""
        ...

    def preflight(
        self, task: Task, training: Training, seed: int, watch: Watch, *, source: bool = False
    ) -> Preflight:
        """Build the environment, probe it, and store the probe set.

        With `source` the text of its classes comes along, for prompts that show it.

        Raises:
            EnvironmentUnusable: it cannot be built, or its spaces are not supported.
            InvalidFitness: the fitness names a field that the environment does not give.
            InvalidInput: the learner has no such setting, or its value is absurd.
        """
        ...

    def require_learner(self, learner: Json, watch: Watch) -> None:
        """Find the learner that a request brings along.

        Raises:
            InvalidInput: it is not there; says what to do.
        """
        ...

    def check(self, program: Program, task: Task, preflight: Preflight) -> ProgramShape:
        """Call the program on the probe set and hold it to the contract.

        Raises:
            ProgramRejected: with the message for the designer.
        """
        ...

    def check_and_screen(self, key: str, order: ScreenOrder) -> Checked:
        """Hold one program of an order to the contract, and call it as `screen` does, in one process.

        Raises:
            ProgramRejected, SandboxFailed: as `check` and `screen`.
        """
        ...

    def screen(self, order: ScreenOrder, watch: Watch) -> Screening:
        """Call programs on sampled transitions and on stored trajectories.

        Raises:
            SandboxFailed: the sandbox itself is broken.
        """
        ...

    def train(self, order: PackOrder, watch: Watch, save: Save = save_nothing) -> PackResult:
        """Train the members of a pack, measure them, and examine their programs.

        It goes on from `order.saved`, and tells `save` now and then what it could go on from.
        A member that breaks is a failed run in the result; the others go on untouched.

        Raises:
            SandboxFailed: the machine, not a program, is at fault.
        """
        ...

    def film(self, order: FilmOrder, watch: Watch) -> Rollout:
        """Live an episode and render it; where there is no video, the rollout says why.

        Raises:
            ScoringFailed, EnvironmentUnusable, SandboxFailed: it could not be lived.
        """
        ...


class Ledger(Protocol):
    """The writer of one claimed step: each method is its own fenced transaction.

    Facts have natural keys: writing one twice stores it once.

    Raises (every method):
        ClaimLost: the claim lapsed and somebody else may own the step.
    """

    @property
    def job_id(self) -> str:
        """Return the id of the job that the claimed step belongs to."""
        ...

    def history(self) -> History:
        """Return every stored fact of the job."""
        ...

    def exchanges(self, iteration: int) -> Sequence[Exchange]:
        """Return the exchanges already paid for in an iteration."""
        ...

    def beat(self, progress: Progress) -> None:
        """Renew the claim and note the progress.

        Raises:
            StepInterrupted: the job was cancelled or paused.
        """
        ...

    def event(
        self,
        kind: str,
        message: str,
        data: Json | None = None,
        level: str = "info",
        *,
        once: bool = False,
    ) -> None:
        """Append an event; one that is told `once` only if none of its kind tells the same data."""
        ...

    def take_in(self) -> None:
        """Write all facts of an exported job that waits to be taken in, and end it as it had ended."""
        ...

    def add_preflight(self, preflight: Preflight, told: Sequence[News] = ()) -> None:
        """Store what preflight found, and tell of it."""
        ...

    def find_examples(self) -> Sequence[Example]:
        """Return finished designs of the library that fit the job, as many as its prompts show."""
        ...

    def add_examples(self, examples: Sequence[Example]) -> None:
        """Store the designs that all prompts of the job show, unless they were chosen before."""
        ...

    def reserve(self, iteration: int, slot: int, attempt: int, tokens: int, money: float) -> None:
        """Count what a question will cost before it is asked; it stays counted if we die of it."""
        ...

    def unreserve(self, iteration: int, slot: int, attempt: int) -> None:
        """Count no more what was set aside for a question that was certainly not paid for."""
        ...

    def add_exchange(self, exchange: Exchange) -> None:
        """Store a question and its answer, and count its cost in place of what was set aside.

        Raises:
            ClaimLost: somebody else has the step by now; the cost is counted.
        """
        ...

    def add_candidate(self, candidate: Candidate, before: Sequence[Exchange | News] = ()) -> None:
        """Store a candidate with its checks; runs and report come later.

        With it what led to it and is not stored yet.
        """
        ...

    def end_proposing(
        self,
        iteration: int,
        screened: Sequence[Screened] = (),
        filled: Sequence[Filled] = (),
    ) -> None:
        """Mark every slot of the iteration as filled, and store what the screens decided of them.

        With it those candidates that are not stored yet.
        """
        ...

    def saved(self) -> Sequence[Saved]:
        """Return how far the job's runs under way have come."""
        ...

    def save(self, saved: Sequence[Saved]) -> None:
        """Note how far runs under way have come, in place of what was noted before."""
        ...

    def add_runs(self, runs: Sequence[Run], reports: Mapping[str, Report]) -> None:
        """Store runs, curves and reports, and bring the candidates' status up to date.

        What `save` noted of these runs is forgotten.
        """
        ...

    def add_feedback(self, feedback: Feedback, told: Sequence[News] = ()) -> None:
        """Store what an iteration taught and close it, and tell of it."""
        ...

    def add_rollouts(self, filmed: Sequence[Rollout]) -> None:
        """Store filmed episodes, those without a video as well."""
        ...

    def finish(self, outcome: Outcome) -> None:
        """Store the outcome and end the job as succeeded."""
        ...

    def fail(self, reason: str, message: str, data: Json | None = None) -> None:
        """End the job as failed; `reason` is a short name, `message` for people."""
        ...

    def pause(self, reason: str) -> None:
        """Let the job rest until people have mended something and resume it; nothing is lost."""
        ...

    def await_feedback(self, reason: str) -> None:
        """Let the job rest until people have said something; a remark lets it go on."""
        ...

    def wait(self, seconds: float, reason: str) -> None:
        """Let the step rest: it is not claimed again before that many seconds have passed."""
        ...
