"""How long ago a request was sent: by the store's clock, corrected by a stopwatch that nobody can set.

How long ago it was decides whether an effect that the gateway does not show is absent, and whether a
key may still be sent again. The store's clock can be set: by an administrator, by NTP, on a machine
that wakes up. A process that ran before it was set knows by how much, because its stopwatch went on.
One that started later cannot know: see ``docs/operations.md``, "Clocks".
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

__all__ = ["Elapsed", "InFlight", "is_in_flight", "stopwatch"]

_TOLERANCE: Final = 1.0
"""Seconds that two clocks may differ by without either having been set: they drift apart."""

_KEPT: Final = 16
"""How many steps of the clock in one direction are kept one by one."""

_NONE: Final = timedelta(0)
_STOPWATCH: Final[int] = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", 0))


stopwatch: Final[Callable[[], float]] = partial(time.clock_gettime, _STOPWATCH)
"""Returns the seconds of a clock that cannot be set; it counts the machine's sleep where it can."""


class _Steps:
    """The times that a clock was set in one direction: by how much, and the last reading before it."""

    def __init__(self) -> None:
        self._rows: tuple[tuple[timedelta, datetime], ...] = ()

    def add(self, size: timedelta, until: datetime) -> None:
        rows = (*self._rows, (size, until))
        if len(rows) > _KEPT:
            # The two oldest as one that counts for both: more cautious, never less.
            (first, earlier), (second, later), *rest = rows
            rows = ((first + second, max(earlier, later)), *rest)
        self._rows = rows

    def after(self, since: datetime) -> timedelta:
        """Return by how much the clock may have been set after a reading."""
        if not self._rows:
            return _NONE
        return sum((size for size, until in self._rows if since <= until), _NONE)


def _ahead(now: datetime, seconds: float) -> float:
    return now.timestamp() - seconds


class Elapsed:
    """Says how long ago a reading of the store's clock was, also if the clock was set. Thread-safe.

    Args:
        now: The store's clock.
        stopwatch: Returns seconds, counted from any moment. None: nothing but the clock counts; so it is
            where a test moves the clock to let time pass.
    """

    def __init__(self, now: Callable[[], datetime], stopwatch: Callable[[], float] | None = None) -> None:
        self._now = now
        self._stopwatch = stopwatch
        self._lock = Lock()
        self._forward, self._back = _Steps(), _Steps()
        self._last = (now(), stopwatch()) if stopwatch is not None else None
        self._ahead = 0.0 if self._last is None else _ahead(*self._last)

    def now(self) -> datetime:
        """Return the store's time, and note whether its clock was set since the last call."""
        now, stopwatch = self._now(), self._stopwatch
        if stopwatch is None or -_TOLERANCE < now.timestamp() - stopwatch() - self._ahead < _TOLERANCE:
            return now  # every operation asks several times
        return self._compared()

    def _compared(self) -> datetime:
        """Return the store's time, read between two looks at the stopwatch, and note how it was set."""
        assert self._stopwatch is not None  # noqa: S101 - otherwise nothing is compared
        assert self._last is not None  # noqa: S101
        begun = self._stopwatch()
        now = self._now()
        ended = self._stopwatch()
        last = self._last
        passed = timedelta(seconds=ended - last[1])
        step = now - last[0] - passed
        # A thread that was paused between the readings learns nothing from them.
        if abs(step.total_seconds()) >= _TOLERANCE > ended - begun:
            with self._lock:
                if self._last is last:  # otherwise another thread has noted it
                    if step > _NONE:
                        self._forward.add(step, now)
                    else:
                        self._back.add(step, last[0] + passed)
                    self._last = now, ended
                    self._ahead = _ahead(now, ended)
        return now

    def at_least(self, since: datetime) -> timedelta:
        """Return how much time has certainly passed since a reading of the store's clock.

        Args:
            since: The reading, by whichever process.
        """
        return max(_NONE, self.now() - since - self._forward.after(since))

    def at_most(self, since: datetime) -> timedelta:
        """Return how much time can have passed since a reading of the store's clock.

        Args:
            since: The reading, by whichever process.
        """
        return self.now() - since - self._back.after(since)

    def reading(self) -> float | None:
        """Return the stopwatch's seconds, to be compared with later by this process; None: there is none."""
        return self._stopwatch() if self._stopwatch is not None else None

    def is_after(self, moment: datetime, since: datetime, reading: float | None) -> bool:
        """Return whether a time has passed by the store's clock, or by the stopwatch if that was set back.

        Args:
            moment: The time.
            since: When the wait for it began, by the store's clock.
            reading: The same by the stopwatch of this process.
        """
        if self.now() > moment:
            return True
        if self._stopwatch is None or reading is None:
            return False
        return self._stopwatch() - reading > (moment - since).total_seconds()


_unanswered: Final[dict[tuple[str, int], None]] = {}
"""The operations that this process waits for, each with the block that does: one entry is one step of the
interpreter, and needs no lock."""


class InFlight:
    """A block in which this process waits for the answer to an operation, and writes it down.

    Args:
        operation_id: The operation.
    """

    __slots__ = ("_key",)

    def __init__(self, operation_id: str) -> None:
        self._key = operation_id, id(self)

    def __enter__(self) -> None:
        _unanswered[self._key] = None

    def __exit__(self, *_: object) -> None:
        _unanswered.pop(self._key, None)


def is_in_flight(operation_id: str) -> bool:
    """Return whether a request of an operation is unanswered in this process."""
    return any(waiting == operation_id for waiting, _ in list(_unanswered))


def _forked() -> None:
    """Forget the parent's requests: their threads do not exist in the child."""
    _unanswered.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
