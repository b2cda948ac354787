"""`eureka`: K answers to one question, refine the best of the job only.

Source: Ma et al. 2024, "Eureka: Human-Level Reward Design via Coding Large Language Models"
(ICLR 2024, arXiv 2310.12931): K samples of the same conversation; the candidate with the highest
fitness at any checkpoint is the parent; the conversation never holds more than the first question, the
parent's reply and its feedback.  The advice is put in our own words.

Where we deviate, and why:
- The environment's source shows how the observation is made, native reward and metric removed,
  beside the table of its fields: programs read fields by name, not attributes of an environment
  object.
- Each of the K answers is told its number, so that a model without chance does not give one K times.
- A candidate that fails its check is repaired at most twice; Eureka drops it.  An iteration in which
  nothing ran is told why; Eureka repeats the same prompt.
- Components are returned by name and summed by the service: the total cannot differ from the sum.
- One job is one restart; the paper makes five independent ones per environment.
- The winner is confirmed with five fresh seeds, as in the paper, but by its final policy and not by
  the maximum over checkpoints, which rewards luck.
The normalised score is (designed - fitness alone) / |reference - fitness alone|; the paper's reference
is a reward that people wrote, ours the native one, so an arm is trained on the fitness alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.choosing import native_fitness, ranking, search_fitness
from core.diagnoses import fitness_curve
from core.feedback import (
    MOST_CHARACTERS,
    prediction_words,
    thinned,
    why_not,
    write_feedback,
)
from core.fitness_words import fitness_words
from core.methods.breeding import brief_for, closed
from core.methods.fitting import Part, Piece, Rank
from core.methods.method import Method
from core.methods.prompting import (
    CLOSING,
    conversation,
    measured_part,
    one_of_many,
    remarks_part,
    reply_of,
    setting_parts,
    unusable_part,
)
from core.predictions import record_words
from core.records.asking import Brief, Prompt
from core.records.history import History
from core.records.kinds import Operator
from core.records.rounds import Candidate, Feedback, Iteration
from core.words import cut, number, without_metric

TIPS = """\
# Advice

- Bring components to a fixed range with a transformation such as np.exp or np.tanh of a scaled error.
- Give every transformed component its own scale, under its own name in PARAMS.
- Read only fields of the table; do not invent others."""

FEATURE_TIPS = """\
# Advice

- Bring features to a fixed range with a transformation such as np.tanh of a scaled value.
- Read only fields of the table; do not invent others."""

REFLECTION = """\
A policy was trained with the module above. While it learnt, the fitness and each component were
measured at evenly spaced checkpoints; lists run from the first checkpoint to the last, with their
largest, mean and smallest value. Write a better module with their help:

- If the fitness stays near that of the random policy, rewrite the reward altogether.
- If a component hardly changes, the policy cannot improve it as it is: change its scale, write it anew,
  or drop it.
- If a component is far larger than the others, bring it to their range.

