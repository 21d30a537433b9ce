"""What is written at once: a change of the ledger, and a notification as it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from attrs import field, frozen

from paysession.values import Value

if TYPE_CHECKING:
    from datetime import datetime

    from paysession.operation import Event, Operation
    from paysession.session import Conflict, PaymentCollection, SessionRow

__all__ = ["Change", "Notification"]


@frozen(slots=False, eq=False, repr=False, kw_only=True)
class Notification(Value):
    """A notification of a provider, as stored before it is acknowledged.

    Attributes:
        id: Unique for (provider, the gateway's event id); where a gateway does not sign, for (provider,
            session).
        provider: The name of the selected provider.
        type: The gateway's name for what happened.
        session_id: Our session's id, if the notification carries it.
        references: The gateway's ids in it.
        effects: What a gateway that cannot be queried reports, as JSON text.
        details: What else is known of the session by it (``data``, ``reference`` and ``payer``), as JSON
            text; empty once it is processed.
        body: The raw body of a verified one; empty once it is processed.
        state: ``received``, ``processed``, or ``unmatched`` after 3 or 90 days without a session.
        received_at: When it was stored; where a gateway does not sign, when the gateway was last queried
            because of it.
        due_at: When to try again, or to look once more where lookups lag; None when there is nothing more
            to do.
        attempts: How often it was tried, or written since it was stored: each update adds one.
    """

    id: str
    provider: str
    type: str
    received_at: datetime
    session_id: str | None = None
    references: tuple[str, ...] = ()
    effects: str = "[]"
    details: str = field(default="{}", repr=False)
    body: bytes = field(default=b"", repr=False)
    state: str = "received"
    due_at: datetime | None = None
    attempts: int = 0


class Change(NamedTuple):
    """One atomic step: everything in it is written, or nothing is.

    Rows are written in the order collection, session, operations, conflicts, events: the same everywhere, so
    that two changes cannot wait for each other.

    Attributes:
        session: The session's new row; its ``version`` is ``expected + 1``.
        expected: The version it was decided on; 0: it is a new row.
        operations: New rows, or new states of rows of the same session.
        events: What is reported of it; a store gives them their cursors.
        hold: Minor units to add to the ``held`` of the session's collection (negative: release).
        guarded: Whether the hold is refused when it exceeds the collection's amount. What the
            provider has done already is recorded unguarded.
        collection: A new collection, or (``collection_amount``) one whose amount changes.
        collection_amount: Only the amount of ``collection`` is changed, guarded by what is held.
        conflicts: New conflicts, or new states of conflicts, of the same session.
        notification: A notification to insert, or (``notification_seen``) to update.
        notification_seen: The notification exists, with one attempt less.
        erased: The session's ``checkout``, which else never changes, is written as well, and what the rows
            held before is erased from the database as far as the store can.
    """

    session: SessionRow | None = None
    expected: int = 0
    operations: tuple[Operation, ...] = ()
    events: tuple[Event, ...] = ()
    hold: int = 0
    guarded: bool = True
    collection: PaymentCollection | None = None
    collection_amount: bool = False
    conflicts: tuple[Conflict, ...] = ()
    notification: Notification | None = None
    notification_seen: bool = False
    erased: bool = False
