"""What a PaymentIntent means: which answer it is to a hook, and the truth that it tells.

Pure functions. The table `STATUSES` is Stripe's life of a PaymentIntent, told in the five statuses
of a session: https://docs.stripe.com/payments/paymentintents/lifecycle.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen

from paysession.provider import (
    ClientAction,
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from paysession.provider import Operation, PaymentSession
    from paysession_stripe.data import StripeData
    from paysession_stripe.intent import Dispute, Intent, Refund

__all__ = ["STATUSES", "Browser", "authorization", "capture", "refund", "release", "snapshot", "status_of"]

logger = logging.getLogger("paysession_stripe")

STATUSES: Final[Mapping[str, Status]] = {
    "requires_payment_method": Status.PENDING,
    "requires_confirmation": Status.PENDING,
    "requires_action": Status.REQUIRES_MORE,
    "processing": Status.PENDING,
    "requires_capture": Status.AUTHORIZED,
    "succeeded": Status.AUTHORIZED,
    "canceled": Status.CANCELED,
}
EffectState = Literal["pending", "succeeded", "failed", "reversed"]
_AWAITS_PAYER: Final = ("requires_payment_method", "requires_confirmation")
_CLOSED: Final = ("succeeded", "canceled")

_REFUND_STATES: Final[Mapping[str, EffectState]] = {
    "pending": "pending",
    "requires_action": "pending",
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "failed",
}
_DISPUTE_STATES: Final[Mapping[str, EffectState]] = {
    # Stripe takes the money when the dispute is opened and gives it back if it is won; an inquiry
    # (warning_*) and a prevented dispute move nothing: https://docs.stripe.com/disputes/how-disputes-work
    "needs_response": "succeeded",
    "under_review": "succeeded",
    "lost": "succeeded",
    "won": "reversed",
}


@frozen
class Browser:
    """What the payer's browser needs besides the PaymentIntent; nothing of it is secret."""

    publishable_key: str = ""
    stripe_account: str = ""

    def action(self, intent: Intent, data: StripeData) -> Redirect | ClientAction | None:
        """Return what the payer must do; a saved payment method is charged without them."""
        if intent.status == "requires_action" and intent.redirect is not None:
            return Redirect(intent.redirect)
        acting = intent.status == "requires_action"
        awaited = acting or (intent.status in _AWAITS_PAYER and data.payment_method is None)
        if not awaited or intent.client_secret is None:
            return None
        acts = "next_action" if acting else "payment_element"
        params = {"client_secret": intent.client_secret, "publishable_key": self.publishable_key}
        if self.stripe_account:
            params["stripe_account"] = self.stripe_account
        return ClientAction(f"stripe.{acts}", params)


def status_of(intent: Intent) -> Status:
    """Return the session's status that a PaymentIntent shows."""
    if intent.status == "requires_payment_method" and intent.error is not None:
        return Status.ERROR
    if intent.status == "canceled" and intent.received:
        return Status.AUTHORIZED  # what was captured stays captured; only the rest is let go of
    if intent.status not in STATUSES:
        logger.warning("Stripe shows the unknown status %r of %s; it is pending", intent.status, intent.id)
    return STATUSES.get(intent.status, Status.PENDING)


# --- answers to hooks -----------------------------------------------------------------------------


def authorization(intent: Intent, session: PaymentSession, data: StripeData, browser: Browser) -> Outcome:
    """Return the answer to ``authorize``.

    Raises:
        Declined: The last attempt to pay failed, and nobody has been told yet.
    """
    told = data.seen(intent).to_json()
    if intent.status == "requires_capture":
        expires_at = intent.charge.capture_before if intent.charge is not None else None
        return Outcome.authorized(
            amount=intent.authorized, data=told, reference=intent.id, expires_at=expires_at
        )
    if intent.received:
        return Outcome.captured(intent.received, released=True, data=told, reference=intent.id)
    if intent.status == "canceled":
        return Outcome.canceled(data=told, reference=intent.id)
    status = status_of(intent)
    # A failure ends one attempt. Asked again after it was told, the payer may try another card.
    if status is Status.ERROR and session.status is not Status.ERROR and intent.error is not None:
        raise Declined(intent.error.code, intent.error.message, data=told, reference=intent.id)
    action = browser.action(intent, data)
    if action is None:
        return Outcome.pending(data=told, reference=intent.id)
    return Outcome.requires_more(next_action=action, data=told, reference=intent.id)


