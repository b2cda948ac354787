"""`bundle.zip`: a folder that runs without us and can be pushed as it is.

The same facts give the same bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files

from core.errors import ConfigurationError
from core.export.card import Card, render_card
from core.export.figures import components_figure, curves_figure
from core.export.lines import history_lines
from core.export.packages import module_of_yours, requirements
from core.export.policy_file import describe_policy
from core.export.tables import components_table, curves_table
from core.records.asking import Exchange
from core.records.history import History
from core.records.kinds import NATIVE, Json
from core.records.measured import Rollout, Run
from core.records.outcome import Outcome
from core.records.rounds import Candidate
from core.records.task import Task

_LONG_AGO = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the earliest that a zip can say; no moment of ours is in the bytes
_ELSEWHERE = "the server that wrote this does not have its file; an imported job brings none."


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a bundle is made of.

    Attributes:
        reward:    text of `reward.py`.
        task:      with the fields that preflight confirmed or derived.
        policy:    the training whose policy goes along, and its weights; None without their bytes.
        runs:      of the candidate and of the native reward, with curves.
        rollouts:  filmed episodes of the candidate.
        video:     of the first of them; None without its bytes.
        versions:  of what it was made with.
        origin:    of an imported job: its id where it was exported.
    """

    job_id: str
    candidate: Candidate
    history: History
    task: Task
    reward: str
    policy: tuple[Run, bytes] | None
    runs: Sequence[Run]
    exchanges: Sequence[Exchange]
    rollouts: Sequence[Rollout]
    video: bytes | None
    versions: Mapping[str, str]
    origin: str | None = None


def write_bundle(parts: Parts) -> bytes:
    """Return the bytes of the zip."""
    contents, notes = _contents(parts)
    card = Card(
        job_id=parts.job_id,
        candidate=parts.candidate.key,
        task=parts.task,
        spec=parts.history.spec,
        outcome=_outcome(parts),
        files=contents.keys(),
        notes=notes,
        version=parts.versions.get("rewardsmith", "source"),
        origin=parts.origin,
    )
    contents["README.md"] = render_card(card)
    return zipped(contents)


def zipped(contents: Mapping[str, str | bytes]) -> bytes:
    """Return a zip of files by name, the same bytes for the same files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, contents[name])
    return file.getvalue()


def _contents(parts: Parts) -> tuple[dict[str, str | bytes], list[str]]:
    contents: dict[str, str | bytes] = {
        "reward.py": parts.reward,
        "design.json": _json(_design(parts)),
        "results.json": _json(_results(parts)),
        "curves.csv": curves_table(parts.runs),
        "components.csv": components_table(parts.candidate.report),
        "history.jsonl": "".join(history_lines(parts.history, parts.exchanges)),
        "requirements.txt": _requirements(parts),
    }
    notes: list[str] = []
    _add_policy(contents, notes, parts)
    confirmed = [run for run in parts.runs if run.stage == "confirm"]
    _draw(contents, notes, "curves.png", lambda: curves_figure(confirmed))
    _draw(contents, notes, "components.png", lambda: components_figure(parts.candidate.report))
    if parts.video is not None:
        contents["replay.mp4"] = parts.video
    else:
        notes.append(f"There is no video: {_why_dark(parts)}")
    return contents, notes


def _add_policy(contents: dict[str, str | bytes], notes: list[str], parts: Parts) -> None:
    if parts.policy is None or parts.history.preflight is None:
        notes.append(f"There is no policy: {_why_idle(parts)}")
        return
    run, weights = parts.policy
    card = describe_policy(weights, run, parts.task, parts.history.preflight)
    contents["policy.safetensors"] = weights
    contents["policy.json"] = _json(card)
    for name in ("play.py", "to_sb3.py", "to_onnx.py"):
        contents[name] = files("core.export").joinpath(name).read_text(encoding="utf-8")


def _draw(
    contents: dict[str, str | bytes], notes: list[str], name: str, draw: Callable[[], bytes]
) -> None:
    try:
        contents[name] = draw()
    except ConfigurationError as error:
        notes.append(f"`{name}` is missing: {error}")


def _why_idle(parts: Parts) -> str:
    mine = [run for run in parts.history.confirmations if run.arm == parts.candidate.key]
    if any(run.fitness is not None for run in mine):
        return _ELSEWHERE
    return "the design has not been confirmed."


def _why_dark(parts: Parts) -> str:
    if parts.history.outcome is None and not parts.rollouts:
        return "the winner is filmed after the confirmation."
    failures = [one.failure for one in parts.rollouts if one.failure]
    if len(failures) < len(parts.rollouts):
        return _ELSEWHERE
    return next(iter(failures), "none was asked for.")


def _outcome(parts: Parts) -> Outcome | None:
    found = parts.history.outcome
    return found if found is not None and found.best == parts.candidate.key else None


def _design(parts: Parts) -> Json:
    spec, program = parts.history.spec, parts.candidate.program
    return {
        "job": parts.job_id,
        "candidate": parts.candidate.key,
        "task": asdict(parts.task),
        "request": asdict(spec),
        "mode": spec.mode,
        "weight": spec.weight,
        "program": None
        if program is None
        else {"sha256": program.sha256, "params": dict(program.params)},
        "parents": list(parts.candidate.parents),
        "analysis": parts.candidate.analysis,
        "versions": dict(parts.versions),
    }


def _results(parts: Parts) -> Json:
    outcome = _outcome(parts)
    return {
        "verdict": None if outcome is None else outcome.verdict,
        "sentence": None if outcome is None else outcome.sentence,
        "origin": parts.origin,
        "outcome": None if outcome is None else asdict(outcome),
        "fitness": {
            arm: [run.fitness for run in parts.runs if (run.arm, run.stage) == (arm, "confirm")]
            for arm in (parts.candidate.key, NATIVE)
        },
        "episodes": [
            {
                "seed": one.seed,
                "fitness": one.fitness,
                "native_return": one.native,
                "length": one.length,
            }
            for one in parts.rollouts
            if one.fitness is not None
        ],
    }


def _requirements(parts: Parts) -> str:
    lines, own = [*requirements(parts.task), "safetensors>=0.5"], module_of_yours(parts.task)
    if own is not None:
        lines.append(f"# and the module {own}, which is yours")
    return "\n".join(lines) + "\n"


def _json(value: Json) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
