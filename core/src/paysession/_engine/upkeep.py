"""What recovery does of its own accord, because a notification can be lost for good.

Where a gateway lists what changed there (the hook ``changes``), the list is read on from where it was left,
and what it names is processed as if its notification had come. Elsewhere sessions that have money which can
still move are queried in turn, the more seldom the longer nothing has changed, and so many an hour at most.

Each of the two is a row among the notifications, with a type of its own: so workers share it, and it survives
them. ``received_at`` is up to where the list was read, or when the sweep begins; ``body`` the number of the
sweep and its last session.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from zlib import crc32

from paysession.change import Change, Notification
from paysession.errors import PaysessionError, SessionBusy
from paysession.store import Stale
from paysession.values import Status, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from paysession._engine.inbox import Inbox
    from paysession._engine.run import Engine
    from paysession._plugins.registry import Provider
    from paysession.session import SessionRow

__all__ = ["CHANGES", "SWEEP", "Upkeep"]

logger = logging.getLogger("paysession")

CHANGES, SWEEP = "paysession.changes", "paysession.sweep"
"""The types of the two rows."""

CHANGES_EVERY: Final = timedelta(minutes=15)
"""How often a gateway's list of changes is read."""

MORE_AFTER: Final = timedelta(seconds=30)
"""When it is read on, if it goes on."""

OVERLAP: Final = timedelta(minutes=10)
"""How much of the list is read again: an event may be listed later than others that are younger."""

FIRST_LOOK_BACK: Final = timedelta(days=1)
"""How far back the list is read the first time."""

BUDGET: Final = 600
"""How many sessions at rest are queried in an hour at most, for each provider."""

STEP: Final = timedelta(minutes=10)
"""A sweep goes on after so much time, and spends that share of the budget."""

SWEEP_EVERY: Final = timedelta(hours=5)
"""How often a sweep begins."""

PACE: Final = ((timedelta(days=1), 1), (timedelta(days=30), 4), (timedelta(days=180), 32))
"""For how long nothing has changed of a session, at most, and in every how many sweeps it is queried then:
every 5 hours, every 20 hours, every week. Later nothing is expected any more."""

RETRY: Final = timedelta(minutes=5)
"""When it is tried again after a failure."""

UNAVAILABLE: Final = timedelta(hours=1)
"""When it is tried again where a provider is not selected any more, or cannot be loaded."""

KEPT: Final = PACE[-1][0] + timedelta(days=90)
"""How old a session may be that a sweep looks at: it may have changed since it was created."""

MOST_READ: Final = 20_000
"""How many sessions a sweep looks at in one step, whether they are queried or not."""

MOST_UNANSWERED: Final = 3
"""After so many sessions in a row that could not be queried, the gateway is taken to be down for now."""

_PAGE: Final = 500


