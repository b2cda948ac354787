"""What a job costs, and which cap does not allow it to go on.

Caps are looked at where something new would begin: an iteration, a rung, a question to the designer.
What has begun is ended, so that a cap is passed by one rung at most, and what the job must still do
in the end is kept back from the start.
"""

from __future__ import annotations

from core.learners import read_learner
from core.records.history import History
from core.records.kinds import Json
from core.records.rounds import Candidate, Iteration
from core.records.spec import Budget, JobSpec
from core.rungs import rung_steps, survivors

MOST_ABLATED = 8
"""Terms of the winner that are left out in turn, at most."""
REFUSED = "budget"
"""The rule under which a candidate is refused whose designer could not be asked any more."""


# --- environment steps ------------------------------------------------------------------------


def baseline_cost(spec: JobSpec) -> int:
    """Return the environment steps of the baseline, and of the fitness alone where it is asked for."""
    arms = 1 + spec.evaluation.fitness_alone
    return arms * spec.training.seeds * spec.training.steps


def baseline_left(history: History) -> int:
    """Return the environment steps of the baseline's runs that are not stored yet."""
    training = history.spec.training
    arms = [history.native, *([history.fitness_alone] * history.spec.evaluation.fitness_alone)]
    stored = sum(min(training.seeds, len({run.seed for run in runs})) for runs in arms)
    return (len(arms) * training.seeds - stored) * training.steps


def iteration_cost(spec: JobSpec, candidates: int | None = None) -> int:
    """Return the environment steps of one iteration if every candidate is trained.

    Args:
        spec:       of the job.
        candidates: that the iteration has; those of the plan unless given.
    """
    training = spec.training
    alive = spec.candidates if candidates is None else candidates
    total, before = 0, 0
    for rung in range(len(training.rungs)):
        steps = rung_steps(training, rung)
        total += alive * training.seeds * (steps - before)
        before, alive = steps, survivors(training, alive)
    return total


def closing_cost(spec: JobSpec) -> int:
    """Return the environment steps of all that follows the search, at most."""
    return runoff_cost(spec) + confirm_cost(spec) + ablation_cost(spec) + transfer_cost(spec)


def runoff_cost(spec: JobSpec) -> int:
    """Return the environment steps of the runoff; 0 unless it is asked for."""
    evaluation = spec.evaluation
    return evaluation.runoff_candidates * evaluation.runoff_seeds * spec.training.steps


def confirm_cost(spec: JobSpec) -> int:
    """Return the environment steps of the confirmation, those it is compared with included."""
    evaluation = spec.evaluation
    arms = 1 + evaluation.fitness_alone + evaluation.confirm_candidates
    return arms * evaluation.confirm_seeds * spec.training.steps


def ablation_cost(spec: JobSpec) -> int:
    """Return the environment steps of the ablation, at most; 0 unless it is asked for."""
    if not spec.evaluation.ablate:
        return 0
    runs = (1 + MOST_ABLATED) * spec.evaluation.confirm_seeds
    return runs * rung_steps(spec.training, 0)


def transfer_cost(spec: JobSpec) -> int:
    """Return the environment steps of training with the user's own learner; 0 without one."""
    if spec.evaluation.transfer is None:
        return 0
    return 2 * spec.evaluation.confirm_seeds * learner_steps(spec)


def learner_steps(spec: JobSpec) -> int:
    """Return the environment steps per run of the user's own learner."""
    own = None if spec.evaluation.transfer is None else read_learner(spec.evaluation.transfer).steps
    return own or spec.training.steps


def planned_cost(spec: JobSpec, starts: int = 0) -> int:
    """Return the environment steps of the whole job if no budget ends it early.

    Args:
        spec:   of the job.
        starts: programs of people's that its first iteration takes beside the designer's.
    """
    first = iteration_cost(spec, spec.candidates + starts)
    later = (spec.iterations - 1) * iteration_cost(spec)
    return baseline_cost(spec) + first + later + closing_cost(spec)


