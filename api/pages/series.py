"""Which colour and dash a candidate's line has: the same in every chart of its job.

Eight colours that people who see few colours can tell apart (after Okabe and Ito, darkened for white
paper; `static/app.css` has them for both themes), and four dashes for more than eight candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

COLOURS = 8
DASHES = 4


@dataclass(frozen=True, slots=True)
class Style:
    """A colour and a dash, as the names of two classes."""

    colour: int
    dash: int

    @property
    def classes(self) -> str:
        """Return the classes of what is drawn in it."""
        return f"c{self.colour} d{self.dash}"


NATIVE_STYLE = Style(COLOURS, 1)  # a neutral grey that no candidate has


def style_of(iteration: int, number: int, per_iteration: int) -> Style:
    """Return a candidate's style, by its place in the job.

    >>> style_of(0, 0, 4), style_of(2, 1, 4)
    (Style(colour=0, dash=0), Style(colour=1, dash=1))
    """
    place = iteration * max(1, per_iteration) + number
    return Style(place % COLOURS, place // COLOURS % DASHES)
