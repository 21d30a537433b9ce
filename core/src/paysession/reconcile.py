"""What the gateway's own truth does to the books: a snapshot is compared and booked.

A pure function, like the rules in ``lifecycle``. The gateway is right about what happened there:
whatever it shows is booked, and where our books forbid it, it is reported as a conflict as well.
What it does *not* show proves nothing here; the shell decides when absence is evidence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paysession.draft import Draft
from paysession.effects import OPEN, Effects, declined
from paysession.errors import Declined
from paysession.lifecycle import refuse
from paysession.money import Money
from paysession.operation import AUTHORIZE, CANCEL, CAPTURE, INITIATE, REFUND, UPDATE, Kind, State
from paysession.outcome import Snapshot
from paysession.values import Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from paysession.operation import Operation
    from paysession.outcome import Capabilities
    from paysession.session import PaymentSession

__all__ = ["apply_snapshot", "is_evidence"]

_BEFORE: Final = (Status.PENDING, Status.REQUIRES_MORE, Status.ERROR)


def apply_snapshot(
    session: PaymentSession,
    operations: Sequence[Operation],
    snapshot: Snapshot,
    *,
    room: int,
    now: datetime,
    asked_at: datetime,
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
        asked_at: When the gateway was asked: what it shows is no younger, however late its answer came.
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
    lagging = capabilities.lookup == "lagging" and asked_at < session.updated_at + capabilities.lookup_lag
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


class _Books(Effects):
    """What a snapshot's status does, once its effects are booked."""

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
        super().__init__(draft, operations, once=once, untold=untold, lagging=lagging)
        self._quiet = quiet

    # --- the authorization ---

    def authorized(self, snapshot: Snapshot, room: int) -> None:
        """Book that the gateway shows an authorization."""
        draft = self._draft
        session = draft.session
        kept = session.captured + session.capturing
        told = snapshot.authorized
        if draft.before.status is Status.AUTHORIZED and (session.status is Status.AUTHORIZED or told):
            if told is not None:
                self._settle_update(told)
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
            lost = self._lost(effect.key) if effect is not None else None
            row = draft.add_found(
                AUTHORIZE, amount, State.SUCCEEDED, lost=lost, answer="found", reference=reference
            )
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
        row = next((row for row in self._operations if row.kind is CANCEL and row.state in OPEN), None)
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
        """The payer confirmed while an update was in doubt: the amount says whether it was in time.

        A third amount tells nothing of it.
        """
        draft, row = self._draft, self._open
        if row is None or row.kind is not UPDATE or told is None:
            return
        if told == row.amount:
            draft.close(row, State.SUCCEEDED, answer="found", error=None)
            draft.set(amount=row.amount)
            draft.tell("session.updated", row)
        elif told == draft.session.amount:
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
            refuse(draft, pending, declined(snapshot.error))
        if row is not None:
            self._settle_waiting(row, snapshot)
        if row is not None or failed:
            return
        if pending is not None:
            if status is Status.PENDING:
                return
            draft.close(pending, State.SUCCEEDED, answer=str(status), error=None)
        elif status is Status.PENDING and session.initiated and not self._lagging and _debited(snapshot):
            # The payer began it in the browser: its amount is held until the gateway says how it ended.
            draft.add_found(AUTHORIZE, session.amount, State.PENDING, answer="pending")
            draft.set(status=status, next_action=None, error=None, held=session.amount.minor)
            return
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
        if session.status is Status.ERROR and snapshot.ready and self._was_declined():
            return  # what is ready there is the approval that was declined here
        if snapshot.next_action is not None and snapshot.next_action != session.next_action:
            draft.set(next_action=snapshot.next_action)
        error = snapshot.error if status is Status.ERROR else None
        # The same reason in other words, as of an answer and of a lookup, is nothing new.
        told = session.error and session.error.code
        if session.status is not status or (error is not None and error.code != told):
            draft.set(status=status, error=error)
            if status is Status.ERROR:
                draft.set(held=0)
            draft.tell("session.error" if status is Status.ERROR else "session.changed")

    def _was_declined(self) -> bool:
        rows = [row for row in self._operations if row.kind is AUTHORIZE]
        return bool(rows) and rows[-1].state is State.DECLINED

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
                refuse(draft, row, declined(snapshot.error))
            elif not self._quiet or status is row.session_status:
                pass  # how it stood, or may have stood, before our request is carried out
            elif status is Status.REQUIRES_MORE:
                draft.close(row, State.SUCCEEDED, answer=str(status), error=None)
                draft.set(status=status, next_action=snapshot.next_action, error=None)
                draft.tell("session.requires_more", row)
            elif status is Status.ERROR:
                refuse(draft, row, declined(snapshot.error))


def _debited(snapshot: Snapshot) -> bool:
    return any(e.kind is AUTHORIZE and e.state == "pending" for e in snapshot.effects)


def _refused(snapshot: Snapshot, row: Operation) -> bool:
    return any(e.kind is AUTHORIZE and e.state == "failed" and e.key == row.id for e in snapshot.effects)
