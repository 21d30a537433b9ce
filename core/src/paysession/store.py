"""Where the ledger is kept: the protocol of a store, and the store in memory.

A store has reads and one write. The write, `Store.commit`, takes a whole `Change` and makes it or
refuses it: no caller can hold a transaction open (least of all around a provider's call), and
there are no setters. A change of a session is guarded by the version it was decided on, so
whoever comes second is refused and decides again.
"""

from __future__ import annotations

import hmac
import os
from bisect import bisect_right
from datetime import UTC, datetime
from functools import partial
from itertools import takewhile
from threading import Lock
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from attrs import frozen

from paysession._ledger.ids import digest_of
from paysession.change import Change, Notification
from paysession.checkout import dump_checkout, dump_payer, load_checkout, load_payer
from paysession.errors import CursorLost
from paysession.operation import State, dump_dispute, load_dispute
from paysession.session import SessionRow, Sums
from paysession.text import storable
from paysession.values import Secret, Value, dump_action, load_action, made, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from paysession.operation import Event, Operation
    from paysession.session import Conflict, PaymentCollection

__all__ = [
    "Change",
    "Identity",
    "MemoryStore",
    "Notification",
    "OverLimit",
    "SessionRow",
    "Stale",
    "Store",
    "Sums",
    "digest_of",
    "dump_action",
    "dump_checkout",
    "dump_dispute",
    "dump_payer",
    "load_action",
    "load_checkout",
    "load_dispute",
    "load_payer",
    "lost",
    "made",
    "replace",
    "storable",
]


class Stale(Exception):
    """The row is no longer what the change was decided on (or exists already); nothing was written."""


class OverLimit(Exception):
    """The collection's amount leaves no room for the hold, or is below it; nothing was written."""


@frozen(slots=False, eq=False, repr=False)
class Identity(Value):
    """What a store keeps of its own: made once with the store, the same wherever it is opened.

    Attributes:
        secret: 64 hexadecimal digits. What derives from it cannot be computed by anybody else.
        since: Collections that were created before derive the ids of their sessions without it, as the
            release before did; None: there are none.
    """

    secret: Secret
    since: datetime | None = None

    @classmethod
    def made(cls) -> Identity:
        """Return the identity of a new store."""
        return cls(Secret(os.urandom(32).hex()))

    def digest(self, text: str) -> str:
        """Return 16 hexadecimal digits that stand for a text, here and on every host of this store."""
        return hmac.digest(bytes.fromhex(self.secret.reveal()), text.encode(), "sha256").hex()[:16]


def lost(cursor: str) -> NoReturn:
    """Raise what a store raises for a cursor whose event it does not have."""
    raise CursorLost(
        f"the event of the cursor {cursor!r:.80} is not in this feed: the database was restored, an "
        "asynchronous replica was promoted, or the event was deleted; read the feed from its start with "
        "after=None, and handle each event by how its session stands now"
    )


