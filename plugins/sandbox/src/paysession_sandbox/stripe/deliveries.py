"""Events on their way to a shop's webhook endpoints, signed: https://docs.stripe.com/webhooks#verify-manually.

In a sandbox of Stripe's a delivery that fails is tried three more times over a few hours.
"""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from paysession_sandbox.deliveries import Deliveries, Delivery
from paysession_sandbox.stripe.events import concerns

if TYPE_CHECKING:
    from paysession_sandbox.clock import Clock
    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = ["StripeDeliveries", "body_of", "sign"]

_AGAIN_AFTER: Final = (60, 1800, 7200)


def sign(body: bytes, secret: str, at: float) -> str:
    """Return the value of the ``Stripe-Signature`` header for a body."""
    stamp = str(int(at))
    signature = hmac.new(secret.encode(), stamp.encode() + b"." + body, sha256).hexdigest()
    return f"t={stamp},v1={signature}"


def body_of(event: Json) -> bytes:
    """Return the bytes that are sent for an event."""
    shown: Any = {name: value for name, value in event.items() if not name.startswith("_")}
    return json.dumps(shown, indent=2, ensure_ascii=False).encode()


class StripeDeliveries(Deliveries):
    """Sends an account's events to its webhook endpoints."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, _AGAIN_AFTER)

    def add(self, account: Account, event: Json) -> None:
        """Send an event to every endpoint that wants it."""
        endpoints = [row for row in account.all("webhook_endpoint") if concerns(row, event)]
        event["pending_webhooks"] += len(endpoints)
        self.queue(Delivery(event["type"], row["url"], event, row) for row in endpoints)

    def compose(self, delivery: Delivery) -> tuple[dict[str, str], bytes]:
        """Return the headers and the body of a delivery, signed for now."""
        body = body_of(delivery.event)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(body, delivery.endpoint["_secret"], self.clock().timestamp()),
            "User-Agent": "Stripe/1.0 (paysession-sandbox)",
        }
        return headers, body

    def arrived(self, delivery: Delivery) -> None:
        """Note that an endpoint has an event."""
        delivery.event["pending_webhooks"] = max(0, delivery.event["pending_webhooks"] - 1)
