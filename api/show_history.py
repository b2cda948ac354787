"""From stored records to views: a job's history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from api.history_views import (
    ArmView,
    CandidateView,
    CheckView,
    CurveView,
    ExchangeView,
    FeedbackView,
    IterationView,
    MessageView,
    ProgramView,
    ReportView,
    RunView,
    RunWithCurveView,
    ScreenView,
    TermView,
    UsageView,
    WallsView,
)
from api.show import key_to_id, shown_interval
from core.bandit import Posterior
from core.records.asking import Exchange
from core.records.measured import Curve, Report, Run, TermStatistics
from core.records.outcome import Interval
from core.records.programs import Screen
from core.records.rounds import Candidate, Feedback, Iteration
from core.records.spec import Variant
from core.statistics import bootstrap_interval
from core.storage import StoredCandidate, StoredRun
from core.storage.ids import candidate_id


def candidate_view(stored: StoredCandidate) -> CandidateView:
    """Show a candidate."""
    return shown_candidate(stored.job_id, stored.candidate)


def shown_candidate(job_id: str, candidate: Candidate) -> CandidateView:
    """Show a candidate of a job."""
    name = candidate_id(job_id, candidate.iteration, candidate.number)
    return CandidateView(
        id=name,
        job_id=job_id,
        key=candidate.key,
        iteration=candidate.iteration,
        number=candidate.number,
        operator=candidate.operator,
        status=candidate.status,
        parents=[key_to_id(job_id, parent) for parent in candidate.parents],
        analysis=candidate.analysis,
        prediction=candidate.prediction,
        fitness=shown_interval(fitness_interval(candidate)),
        rejection=candidate.rejection,
        given=candidate.given,
        arm=candidate.arm,
        tokens=candidate.tokens,
        money=candidate.money,
        walls=None if candidate.walls is None else WallsView(**asdict(candidate.walls)),
        checks=[CheckView(**asdict(check)) for check in candidate.checks],
        screens=[_screen(job_id, screen) for screen in candidate.screens],
        saved_steps=candidate.saved_steps,
        program=_program(candidate),
        report=_report(candidate.report),
        links={
            "self": f"/v1/candidates/{name}",
            "code": f"/v1/candidates/{name}/code",
            "runs": f"/v1/candidates/{name}/runs",
            "diff": f"/v1/candidates/{name}/diff",
            "rollouts": f"/v1/candidates/{name}/rollouts",
            "job": f"/v1/jobs/{job_id}",
        },
    )


def _screen(job_id: str, screen: Screen) -> ScreenView:
    other = None if screen.other is None else key_to_id(job_id, screen.other)
    return ScreenView(**{**asdict(screen), "other": other})


def fitness_interval(candidate: Candidate) -> Interval | None:
    """Return mean and interval over the runs at the highest rung; None if one of them failed."""
    last = max((run.rung for run in candidate.runs), default=0)
    return interval_of([run.fitness for run in candidate.runs if run.rung == last])


def interval_of(values: Sequence[float | None]) -> Interval | None:
    """Return mean and interval over runs; None if there are none, or one of them failed."""
    scored = tuple(value for value in values if value is not None)
    return _spread(scored) if scored and len(scored) == len(values) else None


@lru_cache(maxsize=4_096)
def _spread(values: tuple[float, ...]) -> Interval:
    return bootstrap_interval(values)


def _program(candidate: Candidate) -> ProgramView | None:
    program, shape = candidate.program, candidate.shape
    if program is None:
        return None
    return ProgramView(
        sha256=program.sha256,
        has_reward=program.has_reward,
        has_features=program.has_features,
        params=dict(program.params),
        bounds=dict(program.bounds),
        components=list(shape.components) if shape else [],
        features=list(shape.features) if shape else [],
        microseconds_per_row=shape.microseconds_per_row if shape else None,
    )


def _report(report: Report | None) -> ReportView | None:
    if report is None:
        return None
    return ReportView(
        components=_terms(report.components),
        features=_terms(report.features),
        inputs=_terms(report.inputs),
        episode_length=report.episode_length,
        terminated=report.terminated,
        episodes={name: [dict(row) for row in rows] for name, rows in report.episodes.items()},
        unexamined=report.unexamined,
    )


def _terms(terms: Mapping[str, TermStatistics]) -> dict[str, TermView]:
    return {name: TermView(**asdict(term)) for name, term in terms.items()}


# --- the rest of the history ------------------------------------------------------------------


def iteration_view(job_id: str, iteration: Iteration) -> IterationView:
    """Show an iteration with its candidates."""
    return IterationView(
        number=iteration.number,
        proposed=iteration.proposed,
        candidates=[shown_candidate(job_id, c) for c in iteration.candidates],
        feedback=_feedback(job_id, iteration.feedback),
    )


def _feedback(job_id: str, feedback: Feedback | None) -> FeedbackView | None:
    if feedback is None:
        return None
    return FeedbackView(
        text=feedback.text,
        best=key_to_id(job_id, feedback.best) if feedback.best else None,
        diagnoses=list(feedback.diagnoses),
        data=dict(feedback.data),
        analysis=feedback.analysis,
    )


def run_view(stored: StoredRun) -> RunView:
    """Show a run without its curve."""
    return RunView(**_run(stored))


def run_with_curve_view(stored: StoredRun) -> RunWithCurveView:
    """Show a run with its curve."""
    return RunWithCurveView(**_run(stored), curve=_curve(stored.run.curve))


def _curve(curve: Curve | None) -> CurveView | None:
    if curve is None:
        return None
    series = {name: list(values) for name, values in curve.series.items()}
    return CurveView(steps=list(curve.steps), series=series)


_RUN_FIELDS = tuple(name for name in RunView.model_fields if name in Run.__slots__)


def _run(stored: StoredRun) -> dict[str, Any]:  # Any: pydantic checks the fields by name
    named = {name: getattr(stored.run, name) for name in _RUN_FIELDS}
    return {"id": stored.id, "job_id": stored.job_id, **named}


def arm_view(variant: Variant, known: Posterior, model: str | None) -> ArmView:
    """Show an arm with its posterior; `model` is that which it asks."""
    return ArmView(**{**asdict(variant), **asdict(known), "model": model})


def exchange_view(exchange: Exchange) -> ExchangeView:
    """Show a prompt and its reply."""
    reply = exchange.reply
    return ExchangeView(
        iteration=exchange.iteration,
        slot=exchange.slot,
        attempt=exchange.attempt,
        kind=exchange.kind,
        designer=exchange.designer,
        prompt=[MessageView(role=role, text=text) for role, text in exchange.prompt.messages],
        reply=reply.text,
        outcome=reply.outcome,
        detail=reply.detail,
        model=reply.model,
        finish_reason=reply.finish_reason,
        usage=UsageView(**asdict(reply.usage)),
        temperature=_temperature(reply.request),
        latency_seconds=reply.latency_seconds,
        notes=list(reply.notes),
    )


def _temperature(request: Mapping[str, object]) -> float | None:
    sent = request.get("temperature")
    return float(sent) if isinstance(sent, int | float) else None
