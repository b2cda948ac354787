"""Read a fitness as wishes: every condition is a band that one quantity shall lie in.

A fitness is told in every question, so a search may read it as a model does: what only the metric
may see is no quantity, and a comparison that needs it is passed over.

    0.75 < x < 1.25        x near 1
    x > 1                  x at least 1
    abs(x - y) > 0.5       the size of x - y at least 0.5
    abs(v) < 0.3           v calm
    statistic -v           less v

Where the parts of a `least` want one quantity on different sides, no state serves them all: they are
kept as they are (`Goals.sides`), and what leads from one to the other is wished for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import inf

from core.conditions import Absolute, Number, Sum, Term, Value, parse_term, parse_where
from core.designers.evolution.quantities import Kind, Quantiles, Quantity, component
from core.designers.evolution.wishes import Aim, Wish
from core.fields import read_source
from core.records.task import Field, Fitness

_CLEAR = 4.0  # clearer than anything that words say
_BEYOND = 0.1  # of a bound or span: so far past a bound is aimed, that noise does not cross it
_STEPS_PER_RADIAN = (3, 6, 12, 24)  # of a swing to and fro; none of the task's facts says how fast
_MOST = 1e6  # a difference of fields is clipped here, so that it is finite whatever they hold
_LONGEST = 26


@dataclass(frozen=True, slots=True)
class Band:
    """Where a quantity shall lie; a side that is not bounded is infinite."""

    quantity: Quantity
    low: float
    high: float
    why: str


@dataclass(frozen=True, slots=True)
class Goals:
    """What a fitness asks for.

    Attributes:
        wishes:  the clearest first.
        sides:   what must hold together, once per side, where no state is on all sides at once.
        numbers: that it names; the same number in the text needs no reading of its own.
        lasting: whether every further step counts, so that an end of the episode is a loss.
    """

    wishes: tuple[Wish, ...] = ()
    sides: tuple[tuple[Wish, ...], ...] = ()
    numbers: tuple[float, ...] = ()
    lasting: bool = False


def read_goals(fitness: Fitness, fields: Sequence[Field], quantiles: Quantiles) -> Goals:
    """Return what the fitness asks of what the reward may read; nothing for a return."""
    known = {f.name: f for f in fields if "reward" in f.visible and f.source != "terminated"}
    parts = fitness.parts or (fitness,)
    bands = [_bands(part.where, known, quantiles) for part in parts if part.where]
    wishes = [w for p in parts if p.field for w in _onward(p.field, known, quantiles)]
    sides: tuple[tuple[Wish, ...], ...] = ()
    if opposed := _opposed(bands):
        sides = tuple(tuple(_wish(band) for band in part) for part in bands)
        wishes += _between(bands, opposed)
    else:
        wishes += [_wish(band) for part in bands for band in part]
    return Goals(
        wishes=_ordered(wishes),
        sides=sides,
        numbers=tuple(n for part in bands for band in part for n in _numbers(band)),
        lasting=all(part.kind == "share" for part in parts),
    )


def _ordered(wishes: Sequence[Wish]) -> tuple[Wish, ...]:
    """Put first what is farthest from where episodes usually are: it is the hardest to learn."""
    unique = {(wish.aim, wish.quantity.name): wish for wish in reversed(wishes)}
    return tuple(
        sorted(reversed(unique.values()), key=lambda w: (-w.clarity, -w.way / w.quantity.span))
    )


# --- bands ------------------------------------------------------------------------------------


def _bands(where: str, known: Mapping[str, Field], quantiles: Quantiles) -> list[Band]:
    """Return one band per quantity of a condition, in the order in which it names them."""
    found: dict[str, Band] = {}
    for comparison in parse_where(where).comparisons:
        greater = comparison.sign in (">", ">=")
        sides = (comparison.left, comparison.right)
        left, right = sides if greater else sides[::-1]
        band = _band(_linear(Sum(((1, left), (-1, right)))), known, quantiles, where)
        if band is not None:
            other = found.get(band.quantity.name, band)
            low, high = max(band.low, other.low), min(band.high, other.high)
            found[band.quantity.name] = replace(band, low=low, high=high)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _Linear:
    """A weighted sum of fields and absolute values, and a constant."""

    weights: Mapping[Value | Absolute, float]
    constant: float

    def times(self, factor: float) -> _Linear:
        weights = {atom: factor * weight for atom, weight in self.weights.items()}
        return _Linear(weights, factor * self.constant)

    def plus(self, other: _Linear) -> _Linear:
        atoms = [*self.weights, *(a for a in other.weights if a not in self.weights)]
        weights = {a: self.weights.get(a, 0.0) + other.weights.get(a, 0.0) for a in atoms}
        kept = {atom: weight for atom, weight in weights.items() if weight}
        return _Linear(kept, self.constant + other.constant)


def _linear(term: Term) -> _Linear:
    if isinstance(term, Number):
        return _Linear({}, term.value)
    if isinstance(term, Sum):
        summands = [_linear(part).times(sign) for sign, part in term.parts]
        return reduce(_Linear.plus, summands)
    return _Linear({term: 1.0}, 0.0)


def _band(form: _Linear, known: Mapping[str, Field], quantiles: Quantiles, why: str) -> Band | None:
    """Return the band in which a form is above zero; None if it cannot be read."""
    match list(form.weights.items()):
        case [(Absolute(term=inner), weight)] if weight < 0:  # within so much of the inner's zero
            within = _linear(inner)
            reach = form.constant / -weight
            band = _band(within, known, quantiles, why)
            if band is None:
                return None
            scale = abs(next(iter(within.weights.values())))
            zero = band.low if band.high == inf else band.high
            return replace(band, low=zero - reach / scale, high=zero + reach / scale)
        case [(_, first), *_]:
            # The first summand stands for itself, so that -x and x are one quantity.
            quantity = _quantity(form.times(1 / first), known, quantiles)
            if quantity is None:
                return None
            bound = -form.constant / first
            return (
                Band(quantity, bound, inf, why) if first > 0 else Band(quantity, -inf, bound, why)
            )
        case _:
            return None


def _numbers(band: Band) -> Iterator[float]:
    bounds = [bound for bound in (band.low, band.high) if abs(bound) != inf]
    yield from bounds
    if len(bounds) == 2:
        yield sum(bounds) / 2


# --- quantities -------------------------------------------------------------------------------


def _quantity(form: _Linear, known: Mapping[str, Field], quantiles: Quantiles) -> Quantity | None:
    """Return the weighted sum as one quantity, its constant left out; None if it cannot be read."""
    atoms = [(_atom(atom, known, quantiles), weight) for atom, weight in form.weights.items()]
    read = [(atom, weight) for atom, weight in atoms if atom is not None]
    if len(read) < len(atoms):
        return None
    if len(read) == 1:
        return read[0][0]
    first = read[0][0]
    code, name = first.code, first.name
    for atom, weight in read[1:]:
        factor = "" if abs(weight) == 1.0 else f"{abs(weight):.4g} * "
        code += f" {'+' if weight > 0 else '-'} {factor}{atom.code}"
        name += f"_{'plus' if weight > 0 else 'less'}_{atom.name}"
    return replace(
        first,
        name=_short(name),
        code=f"np.clip({code}, {-_MOST}, {_MOST})",
        span=sum(abs(weight) * atom.span for atom, weight in read),
        middle=sum(weight * atom.middle for atom, weight in read),
        limit=None,
        present=all(atom.present for atom, _ in read),
        policy=all(atom.policy for atom, _ in read),
        words={word: w for atom, _ in read for word, w in atom.words.items()},
        landmarks=(),
        low=None,
        high=None,
    )


def _atom(
    atom: Value | Absolute, known: Mapping[str, Field], quantiles: Quantiles
) -> Quantity | None:
    if isinstance(atom, Value):
        field = known.get(atom.name)
        if field is None or (read_source(field).stop is None) != (atom.index is None):
            return None
        return component(field, atom.index, quantiles.get(field.name))
    form = _linear(atom.term)
    inner = _quantity(form, known, quantiles) if form.weights else None
    if inner is None:
        return None
    weight = next(iter(form.weights.values()))
    return _size(inner, -form.constant / weight, abs(weight))


def _size(inner: Quantity, centre: float, weight: float = 1.0) -> Quantity:
    """Return how far a quantity is from a centre."""
    off = inner.code if centre == 0 else f"{inner.code} - {centre:.6g}".replace("- -", "+ ")
    times = "" if weight == 1.0 else f"{weight:.4g} * "
    return replace(
        inner,
        name=_short(f"size_{inner.name}"),
        code=f"{times}np.abs({off})",
        span=weight * inner.span,
        middle=weight * abs(inner.middle - centre),
        limit=None,
        landmarks=(),
        low=0.0,
        high=None,
    )


def _short(name: str) -> str:
    return name[:_LONGEST].rstrip("_")


# --- wishes -----------------------------------------------------------------------------------


def _wish(band: Band) -> Wish:
    """Aim into the band: at its middle, or so far past its one bound that noise does not leave it."""
    quantity = band.quantity
    if band.low > -inf and band.high < inf:
        target, room = (band.low + band.high) / 2, (band.high - band.low) / 2
        moving = quantity.kind in ("velocity", "spin")
        aim: Aim = "calm" if moving and abs(target) < 1e-9 else "near"
        return Wish(aim, quantity, _neat(target), _CLEAR, band.why, room=room, asked=True)
    low = band.low > -inf
    bound = band.low if low else band.high
    beyond = _BEYOND * (abs(bound) or quantity.span)
    edge = quantity.high if low else quantity.low
    if edge is not None:
        beyond = min(beyond, abs(edge - bound) / 2)
    target = bound + beyond if low else bound - beyond
    return Wish("least" if low else "most", quantity, _neat(target), _CLEAR, band.why, asked=True)


def _onward(text: str, known: Mapping[str, Field], quantiles: Quantiles) -> Iterator[Wish]:
    """Read a statistic: more of a field, less of it, or less of the distance from a value."""
    form = _linear(parse_term(text))
    sizes = {a: w for a, w in form.weights.items() if isinstance(a, Absolute) and w < 0}
    for atom, weight in sizes.items():
        band = _band(_Linear({atom: weight}, 0.0), known, quantiles, text)
        if band is not None:
            yield _wish(band)
    rest = {atom: weight for atom, weight in form.weights.items() if atom not in sizes}
    if rest:
        first = next(iter(rest.values()))
        quantity = _quantity(_Linear(rest, 0.0).times(1 / first), known, quantiles)
        if quantity is not None:
            aim: Aim = "more" if first > 0 else "less"
            yield Wish(aim, quantity, 0.0, _CLEAR, text, asked=True)


def _neat(value: float) -> float:
    return float(f"{value:.4g}")


# --- sides ------------------------------------------------------------------------------------


def _opposed(parts: Sequence[Sequence[Band]]) -> list[tuple[Quantity, float, float]]:
    """Return the quantities that parts want on different sides, with the lowest and highest target."""
    found: dict[str, list[Band]] = {}
    for part in parts:
        for band in part:
            found.setdefault(band.quantity.name, []).append(band)
    opposed = []
    for bands in found.values():
        if max(band.low for band in bands) >= min(band.high for band in bands):
            targets = [_wish(band).target for band in bands]
            opposed.append((bands[0].quantity, min(targets), max(targets)))
    return opposed


def _between(
    parts: Sequence[Sequence[Band]], opposed: Sequence[tuple[Quantity, float, float]]
) -> list[Wish]:
    """Wish for what leads from side to side (far out, moving, swinging), and for what is shared."""
    wishes: list[Wish] = []
    for quantity, low, high in opposed:
        centre, half = (low + high) / 2, (high - low) / 2
        why = f"{quantity.name} from {low:.4g} to {high:.4g} and back"
        size = replace(_size(quantity, centre), kind="far")
        wishes.append(Wish("least", size, _neat(half), _CLEAR - 0.6, why, asked=True))
        if quantity.present:
            motion = _motion(quantity, half)
            wishes.append(Wish("move", motion, 0.0, _CLEAR - 0.4, why, asked=True))
            for steps in _STEPS_PER_RADIAN:
                swing = _swing(quantity, centre, half, steps)
                wishes.append(Wish("near", swing, 1.0, _CLEAR - 0.2, why, asked=True))
    sided = {quantity.name for quantity, _, _ in opposed}
    for band in (band for part in parts for band in part if band.quantity.name not in sided):
        wish = _wish(band)
        # Who is to come to the other side must move now: to be calm is for the sides alone.
        wishes.append(replace(wish, clarity=0.6) if wish.aim == "calm" else wish)
    return wishes


def _motion(quantity: Quantity, half: float) -> Quantity:
    """Return the change of a quantity in the step."""
    ahead, behind = (quantity.code.format(s=state) for state in ("next_obs", "obs"))
    return _changing(
        quantity, "change", f"change_{quantity.name}", f"({ahead} - {behind})", span=half / 8
    )


def _swing(quantity: Quantity, centre: float, half: float, steps: int) -> Quantity:
    """Return the energy of a swing, which is 1 at the turning points and all the way between them.

    As in a spring: the square of the place, in half swings, plus that of the speed, in half swings per
    `steps` steps.
    """
    ahead, behind = (quantity.code.format(s=state) for state in ("next_obs", "obs"))
    off = f"({ahead})" if centre == 0 else f"({ahead} - {centre:.6g})".replace("- -", "+ ")
    place = f"np.clip({off} / {half:.4g}, -10.0, 10.0)"
    speed = f"np.clip(({ahead} - {behind}) / {half / steps:.4g}, -10.0, 10.0)"
    code = f"(np.square({place}) + np.square({speed}))"
    return _changing(quantity, "swing", f"swing_{steps}_{quantity.name}", code, span=1.0)


def _changing(quantity: Quantity, kind: Kind, name: str, code: str, span: float) -> Quantity:
    """Return a quantity of two states: it is readable as it is, and no difference of it is taken."""
    return replace(
        quantity,
        name=_short(name),
        code=code,
        kind=kind,
        unit="1",
        unit_size=1.0,
        span=span,
        middle=0.0,
        limit=None,
        present=False,
        policy=False,
        landmarks=(),
        low=None,
        high=None,
    )
