"""What each source of knowledge proves: an answer, a lookup, a notification, an operator's statement.

Every function here translates one of them into facts and applies them; effects are matched to operations
here and nowhere else. The gateway is right about what happened there: whatever it shows is recorded, and what
our own rules forbid is reported as a conflict as well. What it does *not* show proves nothing here:
``verdict`` decides when absence is evidence.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

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
    Recognized,
    Refused,
    Released,
    Reopened,
    Reversed,
    Succeeded,
    Unanswered,
)
from paysession._ledger.ledger import FAILED, IMPLIED, OPEN, UNAUTHORIZED
from paysession._ledger.schedule import schedule
from paysession.errors import Declined, InvalidData, Mistaken, NotApplied, OutcomeUnknown
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
from paysession.outcome import ANSWERS, Answer, Outcome
from paysession.values import Failure, Status, encode, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from paysession._ledger.ledger import Ledger
    from paysession.errors import ProviderError
    from paysession.operation import Dispute, EventType
    from paysession.outcome import Capabilities, Effect, Snapshot
    from paysession.session import ConflictKind, SessionRow
    from paysession.values import NextAction

__all__ = [
    "from_answer",
    "from_details",
    "from_effects",
    "from_late_answer",
    "from_second_payment",
    "from_snapshot",
    "is_readable",
    "still_in_doubt",
    "verify",
    "would_show",
]

# --- an answer to our own request --------------------------------------------------------------------


def verify(session: SessionRow, operation: Operation, outcome: Outcome, capabilities: Capabilities) -> None:
    """Compare an answer with what was asked: its kind, its amount and its currency.

    Raises:
        OutcomeUnknown: It does not fit, so it proves nothing about the operation.
    """
    kind = operation.kind
    raised = outcome.answer is Answer.AUTHORIZED
    if outcome.answer not in ANSWERS[kind] or (kind is UPDATE and raised is not operation.increments):
        raise OutcomeUnknown(f"the provider answered {outcome.answer!s} to {kind}")
    expected = session.amount if kind is AUTHORIZE else operation.amount
    amount = outcome.amount
    if amount is None or amount == expected:
        return
    partial = kind is AUTHORIZE and capabilities.partial_authorization
    if not (partial and amount.currency == expected.currency and 0 < amount.minor < expected.minor):
        raise OutcomeUnknown(f"the provider answered {amount} where {expected} was asked")


def from_answer(
    ledger: Ledger,
    operation: Operation,
    answer: Outcome | ProviderError,
    capabilities: Capabilities,
    *,
    note: str | None = None,
) -> None:
    """Record what a verified answer, or an operator's statement, says about an operation.

    Args:
        ledger: The session's.
        operation: What was asked.
        answer: An outcome; a refusal; or an error that leaves the operation in doubt.
        capabilities: What the provider declared.
        note: What an operator said, kept with the operation.
    """
    if isinstance(answer, Outcome):
        _from_outcome(ledger, operation, answer, capabilities, note)
        if operation.kind is CAPTURE:
            _compare_capture(ledger, capabilities)
        _after(ledger, capabilities)
        schedule(ledger, capabilities, first=answer.check_after)
    elif isinstance(answer, Declined | NotApplied):
        _learn(ledger, operation, answer)
        ledger.apply(_refusal(operation, answer, note))
        schedule(ledger, capabilities)
    else:
        still_in_doubt(ledger, operation, answer, capabilities)


def _compare_capture(ledger: Ledger, capabilities: Capabilities) -> None:
    """Report a capture that shows that more was authorized than was asked for.

    Others may have captured meanwhile. A later lookup shows nothing new, and so would not report it.
    """
    row = ledger.row
    if (
        row.authorized > max(ledger.before.authorized, row.amount.minor)
        and not _is_resolved(ledger, "over_limit", capabilities)
        and not ledger.conflicts
    ):
        ledger.apply(ConflictOpened("amount", *_money(ledger, row.amount.minor, row.authorized)))


def still_in_doubt(
    ledger: Ledger,
    operation: Operation,
    reason: ProviderError,
    capabilities: Capabilities,
    *,
    lost_at: datetime | None = None,
    needs_operator: bool = False,
) -> None:
    """Record that an operation is in doubt, whatever kind of error the reason is.

    Args:
        ledger: The session's.
        operation: The operation.
        reason: Why it is in doubt.
        capabilities: What the provider declared.
        lost_at: When a request of it last went unanswered; None: just now.
        needs_operator: Whether no gateway can settle it any more.
    """
    _learn(ledger, operation, reason)
    ledger.apply(Unanswered(operation, reason.message, lost_at, needs_operator))
    schedule(ledger, capabilities, doubt=True)


def _learn(ledger: Ledger, operation: Operation, answer: ProviderError) -> None:
    """Record what an error says besides: the gateway's data and its id of the object."""
    if answer.data is not None or answer.reference is not None:
        data = None if answer.data is None else _joined(ledger, operation, encode(answer.data, "data"))
        ledger.apply(Details(data, answer.reference))


