"""Connections that take nothing from the environment: no redirects, cookies, ``~/.netrc`` or proxies of it.

An answer is read up to a size and a time, however slowly it drips in.
"""

from __future__ import annotations

import time
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, TimeoutError  # noqa: A004 - urllib3's own, which is no OSError

from paysession.provider import bounded_pools

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["exchange", "open_session"]

CONNECTIONS: Final = 20
"""How many connections are kept for the threads of one process."""
_CHUNK: Final = 65_536


def open_session(proxy: str = "") -> requests.Session:
    """Return a session that takes nothing from its environment, and keeps its connections.

    Args:
        proxy: The URL of an HTTP proxy that all requests go through; empty: none.
    """
    session = requests.Session()
    # An entry of ~/.netrc would replace the Bearer token; a proxy of the environment would see requests.
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_connections=2, pool_maxsize=CONNECTIONS, max_retries=0)
    managers = [adapter.poolmanager]
    if proxy:
        session.proxies = {"http": proxy, "https": proxy}
        managers.append(adapter.proxy_manager_for(proxy))
    for manager in managers:
        # The head of an answer drips as well as its body; `exchange` sees the body only.
        manager.pool_classes_by_scheme = bounded_pools(manager.pool_classes_by_scheme)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def exchange(
    session: requests.Session,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    wait: float,
    deadline: float,
    most: int,
) -> tuple[requests.Response, bytes]:
    """Send one request, and return the answer's head and its body.

    Args:
        session: Made by `open_session`.
        method: The HTTP method.
        url: Where to.
        headers: As they are sent.
        body: As it is sent; None: none.
        wait: Seconds for connecting, and for the whole answer.
        deadline: When to stop reading, on the clock of ``time.monotonic``.
        most: The largest body that is read, in bytes.

    Raises:
        requests.RequestException: No whole answer came.
    """
    with session.request(
        method,
        url,
        data=body,
        headers=dict(headers),
        timeout=(wait, wait),
        allow_redirects=False,
        stream=True,
    ) as response:
        return response, _read(response, deadline, most)


def _read(response: requests.Response, deadline: float, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        # Whatever has arrived, rather than a whole chunk: who sends a byte at a time is stopped, too.
        while part := response.raw.read1(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > most:
                raise requests.ConnectionError("the answer is too large")
            if time.monotonic() > deadline:
                raise requests.Timeout("the answer took too long")
    except TimeoutError as error:
        raise requests.Timeout("the answer took too long") from error
    except HTTPError as error:
        raise requests.ConnectionError(type(error).__name__) from error
    return b"".join(parts)
