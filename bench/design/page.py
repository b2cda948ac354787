"""The page docs/results/design.md, rendered from the numbers in design.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from bench.design.arms import DESIGNED, EXPERT
from bench.design.comparisons import FULL_TRAINING, NOT_READ, RUNOFF, WANTED_SHARE
from bench.trainer.tables import table
from core.records.kinds import FITNESS, NATIVE
from core.records.spec import Evaluation

Json: TypeAlias = dict[str, Any]

_ARMS = (NATIVE, FITNESS, EXPERT, DESIGNED)


def render(document: Json) -> str:
    """Return the page.

    Args:
        document: as in design.json.
    """
    tasks = document["tasks"]
    parts = [
        f"# The ladder: what {document['designer']} designs\n",
        _preface(document),
        f"## Fitness\n\n{_fitness(tasks)}",
        f"## Goals\n\n{_goals(document['counts'])}",
        f"## Where it falls short\n\n{_short_falls(document)}",
        f"## Job by job\n\n{_jobs(tasks)}",
        f"## Steps per run\n\n{_steps(tasks)}",
        f"## The experts\n\n{_experts(document['experts'])}",
        f"## Ablations\n\n{_ablations(document)}",
    ]
    return "\n".join(parts)


def _preface(document: Json) -> str:
    scale = document["scale"]
    job, evaluation = scale["job"], scale["job"]["evaluation"]
    dates = sorted({one["date"][:10] for one in document["tasks"] if one["date"]})
    machines = list(dict.fromkeys(m for one in document["tasks"] for m in one["machine"]))
    minutes = sum(one["seconds"] for one in document["tasks"]) / 60
    when = "nothing yet" if not dates else " to ".join(dict.fromkeys((dates[0], dates[-1])))
    return (
        f"Measured: {when}, `{document['command']}`. Machine: {'; '.join(machines) or 'none yet'}. "
        f"{scale['repetitions']} jobs per task (method `{job['method']}`, {job['candidates']} "
        f"candidates × {job['iterations']} iterations, rungs {job['training']['rungs']}, "
        f"{job['training']['seeds']} seeds in the search); {minutes:.0f} minutes in jobs. Every arm is "
        "trained by the same trainer with the same settings, fresh seeds and steps; the fixed arms "
        f"once per task, with the seeds of all {scale['repetitions']} confirmations. A run's fitness "
        f"is its mean over {evaluation['confirm_episodes']} held-out episodes, the same for all arms. "
        "Brackets are 95 % bootstrap intervals of the mean: over runs for the fixed arms, over jobs "
        "and then runs for the designed one. *Normalised* is (designed − fitness alone) / |expert − "
        "fitness alone|; it is left out where the interval of that denominator holds 0. Verdicts are "
        "permutation tests on the pooled runs. Runs of one job share a program, so the pooled test "
        "is optimistic about *other* jobs; how many of the jobs are better, equal or worse by "
        "themselves stands in brackets.\n"
    )


def _fitness(tasks: Sequence[Json]) -> str:
    heads = (
        *("task", "native", "fitness alone", "expert", "designed", "normalised"),
        *(
            "against native (jobs)",
            "against expert (jobs)",
            "env steps a job (10⁶)",
            "seconds a job",
        ),
    )
    words = (
        "Tasks marked * are wishes: something else is wanted than the environment's own reward pays "
        "for. *= native*: the fitness is the native return, so training on it alone is the native "
        "arm. †: the expert is worse than the fitness alone, so 1 is not the expert's own score.\n\n"
    )
    return words + table(heads, [_row(one) for one in tasks])


def _row(one: Json) -> tuple[str, ...]:
    jobs = max(1, len(one["repetitions"]))
    arms = [bracketed(one["fitness"].get(arm)) for arm in _ARMS]
    if one["fitness_is_native"]:
        arms[_ARMS.index(FITNESS)] = "= native"
    return (
        one["task"] + ("*" if one["wish"] else ""),
        *arms,
        _normalised(one),
        _verdict(one, "verdict"),
        _verdict(one, "verdict_expert"),
        f"{one['env_steps'] / jobs / 1e6:.2f}",
        _at_least(one["repetitions"]) + f"{one['seconds'] / jobs:.0f}",
    )


def _normalised(one: Json) -> str:
    if one["normalised"] is None:
        return ""
    below = one["fitness"][EXPERT]["mean"] < one["fitness"][FITNESS]["mean"]
    return f"{one['normalised']:.2f}" + ("†" if below else "")


def _at_least(jobs: Sequence[Json]) -> str:
    """Mark the time of jobs that were interrupted: what came before is not counted."""
    return "≥ " if any(job["resumed"] for job in jobs) else ""


def _verdict(one: Json, which: str) -> str:
    if one[which] is None:
        return ""
    own = [job[which] for job in one["repetitions"]]
    tally = ", ".join(
        f"{own.count(word)} {word}" for word in ("better", "equal", "worse") if word in own
    )
    return f"**{one[which]}** ({tally})"


def _goals(counts: Json) -> str:
    n, against = counts["tasks"], counts["against_expert"]
    not_worse = counts["expert_better"] + counts["expert_equal"]
    lines = (
        (
            "*better* than native on at least half of the tasks",
            f"{counts['better']} of {n}",
            n > 0 and 2 * counts["better"] >= n,
        ),
        (
            "*worse* than native on none of the wishes",
            f"{counts['wishes_worse']} of {counts['wishes']}",
            counts["wishes_worse"] == 0,
        ),
        (
            "not *worse* than the expert on at least half",
            f"{not_worse} of {against} ({counts['expert_better']} better)",
            against > 0 and 2 * not_worse >= against,
        ),
        (
            "mean at or above the expert's on at least half",
            f"{counts['mean_at_or_above_expert']} of {against}",
            against > 0 and 2 * counts["mean_at_or_above_expert"] >= against,
        ),
    )
    return table(
        ("goal", "found", "reached"),
        [(goal, found, "yes" if held else "no") for goal, found, held in lines],
    )


def _short_falls(document: Json) -> str:
    tasks = document["tasks"]
    lines = []
    for words, which, verdicts in (
        ("Worse than the native reward", "verdict", ("worse",)),
        ("Not told from the native reward", "verdict", ("equal",)),
        ("Worse than the expert", "verdict_expert", ("worse",)),
    ):
        names = [one["task"] for one in tasks if one[which] in verdicts]
        lines.append(f"- {words}: {', '.join(names) or 'none'}.")
    failed = [
        f"{one['task']} (job seed {job['job_seed']}: {job['failure']})"
        for one in tasks
        for job in one["repetitions"]
        if job["status"] != "succeeded"
    ]
    if failed:
        lines.append(f"- Jobs without a design, counted as the random policy: {'; '.join(failed)}.")
    blank = [one["task"] for one in tasks if one["normalised"] is None]
    lines.append(
        f"- No normalised score (an arm is missing, or expert and fitness alone are not told apart): "
        f"{', '.join(blank) or 'none'}."
    )
    open_tasks = [one["task"] for one in tasks if not one["complete"]]
    missing = [*open_tasks, *document["not_begun"]]
    if missing:
        lines.append(f"- **Not finished yet**: {', '.join(missing)}.")
    return "\n".join(lines) + "\n"


def _jobs(tasks: Sequence[Json]) -> str:
    heads = (
        *("task", "job seed", "designed", "native's verdict", "expert's verdict"),
        *("rejected", "screened", "of candidates", "steps saved", "env steps", "seconds"),
    )
    rows = [
        (
            one["task"],
            str(job["job_seed"]),
            bracketed(job["fitness"]),
            job["verdict"] or "",
            job["verdict_expert"] or "",
            *(str(job[name]) for name in ("rejected", "screened", "candidates")),
            *(f"{job[name]:,}" for name in ("saved_steps", "env_steps")),
            _at_least([job]) + f"{job['seconds']:.0f}",
        )
        for one in tasks
        for job in one["repetitions"]
    ]
    return table(heads, rows) + "\nThe programs stand in the JSON file, under `source`.\n"


def _steps(tasks: Sequence[Json]) -> str:
    return table(
        ("task", "steps", "why"),
        [(one["task"], f"{one['steps']:,}", one["why_steps"]) for one in tasks],
    )


def _experts(experts: Json) -> str:
    lines = [f"- {task}: {' '.join(words.split())}" for task, words in experts.items()]
    return "\n".join(lines) + "\n"


def _ablations(document: Json) -> str:
    found = document["ablations"]
    notes = [NOT_READ] if document["designer"] == "evolution" else []
    if not found:
        return "\n\n".join(["Not run yet: `--ablations`.", *notes]) + "\n"
    heads = (
        *("task", "jobs", "against", "fitness", "the other's fitness", "is"),
        *("search steps", "the other's", "share", "jobs a side"),
    )
    rows = [
        (
            one["task"],
            one["first"],
            one["variant"],
            bracketed(one["ours"]["fitness"]),
            bracketed(one["other"]["fitness"]),
            _both_verdicts(one),
            f"{one['ours']['search_env_steps']:,}",
            f"{one['other']['search_env_steps']:,}",
            "" if one["share_of_env_steps"] is None else f"{one['share_of_env_steps']:.0%}",
            str(len(one["job_seeds"])),
        )
        for one in found
    ]
    runoff = RUNOFF.changes["evaluation"]
    words = (
        "*Is*: the permutation test on pooled runs, and in brackets, from four jobs a side on, that on "
        "the jobs' means, which says how another job would do. More than three jobs a side were run "
        "where the first three, which are among them, left a doubt. Steps are those of the search; a "
        f"runoff has its own, {runoff['runoff_candidates']} candidates to the end with "
        f"{runoff.get('runoff_seeds', Evaluation().runoff_seeds)} seeds each.\n"
    )
    return "\n".join([words, table(heads, rows), _reaching(found), *notes]) + "\n"


def _both_verdicts(one: Json) -> str:
    pooled, jobs = one["verdict"] or "", one.get("verdict_of_jobs")
    return f"{pooled} ({jobs})" if jobs else pooled


def _reaching(found: Sequence[Json]) -> str:
    """Say how often, and for which share of the steps, a sparing search found what the full one did."""
    lines = []
    for one in found:
        if one["variant"] != FULL_TRAINING:
            continue
        shares = sorted(r["share"] for r in one["reached"] if r["share"] is not None)
        within = sum(share <= WANTED_SHARE for share in shares)
        told = ", ".join(f"{share:.0%}" for share in shares) or "none"
        lines.append(
            f"- {one['task']}, {one['first']}: {len(shares)} of {len(one['reached'])} searches reached "
            f"the search fitness of the full one, for these shares of its steps to the same: {told} "
            f"(wanted: at most {WANTED_SHARE:.0%}; {within} within); screens saved "
            f"{one['saved_steps']:,} steps with {one['screened']} programs."
        )
    return "\n".join(lines) + "\n"


def bracketed(interval: Json | None) -> str:
    """Return `mean [low, high]`, rounded by size."""
    if interval is None:
        return ""
    return f"{number(interval['mean'])} [{number(interval['low'])}, {number(interval['high'])}]"


def number(value: float) -> str:
    """Return a number with three digits, and large ones in full.

    >>> number(0.12345), number(-152.34), number(12345.6)
    ('0.123', '-152', '12,346')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
