"""Stripe's own page, hosted by Stripe or embedded in the shop's: a Checkout Session as a frozen value.

The page makes its PaymentIntent when the payer confirms; until then the page is all there is. It closes by
itself after 24 hours, and a new one has to be made for another amount.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import field, frozen

from paysession_stripe.amounts import from_stripe
from paysession_stripe.intent import SESSION
from paysession_stripe.reading import integer, json_object, text

if TYPE_CHECKING:
    from paysession.provider import Money
    from paysession_stripe.reading import Json

__all__ = ["LOCALES", "Page", "read_page"]

LOCALES = frozenset(
    (
        *(
            "bg",
            "cs",
            "da",
            "de",
            "el",
            "en",
            "en-GB",
            "es",
            "es-419",
            "et",
            "fi",
            "fil",
            "fr",
            "fr-CA",
            "hr",
        ),
        *("hu", "id", "it", "ja", "ko", "lt", "lv", "ms", "mt", "nb", "nl", "pl", "pt", "pt-BR", "ro", "ru"),
        *("sk", "sl", "sv", "th", "tr", "vi", "zh", "zh-HK", "zh-TW"),
    )
)
"""The languages of the page; with any other the browser's own is used."""


@frozen
class Page:
    """A Checkout Session.

    Attributes:
        id: Stripe's id (``cs_...``).
        status: ``open``, ``complete`` or ``expired``.
        amount: What the payer is asked for.
        session_id: The id of our session that it carries, or None.
        url: Where the payer pays, while it is open; None: it is embedded.
        client_secret: What lets the payer's browser show it in the shop's page; None: Stripe hosts it.
        expires_at: When it closes by itself.
        intent: The PaymentIntent's id, once the payer has confirmed.
    """

    id: str
    status: str
    amount: Money
    session_id: str | None = None
    url: str | None = field(default=None, repr=False)
    client_secret: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    intent: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the payer can pay there."""
        return self.status == "open"


def read_page(found: Json) -> Page:
    """Read a Checkout Session.

    Raises:
        ValueError: It is none, or not one that can be read.
    """
    identity, status, currency = text(found, "id"), text(found, "status"), text(found, "currency")
    amount = integer(found, "amount_total")
    if found.get("object") != "checkout.session" or not (identity and status and currency) or amount is None:
        raise ValueError("Stripe answered something that is no Checkout Session")
    intent = found.get("payment_intent")
    return Page(
        id=identity,
        status=status,
        amount=from_stripe(amount, currency),
        session_id=text(json_object(found.get("metadata")) or {}, SESSION),
        url=text(found, "url"),
        client_secret=text(found, "client_secret"),
        expires_at=_time(integer(found, "expires_at")),
        intent=intent if isinstance(intent, str) and intent else text(json_object(intent) or {}, "id"),
    )


def _time(value: int | None) -> datetime | None:
    with suppress(ValueError, OverflowError, OSError):
        return None if value is None else datetime.fromtimestamp(value, UTC)
    return None
