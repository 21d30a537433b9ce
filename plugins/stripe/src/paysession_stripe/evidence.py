"""What a PaymentIntent proves about its session: one reading for answers, lookups and notifications.

Pure functions. The table `STATUSES` is Stripe's life of a PaymentIntent in the five statuses of a session:
https://docs.stripe.com/payments/paymentintents/lifecycle.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Literal

from attrs import evolve, frozen

from paysession.provider import (
    ClientAction,
    Declined,
    Dispute,
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
    from datetime import datetime

    from paysession.provider import Operation, Payer, PaymentSession
    from paysession_stripe.data import StripeData
    from paysession_stripe.intent import Dispute as Disputed
    from paysession_stripe.intent import Intent, Refund
    from paysession_stripe.page import Page

__all__ = [
    "STATUSES",
    "Browser",
    "Reading",
    "after_refusal",
    "authorization",
    "capture",
    "made",
    "paid_before",
    "raised",
    "read",
    "refund",
    "release",
    "snapshot",
]

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
DisputeStatus = Literal["opened", "under_review", "won", "lost"]
_AWAITS_PAYER: Final = ("requires_payment_method", "requires_confirmation")
_CLOSED: Final = ("succeeded", "canceled")
_EXPIRED: Final = ("automatic", "expired")
"""Why Stripe itself canceled what nobody captured in time."""

_REFUND_STATES: Final[Mapping[str, EffectState]] = {
    "pending": "pending",
    "requires_action": "pending",
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "failed",
}
_DISPUTES: Final[Mapping[str, tuple[DisputeStatus, EffectState]]] = {
    # Stripe takes the money when the dispute is opened and gives it back if it is won; an inquiry
    # (warning_*) and a prevented dispute move nothing: https://docs.stripe.com/disputes/how-disputes-work
    "warning_needs_response": ("opened", "pending"),
    "warning_under_review": ("under_review", "pending"),
    "warning_closed": ("won", "failed"),
    "prevented": ("won", "failed"),
    "needs_response": ("opened", "succeeded"),
    "under_review": ("under_review", "succeeded"),
    "won": ("won", "reversed"),
    "lost": ("lost", "succeeded"),
}
"""How a dispute stands, and what became of the money."""


@frozen
class Browser:
    """What the payer's browser needs besides the PaymentIntent; nothing of it is secret."""

    publishable_key: str = ""
    stripe_account: str = ""
    locale: str | None = None
    email: str | None = None

    def action(self, intent: Intent, data: StripeData, page: Page | None) -> Redirect | ClientAction | None:
        """Return what the payer must do; a kept payment method is charged without them."""
        if intent.status == "requires_action" and intent.redirect is not None:
            return Redirect(intent.redirect)
        acting = intent.status == "requires_action"
        awaited = acting or (intent.status in _AWAITS_PAYER and data.payment_method is None)
        if not awaited:
            return None
        if page is not None:
            return self.at(page)
        if intent.client_secret is None:
            return None
        return self._script(
            "next_action" if acting else "payment_element",
            intent.client_secret,
            locale=self.locale,
            email=self.email,
        )

    def at(self, page: Page) -> Redirect | ClientAction | None:
        """Return how the payer gets to a page, while it is open."""
        if not page.is_open:
            return None
        if page.client_secret is not None:
            return self._script("embedded_page", page.client_secret)
        return Redirect(page.url) if page.url is not None else None

    def _script(self, kind: str, client_secret: str, **more: str | None) -> ClientAction:
        params = {"client_secret": client_secret, "publishable_key": self.publishable_key}
        more["stripe_account"] = self.stripe_account
        return ClientAction(f"stripe.{kind}", params | {name: value for name, value in more.items() if value})


