"""The parts of a prompt that depend on the task and its state; methods put them together.

Text from users, environments and other programs is always fenced as data (`core.words.quoted`).  Fields
that only the metric may see, and the native reward's formula, never appear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from core.context import observation_excerpt
from core.diagnoses import DOMINANT
from core.feedback import why_not
from core.fields import read_source
from core.fitness import describe
from core.methods.contract import adviser_text, system_text
from core.methods.fitting import CHARACTERS, MOST_TOKENS, SMALL, Part, Piece, Rank, Turn, fit
from core.program import current_source, visible_fields
from core.records.asking import Brief, Prompt, Repair
from core.records.kinds import Operator
from core.records.people import Remark
from core.records.rounds import Candidate
from core.records.task import Field
from core.screens import ALIKE
from core.words import (
    MOST_MEANING,
    answer_number,
    cut,
    first_sentence,
    number,
    one_line,
    percent,
    quoted,
    spread,
    without_metric,
)

MOST_DESCRIPTION = 20_000
MOST_ERROR = 4_000
MOST_REPLY = 60_000
MOST_SOURCE = 8_000
MOST_EXAMPLE = 5_000
MOST_LEANING = 2_000
MOST_REMARKS = 12
LISTED = 8  # so many action bounds are listed one by one


def known_fields(brief: Brief) -> tuple[Field, ...]:
    """Return the fields that preflight confirmed, or the task's own before it."""
    return brief.preflight.fields if brief.preflight else brief.task.fields


# --- the task ---------------------------------------------------------------------------------


def task_part(brief: Brief) -> str:
    """Say what is wanted and how it is measured."""
    task, tokens = brief.task, brief.context.prompt_tokens
    # A small window is not filled with one description, however long.
    most = (
        MOST_DESCRIPTION if tokens is None else min(MOST_DESCRIPTION, int(tokens * CHARACTERS / 6))
    )
    named = describe(task.fitness, known_fields(brief))
    measured = without_metric(named, known_fields(brief))
    if measured != named:
        measured += "\nWhat stands in [brackets] is measured, but your code cannot read it."
    return "\n".join(
        (
            "# The task",
            "",
            quoted(
                "task",
                without_metric(
                    f"environment: {one_line(task.environment)}\n{task.description}",
                    known_fields(brief),
                ),
                most,
            ),
            "",
            "Fitness of an episode, higher is better; the mean over episodes on held-out seeds "
            "counts. Fields in it are those of the state after each step:",
            quoted("fitness", measured, 2_000),
        )
    )


def fields_part(brief: Brief) -> str:
    """Return the table of all fields that a program may read."""
    quantiles = brief.preflight.quantiles if brief.preflight else {}
    places = {f.name: _readable(brief, f.name) for f in known_fields(brief)}
    rows = [
        _field_row(field, places[field.name], quantiles)
        for field in known_fields(brief)
        if places[field.name]
    ]
    head = "field | shape | unit | range | 1 %, 50 %, 99 % under random actions | read as | meaning"
    return "\n".join(
        (
            "# Fields",
            "",
            f"{_PLACES[brief.design]} A good policy may leave the range that random actions reach.",
            "",
            quoted(
                "fields", "\n".join((head, without_metric("\n".join(rows), known_fields(brief))))
            ),
        )
    )


def _field_row(
    field: Field,
    places: Sequence[str],
    quantiles: Mapping[str, tuple[float, float, float]],
) -> str:
    source = read_source(field)
    seen = quantiles.get(field.name)
    return " | ".join(
        (
            field.name,
            "[B]" if source.stop is None else f"[B, {source.size}]",
            one_line(field.unit, 30) or "1",
            range_words(field),
            ", ".join(number(q) for q in seen) if seen else "not measured",
            ", ".join(places),
            one_line(field.meaning, MOST_MEANING) or "not described",
        )
    )


def range_words(field: Field) -> str:
    """Write the range that a field is documented to have."""
    if field.low is None and field.high is None:
        return "unbounded"
    low = "-inf" if field.low is None else number(field.low)
    high = "inf" if field.high is None else number(field.high)
    return f"{low} to {high}"


