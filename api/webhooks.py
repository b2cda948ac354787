"""Webhooks: what a request may name, and what became of the messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Query

from api import openapi
from api.dependencies import Here, JobId
from api.errors import InvalidField
from api.limits import MAX_EVENT, MAX_PAGE
from api.schemas import WebhookBody
from api.views import AttemptView, DeliveryPage, DeliveryView
from core.errors import InvalidInput
from core.records.spec import Webhook
from core.settings import Settings
from core.storage import StoredDelivery
from core.webhooks import check_secret, check_target, message_of, new_secret

router = APIRouter(tags=["events"])


@router.get(
    "/jobs/{job_id}/webhook-deliveries",
    operation_id="list_deliveries",
    summary="Read what became of a job's webhook messages",
    responses=openapi.refusals(404, 422),
)
def list_deliveries(
    job_id: JobId,
    here: Here,
    after: Annotated[
        int, Query(ge=0, le=MAX_EVENT, description="Number of the last event seen.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many at most.")] = 50,
) -> DeliveryPage:
    """Return one entry per message, with its attempts and when the next one is due.

    A message is tried for about a day, ever more rarely, until the receiver answers with a 2xx; 410
    ends it at once. It keeps its `webhook-id`: a receiver may get it twice, and should act once.
    """
    found = here.store.deliveries.of(job_id, after=after, limit=limit)
    shown = [delivery_view(job_id, one) for one in found]
    return DeliveryPage(data=shown, next=shown[-1].number if shown else after)


def delivery_view(job_id: str, one: StoredDelivery) -> DeliveryView:
    """Show a message."""
    return DeliveryView(
        id=message_of(job_id, one.number),
        number=one.number,
        type=one.kind,
        status=one.status,
        created_at=one.created_at,
        next_at=one.next_at,
        attempts=[AttemptView.model_validate(entry) for entry in one.log],
    )


def read_webhook(asked: WebhookBody | None, settings: Settings, owner: str) -> Webhook | None:
    """Return the webhook of a request, with a secret of its own if it brings none.

    Raises:
        InvalidField: its address may not be spoken to, or its secret is none.
        ResolverUnavailable, LimitReached: its host's name could not be looked up now.
    """
    if asked is None:
        return None
    with _placed("/webhook/url"):
        check_target(asked.url, settings.webhook_hosts, owner)
    secret = asked.secret or new_secret()
    with _placed("/webhook/secret"):
        check_secret(secret)
    return Webhook(asked.url, tuple(dict.fromkeys(asked.events)), secret)


@contextmanager
def _placed(pointer: str) -> Iterator[None]:
    """Let a refusal name the place in the request."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidField(
            error.found, pointer=pointer, expected=error.expected, hint=error.hint
        ) from error
