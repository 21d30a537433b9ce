"""What an order means for a session: pure functions from what PayPal shows to what the core books."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from paysession.provider import (
    Declined,
    Effect,
    Failure,
    Kind,
    Money,
    Outcome,
    OutcomeUnknown,
    Redirect,
    Snapshot,
    Status,
)
from paysession_paypal.bodies import key_of
from paysession_paypal.data import PayPalData

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from paysession.provider import Operation, PaymentSession
    from paysession_paypal.orders import Authorization, Capture, Order, Refund
    from paysession_paypal.reading import Document

__all__ = ["APPROVAL", "captured", "expiry", "held", "redirect", "refunded", "snapshot_of"]

APPROVAL: Final = timedelta(hours=3)
"""How long an order may wait for the payer and for us (PayPal's default)."""

SETTLED: Final = timedelta(minutes=10)
"""After this long an order shows what was done to it, and two clocks' difference is no matter."""
TAKEN_BACK: Final = "taken back"
NOT_CAPTURED: Final = "PayPal declined the capture"
NOT_REFUNDED: Final = "PayPal could not refund"

_State = Literal["pending", "succeeded", "failed", "reversed"]
_LIVE: Final = ("CREATED", "PARTIALLY_CAPTURED")
_AUTHORIZATION: Final[Mapping[str, _State]] = {
    "PENDING": "pending",
    "DENIED": "failed",
    "VOIDED": "reversed",
}
_CAPTURE: Final[Mapping[str, _State]] = {"PENDING": "pending", "DECLINED": "failed", "FAILED": "failed"}
_REFUND: Final[Mapping[str, _State]] = {"PENDING": "pending", "CANCELLED": "failed", "FAILED": "failed"}
# Whatever is not named above has succeeded.


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


# --- outcomes: what became of one operation -------------------------------------------------------


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
    for row in order.captures:
        raise Declined(row.reason or row.status, "PayPal denied the payment", data=seen)
    return None


def _authorized(order: Order, seen: Document, expires_at: datetime | None) -> Outcome | None:
    for row in order.authorizations:
        if row.status == "PENDING":
            return Outcome.pending(data=seen, expires_at=expires_at)
        if row.status in (*_LIVE, "CAPTURED"):
            return Outcome.authorized(amount=row.amount, data=seen, expires_at=expires_at)
    if order.captures:
        raise OutcomeUnknown("PayPal shows an authorization that was captured in part and voided")
    if any(row.status == "DENIED" for row in order.authorizations):
        raise Declined("AUTHORIZATION_DENIED", "PayPal denied the payment", data=seen)
    return None


def captured(row: Capture, session: PaymentSession, operation: Operation) -> Outcome:
    """Return what became of a capture, as PayPal's answer states it."""
    _check_key(row.invoice_id, session, operation)
    if row.failed:
        raise Declined(row.reason or row.status, NOT_CAPTURED)
    data = PayPalData.of(session)
    known = data if row.id in data.captures else data.with_capture(row.id)
    if row.status == "PENDING":
        return Outcome.pending(data=known.json(), reference=row.id)
    return Outcome.captured(row.amount, released=row.final, data=known.json(), reference=row.id)


def refunded(row: Refund, session: PaymentSession, operation: Operation) -> Outcome:
    """Return what became of a refund, as PayPal's answer states it."""
    _check_key(row.invoice_id, session, operation)
    if row.failed:
        raise Declined(row.reason or row.status, NOT_REFUNDED)
    if row.status == "PENDING":
        return Outcome.pending(reference=row.id)
    return Outcome.refunded(row.amount, reference=row.id)


def _check_key(invoice: str | None, session: PaymentSession, operation: Operation) -> None:
    if key_of(invoice, session.id) not in (None, operation.key):
        raise OutcomeUnknown(f"PayPal answered with the effect {invoice!r:.80} to {operation.key}")


# --- the snapshot: everything that happened -------------------------------------------------------


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
    zero = Money.from_minor(0, order.amount.currency)
    taken = [row for row in order.captures if not row.failed and row.status != "PENDING"]
    pending = [row for row in order.captures if row.status == "PENDING" and order.intent == "AUTHORIZE"]
    left = _left(order, now)
    captured = _sum((row.amount for row in taken), zero)
    at_stake = captured + _sum((row.amount for row in pending), zero)
    status, error = _status(order, session, operation, left, at_stake)
    waiting = status is Status.REQUIRES_MORE
    return Snapshot(
        status,
        amount=order.amount,
        authorized=at_stake + left,
        captured=captured,
        refunded=_refunded(order, zero),
        effects=[*_effects(order, session), *_impossible(order, session, operation, left, now)],
        ready=waiting and order.status == "APPROVED" and data.declined is None,
        session_id=order.session_id,
        data=data.seen(order, declined=data.declined if waiting else None).json(),
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
    if "CAPTURED" in states and not _exhausted(order, order.captures):
        raise OutcomeUnknown("PayPal shows a captured authorization without its captures")
    if states & {"CAPTURED", "VOIDED", *_LIVE} or order.status == "VOIDED":
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


def _left(order: Order, now: datetime | None) -> Money:
    """Return how much is authorized and neither captured nor being captured."""
    zero = Money.from_minor(0, order.amount.currency)
    live = [row for row in order.authorizations if row.status in _LIVE]
    # An authorization whose time is over is one that PayPal is about to void.
    live = [row for row in live if now is None or row.expires_at is None or now < row.expires_at]
    taken = [row for row in order.captures if not row.failed]
    if not live or any(row.final for row in taken):
        return zero
    # A reauthorization takes the place of the original one: it does not add to it.
    most, gone = max(row.amount for row in live), _sum((row.amount for row in taken), zero)
    return most - gone if gone < most else zero


def _refunded(order: Order, zero: Money) -> Money:
    """Return all that was given back, chargebacks included."""
    listed = _sum((row.amount for row in order.refunds if row.status == "COMPLETED"), zero)
    return _sum(_taken_back(order, zero).values(), listed)


def _taken_back(order: Order, zero: Money) -> dict[str, Money]:
    """Return how much of each capture was given back beyond the refunds that are listed.

    A capture that PayPal calls REFUNDED was given back whole: that is how a chargeback shows.
    """
    left: dict[str, Money] = {}
    for capture in order.captures:
        listed = _listed(order, capture, zero)
        if capture.status == "REFUNDED" and listed < capture.amount:
            left[capture.id] = capture.amount - listed
    return left


def _listed(order: Order, capture: Capture, zero: Money) -> Money:
    return _sum((r.amount for r in order.refunds if r.capture == capture.id and not r.failed), zero)


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
        state, error = _CAPTURE.get(row.status, "succeeded"), _why(row, NOT_CAPTURED)
        effects.append(Effect(Kind.CAPTURE, row.amount, state, row.id, key, error=error))
    for back in order.refunds:
        key = key_of(back.invoice_id, session.id)
        state, error = _REFUND.get(back.status, "succeeded"), _why(back, NOT_REFUNDED)
        effects.append(
            Effect(Kind.REFUND, back.amount, state, back.id, key, capture=back.capture, error=error)
        )
    for capture_id, amount in _taken_back(order, Money.from_minor(0, order.amount.currency)).items():
        # The key says that it is none of ours: not even one in doubt, of the same amount.
        reference = f"{capture_id} {TAKEN_BACK}"
        effects.append(Effect(Kind.REFUND, amount, "succeeded", reference, key="", capture=capture_id))
    return effects


def _why(row: Capture | Refund, words: str) -> Failure | None:
    return Failure(row.reason or row.status, words) if row.failed else None


def _impossible(
    order: Order, session: PaymentSession, operation: Operation | None, left: Money, now: datetime | None
) -> list[Effect]:
    """Return the operation in doubt as failed, if the order proves that it cannot take effect any more.

    The proof is a final state that the effects listed explain without it: the authorization is
    void or captured to the end, or the capture is refunded to the end, by others.
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
    if _exhausted(order, (row for row in order.captures if not row.failed)):
        return "AUTHORIZATION_ALREADY_CAPTURED"
    if left or not states <= {*_LIVE, "VOIDED", "DENIED"}:
        return None
    return f"AUTHORIZATION_{'EXPIRED' if states <= set(_LIVE) else min(states - set(_LIVE))}"


def _exhausted(order: Order, captures: Iterable[Capture]) -> bool:
    """Return whether these captures leave nothing of the authorization to be captured."""
    zero, captures = Money.from_minor(0, order.amount.currency), tuple(captures)
    most = max((row.amount for row in order.authorizations), default=zero)
    return any(row.final for row in captures) or _sum((row.amount for row in captures), zero) >= most


def _spent(order: Order, operation: Operation, now: datetime | None) -> str | None:
    """Return PayPal's word for a capture that is given back whole without this refund, if certain."""
    reference = operation.capture.reference if operation.capture is not None else None
    capture = next((row for row in order.captures if row.id == reference), None)
    if capture is None or capture.status != "REFUNDED":
        return None
    zero, sent_at = Money.from_minor(0, order.amount.currency), operation.sent_at
    # A chargeback is not listed; neither is, for a while, a refund that was made just now.
    settled = now is not None and sent_at is not None and now >= sent_at + SETTLED
    listed = _listed(order, capture, zero) >= capture.amount
    return "CAPTURE_FULLY_REFUNDED" if listed or settled else None


def _sum(amounts: Iterable[Money], zero: Money) -> Money:
    return sum(amounts, zero)
