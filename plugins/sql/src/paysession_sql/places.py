"""Which call uses which connection: what closing, forking and exceptions from outside rely on.

A connection has a place, and a call takes the place for as long as it runs. It does so by one step
of a dict (``setdefault``), which no thread or signal handler can interrupt and which records the
user in the same step. So whatever exception hits a call, at whatever line, what it took is found
under its name and given back; a lock that was acquired just before the exception would stay locked.

A call takes its place first and looks for a reason to stop afterwards; whoever closes or forks
gives the reason first and looks for calls afterwards. So one of the two always sees the other.

Calls that wait have precedence over those that come later. A thread that calls in a loop gives its
place back and takes it again before the interpreter lets another thread run: where it may, those
that wait never get it, for as long as it goes on.
"""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from paysession import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Call", "Places"]

POLL: Final = 0.001
"""Seconds between two looks at calls that have to end before a close or a fork: both are rare, and
calls would pay for being able to notify them."""

LOOK_AGAIN: Final = 1.0
"""Seconds after which a call that waits for a place looks again, should its wake-up have been lost."""


class _Closes(Protocol):
    def close(self) -> None: ...


_ABSENT: Final = object()

_Connection = TypeVar("_Connection", bound=_Closes)


class Call:
    """A call of a store while it runs; what it uses is recorded under it."""

    woken: SimpleQueue[None] | None = None

    def __init__(self) -> None:
        self.thread = get_ident()

    def wake(self) -> None:
        """Have the call look again, if it waits."""
        if self.woken is not None:
            self.woken.put(None)


class Places(Generic[_Connection]):
    """The connections of a store in one process, and the calls that use them.

    Args:
        awaited: How many of the places, from 0 on, calls wait for when they are in use.

    Attributes:
        connections: The open connections by place.
        waiting: The calls that wait for a place, the longest waiting first.
        closed: Whether later calls are refused.
        resting: Whether later calls have to wait, because the process is about to fork.
    """

    def __init__(self, awaited: int) -> None:
        self.connections: Final[dict[int, _Connection]] = {}
        self.waiting: Final[dict[Call, None]] = {}
        self.closed = False
        self.resting = False
        self._awaited = awaited
        self._using: dict[int, Call] = {}
        self._gate = Lock()

    # --- what a call does -------------------------------------------------------------------------

    def take(self, place: int, call: Call) -> bool:
        """Take a place, if it is free or the call's already; return whether the call has it."""
        return self._using.setdefault(place, call) is call

    def has(self, place: int, call: Call) -> bool:
        """Return whether the call has a place."""
        return self._using.get(place) is call

    def take_any(self, call: Call) -> int:
        """Take the first free place: the connection that was used last is the first of them.

        The places that others wait for are left to them.

        Raises:
            StoreError: The store is closed.
        """
        using = self._using
        while True:
            place = self._awaited if self.waiting else 0
            while using.setdefault(place, call) is not call:
                place += 1
            if not (self.closed or self.resting):
                return place
            self.stop(call)

    def stop(self, call: Call) -> None:
        """Give back what the call took, and wait for the end of a fork.

        Raises:
            StoreError: The store is closed.
        """
        self._free(call)
        if self.closed:
            raise StoreError("the store is closed")
        with self._gate:
            pass

    def line_up(self, call: Call) -> bool:
        """Have the call wait for a place, behind those that wait already; return whether it is the first."""
        if call.woken is None:
            call.woken = SimpleQueue()
        self.waiting[call] = None
        return list(self.waiting)[:1] == [call]

    def wait(self, call: Call, seconds: float = LOOK_AGAIN) -> None:
        """Wait until a place may be free for a call that lined up."""
        assert call.woken is not None  # noqa: S101 - it lined up
        try:  # noqa: SIM105 - a third of the cost of it, and with many threads nearly every commit waits
            call.woken.get(timeout=min(max(seconds, 0.0), LOOK_AGAIN))
        except Empty:
            pass

    def step_out(self, call: Call) -> None:
        """Have a call that got its place not wait any longer; the next one sees whether another is free."""
        if self.waiting.pop(call, _ABSENT) is not _ABSENT:
            self._wake_first()

    def leave(self, call: Call, *, broken_off: bool = False) -> None:
        """Give back all that a call has. It may be repeated.

        Args:
            call: The call that ends.
            broken_off: Whether an exception may have kept it from waking the next one.
        """
        waiting = self.waiting
        waited = bool(waiting) and waiting.pop(call, _ABSENT) is not _ABSENT
        if (self._free(call) or waited or broken_off) and waiting:
            self._wake_first()
        if self.closed:
            self.close_idle()

    def _free(self, call: Call) -> bool:
        """Give back the places of a call; return whether others wait for one of them."""
        using = self._using
        awaited = False
        if using.get(0) is call:  # mostly
            del using[0]
            awaited = True
        for place, user in list(using.items()) if using else ():
            if user is call:
                del using[place]
                awaited = awaited or place < self._awaited
        return awaited

    def _wake_first(self) -> None:
        if self.waiting:
            for first in list(self.waiting)[:1]:
                first.wake()

    def drop(self, call: Call, broken: Callable[[_Connection], bool]) -> None:
        """Close the connections that a call has and that are broken."""
        for place, user in list(self._using.items()):
            connection = self.connections.get(place)
            if user is call and connection is not None and broken(connection):
                del self.connections[place]
                connection.close()

    # --- closing and forking ----------------------------------------------------------------------

    def close_idle(self) -> None:
        """Close the connections that no call uses."""
        closer = Call()
        try:
            for place in list(self.connections):
                if self.take(place, closer):
                    connection = self.connections.pop(place, None)
                    if connection is not None:
                        connection.close()
        finally:
            if self._free(closer):
                self._wake_first()

    def close(self) -> None:
        """Refuse later calls, wait for those that run, and close the connections.

        A call of this very thread (a signal handler's close interrupts one) cannot be waited for: its
        connection is closed when it ends.
        """
        self.closed = True
        self.close_idle()
        while self._others():
            time.sleep(POLL)
        self.close_idle()

    def rest(self) -> bool:
        """Have later calls wait, wait for those that run, and close the connections, before a fork.

        Returns:
            Whether nothing is left open; not, when the fork interrupts a call of this very thread.
        """
        self._gate.acquire()  # until `resume`
        self.resting = True
        while True:
            self.close_idle()
            if not self._others(waiting=False):
                if self._using:
                    return False
                if not self.connections:
                    return True
            time.sleep(POLL)

    def resume(self) -> None:
        """Go on after a fork."""
        if self.resting:
            self.resting = False
            self._gate.release()
        self._wake_first()

    def _others(self, *, waiting: bool = True) -> bool:
        """Return whether calls of other threads run."""
        calls = list(self._using.values())
        if waiting:
            calls += list(self.waiting)
        this = get_ident()
        return any(call.thread != this for call in calls)
