"""What designers said would happen, held against what did.

Every reply carries a line such as `Prediction: fitness 0.6 to 0.8; component hold rises`.  It is read
as claims, each claim is decided by what was measured, and the designer is shown both.  A claim that
nothing was measured for stays open; words that cannot be read are no claims.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from core.choosing import native_fitness, rung_fitness, search_fitness
from core.fitness_words import seed_error, steps_words, stopped_early
from core.once import once
from core.records.history import History
from core.records.kinds import Json
from core.records.rounds import Candidate
from core.rungs import ranked, reached
from core.words import number

Kind: TypeAlias = Literal["fitness", "component", "feature"]
Reference: TypeAlias = Literal["best", "native"]
Move: TypeAlias = Literal["rises", "falls", "used"]

CLOSE = 0.15  # of the distance to the random policy: a single number is met within it
USED = 0.01  # share of the policy's sensitivity from which a feature counts as used
NEARBY = 40  # characters before a number or a comparison that may turn its meaning
FLAT = 0.05  # of a component's own size: a smaller change is neither a rise nor a fall

_NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?\s*%?"
_FITNESS = re.compile(r"\bfitness\b(?P<rest>[^;\n]*)", re.IGNORECASE)
_RANGE = re.compile(rf"(?P<low>{_NUMBER})\s*(?:to|and|\.\.|…|–|-)\s*(?P<high>{_NUMBER})")
_BOUND = re.compile(
    rf"(?P<word>>=|<=|>|<|≥|≤|at least|at most|above|over|below|under|more than|less than)"
    rf"\s*(?P<value>{_NUMBER})",
    re.IGNORECASE,
)
_SINGLE = re.compile(_NUMBER)
_COMPARED = re.compile(
    r"\b(?P<word>better|above|higher|beats|worse|below|lower)\b(?:[^;\n]*?\b(?P<than>best|native)\b)?",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"(?:(?:\b(?:not|never|cannot)|n['\u2019]t)\s+(?:\w+\s+)?|\bno\s+)$", re.IGNORECASE
)
_ROUGHLY = r"\s+(?:(?:about|around|roughly|some)\s+|~\s*)?$"
_CHANGE = re.compile(rf"\bby{_ROUGHLY}", re.IGNORECASE)
_TOLERANCE = re.compile(rf"\bwithin{_ROUGHLY}", re.IGNORECASE)  # of one number, not of a range
_MINUS = "\N{MINUS SIGN}"  # which models write for a hyphen
_TERM = re.compile(
    r"\b(?P<kind>component|feature)\s+[`*\"']*(?P<name>[A-Za-z]\w{0,39})[`*\"']*"
    r"\s+(?:\w+\s+)?(?P<move>rises|rise|grows|falls|fall|shrinks|used)\b",
    re.IGNORECASE,
)
_MOVES: dict[str, Move] = {
    "rises": "rises",
    "rise": "rises",
    "grows": "rises",
    "falls": "falls",
    "fall": "falls",
    "shrinks": "falls",
    "used": "used",
}
_UPWARD = frozenset({"better", "above", "higher", "beats"})
_LEAST = frozenset({">", ">=", "≥", "at least", "above", "over", "more than"})


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that a prediction says.

    Attributes:
        kind:  what it is about.
        low:   smallest fitness that is claimed; -inf for none.
        high:  largest fitness that is claimed; inf for none.
        above: instead of a number: better (1) or worse (-1) than `than`; 0 for a number.
        than:  the best fitness before the iteration, or that of the native reward.
        name:  of the component or feature.
        move:  what it is claimed to do.
        hit:   whether it came true; None where nothing was measured that could tell.
        words: the claim, what was measured, and whether it was hit; empty until it was scored.
    """

    kind: Kind
    low: float = -math.inf
    high: float = math.inf
    above: int = 0
    than: Reference = "best"
    name: str = ""
    move: Move = "rises"
    hit: bool | None = None
    words: str = ""

    @property
    def decided(self) -> bool:
        """Whether something was measured that is worth telling, be it only that nothing moved."""
        return self.hit is not None or self.words.endswith(UNCOUNTED)


UNCOUNTED = "not counted"


def read_prediction(text: str) -> tuple[Claim, ...]:
    """Read the claims of a prediction: at most one about fitness, and each named term once.

    >>> [claim.kind for claim in read_prediction("fitness 0.7; component hold rises")]
    ['fitness', 'component']
    """
    text = text.replace(_MINUS, "-")
    claims = [*_fitness_claims(text)]
    for found in _TERM.finditer(text):
        kind: Kind = "component" if found["kind"].lower() == "component" else "feature"
        claim = Claim(kind, name=found["name"], move=_MOVES[found["move"].lower()])
        if all((c.kind, c.name) != (claim.kind, claim.name) for c in claims):
            claims.append(claim)
    return tuple(claims)


