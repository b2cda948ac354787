"""Make the next program from earlier ones: refine, cross, look elsewhere, or change features alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.designers.evolution.grammar import (
    MOST_TERMS,
    Rng,
    any_term,
    draw_features,
    effort_term,
    free_terms,
    trimmed,
)
from core.designers.evolution.parsing import read_design
from core.designers.evolution.reading import Reading
from core.designers.evolution.terms import LIVING, Design, Term
from core.designers.evolution.writing import main_term
from core.diagnoses import DUPLICATE, UNUSED, component_flags
from core.records.measured import TermStatistics
from core.records.rounds import Candidate

_DOMINANT, _FAINT, _SILENT = 0.75, 0.05, 0.005  # shares of the whole reward
_FLAT = 1e-3  # standard deviation over weight below which a component says nothing
_STUCK = 0.9  # share of steps at an extreme
_TRIES = 24
MOST_FEATURES = 6


def refine(
    parent: Design,
    statistics: Mapping[str, TermStatistics],
    reading: Reading,
    rng: Rng,
    features: Mapping[str, TermStatistics] | None = None,
) -> tuple[Design, str]:
    """Mend what the statistics of components and features show, then change one thing.

    Returns:
        The new design, and what was done in words.
    """
    mended, notes = _mend(parent, statistics, rng)
    mended, dropped = _without_idle_features(mended, features or {})
    notes += dropped
    moves = [_reweigh, _rescale, _add, _replace_term, _rescale]
    if len(_about(parent)) > 1:
        moves.append(_drop_weakest)
    if _idle(parent, statistics):
        moves += [_replace_term] * len(moves)  # every second time, what never spoke makes way
    move = moves[int(rng.integers(len(moves)))]
    changed, note = move(mended, statistics, reading, rng)
    return changed, "; ".join([*notes, note])


def cross(
    first: Design, second: Design, rng: Rng, ranks: tuple[float, float] = (1.0, 0.7)
) -> tuple[Design, str]:
    """Unite the components of two parents; of those that both have, either one's may win."""
    theirs = {term.name: term for term in second.terms}
    united: list[Term] = []
    for term in first.terms:
        other = theirs.pop(term.name, None)
        united.append(other if other is not None and rng.random() < 0.4 else term)
    # The lighter parent's own components come in with less weight, and by chance.
    united += [times(t, ranks[1] / ranks[0]) for t in theirs.values() if rng.random() < 0.75]
    features = {f.name: f for f in (*first.features, *second.features)}
    design = Design(trimmed(united), tuple(features.values())[:3])
    return design, "the components of two parents are united and weighed anew"


def different(history: Sequence[Candidate], reading: Reading, rng: Rng) -> tuple[Design, str]:
    """Look for a design whose main component no earlier one has."""
    used = {name for c in history for name in main_names(c)}
    for attempt in range(_TRIES):
        drawn = free_terms(reading, rng, heat=0.5 + 0.2 * attempt)
        design = Design(trimmed(drawn), draw_features(reading, rng) if rng.random() < 0.4 else ())
        main = main_term(design)
        if main is not None and main.name not in used:
            return design, f"no earlier program is mainly about {main.name}, so this one is"
    return design, "every kind of main component was tried before, so this one is drawn freely"


def main_names(candidate: Candidate) -> set[str]:
    """Return the main component of an earlier candidate: by weight, and by measured share."""
    names: set[str] = set()
    if candidate.program is not None and (design := read_design(candidate.program)) is not None:
        main = main_term(design)
        names |= {main.name} if main is not None else set()
    if candidate.report is not None and candidate.report.components:
        about = {n: s for n, s in candidate.report.components.items() if n not in LIVING}
        names |= {max(about, key=lambda n: about[n].share)} if about else set()
    return names


def other_features(parent: Design, reading: Reading, rng: Rng) -> tuple[Design, str]:
    """Keep the reward and draw other features."""
    known = {f.name for f in parent.features}
    for _ in range(_TRIES):
        drawn = draw_features(reading, rng)
        if drawn and {f.name for f in drawn} != known:
            break
    return replace(parent, features=drawn), "the reward stays; the state is represented otherwise"


