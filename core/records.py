"""The nouns: what the loop thinks with, what tables store, what URLs name.

Records are frozen values without behaviour beyond small derived properties.  The standard library is
all they need.  Three other shapes of the same data live at the doors: HTTP (`api/schemas.py`), SQL
(`core/storage/tables.py`) and the pipe to a jailed child (`core/training/protocol.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Json: TypeAlias = Mapping[str, object]
Visibility: TypeAlias = Literal["policy", "reward", "metric"]
FitnessKind: TypeAlias = Literal["return", "success", "share", "statistic"]
Reduction: TypeAlias = Literal["mean", "max", "min", "last", "sum", "any"]
Mode: TypeAlias = Literal["replace", "add"]
ArrayLibrary: TypeAlias = Literal["numpy", "torch"]
Stage: TypeAlias = Literal["baseline", "search", "confirm"]
Operator: TypeAlias = Literal["seed", "refine", "cross", "different", "features", "parameters"]
JobStatus: TypeAlias = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
CandidateStatus: TypeAlias = Literal["proposed", "rejected", "screened", "trained", "failed"]
RunStatus: TypeAlias = Literal["scored", "failed"]
Verdict: TypeAlias = Literal["better", "equal", "worse"]
ReplyOutcome: TypeAlias = Literal["answered", "truncated", "empty", "refused", "garbage", "failed"]

NATIVE = "native"  # the arm that trains on the environment's own reward
FINISHED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})


# --- the task ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Field:
    """One named piece of an observation.

    Attributes:
        name:    Python identifier by which programs and fitness read it.
        source:  `obs[i]`, `obs[i:j]`, `obs.key[i]`, `obs.key[i:j]`, `info.key`, `sim.name[...]`
                 or `terminated` (design page, §10.6).
        unit:    SI unit, "1" for a pure number.
        low:     smallest value the environment documents or guarantees; None if unbounded.
        high:    largest value; None if unbounded.
        meaning: a phrase for people and models.
        visible: who may see it: the policy, the designed reward, or only the metric.
    """

    name: str
    source: str
    unit: str = "1"
    low: float | None = None
    high: float | None = None
    meaning: str = ""
    visible: tuple[Visibility, ...] = ("policy", "reward")


@dataclass(frozen=True, slots=True)
class Fitness:
    """How well an episode was done; higher is better; no generated code can reach it.

    kind      per episode
    return    sum of the native reward
    success   1 if `where` held (over="any": at any step; over="last": at the last one), else 0
    share     number of steps at which `where` held, divided by `horizon`
    statistic `over` (mean, max, min, last, sum) of `field`

    `goal` is the value at which the task counts as solved, if there is one.
    """

    kind: FitnessKind = "return"
    where: str | None = None
    field: str | None = None
    over: Reduction | None = None
    horizon: int | None = None
    goal: float | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be learnt.

    `fields` is empty for an environment outside the catalogue until preflight has derived them from
    its observation space.  `max_episode_steps` None means the environment's own time limit.
    `array` is the library in which its programs are written: torch for simulators on a GPU.
    """

    name: str
    environment: str
    description: str
    fitness: Fitness = Fitness()
    fields: tuple[Field, ...] = ()
    env_kwargs: Json = field(default_factory=dict)
    max_episode_steps: int | None = None
    actions: str = ""
    training: Json = field(default_factory=dict)  # the catalogue's own training defaults
    array: ArrayLibrary = "numpy"


# --- the request ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Training:
    """How every run of a job is trained; the same for baseline and candidates.

    Attributes:
        algorithm:   the learner: ppo, sac (actions that are vectors) or dqn (choices).
        steps:       environment steps per run at the last rung.
        seeds:       runs per candidate while searching.
        envs:        environments per run.
        rungs:       growing shares of `steps`, the last one 1.0; survivors go on (design, §5).
        keep:        share of candidates that survive a rung.
        checkpoints: how many times per rung the policy is measured on the way.
        packs:       into how many packs the runs of an iteration are split, so that cores share them;
                     0 for as many as pay on the machine that made the preflight.
        settings:    learner settings by name (`core/training/settings.py`), defaults otherwise.
        warm_start:  whether a candidate's replay begins with what the baseline's and its parents' runs
                     of the same seed lived, relabelled with its own program; `sac` and `dqn` only.
    """

    algorithm: str = "ppo"
    steps: int = 200_000
    seeds: int = 2
    envs: int = 8
    rungs: tuple[float, ...] = (1.0,)
    keep: float = 0.34
    checkpoints: int = 4
    packs: int = 0
    settings: Json = field(default_factory=dict)
    warm_start: bool = False


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How fitness is measured: episodes per policy while searching and when confirming."""

    episodes: int = 10
    confirm_seeds: int = 5
    confirm_episodes: int = 20
    confirm_candidates: int = 1


@dataclass(frozen=True, slots=True)
class DesignerChoice:
    """Who writes the programs.  Never holds a secret: keys are settings of the worker."""

    name: str = "evolution"
    model: str | None = None
    temperature: float | None = None
    recording: str | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """Hard limits of a job; None means no limit of that kind."""

    env_steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One request: design for this task, with this method, within this budget."""

    task: Task
    method: str = "smith"
    designer: DesignerChoice = DesignerChoice()
    iterations: int = 3
    candidates: int = 4
    mode: Mode = "replace"
    weight: float = 0.02
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    budget: Budget = Budget()
    seed: int = 0


