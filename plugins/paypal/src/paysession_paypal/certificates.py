"""Certificates that are fetched because a notification names them: each once, and not without end.

Anybody can send a notification, and name any file of PayPal's folder in it. So a certificate is fetched by
one thread while a few others wait for it, what failed is remembered, and while many have failed just now
nothing more is fetched. A notification that is not checked because of that is answered with 503, and
PayPal sends it again.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final

from paysession.provider import OutcomeUnknown, WebhookRejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.x509 import Certificate

__all__ = ["Certificates"]

KEPT: Final = 16
"""How many certificates are kept; PayPal uses a few at a time."""
FAILED_FOR: Final = 60.0
"""Seconds for which a URL that led to nothing is not fetched again."""
FAILURES: Final = 64
"""How many such URLs there may be before nothing is fetched that is not known."""
FETCHES: Final = 4
"""How many certificates are fetched at a time."""
WAITERS: Final = 8
"""How many threads wait for one that is being fetched."""


class _Fetch:
    """A certificate on its way."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.waiting = 0
        self.chain: list[Certificate] | None = None
        self.error: WebhookRejected | OutcomeUnknown = OutcomeUnknown(
            "PayPal's certificate could not be fetched: it was interrupted"
        )


class Certificates:
    """Fetches certificates, and keeps those that were good. Thread-safe.

    Args:
        load: Fetches what a URL holds, and returns it as a chain that is PayPal's, the leaf first. It raises
            `WebhookRejected` or `OutcomeUnknown`.
        timeout: Seconds for which another thread's fetch is waited for.
        elapsed: The seconds of a clock that only goes forward; injectable for tests.
    """

    def __init__(
        self,
        load: Callable[[str], list[Certificate]],
        *,
        timeout: float,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._timeout = timeout
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._kept: dict[str, list[Certificate]] = {}
        self._failed: dict[str, tuple[float, WebhookRejected | OutcomeUnknown]] = {}
        # By process: a thread that fetched when another forked does not exist in the child.
        self._fetches: dict[tuple[int, str], _Fetch] = {}

    def chain(self, url: str) -> tuple[list[Certificate], bool]:
        """Return the chain at a URL, and whether it was known before (and has to be verified again).

        Raises:
            WebhookRejected: What stands there is no certificate of PayPal's.
            OutcomeUnknown: It could not be fetched now.
        """
        place = os.getpid(), url
        with self._lock:
            known = self._kept.get(url)
            if known is not None:
                return known, True
            fetch = self._fetches.get(place)
            first = fetch is None
            if fetch is None:
                self._refuse(url)
                fetch = self._fetches[place] = _Fetch()
            elif fetch.waiting < WAITERS:
                fetch.waiting += 1
            else:
                raise OutcomeUnknown("PayPal's certificate is being fetched, and many wait for it")
        if first:
            self._fetch(place, fetch)
        elif not fetch.done.wait(self._timeout):
            raise OutcomeUnknown("PayPal's certificate is still being fetched")
        if fetch.chain is None:
            raise _anew(fetch.error)
        return fetch.chain, False

    def _refuse(self, url: str) -> None:
        """Refuse a fetch that has failed just now, or would be one of too many."""
        now = self._elapsed()
        self._failed = {name: row for name, row in self._failed.items() if row[0] > now}
        if url in self._failed:
            raise _anew(self._failed[url][1])
        ours = sum(pid == os.getpid() for pid, _ in self._fetches)
        if ours >= FETCHES or len(self._failed) + ours >= FAILURES:
            raise OutcomeUnknown("too many certificates are being fetched, or could not be, just now")

    def _fetch(self, place: tuple[int, str], fetch: _Fetch) -> None:
        url = place[1]
        failed = False
        try:
            fetch.chain = self._load(url)
        except (WebhookRejected, OutcomeUnknown) as error:
            failed, fetch.error = True, error
        finally:
            with self._lock:
                del self._fetches[place]
                if fetch.chain is not None:
                    if len(self._kept) >= KEPT:
                        self._kept.clear()
                    self._kept[url] = fetch.chain
                elif failed:
                    self._failed[url] = self._elapsed() + FAILED_FOR, fetch.error
            fetch.done.set()


def _anew(error: WebhookRejected | OutcomeUnknown) -> WebhookRejected | OutcomeUnknown:
    """Return the same error for another thread: what is raised twice would gather tracebacks."""
    return type(error)(error.message)
