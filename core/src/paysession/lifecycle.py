"""The rules of a payment session: which operation may begin when, and what each answer does.

Pure functions over frozen values: they take the books as they are and draw up the change that is to be
written (a `Draft`, with its own copy of the session), or raise what forbids it. ``reconcile`` holds the
other half: what the gateway's own truth does.

An operation begins (`begin`), the provider is called, and the answer is applied (`apply_outcome`,
`apply_refusal`) or nobody knows it (`doubt`). `ALLOWED` and ``outcome.ANSWERS`` are the rules as
data; together with the status after each answer they make the diagram in the documentation.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from paysession.draft import Draft
from paysession.errors import (
    Declined,
    InvalidAmount,
    InvalidTransition,
    NotApplied,
    NotSupported,
    OutcomeUnknown,
)
from paysession.money import Money
from paysession.operation import AUTHORIZE, CANCEL, CAPTURE, INITIATE, REFUND, UPDATE, Kind, Operation, State
from paysession.outcome import ANSWERS, Answer
from paysession.values import Failure, Status, encode, made

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from paysession.errors import ProviderError
    from paysession.outcome import Capabilities, Outcome
    from paysession.request import Request
    from paysession.session import PaymentSession

__all__ = [
    "ALLOWED",
    "CANCEL_TRIES",
    "LEASE_MARGIN",
    "abandon",
    "apply_outcome",
    "apply_refusal",
    "begin",
    "claim",
    "doubt",
    "fill_in",
    "forget_cancel",
    "note",
    "postpone",
    "refuse",
    "verify",
    "want_cancel",
]

_WAITING: Final = frozenset({Status.PENDING, Status.REQUIRES_MORE})
_BEFORE: Final = _WAITING | {Status.ERROR}

ALLOWED: Final[Mapping[Kind, frozenset[Status]]] = {
    INITIATE: frozenset({Status.PENDING}),
    UPDATE: _BEFORE,
    AUTHORIZE: _BEFORE,
    CAPTURE: frozenset({Status.AUTHORIZED}),
    REFUND: frozenset({Status.AUTHORIZED}),
    CANCEL: _BEFORE | {Status.AUTHORIZED},
}
"""From which status an operation may begin. A canceled session with an open conflict (the provider
holds or took money for it all the same) also lets cancel and refund through."""

CANCEL_TRIES: Final = 32
"""So often is a cancel asked for that the gateway declines: for about a day."""

LEASE_MARGIN: Final = timedelta(seconds=30)
"""How much longer than the provider's ``call_limit`` the holder of an operation may be at it."""


# --- begin ----------------------------------------------------------------------------------------


def begin(
    session: PaymentSession, request: Request, capabilities: Capabilities, now: datetime
) -> tuple[Draft, Operation]:
    """Check a request against the rules and write its operation down, ready to be sent.

    Raises:
        InvalidTransition: The session's status does not allow it.
        InvalidAmount: More than is left, nothing, or another currency.
        NotSupported: The provider does not do this, or not in parts.
    """
    kind = request.kind
    _check_status(session, kind)
    amount = _amount(session, request, capabilities)
    held = session.held
    hold = 0
    if kind is AUTHORIZE or (kind is UPDATE and held):
        hold = max(0, amount.minor - held)
    ordinal = session.ordinal + 1
    number = ordinal if request.idempotency_key is None else request.attempt
    operation_id = f"{session.id}-{number}-{request.digest(session.id, amount)}"
    lease_until = now + capabilities.call_limit + LEASE_MARGIN
    attributes = {
        "id": operation_id,
        "session_id": session.id,
        "kind": kind,
        "ordinal": ordinal,
        "amount": amount,
        "state": State.STARTED,
        "created_at": now,
        "updated_at": now,
        "origin": request.origin,
        "idempotency_key": request.idempotency_key,
        "fingerprint": request.fingerprint if request.idempotency_key is not None else None,
        "final": request.final,
        "reason": request.reason,
        "capture_id": request.capture.id if request.capture is not None else None,
        "reverses": None,
        "reference": None,
        "answer": None,
        "error": None,
        "note": None,
        "_payload": request.payload,
        "_data": session.data_text,
        "session_reference": session.reference,
        "session_status": session.status,
        "hold": hold,
        "attempt": 1,
        "lease_until": lease_until,
        "sent_at": now,
        "doubted_at": None,
        "capture": None,
        "webhook_url": None,
    }
    operation = made(Operation, attributes)
    # A cancel that is wanted is tried at growing intervals, a new operation each time.
    checks = session.checks if kind is CANCEL and session.cancel_wanted else 0
    draft = Draft(session, now)
    draft.set(ordinal=ordinal, open=operation_id, due_at=lease_until, checks=checks, held=held + hold)
    draft.operations[operation_id] = operation
    return draft, operation