class Upkeep:
    """Reads lists of changes, and queries sessions at rest.

    Args:
        engine: Carries out what that leads to.
        inbox: Takes in what a list of changes names.
    """

    def __init__(self, engine: Engine, inbox: Inbox) -> None:
        self._engine, self._inbox, self._store = engine, inbox, engine.store
        self._begun: set[str] = set()

    def begin(self, names: Iterable[str]) -> None:
        """Begin what is to be done for providers that have sessions; what was begun is left as it is."""
        for name in names:
            if name in self._begun or not self._store.sessions(provider=name, limit=1):
                continue
            try:
                provider = self._engine.registry.provider(name)
            except PaysessionError:
                continue  # it is unavailable here
            self._begun.add(name)
            type_ = _task_of(provider)
            if type_ is not None:
                self._begin(name, type_)

    def _begin(self, name: str, type_: str) -> None:
        id_ = f"up_{sha256(f'{name} {type_}'.encode()).hexdigest()[:32]}"
        if self._store.notification(id_) is not None:
            return
        now = self._store.now()
        due_at = now if type_ == CHANGES else now + SWEEP_EVERY
        since = now - FIRST_LOOK_BACK if type_ == CHANGES else due_at
        row = Notification(
            id=id_, provider=name, type=type_, received_at=since, state="processed", due_at=due_at
        )
        try:
            self._store.commit(Change(notification=row))
        except Stale:
            return  # another worker was faster

    def run(self, row: Notification, over: Callable[[], bool]) -> None:
        """Do what is due of a row; nothing is raised.

        Args:
            row: The row.
            over: Whether there is no more time in this run.
        """
        now = self._store.now()
        if row.type == SWEEP and row.due_at is not None and row.due_at > now:
            return  # its budget is for a time, whoever asks
        try:
            try:
                provider = self._engine.registry.provider(row.provider)
            except PaysessionError:  # it is not selected any more, or unavailable here
                self._write(row, due_at=now + UNAVAILABLE)
                return
            if _task_of(provider) != row.type:
                self._write(row, due_at=None)
                return
            row = self._write(row, due_at=now + max(RETRY, 2 * provider.capabilities.call_limit))
            if row.type == CHANGES:
                self._read_changes(provider, row, now, over)
            else:
                self._sweep(provider, row, now, over)
        except Stale:
            return  # another worker does it
        except PaysessionError as error:
            logger.info("the upkeep of %s is tried again later: %s", row.provider, error)
        except Exception:  # a fault here must not keep recovery from the rest
            logger.exception("the upkeep of %s failed", row.provider)

    def _write(
        self,
        row: Notification,
        *,
        due_at: datetime | None,
        received_at: datetime | None = None,
        body: bytes | None = None,
    ) -> Notification:
        row = replace(
            row,
            due_at=due_at,
            received_at=row.received_at if received_at is None else received_at,
            body=row.body if body is None else body,
            attempts=row.attempts + 1,
        )
        self._store.commit(Change(notification=row, notification_seen=True))
        return row

    def _read_changes(
        self, provider: Provider, row: Notification, now: datetime, over: Callable[[], bool]
    ) -> None:
        found = provider.changes(row.received_at - OVERLAP)
        for event in found.events:
            notification = self._inbox.keep_listed(provider.name, event)
            if notification is not None and not over():
                self._inbox.settle(notification)  # what is left is due, and processed like the others
        until = min(max(found.until, row.received_at), now)
        ends = until >= now - CHANGES_EVERY
        self._write(row, received_at=until, due_at=now + (CHANGES_EVERY if ends else MORE_AFTER))

    def _sweep(self, provider: Provider, row: Notification, now: datetime, over: Callable[[], bool]) -> None:
        number, _, last = row.body.decode().partition(" ")
        count = int(number or 0)
        place = self._store.session(last) if last else None
        left, read, failed, ends = int(BUDGET * (STEP / timedelta(hours=1))), 0, 0, False
        while not ends and read < MOST_READ:
            rows = self._store.sessions(
                provider=provider.name,
                status=Status.AUTHORIZED,
                created_after=now - KEPT,
                after=place,
                limit=_PAGE,
            )
            read, ends = read + _PAGE, len(rows) < _PAGE
            for session in rows:
                if left <= 0 or failed >= MOST_UNANSWERED or over():
                    read, ends = MOST_READ, False
                    break
                if is_due(session, now, count):
                    # What cannot be queried now is left to the next sweep: it may never be.
                    failed = 0 if self._query(session) else failed + 1
                    left -= 1
                place = session
        if ends:
            begins = max(now, row.received_at + SWEEP_EVERY)
            self._write(row, received_at=begins, due_at=begins, body=f"{count + 1} ".encode())
        else:
            stands = f"{count} {place.id if place is not None else ''}"
            self._write(row, due_at=now + STEP, body=stands.encode())

    def _query(self, session: SessionRow) -> bool:
        """Query the gateway about a session; False: it cannot be queried now."""
        try:
            self._engine.recovery.sync(session.id)
        except SessionBusy:
            return True  # a call changes it at this moment
        except PaysessionError as error:
            logger.info("session %s is queried again later: %s", session.id, error)
            return False
        return True


def is_due(session: SessionRow, now: datetime, sweep: int) -> bool:
    """Return whether a session at rest is to be queried in a sweep.

    Args:
        session: An authorized session.
        now: The time.
        sweep: The number of the sweep.
    """
    if session.due_at is not None or session.authorized <= session.refunded + session.charged_back:
        return False  # recovery queries it anyway, or nothing of it can move any more
    age = now - session.updated_at
    every = next((every for most, every in PACE if age < most), 0)
    return every > 0 and (sweep + crc32(session.id.encode())) % every == 0


def _task_of(provider: Provider) -> str | None:
    """Return what is to be done for a provider: the type of its row."""
    capabilities = provider.capabilities
    if capabilities.local:
        return None
    if provider.implements("changes"):
        return CHANGES
    return SWEEP if capabilities.lookup != "none" else None
