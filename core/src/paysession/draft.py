"""A change being drawn up: how each kind of fact is booked, and when to look again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from paysession.change import Change
from paysession.operation import (
    AUTHORIZE,
    CANCEL,
    CAPTURE,
    REFUND,
    Event,
    Kind,
    Operation,
    State,
    digest_of,
    found_id,
    number_of,
)
from paysession.session import PaymentSession
from paysession.values import Status, made

if TYPE_CHECKING:
    from datetime import datetime

    from paysession.money import Money
    from paysession.outcome import Capabilities

__all__ = ["Draft"]

# How long recovery waits before it looks again: doubled at each look that settled nothing.
_DOUBT_FIRST, _DOUBT_MOST = timedelta(seconds=5), timedelta(hours=1)
_PENDING_FIRST, _PENDING_MOST = timedelta(minutes=5), timedelta(hours=6)
_PAYER_FIRST, _PAYER_MOST = timedelta(minutes=10), timedelta(hours=6)
_PAYER_CHECKS: Final = 32
"""So often is a gateway asked about a payer who never returned: for about a week."""

_BOOKKEEPING: Final = frozenset({"version", "updated_at", "checks", "due_at"})


class Draft:
    """One change of one session while it is drawn up: the rows after it and what is told of it.

    Args:
        session: The session that the change is decided on.
        now: The time of the change.
    """

    def __init__(self, session: PaymentSession, now: datetime) -> None:
        changes = {"version": session.version + 1, "updated_at": now}
        self.before = session
        self.session = made(PaymentSession, vars(session) | changes)
        self.now = now
        self.guarded = False
        """Whether it relies on the room that the collection had, and is refused if that is gone."""
        self.operations: dict[str, Operation] = {}
        self.conflicts: list[tuple[str, str, str]] = []
        self._told: list[tuple[str, Operation | None, str | None]] = []

    def set(self, **changes: Any) -> None:
        """Change the session after the change. It is this draft's own copy, seen by nobody yet."""
        self.session.__dict__.update(changes)

    def put(self, operation: Operation, **changes: Any) -> Operation:
        """Write an operation with these changes."""
        return self._put(operation, changes)

    def _put(self, operation: Operation, changes: dict[str, Any]) -> Operation:
        changes["updated_at"] = self.now
        operation = self.operations[operation.id] = made(Operation, vars(operation) | changes)
        return operation

    def close(self, operation: Operation, state: State, **changes: Any) -> Operation:
        """Write an operation in a state in which nobody is at it; the browser's payload goes."""
        session = self.session
        if session.open == operation.id:
            again = session.cancel_wanted and operation.kind is CANCEL
            self.set(open=None, checks=session.checks if again else 0)
        if operation.state is State.PENDING:
            self._reserve(operation, -1)
            if not session.cancel_wanted:
                self.set(checks=0)  # they were looks at what was pending
        changes["state"] = state
        changes["_payload"] = changes["lease_until"] = changes["doubted_at"] = None
        operation = self._put(operation, changes)
        if state is State.PENDING:
            self._reserve(operation, +1)
            self.tell("operation.pending", operation)
        return operation

    def add_found(
        self, kind: Kind, amount: Money, state: State, *, lost: str | None = None, **changes: Any
    ) -> Operation:
        """Write down an effect that was found at the gateway and that no operation in the ledger caused.

        Args:
            kind: Which effect.
            amount: Its amount.
            state: What became of it.
            lost: The key of ours that it carries, where the ledger has no operation with it: the operation
                was lost when a backup was restored, and gets its id back.
            **changes: What else is known of it.
        """
        ordinal = self.session.ordinal + 1
        number = number_of(self.session.id, lost)
        if number is not None:
            assert lost is not None  # noqa: S101 - it has a number
            # Where the number is an ordinal, no other operation may get it.
            ordinal, id_ = max(ordinal, number), lost
        else:
            parts = (kind, amount, changes.get("reference"), changes.get("reverses"), self.now)
            id_ = found_id(self.session.id, ordinal, *parts)
        self.set(ordinal=ordinal)
        operation = Operation(
            id=id_,
            session_id=self.session.id,
            kind=kind,
            ordinal=ordinal,
            amount=amount,
            state=State.STARTED,
            origin="provider",
            created_at=self.now,
            updated_at=self.now,
            session_status=self.before.status,
        )
        return self.close(operation, state, **changes)

    def _reserve(self, operation: Operation, sign: int) -> None:
        session, minor = self.session, sign * operation.amount.minor
        self.set(pending=session.pending + sign)
        if operation.kind is CAPTURE:
            self.set(capturing=session.capturing + minor)
        elif operation.kind is REFUND:
            self.set(refunding=session.refunding + minor)
        elif operation.kind is AUTHORIZE:
            self.set(authorizing=operation.id if sign > 0 else None)

    # --- what can happen to money ---

    def authorize(self, operation: Operation, minor: int) -> None:
        """Book that so much is authorized now."""
        self.set(status=Status.AUTHORIZED, authorized=minor, held=minor, error=None)
        self.tell("session.authorized", operation)

    def capture(self, operation: Operation, *, released: bool = False) -> None:
        """Book a capture; ``released``: what is left of the authorization is gone."""
        session = self.session
        captured = session.captured + operation.amount.minor
        least = captured + session.capturing
        authorized = least if released else max(session.authorized, least)
        self.set(captured=captured, authorized=authorized, held=authorized)
        self.tell("session.captured", operation)

    def let_go_of_rest(self) -> None:
        """Want a cancel where a final capture succeeded, and the gateway kept the rest authorized."""
        session = self.session
        if (
            session.status is Status.AUTHORIZED
            and session.authorized > session.captured + session.capturing
            and any(
                row.kind is CAPTURE and row.final and row.state is State.SUCCEEDED
                for row in self.operations.values()
            )
        ):
            self.want_cancel()

    def want_cancel(self) -> None:
        """Want a cancel; its tries are counted from now on, whatever was looked at before."""
        if not self.session.cancel_wanted:
            self.set(cancel_wanted=True, checks=0)

    def refund(self, operation: Operation) -> None:
        """Book a refund."""
        session = self.session
        refunded = session.refunded + operation.amount.minor
        self.set(refunded=refunded)
        rest = session.authorized > session.captured + session.capturing
        if session.status is Status.CANCELED and refunded >= session.captured and not rest:
            self.set(conflict=None)
        self.tell("session.refunded", operation)

    def release(self, operation: Operation) -> None:
        """Book that nothing is authorized any more beyond what was, or is being, captured."""
        session = self.session
        kept = session.captured + session.capturing
        over = session.status is Status.CANCELED
        self.set(authorized=kept, held=kept, cancel_wanted=False, next_action=None, checks=0)
        if kept and session.status is Status.AUTHORIZED:
            self.tell("session.released", operation)
            return
        self.set(status=Status.CANCELED)
        if kept <= session.refunded:
            self.set(conflict=None)
        # A session ends once; what turned up after its end is let go of.
        self.tell("session.released" if over else "session.canceled", operation)

    # --- what is told, and when to look again ---

    def tell(self, type_: str, operation: Operation | None = None, *, detail: str | None = None) -> None:
        """Tell of a transition; its figures are those of the session once the draft is complete."""
        self._told.append((type_, operation, detail))

    def conflict(self, kind: str, expected: object, found: object) -> None:
        """Report, once, that the gateway's truth contradicts the books."""
        if self.session.conflict != kind:
            self.set(conflict=kind)
            self.conflicts.append((kind, str(expected), str(found)))
            self.tell("session.conflict", detail=f"{kind}: expected {expected}, found {found}")

    def wait(self, capabilities: Capabilities, *, first: timedelta | None = None) -> None:
        """Say when recovery has something to do here next; never, once all is at rest."""
        session, now = self.session, self.now
        checks = session.checks
        askable = capabilities.lookup != "none" and not capabilities.local
        due_at = None
        if session.open is not None:
            due_at = session.due_at
        elif session.cancel_wanted:
            due_at = now + _backoff(_DOUBT_FIRST, _DOUBT_MOST, checks - 1) if checks else now
        elif not askable:
            pass  # a person or a notification tells
        elif session.pending:
            due_at = now + (first or _backoff(_PENDING_FIRST, _PENDING_MOST, checks))
        elif session.status in (Status.PENDING, Status.REQUIRES_MORE, Status.ERROR) and session.initiated:
            due_at = now + _backoff(_PAYER_FIRST, _PAYER_MOST, checks) if checks < _PAYER_CHECKS else None
        elif session.expires_at is not None and session.authorized > session.captured:
            # The authorization runs out: once it has, ask until the gateway says so.
            due_at = max(session.expires_at, now + _backoff(_PENDING_FIRST, _PENDING_MOST, checks))
        self.set(due_at=due_at)

    def doubt_again(self) -> None:
        """Say when recovery looks again for the operation in doubt."""
        checks = self.session.checks
        due_at = self.now + _backoff(_DOUBT_FIRST, _DOUBT_MOST, checks)
        self.set(checks=checks + 1, due_at=due_at)

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        if self.operations or self._told:
            return True
        after, before = self.session.__dict__, self.before.__dict__
        return any(after[name] != before[name] for name in after if name not in _BOOKKEEPING)

    def change(self, *, guarded: bool = False) -> Change:
        """Return the change, to be committed.

        Args:
            guarded: Whether more than the collection's amount is refused. What the provider has
                done already is booked unguarded.
        """
        session = self.session
        return Change(
            session=session,
            expected=self.before.version,
            operations=tuple(self.operations.values()),
            events=tuple([self._event(place, *told) for place, told in enumerate(self._told)])
            if self._told
            else (),
            hold=session.held - self.before.held,
            guarded=guarded or self.guarded,
        )

    def _event(self, place: int, type_: str, operation: Operation | None, detail: str | None) -> Event:
        session = self.session
        # Versions come again when a backup is restored; the digest keeps another event from having this id.
        digest = digest_of(type_, operation and operation.id, detail, self.now)
        attributes = {
            "cursor": "",
            "id": f"{session.id}:{session.version}.{place}-{digest}",
            "type": type_,
            "session_id": session.id,
            "collection_id": session.collection_id,
            "reference": session.collection_reference,
            "provider": session.provider,
            "operation_id": operation.id if operation is not None else None,
            "amount": operation.amount if operation is not None else session.amount,
            "status": session.status,
            "authorized": session.authorized,
            "captured": session.captured,
            "refunded": session.refunded,
            "version": session.version,
            "detail": detail,
            "occurred_at": self.now,
        }
        return made(Event, attributes)


def _backoff(first: timedelta, most: timedelta, checks: int) -> timedelta:
    doubled: timedelta = first * (1 << min(checks, 16))
    return min(doubled, most)