def capture(intent: Intent, session: PaymentSession, data: StripeData) -> Outcome:
    """Return the answer to ``capture``: what Stripe has received beyond what was captured before.

    Raises:
        OutcomeUnknown: Stripe received nothing more.
    """
    told = data.seen(intent).to_json()
    if intent.status == "processing":
        return Outcome.pending(data=told)
    taken = intent.received.minor - session.captured_amount.minor
    if taken <= 0:
        raise OutcomeUnknown(f"{intent.id} is {intent.status} and shows no further capture", data=told)
    alone = intent.status in _CLOSED and not session.captured
    return Outcome.captured(
        Money.from_minor(taken, intent.received.currency),
        released=intent.status in _CLOSED,
        data=told,
        reference=intent.charge.id if alone and intent.charge is not None else None,
    )


def refund(refund: Refund) -> Outcome:
    """Return the answer to ``refund``.

    Raises:
        Declined: It failed.
        OutcomeUnknown: Its status is not known.
    """
    state = _REFUND_STATES.get(refund.status)
    if state == "succeeded":
        return Outcome.refunded(refund.amount, reference=refund.id)
    if state == "pending":
        return Outcome.pending(reference=refund.id)
    if state == "failed":
        error = _failure(refund)
        raise Declined(error.code, error.message)
    raise OutcomeUnknown(f"Stripe shows the unknown status {refund.status!r} of the refund {refund.id}")


def release(intent: Intent, session: PaymentSession, data: StripeData) -> Outcome:
    """Return the answer to ``cancel``.

    Raises:
        OutcomeUnknown: It is not canceled, or more was captured before than the books know.
    """
    told = data.seen(intent).to_json()
    if intent.status not in _CLOSED:
        raise OutcomeUnknown(f"{intent.id} is {intent.status} after it was canceled", data=told)
    if intent.received != session.captured_amount:
        raise OutcomeUnknown(f"{intent.id} is {intent.status}, with {intent.received} captured", data=told)
    return Outcome.canceled(data=told, reference=intent.id)


def _failure(refund: Refund) -> Failure:
    return Failure(refund.failure or "refund_failed", f"the refund {refund.id} {refund.status}")


# --- the truth ------------------------------------------------------------------------------------


def snapshot(
    intent: Intent,
    disputes: Sequence[Dispute],
    session: PaymentSession,
    data: StripeData,
    browser: Browser,
    operation: Operation | None = None,
) -> Snapshot:
    """Return what a PaymentIntent tells of its session.

    Args:
        intent: The PaymentIntent, with all refunds of its charge.
        disputes: The disputes of its charge, the latest first.
        session: The session as the books have it.
        data: The session's data, which is brought up to date.
        browser: What the payer's browser needs.
        operation: The operation in doubt, or None.
    """
    status = status_of(intent)
    effects = list(_refuted(intent, disputes, operation))
    effects += _captures(intent, session.captured_amount)
    effects += _refunds(intent, disputes)
    if status is Status.PENDING and intent.status not in _AWAITS_PAYER:
        effects.append(Effect(Kind.AUTHORIZE, intent.amount, "pending"))
    holds = intent.status in ("requires_capture", *_CLOSED)
    return Snapshot(
        status,
        amount=intent.amount,
        authorized=intent.authorized if holds else None,
        captured=intent.received,
        refunded=_given_back(intent, disputes),
        effects=effects,
        session_id=intent.session_id,
        data=data.seen(intent).to_json(),
        reference=intent.id,
        next_action=browser.action(intent, data),
        expires_at=(
            intent.charge.capture_before
            if intent.charge is not None and intent.status == "requires_capture"
            else None
        ),
        error=intent.error if status is Status.ERROR else None,
    )


