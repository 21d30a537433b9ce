"""The gateway's truth about a session: what an order means, as a pure function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from paysession.provider import Effect, Failure, Kind, OutcomeUnknown, Snapshot, Status
from paysession_paypal.bodies import key_of
from paysession_paypal.data import PayPalData
from paysession_paypal.evidence import impossible
from paysession_paypal.outcomes import expiry, redirect
from paysession_paypal.totals import LIVE, exhausted, left_of, refunded, taken_back, total

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from paysession.provider import Money, Operation, PaymentSession
    from paysession_paypal.orders import Authorization, Capture, Order

__all__ = ["snapshot_of"]

TAKEN_BACK: Final = "taken back"

_State = Literal["pending", "succeeded", "failed", "reversed"]
_AUTHORIZATION: Final[Mapping[str, _State]] = {
    "PENDING": "pending",
    "DENIED": "failed",
    "VOIDED": "reversed",
}
_CAPTURE: Final[Mapping[str, _State]] = {"PENDING": "pending", "DECLINED": "failed", "FAILED": "failed"}
_REFUND: Final[Mapping[str, _State]] = {"PENDING": "pending", "CANCELLED": "failed", "FAILED": "failed"}
# Whatever is not named above has succeeded.


def snapshot_of(
    order: Order, session: PaymentSession, operation: Operation | None, now: datetime | None
) -> Snapshot:
    """Return the truth about a session.

    Args:
        order: What PayPal shows.
        session: The session as the books have it.
        operation: The one in doubt, or None.
        now: PayPal's clock when it showed this, if known.

    Raises:
        OutcomeUnknown: The order is completed, and shows no payment.
    """
    data = PayPalData.of(session)
    taken = [row for row in order.captures if not row.failed and row.status != "PENDING"]
    held = [row for row in order.captures if row.status == "PENDING" and order.intent == "AUTHORIZE"]
    left, captured = left_of(order, now), total(order, taken)
    at_stake = captured + total(order, held)
    status, error = _status(order, session, operation, left, at_stake)
    waiting = status is Status.REQUIRES_MORE
    return Snapshot(
        status,
        amount=order.amount,
        authorized=at_stake + left,
        captured=captured,
        refunded=refunded(order),
        effects=[*_effects(order, session), *impossible(order, session, operation, left, now)],
        # The order stays approved when the payer's card is declined: only a later approval is a new one.
        ready=waiting
        and order.status == "APPROVED"
        and (data.declined is None or order.approval != data.declined_approval),
        session_id=order.session_id,
        data=data.seen(
            order,
            declined=data.declined if waiting else None,
            declined_approval=data.declined_approval if waiting else None,
        ).json(),
        reference=order.id,
        next_action=redirect(order, data) if waiting else None,
        expires_at=expiry(order),
        error=error,
    )


def _status(
    order: Order, session: PaymentSession, operation: Operation | None, left: Money, at_stake: Money
) -> tuple[Status, Failure | None]:
    canceling = operation is not None and operation.kind is Kind.CANCEL
    if at_stake and not left and canceling:
        # Everything is captured, or voided beyond the captures: nothing is left to let go of.
        return Status.CANCELED, None
    if at_stake or left:
        return Status.AUTHORIZED, None
    if _pending(order):
        return Status.PENDING, None
    states = {row.status for row in order.authorizations} | {row.status for row in order.captures}
    if "CAPTURED" in states and not exhausted(order, order.captures):
        raise OutcomeUnknown("PayPal shows a captured authorization without its captures")
    if states & {"CAPTURED", "VOIDED", *LIVE} or order.status == "VOIDED":
        return Status.CANCELED, None  # voided, out of time, or spent on captures that failed
    if states:
        reason = next((row.reason for row in order.captures if row.reason), None)
        denied = Failure(reason or "AUTHORIZATION_DENIED", "PayPal denied the payment")
        # What was authorized for us and is denied since is gone, and so is what was let go of.
        gone = session.status in (Status.AUTHORIZED, Status.CANCELED)
        return (Status.CANCELED, None) if gone else (Status.ERROR, denied)
    if order.status == "COMPLETED":
        raise OutcomeUnknown("PayPal shows a completed order without a payment")
    if session.status is Status.CANCELED or canceling:
        # PayPal has no call that cancels an order which nobody paid. It needs none: money moves by
        # our own authorize call only, and none will follow.
        return Status.CANCELED, None
    if session.status is Status.ERROR:
        # PayPal refused, and shows the order as it was: only a new authorize, asked for, goes on.
        return Status.ERROR, session.error
    return Status.REQUIRES_MORE, None


def _pending(order: Order) -> bool:
    rows: Iterable[Authorization | Capture]
    rows = order.captures if order.intent == "CAPTURE" else order.authorizations
    return any(row.status == "PENDING" for row in rows)


def _effects(order: Order, session: PaymentSession) -> list[Effect]:
    """Return every authorization, capture and refund one by one."""
    effects = [
        Effect(Kind.AUTHORIZE, row.amount, _AUTHORIZATION.get(row.status, "succeeded"), row.id)
        for row in order.authorizations
    ]
    automatic = order.intent == "CAPTURE"
    if automatic and _pending(order):
        # That capture *is* the authorization, and it is pending.
        return [*effects, Effect(Kind.AUTHORIZE, order.amount, "pending", key=None)]
    for row in order.captures:
        # With the intent CAPTURE it carries the order's invoice number, and belongs to authorize.
        key = None if automatic else key_of(row.invoice_id, session.id)
        state = _CAPTURE.get(row.status, "succeeded")
        effects.append(Effect(Kind.CAPTURE, row.amount, state, row.id, key, error=row.failure))
    for back in order.refunds:
        key = key_of(back.invoice_id, session.id)
        state = _REFUND.get(back.status, "succeeded")
        effects.append(
            Effect(Kind.REFUND, back.amount, state, back.id, key, capture=back.capture, error=back.failure)
        )
    for capture_id, amount in taken_back(order).items():
        # The key says that it is none of ours: not even one in doubt, of the same amount.
        reference = f"{capture_id} {TAKEN_BACK}"
        effects.append(Effect(Kind.REFUND, amount, "succeeded", reference, key="", capture=capture_id))
    return effects
