"""What a stand-in sends by itself: late, doubled or out of order on demand, and again when it fails."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from paysession_sandbox.clock import Clock

__all__ = ["Deliveries", "Delivery"]

_PATIENCE: Final = 20.0
"""Seconds that a shop may take to answer."""

_GOOD: Final = range(200, 300)


@cache
def _opener() -> OpenerDirector:
    """Return what sends past all proxies; made with the first delivery, since many tests send none."""
    return build_opener(ProxyHandler({}))


@define(eq=False)
class Delivery:
    """One event on its way to one address.

    Attributes:
        kind: The event's type.
        url: The address.
        event: The event, as the stand-in keeps it.
        endpoint: What the stand-in knows of the address.
        due: When it is sent, in seconds since 1970.
        attempts: How often it was sent.
        status: What was answered last; 0 if nobody could be reached, None if it was not sent yet.
    """

    kind: str
    url: str
    event: Any
    endpoint: Any = None
    due: float = 0.0
    attempts: int = 0
    status: int | None = None


class Deliveries(ABC):
    """Sends events in a thread of its own, which begins with the first.

    Args:
        clock: The time.
        again_after: The seconds after which a delivery that failed is tried again, each time.

    Attributes:
        delay: How late each is sent.
        times: How often each is sent.
        reverse: Whether what waits is sent the newest first.
        held: Whether nothing is sent until `deliver` is called.
        done: What was sent.
        noted: Called after each attempt, in the thread that sends: what is kept has changed.
    """

    def __init__(self, clock: Clock, again_after: Sequence[int]) -> None:
        self.delay = timedelta(0)
        self.times = 1
        self.reverse = False
        self.held = False
        self.done: list[Delivery] = []
        self.noted: Callable[[], None] = lambda: None
        self.clock = clock
        self._again_after = again_after
        self._waiting: list[Delivery] = []
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    # --- what a gateway fills in ---

    @abstractmethod
    def compose(self, delivery: Delivery) -> tuple[dict[str, str], bytes]:
        """Return the headers and the body of a delivery, signed for now."""

    @abstractmethod
    def arrived(self, delivery: Delivery) -> None:
        """Note that a delivery was taken."""

    # --- sending ---

    def queue(self, deliveries: Iterable[Delivery]) -> None:
        """Send events, each as often and as late as it is set."""
        due = self.clock().timestamp() + self.delay.total_seconds()
        with self._changed:
            for row in deliveries:
                self._waiting += [
                    Delivery(row.kind, row.url, row.event, row.endpoint, due) for _ in range(self.times)
                ]
            if self._thread is None and not self.held and self._waiting:
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
            now = self.clock().timestamp()
            chosen = [row for row in self._waiting if everything or row.due <= now]
            self._waiting = [row for row in self._waiting if row not in chosen]
        if self.reverse:
            chosen.reverse()
        for delivery in chosen:
            self._send(delivery)
        return chosen

    def wait_for(self, count: int, timeout: float = 10.0) -> bool:
        """Wait until so many were sent; return whether there were in time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.done) >= count, timeout)

    def close(self) -> None:
        """Send nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=_PATIENCE)

    def _next(self) -> Delivery | None:
        with self._changed:
            now = self.clock().timestamp()
            due = [row for row in self._waiting if row.due <= now]
            if not due or self._closed or self.held:
                return None
            delivery = due[-1 if self.reverse else 0]
            self._waiting.remove(delivery)
            return delivery

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
            delivery = self._next()
            if delivery is not None:
                self._send(delivery)
                continue
            with self._changed:
                # The clock may run, or be set forward, without notice to this thread.
                self._changed.wait_for(lambda: self._closed, timeout=0.25)

    def _send(self, delivery: Delivery) -> None:
        with self._sending:
            headers, body = self.compose(delivery)
            request = Request(delivery.url, body, headers)  # noqa: S310 - the shop's own address
            try:
                with _opener().open(request, timeout=_PATIENCE) as answer:
                    delivery.status = answer.status
            except HTTPError as error:
                delivery.status = error.code
                error.close()
            except (OSError, ValueError):
                delivery.status = 0
            delivery.attempts += 1
        with self._changed:
            if delivery.status in _GOOD:
                self.arrived(delivery)
            elif delivery.attempts <= len(self._again_after):
                delivery.due = self.clock().timestamp() + self._again_after[delivery.attempts - 1]
                self._waiting.append(delivery)
        self.noted()
        with self._changed:
            self.done.append(delivery)
            self._changed.notify_all()
