"""Who asks: the key that a request shows, whose jobs it opens, and what may be asked with it.

Without keys the server answers whoever can reach the loopback.  A browser can be made to: by a page
whose name was pointed at 127.0.0.1, or by a form that another page sends here.  So Host must name
this machine, and Origin, where there is one, must be Host's own.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from fastapi.security import HTTPBearer
from starlette.requests import Request

from api import kinds
from api.errors import ApiError, printable
from api.rates import Rates
from core.storage import StoredKey
from core.storage.keyring import take_apart

BEARER = HTTPBearer(
    scheme_name="key",
    description="A key of `rewardsmith keys create`.  A server that listens on the loopback alone asks "
    "for none.",
    auto_error=False,
)
COOKIE = "rewardsmith_key"  # in which a browser keeps the key that was typed into the sign-in page
WRONG_KEYS_PER_MINUTE = 60  # from one address, for one id
ASK_FOR_A_KEY = {"WWW-Authenticate": "Bearer"}


Find: TypeAlias = Callable[[str], Awaitable[StoredKey | None]]


@dataclass(frozen=True, slots=True)
class Lock:
    """What opens the door: keys, each so many times a minute.

    Attributes:
        find: a key by what was shown; see `Keyring.find`.
    """

    find: Find
    uses: Rates
    wrong: Rates

    async def open(self, shown: str | None, address: str, find: Find | None = None) -> StoredKey:
        """Return the key that was shown; `find` may find it together with something else.

        Raises:
            ApiError: none was, it opens nothing (any more), or it was used too often.
            StorageFailed: the database cannot be asked.
        """
        if shown is None:
            raise ApiError(
                kinds.NO_KEY, "expected the header Authorization: Bearer …", headers=ASK_FOR_A_KEY
            )
        guessed = _guessed(shown, address)
        _hold_back(self.wrong.empty(guessed), "wrong keys")
        key = await (find or self.find)(shown)
        if key is None:
            self.wrong.take(guessed)
            found = "the key is unknown, has expired or was revoked"
            raise ApiError(kinds.NO_KEY, found, headers=ASK_FOR_A_KEY)
        _hold_back(self.uses.take(key.id), "requests")
        return key


def _guessed(shown: str, address: str) -> str:
    """Return by what wrong keys are counted: the secrets that one address tries for one id.

    By the address alone, one visitor's wrong key would lock out whoever comes through the same proxy.
    An id is chance as well, and what is no key at all is refused without asking anybody.
    """
    parts = take_apart(shown)
    return f"{address} {parts[0] if parts else ''}"


def _hold_back(seconds: float, what: str) -> None:
    if seconds > 0.0:
        raise too_many(f"too many {what} in the last minute", seconds)


def too_many(detail: str, seconds: float) -> ApiError:
    """Return the refusal of what will be possible again in so many seconds."""
    return ApiError(
        kinds.TOO_MANY_REQUESTS, detail, headers={"Retry-After": str(math.ceil(seconds))}
    )


def key_of_reader(request: Request) -> str | None:
    """Return the key that a browser keeps, for requests that change nothing.

    Links of the pages lead to files of the API, and a link cannot bear an Authorization header.  What
    changes something asks for more than a cookie (`api/pages/door.py`).
    """
    return request.cookies.get(COOKIE) if request.method in ("GET", "HEAD") else None


def check_local(request: Request) -> None:
    """Make sure that a request without a key was meant for this machine by somebody at it.

    Raises:
        ApiError: a browser was made to send it.
    """
    host = request.headers.get("host", "")
    if not _is_loopback(_hostname(f"//{host}")):
        raise _strange("Host", host)
    origin = request.headers.get("origin")
    if origin is not None and origin != f"{request.url.scheme}://{host}":
        raise _strange("Origin", origin)


def _strange(header: str, found: str) -> ApiError:
    expected = "this server's own address on the loopback"
    return ApiError(
        kinds.NOT_LOCAL, f"expected {expected}, but found {header}: {printable(found, 200)}"
    )


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def missing_scope(scope: str) -> ApiError:
    """Return the refusal of what a key was not made for."""
    return ApiError(
        kinds.SCOPE_MISSING,
        f"expected a key with the scope {scope}",
        hint=f"Ask the operator for one: rewardsmith keys create OWNER --scope {scope}.",
    )


def usual_scope(method: str) -> str:
    """Return what a key must be good for, by the verb of the request."""
    return _SCOPES.get(method, "jobs:write")


_SCOPES: Mapping[str, str] = {"GET": "jobs:read", "HEAD": "jobs:read"}
