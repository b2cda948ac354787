"""The page of a job: what it has come to, at a glance, and everything behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fastapi import Request, Response
from markupsafe import Markup

from api.comparison_views import RolloutView
from api.dependencies import JobId, Visit
from api.downloads import native_interval
from api.pages import charts, words
from api.pages.door import Reader
from api.pages.render import page, who
from api.pages.series import Style, style_of
from api.pages.trouble import page_router
from api.show import event_view, job_view, key_to_id
from api.show_comparison import rollout_view
from api.views import EventView, JobView
from api.work import crew_of, needs_of
from core.records.kinds import FINISHED
from core.records.people import Remark
from core.records.rounds import Feedback
from core.storage import Glance, StoredJob
from core.words import number

router = page_router()

LAST_EVENTS = 30
WORST = ("warning", "error")


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """A candidate as the job's table shows it."""

    glance: Glance
    id: str
    style: Style
    better: bool | None
    best: bool


@dataclass(frozen=True, slots=True)
class Allowance:
    """What was spent of one kind, and how much there may be at most or is planned."""

    name: str
    spent: str
    of: str
    share: float | None


@router.get("/jobs/{job_id}")
def read_job(request: Request, job_id: JobId, here: Reader) -> Response:
    """Return the page."""
    return page(request, "job.html", **facts(here, job_id), **who(here))


def facts(here: Visit, job_id: str) -> dict[str, object]:
    """Return everything that the page tells; the feed tells it again when something has happened."""
    stored = here.store.job(job_id)
    job = _now(here, stored)
    candidates = here.store.glances.candidates(job_id)
    events = here.store.events(
        job_id, after=max(0, stored.event_count - LAST_EVENTS), limit=LAST_EVENTS
    )
    blocked = (
        here.store.glances.last_words(job_id, "job.blocked") if job.status == "paused" else None
    )
    return {
        "job": job,
        "open": job.status not in FINISHED,
        "reloads": job.status in ("queued", "running"),
        "badge": words.status(job),
        "sentence": words.verdict(job, candidates, blocked),
        "waiting": _waiting(here, stored, job),
        "chart": chart(job, candidates, _baseline(here, stored)),
        "tree": tree(job, candidates),
        "rows": rows(job, candidates),
        "allowances": allowances(job),
        "told": _reflections(here.store.glances.told(job_id)),
        "events": [event_view(event) for event in reversed(events)],
        "alarms": _alarms([event_view(event) for event in events], job),
        "remarks": here.store.remarks(job_id),
        "remark_words": _remark_words,
        "to_judge": to_judge(here, job, candidates),
        "event_count": stored.event_count,
        "actions": actions(job),
    }


def activity(here: Visit, job_id: str) -> dict[str, object]:
    """Return what is being done for a job right now."""
    stored = here.store.job(job_id)
    job = _now(here, stored)
    return {"job": job, "badge": words.status(job), "waiting": _waiting(here, stored, job)}


def _now(here: Visit, stored: StoredJob) -> JobView:
    over = stored.status in FINISHED
    return job_view(stored, () if over else here.store.activity(stored.id))


def _waiting(here: Visit, stored: StoredJob, job: JobView) -> str | None:
    if job.status in FINISHED:
        return None
    (ahead,) = here.store.crew.ahead_of([stored])
    rests = here.store.glances.resting([job.id]).get(job.id)
    needs = needs_of(here.store.glances.announced([job.id]).get(job.id, ()))
    return words.waiting(job, ahead, crew_of(here.store.crew.workers()), rests, needs)


def _baseline(here: Visit, stored: StoredJob) -> charts.Level | None:
    found = native_interval(here.store, stored.id)
    if found is None:
        return None
    return charts.Level(found.mean, found.low, found.high, "native reward")


def to_judge(
    here: Visit, job: JobView, candidates: Sequence[Glance]
) -> list[tuple[str, RolloutView]]:
    """Return the films by which people judge the newest iteration, best first, native reward last."""
    if job.status in FINISHED or not job.spec.await_feedback or not candidates:
        return []
    newest = max(c.iteration for c in candidates)
    fitness = {c.key: c.fitness for c in candidates if c.iteration == newest}
    found = [rollout_view(one) for one in here.store.rollouts(job.id)]
    shown = [one for one in found if one.arm in fitness and one.stage == "search"]
    shown.sort(key=lambda one: -(fitness[one.arm] or 0.0))
    native = [one for one in found if one.stage == "baseline"]
    named = [(f"candidate {one.arm}", one) for one in shown]
    return [*named, *(("native reward", one) for one in native)] if named else []


