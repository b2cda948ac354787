"""`replay`: answers from a recording, for tests, demonstrations and looking at an old job again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias

from core.errors import DesignerUnavailable
from core.records.asking import Ask, Exchange, Prompt, Reply, Usage

FORMAT = "rewardsmith-recording/1"
Key: TypeAlias = tuple[int, int, int]


class ReplayDesigner:
    """Answers with what was recorded under the same (iteration, slot, attempt).

    A prompt that has changed since is noted on the reply; the recorded answer is given all the same.
    """

    name = "replay"

    def __init__(self, recording: Path) -> None:
        """Read the recording.

        Raises:
            DesignerUnavailable: there is no such file, or it is no recording.
        """
        self._recording = recording
        self._entries = _read(recording)

    def answer(self, ask: Ask) -> Reply:
        """Return the recorded reply.

        Raises:
            DesignerUnavailable: nothing was recorded for this slot and attempt.
        """
        entry = self._entries.get((ask.iteration, ask.slot, ask.attempt))
        if entry is None:
            raise DesignerUnavailable(
                f"no answer for iteration {ask.iteration}, slot {ask.slot}, attempt {ask.attempt}",
                where=f"recording {self._recording.name}",
                hint="Replay with the recorded job's iterations and candidates, or record it anew.",
            )
        sha256, reply = entry
        if sha256 == prompt_sha256(ask.prompt):
            return reply
        note = f"prompt drifted: it differs from the one that was recorded ({sha256[:12]})"
        return replace(reply, notes=(*reply.notes, note))


def prompt_sha256(prompt: Prompt) -> str:
    """Return the hash of a prompt's roles and texts."""
    text = json.dumps(prompt.messages, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def write_recording(exchanges: Iterable[Exchange], path: Path) -> None:
    """Write exchanges to a file that `ReplayDesigner` reads."""
    entries = [
        {
            "iteration": exchange.iteration,
            "slot": exchange.slot,
            "attempt": exchange.attempt,
            "designer": exchange.designer,
            "prompt_sha256": prompt_sha256(exchange.prompt),
            "reply": asdict(exchange.reply),
        }
        for exchange in exchanges
    ]
    recording = {"format": FORMAT, "exchanges": entries}
    path.write_text(json.dumps(recording, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[Key, tuple[str, Reply]]:
    try:
        recording = json.loads(path.read_text(encoding="utf-8"))
        if recording["format"] != FORMAT:
            raise ValueError(f"format {recording['format']!r}")
        return {_key(entry): _entry(entry) for entry in recording["exchanges"]}
    except OSError as error:
        raise DesignerUnavailable(
            f"{error.strerror or error}",
            where=f"recording {path.name}",
            hint="Recordings lie in the folder that REWARDSMITH_RECORDINGS_PATH names.",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DesignerUnavailable(
            f"{type(error).__name__}: {error}",
            expected=f"a JSON file of format {FORMAT}",
            where=f"recording {path.name}",
        ) from error


def _key(entry: Mapping[str, Any]) -> Key:
    return int(entry["iteration"]), int(entry["slot"]), int(entry["attempt"])


def _entry(entry: Mapping[str, Any]) -> tuple[str, Reply]:
    told = dict(entry["reply"])
    usage = Usage(**told.pop("usage", {}))
    notes = tuple(told.pop("notes", ()))
    return str(entry["prompt_sha256"]), Reply(**told, usage=usage, notes=notes)
