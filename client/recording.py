"""Save what a designer was asked and answered, so that the designer `replay` can answer it again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from core.records.asking import Exchange, Prompt, Reply, Usage

if TYPE_CHECKING:
    from api.history_views import ExchangeView


def save_recording(exchanges: Iterable[ExchangeView], path: Path) -> None:
    """Write the exchanges of a job, as the API gives them, in the order in which they were stored."""
    from core.designers.replay import write_recording

    path.parent.mkdir(parents=True, exist_ok=True)
    write_recording(map(_read, exchanges), path)


def _read(view: ExchangeView) -> Exchange:
    messages = tuple((message.role, message.text) for message in view.prompt)
    reply = Reply(
        text=view.reply,
        outcome=view.outcome,
        detail=view.detail,
        model=view.model,
        finish_reason=view.finish_reason,
        usage=Usage(**view.usage.model_dump()),
        latency_seconds=view.latency_seconds,
        notes=tuple(view.notes),
    )
    return Exchange(
        iteration=view.iteration,
        slot=view.slot,
        attempt=view.attempt,
        prompt=Prompt(messages),
        reply=reply,
        designer=view.designer,
    )
