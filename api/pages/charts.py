"""Charts as SVG, made on the server: they need no script, and are sharp on paper.

Colours and dashes are classes, because the pages' policy allows no style inside a page.  Every text
that others wrote is escaped.  Lengths are in units of the drawing, which is scaled to its place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from markupsafe import Markup, escape

from api.pages.series import Style
from core.export.svg import short, ticks
from core.words import number

WIDTH, HEIGHT = 640.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 28.0, 36.0


@dataclass(frozen=True, slots=True)
class Line:
    """A named line, [T] and [T], perhaps with a band around it."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    style: Style
    band: tuple[Sequence[float], Sequence[float]] | None = None


@dataclass(frozen=True, slots=True)
class Dot:
    """A candidate in the chart of a job."""

    iteration: int
    key: str
    fitness: float
    href: str
    style: Style


@dataclass(frozen=True, slots=True)
class Node:
    """A candidate in the tree of a job."""

    iteration: int
    number: int
    key: str
    parents: Sequence[str]
    kind: str
    href: str
    told: str


@dataclass(frozen=True, slots=True)
class Level:
    """A value with its interval, drawn across the whole chart."""

    mean: float
    low: float
    high: float
    name: str


# --- scales -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the place of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def around(values: Iterable[float], start: float, end: float) -> Scale:
    """Return a scale with a little room around the values, or from 0 to 1 without any."""
    found = [value for value in values if math.isfinite(value)]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    room = 0.06 * (high - low)
    return Scale(low - room, high + room, start, end)


# --- the chart of a job -----------------------------------------------------------------------


def fitness_chart(dots: Sequence[Dot], native: Level | None, iterations: int) -> Markup:
    """Draw every candidate as a dot by iteration, the best so far as a line, the baseline as a band."""
    x = Scale(-0.5, max(iterations, 1) - 0.5, LEFT, WIDTH - RIGHT)
    told = [dot.fitness for dot in dots]
    levels = [native.low, native.high] if native else []
    y = around([*told, *levels], HEIGHT - BOTTOM, TOP)
    parts = [*_grid(y), *_iterations(x, iterations)]
    if native is not None:
        parts += _level(native, y)
    parts += [_best_line(dots, x, y), *_dots(dots, x, y)]
    best = max(told, default=None)
    words = f"Fitness by iteration: {len(dots)} measured candidates"
    words += f", the best {number(best)}" if best is not None else ""
    words += f"; native reward {number(native.mean)}." if native else "."
    return _svg(parts, words, "Iteration", "Fitness")


def _iterations(x: Scale, iterations: int) -> Iterator[str]:
    every = max(1, math.ceil(iterations / 12))
    for n in range(0, max(iterations, 1), every):
        yield _text(x.at(n), HEIGHT - BOTTOM + 18, str(n), "tick middle")


def _level(level: Level, y: Scale) -> list[str]:
    top, bottom = y.at(level.high), y.at(level.low)
    width = WIDTH - LEFT - RIGHT
    return [
        f'<rect class="band" x="{LEFT}" y="{top:.1f}" width="{width}" '
        f'height="{max(1.0, bottom - top):.1f}"/>',
        f'<path class="native" d="M{LEFT} {y.at(level.mean):.1f}H{WIDTH - RIGHT}"/>',
        _text(LEFT + 4, top - 5, level.name, "tick"),
    ]


def _best_line(dots: Sequence[Dot], x: Scale, y: Scale) -> str:
    best: dict[int, float] = {}
    for dot in dots:
        best[dot.iteration] = max(dot.fitness, best.get(dot.iteration, -math.inf))
    if not best:
        return ""
    rounds = sorted(best)
    values = accumulate((best[n] for n in rounds), max)
    steps = [f"{x.at(n):.1f} {y.at(value):.1f}" for n, value in zip(rounds, values, strict=True)]
    return f'<path class="best" d="M{"L".join(steps)}"/>'


def _dots(dots: Sequence[Dot], x: Scale, y: Scale) -> Iterator[str]:
    beside: dict[int, int] = {}
    for dot in dots:
        place = beside.get(dot.iteration, 0)
        beside[dot.iteration] = place + 1
        shift = ((place * 0.382) % 1.0 - 0.5) * 0.36 if place else 0.0
        href, name = escape(dot.href), escape(dot.key)
        yield (
            f'<a href="{href}" tabindex="-1"><circle class="dot c{dot.style.colour}" '
            f'cx="{x.at(dot.iteration + shift):.1f}" cy="{y.at(dot.fitness):.1f}" r="5">'
            f"<title>{name}: {number(dot.fitness)}</title></circle></a>"
        )


