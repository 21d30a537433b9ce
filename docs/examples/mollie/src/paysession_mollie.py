"""Mollie for paysession, written from https://docs.mollie.com (Payments API v2): a second worked example.

The payer pays, or authorizes, on Mollie's page; so ``authorize`` only looks. Captures and refunds are
accepted first and finished later. Notifications carry an id and no signature (``unsigned_webhooks``).
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from attrs import field, frozen

from paysession.provider import (
    Capabilities,
    Declined,
    Effect,
    Endpoint,
    Failure,
    Money,
    NotApplied,
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
    bounded_pools,
    hookimpl,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import urllib3

__all__ = ["Mollie"]

Json = dict[str, Any]

CURRENCIES: Final = (  # https://docs.mollie.com/docs/multicurrency
    "AED AUD BGN BRL CAD CHF CZK DKK EUR GBP HKD HUF ILS ISK JPY MXN MYR NOK NZD PHP PLN RON SEK SGD THB "
    "TWD USD ZAR"
)
_STATUSES: Final = {  # https://docs.mollie.com/docs/status-change
    "open": Status.REQUIRES_MORE,
    "pending": Status.PENDING,
    "failed": Status.ERROR,
    **dict.fromkeys(("authorized", "paid"), Status.AUTHORIZED),
    **dict.fromkeys(("canceled", "expired"), Status.CANCELED),
}
_STATES: Final[dict[str, Any]] = {  # of captures and refunds
    **dict.fromkeys(("pending", "queued", "processing"), "pending"),
    **dict.fromkeys(("succeeded", "refunded"), "succeeded"),
    **dict.fromkeys(("failed", "canceled"), "failed"),
}


@frozen(kw_only=True)
class MollieData:
    """What a host may give in ``data``: see https://docs.mollie.com/reference/create-payment."""

    method: str | None = None


