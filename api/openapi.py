"""The documentation that programs read: refusals, examples, the stream's items, and the snapshot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from api import kinds
from api.errors import MEDIA_TYPE, Problem, problem
from api.kinds import Kind

Responses = dict[int | str, dict[str, Any]]  # Any: fragments of an OpenAPI document
PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}

_DETAILS: Mapping[int, tuple[Kind, str]] = {
    401: (kinds.NO_KEY, "expected the header Authorization: Bearer …"),
    403: (kinds.SCOPE_MISSING, "expected a key with the scope jobs:write"),
    404: (kinds.KINDS["not-found"], "There is no job `job_01jd7v8a3bqk2m5c6x9z0w4e1r`."),
    409: (kinds.KINDS["conflict"], "Job job_01jd7v8a3bqk2m5c6x9z0w4e1r is succeeded."),
    408: (kinds.TOO_SLOW, "expected the whole body within 20 s"),
    413: (kinds.BODY_TOO_LARGE, "expected at most 1048576 bytes, but the body is larger"),
    416: (kinds.NO_SUCH_RANGE, "expected a range within 48213 bytes"),
    422: (kinds.KINDS["invalid-input"], "/iterations: Input should be less than or equal to 50"),
    429: (kinds.TOO_MANY_REQUESTS, "too many requests in the last minute"),
    500: (kinds.KINDS["internal"], "an unexpected error, which has been logged"),
    503: (kinds.OVERLOADED, "200 requests are waiting already"),
}


def refusals(*statuses: int) -> Responses:
    """Declare that an operation may refuse with these statuses."""
    return {status: _refusal(*_DETAILS[status]) for status in statuses}


def _refusal(kind: Kind, detail: str) -> dict[str, Any]:
    example = problem(kind, detail, request_id="req_5f0c2d9a7e134b6c").model_dump(mode="json")
    return {
        "description": kind.title,
        "content": {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA, "example": example}},
    }


_LATER = {"description": "Seconds to wait.", "schema": {"type": "string"}}
EVERYWHERE: Responses = refusals(500, 503)
EVERYWHERE[503]["description"] = "The server, or what it stands on, cannot do this at the moment"
EVERYWHERE[503]["headers"] = {"Retry-After": _LATER}

_HOW = {"description": "How to say who asks.", "schema": {"type": "string"}}

AT_THE_DOOR: Responses = refusals(401, 403, 429)
AT_THE_DOOR[401]["headers"] = {"WWW-Authenticate": _HOW}
AT_THE_DOOR[429]["headers"] = {"Retry-After": _LATER}

ACCEPTED: Responses = {
    202: {
        "headers": {
            "Location": {"description": "The job.", "schema": {"type": "string"}},
            "Idempotent-Replayed": {
                "description": "`true` if the same request had created the job before.",
                "schema": {"type": "string"},
            },
            "Preference-Applied": {
                "description": "For how long the answer may have been held.",
                "schema": {"type": "string"},
            },
        }
    }
}


def repeatable(status: int) -> Responses:
    """Declare that an operation takes an idempotency key, and says when it was carried out before."""
    told = {"description": "`true` if the same request was carried out before."}
    return {status: {"headers": {"Idempotent-Replayed": {**told, "schema": {"type": "string"}}}}}


EVENT_STREAM: Responses = {
    200: {
        "description": "A page of events, or, where asked for by `Accept`, a stream of them.",
        "content": {
            "text/event-stream": {
                "itemSchema": {
                    "type": "object",
                    "properties": {
                        "id": {"type": "string", "description": "Number of the event."},
                        "event": {
                            "type": "string",
                            "description": "Its kind, `progress` or `end`.",
                        },
                        "data": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "contentSchema": {"$ref": "#/components/schemas/EventView"},
                        },
                    },
                    "required": ["event", "data"],
                },
                "example": 'event: job.started\ndata: {"seq": 2}\nid: 2\n\n',
            }
        },
    }
}


class PythonResponse(Response):
    """Python source text."""

    media_type = "text/x-python"


class HtmlResponse(Response):
    """One HTML file."""

    media_type = "text/html"


class JsonLinesResponse(Response):
    """One JSON object per line."""

    media_type = "application/jsonl"


class MetricsResponse(Response):
    """Numbers in the text format of Prometheus."""

    media_type = "text/plain"


METRICS: Responses = {
    200: {
        "description": "Lines of `name{labels} value`.",
        "content": {
            "text/plain": {
                "schema": {"type": "string"},
                "example": 'rewardsmith_jobs{status="running"} 2.0\nrewardsmith_work_moving 1.0\n',
            }
        },
    }
}


class ZipResponse(Response):
    """A folder in one file."""

    media_type = "application/zip"


class FileBytes(Response):
    """Bytes as they were stored."""

    media_type = "application/octet-stream"


def _bytes(*media_types: str) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary"}
    return {media: {"schema": schema, "example": "…"} for media in media_types}


_FILE = _bytes("application/octet-stream", "video/mp4", "image/webp", "application/json")
FILE: Responses = {
    200: {
        "description": "The whole file.",
        "content": _FILE,
        "headers": {"ETag": {"description": "sha256 of the file.", "schema": {"type": "string"}}},
    },
    206: {
        "description": "The part that was asked for.",
        "content": _FILE,
        "headers": {
            "Content-Range": {"description": "Which part it is.", "schema": {"type": "string"}}
        },
    },
    304: {"description": "You have it already."},
}


ZIP: Responses = {
    200: {
        "description": "The folder as a zip.",
        "content": _bytes("application/zip"),
        "headers": {"ETag": {"description": "sha256 of the zip.", "schema": {"type": "string"}}},
    }
}


def json_lines(description: str, example: str) -> Responses:
    """Declare that an operation answers with lines of JSON."""
    content = {"application/jsonl": {"schema": {"type": "string"}, "example": example}}
    return {200: {"description": description, "content": content}}


def or_as(media: str, description: str, example: str) -> Responses:
    """Declare that an operation answers with text of another kind where `Accept` asks for it."""
    content = {media: {"schema": {"type": "string"}, "example": example}}
    return {200: {"description": description, "content": content}}


JSON_LINES: Responses = json_lines(
    "One JSON object per line.",
    '{"prompt": [{"role": "user", "content": "…"}], "completion": [{"role": '
    '"assistant", "content": "…"}], "fitness": 0.81, "native": 0.12, "split": "train"}\n',
)


HTML_FILE: Responses = {
    200: {
        "description": "The page, to be kept or mailed.",
        "content": {
            "text/html": {
                "schema": {"type": "string"},
                "example": '<!DOCTYPE html><html lang="en"><title>cartpole-park</title>…</html>',
            }
        },
    }
}


def python_file(description: str) -> Responses:
    """Declare that an operation answers with Python source."""
    example = "import numpy as np\n\n\ndef reward(obs, action, next_obs, params):\n    ...\n"
    content = {"text/x-python": {"schema": {"type": "string"}, "example": example}}
    headers = {"ETag": {"description": "sha256 of the file.", "schema": {"type": "string"}}}
    return {200: {"description": description, "content": content, "headers": headers}}


def install(app: FastAPI) -> None:
    """Let the app describe itself with our problems and examples."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the app."""
    from api.examples import examples  # built from records, only when somebody asks

    found = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        separate_input_output_schemas=False,  # what nests in itself would be told twice
    )
    schemas = found["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= schemas["Problem"].pop("$defs", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    known = examples()
    for operation in _operations(found):
        _add_example(operation, known)
        _drop_undeclared(operation)
    return found


def _operations(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in found["paths"].values() for operation in path.values()]


def _add_example(operation: dict[str, Any], examples: Mapping[str, object]) -> None:
    example = examples.get(operation["operationId"])
    for status, response in operation["responses"].items():
        body = response.get("content", {}).get("application/json")
        if body is not None and status.startswith("2") and example is not None:
            body["example"] = example


def _drop_undeclared(operation: dict[str, Any]) -> None:
    """FastAPI adds its own 422, whose shape is not ours, wherever there is a parameter."""
    declared = operation["responses"].get("422", {}).get("content", {})
    if "application/json" in declared and MEDIA_TYPE not in declared:
        operation["responses"]["422"] = refusals(422)[422]


def snapshot(app: FastAPI) -> str:
    """Return the document as it is kept in `docs/openapi.json`."""
    return json.dumps(app.openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
