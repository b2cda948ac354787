"""Candidates as rows of a table: for pandas, and for CSV files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from api.history_views import CandidateView

COLUMNS = (
    *("key", "iteration", "number", "operator", "status"),
    *("fitness", "low", "high", "seeds"),
    *("components", "features", "parents", "rejection", "tokens", "money", "arm", "id"),
)


def candidate_row(candidate: CandidateView) -> dict[str, object]:
    """Return one value per column; `fitness` is a mean over `seeds` runs, with its 95 % interval."""
    fitness, program = candidate.fitness, candidate.program
    return {
        "key": candidate.key,
        "iteration": candidate.iteration,
        "number": candidate.number,
        "operator": candidate.operator,
        "status": candidate.status,
        "fitness": fitness and fitness.mean,
        "low": fitness and fitness.low,
        "high": fitness and fitness.high,
        "seeds": fitness.n if fitness else 0,
        "components": " ".join(program.components) if program else "",
        "features": " ".join(program.features) if program else "",
        "parents": " ".join(candidate.parents),
        "rejection": candidate.rejection,
        "tokens": candidate.tokens,
        "money": candidate.money,
        "arm": candidate.arm,
        "id": candidate.id,
    }
