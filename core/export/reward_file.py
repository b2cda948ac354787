"""Write the downloadable reward file: a program, its provenance, and wrappers that run anywhere."""

from __future__ import annotations

import json
import pprint
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from core.errors import InvalidInput
from core.export.packages import in_words
from core.export.renaming import bound_names, without_clashes
from core.families import ROBOTICS, importable_id
from core.fields import read_source
from core.records.kinds import Mode
from core.records.outcome import Interval
from core.records.programs import Program
from core.records.task import Field, Task
from core.words import imported_from


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a reward file comes from; printed at its top.

    `designed` and `native` are intervals over fresh seeds once the design is confirmed; before that
    `designed` is what the search measured and `confirmed` is false.  `origin` is the id that an
    imported job had where it was exported: then all of this was only told.
    """

    job_id: str
    candidate: str
    designer: str
    model: str | None
    method: str
    designed: Interval | None
    native: Interval | None
    confirmed: bool
    versions: Mapping[str, str]
    origin: str | None = None


def render_reward_file(
    task: Task, program: Program, mode: Mode, weight: float, provenance: Provenance
) -> str:
    """Return the text of `reward.py`.

    Args:
        task:       with the fields that preflight confirmed or derived.
        program:    the candidate's code with its numbers.
        mode:       replace or add.
        weight:     of the designed reward in mode add.
        provenance: for the header.
    """
    text = files("core.export").joinpath("standalone.py").read_text(encoding="utf-8")
    environment = importable_id(task.environment)
    # From the last region to the first, so that no text of anybody's is taken for a mark.
    text = _replace(text, "program", _program(program, _reserved(text)))
    text = _keep(text, "robotics", wanted=environment.startswith(f"{ROBOTICS}:"))
    text = _replace(text, "constants", _constants(task, environment, mode, weight))
    return _replace(text, "header", _header(task, program, provenance))


def _replace(text: str, region: str, content: str) -> str:
    before, rest = text.split(f"# >>> {region}\n", 1)
    _, after = rest.split(f"# <<< {region}\n", 1)
    return f"{before}{content.rstrip()}\n{after}"


def _keep(text: str, region: str, *, wanted: bool) -> str:
    """Keep a region without its marks, or leave it out."""
    before, rest = text.split(f"# >>> {region}\n", 1)
    content, after = rest.split(f"# <<< {region}\n\n", 1)
    return f"{before}{content.lstrip()}\n{after}" if wanted else before + after


def _header(task: Task, program: Program, provenance: Provenance) -> str:
    written = provenance.designer + (f" ({provenance.model})" if provenance.model else "")
    rows = {
        "task": task.name,
        "environment": task.environment,
        "wanted": task.description,
        "job": provenance.job_id,
        "candidate": provenance.candidate,
        "method": provenance.method,
        "designer": written,
        "fitness": _interval(provenance.designed, provenance),
        "native reward": _interval(provenance.native, provenance),
        "versions": ", ".join(f"{name} {v}" for name, v in provenance.versions.items()),
        "sha256": f"{program.sha256} (of the program below, as it was written)",
    }
    lines = [f"{name + ':':<15} {_plain(value)}" for name, value in rows.items()]
    if provenance.origin is not None:
        lines = [_plain(imported_from(provenance.origin)), "", *lines]
    elif provenance.designer == "evolution":
        lines.append("")
        lines.append(
            "Written by a search over a typed grammar of reward terms; no model was asked."
        )
    body = "\n".join(lines)
    made = "made by" if provenance.origin is None else "imported into"
    return f'''"""A designed reward, {made} Rewardsmith.

{body}

Use it:

    from reward import make_env
    env = make_env()          # a Gymnasium environment with the designed reward

or wrap your own: `DesignedReward(env)`, `DesignedVectorReward(vector_env)`.
Needs {in_words(task)}.
`python reward.py` steps 200 random steps and prints the components.
"""'''


def _plain(text: str) -> str:
    """Make foreign text safe inside a docstring: one line, no quotes or escapes that could end it."""
    words = " ".join(text.split())
    shown = "".join(c if c.isprintable() else " " for c in words)
    return shown.replace("\\", "/").replace('"""', "'''").rstrip('"')


def _interval(interval: Interval | None, provenance: Provenance) -> str:
    if interval is None:
        return "not measured"
    kind = "fresh seeds" if provenance.confirmed else "seeds of the search, not confirmed"
    if provenance.origin is not None:
        kind = "seeds, as it was told"
    if interval.n == 1:
        one = kind.replace("seeds", "seed", 1)
        return f"{interval.mean:.4g} (1 {one}; one training has no interval)"
    return (
        f"{interval.mean:.4g} [{interval.low:.4g}, {interval.high:.4g}] "
        f"(mean, 95 % interval, {interval.n} {kind})"
    )


def _constants(task: Task, environment: str, mode: Mode, weight: float) -> str:
    return "\n".join(
        [
            f"ENVIRONMENT = {json.dumps(environment)}",
            f"ENV_KWARGS: dict = {pprint.pformat(dict(task.env_kwargs), width=96)}",
            f"MAX_EPISODE_STEPS = {task.max_episode_steps!r}  # None: the environment's own limit",
            f'MODE = "{mode}"  # "replace": the designed reward; "add": native + WEIGHT * designed',
            f"WEIGHT = {weight!r}",
            f'ARRAY = "{task.array}"  # the library in which the program is written',
            "# name -> (kind, key, start, stop, who may see it); kind: obs, sim, info or terminated",
            "FIELDS: dict = {",
            *(f"    {field.name!r}: {_place(field)!r}," for field in task.fields),
            "}",
        ]
    )


def _place(field: Field) -> tuple[str, str | None, int, int | None, tuple[str, ...]]:
    source = read_source(field)
    return (source.kind, source.key, source.start, source.stop, tuple(field.visible))


def _program(program: Program, reserved: frozenset[str]) -> str:
    if "# <<< program" in program.source:
        raise InvalidInput("a program that contains the marker '# <<< program'")
    source = without_clashes(program.source.strip(), reserved)
    numbers = {name: float(value) for name, value in program.params.items()}
    lines = ["# --- the program, as it was trained ---", "", source]
    if numbers:
        lines += ["", "# The numbers with which it was trained.", f"PARAMS = {numbers!r}"]
    return "\n".join(lines) + "\n\n\n# --- how it is put to use ---\n"


def _reserved(template: str) -> frozenset[str]:
    """Return the names that the file itself binds at top level, its own program aside."""
    before, rest = template.split("# >>> program\n", 1)
    after = rest.split("# <<< program\n", 1)[1]
    return bound_names(before) | bound_names(after)
