"""What the command says, and how: text for people, JSON for programs, one exit code each."""

from __future__ import annotations

import codecs
import io
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WAITING = "waiting for a worker; `rewardsmith serve` and `rewardsmith worker` start some"
OK, FAILED, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130

_UNPRINTABLE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)"  # commands to a terminal
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and newline
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Return a text that others wrote without what a terminal would obey.

    >>> printable("a\x1b[31m red\u202e name\x1b]0;title\x07")
    'a red name'
    """
    return _UNPRINTABLE.sub("", text)


def write_what_can_be_shown() -> None:
    """Let the standard output write escapes for letters that its alphabet lacks.

    A terminal or a pipe may have another alphabet than UTF-8, and no dash shall end a command there.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _speaks_unicode() -> bool:
    return codecs.lookup(getattr(sys.stdout, "encoding", None) or "ascii").name == "utf-8"


def _remember(context: typer.Context, wanted: bool) -> bool:
    context.meta["json"] = wanted
    return wanted


JsonFlag = Annotated[
    bool, typer.Option("--json", help="Answer as JSON, one document per line.", callback=_remember)
]


@dataclass(frozen=True, slots=True)
class Screen:
    """Where answers go.  With `json` nothing but JSON reaches the standard output."""

    json: bool = False

    @property
    def terminal(self) -> bool:
        """Tell whether somebody looks at a terminal and wants text."""
        return not self.json and sys.stdout.isatty()

    def console(self) -> Console:
        """Return rich's console, which leaves colours out where nobody would see them."""
        from rich.console import Console

        return Console(highlight=False)

    def say(self, text: str = "") -> None:
        """Write a line for people; nothing in JSON mode."""
        if not self.json:
            typer.echo(printable(text))

    def show(self, renderable: RenderableType) -> None:
        """Show a table or a coloured text; nothing in JSON mode."""
        if not self.json:
            self.console().print(renderable)

    def emit(self, document: object) -> None:
        """Write a JSON line; nothing in text mode."""
        if self.json:
            typer.echo(json.dumps(document, ensure_ascii=not _speaks_unicode()))

    def complain(self, text: str) -> None:
        """Write a line to the standard error."""
        typer.echo(printable(text), err=True)


def refuse(json_wanted: bool, message: str, problem: Mapping[str, object] | None = None) -> None:
    """Say on the standard error why a command did not do what it was asked."""
    if json_wanted:
        typer.echo(
            json.dumps({"error": problem or {"detail": message}}, ensure_ascii=False), err=True
        )
    else:
        typer.echo(printable(message), err=True)