def _joined(ledger: Ledger, operation: Operation, data: str) -> str:
    """Return an answer's data with what a notification has added to the session's since it was sent."""
    if ledger.row.data_text == operation.data_text:
        return data
    try:
        return merged(ledger.row.data_text, data)
    except InvalidData:  # too much altogether: what is said of the money counts all the same
        return data


def _from_outcome(
    ledger: Ledger, operation: Operation, outcome: Outcome, capabilities: Capabilities, note: str | None
) -> None:
    kind, answer, row = operation.kind, outcome.answer, ledger.row
    of_object = outcome.reference if kind not in (CAPTURE, REFUND) else None
    data = None if outcome.data is None else _joined(ledger, operation, outcome.data)
    if data is not None or of_object is not None or outcome.expires_at or outcome.payer is not None:
        ledger.apply(Details(data, of_object, outcome.expires_at, payer=outcome.payer))
    if operation.increments:
        ledger.apply(Succeeded(operation, answer, None, outcome.reference, note=note))
        return
    if kind is INITIATE or kind is UPDATE:
        action = outcome.next_action or row.next_action
        # What was shown since it was sent is newer than its answer.
        status = Status(answer) if row.status is operation.session_status else row.status
        ledger.apply(Presented(status, action, row.error if status is Status.ERROR else None))
        ledger.apply(Succeeded(operation, answer, None, outcome.reference, note=note))
        return
    found = _found_before(ledger, operation, outcome)
    if found is not None:
        over = found.state is State.SUCCEEDED
        released = outcome.released or (over and _releases(operation, capabilities))
        ledger.apply(Recognized(operation, found, released, note))
        if over or answer is Answer.PENDING:
            return
        operation = ledger.written[operation.id]
    if answer is Answer.PENDING:
        ledger.apply(Accepted(operation, outcome.reference, note=note, released=outcome.released))
        if kind is AUTHORIZE and row.status is not Status.CANCELED:
            ledger.apply(Presented(Status.PENDING))
        return
    released = outcome.released or _releases(operation, capabilities)
    granted = answer is Answer.AUTHORIZED or answer is Answer.CAPTURED
    amount = outcome.amount
    ledger.apply(
        Succeeded(operation, answer, amount, outcome.reference, released=released, granted=granted, note=note)
    )
    if kind is not AUTHORIZE:
        return
    if answer is Answer.CAPTURED:
        ledger.apply(Found(CAPTURE, amount or row.amount, State.SUCCEEDED, answer="captured"))
    if row.status is Status.CANCELED:
        return
    if answer is Answer.REQUIRES_MORE:
        action = outcome.next_action
        ledger.apply(Presented(Status.REQUIRES_MORE, action, None, "session.requires_more", operation))
    elif answer is Answer.CANCELED:
        ledger.apply(Released(operation))
    elif outcome.next_action is not None:
        ledger.apply(Details(next_action=outcome.next_action))


def _found_before(ledger: Ledger, operation: Operation, outcome: Outcome) -> Operation | None:
    """Return the row of a capture or refund that an answer names, and that was found before it came.

    It was shown without our key: by a gateway that keeps none, or by one that was declared to keep them.
    """
    if operation.kind not in (CAPTURE, REFUND) or operation.reference not in (None, outcome.reference):
        return None
    for row in ledger.named(outcome.reference):
        alike = row.kind is operation.kind and row.amount == operation.amount and row.reverses is None
        if alike and row.origin == "provider" and row.state in (State.PENDING, State.SUCCEEDED):
            return row
    return None


def _refusal(operation: Operation, refusal: Declined | NotApplied, note: str | None = None) -> Refused:
    if isinstance(refusal, Declined):
        return Refused(operation, State.DECLINED, _reason(refusal), note)
    if isinstance(refusal, Mistaken):
        failure = Failure(refusal.code, refusal.message, "configuration")
    else:
        failure = Failure("not_applied", refusal.message, "try_later")
    return Refused(operation, State.NOT_APPLIED, failure, note)


