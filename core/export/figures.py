"""Curves as pictures, where matplotlib is installed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import ConfigurationError
from core.records.kinds import NATIVE
from core.records.measured import Report, Run

# Okabe and Ito's colours, which the colour-blind can tell apart; the native reward is grey.
COLOURS = {"designed": "#0072B2", "native": "#7F7F7F"}
_SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
DOTS_PER_INCH = 150


def curves_figure(runs: Sequence[Run]) -> bytes:
    """Draw the measured fitness over training, one line per confirmation run, as PNG.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    figure, axes = _canvas()
    for run in runs:
        arm = "native" if run.arm == NATIVE else "designed"
        steps, values = zip(*run.checkpoints, strict=True) if run.checkpoints else ((), ())
        axes.plot(steps, values, color=COLOURS[arm], alpha=0.8, label=arm)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("fitness on held-out episodes")
    handles = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    axes.legend(handles.values(), handles.keys(), frameon=False)
    return _png(figure)


def components_figure(report: Report | None) -> bytes:
    """Draw each component's mean over training, and its share of the whole, as PNG.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    figure, axes = _canvas()
    terms: Mapping[str, Any] = report.components if report else {}
    for place, (name, term) in enumerate(terms.items()):
        label = f"{name} ({term.share:.0%})"
        values = term.by_checkpoint or (term.mean,)
        colour = _SERIES[place % len(_SERIES)]
        axes.plot(range(1, len(values) + 1), values, color=colour, marker="o", label=label)
    axes.set_xlabel("checkpoint")
    axes.set_ylabel("mean per step")
    if terms:
        axes.legend(frameon=False, title="component (share)")
    return _png(figure)


def _canvas() -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigurationError(
            "no matplotlib", hint='Install it: pip install "rewardsmith[plots]"'
        ) from error
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return file.getvalue()
