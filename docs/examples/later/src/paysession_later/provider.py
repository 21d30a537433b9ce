"""The provider: each hook as a request to Later, and what the answer means."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from attrs import field, frozen
from attrs.validators import gt, instance_of, le

from paysession.provider import (
    API_VERSION,
    Capabilities,
    Declined,
    Effect,
    Endpoint,
    Failure,
    InvalidAmount,
    Money,
    Operation,
    Outcome,
    OutcomeUnknown,
    PaymentSession,
    Redirect,
    Secret,
    Snapshot,
    Status,
    WebhookEvent,
    WebhookRejected,
    hookimpl,
)
from paysession_later.data import LaterData
from paysession_later.gateway import Gateway, Payment

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Later"]

TOLERANCE: Final = 300
"""Seconds that a notification's time may differ from ours: Later signs each repetition anew."""

_STATUSES: Final = {
    "open": Status.REQUIRES_MORE,
    "approved": Status.REQUIRES_MORE,
    "authorized": Status.AUTHORIZED,
    "declined": Status.ERROR,
    "canceled": Status.CANCELED,
}


@frozen(kw_only=True, eq=False)
class Later:
    """The provider ``later``.

    Args:
        api_key: The account's secret key.
        webhook_secret: Verifies notifications; without it all of them are rejected.
        api_base: Where Later listens.
        timeout: Seconds to wait for a connection, and then for the whole answer.
    """

    API_VERSION: ClassVar = API_VERSION

    api_key: Secret = field(converter=Secret)
    webhook_secret: Secret = field(default=Secret(""), converter=Secret)
    api_base: Endpoint = field(default=Endpoint("https://api.later.example/v1"), converter=Endpoint)
    timeout: float = field(default=10.0, validator=[instance_of((int, float)), gt(0), le(300)])
    _gateway: Gateway = field(init=False, repr=False)

    @api_key.validator
    def _check_key(self, _: object, key: Secret) -> None:
        if not key:  # such as a variable of the environment that is set to nothing
            raise ValueError("api_key is empty")

    @_gateway.default
    def _make_gateway(self) -> Gateway:
        return Gateway(self.api_key, self.api_base, self.timeout)

    @property
    def capabilities(self) -> Capabilities:
        """What Later can do; see `paysession.provider.Capabilities`."""
        return Capabilities(
            capture="multiple",
            refund="multiple",
            replay_window=timedelta(hours=24),
            lookup="consistent",
            call_limit=timedelta(seconds=4 * self.timeout),  # two requests in `authorize`
        )

    # --- the life of a session ----------------------------------------------------------------------

    @hookimpl
    def initiate(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Make the payment; the payer goes to its page."""
        try:
            data = LaterData(**session.data)
        except TypeError:  # whose text would show the value
            raise Declined("invalid_data", "data has a customer, which is a text, and nothing else") from None
        payment = self._gateway.create(
            {
                "amount": session.amount.minor,
                "currency": session.amount.currency,
                "reference": session.id,
                "customer": data.customer,
                "return_url": session.checkout.return_url,
                "webhook_url": operation.webhook_url,
                "automatic": session.capture == "automatic",
            },
            operation.key,
        )
        return Outcome.requires_more(next_action=Redirect(payment["page"]), reference=_id(payment))

    @hookimpl
    def update(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Change the amount."""
        payment = self._act(session, operation, "amount", {"amount": operation.amount.minor})
        if _money(payment, "amount") != operation.amount:
            raise OutcomeUnknown("Later shows another amount than was asked for")
        return Outcome.requires_more()

    @hookimpl
    def authorize(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Authorize what the payer approved. Look first: it may have been done already."""
        payment = self._gateway.get(_reference(session)) or {"status": "gone"}
        if payment["status"] == "approved":
            payment = self._act(session, operation, "authorize", {})
        status = payment["status"]
        if status == "authorized" and payment["captured"]:
            return Outcome.captured(_money(payment, "captured"))
        if status == "authorized":
            return Outcome.authorized(amount=_money(payment, "authorized"))
        if status == "open":
            return Outcome.requires_more(next_action=session.next_action)
        if status == "declined":
            raise Declined("payer_declined", "the payer gave up, or the bank refused")
        if status == "canceled":
            return Outcome.canceled()
        raise OutcomeUnknown(f"the payment is {status!r}")

    @hookimpl
    def capture(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Take a part, or all."""
        body = {"amount": operation.amount.minor, "final": operation.final}
        capture = self._act(session, operation, "captures", body)
        return Outcome.captured(_money(capture, "amount"), released=operation.final, reference=_id(capture))

    @hookimpl
    def refund(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Give a part back, or all."""
        body = {"amount": operation.amount.minor, "reason": operation.reason}
        refund = self._act(session, operation, "refunds", body)
        return Outcome.refunded(_money(refund, "amount"), reference=_id(refund))

    @hookimpl
    def cancel(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Release what is not captured."""
        payment = self._act(session, operation, "cancel", {})
        if payment.get("status") not in ("canceled", "authorized"):
            raise OutcomeUnknown(f"the payment is {payment.get('status')!r} after a cancel")
        return Outcome.canceled()

    def _act(self, session: PaymentSession, operation: Operation, verb: str, body: Payment) -> Payment:
        # Our key goes along a second time, as something that is kept: `retrieve` finds it again.
        return self._gateway.act(
            _reference(session), verb, {**body, "operation": operation.key}, operation.key
        )

    # --- the truth ----------------------------------------------------------------------------------

    @hookimpl
    def retrieve(self, session: PaymentSession) -> Snapshot:
        """Tell what Later shows of the session, found by its id or by ours."""
        gateway = self._gateway
        payment = gateway.get(session.reference) if session.reference else gateway.find(session.id)
        if payment is None:
            return Snapshot.absent()
        try:
            status = _STATUSES[payment["status"]]
            return Snapshot(
                status,
                amount=_money(payment, "amount"),
                authorized=_money(payment, "authorized"),
                captured=_money(payment, "captured"),
                refunded=_money(payment, "refunded"),
                effects=[_effect(payment, effect) for effect in payment["effects"]],
                ready=payment["status"] == "approved",
                session_id=payment["reference"],
                reference=payment["id"],
                next_action=Redirect(payment["page"]) if status is Status.REQUIRES_MORE else None,
                error=Failure("payer_declined", "declined") if status is Status.ERROR else None,
            )
        except (KeyError, TypeError, InvalidAmount) as error:
            raise OutcomeUnknown(f"the payment cannot be read: {type(error).__name__}") from None

    @hookimpl
    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> list[WebhookEvent]:
        """Verify a notification: an HMAC-SHA256 over its time and the raw body."""
        if not self.webhook_secret:
            raise WebhookRejected("no webhook_secret is configured")
        at, _, signature = headers.get("later-signature", "").partition(",")
        expected = hmac.new(self.webhook_secret.reveal().encode(), at.encode() + b"." + body, hashlib.sha256)
        if not hmac.compare_digest(expected.hexdigest().encode(), signature.encode()):
            raise WebhookRejected("the signature does not match")
        if not at.isdecimal() or abs(time.time() - int(at)) > TOLERANCE:
            raise WebhookRejected("the notification is stale, or from the future")
        try:
            told: Any = json.loads(body)
            return [
                WebhookEvent(
                    told["id"], told["type"], session_id=told["reference"], references=[told["payment"]]
                )
            ]
        except (ValueError, TypeError, KeyError):
            raise WebhookRejected("the notification cannot be read") from None

    @hookimpl
    def close(self) -> None:
        """Close connections."""
        self._gateway.close()


def _reference(session: PaymentSession) -> str:
    if session.reference is None:
        raise OutcomeUnknown("Later's id of the payment is not known yet")
    return session.reference


def _id(told: Payment) -> str:
    found = told.get("id")
    if not isinstance(found, str):
        raise OutcomeUnknown("an answer of Later carries no id")
    return found


def _money(told: Payment, name: str) -> Money:
    try:
        return Money.from_minor(told[name], told["currency"])
    except (KeyError, InvalidAmount):
        raise OutcomeUnknown(f"an answer of Later carries no {name}") from None


def _effect(payment: Payment, told: Payment) -> Effect:
    amount = Money.from_minor(told["amount"], payment["currency"])
    return Effect(told["kind"], amount, told["state"], told["id"], told["operation"])
