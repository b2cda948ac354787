"""`history.jsonl`: every candidate of a job, in order, one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256

from core.program import current_source
from core.records.asking import Exchange
from core.records.history import History
from core.records.rounds import Candidate
from core.rungs import reached, rung_values


def history_lines(history: History, exchanges: Sequence[Exchange]) -> Iterator[str]:
    """Yield a JSON object per candidate: its code, the prompt's hash, what was measured."""
    prompts = {(e.iteration, e.slot): e for e in exchanges}
    for iteration in history.iterations:
        for candidate in iteration.candidates:
            asked = prompts.get((candidate.iteration, candidate.number))
            line = _line(candidate, asked)
            yield json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"


def _line(candidate: Candidate, asked: Exchange | None) -> dict[str, object]:
    program = candidate.program
    return {
        "candidate": candidate.key,
        "operator": candidate.operator,
        "parents": list(candidate.parents),
        "status": candidate.status,
        "rejection": candidate.rejection,
        "analysis": candidate.analysis,
        "prediction": candidate.prediction,
        "code": None if program is None else current_source(program),
        "sha256": None if program is None else program.sha256,
        "params": {} if program is None else dict(program.params),
        "designer": None if asked is None else asked.designer,
        "model": None if asked is None else asked.reply.model,
        "prompt_sha256": None if asked is None else _hash(asked),
        "rung": reached(candidate),
        "fitness": rung_values(candidate, reached(candidate)) or [],
    }


def _hash(asked: Exchange) -> str:
    return sha256(json.dumps(asked.prompt.messages).encode()).hexdigest()
