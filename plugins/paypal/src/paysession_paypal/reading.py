"""What an order says of a session: one reading, from which every hook takes its answer.

`Reading` holds PayPal's order beside our session, and says in the core's terms what it adds up to (the
totals), how the session stands (the verdict) and what happened one by one (the evidence). It asks nobody.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

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
from paysession_paypal.chargebacks import Chargebacks
from paysession_paypal.data import PayPalData
from paysession_paypal.orders import LIVE, NOT_CAPTURED, NOT_REFUNDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from paysession.provider import Operation, PaymentSession
    from paysession_paypal.disputes import Case
    from paysession_paypal.orders import Authorization, Capture, Order, Refund

__all__ = ["PAYMENTS_KEY", "Reading", "captured", "refunded"]

logger = logging.getLogger("paysession_paypal")

APPROVAL: Final = timedelta(hours=3)
"""How long an order may wait for the payer and for us (PayPal's default)."""
PAYMENTS_KEY: Final = timedelta(days=45)
"""How long PayPal keeps a request id (https://developer.paypal.com/api/rest/reference/idempotency/)."""
SETTLED: Final = timedelta(minutes=10)
"""After this long an order shows what was done to it, and two clocks' difference is no matter."""
_LISTED_AS: Final = {
    Kind.AUTHORIZE: "authorizations",
    Kind.CAPTURE: "captures",
    Kind.REFUND: "refunds",
}
_DENIED: Final = "PayPal denied the payment"


@frozen
class Reading:
    """What an order says of a session.

    Attributes:
        order: What PayPal shows.
        session: The session as the ledger has it.
        now: PayPal's clock when it showed this, if known.
        cases: The disputes of its captures, as PayPal showed them after it.
        asked: Whether the dispute that a notification named was queried, if one did.
    """

    order: Order
    session: PaymentSession
    now: datetime | None = None
    cases: Sequence[Case] = ()
    asked: bool = False

    # --- the totals -------------------------------------------------------------------------------

    def _total(self, rows: Iterable[Authorization | Capture | Refund]) -> Money:
        return sum((row.amount for row in rows), Money.from_minor(0, self.order.amount.currency))

    @property
    def at_once(self) -> bool:
        """Whether the order is captured at once, without an authorization before."""
        return self.order.intent == "CAPTURE"

    @property
    def at_the_bank(self) -> bool:
        """Whether the payer has approved at a bank, and PayPal is about to capture by itself."""
        approved = self.order.status == "APPROVED" and not self.order.captures
        return approved and PayPalData.of(self.session).source.bank

    @property
    def captured(self) -> Money:
        """All that was taken, refunds and chargebacks not deducted."""
        return self._total(row for row in self.order.captures if row.settled)

    @property
    def capturing(self) -> Money:
        """What is being taken from an authorization, and may fail yet."""
        if self.at_once:
            return self._total(())
        return self._total(row for row in self.order.captures if row.state == "pending")

    @property
    def left(self) -> Money:
        """How much is authorized and neither captured nor being captured.

        An authorization whose time is over by PayPal's clock is one that PayPal is about to void. What was
        captured just before its end may not show yet, and nothing may be concluded without it.
        """
        now = self.now
        live = [
            row
            for row in self.order.authorizations
            if row.live and (now is None or row.expires_at is None or now < row.expires_at + SETTLED)
        ]
        taken = [row for row in self.order.captures if not row.failed]
        nothing = self._total(())
        if not live or any(row.final for row in taken):
            return nothing
        # A reauthorization takes the place of the original one: it does not add to it.
        most, gone = max(row.amount for row in live), self._total(taken)
        return most - gone if gone < most else nothing

    @property
    def refunded(self) -> Money:
        """All that was given back, what disputes took not included."""
        return self._total(row for row in self.order.refunds if row.state == "succeeded")

    @property
    def charged_back(self) -> Money:
        """All that disputes took."""
        return sum(self.chargebacks.taken.values(), self._total(()))

    @property
    def chargebacks(self) -> Chargebacks:
        """What disputes did to the captures."""
        captures, session = self.order.captures, self.session
        # One that is made in PayPal's pages has no invoice number, or its capture's.
        others = {"", None, *(key_of(row.invoice_id, session.id) for row in captures)}
        refunds = [
            row
            for row in self.order.refunds
            if not row.failed and key_of(row.invoice_id, session.id) in others
        ]
        return Chargebacks(
            captures=captures,
            gone=self._gone,
            room={row.id: row.amount - min(row.amount, self._refunds_of(row)) for row in captures},
            partly=self._partly,
            refunds=refunds,
            known=PayPalData.of(session).disputes,
            cases=self.cases,
            now=self.now,
        )

    @property
    def _gone(self) -> dict[str, Money]:
        """How much of each capture, by its id, was given back beyond the refunds that are listed.

        A capture that PayPal calls refunded or reversed was given back whole: that is how a chargeback shows.
        A refund without a link counts for whichever capture lacks one.
        """
        loose = self._total(row for row in self.order.refunds if row.capture is None and not row.failed)
        found: dict[str, Money] = {}
        for row in self.order.captures:
            listed = self._refunds_of(row)
            if not row.gone or listed >= row.amount:
                continue
            missing = row.amount - listed
            explained = min(loose, missing)
            loose -= explained
            if explained < missing:
                found[row.id] = missing - explained
        return found

    @property
    def _partly(self) -> list[str]:
        """The ids of the captures of which a part was given back, and no refund is listed.

        A refund that we have just made may be listed later than that shows.
        """
        session, refunds = self.session, self.order.refunds
        listed = self._total(row for row in refunds if not row.failed)
        if session.in_doubt or session.refunded + session.refunding > listed.minor:
            return []
        return [
            row.id
            for row in self.order.captures
            if row.status == "PARTIALLY_REFUNDED" and all(r.capture not in (row.id, None) for r in refunds)
        ]

    def _refunds_of(self, capture: Capture) -> Money:
        """Return how much of a capture was given back, or is being given back, by refunds that are listed."""
        return self._total(row for row in self.order.refunds if row.capture == capture.id and not row.failed)

    @property
    def unexplained(self) -> tuple[str, ...]:
        """What was not understood of the order's payments, in words.

        A capture of which a part was given back without any refund is one of it, unless a dispute says how
        much PayPal took: the order does not.
        """
        words = [text for texts in self.order.unclear.values() for text in texts]
        taken = self.chargebacks.taken
        words += [
            f"a part of {capture} was given back, and neither a refund nor a dispute says how much"
            for capture in self._partly
            if capture not in taken
        ]
        return tuple(words)

    def _is_spent(self, captures: Iterable[Capture]) -> bool:
        """Return whether these captures leave nothing of the authorization to be captured."""
        captures = tuple(captures)
        most = max((row.amount for row in self.order.authorizations), default=self._total(()))
        return any(row.final for row in captures) or self._total(captures) >= most

    def seen(self, payment_source: str, declined: str | None = None) -> PayPalData:
        """Return the session's data with what the order shows, while the payer is to act.

        Args:
            payment_source: What the session is paid with.
            declined: Why PayPal sent the payer back, if it did: this approval is not tried again.
        """
        approval = self.order.approval if declined else None
        data = PayPalData.of(self.session).seen(self.order, declined=declined, declined_approval=approval)
        return evolve(data, payment_source=payment_source)

    # --- the payer --------------------------------------------------------------------------------

    @property
    def expires_at(self) -> datetime | None:
        """When the authorization ends, or when the order no longer waits for the payer."""
        rows = self.order.authorizations
        ends = [row.expires_at for row in rows if row.expires_at is not None and row.live]
        ends = ends or [row.expires_at for row in rows if row.expires_at is not None]
        if ends:
            return max(ends)
        return self.order.created_at + APPROVAL if self.order.created_at is not None else None

    # --- the verdict ------------------------------------------------------------------------------

    def answer(self, data: PayPalData) -> Outcome | None:
        """Return what ``authorize`` is to answer if the order shows it already; None: it is still to do.

        Args:
            data: The session's data; what the order shows is added.

        Raises:
            Declined: PayPal denied the payment.
            OutcomeUnknown: The order is completed and shows no payment, or one that cannot be understood.
        """
        order, payer = self.order, self.order.payer
        seen, expires_at = data.seen(self.order).json(), self.expires_at
        rows = order.captures if self.at_once else order.authorizations
        kind = "captures" if self.at_once else "authorizations"
        for row in rows:
            if row.state == "succeeded" and self.at_once:
                return Outcome.captured(
                    row.amount, released=True, data=seen, payer=payer, expires_at=expires_at
                )
            if row.state == "succeeded":
                return Outcome.authorized(amount=row.amount, data=seen, payer=payer, expires_at=expires_at)
        if any(row.state == "pending" for row in rows) or self.at_the_bank:
            return Outcome.pending(data=seen, payer=payer, expires_at=expires_at)
        if kind in order.unclear:
            raise OutcomeUnknown(f"PayPal shows a payment that cannot be read: {order.unclear[kind][0]}")
        if not self.at_once and order.captures:
            raise OutcomeUnknown("PayPal shows an authorization that was captured in part and voided")
        if any(row.state == "failed" for row in rows):
            raise Declined(self._denial(), _DENIED, data=seen)
        if order.status == "VOIDED" or rows:
            return Outcome.canceled(data=seen, payer=payer, expires_at=expires_at)
        if order.status == "COMPLETED":
            raise OutcomeUnknown("PayPal shows a completed order without a payment")
        return None

    def _denial(self) -> str:
        reasons = (row.reason or row.status for row in self.order.captures if row.failed)
        return next(reasons, "AUTHORIZATION_DENIED")

    def snapshot(self, operation: Operation | None) -> Snapshot:
        """Return the truth about the session.

        Args:
            operation: The one in doubt, or None.

        Raises:
            OutcomeUnknown: The order is completed and shows no payment; or what cannot be read of it may be
                the operation's effect.
        """
        order, data, unclear = self.order, PayPalData.of(self.session), self.order.unclear
        self._check_readable(operation)
        at_stake = self.captured + self.capturing
        status, error = self._status(operation, at_stake)
        waiting = status is Status.REQUIRES_MORE
        # With nothing of what may be the operation's effect in it, the operator decides.
        silent = operation is not None and self._may_be_shown(operation)
        murky = silent or "authorizations" in unclear or "captures" in unclear
        page = data.page(order)
        return Snapshot(
            status,
            amount=order.amount,
            authorized=None if murky else at_stake + self.left,
            captured=None if silent or "captures" in unclear else self.captured,
            refunded=None if silent or "refunds" in unclear else self.refunded,
            charged_back=None if silent or self.unexplained else self.charged_back,
            effects=[] if silent else [*self._effects(), *self._impossible(operation)],
            # The order stays approved when the payer's card is declined: only a later approval is a new one.
            ready=waiting
            and not data.source.bank
            and order.status == "APPROVED"
            and (data.declined is None or order.approval != data.declined_approval),
            session_id=order.session_id,
            data=data.seen(
                order,
                declined=data.declined if waiting else None,
                declined_approval=data.declined_approval if waiting else None,
                unclear=self.unexplained,
                disputes=self.chargebacks.kept,
                dispute=None if self.asked else data.dispute,
            ).json(),
            reference=order.id,
            next_action=Redirect(page) if waiting and page and not data.script else None,
            expires_at=self.expires_at,
            error=error,
            payer=order.payer,
        )

    def _may_be_shown(self, operation: Operation) -> bool:
        """Return whether the operation may be what is shown without an invoice number, and no key tells.

        As long as PayPal keeps the key, sending it again does.
        """
        sent_at, now = operation.sent_at or operation.created_at, self.now
        if now is not None and now - sent_at < PAYMENTS_KEY:
            return False
        rows: Sequence[Capture | Refund] = ()
        if operation.kind is Kind.REFUND:
            rows = self.order.refunds
        elif operation.kind is Kind.CAPTURE and not self.at_once:
            rows = self.order.captures
        if any(key_of(row.invoice_id, self.session.id) == operation.key for row in rows):
            return False
        return any(row.invoice_id is None and row.amount == operation.amount for row in rows)

    def _check_readable(self, operation: Operation | None) -> None:
        """Refuse to say anything of an operation that may be what cannot be read.

        A row whose status alone is not known is read, and counts as pending.
        """
        if operation is None:
            return
        at_once = operation.kind is Kind.AUTHORIZE and self.at_once
        kind = "captures" if at_once else _LISTED_AS.get(operation.kind)
        rows = self.order.captures if operation.kind is Kind.CAPTURE else self.order.refunds
        listed = any(key_of(row.invoice_id, self.session.id) == operation.key for row in rows)
        if kind in self.order.unread and not listed:
            raise OutcomeUnknown(f"PayPal's order cannot be read: {self.order.unclear[kind][0]}")

    def _status(self, operation: Operation | None, at_stake: Money) -> tuple[Status, Failure | None]:
        order, left = self.order, self.left
        canceling = operation is not None and operation.kind is Kind.CANCEL
        if self.unexplained and self.session.status is Status.AUTHORIZED:
            # Neither as it was nor otherwise: the core reports it as a conflict, until it can be read again.
            logger.warning("PayPal's order %s cannot be read: %s", order.id, "; ".join(self.unexplained))
            return Status.PENDING, None
        if at_stake and not left and canceling:
            # Everything is captured, or voided beyond the captures: there is nothing left to release.
            return Status.CANCELED, None
        if at_stake or left:
            return Status.AUTHORIZED, None
        rows = order.captures if self.at_once else order.authorizations
        if any(row.state == "pending" for row in rows) or self.at_the_bank:
            return Status.PENDING, None
        if order.authorizations or order.captures or order.status == "VOIDED":
            return self._over()
        return self._unpaid(canceling=canceling)

    def _unpaid(self, *, canceling: bool) -> tuple[Status, Failure | None]:
        """Return how a session stands whose order shows no payment."""
        order = self.order
        if order.status == "COMPLETED" or order.unclear:
            raise OutcomeUnknown("PayPal shows a completed order without a payment that can be read")
        canceled = self.session.status is Status.CANCELED or canceling
        if canceled and not PayPalData.of(self.session).source.bank:
            # PayPal has no call that cancels an order which nobody paid. It needs none: money moves by
            # our own authorize call only, and none will follow.
            return Status.CANCELED, None
        if self.session.status is Status.ERROR:
            # PayPal refused, and shows the order as it was: only a new authorize, asked for, goes on.
            return Status.ERROR, self.session.error
        if PayPalData.of(self.session).vault_id is not None:
            # No payer is asked: the host authorizes, with what was saved.
            return Status.PENDING, None
        return Status.REQUIRES_MORE, None

    def _over(self) -> tuple[Status, Failure | None]:
        """Return how a session stands whose order shows payments, and none that holds or took anything."""
        order = self.order
        states = {row.status for row in order.authorizations} | {row.status for row in order.captures}
        if "CAPTURED" in states and not self._is_spent(order.captures):
            raise OutcomeUnknown("PayPal shows a captured authorization without its captures")
        if states & {"CAPTURED", "VOIDED", "EXPIRED", *LIVE} or order.status == "VOIDED":
            return Status.CANCELED, None  # voided, out of time, or spent on captures that failed
        # What was authorized for us and is denied since is gone, and so is what was released.
        gone = self.session.status in (Status.AUTHORIZED, Status.CANCELED)
        return (Status.CANCELED, None) if gone else (Status.ERROR, Failure(self._denial(), _DENIED))

    # --- the evidence -----------------------------------------------------------------------------

    def _effects(self) -> list[Effect]:
        """Return every authorization, capture, refund and chargeback one by one."""
        order, session_id = self.order, self.session.id
        effects = [Effect(Kind.AUTHORIZE, row.amount, row.state, row.id) for row in order.authorizations]
        canceling = PayPalData.of(self.session).canceling
        if canceling is not None and order.captures:
            late = Failure("ORDER_ALREADY_CAPTURED", "the payer approved before the order expired: refund it")
            effects.append(Effect(Kind.CANCEL, order.amount, "failed", key=canceling, error=late))
        if self.at_the_bank:
            return [*effects, Effect(Kind.AUTHORIZE, order.amount, "pending")]
        if self.at_once and any(row.state == "pending" for row in order.captures):
            # That capture *is* the authorization, and it is pending.
            return [*effects, Effect(Kind.AUTHORIZE, order.amount, "pending")]
        for row in order.captures:
            # With the intent CAPTURE it carries the order's invoice number, and belongs to authorize.
            key = None if self.at_once else key_of(row.invoice_id, session_id)
            effects.append(Effect(Kind.CAPTURE, row.amount, row.state, row.id, key, error=row.failure))
        for back in order.refunds:
            key = key_of(back.invoice_id, session_id)
            effects.append(
                Effect(
                    Kind.REFUND,
                    back.amount,
                    back.state,
                    back.id,
                    key,
                    capture=back.capture,
                    error=back.failure,
                )
            )
        return [*effects, *(one.effect for one in self.chargebacks.all)]

    def _impossible(self, operation: Operation | None) -> list[Effect]:
        """Return the operation in doubt as failed, if the order proves that it cannot take effect any more.

        The proof is a final state that the effects listed explain without it: the authorization is void or
        captured to the end, or the capture is refunded to the end, by others.
        """
        if operation is None or operation.kind not in (Kind.CAPTURE, Kind.REFUND):
            return []
        rows: tuple[Capture, ...] | tuple[Refund, ...]
        rows = self.order.captures if operation.kind is Kind.CAPTURE else self.order.refunds
        keys = [key_of(row.invoice_id, self.session.id) for row in rows]
        if operation.key in keys or None in keys:
            return []
        if operation.kind is Kind.CAPTURE:
            over, words = self._no_capture(), NOT_CAPTURED
        else:
            over, words = self._no_refund(operation), NOT_REFUNDED
        if over is None:
            return []
        error = Failure(over, words)
        return [Effect(operation.kind, operation.amount, "failed", key=operation.key, error=error)]

    def _no_capture(self) -> str | None:
        """Return why nothing more can be captured, in PayPal's own word for it, if that is certain."""
        rows = self.order.authorizations
        if not rows:
            return None
        if self._is_spent(row for row in self.order.captures if not row.failed):
            return "AUTHORIZATION_ALREADY_CAPTURED"
        over = {row.status for row in rows if row.state in ("reversed", "failed")}
        if self.left or any(not row.live and row.status not in over for row in rows):
            return None
        return f"AUTHORIZATION_{min(over)}" if over else "AUTHORIZATION_EXPIRED"

    def _no_refund(self, operation: Operation) -> str | None:
        """Return PayPal's word for a capture that is given back whole without this refund, if certain."""
        reference = operation.capture.reference if operation.capture is not None else None
        capture = next((row for row in self.order.captures if row.id == reference), None)
        if capture is None or not capture.gone:
            return None
        listed = self._refunds_of(capture) >= capture.amount
        # A chargeback is not listed; neither is, for a while, a refund that was made just now.
        now, sent_at = self.now, operation.sent_at
        settled = now is not None and sent_at is not None and now >= sent_at + SETTLED
        return "CAPTURE_FULLY_REFUNDED" if listed or settled else None


def captured(
    row: Capture,
    session: PaymentSession,
    operation: Operation,
    data: PayPalData,
    expires_at: datetime | None = None,
) -> Outcome:
    """Return what became of a capture, as PayPal's answer states it.

    Args:
        row: The answer.
        session: The session.
        operation: What was asked.
        data: The session's data; the capture is added.
        expires_at: When the authorization ends, if that has changed.
    """
    _check_key(row.invoice_id, session, operation)
    if row.failure is not None:
        raise Declined(row.failure.code, row.failure.message)
    seen = data.with_capture(row).json()
    if row.state == "pending":
        return Outcome.pending(data=seen, reference=row.id, expires_at=expires_at)
    return Outcome.captured(
        row.amount, released=row.final, data=seen, reference=row.id, expires_at=expires_at
    )


def refunded(row: Refund, session: PaymentSession, operation: Operation) -> Outcome:
    """Return what became of a refund, as PayPal's answer states it."""
    _check_key(row.invoice_id, session, operation)
    if row.failure is not None:
        raise Declined(row.failure.code, row.failure.message)
    if row.state == "pending":
        return Outcome.pending(reference=row.id)
    return Outcome.refunded(row.amount, reference=row.id)


def _check_key(invoice: str | None, session: PaymentSession, operation: Operation) -> None:
    if key_of(invoice, session.id) not in (None, operation.key):
        raise OutcomeUnknown(f"PayPal answered with the effect {invoice!r:.80} to {operation.key}")
