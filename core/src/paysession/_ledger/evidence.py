"""What each source of knowledge proves: an answer, a lookup, a notification, an operator's statement.

Every function here translates one of them into facts and applies them: an answer by itself; what a lookup or
a notification shows with ``lookup`` and ``matching``. The gateway is right about what happened there: what it
shows is recorded, and what our own rules forbid is reported as a conflict as well. What it does *not* show
proves nothing here: ``verdict`` decides when absence is evidence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paysession._ledger.consequences import compare_capture, conclude, releases
from paysession._ledger.facts import (
    Accepted,
    ConflictClosed,
    ConflictOpened,
    Details,
    Found,
    Presented,
    Recognized,
    Released,
    Succeeded,
    Unanswered,
)
from paysession._ledger.ledger import UNAUTHORIZED
from paysession._ledger.lookup import Lookup
from paysession._ledger.matching import Matching
from paysession._ledger.refusals import refusal
from paysession._ledger.schedule import schedule
from paysession.errors import Declined, InvalidData, NotApplied, OutcomeUnknown
from paysession.operation import (
    AUTHORIZE,
    CANCEL,
    CAPTURE,
    CHARGEBACK,
    INITIATE,
    REFUND,
    UPDATE,
    Kind,
    Operation,
    State,
)
from paysession.outcome import ANSWERS, Answer, Outcome
from paysession.values import Status, encode, merged

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from paysession._ledger.ledger import Ledger
    from paysession.errors import ProviderError
    from paysession.money import Money
    from paysession.outcome import Capabilities, Effect, Snapshot
    from paysession.session import SessionRow

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

_ORDER: Final = (INITIATE, UPDATE, AUTHORIZE, CAPTURE, CANCEL, REFUND, CHARGEBACK)
"""Cause before effect: the order in which the effects of one lookup or notification are recorded."""

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
            compare_capture(ledger, capabilities)
        conclude(ledger, capabilities)
        schedule(ledger, capabilities, first=answer.check_after)
    elif isinstance(answer, Declined | NotApplied):
        _learn(ledger, operation, answer)
        ledger.apply(refusal(operation, answer, note))
        schedule(ledger, capabilities)
    else:
        still_in_doubt(ledger, operation, answer, capabilities)


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
        released = outcome.released or (over and releases(operation, capabilities))
        ledger.apply(Recognized(operation, found, released, note))
        if over or answer is Answer.PENDING:
            return
        operation = ledger.written[operation.id]
    if answer is Answer.PENDING:
        ledger.apply(Accepted(operation, outcome.reference, note=note, released=outcome.released))
        if kind is AUTHORIZE and row.status is not Status.CANCELED:
            ledger.apply(Presented(Status.PENDING))
        return
    released = outcome.released or releases(operation, capabilities)
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


# --- what a lookup shows, or a notification reports ----------------------------------------------------


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
    matching = Matching(ledger, capabilities, fresh=not stale, single=False, told=told)
    Lookup(matching, snapshot, none_in_flight=none_in_flight).record()
    matching.compare(room)
    compare_capture(ledger, capabilities)
    conclude(ledger, capabilities)
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
    matching = Matching(ledger, capabilities, fresh=True, single=True, told=False)
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
    conclude(ledger, capabilities)
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