@frozen
class Reading:
    """What a session's PaymentIntent, or its page where there is none yet, shows.

    Attributes:
        session: The session as the ledger has it.
        data: Its data, brought up to date.
        reference: Stripe's id of what the session is at Stripe: of its page until the payer has paid there,
            and then of the PaymentIntent.
        status: The status that it shows.
        amount: What is to be authorized.
        action: What the payer must do.
        expires_at: When the page closes, or the authorization expires.
        intent: The PaymentIntent; None: the page has made none yet.
        word: The status in Stripe's own word.
        session_id: The id of our session that it carries, or None.
        page: Stripe's page, if it was looked at.
    """

    session: PaymentSession
    data: StripeData
    reference: str
    status: Status
    amount: Money
    action: Redirect | ClientAction | None
    expires_at: datetime | None
    intent: Intent | None
    word: str
    session_id: str | None = None
    page: Page | None = None

    @property
    def payer(self) -> Payer | None:
        """Who paid, as far as they said so."""
        charge = self.intent.charge if self.intent is not None else None
        return charge.payer if charge is not None else None

    @property
    def failed_for_good(self) -> bool:
        """Whether a payment has failed whose payer had left the page: nobody can pay there again."""
        left = self.page is not None and self.page.status == "complete"
        return left and self.status is Status.ERROR

    def replaced_by(self, operation: Operation | None) -> bool:
        """Return whether it ended with its page, which an update in doubt may have replaced."""
        ended = self.status is Status.CANCELED and self.page is not None and self.page.status == "expired"
        return ended and operation is not None and operation.kind is Kind.UPDATE

    @property
    def closed(self) -> bool:
        """Whether nothing further can be captured."""
        return self.word in _CLOSED or self.status is Status.CANCELED


def read(
    intent: Intent | None,
    session: PaymentSession,
    data: StripeData,
    browser: Browser,
    page: Page | None = None,
) -> Reading:
    """Read what is known of a session at Stripe.

    Args:
        intent: The PaymentIntent; None: the page has made none yet.
        session: The session as the ledger has it.
        data: Its data as it is stored.
        browser: What the payer's browser needs.
        page: Stripe's page, if that is where the payer pays.
    """
    if intent is None:
        assert page is not None  # noqa: S101 - one of the two is always there
        status = Status.CANCELED if page.status == "expired" else Status.PENDING
        return Reading(
            session,
            evolve(data, status=page.status),
            page.id,
            status,
            page.amount,
            browser.at(page),
            page.expires_at,
            None,
            page.status,
            page.session_id,
            page,
        )
    status = _status_of(intent)
    if page is not None and page.status == "expired" and intent.status in _AWAITS_PAYER:
        status = Status.CANCELED
    return Reading(
        session,
        data.seen(intent),
        # Notifications of disputes name the PaymentIntent, and never the page.
        page.id if page is not None and not intent.holds else intent.id,
        status,
        intent.amount,
        browser.action(intent, data, page),
        intent.capture_before or (intent.payable_until if intent.status == "requires_action" else None),
        intent,
        intent.status,
        intent.session_id or (page.session_id if page is not None else None),
        page,
    )


def _status_of(intent: Intent) -> Status:
    if intent.status == "requires_payment_method" and intent.error is not None:
        return Status.ERROR
    if intent.status == "canceled" and intent.received:
        return Status.AUTHORIZED  # what was captured stays captured; only the rest is released
    if intent.status not in STATUSES:
        logger.warning("Stripe shows the unknown status %r of %s; it is pending", intent.status, intent.id)
    return STATUSES.get(intent.status, Status.PENDING)


# --- answers to hooks -----------------------------------------------------------------------------


def made(reading: Reading, operation: Operation) -> Outcome:
    """Return the answer to ``initiate`` and ``update``: it waits to be paid.

    Raises:
        OutcomeUnknown: It is about another amount, or was paid or canceled already.
    """
    data, reference = reading.data.to_json(), reading.reference
    if reading.amount != operation.amount:
        raise OutcomeUnknown(
            f"{reference} is about {reading.amount} where {operation.amount} was asked",
            data=data,
            reference=reference,
        )
    if reading.status in (Status.AUTHORIZED, Status.CANCELED):
        raise OutcomeUnknown(f"{reference} is {reading.word} already", data=data, reference=reference)
    if reading.status is Status.REQUIRES_MORE:
        return Outcome.requires_more(next_action=reading.action, data=data, reference=reference)
    expires_at = reading.expires_at if reading.intent is None else None
    return Outcome.pending(next_action=reading.action, data=data, reference=reference, expires_at=expires_at)


