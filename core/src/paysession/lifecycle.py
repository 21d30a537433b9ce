"""The rules of a payment session: which operation may begin when, and what each answer does.

Pure functions over frozen values: they take the books as they are and return the `Change` that is
to be written, or raise what forbids it. ``reconcile`` holds the other half: what the gateway's own
truth does.

An operation begins (`begin`), the provider is called, and the answer is applied (`apply_outcome`,
`apply_refusal`) or nobody knows it (`doubt`). `ALLOWED` and ``outcome.ANSWERS`` are the rules as
data; together with the status after each answer they make the diagram in the documentation.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from paysession.change import Change
from paysession.errors import (
    Declined,
    InvalidAmount,
    InvalidTransition,
    NotApplied,
    NotSupported,
    OutcomeUnknown,
)
from paysession.money import Money
from paysession.operation import Event, Kind, Operation, State
from paysession.outcome import ANSWERS, Answer
from paysession.values import Failure, Status, encode, replace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from paysession.errors import ProviderError
    from paysession.outcome import Capabilities, Outcome
    from paysession.session import PaymentSession

__all__ = [
    "ALLOWED",
    "Draft",
    "Request",
    "apply_outcome",
    "apply_refusal",
    "begin",
    "claim",
    "doubt",
    "postpone",
    "schedule",
    "verify",
]

_BEFORE: Final = frozenset({Status.PENDING, Status.REQUIRES_MORE, Status.ERROR})

ALLOWED: Final[Mapping[Kind, frozenset[Status]]] = {
    Kind.INITIATE: frozenset({Status.PENDING}),
    Kind.UPDATE: _BEFORE,
    Kind.AUTHORIZE: _BEFORE,
    Kind.CAPTURE: frozenset({Status.AUTHORIZED}),
    Kind.REFUND: frozenset({Status.AUTHORIZED}),
    Kind.CANCEL: _BEFORE | {Status.AUTHORIZED},
}
"""From which status an operation may begin. A canceled session with an open conflict (the provider
holds or took money for it all the same) also lets cancel and refund through."""

LEASE_MARGIN: Final = timedelta(seconds=30)
"""How much longer than the provider's ``call_limit`` the holder of an operation may be at it."""

_DOUBT_FIRST, _DOUBT_MOST = timedelta(seconds=5), timedelta(hours=1)
_PENDING_FIRST, _PENDING_MOST = timedelta(minutes=5), timedelta(hours=6)
_PAYER_FIRST, _PAYER_MOST = timedelta(minutes=10), timedelta(hours=6)
_PAYER_CHECKS: Final = 32
"""So often is a gateway asked about a payer who never returned: for a week, if it names no expiry."""


@frozen(slots=False)
class Request:
    """What is asked of a session, before the rules have seen it.

    Attributes:
        kind: Which effect.
        amount: How much; None: all that is left.
        payload: What the payer's browser sent, as JSON text.
        idempotency_key: The caller's key.
        final: For a capture: let go of the rest.
        reason: For a refund: why.
        capture: For a refund: the capture that it refers to.
        capture_left: For a refund of one capture: how much of that is left, in minor units.
    """

    kind: Kind
    amount: Money | None = None
    payload: str | None = None
    idempotency_key: str | None = None
    final: bool = False
    reason: str | None = None
    capture: Operation | None = None
    capture_left: int | None = None

    @property
    def fingerprint(self) -> str:
        """What must be the same when an idempotency key is used again."""
        capture = self.capture.id if self.capture is not None else None
        return f"{self.kind} {self.amount} final={self.final} reason={self.reason} capture={capture}"


