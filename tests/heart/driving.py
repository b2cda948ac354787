"""Drive the pure loop with made-up results, as a worker would with real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from core import loop, seeding
from core.budgets import learner_steps
from core.packing import ablation_packs, confirm_packs, runoff_packs, train_packs, transfer_packs
from core.records.history import History, Spent
from core.records.kinds import FITNESS, NATIVE
from core.records.measured import Rollout, Run
from core.records.rounds import Feedback, Iteration
from core.records.spec import JobSpec
from core.rungs import rung_steps
from core.scenes import Scene, to_film, to_show
from tests.builders import a_preflight, a_run, proposed, rejected


def drive(spec: JobSpec, fitness: Callable[[str, int], float | None]) -> list[str]:
    """Return the keys of all steps until the job wants nothing more (at most 200)."""
    return [key for key, _ in drive_counting(spec, fitness)]


def drive_counting(
    spec: JobSpec, fitness: Callable[[str, int], float | None]
) -> list[tuple[str, int]]:
    """Return the keys of all steps, each with the environment steps spent by its end."""
    history, steps = History(spec), []
    while wanted := loop.next_steps(history):
        step = wanted[0]
        history = _done(step, history, fitness)
        lived = history.spent.env_steps + _lived(step, history)
        history = replace(history, spent=Spent(env_steps=lived))
        steps.append((loop.step_key(step), lived))
        assert len(steps) < 200
    return steps


def _lived(step: loop.Step, history: History) -> int:
    training = history.spec.training
    match step:
        case loop.Baseline() | loop.FitnessAlone():
            return training.seeds * training.steps
        case loop.Train(number, rung, pack):
            members = train_packs(history, history.iterations[number], rung)[pack]
            return len(members) * (rung_steps(training, rung) - rung_steps(training, rung - 1))
        case loop.Runoff(pack):
            return len(runoff_packs(history)[pack]) * training.steps
        case loop.Confirm(pack):
            return len(confirm_packs(history)[pack]) * training.steps
        case loop.Transfer(pack):
            return len(transfer_packs(history)[pack]) * learner_steps(history.spec)
        case loop.Ablate(pack):
            return len(ablation_packs(history)[pack]) * rung_steps(training, 0)
    return 0


def _done(  # noqa: C901 - one case for each kind of step
    step: loop.Step, history: History, fitness: Callable[[str, int], float | None]
) -> History:
    match step:
        case loop.Preflight():
            return replace(history, preflight=a_preflight())
        case loop.Baseline():
            runs = tuple(a_run(NATIVE, 0.2, seed=s) for s in seeding.search_seeds(history))
            return replace(history, native=runs)
        case loop.FitnessAlone():
            alone = tuple(a_run(FITNESS, 0.2, seed=s) for s in seeding.search_seeds(history))
            return replace(history, fitness_alone=alone)
        case loop.Propose(number):
            slots = range(history.spec.candidates)
            made = tuple(
                proposed(slot, iteration=number) if slot else rejected(slot, iteration=number)
                for slot in slots
            )
            iteration = Iteration(number, made, proposed=True)
            return replace(history, iterations=(*history.iterations, iteration))
        case loop.Train(number, rung, pack):
            members = train_packs(history, history.iterations[number], rung)[pack]
            return _with_runs(
                history, number, [a_run(a, fitness(a, s), seed=s, rung=rung) for a, s in members]
            )
        case loop.Reflect(number):
            iteration = replace(history.iterations[number], feedback=Feedback(number, "", None))
            return _with_iteration(history, number, iteration)
        case loop.Runoff(pack):
            members = runoff_packs(history)[pack]
            runs = tuple(a_run(a, fitness(a, s), seed=s, stage="runoff") for a, s in members)
            return replace(history, runoffs=(*history.runoffs, *runs))
        case loop.Confirm(pack):
            members = confirm_packs(history)[pack]
            runs = tuple(a_run(a, fitness(a, s), seed=s, stage="confirm") for a, s in members)
            return replace(history, confirmations=(*history.confirmations, *runs))
        case loop.Transfer(pack):
            members = transfer_packs(history)[pack]
            runs = tuple(a_run(a, fitness(a, s), seed=s, stage="transfer") for a, s in members)
            return replace(history, transfers=(*history.transfers, *runs))
        case loop.Ablate(pack):
            members = ablation_packs(history)[pack]
            runs = tuple(a_run(a, fitness(a, s), seed=s, stage="ablation") for a, s in members)
            return replace(history, ablations=(*history.ablations, *runs))
        case loop.Film():
            return _with_films(history, to_film(history))
        case loop.Show(number):
            return _with_films(history, to_show(history, number))
        case loop.Finish():
            return replace(history, status="succeeded")


def _with_films(history: History, scenes: Sequence[Scene]) -> History:
    filmed = tuple(Rollout(s.arm, s.episode, 7, stage=s.stage) for s in scenes)
    return replace(history, rollouts=(*history.rollouts, *filmed))


def _with_runs(history: History, number: int, runs: list[Run]) -> History:
    iteration = history.iterations[number]
    candidates = tuple(
        replace(c, runs=(*c.runs, *(run for run in runs if run.arm == c.key)))
        for c in iteration.candidates
    )
    return _with_iteration(history, number, replace(iteration, candidates=candidates))


def _with_iteration(history: History, number: int, iteration: Iteration) -> History:
    iterations = list(history.iterations)
    iterations[number] = iteration
    return replace(history, iterations=tuple(iterations))