def _fitness_claims(text: str) -> Iterator[Claim]:
    for found in _FITNESS.finditer(text):
        claim = _fitness_claim(found["rest"])
        if claim is not None and not (math.isnan(claim.low) or math.isnan(claim.high)):
            yield claim
            return


def _fitness_claim(rest: str) -> Claim | None:
    """Read what is said first after the word: a range, a bound, a number, or a comparison.

    Later numbers are of something else: "fitness about 0.8, with arrival after 70 to 90 steps".  None
    where it is denied, or the number is a change: what would then be claimed is anybody's guess.
    """
    patterns = (_RANGE, _BOUND, _SINGLE, _COMPARED)
    found = [match for pattern in patterns if (match := pattern.search(rest)) is not None]
    if not found:
        return None
    first = min(found, key=lambda match: match.start())  # of equals the one of the earlier pattern
    before = rest[max(0, first.start() - NEARBY) : first.start()]
    changed = first.re is not _COMPARED and _CHANGE.search(before)
    if changed or _DENIED.search(before) or (first.re is _SINGLE and _TOLERANCE.search(before)):
        return None
    return _READERS[first.re](first)


def _of_range(found: re.Match[str]) -> Claim:
    low, high = found["low"], found["high"]
    if high.endswith("%") and not low.endswith("%"):  # "60 to 80 %" are both percent
        low += "%"
    smaller, larger = sorted((_value(low), _value(high)))
    return Claim("fitness", smaller, larger)


def _of_bound(found: re.Match[str]) -> Claim:
    value = _value(found["value"])
    if found["word"].lower() in _LEAST:
        return Claim("fitness", value, math.inf)
    return Claim("fitness", -math.inf, value)


def _of_single(found: re.Match[str]) -> Claim:
    value = _value(found[0])
    return Claim("fitness", value, value)


def _of_compared(found: re.Match[str]) -> Claim:
    than: Reference = "native" if (found["than"] or "").lower() == "native" else "best"
    return Claim("fitness", above=1 if found["word"].lower() in _UPWARD else -1, than=than)


_READERS: Mapping[re.Pattern[str], Callable[[re.Match[str]], Claim]] = {
    _RANGE: _of_range,
    _BOUND: _of_bound,
    _SINGLE: _of_single,
    _COMPARED: _of_compared,
}


def _value(text: str) -> float:
    """Return a number that was written; NaN, which makes no claim, for one beyond all floats."""
    plain = text.replace(",", "").strip()
    value = float(plain.rstrip("% ")) / 100.0 if plain.endswith("%") else float(plain)
    return value if math.isfinite(value) else math.nan


# --- against what was measured ----------------------------------------------------------------


def score(history: History, candidate: Candidate) -> tuple[Claim, ...]:
    """Return the claims of a candidate's prediction, each decided as far as it can be."""
    claims = read_prediction(candidate.prediction)
    return tuple(_decided(history, candidate, claim) for claim in claims)


def _decided(history: History, candidate: Candidate, claim: Claim) -> Claim:
    if claim.kind == "fitness":
        if claim.above:
            return _compared(history, candidate, claim)
        return _met(history, candidate, claim)
    return _moved(candidate, claim)


def _met(history: History, candidate: Candidate, claim: Claim) -> Claim:
    fitness = search_fitness(candidate)
    low, high = claim.low, claim.high
    said = f"predicted fitness {_range(low, high)}"
    if fitness is None:
        return replace(claim, words=f"{said}, not measured")
    training = history.spec.training
    if stopped_early(candidate, training):
        # What it would have reached, nobody knows.
        done = steps_words(candidate, training)
        return replace(claim, words=f"{said}, not judged: stopped after {done}")
    room = seed_error(history, candidate)
    if low == high:
        floor = history.preflight.random_fitness if history.preflight else 0.0
        room += CLOSE * max(abs(low - floor), abs(fitness - floor))
    hit = low - room <= fitness <= high + room
    near = hit and low < high and not low <= fitness <= high
    measured = f"{number(fitness)}{' within the error of the seeds' if near else ''}"
    return _told(claim, hit, said, measured)


def _range(low: float, high: float) -> str:
    if low == high:
        return number(low)
    if math.isinf(high):
        return f"at least {number(low)}"
    return f"at most {number(high)}" if math.isinf(low) else f"{number(low)} to {number(high)}"


def _compared(history: History, candidate: Candidate, claim: Claim) -> Claim:
    reference, name = _reference(history, candidate, claim)
    fitness = search_fitness(candidate)
    said = f"predicted fitness {'better' if claim.above > 0 else 'worse'} than {name}"
    if fitness is None or reference is None:
        return replace(claim, words=f"{said}, not measured")
    hit = fitness > reference if claim.above > 0 else fitness < reference
    training = history.spec.training
    early = stopped_early(candidate, training)
    at = f" after {steps_words(candidate, training)}" if early else ""
    return _told(claim, hit, f"{said} ({number(reference)}{at})", number(fitness))