# --- parts ------------------------------------------------------------------------------------


def chart(job: JobView, candidates: Sequence[Glance], native: charts.Level | None) -> Markup:
    """Draw every measured candidate by iteration."""
    dots = [
        charts.Dot(c.iteration, c.key, c.fitness, _href(job.id, c.key), _style(job, c))
        for c in candidates
        if c.fitness is not None
    ]
    return charts.fitness_chart(dots, native, job.spec.iterations)


def tree(job: JobView, candidates: Sequence[Glance]) -> Markup:
    """Draw who was made from whom."""
    nodes = [
        charts.Node(
            *(c.iteration, c.number, c.key, c.parents, c.status, _href(job.id, c.key)),
            told=f"{c.key}: {c.operator}, {c.status}, fitness {number(c.fitness)}",
        )
        for c in candidates
    ]
    return charts.lineage(nodes, job.best.key if job.best else None)


def rows(job: JobView, candidates: Sequence[Glance]) -> list[CandidateRow]:
    """Return the candidates, the best first, then those without a fitness in their order."""
    native, best = job.native_fitness, job.best.key if job.best else None
    made = [
        CandidateRow(
            glance=c,
            id=key_to_id(job.id, c.key),
            style=_style(job, c),
            better=None if c.fitness is None or native is None else c.fitness > native,
            best=c.key == best,
        )
        for c in candidates
    ]
    return sorted(made, key=lambda row: (row.glance.fitness is None, -(row.glance.fitness or 0.0)))


def allowances(job: JobView) -> list[Allowance]:
    """Return what was spent, beside its budget, or beside what the plan needs at most."""
    spent, budget = job.spent, job.spec.budget
    most = budget.env_steps or job.estimate.env_steps
    found = [
        _allowance("environment steps", spent.env_steps, most, words.steps),
        _allowance("time", spent.seconds, budget.seconds, words.duration),
    ]
    if spent.tokens or budget.tokens:
        found.append(_allowance("tokens", spent.tokens, budget.tokens, words.steps))
    if spent.money or budget.money:
        found.append(_allowance("dollars", spent.money, budget.money, lambda v: f"${v:.2f}"))
    return found


def _allowance(name: str, spent: float, most: float | None, write: words.Writer) -> Allowance:
    if most is None:
        return Allowance(name, write(spent), "no limit", None)
    return Allowance(name, write(spent), write(most), spent / most if most else 1.0)


def actions(job: JobView) -> Mapping[str, bool]:
    """Return which changes the job's state allows, as the store judges it."""
    going = job.status not in FINISHED and not job.cancel_requested
    at_home = job.origin is None  # an imported job is looked at and forked
    # It has measured all that it had: more iterations can mend that, and trying again cannot.
    barren = job.failure is not None and job.failure.code == "no-valid-candidate"
    return {
        "cancel": going,
        "pause": going and job.status != "paused" and not job.pause_requested,
        "resume": going and (job.status == "paused" or job.pause_requested),
        "retry": at_home and job.status in ("failed", "cancelled") and not barren,
        "extend": at_home and (going or job.status == "succeeded" or barren),
        "fork": job.best is not None,
        "delete": job.status in FINISHED,
    }


def _reflections(told: Sequence[Feedback]) -> list[Feedback]:
    """Return what was learnt, the newest first, without the long text, which has a page of its own."""
    return [replace(one, text="", data={}) for one in reversed(told)]


def _alarms(events: Sequence[EventView], job: JobView) -> list[EventView]:
    """Return the newest warnings of a job that is under way: a lost worker, a designer that rests."""
    if job.status in FINISHED:
        return []
    return [event for event in events if event.level in WORST][-3:]


def _remark_words(remark: Remark) -> str:
    about = f"about {remark.candidate}" if remark.candidate else "about the job"
    if remark.kind == "thumb":
        return f"thumb {'up' if remark.value > 0 else 'down'} {about}"
    if remark.kind == "preference":
        sign = {1: "better than", 0: "as good as", -1: "worse than"}[remark.value]
        return f"{remark.candidate} is {sign} {remark.other}"
    return about


def _style(job: JobView, c: Glance) -> Style:
    return style_of(c.iteration, c.number, job.spec.candidates)


def _href(job_id: str, key: str) -> str:
    return f"/candidates/{key_to_id(job_id, key)}"