def vary_features(parents: Sequence[Design], reading: Reading, rng: Rng) -> Design:
    """Unite the features of the parents, then put one in, take one out, or exchange one."""
    known = [{f.name for f in parent.features} for parent in parents]
    for _ in range(_TRIES):
        kept = {f.name: f for parent in parents for f in parent.features}
        drawn = [f for f in draw_features(reading, rng, rich=True) if f.name not in kept]
        move = rng.choice(["put", "take", "exchange"])
        if move != "put" and len(kept) > 1:
            kept.pop(list(kept)[int(rng.integers(len(kept)))])
        if move != "take" or len(kept) < 2:
            kept |= {f.name: f for f in drawn[:1]}
        kept = dict(list(kept.items())[:MOST_FEATURES])
        if kept.keys() not in known:
            break
    return Design((), tuple(kept.values()))


# --- mending ----------------------------------------------------------------------------------


def _mend(
    design: Design, statistics: Mapping[str, TermStatistics], rng: Rng
) -> tuple[Design, list[str]]:
    terms: list[Term] = []
    notes: list[str] = []
    for term in design.terms:
        mended, note = _mended(term, statistics.get(term.name), rng)
        terms.append(mended)
        notes += [note] if note else []
    return replace(design, terms=tuple(terms)), notes


def _without_idle_features(
    design: Design, seen: Mapping[str, TermStatistics]
) -> tuple[Design, list[str]]:
    """Leave out the features that the policy does not use, or that repeat what it sees anyway."""
    notes = [
        f"feature {feature.name} is dropped: {reason}"
        for feature in design.features
        if (reason := _useless(seen.get(feature.name)))
    ]
    kept = tuple(f for f in design.features if not _useless(seen.get(f.name)))
    return replace(design, features=kept), notes


def _useless(seen: TermStatistics | None) -> str:
    if seen is not None and seen.used is not None and seen.used < UNUSED:
        return "the policy does not use it"
    if seen is not None and seen.redundant is not None and seen.redundant > DUPLICATE:
        return "it repeats another input"
    return ""


def _idle(design: Design, seen: Mapping[str, TermStatistics]) -> list[Term]:
    """Return the components that said next to nothing."""
    return [
        term
        for term in _about(design)
        if (known := seen.get(term.name)) is not None
        and (known.share < _SILENT or "NEVER_ACTIVE" in component_flags(known))
    ]


def _mended(term: Term, seen: TermStatistics | None, rng: Rng) -> tuple[Term, str]:
    if seen is None or term.name in LIVING:
        return term, ""
    weight = max(abs(term.weight), 1e-9)
    flat = seen.std < _FLAT * weight or seen.saturated > _STUCK
    if flat and _paid(term, seen) < 0.2 and _scales(term):
        return scaled(term, float(rng.uniform(1.5, 2.5))), f"{term.name} was never felt: widened"
    if seen.share < _FAINT:
        return times(term, float(rng.uniform(1.5, 3.0))), f"{term.name} was faint: made heavier"
    if seen.share > _DOMINANT and seen.correlation is not None and seen.correlation < 0.3:
        return times(term, float(rng.uniform(0.3, 0.6))), f"{term.name} drowned the rest: lighter"
    return term, ""


def _paid(term: Term, seen: TermStatistics) -> float:
    """Return how much of what a term can pay was paid; 0 is far from its target all the time.

    One that charges takes all of its weight there, and nothing at the target.
    """
    mean = seen.mean / max(abs(term.weight), 1e-9)
    return 1.0 + mean if term.charges else abs(mean)


Statistics = Mapping[str, TermStatistics]


def _reweigh(design: Design, _: Statistics, __: Reading, rng: Rng) -> tuple[Design, str]:
    terms = tuple(times(term, factor_around_one(rng, 0.35)) for term in design.terms)
    return replace(design, terms=terms), "all weights are moved a little"