def _captures(intent: Intent, booked: Money) -> Iterator[Effect]:
    """Tell the captures one by one: ours by their marks, then what is new and carries none.

    All captures are of one charge, so its id names one of ours only where there is no other. What
    carries no mark is not ours, which an empty key says.
    """
    charge = intent.charge.id if intent.charge is not None else None
    marks = [mark for mark in intent.captures if mark.amount]
    unmarked = intent.received.minor - sum(mark.amount.minor for mark in marks)
    if unmarked < 0:
        return  # somebody wrote into the metadata: Stripe's own total is told, and nothing else
    alone = _only_capture(intent)
    for mark in marks:
        yield Effect(Kind.CAPTURE, mark.amount, reference=alone, key=mark.key)
    new = min(unmarked, intent.received.minor - booked.minor)
    if new > 0:
        yield Effect(Kind.CAPTURE, Money.from_minor(new, booked.currency), reference=charge, key="")


def _only_capture(intent: Intent) -> str | None:
    """Return the charge's id if it was captured once, and so names that capture."""
    marks = [mark.amount for mark in intent.captures if mark.amount]
    alone = intent.status in _CLOSED and marks in ([], [intent.received])
    return intent.charge.id if alone and intent.charge is not None else None


def _true_refunds(intent: Intent) -> list[Refund]:
    """Return the refunds of money, without those that only let go of an authorization.

    Where all was captured there was nothing to let go of, whatever a refund is without.
    """
    if intent.charge is None or not intent.received:
        return []
    whole = intent.received == intent.amount
    return [
        refund
        for refund in intent.charge.refunds
        if whole or refund.moved_money or refund.key is not None or refund.status != "succeeded"
    ]


def _refunds(intent: Intent, disputes: Sequence[Dispute]) -> Iterator[Effect]:
    """Tell the refunds and the chargebacks one by one.

    One that carries no key of ours carries Stripe's id as its key: it is never taken for ours.
    """
    capture = _only_capture(intent)
    for refund in reversed(_true_refunds(intent)):
        state = _REFUND_STATES.get(refund.status, "pending")
        error = _failure(refund) if state == "failed" else None
        key = refund.key or refund.id
        yield Effect(Kind.REFUND, refund.amount, state, refund.id, key, capture=capture, error=error)
    for dispute in reversed(disputes):
        if dispute.status not in _DISPUTE_STATES:
            continue
        state, name = _DISPUTE_STATES[dispute.status], dispute.id
        won = Failure("dispute_won", f"the dispute {name} was won") if state == "reversed" else None
        yield Effect(Kind.REFUND, dispute.amount, state, name, name, capture=capture, error=won)


def _given_back(intent: Intent, disputes: Sequence[Dispute]) -> Money:
    total = sum(effect.amount.minor for effect in _refunds(intent, disputes) if effect.state == "succeeded")
    return Money.from_minor(total, intent.amount.currency)


def _refuted(intent: Intent, disputes: Sequence[Dispute], operation: Operation | None) -> Iterator[Effect]:
    """Tell that an operation in doubt did not happen, where it cannot happen any more.

    That it does not show yet proves nothing: the request may be on its way. But a PaymentIntent
    that has succeeded or is canceled takes no further capture, and a charge that is given back
    takes no further refund; and ours would carry our mark. What is captured whole has nothing left
    to let go of. Told first, so that what somebody else did there is not taken for ours.
    """
    if operation is None or not intent.received:
        return
    kind, closed = operation.kind, intent.status in _CLOSED
    error = None
    if kind is Kind.CAPTURE and closed:
        if operation.key not in {mark.key for mark in intent.captures}:
            error = Failure(f"payment_intent_{intent.status}", f"{intent.id} takes no further capture")
    elif kind is Kind.REFUND and _given_back(intent, disputes) >= intent.received:
        if operation.key not in {refund.key for refund in _true_refunds(intent)}:
            error = Failure("charge_already_refunded", f"all of {intent.id} is given back")
    elif kind is Kind.CANCEL and closed and intent.received == intent.amount:
        error = Failure("already_captured", f"all of {intent.id} is captured: refund it instead")
    if error is not None:
        yield Effect(kind, operation.amount, "failed", key=operation.key, error=error)