class Draft:
    """A change being drawn up: the session after it, the operations it writes, the events it tells."""

    def __init__(self, session: PaymentSession, now: datetime) -> None:
        self.before = session
        self.session = replace(session, version=session.version + 1, updated_at=now)
        self.now = now
        self.operations: dict[str, Operation] = {}
        self.conflicts: list[tuple[str, str, str]] = []
        self._told: list[tuple[str, Operation | None, Money | None, str | None]] = []

    def set(self, **changes: Any) -> None:
        """Change the session after the change. It is this draft's own copy, seen by nobody yet."""
        self.session.__dict__.update(changes)

    def put(self, operation: Operation, **changes: Any) -> Operation:
        """Write an operation, with these changes."""
        operation = replace(operation, updated_at=self.now, **changes)
        self.operations[operation.id] = operation
        return operation

    def close(self, operation: Operation, state: State, **changes: Any) -> Operation:
        """Write an operation in a state in which nobody is at it; the browser's payload goes."""
        return self.put(operation, state=state, _payload=None, lease_until=None, doubted_at=None, **changes)

    def tell(
        self,
        type_: str,
        operation: Operation | None = None,
        *,
        amount: Money | None = None,
        detail: str | None = None,
    ) -> None:
        """Tell of a transition; the figures are those of the session once the draft is complete."""
        self._told.append((type_, operation, amount, detail))

    def conflict(self, kind: str, expected: object, found: object) -> None:
        """Report, once, that the gateway's truth contradicts the books."""
        if self.session.conflict != kind:
            self.set(conflict=kind)
            self.conflicts.append((kind, str(expected), str(found)))
            self.tell("session.conflict", detail=f"{kind}: expected {expected}, found {found}")

    def add_found(self, kind: Kind, amount: Money, state: State, **changes: Any) -> Operation:
        """Write down an effect that was found at the gateway and that no operation of ours caused."""
        ordinal = self.session.ordinal + 1
        self.set(ordinal=ordinal)
        operation = Operation(
            id=f"{self.session.id}-{ordinal}",
            session_id=self.session.id,
            kind=kind,
            ordinal=ordinal,
            amount=amount,
            state=state,
            origin="provider",
            created_at=self.now,
            updated_at=self.now,
            session_status=self.before.status,
        )
        return self.put(operation, **changes)

    @property
    def changed(self) -> bool:
        """Whether there is anything to write."""
        if self.operations or self._told:
            return True
        after, before = self.session.__dict__, self.before.__dict__
        return any(
            after[name] != before[name]
            for name in after
            if name not in ("version", "updated_at", "checks", "due_at")
        )

    def change(self, *, guarded: bool = False) -> Change:
        """Return the change, to be committed."""
        session = self.session
        currency = session.amount.currency
        events = tuple(
            Event(
                id=f"{session.id}:{session.version}.{place}",
                type=type_,
                session_id=session.id,
                collection_id=session.collection_id,
                reference=session.collection_reference,
                provider=session.provider,
                operation_id=operation.id if operation is not None else None,
                amount=amount or (operation.amount if operation is not None else session.amount),
                status=session.status,
                authorized_amount=Money.from_minor(session.authorized, currency),
                captured_amount=Money.from_minor(session.captured, currency),
                refunded_amount=Money.from_minor(session.refunded, currency),
                version=session.version,
                detail=detail,
                occurred_at=self.now,
            )
            for place, (type_, operation, amount, detail) in enumerate(self._told)
        )
        return Change(
            session=session,
            expected=self.before.version,
            operations=tuple(self.operations.values()),
            events=events,
            hold=session.held - self.before.held,
            guarded=guarded,
        )


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
    if kind is Kind.AUTHORIZE or (kind is Kind.UPDATE and held):
        hold = max(0, amount.minor - held)
    draft = Draft(session, now)
    ordinal = session.ordinal + 1
    lease_until = now + capabilities.call_limit + LEASE_MARGIN
    operation = Operation(
        id=f"{session.id}-{ordinal}",
        session_id=session.id,
        kind=kind,
        ordinal=ordinal,
        amount=amount,
        state=State.STARTED,
        created_at=now,
        updated_at=now,
        idempotency_key=request.idempotency_key,
        fingerprint=request.fingerprint if request.idempotency_key is not None else None,
        final=request.final,
        reason=request.reason,
        capture_id=request.capture.id if request.capture is not None else None,
        payload=request.payload,
        data=session._data,  # noqa: SLF001 - the text, which only values hand to each other
        session_reference=session.reference,
        session_status=session.status,
        hold=hold,
        lease_until=lease_until,
        sent_at=now,
    )
    draft.operations[operation.id] = operation
    draft.set(ordinal=ordinal, open=operation.id, due_at=lease_until, checks=0, held=held + hold)
    return draft, operation