def _reason(refusal: Declined) -> Failure:
    return Failure(refusal.code, refusal.message, refusal.category, refusal.payer_message_key)


def from_late_answer(
    ledger: Ledger, operation: Operation, outcome: Outcome, capabilities: Capabilities
) -> None:
    """Record what else an answer says whose operation was settled, in its sense, before it came."""
    row = ledger.row
    unchanged = row.data_text == operation.data_text  # nobody has written there since it was sent
    of_object = operation.kind not in (CAPTURE, REFUND)
    ledger.apply(
        Details(
            outcome.data if unchanged else None,
            outcome.reference if row.reference is None and of_object else None,
            outcome.expires_at if row.expires_at is None else None,
            outcome.next_action
            if row.next_action is None and row.status in (Status.PENDING, Status.REQUIRES_MORE)
            else None,
            outcome.payer,
        )
    )
    schedule(ledger, capabilities)


# --- what a lookup shows -----------------------------------------------------------------------------


def from_snapshot(
    ledger: Ledger,
    snapshot: Snapshot,
    capabilities: Capabilities,
    *,
    room: int,
    asked_at: datetime,
    none_in_flight: bool = False,
) -> None:
    """Record what a lookup shows.

    Args:
        ledger: The session's, with all its operations, as it was read before the gateway was queried.
        snapshot: What the gateway showed.
        capabilities: What the provider declared.
        room: How much of the collection's amount no session holds, in minor units.
        asked_at: When the gateway was queried: what it shows is no younger, however late its answer came.
        none_in_flight: Whether no request of the open operation can be in flight any more. Before that, that
            the payer was refused, or must act, is no answer to it: that may be of the payer's own doing.
    """
    if snapshot.status is None:
        return
    session = ledger.before
    other = _foreign(session, snapshot)
    if other is not None:
        ledger.apply(ConflictOpened("currency", session.amount.currency, other))
        schedule(ledger, capabilities)
        return
    ledger.apply(Details(snapshot.data, snapshot.reference, snapshot.expires_at, payer=snapshot.payer))
    ledger.apply(ConflictClosed("currency"))
    if snapshot.status not in UNAUTHORIZED:
        ledger.apply(ConflictClosed("status"))
    stale = capabilities.lookup == "lagging" and asked_at < session.updated_at + capabilities.lookup_lag
    told = snapshot.authorized is not None
    matching = _Matching(ledger, capabilities, fresh=not stale, single=False, told=told)
    _Lookup(matching, snapshot, none_in_flight=none_in_flight).record()
    matching.compare(room)
    _compare_capture(ledger, capabilities)
    _after(ledger, capabilities)
    schedule(ledger, capabilities)


def from_second_payment(ledger: Ledger, reference: str, snapshot: Snapshot) -> bool:
    """Report a payment of the session that is not the one the ledger knows, or that nothing is left of it.

    Args:
        ledger: The session's.
        reference: The gateway's id of that payment.
        snapshot: What the gateway showed of it.

    Returns:
        Whether it need not be looked at again. What has just been reported may have ended meanwhile, and a
        third payment is reported once the conflict about the second is over.
    """
    opened = ledger.conflicts.get("second_payment")
    reported = opened is not None and opened.found == reference
    if not _is_alive(snapshot):
        if reported:
            ledger.apply(ConflictClosed("second_payment"))
        return True
    ledger.apply(ConflictOpened("second_payment", ledger.row.reference, reference))
    return reported


def _is_alive(snapshot: Snapshot) -> bool:
    """Return whether a payer can still pay there, or money is authorized or kept there."""
    if snapshot.status is None or snapshot.status is Status.CANCELED:
        return False
    if snapshot.status is not Status.AUTHORIZED:
        return True
    captured = _minor(snapshot.captured)
    returned = _minor(snapshot.refunded) + _minor(snapshot.charged_back)
    return captured > returned or not captured or _minor(snapshot.authorized) > captured


def _minor(money: Money | None) -> int:
    return money.minor if money is not None else 0


