"""Notifications on their way to a shop: https://developer.paypal.com/api/rest/webhooks/.

A delivery that fails is tried again, up to 25 times over three days.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from paysession_sandbox.deliveries import Deliveries, Delivery

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paysession_sandbox.clock import Clock
    from paysession_sandbox.paypal.app import Event
    from paysession_sandbox.paypal.signing import Signer

__all__ = ["PayPalDeliveries"]

_AGAIN_AFTER: Final = (3 * 86_400 // 25,) * 24


class PayPalDeliveries(Deliveries):
    """Sends notifications to the addresses that were named, and to the webhooks that were registered.

    Args:
        clock: The time at PayPal.
        signer: Signs them. The certificate stands at an address of PayPal's own, so a shop that uses the
            sandbox verifies them by asking PayPal (``webhook_verification = "postback"``).
        webhooks: The webhooks that are registered, by their ids.

    Attributes:
        urls: The addresses that were named: they are sent everything, signed for the signer's own webhook.
        pending: What was not taken yet: the notification's id, the address and the webhook's id.
    """

    def __init__(self, clock: Clock, signer: Signer, webhooks: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(clock, _AGAIN_AFTER)
        self.urls: list[str] = []
        self.pending: list[tuple[str, str, str]] = []
        self._signer = signer
        self._webhooks = webhooks

    def add(self, event: Event) -> None:
        """Send a notification to every address that is to have it."""
        kind = event.document["event_type"]
        to = [(url, self._signer.webhook_id) for url in self.urls]
        for webhook_id, row in self._webhooks.items():
            if not {"*", kind}.isdisjoint(wanted["name"] for wanted in row["event_types"]):
                to.append((row["url"], webhook_id))
        for url, webhook_id in to:
            self.send_to(event, url, webhook_id)

    def send_to(self, event: Event, url: str, webhook_id: str) -> None:
        """Send a notification to an address, signed for a webhook."""
        self.pending.append((event.document["id"], url, webhook_id))
        self.queue([Delivery(event.document["event_type"], url, event, webhook_id)])

    def compose(self, delivery: Delivery) -> tuple[dict[str, str], bytes]:
        """Return the headers and the body of a delivery, signed for now."""
        body: bytes = delivery.event.body
        return self._signer.headers(body, webhook_id=delivery.endpoint), body

    def arrived(self, delivery: Delivery) -> None:
        """Note that a shop has taken a notification."""
        row = (delivery.event.document["id"], delivery.url, delivery.endpoint)
        if row in self.pending:  # one that is sent twice was taken already
            self.pending.remove(row)
