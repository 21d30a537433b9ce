"""Notifications on their way to a shop: https://developer.paypal.com/api/rest/webhooks/.

A delivery that fails is tried again, up to 25 times over three days.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paysession_sandbox.deliveries import Deliveries, Delivery

if TYPE_CHECKING:
    from paysession_sandbox.clock import Clock
    from paysession_sandbox.paypal.app import Event
    from paysession_sandbox.paypal.signing import Signer

__all__ = ["PayPalDeliveries"]

_AGAIN_AFTER: Final = (3 * 86_400 // 25,) * 24


class PayPalDeliveries(Deliveries):
    """Sends notifications to the addresses that were named.

    Args:
        clock: The time at PayPal.
        signer: Signs them. The certificate stands at an address of PayPal's own, so a shop that uses the
            sandbox verifies them by asking PayPal (``webhook_verification = "postback"``).
    """

    def __init__(self, clock: Clock, signer: Signer) -> None:
        super().__init__(clock, _AGAIN_AFTER)
        self.urls: list[str] = []
        self._signer = signer

    def add(self, event: Event) -> None:
        """Send a notification to every address."""
        self.queue(Delivery(event.document["event_type"], url, event) for url in self.urls)

    def compose(self, delivery: Delivery) -> tuple[dict[str, str], bytes]:
        """Return the headers and the body of a delivery, signed for now."""
        body: bytes = delivery.event.body
        return self._signer.headers(body), body

    def arrived(self, delivery: Delivery) -> None:
        """Note nothing: PayPal does not show what a shop has taken."""
