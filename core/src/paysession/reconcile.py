"""What the gateway's own truth does to the books: a snapshot is compared and booked.

A pure function, like the rules in ``lifecycle``. The gateway is right about what happened there:
whatever it shows is booked, and where our books forbid it, it is reported as a conflict as well.
What it does *not* show proves nothing here; the shell decides when absence is evidence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paysession.draft import Draft
from paysession.errors import Declined
from paysession.lifecycle import refuse
from paysession.money import Money
from paysession.operation import AUTHORIZE, CANCEL, CAPTURE, INITIATE, REFUND, REFUSED, UPDATE, Kind, State
from paysession.outcome import Snapshot
from paysession.values import Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from paysession.operation import Operation
    from paysession.outcome import Capabilities, Effect
    from paysession.session import PaymentSession
    from paysession.values import Failure

__all__ = ["apply_snapshot", "is_evidence", "let_go"]

_BEFORE: Final = (Status.PENDING, Status.REQUIRES_MORE, Status.ERROR)
_OPEN: Final = (State.STARTED, State.PENDING)


def apply_snapshot(
    session: PaymentSession,
    operations: Sequence[Operation],
    snapshot: Snapshot,
    *,
    room: int,
    now: datetime,
    capabilities: Capabilities,
    quiet: bool = False,
) -> Draft:
    """Return what a snapshot does to the books.

    Args:
        session: The session as it was read before the snapshot was fetched.
        operations: All its operations.
        snapshot: The gateway's truth.
        room: How much of the collection's amount no session holds, in minor units.
        now: The time.
        capabilities: What the provider declared.
        quiet: Whether no request of the open operation can be under way any more. Before, that the payer
            was refused, or must act, is no answer to it: that may be of the payer's own doing.
    """
    draft = Draft(session, now)
    if snapshot.status is None:
        return draft
    currency = session.amount.currency
    other = _foreign(session, snapshot)
    if other is not None:
        draft.conflict("currency", currency, other)
        draft.wait(capabilities)
        return draft
    if snapshot.data is not None:
        draft.set(_data=snapshot.data)
    if snapshot.reference is not None:
        draft.set(reference=snapshot.reference)
    if snapshot.expires_at is not None:
        draft.set(expires_at=snapshot.expires_at)
    lagging = capabilities.lookup == "lagging" and now < session.updated_at + capabilities.lookup_lag
    once, untold = capabilities.capture == "once", snapshot.authorized is None
    books = _Books(draft, operations, once=once, untold=untold, lagging=lagging, quiet=quiet)
    for effect in snapshot.effects:
        if effect.kind in (CAPTURE, REFUND):
            books.book_effect(effect)
        elif effect.kind is CANCEL:
            books.book_cancel(effect)
    books.book_total(CAPTURE, snapshot.captured)
    books.book_total(REFUND, snapshot.refunded)
    if snapshot.status is Status.AUTHORIZED:
        books.authorized(snapshot, room)
    elif snapshot.status is Status.CANCELED:
        books.canceled(room)
    else:
        books.waiting(snapshot)
    more = draft.session.held - session.held
    draft.guarded = more <= max(0, room)  # another session may take the room meanwhile: then decide again
    if more > max(0, room) and not draft.conflicts:
        free, found = (Money.from_minor(minor, currency) for minor in (max(0, room), more))
        draft.conflict("over_limit", free, found)
    after = draft.session
    if after.refunded > max(session.refunded, after.captured) and not draft.conflicts:
        # A chargeback of what was refunded already: the merchant has paid twice.
        draft.conflict("over_captured", after.captured_amount, after.refunded_amount)
    if not lagging:
        draft.let_go_of_rest()
    draft.wait(capabilities)
    return draft


def is_evidence(session: PaymentSession, snapshot: Snapshot, kind: Kind) -> bool:
    """Return whether a snapshot would have shown an effect of this kind, so that its absence is evidence."""
    if _foreign(session, snapshot) is not None or not snapshot.tells(kind):
        return False  # what cannot be read was not booked
    # What is let go of beside a capture shows in that total alone.
    kept = session.captured + session.capturing
    return kind is not CANCEL or not kept or snapshot.authorized is not None


def _foreign(session: PaymentSession, snapshot: Snapshot) -> Money | None:
    """Return an amount of a snapshot that is in another currency than the session's."""
    told = [
        snapshot.amount,
        snapshot.authorized,
        snapshot.captured,
        snapshot.refunded,
        *(e.amount for e in snapshot.effects),
    ]
    currency = session.amount.currency
    return next((money for money in told if money is not None and money.currency != currency), None)


