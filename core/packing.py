"""Who trains together: the packs of each stage, of whole candidates, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeAlias, TypeVar

from core.ablation import ablated_arms
from core.budgets import refused, rung_begun
from core.choosing import confirm_arms, runoff_candidates, trusted_arms, winner
from core.exploits import is_suspect
from core.packs import pack_count
from core.records.history import History
from core.records.kinds import NATIVE, Stage
from core.records.measured import Saved
from core.records.rounds import Candidate, Iteration
from core.rungs import promoted, rung_steps
from core.seeding import ablation_seeds, confirm_seeds, runoff_seeds, search_seeds

Member: TypeAlias = tuple[str, int]  # (arm key, seed)
T = TypeVar("T")


def train_packs(history: History, iteration: Iteration, rung: int) -> list[tuple[Member, ...]]:
    """Split a rung's runs into packs, whole candidates together, in a fixed order."""
    alive = rung_candidates(history, iteration, rung)
    runs = len(alive) * history.spec.training.seeds
    groups = _split(alive, pack_count(history.spec.training, history.preflight, runs))
    return [tuple((c.key, s) for c in group for s in search_seeds(history)) for group in groups]


def rung_candidates(history: History, iteration: Iteration, rung: int) -> list[Candidate]:
    """Return the candidates that take part in a rung, in order of their number."""
    alive = [c for c in iteration.candidates if c.status in ("proposed", "trained", "failed")]
    alive = [c for c in alive if c.program is not None]
    found, suspect = history.preflight, partial(is_suspect, history)
    chance = found.random_fitness if found else float("-inf")
    for before in range(rung):
        alive = promoted(history.spec.training, chance, alive, before, suspect)
    return alive


def next_rung(
    history: History, iteration: Iteration
) -> tuple[int, list[tuple[Member, ...]]] | None:
    """Return the first rung of an iteration of which a run is missing, and its packs, or None."""
    done = {(run.arm, run.seed, run.rung) for c in iteration.candidates for run in c.runs}
    for rung in range(len(history.spec.training.rungs)):
        packs = train_packs(history, iteration, rung)
        if any((arm, seed, rung) not in done for pack in packs for arm, seed in pack):
            return rung, packs
    return None


def cut_short(history: History, iteration: Iteration) -> str | None:
    """Name the budget that does not allow the next rung of an iteration, or None."""
    found = next_rung(history, iteration)
    return None if found is None else refused_rung(history, iteration, *found)


def refused_rung(
    history: History, iteration: Iteration, rung: int, packs: Sequence[Sequence[Member]]
) -> str | None:
    """Name the budget that does not allow a rung to begin, or None; one that has begun goes on."""
    if rung_begun(history, iteration, rung):
        return None
    runs, training = sum(map(len, packs)), history.spec.training
    return refused(history, runs * (rung_steps(training, rung) - rung_steps(training, rung - 1)))


def runoff_packs(history: History) -> list[tuple[Member, ...]]:
    """Split the runoff into packs, candidates whole; empty where there is nothing to choose."""
    best, seeds = runoff_candidates(history), runoff_seeds(history)
    count = pack_count(history.spec.training, history.preflight, len(best) * len(seeds))
    return [tuple((c.key, s) for c in part for s in seeds) for part in _split(best, count)]


def confirm_packs(history: History) -> list[tuple[Member, ...]]:
    """Split the confirmation into packs; each arm without generated code has one of its own.

    Members of a pack share a process.  No program may stand beside the runs that it is compared with;
    a member's curve does not depend on its pack, so the conditions stay equal.
    """
    arms = confirm_arms(history)
    if not arms:
        return []
    seeds = confirm_seeds(history)
    trusted = trusted_arms(history)
    others = [tuple((arm, seed) for seed in seeds) for arm in trusted]
    designed = [(arm, seed) for arm in arms if arm not in trusted for seed in seeds]
    parts = pack_count(history.spec.training, history.preflight, len(designed), len(others))
    return [*others, *map(tuple, _split(designed, parts))]


def transfer_packs(history: History) -> list[tuple[Member, ...]]:
    """Return the packs of the user's own learner; empty unless there is one."""
    best = winner(history) if history.spec.evaluation.transfer is not None else None
    if best is None:
        return []
    return [tuple((arm, seed) for seed in confirm_seeds(history)) for arm in (NATIVE, best.key)]


def ablation_packs(history: History) -> list[tuple[Member, ...]]:
    """Split the ablation into packs, whole arms together; empty unless it is asked for."""
    best = winner(history) if history.spec.evaluation.ablate else None
    arms = [] if best is None else list(ablated_arms(best))
    if best is None or not arms:
        return []
    seeds = ablation_seeds(history)
    every = [best.key, *arms]
    count = pack_count(history.spec.training, history.preflight, len(every) * len(seeds))
    return [tuple((arm, s) for arm in part for s in seeds) for part in _split(every, count)]


def resumable(
    saved: Iterable[Saved], stage: Stage, rung: int, members: Sequence[Member]
) -> dict[Member, Saved]:
    """Return what the members of a pack can go on from: all of them, or none.

    Members of a pack are saved together, so that only a pack that was put together anew, of members
    that were never saved, starts its rung over.
    """
    known = {(s.arm, s.seed): s for s in saved if (s.stage, s.rung) == (stage, rung)}
    found = {member: known[member] for member in members if member in known}
    return found if len(found) == len(members) else {}


def _split(items: Sequence[T], parts: int) -> list[Sequence[T]]:
    parts = min(parts, len(items))
    cuts = [round(i * len(items) / parts) for i in range(parts + 1)] if parts else [0]
    return [items[a:b] for a, b in pairwise(cuts)]