# --- curves -----------------------------------------------------------------------------------


def lines_chart(
    lines: Sequence[Line], words: str, x_name: str, y_name: str, level: Level | None = None
) -> Markup:
    """Draw lines with their bands, and a level across."""
    x = around((v for line in lines for v in line.xs), LEFT, WIDTH - RIGHT)
    ys = [v for line in lines for v in line.ys]
    ys += [v for line in lines if line.band for side in line.band for v in side]
    ys += [level.low, level.high] if level else []
    y = around(ys, HEIGHT - BOTTOM, TOP)
    parts = [*_grid(y)]
    for tick in ticks(x.low, x.high):
        parts.append(_text(x.at(tick), HEIGHT - BOTTOM + 18, short(tick), "tick middle"))
    if level is not None:
        parts += _level(level, y)
    for line in lines:
        parts += _line(line, x, y)
    return _svg(parts, words, x_name, y_name)


def _line(line: Line, x: Scale, y: Scale) -> Iterator[str]:
    if line.band:
        low, high = line.band
        there = [f"{x.at(a):.1f} {y.at(b):.1f}" for a, b in zip(line.xs, high, strict=True)]
        back = [f"{x.at(a):.1f} {y.at(b):.1f}" for a, b in zip(line.xs, low, strict=True)]
        path = "L".join([*there, *reversed(back)])
        yield f'<path class="spread c{line.style.colour}" d="M{path}Z"/>'
    places = [f"{x.at(a):.1f} {y.at(b):.1f}" for a, b in zip(line.xs, line.ys, strict=True)]
    if len(places) > 1:
        path = "L".join(places)
        yield f'<path class="line {line.style.classes}" d="M{path}">{_title(line.name)}</path>'
    for place in places if len(places) < 20 else ():
        cx, cy = place.split()
        yield f'<circle class="point c{line.style.colour}" cx="{cx}" cy="{cy}" r="3"/>'


def _title(name: str) -> str:
    return f"<title>{escape(name)}</title>"


# --- small ones -------------------------------------------------------------------------------


def sparkline(values: Sequence[float], native: float | None) -> Markup:
    """Draw the best fitness so far in the space of a word; the native reward is the grey line."""
    if not values:
        return Markup("")
    wide, tall = 96.0, 24.0
    y = around([*values, *([] if native is None else [native])], tall - 3, 3)
    x = Scale(0, max(1, len(values) - 1), 4, wide - 4)
    places = [f"{x.at(n):.1f} {y.at(value):.1f}" for n, value in enumerate(values)]
    parts = []
    if native is not None:
        parts.append(f'<path class="native" d="M2 {y.at(native):.1f}H{wide - 2}"/>')
    parts.append(f'<path class="best" d="M{"L".join(places)}"/>')
    end_x, end_y = places[-1].split()
    parts.append(f'<circle class="end" cx="{end_x}" cy="{end_y}" r="2.5"/>')
    words = f"best fitness so far, {number(values[0])} to {number(values[-1])}"
    return _wrapped(parts, words, wide, tall, "spark")


def bar(share: float, classes: str = "") -> Markup:
    """Draw a share, 0 to 1, as a bar."""
    wide = max(0.0, min(1.0, share)) * 100.0
    return Markup(
        f'<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="rail" width="100" height="8"/>'
        f'<rect class="{escape(classes) or "fill"}" width="{wide:.1f}" height="8"/></svg>'
    )


def interval(
    low: float, mean: float, high: float, span: tuple[float, float], style: Style
) -> Markup:
    """Draw an interval on a common span, with its mean as a dot."""
    x = around(span, 6, 194)
    parts = [
        f'<path class="whisker c{style.colour}" d="M{x.at(low):.1f} 8H{x.at(high):.1f}"/>',
        f'<circle class="dot c{style.colour}" cx="{x.at(mean):.1f}" cy="8" r="4.5"/>',
    ]
    words = f"{number(mean)}, 95 % interval {number(low)} to {number(high)}"
    return _wrapped(parts, words, 200, 16, "interval")