def from_details(ledger: Ledger, details: Details) -> None:
    """Record what a notification says beside its effects: its data is added to the session's.

    Raises:
        InvalidData: There is too much data; the rest is recorded.
    """
    ledger.apply(details._replace(data=None))
    if details.data is not None:
        ledger.apply(Details(data=merged(ledger.row.data_text, details.data)))


def from_effects(
    ledger: Ledger,
    effects: Iterable[Effect],
    capabilities: Capabilities,
    *,
    room: int,
    patient: bool = False,
) -> bool:
    """Record what a notification reports of a gateway that cannot be queried.

    It reports single effects, perhaps late and in any order: what is known already says nothing about how the
    session stands now. A refund of a capture that is not known yet is understood once that is reported.

    Args:
        ledger: The session's, with all its operations.
        effects: What the notification reports.
        capabilities: What the provider declared.
        room: How much of the collection's amount no session holds, in minor units.
        patient: Whether what is not understood yet can be recorded later; else it is recorded as it is.

    Returns:
        Whether all of it was recorded.
    """
    session = ledger.before
    effects = sorted(effects, key=lambda effect: _ORDER.index(effect.kind))
    other = next((e.amount for e in effects if e.amount.currency != session.amount.currency), None)
    if other is not None:
        ledger.apply(ConflictOpened("currency", session.amount.currency, other))
        schedule(ledger, capabilities)
        return True
    # All of the notification is read again later: nothing in it may count twice.
    patient = patient and all(effect.reference or effect.key for effect in effects)
    matching = _Matching(ledger, capabilities, fresh=True, single=True, told=False)
    recorded = True
    for effect in effects:
        if patient and matching.is_early(effect):
            recorded = False
        else:
            matching.record_effect(effect)
    if ledger.row.reference is None:
        # Later requests have to name something: where nothing else is the gateway's object, this is.
        named = (e.reference for e in effects if e.kind is AUTHORIZE and e.state == "succeeded")
        ledger.apply(Details(reference=next(filter(None, named), None)))
    matching.compare(room)
    _after(ledger, capabilities)
    schedule(ledger, capabilities)
    return recorded


def is_readable(session: SessionRow, snapshot: Snapshot) -> bool:
    """Return whether the amounts of a lookup are in the session's currency, so that they can be recorded."""
    return _foreign(session, snapshot) is None


def would_show(session: SessionRow, snapshot: Snapshot, kind: Kind) -> bool:
    """Return whether a lookup would have shown an effect of this kind, so that its absence is evidence."""
    if not is_readable(session, snapshot) or not snapshot.covers(kind):
        return False  # what cannot be read was not recorded
    # What is released beside a capture shows in that total alone.
    kept = session.captured + session.capturing
    return kind is not CANCEL or not kept or snapshot.authorized is not None


def _foreign(session: SessionRow, snapshot: Snapshot) -> Money | None:
    """Return an amount of a snapshot that is in another currency than the session's."""
    totals = (snapshot.amount, snapshot.authorized, snapshot.captured, snapshot.refunded)
    currency = session.amount.currency
    for money in (*totals, snapshot.charged_back, *(effect.amount for effect in snapshot.effects)):
        if money is not None and money.currency != currency:
            return money
    return None


_SKEW: Final = timedelta(minutes=5)
"""How far a gateway's clock and ours may differ: as much as is usual for signed notifications."""

_ORDER: Final = (INITIATE, UPDATE, AUTHORIZE, CAPTURE, CANCEL, REFUND, CHARGEBACK)
"""Cause before effect: the order in which the effects of one lookup or notification are recorded."""


_STAGES: Final = ("opened", "under_review", "lost", "won")
"""How a dispute goes on, where single reports come in any order: what was lost may still be won."""