_PLACES = {
    "joint": "The column *read as* says where a field exists: in `obs` and `next_obs` of `reward`, "
    "and in `features` as `obs`.",
    "reward": "The column *read as* says where a field exists: in `obs`, in `next_obs`, or in both.",
    "features": "All of them are in `obs`.",
}


def _readable(brief: Brief, name: str) -> list[str]:
    """Return where a program of the job may read a field; nowhere, if only the metric sees it."""
    fields = known_fields(brief)
    places = {
        argument: name in visible_fields(fields, "reward", argument)
        for argument in ("obs", "next_obs")
    }
    used = name in visible_fields(fields, "features", "obs")
    if brief.design == "features":
        return ["`obs`"] if used else []
    found = [f"`{argument}`" for argument, holds in places.items() if holds]
    return [*found, "`features`"] if used and brief.design == "joint" else found


def action_part(brief: Brief) -> str:
    """Say what `action` is."""
    action = brief.preflight.action if brief.preflight else {}
    words = _action_words(action)
    actions = without_metric(brief.task.actions, known_fields(brief))
    told = [quoted("actions", actions, 2_000)] if actions else []
    return "\n".join(("# The action", "", words, *told))


def _action_words(action: Mapping[str, object]) -> str:
    if action.get("kind") == "discrete":
        most = cast(int, action["n"]) - 1
        return (
            f"`action` is an integer array of shape [B] with values 0 to {most}; compare it "
            "(`action == 1`), do no arithmetic with it."
        )
    if action.get("kind") == "box":
        low, high = cast(Sequence[float], action["low"]), cast(Sequence[float], action["high"])
        size = cast(int, action["size"])
        entries = (
            "Entry i of the action is `action[:, i]`."
            if size > 1
            else "There is one entry, yet the shape is [B, 1]: `action[:, 0]`."
        )
        shape = f"a float32 array of shape [B, {size}]"
        return f"`action` is {shape}, already clipped to {_box(low, high)}. {entries}"
    return "`action` is an integer array [B] if actions are discrete, else a float32 array [B, A]."


def _box(low: Sequence[float], high: Sequence[float]) -> str:
    pairs = [f"[{number(a)}, {number(b)}]" for a, b in zip(low, high, strict=True)]
    if len(set(pairs)) == 1:
        return f"{pairs[0]} in every entry"
    more = f", … ({len(pairs)} in all)" if len(pairs) > LISTED else ""
    return f"{', '.join(pairs[:LISTED])}{more}"


def episode_part(brief: Brief) -> str:
    """State what is known of an episode, of chance and of the native reward's policy."""
    facts = [_ending(brief)]
    if brief.preflight is not None:
        facts.append(
            f"The random policy has a mean fitness of {number(brief.preflight.random_fitness)}."
        )
    if brief.baseline is not None:
        facts.append(_mark(brief, brief.baseline))
    facts += _training_facts(brief)
    return "\n".join(("# Episodes and training", "", *(f"- {fact}" for fact in facts)))


def _mark(brief: Brief, baseline: float) -> str:
    reached = spread(brief.native) if brief.native else number(baseline)
    goal = brief.task.fitness.goal
    solved = (
        f" That counts as solved already ({number(goal)}): do not lose it."
        if goal is not None and baseline >= goal
        else ""
    )
    return (
        "A policy trained on the environment's own reward alone, with the same budget, reaches a mean "
        f"fitness of {reached}: the mark to beat.{solved}"
    )


def _ending(brief: Brief) -> str:
    steps = brief.preflight.max_episode_steps if brief.preflight else brief.task.max_episode_steps
    limit = f"An episode lasts at most {steps} steps" if steps else "An episode has no time limit"
    ends = [f.name for f in known_fields(brief) if f.source == "terminated"]
    if ends and brief.design == "features":  # which sees no such field
        meaning = next(f.meaning for f in known_fields(brief) if f.source == "terminated")
        if not meaning.strip():
            return f"{limit}. It can end earlier, by failure or success."
        told = one_line(without_metric(meaning, known_fields(brief)), MOST_MEANING)
        return f"{limit}. It can end earlier:\n{quoted('ending', told)}"
    shown = [n for n in ends if n in visible_fields(known_fields(brief), "reward", "next_obs")]
    if shown:
        return (
            f"{limit}. It can end earlier (see the meaning of `{shown[0]}`): "
            f"`next_obs.{shown[0]}` is 1 in "
            "the step that ends it so, and 0 otherwise, also at the time limit."
        )
    early = brief.preflight.ended_early if brief.preflight else None
    if early is None:
        return f"{limit}."
    if early == 0:
        return f"{limit}; no random one ended earlier."
    return f"{limit}; {percent(early)} of the random ones ended earlier."


