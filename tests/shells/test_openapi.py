"""The documentation is complete, and a change of it is seen in review."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from api.main import create_app
from api.openapi import snapshot
from core.settings import Settings

SNAPSHOT = Path(__file__).parents[2] / "docs" / "openapi.json"
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return create_app(Settings(home=tmp_path_factory.mktemp("home")), lambda *_: None)


@pytest.fixture(scope="module")
def operations(app):
    paths = app.openapi()["paths"]
    return {op["operationId"]: op for path in paths.values() for op in path.values()}


def test_the_snapshot_is_current(app):
    """`make golden` writes it again."""
    if os.environ.get("REWARDSMITH_GOLDEN") == "write":
        SNAPSHOT.write_text(snapshot(app), encoding="utf-8")
    assert SNAPSHOT.read_text(encoding="utf-8") == snapshot(app)


def test_operations_have_unique_readable_names_and_summaries(app, operations):
    count = sum(len(path) for path in app.openapi()["paths"].values())
    assert len(operations) == count
    for name, operation in operations.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name)
        assert operation["summary"]
        assert operation["description"]


def test_every_answer_has_an_example(operations):
    for name, operation in operations.items():
        for status, response in operation["responses"].items():
            for media, content in response.get("content", {}).items():
                assert "example" in content, (name, status, media)


def test_every_refusal_is_declared_as_a_problem(operations):
    for name, operation in operations.items():
        refusals = {s: r for s, r in operation["responses"].items() if s >= "4"}
        assert {"500", "503"} <= set(refusals), name
        for status, response in refusals.items():
            assert set(response["content"]) == {PROBLEM}, (name, status)


def test_operations_on_one_thing_declare_that_it_may_be_missing(app):
    for path, methods in app.openapi()["paths"].items():
        for operation in methods.values():
            assert "{" not in path or "404" in operation["responses"], path


def test_the_stream_declares_its_items(operations):
    content = operations["list_events"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/event-stream"}
    assert "itemSchema" in content["text/event-stream"]


def test_every_reference_leads_somewhere(app):
    document = app.openapi()
    text = snapshot(app)
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert name in document["components"]["schemas"]
