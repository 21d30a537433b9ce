"""Where a process ends itself, in the middle of the protocol: through public hooks only.

A wrapper stands around the provider's hooks, an observer behind the commit, and a connection of its
own between a request and its answer. Nothing in the product knows of them.
"""

from __future__ import annotations

import http.client
import os
import select
import signal
from typing import TYPE_CHECKING, Any, Final

from paysession import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["POINTS", "KillPoints"]

POINTS: Final = (
    "before send",
    "request sent",
    "gateway committed, answer unread",
    "answer read, before our commit",
    "after our commit, before observers",
)
"""The points in the order in which an operation comes by them."""

_BEFORE_SEND, _SENT, _COMMITTED, _ANSWERED, _AFTER_COMMIT = POINTS


class KillPoints:
    """A plugin that kills its process, with SIGKILL, at some of the points that it comes by.

    Select it with ``plugins=[...]``, and give ``connection`` to a `GatewayProvider`.

    Args:
        strikes: Called with the point and the hook (``capture``, ``retrieve``, ...; empty after a
            commit and on the wire); returns whether to die there.
        last_words: Called with the point before it dies.
    """

    def __init__(
        self,
        strikes: Callable[[str, str], bool],
        last_words: Callable[[str], object] = lambda _point: None,
    ) -> None:
        self._strikes, self._last_words = strikes, last_words

    def _pass(self, point: str, hook: str = "") -> None:
        if self._strikes(point, hook):
            self._last_words(point)
            os.kill(os.getpid(), signal.SIGKILL)

    def _around(self, hook: str) -> Generator[None, Any, Any]:
        self._pass(_BEFORE_SEND, hook)
        try:
            return (yield)
        finally:
            self._pass(_ANSWERED, hook)

    @hookimpl(wrapper=True, tryfirst=True)
    def initiate(self) -> Generator[None, Any, Any]:
        """Pass by two points."""
        return (yield from self._around("initiate"))

    @hookimpl(wrapper=True, tryfirst=True)
    def update(self) -> Generator[None, Any, Any]:
        """Pass by two points."""
        return (yield from self._around("update"))

    @hookimpl(wrapper=True, tryfirst=True)
    def authorize(self) -> Generator[None, Any, Any]:
        """Pass by two points."""
        return (yield from self._around("authorize"))

    @hookimpl(wrapper=True, tryfirst=True)
    def capture(self) -> Generator[None, Any, Any]:
        """Pass by two points."""
        return (yield from self._around("capture"))

    @hookimpl(wrapper=True, tryfirst=True)
    def refund(self) -> Generator[None, Any, Any]:
        """Pass by two points."""
        return (yield from self._around("refund"))

    @hookimpl(wrapper=True, tryfirst=True)
    def cancel(self) -> Generator[None, Any, Any]:
        """Pass by two points."""
        return (yield from self._around("cancel"))

    @hookimpl(wrapper=True, tryfirst=True)
    def retrieve(self) -> Generator[None, Any, Any]:
        """Pass by two points."""
        return (yield from self._around("retrieve"))

    @hookimpl
    def session_changed(self) -> None:
        """Pass by a point: the change is committed, and no other observer knows of it yet."""
        self._pass(_AFTER_COMMIT)

    def connection(self, host: str, port: int, timeout: float) -> http.client.HTTPConnection:
        """Return an HTTP connection that passes by two points more."""
        strike = self._pass

        class Connection(http.client.HTTPConnection):
            def getresponse(self) -> http.client.HTTPResponse:
                strike(_SENT)
                select.select([self.sock], [], [], timeout)
                strike(_COMMITTED)
                return super().getresponse()

        return Connection(host, port, timeout=timeout)
