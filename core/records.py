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
FitnessKind: TypeAlias = Literal["return", "success", "share", "statistic", "least"]
Reduction: TypeAlias = Literal["mean", "max", "min", "last", "sum", "any"]
Mode: TypeAlias = Literal["replace", "add"]
ArrayLibrary: TypeAlias = Literal["numpy", "torch"]
Design: TypeAlias = Literal["joint", "reward", "features"]
Smoothness: TypeAlias = Literal["windowed", "lesr", "none"]
Stage: TypeAlias = Literal["baseline", "search", "runoff", "confirm", "ablation", "transfer"]
Operator: TypeAlias = Literal[
    "seed", "refine", "cross", "different", "features", "parameters", "given"
]
JobStatus: TypeAlias = Literal[
    "queued", "running", "awaiting_feedback", "paused", "succeeded", "failed", "cancelled"
]
CandidateStatus: TypeAlias = Literal["proposed", "rejected", "screened", "trained", "failed"]
RunStatus: TypeAlias = Literal["scored", "failed"]
Canaries: TypeAlias = Literal["", "passed", "unsteady", "unanswered"]
Verdict: TypeAlias = Literal["better", "equal", "worse"]
ScreenVerdict: TypeAlias = Literal["pass", "fail", "abstain"]
ExchangeKind: TypeAlias = Literal["program", "analysis"]
TermKind: TypeAlias = Literal["component", "feature"]
RemarkKind: TypeAlias = Literal["text", "thumb", "preference"]
Origin: TypeAlias = Literal["user", "edit", "library", "fork"]
FeedbackForm: TypeAlias = Literal["full", "short"]
ReplyOutcome: TypeAlias = Literal["answered", "truncated", "empty", "refused", "garbage", "failed"]

NATIVE = "native"  # the arm that trains on the environment's own reward
FITNESS = "fitness"  # the arm that trains on the fitness alone, in its per-step form
ANALYSIS_SLOT = -1  # the slot of an exchange that yields no program
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
    statistic `over` (mean, max, min, last, sum) of `field`, a field or a sum of fields
    least     the smallest of its `parts`, each a fitness of another kind: all of them are wanted

    `goal` is the value at which the task counts as solved, if there is one.
    """

    kind: FitnessKind = "return"
    where: str | None = None
    field: str | None = None
    over: Reduction | None = None
    horizon: int | None = None
    goal: float | None = None
    parts: tuple[Fitness, ...] = ()


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
        threshold:   gain in fitness over the random policy below which a rung is a candidate's last;
                     None where a rung in which nobody beats chance says nothing, and all go on.
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
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How fitness is measured: episodes per policy while searching and when confirming.

    Attributes:
        runoff_candidates: designs that are trained again before the winner is chosen; 0 for no runoff.
        runoff_seeds:  with which each of them is, seeds of neither search nor confirmation.
        fitness_alone: whether an arm is trained on the fitness alone, beside the native reward.
        ablate:        whether the winner is trained again without each of its terms.
        transfer:      the user's own learner, with which the winner is trained as well; None for none.
        rollouts:      episodes that are filmed of the winner and of the native reward, and, where a job
            waits for people, of the candidates that they judge.
    """

    episodes: int = 10
    confirm_seeds: int = 5
    confirm_episodes: int = 20
    confirm_candidates: int = 1
    runoff_candidates: int = 0
    runoff_seeds: int = 3
    fitness_alone: bool = False
    ablate: bool = False
    transfer: Json | None = None
    rollouts: int = 0


