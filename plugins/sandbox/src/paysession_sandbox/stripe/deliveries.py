"""Events on their way to a shop's webhook endpoints: signed, and late, doubled or out of order on demand.

https://docs.stripe.com/webhooks#verify-manually: the signature; in a sandbox a delivery that fails is
tried three more times over a few hours.
"""

from __future__ import annotations

import hmac
import json
import threading
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from attrs import define

from paysession_sandbox.stripe.events import concerns

if TYPE_CHECKING:
    from collections.abc import Callable

    from paysession_sandbox.clock import Clock
    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = ["Deliveries", "Delivery", "body_of", "sign"]

_AGAIN_AFTER: Final = (60, 1800, 7200)
_PATIENCE: Final = 20.0
"""Seconds that an endpoint may take."""

_GOOD: Final = range(200, 300)


def sign(body: bytes, secret: str, at: float) -> str:
    """Return the value of the ``Stripe-Signature`` header for a body."""
    stamp = str(int(at))
    signature = hmac.new(secret.encode(), stamp.encode() + b"." + body, sha256).hexdigest()
    return f"t={stamp},v1={signature}"


@define(eq=False)
class Delivery:
    """One event on its way to one endpoint.

    Attributes:
        event: The event.
        endpoint: The endpoint.
        due: When it is sent, in seconds since 1970.
        attempts: How often it was sent.
        status: What the endpoint answered last; 0 if it could not be reached, None if it was not sent yet.
    """

    event: Json
    endpoint: Json
    due: float
    attempts: int = 0
    status: int | None = None


class Deliveries:
    """Sends events in a thread of its own, which begins with the first.

    Args:
        clock: The time.
        body_of: Returns the bytes that are sent for an event.

    Attributes:
        delay: How late each is sent.
        times: How often each is sent.
        reverse: Whether what waits is sent the newest first.
        held: Whether nothing is sent until `deliver` is called.
        done: What was sent.
    """

    def __init__(self, clock: Clock, body_of: Callable[[Json], bytes]) -> None:
        self.delay = timedelta(0)
        self.times = 1
        self.reverse = False
        self.held = False
        self.done: list[Delivery] = []
        self._clock = clock
        self._body_of = body_of
        self._waiting: list[Delivery] = []
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._opener = build_opener(ProxyHandler({}))

    def add(self, account: Account, event: Json) -> None:
        """Send an event to every endpoint that wants it."""
        endpoints = [row for row in account.all("webhook_endpoint") if concerns(row, event)]
        if not endpoints:
            return
        due = self._clock().timestamp() + self.delay.total_seconds()
        with self._changed:
            for endpoint in endpoints:
                event["pending_webhooks"] += 1
                self._waiting += [Delivery(event, endpoint, due) for _ in range(self.times)]
            if self._thread is None and not self.held:
                self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def waiting(self) -> list[Delivery]:
        """Return what is not delivered yet."""
        with self._changed:
            return list(self._waiting)

    def wake(self) -> None:
        """Look again at what is due: the clock was set forward."""
        with self._changed:
            self._changed.notify_all()

    def deliver(self, *, everything: bool = False) -> list[Delivery]:
        """Send what is due, or everything, in this thread; return what was sent."""
        with self._changed:
            now = self._clock().timestamp()
            chosen = [row for row in self._waiting if everything or row.due <= now]
            self._waiting = [row for row in self._waiting if row not in chosen]
        if self.reverse:
            chosen.reverse()
        for delivery in chosen:
            self._send(delivery)
        return chosen

    def close(self) -> None:
        """Send nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=_PATIENCE)

    def _next(self) -> Delivery | None:
        with self._changed:
            now = self._clock().timestamp()
            due = [row for row in self._waiting if row.due <= now]
            if not due or self._closed:
                return None
            delivery = due[-1 if self.reverse else 0]
            self._waiting.remove(delivery)
            return delivery

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
            delivery = None if self.held else self._next()
            if delivery is not None:
                self._send(delivery)
                continue
            with self._changed:
                self._changed.wait_for(lambda: self._closed, timeout=0.25)

    def _send(self, delivery: Delivery) -> None:
        with self._sending:
            body = self._body_of(delivery.event)
            signature = sign(body, delivery.endpoint["_secret"], self._clock().timestamp())
            headers = {
                "Content-Type": "application/json; charset=utf-8",
                "Stripe-Signature": signature,
                "User-Agent": "Stripe/1.0 (paysession-sandbox)",
            }
            request = Request(delivery.endpoint["url"], body, headers)  # noqa: S310 - the shop's own address
            try:
                with self._opener.open(request, timeout=_PATIENCE) as answer:
                    delivery.status = answer.status
            except HTTPError as error:
                delivery.status = error.code
                error.close()
            except (OSError, ValueError):
                delivery.status = 0
            delivery.attempts += 1
        with self._changed:
            self.done.append(delivery)
            if delivery.status in _GOOD:
                delivery.event["pending_webhooks"] = max(0, delivery.event["pending_webhooks"] - 1)
            elif delivery.attempts <= len(_AGAIN_AFTER):
                delivery.due = self._clock().timestamp() + _AGAIN_AFTER[delivery.attempts - 1]
                self._waiting.append(delivery)
            self._changed.notify_all()

    def wait_for(self, count: int, timeout: float = 10.0) -> bool:
        """Wait until so many were sent; return whether there were in time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.done) >= count, timeout)


def body_of(event: Json) -> bytes:
    """Return the bytes that are sent for an event."""
    shown: Any = {name: value for name, value in event.items() if not name.startswith("_")}
    return json.dumps(shown, indent=2, ensure_ascii=False).encode()
