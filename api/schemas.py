"""What a stranger may send: bounded, finite, and nothing unknown.

The same pieces are echoed back in a job's `spec`, so a spec can be posted again unchanged.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict

from api import limits
from api.limits import Text
from core.profiles import ProfileName
from core.records import kinds
from core.seeding import MOST_SEED

Name = Annotated[
    str,
    limits.Form(r"^[a-z0-9][a-z0-9._-]{0,63}$", "a name of lower-case letters, digits, - . _"),
]
TaskName = Annotated[
    str,
    limits.Form(r"^[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,199}$", "a name of letters, digits, - . _ : /"),
]
Label = Annotated[Text, Field(min_length=1, max_length=200)]
Identifier = Annotated[
    str, limits.Form(r"^[A-Za-z_][A-Za-z0-9_]{0,63}$", "an identifier such as pole_angle")
]
Whole = Annotated[int, Strict()]  # "7" and true are no numbers
Real = Annotated[float, Strict(), Field(allow_inf_nan=False)]
EnvironmentId = Annotated[
    Text,
    Field(
        max_length=200,
        description="An id for gymnasium.make, with `module:` in front if a module must be imported.",
        examples=["CartPole-v1", "my_package:MyEnv-v0"],
    ),
    limits.Form(limits.ENVIRONMENT_ID, "an id such as CartPole-v1 or my_package:MyEnv-v0"),
]
Description = Annotated[
    Text,
    Field(
        max_length=limits.MAX_DESCRIPTION,
        description="What is wanted, in words; the designer reads them.",
        examples=["Park the cart at the right edge with the pole upright."],
    ),
]
JsonObject = dict[str, object]


class Piece(BaseModel):
    """A part of a request: a typo is an error, not a default.  Nobody changes one that was made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return itself: where it is a default, pydantic would copy it for every request."""
        return self


class FieldBody(Piece):
    """One named piece of an observation."""

    name: Identifier
    source: Text = Field(max_length=100, examples=["obs[0]", "obs[0:3]", "info.x_velocity"])
    unit: Text = Field(default="1", max_length=40)
    low: Real | None = None
    high: Real | None = None
    meaning: Text = Field(default="", max_length=500)
    visible: tuple[kinds.Visibility, ...] | None = Field(
        default=None,
        max_length=3,
        description="Who may see it; by default the reward, and the policy if it is observed.",
    )


class FitnessBody(Piece):
    """How well an episode was done, measured on the untouched environment; higher is better."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"kind": "share", "where": "abs(x) < 0.2", "horizon": 500}]
        },
    )

    kind: kinds.FitnessKind = "return"
    where: Text | None = Field(default=None, max_length=2_000)
    field: Text | None = Field(
        default=None,
        max_length=500,
        description="What a statistic is taken of: a field, or a term such as `-x_velocity`.",
    )
    over: kinds.Reduction | None = None
    horizon: Whole | None = Field(default=None, ge=1, le=limits.MAX_STEPS)
    goal: Real | None = None
    parts: tuple[FitnessBody, ...] = Field(
        default=(),
        max_length=limits.MAX_FITNESS_PARTS,
        description="Of the kind `least`: the smallest of these counts.",
    )


