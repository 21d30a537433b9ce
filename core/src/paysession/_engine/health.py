"""How payments are: figures of a store, for a probe, a page or a metric."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from paysession._engine.rounds import ALL
from paysession._engine.upkeep import CHANGES, SWEEP
from paysession.reports import Health

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from paysession._engine.inbox import Inbox
    from paysession.operation import Event
    from paysession.reports import InDoubt
    from paysession.store import Store

__all__ = ["COUNTED", "MAX_DOUBT", "MAX_LAG", "health_of"]

COUNTED: Final = 1000
"""So far is counted."""

MAX_LAG: Final = timedelta(minutes=5)
"""How far behind recovery, the inbox and a reader of the feed may be, by default."""

MAX_DOUBT: Final = timedelta(hours=1)
"""How long an operation may be in doubt, by default: longer than most outages."""

_NONE: Final = timedelta(0)


def health_of(
    store: Store,
    inbox: Inbox,
    in_doubt: Sequence[InDoubt],
    unread: Sequence[Event] | None,
    selected: Collection[str],
) -> Health:
    """Return the figures of a store; what is wrong is not judged yet.

    Args:
        store: The store.
        inbox: Its notifications.
        in_doubt: What is in doubt.
        unread: The next event of a reader of the feed, if there is one; None: no reader is meant.
        selected: The names of the providers that are selected, if any are.
    """
    now = store.now()
    doubts = [row for row in in_doubt if row.leased_until is None or row.operation.doubted_at is not None]
    sessions, notices = _due(store, now)
    return Health(
        at=now,
        in_doubt=len(doubts),
        oldest_doubt=max((row.age for row in doubts), default=None),
        needs_operator=sum(row.needs_operator for row in doubts),
        conflicts=len(store.conflicts(limit=COUNTED)),
        unmatched=len(inbox.unmatched(None, None, COUNTED)),
        recovery_lag=_lag(now, sessions),
        inbox_lag=_lag(now, notices),
        unselected=_unselected(store, selected),
        feed_lag=None if unread is None else _lag(now, [event.occurred_at for event in unread]),
    )


def _due(store: Store, now: datetime) -> tuple[list[datetime | None], list[datetime | None]]:
    """Return since when the first sessions and notifications of each provider have been due."""
    sessions: list[datetime | None] = []
    notices: list[datetime | None] = []
    for name in store.due_providers(now):
        for session_id in store.due(now, 1, name):
            session = store.session(session_id)
            sessions.append(session.due_at if session is not None else None)
        for row in store.due_notifications(now, 2, name):
            # Reading lists of changes and querying what is at rest is recovery's work.
            (sessions if row.type in (CHANGES, SWEEP) else notices).append(row.due_at)
    return sessions, notices


def _unselected(store: Store, selected: Collection[str]) -> tuple[str, ...]:
    """Return the providers that are not selected, though sessions of theirs are to be looked at some time."""
    if not selected:
        return ()  # a probe that knows the database alone
    names = set(store.due_providers(ALL)) - set(selected)
    return tuple(name for name in sorted(names) if store.due(ALL, 1, name))


def _lag(now: datetime, since: Sequence[datetime | None]) -> timedelta:
    return max((now - moment for moment in since if moment is not None), default=_NONE)