def _training_facts(brief: Brief) -> list[str]:
    training = brief.training
    facts = [
        f"The policy is a small feed-forward network without memory. It sees the {_sight(brief)}; "
        "its fitness is measured with its most likely action."
    ]
    if training is not None:
        facts.append(
            f"It is trained with {training.algorithm.upper()} for {training.steps:,} environment steps "
            "only, so what helps early wins."
        )
    gamma = _setting(brief, "gamma", 0.99)
    facts.append(
        f"The discount factor is {gamma:g}. After an early end nothing more is earned; at the time "
        f"limit the policy learns as if the episode went on. {_scale(brief)}"
    )
    return facts


def _sight(brief: Brief) -> str:
    """Say what the policy sees; features are normalised by every learner, the rest is a setting."""
    if _normalised(brief, "observations"):
        features = "" if brief.design == "reward" else " and the features"
        return f"observation{features}, normalised"
    features = "" if brief.design == "reward" else ", and the features, normalised"
    return f"observation as it is{features}"


def _normalised(brief: Brief, what: str) -> bool:
    """Tell whether the learner brings "observations" or "rewards" to one size; PPO does by default."""
    ppo = brief.training is None or brief.training.algorithm == "ppo"
    if what == "rewards" and not ppo:
        return False
    return bool(_setting(brief, f"normalise_{what}", ppo))


def _scale(brief: Brief) -> str:
    return (_SCALE if _normalised(brief, "rewards") else _UNSCALED)[_paid_by(brief)]


_SCALE = {
    "components": "The reward is divided by a running estimate of its scale: the ratio between "
    "components matters, their common size does not.",
    "both": "What is paid in sum is divided by a running estimate of its scale: what matters is how "
    "large the weighted components are beside the environment's own reward.",
    "environment": "The reward is divided by a running estimate of its scale.",
}
_UNSCALED = {
    "components": "The learner takes the reward as it is: the ratio between components matters, and "
    "so does their common size. Sums of about 1 per step are usual.",
    "both": "The learner takes what is paid in sum as it is: its size matters, and how large the "
    "weighted components are beside the environment's own reward.",
    "environment": "The learner takes the reward as it is.",
}


def _paid_by(brief: Brief) -> str:
    if brief.design == "features":
        return "environment"
    return "components" if brief.mode == "replace" else "both"


def _setting(brief: Brief, name: str, default: float) -> float:
    value = brief.training.settings.get(name, default) if brief.training else default
    return float(value) if isinstance(value, int | float) else default


def mode_part(brief: Brief) -> str:
    """Say how the designed reward is used, and what is designed if that is not everything."""
    if brief.design == "features":
        words = (
            "Only the representation of the state is designed: define `features` alone, no "
            "`reward` and no PARAMS. The policy is trained on the environment's own reward; it "
            "sees the original observation followed by your features. A module that defines "
            "`reward` is refused."
        )
    elif brief.mode == "replace":
        words = (
            "The sum of your components replaces the environment's own reward: the policy learns "
            "from nothing else."
        )
        if brief.design == "joint":
            words += " (A module with `features` alone trains on the environment's own reward.)"
    else:
        weight = "a small weight" if brief.weight is None else f"{number(brief.weight)}"
        words = (
            f"The policy is trained on the environment's own reward plus {weight} times the sum "
            "of your components. You are not shown the environment's own reward; assume that it pays "
            "for the success of the task. Pay for what it does not tell early enough, in a size that "
            "is felt before success is found and does not outweigh it afterwards: the weight counts."
        )
    if brief.design == "reward":
        words += (
            " Only the reward is designed: define `reward` alone. A module that defines "
            "`features` is refused; what the policy sees stays as it is."
        )
    return f"# Use of the reward\n\n{words}"