def _check_status(session: PaymentSession, kind: Kind) -> None:
    if kind is not INITIATE and not session.initiated and session.status is not Status.CANCELED:
        raise InvalidTransition(
            "the provider has not accepted this session yet: call initiate again with the same "
            "idempotency_key, or initiate a new session",
            session_id=session.id,
        )
    if session.status not in ALLOWED[kind] and not (
        session.conflict is not None and session.status is Status.CANCELED and kind in (CANCEL, REFUND)
    ):
        raise InvalidTransition(f"cannot {kind} a session that is {session.status}", session_id=session.id)
    if session.authorizing is not None and kind in (AUTHORIZE, UPDATE):
        raise InvalidTransition(
            f"cannot {kind}: an authorization is pending at the provider; sync() asks how it stands",
            session_id=session.id,
        )
    if session.cancel_wanted and kind is AUTHORIZE:
        raise InvalidTransition(
            "cannot authorize: a cancel of this session was asked for, and is tried until it is through",
            session_id=session.id,
        )
    kept = session.captured + session.capturing
    if kind is CANCEL and (kept or session.status is Status.AUTHORIZED) and session.authorized <= kept:
        raise InvalidTransition(
            "cannot cancel: everything that was authorized is captured; refund it instead",
            session_id=session.id,
        )


def _amount(session: PaymentSession, request: Request, capabilities: Capabilities) -> Money:
    kind, asked = request.kind, request.amount
    currency = session.amount.currency
    if asked is not None:
        if asked.currency != currency:
            raise InvalidAmount(f"{asked} is not in the session's currency {currency}", session_id=session.id)
        if not asked:
            raise InvalidAmount(f"cannot {kind} nothing: {asked}", session_id=session.id)
    if kind is UPDATE:
        if asked is None:
            raise InvalidAmount("an update needs the new amount", session_id=session.id)
        return asked
    if kind is CAPTURE:
        return _capture_amount(session, asked, capabilities.capture)
    if kind is REFUND:
        return _refund_amount(session, request, capabilities)
    if kind is CANCEL and session.authorized:
        return Money.from_minor(max(0, session.authorized - session.captured - session.capturing), currency)
    return session.amount


def _capture_amount(session: PaymentSession, asked: Money | None, offered: str) -> Money:
    left = session.authorized - session.captured - session.capturing
    if offered == "none":
        raise NotSupported(f"{session.provider} does not capture", session_id=session.id)
    amount = _part(session, asked, left, "capture")
    if offered == "full" and amount.minor != session.authorized:
        raise NotSupported(
            f"{session.provider} captures the whole {session.authorized_amount} or nothing",
            session_id=session.id,
        )
    if offered == "once" and session.captured + session.capturing:
        raise NotSupported(
            f"{session.provider} captures once, and this session was captured already",
            session_id=session.id,
        )
    return amount


def _refund_amount(session: PaymentSession, request: Request, capabilities: Capabilities) -> Money:
    left = session.captured - session.refunded - session.refunding
    if capabilities.refund == "none":
        raise NotSupported(f"{session.provider} does not refund", session_id=session.id)
    if request.capture_left is not None:
        left = min(left, request.capture_left)
    amount = _part(session, request.amount, left, "refund")
    if capabilities.refund == "full" and amount.minor != session.captured:
        raise NotSupported(
            f"{session.provider} refunds the whole {session.captured_amount} or nothing",
            session_id=session.id,
        )
    return amount


def _part(session: PaymentSession, asked: Money | None, left: int, verb: str) -> Money:
    currency = session.amount.currency
    if asked is None:
        asked = Money.from_minor(max(0, left), currency)
    if not 0 < asked.minor <= left:
        raise InvalidAmount(
            f"cannot {verb} {asked}: {Money.from_minor(left, currency)} is left to {verb}"
            if left > 0
            else f"nothing is left to {verb}",
            session_id=session.id,
        )
    return asked


# --- answers --------------------------------------------------------------------------------------


def verify(session: PaymentSession, operation: Operation, outcome: Outcome) -> None:
    """Compare an answer with what was asked: its kind, its amount and its currency.

    Raises:
        OutcomeUnknown: It does not fit, so it tells nothing about what became of the operation.
    """
    kind = operation.kind
    if outcome.answer not in ANSWERS[kind]:
        raise OutcomeUnknown(f"the provider answered {outcome.answer!s} to {kind}")
    expected = session.amount if kind is AUTHORIZE else operation.amount
    if outcome.amount is not None and outcome.amount != expected:
        raise OutcomeUnknown(f"the provider answered {outcome.amount} where {expected} was asked")


