"""The database's clock, read without a query each time: leases of several hosts are compared on it."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

__all__ = ["SharedClock"]

ASKED_EVERY: Final = 10.0
"""Seconds for which an answer is carried on: a quartz crystal drifts by less than a millisecond."""

PATIENCE: Final = 1.0
"""Seconds after which another thread asks, if the one that does has no answer yet."""


def _elapsed() -> float:
    """Return seconds that go on while the machine sleeps, where the system counts them."""
    return _gettime(_CLOCK)


_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", 0))
_gettime: Final = time.clock_gettime


class SharedClock:
    """Returns another clock's time: read now and then, and carried on by this machine's stopwatch.

    The machine's own time of day plays no part: setting it changes nothing. When the other clock is
    set this one follows within `ASKED_EVERY` seconds.

    Args:
        ask: Reads the other clock; what it raises is raised only if it was never answered.
        elapsed: Returns the seconds of a stopwatch.
    """

    def __init__(self, ask: Callable[[], datetime], *, elapsed: Callable[[], float] = _elapsed) -> None:
        self._ask, self._elapsed = ask, elapsed
        self._answer: tuple[datetime, float] | None = None
        self._due = 0.0

    def __call__(self) -> datetime:
        """Return the other clock's time."""
        answer = self._answer
        if answer is None or self._elapsed() > self._due:
            answer = self._asked(answer)
        read, at = answer
        return read + timedelta(seconds=self._elapsed() - at)

    def _asked(self, answer: tuple[datetime, float] | None) -> tuple[datetime, float]:
        # The others carry the last answer on meanwhile, if there is one. Not by a lock, which would
        # stay locked when this thread is hit by an exception or is not there any more after a fork.
        begun = self._elapsed()
        self._due = begun + PATIENCE
        try:
            read = self._ask()
        except Exception:
            self._due = 0.0
            if answer is None:
                raise
            return answer  # whatever needs the database next says what is wrong with it
        # The other clock was read somewhere in between.
        answer = self._answer = read, (begun + self._elapsed()) / 2
        self._due = answer[1] + ASKED_EVERY
        return answer