_THUMBS = f"""\
# Rules of thumb

- Work back from the fitness: list what must be true for it to be high, in the order in which a
  learner would get there, and give each stage a component that can be felt from the stage before.
- Make it dense. Compare the quantiles under random actions with what the fitness wants: where a
  nearly random policy lives, the reward must already tell better from worse.
- Bound the shaping, for instance by `np.exp(-np.square(error / scale))`, by
  `1 / (1 + error / scale)` or by `np.tanh(error / scale)`. Choose scales from the table, so that
  a term neither saturates at the start nor sleeps near the goal; a wide and a narrow term
  together do both.
- A difference such as `potential(next_obs) - potential(obs)` pays progress and cannot be earned
  by waiting or by going to and fro. A value per step pays being there. Hard tasks often need
  both.
- One main component should carry most of the sum, up to {percent(DOMINANT)}. Penalties on effort or
  speed stay about ten times smaller, or the policy learns to do nothing.
- If failure ends an episode, an ordinary step must be worth more than 0 in sum (a small bonus for
  every step survived does it); otherwise ending early pays. If success ends it, a step near the
  goal must not pay so much that waiting there beats finishing.
- Before you answer, imagine the laziest policy that collects your reward: standing still, falling
  at once, shaking, circling. If its fitness would be low, close that way.
- Add features only where the policy needs something that it cannot easily compute: an error to
  the goal, sine and cosine of an unbounded angle, an energy, a relative position. A few good ones
  beat many."""
RULES_OF_THUMB = Part(_THUMBS, Rank.ADVICE)
REWARD_RULES_OF_THUMB = Part(_THUMBS[: _THUMBS.index("\n- Add features only")], Rank.ADVICE)
_FEATURE_THUMBS = """\
# Rules of thumb

- Ask what a good policy must know in order to choose its action, and whether a small network could
  compute it from the observation: an error to the goal, a predicted position, an energy, sine and
  cosine of an unbounded angle, a product of two entries.
- Prefer quantities in which the value of a state changes smoothly, and which tell good states from
  bad ones. A rescaled copy of an entry tells nothing new: every input is normalised anyway.
- Keep them bounded for states far from the usual ones. A few good ones beat many."""
FEATURE_RULES_OF_THUMB = Part(_FEATURE_THUMBS, Rank.ADVICE)
PLAIN_FEATURE_RULES_OF_THUMB = Part(
    _FEATURE_THUMBS.replace(": every input is normalised anyway", ""), Rank.ADVICE
)


def thumbs_part(brief: Brief) -> Piece:
    """Return the rules of thumb for what is designed."""
    if brief.design == "features" and not _normalised(brief, "observations"):
        return PLAIN_FEATURE_RULES_OF_THUMB
    known = {"reward": REWARD_RULES_OF_THUMB, "features": FEATURE_RULES_OF_THUMB}
    return known.get(brief.design, RULES_OF_THUMB)


# --- what may be told besides -----------------------------------------------------------------

SAFETY = """\
# Safety

The motion has to be calm and safe as well. Keep speeds, accelerations and changes of the action low
where the task does not need them, stay away from the limits of joints and ranges, and prefer steady
postures. Pay for this with small, bounded components beside the main ones, so that they never
outweigh the task."""


def safety_part(brief: Brief) -> str:
    """Ask for calm, safe motion, where the job wants it."""
    return SAFETY if brief.context.safety else ""


def leaning_part(brief: Brief) -> str:
    """Pass on what the arm asks for besides; it is wished for, yet it changes no rule."""
    leaning = brief.variant.leaning if brief.variant else ""
    if not leaning:
        return ""
    words = without_metric(leaning, known_fields(brief))
    title = "# A leaning\n\nWhoever wants this design asks you to lean this way, within the rules:"
    return f"{title}\n\n{quoted('leaning', words, MOST_LEANING)}"