@dataclass(frozen=True, slots=True)
class DesignerChoice:
    """Who writes the programs.  Never holds a secret: keys are settings of the worker."""

    name: str = "evolution"
    model: str | None = None
    temperature: float | None = None
    recording: str | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to ask for a program: an arm of the bandit over models, prompts and feedback.

    Attributes:
        name:        names the arm.
        model:       that is asked; None for the job's own.
        temperature: of its sampling; None for the job's own.
        leaning:     what the prompt asks for besides, in the words of whoever submitted the job.
        feedback:    `short` tells the beginning of the feedback alone: all candidates and the first
            diagnoses.
    """

    name: str
    model: str | None = None
    temperature: float | None = None
    leaning: str = ""
    feedback: FeedbackForm = "full"


@dataclass(frozen=True, slots=True)
class Budget:
    """Hard limits of a job; None means no limit of that kind.  `money` is in US dollars."""

    env_steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    money: float | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What a prompt tells beyond task, fields and measurements.

    Attributes:
        source:        whether it shows the environment's observation code, native reward removed.
        examples:      how many finished designs of the library it shows.
        same_task:     whether designs of the same task may be among them.
        safety:        whether it asks for calm, safe motion.
        prompt_tokens: that a prompt may have, estimated; None for no limit but the parts' own.
    """

    source: bool = False
    examples: int = 0
    same_task: bool = False
    safety: bool = False
    prompt_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One request: design for this task, with this method, within this budget.

    Attributes:
        design:       what is designed: the reward, the features, or both.
        screens:      names of the screens that may keep a program from being trained.
        smoothness:   by which statistic features are judged; `lesr` is the paper's form.
        human_weight: β of the score by human preference that is added to the lower confidence bound
            where parents are chosen; 0 keeps people's preferences out of the ranking.
        await_feedback: whether the job waits after each iteration but the last until somebody said
            something of it.
        arms:         ways to ask that share the slots by what they have brought (`core/bandit.py`);
            empty for one way alone.
    """

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
    design: Design = "joint"
    screens: tuple[str, ...] = ()
    smoothness: Smoothness = "windowed"
    context: Context = Context()
    human_weight: float = 0.0
    await_feedback: bool = False
    arms: tuple[Variant, ...] = ()


# --- programs ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Program:
    """Generated code that passed the static rules.

    `sha256` is that of the source; `params` are the numbers that PARAMS declares, in order, possibly
    replaced by the tuner; `bounds` give (low, high) per name; `array` is the library it is written in.
    `left_out` are terms that whoever calls the program leaves out of what it returned (ablation).
    """

    source: str
    sha256: str
    has_reward: bool
    has_features: bool
    params: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    array: ArrayLibrary = "numpy"
    left_out: tuple[tuple[TermKind, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ProgramShape:
    """What a check in the sandbox learnt by calling the program.

    `at_random` is the mean and the standard deviation of what it pays for a step of the random policy;
    None where it has no reward, or where an older version checked it.
    """

    components: tuple[str, ...]
    features: tuple[str, ...]
    microseconds_per_row: float
    at_random: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One verdict on a program: which rule, passed or not, and the message for two readers."""

    rule: str
    passed: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Screen:
    """What a screen says of a program before any training.

    Attributes:
        name:    duplicate, order, exploit or scale.
        score:   the number that decided; None where the screen abstains.
        message: for two readers: people, and the designer if the screen failed.
        other:   key of the candidate that it was compared with, if there is one.
    """

    name: str
    verdict: ScreenVerdict
    score: float | None = None
    message: str = ""
    other: str | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """A program that came from people and not from the designer; it becomes a candidate.

    Attributes:
        number: counts from 0 in the job.
        source: the module.
        origin: user (to be improved), edit (of `parent`), library or fork (from another job).
        parent: key of the candidate that was edited, None otherwise.
        note:   why, in people's words.
    """

    number: int
    source: str
    origin: Origin = "user"
    parent: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Remark:
    """What somebody says of a candidate, or of the job as a whole.

    Attributes:
        number:    counts from 0 in the job.
        kind:      text, thumb or preference.
        candidate: key of the candidate that is meant; None for the job.
        other:     the candidate that it is compared with (preference).
        value:     thumb: 1 or -1; preference: 1 if `candidate` is better, -1 if `other`, 0 for a tie.
        text:      their words.
        iteration: the newest iteration when it was said.
    """

    number: int
    kind: RemarkKind
    candidate: str | None = None
    other: str | None = None
    value: int = 0
    text: str = ""
    iteration: int = -1