class _Matching:
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
            ledger.apply(_failed(operation, effect.error))
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
        error = _failure(effect.error)
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
        released = _releases(operation, self.capabilities)
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
            self.ledger.apply(_failed(operation, effect.error))
        elif effect.state == "pending" and operation.state is State.STARTED:
            self.ledger.apply(Accepted(operation))

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
        if not self._single or any(_grants(op) for op in self.ledger.operations if op.kind is AUTHORIZE):
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
        operation = next((op for op in named if _grants(op)), named[0] if named else None)
        if operation is None and effect.key is None:
            # Without a key it is about the authorization that is open, unless it names an earlier one.
            operation = self.authorizing
        granting = operation is not None and _grants(operation)
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
                ledger.apply(_failed(operation, effect.error))
            elif row.status in UNAUTHORIZED and self.authorizing is None and not _is_over(operation):
                _show(ledger, Status.ERROR, error=effect.error)
        elif granting:
            self.reduce(max(row.kept, row.authorized - effect.amount.minor))

    def _unnamed(self, authorizations: Sequence[Operation], effect: Effect) -> Operation | None:
        """Return the authorization that a report names for the first time, if there is one for its amount."""
        operation = next((op for op in authorizations if _grants(op) and _is_unnamed(op)), None)
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
                _refusal(operation, Declined("authorized", "the payer had confirmed the former amount"))
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
            ledger.apply(_refusal(opened, gone))
        pending = ledger.operation(row.authorizing)
        if pending is not None:
            ledger.apply(_refusal(pending, gone))
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
        over = not _is_resolved(ledger, "over_limit", self.capabilities)  # else all of it was given back
        ledger.guarded = more <= room  # another session may take the room meanwhile: then decide again
        if self.granted is not None:
            # What this session held already is its own, beside the room.
            limit, found = _money(ledger, before.held + room, row.authorized)
            beyond = found > limit
            canceled = row.status is Status.CANCELED
            if canceled or self.explained:
                pass
            elif beyond and over:
                ledger.apply(ConflictOpened("over_limit", limit, found))
            elif not _is_as_asked(found.minor, row.amount.minor, self.capabilities):
                ledger.apply(ConflictOpened("amount", row.amount, found))
            if beyond and not row.kept and before.status is not Status.AUTHORIZED:
                ledger.apply(CancelRequested())
        if more > room and over and not ledger.opened:
            free, found = Money.from_minor(room, currency), Money.from_minor(more, currency)
            ledger.apply(ConflictOpened("over_limit", free, found))


class _Lookup:
    """Records one lookup: what was authorized, then what was captured, refunded and released, and disputes.

    Args:
        matching: Records the effects.
        snapshot: What the gateway showed.
        none_in_flight: Whether no request of the open operation can be in flight any more.
    """

    def __init__(self, matching: _Matching, snapshot: Snapshot, *, none_in_flight: bool) -> None:
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
            known, shown, more = _money(
                ledger, row.authorized, found, found - (row.kept if row.released else row.granted)
            )
            ledger.apply(Found(AUTHORIZE, more, State.SUCCEEDED))
            partly = matching.capabilities.partial_authorization and found <= row.amount.minor
            if found > before.authorized and not partly:
                ledger.apply(ConflictOpened("amount", known, shown))

    def _waiting(self) -> None:
        """Record that the gateway shows no authorization: it waits for the payer, or it failed."""
        matching, ledger, snapshot = self._matching, self._ledger, self._snapshot
        row, status, fresh = ledger.row, snapshot.status, matching.fresh
        assert status is not None  # noqa: S101 - an absent object is not recorded
        if row.status is Status.AUTHORIZED:
            if fresh:
                ledger.apply(ConflictOpened("status", row.status, status))
            return
        if row.status is Status.CANCELED:
            # Our session is closed and the gateway's object is not: a payer could still use it.
            refused = "cancel_refused" in ledger.conflicts
            if fresh and not row.cancel_requested and status is not Status.ERROR and not refused:
                ledger.apply(Reopened())
                ledger.apply(ConflictOpened("open_after_cancel", row.status, status))
                ledger.apply(CancelRequested())
            return
        opened = matching.open
        pending = ledger.operation(row.authorizing)
        if not fresh and matching.authorizing is not None:
            # It may show how it stood before: only that the gateway is processing it settles anything.
            if opened is not None and _processing(snapshot):
                self._settle(opened, status)
            return
        if pending is not None and status is Status.ERROR:
            ledger.apply(_refusal(pending, _declined(snapshot.error)))
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
        _show(ledger, status, snapshot.next_action, snapshot.error)

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
            elif _refused_by_effect(snapshot, operation):
                ledger.apply(_refusal(operation, _declined(error)))
            elif not self._none_in_flight or status is operation.session_status:
                pass  # how it stood, or may have stood, before our request is carried out
            elif status is Status.REQUIRES_MORE:
                ledger.apply(Succeeded(operation, status, granted=False))
                ledger.apply(Presented(status, action, None, "session.requires_more", operation))
            elif status is Status.ERROR:
                ledger.apply(_refusal(operation, _declined(error)))