def source_part(brief: Brief) -> Piece:
    """Show the code that builds the observation, if the job had preflight bring the source along."""
    hidden = [f.name for f in known_fields(brief) if not {"policy", "reward"} & set(f.visible)]
    source = brief.preflight.source if brief.preflight else ""
    title = (
        "# How the environment builds its observation\n\nFor understanding only: your code sees none "
        "of it and reads fields by their names. What the environment pays was left out."
    )
    excerpt = observation_excerpt(source, hidden, MOST_SOURCE) if source else ""
    return Part(excerpt, Rank.SOURCE, title, "source", MOST_SOURCE, least=600)


def examples_parts(brief: Brief) -> list[Piece]:
    """Show finished designs of other tasks; of the same task only where the job allows it."""
    allowed = [
        example
        for example in brief.examples
        if brief.context.same_task or example.task != brief.task.name
    ]
    parts: list[Piece] = []
    for number_, example in enumerate(allowed[: brief.context.examples]):
        title = (
            "# Designs that worked elsewhere\n\nTheir fields are others than yours: take the ideas."
            if number_ == 0
            else ""
        )
        body = "\n\n".join(
            filter(None, (f"task: {example.description}", example.evidence, example.source))
        )
        text = without_metric(body, known_fields(brief))
        parts.append(
            Part(text, Rank.EXAMPLES, title, "program library", MOST_EXAMPLE, order=number_)
        )
    return parts


def given_part(brief: Brief) -> str:
    """Show the program that people handed in to be improved; never where another idea is wanted."""
    given = brief.given
    if given is None or brief.operator == "different":
        return ""
    note = without_metric(given.note, known_fields(brief))
    noted = f" They say:\n\n{quoted('note', note, 2_000)}" if note else ""
    return (
        "# A program to start from\n\nPeople handed in this program and want it improved. It is "
        f"measured beside your answers.{noted}\n\n{quoted('program given', given.source, 40_000)}"
    )


def remarks_part(brief: Brief) -> Piece:
    """Show what people said, the newest first; it is wished for, yet it orders nothing."""
    lines = [_remark(remark) for remark in reversed(brief.remarks)]
    title = (
        "# What people said\n\nRemarks on the job and on policies that people watched, newest first. "
        "They say what is wished for; meet it as far as the rules and the fitness allow:"
    )
    text = without_metric("\n".join(lines[:MOST_REMARKS]), known_fields(brief))
    return Part(text, Rank.REMARKS, title, "remarks", 8_000, least=300)


def _remark(remark: Remark) -> str:
    about = f"on candidate {remark.candidate}" if remark.candidate else "on the job"
    words = one_line(remark.text, 800)
    if remark.kind == "thumb":
        said = f"{about}: thumb {'up' if remark.value > 0 else 'down'}"
    elif remark.kind == "preference":
        said = _preference(remark)
    else:
        return f"- {about}: {words}"
    return f"- {said}: {words}" if words else f"- {said}"


def _preference(remark: Remark) -> str:
    first, second = remark.candidate, remark.other
    if remark.value == 0:
        return f"candidates {first} and {second} are equally good"
    better, worse = (first, second) if remark.value > 0 else (second, first)
    return f"candidate {better} is better than candidate {worse}"


def unusable_part(brief: Brief) -> Piece:
    """List why nothing came of the answers so far, each reason once, where none could be scored."""
    reasons = dict.fromkeys(f"- {why_not(candidate)}" for candidate in brief.history)
    title = "# Earlier answers\n\nNone could be trained and measured. Avoid what stood in the way:"
    text = without_metric("\n".join(reasons), known_fields(brief))
    return Part(text, Rank.MEASURED, title, "reasons", 12_000, least=300)


def measured_part(text: str, title: str = "# What was measured in the last iteration") -> Piece:
    """Quote measurements; they begin with the most important and are cut at their end."""
    return Part(text, Rank.MEASURED, title, "measurements", 26_000, least=1_000)


# --- candidates -------------------------------------------------------------------------------


def program_part(candidate: Candidate, title: str) -> str:
    """Return a candidate's program as quoted data, under a heading."""
    if candidate.program is None:
        return f"# {title}\n\nCandidate {candidate.key} has no program."
    source = current_source(candidate.program)
    return f"# {title}\n\n{quoted(f'program {candidate.key}', source, 40_000)}"


