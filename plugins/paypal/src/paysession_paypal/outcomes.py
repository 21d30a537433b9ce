"""What became of one operation, by what PayPal answers to it or shows: pure functions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from paysession.provider import Declined, Outcome, OutcomeUnknown, Redirect
from paysession_paypal.bodies import key_of
from paysession_paypal.data import PayPalData
from paysession_paypal.totals import LIVE

if TYPE_CHECKING:
    from datetime import datetime

    from paysession.provider import Operation, PaymentSession
    from paysession_paypal.orders import Capture, Order, Refund
    from paysession_paypal.reading import Document

__all__ = ["APPROVAL", "captured", "expiry", "held", "redirect", "refunded"]

APPROVAL: Final = timedelta(hours=3)
"""How long an order may wait for the payer and for us (PayPal's default)."""


def redirect(order: Order, data: PayPalData) -> Redirect | None:
    """Return PayPal's approval page as the payer's next action."""
    url = order.approve_url or data.approve_url
    return Redirect(url) if url else None


def expiry(order: Order) -> datetime | None:
    """Return when the authorization ends, or when the order no longer waits for the payer."""
    ends = [row.expires_at for row in order.authorizations if row.expires_at is not None]
    if ends:
        return max(ends)
    return order.created_at + APPROVAL if order.created_at is not None else None


def held(order: Order, data: PayPalData) -> Outcome | None:
    """Return what `authorize` is to answer if the order shows it already; None: it is still to do.

    Raises:
        Declined: PayPal denied the payment.
        OutcomeUnknown: The order is completed, and shows no payment.
    """
    seen, expires_at = data.seen(order).json(), expiry(order)
    if order.intent == "CAPTURE":
        found = _captured_at_once(order, seen, expires_at)
    else:
        found = _authorized(order, seen, expires_at)
    if found is not None:
        return found
    if order.status == "VOIDED" or order.authorizations:
        return Outcome.canceled(data=seen, expires_at=expires_at)
    if order.status == "COMPLETED":
        raise OutcomeUnknown("PayPal shows a completed order without a payment")
    return None


def _captured_at_once(order: Order, seen: Document, expires_at: datetime | None) -> Outcome | None:
    for row in order.captures:
        if row.status == "PENDING":
            return Outcome.pending(data=seen, expires_at=expires_at)
        if not row.failed:
            return Outcome.captured(row.amount, released=True, data=seen, expires_at=expires_at)
    if not order.captures:
        return None
    first = order.captures[0]
    raise Declined(first.reason or first.status, "PayPal denied the payment", data=seen)


def _authorized(order: Order, seen: Document, expires_at: datetime | None) -> Outcome | None:
    for row in order.authorizations:
        if row.status == "PENDING":
            return Outcome.pending(data=seen, expires_at=expires_at)
        if row.status in (*LIVE, "CAPTURED"):
            return Outcome.authorized(amount=row.amount, data=seen, expires_at=expires_at)
    if order.captures:
        raise OutcomeUnknown("PayPal shows an authorization that was captured in part and voided")
    if any(row.status == "DENIED" for row in order.authorizations):
        raise Declined("AUTHORIZATION_DENIED", "PayPal denied the payment", data=seen)
    return None


def captured(row: Capture, session: PaymentSession, operation: Operation) -> Outcome:
    """Return what became of a capture, as PayPal's answer states it."""
    _check_key(row.invoice_id, session, operation)
    if row.failure is not None:
        raise Declined(row.failure.code, row.failure.message)
    data = PayPalData.of(session)
    known = data if row.id in data.captures else data.with_capture(row.id)
    if row.status == "PENDING":
        return Outcome.pending(data=known.json(), reference=row.id)
    return Outcome.captured(row.amount, released=row.final, data=known.json(), reference=row.id)


def refunded(row: Refund, session: PaymentSession, operation: Operation) -> Outcome:
    """Return what became of a refund, as PayPal's answer states it."""
    _check_key(row.invoice_id, session, operation)
    if row.failure is not None:
        raise Declined(row.failure.code, row.failure.message)
    if row.status == "PENDING":
        return Outcome.pending(reference=row.id)
    return Outcome.refunded(row.amount, reference=row.id)


def _check_key(invoice: str | None, session: PaymentSession, operation: Operation) -> None:
    if key_of(invoice, session.id) not in (None, operation.key):
        raise OutcomeUnknown(f"PayPal answered with the effect {invoice!r:.80} to {operation.key}")