def overlong_plan(
    spec: JobSpec, most_steps: int, starts: int = 0, confirmations: int = 1
) -> int | None:
    """Return the environment steps of a plan if they, and the budget, are more than so many.

    Args:
        spec:          of the job.
        most_steps:    that a job may plan.
        starts:        programs of people's that are trained beside the designer's.
        confirmations: of the job; each further one follows an extension.
    """
    planned = planned_cost(spec, starts) + (confirmations - 1) * closing_cost(spec)
    allowed = planned if spec.budget.env_steps is None else spec.budget.env_steps
    return planned if min(planned, allowed) > most_steps else None


# --- what does not fit any more ---------------------------------------------------------------


def exhausted(history: History, candidates: int) -> str | None:
    """Name the budget that does not allow another iteration of so many candidates, or None."""
    cost = iteration_cost(history.spec, candidates)
    return refused(history, cost) or _designer_exhausted(history)


def refused(history: History, env_steps: int) -> str | None:
    """Name the budget that does not allow so many environment steps more, or None.

    What else must be done is kept back: a baseline that is still being trained, and what follows the
    search, its environment steps as planned, its time as the baseline let expect it.
    """
    budget, spent = history.spec.budget, history.spent
    wanted = spent.env_steps + env_steps + kept_back(history)
    if budget.env_steps is not None and wanted > budget.env_steps:
        return "env_steps"
    if budget.seconds is not None and spent.seconds + closing_seconds(history) >= budget.seconds:
        return "seconds"
    return None


def kept_back(history: History) -> int:
    """Return the environment steps that a job needs whatever becomes of its search."""
    return baseline_left(history) + closing_cost(history.spec)


def out_of_time(history: History) -> bool:
    """Tell whether a job's time is used up."""
    allowed = history.spec.budget.seconds
    return allowed is not None and history.spent.seconds >= allowed


def closing_seconds(history: History) -> float:
    """Return about how long all that follows the search will take, by the baseline's speed.

    0 before the baseline has been trained.  A run's seconds are its share of its pack's.
    """
    steps = sum(run.env_steps for run in history.native)
    seconds = sum(run.seconds for run in history.native)
    return closing_cost(history.spec) * seconds / steps if steps else 0.0


def _designer_exhausted(history: History) -> str | None:
    budget, spent = history.spec.budget, history.spent
    if budget.tokens is not None and spent.tokens >= budget.tokens:
        return "tokens"
    if budget.money is not None and spent.money >= budget.money:
        return "money"
    held_back = any(_held_back(c, budget) for i in history.iterations for c in i.candidates)
    return _binding(history) if held_back else None


def _held_back(candidate: Candidate, budget: Budget) -> bool:
    """Tell whether the limits that did not allow the question for a candidate are still in force.

    They are taken to be where an older version did not store them.
    """
    now = designer_limits(budget)
    refusals = [check for check in candidate.checks if check.rule == REFUSED]
    return any(check.limits is None or check.limits == now for check in refusals)


def designer_limits(budget: Budget) -> Json:
    """Return the limits on what a job may spend on its designer, by name."""
    return {"tokens": budget.tokens, "money": budget.money}


def unasked(candidate: Candidate) -> bool:
    """Tell whether a budget did not allow the question for a candidate."""
    return any(check.rule == REFUSED for check in candidate.checks)


def _binding(history: History) -> str:
    """Name the designer's cap that is nearest, when it has refused a question."""
    budget, spent = history.spec.budget, history.spent
    shares = {
        name: used / allowed
        for name, used, allowed in (
            ("tokens", spent.tokens, budget.tokens),
            ("money", spent.money, budget.money),
        )
        if allowed
    }
    return max(shares, key=lambda name: shares[name], default="tokens")


def rung_begun(history: History, iteration: Iteration, rung: int) -> bool:
    """Tell whether a rung of an iteration has runs, or somebody at work on them."""
    if any(run.rung == rung for c in iteration.candidates for run in c.runs):
        return True
    mark = f"train/{iteration.number}/{rung}/"
    return any(key.startswith(mark) for key in history.claimed)
