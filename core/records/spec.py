"""One request: what a job is to design, how it trains and measures, and within what limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.records.kinds import Design, FeedbackForm, Json, Mode, Smoothness, WebhookEvent
from core.records.task import Task


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
                     None where the best go on, by how much they gained or not.
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
        prompt_tokens: that a prompt may have, estimated; None for 60,000.
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


@dataclass(frozen=True, slots=True)
class Webhook:
    """Who is told of a job's events, and with what secret messages are signed (`core.webhooks`)."""

    url: str
    events: tuple[WebhookEvent, ...]
    secret: str = field(repr=False)
