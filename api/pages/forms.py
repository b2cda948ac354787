"""What a form sends: names and texts, read with the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from api import kinds
from api.errors import ApiError
from api.limits import check_json

MOST_FIELDS = 100

Sent = Mapping[str, str]


async def sent(request: Request) -> Sent:
    """Return the fields of a form that were filled in.

    Raises:
        ApiError: the body is no form.
    """
    body = await request.body()
    try:
        pairs = parse_qsl(body.decode("ascii"), max_num_fields=MOST_FIELDS, errors="strict")
        found = {name: value.replace("\r\n", "\n") for name, value in pairs if value.strip()}
        check_json(found)
    except ValueError as error:
        raise ApiError(
            kinds.BAD_REQUEST,
            "expected the fields of a form, but the body is none",
            hint="Open the page again and send the form from there.",
        ) from error
    return found


Form = Annotated[Sent, Depends(sent)]