# --- programs ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Program:
    """Generated code that passed the static rules.

    `sha256` is that of the source; `params` are the numbers that PARAMS declares, in order, possibly
    replaced by the tuner; `bounds` give (low, high) per name; `array` is the library it is written in.
    """

    source: str
    sha256: str
    has_reward: bool
    has_features: bool
    params: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    array: ArrayLibrary = "numpy"


@dataclass(frozen=True, slots=True)
class ProgramShape:
    """What a check in the sandbox learnt by calling the program."""

    components: tuple[str, ...]
    features: tuple[str, ...]
    microseconds_per_row: float


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict on a program: which rule, passed or not, and the message for two readers."""

    rule: str
    passed: bool
    message: str = ""


# --- asking a designer ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages in order; each is (role, text) with role system, user or assistant."""

    messages: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Repair:
    """A reply that failed its check, to be mended."""

    reply: str
    message: str


@dataclass(frozen=True, slots=True)
class Brief:
    """What a designer is asked to do in one slot of one iteration.

    `parents` come best first, with their statistics.  `history` is every candidate so far.
    `repair` is set when an earlier attempt in the same slot failed its check.  `training` and
    `weight` (of add mode) tell how a program will be used.
    """

    task: Task
    iteration: int
    slot: int
    operator: Operator
    mode: Mode
    seed: int
    parents: tuple[Candidate, ...] = ()
    history: tuple[Candidate, ...] = ()
    feedback: Feedback | None = None
    baseline: float | None = None
    preflight: Preflight | None = None
    repair: Repair | None = None
    training: Training | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to a designer, under its natural key (iteration, slot, attempt)."""

    iteration: int
    slot: int
    attempt: int
    brief: Brief
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one exchange; None where the endpoint did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, whatever it was.  `request` and `response` are the raw exchange, no secrets."""

    text: str
    outcome: ReplyOutcome = "answered"
    detail: str = ""
    model: str = ""
    request_id: str | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()
    latency_seconds: float = 0.0
    request: Json = field(default_factory=dict)
    response: Json = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exchange:
    """One stored question and answer."""

    iteration: int
    slot: int
    attempt: int
    prompt: Prompt
    reply: Reply
    designer: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """A reply, read: the designer's analysis, its prediction, and the code block."""

    analysis: str
    prediction: str
    source: str


# --- results ----------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class Curve:
    """What a run said of itself while training; feedback, never rank.  All series [T]."""

    steps: tuple[int, ...]
    series: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Run:
    """One training of one arm with one seed up to one rung, and its measured fitness.

    `arm` is "native" or a candidate's key ("0.3").  `fitness` is the scorer's mean over held-out
    episodes and `episodes` its values; both belong to the untouched environment.  `checkpoints` are
    (environment steps, fitness) measured on the way by the same scorer.  `weights` and `checkpoint`
    are artifacts: the policy alone, and everything that the next rung needs to go on.  `adapter` is the
    environment layer that stepped it ("numpy", "mujoco-batch", …), `backend` what computed its networks
    ("kernel", "torch", …); both are empty where the training did not begin.
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
        by_checkpoint: mean per step at each measured checkpoint, first to last.
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


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a candidate's behaviour beyond its fitness; material for feedback.

    `episodes` holds a few rows of named values of the best, median and worst episode.
    """

    components: Mapping[str, TermStatistics] = field(default_factory=dict)
    features: Mapping[str, TermStatistics] = field(default_factory=dict)
    episode_length: float = 0.0
    terminated: float = 0.0
    episodes: Mapping[str, tuple[Json, ...]] = field(default_factory=dict)
    transitions: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One reply of the designer and everything that became of it.  Key: (iteration, number)."""

    iteration: int
    number: int
    operator: Operator
    status: CandidateStatus
    parents: tuple[str, ...] = ()
    analysis: str = ""
    prediction: str = ""
    program: Program | None = None
    shape: ProgramShape | None = None
    checks: tuple[Check, ...] = ()
    rejection: str | None = None
    runs: tuple[Run, ...] = ()
    report: Report | None = None

    @property
    def key(self) -> str:
        """The candidate's natural key inside its job, e.g. "0.3"."""
        return f"{self.iteration}.{self.number}"


@dataclass(frozen=True, slots=True)
class Feedback:
    """What is told to the designer after an iteration, as text and as data."""

    iteration: int
    text: str
    best: str | None
    diagnoses: tuple[str, ...] = ()
    data: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Iteration:
    """One round.  `proposed` is true once every slot has its candidate."""

    number: int
    candidates: tuple[Candidate, ...] = ()
    proposed: bool = False
    feedback: Feedback | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval over n seeds."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: the chosen design against the native reward on fresh seeds."""

    verdict: Verdict
    best: str | None
    native: Interval
    designed: Interval | None
    native_iqm: float
    designed_iqm: float | None
    probability_of_improvement: float | None
    sentence: str


# --- the job as the loop sees it --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spent:
    """What a job has used so far, summed from stored facts."""

    env_steps: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class History:
    """Every stored fact of a job that decides what comes next, as one value.

    `claimed` are the keys of steps that a living worker owns; `native` are the baseline's runs;
    `confirmations` are the runs of the confirm stage, both arms.
    """

    spec: JobSpec
    status: JobStatus = "queued"
    cancel_requested: bool = False
    pause_requested: bool = False
    preflight: Preflight | None = None
    native: tuple[Run, ...] = ()
    iterations: tuple[Iteration, ...] = ()
    confirmations: tuple[Run, ...] = ()
    outcome: Outcome | None = None
    failure: str | None = None
    claimed: frozenset[str] = frozenset()
    spent: Spent = Spent()
