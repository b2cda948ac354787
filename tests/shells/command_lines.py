"""Command lines that somebody wrote down, held to the commands that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from typer.main import get_command

from client.cli import app

_CODE = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
_COMMAND = re.compile(r"(?:^|[\s$(|&;])rewardsmith +(.*)")
_ENDS = ("|", "||", "&", "&&", ";", ">", ">>")


def written_in(page: Path) -> list[str]:
    """Return what follows the word `rewardsmith` in the code of a page, line by line."""
    return [
        found.strip()
        for block, span in _CODE.findall(page.read_text())
        for found in _COMMAND.findall(block or span)
    ]


def wrong_in(line: str) -> str | None:
    """Say what a command line names that there is not; None if all of it exists."""
    words = _words(line)
    found, options = _walk(words)
    if found is None:
        return f"no command `{' '.join(words)}`"
    unknown = [option for option in _options(words) if option not in options]
    return f"`{line}` has no {', '.join(unknown)}" if unknown else None


def _words(line: str) -> list[str]:
    """Return the words of the first command of a line, without comments and redirections."""
    words = shlex.split(line.replace("…", ""), comments=True)
    ends = (place for place, word in enumerate(words) if word in _ENDS)
    return words[: next(ends, len(words))]


def _walk(words: Sequence[str]) -> tuple[object | None, set[str]]:
    """Follow the words through the tree of commands; return the last one and all options on the way."""
    found, options = _tree(), set[str]()
    for word in (*words, None):
        options |= {
            name for parameter in found.params for name in parameter.opts + parameter.secondary_opts
        }
        options |= {"--help"}
        commands = getattr(found, "commands", None)
        if commands is None or word is None:
            return found, options
        if word.startswith("-") or word in options:
            continue
        if word not in commands:
            return (found, options) if word.isupper() else (None, options)
        found = commands[word]
    return found, options


@cache
def _tree() -> Any:
    """Return all commands; to build them takes longer than to walk them."""
    return get_command(app)


def _options(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word):
            yield word.partition("=")[0]
