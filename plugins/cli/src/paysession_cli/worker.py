"""A recovery worker: round after round until it is told to stop, with figures of what it did."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any, Final

from paysession import StoreError
from paysession_cli import show

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from paysession import InDoubt, Payments, Recovery

__all__ = ["Worker", "report"]

SLICE: Final = 10
"""So many sessions are settled between two looks at whether to stop: each may take a slow call."""

MOST_PAUSE: Final = 60.0
"""Seconds between two attempts, at most, while the database is down."""

PRUNED_EVERY: Final = 60.0
"""Seconds between two times that a worker deletes notifications and events that are no longer kept."""

PRUNED_AT_ONCE: Final = 1000
"""How many of each a worker deletes at a time: more than a million a day."""

_DOZE: Final = 0.2  # seconds; a signal is noticed that soon


class Worker:
    """Settles what is due until SIGTERM or SIGINT; any number of them may, beside the application.

    The first signal lets the sessions in hand be finished; the second stops at once, which is as safe
    as a crash: what was in hand is taken up when its lease runs out.

    Args:
        payments: What is open.
        reopen: Closes that, and opens it anew; called before a round that follows one that failed.
        limit: At most so many sessions a round.
        provider: Only what belongs to this provider; None: all.
        now: Whether the first round also takes what is not due yet.
        interval: Seconds between two rounds; after a full round there is no pause.
        report_every: Seconds between two reports when nothing happened.
        tell: Takes each report.
        complain: Takes a sentence about a round that failed.
    """

    def __init__(
        self,
        payments: Payments,
        *,
        reopen: Callable[[], Payments],
        limit: int,
        provider: str | None = None,
        now: bool = False,
        interval: float,
        report_every: float,
        tell: Callable[[dict[str, Any]], None],
        complain: Callable[[str], None],
    ) -> None:
        self._payments, self._limit, self._provider, self._now = payments, limit, provider, now
        self._reopen = reopen
        self._interval, self._report_every = max(0.1, interval), report_every
        self._tell, self._complain = tell, complain
        self._stopping = False
        self._prune_at = float("-inf")
        self._totals = {"rounds": 0, "settled": 0, "notifications_done": 0, "failed_rounds": 0}

    def run(self) -> None:
        """Work until a signal comes."""
        before = {sign: signal.signal(sign, self._stop) for sign in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._work()
        finally:
            for sign, handler in before.items():
                signal.signal(sign, handler)

    def _stop(self, sign: int, frame: FrameType | None) -> None:
        del sign, frame
        if self._stopping:
            raise SystemExit(0)
        self._stopping = True

    def _work(self) -> None:
        failures, reported = 0, float("-inf")
        failed: StoreError | None = None
        while not self._stopping:
            try:
                if failed is not None:
                    # A SQLite file that was replaced is refused until it is opened again.
                    self._payments = self._reopen()
                busy, full = self._round(reported)
            except StoreError as error:
                failures, failed = failures + 1, error
                self._totals["failed_rounds"] += 1
                pause = min(self._interval * 2 ** min(failures, 10), MOST_PAUSE)
                self._complain(f"{error}; trying again in {pause:.0f} s")
                self._report_failure(error)
            else:
                failures, failed, pause = 0, None, 0.0 if full else self._interval
                if busy:
                    reported = time.monotonic()
            self._wait(pause)
        if failed is None:
            self._report(())
        else:
            self._report_failure(failed)

    def _round(self, reported: float) -> tuple[bool, bool]:
        """Do one round; return whether it was reported, and whether there is more to do at once."""
        done: list[Recovery] = []
        if self._now:
            # In one: what was processed stays, with a later time, among what is not due yet.
            done.append(self._recover(self._limit))
            self._now = False
        while not self._stopping and len(done) * SLICE < self._limit:
            done.append(self._recover(min(SLICE, self._limit)))
            if done[-1].looked < SLICE and done[-1].notifications < SLICE:
                break
        if time.monotonic() >= self._prune_at:
            self._payments.prune(limit=PRUNED_AT_ONCE)
            self._prune_at = time.monotonic() + PRUNED_EVERY
        self._totals["rounds"] += 1
        for part in done:
            self._totals["settled"] += len(part.settled)
            self._totals["notifications_done"] += part.notifications_done
        acted = any(part.looked or part.notifications for part in done)
        if not acted and time.monotonic() - reported < self._report_every:
            return False, False
        self._report(done)
        return True, bool(done) and (done[-1].looked == SLICE or done[-1].notifications == SLICE)

    def _recover(self, limit: int) -> Recovery:
        return self._payments.recover(limit=limit, provider=self._provider, now=self._now)

    def _report(self, done: list[Recovery] | tuple[()]) -> None:
        try:
            doubts = self._payments.in_doubt(limit=1000)
        except StoreError as error:
            self._complain(str(error))
            self._report_failure(error)
            return
        self._tell({**report(done, doubts), "totals": dict(self._totals), "stopped": self._stopping})

    def _report_failure(self, error: StoreError) -> None:
        """Report that the database cannot be read: what is in doubt is not known then."""
        unknown = {"in_doubt": None, "oldest_seconds": None, "needs_operator": None}
        figures = {**report((), ()), **unknown, "store_error": str(error)}
        self._tell({**figures, "totals": dict(self._totals), "stopped": self._stopping})

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            time.sleep(min(_DOZE, seconds))


def report(done: list[Recovery] | tuple[()], doubts: tuple[InDoubt, ...]) -> dict[str, Any]:
    """Return what rounds of recovery did and what is open after them, as JSON values."""
    return {
        "looked": sum(part.looked for part in done),
        "settled": [session_id for part in done for session_id in part.settled],
        "waiting": [session_id for part in done for session_id in part.waiting],
        "notifications": sum(part.notifications for part in done),
        "notifications_done": sum(part.notifications_done for part in done),
        "in_doubt": len(doubts),
        "oldest_seconds": round(max((row.age.total_seconds() for row in doubts), default=0.0), 3),
        "needs_operator": [show.doubt_json(row) for row in doubts if row.needs_operator],
    }
