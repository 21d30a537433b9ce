"""A plugin around the provider: it keeps what the provider itself said, and lets the process die."""

from __future__ import annotations

import signal
import threading
import time
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import frozen

from paysession import hookimpl
from paysession_testing.contract.verdict import broken

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from types import FrameType

    from paysession import Operation, PaymentSession
    from paysession_testing.contract.counterpart import Request
    from paysession_testing.contract.wire import Wire

__all__ = ["Call", "Crash", "Recorder"]


HANGS = 30.0
"""Seconds after which a hook is taken to wait forever: no fault on the wire takes as long."""


class Crash(BaseException):
    """The process dies here."""


@frozen
class Call:
    """One call of a hook, and what the provider itself answered or raised."""

    hook: str
    session: PaymentSession
    operation: Operation | None
    answer: object = None
    error: BaseException | None = None
    took: float = 0.0
    """Seconds."""
    sent: Sequence[Request] = ()
    """What went over the wire meanwhile; of other threads too."""

    @property
    def shown(self) -> str:
        """The answer in words, with the place from which an error came."""
        if self.error is None:
            return f"{self.hook} answered {self.answer!r:.300}"
        frames = traceback.extract_tb(self.error.__traceback__)
        place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
        return f"{self.hook} raised {type(self.error).__name__}: {self.error!s:.300}{place}"


class Recorder:
    """A plugin around the provider: it keeps what the provider said, and lets the process die.

    Args:
        wire: What stands between the provider and its gateway.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.calls: list[Call] = []
        self.crash: tuple[str, str] | None = None
        """A hook, and ``before`` or ``after``: where to die."""

    def _around(
        self, hook: str, session: PaymentSession, operation: Operation | None
    ) -> Generator[None, Any, Any]:
        if self.crash == (hook, "before"):
            raise Crash(hook)
        begun, before = time.monotonic(), len(self._wire.requests)
        try:
            with _in_time(hook):
                answer = yield
        except BaseException as error:
            took, sent = time.monotonic() - begun, self._wire.requests[before:]
            self.calls.append(Call(hook, session, operation, error=error, took=took, sent=sent))
            raise
        took, sent = time.monotonic() - begun, self._wire.requests[before:]
        self.calls.append(Call(hook, session, operation, answer, took=took, sent=sent))
        if self.crash == (hook, "after"):
            raise Crash(hook)
        return answer

    @hookimpl(wrapper=True)
    def initiate(self, session: PaymentSession, operation: Operation) -> Generator[None, Any, Any]:
        """Stand around the hook of an operation."""
        return (yield from self._around(operation.kind, session, operation))

    update = authorize = capture = refund = cancel = initiate

    @hookimpl(wrapper=True)
    def retrieve(self, session: PaymentSession, operation: Operation | None) -> Generator[None, Any, Any]:
        """Stand around a lookup."""
        return (yield from self._around("retrieve", session, operation))


@contextmanager
def _in_time(hook: str) -> Generator[None]:
    """Fail if a hook never returns: where a signal can interrupt it, and no other timer runs."""
    here = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")
    if not here or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return

    def late(_: int, frame: FrameType | None) -> None:
        place = f" at {frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""
        broken(
            "A hook answers.",
            found=f"{hook} was still waiting after {HANGS:.0f} seconds{place}",
            fix="set a timeout on every request, and wait for nothing else",
        )

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, HANGS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