def apply_outcome(
    draft: Draft, operation: Operation, outcome: Outcome, capabilities: Capabilities, note: str | None = None
) -> None:
    """Book what a verified answer does."""
    if outcome.data is not None:
        draft.set(_data=outcome.data)
    if outcome.expires_at is not None:
        draft.set(expires_at=outcome.expires_at)
    if outcome.reference is not None and operation.kind not in (CAPTURE, REFUND):
        draft.set(reference=outcome.reference)
    answer = outcome.answer
    pending = answer is Answer.PENDING and operation.kind not in (INITIATE, UPDATE)
    operation = draft.close(
        operation,
        State.PENDING if pending else State.SUCCEEDED,
        answer=str(answer),
        error=None,
        note=note or operation.note,
        reference=outcome.reference or operation.reference,
    )
    if pending:
        _await(draft, operation)
    elif operation.kind is CAPTURE:
        draft.capture(operation, released=outcome.released or capabilities.capture == "once")
        if operation.final:
            draft.let_go_of_rest()
    elif operation.kind is REFUND:
        draft.refund(operation)
    elif operation.kind is CANCEL:
        draft.release(operation)
    elif operation.kind is AUTHORIZE:
        _authorized(draft, operation, outcome)
    else:
        _prepared(draft, operation, outcome)
    draft.wait(capabilities, first=outcome.check_after)


def _await(draft: Draft, operation: Operation) -> None:
    if operation.kind is AUTHORIZE:
        if draft.session.status is not Status.CANCELED:
            draft.set(status=Status.PENDING, next_action=None, error=None)
    elif operation.kind is CANCEL:
        draft.set(cancel_wanted=False)


def _prepared(draft: Draft, operation: Operation, outcome: Outcome) -> None:
    session = draft.session
    waits = session.status in _BEFORE  # a payer in a browser may have been faster than our answer
    if waits:
        draft.set(status=Status(outcome.answer), error=None)
    if operation.kind is INITIATE:
        draft.set(initiated=True, next_action=outcome.next_action)
        draft.tell("session.initiated", operation)
    else:
        amount = operation.amount
        draft.set(amount=amount, next_action=outcome.next_action or session.next_action)
        if waits:
            draft.set(held=amount.minor if session.held else 0)
        draft.tell("session.updated", operation)


def _authorized(draft: Draft, operation: Operation, outcome: Outcome) -> None:
    answer = outcome.answer
    if draft.session.status is Status.CANCELED:
        _authorized_after_cancel(draft, outcome)
        return
    draft.set(next_action=outcome.next_action, error=None)
    if answer is Answer.REQUIRES_MORE:
        draft.set(status=Status.REQUIRES_MORE)
        draft.tell("session.requires_more", operation)
    elif answer is Answer.CANCELED:
        draft.release(operation)
    else:
        amount = draft.session.amount
        draft.authorize(operation, amount.minor)
        if answer is Answer.CAPTURED:
            captured = draft.add_found(CAPTURE, amount, State.SUCCEEDED, answer="captured")
            draft.capture(captured)


def _authorized_after_cancel(draft: Draft, outcome: Outcome) -> None:
    """Book what became of an authorization that was pending when the session was canceled; it stays so."""
    if outcome.answer not in (Answer.AUTHORIZED, Answer.CAPTURED):
        return
    amount = draft.session.amount
    draft.set(authorized=amount.minor, held=amount.minor)
    draft.conflict("authorized_after_cancel", "nothing", amount)
    if outcome.answer is Answer.CAPTURED:
        captured = draft.add_found(CAPTURE, amount, State.SUCCEEDED, answer="captured")
        draft.capture(captured)
    else:
        draft.want_cancel()


def apply_refusal(
    draft: Draft,
    operation: Operation,
    refusal: Declined | NotApplied,
    capabilities: Capabilities,
    note: str | None = None,
) -> None:
    """Book what a certain refusal does."""
    _adopt(draft, refusal)
    refuse(draft, operation, refusal, note=note)
    draft.wait(capabilities)


def refuse(
    draft: Draft, operation: Operation, refusal: Declined | NotApplied, *, note: str | None = None
) -> None:
    """Book that an operation was refused, or did not happen."""
    declined = isinstance(refusal, Declined)
    failure = Failure(refusal.code if isinstance(refusal, Declined) else "not_applied", refusal.message)
    operation = draft.close(
        operation,
        State.DECLINED if declined else State.NOT_APPLIED,
        error=failure,
        note=note or operation.note,
    )
    retried = operation.idempotency_key is not None and not draft.session.cancel_wanted
    if operation.kind is INITIATE and (declined or not retried):
        # Nothing was accepted, so nothing can be authorized; with a caller's key it can be retried,
        # unless its cancel was asked for meanwhile.
        draft.set(status=Status.CANCELED, error=failure, cancel_wanted=False)
        draft.tell("session.canceled", operation, detail=failure.code)
    elif operation.kind is AUTHORIZE and declined and draft.session.status is not Status.CANCELED:
        draft.set(status=Status.ERROR, error=failure, next_action=None, held=0)
        draft.tell("session.error", operation, detail=failure.code)
    else:
        if draft.session.status in _BEFORE:  # afterwards it holds what is authorized, or nothing
            draft.set(held=draft.session.held - operation.hold)
        draft.tell("operation.failed", operation, detail=failure.code)
        if operation.kind is CANCEL and draft.session.cancel_wanted:
            checks = draft.session.checks + 1
            draft.set(checks=checks)
            if declined and checks >= CANCEL_TRIES:
                draft.set(cancel_wanted=False, checks=0)
                draft.conflict("cancel_refused", "canceled", failure.code)


