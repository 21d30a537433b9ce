"""The transport: ``paypalrestsdk``'s client, with everything mended that it gets wrong.

``paypalrestsdk.Api`` knows how PayPal's credentials, headers and token endpoint look; that is what
is used of it. What sends is overridden, because as it stands (1.13.3) it has no timeout, follows
redirects with the Bearer token, lets a ``~/.netrc`` replace that token, re-authenticates without end
when PayPal keeps answering 401, fetches a token per thread, logs secrets and bodies in the sandbox,
and sends a body with GET.

This is the only module that imports the SDK, and it is imported when PayPal is first called.
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
from paysession_paypal.wire import Lost, NotSent, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    class Api:
        """What is used of ``paypalrestsdk.Api``, which has no types of its own."""

        endpoint: str
        token_endpoint: str
        user_agent: str

        def __init__(self, *, mode: str, endpoint: str, client_id: str, client_secret: str) -> None: ...
        def basic_auth(self) -> str: ...

else:
    from paypalrestsdk import Api

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
_GRANT: Final = b"grant_type=client_credentials"
_UNAUTHORIZED: Final = 401


class SdkTransport(Api):
    """Sends requests with the merchant's token. Thread-safe.

    Args:
        client_id: The REST app's client id.
        client_secret: Its secret.
        environment: ``sandbox`` or ``live``.
        endpoint: Another server instead of PayPal's, without the path; for tests.
        timeout: Seconds for connecting, and for a whole answer.
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # The SDK joins URLs wrongly if the endpoint ends with a slash.
        url = (endpoint or ENDPOINTS[environment]).rstrip("/")
        super().__init__(mode=environment, endpoint=url, client_id=client_id, client_secret=client_secret)
        self._timeout = timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._access: str | None = None
        self._access_until = 0.0
        self._session = open_session()

    def send(self, request: Request, deadline: float) -> Reply:
        """Send a request, once more with a new token if PayPal refuses the one we have.

        A request answered with 401 was not executed, so repeating it is safe. A 401 that stays is
        returned: four requests at most, two of them for tokens.
        """
        token = self._token(deadline)
        reply = self._carry(request, token, deadline)
        if reply.status == _UNAUTHORIZED:
            token = self._token(deadline, refused=token)
            reply = self._carry(request, token, deadline)
        return reply

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    # --- the token --------------------------------------------------------------------------------

    def get_token_hash(self, *_: object, **__: object) -> dict[str, str]:
        """Return the token in the SDK's form, so that nothing inherited fetches one of its own."""
        return {"token_type": "Bearer", "access_token": self._token(self._deadline())}

    def _token(self, deadline: float, *, refused: str | None = None) -> str:
        """Return the token, fetched once for all threads; ``refused`` is one that is not to be used."""
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise NotSent("no access token in time: another thread is waiting for PayPal's answer")
        try:
            if self._access in (None, refused) or self._clock() >= self._access_until:
                self._access = None
                self._access, self._access_until = self._fetch_token(deadline)
            return str(self._access)
        finally:
            self._lock.release()

    def _fetch_token(self, deadline: float) -> tuple[str, float]:
        asked_at = self._clock()
        # No headers of the call that needs the token: the SDK would send them here, too.
        headers = {
            "Authorization": f"Basic {self.basic_auth()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        url = f"{self.token_endpoint}/v1/oauth2/token"
        try:
            reply = self.http_call(url, "POST", data=_GRANT, headers=headers, deadline=deadline)
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

    def _carry(self, request: Request, token: str, deadline: float) -> Reply:
        headers = {**request.headers, "Authorization": f"Bearer {token}"}
        if request.method != "GET":
            # Without it PayPal answers 415, even to a request that has no body.
            headers["Content-Type"] = "application/json"
        url = self.endpoint + request.path
        return self.http_call(url, request.method, data=request.body, headers=headers, deadline=deadline)

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout

    def http_call(
        self,
        url: str,
        method: str,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> Reply:
        """Send one request over a pooled connection, and read the answer until the deadline.

        Neither headers nor bodies are logged.
        """
        deadline = self._deadline() if deadline is None else deadline
        begun = time.monotonic()
        if begun >= deadline:
            raise NotSent("there was no time left to send the request")
        wait = min(self._timeout, deadline - begun)
        sent = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": self.user_agent}
        try:
            response, body = exchange(
                self._session,
                method,
                url,
                headers={**sent, **(headers or {})},
                body=data,
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
        path = urlsplit(url).path
        logger.info("%s %s: %d in %.2f s, debug_id %s", method, path, reply.status, took, reply.debug_id)
        return reply


def _sorted(error: requests.RequestException, host: str | None) -> NotSent | Lost:
    """Tell whether a failed request can have reached the server.

    Only the kind of the error is repeated: its text may show the URL, its attributes the headers.
    """
    kind = type(error).__name__
    certificate = any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))
    connecting = any(isinstance(cause, NewConnectionError) for cause in _causes(error))
    unusable = isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader)
    if isinstance(error, requests.ConnectTimeout) or certificate or connecting or unusable:
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
