"""What costs much to be refused is not looked at: long text, and bodies that take time to be read."""

from __future__ import annotations

import re
import time
from typing import Annotated

import pytest
from fastapi import Request
from pydantic import Field, TypeAdapter, ValidationError

from api import schemas
from api.limits import ENVIRONMENT_ID, Form
from api.short import has_long_body


@pytest.mark.parametrize(
    "kind",
    [
        schemas.Name,
        schemas.TaskName,
        schemas.Identifier,
        schemas.EnvironmentId,
        Annotated[str, Form(ENVIRONMENT_ID, "an id"), Field(max_length=200)],
    ],
    ids=["name", "task", "identifier", "environment", "its length asked for last"],
)
def test_text_that_is_too_long_is_not_compared_with_its_form(kind):
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python("a" * 10_000 + "!")
    assert "at most 200 " in str(refused.value)
    assert "found 'aaa" not in str(refused.value)


def test_an_environment_s_id_is_read_in_one_pass():
    began = time.monotonic()
    for end in ("!", ":!", "/!", ":a/!"):
        assert re.fullmatch(ENVIRONMENT_ID, "a" * 100_000 + end) is None
    assert time.monotonic() - began < 10, "a quadratic one takes minutes"


@pytest.mark.parametrize(
    ("text", "is_id"),
    [
        ("CartPole-v1", True),
        ("my_package:MyEnv-v0", True),
        ("a.b:space-1/My.Env_2-v0", True),
        ("3d", True),
        ("-.7x", True),
        ("ALE/Pong-v5", True),
        ("", False),
        ("7", False),
        ("12.3-4_5", False),
        ("os:", False),
        ("os:/x", False),
        ("a/", False),
        ("a:b:c", False),
        ("a/b/c", False),
        ("1a:b", False),
        ("a b", False),
        ("a\n", False),
    ],
)
def test_an_environment_s_id_has_one_letter_at_least(text, is_id):
    assert bool(re.fullmatch(ENVIRONMENT_ID, text)) is is_id


@pytest.mark.parametrize(
    ("headers", "is_long"),
    [
        ([], False),
        ([(b"content-length", b"8192")], False),
        ([(b"content-length", b"8193")], True),
        ([(b"content-length", b"9" * 30)], True),
        ([(b"transfer-encoding", b"chunked")], True),
    ],
    ids=["none", "short", "long", "longer than numbers", "nobody knows"],
)
def test_a_body_that_takes_time_to_be_read_is_known_by_its_headers(headers, is_long):
    assert has_long_body(Request({"type": "http", "headers": headers})) is is_long