def doubt(
    draft: Draft, operation: Operation, reason: ProviderError, *, lost_at: datetime | None = None
) -> None:
    """Book that nobody here knows what became of an operation; its lease is let go of.

    Args:
        draft: The change.
        operation: The one in doubt.
        reason: Why nobody knows.
        lost_at: When a request of it last went unanswered; None: just now.
    """
    _adopt(draft, reason)
    draft.put(
        operation,
        lease_until=None,
        doubted_at=lost_at or draft.now,
        error=Failure("unknown", reason.message),
    )
    draft.doubt_again()


def _adopt(draft: Draft, answer: ProviderError) -> None:
    if answer.data is not None:
        draft.set(_data=encode(answer.data, "data"))
    if answer.reference is not None:
        draft.set(reference=answer.reference)


def claim(
    session: PaymentSession, operation: Operation, *, now: datetime, capabilities: Capabilities
) -> tuple[Draft, Operation]:
    """Take over an operation whose holder let go of it, or whose lease has run out."""
    draft = Draft(session, now)
    lease_until = now + capabilities.call_limit + LEASE_MARGIN
    claimed = draft.put(
        operation,
        attempt=operation.attempt + 1,
        lease_until=lease_until,
        doubted_at=operation.lease_until or operation.doubted_at,
    )
    draft.set(due_at=lease_until, updated_at=session.updated_at)  # nothing of the payment changed
    return draft, claimed


def postpone(session: PaymentSession, *, now: datetime, capabilities: Capabilities | None) -> Draft:
    """Return the session with a later time at which recovery looks again.

    Args:
        session: A session that is due.
        now: The time.
        capabilities: What its provider declared; None: the provider is not to be had.
    """
    draft = Draft(session, now)
    draft.set(updated_at=session.updated_at)  # nothing of the payment changed
    if session.open is not None or capabilities is None:
        draft.doubt_again()
    else:
        draft.set(checks=session.checks + 1)
        draft.wait(capabilities)
    return draft


def want_cancel(session: PaymentSession, *, now: datetime) -> Draft:
    """Remember a cancel that runs once nothing is in doubt."""
    draft = Draft(session, now)
    draft.set(cancel_wanted=True)
    return draft


def forget_cancel(session: PaymentSession, *, now: datetime) -> Draft:
    """Forget a cancel that has nothing left to cancel."""
    draft = Draft(session, now)
    # What else there is to look at says the next look.
    draft.set(cancel_wanted=False, due_at=now if session.pending or session.expires_at else None)
    return draft


def note(session: PaymentSession, operation: Operation, text: str, *, now: datetime) -> Draft:
    """Keep an answer that came too late to be applied, and have recovery look at once."""
    draft = Draft(session, now)
    draft.put(operation, note=f"{operation.note}; {text}" if operation.note else text)
    draft.set(due_at=min(now, session.due_at) if session.due_at is not None else now)
    return draft


def fill_in(
    session: PaymentSession, operation: Operation, outcome: Outcome, capabilities: Capabilities, now: datetime
) -> Draft:
    """Add what else an answer tells whose operation a notification or recovery has settled before it came."""
    draft = Draft(session, now)
    if outcome.data is not None and session.data_text == operation.data_text:
        draft.set(_data=outcome.data)  # nobody has written there since it was sent
    if session.expires_at is None:
        draft.set(expires_at=outcome.expires_at)
    if session.next_action is None and session.status in _WAITING:
        draft.set(next_action=outcome.next_action)
    if session.reference is None and operation.kind not in (CAPTURE, REFUND):
        draft.set(reference=outcome.reference)
    draft.wait(capabilities)
    return draft


def abandon(session: PaymentSession, *, now: datetime) -> Draft:
    """End a session that no provider has accepted."""
    draft = Draft(session, now)
    draft.set(status=Status.CANCELED, held=0, cancel_wanted=False, due_at=None)
    draft.tell("session.canceled")
    return draft
