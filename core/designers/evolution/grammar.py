"""Put terms together: plain readings of the text first, freer ones in later slots.

Every choice is drawn from one generator, so a design is a function of the reading and the seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias, TypeVar

import numpy as np

from core.designers.evolution import terms
from core.designers.evolution.quantities import Kind
from core.designers.evolution.reading import Reading
from core.designers.evolution.terms import Design, Feature, Shape, Term
from core.designers.evolution.wishes import TARGETED, Wish

MOST_TERMS = 6
MOST_NUMBERS = 16  # of PARAMS
MOST_GATED = 4  # wishes of one product
MOST_PAIRED = 8  # quantities of which products are drawn
_PLAIN = 1.2  # clarity from which a wish belongs into the plainest reading
_ASKED = 0.5  # clarity from which a wish was read from the text at all
_SMOOTH: tuple[Shape, ...] = ("gauss", "bell", "hyper")
_LEADING = ("far", "change", "swing")
_STEPS = 25.0  # a good policy needs about so many steps from here to the target

T = TypeVar("T")
Rng: TypeAlias = np.random.Generator
Plan: TypeAlias = Callable[[Reading, Rng], list[Term]]


def seed_design(reading: Reading, slot: int, rng: Rng) -> Design:
    """Draw a design for a slot: 0 is the plainest reading of the text, later ones are freer."""
    clear = [wish for wish in _one_per_quantity(reading.wishes) if wish.clarity >= _ASKED]
    plans = _SIDED if reading.sides else _PLANS
    if clear and slot < len(plans):
        drawn = plans[slot](reading, rng)
    else:
        drawn = free_terms(reading, rng, heat=0.3 + 0.12 * slot)
    features = draw_features(reading, rng) if slot >= 2 and rng.random() < 0.35 else ()
    return Design(trimmed(drawn), features)


def trimmed(drawn: Iterable[Term]) -> tuple[Term, ...]:
    """Keep the first term of each name, as far as the limits of a program go."""
    kept: dict[str, Term] = {}
    for term in drawn:
        numbers = sum(len(t.params) for t in kept.values()) + len(term.params)
        if term.name not in kept and len(kept) < MOST_TERMS and numbers <= MOST_NUMBERS:
            kept[term.name] = term
    return tuple(kept.values())


# --- plans ------------------------------------------------------------------------------------


def _plain(reading: Reading, rng: Rng) -> list[Term]:
    """Take each plain wish as it stands, the clearest one with most weight."""
    first, *others = _plain_wishes(reading)
    drawn = [state_term(reading, first, rng, 1.0)]
    drawn += [state_term(reading, wish, rng, _share(wish, first)) for wish in others[:3]]
    return [*drawn, *living_terms(reading, rng)]


def _gated(reading: Reading, rng: Rng) -> list[Term]:
    """Pay only while the plain wishes hold together."""
    near = [w for w in _plain_wishes(reading, 0.5) if w.aim in TARGETED]
    if len(near) < 2 or reading.ends == "goal":
        return [*_plain(reading, rng), *_extra(reading, rng)]
    count = 3 if len(near) > 2 and rng.random() < 0.4 else 2
    # What the fitness compares must hold at once; what the text tells beside it is a help at most.
    count = max(count, min(MOST_GATED, sum(w.asked for w in near)))
    parts = tuple(
        (w, shape := _choose(rng, _SMOOTH), 1.3 * scale_for(w, shape, rng)) for w in near[:count]
    )
    drawn = [terms.gate(parts, _jitter(rng, 1.5))]
    first = _plain_wishes(reading)[0]
    drawn.append(state_term(reading, first, rng, 0.5))
    return [*drawn, *living_terms(reading, rng)]


def _careful(reading: Reading, rng: Rng) -> list[Term]:
    """Ask also for calm and for little effort."""
    first, *others = _plain_wishes(reading, 0.5)
    drawn = [state_term(reading, first, rng, 1.2)]
    drawn += [state_term(reading, wish, rng, 0.8 * _share(wish, first)) for wish in others[:3]]
    drawn += living_terms(reading, rng)
    if effort := effort_term(reading, rng):
        drawn.append(effort)
    return drawn


def _stepwise(reading: Reading, rng: Rng) -> list[Term]:
    """Pay for progress towards the clearest target, and a little for being there."""
    wishes = _plain_wishes(reading)
    first, *others = wishes
    drawn = [progress_term(first, rng, 2.0)] if _can_progress(first) else []
    drawn.append(state_term(reading, first, rng, 0.8))
    drawn += [state_term(reading, wish, rng, 0.6 * _share(wish, first)) for wish in others[:2]]
    return [*drawn, *living_terms(reading, rng)]


_PLANS: tuple[Plan, ...] = (_plain, _gated, _careful, _stepwise)


def _to_and_fro(reading: Reading, rng: Rng) -> list[Term]:
    """Pay on any of the sides that must be visited in turn, and for swinging from one to the other."""
    return [*_led(reading, rng, "swing", 2.0), _either(reading, rng, 1.0), *_kept(reading, rng)]


def _by_motion(reading: Reading, rng: Rng) -> list[Term]:
    """Pay on any of the sides, and for moving at all."""
    drawn = _led(reading, rng, "change", 0.8)
    return [_either(reading, rng, 2.0), *drawn, *_kept(reading, rng)]


def _by_size(reading: Reading, rng: Rng) -> list[Term]:
    """Pay for being far out, on whichever side, and for swinging there."""
    return [
        *_led(reading, rng, "far", 1.0),
        *_led(reading, rng, "swing", 1.5),
        _either(reading, rng, 1.0),
        *_kept(reading, rng),
    ]


_SIDED: tuple[Plan, ...] = (_to_and_fro, _to_and_fro, _by_size, _by_motion)


def _led(reading: Reading, rng: Rng, kind: Kind, weight: float) -> list[Term]:
    """Draw one term for what leads from side to side; how fast a swing goes is left to chance."""
    leading = [w for w in reading.wishes if w.quantity.kind == kind]
    return [state_term(reading, _choose(rng, leading), rng, weight)] if leading else []


def _kept(reading: Reading, rng: Rng) -> list[Term]:
    """Draw what all sides share, as a small matter each, and what keeps the episode alive."""
    kept = [w for w in reading.wishes if w.asked and w.quantity.kind not in _LEADING]
    drawn = [state_term(reading, wish, rng, 0.4) for wish in kept if wish.clarity >= _PLAIN]
    return [*drawn[:2], *living_terms(reading, rng)]


def _either(reading: Reading, rng: Rng, weight: float) -> Term:
    shape = _choose(rng, _SMOOTH)
    asked = {w.quantity.name: w for side in reading.sides for w in side}
    scales = {name: scale_for(wish, shape, rng) for name, wish in asked.items()}
    return terms.either(reading.sides, shape, scales, _jitter(rng, weight))


def free_terms(reading: Reading, rng: Rng, heat: float) -> list[Term]:
    """Draw wishes by clarity; the hotter, the less the text counts."""
    wishes = list(reading.wishes)
    count = int(rng.integers(1, 5))
    logits = np.array([wish.clarity for wish in wishes]) / max(heat, 1e-3)
    drawn: list[Term] = []
    for wish in _draw(rng, wishes, np.exp(logits - logits.max()), count):
        weight = 1.0 if not drawn else float(rng.uniform(0.2, 0.8))
        drawn.append(any_term(reading, wish, rng, weight))
    if rng.random() < 0.8:
        drawn += living_terms(reading, rng)
    if rng.random() < reading.thrift and (effort := effort_term(reading, rng)):
        drawn.append(effort)
    return drawn


def _extra(reading: Reading, rng: Rng) -> list[Term]:
    wishes = [w for w in reading.wishes if w.clarity >= _ASKED]
    return [any_term(reading, _choose(rng, wishes), rng, 0.5)]


# --- single terms -----------------------------------------------------------------------------


def state_term(reading: Reading, wish: Wish, rng: Rng, weight: float) -> Term:
    """Draw a term for a wish, as the task's ends allow.

    Where the goal ends the episode, staying close must not pay more than arriving: closeness is then
    a cost, or progress.
    """
    weight = _jitter(rng, weight)
    if wish.aim in ("more", "less", "move"):
        bounded = wish.aim == "move" or wish.quantity.kind not in ("velocity", "position")
        return terms.onward(wish, _jitter(rng, wish.quantity.span), weight, bounded=bounded)
    shape = _choose(rng, terms.SHAPES)
    scale = scale_for(wish, shape, rng)
    if reading.ends == "goal" or (wish.aim == "calm" and rng.random() < 0.5):
        return terms.cost(wish, shape, scale, weight)
    if reading.ends == "both" and rng.random() < 0.6 and _can_progress(wish):
        return progress_term(wish, rng, 4.0 * weight)
    return terms.closeness(wish, shape, scale, weight)


def any_term(reading: Reading, wish: Wish, rng: Rng, weight: float) -> Term:
    """Draw a term for a wish with less regard for custom."""
    if _can_progress(wish) and rng.random() < 0.35:
        return progress_term(wish, rng, 2.0 * weight)
    if wish.aim in TARGETED - {"calm"} and reading.ends != "goal" and rng.random() < 0.2:
        shape = _choose(rng, terms.SHAPES)
        return terms.cost(wish, shape, scale_for(wish, shape, rng), weight)
    return state_term(reading, wish, rng, weight)


def progress_term(wish: Wish, rng: Rng, weight: float) -> Term:
    """Draw a term for the change of the distance; a scale is what a good step may gain."""
    way = max(wish.way, 0.3 * wish.quantity.span)
    return terms.progress(wish, _jitter(rng, way / _STEPS), _jitter(rng, weight))


def _can_progress(wish: Wish) -> bool:
    return wish.aim in TARGETED and wish.quantity.present


def living_terms(reading: Reading, rng: Rng) -> list[Term]:
    """Draw what pays for living, arriving or hurrying, as far as the environment ends episodes."""
    ended = reading.ended
    if ended is None:
        return []
    if reading.ends == "goal":
        return [
            terms.hurry(ended, _jitter(rng, 0.5 + 0.5 * reading.hurry)),
            terms.arrive(ended, _jitter(rng, 20.0)),
        ]
    if rng.random() < reading.survive + 0.2:
        drawn = [terms.alive(ended, _jitter(rng, 0.1 + 0.3 * reading.survive))]
        if rng.random() < 0.25:
            drawn.append(terms.fell(ended, _jitter(rng, 5.0)))
        return drawn
    return []


def effort_term(reading: Reading, rng: Rng) -> Term | None:
    """Draw a charge for the action; None where no action is known to be idle."""
    if not reading.box and reading.idle is None:
        return None
    weight = _jitter(rng, 0.05 + 0.1 * reading.thrift)
    return terms.effort(weight, box=reading.box, idle=reading.idle)


def scale_for(wish: Wish, shape: Shape, rng: Rng) -> float:
    """Draw how wide a closeness is: wide enough to be felt from where episodes usually begin.

    Where that is far wider than what is wished for, it may be drawn sharper, half-way to that.
    """
    quantity, way = wish.quantity, wish.way
    share = 0.6 if wish.aim == "calm" else 0.25 if way else 0.5
    reach = max(share * quantity.span, 0.7 * way) * terms.REACH[shape]
    if 0.0 < wish.room < 0.25 * reach and rng.random() < 0.5:
        reach = float(np.sqrt(reach * wish.room))
    return reach * float(rng.choice([0.8, 1.0, 1.25]))


def _plain_wishes(reading: Reading, clarity: float = _PLAIN) -> list[Wish]:
    """Return the plain wishes, one per quantity and at least one, clearest first."""
    unique = _one_per_quantity(reading.wishes)
    return [wish for wish in unique if wish.clarity >= clarity] or unique[:1]


def _one_per_quantity(wishes: Sequence[Wish]) -> list[Wish]:
    kept: dict[str, Wish] = {}
    for wish in wishes:
        kept.setdefault(wish.quantity.name, wish)
    return list(kept.values())


def _share(wish: Wish, first: Wish) -> float:
    """Weigh a wish against the clearest: calm is a small matter, another target a larger one."""
    return (0.1 if wish.aim == "calm" and not wish.asked else 0.45) * wish.clarity / max(
        first.clarity, 1e-6
    ) + 0.05


# --- features ---------------------------------------------------------------------------------


def draw_features(reading: Reading, rng: Rng, *, rich: bool = False) -> tuple[Feature, ...]:
    """Draw one to three features from what the policy sees; none where nothing is plain.

    Where features are all that is designed (`rich`), squares and products are drawn as well.
    """
    wishes = [w for w in reading.wishes if w.quantity.policy]
    pool: list[Feature] = []
    for wish in wishes:
        quantity = wish.quantity
        if wish.aim in ("least", "most") or (wish.aim == "near" and wish.target != 0.0):
            pool += [terms.distance_feature(wish)] * 2
        if quantity.kind in ("velocity", "spin"):
            pool.append(terms.energy_feature(quantity))
        if quantity.kind == "angle":
            pool.append(terms.circle_feature(quantity, _choose(rng, ("sin", "cos"))))
    # Where nothing is plain, how far things are from the middle is still a way to see them.
    pool = pool or [terms.distance_feature(wish) for wish in wishes if wish.aim in TARGETED]
    if rich:
        seen = list({w.quantity.name: w.quantity for w in wishes}.values())[:MOST_PAIRED]
        pool += [terms.square_feature(quantity) for quantity in seen]
        pool += [terms.product_feature(a, b) for a, b in itertools.combinations(seen, 2)]
    unique = {f.name: f for f in rng.permutation(np.array(pool, dtype=object))}
    return tuple(list(unique.values())[: int(rng.integers(1, 4))])


# --- drawing ----------------------------------------------------------------------------------


def _jitter(rng: Rng, value: float) -> float:
    return value * float(rng.choice([0.7, 1.0, 1.0, 1.4]))


def _choose(rng: Rng, values: Sequence[T]) -> T:
    return values[int(rng.integers(len(values)))]


def _draw(
    rng: Rng,
    wishes: Sequence[Wish],
    weights: np.ndarray[tuple[int], np.dtype[np.float64]],
    count: int,
) -> list[Wish]:
    """Draw without replacement, one wish per quantity."""
    known = np.flatnonzero(weights > 0)
    size = min(count, len(known))
    picked = rng.choice(len(wishes), size=size, replace=False, p=weights / weights.sum())
    return _one_per_quantity([wishes[int(i)] for i in picked])
