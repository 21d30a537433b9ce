"""The database's clock, told without asking each time: leases of several hosts are compared on it."""

from __future__ import annotations

import time
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

__all__ = ["SharedClock"]

ASKED_EVERY: Final = 10.0
"""Seconds for which an answer is carried on: a quartz crystal drifts by less than a millisecond."""


def _elapsed() -> float:
    """Return seconds that go on while the machine sleeps, where the system counts them."""
    return _gettime(_CLOCK)


_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", 0))
_gettime: Final = time.clock_gettime


class SharedClock:
    """Tells another clock's time: asked now and then, and carried on by this machine's stopwatch.

    The machine's own time of day plays no part: setting it changes nothing. When the other clock is
    set this one follows within `ASKED_EVERY` seconds.

    Args:
        ask: Asks the other clock; what it raises is raised only if it was never answered.
        elapsed: Returns the seconds of a stopwatch.
    """

    def __init__(self, ask: Callable[[], datetime], *, elapsed: Callable[[], float] = _elapsed) -> None:
        self._ask, self._elapsed = ask, elapsed
        self._asking = Lock()
        self._answer: tuple[datetime, float] | None = None

    def __call__(self) -> datetime:
        """Return the other clock's time."""
        answer = self._answer
        if answer is None or self._elapsed() - answer[1] > ASKED_EVERY:
            answer = self._asked(answer)
        told, at = answer
        return told + timedelta(seconds=self._elapsed() - at)

    def _asked(self, answer: tuple[datetime, float] | None) -> tuple[datetime, float]:
        # One thread asks; the others carry the last answer on meanwhile, if there is one.
        if not self._asking.acquire(blocking=answer is None):
            assert answer is not None  # noqa: S101 - otherwise it was waited for
            return answer
        try:
            if self._answer is not answer and self._answer is not None:
                return self._answer  # by another thread, meanwhile
            begun = self._elapsed()
            told = self._ask()
            # The other clock was read somewhere in between.
            self._answer = told, (begun + self._elapsed()) / 2
        except Exception:
            if answer is None:
                raise
            return answer  # whatever needs the database next says what is wrong with it
        else:
            return self._answer
        finally:
            self._asking.release()