class TrainingBody(Piece):
    """How every run is trained; the same for the native reward and all candidates."""

    algorithm: Name = Field(
        default="ppo",
        description="`ppo` for all actions; `sac` for actions that are vectors, `dqn` for choices: "
        "they need fewer steps, and more computing for each.",
        json_schema_extra={"enum": list(limits.ALGORITHMS)},
    )
    steps: Whole = Field(
        default=200_000, ge=1, le=limits.MAX_STEPS, description="Environment steps per run."
    )
    seeds: Whole = Field(
        default=2, ge=1, le=limits.MAX_SEEDS, description="Runs per candidate while searching."
    )
    envs: Whole = Field(default=8, ge=1, le=limits.MAX_ENVS)
    rungs: tuple[Real, ...] = Field(default=(1.0,), min_length=1, max_length=limits.MAX_RUNGS)
    keep: Real = Field(default=0.34, gt=0, le=1)
    checkpoints: Whole = Field(default=4, ge=1, le=100)
    packs: Whole = Field(
        default=0,
        ge=0,
        le=limits.MAX_PACKS,
        description="Processes that share an iteration; 0 for as many as pay on the machine.",
    )
    settings: JsonObject = Field(default_factory=dict, max_length=100)
    warm_start: bool = Field(
        default=False,
        description="Whether a candidate begins with what the baseline and its parents lived, "
        "relabelled with its own reward; for `sac` and `dqn`.",
    )
    threshold: Real | None = Field(
        default=None,
        description="Gain in fitness over the random policy below which a rung is a candidate's last.",
    )

    @field_validator("rungs")
    @classmethod
    def _grow_to_one(cls, rungs: tuple[float, ...]) -> tuple[float, ...]:
        growing = all(a < b for a, b in itertools.pairwise(rungs))
        if not (growing and rungs[0] > 0 and rungs[-1] == 1.0):
            raise ValueError("expected growing shares that end in 1.0, such as [0.25, 1.0]")
        return rungs


class TaskBody(Piece):
    """What is to be learnt, said in full."""

    name: TaskName | None = Field(default=None, description="The environment's id if left out.")
    environment: EnvironmentId
    description: Description
    fitness: FitnessBody = FitnessBody()
    fields: tuple[FieldBody, ...] = Field(default=(), max_length=limits.MAX_FIELDS)
    env_kwargs: JsonObject = Field(default_factory=dict, max_length=100)
    max_episode_steps: Whole | None = Field(default=None, ge=1, le=10_000_000)
    actions: Text = Field(
        default="", max_length=5_000, description="What the actions do, in words."
    )
    training: JsonObject = Field(default_factory=dict, max_length=20)
    array: kinds.ArrayLibrary = Field(
        default="numpy",
        description="Library in which programs are written; `torch` for simulators on a GPU.",
    )


