"""When an order proves that an operation in doubt has not happened, and cannot any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paysession.provider import Effect, Failure, Kind
from paysession_paypal.bodies import key_of
from paysession_paypal.orders import NOT_CAPTURED, NOT_REFUNDED
from paysession_paypal.totals import LIVE, SETTLED, exhausted, refunds_of

if TYPE_CHECKING:
    from datetime import datetime

    from paysession.provider import Money, Operation, PaymentSession
    from paysession_paypal.orders import Capture, Order, Refund

__all__ = ["impossible"]


def impossible(
    order: Order, session: PaymentSession, operation: Operation | None, left: Money, now: datetime | None
) -> list[Effect]:
    """Return the operation in doubt as failed, if the order proves that it cannot take effect any more.

    The proof is a final state that the effects listed explain without it: the authorization is
    void or captured to the end, or the capture is refunded to the end, by others.

    Args:
        order: What PayPal shows.
        session: The session as the books have it.
        operation: The one in doubt, or None.
        left: How much is authorized and neither captured nor being captured.
        now: PayPal's clock when it showed this, if known.
    """
    if operation is None or operation.kind not in (Kind.CAPTURE, Kind.REFUND):
        return []
    rows: tuple[Capture, ...] | tuple[Refund, ...]
    rows = order.captures if operation.kind is Kind.CAPTURE else order.refunds
    keys = [key_of(row.invoice_id, session.id) for row in rows]
    if operation.key in keys or None in keys:
        return []
    if operation.kind is Kind.CAPTURE:
        over, words = _over(order, left), NOT_CAPTURED
    else:
        over, words = _spent(order, operation, now), NOT_REFUNDED
    if over is None:
        return []
    return [Effect(operation.kind, operation.amount, "failed", key=operation.key, error=Failure(over, words))]


def _over(order: Order, left: Money) -> str | None:
    """Return why nothing more can be captured, in PayPal's own word for it, if that is certain."""
    states = {row.status for row in order.authorizations}
    if not states:
        return None
    if exhausted(order, (row for row in order.captures if not row.failed)):
        return "AUTHORIZATION_ALREADY_CAPTURED"
    if left or not states <= {*LIVE, "VOIDED", "DENIED"}:
        return None
    return f"AUTHORIZATION_{'EXPIRED' if states <= set(LIVE) else min(states - set(LIVE))}"


def _spent(order: Order, operation: Operation, now: datetime | None) -> str | None:
    """Return PayPal's word for a capture that is given back whole without this refund, if certain."""
    reference = operation.capture.reference if operation.capture is not None else None
    capture = next((row for row in order.captures if row.id == reference), None)
    if capture is None or capture.status != "REFUNDED":
        return None
    listed = refunds_of(order, capture) >= capture.amount
    # A chargeback is not listed; neither is, for a while, a refund that was made just now.
    sent_at = operation.sent_at
    settled = now is not None and sent_at is not None and now >= sent_at + SETTLED
    return "CAPTURE_FULLY_REFUNDED" if listed or settled else None
