"""The ledger of one session while a decision is made: facts go in, rows and events come out.

`Ledger.apply` is the only place where a session or an operation changes, whoever learned of it and
however. Figures are sums over the operations: ``captured``, ``capturing``, ``refunded`` and ``refunding``
move with the operation that a fact closes. What is authorized, held, and the status from ``authorized`` on
are derived from them (`Ledger._derive`), never set:

    kept = captured + capturing
    authorized = kept, once the rest is released; else the larger of what was granted and kept

A chargeback takes nothing from that: what a payer disputes was captured, and stays so. It is counted apart,
in ``charged_back``.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypedDict, Unpack
from zlib import crc32

from attrs import evolve

from paysession._ledger.facts import (
    Accepted,
    Begun,
    CancelCleared,
    CancelRequested,
    Claimed,
    ConflictClosed,
    ConflictOpened,
    Details,
    Disputed,
    Forgotten,
    Found,
    Identified,
    Noted,
    OperatorNeeded,
    Postponed,
    Presented,
    Recognized,
    Refused,
    Released,
    Reopened,
    Reversed,
    Succeeded,
    Unanswered,
)
from paysession._ledger.ids import found_id, number_of
from paysession.change import Change
from paysession.checkout import Checkout, with_payer
from paysession.operation import (
    AUTHORIZE,
    CANCEL,
    CAPTURE,
    CHARGEBACK,
    INITIATE,
    REFUND,
    Dispute,
    Event,
    Kind,
    Operation,
    State,
)
from paysession.session import Conflict, SessionRow
from paysession.values import Failure, Status, made, new

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from paysession._ledger.facts import Fact
    from paysession.checkout import Payer
    from paysession.money import Money
    from paysession.operation import EventType
    from paysession.session import ConflictKind
    from paysession.values import NextAction

__all__ = ["CANCEL_ATTEMPTS", "FAILED", "IMPLIED", "MERGED", "OPEN", "UNAUTHORIZED", "Ledger"]

OPEN: Final = (State.STARTED, State.PENDING)
"""The states of an operation that may still have an effect."""

UNAUTHORIZED: Final = frozenset({Status.PENDING, Status.REQUIRES_MORE, Status.ERROR})
"""The statuses before anything is authorized."""

FAILED: Final = "failed"
"""The answer of an operation that an effect showed as failed: that is final, unlike a refusal we inferred."""

IMPLIED: Final = "implied"
"""The answer of an authorization that nobody reported: something was captured, so it was authorized."""

MERGED: Final = "merged"
"""The answer of a row that was found, and is the effect of an operation of ours, which has its own row."""

_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_MOMENT: Final = timedelta(microseconds=1)

CANCEL_ATTEMPTS: Final = 32
"""Give up a requested cancel after so many attempts that the gateway declined: about a day."""

_BOOKKEEPING: Final = frozenset({"version", "updated_at", "checks", "due_at", "attention_at"})


class _Row:
    """The session's row while it changes: this ledger's own copy, seen by nobody yet.

    Its attributes are those of `SessionRow` that a fact may change.
    """

    version: int
    updated_at: datetime
    amount: Money
    status: Status
    next_action: NextAction | None
    expires_at: datetime | None
    checkout: Checkout
    payer: Payer | None
    forgotten_at: datetime | None
    reference: str | None
    error: Failure | None
    conflict: ConflictKind | None
    _data: str
    authorized: int
    captured: int
    refunded: int
    charged_back: int
    capturing: int
    refunding: int
    granted: int
    released: bool
    pending: int
    disputes: int
    held: int
    initiated: bool
    ordinal: int
    open: str | None
    authorizing: str | None
    cancel_requested: bool
    cancel_by: str | None
    abandon_at: datetime | None
    due_at: datetime | None
    attention_at: datetime | None
    checks: int

    def __init__(self, session: SessionRow, now: datetime) -> None:
        attributes = vars(session).copy()
        attributes["version"] += 1
        attributes["updated_at"] = now
        attributes["attention_at"] = None
        self.__dict__ = attributes

    @property
    def data_text(self) -> str:
        """The provider's data as JSON text."""
        return self._data

    @data_text.setter
    def data_text(self, text: str) -> None:
        self._data = text

    @property
    def kept(self) -> int:
        """What was captured, or is being captured."""
        return self.captured + self.capturing

    @property
    def returned(self) -> int:
        """What the merchant has not any more of what was captured: refunded, or charged back."""
        return self.refunded + self.charged_back