class DesignerBody(Piece):
    """Who writes the programs.  Keys and endpoints are settings of the server, never of a request."""

    name: Name = "evolution"
    model: Text | None = Field(default=None, max_length=200)
    temperature: Real | None = Field(default=None, ge=0, le=2)
    recording: (
        Annotated[Text, limits.Form(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$", "a plain file name")]
        | None
    ) = None


class VariantBody(Piece):
    """One way to ask for programs: what differs from the job's own model and prompt."""

    name: Name
    model: Text | None = Field(
        default=None, max_length=200, description="Of the server's endpoint; the job's if left out."
    )
    temperature: Real | None = Field(default=None, ge=0, le=2)
    leaning: Text = Field(
        default="",
        max_length=limits.MAX_LEANING,
        description="What the prompt asks for besides, in your words.",
        examples=["Prefer potentials whose difference is paid."],
    )
    feedback: kinds.FeedbackForm = Field(
        default="full", description="`short` tells the beginning of the feedback alone."
    )


Arms = Annotated[
    tuple[VariantBody, ...],
    Field(
        max_length=limits.MAX_ARMS,
        description="Ways to ask that compete for the slots by improvement per cost (Thompson "
        "sampling), two or more; empty for the job's own alone. See `GET /v1/jobs/{job_id}/arms`.",
        examples=[[{"name": "small", "model": "gpt-5-mini"}, {"name": "large", "model": "gpt-5"}]],
    ),
]


class EvaluationBody(Piece):
    """How fitness is measured: episodes and fresh seeds."""

    episodes: Whole = Field(default=10, ge=1, le=limits.MAX_EPISODES)
    confirm_seeds: Whole = Field(default=5, ge=1, le=limits.MAX_SEEDS)
    confirm_episodes: Whole = Field(default=20, ge=1, le=limits.MAX_EPISODES)
    confirm_candidates: Whole = Field(default=1, ge=1, le=8)
    runoff_candidates: Whole = Field(
        default=0,
        ge=0,
        le=16,
        description="Designs of the search that are trained again with `runoff_seeds` seeds of their "
        "own before the winner is chosen, because the best of many on few seeds is mostly lucky; 0 for "
        "no runoff.",
        examples=[4],
    )
    runoff_seeds: Whole = Field(default=3, ge=1, le=limits.MAX_SEEDS)
    fitness_alone: bool = Field(
        default=False,
        description="Whether an arm is trained on the fitness alone as well, for the normalised score.",
    )
    ablate: bool = Field(
        default=False,
        description="Whether the winner is trained again without each of its terms.",
    )
    transfer: JsonObject | None = Field(
        default=None,
        description="Your own learner, with which native reward and winner are trained as well: "
        "`library` (sb3, or script for a function of yours), `algorithm` (a class, or "
        "module:function), and if wanted `settings`, `steps`, `envs`.",
        examples=[{"library": "sb3", "algorithm": "PPO", "settings": {"n_epochs": 5}}],
        max_length=20,
    )
    rollouts: Whole = Field(
        default=1,
        ge=0,
        le=limits.MAX_ROLLOUTS,
        description="Episodes that are filmed of the winner and of the native reward, and, before a "
        "job waits for feedback, of the candidates to be judged.",
    )


class BudgetBody(Piece):
    """Hard limits of a job; null means no limit of that kind."""

    env_steps: Whole | None = Field(default=None, ge=1, le=limits.MAX_BUDGET_STEPS)
    tokens: Whole | None = Field(default=None, ge=1, le=limits.MAX_BUDGET_TOKENS)
    seconds: Real | None = Field(default=None, gt=0, le=limits.MAX_BUDGET_SECONDS)
    money: Real | None = Field(
        default=None, gt=0, le=limits.MAX_BUDGET_MONEY, description="US dollars for the designer."
    )


class ContextBody(Piece):
    """What a prompt tells beyond task, fields and measurements."""

    source: bool = Field(
        default=False,
        description="Show the environment's observation code, native reward removed.",
    )
    examples: Whole = Field(
        default=0, ge=0, le=4, description="Finished designs of the library to be shown."
    )
    same_task: bool = Field(default=False, description="Whether these may be of the same task.")
    safety: bool = Field(default=False, description="Ask for calm, safe motion.")
    prompt_tokens: Whole | None = Field(
        default=None,
        ge=limits.MIN_PROMPT_TOKENS,
        le=1_000_000,
        description="Tokens that a prompt may have, 60,000 unless said; parts are shortened to fit.",
    )


class StartBody(Piece):
    """A program that a job starts from: yours, or the design that a finished job found."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"source": "import numpy as np\n\n\ndef reward(…): …", "note": "by hand"}]
        },
    )

    source: Text | None = Field(
        default=None,
        max_length=limits.MAX_PROGRAM_CHARACTERS,
        description="The module, by the rules of generated programs.",
    )
    library: Text | None = Field(
        default=None, max_length=200, description="Id of the finished job whose design it is."
    )
    note: Text = Field(default="", max_length=2_000, description="What it is, in your words.")

    @model_validator(mode="after")
    def _one_of_both(self) -> StartBody:
        if (self.source is None) == (self.library is None):
            raise ValueError("expected either `source` or `library`, and not both or neither")
        return self


class WebhookBody(Piece):
    """Who is told of what happens to the job (standardwebhooks.com)."""

    url: Text = Field(
        max_length=2_000,
        description="https, to a public address, unless the operator allows the host.",
        examples=["https://hooks.example.org/rewardsmith"],
    )
    events: tuple[kinds.WebhookEvent, ...] = Field(
        default=("job.completed",),
        min_length=1,
        max_length=20,
        description="Kinds of event that are told; `job.completed` is every end of the job.",
    )
    secret: Text | None = Field(
        default=None,
        max_length=200,
        description="`whsec_` and 24 to 64 bytes in base64, with which messages are signed. Left out, "
        "one is made and shown in the answer, this once.",
    )


Starts = Annotated[
    tuple[StartBody, ...],
    Field(
        max_length=limits.MAX_STARTS,
        description="Programs that are measured in the next iteration as they are, beside what the "
        "designer writes, and improved if they are good.",
    ),
]

ScreenName = Literal["duplicate", "order", "exploit", "scale"]


class SpecBody(Piece):
    """A job's request with every default filled in; it can be posted again unchanged."""

    task: TaskBody
    method: Name
    designer: DesignerBody
    iterations: Whole
    candidates: Whole
    mode: kinds.Mode
    weight: Real
    training: TrainingBody
    evaluation: EvaluationBody
    budget: BudgetBody
    seed: Whole
    design: kinds.Design
    screens: tuple[ScreenName, ...]
    smoothness: kinds.Smoothness
    context: ContextBody
    human_weight: Real
    await_feedback: bool
    arms: tuple[VariantBody, ...]


SMALL: JsonDict = {"task": "cartpole-park"}
FULL: JsonDict = {
    "task": {
        "environment": "MountainCarContinuous-v0",
        "description": "Reach the flag on the right hill with little effort.",
        "fitness": {"kind": "success", "where": "position >= 0.45", "over": "any"},
        "fields": [
            {"name": "position", "source": "obs[0]", "unit": "m", "low": -1.2, "high": 0.6},
            {"name": "velocity", "source": "obs[1]", "unit": "m/s", "low": -0.07, "high": 0.07},
        ],
    },
    "method": "eureka",
    "designer": {"name": "evolution"},
    "iterations": 2,
    "candidates": 4,
    "training": {"steps": 100_000, "seeds": 2},
    "budget": {"env_steps": 5_000_000},
    "name": "gentle climber",
    "labels": {"project": "hills"},
}


def _form_of_task(value: object) -> str:
    """Say which form a task has, so that errors name one place and not one per form."""
    return "task:name" if isinstance(value, str) else "task:full"


TaskChoice = Annotated[
    Annotated[Text, Field(min_length=1, max_length=200), Tag("task:name")]
    | Annotated[TaskBody, Tag("task:full")],
    Discriminator(_form_of_task),
]


class JobRequest(Piece):
    """A design job: only `task` is needed, and `description` where the task is an environment id."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [SMALL, FULL]})

    task: TaskChoice = Field(
        description="A task of the catalogue, an environment id, or a task said in full.",
        examples=["cartpole-park"],
    )
    description: Description | None = None
    profile: ProfileName | None = Field(
        default=None,
        description="How much the job may cost, in one word: numbers of candidates, iterations, seeds "
        "and rungs for whatever the request does not say itself.",
    )
    method: Name = Field(
        default="smith",
        description="What the request leaves out is as the method has it; see `docs/methods.md`.",
    )
    designer: DesignerBody = DesignerBody()
    iterations: Whole = Field(default=3, ge=1, le=limits.MAX_ITERATIONS)
    candidates: Whole = Field(
        default=4, ge=1, le=limits.MAX_CANDIDATES, description="Per iteration."
    )
    mode: kinds.Mode = "replace"
    weight: Real = Field(default=0.02, gt=0, le=1_000)
    training: TrainingBody = TrainingBody()
    evaluation: EvaluationBody = EvaluationBody()
    budget: BudgetBody = BudgetBody()
    seed: Whole = Field(default=0, ge=0, le=MOST_SEED)
    design: kinds.Design = Field(
        default="joint", description="What is designed: the reward, the features, or both."
    )
    screens: tuple[ScreenName, ...] = Field(
        default=("duplicate", "order", "exploit", "scale"),
        max_length=4,
        description="Screens that may keep a program from being trained.",
    )
    smoothness: kinds.Smoothness = Field(
        default="windowed", description="By which statistic features are judged."
    )
    context: ContextBody = ContextBody()
    human_weight: Real = Field(
        default=0.0,
        ge=0,
        le=1_000,
        description="How much people's preferences count where parents are chosen.",
    )
    await_feedback: bool = Field(
        default=False,
        description="Whether the job waits after each iteration but the last until somebody left "
        "feedback on it.",
    )
    arms: Arms = ()
    start: Starts = ()
    webhook: WebhookBody | None = None
    name: Label | None = None
    labels: dict[Label, Annotated[Text, Field(max_length=200)]] = Field(
        default_factory=dict, max_length=20
    )

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, body: object) -> object:
        return limits.check_body(body)