def reply_of(candidate: Candidate) -> str:
    """Return a candidate's reply as the designer would have written it.

    What people said of a program of theirs is not the designer's word, and nothing fences it here.
    """
    words = "Here is a module that people handed in."
    if candidate.operator != "given":
        words = candidate.analysis.strip() or "Here is the module."
    told = f"Prediction: {one_line(candidate.prediction, 600) or 'none'}"
    if candidate.program is None:
        return f"{words}\n\n{told}\n\n(no module that could be read)"
    code = current_source(candidate.program).rstrip()
    return f"{words}\n\n{told}\n\n```python\n{code}\n```"


def idea(candidate: Candidate) -> str:
    """Return a candidate's idea on one line: the first sentence of its analysis."""
    return first_sentence(candidate.analysis) or "(no analysis)"


def repair_text(brief: Brief, repair: Repair) -> str:
    """Ask for a reply to be mended; for another design, where it repeats a known one."""
    return "\n".join(
        (
            "Your module was not accepted. Nothing has been trained. The reason:",
            "",
            quoted("error", repair.message, MOST_ERROR),
            "",
            f"{_another(brief) if repair.duplicate else _MEND} Answer in the same form: a short "
            "analysis, the `Prediction:` line, and one ```python block with the whole module.",
        )
    )


_MEND = "Mend exactly this and whatever else breaks the rules; keep the idea."


def _another(brief: Brief) -> str:
    """Say what makes a copy another design, within what the question allows to be changed."""
    if brief.design == "features" or brief.operator == "features":
        return (
            "Keep to the work asked for above, with other features: add one, drop one, or replace one "
            "by a quantity that is more than another scale or sign of it."
        )
    # Readers who were told to pay something else moved an edge, which changes few rows.
    features = "; or add or remove a feature" if brief.design == "joint" else ""
    return (
        "Keep to the work asked for above. Change what is paid until it correlates with the pay of "
        f"that candidate at {ALIKE} or less, which takes more than another scale, a moved edge or an "
        f"added potential difference{features}."
    )


# --- the whole prompt -------------------------------------------------------------------------

CLOSING = (
    "Answer now in the form given at the start: a short analysis, the `Prediction:` line, one "
    "```python block."
)


FREE: frozenset[Operator] = frozenset({"seed", "different"})  # any design answers the question


def one_of_many(brief: Brief) -> str:
    """Tell the answers to the same question apart, or a model without chance gives one many times."""
    if brief.answers < 2:
        return ""
    told = (
        f"{answer_number(brief.answer, brief.answers)} each is written without sight of the others."
    )
    if brief.operator not in FREE:
        return told
    return f"{told} The higher its number, the further let it be from what comes to mind first."


def setting_parts(brief: Brief) -> list[Piece]:
    """Return what every first question begins with: the task and its setting."""
    return [
        task_part(brief),
        fields_part(brief),
        action_part(brief),
        episode_part(brief),
        mode_part(brief),
        source_part(brief),
        *examples_parts(brief),
        safety_part(brief),
        leaning_part(brief),
        given_part(brief),
    ]


def conversation(brief: Brief, *turns: Sequence[Piece]) -> Prompt:
    """Put a prompt together: the contract, then user and assistant in turn, a repair last.

    It has at most the tokens that the job allows, as far as its parts can give way.
    """
    tokens = brief.context.prompt_tokens
    short = tokens is not None and tokens <= SMALL
    standing = system_text(
        brief.task.array,
        design=brief.design,
        short=short,
        new="duplicate" in brief.screens,
        normalised=_normalised(brief, "observations"),
    )
    if brief.kind == "analysis":
        standing = adviser_text()
    roles = ("user", "assistant")
    told = [Turn(roles[i % 2], tuple(pieces)) for i, pieces in enumerate(turns)]
    room = MOST_TOKENS if tokens is None else tokens
    return fit([Turn("system", (standing,)), *told, *_repair(brief)], room)


def _repair(brief: Brief) -> list[Turn]:
    if brief.repair is None:
        return []
    reply = cut(brief.repair.reply, MOST_REPLY) or "(empty)"
    return [
        Turn("assistant", (Part(reply, Rank.REPLY, most=MOST_REPLY, least=2_000),)),
        Turn("user", (repair_text(brief, brief.repair),)),
    ]
