"""The reads of a store, on whatever database: which statement, and how a row becomes a value."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from paysession import Secret, StoreError
from paysession.store import Identity, SessionRow, Sums, digest_of, lost, replace
from paysession_sql.schema import (
    COLLECTION,
    CONFLICT,
    EVENT,
    NOTIFICATION,
    OPERATION,
    SESSION,
    micros,
    moment,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from paysession import Conflict, Event, Operation, PaymentCollection
    from paysession.store import Notification
    from paysession_sql.schema import Layout
    from paysession_sql.statements import Statement, Statements

__all__ = ["Reads"]

_Value = TypeVar("_Value")

_FIRST, _LAST = -(2**63), 2**63 - 1
"""Microseconds before and after all times."""


class Reads(ABC):
    """The reads of ``paysession.store.Store``; the docstrings of the protocol hold.

    Args:
        statements: The statements that read.
    """

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._identity: Identity | None = None

    @abstractmethod
    def _rows(self, statement: Statement, **given: Any) -> Sequence[Sequence[Any]]:
        """Return the rows of a statement that reads."""

    @abstractmethod
    def _rows_of(self, statement: Statement, key: str) -> Sequence[Sequence[Any]]:
        """Return the rows of a statement that has one parameter."""

    def _values(self, layout: Layout[_Value], statement: Statement, **given: Any) -> list[_Value]:
        value = layout.value
        return [value(row) for row in self._rows(statement, **given)]

    def _one(self, layout: Layout[_Value], statement: Statement, key: str) -> _Value | None:
        rows = self._rows_of(statement, key)
        return layout.value(rows[0]) if rows else None

    @property
    def identity(self) -> Identity:
        """See the protocol; it never changes, and is read once."""
        if self._identity is None:
            rows = self._rows(self._statements.identity)
            if not rows:
                raise StoreError("the table `identity` is empty: restore its row from a backup")
            secret, since = rows[0]
            self._identity = Identity(Secret(secret), None if since is None else moment(since))
        return self._identity

    def collection(self, collection_id: str) -> PaymentCollection | None:
        """See the protocol."""
        return self._one(COLLECTION, self._statements.collection, collection_id)

    def collections(self, *, after: str | None = None, limit: int = 100) -> Sequence[PaymentCollection]:
        """See the protocol."""
        return self._values(COLLECTION, self._statements.collections, after=after or "", most=limit)

    def session(self, session_id: str) -> SessionRow | None:
        """See the protocol."""
        return self._one(SESSION, self._statements.session, session_id)

    def sums(self, collection_ids: Sequence[str]) -> Mapping[str, Sums]:
        """See the protocol."""
        rows = self._rows(self._statements.sums, ids=json.dumps(collection_ids))
        return {row[0]: Sums(*row[1:]) for row in rows}

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
        """See the protocol."""
        texts = {
            "collection_id": collection_id,
            "provider": provider,
            "status": status,
            "gateway_reference": gateway_reference,
        }
        given: dict[str, Any] = {key: str(value) for key, value in texts.items() if value is not None}
        if touched_since is not None:
            given["touched_since"] = micros(touched_since)
        conflict = {None: (), True: ("with_conflict",), False: ("without_conflict",)}[has_conflict]
        filters = (*given, *conflict)
        merged = self._statements.merges(*filters)
        names = self._providers() if merged else []
        if merged and not names:
            return []  # there are no sessions at all
        statement = self._statements.sessions(*filters, providers=len(names), newest=newest)
        given.update({f"provider_{place}": name for place, name in enumerate(names)})
        # No id is empty: a place with an empty one is before all of its time.
        first = (_FIRST if created_after is None else micros(created_after), "")
        last = (_LAST if created_before is None else micros(created_before), "")
        if after is not None:
            place = (micros(after.created_at), after.id)
            first, last = (first, min(last, place)) if newest else (max(first, place), last)
        most = self._statements.no_limit if limit is None else limit
        return self._values(
            SESSION,
            statement,
            from_time=first[0],
            from_id=first[1],
            to_time=last[0],
            to_id=last[1],
            most=most,
            **given,
        )

    def _providers(self) -> list[str]:
        """Return the names of the providers that have sessions: one step of the index for each."""
        names = [""]
        while rows := self._rows(self._statements.provider_after, after=names[-1], most=1):
            names.append(rows[0][0])
        return names[1:]

    def find_session(self, provider: str, references: Sequence[str]) -> str | None:
        """See the protocol."""
        statements = self._statements
        for statement in (statements.session_by_reference, statements.session_by_operation):
            for reference in references:
                rows = self._rows(statement, provider=provider, reference=reference, most=1)
                if rows:
                    return str(rows[0][0])
        return None

    def operation(self, operation_id: str) -> Operation | None:
        """See the protocol."""
        return self._one(OPERATION, self._statements.operation, operation_id)

    def operations(self, session_id: str) -> Sequence[Operation]:
        """See the protocol."""
        return self._values(OPERATION, self._statements.operations, key=session_id)

    def refunds_of(self, capture_id: str) -> Sequence[Operation]:
        """See the protocol."""
        found = {row.id: row for row in self._values(OPERATION, self._statements.refunds_of, key=capture_id)}
        return sorted(found.values(), key=lambda row: row.place)

    def repeated(self, session_id: str, idempotency_key: str, digest: str) -> Operation | None:
        """See the protocol."""
        statement, ends = self._statements.repeated, f"%-{digest}"
        found = self._values(OPERATION, statement, key=session_id, caller=idempotency_key, ends=ends)
        return max(found, key=lambda row: row.place, default=None)

    def events(self, *, after: str | None = None, limit: int = 100) -> Sequence[Event]:
        """See the protocol."""
        if after is None:
            rows = self._rows(self._statements.events, xact=0, position=0, most=limit)
            return [self._event(row) for row in rows]
        place, _, digest = after.rpartition("-")
        xact, position = self._place(place)
        rows = self._rows(self._statements.events, xact=xact, position=position, most=limit + 1)
        found = [self._event(row) for row in rows]
        if not found or found[0].cursor != f"{self._cursor(xact, position)}-{digest}":
            lost(after)
        return found[1:]

    def _event(self, row: Sequence[Any]) -> Event:
        event = EVENT.value(row[2:])
        return replace(event, cursor=f"{self._cursor(row[0], row[1])}-{digest_of(event.id)}")

    @abstractmethod
    def _place(self, cursor: str) -> tuple[int, int]:
        """Return the transaction and the position that a cursor names before its digest; else ValueError."""

    @abstractmethod
    def _cursor(self, xact: int, position: int) -> str:
        """Return the cursor of a place in the feed, without its digest."""

    def due_providers(self, now: datetime) -> Sequence[str]:
        """See the protocol."""
        first: dict[str, int] = {}
        for statement in (self._statements.next_provider, self._statements.next_notified):
            name = ""
            # One step for each provider, however much of its own is due.
            while rows := self._rows(statement, after=name, most=1):
                name, due_at = rows[0]
                first[name] = min(due_at, first.get(name, due_at))
        until = micros(now)
        return sorted(
            (name for name, due_at in first.items() if due_at <= until), key=lambda name: (first[name], name)
        )

    def due(self, now: datetime, limit: int, provider: str) -> Sequence[str]:
        """See the protocol."""
        rows = self._rows(self._statements.due, provider=provider, now=micros(now), most=limit)
        return [row[0] for row in rows]

    def in_doubt(self, limit: int) -> Sequence[Operation]:
        """See the protocol."""
        return self._values(OPERATION, self._statements.in_doubt, most=limit)

    def conflict(self, conflict_id: str) -> Conflict | None:
        """See the protocol."""
        return self._one(CONFLICT, self._statements.conflict, conflict_id)

    def conflicts(
        self,
        *,
        session_id: str | None = None,
        open: bool = True,  # noqa: A002 - the name in the protocol
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[Conflict]:
        """See the protocol."""
        statements = self._statements
        if session_id is None:
            statement, given = statements.conflicts_open if open else statements.conflicts, {}
        else:
            statement = statements.conflicts_open_of if open else statements.conflicts_of
            given = {"session_id": session_id}
        return self._values(CONFLICT, statement, after=after or "", most=limit, **given)

    def unattended(self, limit: int) -> Sequence[SessionRow]:
        """See the protocol."""
        return self._values(SESSION, self._statements.unattended, most=limit)

    def notification(self, notification_id: str) -> Notification | None:
        """See the protocol."""
        return self._one(NOTIFICATION, self._statements.notification, notification_id)

    def unprocessed(
        self, *, provider: str | None = None, after: str | None = None, limit: int = 100
    ) -> Sequence[Notification]:
        """See the protocol."""
        after = after or ""
        if provider is None:
            return self._values(NOTIFICATION, self._statements.unprocessed, after=after, most=limit)
        statement = self._statements.unprocessed_of
        return self._values(NOTIFICATION, statement, after=after, most=limit, provider=provider)

    def due_notifications(self, now: datetime, limit: int, provider: str) -> Sequence[Notification]:
        """See the protocol."""
        return self._values(
            NOTIFICATION,
            self._statements.due_notifications,
            provider=provider,
            now=micros(now),
            most=limit,
        )

    def prunable(
        self, *, notifications_before: datetime | None, events_before: datetime | None
    ) -> tuple[int, int]:
        """See the protocol."""
        rows = self._rows(
            self._statements.prunable,
            notifications=_FIRST if notifications_before is None else micros(notifications_before),
            events=_FIRST if events_before is None else micros(events_before),
        )
        notifications, events = rows[0]
        return notifications, max(0, events - 1)  # the last of them stays

    def prune(
        self, *, notifications_before: datetime | None, events_before: datetime | None, limit: int
    ) -> tuple[int, int]:
        """See the protocol."""
        notifications = events = 0
        if notifications_before is not None:
            notifications = self._prune_notifications(micros(notifications_before), limit)
        if events_before is not None:
            events = self._prune_events(micros(events_before), limit)
        return notifications, events

    @abstractmethod
    def _prune_notifications(self, before: int, most: int) -> int:
        """Delete notifications that were received before a time, and return how many."""

    @abstractmethod
    def _prune_events(self, before: int, most: int) -> int:
        """Delete events from the start of the feed that occurred before a time, and return how many."""
