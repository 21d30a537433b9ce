"""When recovery looks at a session again: the waits double at each look that settled nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from paysession._ledger.ledger import UNAUTHORIZED
from paysession.operation import CANCEL
from paysession.outcome import Answer
from paysession.values import Status

if TYPE_CHECKING:
    from datetime import datetime

    from paysession._ledger.ledger import Ledger
    from paysession.outcome import Capabilities

__all__ = ["schedule"]

_DOUBT_FIRST, _DOUBT_MOST = timedelta(seconds=5), timedelta(hours=1)
_PENDING_FIRST, _PENDING_MOST = timedelta(minutes=5), timedelta(hours=6)
_PAYER_FIRST, _PAYER_MOST = timedelta(minutes=10), timedelta(hours=6)
_DISPUTE_FIRST, _DISPUTE_MOST = timedelta(hours=6), timedelta(days=1)
_PENDING_UNREPORTED: Final = timedelta(days=14)
"""How long a gateway that cannot be queried may take to report what it accepted, if it says nothing else: as
long as a bank debit does at the most."""

_LATE: Final = timedelta(hours=1)
"""How long after an object expired its notification may still be on its way."""

_PAYER_CHECKS: Final = 32
"""How often a gateway is queried at these intervals about a payer who never returned: for about a week."""

_LATER_FIRST, _LATER_MOST = timedelta(hours=12), timedelta(days=7)
"""After that week it is queried more and more slowly, for as long as the payer could still pay."""


def schedule(
    ledger: Ledger, capabilities: Capabilities | None, *, first: timedelta | None = None, doubt: bool = False
) -> None:
    """Set the time at which recovery has something to do for a session; None once all is at rest.

    Args:
        ledger: The session's.
        capabilities: What its provider declared; None: the provider is unavailable.
        first: When the provider wants to be asked about what is pending.
        doubt: Whether an operation was looked into and is still in doubt.
    """
    row, now = ledger.row, ledger.now
    checks = row.checks
    if doubt or capabilities is None:
        row.checks = checks + 1
        row.due_at = now + _backoff(_DOUBT_FIRST, _DOUBT_MOST, checks)
        return
    if row.open is not None:
        return
    askable = capabilities.lookup != "none" and not capabilities.local
    due_at = None
    if row.cancel_requested:
        due_at = now + _backoff(_DOUBT_FIRST, _DOUBT_MOST, checks - 1) if checks else now
    elif not askable:
        # A notification or an operator reports; once the time is over, an operator has to.
        if not capabilities.local:
            due_at = _overdue(ledger, first)
    elif row.pending:
        due_at = now + (first or _backoff(_PENDING_FIRST, _PENDING_MOST, checks))
    elif row.status in (Status.PENDING, Status.REQUIRES_MORE, Status.ERROR) and row.initiated:
        if checks < _PAYER_CHECKS:
            due_at = now + _backoff(_PAYER_FIRST, _PAYER_MOST, checks)
        else:
            due_at = now + _backoff(_LATER_FIRST, _LATER_MOST, checks - _PAYER_CHECKS)
    elif _was_canceled_again(ledger):
        due_at = now + capabilities.lookup_lag + _PENDING_FIRST
    elif row.disputes:
        due_at = now + _backoff(_DISPUTE_FIRST, _DISPUTE_MOST, checks)
    elif row.expires_at is not None and row.authorized > row.captured:
        # The authorization expires: once it has, ask until the gateway says so.
        due_at = max(row.expires_at, now + _backoff(_PENDING_FIRST, _PENDING_MOST, checks))
    row.due_at = due_at if row.abandon_at is None else _until_abandoned(ledger, row.abandon_at, due_at)


def _was_canceled_again(ledger: Ledger) -> bool:
    """Return whether a cancel was answered when it was sent again: that may be the first request's answer.

    What was authorized between the two is not released then, and only a lookup shows it.
    """
    rows = ledger.written.values()
    return any(row.kind is CANCEL and row.attempt > 1 and row.answer == Answer.CANCELED for row in rows)


def _until_abandoned(ledger: Ledger, abandon_at: datetime, due_at: datetime | None) -> datetime | None:
    """Return when recovery has something to do, given when an unpaid session is abandoned."""
    row, now = ledger.row, ledger.now
    unpaid = row.status in UNAUTHORIZED and row.initiated and row.authorizing is None
    if not unpaid or row.cancel_requested:
        return due_at
    if abandon_at <= now:  # the cancel failed: it is attempted again
        abandon_at = now + _backoff(_PENDING_FIRST, _PENDING_MOST, row.checks)
    return abandon_at if due_at is None else min(due_at, abandon_at)


def _overdue(ledger: Ledger, first: timedelta | None) -> datetime | None:
    """Return when the time is over of what a gateway that cannot be queried has to report."""
    row = ledger.row
    if row.pending:
        return ledger.now + (first or _PENDING_UNREPORTED)
    if row.initiated and row.status in (Status.PENDING, Status.REQUIRES_MORE) and row.expires_at is not None:
        return max(row.expires_at, ledger.now) + _LATE
    return None


def _backoff(first: timedelta, most: timedelta, checks: int) -> timedelta:
    doubled: timedelta = first * (1 << min(checks, 16))
    return min(doubled, most)
