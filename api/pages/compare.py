"""Two to six candidates on one screen: numbers, curves, terms, and what is different in their code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Query, Request, Response
from markupsafe import Markup

from api.comparison_views import RolloutView
from api.comparisons import contestants_of, sources_of
from api.dependencies import Visit
from api.limits import Text
from api.pages import charts, curves
from api.pages.door import Reader
from api.pages.render import page, who
from api.pages.series import NATIVE_STYLE, Style, style_of
from api.pages.trouble import page_router
from api.show_comparison import rollout_view
from core.comparing import FEWEST, MOST, Comparison, Contestant, Pair, Side, compare
from core.differences import Row, side_by_side
from core.errors import InvalidInput
from core.records.kinds import NATIVE
from core.storage import StoredCandidate

router = page_router()

CLOSE = 3  # lines that are shown around a change


@dataclass(frozen=True, slots=True)
class Contender:
    """One side as the page shows it: its numbers, its colour, and how it stands to the native."""

    side: Side
    name: str
    href: str | None
    style: Style
    drawing: Markup
    against: Pair | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Lines that are the same and not shown."""

    lines: int


@dataclass(frozen=True, slots=True)
class Difference:
    """What changes from the first program to another one."""

    name: str
    rows: Sequence[Row | Gap]


@router.get("/compare")
def read_comparison(
    request: Request,
    here: Reader,
    c: Annotated[list[Text], Query(max_length=50)] = [],  # noqa: B006  # FastAPI copies it
    everything: Annotated[bool, Query(alias="all")] = False,
) -> Response:
    """Return the page; what is the same is left out unless everything is asked for."""
    names = list(dict.fromkeys(c))
    if not FEWEST <= len(names) <= MOST:
        raise InvalidInput(
            f"{len(names)} different ones",
            expected=f"{FEWEST} to {MOST} candidates to compare",
            hint="Tick them in the table of candidates on a job's page.",
        )
    found = [here.store.candidate(name) for name in names]
    contestants = contestants_of(here.store, found)
    comparison = compare(contestants)
    contenders = contenders_of(comparison, contestants, shown_names(found))
    return page(
        request,
        "compare.html",
        names=names,
        everything=everything,
        comparison=comparison,
        contenders=contenders,
        candidates=[one for one in contenders if one.side.arm != NATIVE],
        lines=learning(contestants, contenders),
        terms=[row for row in comparison.terms if everything or row.differs or row.cells],
        settings=[row for row in comparison.settings if everything or row.differs],
        rollouts=filmed(here, contenders),
        differences=differences(contenders, sources_of(found), everything=everything),
        **who(here),
    )


def shown_names(found: Sequence[StoredCandidate]) -> Mapping[str, str]:
    """Return what candidates are called here: by key, and by job as well where there are several."""
    several = len({stored.job_id for stored in found}) > 1
    return {
        stored.id: f"{stored.candidate.key} of …{stored.job_id[-6:]}"
        if several
        else stored.candidate.key
        for stored in found
    }


def contenders_of(
    comparison: Comparison, contestants: Sequence[Contestant], names: Mapping[str, str]
) -> list[Contender]:
    """Return the sides with their colours; the native rewards come last, in grey."""
    measured = [side.fitness for side in comparison.sides if side.fitness is not None]
    span = (
        min((one.low for one in measured), default=0.0),
        max((one.high for one in measured), default=1.0),
    )
    natives = {side.job: side.name for side in comparison.sides if side.arm == NATIVE}
    pairs = {(pair.first, pair.second): pair for pair in comparison.pairs}
    return [
        Contender(
            side=side,
            name=names.get(side.name, "native reward"),
            href=None if side.arm == NATIVE else f"/candidates/{side.name}",
            style=_style(one),
            drawing=_interval(side, span, _style(one)),
            against=pairs.get((side.name, natives[side.job])),
        )
        for side, one in zip(comparison.sides, contestants, strict=True)
    ]


def _style(one: Contestant) -> Style:
    if one.candidate is None:
        return NATIVE_STYLE
    return style_of(one.candidate.iteration, one.candidate.number, one.spec.candidates)


def _interval(side: Side, span: tuple[float, float], style: Style) -> Markup:
    if side.fitness is None:
        return Markup("")
    known = side.fitness
    return charts.interval(known.low, known.mean, known.high, span, style)


def learning(
    contestants: Sequence[Contestant], contenders: Sequence[Contender]
) -> list[charts.Line]:
    """Return the mean curve of each side over its seeds in the search, in its colour."""
    lines = []
    for one, shown in zip(contestants, contenders, strict=True):
        stage = "baseline" if one.candidate is None else "search"
        points = curves.measured(one.runs, stage)
        if points:
            lines.append(curves.mean_line(shown.name, points, shown.style))
    return lines


def filmed(here: Visit, contenders: Sequence[Contender]) -> list[tuple[str, RolloutView]]:
    """Return the first filmed episode of each side that has one, by what the side is called."""
    found = []
    for one in contenders:
        known = here.store.rollouts(one.side.job, one.side.arm)
        found += [(one.name, rollout_view(known[0]))] if known else []
    return found


def differences(
    contenders: Sequence[Contender], sources: Mapping[str, str], *, everything: bool
) -> list[Difference]:
    """Return what changes from the first program to each other one, line beside line."""
    known = [one for one in contenders if one.side.name in sources]
    if len(known) < 2:
        return []
    first, *others = known
    old = sources[first.side.name]
    return [
        Difference(
            f"{first.name} → {other.name}",
            shown_rows(side_by_side(old, sources[other.side.name]), everything=everything),
        )
        for other in others
    ]


def shown_rows(rows: Sequence[Row], *, everything: bool) -> list[Row | Gap]:
    """Return the rows with a change or close to one, and gaps for the others."""
    if everything:
        return list(rows)
    changed = [n for n, row in enumerate(rows) if row.differs]
    close = {m for n in changed for m in range(n - CLOSE, n + CLOSE + 1)}
    shown: list[Row | Gap] = []
    hidden = 0
    for n, row in enumerate(rows):
        if n not in close:
            hidden += 1
            continue
        if hidden:
            shown.append(Gap(hidden))
            hidden = 0
        shown.append(row)
    return [*shown, Gap(hidden)] if hidden else shown