class Store(Protocol):
    """What `Payments` needs of a place to keep the ledger. All methods are thread-safe.

    ``paysession_testing.StoreContract`` is the test suite that a store passes.
    """

    @property
    def identity(self) -> Identity:
        """What the store keeps of its own; a backup restores it with the rest."""
        ...

    def now(self) -> datetime:
        """Return the time, with time zone UTC: the store's clock where several hosts share it."""
        ...

    def commit(self, change: Change) -> None:
        """Make the change, durably and atomically.

        Raises:
            Stale: The session's version is not ``expected``; a new session, collection or
                notification exists already; one to be changed does not exist; the stored
                notification does not have one attempt less.
            OverLimit: ``hold`` exceeds the collection's amount, or its new amount is below what
                is held.
        """
        ...

    def collection(self, collection_id: str) -> PaymentCollection | None:
        """Return a collection's row (without the derived status and totals)."""
        ...

    def collections(self, *, after: str | None = None, limit: int = 100) -> Sequence[PaymentCollection]:
        """Return collections' rows in the order of their ids."""
        ...

    def sums(self, collection_ids: Sequence[str]) -> Mapping[str, Sums]:
        """Return the sums of each collection's sessions; one without sessions is left out."""
        ...

    def session(self, session_id: str) -> SessionRow | None:
        """Return a session's row."""
        ...

    def sessions(
        self,
        *,
        collection_id: str | None = None,
        provider: str | None = None,
        status: str | None = None,
        gateway_reference: str | None = None,
        has_conflict: bool | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        touched_since: datetime | None = None,
        newest: bool = False,
        after: SessionRow | None = None,
        limit: int | None = 100,
    ) -> Sequence[SessionRow]:
        """Return sessions in the order in which they were created (then of their ids).

        Args:
            collection_id: Only those of this collection.
            provider: Only those of this provider.
            status: Only those with this status.
            gateway_reference: Only those with this id of the gateway's, or with an operation that has it.
            has_conflict: Only those with an open conflict, or only those without.
            created_after: Only those created then or later.
            created_before: Only those created earlier.
            touched_since: Only those with an ``updated_at`` not before it; not fast, there is no index.
            newest: In the reverse order.
            after: The session to go on after, in that order.
            limit: How many at most; None: all of them.
        """
        ...

    def find_session(self, provider: str, references: Sequence[str]) -> str | None:
        """Return the id of the provider's session, or of one of its operations, with such a reference."""
        ...

    def operation(self, operation_id: str) -> Operation | None:
        """Return an operation's row."""
        ...

    def operations(self, session_id: str) -> Sequence[Operation]:
        """Return a session's operations in their order."""
        ...

    def refunds_of(self, capture_id: str) -> Sequence[Operation]:
        """Return a capture, the refunds that refer to it, and what reversed any of them, in their order."""
        ...

    def repeated(self, session_id: str, idempotency_key: str, digest: str) -> Operation | None:
        """Return the last operation of the session with that caller's key, or whose id ends with the digest.

        The latter was lost in a restore and found at the gateway: its id says which call it was.
        """
        ...

    def events(self, *, after: str | None = None, limit: int = 100) -> Sequence[Event]:
        """Return what happened after a cursor, in the order of commit and complete up to there.

        A cursor names its event, not only a place: after a restore another one may stand there.

        Raises:
            ValueError: It is no cursor of such a store.
            CursorLost: Its event is not in the feed; raised by `lost`.
        """
        ...

    def due_providers(self, now: datetime) -> Sequence[str]:
        """Return the names of providers with a session or notification that is due, the longest due first.

        Due is what has a ``due_at`` that is not after ``now``.
        """
        ...

    def due(self, now: datetime, limit: int, provider: str) -> Sequence[str]:
        """Return the ids of a provider's sessions that are due, the longest due first."""
        ...

    def in_doubt(self, limit: int) -> Sequence[Operation]:
        """Return operations in state ``started``, the oldest first."""
        ...

    def unattended(self, limit: int) -> Sequence[SessionRow]:
        """Return sessions with an ``attention_at``, the earliest first."""
        ...

    def conflict(self, conflict_id: str) -> Conflict | None:
        """Return a conflict's row."""
        ...

    def conflicts(
        self,
        *,
        session_id: str | None = None,
        open: bool = True,  # noqa: A002 - the name in Payments
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[Conflict]:
        """Return conflicts in the order of their ids, after one id.

        Args:
            session_id: Only those of this session.
            open: Only those that are open.
            after: The id to go on after.
            limit: How many at most.
        """
        ...

    def notification(self, notification_id: str) -> Notification | None:
        """Return a stored notification."""
        ...

    def due_notifications(self, now: datetime, limit: int, provider: str) -> Sequence[Notification]:
        """Return a provider's notifications that are due, the longest due first."""
        ...

    def unprocessed(
        self, *, provider: str | None = None, after: str | None = None, limit: int = 100
    ) -> Sequence[Notification]:
        """Return notifications that led to nothing yet, in the order of their ids; not fast, for people."""
        ...

    def prunable(
        self, *, notifications_before: datetime | None, events_before: datetime | None
    ) -> tuple[int, int]:
        """Return how many notifications and events `prune` would delete in all; not fast."""
        ...

    def prune(
        self, *, notifications_before: datetime | None, events_before: datetime | None, limit: int
    ) -> tuple[int, int]:
        """Delete rows that nobody needs any more; return how many notifications and events.

        Args:
            notifications_before: Notifications for which nothing is due, received before then; None: none.
            events_before: Events that occurred before then, from the start of the feed on. The last of them
                stays: a reader that has read so far has its cursor there. None: none.
            limit: How many of each at most.
        """
        ...

    def close(self) -> None:
        """Close files and connections."""
        ...


def _place(session: SessionRow) -> tuple[datetime, str]:
    """Return the place of a session in the order of lists."""
    return session.created_at, session.id


utc_now: Final = partial(datetime.now, UTC)
"""Returns the system's time in UTC."""


class MemoryStore:
    """The ledger in this process's memory: for tests, and gone with the process.

    Args:
        clock: Returns the time in UTC; the system's by default.
    """

    def __init__(self, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.now = clock
        self.identity: Identity = Identity.made()
        self._lock = Lock()
        self._collections: dict[str, PaymentCollection] = {}
        self._sessions: dict[str, SessionRow] = {}
        self._operations: dict[str, dict[str, Operation]] = {}
        self._by_collection: dict[str, list[str]] = {}
        self._notifications: dict[str, Notification] = {}
        self._conflicts: dict[str, Conflict] = {}
        self._events: list[Event] = []
        self._pruned = 0

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], datetime] | None = None) -> MemoryStore:
        """Return a new store for the URL ``memory:``; the entry point of the scheme."""
        del url
        return cls(clock=clock or utc_now)

    def commit(self, change: Change) -> None:
        session, expected, operations, events, hold, _, new, _, conflicts, notification, seen, _ = change
        with self._lock:
            collection = self._guard_collection(change) if hold or new is not None else None
            if notification is not None:
                known = self._notifications.get(notification.id)
                expected_attempts = notification.attempts - 1 if seen else None
                if (known.attempts if known is not None else None) != expected_attempts:
                    raise Stale(notification.id)
            if session is not None:
                key = session.id
                row = self._sessions.get(key)
                if (row.version if row is not None else 0) != expected:
                    raise Stale(key)
                if row is None:
                    self._by_collection.setdefault(session.collection_id, []).append(key)
                    self._operations[key] = {}
                self._sessions[key] = session
                rows = self._operations[key]
                for operation in operations:
                    rows[operation.id] = operation
                for conflict in conflicts:
                    self._conflicts[conflict.id] = conflict
            if collection is not None:
                self._collections[collection.id] = collection
            if notification is not None:
                self._notifications[notification.id] = notification
            if events:
                self._events.extend(events)

    def _guard_collection(self, change: Change) -> PaymentCollection | None:
        new = change.collection
        if new is not None:
            row = self._collections.get(new.id)
            if (row is not None) != change.collection_amount:
                raise Stale(new.id)
            if row is None:
                return new
            if new.amount.minor < row.held:
                raise OverLimit(new.id)
            return replace(row, amount=new.amount, updated_at=new.updated_at, by=new.by)
        if change.hold and change.session is not None:
            row = self._collections[change.session.collection_id]
            held = row.held + change.hold
            if change.guarded and change.hold > 0 and held > row.amount.minor:
                raise OverLimit(row.id)
            return replace(row, held=held)
        return None

    def collection(self, collection_id: str) -> PaymentCollection | None:
        return self._collections.get(collection_id)

    def collections(self, *, after: str | None = None, limit: int = 100) -> Sequence[PaymentCollection]:
        with self._lock:
            ids = sorted(self._collections)
            start = bisect_right(ids, after) if after is not None else 0
            return [self._collections[key] for key in ids[start : start + limit]]

    def session(self, session_id: str) -> SessionRow | None:
        return self._sessions.get(session_id)

    def sessions(
        self,
        *,
        collection_id: str | None = None,
        provider: str | None = None,
        status: str | None = None,
        gateway_reference: str | None = None,
        has_conflict: bool | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        touched_since: datetime | None = None,
        newest: bool = False,
        after: SessionRow | None = None,
        limit: int | None = 100,
    ) -> Sequence[SessionRow]:
        with self._lock:
            ids = self._sessions if collection_id is None else self._by_collection.get(collection_id, ())
            rows = [self._sessions[key] for key in ids]
            if gateway_reference is not None:
                rows = [row for row in rows if self._has_reference(row, gateway_reference)]
        found = [
            row
            for row in rows
            if (provider is None or row.provider == provider)
            and (status is None or row.status == status)
            and (has_conflict is None or (row.conflict is not None) is has_conflict)
            and (created_after is None or row.created_at >= created_after)
            and (created_before is None or row.created_at < created_before)
            and (touched_since is None or row.updated_at >= touched_since)
            and (after is None or (_place(row) < _place(after) if newest else _place(row) > _place(after)))
        ]
        found.sort(key=_place, reverse=newest)
        return found if limit is None else found[:limit]

    def _has_reference(self, session: SessionRow, reference: str) -> bool:
        operations = self._operations[session.id].values()
        return reference in (session.reference, *(operation.reference for operation in operations))

    def sums(self, collection_ids: Sequence[str]) -> Mapping[str, Sums]:
        with self._lock:
            rows = {
                key: [self._sessions[one] for one in self._by_collection[key]]
                for key in collection_ids
                if key in self._by_collection
            }
        return {key: Sums.of(sessions) for key, sessions in rows.items()}

    def find_session(self, provider: str, references: Sequence[str]) -> str | None:
        wanted = set(references)
        with self._lock:
            rows = [row for row in self._sessions.values() if row.provider == provider]
            for row in rows:
                if row.reference in wanted:
                    return row.id
            for row in rows:
                if any(operation.reference in wanted for operation in self._operations[row.id].values()):
                    return row.id
        return None

    def operation(self, operation_id: str) -> Operation | None:
        return self._operations.get(operation_id.partition("-")[0], {}).get(operation_id)

    def operations(self, session_id: str) -> Sequence[Operation]:
        with self._lock:
            return sorted(self._operations.get(session_id, {}).values(), key=lambda row: row.place)

    def refunds_of(self, capture_id: str) -> Sequence[Operation]:
        rows = self.operations(capture_id.partition("-")[0])
        found = {row.id for row in rows if capture_id in (row.id, row.capture_id)}
        return [row for row in rows if row.id in found or row.reverses in found]

    def repeated(self, session_id: str, idempotency_key: str, digest: str) -> Operation | None:
        for operation in reversed(self.operations(session_id)):
            if operation.idempotency_key == idempotency_key or operation.id.endswith(f"-{digest}"):
                return operation
        return None

    def events(self, *, after: str | None = None, limit: int = 100) -> Sequence[Event]:
        start, digest = 0, ""
        if after is not None:
            position, dash, digest = after.partition("-")
            start = int(position)
            if start < 1 or not dash:
                raise ValueError(after)
        with self._lock:
            place = start - self._pruned
            if after is not None and (
                not 0 < place <= len(self._events) or digest_of(self._events[place - 1].id) != digest
            ):
                lost(after)
            start = max(start, self._pruned)
            rows = self._events[start - self._pruned :][:limit]
        return [
            replace(row, cursor=f"{start + place}-{digest_of(row.id)}") for place, row in enumerate(rows, 1)
        ]

    def due_providers(self, now: datetime) -> Sequence[str]:
        first: dict[str, datetime] = {}
        with self._lock:
            rows: list[SessionRow | Notification] = [*self._sessions.values()]
            rows += self._notifications.values()
        for row in rows:
            if row.due_at is not None and row.due_at <= now:
                first[row.provider] = min(row.due_at, first.get(row.provider, row.due_at))
        return sorted(first, key=lambda name: (first[name], name))

    def due(self, now: datetime, limit: int, provider: str) -> Sequence[str]:
        with self._lock:
            rows = [
                (row.due_at, row.id)
                for row in self._sessions.values()
                if row.due_at is not None and row.due_at <= now and row.provider == provider
            ]
        return [key for _, key in sorted(rows)[:limit]]

    def in_doubt(self, limit: int) -> Sequence[Operation]:
        with self._lock:
            rows = [row for rows in self._operations.values() for row in rows.values()]
        started = [row for row in rows if row.state is State.STARTED]
        return sorted(started, key=lambda row: (row.created_at, row.id))[:limit]

    def conflict(self, conflict_id: str) -> Conflict | None:
        return self._conflicts.get(conflict_id)

    def conflicts(
        self,
        *,
        session_id: str | None = None,
        open: bool = True,  # noqa: A002 - the name in Payments
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[Conflict]:
        with self._lock:
            rows = sorted(self._conflicts.values(), key=lambda row: row.id)
        found = [
            row
            for row in rows
            if (session_id is None or row.session_id == session_id)
            and not (open and row.closed_at is not None)
            and (after is None or row.id > after)
        ]
        return found[:limit]

    def unattended(self, limit: int) -> Sequence[SessionRow]:
        with self._lock:
            rows = [(row.attention_at, row.id, row) for row in self._sessions.values() if row.attention_at]
        return [row for _, _, row in sorted(rows, key=lambda row: row[:2])[:limit]]

    def notification(self, notification_id: str) -> Notification | None:
        return self._notifications.get(notification_id)

    def due_notifications(self, now: datetime, limit: int, provider: str) -> Sequence[Notification]:
        with self._lock:
            rows = [
                row
                for row in self._notifications.values()
                if row.due_at is not None and row.due_at <= now and row.provider == provider
            ]
        return sorted(rows, key=lambda row: (row.due_at, row.id))[:limit]

    def unprocessed(
        self, *, provider: str | None = None, after: str | None = None, limit: int = 100
    ) -> Sequence[Notification]:
        with self._lock:
            rows = sorted(self._notifications.items())
        return [
            row
            for key, row in rows
            if row.state != "processed"
            and (provider is None or row.provider == provider)
            and (after is None or key > after)
        ][:limit]

    def prunable(
        self, *, notifications_before: datetime | None, events_before: datetime | None
    ) -> tuple[int, int]:
        with self._lock:
            notifications, events = self._old(notifications_before, events_before)
        return len(notifications), len(events)

    def prune(
        self, *, notifications_before: datetime | None, events_before: datetime | None, limit: int
    ) -> tuple[int, int]:
        with self._lock:
            notifications, events = self._old(notifications_before, events_before)
            for key in notifications[:limit]:
                del self._notifications[key]
            pruned = len(events[:limit])
            del self._events[:pruned]
            self._pruned += pruned
        return len(notifications[:limit]), pruned

    def _old(
        self, notifications_before: datetime | None, events_before: datetime | None
    ) -> tuple[list[str], list[Event]]:
        notifications = [
            row.id
            for row in self._notifications.values()
            if notifications_before is not None
            and row.due_at is None
            and row.received_at < notifications_before
        ]
        events = self._events if events_before is not None else []
        old = takewhile(lambda row: events_before is not None and row.occurred_at < events_before, events)
        return notifications, [*old][:-1]

    def close(self) -> None:
        """Nothing to close."""