def _show(
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


def _after(ledger: Ledger, capabilities: Capabilities) -> None:
    """Record what follows from what was recorded: the rest of a final capture, conflicts that are over."""
    row, before = ledger.row, ledger.before
    if (
        row.authorized > row.kept
        and row.status is Status.AUTHORIZED
        and not row.cancel_requested
        and any(_leaves_rest(ledger, operation) for operation in ledger.written.values())
    ):
        ledger.apply(CancelRequested())  # the gateway kept the rest authorized
    if row.status is Status.CANCELED and row.authorized > max(row.kept, before.authorized):
        ledger.apply(CancelRequested())
    returned = before.refunded + before.charged_back
    if row.returned - row.captured > max(0, returned - before.captured):
        # A chargeback of what was refunded already: the merchant has paid twice.
        ledger.apply(ConflictOpened("over_captured", *_totals(ledger)))
    if before.status is Status.CANCELED and row.captured - row.returned > max(0, before.captured - returned):
        kept = _money(ledger, row.captured - row.returned)
        ledger.apply(ConflictOpened("authorized_after_cancel", "nothing", *kept))
    for kind in list(ledger.conflicts):
        if ledger.conflicts[kind] not in ledger.opened and _is_resolved(ledger, kind, capabilities):
            ledger.apply(ConflictClosed(kind))


def _leaves_rest(ledger: Ledger, operation: Operation) -> bool:
    """Return whether what is left was to be released with this capture, or with a final one meanwhile."""
    if operation.kind is not CAPTURE or operation.state not in (State.SUCCEEDED, *REFUSED):
        return False
    finals = [op for op in ledger.operations if op.final and op.state is State.SUCCEEDED]
    if operation.state is State.SUCCEEDED:
        return operation in finals
    return any(op.updated_at >= operation.created_at for op in finals)


def _is_as_asked(found: int, asked: int, capabilities: Capabilities) -> bool:
    """Return whether an authorized amount is what was asked, or a part of it where that may come."""
    return found == asked or (capabilities.partial_authorization and found < asked)


def _is_resolved(ledger: Ledger, conflict: ConflictKind, capabilities: Capabilities) -> bool:
    """Return whether the cause of a conflict is gone."""
    row = ledger.row
    if conflict == "authorized_after_cancel":
        return row.authorized <= row.kept <= row.returned
    if conflict in ("open_after_cancel", "cancel_refused"):
        return row.released
    if conflict == "over_captured":
        return row.returned <= row.captured
    if conflict == "over_limit":
        return row.authorized <= row.returned
    return conflict == "amount" and _is_as_asked(row.authorized, row.amount.minor, capabilities)


def _money(ledger: Ledger, *minor: int) -> tuple[Money, ...]:
    currency = ledger.row.amount.currency
    return tuple(Money.from_minor(part, currency) for part in minor)


def _totals(ledger: Ledger) -> tuple[Money, Money]:
    captured, returned = _money(ledger, ledger.row.captured, ledger.row.returned)
    return captured, returned


def _releases(operation: Operation, capabilities: Capabilities) -> bool:
    """Return whether the gateway releases the rest of the authorization when this succeeds."""
    final = operation.final and capabilities.final_capture_releases
    return operation.kind is CAPTURE and (final or capabilities.capture == "once")


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
    return operation is not None and (operation.state in REFUSED or _grants(operation))


def _grants(operation: Operation) -> bool:
    """Return whether something was authorized by an authorization."""
    without = (Answer.REQUIRES_MORE, Answer.CANCELED, Answer.PENDING)
    return operation.state is State.SUCCEEDED and operation.answer not in without


def _processing(snapshot: Snapshot) -> bool:
    return any(effect.kind is AUTHORIZE and effect.state == "pending" for effect in snapshot.effects)


def _refused_by_effect(snapshot: Snapshot, operation: Operation) -> bool:
    return any(
        effect.kind is AUTHORIZE and effect.state == "failed" and effect.key == operation.id
        for effect in snapshot.effects
    )


def _failed(operation: Operation, error: Failure | None) -> Refused:
    return Refused(operation, State.DECLINED, _failure(error), answer=FAILED)


def _failure(error: Failure | None) -> Failure:
    """Return why something failed, in the words that the gateway gave for it."""
    return error or Failure("failed", "the provider reports that it failed")


def _declined(error: Failure | None) -> Declined:
    failure = _failure(error)
    key = failure.payer_message_key
    return Declined(failure.code, failure.message, category=failure.category, payer_message_key=key)
