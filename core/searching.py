"""Where the search stands: the open iteration, what the next one holds, and whether there is one."""

from __future__ import annotations

from core.budgets import exhausted, iteration_cost
from core.records.history import History
from core.records.people import Given
from core.records.rounds import Iteration
from core.seeding import search_seeds


def current_iteration(history: History) -> Iteration:
    """Return the open iteration, or the next one, still empty."""
    for iteration in history.iterations:
        if iteration.feedback is None:
            return iteration
    return Iteration(len(history.iterations))


def begun(history: History) -> int:
    """Return how many iterations have begun, people's own and one that is being proposed included."""
    return len(history.iterations) + _being_proposed(history)


def _being_proposed(history: History) -> bool:
    """Tell whether somebody is at work on an iteration of which nothing is stored yet."""
    return f"propose/{len(history.iterations)}" in history.claimed


def waits_for_people(history: History) -> bool:
    """Tell whether the next iteration waits until somebody has said something of the last one.

    Once a slot of it was filled, it goes on: what it was asked with cannot be changed any more.  An
    iteration of people's own programs alone asks nothing of them.
    """
    current = current_iteration(history)
    begun = current.number == 0 or current.proposed or bool(current.candidates)
    if begun or not history.spec.await_feedback or plan_fulfilled(history):
        return False
    return not any(remark.iteration >= current.number - 1 for remark in history.remarks)


def search_ended(history: History) -> bool:
    """Tell whether no further iteration is wanted: all done, or a budget is used up.

    A budget ends none that has begun, one that is being proposed included: its own answers may be what
    used the budget up.
    """
    if any(i.feedback is None for i in history.iterations):
        return False
    if plan_fulfilled(history) and not waiting_programs(history):
        return True
    return not _being_proposed(history) and bool(budget_exhausted(history))


def plan_fulfilled(history: History) -> bool:
    """Tell whether the designer has had all its iterations; what follows is people's alone."""
    reflected = [i for i in history.iterations if i.feedback is not None]
    return len(reflected) >= history.spec.iterations


def waiting_programs(history: History) -> tuple[Given, ...]:
    """Return the programs that people handed in and no closed iteration has taken, in order.

    An iteration takes all that are there, so that a program is waiting or taken for good, and the open
    iteration gives the same program the same slot however often its step is resumed.
    """
    closed = [i for i in history.iterations if i.feedback is not None]
    taken = {c.given for i in closed for c in i.candidates}
    return tuple(program for program in history.given if program.number not in taken)


def budget_exhausted(history: History) -> str | None:
    """Name the budget that does not allow another iteration, or None."""
    return exhausted(history, next_candidates(history))


def next_cost(history: History) -> int:
    """Return the environment steps of the next iteration if every candidate is trained."""
    return iteration_cost(history.spec, next_candidates(history))


def next_candidates(history: History) -> int:
    """Return how many candidates the next iteration has, people's own programs included."""
    planned = 0 if plan_fulfilled(history) else history.spec.candidates
    return planned + len(waiting_programs(history))


def native_complete(history: History) -> bool:
    """Tell whether every baseline run is stored."""
    return {run.seed for run in history.native} >= set(search_seeds(history))
