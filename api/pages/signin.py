"""The door of the pages where keys are asked for: type the key once, and the browser keeps it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.callers import check_local
from api.dependencies import House, house
from api.errors import ApiError
from api.pages.door import LONGEST_ADDRESS, check_same_origin, forget, remember
from api.pages.forms import Form
from api.pages.render import page
from api.pages.trouble import page_router

router = page_router()

Here = Annotated[House, Depends(house)]


@router.get("/signin")
async def read_signin(
    request: Request,
    here: Here,
    following: Annotated[str, Query(alias="next", max_length=LONGEST_ADDRESS)] = "/",
) -> Response:
    """Return the form; whoever needs no key is led on."""
    if here.keyless:
        check_local(request)
        return RedirectResponse(_inside(following), 303)
    return page(request, "signin.html", following=_inside(following), wrong=None, owner=None)


@router.post("/signin")
async def sign_in(request: Request, here: Here, form: Form) -> Response:
    """Try the key, and keep it if it opens the door."""
    check_same_origin(request)
    key, following = form.get("key", "").strip(), _inside(form.get("next", "/"))
    address = request.client.host if request.client else ""
    try:
        await here.lock.open(key, address)
    except ApiError as error:
        wrong = error.detail
        return page(
            request, "signin.html", error.kind.status, following=following, wrong=wrong, owner=None
        )
    response = RedirectResponse(following, 303)
    remember(response, request, key)
    return response


@router.post("/signout")
async def sign_out(request: Request) -> Response:
    """Let the browser forget the key."""
    check_same_origin(request)
    response = RedirectResponse("/signin", 303)
    forget(response)
    return response


def _inside(path: str) -> str:
    """Return a path of this server: nobody is led elsewhere after signing in.

    >>> _inside("/jobs"), _inside("//evil.example/"), _inside("https://evil.example")
    ('/jobs', '/', '/')
    """
    plain = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if plain and path.isprintable() and path.isascii() and "\\" not in path else "/"
