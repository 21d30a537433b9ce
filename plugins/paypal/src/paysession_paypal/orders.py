"""PayPal's orders as typed values: what was read is what is decided on, and nothing else is.

The statuses are those of PayPal's OpenAPI files. One that is not among them cannot be understood,
and what cannot be understood is unknown.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from attrs import frozen

from paysession.provider import Failure, Money, OutcomeUnknown
from paysession_paypal import amounts
from paysession_paypal.reading import as_list, as_object, text_in

if TYPE_CHECKING:
    from collections.abc import Collection

    from paysession_paypal.reading import Document

__all__ = ["Authorization", "Capture", "Order", "Refund", "read_authorization", "read_capture", "read_order"]
__all__ += ["read_refund"]

ORDER: Final = frozenset({"CREATED", "SAVED", "APPROVED", "VOIDED", "COMPLETED", "PAYER_ACTION_REQUIRED"})
AUTHORIZATION: Final = frozenset({"CREATED", "CAPTURED", "DENIED", "PARTIALLY_CAPTURED", "VOIDED", "PENDING"})
CAPTURE: Final = frozenset({"COMPLETED", "DECLINED", "PARTIALLY_REFUNDED", "PENDING", "REFUNDED", "FAILED"})
REFUND: Final = frozenset({"CANCELLED", "FAILED", "PENDING", "COMPLETED"})
INTENT: Final = frozenset({"AUTHORIZE", "CAPTURE"})

NOT_CAPTURED: Final = "PayPal declined the capture"
NOT_REFUNDED: Final = "PayPal could not refund"


@frozen(kw_only=True)
class Authorization:
    """An authorization of an order."""

    id: str
    status: str
    amount: Money
    expires_at: datetime | None


@frozen(kw_only=True)
class Capture:
    """A capture of an order.

    Attributes:
        id: PayPal's id.
        status: One of `CAPTURE`.
        amount: What was taken, refunds not deducted.
        invoice_id: Ours, with the operation's key at its end, if we made it.
        final: No more can be captured of the authorization.
        reason: Why it is pending or was declined.
    """

    id: str
    status: str
    amount: Money
    invoice_id: str | None
    final: bool
    reason: str | None

    @property
    def failed(self) -> bool:
        """Whether nothing came of it."""
        return self.status in ("DECLINED", "FAILED")

    @property
    def failure(self) -> Failure | None:
        """Why nothing came of it, if nothing did."""
        return Failure(self.reason or self.status, NOT_CAPTURED) if self.failed else None


@frozen(kw_only=True)
class Refund:
    """A refund of a capture.

    Attributes:
        id: PayPal's id.
        status: One of `REFUND`.
        amount: What was given back.
        invoice_id: Ours, with the operation's key at its end, if we made it.
        capture: The id of the capture, if PayPal links to it.
        reason: Why it is pending or failed.
    """

    id: str
    status: str
    amount: Money
    invoice_id: str | None
    capture: str | None
    reason: str | None

    @property
    def failed(self) -> bool:
        """Whether nothing came of it."""
        return self.status in ("CANCELLED", "FAILED")

    @property
    def failure(self) -> Failure | None:
        """Why nothing came of it, if nothing did."""
        return Failure(self.reason or self.status, NOT_REFUNDED) if self.failed else None


@frozen(kw_only=True)
class Order:
    """An order of one purchase unit, with the history of its payments.

    Attributes:
        id: PayPal's id.
        status: One of `ORDER`.
        intent: ``AUTHORIZE`` or ``CAPTURE``.
        session_id: Our session's id, which the order carries as ``custom_id``.
        amount: What is to be paid.
        payer_id: The payer's id at PayPal.
        approve_url: PayPal's approval page for the payer.
        created_at: When it was created.
        updated_at: When it last changed, in PayPal's words.
        authorizations: In PayPal's order.
        captures: In PayPal's order.
        refunds: In PayPal's order.
    """

    id: str
    status: str
    intent: str
    session_id: str | None
    amount: Money
    payer_id: str | None
    approve_url: str | None
    created_at: datetime | None
    updated_at: str | None
    authorizations: tuple[Authorization, ...]
    captures: tuple[Capture, ...]
    refunds: tuple[Refund, ...]

    @property
    def approval(self) -> str:
        """What tells one approval of the payer from the next; ``none`` while there is none."""
        return self.updated_at or "undated" if self.status == "APPROVED" else "none"


def read_order(document: Document) -> Order:
    """Return an order as typed values.

    Raises:
        OutcomeUnknown: Something is missing, or is not what PayPal's files say.
    """
    units = _list(document, "purchase_units")
    if len(units) != 1:
        raise OutcomeUnknown(f"PayPal shows an order of {len(units)} purchase units, not one")
    unit = units[0]
    payments = as_object(unit.get("payments")) or {}
    payer = as_object(document.get("payer")) or {}
    wallet = as_object((as_object(document.get("payment_source")) or {}).get("paypal")) or {}
    return Order(
        id=_text(document, "id"),
        status=_one_of(document, "status", ORDER),
        intent=_one_of(document, "intent", INTENT),
        session_id=text_in(unit, "custom_id"),
        amount=amounts.read(unit.get("amount")),
        payer_id=text_in(payer, "payer_id") or text_in(wallet, "account_id"),
        # With payment_source the link is called payer-action, without it approve.
        approve_url=_link(document, "payer-action") or _link(document, "approve"),
        created_at=_time(document, "create_time"),
        updated_at=text_in(document, "update_time"),
        authorizations=tuple(map(read_authorization, _list(payments, "authorizations"))),
        captures=tuple(map(read_capture, _list(payments, "captures"))),
        refunds=tuple(map(read_refund, _list(payments, "refunds"))),
    )


def read_authorization(document: Document) -> Authorization:
    """Return an authorization as a typed value."""
    return Authorization(
        id=_text(document, "id"),
        status=_one_of(document, "status", AUTHORIZATION),
        amount=amounts.read(document.get("amount")),
        expires_at=_time(document, "expiration_time"),
    )


def read_capture(document: Document) -> Capture:
    """Return a capture as a typed value."""
    return Capture(
        id=_text(document, "id"),
        status=_one_of(document, "status", CAPTURE),
        amount=amounts.read(document.get("amount")),
        invoice_id=text_in(document, "invoice_id"),
        final=document.get("final_capture") is True,
        reason=_reason(document),
    )


def read_refund(document: Document) -> Refund:
    """Return a refund as a typed value."""
    up = _link(document, "up")
    return Refund(
        id=_text(document, "id"),
        status=_one_of(document, "status", REFUND),
        amount=amounts.read(document.get("amount")),
        invoice_id=text_in(document, "invoice_id"),
        capture=up.rstrip("/").rpartition("/")[2] if up else None,
        reason=_reason(document),
    )


# --- JSON -----------------------------------------------------------------------------------------


def _list(document: Document, name: str) -> list[Document]:
    value: object = document.get(name)
    rows = [as_object(row) for row in as_list(value)]
    found = [row for row in rows if row is not None]
    if len(found) != len(rows) or not isinstance(value, list | None):
        raise OutcomeUnknown(f"PayPal's {name} cannot be read")
    return found


def _text(document: Document, name: str) -> str:
    value = text_in(document, name)
    if value is None:
        raise OutcomeUnknown(f"PayPal's answer has no {name}")
    return value


def _one_of(document: Document, name: str, known: Collection[str]) -> str:
    value = _text(document, name)
    if value not in known:
        raise OutcomeUnknown(f"PayPal's answer has the {name} {value!r:.40}, which is not documented")
    return value


def _time(document: Document, name: str) -> datetime | None:
    value = text_in(document, name)
    try:
        found = datetime.fromisoformat(value) if value is not None else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _link(document: Document, rel: str) -> str | None:
    for link in _list(document, "links"):
        href = link.get("href")
        if link.get("rel") == rel and isinstance(href, str) and href.startswith(("https://", "http://")):
            return href
    return None


def _reason(document: Document) -> str | None:
    return text_in(as_object(document.get("status_details")) or {}, "reason")
