"""Answers that end: for providers that send with ``http.client``, ``urllib3`` or ``requests``.

A timeout of a socket limits each wait for bytes, so an answer that drips one byte at a time never
ends, and a large one fills the memory. Here the whole answer, its head included, has one time limit
and one size limit. Nothing but the standard library is imported.
"""

from __future__ import annotations

import io
import time
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

__all__ = ["MOST", "BoundedResponse", "bounded_pools"]

MOST: Final = 16_777_216
"""The largest answer that is read, in bytes."""


class BoundedResponse(HTTPResponse):
    """An answer that is read for as long as the socket's timeout altogether, and up to `MOST` bytes.

    Set it as the ``response_class`` of an ``http.client.HTTPConnection``. After the time it raises
    ``TimeoutError``, after the size ``http.client.HTTPException``, as a failing connection does. An
    answer that is compressed is refused as well: ask for ``Accept-Encoding: identity``, or a small
    answer could become a huge one.
    """

    most: ClassVar[int] = MOST

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        # The raw stream below the buffer is replaced by one that keeps to the limits.
        self.fp = io.BufferedReader(_Limited(self.fp.detach(), sock, self.clock, self.most))

    @staticmethod
    def clock() -> float:
        """Return seconds that only go forward."""
        return time.monotonic()

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        if self.getheader("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise HTTPException("the answer is compressed; send Accept-Encoding: identity")


class _Limited(io.RawIOBase):
    """The bytes of a socket, up to a moment and a size.

    Args:
        raw: The socket's own stream.
        sock: Its timeout is the time that all bytes together have.
        clock: Seconds that only go forward.
        most: How many bytes are read.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, clock: Callable[[], float], most: int) -> None:
        self._raw = raw
        self._sock = sock
        self._clock = clock
        self._left = most
        self._timeout = sock.gettimeout()
        self._end = None if self._timeout is None else clock() + self._timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._left <= 0:
            raise HTTPException("the answer is too large")
        if self._end is None:
            count = self._raw.readinto(buffer)
        else:
            wait = self._end - self._clock()
            if wait <= 0:
                raise TimeoutError("the answer took too long")
            self._sock.settimeout(wait)
            try:
                count = self._raw.readinto(buffer)
            finally:
                self._sock.settimeout(self._timeout)  # for the next request on this connection
        self._left -= count or 0
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


def bounded_pools(pools: Mapping[str, type]) -> dict[str, type]:
    """Return ``urllib3``'s classes of connection pools with answers that end.

    ``manager.pool_classes_by_scheme = bounded_pools(manager.pool_classes_by_scheme)`` is all that a
    ``urllib3.PoolManager`` needs, be it the ``poolmanager`` of a ``requests`` adapter.

    Args:
        pools: A manager's ``pool_classes_by_scheme``.
    """
    return {scheme: _bounded_pool(pool) for scheme, pool in pools.items()}


def _bounded_pool(pool: Any) -> Any:
    connection = pool.ConnectionCls
    if issubclass(connection.response_class, BoundedResponse):
        return pool
    bounded = type(connection.__name__, (connection,), {"response_class": BoundedResponse})
    return type(pool.__name__, (pool,), {"ConnectionCls": bounded})
