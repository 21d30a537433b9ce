"""How PayPal says that it sent a notification, and what shows at a glance that it did not.

The headers name the transmission, its time, the signature, its algorithm, and where the certificate
stands (https://developer.paypal.com/api/rest/webhooks/rest/). Whoever sent it wrote them. So all that can
be refused without asking anybody is refused first: nothing is sent because of it.
"""

from __future__ import annotations

import re
from base64 import b64decode
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from attrs import frozen

from paysession.provider import WebhookRejected

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ALGORITHM", "TRANSMISSION_ID", "Transmission", "header"]

ALGORITHM: Final = "SHA256withRSA"
TRANSMISSION_ID: Final = "paypal-transmission-id"
OLDEST: Final = timedelta(days=4)
"""PayPal sends a notification again for three days."""
AHEAD: Final = timedelta(hours=1)
"""A time in the future is a fault of our clock, for PayPal signs it; yet not any is believed."""

_CERTIFICATES: Final = {
    # One plain file of one folder: what is escaped, or has a query, may be any other address, and a
    # new one each time.
    environment: re.compile(
        rf"https://(?:api|api-m){domain}/v1/notifications/certs/[A-Za-z0-9-]{{1,100}}", re.ASCII
    )
    for environment, domain in (("sandbox", r"\.sandbox\.paypal\.com"), ("live", r"\.paypal\.com"))
}
"""Where PayPal publishes the certificates that it signs with."""


@frozen
class Transmission:
    """What the headers of a notification say, and nothing at a glance speaks against.

    Attributes:
        id: PayPal's id of the transmission.
        sent_at: Its time, as it is signed.
        algorithm: The signature's algorithm.
        encoded: The signature, in base64.
        signature: The signature.
        certificate: The URL of the certificate, at PayPal.
    """

    id: str
    sent_at: str
    algorithm: str
    encoded: str
    signature: bytes
    certificate: str

    @classmethod
    def of(cls, headers: Mapping[str, str], environment: str, now: datetime) -> Transmission:
        """Read the headers.

        Args:
            headers: The request's, by lower-case names.
            environment: ``sandbox`` or ``live``.
            now: The time.

        Raises:
            WebhookRejected: One is missing, or cannot be PayPal's; it is not from this time.
        """
        sent_at = header(headers, "paypal-transmission-time")
        _check_age(sent_at, now)
        algorithm = header(headers, "paypal-auth-algo")
        if algorithm != ALGORITHM:
            raise WebhookRejected("the notification is signed by an algorithm that is not PayPal's")
        encoded = header(headers, "paypal-transmission-sig")
        try:
            signature = b64decode(encoded, validate=True)
        except ValueError:
            raise WebhookRejected("the notification's signature cannot be read") from None
        url = header(headers, "paypal-cert-url")
        if not _CERTIFICATES[environment].fullmatch(url):
            raise WebhookRejected("the certificate's URL is not PayPal's; it was not fetched")
        return cls(header(headers, TRANSMISSION_ID), sent_at, algorithm, encoded, signature, url)


def header(headers: Mapping[str, str], name: str) -> str:
    """Return a header that a notification must have."""
    value = headers.get(name)
    if not value:
        raise WebhookRejected(f"the notification has no header {name}")
    return value


def _check_age(text: str, now: datetime) -> None:
    try:
        sent_at = datetime.fromisoformat(text)
    except ValueError:
        raise WebhookRejected("the notification's time cannot be read") from None
    if sent_at.tzinfo is None or not now - OLDEST <= sent_at <= now + AHEAD:
        raise WebhookRejected("the notification is stale, or from the future")
