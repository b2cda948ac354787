"""Who writes programs: one class per designer, one method each, chosen by name here."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import ConfigurationError, UnknownDesigner
from core.ports import Designer, Gate
from core.records.spec import DesignerChoice

DESIGNERS = ("evolution", "openai", "replay")
OPENAI_URL = "https://api.openai.com/v1"
OPENAI_MODEL = "gpt-5-mini"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long an endpoint may take, and how often it is asked.

    Attributes:
        connect_seconds: to open a connection.
        attempt_seconds: for a whole attempt, however slowly its bytes arrive.
        call_seconds:    for all attempts and the pauses between them.
        attempts:        in one call, the first included.
        pause_seconds:   longest pause that the endpoint may ask for and that is waited out; beyond it
            the worker is set free.
        rest_seconds:    for which a question rests that all attempts left without an answer, at least.
        gate_seconds:    longest wait for the endpoint's turn that a worker spends.
        response_bytes:  largest body that is read.
    """

    connect_seconds: float = 10.0
    attempt_seconds: float = 180.0
    call_seconds: float = 900.0
    attempts: int = 5
    pause_seconds: float = 120.0
    rest_seconds: float = 60.0
    gate_seconds: float = 5.0
    response_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DesignerSettings:
    """What the worker's settings say about designers.  `api_key` never leaves this process.

    `gates` gives what all workers know of an endpoint, by its name and the model's; None: nothing.
    """

    api_key: str | None = field(default=None, repr=False)
    base_url: str = OPENAI_URL
    model: str = OPENAI_MODEL
    max_tokens: int | None = None
    deadlines: Deadlines = Deadlines()
    recordings: Path | None = None
    gates: Callable[[str], Gate] | None = field(default=None, repr=False)


def make_designer(choice: DesignerChoice, settings: DesignerSettings) -> Designer:
    """Make the designer that a job asked for.

    Raises:
        UnknownDesigner: no designer has that name.
        ConfigurationError: a setting that it needs is missing; the message names it.
        DesignerUnavailable: a recording cannot be read.
    """
    if choice.name == "evolution":
        from core.designers.evolution import EvolutionDesigner

        return EvolutionDesigner()
    if choice.name == "openai":
        return _openai(choice, settings)
    if choice.name == "replay":
        from core.designers.replay import ReplayDesigner

        return ReplayDesigner(_recording(choice, settings))
    near = difflib.get_close_matches(choice.name, DESIGNERS, n=1)
    raise UnknownDesigner(
        repr(choice.name[:60]),
        expected=f"one of {', '.join(DESIGNERS)}",
        where="designer",
        hint=f"Did you mean {near[0]!r}?" if near else None,
    )


def _openai(choice: DesignerChoice, settings: DesignerSettings) -> Designer:
    from core.designers.openai import OpenAIDesigner

    if not settings.api_key and urlsplit(settings.base_url).hostname == "api.openai.com":
        raise ConfigurationError(
            "no key",
            expected="a key for api.openai.com in REWARDSMITH_OPENAI_API_KEY",
            where="designer openai",
            hint="Set it for the worker, or point REWARDSMITH_OPENAI_BASE_URL at another endpoint.",
        )
    return OpenAIDesigner(
        base_url=settings.base_url,
        api_key=settings.api_key,
        model=choice.model or settings.model,
        temperature=choice.temperature,
        max_tokens=settings.max_tokens,
        deadlines=settings.deadlines,
        gates=settings.gates,
    )


def _recording(choice: DesignerChoice, settings: DesignerSettings) -> Path:
    """Return the path of a recording, which a job names without any folder."""
    if settings.recordings is None:
        raise ConfigurationError(
            "no folder of recordings",
            expected="a folder in REWARDSMITH_RECORDINGS_PATH",
            where="designer replay",
        )
    name = choice.recording or ""
    if not name or Path(name).name != name or name.startswith("."):
        raise ConfigurationError(
            repr(name[:60]),
            expected="the plain name of a recording",
            where="designer.recording",
            hint=f"Recordings lie in {settings.recordings.name}/.",
        )
    path = settings.recordings / name
    return path if path.suffix else path.with_suffix(".json")
