"""Put a page together: a template, the words that all pages use, and headers that let nothing else in.

Autoescape is on for every template: whatever a model or a user wrote is text and nothing else.  What is
marked as HTML is made by `charts.py` and by pygments, which escape what they are given.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from api.dependencies import Visit
from api.pages import charts, words
from api.pages.static_files import address
from core.words import number, percent, signed

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    # With no-referrer, a browser would send its own forms with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "Vary": "Accept-Encoding, Cookie",
}
SMALL = 1_000  # bytes that are not worth packing


@cache
def environment() -> Environment:
    """Return the templates with the words and drawings that they use."""
    made = Environment(
        loader=PackageLoader("api.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(static=address, charts=charts, words=words)
    made.filters.update(
        number=number,
        signed=signed,
        percent=percent,
        steps=words.steps,
        seconds=words.duration,
        when=when,
        ago=ago,
        python=python,
        compact=compact,
    )
    return made


def page(request: Request, name: str, status: int = 200, /, **values: object) -> HTMLResponse:
    """Return a page made from a template; it is packed where the browser can unpack it."""
    return packed(request, text_of(name, path=request.url.path, **values), status)


def text_of(name: str, **values: object) -> str:
    """Return the text of a template."""
    return environment().get_template(name).render(now=datetime.now(UTC), **values)


def packed(request: Request, text: str, status: int = 200) -> HTMLResponse:
    """Return text as an answer, packed where that pays."""
    content, headers = text.encode(), dict(HEADERS)
    if len(content) > SMALL and "gzip" in request.headers.get("accept-encoding", ""):
        content = gzip.compress(content, compresslevel=5, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return HTMLResponse(content, status_code=status, headers=headers)


def who(visit: Visit) -> Mapping[str, object]:
    """Return what the head of every page tells of who looks."""
    return {"owner": None if visit.house.keyless else visit.caller.owner}


def when(moment: datetime | None) -> Markup:
    """Write a moment, with a form that programs read."""
    if moment is None:
        return Markup("–")
    moment = moment.astimezone(UTC)
    return Markup('<time datetime="{}">{:%Y-%m-%d %H:%M} UTC</time>').format(
        moment.isoformat(timespec="seconds"), moment
    )


def ago(moment: datetime | None) -> str:
    """Write how long ago something was."""
    if moment is None:
        return "–"
    return words.duration((datetime.now(UTC) - moment.astimezone(UTC)).total_seconds())


def python(source: str) -> Markup:
    """Return Python source in colours; pygments escapes it."""
    return Markup(highlight(source, PythonLexer(), _formatter()))


@cache
def _formatter() -> HtmlFormatter[str]:
    return HtmlFormatter(nowrap=True)


def compact(value: object) -> str:
    """Write a value as JSON for an attribute; the template escapes it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
