"""How long ago a request was sent: by the store's clock, corrected by a stopwatch that nobody can set.

How long ago it was decides whether an effect that the gateway does not show is absent, and whether a
key may still be sent again. The store's clock can be set: by an administrator, by NTP, on a machine
that wakes up. A process that ran before it was set knows by how much, because its stopwatch went on.
One that started later cannot know: see ``docs/operations.md``, "Clocks".
"""

from __future__ import annotations

import os
import time
from collections import Counter
from datetime import timedelta
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


def stopwatch() -> float:
    """Return the seconds of a clock that cannot be set; it counts the machine's sleep where it can."""
    return time.clock_gettime(_STOPWATCH)


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
        return sum((size for size, until in self._rows if since <= until), _NONE)


class Elapsed:
    """Tells how long ago a reading of the store's clock was, also if the clock was set. Thread-safe.

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

    def now(self) -> datetime:
        """Return the store's time, and note whether its clock was set since the last call."""
        if self._stopwatch is None or self._last is None:
            return self._now()
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


_unanswered: Counter[str] = Counter()
_counting = Lock()


class InFlight:
    """A block in which this process waits for the answer to an operation, and writes it down.

    Args:
        operation_id: The operation.
    """

    def __init__(self, operation_id: str) -> None:
        self._id = operation_id

    def __enter__(self) -> None:
        with _counting:
            _unanswered[self._id] += 1

    def __exit__(self, *_: object) -> None:
        with _counting:
            _unanswered[self._id] -= 1
            if _unanswered[self._id] <= 0:
                del _unanswered[self._id]


def is_in_flight(operation_id: str) -> bool:
    """Return whether a request of an operation is unanswered in this process."""
    return operation_id in _unanswered


def _forked() -> None:
    """Forget the parent's requests: their threads do not exist in the child."""
    global _counting  # noqa: PLW0603 - the parent's lock may have been held when it forked
    _counting = Lock()
    _unanswered.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