# --- the tree ---------------------------------------------------------------------------------


def lineage(nodes: Sequence[Node], chosen: str | None) -> Markup:
    """Draw who was made from whom: iterations from left to right, the ancestors of the best bold."""
    if not nodes:
        return Markup("")
    columns = max(node.iteration for node in nodes) + 1
    rows = max(node.number for node in nodes) + 1
    gap = 28.0 if rows <= 12 else 14.0
    wide, tall = max(WIDTH, 72.0 * columns), gap * rows + 30
    x = Scale(0, max(1, columns - 1), 36, wide - 36)
    place = {n.key: (x.at(n.iteration), 18 + gap * n.number) for n in nodes}
    line = _ancestors(nodes, chosen)
    parts = [_edge(place[parent], place[n.key], bold=n.key in line and parent in line)
             for n in nodes for parent in n.parents if parent in place]  # fmt: skip
    parts += [_node(node, place[node.key], chosen, few=gap > 20) for node in nodes]
    parts += [_text(x.at(n), tall - 2, str(n), "tick middle") for n in range(columns)]
    words = f"Lineage of {len(nodes)} candidates over {columns} iterations."
    return _wrapped(parts, words, wide, tall, "chart tree")


def _ancestors(nodes: Sequence[Node], chosen: str | None) -> frozenset[str]:
    parents = {node.key: node.parents for node in nodes}
    found: set[str] = set()
    waiting = [chosen] if chosen else []
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting.extend(parents.get(key, ()))
    return frozenset(found)


def _edge(start: tuple[float, float], end: tuple[float, float], *, bold: bool) -> str:
    (x1, y1), (x2, y2) = start, end
    middle = (x1 + x2) / 2
    return (
        f'<path class="edge{" bold" if bold else ""}" '
        f'd="M{x1:.0f} {y1:.0f}C{middle:.0f} {y1:.0f} {middle:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"/>'
    )


def _node(node: Node, place: tuple[float, float], chosen: str | None, *, few: bool) -> str:
    x, y = place
    kind = f"{node.kind} chosen" if node.key == chosen else node.kind
    name = _text(x + 10, y + 4, node.key, "tick") if few else ""
    return (
        f'<a href="{escape(node.href)}" tabindex="-1"><circle class="node {escape(kind)}" '
        f'cx="{x:.0f}" cy="{y:.0f}" r="{6 if few else 4}">{_title(node.told)}</circle></a>{name}'
    )


# --- what all share ---------------------------------------------------------------------------


def _grid(y: Scale) -> Iterator[str]:
    for tick in ticks(y.low, y.high):
        place = y.at(tick)
        yield f'<path class="grid" d="M{LEFT} {place:.1f}H{WIDTH - RIGHT}"/>'
        yield _text(LEFT - 8, place + 4, short(tick), "tick end")


def _text(x: float, y: float, text: str, classes: str) -> str:
    return f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(parts: Iterable[str], words: str, x_name: str, y_name: str) -> Markup:
    named = [_text(WIDTH - RIGHT, HEIGHT - 2, x_name, "name end"), _text(4, 16, y_name, "name")]
    return _wrapped([*parts, *named], words, WIDTH, HEIGHT, "chart")


def _wrapped(parts: Iterable[str], words: str, wide: float, tall: float, classes: str) -> Markup:
    return Markup(  # every text inside was escaped where it was put in
        f'<svg class="{classes}" viewBox="0 0 {wide:g} {tall:g}" role="group" '
        f'aria-label="{escape(words)}">{"".join(parts)}</svg>'
    )


# --- for charts that can be zoomed ------------------------------------------------------------


def plot_data(
    lines: Sequence[Line], x_name: str, y_name: str, level: Level | None = None
) -> dict[str, object]:
    """Return lines as the script draws them: one row of places for all, gaps where a line has none."""
    xs = sorted({x for line in lines for x in line.xs})
    series = []
    for line in lines:
        known = dict(zip(line.xs, line.ys, strict=True))
        style = {"colour": line.style.colour, "dash": line.style.dash}
        band = None if line.band is None else [line.xs, *line.band]
        series.append({"name": line.name, "ys": [known.get(x) for x in xs], "band": band, **style})
    across = None if level is None else [level.low, level.mean, level.high]
    return {"x": x_name, "y": y_name, "xs": xs, "series": series, "level": across}
