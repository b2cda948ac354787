"""What a user takes home: the best program as one file."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib import metadata

from fastapi import Response

from api import errors, kinds
from api.openapi import PythonResponse
from api.show import key_to_id
from api.show_history import fitness_interval, interval_of
from core.errors import ProgramRejected
from core.export import Provenance, render_reward_file
from core.program import read_program
from core.records.kinds import Mode
from core.records.outcome import Interval
from core.records.programs import Program
from core.records.rounds import Candidate
from core.records.task import Task
from core.storage import Store, StoredCandidate, StoredJob


def best(store: Store, job_id: str) -> tuple[StoredJob, StoredCandidate]:
    """Return the job and its chosen candidate, or the best one so far.

    Raises:
        NotFound: no such job.
        ApiError: nothing has been measured yet.
    """
    job = store.job(job_id)
    key = job.outcome.best if job.outcome and job.outcome.best else job.best_candidate
    if key is None:
        raise errors.ApiError(
            kinds.NO_CANDIDATE_YET, f"no candidate of job {job_id} has been measured"
        )
    return job, store.candidate(key_to_id(job_id, key))


def reward_file(store: Store, job_id: str) -> Response:
    """Return the best program as a file that runs without us.

    Raises:
        NotFound, ApiError: as `best`.
    """
    job, candidate = best(store, job_id)
    return attachment(render(store, job, candidate), "reward.py")


def render(store: Store, job: StoredJob, stored: StoredCandidate) -> str:
    """Return the text of the file for a measured candidate.

    Raises:
        ApiError: it has no program, or an imported one that may not be run.
    """
    program = stored.candidate.program
    if program is None:
        raise errors.ApiError(kinds.NO_CODE, f"candidate {stored.id} has no program")
    known = job.preflight.fields if job.preflight else job.spec.task.fields
    task = replace(job.spec.task, fields=known)
    if job.origin is not None:
        _hold_to_rules(stored, program, task, job.spec.mode)
    return render_reward_file(
        task,
        program,
        job.spec.mode,
        job.spec.weight,
        _provenance(store, job, stored.candidate),
    )


def _hold_to_rules(stored: StoredCandidate, program: Program, task: Task, mode: Mode) -> None:
    """Refuse an imported program that breaks a rule: earlier versions took such programs in."""
    try:
        read_program(program.source, task.fields, mode, task.array)
    except ProgramRejected as error:
        raise errors.ApiError(
            kinds.NO_CODE,
            f"the imported candidate {stored.id} has a program that breaks a rule: {error.sentence()}",
            hint="It can be looked at, and is not handed out to be run.",
        ) from error


def _provenance(store: Store, job: StoredJob, candidate: Candidate) -> Provenance:
    outcome, spec = job.outcome, job.spec
    confirmed = outcome is not None and outcome.best == candidate.key
    return Provenance(
        job_id=job.id,
        candidate=candidate.key,
        designer=spec.designer.name,
        model=spec.designer.model,
        method=spec.method,
        designed=outcome.designed if outcome and confirmed else fitness_interval(candidate),
        native=outcome.native if outcome and confirmed else native_interval(store, job.id),
        confirmed=confirmed,
        versions={"rewardsmith": version()},
        origin=job.origin,
    )


def native_interval(store: Store, job_id: str) -> Interval | None:
    """Return the baseline's fitness with its interval; None before it is measured."""
    runs = [stored.run for stored in store.native_runs(job_id)]
    return interval_of([run.fitness for run in runs if run.stage == "baseline"])


def version() -> str:
    """Return the version of the installed distribution, "source" if it is not installed."""
    try:
        return metadata.version("rewardsmith")
    except metadata.PackageNotFoundError:
        return "source"


def attachment(text: str, filename: str) -> Response:
    """Return text as a file to be saved; its hash is the ETag."""
    content = text.encode()
    return PythonResponse(
        content,
        headers={
            "Content-Disposition": f"attachment; filename={filename}",
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
        },
    )
