"""How requests travel: the HTTP client that the ``stripe`` package is given, made of its public parts.

The package takes any `stripe.HTTPClient`, and turns what that raises and returns into its own errors and
objects. Ours sends with ``requests``, whose connections are shared by the threads of a process, and adds
what matters where money moves:

- It follows no redirect. Stripe sends none; a proxy's leads the request on as a GET, or to another server,
  and what became of *that* one (refused, 404) would be taken for what became of ours.
- It keeps the key that it is given, whatever ``~/.netrc`` says: an entry there, such as one for curl,
  would replace it, and the money would move in another account. Proxies are the environment's.
- It reads an answer for as long as the timeout, and up to a size, however slowly it drips in; and no attempt
  of a call takes longer than its caller waits.
- It notes whether an attempt of a call may have been carried out. The package retries, and reports the last
  failure only: a refused connection after a lost answer would be taken for "certainly not".
- It masks what the package writes to its log: the secret key, and what lets a browser confirm a payment.
- It logs a notice of Stripe's. The package would make a warning of it, and where warnings are errors a
  charge that was made would look as if it had failed.
"""

from __future__ import annotations

import logging
import re
import ssl
import threading
import time
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final

import requests
import stripe
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from paysession.provider import bounded_pools

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paysession.provider import Secret

__all__ = ["Transport", "never_sent"]

logger = logging.getLogger("paysession_stripe")

_CONNECTIONS: Final = 32
"""How many connections are kept open for the threads of a process; more are opened and not kept."""

_REDIRECTS: Final = 300
"""The first status that is no success."""

_PROVES: Final = frozenset({400, 401, 402, 403, 404, 429})
"""The statuses of a refusal that proves something; every other one (408, 409, 424, 5xx) leaves doubt."""

_CLIENT_SECRET: Final = re.compile(r'(client_secret"\s*:\s*"|_secret_)[^"&\\\s]+')
"""As a value of its own, and within the addresses of pages that the payer is sent to."""


class NoTimeLeft(Exception):
    """The caller's time was over before an attempt was sent."""


class Transport(stripe.HTTPClient):
    """Sends the requests of one account, for the threads of one process.

    Args:
        api_key: The secret key, which no answer may repeat.
        timeout: Seconds to connect, and seconds that a whole answer may take.
        direct: Whether proxies of the environment are passed by: a stand-in on this machine.
    """

    name = "requests"

    def __init__(self, api_key: Secret, timeout: tuple[float, float], *, direct: bool) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self._api_key = api_key.reveal()
        self._timeout = timeout
        self._session = _session()
        self._session.trust_env = not direct
        self._call = threading.local()

    def begin(self, until: float | None = None) -> None:
        """Forget the last call of this thread, and note when to give the next one up."""
        self._call.doubtful = False
        self._call.until = until

    @property
    def doubtful(self) -> bool:
        """Whether an attempt of this thread's call may have been carried out without an answer."""
        return bool(getattr(self._call, "doubtful", False))

    def request(  # type: ignore[override] # the package passes ``_usage`` to clients of its own only
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[str, int, Mapping[str, str]]:
        """Send one attempt; return the answer's text, status and headers.

        Raises:
            stripe.APIConnectionError: No answer came, or only a part of it.
        """
        try:
            answer = self._session.request(
                method,
                url,
                headers=headers,
                data=post_data,
                timeout=self._time(),
                verify=stripe.ca_bundle_path,
                allow_redirects=False,
            )
            text = _text(answer.content)
        except Exception as error:
            sent = not never_sent(error)
            self._call.doubtful = self.doubtful or sent
            lost = isinstance(error, requests.ConnectionError | requests.Timeout)
            again = lost and not isinstance(error, requests.exceptions.SSLError)
            raise stripe.APIConnectionError(  # type: ignore[no-untyped-call]
                type(error).__name__, should_retry=again
            ) from error
        if answer.status_code not in _PROVES and answer.status_code >= _REDIRECTS:
            self._call.doubtful = True
        notice = answer.headers.pop("Stripe-Notice", None)
        if notice is not None:
            logger.warning("Stripe says: %s", notice)
        return _Body(text.replace(self._api_key, "***")), answer.status_code, answer.headers

    def _time(self) -> tuple[float, float]:
        """Return how many seconds an attempt has: to connect, and for a whole answer.

        Raises:
            NoTimeLeft: None.
        """
        until: float | None = getattr(self._call, "until", None)
        if until is None:
            return self._timeout
        left = until - time.monotonic()
        if left <= 0:
            raise NoTimeLeft
        connect, answer = self._timeout
        return min(connect, left), min(answer, left)

    def close(self) -> None:
        """Close the connections of all threads."""
        self._session.close()


class _Body(str):
    """The text of an answer: whole for who reads it, masked where it is written into a log."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return format(_CLIENT_SECRET.sub(r"\1***", str.__str__(self)), spec)

    def __repr__(self) -> str:
        return repr(_CLIENT_SECRET.sub(r"\1***", str.__str__(self)))


def _text(content: bytes) -> str:
    """Return an answer's text; "" for what is no UTF-8, so that nothing of it is believed."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return ""


class _Adapter(HTTPAdapter):
    """Connections whose answers end, to Stripe and through a proxy."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = bounded_pools(self.poolmanager.pool_classes_by_scheme)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        manager: Any = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = bounded_pools(manager.pool_classes_by_scheme)
        return manager


def _session() -> requests.Session:
    session = requests.Session()
    session.auth = _unchanged  # requests asks ~/.netrc only where there is no other
    session.headers["Accept-Encoding"] = "identity"  # what is compressed could become a huge answer
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))  # threads share no state
    adapter = _Adapter(pool_maxsize=_CONNECTIONS)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def never_sent(error: BaseException | None) -> bool:
    """Return whether no byte of a request can have left: no connection came about."""
    if isinstance(error, requests.ConnectTimeout | NoTimeLeft):
        return True
    if not isinstance(error, requests.ConnectionError):
        return False
    if isinstance(error, requests.exceptions.SSLError):
        return any(isinstance(part, ssl.SSLCertVerificationError) for part in _causes(error))
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)


def _causes(error: BaseException) -> list[object]:
    """Return an error with those that it carries: as arguments, as the reason of giving up."""
    found: list[object] = [error]
    for part in found:  # grows while it is walked
        inner = [*part.args, getattr(part, "reason", None)] if isinstance(part, BaseException) else []
        found += [one for one in inner if isinstance(one, BaseException) and one not in found]
    return found