@frozen(kw_only=True, eq=False)
class Mollie:
    """The provider ``mollie``.

    Args:
        api_key: ``live_...`` or ``test_...``.
        api_base: Where Mollie listens; another address serves tests.
        timeout: Seconds to wait for a connection, and then for the whole answer.
    """

    api_key: Secret = field(converter=Secret)
    api_base: Endpoint = field(default=Endpoint("https://api.mollie.com/v2"), converter=Endpoint)
    timeout: float = 10.0
    _pool: urllib3.PoolManager = field(init=False, repr=False)

    @_pool.default
    def _make_pool(self) -> urllib3.PoolManager:
        import urllib3  # noqa: PLC0415 - who does not use Mollie does not pay for it

        pool = urllib3.PoolManager(maxsize=32, retries=False, timeout=self.timeout)
        pool.pool_classes_by_scheme = bounded_pools(pool.pool_classes_by_scheme)  # no answer is endless
        return pool

    @property
    def mode(self) -> str:
        """``live``, ``test``, or ``unknown``: which money the key is about."""
        mode = self.api_key.reveal().partition("_")[0]
        return mode if mode in ("live", "test") else "unknown"

    @property
    def capabilities(self) -> Capabilities:
        """What Mollie can do. It keeps the keys of a POST, and a payment is cancelled by DELETE."""
        return Capabilities(
            capture="multiple",
            refund="multiple",
            replay_window=dict.fromkeys(("initiate", "capture", "refund"), timedelta(hours=1)),
            lookup="consistent",
            call_limit=timedelta(seconds=6 * self.timeout),
            unsigned_webhooks=True,
        )

    @hookimpl
    def initiate(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Make the payment; the payer goes to Mollie's page."""
        if session.amount.currency not in CURRENCIES.split():
            raise Declined("currency", f"Mollie does not take {session.amount.currency}")
        try:
            data = MollieData(**session.data)
        except TypeError:
            raise Declined("invalid_data", "data has a method, and nothing else") from None
        body = {
            "amount": _amount(session.amount),
            "description": session.checkout.description or session.collection_reference,
            "redirectUrl": session.checkout.return_url,
            "cancelUrl": session.checkout.cancel_url,
            "webhookUrl": operation.webhook_url,
            "captureMode": session.capture,
            "method": data.method,
            "locale": session.checkout.locale,
            "metadata": {"session": session.id},
        }
        payment = self._write(
            "POST", "/payments", {k: v for k, v in body.items() if v is not None}, operation
        )
        page = payment.get("_links", {}).get("checkout", {}).get("href")
        return Outcome.requires_more(next_action=Redirect(page) if page else None, reference=payment["id"])

    @hookimpl
    def authorize(self, session: PaymentSession) -> Outcome:
        """Look what the payer did."""
        payment = self._payment(session)
        status = payment.get("status")
        if status == "authorized":
            return Outcome.authorized(amount=_money(payment))
        if status == "paid":
            return Outcome.captured(_money(payment))
        if status == "open":
            return Outcome.requires_more(next_action=session.next_action)
        if status == "pending":
            return Outcome.pending()
        if status in ("canceled", "expired"):
            return Outcome.canceled()
        if status == "failed":
            raise Declined("failed", "the payment failed on Mollie's page")
        raise OutcomeUnknown(f"the payment's status is {status!r:.40}")

    @hookimpl
    def capture(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Take a part; Mollie finishes it later."""
        told = self._part("captures", session, operation)
        if told.get("status") != "succeeded":
            return Outcome.pending(reference=told["id"])
        return Outcome.captured(_money(told), reference=told["id"])

    @hookimpl
    def refund(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Give a part back; Mollie sends it off about two hours later."""
        told = self._part("refunds", session, operation)
        if told.get("status") != "refunded":
            return Outcome.pending(reference=told["id"])
        return Outcome.refunded(_money(told), reference=told["id"])

    @hookimpl
    def cancel(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Cancel what is not paid, or release what is authorized and not captured."""
        payment = self._payment(session)
        path = f"/payments/{session.reference}"
        if payment.get("status") == "authorized":
            self._write("POST", f"{path}/release-authorization", {}, operation)
            return Outcome.pending()  # the bank has the last word
        if payment.get("status") == "open" and not payment.get("isCancelable"):
            raise Declined("not_cancelable", "this payment can only expire")
        if payment.get("status") not in ("canceled", "expired"):
            self._write("DELETE", path, None, operation)
        return Outcome.canceled()

    @hookimpl
    def retrieve(self, session: PaymentSession) -> Snapshot:
        """Tell what Mollie shows. There is no search: without its id a payment was never paid."""
        if session.reference is None:
            return Snapshot.absent()
        payment = self._read(f"/payments/{session.reference}?embed=captures,refunds,chargebacks")
        if payment is None:
            return Snapshot.absent()
        status, amount, effects = _STATUSES[payment["status"]], _money(payment), _effects(payment)
        captures = [effect for effect in effects if effect.kind == "capture"]
        captured = Money.from_minor(
            sum(row.amount.minor for row in captures if row.state == "succeeded"), amount.currency
        )
        if payment["status"] == "paid" and not captures:
            captured = amount  # captured at once, without a capture of its own
        return Snapshot(
            status,
            authorized=amount if payment["status"] == "authorized" else captured,
            captured=captured,
            effects=effects,
            session_id=(payment.get("metadata") or {}).get("session"),
            reference=payment["id"],
            error=Failure("failed", "it failed on Mollie's page") if status is Status.ERROR else None,
        )

    @hookimpl
    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> list[WebhookEvent]:
        """Read the id. Whoever sent it, the payment is fetched: https://docs.mollie.com/reference/webhooks."""
        del headers
        found = parse_qs(body.decode("ascii", "replace")).get("id", [""])[0]
        if not re.fullmatch(r"tr_\w{1,60}", found, re.ASCII):
            raise WebhookRejected("it carries no payment's id")
        return [WebhookEvent(None, "payment", references=[found])]

    @hookimpl
    def close(self) -> None:
        """Close connections."""
        self._pool.clear()

    # --- requests ---------------------------------------------------------------------------------------

    def _payment(self, session: PaymentSession) -> Json:
        if payment := self._read(f"/payments/{session.reference}"):
            return payment
        raise OutcomeUnknown("Mollie does not show the payment")

    def _part(self, what: str, session: PaymentSession, operation: Operation) -> Json:
        body: Json = {"amount": _amount(operation.amount), "metadata": {"operation": operation.key}}
        body |= {"description": operation.reason} if operation.reason else {}
        return self._write("POST", f"/payments/{session.reference}/{what}", body, operation)

    def _write(self, method: str, path: str, body: Json | None, operation: Operation) -> Json:
        status, told = self._send(method, path, body, operation.key)
        if status in (200, 201, 202, 204) and told is not None:
            return told
        if status in (400, 401, 403, 404, 429):
            raise NotApplied(f"Mollie did not take the request: {status} {(told or {}).get('detail', '')}")
        # 422 is also "already captured" and "no amount left": perhaps by our own earlier request.
        raise OutcomeUnknown(f"Mollie answered {status} {(told or {}).get('detail', '')}")

    def _read(self, path: str) -> Json | None:
        try:
            status, told = self._send("GET", path, None, None)
        except OutcomeUnknown as error:
            raise NotApplied(f"the lookup failed: {error}") from None
        if status == 404 and told is not None:
            return None
        if status != 200 or not told:
            raise NotApplied(f"the lookup was answered by {status}")
        return told

    def _send(self, method: str, path: str, body: Json | None, key: str | None) -> tuple[int, Json | None]:
        import urllib3  # noqa: PLC0415 - as above

        headers = {"Authorization": f"Bearer {self.api_key.reveal()}"}
        headers |= {"Idempotency-Key": key} if key else {}
        try:
            answer = self._pool.request(
                method, self.api_base + path, json=body, headers=headers, redirect=False
            )
            told = {} if answer.status in (202, 204) and not answer.data else answer.json()
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
            raise NotApplied(f"Mollie cannot be reached: {type(error).__name__}") from None
        except urllib3.exceptions.HTTPError as error:
            raise OutcomeUnknown(f"no answer from Mollie: {type(error).__name__}") from None
        except ValueError:
            told = None
        return answer.status, told if isinstance(told, dict) else None


def _amount(money: Money) -> Json:
    return {"currency": money.currency, "value": f"{money.amount:f}"}


def _money(told: Json) -> Money:
    return Money(told["amount"]["value"], told["amount"]["currency"])


def _effects(payment: Json) -> list[Effect]:
    parts = payment.get("_embedded", {})
    found = [
        Effect(
            kind, _money(row), _STATES[row["status"]], row["id"], (row.get("metadata") or {}).get("operation")
        )
        for kind, name in (("capture", "captures"), ("refund", "refunds"))
        for row in parts.get(name, ())
    ]
    return found + [
        # A chargeback, not a refund: https://docs.mollie.com/reference/get-chargeback. It shows no dispute.
        Effect("chargeback", _money(row), "reversed" if row.get("reversedAt") else "succeeded", row["id"])
        for row in parts.get("chargebacks", ())
    ]