class _Changes(TypedDict, total=False):
    """What a fact may change of an operation."""

    amount: Money
    state: State
    reference: str | None
    sure: bool
    answer: str | None
    error: Failure | None
    note: str | None
    attempt: int
    capture_id: str | None
    reverses: str | None
    dispute: Dispute | None
    lease_until: datetime | None
    doubted_at: datetime | None
    _payload: str | None


class _Extra(TypedDict, total=False):
    """What else is known of an effect that is recorded as an operation of its own."""

    capture_id: str | None
    reverses: str | None
    dispute: Dispute | None
    idempotency_key: str | None
    fingerprint: str | None


class Ledger:
    """One session, the operations that the decision needs, and what changes.

    Args:
        session: The session that the decision is made on.
        now: The time of the change.
        operations: The session's operations: all of them where effects are matched; the engine's fast path
            needs the one that it closes only.
        conflicts: The session's open conflicts.
    """

    guarded = False
    """Whether the change relies on the room that the collection had, and is refused if that is gone."""
    erased = False
    """Whether something personal is erased, which else never changes."""
    known: Mapping[str, Operation] = MappingProxyType({})
    """The operations as they were before, by their ids."""
    conflicts: Mapping[ConflictKind, Conflict] = MappingProxyType({})
    """The conflicts that are open, after the facts so far."""
    opened: Sequence[Conflict] = ()
    """Those of them that were opened by the facts."""
    _changed_conflicts: Mapping[ConflictKind, Conflict] = MappingProxyType({})
    _erased_conflicts: Sequence[Conflict] = ()
    _named: defaultdict[str | None, set[str]] | None = None
    _made: SessionRow | None = None
    _by: str | None = None  # who asked for what is no operation

    def __init__(
        self,
        session: SessionRow,
        now: datetime,
        operations: Sequence[Operation] = (),
        conflicts: Sequence[Conflict] = (),
    ) -> None:
        self.before = session
        self.row = _Row(session, now)
        self.now = now
        self.written: dict[str, Operation] = {}
        if operations:
            self.known = {operation.id: operation for operation in operations}
        if conflicts:
            self.conflicts = {row.kind: row for row in conflicts}
        self._events: list[tuple[EventType, Operation | None, str | None]] = []

    def apply(self, fact: Fact) -> None:
        """Apply a fact: the only way in which anything changes."""
        assert self._made is None, "the change is made"  # noqa: S101 - the session committed is this row
        self._rules[type(fact)](self, fact)

    # --- reading --------------------------------------------------------------------------------------

    @property
    def operations(self) -> list[Operation]:
        """The session's operations as they are after the facts so far."""
        return list({**self.known, **self.written}.values())

    def operation(self, operation_id: str | None) -> Operation | None:
        """Return an operation as it is after the facts so far."""
        if operation_id is None:
            return None
        return self.written.get(operation_id) or self.known.get(operation_id)

    def named(self, *references: str | None) -> Sequence[Operation]:
        """Return the operations with one of these ids of the gateway's, in their order.

        A lookup may show as many effects as there are operations, each by its id. Going through all of them
        for each effect takes 110 ms for 1,000, and 25 times that for 5,000.
        """
        if self._named is None:
            self._named = defaultdict(set)
            for operation in self.operations:
                self._named[operation.reference].add(operation.id)
        wanted = {reference for reference in references if reference is not None}
        ids = {key for reference in wanted for key in self._named.get(reference, ())}
        if not ids:
            return ()
        # One of them, mostly. What had the id once, and another one since, is left out.
        rows = (self.operation(key) for key in ids) if len(ids) == 1 else self.operations
        return [row for row in rows if row is not None and row.reference in wanted]

    def left_of(self, operation: Operation) -> int:
        """Return what of an operation's effect was not undone, in minor units."""
        undone = (row.amount.minor for row in self.operations if row.reverses == operation.id)
        return operation.amount.minor - sum(undone)

    @property
    def is_implied(self) -> bool:
        """Whether something was captured, and its authorization was not reported yet."""
        return any(operation.answer == IMPLIED for operation in self.operations)

    @property
    def session(self) -> SessionRow:
        """The session after the facts so far."""
        return self._made or made(SessionRow, dict(vars(self.row)))

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        if self.written or self._events or self._changed_conflicts:
            return True
        after, before = vars(self.row), vars(self.before)
        return any(after[name] != before[name] for name in after if name not in _BOOKKEEPING)

    def change(self) -> Change:
        """Return the change, to be committed: nothing is applied any more."""
        session = self._made = made(SessionRow, vars(self.row))
        events = [self._event(session, place, *event) for place, event in enumerate(self._events)]
        change = Change(
            session,
            self.before.version,
            tuple(self.written.values()),
            tuple(events),
            session.held - self.before.held,
            self.guarded,
        )
        if self._changed_conflicts or self.erased:
            conflicts = (*self._changed_conflicts.values(), *self._erased_conflicts)
            change = change._replace(conflicts=conflicts, erased=self.erased)
        return change

    def _event(
        self,
        session: SessionRow,
        place: int,
        type_: EventType,
        operation: Operation | None,
        detail: str | None,
    ) -> Event:
        # Versions come again when a backup is restored; the checksum keeps another event from having this id.
        operation_id = operation.id if operation is not None else None
        content = f"{type_} {operation_id} {detail} {int(self.now.timestamp() * 1e6)}"
        return new(
            Event,
            {},
            cursor="",
            id=f"{session.id}:{session.version}.{place}-{crc32(content.encode()):08x}",
            type=type_,
            session_id=session.id,
            collection_id=session.collection_id,
            reference=session.collection_reference,
            provider=session.provider,
            operation_id=operation_id,
            by=operation.by if operation is not None else self._by,
            amount=operation.amount if operation is not None else session.amount,
            status=session.status,
            authorized=session.authorized,
            captured=session.captured,
            refunded=session.refunded,
            charged_back=session.charged_back,
            version=session.version,
            detail=detail,
            occurred_at=self.now,
        )

    @property
    def events(self) -> Sequence[tuple[EventType, Operation | None, str | None]]:
        """The events of the facts so far: the type, the operation as it is after them, and the detail."""
        if not self._events:  # half of all commits: an operation begins
            return ()
        return [
            (type_, self.written.get(operation.id, operation) if operation is not None else None, detail)
            for type_, operation, detail in self._events
        ]

    # --- writing --------------------------------------------------------------------------------------

    def _record(
        self, type_: EventType, operation: Operation | None = None, *, detail: str | None = None
    ) -> None:
        """Record an event; its figures are those of the session once all facts are applied."""
        self._events.append((type_, operation, detail))

    def _put(self, operation: Operation, **changes: Unpack[_Changes]) -> Operation:
        attributes: dict[str, Any] = {**vars(operation), **changes, "updated_at": self.now}
        changed = made(Operation, attributes)
        self._write(changed)
        if operation.kind is CHARGEBACK:
            self.row.disputes += _is_disputed(changed) - _is_disputed(operation)
        return changed

    def _write(self, operation: Operation) -> None:
        self.written[operation.id] = operation
        if self._named is not None:
            self._named[operation.reference].add(operation.id)

    def _close(
        self,
        operation: Operation,
        state: State,
        *,
        answer: str | None,
        error: Failure | None,
        note: str | None,
        reference: str | None,
    ) -> Operation:
        """Write an operation that no request is in flight for any more; the browser's payload is erased."""
        row = self.row
        if row.open == operation.id:
            row.open = None
            # A requested cancel is attempted at growing intervals, a new operation each time.
            row.checks = row.checks if row.cancel_requested and operation.kind is CANCEL else 0
        doubted = operation.state is State.STARTED and operation.doubted_at is not None
        if operation.state is State.PENDING and operation.kind is not CHARGEBACK:
            self._reserve(operation, -1)
            if not row.cancel_requested:
                row.checks = 0  # they were queries about what was pending
        operation = self._put(
            operation,
            state=state,
            answer=answer,
            error=error,
            note=note or operation.note,
            reference=reference or operation.reference,
            sure=operation.sure or reference is not None,
            lease_until=None,
            doubted_at=None,
            _payload=None,
        )
        if doubted:
            self._record("operation.settled", operation, detail=str(state))
        if state is State.PENDING and operation.kind is not CHARGEBACK:
            self._reserve(operation, +1)
            self._record("operation.pending", operation)
        return operation

    def _reserve(self, operation: Operation, sign: int) -> None:
        row, minor = self.row, sign * operation.amount.minor
        row.pending += sign
        if operation.kind is CAPTURE:
            row.capturing += minor
        elif operation.kind is REFUND:
            row.refunding += minor
        elif operation.kind is AUTHORIZE:
            row.authorizing = operation.id if sign > 0 else None

    def _new(
        self,
        kind: Kind,
        amount: Money,
        reference: str | None,
        extra: _Extra | None = None,
        lost: str | None = None,
    ) -> Operation:
        """Return a new operation for an effect that none in the ledger asked for; it is not written yet."""
        row, session = self.row, self.before
        extra = extra or {}
        number = number_of(session.id, lost)
        if number is not None:
            assert lost is not None  # noqa: S101 - it has a number
            # It is ours: where the number is an ordinal, no other operation may get it.
            row.ordinal, id_ = max(row.ordinal + 1, number), lost
        else:
            id_ = self._found_id(kind, reference, extra.get("reverses"))
        # Rows of one number are in the order of their times.
        latest = max((operation.created_at for operation in self.operations), default=_NEVER)
        return Operation(
            id=id_,
            session_id=session.id,
            kind=kind,
            ordinal=row.ordinal,
            amount=amount,
            state=State.STARTED,
            origin="provider",
            reference=reference,
            created_at=max(self.now, latest + _MOMENT),
            updated_at=self.now,
            session_status=session.status,
            **extra,
        )

    def _found_id(self, kind: Kind, reference: str | None, reverses: str | None) -> str:
        """Return an id that derives from the gateway's id of an effect, or from what it undoes.

        Without either, or where an effect has it already, it is any that no other has.
        """
        session_id, of = self.before.id, reference or reverses
        id_ = found_id(session_id, kind, of)
        if of is None or self.operation(id_) is not None:
            id_ = found_id(session_id, kind, of, self.row.version, len(self.written), self.now)
        return id_

    def _derive(self) -> None:
        """Bring what is derived up to date: authorized, held, and the status from ``authorized`` on."""
        row = self.row
        if row.status in UNAUTHORIZED and row.granted <= 0:
            return
        row.authorized = row.kept if row.released else max(row.granted, row.kept)
        if self.before.status is not Status.CANCELED:
            if row.status is Status.CANCELED and row.authorized:
                self._take_back_the_end()
            # Once all of it was released or taken back the session is over, for good when that is written.
            row.status = Status.AUTHORIZED if row.authorized else Status.CANCELED
            # An authorization that was only implied may be of more: its own report says what is left.
            row.released = row.released or not (row.authorized or self.is_implied)
        row.held = row.authorized
        opened = self.operation(row.open)
        if opened is not None and opened.increments and not row.released:
            row.held += opened.hold  # it may have been raised

    # --- facts: what becomes of an operation ----------------------------------------------------------

    def _begun(self, fact: Begun) -> None:
        row, operation = self.row, fact.operation
        row.ordinal = operation.ordinal
        row.open = operation.id
        row.due_at = operation.lease_until
        row.held += operation.hold
        if not (operation.kind is CANCEL and row.cancel_requested):
            row.checks = 0
        self._write(operation)

    def _claimed(self, fact: Claimed) -> None:
        operation = fact.operation
        if operation.doubted_at is None:
            self._record("operation.in_doubt", operation, detail="the process that sent it is gone")
        self._put(
            operation,
            attempt=operation.attempt + 1,
            lease_until=fact.lease_until,
            doubted_at=operation.lease_until or operation.doubted_at,
        )
        self.row.due_at = fact.lease_until
        self.row.updated_at = self.before.updated_at  # nothing of the payment changed

    def _unanswered(self, fact: Unanswered) -> None:
        doubted_at = fact.operation.doubted_at
        operation = self._put(
            fact.operation,
            lease_until=None,
            doubted_at=fact.lost_at or self.now,
            error=Failure("unknown", fact.reason, "try_later", "being_checked"),
        )
        if doubted_at is None:
            self._record("operation.in_doubt", operation, detail=fact.reason)
        if fact.needs_operator:
            self.row.attention_at = self.now

    def _accepted(self, fact: Accepted) -> None:
        operation = self._close(
            fact.operation,
            State.PENDING,
            answer=fact.answer,
            error=None,
            note=fact.note,
            reference=fact.reference,
        )
        if operation.kind is CANCEL:
            self.row.cancel_requested = False
        elif operation.kind is CAPTURE:
            self.row.released = self.row.released or fact.released
            self._derive()  # it may be of more than was known to be authorized
        elif operation.kind is AUTHORIZE and self.row.status in UNAUTHORIZED:
            self.row.held = operation.amount.minor

    def _succeeded(self, fact: Succeeded) -> None:
        operation, row = fact.operation, self.row
        asked = operation.amount
        operation = self._close(
            operation,
            State.SUCCEEDED,
            answer=fact.answer,
            error=None,
            note=fact.note,
            reference=fact.reference,
        )
        if fact.amount is not None and fact.amount != asked:
            asked_for = "disputed" if operation.kind is CHARGEBACK else "asked for"
            note = operation.note if fact.operation.answer == IMPLIED else f"{asked} was {asked_for}"
            operation = self._put(operation, amount=fact.amount, note=note)
            # What is authorized is compared as a whole; nobody asked for a chargeback.
            if operation.kind is not AUTHORIZE and operation.kind is not CHARGEBACK:
                self._conflict_opened(ConflictOpened("amount", asked, fact.amount))
        minor = operation.amount.minor
        if operation.kind is AUTHORIZE:
            if fact.granted and fact.operation.answer == IMPLIED:
                # What was implied is part of what is reported, and a release since then was of all of it.
                self._grant(operation, minor - asked.minor, released=row.released)
            elif fact.granted:
                self._grant(operation, minor, released=row.released and fact.answer == IMPLIED)
        elif operation.kind is CAPTURE:
            row.captured += minor
            row.released = row.released or fact.released
            self._derive()
            self._record("session.captured", operation)
            if row.status is Status.CANCELED:
                self._conflict_opened(ConflictOpened("authorized_after_cancel", "nothing", operation.amount))
        elif operation.kind is REFUND:
            row.refunded += minor
            self._record("session.refunded", operation)
        elif operation.kind is CHARGEBACK:
            row.charged_back += minor
            self._record("session.charged_back", operation, detail=_summary(operation))
        elif operation.kind is CANCEL:
            self._released(Released(operation))
        elif operation.kind is INITIATE:
            row.initiated = True
            self._record("session.initiated", operation)
        else:
            row.amount = operation.amount
            if operation.increments:
                row.granted = max(row.granted, minor)  # it is the whole, whatever was authorized before
                self._derive()
            elif row.status in UNAUTHORIZED:
                row.held = minor if row.held else 0
            self._record("session.updated", operation)

    def _grant(self, operation: Operation, minor: int, *, released: bool) -> None:
        row = self.row
        row.granted = minor + (row.kept if row.released else row.granted)
        row.released = released
        row.initiated = True
        was = row.status
        if was is Status.CANCELED and self.before.status is Status.AUTHORIZED:
            was = Status.AUTHORIZED  # it ends with the commit, and not before
        if was is not Status.AUTHORIZED:
            row.next_action = None
        self._derive()
        if was is not Status.CANCELED:
            row.error = None
        elif row.authorized > row.kept and operation.answer != IMPLIED:  # else the capture says so
            if "authorized_after_cancel" in self.conflicts:
                self._record("session.changed", operation)
            self._conflict_opened(ConflictOpened("authorized_after_cancel", "nothing", operation.amount))
        if row.status is not was:
            self._record("session.authorized", operation)
        elif was is Status.AUTHORIZED:
            self._record("session.changed", operation)

    def _take_back_the_end(self) -> None:
        """Record no end of the session: what was found after it goes on."""
        events, self._events = self._events, []
        for type_, operation, detail in events:
            if type_ != "session.canceled":
                self._record(type_, operation, detail=detail)
            elif operation is None or operation.reverses is None:  # else nothing was released
                self._record("session.released", operation, detail=detail)

    def _refused(self, fact: Refused) -> None:
        row = self.row
        operation = self._close(
            fact.operation,
            fact.state,
            answer=fact.answer or fact.operation.answer,
            error=fact.failure,
            note=fact.note,
            reference=None,
        )
        declined = fact.state is State.DECLINED
        kind, code = operation.kind, fact.failure.code
        if kind is CHARGEBACK:  # the dispute is over, and the money was never taken
            self._record("session.dispute_won", operation, detail=_summary(self._won(operation)))
            return
        repeatable = operation.idempotency_key is not None and not row.cancel_requested
        if kind is INITIATE and (declined or not repeatable):
            # Nothing was accepted, so nothing can be authorized. With a caller's key it can be repeated,
            # unless its cancel was requested meanwhile.
            row.status, row.error, row.cancel_requested = Status.CANCELED, fact.failure, False
            row.released = True
            self._record("session.canceled", operation, detail=code)
            return
        if kind is AUTHORIZE and declined and row.status in UNAUTHORIZED:
            row.status, row.error, row.next_action, row.held = Status.ERROR, fact.failure, None, 0
            self._record("session.error", operation, detail=code)
            return
        if row.status in UNAUTHORIZED:  # afterwards it holds what is authorized, or nothing
            row.held -= operation.hold
        self._record("operation.failed", operation, detail=code)
        was, authorized = row.status, row.authorized
        self._derive()
        if row.authorized < authorized:  # the rest had been released before this failed
            self._record("session.released" if row.status is was else "session.canceled", operation)
        if kind is CANCEL and row.cancel_requested:
            row.checks += 1
            if declined and row.checks >= CANCEL_ATTEMPTS:
                row.cancel_requested, row.checks = False, 0
                self._conflict_opened(ConflictOpened("cancel_refused", "canceled", code))

    def _found(self, fact: Found) -> None:
        refused = fact.refused
        extra: _Extra = {"capture_id": fact.capture_id, "dispute": fact.dispute}
        if refused is not None:
            was = f"{refused.id} {refused.state}"
            self._conflict_opened(ConflictOpened("effect_after_refusal", was, f"{fact.amount} {fact.state}"))
            self._put(refused, reference=None)
            # It answers for the caller's key from now on, so that a repeated call is no second effect.
            extra = {
                "capture_id": refused.capture_id or fact.capture_id,
                "dispute": fact.dispute,
                "idempotency_key": refused.idempotency_key,
                "fingerprint": refused.fingerprint,
            }
        operation = self._new(fact.kind, fact.amount, fact.reference, extra, fact.lost)
        if fact.kind is CHARGEBACK:
            self._record("session.disputed", operation, detail=_summary(operation))
        if fact.state is State.DECLINED:
            operation = self._close(
                operation, fact.state, answer=FAILED, error=fact.error, note=None, reference=None
            )
            detail = fact.error.code if fact.error is not None else None
            if fact.kind is CHARGEBACK:
                self._record("session.dispute_won", operation, detail=_summary(self._won(operation)))
            else:
                self._record("operation.failed", operation, detail=detail)
            return
        if fact.state is State.PENDING:
            self._accepted(Accepted(operation, answer=fact.answer))
        elif fact.kind is CANCEL and fact.amount.minor < self.row.authorized - self.row.kept:
            self._reduced(operation, fact)
        else:
            self._succeeded(Succeeded(operation, fact.answer, released=fact.released))

    def _reduced(self, operation: Operation, fact: Found) -> None:
        """A part of the authorization was released, and the rest of it stands."""
        operation = self._close(
            operation, State.SUCCEEDED, answer=fact.answer, error=None, note=None, reference=None
        )
        self.row.granted = self.row.authorized - fact.amount.minor
        self._derive()
        self._record("session.released", operation)

    def _identified(self, fact: Identified) -> None:
        operation, guess = fact.operation, fact.operation.reference
        answer = fact.answer or operation.answer
        self._put(operation, reference=fact.reference, sure=fact.sure, answer=answer)
        if operation.sure or guess is None:
            return
        # Another effect was taken for this operation's: it is somebody else's.
        for other in self.operations:
            if other.reference == fact.reference and other.id != operation.id:
                self._put(other, reference=guess)
                return
        other = self._new(operation.kind, operation.amount, guess)
        if operation.state is State.PENDING:
            self._accepted(Accepted(other, answer="found"))
        else:
            self._succeeded(Succeeded(other, "found"))

    def _recognized(self, fact: Recognized) -> None:
        operation, found, row = fact.operation, fact.found, self.row
        if row.open == operation.id:
            row.open, row.checks = None, 0
        if operation.state is State.PENDING:
            self._reserve(operation, -1)
        ours = self._put(
            operation,
            state=found.state,
            reference=found.reference,
            sure=True,
            answer=found.answer,
            error=None,
            note=fact.note or operation.note,
            lease_until=None,
            doubted_at=None,
            _payload=None,
        )
        self._put(found, state=State.NOT_APPLIED, answer=MERGED, reference=None, note=f"it is {ours.id}")
        for other in self.operations:
            if other.reverses == found.id:
                self._put(other, reverses=ours.id)
            elif other.capture_id == found.id:
                self._put(other, capture_id=ours.id)
        if operation.state is State.STARTED and operation.doubted_at is not None:
            self._record("operation.settled", ours, detail=str(ours.state))
        if fact.released:
            was, row.released = row.status, True
            self._derive()
            if row.status is not was:  # what was captured was undone since, and the rest is gone with it
                self._record("session.canceled", ours)

    def _disputed(self, fact: Disputed) -> None:
        operation = self._put(fact.operation, dispute=fact.dispute)
        if fact.dispute.status != "won":  # that is recorded when the money is the merchant's again
            self._record("session.disputed", operation, detail=_summary(operation))

    def _won(self, operation: Operation) -> Operation:
        """Return a chargeback with a dispute that is decided: the money is the merchant's."""
        dispute = operation.dispute
        if dispute is None or not dispute.is_open:
            return operation
        return self._put(operation, dispute=evolve(dispute, status="won"))

    def _reversed(self, fact: Reversed) -> None:
        row, amount = self.row, fact.amount
        was = row.status
        undone = self._new(fact.operation.kind, amount, None, {"reverses": fact.operation.id})
        undone = self._close(
            undone, State.SUCCEEDED, answer="reversed", error=fact.error, note=None, reference=None
        )
        if undone.kind is REFUND:
            row.refunded -= amount.minor
        elif undone.kind is CHARGEBACK:
            row.charged_back -= amount.minor
            self._record("session.dispute_won", undone, detail=_summary(self._won(fact.operation)))
            return
        else:
            row.captured -= amount.minor
            row.granted -= amount.minor
            self._derive()
            if row.status is Status.CANCELED:
                row.cancel_requested = False
        self._record("session.reversed", undone)
        if row.status is not was:
            self._record("session.canceled", undone)

    # --- facts: what is authorized, and how it stands ---------------------------------------------------

    def _released(self, fact: Released) -> None:
        row = self.row
        was, authorized = row.status, row.authorized
        row.released, row.cancel_requested, row.next_action, row.checks = True, False, None, 0
        stays = row.kept and was is Status.AUTHORIZED
        if not stays:
            row.status = Status.CANCELED
        row.authorized = row.held = row.kept
        if row.status is not was:
            reason = fact.operation.reason if fact.operation is not None else None
            self._record("session.canceled", fact.operation, detail=reason)
        elif fact.operation is not None or row.authorized < authorized:
            # A session ends once; what turned up after its end was released.
            self._record("session.released", fact.operation)

    def _reopened(self, _: Reopened) -> None:
        self.row.granted, self.row.released = self.row.kept, False

    def _presented(self, fact: Presented) -> None:
        row = self.row
        row.initiated = True
        row.next_action = fact.next_action
        if row.status in UNAUTHORIZED:  # the payer may have been faster than what we were shown
            row.status, row.error = fact.status, fact.error
            if fact.status is Status.ERROR:
                row.held = 0
        if fact.event is not None:
            self._record(fact.event, fact.operation)

    def _details(self, fact: Details) -> None:
        row = self.row
        if fact.data is not None and row.forgotten_at is None:
            row.data_text = fact.data
        if fact.reference is not None:
            row.reference = fact.reference
        if fact.expires_at is not None:
            row.expires_at = fact.expires_at
        if fact.next_action is not None:
            row.next_action = fact.next_action
        if fact.payer is not None and row.forgotten_at is None:
            row.payer = with_payer(row.payer, fact.payer)

    def _forgotten(self, fact: Forgotten) -> None:
        row = self.row
        before = dict(vars(row))
        row.checkout, row.payer, row.data_text, row.next_action = Checkout(), None, "{}", None
        row.error = _without_words(row.error)
        row.forgotten_at = row.forgotten_at or self.now
        for operation in self.operations:
            # Not written by `_put`: what became of it, and when, stays as it is.
            erased: dict[str, Any] = {
                **vars(operation),
                "_payload": None,
                "_data": "{}",
                "reason": None,
                "note": None,
                "error": _without_words(operation.error),
            }
            if erased != vars(operation):
                self._write(made(Operation, erased))
        self._erased_conflicts = [evolve(row, note=None) for row in fact.conflicts if row.note is not None]
        self.erased = bool(self.written or self._erased_conflicts or before != vars(row))
        if self.erased:
            self._by = fact.by
            self._record("session.forgotten")

    def _cancel_requested(self, fact: CancelRequested) -> None:
        if not self.row.cancel_requested:  # its attempts are counted from now on
            self.row.cancel_requested, self.row.checks, self.row.cancel_by = True, 0, fact.by

    def _cancel_cleared(self, _: CancelCleared) -> None:
        row = self.row
        row.cancel_requested = False
        # What else there is to query says when that is due.
        row.due_at = self.now if row.pending or row.expires_at is not None else None

    def _noted(self, fact: Noted) -> None:
        operation = fact.operation
        self._put(operation, note=f"{operation.note}; {fact.text}" if operation.note else fact.text)
        due_at = self.row.due_at
        self.row.due_at = self.now if due_at is None else min(self.now, due_at)

    def _operator_needed(self, _: OperatorNeeded) -> None:
        row = self.row
        row.updated_at = self.before.updated_at
        later = row.abandon_at is not None and row.abandon_at > self.now
        row.due_at, row.attention_at = row.abandon_at if later else None, self.now

    def _postponed(self, _: Postponed) -> None:
        row = self.row
        row.updated_at = self.before.updated_at
        if row.open is None:
            row.checks += 1

    def _conflict_opened(self, fact: ConflictOpened) -> None:
        if fact.kind in self.conflicts:
            return
        expected, found = str(fact.expected), str(fact.found)
        moment = int(self.now.timestamp() * 1000)
        token = sha256(f"{self.before.id} {self.row.version} {fact.kind}".encode()).hexdigest()[:16]
        conflict = Conflict(
            id=f"cf_{moment:012x}{token}",
            session_id=self.before.id,
            kind=fact.kind,
            expected=expected,
            found=found,
            opened_at=self.now,
        )
        self.conflicts = {**self.conflicts, fact.kind: conflict}
        self._changed_conflicts = {**self._changed_conflicts, fact.kind: conflict}
        self.opened = (*self.opened, conflict)
        self.row.conflict = fact.kind
        self._record("session.conflict", detail=f"{fact.kind}: expected {expected}, found {found}")

    def _conflict_closed(self, fact: ConflictClosed) -> None:
        conflict = self.conflicts.get(fact.kind)
        if conflict is None:
            return
        self.conflicts = {kind: row for kind, row in self.conflicts.items() if kind != fact.kind}
        closed = evolve(conflict, closed_at=self.now, closed_by=fact.by, note=fact.note)
        self._changed_conflicts = {**self._changed_conflicts, fact.kind: closed}
        newest = max(self.conflicts.values(), key=lambda row: row.id, default=None)
        self.row.conflict = newest.kind if newest is not None else None

    _rules: ClassVar[Mapping[type, Callable[..., None]]] = {
        Accepted: _accepted,
        Begun: _begun,
        CancelCleared: _cancel_cleared,
        CancelRequested: _cancel_requested,
        Claimed: _claimed,
        ConflictClosed: _conflict_closed,
        ConflictOpened: _conflict_opened,
        Details: _details,
        Disputed: _disputed,
        Forgotten: _forgotten,
        Found: _found,
        Identified: _identified,
        Noted: _noted,
        OperatorNeeded: _operator_needed,
        Postponed: _postponed,
        Presented: _presented,
        Recognized: _recognized,
        Refused: _refused,
        Released: _released,
        Reopened: _reopened,
        Reversed: _reversed,
        Succeeded: _succeeded,
        Unanswered: _unanswered,
    }


def _is_disputed(operation: Operation) -> bool:
    """Return whether the dispute of a chargeback is not decided: the money may still go, or come back."""
    if operation.state is State.PENDING:
        return True
    dispute = operation.dispute
    return operation.state is State.SUCCEEDED and dispute is not None and dispute.is_open


def _summary(operation: Operation) -> str | None:
    return operation.dispute.summary if operation.dispute is not None else None


def _without_words(failure: Failure | None) -> Failure | None:
    """Return a failure's code alone: a gateway's words may name the payer."""
    return None if failure is None else evolve(failure, message="erased")