def _rescale(design: Design, _: Statistics, reading: Reading, rng: Rng) -> tuple[Design, str]:
    able = [term for term in design.terms if _scales(term)]
    if not able:
        return _reweigh(design, _, reading, rng)
    term = able[int(rng.integers(len(able)))]
    factor = float(rng.choice([0.5, 0.7, 1.4, 2.0]))
    word = "sharpened" if factor < 1 else "widened"
    return _with(design, term.name, scaled(term, factor)), f"{term.name} is {word}"


def _add(design: Design, _: Statistics, reading: Reading, rng: Rng) -> tuple[Design, str]:
    known = {term.name for term in design.terms}
    if len(known) < MOST_TERMS:
        for term in _more_terms(design, reading, rng):
            if term.name not in known:
                added = trimmed((*design.terms, term))
                return replace(design, terms=added), f"{term.name} is added"
    return _reweigh(design, _, reading, rng)


def _more_terms(design: Design, reading: Reading, rng: Rng) -> list[Term]:
    """Offer terms for wishes, the clearest first but by chance, and a charge for effort."""
    least = 0.3 * max((abs(t.weight) for t in _about(design)), default=1.0)
    order = sorted(reading.wishes, key=lambda w: -w.clarity + float(rng.exponential(0.5)))
    offers = [any_term(reading, wish, rng, least) for wish in order]
    effort = effort_term(reading, rng)
    return [effort, *offers] if effort is not None and rng.random() < 0.3 else offers


def _replace_term(
    design: Design, seen: Statistics, reading: Reading, rng: Rng
) -> tuple[Design, str]:
    about = _about(design)
    if not about:
        return _add(design, seen, reading, rng)
    idle = _idle(design, seen)
    about = idle or about
    old = about[int(rng.integers(len(about)))]
    same = [w for w in reading.wishes if old.name.endswith(f"_{w.quantity.name}")]
    wishes = same or list(reading.wishes)
    if not wishes:
        return _reweigh(design, seen, reading, rng)
    new = any_term(reading, wishes[0], rng, abs(old.weight))
    if new.name != old.name and new.name in {term.name for term in design.terms}:
        return _rescale(design, seen, reading, rng)
    return _with(design, old.name, new), f"{old.name} takes another shape"


def _drop_weakest(design: Design, seen: Statistics, _: Reading, rng: Rng) -> tuple[Design, str]:
    about, main = _about(design), main_term(design)
    others = [term for term in about if main is None or term.name != main.name]

    def use(term: Term) -> float:
        known = seen.get(term.name)
        return float(rng.random()) if known is None else (known.correlation or 0.0)

    weakest = min(others, key=use)
    kept = tuple(term for term in design.terms if term.name != weakest.name)
    return replace(design, terms=kept), f"{weakest.name} is dropped"


def _about(design: Design) -> list[Term]:
    return [term for term in design.terms if term.name not in LIVING]


def _with(design: Design, name: str, term: Term) -> Design:
    return replace(design, terms=trimmed(term if t.name == name else t for t in design.terms))


# --- numbers ----------------------------------------------------------------------------------


def times(term: Term, factor: float) -> Term:
    """Multiply a term's weight."""
    return _changed(term, {term.name}, factor)


def scaled(term: Term, factor: float) -> Term:
    """Multiply a term's scales: wider above 1, sharper below."""
    return _changed(term, _scales(term), factor)


def _scales(term: Term) -> set[str]:
    return {name for name, _ in term.params if name.startswith(f"{term.name}_scale")}


def _changed(term: Term, names: set[str], factor: float) -> Term:
    params = tuple(
        (name, float(f"{value * factor:.4g}") if name in names else value)
        for name, value in term.params
    )
    return replace(term, params=params)


def factor_around_one(rng: Rng, spread: float) -> float:
    """Draw a factor around 1."""
    return float(rng.lognormal(0.0, spread))
