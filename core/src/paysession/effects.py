"""Booking what a gateway shows of money: captures, refunds and cancels, one by one or as totals.

Each effect is matched with the operation that asked for it, by reference, by key, or because nothing else
tells the two apart; what nobody asked for becomes an operation of the provider's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paysession.errors import Declined
from paysession.lifecycle import refuse
from paysession.money import Money
from paysession.operation import CANCEL, CAPTURE, REFUND, REFUSED, Kind, State
from paysession.values import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paysession.draft import Draft
    from paysession.operation import Operation
    from paysession.outcome import Effect
    from paysession.values import Failure

__all__ = ["OPEN", "Effects", "declined", "let_go"]

OPEN: Final = (State.STARTED, State.PENDING)
"""The states of an operation that something may still come of."""


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


class Effects:
    """A draft together with the session's operations, as they change while effects are booked.

    Args:
        draft: The change.
        operations: All operations of the session.
        once: Whether the gateway captures once, and lets go of the rest.
        untold: Whether the gateway does not tell what is authorized.
        lagging: Whether it may show how it stood before the books' last change.
    """

    def __init__(
        self,
        draft: Draft,
        operations: Sequence[Operation],
        *,
        once: bool,
        untold: bool,
        lagging: bool,
    ) -> None:
        self._draft = draft
        self._written = {operation.id: operation for operation in operations}
        self._once = once
        self._untold = untold
        self._lagging = lagging
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
        for row in rows:
            # What was told of before without a reference goes by its key.
            if row.reference is not None and row.reference in (effect.reference, effect.key):
                return row
        mine = None
        if effect.key is not None:
            mine = next((row for row in rows if row.id == effect.key), None)
            if mine is not None and (mine.reference is None or effect.reference is None):
                return mine
            if not any(row.id == effect.key for row in self._operations):
                return None  # it carries a key, and the key is none of ours
        keyed = effect.key is not None and mine is None
        for row in rows:
            # Nothing else tells the two apart: an operation of ours that is not known to be
            # another effect, and for the same amount, is this one. With the key of another
            # operation (a capture at authorization, of which there is one) it is none that was
            # sent under its own.
            if (
                (effect.key is None or row.origin == "provider")
                and (row.reference is None or (keyed and effect.reference is None))
                and row.id not in self._matched
                and row.state in (*OPEN, State.SUCCEEDED)
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
            if effect.reference not in (None, row.reference) and row.reference in (None, effect.key):
                row = draft.put(row, reference=effect.reference)
        if row is None or row.state in REFUSED:
            if effect.state not in ("succeeded", "pending"):
                return
            state = State.SUCCEEDED if effect.state == "succeeded" else State.PENDING
            capture_id = self._capture_of(effect)
            lost = self._lost(effect.key)
            self._add_found(
                effect.kind, effect.amount, state, row, reference=token, capture_id=capture_id, lost=lost
            )
        elif row.state in OPEN:
            if effect.state == "failed":
                refuse(draft, row, declined(effect.error))
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
        lost: str | None = None,
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
            lost=lost,
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
        if row is None or row.state not in OPEN:
            return
        if effect.state == "failed":
            refuse(self._draft, row, declined(effect.error))
        elif effect.state == "pending" and row.state is State.STARTED:
            self._draft.close(row, State.PENDING, answer="pending", error=None)
            self._draft.set(cancel_wanted=False)

    def _lost(self, key: str | None) -> str | None:
        """Return a key of an effect that no operation has."""
        return key if all(row.id != key for row in self._operations) else None

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
            if more > 0 and row.kind is kind and row.state in OPEN and row.amount.minor <= more:
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


def declined(error: Failure | None) -> Declined:
    """Return a refusal with the words that the gateway gave for it."""
    if error is None:
        return Declined("failed", "the provider reports that it failed")
    return Declined(error.code, error.message)
