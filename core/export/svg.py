"""Small charts as SVG text: for a notebook, a mail, a page without script.

Everything that others wrote is escaped here.  Colours are those of Okabe and Ito, which people who see
fewer colours tell apart; text and axes take the colour of the text around them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal, TypeAlias

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
NATIVE_COLOUR = "#7f7f7f"

Point: TypeAlias = tuple[float, float]
Place: TypeAlias = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Line:
    """Points that belong together.

    Attributes:
        points: (x, y), in order of x.
        name:   stands in the legend, once for all lines of that name; "" for none.
        dots:   whether the points stand alone and are not joined.
    """

    points: Sequence[Point]
    colour: str = COLOURS[0]
    name: str = ""
    dots: bool = False
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """A range of y over the whole width, such as the interval of the native reward."""

    low: float
    high: float
    name: str = ""
    colour: str = NATIVE_COLOUR


@dataclass(frozen=True, slots=True)
class Frame:
    """The range that is drawn, and where, in px: y grows upwards, from `bottom` to `top`."""

    x: tuple[float, float]
    y: tuple[float, float]
    left: float
    right: float
    top: float
    bottom: float

    def at(self, point: Point) -> str:
        """Return where a point is drawn, as `x,y`."""
        return f"{self.across(point[0]):.1f},{self.down(point[1]):.1f}"

    def across(self, x: float) -> float:
        """Return where an x is drawn."""
        return self.left + (self.right - self.left) * _share(x, *self.x)

    def down(self, y: float) -> float:
        """Return where a y is drawn."""
        return self.bottom - (self.bottom - self.top) * _share(y, *self.y)


def sparkline(values: Sequence[float], title: str, width: int = 140, height: int = 28) -> str:
    """Draw how a number went, without axes.

    >>> sparkline([1.0, 3.0, 2.0], "a < b").count("a &lt; b")
    2
    """
    if not values:
        return ""
    points = list(enumerate(map(float, values)))
    frame = Frame((0.0, max(1.0, len(values) - 1.0)), _range(values), 3, width - 3, 3, height - 3)
    drawn = [_path(points, frame, COLOURS[0]), _dot(points[-1], frame, COLOURS[0])]
    return _svg(width, height, title, drawn)


def chart(
    lines: Sequence[Line],
    title: str,
    *,
    x_name: str,
    y_name: str,
    band: Band | None = None,
    whole: bool = False,
    width: int = 640,
    height: int = 260,
) -> str:
    """Draw lines and dots over axes, with a legend; "" where there is no point at all.

    `whole` says that between two whole numbers of the x axis there is nothing to name.
    """
    points = [point for line in lines for point in line.points]
    if not points:
        return ""
    heights = [y for _, y in points] + ([band.low, band.high] if band else [])
    widths = _range([x for x, _ in points], 0.02)
    frame = Frame(widths, _range(heights, 0.06), 60, width - 12, 30, height - 42)
    drawn = [*_axes(frame, x_name, y_name, whole), *_legend(lines, band, frame)]
    if band:
        drawn.append(_band(band, frame))
    for line in lines:
        drawn.extend(_line(line, frame))
    return _svg(width, height, title, drawn)


def _line(line: Line, frame: Frame) -> Iterable[str]:
    opacity = 0.45 if line.faint else 1.0
    if line.dots or len(line.points) == 1:
        return [_dot(point, frame, line.colour, opacity) for point in line.points]
    return [_path(line.points, frame, line.colour, opacity)]


def _band(band: Band, frame: Frame) -> str:
    top, bottom = frame.down(band.high), frame.down(band.low)
    return (
        f'<rect x="{frame.left:.1f}" y="{top:.1f}" width="{frame.right - frame.left:.1f}" '
        f'height="{max(1.0, bottom - top):.1f}" fill="{band.colour}" fill-opacity="0.25"/>'
    )


def _path(points: Iterable[Point], frame: Frame, colour: str, opacity: float = 1.0) -> str:
    where = " ".join(frame.at(point) for point in points)
    return (
        f'<polyline points="{where}" fill="none" stroke="{colour}" stroke-width="1.6" '
        f'stroke-opacity="{opacity}" stroke-linejoin="round"/>'
    )


def _dot(point: Point, frame: Frame, colour: str, opacity: float = 1.0) -> str:
    x, y = frame.across(point[0]), frame.down(point[1])
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}" fill-opacity="{opacity}"/>'


def _axes(frame: Frame, x_name: str, y_name: str, whole: bool) -> Iterable[str]:
    for y in ticks(*frame.y):
        down = frame.down(y)
        yield (
            f'<path d="M{frame.left:.1f},{down:.1f}H{frame.right:.1f}" stroke="currentColor" '
            'stroke-opacity="0.15"/>'
        )
        yield _text(frame.left - 6, down + 4, short(y), "end")
    for x in (x for x in ticks(*frame.x) if not whole or x.is_integer()):
        yield _text(frame.across(x), frame.bottom + 16, short(x), "middle")
    yield _text((frame.left + frame.right) / 2, frame.bottom + 32, x_name, "middle")
    middle = (frame.top + frame.bottom) / 2
    turned = f' transform="rotate(-90 14 {middle:.1f})"'
    yield _text(14, middle, y_name, "middle", turned=turned)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers between two values.

    >>> ticks(0.03, 0.97)
    [0.2, 0.4, 0.6, 0.8]
    """
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1.0, 2.0, 5.0, 10.0) if f * power >= raw)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{n * step:.6g}") for n in range(first, last + 1)]


def short(value: float) -> str:
    """Write a tick in few characters.

    >>> short(200000.0), short(0.25)
    ('200k', '0.25')
    """
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{sign}"
    return f"{value:.4g}"


def _legend(lines: Sequence[Line], band: Band | None, frame: Frame) -> Iterable[str]:
    named = {line.name: line.colour for line in lines if line.name}
    if band and band.name:
        named[band.name] = band.colour
    x = frame.left + 4
    for name, colour in named.items():
        yield f'<circle cx="{x:.1f}" cy="14" r="4" fill="{colour}"/>'
        yield _text(x + 8, 18, name, "start")
        x += 28 + 6.6 * len(name)


def _text(x: float, y: float, words: str, place: str, turned: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{place}" font-size="11" '
        f'fill="currentColor"{turned}>{escape(words)}</text>'
    )


def _svg(width: int, height: int, title: str, drawn: Iterable[str]) -> str:
    words = escape(title, quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{words}" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif"><title>{words}</title>{"".join(drawn)}</svg>'
    )


def _range(values: Sequence[float], room: float = 0.0) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    return low - room * (high - low), high + room * (high - low)


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low)
