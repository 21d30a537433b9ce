"""Querying the gateways about many sessions: after a restore, a failover, or lost notifications."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from attrs import evolve

from paysession.errors import PaysessionError
from paysession.reports import Resync, Unsynced

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from paysession._engine.run import Engine
    from paysession.session import SessionRow

__all__ = ["resync"]

logger = logging.getLogger("paysession")

PAGE: Final = 100
"""How many sessions are read at a time, and queried between two reports of progress."""

KEPT: Final = 1000
"""How many sessions that were not synchronized a report names; the rest is counted."""


def resync(
    engine: Engine,
    *,
    since: datetime,
    provider: str | None,
    after: str | None,
    limit: int | None,
    progress: Callable[[Resync], None] | None,
    by: str | None,
) -> Resync:
    """Query the gateway about every session touched since a time; see `Payments.resync`."""
    report = Resync(last=after)
    place = engine.load(after) if after is not None else None
    while True:
        most = PAGE if limit is None else min(PAGE, limit - report.looked)
        rows = engine.store.sessions(provider=provider, touched_since=since, after=place, limit=most)
        for session in rows:
            report = _added(report, session, *_queried(engine, session, by))
            place = session
        report = evolve(report, complete=len(rows) < most)
        if progress is not None:
            progress(report)
        if report.complete or (limit is not None and report.looked >= limit):
            return report


def _queried(engine: Engine, session: SessionRow, by: str | None) -> tuple[bool, Unsynced | None]:
    """Query the gateway about a session; return whether the ledger changed, and what is left to do."""

    def left(reason: str, *, queryable: bool = True) -> Unsynced:
        return Unsynced(session.id, session.provider, reason, queryable)

    try:
        capabilities = engine.registry.provider(session.provider).capabilities
        if capabilities.local:
            return False, left("its payments are recorded by hand: enter what is missing", queryable=False)
        if capabilities.lookup == "none":
            return False, left("its gateway cannot be queried: compare its own statement", queryable=False)
        current = engine.recovery.sync(session.id, by)
    except PaysessionError as error:
        return False, left(str(error))
    except Exception as error:  # a fault with one session must not keep the others from being queried
        logger.exception("session %s could not be synchronized", session.id)
        return False, left(f"unexpected {type(error).__name__}; the log has it")
    doubt = left(f"the operation {current.open} is in doubt; recover() settles it") if current.open else None
    return current.version != session.version, doubt


def _added(report: Resync, session: SessionRow, changed: bool, unsynced: Unsynced | None) -> Resync:
    kept = report.unsynced
    if unsynced is not None and len(kept) < KEPT:
        kept = (*kept, unsynced)
    queryable = unsynced is None or unsynced.queryable
    return Resync(
        looked=report.looked + 1,
        changed=report.changed + changed,
        failed=report.failed + (unsynced is not None and queryable),
        not_queryable=report.not_queryable + (not queryable),
        unsynced=kept,
        last=session.id,
    )
