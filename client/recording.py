"""Save what a designer was asked and answered, so that the designer `replay` can answer it again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from client.transport import Document
from core.records import Exchange, Prompt, Reply, Usage


def save_recording(exchanges: Iterable[Document], path: Path) -> None:
    """Write the exchanges of a job, as the API gives them, in the order in which they were stored."""
    from core.designers.replay import write_recording

    path.parent.mkdir(parents=True, exist_ok=True)
    write_recording(map(_read, exchanges), path)


def _read(document: Document) -> Exchange:
    messages = tuple((message["role"], message["text"]) for message in document["prompt"])
    reply = Reply(
        text=document["reply"],
        outcome=document["outcome"],
        detail=document["detail"],
        model=document["model"],
        finish_reason=document["finish_reason"],
        usage=Usage(**document["usage"]),
        latency_seconds=document["latency_seconds"],
        notes=tuple(document["notes"]),
    )
    return Exchange(
        iteration=document["iteration"],
        slot=document["slot"],
        attempt=document["attempt"],
        prompt=Prompt(messages),
        reply=reply,
        designer=document["designer"],
    )
