"""Which operation an effect belongs to, and what the ledger records of it.

Effects are matched to operations here and nowhere else, whether a lookup shows them or a notification reports
them one by one.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from paysession._ledger.consequences import amounts, is_as_asked, is_resolved, releases
from paysession._ledger.facts import (
    Accepted,
    CancelRequested,
    ConflictClosed,
    ConflictOpened,
    Details,
    Disputed,
    Found,
    Identified,
    Presented,
    Released,
    Reversed,
    Succeeded,
)
from paysession._ledger.ledger import FAILED, IMPLIED, OPEN, UNAUTHORIZED
from paysession._ledger.refusals import failed, failure, refusal
from paysession.errors import Declined
from paysession.money import Money
from paysession.operation import (
    AUTHORIZE,
    CANCEL,
    CAPTURE,
    CHARGEBACK,
    INITIATE,
    REFUND,
    REFUSED,
    UPDATE,
    Kind,
    Operation,
    State,
)
from paysession.outcome import Answer
from paysession.values import Failure, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paysession._ledger.ledger import Ledger
    from paysession.operation import Dispute, EventType
    from paysession.outcome import Capabilities, Effect
    from paysession.values import NextAction

__all__ = ["Matching", "show"]

_SKEW: Final = timedelta(minutes=5)
"""How far a gateway's clock and ours may differ: as much as is usual for signed notifications."""

_STAGES: Final = ("opened", "under_review", "lost", "won")
"""How a dispute goes on, where single reports come in any order: what was lost may still be won."""


