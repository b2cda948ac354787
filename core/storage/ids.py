"""Names by which the outside world asks for things.

A job's id is drawn, and sorts by time.  Every other id is made from natural keys, and can be read
back without a look into the database:

    job_01h5…                     26 characters: 64 bits of time, 66 bits of chance
    cand_01h5…_0_3                job, iteration, number
    run_01h5…_search_0-3_1000_1   job, stage, arm (its dot written as a hyphen), seed, rung

Arms are `native`, `fitness`, a candidate's key, or `without-component-<name>` and the like.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import NamedTuple

from core.errors import InvalidInput, NotFound

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case: no i, l, o, u
_LENGTH = 26
_RANDOM_BITS = 66
_BODY = f"[{_ALPHABET}]{{{_LENGTH}}}"
_JOB = re.compile(rf"job_({_BODY})")
_CANDIDATE = re.compile(rf"cand_({_BODY})_(\d{{1,9}})_(\d{{1,9}})")
_OTHER_ARM = r"native|fitness|without-(?:component|feature)-[A-Za-z_][A-Za-z0-9_]{0,63}"
_RUN = re.compile(
    rf"run_({_BODY})_([a-z]{{1,20}})_({_OTHER_ARM}|\d{{1,9}}-\d{{1,9}})_(-?\d{{1,18}})_(\d{{1,9}})"
)
_ARM = re.compile(r"(\d{1,9})\.(\d{1,9})")


class CandidateKey(NamedTuple):
    """Where a candidate stands: (job, iteration, number)."""

    job_id: str
    iteration: int
    number: int


class RunKey(NamedTuple):
    """Where a run stands: (job, stage, arm, seed, rung)."""

    job_id: str
    stage: str
    arm: str
    seed: int
    rung: int


def new_job_id() -> str:
    """Draw a job id; later ids sort after earlier ones."""
    return f"job_{new_body()}"


def new_body() -> str:
    """Draw what makes an id its own; later ones sort after earlier ones."""
    number = (time.time_ns() << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
    digits = [_ALPHABET[(number >> (5 * place)) & 31] for place in range(_LENGTH)]
    return "".join(reversed(digits))


def check_job_id(job_id: str) -> str:
    """Return the id.

    Raises:
        NotFound: it does not have the form of a job's id, so that nothing can be stored under it.
    """
    if not is_job_id(job_id):
        raise no_such("job", job_id)
    return job_id


def is_job_id(text: str) -> bool:
    """Tell whether a text has the form of a job's id."""
    return _JOB.fullmatch(text) is not None


def candidate_id(job_id: str, iteration: int, number: int) -> str:
    """Return the id of a candidate."""
    return f"cand_{job_id.removeprefix('job_')}_{iteration}_{number}"


def read_candidate_id(text: str) -> CandidateKey:
    """Return the natural key that the id names.

    Raises:
        NotFound: it does not have the form of a candidate's id.
    """
    found = _CANDIDATE.fullmatch(text)
    if not found:
        raise no_such("candidate", text)
    body, iteration, number = found.groups()
    return CandidateKey(f"job_{body}", int(iteration), int(number))


def run_id(key: RunKey) -> str:
    """Return the id of a run."""
    body, arm = key.job_id.removeprefix("job_"), key.arm.replace(".", "-")
    return f"run_{body}_{key.stage}_{arm}_{key.seed}_{key.rung}"


def read_run_id(text: str) -> RunKey:
    """Return the natural key that the id names.

    Raises:
        NotFound: it does not have the form of a run's id.
    """
    found = _RUN.fullmatch(text)
    if not found:
        raise no_such("run", text)
    body, stage, arm, seed, rung = found.groups()
    arm = arm.replace("-", ".") if arm[0].isdigit() else arm
    return RunKey(f"job_{body}", stage, arm, int(seed), int(rung))


def read_arm(arm: str) -> tuple[int, int] | None:
    """Return (iteration, number) of a candidate's arm, None for one that is no candidate.

    Raises:
        InvalidInput: neither.
    """
    if re.fullmatch(_OTHER_ARM, arm):
        return None
    found = _ARM.fullmatch(arm)
    if not found:
        raise InvalidInput(f"`{arm}`", expected="`native` or a candidate's key such as `0.3`")
    return int(found[1]), int(found[2])


def no_such(kind: str, text: str) -> NotFound:
    """Return the error for an id under which nothing is stored."""
    return NotFound(f"There is no {kind} `{text[:120]}`.")
