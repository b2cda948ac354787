"""Tables as text of commas, safe to be opened by a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import TextIO

_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")


def write_table(
    out: TextIO, head: Sequence[str], rows: Iterable[Sequence[object]], end: str = "\n"
) -> None:
    """Write a table of CSV.

    Args:
        out:  opened without translation of ends of lines.
        head: names of the columns.
        rows: their cells; None leaves one empty.
        end:  of each line.
    """
    writer = csv.writer(out, lineterminator=end)
    writer.writerow(head)
    writer.writerows(["" if cell is None else _harmless(cell) for cell in row] for row in rows)


def _harmless(cell: object) -> object:
    """Keep a spreadsheet from taking a text that a model wrote for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULAS) else cell