def let_go(draft: Draft, operations: Sequence[Operation]) -> None:
    """Release what a capture held that failed after the rest was let go of: the gateway holds it no more."""
    session = draft.session
    letting_go = [
        row
        for row in operations
        if row.state is State.SUCCEEDED and (row.kind is CANCEL or (row.kind is CAPTURE and row.final))
    ]
    more = session.authorized > session.captured + session.capturing
    if letting_go and more and session.status is Status.AUTHORIZED:
        draft.release(letting_go[-1])


class _Books:
    """A draft together with the session's operations, as they change while effects are booked."""

    def __init__(
        self,
        draft: Draft,
        operations: Sequence[Operation],
        *,
        once: bool,
        untold: bool,
        lagging: bool,
        quiet: bool,
    ) -> None:
        self._draft = draft
        self._written = {operation.id: operation for operation in operations}
        self._once = once
        self._untold = untold
        self._lagging = lagging
        self._quiet = quiet
        self._matched: set[str] = set()

    @property
    def _operations(self) -> list[Operation]:
        return list({**self._written, **self._draft.operations}.values())

    @property
    def _open(self) -> Operation | None:
        open_ = self._draft.session.open
        return next((row for row in self._operations if row.id == open_), None) if open_ else None

    # --- captures and refunds ---

    def _find(self, effect: Effect) -> Operation | None:
        rows = [row for row in self._operations if row.kind is effect.kind and row.reverses is None]
        token = effect.reference or effect.key
        for row in rows:
            if token and row.reference == token:
                return row
        if effect.key is not None:
            mine = next((row for row in rows if row.id == effect.key), None)
            if mine is not None and (mine.reference is None or effect.reference is None):
                return mine
            if not any(row.id == effect.key for row in self._operations):
                return None  # it carries a key, and the key is none of ours
        for row in rows:
            # Nothing else tells the two apart: an operation of ours that is not known to be
            # another effect, and for the same amount, is this one. With the key of another
            # operation (a capture at authorization) it is none that was sent under its own.
            if (
                (effect.key is None or row.origin == "provider")
                and row.reference is None
                and row.id not in self._matched
                and row.state in (*_OPEN, State.SUCCEEDED)
                and row.amount == effect.amount
            ):
                return row
        return None

    def book_effect(self, effect: Effect) -> None:
        """Book one capture or refund that the gateway shows."""
        draft, row = self._draft, self._find(effect)
        token = effect.reference or effect.key or None
        if row is not None:
            self._matched.add(row.id)
            if row.reference is None and effect.reference is not None:
                row = draft.put(row, reference=effect.reference)
        if row is None or row.state in REFUSED:
            if effect.state not in ("succeeded", "pending"):
                return
            state = State.SUCCEEDED if effect.state == "succeeded" else State.PENDING
            capture_id = self._capture_of(effect)
            self._add_found(effect.kind, effect.amount, state, row, reference=token, capture_id=capture_id)
        elif row.state in _OPEN:
            if effect.state == "failed":
                refuse(draft, row, _declined(effect.error))
                self._let_go()
            elif effect.state != "pending":
                self._settle(row, effect.amount)
            elif row.state is State.STARTED:
                draft.close(row, State.PENDING, answer="pending", error=None)
        if effect.state == "reversed" or (effect.state == "failed" and row is not None):
            self._reverse(row, effect.error)

    def _add_found(
        self,
        kind: Kind,
        amount: Money,
        state: State,
        refused: Operation | None,
        *,
        reference: str | None = None,
        capture_id: str | None = None,
    ) -> None:
        """Book an effect that no open operation asked for; ``refused``: one did, and was closed."""
        draft = self._draft
        if refused is not None:
            draft.conflict("effect_after_refusal", f"{refused.id} {refused.state}", f"{amount} {state}")
            draft.put(refused, reference=None)
        # It answers for the caller's key from now on, so that a repeated call is no second effect.
        found = draft.add_found(
            kind,
            amount,
            state,
            reference=reference,
            answer="found",
            capture_id=(refused and refused.capture_id) or capture_id,
            idempotency_key=refused and refused.idempotency_key,
            fingerprint=refused and refused.fingerprint,
        )
        self._matched.add(found.id)
        if state is State.SUCCEEDED:
            self._book(found)

    def book_cancel(self, effect: Effect) -> None:
        """Book that a cancel of ours is under way, or failed; that one succeeded the status tells."""
        row = self._find(effect)
        if row is None or row.state not in _OPEN:
            return
        if effect.state == "failed":
            refuse(self._draft, row, _declined(effect.error))
        elif effect.state == "pending" and row.state is State.STARTED:
            self._draft.close(row, State.PENDING, answer="pending", error=None)
            self._draft.set(cancel_wanted=False)

    def _capture_of(self, effect: Effect) -> str | None:
        """Return the id of the capture operation that a refund found there refers to."""
        if effect.capture is None:
            return None
        captures = (row for row in self._operations if row.kind is CAPTURE)
        return next((row.id for row in captures if row.reference == effect.capture), None)

    def _let_go(self) -> None:
        """Release what a capture held that failed after the rest was let go of, where nobody says so."""
        if self._untold:
            let_go(self._draft, self._operations)

    def _settle(self, row: Operation, amount: Money) -> None:
        draft = self._draft
        asked = row.amount
        row = draft.close(row, State.SUCCEEDED, answer="found", error=None)
        if amount != asked:
            row = draft.put(row, amount=amount, note=f"{asked} was asked for")
            draft.conflict("amount", asked, amount)
        self._book(row)

    def _book(self, row: Operation) -> None:
        if row.kind is CAPTURE:
            # Where the gateway does not say what is left, a final capture has let go of it.
            self._draft.capture(row, released=self._once or (row.final and self._untold))
        else:
            self._draft.refund(row)

    def _reverse(self, row: Operation | None, error: Failure | None) -> None:
        """Undo what had succeeded, once, as an operation of its own."""
        if row is None:
            return
        row = self._draft.operations.get(row.id, row)
        left = self._left(row)
        if row.state is State.SUCCEEDED and left:
            self._undo(row, Money.from_minor(left, row.amount.currency), error)

    def _left(self, row: Operation) -> int:
        """Return what of an operation was not undone, in minor units."""
        return row.amount.minor - sum(o.amount.minor for o in self._operations if o.reverses == row.id)

    def _undo(self, row: Operation, amount: Money, error: Failure | None = None) -> None:
        draft = self._draft
        undone = draft.add_found(
            row.kind, amount, State.SUCCEEDED, reverses=row.id, answer="reversed", error=error
        )
        session = draft.session
        if row.kind is REFUND:
            draft.set(refunded=session.refunded - amount.minor)
        else:
            authorized = max(0, session.authorized - amount.minor)
            draft.set(captured=session.captured - amount.minor, authorized=authorized, held=authorized)
            if not authorized and session.status is Status.AUTHORIZED:
                draft.set(status=Status.CANCELED, cancel_wanted=False)
        draft.tell("session.reversed", undone)

    def book_total(self, kind: Kind, total: Money | None) -> None:
        """Book what a total shows beyond the effects that were told one by one."""
        if total is None:
            return
        draft = self._draft
        session = draft.session
        ours = session.captured if kind is CAPTURE else session.refunded
        more = total.minor - ours
        currency = total.currency
        if more < 0 and not self._lagging:
            self._undo_total(kind, -more, currency)
        for row in self._operations:
            if more > 0 and row.kind is kind and row.state in _OPEN and row.amount.minor <= more:
                more -= row.amount.minor
                self._settle(row, row.amount)
        if more > 0:
            amount = Money.from_minor(more, currency)
            self._add_found(kind, amount, State.SUCCEEDED, self._given_up(kind, amount))

    def _given_up(self, kind: Kind, amount: Money) -> Operation | None:
        """Return an operation that was sent, closed as not applied, and would explain what a total shows."""
        found = [row.ordinal for row in self._operations if row.kind is kind and row.answer == "found"]
        for row in reversed(self._operations):
            if (
                row.kind is kind
                and row.state is State.NOT_APPLIED
                and row.attempt > 1
                and row.amount == amount
            ):
                return row if row.ordinal > max(found, default=0) else None
        return None

    def _undo_total(self, kind: Kind, minor: int, currency: str) -> None:
        rows = [
            (row, self._left(row))
            for row in self._operations
            if row.kind is kind and row.state is State.SUCCEEDED and row.reverses is None
        ]
        rows.sort(key=lambda pair: (pair[1] != minor, -pair[0].ordinal))
        for row, left in rows:
            part = min(minor, left)
            if part:
                self._undo(row, Money.from_minor(part, currency))
            minor -= part

    # --- the authorization ---

    def authorized(self, snapshot: Snapshot, room: int) -> None:
        """Book that the gateway shows an authorization."""
        draft = self._draft
        session = draft.session
        kept = session.captured + session.capturing
        told = snapshot.authorized
        if draft.before.status is Status.AUTHORIZED and (session.status is Status.AUTHORIZED or told):
            if told is not None:
                draft.set(status=Status.AUTHORIZED)  # though a capture was undone just now
                self._adjust(max(told.minor, kept))
            return
        opened = self._open
        if opened is not None and opened.kind is INITIATE:
            opened = draft.close(opened, State.SUCCEEDED, answer="found", error=None)
            draft.tell("session.initiated", opened)
        self._settle_update(told if told is not None else snapshot.amount)
        session = draft.session
        # What was captured and returned since is not authorized any more.
        expected = session.amount.minor - self._returned()
        found = max(told.minor if told is not None else expected, kept)
        amount = Money.from_minor(found, session.amount.currency)
        canceled = session.status is Status.CANCELED
        if canceled and self._is_nothing_new(told, found):
            return
        beyond = found - draft.before.held
        row = self._authorizing()
        effect = next((e for e in snapshot.effects if e.kind is AUTHORIZE), None)
        reference = effect and (effect.reference or (effect.key if row is None else None))
        if row is not None:
            reference = row.reference or reference
            row = draft.close(row, State.SUCCEEDED, answer="authorized", error=None, reference=reference)
        else:
            row = draft.add_found(AUTHORIZE, amount, State.SUCCEEDED, answer="found", reference=reference)
        draft.set(initiated=True, next_action=None)
        if canceled:
            draft.set(authorized=found, held=found)
            if session.conflict == "authorized_after_cancel":
                draft.tell("session.changed", row)
            draft.conflict("authorized_after_cancel", "nothing", amount)
        else:
            draft.authorize(row, found)
            if beyond > room:
                free = Money.from_minor(max(0, room), amount.currency)
                draft.conflict("over_limit", free, amount)
            elif told is not None and told.minor == kept < expected and self._close_cancel() is not None:
                pass  # our cancel, of which nobody heard, let go of the rest
            elif found != session.amount.minor:
                draft.conflict("amount", session.amount, amount)
        if (canceled or beyond > room) and not kept:
            draft.want_cancel()

    def _is_nothing_new(self, told: Money | None, found: int) -> bool:
        """Return whether an authorization after the cancel was let go of, or is booked already."""
        draft = self._draft
        if self._lagging:  # it may show how it stood before the cancel; but a capture happened
            if draft.session.captured > draft.before.captured:
                draft.conflict("authorized_after_cancel", "nothing", draft.session.captured_amount)
            return True
        if found > draft.before.authorized:
            return False
        if told is not None:  # booked before, and being cancelled
            self._adjust(found)
        return True

    def _returned(self) -> int:
        rows = (row for row in self._operations if row.kind is CAPTURE and row.reverses is not None)
        return sum(row.amount.minor for row in rows)

    def _adjust(self, found: int) -> None:
        """Bring an authorization that we know of to what the gateway shows of it."""
        draft = self._draft
        session = draft.session
        currency = session.amount.currency
        difference = session.authorized - found
        if difference > 0:
            amount = Money.from_minor(difference, currency)
            row = self._close_cancel()
            if row is None:
                row = draft.add_found(CANCEL, amount, State.SUCCEEDED, answer="found")
            draft.set(authorized=found, held=found)
            draft.tell("session.released", row)
        elif difference < 0 and not self._lagging:
            if found > draft.before.authorized:
                draft.conflict("amount", session.authorized_amount, Money.from_minor(found, currency))
            draft.set(authorized=found, held=found)

    def _close_cancel(self) -> Operation | None:
        """Close a cancel that is open: what it was to let go of is gone."""
        row = next((row for row in self._operations if row.kind is CANCEL and row.state in _OPEN), None)
        if row is not None:
            row = self._draft.close(row, State.SUCCEEDED, answer="found", error=None)
            self._draft.set(cancel_wanted=False)
        return row

    def _authorizing(self) -> Operation | None:
        session = self._draft.session
        row = self._open
        if row is not None and row.kind is AUTHORIZE:
            return row
        return next((row for row in self._operations if row.id == session.authorizing), None)

    def _settle_update(self, told: Money | None) -> None:
        """The payer confirmed while an update was in doubt: the amount says whether it was in time."""
        draft, row = self._draft, self._open
        if row is None or row.kind is not UPDATE or told is None:
            return
        if told == row.amount:
            draft.close(row, State.SUCCEEDED, answer="found", error=None)
            draft.set(amount=row.amount)
            draft.tell("session.updated", row)
        else:
            refuse(draft, row, Declined("authorized", "the payer had confirmed the former amount"))

    def canceled(self, room: int) -> None:
        """Book that the gateway holds nothing beyond what was captured."""
        draft = self._draft
        session = draft.session
        kept = session.captured + session.capturing
        if kept and session.status is not Status.AUTHORIZED:
            # It took money before it let go of the rest: that much was authorized.
            taken = Money.from_minor(kept, session.amount.currency)
            self.authorized(Snapshot(Status.AUTHORIZED, authorized=taken), room)
        row = self._open
        cancel = None
        if row is not None and row.kind in (CANCEL, AUTHORIZE):
            answer = "found" if row.kind is CANCEL else "canceled"
            cancel = draft.close(row, State.SUCCEEDED, answer=answer, error=None)
        elif row is not None and row.kind is not REFUND:
            refuse(draft, row, Declined("canceled", "the provider has canceled the session"))
        pending = next((row for row in self._operations if row.id == session.authorizing), None)
        if pending is not None:
            refuse(draft, pending, Declined("canceled", "the provider has canceled the session"))
        for row in self._operations:
            if row.kind is CANCEL and row.state is State.PENDING:
                cancel = draft.close(row, State.SUCCEEDED, answer="found", error=None)
        if session.status is Status.CANCELED and session.authorized <= kept:
            draft.set(cancel_wanted=False, conflict=session.conflict if kept else None)
            return
        if session.status is Status.AUTHORIZED and kept and session.authorized <= kept:
            draft.set(cancel_wanted=False)
            return
        if cancel is None:
            left = (session.authorized or session.amount.minor) - kept
            amount = Money.from_minor(max(0, left), session.amount.currency)
            cancel = draft.add_found(CANCEL, amount, State.SUCCEEDED, answer="found")
        draft.release(cancel)

    def waiting(self, snapshot: Snapshot) -> None:
        """Book that the gateway shows no authorization: it waits for the payer, or refused."""
        draft = self._draft
        session = draft.session
        status = snapshot.status
        assert status is not None  # noqa: S101 - an absent object is not booked
        if session.status is Status.AUTHORIZED:
            if not self._lagging:
                draft.conflict("status", session.status, status)
            return
        if session.status is Status.CANCELED:
            # Our session is closed and the gateway's object is not: a payer could still use it.
            if (
                not self._lagging
                and not session.cancel_wanted
                and status is not Status.ERROR
                and session.conflict != "cancel_refused"
            ):
                draft.conflict("open_after_cancel", session.status, status)
                draft.want_cancel()
            return
        row = self._open
        pending = next((row for row in self._operations if row.id == session.authorizing), None)
        if self._lagging and (pending is not None or (row is not None and row.kind is AUTHORIZE)):
            # It may show how it stood before: only that the gateway is at it settles anything.
            if row is not None and _debited(snapshot):
                self._settle_waiting(row, snapshot)
            return
        failed = pending is not None and status is Status.ERROR
        if pending is not None and failed:
            refuse(draft, pending, _declined(snapshot.error))
        if row is not None:
            self._settle_waiting(row, snapshot)
        if row is not None or failed:
            return
        if pending is not None:
            if status is Status.PENDING:
                return
            draft.close(pending, State.SUCCEEDED, answer=str(status), error=None)
        self._show(snapshot)

    def _show(self, snapshot: Snapshot) -> None:
        """Take over where a session stands that nothing is open of."""
        draft = self._draft
        session, status = draft.session, snapshot.status
        assert status is not None  # noqa: S101 - an absent object is not booked
        if not session.initiated:
            # The provider was sure that it had not made the object; it has.
            draft.set(status=status, initiated=True, next_action=snapshot.next_action, error=snapshot.error)
            draft.tell("session.initiated")
            return
        if snapshot.next_action is not None and snapshot.next_action != session.next_action:
            draft.set(next_action=snapshot.next_action)
        error = snapshot.error if status is Status.ERROR else None
        if session.status is not status or (error is not None and error != session.error):
            draft.set(status=status, error=error)
            if status is Status.ERROR:
                draft.set(held=0)
            draft.tell("session.error" if status is Status.ERROR else "session.changed")

    def _settle_waiting(self, row: Operation, snapshot: Snapshot) -> None:
        """Settle an operation in doubt, if a session without authorization says what became of it."""
        draft, status = self._draft, snapshot.status
        assert status is not None  # noqa: S101 - an absent object is not booked
        if row.kind is INITIATE:
            draft.close(row, State.SUCCEEDED, answer=str(status), error=None, reference=snapshot.reference)
            draft.set(status=status, initiated=True, next_action=snapshot.next_action, error=snapshot.error)
            draft.tell("session.initiated", row)
        elif row.kind is UPDATE:
            if snapshot.amount == row.amount != draft.session.amount:
                draft.close(row, State.SUCCEEDED, answer="found", error=None)
                held = row.amount.minor if draft.session.held else 0
                draft.set(amount=row.amount, status=status, held=held, error=snapshot.error)
                draft.tell("session.updated", row)
        elif row.kind is AUTHORIZE:
            if _debited(snapshot):
                draft.close(row, State.PENDING, answer="pending", error=None)
                draft.set(status=Status.PENDING, next_action=None)
            elif _refused(snapshot, row):
                refuse(draft, row, _declined(snapshot.error))
            elif not self._quiet or status is row.session_status:
                pass  # how it stood, or may have stood, before our request is carried out
            elif status is Status.REQUIRES_MORE:
                draft.close(row, State.SUCCEEDED, answer=str(status), error=None)
                draft.set(status=status, next_action=snapshot.next_action, error=None)
                draft.tell("session.requires_more", row)
            elif status is Status.ERROR:
                refuse(draft, row, _declined(snapshot.error))


def _debited(snapshot: Snapshot) -> bool:
    return any(e.kind is AUTHORIZE and e.state == "pending" for e in snapshot.effects)


def _refused(snapshot: Snapshot, row: Operation) -> bool:
    return any(e.kind is AUTHORIZE and e.state == "failed" and e.key == row.id for e in snapshot.effects)


def _declined(error: Failure | None) -> Declined:
    if error is None:
        return Declined("failed", "the provider reports that it failed")
    return Declined(error.code, error.message)
