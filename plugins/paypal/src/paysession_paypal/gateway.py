"""The calls of Orders v2 and Payments v2 that the provider makes, and nothing else.

Every writing call carries the operation's key as ``PayPal-Request-Id``: PayPal keeps it for 6 hours
with orders and 45 days with payments, and answers a repetition with what it did the first time.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from attrs import Factory, frozen

from paysession.provider import NotApplied, OutcomeUnknown
from paysession_paypal.document import as_list, as_object, moment, text_in
from paysession_paypal.refusals import refusal
from paysession_paypal.wire import Lost, NotSent, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from paysession_paypal.document import Document
    from paysession_paypal.wire import Transport

__all__ = ["Found", "Gateway"]

_NOT_FOUND: Final = 404
_NO_CONTENT: Final = 204
_OK: Final = range(200, 300)


@frozen
class Found:
    """An order as PayPal showed it.

    Attributes:
        document: The order; None: PayPal knows no such order.
        at: PayPal's clock when it answered, if it said so.
    """

    document: Document | None
    at: datetime | None


@frozen
class Gateway:
    """The calls that one hook makes.

    Attributes:
        transport: Carries them.
        deadline: Until when all of them together may take, on the clock of ``time.monotonic``.
        account: Headers of every call: on whose behalf it is made.
    """

    transport: Transport
    deadline: float
    account: Mapping[str, str] = Factory(dict[str, str])

    # --- orders ---

    def create_order(
        self, body: Mapping[str, Any], key: str, headers: Mapping[str, str] | None = None
    ) -> Document:
        """Create an order."""
        return self._write("POST", "/v2/checkout/orders", body, key, headers=headers)

    def order(self, order_id: str) -> Found:
        """Look at an order.

        Raises:
            NotApplied: It could not be looked at. Looking changes nothing, so nothing happened.
        """
        try:
            reply = self._send("GET", _path("/v2/checkout/orders", order_id))
        except (NotSent, Lost) as error:
            raise NotApplied(f"the order could not be looked at: {error}") from None
        if reply.status == _NOT_FOUND and reply.document is not None:
            return Found(None, reply.date)
        if reply.status not in _OK:
            said = refusal(reply)
            wait = said.retry_after if isinstance(said, NotApplied) else None
            raise NotApplied(f"the order could not be looked at: {said}", retry_after=wait)
        document = reply.document
        if document is None:
            raise NotApplied("the order could not be looked at: PayPal's answer is no JSON object")
        return Found(document, reply.date)

    def patch_order(self, order_id: str, patch: Sequence[Mapping[str, Any]], key: str) -> None:
        """Change an order. PayPal answers nothing (204); it keeps no key of this."""
        self._write("PATCH", _path("/v2/checkout/orders", order_id), patch, key, shown=False)

    def pay_order(
        self, order_id: str, action: str, body: Mapping[str, Any] | None, key: str, headers: Mapping[str, str]
    ) -> Document:
        """Take the payment of an approved order, or with what was saved before.

        Args:
            order_id: The order's id.
            action: ``authorize`` or ``capture``, as the order's intent says.
            body: What to pay with; None: what the payer approved.
            key: The request id.
            headers: Headers of this call.
        """
        path = _path("/v2/checkout/orders", order_id, action)
        return self._write("POST", path, body, key, headers=headers)

    # --- payments ---

    def capture(self, authorization_id: str, body: Mapping[str, Any], key: str) -> Document:
        """Capture an authorization, or a part of it."""
        return self._write(
            "POST", _path("/v2/payments/authorizations", authorization_id, "capture"), body, key
        )

    def reauthorize(self, authorization_id: str, body: Mapping[str, Any], key: str) -> Document:
        """Authorize again, once the funds are not kept for certain any more."""
        path = _path("/v2/payments/authorizations", authorization_id, "reauthorize")
        return self._write("POST", path, body, key)

    def void(self, authorization_id: str, key: str) -> Document:
        """Void what is left of an authorization; the answer may be empty (204)."""
        return self._write("POST", _path("/v2/payments/authorizations", authorization_id, "void"), None, key)

    def refund(self, capture_id: str, body: Mapping[str, Any], key: str) -> Document:
        """Refund a capture, or a part of it."""
        return self._write("POST", _path("/v2/payments/captures", capture_id, "refund"), body, key)

    def forget(self, vault_id: str) -> None:
        """Delete what was saved of how a payer pays; what is not there is deleted.

        Raises:
            NotApplied: It was not done.
            OutcomeUnknown: It may have been: deleting again does no harm.
        """
        self.ask("DELETE", _path("/v3/vault/payment-tokens", vault_id), absent=True)

    # --- disputes ---

    def disputes(self, capture_id: str) -> dict[str, datetime | None]:
        """Return when each of a capture's disputes last changed, if PayPal says so, by its id.

        Raises:
            Declined: The app may not see disputes.
            NotApplied: PayPal could not be queried.
            OutcomeUnknown: The same: its answer was lost.
        """
        query = urlencode({"disputed_transaction_id": capture_id})
        document = self.ask("GET", f"/v1/customer/disputes?{query}", absent=True)
        listed = map(as_object, as_list(document.get("items")))
        return {
            found: moment(row.get("update_time"))
            for row in listed
            if row and (found := text_in(row, "dispute_id"))
        }

    def dispute(self, dispute_id: str) -> Document:
        """Return a dispute; empty: PayPal shows none with this id.

        Raises:
            Declined: The app may not see disputes.
            NotApplied: PayPal could not be queried.
            OutcomeUnknown: The same: its answer was lost.
        """
        return self.ask("GET", _path("/v1/customer/disputes", dispute_id), absent=True)

    # --- notifications ---

    def ask(self, method: str, path: str, body: object = None, *, absent: bool = False) -> Document:
        """Send a request that moves no money.

        Args:
            method: The HTTP method.
            path: The path.
            body: The body, to be written as JSON.
            absent: Whether it is as good if there is no such object.

        Raises:
            Declined: PayPal refused.
            NotApplied: It was not done.
            OutcomeUnknown: It may have been.
        """
        data = json.dumps(body, separators=(",", ":")).encode() if body is not None else None
        try:
            reply = self._send(method, path, data)
        except NotSent as error:
            raise NotApplied(str(error)) from None
        except Lost as error:
            raise OutcomeUnknown(str(error)) from None
        return {} if absent and reply.status == _NOT_FOUND else _document(reply)

    def verify_webhook(self, body: bytes) -> bool:
        """Ask PayPal whether it sent a notification.

        Raises:
            OutcomeUnknown: PayPal could not be asked.
        """
        try:
            reply = self._send("POST", "/v1/notifications/verify-webhook-signature", body)
        except (NotSent, Lost) as error:
            raise OutcomeUnknown(f"PayPal could not be asked about the notification: {error}") from None
        answer = (reply.document or {}).get("verification_status")
        if reply.status not in _OK or answer not in ("SUCCESS", "FAILURE"):
            raise OutcomeUnknown(f"PayPal could not be asked about the notification: HTTP {reply.status}")
        return bool(answer == "SUCCESS")

    def _send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        request = Request(method, path, body, {**self.account, **(headers or {})})
        return self.transport.send(request, self.deadline)

    def _write(
        self,
        method: str,
        path: str,
        body: object,
        key: str,
        *,
        shown: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        """Send a change; ``shown``: and ask for the object as it is then.

        Raises:
            Declined: PayPal certainly refused.
            NotApplied: It certainly was not executed.
            OutcomeUnknown: It may have been.
        """
        headers = {"PayPal-Request-Id": key, **(headers or {})}
        if shown:
            headers["Prefer"] = "return=representation"
        data = json.dumps(body, separators=(",", ":")).encode() if body is not None else None
        try:
            reply = self._send(method, path, data, headers)
        except NotSent as error:
            raise NotApplied(str(error)) from None
        except Lost as error:
            raise OutcomeUnknown(str(error)) from None
        return _document(reply)


def _document(reply: Reply) -> Document:
    if reply.status not in _OK:
        raise refusal(reply)
    # Only "no content" may be empty: a 200 whose body was lost says nothing of what happened.
    document = {} if reply.status == _NO_CONTENT and not reply.body else reply.document
    if document is None:
        raise OutcomeUnknown(f"PayPal's answer is no JSON object (HTTP {reply.status}, {reply.debug_id})")
    return document


def _path(prefix: str, identifier: str, action: str = "") -> str:
    # The id came from PayPal, or from a record of ours: it must not reach out of its place.
    return f"{prefix}/{quote(identifier, safe='')}" + (f"/{action}" if action else "")