def _check_status(session: PaymentSession, kind: Kind) -> None:
    if kind is not Kind.INITIATE and not session.initiated and session.status is not Status.CANCELED:
        raise InvalidTransition(
            "the provider has not accepted this session yet: call initiate again with the same "
            "idempotency_key, or initiate a new session",
            session_id=session.id,
        )
    if session.status not in ALLOWED[kind] and not (
        session.conflict is not None
        and session.status is Status.CANCELED
        and kind in (Kind.CANCEL, Kind.REFUND)
    ):
        raise InvalidTransition(f"cannot {kind} a session that is {session.status}", session_id=session.id)
    if session.authorizing is not None and kind in (Kind.AUTHORIZE, Kind.UPDATE):
        raise InvalidTransition(
            f"cannot {kind}: an authorization is pending at the provider; sync() asks how it stands",
            session_id=session.id,
        )
    left = session.authorized - session.captured - session.capturing
    if kind is Kind.CANCEL and session.status is Status.AUTHORIZED and left <= 0:
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
    if kind is Kind.UPDATE:
        if asked is None:
            raise InvalidAmount("an update needs the new amount", session_id=session.id)
        return asked
    if kind is Kind.CAPTURE:
        return _capture_amount(session, asked, capabilities.capture)
    if kind is Kind.REFUND:
        return _refund_amount(session, request, capabilities)
    if kind is Kind.CANCEL and session.authorized:
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
    left_over = Money.from_minor(max(0, left), session.amount.currency)
    if asked is None:
        asked = left_over
    if not asked or asked > left_over:
        raise InvalidAmount(
            f"cannot {verb} {asked}: {left_over} is left to {verb}"
            if left_over
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
    expected = session.amount if kind is Kind.AUTHORIZE else operation.amount
    if outcome.amount is not None and outcome.amount != expected:
        raise OutcomeUnknown(f"the provider answered {outcome.amount} where {expected} was asked")


def apply_outcome(
    session: PaymentSession,
    operation: Operation,
    outcome: Outcome,
    *,
    now: datetime,
    capabilities: Capabilities,
    note: str | None = None,
) -> Draft:
    """Return what an answer does to the books. The answer has been verified."""
    draft = Draft(session, now)
    if session.open == operation.id:
        draft.set(open=None, checks=0)
    if outcome.data is not None:
        draft.set(_data=outcome.data)
    if outcome.expires_at is not None:
        draft.set(expires_at=outcome.expires_at)
    unreserve(draft, operation)
    changes: dict[str, Any] = {"answer": str(outcome.answer), "error": None}
    if note is not None:
        changes["note"] = note
    if outcome.reference is not None:
        changes["reference"] = outcome.reference
    _APPLY[operation.kind](draft, operation, outcome, changes, capabilities)
    schedule(draft, capabilities, first=outcome.check_after)
    return draft


def _apply_initiate(
    draft: Draft, operation: Operation, outcome: Outcome, changes: dict[str, Any], _: Capabilities
) -> None:
    operation = draft.close(operation, State.SUCCEEDED, **changes)
    draft.set(
        status=Status(outcome.answer),
        initiated=True,
        next_action=outcome.next_action,
        reference=outcome.reference or draft.session.reference,
    )
    draft.tell("session.initiated", operation)


def _apply_update(
    draft: Draft, operation: Operation, outcome: Outcome, changes: dict[str, Any], _: Capabilities
) -> None:
    operation = draft.close(operation, State.SUCCEEDED, **changes)
    session = draft.session
    draft.set(
        status=Status(outcome.answer),
        amount=operation.amount,
        held=operation.amount.minor if session.held else 0,
        next_action=outcome.next_action or session.next_action,
        reference=outcome.reference or session.reference,
        error=None,
    )
    draft.tell("session.updated", operation)


def _apply_authorize(
    draft: Draft,
    operation: Operation,
    outcome: Outcome,
    changes: dict[str, Any],
    capabilities: Capabilities,
) -> None:
    answer = outcome.answer
    if outcome.reference is not None:
        draft.set(reference=outcome.reference)
    draft.set(next_action=outcome.next_action, error=None)
    if answer is Answer.PENDING:
        operation = draft.close(operation, State.PENDING, **changes)
        draft.set(status=Status.PENDING, authorizing=operation.id)
        draft.tell("operation.pending", operation)
        return
    operation = draft.close(operation, State.SUCCEEDED, **changes)
    if answer is Answer.REQUIRES_MORE:
        draft.set(status=Status.REQUIRES_MORE)
        draft.tell("session.requires_more", operation)
    elif answer is Answer.CANCELED:
        end(draft, operation)
    else:
        amount = outcome.amount or draft.session.amount
        draft.set(status=Status.AUTHORIZED, authorized=amount.minor, held=amount.minor)
        draft.tell("session.authorized", operation)
        if answer is Answer.CAPTURED:
            captured = draft.add_found(Kind.CAPTURE, amount, State.SUCCEEDED, answer="captured")
            take(draft, captured, released=outcome.released or capabilities.capture == "once")


def _apply_capture(
    draft: Draft,
    operation: Operation,
    outcome: Outcome,
    changes: dict[str, Any],
    capabilities: Capabilities,
) -> None:
    if outcome.answer is Answer.PENDING:
        reserve(draft, draft.close(operation, State.PENDING, **changes))
    else:
        operation = draft.close(operation, State.SUCCEEDED, **changes)
        take(draft, operation, released=outcome.released or capabilities.capture == "once")


def _apply_refund(
    draft: Draft, operation: Operation, outcome: Outcome, changes: dict[str, Any], _: Capabilities
) -> None:
    if outcome.answer is Answer.PENDING:
        reserve(draft, draft.close(operation, State.PENDING, **changes))
    else:
        give_back(draft, draft.close(operation, State.SUCCEEDED, **changes))


def _apply_cancel(
    draft: Draft, operation: Operation, outcome: Outcome, changes: dict[str, Any], _: Capabilities
) -> None:
    draft.set(cancel_wanted=False)
    if outcome.answer is Answer.PENDING:
        draft.tell("operation.pending", draft.close(operation, State.PENDING, **changes))
    else:
        end(draft, draft.close(operation, State.SUCCEEDED, **changes))


_APPLY: Final = {
    Kind.INITIATE: _apply_initiate,
    Kind.UPDATE: _apply_update,
    Kind.AUTHORIZE: _apply_authorize,
    Kind.CAPTURE: _apply_capture,
    Kind.REFUND: _apply_refund,
    Kind.CANCEL: _apply_cancel,
}


def take(draft: Draft, operation: Operation, *, released: bool = False) -> None:
    """Book a capture; ``released``: what is left of the authorization is gone."""
    session = draft.session
    captured = session.captured + operation.amount.minor
    draft.set(captured=captured, authorized=max(session.authorized, captured + session.capturing))
    if released:
        draft.set(authorized=captured + session.capturing)
    draft.set(held=session.authorized)
    draft.tell("session.captured", operation)


def give_back(draft: Draft, operation: Operation) -> None:
    """Book a refund."""
    draft.set(refunded=draft.session.refunded + operation.amount.minor)
    draft.tell("session.refunded", operation)


def end(draft: Draft, operation: Operation) -> None:
    """Book that nothing is authorized any more beyond what was, or is being, captured."""
    session = draft.session
    kept = session.captured + session.capturing
    draft.set(authorized=kept, held=kept, cancel_wanted=False, next_action=None, authorizing=None)
    if kept and session.status is Status.AUTHORIZED:
        draft.tell("session.released", operation)
    else:
        draft.set(status=Status.CANCELED)
        if not kept:
            draft.set(conflict=None)
        draft.tell("session.canceled", operation)


def reserve(draft: Draft, operation: Operation) -> None:
    """Reserve the amount of an operation that is accepted and not finished."""
    session, minor = draft.session, operation.amount.minor
    if operation.kind is Kind.CAPTURE:
        draft.set(capturing=session.capturing + minor)
    elif operation.kind is Kind.REFUND:
        draft.set(refunding=session.refunding + minor)
    draft.tell("operation.pending", operation)


def unreserve(draft: Draft, operation: Operation) -> None:
    """Take back the reservation of a pending operation that settles now."""
    if operation.state is not State.PENDING:
        return
    session, minor = draft.session, operation.amount.minor
    if operation.kind is Kind.CAPTURE:
        draft.set(capturing=session.capturing - minor)
    elif operation.kind is Kind.REFUND:
        draft.set(refunding=session.refunding - minor)
    elif session.authorizing == operation.id:
        draft.set(authorizing=None)


def apply_refusal(
    session: PaymentSession,
    operation: Operation,
    refusal: Declined | NotApplied,
    *,
    now: datetime,
    capabilities: Capabilities,
    note: str | None = None,
) -> Draft:
    """Return what a certain refusal does to the books."""
    draft = Draft(session, now)
    if session.open == operation.id:
        draft.set(open=None, checks=0)
    _adopt(draft, refusal)
    unreserve(draft, operation)
    refuse(draft, operation, refusal, note=note)
    schedule(draft, capabilities)
    return draft


def refuse(
    draft: Draft, operation: Operation, refusal: Declined | NotApplied, *, note: str | None = None
) -> None:
    """Book that an operation was refused, or did not happen."""
    declined = isinstance(refusal, Declined)
    failure = Failure(refusal.code if declined else "not_applied", refusal.message)
    operation = draft.close(
        operation,
        State.DECLINED if declined else State.NOT_APPLIED,
        error=failure,
        note=operation.note if note is None else note,
    )
    session = draft.session
    if operation.kind is Kind.INITIATE and (declined or operation.idempotency_key is None):
        # Nothing was accepted, so nothing can be authorized; with a caller's key it can be retried.
        draft.set(status=Status.CANCELED, error=failure, held=0)
        draft.tell("session.canceled", operation, detail=failure.code)
    elif operation.kind is Kind.AUTHORIZE and declined:
        draft.set(status=Status.ERROR, error=failure, next_action=None, held=0)
        draft.tell("session.error", operation, detail=failure.code)
    else:
        draft.set(held=session.held - operation.hold)
        draft.tell("operation.failed", operation, detail=failure.code)


def doubt(session: PaymentSession, operation: Operation, reason: ProviderError, *, now: datetime) -> Draft:
    """Return the books with an operation whose outcome nobody here knows; its lease is let go of."""
    draft = Draft(session, now)
    _adopt(draft, reason)
    draft.put(
        operation,
        lease_until=None,
        doubted_at=operation.doubted_at or now,
        error=Failure("unknown", reason.message),
    )
    draft.set(checks=session.checks + 1, due_at=now + _wait(_DOUBT_FIRST, _DOUBT_MOST, session.checks))
    return draft


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
    claimed = draft.put(operation, attempt=operation.attempt + 1, lease_until=lease_until)
    draft.set(due_at=lease_until)
    return draft, claimed


def postpone(session: PaymentSession, *, now: datetime, capabilities: Capabilities) -> Draft:
    """Return the session with a later time at which recovery looks again."""
    draft = Draft(session, now)
    draft.set(checks=session.checks + 1)
    schedule(draft, capabilities)
    return draft


def schedule(draft: Draft, capabilities: Capabilities, *, first: timedelta | None = None) -> None:
    """Say when recovery has something to do here next; never, once all is at rest."""
    session, now = draft.session, draft.now
    checks = session.checks
    if session.open is not None:
        return
    due_at = None
    if session.cancel_wanted:
        due_at = now + _wait(_DOUBT_FIRST, _DOUBT_MOST, checks) if checks else now
    elif capabilities.local or capabilities.lookup == "none":
        pass  # nobody can be asked: a person, or a notification, tells
    elif session.authorizing or session.capturing or session.refunding or session.conflict:
        due_at = now + (first or _wait(_PENDING_FIRST, _PENDING_MOST, checks))
    elif session.status in (Status.PENDING, Status.REQUIRES_MORE) and checks < _PAYER_CHECKS:
        due_at = now + _wait(_PAYER_FIRST, _PAYER_MOST, checks)
    expires_at = session.expires_at
    if (
        expires_at is not None
        and session.status is not Status.CANCELED
        and session.authorized > session.captured
        and due_at is None
        and capabilities.lookup != "none"
    ):
        due_at = max(expires_at, now + _wait(_PENDING_FIRST, _PENDING_MOST, checks)) if checks else expires_at
    draft.set(due_at=due_at)


def _wait(first: timedelta, most: timedelta, checks: int) -> timedelta:
    return min(first * 2 ** min(checks, 20), most)
