"""What a policy sees, put into words: a program's features, and the observation's own dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from core.records.kinds import Smoothness
from core.records.measured import Report, TermStatistics
from core.records.task import Fitness
from core.statistics import told_by
from core.words import number, percent

MOST_DIMENSIONS = 12
_RULES: Mapping[Smoothness, str] = {
    "windowed": "A good input explains much of the signal (the fitness of a step, or what is still to "
    "come where most steps are alike), has a low smoothness (how much the signal changes between "
    "neighbouring values, both in standard deviations) and repeats no other input. `used` is its "
    "share in what moves the policy.",
    "lesr": "A low Lipschitz constant of the environment's reward is smoother and therefore better. "
    "`used` is an input's share in what moves the policy.",
    "none": "A good input explains much of the signal (the fitness of a step, or what is still to "
    "come where most steps are alike) and repeats no other input. `used` is its share in what moves "
    "the policy.",
}


_OTHER_WISH = (
    "The Lipschitz constant is of the environment's reward, which is not what is wished for here: a "
    "low one is no merit. `used` is an input's share in what moves the policy."
)


def input_sections(report: Report, smoothness: Smoothness, fitness: Fitness) -> Iterator[str]:
    """Write the features, how to read their numbers, and the dimensions that the policy uses most.

    Args:
        report:     of the policy.
        smoothness: the statistic by which the job judges features.
        fitness:    of the task; a low constant of the native reward is praised where that is it.
    """
    known = (*report.features.values(), *report.inputs.values())
    other = smoothness == "lesr" and fitness.kind != "return"
    words = _OTHER_WISH if other else _RULES[smoothness]
    rule = f" {words}" if any(s.used is not None for s in known) else ""
    features = [
        _feature(name, s, smoothness, report.recorded) for name, s in report.features.items()
    ]
    if features:
        yield _section(f"Features, which the policy sees beside the observation.{rule}", features)
    dimensions = [
        f"- `{name}`: {', '.join(told)}"
        for name, s in _most_used(report.inputs)
        if (told := _told(s, smoothness))
    ]
    if dimensions:
        most = f", the {MOST_DIMENSIONS} used most" if len(report.inputs) > MOST_DIMENSIONS else ""
        title = f"Dimensions of the observation{most}.{'' if features else rule}"
        yield _section(title, dimensions)


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join((title, *lines))


def _feature(name: str, s: TermStatistics, smoothness: Smoothness, episodes: int) -> str:
    parts = [
        f"mean {number(s.mean)}, std {number(s.std)}, from {number(s.low)} to {number(s.high)}"
    ]
    if (told := told_by(s.correlation, episodes)) is not None:
        parts.append(f"correlation with fitness {number(told)}")
    return f"- `{name}`: {', '.join([*parts, *_told(s, smoothness)])}"


def _told(s: TermStatistics, smoothness: Smoothness) -> list[str]:
    """Return what is known of an input, a few words each."""
    parts = {
        "explains {} of the signal": None if s.explains is None else percent(s.explains),
        "smoothness {}": _number_of(s.smooth if smoothness == "windowed" else None),
        "Lipschitz constant {}": _two_digits(s.lipschitz if smoothness == "lesr" else None),
        "correlates {} with another input": _number_of(s.redundant),
        "used {}": None if s.used is None else percent(s.used),
    }
    return [words.format(value) for words, value in parts.items() if value is not None]


def _number_of(value: float | None) -> str | None:
    return None if value is None else number(value)


def _two_digits(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _most_used(inputs: Mapping[str, TermStatistics]) -> list[tuple[str, TermStatistics]]:
    ranked = sorted(
        inputs.items(), key=lambda item: (-(item[1].used or 0), -(item[1].explains or 0))
    )
    return ranked[:MOST_DIMENSIONS]
