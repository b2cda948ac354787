"""From stored records to views: jobs and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from api.errors import Problem, problem_of_failure
from api.submission import show_spec
from api.views import (
    AblatedView,
    ActivityView,
    BestView,
    CountsView,
    EstimateView,
    EventView,
    IntervalView,
    JobView,
    LinksView,
    OutcomeView,
    PlanView,
    SpentView,
    TransferView,
    WebhookView,
)
from core.budgets import planned_cost
from core.records.outcome import Interval, Outcome
from core.records.spec import Webhook
from core.storage import Activity, Event, StoredJob
from core.storage.ids import candidate_id


def job_view(job: StoredJob, doing: Sequence[Activity] = ()) -> JobView:
    """Show a job, and what is being done for it right now."""
    return JobView(
        id=job.id,
        name=job.name,
        notes=job.notes,
        origin=job.origin,
        key_id=job.key_id,
        labels=dict(job.labels),
        status=job.status,
        phase=job.phase or None,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cancel_requested=job.cancel_requested,
        pause_requested=job.pause_requested,
        iteration=job.iteration if job.iteration >= 0 else None,
        counts=_counts(job.counts),
        activity=[activity_view(item) for item in doing],
        spent=SpentView(**asdict(job.spent)),
        estimate=_estimate(job),
        extensions=job.extensions,
        native_fitness=job.native_fitness,
        best=_best(job),
        outcome=outcome_view(job.id, job.outcome),
        failure=_failure(job),
        spec=show_spec(job.spec),
        webhook=_webhook(job.webhook),
        links=_links(job.id),
    )


def submitted_view(job: StoredJob, doing: Sequence[Activity] = ()) -> JobView:
    """Show a job to whoever submitted it, with the secret of its webhook."""
    shown = job_view(job, doing)
    return shown.model_copy(update={"webhook": _webhook(job.webhook, secret=True)})


def _webhook(webhook: Webhook | None, *, secret: bool = False) -> WebhookView | None:
    if webhook is None:
        return None
    told = webhook.secret if secret else None
    return WebhookView(url=webhook.url, events=list(webhook.events), secret=told)


def key_to_id(job_id: str, key: str) -> str:
    """Return the id of the candidate with a key like "0.3"."""
    iteration, number = key.split(".")
    return candidate_id(job_id, int(iteration), int(number))


def _counts(counts: Mapping[str, int]) -> CountsView:
    return CountsView(
        proposed=sum(counts.values()),
        rejected=counts.get("rejected", 0) + counts.get("screened", 0),
        screened=counts.get("screened", 0),
        trained=counts.get("trained", 0),
        failed=counts.get("failed", 0),
    )


def _best(job: StoredJob) -> BestView | None:
    key = job.outcome.best if job.outcome and job.outcome.best else job.best_candidate
    if key is None:
        return None
    return BestView(id=key_to_id(job.id, key), key=key, fitness=job.best_fitness)


def outcome_view(job_id: str, outcome: Outcome | None) -> OutcomeView | None:
    """Show how a job ended, once it has."""
    if outcome is None:
        return None
    return OutcomeView(
        verdict=outcome.verdict,
        best=key_to_id(job_id, outcome.best) if outcome.best else None,
        native=_interval(outcome.native),
        designed=shown_interval(outcome.designed),
        native_iqm=outcome.native_iqm,
        designed_iqm=outcome.designed_iqm,
        probability_of_improvement=outcome.probability_of_improvement,
        sentence=outcome.sentence,
        fitness_alone=shown_interval(outcome.fitness_alone),
        normalised=outcome.normalised,
        ablation=[
            AblatedView(
                kind=one.kind,
                name=one.name,
                fitness=_interval(one.fitness),
                difference=one.difference,
                verdict=one.verdict,
            )
            for one in outcome.ablation
        ],
        transfer=None
        if outcome.transfer is None
        else TransferView.model_validate(outcome.transfer),
    )


def _estimate(job: StoredJob) -> EstimateView:
    found = job.preflight.estimate.get("seconds") if job.preflight else None
    seconds = float(found) if isinstance(found, (int, float)) else None
    return EstimateView(env_steps=planned_cost(job.spec), seconds=seconds)


def plan_view(plan: Mapping[str, object]) -> PlanView:
    """Show what a job would cost."""
    return PlanView.model_validate(plan)


def _failure(job: StoredJob) -> Problem | None:
    if job.failure is None:
        return None
    return problem_of_failure(job.failure.reason, job.failure.message, f"/v1/jobs/{job.id}")


def _links(job_id: str) -> LinksView:
    start = f"/v1/jobs/{job_id}"
    return LinksView(
        self=start,
        events=f"{start}/events",
        iterations=f"{start}/iterations",
        candidates=f"{start}/candidates",
        best=f"{start}/best",
        reward_file=f"{start}/best/reward.py",
        bundle=f"{start}/best/bundle.zip",
        rollouts=f"{start}/rollouts",
        artifacts=f"{start}/artifacts",
        feedback=f"{start}/feedback",
        programs=f"{start}/programs",
    )


def _interval(interval: Interval) -> IntervalView:
    return IntervalView(**asdict(interval))


def shown_interval(interval: Interval | None) -> IntervalView | None:
    """Show an interval, if there is one."""
    return _interval(interval) if interval else None


def event_view(event: Event) -> EventView:
    """Show an event."""
    return EventView(
        id=event.seq,
        created_at=event.created_at,
        type=event.kind,
        level=event.level,
        message=event.message,
        data=dict(event.data),
    )


def activity_view(activity: Activity) -> ActivityView:
    """Show what a worker is doing; who it is stays inside."""
    progress = activity.progress
    return ActivityView(
        step=activity.step_key,
        phase=progress.phase if progress else activity.step_key.partition("/")[0],
        done=progress.done if progress else 0,
        total=progress.total if progress else 0,
        note=progress.note if progress else "",
        age_seconds=round(activity.age_seconds, 1),
    )