def _reference(history: History, candidate: Candidate, claim: Claim) -> tuple[float | None, str]:
    """Return what a claim compares with, after as many steps as the candidate has, and its name.

    Before anything was scored there is no best; the native reward stands in for it.
    """
    earlier = [best for n, best in _bests(history).items() if n < candidate.iteration]
    best = earlier[-1] if earlier else None
    if claim.than == "best" and best is not None:
        return rung_fitness(best, reached(candidate)), "the best"
    early = stopped_early(candidate, history.spec.training)
    return None if early else native_fitness(history), "native"


@once
def _bests(history: History) -> Mapping[int, Candidate]:
    """Return the best candidate of an iteration and all before it, by the iteration's number."""
    bests: dict[int, Candidate] = {}
    for iteration in sorted(history.iterations, key=lambda one: one.number):
        before = [*bests.values()][-1:]  # of all that came before, the best one is enough
        for best in ranked([*before, *iteration.candidates])[:1]:
            bests[iteration.number] = best
    return bests


def _moved(candidate: Candidate, claim: Claim) -> Claim:
    said = f"predicted {claim.kind} `{claim.name}` {claim.move}"
    report = candidate.report
    terms = {} if report is None else {"component": report.components, "feature": report.features}
    found = terms.get(claim.kind, {}).get(claim.name)
    if found is None:
        return replace(claim, words=f"{said}, not measured")
    if claim.move == "used":
        if found.used is None:
            return replace(claim, words=f"{said}, not measured")
        share = f"{number(100 * found.used)} % (used is from {number(100 * USED)} % on)"
        return _told(claim, found.used >= USED, said, share)
    if len(found.by_checkpoint) < 2:
        return replace(claim, words=f"{said}, not measured")
    first, last = found.by_checkpoint[0], found.by_checkpoint[-1]
    measured = f"{number(first)} at first and {number(last)} at last"
    if abs(last - first) < FLAT * max(abs(first), abs(last), found.std):
        return replace(claim, words=f"{said}, measured {measured}: flat, {UNCOUNTED}")
    hit = last > first if claim.move == "rises" else last < first
    return _told(claim, hit, said, measured)


def _told(claim: Claim, hit: bool, said: str, measured: str) -> Claim:
    words = f"{said}, measured {measured}: {'hit' if hit else 'missed'}"
    return replace(claim, hit=hit, words=words)


# --- the designer's record --------------------------------------------------------------------


FITNESS: tuple[Kind, ...] = ("fitness",)
TERMS: tuple[Kind, ...] = ("component", "feature")


def tally(history: History, kinds: Sequence[Kind] = (*FITNESS, *TERMS)) -> tuple[int, int]:
    """Return how many claims of these kinds were hit in the job, and how many were decided."""
    claims = [claim for _, told in _scores(history) for claim in told if claim.kind in kinds]
    verdicts = [claim.hit for claim in claims if claim.hit is not None]
    return sum(verdicts), len(verdicts)


def record_words(history: History) -> str:
    """Tell the designer's record in a sentence; empty while nothing was decided.

    Optimism and pessimism are told apart, so that the next prediction can be better.
    """
    counts = {"fitness": tally(history, FITNESS), "components and features": tally(history, TERMS)}
    told = [
        f"{name} {hits} of {decided} hit" for name, (hits, decided) in counts.items() if decided
    ]
    if not told:
        return ""
    words = f"Predictions so far: {', '.join(told)}."
    high, low = _leaning(history)
    if high + low >= 2 and max(high, low) > 2 * min(high, low):
        side = "high" if high > low else "low"
        words += f" Of the missed fitness values {max(high, low)} were too {side}"
        words += (
            f", {min(high, low)} too {'low' if high > low else 'high'}." if min(high, low) else "."
        )
    return words


def _leaning(history: History) -> tuple[int, int]:
    """Count the missed numbers that were above and below what was measured."""
    high = low = 0
    for candidate, claims in _scores(history):
        fitness = search_fitness(candidate)
        for claim in claims:
            if claim.kind == "fitness" and claim.hit is False and not claim.above:
                high += fitness is not None and claim.low > fitness
                low += fitness is not None and claim.high < fitness
    return high, low


@once
def _scores(history: History) -> Sequence[tuple[Candidate, tuple[Claim, ...]]]:
    """Return all candidates with what became of their predictions."""
    return [(c, score(history, c)) for i in history.iterations for c in i.candidates]


def claims_data(claims: Sequence[Claim]) -> list[Json]:
    """Return claims for pages and programs; numbers are finite or None."""
    return [
        {
            "kind": claim.kind,
            "name": claim.name or None,
            "move": claim.move if claim.name else None,
            "low": claim.low if math.isfinite(claim.low) else None,
            "high": claim.high if math.isfinite(claim.high) else None,
            "hit": claim.hit,
            "words": claim.words,
        }
        for claim in claims
    ]
