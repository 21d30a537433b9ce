"""The gate through which every public call enters, so that closing waits for the calls inside."""

from __future__ import annotations

import logging
import os
import time
from functools import wraps
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

from paysession.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Gate", "gated"]

logger = logging.getLogger("paysession")

POLL: Final = 0.005
"""Seconds between two looks at the calls that have to end: a close is rare, and calls would pay for
being able to notify it."""

_Class = TypeVar("_Class")


class Gate:
    """Which threads are inside, and whether others may enter.

    Args:
        release: Frees what the calls use; called once it is closed and nobody is inside.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self.inside: Final[dict[int, None]] = {}
        self.closed = False
        self._release = release
        self._releasing: dict[str, int] = {}
        self._released = False
        _gates.add(self)

    def part(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return work for another thread, as a part of the call that starts the thread."""

        def run() -> None:
            thread = get_ident()
            try:
                self.inside[thread] = None
                work()
            finally:
                self.inside.pop(thread, None)
                if self.closed:
                    self.release_if_empty()

        return run

    def close(self) -> None:
        """Refuse later calls, wait for those inside, and release what they use.

        A call cannot wait for itself: from inside one (an observer's) this returns at once, and the
        last call to end releases.
        """
        self.closed = True
        while not self._released:
            if get_ident() in self.inside:
                return
            self.release_if_empty()
            if not self._released:
                time.sleep(POLL)

    def release_if_empty(self) -> None:
        """Release what the calls use, if the gate is closed and nobody is inside, and not twice."""
        thread = get_ident()
        if not self.closed or self.inside or self._released:
            return
        if self._releasing.setdefault("by", thread) != thread:
            return
        try:
            self._release()
        except Exception:  # the result of the call that happens to be the last must not be lost
            logger.exception("the store failed to close")
        except BaseException:
            self._releasing.clear()  # interrupted: the next one tries again
            raise
        self._released = True

    def forked(self) -> None:
        """Forget the threads of the parent, which the child does not have."""
        thread = get_ident()
        for other in list(self.inside):
            if other != thread:
                del self.inside[other]
        self._releasing.clear()


_gates: Final[WeakSet[Gate]] = WeakSet()


def _forked() -> None:
    for gate in list(_gates):
        gate.forked()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_forked)


def gated(
    *, beside: tuple[str, ...], also: tuple[str, ...] = (), timed: tuple[str, ...] = ()
) -> Callable[[type[_Class]], type[_Class]]:
    """Have every public method of a class enter through the gate in its attribute ``_gate``.

    Args:
        beside: The methods that do not.
        also: The private methods that do.
        timed: The methods whose caller's time is limited, by the attribute ``_calls``.
    """

    def decorate(cls: type[_Class]) -> type[_Class]:
        for name, method in list(vars(cls).items()):
            enters = name in also if name.startswith("_") else name not in beside
            if callable(method) and enters:
                setattr(cls, name, _through_gate(method, timed=name in timed))
        return cls

    return decorate


def _through_gate(method: Callable[..., Any], *, timed: bool) -> Callable[..., Any]:
    @wraps(method)
    def enter(self: Any, *arguments: Any, **named: Any) -> Any:
        gate: Gate = self._gate
        inside, thread = gate.inside, get_ident()
        if thread in inside:  # called from within a call, and part of it
            if timed:
                return self._calls.within(method, self, *arguments, **named)
            return method(self, *arguments, **named)
        try:
            # Enter first and look afterwards; `Gate.close` closes first and looks afterwards.
            inside[thread] = None
            if gate.closed:
                raise StoreError("these payments are closed: open them again")
            if timed:
                return self._calls.within(method, self, *arguments, **named)
            return method(self, *arguments, **named)
        finally:
            inside.pop(thread, None)
            if gate.closed:
                gate.release_if_empty()

    return enter