def authorization(reading: Reading) -> Outcome:
    """Return the answer to ``authorize``.

    Raises:
        Declined: The last attempt to pay failed, and nobody has heard of it yet.
    """
    data, reference, intent, session = (
        reading.data.to_json(),
        reading.reference,
        reading.intent,
        reading.session,
    )
    if intent is not None and intent.status == "requires_capture":
        return Outcome.authorized(
            amount=intent.authorized,
            data=data,
            reference=reference,
            expires_at=reading.expires_at,
            payer=reading.payer,
        )
    if intent is not None and intent.received:
        return Outcome.captured(
            intent.received, released=True, data=data, reference=reference, payer=reading.payer
        )
    if reading.status is Status.CANCELED:
        return Outcome.canceled(data=data, reference=reference)
    # A failure ends one attempt. Asked again after it was reported, the payer may try another card.
    error = intent.error if intent is not None else None
    if reading.status is Status.ERROR and session.status is not Status.ERROR and error is not None:
        raise Declined(
            error.code,
            error.message,
            category=error.category,
            payer_message_key=error.payer_message_key,
            data=data,
            reference=reference,
        )
    if reading.action is None:
        return Outcome.pending(data=data, reference=reference)
    return Outcome.requires_more(next_action=reading.action, data=data, reference=reference)


def raised(reading: Reading) -> Outcome:
    """Return the answer to an ``update`` of an authorized session: all that is authorized now.

    Raises:
        OutcomeUnknown: It is not authorized any more.
    """
    data, intent = reading.data.to_json(), _intent(reading)
    if intent.status != "requires_capture":
        raise OutcomeUnknown(f"{intent.id} is {intent.status} after it was raised", data=data)
    return Outcome.authorized(
        amount=intent.authorized, data=data, reference=reading.reference, expires_at=reading.expires_at
    )


