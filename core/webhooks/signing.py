"""What a delivery says, and how its receiver can tell that we said it (standardwebhooks.com).

The signature is HMAC-SHA256 over `id.timestamp.body`, keyed with the bytes of the secret, in base64
after `v1,`.  A message keeps its id and its body over all attempts; its timestamp is that of the
attempt.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping

from core.errors import InvalidInput

PREFIX = "whsec_"
SECRET_BYTES = 32
SHORTEST, LONGEST = 24, 64  # bytes that the specification allows


def new_secret() -> str:
    """Return a secret that nobody knows."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def check_secret(secret: str) -> None:
    """Make sure that a secret has the form of the specification.

    Raises:
        InvalidInput: it has not; the secret itself is not repeated.
    """
    try:
        size = len(_key(secret))
    except (ValueError, binascii.Error):
        size = 0
    if not secret.startswith(PREFIX) or not SHORTEST <= size <= LONGEST:
        raise InvalidInput(
            "something else",
            expected=f"{PREFIX} and {SHORTEST} to {LONGEST} bytes in base64",
            where="secret of the webhook",
            hint="Leave it out, and one is made and shown in the answer.",
        )


def message_of(job_id: str, number: int) -> str:
    """Return the id of the message about a job's event, by which receivers know a repeated one."""
    return f"msg_{job_id.removeprefix('job_')}_{number}"


def body_of(kind: str, moment: str, data: Mapping[str, object]) -> bytes:
    """Return the body of a message: its kind, when that happened, and what it was."""
    document = {"type": kind, "timestamp": moment, "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def headers_of(secret: str, message: str, seconds: int, body: bytes) -> dict[str, str]:
    """Return the three headers of an attempt at `seconds` since 1970."""
    return {
        "webhook-id": message,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{_signature(secret, message, seconds, body)}",
    }


def _signature(secret: str, message: str, seconds: int, body: bytes) -> str:
    signed = f"{message}.{seconds}.".encode() + body
    return base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
