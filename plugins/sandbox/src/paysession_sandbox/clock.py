"""The time at a stand-in: it stands still, or runs, and anybody may set it forward."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

__all__ = ["Clock"]


class Clock:
    """A clock that can be set forward, and never back.

    Args:
        now: The time that it begins with; the real time, by default.
        running: Whether it runs on by itself. One that stands still makes tests repeatable.
    """

    def __init__(self, now: datetime | None = None, *, running: bool = False) -> None:
        self._now = (now or datetime.now(UTC)).replace(microsecond=0)
        self._began = time.monotonic() if running else None
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        """Return the time."""
        if self._began is None:
            return self._now
        return self._now + timedelta(seconds=time.monotonic() - self._began)

    def seconds(self) -> float:
        """Return the time as seconds since 1970."""
        return self().timestamp()

    def forward(self, **duration: float) -> None:
        """Let time pass: ``clock.forward(days=4)``."""
        step = timedelta(**duration)
        if step < timedelta(0):
            raise ValueError("a clock is set forward, never back")
        with self._lock:
            self._now += step
