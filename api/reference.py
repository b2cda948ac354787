"""The API's documentation as one page without a script, made from the OpenAPI document."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8886; border-radius: .4rem; }
section { border-top: 1px solid #8886; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; }
.verb { font-weight: 700; }
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)

Document = Mapping[str, Any]  # Any: a fragment of an OpenAPI document


@router.get("/docs")
def read_reference(request: Request) -> HTMLResponse:
    """Return the page."""
    page = "\n".join(render(request.app.openapi()))
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})


def render(document: Document) -> Iterator[str]:
    """Yield the lines of the page."""
    title = escape(document["info"]["title"])
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title} API</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{STYLE}</style></head><body><h1>{title} API</h1>"
    yield _paragraphs(document["info"]["description"])
    yield '<p>For programs: <a href="/openapi.json">openapi.json</a>.</p><h2>Operations</h2><ul>'
    operations = list(_operations(document))
    for verb, path, operation in operations:
        name = escape(operation["operationId"])
        yield f'<li><a href="#{name}">{escape(operation["summary"])}</a> '
        yield f"<code>{verb} {escape(path)}</code></li>"
    yield "</ul>"
    for verb, path, operation in operations:
        yield from _operation(verb, path, operation)
    yield "<h2>Shapes</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _shape(name, schema)
    yield "</body></html>"


def _operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            yield verb.upper(), path, operation


def _operation(verb: str, path: str, operation: Document) -> Iterator[str]:
    yield f'<section id="{escape(operation["operationId"])}"><h3>{escape(operation["summary"])}</h3>'
    yield f'<p><code><span class="verb">{verb}</span> {escape(path)}</code></p>'
    yield _paragraphs(operation.get("description", ""))
    if asked := operation.get("parameters"):
        yield "<table>"
        for one in asked:
            words = f"{one['in']}. {one.get('description', '')}"
            yield _row(one["name"], _kind(one.get("schema", {})), words)
        yield "</table>"
    if body := operation.get("requestBody"):
        shapes = ", ".join(_content(*part) for part in body["content"].items())
        yield f"<p>Body: {shapes}</p>"
    yield "<table>"
    for status, response in operation["responses"].items():
        shapes = ", ".join(_content(*part) for part in response.get("content", {}).items())
        yield _row(status, shapes, response.get("description", ""))
    yield "</table></section>"


def _content(media: str, content: Document) -> str:
    schema = content.get("schema", {})
    shape = _kind(schema) if "json" in media and schema else ""
    return f"<code>{escape(media)}</code> {shape}"


def _shape(name: str, schema: Document) -> Iterator[str]:
    yield f'<section id="shape-{escape(name)}"><h3>{escape(name)}</h3>'
    yield _paragraphs(schema.get("description", ""))
    needed = schema.get("required", ())
    yield "<table>"
    for field, part in schema.get("properties", {}).items():
        default = part.get("default")
        told = "" if default is None else f" Default: `{json.dumps(default, ensure_ascii=False)}`."
        words = ("Required. " if field in needed else "") + part.get("description", "") + told
        yield _row(field, _kind(part), words)
    yield "</table>"
    for example in schema.get("examples", ()):
        yield f"<pre>{escape(json.dumps(example, indent=2, ensure_ascii=False))}</pre>"
    yield "</section>"


def _row(name: str, kind: str, words: str) -> str:
    return f"<tr><td><code>{escape(name)}</code></td><td>{kind}</td><td>{_inline(words)}</td></tr>"


def _kind(schema: Document) -> str:
    """Say in HTML of what kind a value is, with a link where it has a shape of its own."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#shape-{name}">{name}</a>'
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return " or ".join(map(_kind, schema[choice]))
    if "enum" in schema:
        return ", ".join(f"<code>{escape(json.dumps(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return escape(str(schema.get("type", "anything"))) + escape(_bounds(schema))


_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _bounds(schema: Document) -> str:
    told = [f"{sign} {schema[name]:,}" for name, sign in _BOUNDS.items() if name in schema]
    if "maxLength" in schema:
        told.append(f"at most {schema['maxLength']:,} characters")
    return f" ({', '.join(told)})" if told else ""


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part.strip())


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