def capture(reading: Reading) -> Outcome:
    """Return the answer to ``capture``: what Stripe has received beyond what was captured before.

    Raises:
        OutcomeUnknown: Stripe received nothing more.
    """
    data, intent, session = reading.data.to_json(), _intent(reading), reading.session
    if intent.status == "processing":
        return Outcome.pending(data=data)
    taken = intent.received.minor - session.captured_amount.minor
    if taken <= 0:
        raise OutcomeUnknown(f"{intent.id} is {intent.status} and shows no further capture", data=data)
    alone = reading.closed and not session.captured
    return Outcome.captured(
        Money.from_minor(taken, intent.received.currency),
        released=reading.closed,
        data=data,
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


def release(reading: Reading) -> Outcome:
    """Return the answer to ``cancel``.

    Raises:
        OutcomeUnknown: It is not canceled, or more was captured before than the ledger knows.
    """
    data, intent = reading.data.to_json(), reading.intent
    if not reading.closed:
        raise OutcomeUnknown(f"{reading.reference} is {reading.word} after it was canceled", data=data)
    if intent is not None and intent.received != reading.session.captured_amount:
        raise OutcomeUnknown(f"{intent.id} is {intent.status}, with {intent.received} captured", data=data)
    return Outcome.canceled(data=data, reference=reading.reference)


def after_refusal(reading: Reading, operation: Operation, refused: OutcomeUnknown) -> Outcome:
    """Decide by the object what its refusal, for the state that it is in, proves about an operation.

    Stripe keeps the answer to a key, so what it refuses here has had no effect, unless an earlier request of
    the same operation brought the object into this state. Where that cannot be, and a lookup alone would not
    settle it, the refusal stands.

    Returns:
        The answer, where the object is as our own cancel leaves it.

    Raises:
        Declined: The refusal stands; conclusively, if nothing can come of the operation any more.
        OutcomeUnknown: The object may be in this state because of the operation, or a lookup settles it.
    """
    intent, session, data = _intent(reading), reading.session, reading.data.to_json()
    kind, word = operation.kind, intent.status
    if kind is Kind.CAPTURE and word == "canceled" and not intent.captured_by(operation):
        expired = intent.canceled_for in _EXPIRED
        raise Declined(
            "authorization_expired" if expired else "payment_intent_canceled",
            f"{intent.id} is {'expired' if expired else word}, and takes no further capture",
            conclusive=True,
            category="hard",
            data=data,
        )
    if kind is Kind.CANCEL and word == "canceled":
        return release(reading)
    if kind is Kind.CANCEL and word == "succeeded" and not session.captured:
        raise Declined(
            "already_captured",
            f"{intent.received} of {intent.id} is captured, and nothing else is held: refund it instead",
            conclusive=True,
            category="configuration",
            data=data,
        )
    if operation.increments:
        if word in _CLOSED and intent.amount < operation.amount:
            raise Declined(
                f"payment_intent_{word}",
                f"{intent.id} is {word}, and holds nothing more that could be raised",
                conclusive=True,
                category="hard",
                data=data,
            )
        raise refused
    if kind is Kind.UPDATE and session.authorized and intent.amount != operation.amount:
        raise paid_before(operation)
    if word == "processing" and kind is Kind.UPDATE and intent.amount != operation.amount:
        raise Declined(
            "payment_processing",
            f"{intent.id} is being processed: its amount stands",
            category="try_later",
            data=data,
        )
    if kind is Kind.UPDATE and reading.failed_for_good:
        raise Declined(
            "payment_failed",
            f"{intent.id} has failed, and nobody can pay at its page again: begin a new payment",
            conclusive=True,
            category="configuration",
            data=data,
        )
    if word == "requires_action" and reading.reference != intent.id and kind in (Kind.CANCEL, Kind.UPDATE):
        # The payer left the page with a voucher or bank details: Stripe closes neither page nor payment.
        raise Declined(
            "payment_awaited",
            f"the payer has begun to pay {intent.id}: try again when that has failed or its time is over",
            category="try_later",
            data=data,
        )
    if word == "processing" and kind is Kind.CANCEL:
        raise Declined(
            "payment_processing",
            f"{intent.id} is being processed by the payer's bank, and cannot be canceled meanwhile: "
            "cancel it when that has failed, or refund it when it has succeeded",
            category="try_later",
            data=data,
        )
    raise refused


def paid_before(operation: Operation) -> Declined:
    """Return the refusal of an update that came after the payer had paid the former amount."""
    return Declined(
        "authorized",
        f"the payer had paid before the amount could become {operation.amount}",
        conclusive=True,
        category="configuration",
    )


def _intent(reading: Reading) -> Intent:
    if reading.intent is None:
        raise OutcomeUnknown(f"{reading.reference} has no PaymentIntent yet")
    return reading.intent


def _failure(refund: Refund) -> Failure:
    return Failure(refund.failure or "refund_failed", f"the refund {refund.id} {refund.status}")


# --- lookups --------------------------------------------------------------------------------------


def snapshot(
    reading: Reading, disputes: Sequence[Disputed] | None = (), operation: Operation | None = None
) -> Snapshot:
    """Return what Stripe shows of a session: captures, refunds and disputes one by one, whoever made them.

    Args:
        reading: The PaymentIntent, with all refunds of its charge.
        disputes: The disputes of its charge, the latest first; None: they cannot be read.
        operation: The operation in doubt, or None.
    """
    intent, status, data = reading.intent, reading.status, reading.data.to_json()
    if intent is None:
        return Snapshot(
            status,
            amount=reading.amount,
            captured=reading.amount - reading.amount,
            session_id=reading.session_id,
            data=data,
            reference=reading.reference,
            next_action=reading.action,
            expires_at=reading.expires_at,
        )
    returned = [*_refunds(intent), *_chargebacks(intent, disputes or ())]
    effects = list(_refuted(intent, returned, operation))
    effects += _captures(intent, reading.session.captured_amount)
    effects += returned
    if status is Status.PENDING and intent.status not in _AWAITS_PAYER:
        effects.append(Effect(Kind.AUTHORIZE, intent.amount, "pending"))
    holds = intent.status in ("requires_capture", *_CLOSED)
    return Snapshot(
        status,
        amount=intent.amount,
        authorized=intent.authorized if holds else None,
        captured=intent.received,
        refunded=_total(Kind.REFUND, effects, intent),
        charged_back=_total(Kind.CHARGEBACK, effects, intent) if disputes is not None else None,
        effects=effects,
        session_id=reading.session_id,
        data=data,
        reference=reading.reference,
        next_action=reading.action,
        expires_at=reading.expires_at,
        error=intent.error if status is Status.ERROR else None,
        payer=reading.payer,
    )


def _captures(intent: Intent, booked: Money) -> Iterator[Effect]:
    """Return the captures one by one: ours by their marks, then what is new and carries none.

    All captures are of one charge, so its id names one of ours only where there is no other. What
    carries no mark is not ours, which an empty key says.
    """
    charge = intent.charge.id if intent.charge is not None else None
    marks = [mark for mark in intent.captures if mark.amount]
    unmarked = intent.received.minor - sum(mark.amount.minor for mark in marks)
    if unmarked < 0:
        return  # somebody wrote into the metadata: Stripe's own total is reported, and nothing else
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


def _refunds(intent: Intent) -> Iterator[Effect]:
    """Return the refunds one by one.

    One that carries no key of ours carries Stripe's id as its key: it is never taken for ours.
    """
    capture = _only_capture(intent)
    for refund in reversed(_refunds_of(intent)):
        state = _REFUND_STATES.get(refund.status, "pending")
        error = _failure(refund) if state == "failed" else None
        key = refund.key or refund.id
        yield Effect(
            Kind.REFUND,
            refund.amount,
            state,
            refund.id,
            key,
            capture=capture,
            error=error,
            created_at=refund.created_at if refund.key is None else None,  # the key knows better
        )


def _chargebacks(intent: Intent, disputes: Sequence[Disputed]) -> Iterator[Effect]:
    """Return the disputes one by one; one in a state that is not known moves nothing yet."""
    capture = _only_capture(intent)
    for found in reversed(disputes):
        status, state = _DISPUTES.get(found.status, ("opened", "pending"))
        if found.status == "prevented" and found.withdrawn:
            # The payer was given the money before it came to a chargeback.
            status, state = "lost", "succeeded"
        over = state in ("failed", "reversed")
        yield Effect(
            Kind.CHARGEBACK,
            _disputed(found, intent),
            state,
            found.id,
            found.id,
            capture=capture,
            error=Failure(f"dispute_{found.status}", f"the dispute {found.id} is over") if over else None,
            created_at=found.created_at,
            dispute=Dispute(status, reason=found.reason, evidence_due_by=found.due_at, fee=found.fee),
        )


def _refunds_of(intent: Intent) -> Sequence[Refund]:
    return intent.charge.refunds if intent.charge is not None else ()


def _disputed(dispute: Disputed, intent: Intent) -> Money:
    """Return what is disputed, in the currency of the payment.

    Stripe states it in the currency of the bank, sometimes another one: then it is taken for all that was
    captured, which the merchant has to expect to lose.
    """
    return dispute.amount if dispute.amount.currency == intent.amount.currency else intent.received


def _total(kind: Kind, effects: Sequence[Effect], intent: Intent) -> Money:
    """Return what the effects of a kind come to that have succeeded."""
    parts = [effect for effect in effects if effect.kind is kind and effect.state == "succeeded"]
    return Money.from_minor(sum(part.amount.minor for part in parts), intent.amount.currency)


def _gone(returned: Sequence[Effect]) -> int:
    return sum(effect.amount.minor for effect in returned if effect.state == "succeeded")


def _refuted(intent: Intent, returned: Sequence[Effect], operation: Operation | None) -> Iterator[Effect]:
    """Report that an operation in doubt did not happen, where it cannot happen any more.

    That it does not show yet proves nothing: the request may be on its way. But a PaymentIntent
    that has succeeded or is canceled takes no further capture, and a charge that is given back
    takes no further refund; and ours would carry our mark. What is captured whole has nothing left
    to release. Reported first, so that what somebody else did there is not taken for ours.
    """
    if operation is None or not intent.received:
        return
    kind, closed = operation.kind, intent.status in _CLOSED
    error = None
    if kind is Kind.CAPTURE and closed:
        if not intent.captured_by(operation):
            error = Failure(f"payment_intent_{intent.status}", f"{intent.id} takes no further capture")
    elif kind is Kind.REFUND and _gone(returned) >= intent.received.minor:
        if operation.key not in {refund.key for refund in _refunds_of(intent)}:
            error = Failure("charge_already_refunded", f"all of {intent.id} is given back")
    elif kind is Kind.CANCEL and closed and intent.received == intent.amount:
        error = Failure("already_captured", f"all of {intent.id} is captured: refund it instead")
    if error is not None:
        yield Effect(kind, operation.amount, "failed", key=operation.key, error=error)
