"""The reads of a store, on whatever database: which statement, and how a row becomes a value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from paysession.values import replace
from paysession_sql.schema import COLLECTION, CONFLICT, EVENT, NOTIFICATION, OPERATION, SESSION, micros

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from paysession.change import Notification
    from paysession.operation import Event, Operation
    from paysession.session import Conflict, PaymentCollection, PaymentSession
    from paysession_sql.schema import Layout
    from paysession_sql.statements import Statement, Statements

__all__ = ["Reads"]

_Value = TypeVar("_Value")


class Reads(ABC):
    """The reads of ``paysession.store.Store``; the docstrings of the protocol hold.

    Args:
        statements: The statements, compiled for the database.
    """

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

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

    def collection(self, collection_id: str) -> PaymentCollection | None:
        """See the protocol."""
        return self._one(COLLECTION, self._statements.collection, collection_id)

    def collections(self, *, after: str | None = None, limit: int = 100) -> Sequence[PaymentCollection]:
        """See the protocol."""
        return self._values(COLLECTION, self._statements.collections, after=after or "", most=limit)

    def session(self, session_id: str) -> PaymentSession | None:
        """See the protocol."""
        return self._one(SESSION, self._statements.session, session_id)

    def sessions(
        self,
        *,
        collection_id: str | None = None,
        provider: str | None = None,
        status: str | None = None,
        after: str | None = None,
        limit: int | None = 100,
    ) -> Sequence[PaymentSession]:
        """See the protocol."""
        filters = {"collection_id": collection_id, "provider": provider, "status": status}
        given = {key: str(value) for key, value in filters.items() if value is not None}
        statement = self._statements.sessions(*given)
        most = self._statements.no_limit if limit is None else limit
        return self._values(SESSION, statement, after=after or "", most=most, **given)

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

    def repeated(self, session_id: str, idempotency_key: str) -> Operation | None:
        """See the protocol."""
        found = self._values(
            OPERATION, self._statements.repeated, key=session_id, caller=idempotency_key, most=1
        )
        return found[0] if found else None

    def events(self, *, after: str | None = None, limit: int = 100) -> Sequence[Event]:
        """See the protocol."""
        xact, position = self._place(after) if after is not None else (0, 0)
        rows = self._rows(self._statements.events, xact=xact, position=position, most=limit)
        return [replace(EVENT.value(row[2:]), cursor=self._cursor(row[0], row[1])) for row in rows]

    @abstractmethod
    def _place(self, cursor: str) -> tuple[int, int]:
        """Return the transaction and the position that a cursor of this feed names; else ValueError."""

    @abstractmethod
    def _cursor(self, xact: int, position: int) -> str:
        """Return the cursor of a place in the feed."""

    def due(self, now: datetime, limit: int) -> Sequence[str]:
        """See the protocol."""
        return [row[0] for row in self._rows(self._statements.due, now=micros(now), most=limit)]

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
        statement = self._statements.conflicts[session_id is not None, open]
        given = {} if session_id is None else {"session_id": session_id}
        return self._values(CONFLICT, statement, after=after or "", most=limit, **given)

    def notification(self, notification_id: str) -> Notification | None:
        """See the protocol."""
        return self._one(NOTIFICATION, self._statements.notification, notification_id)

    def due_notifications(self, now: datetime, limit: int) -> Sequence[Notification]:
        """See the protocol."""
        return self._values(NOTIFICATION, self._statements.due_notifications, now=micros(now), most=limit)
