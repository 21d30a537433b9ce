"""The webhook that an account has to have for our notifications: registering it, and checking it.

PayPal keeps at most ten for an app, each with an address and the types of events that it is sent
(https://developer.paypal.com/docs/api/webhooks/v1/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from attrs import frozen

from paysession.provider import Declined
from paysession_paypal.document import as_list, as_object, text_in

if TYPE_CHECKING:
    from paysession_paypal.document import Document
    from paysession_paypal.gateway import Gateway

__all__ = ["EVENTS", "Webhook", "find", "register"]

EVENTS: Final = (
    "CHECKOUT.ORDER.APPROVED",
    "CHECKOUT.ORDER.COMPLETED",
    "CHECKOUT.PAYMENT-APPROVAL.REVERSED",
    "CUSTOMER.DISPUTE.CREATED",
    "CUSTOMER.DISPUTE.RESOLVED",
    "CUSTOMER.DISPUTE.UPDATED",
    "PAYMENT.AUTHORIZATION.CREATED",
    "PAYMENT.AUTHORIZATION.VOIDED",
    "PAYMENT.CAPTURE.COMPLETED",
    "PAYMENT.CAPTURE.DECLINED",
    "PAYMENT.CAPTURE.DENIED",
    "PAYMENT.CAPTURE.PENDING",
    "PAYMENT.CAPTURE.REFUNDED",
    "PAYMENT.CAPTURE.REVERSED",
)
"""What the provider makes use of."""

_PATH: Final = "/v1/notifications/webhooks"


@frozen
class Webhook:
    """A webhook of the account.

    Attributes:
        id: PayPal's id of it, which is the setting ``webhook_id``.
        url: Where notifications are sent.
        events: The types that are sent; ``*`` is all of them.
    """

    id: str
    url: str
    events: frozenset[str]

    @property
    def lacking(self) -> tuple[str, ...]:
        """The types that the provider makes use of, and that are not sent."""
        return () if "*" in self.events else tuple(name for name in EVENTS if name not in self.events)


def find(gateway: Gateway, *, url: str = "", webhook_id: str = "") -> Webhook | None:
    """Return the account's webhook with an address, or an id.

    Raises:
        Declined: PayPal refused.
        NotApplied: PayPal could not be reached.
        OutcomeUnknown: Its answer was lost, or cannot be read.
    """
    listed = map(as_object, as_list(gateway.ask("GET", _PATH).get("webhooks")))
    rows = [_read(row) for row in listed if row is not None]
    wanted = ((row.url == url) if url else (row.id == webhook_id) for row in rows)
    return next((row for row, fits in zip(rows, wanted, strict=True) if fits), None)


def register(gateway: Gateway, url: str) -> Webhook:
    """Return the webhook with an address, which is made if there is none; all that it lacks is added.

    Args:
        gateway: The account.
        url: Where PayPal is to send notifications; https, on port 443.

    Raises:
        Declined: The address is none that PayPal takes; or PayPal refused.
        NotApplied: PayPal could not be reached.
        OutcomeUnknown: Its answer was lost. Registering again does no harm.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.port not in (None, 443):
        raise Declined("VALIDATION_ERROR", f"PayPal sends notifications to https and port 443, not to {url}")
    types = [{"name": name} for name in EVENTS]
    known = find(gateway, url=url)
    if known is None:
        return _read(gateway.ask("POST", _PATH, {"url": url, "event_types": types}))
    if known.lacking:
        both = [{"name": name} for name in sorted({*known.events, *EVENTS})]
        patch = [{"op": "replace", "path": "/event_types", "value": both}]
        return _read(gateway.ask("PATCH", f"{_PATH}/{known.id}", patch))
    return known


def _read(document: Document) -> Webhook:
    types = filter(None, map(as_object, as_list(document.get("event_types"))))
    names = frozenset(filter(None, (text_in(row, "name") for row in types)))
    return Webhook(text_in(document, "id") or "", text_in(document, "url") or "", names)
