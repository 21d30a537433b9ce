"""What a lookup proves: how the gateway's object stands, and all that happened to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paysession._ledger.consequences import amounts
from paysession._ledger.facts import (
    Accepted,
    CancelRequested,
    ConflictOpened,
    Found,
    Presented,
    Released,
    Reopened,
    Succeeded,
)
from paysession._ledger.ledger import OPEN, UNAUTHORIZED
from paysession._ledger.matching import show
from paysession._ledger.refusals import declined, refusal
from paysession.operation import (
    AUTHORIZE,
    CANCEL,
    CAPTURE,
    CHARGEBACK,
    INITIATE,
    REFUND,
    UPDATE,
    Operation,
    State,
)
from paysession.outcome import Answer
from paysession.values import Status

if TYPE_CHECKING:
    from paysession._ledger.matching import Matching
    from paysession.outcome import Snapshot

__all__ = ["Lookup"]


class Lookup:
    """Records one lookup: what was authorized, then what was captured, refunded and released, and disputes.

    Args:
        matching: Records the effects.
        snapshot: What the gateway showed.
        none_in_flight: Whether no request of the open operation can be in flight any more.
    """

    def __init__(self, matching: Matching, snapshot: Snapshot, *, none_in_flight: bool) -> None:
        self._matching = matching
        self._ledger = matching.ledger
        self._snapshot = snapshot
        self._none_in_flight = none_in_flight

    def record(self) -> None:
        """Record the lookup."""
        matching, snapshot, row = self._matching, self._snapshot, self._ledger.row
        status = snapshot.status
        if status is Status.AUTHORIZED or status is Status.CANCELED:
            matching.raised(snapshot.amount)
        if status is Status.AUTHORIZED:
            self._authorized()
        elif status is Status.CANCELED and row.status in UNAUTHORIZED:
            taken = self._taken()
            if taken:
                matching.grant(taken)  # it took money before it released the rest
        for effect in snapshot.effects:
            if effect.kind is CAPTURE:
                matching.money(effect)
        matching.total(CAPTURE, snapshot.captured)
        for effect in snapshot.effects:
            if effect.kind is REFUND:
                matching.money(effect)
            elif effect.kind is CANCEL:
                silent = snapshot.authorized is None and status is Status.AUTHORIZED
                matching.cancel(effect, silent=silent)
        matching.total(REFUND, snapshot.refunded)
        for effect in snapshot.effects:
            if effect.kind is CHARGEBACK:
                matching.money(effect)
        matching.total(CHARGEBACK, snapshot.charged_back)
        if status is Status.AUTHORIZED:
            self._authorized_total()
            self._end_pending()
        elif status is Status.CANCELED:
            matching.canceled()
        else:
            self._waiting()

    def _taken(self) -> int:
        """Return what was, or is being, captured in minor units, as far as the gateway shows it."""
        snapshot = self._snapshot
        parts = (
            effect.amount.minor
            for effect in snapshot.effects
            if effect.kind is CAPTURE and effect.state in ("succeeded", "pending")
        )
        total = snapshot.captured.minor if snapshot.captured is not None else 0
        return max(total, sum(parts), self._ledger.row.kept)

    def _authorized(self) -> None:
        """Record that the gateway shows an authorization."""
        matching, ledger, snapshot = self._matching, self._ledger, self._snapshot
        row, reported = ledger.row, snapshot.authorized
        if row.status is Status.AUTHORIZED:
            matching.settle_update(reported)
            return  # what is authorized is compared once the captures are recorded
        matching.settle_update(reported if reported is not None else snapshot.amount)
        # What was captured and reversed since is not authorized any more.
        reversed_ = (op for op in ledger.operations if op.kind is CAPTURE and op.reverses is not None)
        expected = row.amount.minor - sum(op.amount.minor for op in reversed_)
        found = max(reported.minor if reported is not None else expected, self._taken())
        taken = self._taken()
        if row.status is Status.CANCELED:
            explained = max(row.authorized, taken)
            if not matching.fresh or found <= explained or (reported is None and taken):
                return  # how it stood before the cancel, or what is recorded without it
            expected = found = found - (row.kept if row.released else row.granted)
        cancels = self._is_canceling()
        effect = next((effect for effect in snapshot.effects if effect.kind is AUTHORIZE), None)
        matching.grant(max(expected, found) if cancels else found, effect)

    def _is_canceling(self) -> bool:
        """Return whether a cancel of ours is in doubt or pending, so that it explains what is gone."""
        return any(op.kind is CANCEL and op.state in OPEN for op in self._ledger.operations)

    def _authorized_total(self) -> None:
        """Bring an authorization that is known to what the gateway shows of it."""
        matching, ledger = self._matching, self._ledger
        row, before, reported = ledger.row, ledger.before, self._snapshot.authorized
        if reported is None:
            return
        if before.status is Status.CANCELED and not matching.fresh:
            return
        found = max(reported.minor, row.kept)
        if matching.fresh:
            matching.reduce(found)
        # What is shown ends the session, but for the rest that is still authorized.
        ends = row.status is Status.CANCELED and not before.released
        if found > row.authorized and (matching.fresh or ends):
            known, shown, more = amounts(
                ledger, row.authorized, found, found - (row.kept if row.released else row.granted)
            )
            ledger.apply(Found(AUTHORIZE, more, State.SUCCEEDED))
            partly = matching.capabilities.partial_authorization and found <= row.amount.minor
            if found > before.authorized and not partly:
                ledger.apply(ConflictOpened("amount", known, shown))

    def _end_pending(self) -> None:
        """Settle what was pending and is seen to be over, where all that is authorized was captured before.

        No total falls then that would show it: a cancel had nothing left to release, and what a canceled
        session had authorized was captured by others before the cancel.
        """
        matching, ledger, row = self._matching, self._ledger, self._ledger.row
        if not row.pending or not matching.fresh or row.authorized > row.kept:
            return
        for effect in self._snapshot.effects:
            if effect.kind is CANCEL and effect.state == "succeeded":
                matching.end_cancel(effect)
        pending = ledger.operation(row.authorizing)
        if pending is not None and row.status is Status.CANCELED and not _processing(self._snapshot):
            ledger.apply(Succeeded(pending, Answer.CANCELED, granted=False))
            ledger.apply(Released(pending))

    def _waiting(self) -> None:
        """Record that the gateway shows no authorization: it waits for the payer, or it failed."""
        matching, ledger, snapshot = self._matching, self._ledger, self._snapshot
        row, status, fresh = ledger.row, snapshot.status, matching.fresh
        assert status is not None  # noqa: S101 - an absent object is not recorded
        if row.status is Status.AUTHORIZED:
            if fresh:
                ledger.apply(ConflictOpened("status", row.status, status))
            return
        pending = ledger.operation(row.authorizing)
        if row.status is Status.CANCELED:
            if pending is not None and fresh and status is Status.ERROR:
                ledger.apply(refusal(pending, declined(snapshot.error)))
            # Our session is closed and the gateway's object is not: a payer could still use it.
            refused = "cancel_refused" in ledger.conflicts
            if fresh and not row.cancel_requested and status is not Status.ERROR and not refused:
                ledger.apply(Reopened())
                ledger.apply(ConflictOpened("open_after_cancel", row.status, status))
                ledger.apply(CancelRequested())
            return
        opened = matching.open
        if not fresh and matching.authorizing is not None:
            # It may show how it stood before: only that the gateway is processing it settles anything.
            if opened is not None and _processing(snapshot):
                self._settle(opened, status)
            return
        if pending is not None and status is Status.ERROR:
            ledger.apply(refusal(pending, declined(snapshot.error)))
        if opened is not None:
            self._settle(opened, status)
        if opened is not None or (pending is not None and status in (Status.ERROR, Status.PENDING)):
            return
        if pending is not None:
            ledger.apply(Succeeded(pending, status, granted=False))
        elif status is Status.PENDING and row.initiated and fresh and _processing(snapshot):
            # The payer began it in the browser: its amount is held until the gateway says how it ended.
            ledger.apply(Found(AUTHORIZE, row.amount, State.PENDING, "pending"))
            ledger.apply(Presented(Status.PENDING))
            return
        if row.status is Status.ERROR and snapshot.ready and row.initiated and self._was_declined():
            return  # what is ready there is the approval that was declined here
        show(ledger, status, snapshot.next_action, snapshot.error)

    def _was_declined(self) -> bool:
        rows = [op for op in self._ledger.operations if op.kind is AUTHORIZE]
        return bool(rows) and rows[-1].state is State.DECLINED

    def _is_first(self, update: Operation) -> bool:
        """Return whether the amount was never asked for before: how it stood once cannot show it."""
        asked = (op for op in self._ledger.operations if op.kind is INITIATE or op.kind is UPDATE)
        return all(op.id == update.id or op.amount != update.amount for op in asked)

    def _settle(self, operation: Operation, status: Status) -> None:
        """Settle an operation in doubt, if a session without authorization says what became of it."""
        ledger, snapshot, row = self._ledger, self._snapshot, self._ledger.row
        action, error = snapshot.next_action, snapshot.error
        if operation.kind is INITIATE:
            ledger.apply(Presented(status, action, error))
            ledger.apply(Succeeded(operation, status, reference=snapshot.reference))
        elif operation.kind is UPDATE:
            if snapshot.amount == operation.amount and (self._matching.fresh or self._is_first(operation)):
                ledger.apply(Presented(status, row.next_action, error))
                ledger.apply(Succeeded(operation, "found"))
        elif operation.kind is AUTHORIZE:
            if _processing(snapshot):
                ledger.apply(Accepted(operation))
                ledger.apply(Presented(Status.PENDING))
            elif self._matching.shows_failed(operation, snapshot.effects):
                ledger.apply(refusal(operation, declined(error)))
            elif not self._none_in_flight or status is operation.session_status:
                pass  # how it stood, or may have stood, before our request is carried out
            elif status is Status.REQUIRES_MORE:
                ledger.apply(Succeeded(operation, status, granted=False))
                ledger.apply(Presented(status, action, None, "session.requires_more", operation))
            elif status is Status.ERROR:
                ledger.apply(refusal(operation, declined(error)))


def _processing(snapshot: Snapshot) -> bool:
    return any(effect.kind is AUTHORIZE and effect.state == "pending" for effect in snapshot.effects)
