"""The webhook endpoint at Stripe: made with the events that matter, and compared with them later."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from paysession.provider import ConfigurationError, Declined, Secret
from paysession_stripe.reading import items, text
from paysession_stripe.webhooks import EVENTS

if TYPE_CHECKING:
    from stripe.params import WebhookEndpointCreateParams

    from paysession_stripe.gateway import Account
    from paysession_stripe.reading import Json

__all__ = ["create", "problems"]


def create(account: Account, url: str) -> Secret:
    """Create the endpoint for an address; return its signing secret.

    Raises:
        ConfigurationError: There is one already, or Stripe does not take it.
    """
    known = _at(account, url)
    if known is not None:
        raise ConfigurationError(
            f"Stripe has the endpoint {known['id']} for {url} already, and does not show its signing secret "
            "again: take it from the dashboard, or delete the endpoint there first"
        )
    events = [*EVENTS]
    params: WebhookEndpointCreateParams = {
        "url": url,
        "enabled_events": events,  # type: ignore[typeddict-item] # the names of events are literals there
        "description": "paysession",
    }
    try:
        made = account.create_endpoint(params, key=f"paysession-endpoint-{uuid4().hex}")
    except Declined as error:
        raise ConfigurationError(f"Stripe does not take this endpoint: {error.message}") from None
    secret = text(made, "secret")
    if secret is None:
        raise ConfigurationError("Stripe made the endpoint and did not show its signing secret")
    return Secret(secret)


def problems(account: Account, url: str) -> list[str]:
    """Return what is wrong with the endpoint for an address."""
    known = _at(account, url)
    if known is None:
        return [f"Stripe has no endpoint for {url}: paysession stripe webhook create makes one"]
    found: list[str] = []
    if known.get("status") != "enabled":
        found.append(f"the endpoint {known['id']} is {known.get('status')}: enable it in the dashboard")
    sent = {str(event) for event in items(known.get("enabled_events"))}
    missing = [event for event in EVENTS if not ({event, "*"} & sent)]
    if missing:
        found.append(
            f"the endpoint {known['id']} is not sent {', '.join(missing)}: add them in the dashboard"
        )
    return found


def _at(account: Account, url: str) -> Json | None:
    return next((row for row in account.endpoints() if row.get("url") == url), None)
