"""Who looks at a page, and whether a form was really sent from one.

Behind the loopback nobody needs a key.  Elsewhere a browser shows the key that was typed into the
sign-in page, kept in a cookie that no script reads and that other sites' requests do not carry.  A
form must besides come from our own origin: browsers say so in headers that no page can set.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response

from api import kinds
from api.callers import COOKIE, usual_scope
from api.dependencies import House, Visit, admit, house
from api.errors import ApiError, printable

KEPT_SECONDS = 30 * 86_400
LONGEST_ADDRESS = 4_000  # characters of what is led back to after the sign-in


async def reader(request: Request, held: Annotated[House, Depends(house)]) -> Visit:
    """Let in who may look.

    Raises:
        ApiError: nobody who may.
    """
    return await _entered(request, held)


async def writer(request: Request, held: Annotated[House, Depends(house)]) -> Visit:
    """Let in who may change something, and sent the form from a page of ours.

    Raises:
        ApiError: nobody who may, or the form came from elsewhere.
    """
    check_same_origin(request)
    return await _entered(request, held)


async def _entered(request: Request, held: House) -> Visit:
    visitor = await admit(request, held, request.cookies.get(COOKIE))
    visitor.need(usual_scope(request.method))
    return visitor


def check_same_origin(request: Request) -> None:
    """Make sure that a page of this server sent a form, and no other site's.

    Raises:
        ApiError: the browser says otherwise, or says nothing.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        fits, told = site == "same-origin", f"Sec-Fetch-Site: {site}"
    else:
        # Host alone is compared: behind a proxy the scheme is not known here.
        host = request.headers.get("host", "")
        fits = origin is not None and bool(host) and _host(origin) == host
        told = f"Origin: {origin}"
    if not fits:
        raise ApiError(
            kinds.FOREIGN_FORM,
            f"expected a form sent by a page of this server, but found {printable(told, 200)}",
        )


def sent_from(request: Request) -> str | None:
    """Return the address of our own page from which a form was sent, if the browser tells."""
    told = request.headers.get("referer", "")
    if not _host(told) or _host(told) != request.headers.get("host"):
        return None
    parts = urlsplit(told)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def remember(response: Response, request: Request, key: str) -> None:
    """Let the browser keep a key."""
    response.set_cookie(
        COOKIE,
        key,
        max_age=KEPT_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def forget(response: Response) -> None:
    """Let the browser forget the key."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


Reader = Annotated[Visit, Depends(reader)]
Writer = Annotated[Visit, Depends(writer)]
