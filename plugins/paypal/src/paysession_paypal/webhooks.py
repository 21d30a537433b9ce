"""Notifications: what they are about, and who tells whether PayPal sent them.

``signature`` checks that here; `Postback` asks PayPal. Everything fails closed.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from paysession.provider import WebhookEvent, WebhookRejected
from paysession_paypal.document import as_list, as_object, as_text, text_in
from paysession_paypal.transmission import TRANSMISSION_ID, Transmission

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from paysession_paypal.document import Document

__all__ = ["Postback", "Verifier", "parse"]

_OURS: Final = ("CHECKOUT.ORDER.", "CHECKOUT.PAYMENT-APPROVAL.", "PAYMENT.", "CUSTOMER.DISPUTE.")
"""Which events are about payments; PAYMENTS.PAYMENT.CREATED and the like are of PayPal's older API."""

_DISPUTE: Final = re.compile(r"[A-Za-z0-9-]{1,255}")


class Verifier(Protocol):
    """Tells whether PayPal sent a notification."""

    def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Return if PayPal sent it.

        Raises:
            WebhookRejected: It did not, or that cannot be shown.
            OutcomeUnknown: It could not be checked now; PayPal is to send it again.
        """
        ...


def parse(verifier: Verifier, headers: Mapping[str, str], body: bytes) -> Sequence[WebhookEvent]:
    """Verify a notification and read what it is about; empty: it is not about payments.

    Raises:
        WebhookRejected: It is forged, stale, or no JSON object.
        OutcomeUnknown: It could not be checked now.
    """
    event = _object(body)
    verifier.check(headers, body)
    kind, resource = text_in(event, "event_type"), as_object(event.get("resource"))
    if kind is None or not kind.startswith(_OURS) or resource is None:
        return ()
    references, session_id = _references(resource), _session_id(resource)
    if session_id is None and not references:
        return ()
    # PayPal signs the transmission's id and a CRC of the body, so under one signature many bodies can be
    # made up, with any event's id in them. None of them may pass for the true one: the bytes count.
    # A transmission that PayPal repeats has the same id and bytes. One that a merchant has sent again
    # has another id, and the order is queried again.
    delivery = f"{headers.get(TRANSMISSION_ID, '')} {sha256(body).hexdigest()}"
    dispute = text_in(resource, "dispute_id") or ""
    # What it says of the dispute is not believed either: the lookup asks PayPal for it.
    data = {"dispute": dispute} if _DISPUTE.fullmatch(dispute) else None
    read = WebhookEvent(
        id=delivery,
        type=kind,
        session_id=session_id,
        references=references,
        data=data,
        payment=_order_id(kind, resource),
    )
    return (read,)


def _object(body: bytes) -> Document:
    """Return the body as JSON: one object and nothing after it, so that it can be spliced whole."""
    try:
        tree = as_object(json.loads(body.decode("utf-8")))
    except (ValueError, RecursionError):
        raise WebhookRejected("the notification is no JSON") from None
    if tree is None:
        raise WebhookRejected("the notification is no JSON object")
    return tree


def _session_id(resource: Document) -> str | None:
    """Return ``custom_id``, which every object carries: an order in its unit, a dispute as ``custom``."""
    units = filter(None, map(as_object, as_list(resource.get("purchase_units"))))
    found = [text_in(row, "custom_id") for row in (resource, *units)]
    found += [text_in(row, "custom") for row in _disputed(resource)]
    return next((custom_id for custom_id in found if custom_id), None)


def _order_id(kind: str, resource: Document) -> str | None:
    """Return the id of the order that a notification is about, if it says so.

    A refund and a dispute carry the capture's id only. An approval that was reversed has the order's in a
    place of its own: https://developer.paypal.com/v5/checkout/uncaptured-payments.
    """
    if kind.startswith("CHECKOUT.ORDER."):
        return text_in(resource, "id")
    if kind.startswith("CHECKOUT.PAYMENT-APPROVAL."):
        return text_in(resource, "order_id")
    return text_in(_related(resource), "order_id")


def _related(resource: Document) -> Document:
    """Return the ids of what an object belongs to."""
    data = as_object(resource.get("supplementary_data")) or {}
    return as_object(data.get("related_ids")) or {}


def _disputed(resource: Document) -> list[Document]:
    """Return the transactions that a dispute is about."""
    return list(filter(None, map(as_object, as_list(resource.get("disputed_transactions")))))


def _references(resource: Document) -> tuple[str, ...]:
    """Return the ids by which the session may be known: of the object itself, and those above it."""
    values: list[str | None] = [text_in(resource, "id"), text_in(resource, "order_id")]
    values += map(as_text, _related(resource).values())
    # What the merchant calls the transaction is the capture's id.
    values += [text_in(row, "seller_transaction_id") for row in _disputed(resource)]
    for link in filter(None, map(as_object, as_list(resource.get("links")))):
        if link.get("rel") == "up":
            values.append((text_in(link, "href") or "").rstrip("/").rpartition("/")[2] or None)
    return tuple(dict.fromkeys(value for value in values if value is not None))


class Postback:
    """Asks PayPal about each notification: slower, and independent of certificates.

    Args:
        webhook_id: The id that PayPal gave the webhook.
        ask: Sends the question's body to PayPal, and returns its answer.
        environment: ``sandbox`` or ``live``.
        now: The time; injectable for tests.
    """

    def __init__(
        self,
        webhook_id: str,
        ask: Callable[[bytes], bool],
        *,
        environment: str = "sandbox",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._webhook_id = webhook_id
        self._ask = ask
        self._environment = environment
        self._now = now

    def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Return if PayPal says that it sent the body to our webhook."""
        if not self._webhook_id:
            raise WebhookRejected("no webhook_id is configured, so no notification can be trusted")
        sent = Transmission.of(headers, self._environment, self._now())
        question = {
            "auth_algo": sent.algorithm,
            "cert_url": sent.certificate,
            "transmission_id": sent.id,
            "transmission_sig": sent.encoded,
            "transmission_time": sent.sent_at,
            "webhook_id": self._webhook_id,
        }
        # PayPal checks the bytes that it signed: written anew, 1.0 or an accent would come out otherwise.
        # They were read as one JSON object, so nothing else can hide behind it.
        head = json.dumps(question, separators=(",", ":"))[:-1].encode()
        if not self._ask(head + b',"webhook_event":' + body + b"}"):
            raise WebhookRejected("PayPal did not send this notification")
