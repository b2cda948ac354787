"""The laboratory: everything that runs generated code or foreign environments, behind one port.

    preflight   one child                     probing.py    → preflight.py in the jail
    check       one short-lived child         checking.py   → check.py, and screen_child.py after it
    screen      one child for many programs   screening.py  → screen_child.py
    film        camera and actor              filming.py    → film_child.py, actor.py
    train       one child per pack            retrying.py, supervising.py → train_child.py
                scorer and actor per arm      measuring.py  → scorer.py, actor.py
                one child per arm             examining.py  → examine.py

This side holds no generated code and imports neither torch nor an environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from core.errors import ScoringFailed
from core.learners import read_learner
from core.ports import (
    Arm,
    Artifacts,
    Checked,
    FilmOrder,
    PackOrder,
    PackResult,
    Progress,
    Save,
    Screening,
    ScreenOrder,
    Watch,
    save_nothing,
)
from core.records.kinds import Canaries, Json
from core.records.measured import Preflight, Report, Rollout, Run, Walls
from core.records.programs import Program, ProgramShape
from core.records.spec import Training
from core.records.task import Task
from core.sandbox import Sandbox
from core.statistics import mean
from core.training.action_space import read_action_space
from core.training.attending import Attended
from core.training.canaries import try_scorer
from core.training.checking import check_and_screen, check_program
from core.training.effort import usual_learning_seconds
from core.training.examining import examine_arm, with_course
from core.training.filming import film_episode
from core.training.learner_search import find_learner
from core.training.measuring import Measured, Score, measure
from core.training.minutes import Member, Trained
from core.training.probing import probe_task
from core.training.retrying import train_pack
from core.training.screening import screen_programs
from core.training.settings import check_algorithm, check_rollout, read_settings
from core.training.supervising import Supervision

PRELOAD_DESIGN = (
    "core.training.check",
    "core.training.screen_child",
    "core.training.rehearsal",
)
"""For what a proposal needs: numpy, no torch, no environment."""

PRELOAD_TORCH = (*PRELOAD_DESIGN, "core.training.torch_runtime")
"""For the same with programs that are written in torch."""

PRELOAD = (
    *PRELOAD_TORCH,
    "core.training.preflight",
    "core.training.scorer",
    "core.training.film_child",
    "core.training.actor",
    "core.training.examine",
    "core.training.train_child",
    "core.training.script_learner",
)
"""What the sandbox must import before it closes, for everything a laboratory does."""


@dataclass(frozen=True, slots=True)
class Laboratory:
    """Implements `core.ports.Laboratory` on a sandbox and a store of artifacts.

    Attributes:
        sandbox:     made with PRELOAD; with PRELOAD_TORCH where only `check` and `screen` are called.
        light:       made with PRELOAD_DESIGN, for `check` and `screen` of programs that need no torch:
                     a fork of it takes half the time.  None where `sandbox` does all.
        artifacts:   where probe sets, weights, checkpoints and evidence are kept.
        supervision: deadlines and memory of training.
        at_once:     trainings that run at once on this machine: as many as its worker has slots.
        waived:      whether these walls are weaker than the full ones, and the operator lets them do.
    """

    sandbox: Sandbox
    artifacts: Artifacts
    supervision: Supervision = field(default_factory=Supervision)
    at_once: int = 1
    waived: bool = False
    light: Sandbox | None = None

    def walls(self) -> Walls:
        """Return what the self-test behind checks and screens found, and whether that was waived."""
        return Walls((self.light or self.sandbox).isolation.level, self.waived)

    def preflight(
        self, task: Task, training: Training, seed: int, watch: Watch, *, source: bool = False
    ) -> Preflight:
        """Build the environment, probe it, and store the probe set; see the port.

        With `source` the text of its classes comes along, for prompts that show it.
        """
        check_rollout(read_settings(training.settings, training.algorithm), training.envs)
        found = probe_task(self.sandbox, self.artifacts, task, seed, watch, source=source)
        discrete = read_action_space(found.action).discrete
        check_algorithm(training.algorithm, discrete, training.warm_start)
        learning = usual_learning_seconds(found, training)
        return replace(found, at_once=self.at_once, learning_seconds=learning)

    def require_learner(self, learner: Json, watch: Watch) -> None:
        """Find the learner that a request brings along; see the port."""
        find_learner(self.sandbox, read_learner(learner), watch)

    def check(self, program: Program, task: Task, preflight: Preflight) -> ProgramShape:
        """Call the program on the probe set and hold it to the contract; see the port."""
        return check_program(self._box([program]), self.artifacts, program, preflight)

    def check_and_screen(self, key: str, order: ScreenOrder) -> Checked:
        """Do both with one program of an order; see the port."""
        return check_and_screen(self._box([order.programs[key]]), self.artifacts, key, order)

    def screen(self, order: ScreenOrder, watch: Watch) -> Screening:
        """Call programs on sampled transitions and on stored trajectories; see the port."""
        return screen_programs(self._box(order.programs.values()), self.artifacts, order, watch)

    def _box(self, programs: Iterable[Program]) -> Sandbox:
        """Return the lightest sandbox in which programs can be called.

        Raises:
            IsolationTooWeak: it has weaker walls than `walls` says.
        """
        if self.light is not None:
            if all(program.array != "torch" for program in programs):
                return self.light
            self.sandbox.require(self.light.isolation.level)
        return self.sandbox

    def train(self, order: PackOrder, watch: Watch, save: Save = save_nothing) -> PackResult:
        """Train the members of a pack, measure them, and examine their programs; see the port."""
        trained = train_pack(self.sandbox, self.artifacts, order, self.supervision, watch, save)
        checked = self._try_scorer(order, trained, watch)
        runs: dict[Member, Run] = {}
        reports: dict[str, Report] = {}
        for number, arm in enumerate(order.arms.values()):
            own = {member: trained[member] for member in order.members if member[0] == arm.key}
            progress = Progress("measuring", number, len(order.arms), arm.key)
            attended = Attended(self.artifacts, watch, progress)
            bench = Bench(self.sandbox, attended, order, arm, own, watch, progress, checked)
            measured, report = bench.work()
            runs |= measured
            if report is not None:
                reports[arm.key] = report
        walls = Walls(self.sandbox.isolation.level, self.waived)
        return PackResult(
            tuple(
                replace(runs[member], isolation_level=walls.level, isolation_waived=walls.waived)
                for member in order.members
            ),
            reports,
        )

    def film(self, order: FilmOrder, watch: Watch) -> Rollout:
        """Live an episode before a camera; see the port."""
        return film_episode(self.sandbox, self.artifacts, order, watch)

    def _try_scorer(
        self, order: PackOrder, trained: Mapping[Member, Trained], watch: Watch
    ) -> Canaries:
        """Measure the canaries, unless there is nothing else to measure."""
        if all(one.failure is not None or not one.snapshots for one in trained.values()):
            return ""
        return try_scorer(self.sandbox, order, watch, Progress("measuring", 0, len(order.arms)))


@dataclass(frozen=True, slots=True)
class Bench:
    """One arm after its training: measured, examined, and written down."""

    sandbox: Sandbox
    artifacts: Artifacts
    order: PackOrder
    arm: Arm
    trained: Mapping[Member, Trained]
    watch: Watch
    progress: Progress
    canaries: Canaries

    def work(self) -> tuple[dict[Member, Run], Report | None]:
        """Return the arm's runs, scored or failed, and its report if it was measured."""
        sound = [m for m, one in self.trained.items() if one.failure is None and one.snapshots]
        failed = {m: self._failed(m, self._why(m)) for m in self.trained if m not in sound}
        if not sound:
            return failed, None
        try:
            measured = self._measure(sound)
        except ScoringFailed as error:
            return failed | {m: self._failed(m, str(error)) for m in sound}, None
        scores = self._scores_by_member(sound, measured)
        unsteady = self._unsteady(sound, measured)
        scored = {
            member: replace(
                self._scored(member, scores[member]),
                nondeterministic=member in unsteady,
                canaries=self.canaries,
            )
            for member in sound
        }
        report = self._report(sound, measured, scores) if self.order.record else None
        return failed | scored, report

    def _measure(self, members: Sequence[Member]) -> Measured:
        policies: list[bytes] = []
        recorded: list[int] = []
        for member in members:
            policies += [weights for _, weights in self.trained[member].snapshots]
            recorded.append(len(policies) - 1)
        return measure(
            self.sandbox,
            self.order,
            self.arm.program,
            policies,
            recorded if self.order.record else (),
            self.watch,
            self.progress,
        )

    def _scores_by_member(
        self, members: Sequence[Member], measured: Measured
    ) -> dict[Member, Sequence[Score]]:
        scores = iter(measured.scores)
        return {m: [next(scores) for _ in self.trained[m].snapshots] for m in members}

    def _unsteady(self, members: Sequence[Member], measured: Measured) -> set[Member]:
        """Return the members whose last policy was not the same twice on the same seeds."""
        counts = [len(self.trained[member].snapshots) for member in members]
        last = [end - 1 for end in accumulate(counts)]
        return {m for m, place in zip(members, last, strict=True) if place in measured.unsteady}

    def _scored(self, member: Member, scores: Sequence[Score]) -> Run:
        one = self.trained[member]
        steps = [steps for steps, _ in one.snapshots]
        fitness = [mean(score.fitness) for score in scores]
        return replace(
            self._run(member),
            status="scored",
            fitness=fitness[-1],
            episodes=scores[-1].fitness,
            checkpoints=tuple(zip(steps, fitness, strict=True)),
            weights=self.artifacts.put(one.snapshots[-1][1]),
            checkpoint=None if one.checkpoint is None else self.artifacts.put(one.checkpoint),
        )

    def _failed(self, member: Member, reason: str) -> Run:
        return replace(self._run(member), failure=reason)

    def _why(self, member: Member) -> str:
        return self.trained[member].failure or "the training gave no policy"

    def _run(self, member: Member) -> Run:
        one = self.trained[member]
        return Run(
            stage=self.order.stage,
            arm=member[0],
            seed=member[1],
            rung=self.order.rung,
            status="failed",
            curve=one.curve,
            env_steps=one.env_steps,
            seconds=one.seconds,
            adapter=one.adapter,
            backend=one.backend,
        )

    def _report(
        self,
        members: Sequence[Member],
        measured: Measured,
        scores: Mapping[Member, Sequence[Score]],
    ) -> Report:
        report = examine_arm(
            self.sandbox,
            self.artifacts,
            self.order,
            self.arm.program,
            measured,
            [self.trained[member].snapshots[-1][1] for member in members],
            self.watch,
            self.progress,
        )
        last = [scores[member][-1] for member in members]
        curves = [one.curve for m in members if (one := self.trained[m]).curve is not None]
        steps = [steps for steps, _ in self.trained[members[0]].snapshots]
        return replace(
            with_course(report, [curve for curve in curves if curve is not None], steps),
            episode_length=mean([length for score in last for length in score.length]),
            terminated=mean([end for score in last for end in score.terminated]),
            recording=None if measured.kept is None else self.artifacts.put(measured.kept),
        )
