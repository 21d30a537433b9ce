"""The time at the fake PayPal: it stands still until somebody moves it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

__all__ = ["Clock"]


class Clock:
    """A clock that a test moves.

    Args:
        now: The time that it begins with; the real time, by default.
    """

    def __init__(self, now: datetime | None = None) -> None:
        self._now = (now or datetime.now(UTC)).replace(microsecond=0)
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        """Return the time."""
        return self._now

    def seconds(self) -> float:
        """Return the time as seconds that only go forward, for a token's age."""
        return self._now.timestamp()

    def forward(self, **duration: float) -> None:
        """Let time pass: ``clock.forward(days=4)``."""
        with self._lock:
            self._now += timedelta(**duration)
