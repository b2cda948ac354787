"""Webhooks by the Standard Webhooks specification: what is said, to whom, and how often it is tried.

signing     secrets, signatures, headers
addresses   which addresses may be spoken to; checked at submission and again at connection
look_ups    names resolved beside, a few of each owner's at a time
sending     one attempt: a checked address, one deadline, no redirect, nothing read of the answer
schedule    when the next attempt is due
"""

from core.webhooks.addresses import check_target
from core.webhooks.schedule import pause_after
from core.webhooks.sending import Sent, send
from core.webhooks.signing import (
    body_of,
    check_secret,
    headers_of,
    message_of,
    new_secret,
)

__all__ = [
    "Sent",
    "body_of",
    "check_secret",
    "check_target",
    "headers_of",
    "message_of",
    "new_secret",
    "pause_after",
    "send",
]