@dataclass(frozen=True, slots=True)
class Example:
    """A finished design of the library, as it is shown to a designer."""

    job: str
    task: str
    description: str
    source: str
    evidence: str


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
    `weight` (of add mode) tell how a program will be used.  `kind` is `analysis` for a turn that yields
    no program.  `remarks` are what people said, `given` the program that people handed in.  `native` is
    the fitness of each baseline run, `slots` how many answers the iteration asks for, and `predictions`
    what became of the claims of each candidate.  `variant` is the arm by which the slot is asked, None
    in a job without arms.
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
    kind: ExchangeKind = "program"
    design: Design = "joint"
    smoothness: Smoothness = "windowed"
    context: Context = Context()
    remarks: tuple[Remark, ...] = ()
    examples: tuple[Example, ...] = ()
    given: Given | None = None
    analyses: tuple[str, ...] = ()
    native_report: Report | None = None
    native: tuple[float, ...] = ()
    slots: int = 1
    predictions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    variant: Variant | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to a designer, under its natural key (iteration, slot, attempt).

    `temperature` is what the method advises; what the brief's variant or the job names counts more.
    """

    iteration: int
    slot: int
    attempt: int
    brief: Brief
    prompt: Prompt
    temperature: float | None = None


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
    kind: ExchangeKind = "program"
    money: float = 0.0


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
        by_checkpoint: mean per step at each measured checkpoint, first to last.
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


@dataclass(frozen=True, slots=True)
class Candidate:
    """One reply of the designer and everything that became of it.  Key: (iteration, number).

    Attributes:
        screens:     what the screens said, in order.
        saved_steps: environment steps that were not spent because a screen kept it from training.
        given:       number of the program that people handed in, None if the designer wrote it.
        arm:         arm of the bandit over prompts and models by which it was asked, None without one.
        tokens:      of all questions and answers of its slot.
        money:       that these cost, in US dollars; 0 where the price is not known.
        walls:       behind which its check ran it; None if nothing of it was ever run there.
    """

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
    screens: tuple[Screen, ...] = ()
    saved_steps: int = 0
    given: int | None = None
    arm: str | None = None
    tokens: int = 0
    money: float = 0.0
    walls: Walls | None = None

    @property
    def key(self) -> str:
        """The candidate's natural key inside its job, e.g. "0.3"."""
        return f"{self.iteration}.{self.number}"


@dataclass(frozen=True, slots=True)
class Feedback:
    """What is told to the designer after an iteration, as text and as data.

    `analysis` is what the designer itself said of the results, where the method asks it (LESR).
    """

    iteration: int
    text: str
    best: str | None
    diagnoses: tuple[str, ...] = ()
    data: Json = field(default_factory=dict)
    analysis: str = ""


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
class Ablated:
    """The winner without one of its terms, against the whole winner at the same steps and seeds."""

    kind: TermKind
    name: str
    fitness: Interval
    difference: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: the chosen design against the native reward on fresh seeds.

    Attributes:
        fitness_alone: the arm that trains on the fitness alone, on the same seeds.
        normalised:    (designed − fitness alone) / |native − fitness alone|; None where the interval of
            that denominator holds 0.
        ablation:      what each term of the winner is worth; empty unless asked for.
        transfer:      the winner under the user's own learner, beside the native reward under it.
    """

    verdict: Verdict
    best: str | None
    native: Interval
    designed: Interval | None
    native_iqm: float
    designed_iqm: float | None
    probability_of_improvement: float | None
    sentence: str
    fitness_alone: Interval | None = None
    normalised: float | None = None
    ablation: tuple[Ablated, ...] = ()
    transfer: Json | None = None


# --- the job as the loop sees it --------------------------------------------------------------


WebhookEvent: TypeAlias = Literal[
    "job.started",
    "iteration.completed",
    "best.changed",
    "job.awaiting_feedback",
    "job.blocked",
    "job.paused",
    "job.resumed",
    "job.extended",
    "job.retried",
    "job.completed",
]
"""Kinds of event of which a webhook may want to hear; `job.completed` is every end."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Who is told of a job's events, and with what secret messages are signed (`core.webhooks`)."""

    url: str
    events: tuple[WebhookEvent, ...]
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Spent:
    """What a job has used so far, summed from stored facts."""

    env_steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    money: float = 0.0


@dataclass(frozen=True, slots=True)
class History:
    """Every stored fact of a job that decides what comes next, as one value.

    `claimed` are the keys of steps that a living worker owns; `native` are the baseline's runs and
    `fitness_alone` those of the arm that trains on the fitness; `runoffs`, `confirmations`, `ablations`
    and `transfers` are the runs of those stages, all arms; `given` and `remarks` are what people handed
    in and said.  `extensions` counts how often the job went on after a confirmation had begun: each
    confirmation has fresh seeds, and `confirmations` holds the present one's runs alone, `rollouts`
    what was filmed of them and for people to judge.  `importing`: no worker has taken in yet what it
    is an import of.  `examples` are the library's designs that prompts show, chosen once.
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
    native_report: Report | None = None
    fitness_alone: tuple[Run, ...] = ()
    ablations: tuple[Run, ...] = ()
    transfers: tuple[Run, ...] = ()
    given: tuple[Given, ...] = ()
    remarks: tuple[Remark, ...] = ()
    extensions: int = 0
    examples: tuple[Example, ...] = ()
    rollouts: tuple[Rollout, ...] = ()
    runoffs: tuple[Run, ...] = ()
    importing: bool = False
