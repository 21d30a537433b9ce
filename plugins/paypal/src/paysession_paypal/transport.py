"""The transport: authenticated requests over pooled connections, each with a timeout and a deadline.

How PayPal's credentials look is the SDK's knowledge (``paysession_paypal.sdk``); what sends is here. One
token serves all threads, a 401 is repeated once, no redirect is followed, and neither headers nor bodies are
logged.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import NewConnectionError

from paysession_paypal.connection import exchange, open_session
from paysession_paypal.sdk import open_sdk
from paysession_paypal.wire import Lost, NotSent, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime


__all__ = ["ENDPOINTS", "SdkTransport"]

logger = logging.getLogger("paysession_paypal")

ENDPOINTS: Final = {
    "sandbox": "https://api-m.sandbox.paypal.com",
    "live": "https://api-m.paypal.com",
}
"""Today's hosts; the SDK's own are older."""

MAX_ANSWER: Final = 4_194_304
"""The largest answer that is read, in bytes."""
TOKEN_MARGIN: Final = 60.0
"""How many seconds before its end a token is renewed: it must outlive the request that carries it."""
_UNAUTHORIZED: Final = 401


class SdkTransport:
    """Sends requests with the merchant's token. Thread-safe.

    Args:
        client_id: The REST app's client id.
        client_secret: Its secret.
        environment: ``sandbox`` or ``live``.
        endpoint: Another server instead of PayPal's, without the path; for tests.
        timeout: Seconds for connecting, and for a whole answer.
        proxy: The URL of an HTTP proxy; empty: none.
        clock: Seconds that only go forward, for the token's age; injectable for tests.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        *,
        environment: str = "sandbox",
        endpoint: str = "",
        timeout: float = 10.0,
        proxy: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = (endpoint or ENDPOINTS[environment]).rstrip("/")
        self._sdk = open_sdk(client_id, client_secret, environment=environment, endpoint=self.endpoint)
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._access: Mapping[str, str] | None = None
        self._access_until = 0.0
        self._session = open_session(proxy)

    def send(self, request: Request, deadline: float) -> Reply:
        """Send a request, once more with a new token if PayPal refuses the one we have.

        A request answered with 401 was not executed, so repeating it is safe. A 401 that stays is
        returned: four requests at most, two of them for tokens.
        """
        signed = self._signed(deadline)
        reply = self._carry(request, signed, deadline)
        if reply.status == _UNAUTHORIZED:
            signed = self._signed(deadline, refused=signed)
            reply = self._carry(request, signed, deadline)
        return reply

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    # --- the token --------------------------------------------------------------------------------

    def _signed(self, deadline: float, *, refused: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """Return the headers that sign a request; the token in them is fetched once for all threads.

        Args:
            deadline: When to give up, on the clock of ``time.monotonic``.
            refused: The headers that PayPal has just refused.
        """
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise NotSent("no access token in time: another thread is waiting for PayPal's answer")
        try:
            known = self._access
            if known is None or known is refused or self._clock() >= self._access_until:
                self._access = None
                token, self._access_until = self._fetch_token(deadline)
                known = self._access = self._sdk.headers(token)
            return known
        finally:
            self._lock.release()

    def _fetch_token(self, deadline: float) -> tuple[str, float]:
        asked_at = self._clock()
        try:
            # No headers of the call that needs the token: it is a request of its own.
            request = self._sdk.token_request()
            reply = self._exchange(request, request.headers, deadline)
        except Lost as error:
            raise NotSent(f"no access token: {error}") from None
        if reply.status == _UNAUTHORIZED:
            raise NotSent("PayPal refuses client_id and client_secret (are they of this environment?)")
        tree = reply.document or {}
        token, lasts = tree.get("access_token"), tree.get("expires_in")
        usable = isinstance(token, str) and token.isascii() and token.isprintable() and bool(token)
        if not usable or not isinstance(lasts, int | float) or not lasts > 0:
            raise NotSent(f"no access token: PayPal answered {reply.status} to the request for one")
        return str(token), asked_at + lasts - min(TOKEN_MARGIN, lasts / 2)

    # --- sending ----------------------------------------------------------------------------------

    def _carry(self, request: Request, signed: Mapping[str, str], deadline: float) -> Reply:
        headers = {**signed, **request.headers}
        if request.method == "GET":
            # Without it PayPal answers 415 to a write, even to one that has no body.
            headers.pop("Content-Type", None)
        return self._exchange(request, headers, deadline)

    def _exchange(self, request: Request, headers: Mapping[str, str], deadline: float) -> Reply:
        """Send one request over a pooled connection, and read the answer until the deadline."""
        begun = time.monotonic()
        if begun >= deadline:
            raise NotSent("there was no time left to send the request")
        wait = min(self._timeout, deadline - begun)
        url = self.endpoint + request.path
        try:
            response, body = exchange(
                self._session,
                request.method,
                url,
                headers={"Accept": "application/json", "Accept-Encoding": "identity", **headers},
                body=request.body,
                wait=wait,
                deadline=deadline,
                most=MAX_ANSWER,
            )
        except requests.RequestException as error:
            raise _sorted(error, urlsplit(url).hostname) from None
        answered = response.headers
        reply = Reply(
            status=response.status_code,
            body=body,
            debug_id=answered.get("Paypal-Debug-Id"),
            date=_date(answered.get("Date")),
            retry_after=_seconds(answered.get("Retry-After")),
        )
        took = time.monotonic() - begun
        path, status = urlsplit(url).path, reply.status
        logger.info("%s %s: %d in %.2f s, debug_id %s", request.method, path, status, took, reply.debug_id)
        return reply


def _sorted(error: requests.RequestException, host: str | None) -> NotSent | Lost:
    """Tell whether a failed request can have reached the server.

    Only the kind of the error is repeated: its text may show the URL, its attributes the headers.
    """
    kind = type(error).__name__
    certificate = any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))
    connecting = any(isinstance(cause, NewConnectionError) for cause in _causes(error))
    # A proxy that refuses the tunnel has not seen the request that was to go through it.
    before = (
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidHeader,
        requests.exceptions.ProxyError,
    )
    if isinstance(error, (requests.ConnectTimeout, *before)) or certificate or connecting:
        reason = "its certificate cannot be trusted" if certificate else kind
        return NotSent(f"PayPal ({host}) could not be reached: {reason}")
    return Lost(f"no whole answer from PayPal ({host}): {kind}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Go through what an error of requests wraps: urllib3 keeps it in args, ``reason`` or the context."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        error = waiting.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        inner = [*error.args, getattr(error, "reason", None), error.__cause__, error.__context__]
        waiting.extend(cause for cause in inner if isinstance(cause, BaseException))


def _date(text: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 6 else None  # noqa: PLR2004
