"""How a finished job is told: one JSON line for programs, a few sentences for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from client.api import ApiProblem, Job
from client.console import FAILED, OK, Screen, printable
from client.saving import refusing
from client.transport import Document

_VERDICTS = {
    "better": "better: the designed reward beats the native one",
    "equal": "equal: the designed reward cannot be told from the native one",
    "worse": "worse: the native reward was better",
}


def last_line(job: Document, reward_file: Path | None) -> dict[str, object]:
    """Return the document that ends `demo --json` and `design --watch --json`."""
    outcome: Mapping[str, Any] = job["outcome"] or {}
    counts = job["counts"]
    return {
        "job_id": job["id"],
        "verdict": outcome.get("verdict"),
        "fitness": {"native": outcome.get("native"), "designed": outcome.get("designed")},
        "iterations": 0 if job["iteration"] is None else job["iteration"] + 1,
        "candidates": {name: counts[name] for name in ("proposed", "rejected", "trained")},
        "env_steps": job["spent"]["env_steps"],
        "seconds": round(job["spent"]["seconds"], 1),
        "reward_file": str(reward_file) if reward_file else None,
    }


def conclude(job: Job, screen: Screen, reward_file: Path | None) -> int:
    """Save the best reward where wanted, tell how the job ended, and return the exit code."""
    saved = _save(job, reward_file) if reward_file is not None and job.finished else None
    document = job.document
    _tell(document, screen)
    if saved is not None:
        _show_code(job, screen)
        screen.say(f"\nSaved as {saved}")
    elif document["best"] is not None:
        screen.say(f"Save its best reward with: rewardsmith best {job.id} -o reward.py")
    screen.emit(last_line(document, saved))
    return OK if job.status == "succeeded" else FAILED


def _save(job: Job, reward_file: Path) -> Path | None:
    """Save the best reward if there is one; a job that failed late may still have one."""
    if job.document["best"] is None:
        return None
    try:
        with refusing(reward_file):
            return job.best.save(reward_file).resolve()
    except ApiProblem as problem:
        if problem.code != "no-valid-candidate-yet":
            raise
        return None


def _tell(job: Document, screen: Screen) -> None:
    screen.say()
    if job["failure"] is not None:
        failure = job["failure"]
        screen.say(f"The job failed. {failure['title']}: {failure['detail']}")
        if failure["hint"] and failure["hint"] not in failure["detail"]:
            screen.say(failure["hint"])
    elif job["status"] == "paused":
        screen.say(f"The job is paused. Go on with: rewardsmith jobs resume {job['id']}")
    elif job["outcome"] is None:
        screen.say(f"The job is {job['status']}.")
    else:
        _tell_outcome(job, screen)


def _tell_outcome(job: Document, screen: Screen) -> None:
    outcome, counts, spent = job["outcome"], job["counts"], job["spent"]
    screen.say(f"Verdict  {_VERDICTS[outcome['verdict']]}")
    screen.say(f"native   {_interval(outcome['native'])}")
    if outcome["designed"] is not None:
        screen.say(f"designed {_interval(outcome['designed'])}")
    screen.say(outcome["sentence"])
    _tell_fitness_alone(outcome, screen)
    _tell_ablation(outcome["ablation"], screen)
    _tell_transfer(outcome["transfer"], screen)
    money = f", ${spent['money']:.2f}" if spent["money"] else ""
    screen.say(
        f"{counts['proposed']} candidates ({counts['rejected']} rejected{_screened(counts)}, "
        f"{counts['trained']} trained), "
        f"{spent['env_steps']:,} environment steps, {spent['seconds']:.0f} s, "
        f"designer {job['spec']['designer']['name']}{money}"
    )


def _tell_fitness_alone(outcome: Mapping[str, Any], screen: Screen) -> None:
    if outcome["fitness_alone"] is None:
        return
    screen.say(f"fitness alone {_interval(outcome['fitness_alone'])}")
    if outcome["normalised"] is None:
        screen.say("No normalised score: native and fitness alone cannot be told apart.")
    else:
        screen.say(
            f"Normalised score {number(outcome['normalised'])} "
            "(0 is the fitness alone; 1 is as far from it as the native reward)"
        )


_WORTH = {
    "worse": "it is worse without",
    "better": "it is better without",
    "equal": "no difference that these seeds show",
}


def _tell_ablation(ablation: Sequence[Mapping[str, Any]], screen: Screen) -> None:
    if ablation:
        screen.say("Without one term, after the first rung:")
    for one in ablation:
        screen.say(
            f"  {one['kind']} {one['name']}: fitness {number(one['fitness']['mean'])} "
            f"({one['difference']:+.3g}), {_WORTH[one['verdict']]}"
        )


def _tell_transfer(transfer: Mapping[str, Any] | None, screen: Screen) -> None:
    if transfer is None:
        return
    library, name = transfer["library"], transfer["algorithm"]
    learner = name if library == "script" else f"{name} of {library}"
    screen.say(f"With {learner}, {transfer['steps']:,} steps a run: {transfer['verdict']}")
    screen.say(f"  native   {_interval(transfer['native'])}")
    screen.say(f"  designed {_interval(transfer['designed'])}")


def tell_estimate(plan: Document, screen: Screen) -> None:
    """Tell what a job would cost: one JSON line for programs, a few sentences for people."""
    screen.emit(plan)
    screen.say(f"At most {plan['env_steps']:,} environment steps.")
    if plan["asks"]:
        money = "of unknown price" if plan["money"] is None else f"for about ${plan['money']:.2f}"
        screen.say(f"{plan['asks']} questions, about {plan['tokens']:,} tokens, {money}.")
    for note in plan["notes"]:
        screen.say(note)


def _screened(counts: Mapping[str, int]) -> str:
    return f", {counts['screened']} of them screened" if counts["screened"] else ""


def _interval(interval: Mapping[str, Any]) -> str:
    if interval["n"] == 1:
        return f"{number(interval['mean'])}  from 1 fresh seed; one training has no interval"
    low, high = number(interval["low"]), number(interval["high"])
    return f"{number(interval['mean'])}  95 % interval [{low}, {high}] over {interval['n']} fresh seeds"


def number(value: float | None) -> str:
    """Write a fitness with four digits, or a dash."""
    return "–" if value is None else f"{value:.4g}"


def _show_code(job: Job, screen: Screen) -> None:
    """Show the program of the best candidate; the saved file has it with wrappers around it."""
    if screen.json:
        return
    code, program = job.best.code(), job.best.view().program
    screen.say()
    if screen.terminal:
        from rich.syntax import Syntax

        screen.show(
            Syntax(printable(code), "python", theme="ansi_dark", background_color="default")
        )
    else:
        screen.say(code.rstrip())
    if program is not None and program.params:
        shown = ", ".join(f"{name} = {value:g}" for name, value in program.params.items())
        screen.say(f"\ntrained with {shown}")


def look_again(job_id: str, screen: Screen) -> None:
    """Say on the standard error how to come back to a job that goes on."""
    screen.complain(f"\nThe job goes on. Look again with: rewardsmith jobs watch {job_id}")
