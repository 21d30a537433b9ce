"""The provider of the testing gateway: as careful a plugin as one for a real gateway has to be.

It maps HTTP to the three ways of saying no, and is short enough to be read as an example.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import select
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from paysession.provider import (
    BoundedResponse,
    Capabilities,
    Changes,
    Declined,
    Effect,
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
    hookimpl,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["GatewayProvider", "ListingProvider"]

TOLERANCE: Final = 300.0
"""Seconds that a notification's time may be off."""

_STATUSES: Final = {
    "open": Status.REQUIRES_MORE,
    "pending": Status.PENDING,
    "authorized": Status.AUTHORIZED,
    "declined": Status.ERROR,
    "canceled": Status.CANCELED,
}


class GatewayProvider:
    """Calls a gateway that ``gateway_server`` serves.

    Args:
        url: The account's, as ``GatewayProcess.url`` returns it.
        api_key: The account's secret key.
        webhook_secret: Verifies notifications; without it they are rejected.
        timeout: Seconds to wait for a connection, and then for the whole answer.
        capabilities: What the account was opened with; by default keys that live for a day and a
            lookup that misses nothing.
        clock: Returns the time in seconds, to tell a stale notification.
        connect: Returns a connection to a host and port, with a timeout in seconds; for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: Secret | str = "sk_gateway",
        webhook_secret: Secret | str | None = "whsec_gateway",  # noqa: S107 - it guards nothing
        timeout: float = 5.0,
        capabilities: Capabilities | None = None,
        clock: Callable[[], float] = time.time,
        connect: Callable[[str, int, float], http.client.HTTPConnection] | None = None,
    ) -> None:
        self.capabilities = capabilities or Capabilities(
            capture="multiple",
            refund="multiple",
            replay_window=timedelta(hours=24),
            lookup="consistent",
            keyed_effects=True,
            increment=True,
            call_limit=timedelta(seconds=4 * timeout),
        )
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "", parts.port or 80, parts.path
        self._api_key = Secret(api_key)
        self._webhook_secret = Secret(webhook_secret) if webhook_secret else None
        self._timeout = timeout
        self._clock = clock
        self._connect = connect or _connection
        self._idle_of: dict[int, list[http.client.HTTPConnection]] = {}

    # --- operations ---------------------------------------------------------------------------------

    @hookimpl
    def initiate(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Make the order."""
        order = self._post(
            "orders",
            operation,
            ours=session.id,
            amount=session.amount.minor,
            currency=session.amount.currency,
            automatic=session.capture == "automatic",
            return_url=session.checkout.return_url,
            webhook_url=operation.webhook_url,
        )
        _compare(order, session.amount)
        return Outcome.requires_more(
            next_action=Redirect(order["action"]),
            data={**session.data, "order": order["order"]},
            reference=order["order"],
        )

    @hookimpl
    def update(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Change the order's amount, or raise what is authorized of it."""
        if operation.increments:
            order = self._post(_path(session, "increment"), operation, amount=operation.amount.minor)
            _expect(order, "authorized")
            return Outcome.authorized(amount=Money.from_minor(order["authorized"], order["currency"]))
        order = self._post(_path(session, "update"), operation, amount=operation.amount.minor)
        _compare(order, operation.amount)
        return Outcome.requires_more(next_action=Redirect(order["action"]))

    @hookimpl
    def authorize(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Authorize, unless the payer's browser has done so already."""
        if self.capabilities.lookup != "none":
            order = self._get(f"orders/{session.reference}")
            if order is not None and order["status"] in ("authorized", "canceled", "pending"):
                return _authorized(order)
        return _authorized(self._post(_path(session, "authorize"), operation))

    @hookimpl
    def capture(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Capture."""
        told = self._post(
            _path(session, "capture"), operation, amount=operation.amount.minor, final=operation.final
        )
        if told["status"] == "pending":
            return Outcome.pending(reference=told["reference"])
        _expect(told, "captured")
        return Outcome.captured(_amount(told), released=operation.final, reference=told["reference"])

    @hookimpl
    def refund(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Refund."""
        told = self._post(_path(session, "refund"), operation, amount=operation.amount.minor)
        if told["status"] == "pending":
            return Outcome.pending(reference=told["reference"])
        _expect(told, "refunded")
        return Outcome.refunded(_amount(told), reference=told["reference"])

    @hookimpl
    def cancel(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Release what is not captured."""
        order = self._post(_path(session, "cancel"), operation)
        if order["status"] not in ("canceled", "authorized"):
            raise OutcomeUnknown(f"the order is {order['status']!r} after a cancel")
        return Outcome.canceled()

    # --- the truth ----------------------------------------------------------------------------------

    @hookimpl
    def retrieve(self, session: PaymentSession) -> Snapshot:
        """Look the order up by its id, or by ours as long as none is known."""
        path = f"orders/{session.reference}" if session.reference else f"orders?ours={quote(session.id)}"
        order = self._get(path)
        if order is None:
            return Snapshot.absent()
        status = _STATUSES.get(order["status"])
        if status is None:
            raise OutcomeUnknown(f"the order's status {order['status']!r} is not known")
        currency = order["currency"]
        return Snapshot(
            status,
            amount=_amount(order),
            authorized=Money.from_minor(order["authorized"], currency),
            captured=Money.from_minor(order["captured"], currency),
            refunded=Money.from_minor(order["refunded"], currency),
            charged_back=Money.from_minor(order["charged_back"], currency),
            effects=[_effect(effect, currency) for effect in order["effects"]],
            ready=order["ready"],
            session_id=order["ours"],
            reference=order["order"],
            next_action=Redirect(order["action"]) if status is Status.REQUIRES_MORE else None,
            error=Failure("card_declined", "the payer's bank refused") if status is Status.ERROR else None,
        )

    @hookimpl
    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> list[WebhookEvent]:
        """Verify and read a notification."""
        if self._webhook_secret is None:
            raise WebhookRejected("no webhook_secret is configured")
        parts: dict[str, str] = {}
        for part in headers.get("gateway-signature", "").split(","):
            name, _, value = part.partition("=")
            parts[name] = value
        try:
            at = int(parts["t"])
            given = bytes.fromhex(parts["v1"])
        except (KeyError, ValueError):
            raise WebhookRejected("the signature cannot be read") from None
        secret = self._webhook_secret.reveal().encode()
        if not hmac.compare_digest(hmac.digest(secret, b"%d.%b" % (at, body), hashlib.sha256), given):
            raise WebhookRejected("the signature does not match")
        if abs(self._clock() - at) > TOLERANCE:
            raise WebhookRejected("the notification is stale, or from the future")
        told = _read(body)
        if told is None or not {"id", "type", "ours", "order"} <= told.keys():
            raise WebhookRejected("the notification cannot be read")
        effects = told["effects"] if self.capabilities.lookup == "none" else ()
        return [
            WebhookEvent(
                told["id"],
                told["type"],
                session_id=told["ours"],
                references=[told["order"]],
                effects=[_effect(effect, told["currency"]) for effect in effects],
                payment=told["order"],
            )
        ]

    @hookimpl
    def close(self) -> None:
        """Close all connections that nobody is using."""
        while self._idle:
            self._idle.pop().close()

    # --- HTTP ---------------------------------------------------------------------------------------

    def _post(self, path: str, operation: Operation, **body: Any) -> dict[str, Any]:
        status, text = self._exchange(
            "POST", path, json.dumps({**body, "operation": operation.id}), operation.key
        )
        told = _read(text)
        code = str(told.get("error", f"HTTP {status}")) if told is not None else f"HTTP {status}"
        if status == 200 and told is not None:  # noqa: PLR2004
            return told
        if status == 402:  # noqa: PLR2004 - the only status that is a decline
            raise Declined(code)
        if status in (401, 429):
            raise NotApplied(f"the gateway did not take the request: {code}")
        if status in (400, 404, 422):
            raise Declined(code, "the gateway refused the request itself")
        # 408, 409 (in progress, another request's key, the order's state), 5xx, and what cannot be read.
        raise OutcomeUnknown(f"the gateway answered {status} {code}")

    def _get(self, path: str) -> dict[str, Any] | None:
        """Look something up; None: there is none. It changes nothing, so a failure is `NotApplied`."""
        try:
            status, text = self._exchange("GET", path, None, None)
        except OutcomeUnknown as error:
            raise NotApplied(f"the lookup failed: {error}") from None
        told = _read(text)
        if status == 404 and told is not None:  # noqa: PLR2004 - a proxy's 404 is none
            return None
        if status != 200 or told is None:  # noqa: PLR2004
            raise NotApplied(f"the lookup was answered by {status}")
        return told

    def _exchange(self, method: str, path: str, body: str | None, key: str | None) -> tuple[int, bytes]:
        """Send a request once; never again by itself, since only the core knows whether that is safe."""
        headers = {"Authorization": f"Bearer {self._api_key.reveal()}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        try:
            connection = self._connected()
        except OSError as error:
            raise NotApplied(f"the gateway cannot be reached: {type(error).__name__}") from None
        try:
            connection.request(method, f"{self._path}/{path}", body, headers)
            reply = connection.getresponse()
            answer = reply.status, reply.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise OutcomeUnknown(f"no answer: {type(error).__name__}") from None
        self._idle.append(connection)
        return answer

    @property
    def _idle(self) -> list[http.client.HTTPConnection]:
        """Connections that no thread is using now; appending and popping are atomic.

        Those of this process: on one that a fork shares, parent and child would read each other's answers.
        """
        return self._idle_of.setdefault(os.getpid(), [])

    def _connected(self) -> http.client.HTTPConnection:
        """Return a connection for this call, a new one if the gateway has hung up meanwhile.

        Only while connecting is a failure certain: on a connection that died unnoticed the request
        might have arrived.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect(self._host, self._port, self._timeout)
        if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
            connection.close()
        if connection.sock is None:
            connection.connect()
        return connection


class ListingProvider(GatewayProvider):
    """The same for a gateway that lists what changed."""

    @hookimpl
    def changes(self, since: datetime) -> Changes:
        """Read the list: what notifications said, delivered or not."""
        told = self._get(f"changes?since={since.timestamp()}")
        if told is None:
            raise NotApplied("the gateway has no list of changes")
        events = [
            WebhookEvent(
                event["id"],
                event["type"],
                session_id=event["ours"],
                references=[event["order"]],
                payment=event["order"],
            )
            for event in told["events"]
        ]
        return Changes(events, datetime.fromtimestamp(told["until"], UTC))


def _connection(host: str, port: int, timeout: float) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    connection.response_class = BoundedResponse
    return connection


def _path(session: PaymentSession, verb: str) -> str:
    return f"orders/{session.reference}/{verb}"


def _read(text: bytes) -> dict[str, Any] | None:
    try:
        told: Any = json.loads(text)
    except ValueError:
        return None
    return told if hasattr(told, "keys") else None


def _amount(told: dict[str, Any]) -> Money:
    return Money.from_minor(told["amount"], told["currency"])


def _compare(order: dict[str, Any], asked: Money) -> None:
    """Refuse an order that is not what was asked for; an `Outcome` without an amount cannot tell."""
    _expect(order, "open", "declined", "pending", "authorized")
    if _amount(order) != asked:
        raise OutcomeUnknown(f"the gateway's order is of {_amount(order)}, and {asked} was asked for")


def _expect(told: dict[str, Any], *statuses: str) -> None:
    if told["status"] not in statuses:
        raise OutcomeUnknown(f"the gateway answered the status {told['status']!r}")


def _authorized(order: dict[str, Any]) -> Outcome:
    status = order["status"]
    if status == "authorized":
        amount = Money.from_minor(order["authorized"], order["currency"])
        if order["captured"]:
            return Outcome.captured(Money.from_minor(order["captured"], order["currency"]))
        return Outcome.authorized(amount=amount)
    if status == "pending":
        return Outcome.pending()
    if status == "canceled":
        return Outcome.canceled()
    _expect(order, "open", "declined")
    return Outcome.requires_more(next_action=Redirect(order["action"]))


def _effect(told: dict[str, Any], currency: str) -> Effect:
    return Effect(
        told["kind"],
        Money.from_minor(told["amount"], currency),
        told["state"],
        told["id"],
        told["key"] or None,
    )
