"""Orders to the laboratory: what a pack trains on, how long, and on which episodes it is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core import choosing
from core.ablation import ablated_arms, without
from core.packing import Member, resumable
from core.ports import Arm, FilmOrder, Ledger, PackOrder
from core.records.history import History
from core.records.kinds import FITNESS, NATIVE, Stage
from core.records.rounds import Candidate
from core.records.task import Task
from core.rungs import rung_steps
from core.scenes import Scene
from core.toolbox import Toolbox

# Stand for an iteration where held-out seeds are drawn.
BASELINE, CONFIRMATION, ABLATION, FILM, RUNOFF = -1, -2, -3, -4, -5


def pack_order(
    ledger: Ledger,
    tools: Toolbox,
    history: History,
    members: Sequence[Member],
    stage: Stage,
    iteration: int,
    rung: int,
) -> PackOrder:
    """Write the order for one pack."""
    spec = history.spec
    assert history.preflight is not None  # the loop trains nothing before preflight
    long = stage in ("runoff", "confirm", "transfer")
    episodes = spec.evaluation.confirm_episodes if long else spec.evaluation.episodes
    candidates = {c.key: c for i in history.iterations for c in i.candidates}
    keys = dict.fromkeys(arm for arm, _ in members)
    return PackOrder(
        task=known_task(history),
        preflight=history.preflight,
        training=spec.training,
        stage=stage,
        rung=rung,
        mode=spec.mode,
        weight=spec.weight,
        members=tuple(members),
        arms={key: _arm(key, candidates, choosing.winner(history)) for key in keys},
        start_steps=rung_steps(spec.training, rung - 1),
        stop_steps=rung_steps(spec.training, rung),
        held_out=tools.held_out(ledger.job_id, _round(iteration, history), rung, episodes),
        checkpoints=spec.training.checkpoints,
        resume=_checkpoints(candidates, members, rung) if stage == "search" else {},
        warm=_warm_start(history, candidates, members) if stage == "search" and rung == 0 else {},
        record=stage in ("baseline", "search"),
        saved=resumable(ledger.saved(), stage, rung, members),
    )


def film_order(ledger: Ledger, tools: Toolbox, history: History, scene: Scene) -> FilmOrder | None:
    """Write the order for one filmed episode of an arm's best run of a stage; None without any."""
    assert history.preflight is not None  # there was a training
    run = choosing.best_run(history, scene.arm, scene.stage)
    if run is None:
        return None
    candidates = {c.key: c for i in history.iterations for c in i.candidates}
    purpose = FILM - 1_000 * filmed_extension(history, scene)
    seeds = tools.held_out(ledger.job_id, purpose, 0, scene.episode + 1)
    return FilmOrder(
        task=known_task(history),
        preflight=history.preflight,
        arm=_arm(scene.arm, candidates, choosing.winner(history)),
        run=run,
        episode=scene.episode,
        held_out=seeds[scene.episode :],
        mode=history.spec.mode,
        weight=history.spec.weight,
    )


def filmed_extension(history: History, scene: Scene) -> int:
    """Return the extension that a film belongs to; what people judge is filmed once for all of them."""
    return history.extensions if scene.stage == "confirm" else 0


def _arm(key: str, candidates: dict[str, Candidate], winner: Candidate | None) -> Arm:
    """Return what an arm's runs train on."""
    if key in (NATIVE, FITNESS):
        return Arm(key)
    if key in candidates:
        return Arm(key, candidates[key].program)
    assert winner is not None  # nobody else is ablated
    assert winner.program is not None  # it was trained
    return Arm(key, without(winner.program, *ablated_arms(winner)[key]))


def _round(iteration: int, history: History) -> int:
    """Return what stands for a stage where held-out seeds are drawn; each confirmation has its own."""
    return iteration if iteration != CONFIRMATION else iteration - 1_000 * history.extensions


def _checkpoints(
    candidates: dict[str, Candidate], members: Sequence[Member], rung: int
) -> dict[Member, str]:
    wanted = set(members)
    return {
        (run.arm, run.seed): run.checkpoint
        for candidate in candidates.values()
        for run in candidate.runs
        if run.rung == rung - 1 and (run.arm, run.seed) in wanted and run.checkpoint
    }


def _warm_start(
    history: History, candidates: dict[str, Candidate], members: Sequence[Member]
) -> dict[Member, tuple[str, ...]]:
    """Say whose transitions a member starts with: runs of its own seed, so that seeds stay apart.

    The baseline's come first and those of the best parent last; what does not fit is forgotten from
    the front.  Confirmations start from nothing, or they would not be comparable.
    """
    if not history.spec.training.warm_start:
        return {}
    runs = [*history.native, *(run for c in candidates.values() for run in c.runs)]
    lived = {(r.arm, r.seed): r.checkpoint for r in sorted(runs, key=lambda r: r.rung)}
    return {
        (arm, seed): tuple(
            checkpoint
            for source in (NATIVE, *reversed(candidates[arm].parents))
            if (checkpoint := lived.get((source, seed))) is not None
        )
        for arm, seed in members
        if arm in candidates
    }


def known_task(history: History) -> Task:
    """Return the job's task with the fields that preflight confirmed or derived."""
    task = history.spec.task
    return task if history.preflight is None else replace(task, fields=history.preflight.fields)
