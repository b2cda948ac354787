"""`README.md`: the model card, in the form that the Hugging Face Hub reads."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from core.export.packages import in_words
from core.fitness import describe
from core.records.outcome import Outcome
from core.records.spec import JobSpec
from core.records.task import Task
from core.words import imported_from

_TAGS = ("reinforcement-learning", "deep-reinforcement-learning", "reward-design", "rewardsmith")


@dataclass(frozen=True, slots=True)
class Card:
    """What a card tells.

    Attributes:
        task:     with the fields that preflight confirmed or derived.
        outcome:  of the confirmation; None before it.
        files:    that are in the bundle.
        notes:    what is missing in the bundle, and why.
        origin:   of an imported job: its id where it was exported; all that is told was only told us.
    """

    job_id: str
    candidate: str
    task: Task
    spec: JobSpec
    outcome: Outcome | None
    files: Collection[str]
    notes: Sequence[str]
    version: str
    origin: str | None = None


def render_card(card: Card) -> str:
    """Return the text of the card."""
    return "\n".join([*_front_matter(card), "", *_body(card)]) + "\n"


def _front_matter(card: Card) -> list[str]:
    """Return YAML; every text is written as JSON, which YAML reads."""
    environment = json.dumps(card.task.environment)
    lines = ["---", "library_name: gymnasium", "tags:"]
    lines += [f"- {tag}" for tag in _TAGS]
    lines += [f"- {environment}"]
    # What an imported job tells is no result that could be compared with others.
    designed = card.outcome.designed if card.outcome and card.origin is None else None
    if designed is not None:
        spread = max(designed.high - designed.mean, designed.mean - designed.low)
        value = json.dumps(f"{designed.mean:.4g} +/- {spread:.2g}")
        lines += [
            "model-index:",
            f"- name: {json.dumps(f'{card.task.name} {card.candidate}')}",
            "  results:",
            "  - task:",
            "      type: reinforcement-learning",
            "      name: reinforcement-learning",
            "    dataset:",
            f"      name: {environment}",
            f"      type: {environment}",
            "    metrics:",
            "    - type: fitness",
            f"      name: {json.dumps('fitness, mean of ' + str(designed.n) + ' trainings')}",
            f"      value: {value}",
            "      verified: false",
        ]
    return [*lines, "---"]


def _body(card: Card) -> list[str]:
    lines = [f"# A designed reward for {_plain(card.task.name)}", ""]
    lines += [f"> {_plain(card.task.description)}", ""]
    if card.origin is not None:
        lines += [f"**{imported_from(card.origin)}**", ""]
    lines += [_verdict(card.outcome), ""]
    lines += [f"Fitness: {describe(card.task.fitness, card.task.fields)}", ""]
    if "replay.mp4" in card.files:
        lines += ['<video src="replay.mp4" controls muted loop></video>', ""]
    lines += ["## Use it", "", "```sh", "pip install -r requirements.txt"]
    lines += [_command(card.files), "```", ""]
    lines += ["Train with the reward, with any library that takes Gymnasium environments:", ""]
    lines += ["```python", "from reward import make_env", "", "env = make_env()", "```", ""]
    lines += ["## What is here", "", *_contents(card), ""]
    lines += ["## How it was made", "", *_origin(card), ""]
    lines += ["## Limits", "", *_limits(card)]
    return lines


def _verdict(outcome: Outcome | None) -> str:
    if outcome is None:
        return "The job has not confirmed it on fresh seeds: take its numbers for a hint."
    return f"**{outcome.verdict}**: {outcome.sentence}"


def _command(files: Collection[str]) -> str:
    if "play.py" in files:
        return "python play.py            # lives the recorded episodes again and compares"
    return "python reward.py          # steps at random and shows what each component pays"


def _contents(card: Card) -> list[str]:
    """Return a table of the files that are there."""
    needed = in_words(card.task)
    known = {
        ("reward.py",): f"reward and features as wrappers; needs {needed}",
        ("policy.safetensors", "policy.json"): "the policy of the best confirmation run",
        ("play.py",): "lets the policy act; needs safetensors besides",
        ("to_sb3.py",): "puts the policy into a model of Stable-Baselines3",
        ("to_onnx.py",): "puts the policy into a graph of ONNX; designed features stay outside",
        ("replay.mp4",): "a filmed episode of the policy",
        ("design.json",): "the whole request, and where the design comes from",
        ("results.json",): "what was measured, and the filmed episodes with their seeds",
        ("curves.csv", "components.csv"): "what the trainings said of themselves, and the terms",
        ("curves.png", "components.png"): "the same as pictures",
        ("history.jsonl",): "every candidate: code, hash of its prompt, fitness",
        ("requirements.txt",): "what it needs",
    }
    lines = ["| file | what it is |", "|---|---|"]
    for names, meaning in known.items():
        there = ", ".join(f"`{name}`" for name in names if name in card.files)
        lines += [f"| {there} | {meaning} |"] if there else []
    return lines


def _origin(card: Card) -> list[str]:
    designer = card.spec.designer
    written = (
        "a search over a typed grammar of reward terms; no model was asked"
        if designer.name == "evolution"
        else f"{designer.name} ({_plain(designer.model or 'the server’s model')})"
    )
    return [
        f"- written by {written}, with the method `{card.spec.method}`",
        f"- job `{card.job_id}`, candidate `{card.candidate}`, Rewardsmith {card.version}",
        f"- trained with {card.spec.training.algorithm}, {card.spec.training.steps:,} steps a run; the "
        "native reward got the same steps and seeds",
    ]


def _limits(card: Card) -> list[str]:
    lines = [
        "- It was measured in simulation alone, on the environment named above and with one learner.",
        "- The reward is code that a program wrote: read it before you run it.",
        "- The interval is over trainings; a single training may do worse than its lower end.",
        "- The episodes of the measurement stay secret, so that no design can be fitted to them; those "
        "in `results.json` have seeds of their own.",
    ]
    return [*lines, *(f"- {note}" for note in card.notes)]


def _plain(text: str) -> str:
    """Make foreign text one line without markup."""
    words = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_<>[]|#" else c for c in words)