class Matching:
    """Matches effects to operations, and records them.

    An effect belongs to the operation that asked for it: by reference, by key, or because nothing else tells
    the two apart. What nobody asked for becomes an operation of the provider's.

    Args:
        ledger: The session's.
        capabilities: What the provider declared.
        fresh: Whether nothing is shown from before the ledger's last change.
        single: Whether single effects are reported, in any order, and not how things stand altogether: then a
            capture implies its authorization.
        told: Whether a total shows what is authorized; else a capture that was reversed says what is not.
    """

    def __init__(
        self, ledger: Ledger, capabilities: Capabilities, *, fresh: bool, single: bool, told: bool
    ) -> None:
        self.ledger = ledger
        self.fresh, self._single, self._told = fresh, single, told
        self.capabilities = capabilities
        self._matched: set[str] = set()
        self.granted: int | None = None
        """How much the gateway showed as authorized that was not known before, in minor units."""
        self.explained = False
        """Whether a cancel of ours explains that less than the session's amount is authorized."""

    @property
    def open(self) -> Operation | None:
        """The operation in doubt."""
        return self.ledger.operation(self.ledger.row.open)

    @property
    def authorizing(self) -> Operation | None:
        """An authorization of ours that is in doubt or pending."""
        operation = self.open
        if operation is not None and operation.kind is AUTHORIZE:
            return operation
        return self.ledger.operation(self.ledger.row.authorizing)

    def record_effect(self, effect: Effect) -> None:
        """Record one effect that a notification reports."""
        if effect.kind is AUTHORIZE:
            self._authorization(effect)
        elif effect.kind is CANCEL:
            if effect.state == "succeeded":
                self.canceled()
            else:
                self.cancel(effect)
        elif effect.kind in (CAPTURE, REFUND, CHARGEBACK):
            self.money(effect)

    def is_early(self, effect: Effect) -> bool:
        """Return whether an effect refers to a capture that has not been reported yet."""
        if (
            effect.kind not in (REFUND, CHARGEBACK)
            or effect.capture is None
            or self._match(effect) is not None
        ):
            return False
        rows = [op for op in self.ledger.operations if op.kind is CAPTURE and op.reverses is None]
        rows = [op for op in rows if op.state is State.SUCCEEDED]
        # One without the gateway's id may be the capture that is meant.
        return not any(op.reference == effect.capture or self._is_anonymous(op.reference) for op in rows)

    # --- captures, refunds and chargebacks ---

    def _match(self, effect: Effect) -> Operation | None:
        """Return the operation that an effect belongs to, or None."""
        ledger = self.ledger
        of_key = ledger.operation(effect.key)
        mine = of_key if of_key is not None and _is_alike(effect, of_key) else None
        if mine is not None and self._was_guessed(mine, effect):
            return mine
        # What was shown before without a reference goes by its key.
        for operation in ledger.named(effect.reference, effect.key):
            if _is_alike(effect, operation):
                return operation
        if effect.key is not None:
            if mine is not None and (self._has_no_name(mine) or effect.reference is None):
                return mine
            if of_key is None:
                return None  # it carries a key, and the key is none of ours
        keyed = effect.key is not None and mine is None
        for operation in ledger.operations:
            if not _is_alike(effect, operation):
                continue
            # Nothing else tells the two apart: an operation of ours that is not known to be another effect,
            # and for the same amount, is this one. With the key of another operation (a capture at
            # authorization, of which there is one) it is none that was sent under its own.
            if (
                (operation.origin == "provider" or self._may_be(effect, operation))
                and (
                    self._has_no_name(operation)
                    or (keyed and effect.reference is None)
                    or (effect.key is None and ledger.operation(operation.reference) is not None)
                )
                and operation.id not in self._matched
                and operation.state in (*OPEN, State.SUCCEEDED)
                and (operation.amount == effect.amount or self._is_rest(effect, operation))
            ):
                return operation
        return None

    def _has_no_name(self, operation: Operation) -> bool:
        """Return whether no reference tells an operation's effect from others alike."""
        reference = operation.reference
        # An answer to a cancel names the object.
        return reference is None or (operation.kind is CANCEL and reference == self.ledger.row.reference)

    def _is_rest(self, effect: Effect, cancel: Operation) -> bool:
        """Return whether an effect released all that was left, if less than our cancel asked for."""
        if cancel.kind is not CANCEL or cancel.origin == "provider" or cancel.state not in OPEN:
            return False
        row, minor = self.ledger.row, effect.amount.minor
        # Where captures came before it, and one of them failed since, there was nothing left.
        return effect.reference is not None and minor in (0, row.authorized - row.kept)

    def _may_be(self, effect: Effect, operation: Operation) -> bool:
        """Return whether an effect without our key may be that of an operation that we sent."""
        if effect.key is not None or self.capabilities.keyed_effects:
            return False
        return effect.created_at is None or effect.created_at >= operation.created_at - _SKEW

    def _was_guessed(self, operation: Operation, effect: Effect) -> bool:
        """Return whether another effect was taken for an operation than this, which carries its key."""
        if operation.sure or effect.reference in (None, operation.reference):
            return False
        if operation.state in OPEN:
            return True
        # What was undone is another's as well, and has been recorded as this operation's.
        whole = self.ledger.left_of(operation) == operation.amount.minor == effect.amount.minor
        return operation.state is State.SUCCEEDED and whole and effect.state in ("succeeded", "reversed")

    def money(self, effect: Effect) -> None:
        """Record one capture, refund or chargeback that the gateway shows."""
        ledger, operation = self.ledger, self._match(effect)
        if operation is not None:
            self._matched.add(operation.id)
            if effect.reference is not None and operation.reference != effect.reference:
                sure = effect.key is not None or operation.origin == "provider"
                ledger.apply(Identified(operation, effect.reference, sure))
                operation = self._now(operation)
            if effect.dispute is not None and self._is_news(operation, effect.dispute):
                ledger.apply(Disputed(operation, effect.dispute))
                operation = self._now(operation)
        if operation is None or operation.state in REFUSED:
            self._unasked(effect, operation)
        elif operation.state is State.SUCCEEDED:
            if effect.state in ("reversed", "failed"):
                self._reverse(operation, effect.error)
        elif effect.state == "failed":
            ledger.apply(failed(operation, effect.error))
        elif effect.state != "pending":
            self._succeed(operation, effect.amount)
            if effect.state == "reversed":
                self._reverse(self._now(operation), effect.error)
        elif operation.state is State.STARTED:
            ledger.apply(Accepted(operation))

    def _is_news(self, operation: Operation, dispute: Dispute) -> bool:
        """Return whether a dispute stands otherwise than is known, and is not shown as it once stood."""
        known = operation.dispute
        if dispute == known or operation.state in REFUSED:
            return False
        if dispute.is_open and operation.state is State.SUCCEEDED and not self.ledger.left_of(operation):
            return False  # the money came back: it is over
        if known is None or (self.fresh and not self._single):
            return True
        return _STAGES.index(dispute.status) >= _STAGES.index(known.status)

    def _is_anonymous(self, reference: str | None) -> bool:
        """Return whether this is no id of the gateway's, but a key of ours or nothing."""
        return reference is None or self.ledger.operation(reference) is not None

    def _now(self, operation: Operation) -> Operation:
        return self.ledger.operation(operation.id) or operation

    def _unasked(self, effect: Effect, refused: Operation | None) -> None:
        """Record an effect that no open operation asked for; ``refused``: one did, and was settled."""
        if effect.state == "failed":
            reports_all = self._single or effect.kind is CHARGEBACK
            if refused is None and reports_all and effect.reference is not None:
                # Its earlier states may come later, and are over then.
                self._failed_before(effect, effect.reference)
            return
        known_by_itself = effect.kind is CHARGEBACK or self._lessens(effect)
        if effect.state == "reversed" and not self._single and not known_by_itself:
            return  # it came and went before anybody looked
        if refused is not None and self._is_older(effect, refused):
            return
        token = effect.reference or effect.key or None
        state = State.PENDING if effect.state == "pending" else State.SUCCEEDED
        capture_id = self._capture_of(effect)
        found = self._found(
            effect.kind, effect.amount, state, refused, token, capture_id, effect.key, effect.dispute
        )
        if effect.state == "reversed":
            self._reverse(found, effect.error)

    def _failed_before(self, effect: Effect, reference: str) -> None:
        error = failure(effect.error)
        self.ledger.apply(
            Found(
                effect.kind,
                effect.amount,
                State.DECLINED,
                FAILED,
                reference,
                self._capture_of(effect),
                dispute=effect.dispute,
                error=error,
            )
        )

    def _lessens(self, effect: Effect) -> bool:
        """Return whether nothing but an effect that was reversed says that less is authorized."""
        authorized = self.ledger.row.status is Status.AUTHORIZED
        return effect.kind is CAPTURE and authorized and not self._told

    def _is_older(self, effect: Effect, refused: Operation) -> bool:
        """Return whether an effect shows how it stood before its operation was refused."""
        if refused.answer == FAILED:
            return True  # it failed there, which is final
        declined = self._single and refused.state is State.DECLINED
        return effect.state == "pending" and (declined or refused.answer == Answer.PENDING)

    def _found(
        self,
        kind: Kind,
        amount: Money,
        state: State,
        refused: Operation | None = None,
        reference: str | None = None,
        capture_id: str | None = None,
        key: str | None = None,
        dispute: Dispute | None = None,
    ) -> Operation:
        """Record an effect that no open operation asked for, as an operation of its own; return that."""
        ledger = self.ledger
        if kind is CAPTURE:
            self._imply(amount.minor)
        once = self.capabilities.capture == "once"
        released = kind is CAPTURE and once and state is State.SUCCEEDED
        lost = self._lost(key)
        ledger.apply(
            Found(
                kind, amount, state, "found", reference, capture_id, refused, released, lost, dispute=dispute
            )
        )
        found = next(reversed(ledger.written.values()))  # the one that was written for the first time last
        self._matched.add(found.id)
        return found

    def _lost(self, key: str | None) -> str | None:
        """Return a key of an effect that no operation has."""
        return key if self.ledger.operation(key) is None else None

    def _succeed(self, operation: Operation, amount: Money) -> None:
        released = releases(operation, self.capabilities)
        self.ledger.apply(Succeeded(operation, "found", amount, released=released))

    def _reverse(self, operation: Operation, error: Failure | None) -> None:
        """Undo what had succeeded, once, as an operation of its own."""
        left = self.ledger.left_of(operation)
        if left:
            amount = Money.from_minor(left, operation.amount.currency)
            self.ledger.apply(Reversed(operation, amount, error))

    def _capture_of(self, effect: Effect) -> str | None:
        """Return the id of the capture operation that a refund or chargeback found there refers to."""
        if effect.capture is None:
            return None
        captures = (op for op in self.ledger.operations if op.kind is CAPTURE)
        return next((op.id for op in captures if op.reference == effect.capture), None)

    def cancel(self, effect: Effect, *, silent: bool = False) -> None:
        """Record that a cancel of ours is pending, or failed; that one succeeded a status or total shows.

        Args:
            effect: The cancel.
            silent: Whether neither of them does, so that the effect itself is the evidence.
        """
        operation = self._match(effect)
        if silent and effect.state == "succeeded":
            if operation is None:
                token = effect.reference or effect.key
                self._found(CANCEL, effect.amount, State.SUCCEEDED, reference=token)
            elif operation.state in OPEN:
                self.ledger.apply(Succeeded(operation, "found", reference=effect.reference))
            return
        if operation is None or operation.state not in OPEN:
            return
        if effect.state == "failed":
            self.ledger.apply(failed(operation, effect.error))
        elif effect.state == "pending" and operation.state is State.STARTED:
            self.ledger.apply(Accepted(operation))

    def end_cancel(self, effect: Effect) -> None:
        """Record that a cancel of ours that was pending has succeeded."""
        operation = self._match(effect)
        if operation is not None and operation.state is State.PENDING:
            self.ledger.apply(Succeeded(operation, "found", reference=effect.reference))

    def total(self, kind: Kind, total: Money | None) -> None:
        """Record what a total shows beyond the effects that were reported one by one."""
        if total is None:
            return
        row, currency = self.ledger.row, total.currency
        known = {CAPTURE: row.captured, REFUND: row.refunded, CHARGEBACK: row.charged_back}
        more = total.minor - known[kind]
        if not self.fresh:  # it may be from before something was undone, as far as that is known
            undone = (op for op in self.ledger.operations if op.kind is kind and op.reverses is not None)
            more -= sum(op.amount.minor for op in undone)
        elif more < 0:
            self._reverse_total(kind, -more, currency)
        for operation in self.ledger.operations:
            minor = operation.amount.minor
            if 0 < minor <= more and operation.kind is kind and operation.state in OPEN:
                more -= minor
                self._succeed(operation, operation.amount)
        if more > 0:
            amount = Money.from_minor(more, currency)
            self._found(kind, amount, State.SUCCEEDED, self._presumed_lost(kind, amount))

    def _presumed_lost(self, kind: Kind, amount: Money) -> Operation | None:
        """Return an operation that was sent, settled as not applied, and would explain what a total shows."""
        operations = self.ledger.operations
        found = [op.place for op in operations if op.kind is kind and op.answer == "found"]
        for operation in reversed(operations):
            if (
                operation.kind is kind
                and operation.state is State.NOT_APPLIED
                and operation.attempt > 1
                and operation.amount == amount
            ):
                return operation if not found or operation.place > max(found) else None
        return None

    def _reverse_total(self, kind: Kind, minor: int, currency: str) -> None:
        ledger = self.ledger
        standing = [
            (operation, ledger.left_of(operation))
            for operation in ledger.operations
            if operation.kind is kind and operation.state is State.SUCCEEDED and operation.reverses is None
        ]
        standing.sort(key=lambda pair: pair[0].place, reverse=True)
        standing.sort(key=lambda pair: pair[1] != minor)
        for operation, left in standing:
            part = min(minor, left)
            if part:
                ledger.apply(Reversed(operation, Money.from_minor(part, currency)))
            minor -= part

    # --- the authorization ---

    def grant(self, minor: int, effect: Effect | None = None, answer: str = "found") -> None:
        """Record that so much is authorized that was not known to be."""
        ledger = self.ledger
        amount = Money.from_minor(minor, ledger.row.amount.currency)
        self.granted = minor
        opened, reference = self.open, None
        if opened is not None and opened.kind is INITIATE:
            ledger.apply(Succeeded(opened, "found"))
        operation = self.authorizing
        if effect is not None:
            reference = effect.reference or (effect.key if operation is None else None)
        if operation is None:
            lost = self._lost(effect.key) if effect is not None else None
            ledger.apply(Found(AUTHORIZE, amount, State.SUCCEEDED, answer, reference, lost=lost))
        else:
            known = operation.reference
            if self._single and effect is not None:
                ledger.apply(Succeeded(operation, "found", amount, reference))
            else:
                ledger.apply(Succeeded(operation, "authorized", amount, known or reference))

    def _imply(self, minor: int) -> None:
        """Record the authorization that a capture implies, unless a lookup shows how that stands."""
        operation = self.authorizing
        if not self._single or any(grants(op) for op in self.ledger.operations if op.kind is AUTHORIZE):
            return
        if operation is not None:
            self.grant(max(minor, operation.amount.minor))
        else:
            self.grant(minor, answer=IMPLIED)

    def _authorization(self, effect: Effect) -> None:
        """Record an authorization that a notification reports."""
        ledger, row, opened = self.ledger, self.ledger.row, self.open
        if opened is not None and opened.kind is INITIATE:
            ledger.apply(Succeeded(opened, "found"))  # else there were nothing to authorize
        rows = [op for op in ledger.operations if op.kind is AUTHORIZE]
        named = [op for op in rows if _names(effect, op)]
        named.sort(key=lambda op: 0 if grants(op) else 1 if op.state in OPEN else 2)
        operation = named[0] if named else None
        if operation is None and effect.key is None:
            # Without a key it is about the authorization that is open, unless it names an earlier one.
            operation = self.authorizing
        granting = operation is not None and grants(operation)
        if effect.state == "pending":
            if operation is not None and operation.state is State.STARTED:
                ledger.apply(Accepted(operation, effect.reference))
                ledger.apply(Presented(Status.PENDING))
        elif effect.state == "succeeded":
            implied = next((op for op in rows if op.answer == IMPLIED), None)
            if implied is not None:
                self.granted = effect.amount.minor
                ledger.apply(Succeeded(implied, "found", effect.amount, effect.reference or effect.key))
                return
            if granting and operation is not None:
                self._identify(operation, effect)
                return
            unnamed = None if named else self._unnamed(rows, effect)
            if unnamed is not None:
                self._identify(unnamed, effect)
                return
            self.settle_update(effect.amount)
            self.grant(effect.amount.minor, effect)
        elif effect.state == "failed":
            if operation is not None and operation.state in OPEN:
                ledger.apply(failed(operation, effect.error))
            elif row.status in UNAUTHORIZED and self.authorizing is None and not _is_over(operation):
                show(ledger, Status.ERROR, error=effect.error)
        elif granting:
            self.reduce(max(row.kept, row.authorized - effect.amount.minor))

    def shows_failed(self, authorization: Operation, effects: Sequence[Effect]) -> bool:
        """Return whether an effect that carries an authorization's key shows that it failed."""
        return any(
            effect.kind is AUTHORIZE and effect.state == "failed" and effect.key == authorization.id
            for effect in effects
        )

    def _unnamed(self, authorizations: Sequence[Operation], effect: Effect) -> Operation | None:
        """Return the authorization that a report names for the first time, if there is one for its amount."""
        operation = next((op for op in authorizations if grants(op) and _is_unnamed(op)), None)
        if operation is None or operation.amount != effect.amount:
            return None
        # Of a session that is over, only one that nothing has reported yet: any other is a new one.
        first = operation.reference is None and operation.answer != "found" and effect.key is None
        return operation if first or self.ledger.row.status is Status.AUTHORIZED else None

    def _identify(self, operation: Operation, effect: Effect) -> None:
        if effect.reference is not None and _is_unnamed(operation):
            self.ledger.apply(Identified(operation, effect.reference, answer="found"))

    def settle_update(self, amount: Money | None) -> None:
        """The payer confirmed while an update was in doubt: the amount says whether it was in time.

        A third amount proves nothing about it.
        """
        ledger, operation = self.ledger, self.open
        if operation is None or operation.kind is not UPDATE or operation.increments or amount is None:
            return
        if amount == operation.amount:
            ledger.apply(Succeeded(operation, "found"))
        elif amount == ledger.row.amount:
            ledger.apply(
                refusal(operation, Declined("authorized", "the payer had confirmed the former amount"))
            )

    def raised(self, amount: Money | None) -> None:
        """Settle an increment in doubt, if an authorized object is about that much.

        It never was before, so a stale lookup proves it as well. Less proves nothing: the request may be on
        its way.
        """
        operation = self.open
        if operation is None or not operation.increments or amount is None:
            return
        if amount >= operation.amount:
            self.ledger.apply(Succeeded(operation, "found"))

    def reduce(self, minor: int) -> None:
        """Record that no more than this is authorized any more."""
        ledger, row = self.ledger, self.ledger.row
        difference = row.authorized - minor
        if difference <= 0:
            return
        cancel = next((op for op in ledger.operations if op.kind is CANCEL and op.state in OPEN), None)
        if cancel is not None and minor <= row.kept:
            self.explained = True
            ledger.apply(Succeeded(cancel, "found"))  # nobody heard of it, and the rest is released
        else:
            amount = Money.from_minor(difference, row.amount.currency)
            ledger.apply(Found(CANCEL, amount, State.SUCCEEDED))

    def canceled(self) -> None:
        """Record that the gateway holds nothing beyond what was captured."""
        ledger, row, opened = self.ledger, self.ledger.row, self.open
        gone = Declined("canceled", "the provider has canceled the session", payer_message_key="canceled")
        cancels = [op for op in ledger.operations if op.kind is CANCEL and op.state in OPEN]
        for cancel in cancels:
            ledger.apply(Succeeded(cancel, "found"))
        by: Operation | None = None
        if opened is not None and opened.kind is AUTHORIZE:
            ledger.apply(Succeeded(opened, Answer.CANCELED, granted=False))
            by = self._now(opened)
        elif opened is not None and opened.kind not in (REFUND, CANCEL) and not self._may_precede(opened):
            ledger.apply(refusal(opened, gone))
        pending = ledger.operation(row.authorizing)
        if pending is not None:
            ledger.apply(refusal(pending, gone))
        if by is not None:
            ledger.apply(Released(by))
        elif row.status not in UNAUTHORIZED and row.authorized <= row.kept:
            # Nothing was left to release, as far as is known. That matters where a capture may still fail, a
            # cancel waits, or the authorization was implied and may be of more.
            if row.capturing or row.cancel_requested or row.status is Status.CANCELED or ledger.is_implied:
                ledger.apply(Released())
        else:
            left = (row.authorized or row.amount.minor) - row.kept
            amount = Money.from_minor(max(0, left), row.amount.currency)
            ledger.apply(Found(CANCEL, amount, State.SUCCEEDED))

    def _may_precede(self, operation: Operation) -> bool:
        """Return whether an operation in doubt may have had its effect before a cancel, reported later."""
        return self._single and operation.kind is CAPTURE

    def compare(self, room: int) -> None:
        """Compare what was recorded with what was asked for, and report what does not fit.

        Args:
            room: How much of the collection's amount no session held before, in minor units.
        """
        ledger, row, before = self.ledger, self.ledger.row, self.ledger.before
        currency, more = row.amount.currency, row.held - before.held
        if more <= room:
            ledger.apply(ConflictClosed("over_limit"))
        room = max(0, room)
        over = not is_resolved(ledger, "over_limit", self.capabilities)  # else all of it was given back
        ledger.guarded = more <= room  # another session may take the room meanwhile: then decide again
        if self.granted is not None:
            # What this session held already is its own, beside the room.
            limit, found = amounts(ledger, before.held + room, row.authorized)
            beyond = found > limit
            canceled = row.status is Status.CANCELED
            if canceled or self.explained:
                pass
            elif beyond and over:
                ledger.apply(ConflictOpened("over_limit", limit, found))
            elif not is_as_asked(found.minor, row.amount.minor, self.capabilities):
                ledger.apply(ConflictOpened("amount", row.amount, found))
            if beyond and not row.kept and before.status is not Status.AUTHORIZED:
                ledger.apply(CancelRequested())
        if more > room and over and not ledger.opened:
            free, found = Money.from_minor(room, currency), Money.from_minor(more, currency)
            ledger.apply(ConflictOpened("over_limit", free, found))