Look at each component in turn before you write."""

FEATURE_REFLECTION = """\
A policy was trained with the features above. While it learnt, the fitness was measured at evenly
spaced checkpoints; lists run from the first checkpoint to the last, with their largest, mean and
smallest value. Write better features with their help: drop what never changes, replace what has
nothing to do with the fitness, and add what the policy seems not to see. Look at each feature in
turn before you write."""


# --- what is asked ----------------------------------------------------------------------------


def select(history: History) -> list[Candidate]:
    """Return the candidates of the highest rung by the highest fitness at any checkpoint."""
    ranked = ranking(
        history
    )  # the sort is stable, so that ties stay in the order of the final fitness
    return sorted(ranked, key=lambda c: -highest(c))


def highest(candidate: Candidate) -> float:
    """Return the highest fitness, averaged over seeds, at any checkpoint or at the end."""
    values = [value for _, value in fitness_curve(candidate)]
    final = search_fitness(candidate)
    return max([*values, *([] if final is None else [final])], default=float("-inf"))


def briefs(history: History) -> tuple[Brief, ...]:
    """Ask the same question in every slot: first for a seed, then to refine the best of the job."""
    best = select(closed(history))[:1]
    operator: Operator = "refine" if best else "seed"
    return tuple(brief_for(history, n, operator, best) for n in range(history.spec.candidates))


# --- how it is asked --------------------------------------------------------------------------


def render(brief: Brief) -> Prompt:
    """Write the conversation: the question; then, if there is one, the parent and its feedback."""
    if not brief.parents:
        told = [unusable_part(brief), remarks_part(brief), one_of_many(brief), CLOSING]
        return conversation(brief, [*_question(brief), *told])
    reply = (reply_of(brief.parents[0]),)
    return conversation(brief, _question(brief), reply, _reflection(brief))


def _question(brief: Brief) -> list[Piece]:
    what = {"joint": "a reward, with features or without", "reward": "a reward"}.get(
        brief.design, "features"
    )
    tips = Part(TIPS if brief.design != "features" else FEATURE_TIPS, Rank.ADVICE)
    return [*setting_parts(brief), tips, f"# Your work\n\nWrite {what} for this task."]


def _reflection(brief: Brief) -> list[Piece]:
    text = brief.feedback.text if brief.feedback else "no measurements"
    tips = TIPS if brief.design != "features" else FEATURE_TIPS
    again = Part(tips.replace("# Advice", "Advice again:"), Rank.ADVICE, order=1)
    reflection = REFLECTION if brief.design != "features" else FEATURE_REFLECTION
    return [
        measured_part(text, reflection),
        remarks_part(brief),
        again,
        one_of_many(brief),
        CLOSING,
    ]


# --- what is learnt ---------------------------------------------------------------------------


def digest(history: History, iteration: int) -> Feedback:
    """Report the best candidate's lists; why nothing could be trained, if nothing could."""
    ranked = select(history)
    best = ranked[0] if ranked else None
    told = write_feedback(history, iteration, best)
    fields = history.preflight.fields if history.preflight else history.spec.task.fields
    text = _lists(best, history) if best else _failures(_iteration(history, iteration))
    return Feedback(
        iteration=iteration,
        text=cut(without_metric(text, fields), MOST_CHARACTERS),
        best=told.best,
        diagnoses=told.diagnoses,
        data=told.data,
    )


def _iteration(history: History, wanted: int) -> Iteration:
    return next(i for i in history.iterations if i.number == wanted)


def _failures(iteration: Iteration) -> str:
    return "\n".join(dict.fromkeys(f"- {why_not(candidate)}" for candidate in iteration.candidates))


def _lists(best: Candidate, history: History) -> str:
    curve = thinned(fitness_curve(best))
    final = search_fitness(best)
    lines = [_line("fitness", [v for _, v in curve] or ([] if final is None else [final]))]
    if best.report is not None:
        terms: Mapping[str, Sequence[float]] = {
            name: s.by_checkpoint or (s.mean,) for name, s in best.report.components.items()
        }
        lines += [_line(name, values) for name, values in terms.items()]
        lines += [
            f"feature {name}: mean {number(s.mean)}, min {number(s.low)}, max {number(s.high)}"
            for name, s in best.report.features.items()
        ]
        lines.append(f"episode length: {number(best.report.episode_length)}")
    floor = history.preflight.random_fitness if history.preflight else None
    return "\n".join(
        (
            f"candidate {best.key}, final fitness {fitness_words(best, history.spec.training)}; "
            f"random policy {number(floor)}, native reward {number(native_fitness(history))}",
            *lines,
            *prediction_words(history, best),
            *filter(None, [record_words(history)]),
        )
    )


def _line(name: str, values: Sequence[float]) -> str:
    listed = [values[i] for i, _ in thinned(list(enumerate(values)))]
    middle = sum(values) / len(values) if values else None
    return (
        f"{name}: [{', '.join(map(number, listed))}], max {number(max(values, default=0.0))}, "
        f"mean {number(middle)}, min {number(min(values, default=0.0))}"
    )


EUREKA = Method(
    name="eureka",
    summary="K answers to one question; only the best of the job is refined.",
    source="Ma et al. 2024, ICLR, arXiv 2310.12931",
    briefs=briefs,
    render=render,
    digest=digest,
    select=select,
    defaults={
        "candidates": 16,
        "iterations": 5,
        "mode": "replace",
        "design": "reward",
        "training": {"rungs": (1.0,), "seeds": 1},
        "evaluation": {"confirm_seeds": 5, "fitness_alone": True},
        "context": {"source": True},
    },
)
