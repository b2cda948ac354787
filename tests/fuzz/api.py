"""Campaigns of schemathesis against the whole API, in this process, with real ids in the paths."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from fastapi import FastAPI
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from sqlalchemy import Connection, Engine, delete, insert, select

from core.storage.engine import reading, writing
from core.storage.tables import metadata


@schemathesis.serializer("application/jsonl")
def _as_lines(_: Any, value: Any) -> bytes:
    """Send a body of lines as it was generated, whatever it is."""
    return (value if isinstance(value, str) else json.dumps(value)).encode(errors="surrogatepass")


SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# What a schema cannot say (an unknown task, a job in another state) is refused like a wrong shape.
REFUSED = ["400", "401", "404", "405", "408", "409", "413", "416", "422"]
ACCEPTED = ["2xx", "304", "403", "429", *REFUSED]
# What a job has not brought forth yet is not there, and says so with a code of its own.
LATER = ["read_best", "download_reward", "download_bundle", "read_iteration", "read_artifact"]
_NAMED = re.compile(r"(?:job|cand|run)_([0-9a-z]{26})")


class Rows:
    """All rows of a database as they were once; `restore` brings them back."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with reading(engine) as connection:
            self._kept = {
                table: [dict(row) for row in connection.execute(select(table)).mappings()]
                for table in metadata.sorted_tables
            }

    def restore(self) -> None:
        """Make every table hold the rows that it held, and no others."""
        writing(self._engine, self._restore)

    def _restore(self, connection: Connection) -> None:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
        for table, rows in self._kept.items():
            if rows:
                connection.execute(insert(table), rows)


@dataclass
class Tally:
    """What a campaign did and found."""

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)
    findings: list[str] = field(default_factory=list)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.cases + other.cases,
            self.statuses + other.statuses,
            self.operations | other.operations,
            [*self.findings, *other.findings],
        )

    def line(self, **more: object) -> dict[str, Any]:
        """Return the counts, to be told as one line of JSON."""
        return {
            "fuzz": "api",
            **more,
            "cases": self.cases,
            "operations": len(self.operations),
            "server_errors": sum(n for status, n in self.statuses.items() if status >= 500),
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
            "findings": len(self.findings),
        }


class Watched:
    """The application; before each request all is as it was, and each answer is searched.

    What no answer may hold are ids of somebody else's jobs, unless the request named them.
    """

    def __init__(self, app: FastAPI, rows: Rows | None, foreign: Sequence[str]) -> None:
        self.app, self.rows, self.foreign = app, rows, frozenset(foreign)
        self.changed = True
        self.statuses: Counter[int] = Counter()
        self.findings: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.rows is not None and self.changed:
            self.rows.restore()
        said, asked, status = bytearray(), bytearray(scope["raw_path"] + scope["query_string"]), 0

        async def heard() -> Any:
            message = await receive()
            asked.extend(message.get("body", b""))
            return message

        async def told(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            said.extend(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, heard, told)
        except Exception as error:  # noqa: BLE001  # Starlette answers a fault and raises it again
            self.findings.append(f"fault: {scope['method']} {asked[:200]!r}: {error!r}")
        self.statuses[status] += 1
        self.changed = scope["method"] not in SAFE and status < 400  # a refusal changes nothing
        self._search(scope, status, asked.decode(errors="replace"), said.decode(errors="replace"))

    def _search(self, scope: Any, status: int, asked: str, said: str) -> None:
        shown = {body for body in _NAMED.findall(said) if body in self.foreign}
        given = set(_NAMED.findall(asked))
        if shown and (status < 400 or shown - given):
            self.findings.append(f"foreign row: {scope['method']} {asked[:200]} gave {said[:500]}")


def campaign(
    watched: Watched,
    key: str,
    names: Mapping[str, Sequence[str]],
    *,
    phases: Sequence[str],
    examples: int,
    seed: int,
) -> Tally:
    """Send generated requests, valid and not, to every operation; hold each answer to all checks.

    Args:
        watched:  the application.
        key:      that is shown with each request.
        names:    of path parameters, and values for them that exist.
        phases:   of schemathesis: examples, coverage, fuzzing, stateful.
        examples: generated cases per operation and phase.
        seed:     of what is left to chance.
    """
    config = SchemathesisConfig.from_dict(_config(key, phases, examples, seed))
    schema = schemathesis.openapi.from_dict(_described(watched.app, names), config=config)
    schema.app = watched
    tally = Tally(statuses=watched.statuses, findings=watched.findings)
    for event in from_schema(schema).execute():
        _count(event, tally)
    return tally


def _config(key: str, phases: Sequence[str], examples: int, seed: int) -> dict[str, Any]:
    known = ("examples", "coverage", "fuzzing", "stateful")
    return {
        "seed": seed,
        "headers": {"Authorization": f"Bearer {key}"},
        "workers": 1,
        "continue-on-failure": True,
        "phases": {name: {"enabled": name in phases} for name in known},
        "generation": {"max-examples": examples, "database": "none"},
        "operations": [
            {
                "include-operation-id": LATER,
                "checks": {"ensure_resource_availability": {"enabled": False}},
            }
        ],
        "checks": {
            "positive_data_acceptance": {"expected-statuses": ACCEPTED},
            "negative_data_rejection": {"expected-statuses": REFUSED},
        },
    }


def _described(app: FastAPI, names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the OpenAPI document with values that exist among those of the path parameters."""
    document: dict[str, Any] = copy.deepcopy(app.openapi())
    for verbs in document["paths"].values():
        for operation in verbs.values():
            for parameter in operation.get("parameters", ()):
                known = names.get(parameter["name"])
                if parameter["in"] == "path" and known:
                    parameter["schema"] = {"anyOf": [{"enum": list(known)}, parameter["schema"]]}
    return document


def _count(event: Any, tally: Tally) -> None:
    if isinstance(event, events.ScenarioFinished):
        recorder = event.recorder
        tally.cases += len(recorder.interactions)
        for node in recorder.cases.values():
            tally.operations.add(node.value.operation.label)
        for case_id, checks in recorder.checks.items():
            astray = is_astray(recorder.cases[case_id].value)
            for check in checks:
                if check.failure_info is not None and not astray:
                    tally.findings.append(_told(recorder, case_id, check))
    elif isinstance(event, events.NonFatalError | events.FatalError):
        tally.findings.append(f"{type(event).__name__}: {getattr(event, 'info', event)}")


def is_astray(case: Any) -> bool:
    """Tell whether a request did not go where it says: a list in a path is sent as Python writes it.

    A question mark in it ends the path, so that another operation answers.
    """
    values = (case.path_parameters or {}).values()
    return any("?" in str(value) for value in values if isinstance(value, list | dict))


def _told(recorder: Any, case_id: str, check: Any) -> str:
    failure = check.failure_info.failure
    curl = recorder.cases[case_id].value.as_curl_command()
    return f"{check.name}: {failure.title}: {failure.message[:1500]}\n{curl[:1500]}"
