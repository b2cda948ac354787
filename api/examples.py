"""One worked example per answer, made from records by the very functions that make the answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import BaseModel

from api.cancelling_views import CancelledList, CancelledView
from api.dependencies import SAMPLE
from api.designers import DESIGNERS
from api.errors import problem
from api.history_views import ArmList, ExchangeList, IterationList, RunList
from api.kinds import KINDS
from api.library import library_item_view
from api.people import given_view, remark_view
from api.people_views import GivenList, LibraryList, RemarkList
from api.problems import KindList, KindView
from api.show import event_view, job_view, submitted_view
from api.show_history import (
    arm_view,
    candidate_view,
    exchange_view,
    iteration_view,
    run_view,
    run_with_curve_view,
)
from api.tasks import task_view
from api.views import (
    DeliveryPage,
    EventPage,
    HealthView,
    MethodList,
    NamedView,
    Page,
    PlanView,
    TaskList,
)
from api.webhooks import delivery_view
from core.bandit import posteriors
from core.records.asking import Exchange, Prompt, Reply, Usage
from core.records.history import History, Spent
from core.records.measured import Curve, Run, Walls
from core.records.outcome import Interval, Outcome
from core.records.people import Given, Remark
from core.records.programs import Check, Program, ProgramShape
from core.records.rounds import Candidate, Feedback, Iteration
from core.records.spec import JobSpec, Variant, Webhook
from core.records.task import Field, Fitness, Task
from core.storage import (
    Event,
    LibraryItem,
    StoredCandidate,
    StoredDelivery,
    StoredJob,
    StoredRun,
)

JOB, CANDIDATE, RUN = f"job_{SAMPLE}", f"cand_{SAMPLE}_0_1", f"run_{SAMPLE}_search_0-1_0_0"
STARTED = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
ENDED = datetime(2026, 1, 5, 9, 34, tzinfo=UTC)

_TASK = Task(
    name="cartpole-park",
    environment="CartPole-v1",
    description="Balance the pole and park the cart one metre to the right of the centre.",
    fitness=Fitness("share", where="0.75 < cart_position < 1.25", horizon=500, goal=0.8),
    fields=(Field("cart_position", "obs[0]", "m", -4.8, 4.8, "position of the cart"),),
)
_RUN = Run(
    stage="search",
    arm="0.1",
    seed=0,
    rung=0,
    status="scored",
    fitness=0.81,
    episodes=(0.8, 0.82),
    checkpoints=((75_000, 0.42), (150_000, 0.81)),
    curve=Curve((75_000, 150_000), {"return": (110.0, 390.5)}),
    env_steps=150_000,
    seconds=21.4,
    isolation_level=3,
    adapter="numpy",
    backend="kernel",
    canaries="passed",
)
_CANDIDATE = Candidate(
    iteration=0,
    number=1,
    operator="seed",
    status="trained",
    analysis="The native reward pays for every step, wherever the cart is.",
    prediction="The cart will stop close to one metre.",
    program=Program("…", "5d" * 32, True, False, {"near": 1.0}, {"near": (0.25, 4.0)}),
    shape=ProgramShape(("near", "upright"), (), 0.4),
    checks=(Check("imports", True),),
    runs=(_RUN,),
    walls=Walls(3),
)
_ARMS = (Variant("small", model="gpt-5-mini"), Variant("large", model="gpt-5"))
_ASKED = replace(_CANDIDATE, arm="large", tokens=4_800, money=0.019)
_WITH_ARMS = History(
    JobSpec(_TASK, arms=_ARMS), iterations=(Iteration(0, (_ASKED,), True, Feedback(0, "", "0.1")),)
)
_OUTCOME = Outcome(
    verdict="better",
    best="0.1",
    native=Interval(0.12, 0.08, 0.17, 5),
    designed=Interval(0.79, 0.71, 0.86, 5),
    native_iqm=0.12,
    designed_iqm=0.8,
    probability_of_improvement=1.0,
    sentence="The designed reward is better than the native one: 0.79 against 0.12 over 5 fresh seeds.",
)
_JOB = StoredJob(
    id=JOB,
    name=None,
    labels={},
    spec=JobSpec(_TASK, iterations=2),
    status="succeeded",
    phase="finish",
    created_at=STARTED,
    started_at=STARTED,
    finished_at=ENDED,
    cancel_requested=False,
    pause_requested=False,
    preflight=None,
    failure=None,
    outcome=_OUTCOME,
    best_candidate="0.1",
    best_fitness=0.81,
    native_fitness=0.11,
    counts={"trained": 7, "rejected": 1},
    spent=Spent(4_200_000, 0, 240.0),
    iteration=1,
    event_count=57,
    webhook=Webhook("https://hooks.example.org/rewardsmith", ("job.completed",), "whsec_…"),
)
_FEEDBACK = Feedback(0, "`near` makes up 80 % of the reward.", "0.1", ("one term dominates",))
_EXCHANGE = Exchange(
    iteration=0,
    slot=1,
    attempt=0,
    prompt=Prompt((("system", "You design rewards."), ("user", "The task is …"))),
    reply=Reply("```python\n…\n```", model="grammar", usage=Usage(812, 304), latency_seconds=0.01),
    designer="evolution",
)
_EVENT = Event(JOB, 2, "job.started", "info", "A worker took up the job.", {}, STARTED)

_REMARK = Remark(0, "preference", "0.1", "0.0", 1, "It stops without swinging.", 0)
_GIVEN = Given(0, "…", "edit", "0.1", "Half the weight of `upright`.")
_ITEM = LibraryItem(
    job=JOB,
    candidate="0.1",
    task=_TASK,
    fields=("cart_position",),
    source="…",
    verdict="better",
    evidence=_OUTCOME.sentence,
    finished_at=ENDED,
    score=3.2,
)

_DELIVERY = StoredDelivery(
    number=7,
    kind="job.completed",
    status="delivered",
    attempts=2,
    log=(
        {"at": "2026-01-05T09:34:00+00:00", "status": 503, "error": "", "seconds": 0.21},
        {"at": "2026-01-05T09:34:05+00:00", "status": 204, "error": "", "seconds": 0.08},
    ),
    created_at=ENDED,
    next_at=None,
)

STORED = StoredCandidate(CANDIDATE, JOB, STARTED, 0.81, _CANDIDATE)
_STORED_RUN = StoredRun(RUN, JOB, STARTED, _RUN)
_METHOD = NamedView(
    name="smith", description="Our own: several operators, diagnoses, tuned numbers."
)
_DESIGNERS = [NamedView(name=name, description=text) for name, text in DESIGNERS.items()]
_KIND = KINDS["unknown-task"]
_KIND_VIEW = KindView(code=_KIND.code, status=_KIND.status, title=_KIND.title, hint=_KIND.hint)

_VIEWS: Mapping[str, BaseModel] = {
    "create_job": submitted_view(_JOB),
    "estimate_job": PlanView(
        env_steps=4_875_000,
        asks=24,
        tokens=183_000,
        money=0.13,
        seconds=None,
        notes=[
            "The time is known after the preflight, which measures the environment on your machine."
        ],
    ),
    "list_jobs": Page(data=[job_view(_JOB)], has_more=False, next=None),
    "read_job": job_view(_JOB),
    "cancel_job": job_view(_JOB),
    "cancel_jobs": CancelledList(
        data=[
            CancelledView(id=JOB, status="cancelled", problem=None),
            CancelledView(
                id=f"{JOB[:-1]}s",
                status=None,
                problem=problem(
                    KINDS["conflict"],
                    "cancel is possible while a job is queued, running, awaiting_feedback or paused",
                ),
            ),
        ],
        has_more=False,
    ),
    "import_job": job_view(replace(_JOB, origin=JOB)),
    "describe_job": job_view(replace(_JOB, name="gentle parker", notes="For the paper.")),
    "pause_job": job_view(_JOB),
    "resume_job": job_view(_JOB),
    "extend_job": job_view(_JOB),
    "retry_job": job_view(_JOB),
    "fork_job": job_view(_JOB),
    "add_feedback": remark_view(JOB, _REMARK),
    "list_feedback": RemarkList(data=[remark_view(JOB, _REMARK)]),
    "give_program": given_view(JOB, _GIVEN, ()),
    "list_programs": GivenList(data=[given_view(JOB, _GIVEN, ())]),
    "search_library": LibraryList(data=[library_item_view(_ITEM)]),
    "list_exchanges": ExchangeList(data=[exchange_view(_EXCHANGE)]),
    "read_best": candidate_view(STORED),
    "list_iterations": IterationList(
        data=[iteration_view(JOB, Iteration(0, (_CANDIDATE,), True, _FEEDBACK))]
    ),
    "read_iteration": iteration_view(JOB, Iteration(0, (_CANDIDATE,), True, _FEEDBACK)),
    "list_arms": ArmList(
        data=[
            arm_view(arm, known, arm.model)
            for arm, known in zip(_ARMS, posteriors(_WITH_ARMS), strict=True)
        ]
    ),
    "list_candidates": Page(data=[candidate_view(STORED)], has_more=False, next=None),
    "read_candidate": candidate_view(STORED),
    "list_runs": RunList(data=[run_view(_STORED_RUN)]),
    "list_native_runs": RunList(data=[run_view(_STORED_RUN)]),
    "read_run": run_with_curve_view(_STORED_RUN),
    "list_deliveries": DeliveryPage(data=[delivery_view(JOB, _DELIVERY)], next=7),
    "list_events": EventPage(data=[event_view(_EVENT)], next=2),
    "list_tasks": TaskList(data=[task_view(_TASK)]),
    "read_task": task_view(_TASK),
    "list_methods": MethodList(data=[_METHOD], designers=_DESIGNERS),
    "read_health": HealthView(status="ok"),
    "read_readiness": HealthView(status="ready", checks={"database": "reachable and migrated"}),
    "list_problems": KindList(data=[_KIND_VIEW]),
    "read_problem": _KIND_VIEW,
}

RUNNING = replace(_JOB, status="running", phase="train", finished_at=None, outcome=None)


def examples() -> Mapping[str, object]:
    """Return every example by the operation that it is an answer of."""
    from api import look_examples  # it is made from what stands here

    views = {**_VIEWS, **look_examples.examples(RUNNING)}
    return {name: view.model_dump(mode="json") for name, view in views.items()}
