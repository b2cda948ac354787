"""What was measured: the environment before a job, runs, and how a policy behaved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.records.kinds import Canaries, Json, RunStatus, Stage
from core.records.task import Field


@dataclass(frozen=True, slots=True)
class Preflight:
    """What is known of the environment after it was built and probed with random actions.

    Attributes:
        fields:            the task's fields, or those derived from the observation space.
        observation_size:  length of the flat vector that the policy sees (one-hot for Discrete).
        action:            {"kind": "discrete", "n": n} or
                           {"kind": "box", "size": A, "low": [...], "high": [...]}.
        max_episode_steps: the time limit in force, None if there is none.
        quantiles:         field name -> (1 %, 50 %, 99 %) over the probe, flattened over components.
        random_fitness:    mean fitness of the random policy over the probe's episodes.
        steps_per_second:  measured speed of one environment.
        adapter:           which environment layer was chosen ("gymnasium", "numpy", …).
        probe:             sha256 of the probe set artifact (safetensors).
        estimate:          {"env_steps": …, "seconds": …} for the whole job.
        cores:             processes that can compute at once on that machine; 0 where unknown.
        at_once:           trainings that run at once there; 0 where unknown.
        memory_bytes:      what was free there; 0 where unknown.
        row_bytes:         measured memory of one environment; 0 where unknown.
        row_reserved_bytes: the same with the address space that it reserves and does not use.
        source:            text of the environment's classes (`core.context`), if it was asked for.
        stepping_seconds:  that a core takes for a step of one row in a large batch; 0 where unknown.
        learning_seconds:  that a core takes to learn from one step of one run, beside stepping; by the
                           learner's settings, 0 where unknown.
        recording:         artifact of whole episodes of the random policy with their fitness.
        ended_early:       share of the random policy's whole episodes that the environment ended before
                           the time limit; None where that was not counted.
    """

    fields: tuple[Field, ...]
    observation_size: int
    action: Json
    max_episode_steps: int | None
    quantiles: Mapping[str, tuple[float, float, float]]
    random_fitness: float
    steps_per_second: float
    adapter: str
    probe: str
    estimate: Json
    isolation_level: int = 0
    warnings: tuple[str, ...] = ()
    cores: int = 0
    at_once: int = 0
    memory_bytes: int = 0
    row_bytes: int = 0
    row_reserved_bytes: int = 0
    source: str = ""
    stepping_seconds: float = 0.0
    learning_seconds: float = 0.0
    recording: str | None = None
    ended_early: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """What a run said of itself while training; feedback, never rank.  All series [T]."""

    steps: tuple[int, ...]
    series: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Walls:
    """What stood around generated code when it was run: the isolation level, and on whose word.

    `waived` says that the level is below the full one (3), and that the operator allowed that by name.
    """

    level: int = 0
    waived: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One training of one arm with one seed up to one rung, and its measured fitness.

    `arm` is "native" or a candidate's key ("0.3").  `fitness` is the scorer's mean over held-out
    episodes and `episodes` its values; both belong to the untouched environment.  `checkpoints` are
    (environment steps, fitness) measured on the way by the same scorer.  `weights` and `checkpoint`
    are artifacts: the policy alone, and everything that the next rung needs to go on.  `adapter` is the
    environment layer that stepped it ("numpy", "mujoco-batch", …), `backend` what computed its networks
    ("kernel", "torch", …); both are empty where the training did not begin.  `isolation_level` and
    `isolation_waived` are its `Walls`.  `nondeterministic`: the policy did not live the same steps when
    it was measured again on the same seeds.  `canaries`: what came of the policies of known
    fitness that were measured with it ("": none were).
    """

    stage: Stage
    arm: str
    seed: int
    rung: int
    status: RunStatus
    fitness: float | None = None
    episodes: tuple[float, ...] = ()
    checkpoints: tuple[tuple[int, float], ...] = ()
    curve: Curve | None = None
    env_steps: int = 0
    seconds: float = 0.0
    failure: str | None = None
    weights: str | None = None
    checkpoint: str | None = None
    isolation_level: int = 0
    adapter: str = ""
    backend: str = ""
    isolation_waived: bool = False
    nondeterministic: bool = False
    canaries: Canaries = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One filmed episode of an arm's best run of a stage.  Key: (stage, extension, arm, episode).

    Its seed serves for nothing else and may be told: with it, the run's weights and the environment,
    anybody can live the episode again.

    Attributes:
        stage:     `confirm` at the end; `search` and `baseline` for people who are to judge.
        extension: the job's extensions when a confirmation was filmed, for another one is filmed anew;
            0 of the other stages.
        seed:      of the environment.
        training_seed: of the run whose policy acts.
        weights:   artifact of that policy.
        fitness, native: of the episode; None if it could not be lived.
        length:    steps.
        terminated: whether the environment ended it before the time limit.
        frames:    of the video; 0 without one.
        fps:       at which it is shown.
        steps_per_frame: environment steps from one frame to the next.
        width, height: in pixels.
        video, preview, trace: artifacts: MP4, animated WebP, and JSON of fields and components by step.
        recording: artifact of every step, as safetensors (`core.training.lived`).
        failure:   why there is no video, in words.
    """

    arm: str
    episode: int
    seed: int
    extension: int = 0
    training_seed: int = 0
    weights: str | None = None
    fitness: float | None = None
    native: float | None = None
    length: int = 0
    terminated: bool = False
    frames: int = 0
    fps: float = 0.0
    steps_per_frame: int = 1
    width: int = 0
    height: int = 0
    video: str | None = None
    preview: str | None = None
    trace: str | None = None
    failure: str | None = None
    stage: Stage = "confirm"
    recording: str | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """How far a run had come inside a rung when its pack was last saved; superseded by its `Run`.

    `env_steps` are the run's own, counted from its beginning; `seconds` are those spent in the rung.
    `checkpoint` is what the run goes on from, None if it had failed by then or not yet begun the rung.
    `snapshots` are (environment steps, artifact of the weights) for scoring; `adapter` and `backend`
    as in `Run`.
    """

    stage: Stage
    arm: str
    seed: int
    rung: int
    env_steps: int
    checkpoint: str | None = None
    failure: str | None = None
    snapshots: tuple[tuple[int, str], ...] = ()
    curve: Curve | None = None
    seconds: float = 0.0
    adapter: str = ""
    backend: str = ""


@dataclass(frozen=True, slots=True)
class TermStatistics:
    """One component or feature over recorded transitions of the trained policy.

    Attributes:
        share:       Σ|c| / Σ|all components|; 0 for features.
        saturated:   fraction of steps at its smallest or largest value.
        zero:        fraction of steps that are exactly 0.
        correlation: Spearman ρ of the episode sum with the episode's fitness; None if undefined.
        by_checkpoint: mean per step at each measured checkpoint, first to last; of all rungs, once it
                     is read from a store.
        smooth:      95th percentile of the change of the fitness signal over the change of the term,
                     both in standard deviations, between neighbouring quantile bins; lower is smoother.
        explains:    between-bin variance of the fitness signal over its total variance, 0 to 1.
        redundant:   largest |correlation| with an observation dimension or another feature, 0 to 1.
        used:        share of the policy's sensitivity that goes to this input, 0 to 1.
        lipschitz:   LESR's statistic in the paper's form, for parity.
        All five are None where they were not measured.
    """

    mean: float
    std: float
    low: float
    high: float
    share: float = 0.0
    saturated: float = 0.0
    zero: float = 0.0
    correlation: float | None = None
    by_checkpoint: tuple[float, ...] = ()
    smooth: float | None = None
    explains: float | None = None
    redundant: float | None = None
    used: float | None = None
    lipschitz: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a candidate's behaviour beyond its fitness; material for feedback.

    `episodes` holds a few rows of named values of the best, median and worst episode; `inputs` the
    statistics of the observation's own dimensions by field; `recording` is the artifact of whole
    recorded episodes with their fitness, `transitions` of some rows with every component's value.
    `unexamined` says why there are no terms, if the examination of the recorded episodes failed.
    `recorded` is how many episodes the statistics are of, `told` what the shown ones were worth:
    `fitness`, and `parts` where the fitness is the smallest of several.
    """

    components: Mapping[str, TermStatistics] = field(default_factory=dict)
    features: Mapping[str, TermStatistics] = field(default_factory=dict)
    episode_length: float = 0.0
    terminated: float = 0.0
    episodes: Mapping[str, tuple[Json, ...]] = field(default_factory=dict)
    transitions: str | None = None
    recording: str | None = None
    inputs: Mapping[str, TermStatistics] = field(default_factory=dict)
    unexamined: str = ""
    recorded: int = 0
    told: Mapping[str, Json] = field(default_factory=dict)
