"""All methods.  Adding one is a file here and a name in the list."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from core.errors import UnknownMethod
from core.methods.card import CARD
from core.methods.eureka import EUREKA
from core.methods.lesr import LESR
from core.methods.limen import LIMEN
from core.methods.method import Method
from core.methods.self_refine import SELF_REFINE
from core.methods.smith import SMITH
from core.methods.text2reward import TEXT2REWARD

__all__ = ["METHODS", "Method", "find_method"]

METHODS: Mapping[str, Method] = {
    method.name: method for method in (SMITH, EUREKA, TEXT2REWARD, LESR, SELF_REFINE, CARD, LIMEN)
}


def find_method(name: str) -> Method:
    """Return the method of that name.

    Raises:
        UnknownMethod: there is none; the message lists those that there are.
    """
    if name in METHODS:
        return METHODS[name]
    near = difflib.get_close_matches(name, METHODS, n=1)
    raise UnknownMethod(
        repr(name[:60]),
        expected=f"one of {', '.join(METHODS)}",
        where="method",
        hint=f"Did you mean {near[0]!r}?" if near else None,
    )
