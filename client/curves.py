"""Learning curves, to be looked at or computed with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.export.svg import COLOURS, NATIVE_COLOUR, Line, chart

NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Curve:
    """One training: `values[i]` was reached after `steps[i]` environment steps."""

    arm: str
    seed: int
    rung: int
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """One series of some trainings."""

    series: str
    curves: tuple[Curve, ...]

    def __iter__(self) -> Iterator[Curve]:
        return iter(self.curves)

    def __len__(self) -> int:
        return len(self.curves)

    def plot(self, axes: Any = None) -> Any:
        """Draw them with matplotlib and return its axes; a colour per arm, a line per seed.

        Raises:
            ConfigurationError: matplotlib is not installed.
        """
        from client.extras import load

        if axes is None:
            axes = load("matplotlib.pyplot").subplots()[1]
        for line in self._lines():
            steps, values = zip(*line.points, strict=True)
            style = "." if len(steps) == 1 else "-"
            axes.plot(steps, values, style, color=line.colour, label=line.name or None)
        axes.set_xlabel("environment steps")
        axes.set_ylabel(self.series)
        if self.curves:
            axes.legend()
        return axes

    def to_pandas(self) -> Any:
        """Return a DataFrame with a row per point: arm, seed, rung, steps, and the series.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        from client.extras import load

        rows = [
            (curve.arm, curve.seed, curve.rung, step, value)
            for curve in self.curves
            for step, value in zip(curve.steps, curve.values, strict=True)
        ]
        return load("pandas").DataFrame(rows, columns=["arm", "seed", "rung", "steps", self.series])

    def _lines(self) -> list[Line]:
        arms = list(dict.fromkeys(curve.arm for curve in self.curves if curve.arm != NATIVE))
        colours = {arm: COLOURS[place % (len(COLOURS) - 1)] for place, arm in enumerate(arms)}
        named: set[str] = set()
        lines = []
        for curve in self.curves:
            points = list(zip(curve.steps, curve.values, strict=True))
            name = "" if curve.arm in named else curve.arm
            named.add(curve.arm)
            lines.append(Line(points, colours.get(curve.arm, NATIVE_COLOUR), name))
        return [line for line in lines if line.points]

    def _repr_html_(self) -> str:
        title = f"{self.series} while training"
        return chart(self._lines(), title, x_name="environment steps", y_name=self.series)
