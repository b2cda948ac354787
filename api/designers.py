"""What the designers are, in words.  Their code stays with the workers: it needs endpoints and keys."""

from __future__ import annotations

from collections.abc import Mapping

DESIGNERS: Mapping[str, str] = {
    "evolution": "Searches a grammar of reward terms and features; needs no model and no key.",
    "openai": "Asks the OpenAI-compatible endpoint that the server is configured for.",
    "replay": "Answers from a recording of an earlier job.",
}