def show(
    ledger: Ledger,
    status: Status,
    next_action: NextAction | None = None,
    error: Failure | None = None,
) -> None:
    """Record how the gateway's object stands, with an event if that is news."""
    row = ledger.row
    if not row.initiated:
        # The provider was sure that it had not made the object; it has.
        ledger.apply(Presented(status, next_action, error, "session.initiated"))
        return
    action = next_action if next_action is not None else row.next_action
    error = error if status is Status.ERROR else None
    # The same reason in other words, as of an answer and of a lookup, is nothing new.
    known = row.error and row.error.code
    if row.status is status and (error is None or error.code == known):
        if action != row.next_action:
            ledger.apply(Details(next_action=action))
        return
    event: EventType = "session.error" if status is Status.ERROR else "session.changed"
    ledger.apply(Presented(status, action, error, event))


def _is_alike(effect: Effect, operation: Operation) -> bool:
    """Return whether an operation is of an effect's kind, and no reversal."""
    return operation.kind is effect.kind and operation.reverses is None


def _names(effect: Effect, operation: Operation) -> bool:
    """Return whether an effect carries the identity of an operation."""
    same = effect.key == operation.id
    return same or (operation.reference is not None and operation.reference in (effect.reference, effect.key))


def _is_unnamed(operation: Operation) -> bool:
    """Return whether no notification has named an authorization: an answer names the gateway's object."""
    return operation.reference is None or operation.answer not in ("found", IMPLIED)


def _is_over(operation: Operation | None) -> bool:
    """Return whether what became of an authorization is known: that it failed is no news."""
    return operation is not None and (operation.state in REFUSED or grants(operation))


def grants(operation: Operation) -> bool:
    """Return whether something was authorized by an authorization."""
    without = (Answer.REQUIRES_MORE, Answer.CANCELED, Answer.PENDING)
    return operation.state is State.SUCCEEDED and operation.answer not in without
