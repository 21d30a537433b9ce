"""How often the returns of payers may query a gateway."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["ReturnLimit"]

AT_ONCE: Final = 5
"""How many queries a session's returns may cause without a wait: a payer may come back several times."""

INTERVAL: Final = timedelta(seconds=10)
"""How far apart the queries after those are."""

REMEMBERED: Final = 20_000
"""How many sessions are remembered at most; entries older than `AT_ONCE` intervals say nothing any more."""


class ReturnLimit:
    """Limits what reloads of a return page cause: per session and process, and only in memory.

    It takes no lock, which a fork could leave held in the child: two threads that ask at the same moment may
    both be let through.
    """

    def __init__(self) -> None:
        self._free_at: dict[str, datetime] = {}
        self._earlier: dict[str, datetime] = {}

    def allows(self, session_id: str, now: datetime) -> bool:
        """Return whether the gateway may be queried for a session now, and count it if so."""
        free_at = self._free_at.get(session_id) or self._earlier.get(session_id) or now
        ahead = free_at - now
        if ahead > AT_ONCE * INTERVAL:
            free_at = now  # the clock was set back
        elif ahead > (AT_ONCE - 1) * INTERVAL:
            return False
        if len(self._free_at) >= REMEMBERED // 2:
            self._earlier, self._free_at = self._free_at, {}
        self._free_at[session_id] = max(free_at, now) + INTERVAL
        return True
