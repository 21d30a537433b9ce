"""Which operation may begin, when, and for how much.

`ALLOWED` and ``outcome.ANSWERS`` are the rules as data: together with the status after each answer they make
the diagram in the documentation.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from paysession._ledger.facts import Begun, Claimed
from paysession._ledger.ids import digest_of
from paysession._ledger.ledger import UNAUTHORIZED, Ledger
from paysession.errors import InvalidAmount, InvalidData, InvalidTransition, NotSupported
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
from paysession.values import Status, new

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from paysession.operation import Origin
    from paysession.outcome import Capabilities
    from paysession.session import SessionRow

__all__ = [
    "ALLOWED",
    "LEASE_MARGIN",
    "Request",
    "begin",
    "claim",
    "follow_up",
    "is_repetition",
    "nothing_to_do",
    "requested_cancel",
    "standing",
    "with_capture",
]

ALLOWED: Final[Mapping[Kind, frozenset[Status]]] = {
    INITIATE: frozenset({Status.PENDING}),
    UPDATE: UNAUTHORIZED | {Status.AUTHORIZED},
    AUTHORIZE: UNAUTHORIZED,
    CAPTURE: frozenset({Status.AUTHORIZED}),
    REFUND: frozenset({Status.AUTHORIZED}),
    CANCEL: UNAUTHORIZED | {Status.AUTHORIZED},
}
"""From which status an operation may begin. Of an authorized session ``update`` raises what is authorized,
where the provider declares ``increment`` and nothing was captured. A canceled session for which the gateway
holds or took money all the same also lets cancel and refund through."""

LEASE_MARGIN: Final = timedelta(seconds=30)
"""How much longer than the provider's ``call_limit`` a worker may hold the lease of an operation."""


class Request(NamedTuple):
    """What is asked of a session, before the rules have seen it.

    Attributes:
        kind: Which effect.
        amount: How much; None: all that is left.
        payload: What the payer's browser sent, as JSON text.
        idempotency_key: The caller's key.
        final: For a capture: whether the rest of the authorization is released.
        reason: For a refund: why.
        capture_id: For a refund: the capture that the caller named.
        capture: For a refund: the capture that it refers to, named or found.
        capture_left: For a refund of one capture: how much of that is left, in minor units.
        extra: A digest of what else a repetition must have in common.
        origin: ``host``, or ``payer`` when the payer caused it: chose the provider, or approved there.
        by: Who asks, if the application says so.
        attempt: With a caller's key, which attempt it is: after one that was not applied comes the next.
        increment: For an update: whether it may raise what is authorized already.
    """

    kind: Kind
    amount: Money | None = None
    payload: str | None = None
    idempotency_key: str | None = None
    final: bool = False
    reason: str | None = None
    capture_id: str | None = None
    capture: Operation | None = None
    capture_left: int | None = None
    extra: str = ""
    origin: Origin = "host"
    by: str | None = None
    attempt: int = 1
    increment: bool = False

    @property
    def fingerprint(self) -> str:
        """What must be the same when an idempotency key is used again."""
        amount = self.amount
        asked = f"{amount.minor} {amount.currency}" if amount is not None else None
        reason = digest_of(self.reason) if self.reason is not None else None  # its words may be erased
        return f"{self.kind} {asked} {self.final} {reason} {self.capture_id} {self.extra}"

    def digest(self, session_id: str, amount: Money | None = None) -> str:
        """Return the digest that the id of this request's operation ends with.

        With a caller's key it stands for the call, whatever the ledger makes of it: repeated after a restore,
        the call is recognized. Without one it stands for the effect, which takes the amount.
        """
        if self.idempotency_key is not None:
            return digest_of(session_id, self.fingerprint, self.idempotency_key)
        capture = self.capture.id if self.capture is not None else None
        minor = amount.minor if amount is not None else None
        return digest_of(f"{session_id} {self.fingerprint} {minor} {capture}")


class Standing(NamedTuple):
    """How one capture stands, in minor units.

    Attributes:
        captured: What it took, without what was reversed since.
        refunded: What refunds that refer to it gave back, or may be giving back.
        charged_back: What disputes that refer to it took back.
    """

    captured: int
    refunded: int
    charged_back: int

    @property
    def left(self) -> int:
        """What can still be refunded of it."""
        return self.captured - self.refunded - self.charged_back


def standing(operations: Sequence[Operation]) -> dict[str, Standing]:
    """Return how each capture that succeeded stands.

    A refund that is in doubt or pending counts; one that refers to no capture does not.
    """
    stands = {row.id: row.amount.minor for row in operations if row.reverses is None}
    for row in operations:
        if row.reverses is not None:
            stands[row.reverses] -= row.amount.minor
    captures = [row for row in operations if row.kind is CAPTURE and row.state is State.SUCCEEDED]
    refunded = {row.id: 0 for row in captures if row.reverses is None}
    charged_back = dict(refunded)
    for row in operations:
        if row.capture_id not in refunded:
            continue
        if row.kind is REFUND and row.state not in REFUSED:
            refunded[row.capture_id] += stands[row.id]
        elif row.kind is CHARGEBACK and row.state is State.SUCCEEDED:
            charged_back[row.capture_id] += stands[row.id]
    return {key: Standing(stands[key], minor, charged_back[key]) for key, minor in refunded.items()}


def with_capture(session: SessionRow, request: Request, operations: Sequence[Operation]) -> Request:
    """Return a refund request with the capture that it refers to, and what is left of that.

    Where the caller named none, it is the only one that is large enough.

    Raises:
        InvalidData: The operation named is no capture of this session that succeeded.
        NotSupported: The provider refunds one capture at a time, and several could be meant.
    """
    rows = {row.id: row for row in operations}
    left = {key: found.left for key, found in standing(operations).items() if found.captured}
    chosen = request.capture_id
    if chosen is not None and not (isinstance(chosen, str) and chosen in left):
        raise InvalidData(
            f"{chosen!r:.80} is no capture of this session that succeeded", session_id=session.id
        )
    if chosen is None:
        wanted = request.amount.minor if request.amount is not None else 1
        fitting = [key for key, minor in left.items() if minor >= wanted]
        if len(fitting) > 1:
            raise NotSupported(
                f"{session.provider} refunds one capture at a time: name it with capture=, one of "
                + ", ".join(fitting),
                session_id=session.id,
            )
        chosen = fitting[0] if fitting else next(iter(left), None)
    if chosen is None:
        return request
    return request._replace(capture=rows[chosen], capture_left=left[chosen])


def nothing_to_do(session: SessionRow, request: Request) -> bool:
    """Return whether what is asked of a session that is not in doubt is done: then no provider is called."""
    if request.increment and session.status is Status.AUTHORIZED:
        return request.amount == session.amount == session.authorized_amount
    if request.amount is not None or request.capture_id is not None:
        return False
    if request.kind is INITIATE:
        return session.initiated
    if request.kind is AUTHORIZE:
        return session.status is Status.AUTHORIZED
    if request.kind is CANCEL:
        return session.status is Status.CANCELED and not _is_left_over(session, CANCEL)
    if request.kind is CAPTURE:
        left = session.authorized - session.captured - session.capturing
        return session.status is Status.AUTHORIZED and session.captured > 0 and left == 0
    return request.kind is REFUND and session.refunded > 0 and _refundable(session) == 0


def is_repetition(request: Request, settled: Operation | None) -> bool:
    """Return whether a call without a key asks again for what was in doubt until now, and was done.

    Whoever called before does not know what became of it, and may have meant it once.

    Args:
        request: What is asked.
        settled: The operation that was in doubt.
    """
    return (
        settled is not None
        and request.idempotency_key is None
        and request.kind in (CAPTURE, REFUND)
        and settled.state in (State.PENDING, State.SUCCEEDED)
        and (settled.kind, settled.amount, settled.final) == (request.kind, request.amount, request.final)
        and request.capture_id in (None, settled.capture_id)
    )


def begin(
    session: SessionRow, request: Request, capabilities: Capabilities, now: datetime
) -> tuple[Ledger, Operation]:
    """Check a request against the rules and write its operation down, ready to be sent.

    Raises:
        InvalidTransition: The session's status does not allow it.
        InvalidAmount: More than is left, nothing, or another currency.
        NotSupported: The provider does not do this, or not in parts.
    """
    kind = request.kind
    _check_status(session, kind)
    if kind is UPDATE and session.status is Status.AUTHORIZED:
        _check_increment(session, request, capabilities)
    amount = _amount(session, request, capabilities)
    if capabilities.currency_exponents and kind is not CANCEL:
        _check_decimals(session, amount, capabilities)
    held = session.held
    hold = 0
    if kind is AUTHORIZE or (kind is UPDATE and held):
        hold = max(0, amount.minor - held)
    ordinal = session.ordinal + 1
    number = ordinal if request.idempotency_key is None else request.attempt
    operation_id = f"{session.id}-{number}-{request.digest(session.id, amount)}"
    lease_until = now + capabilities.call_limit + LEASE_MARGIN
    operation = new(
        Operation,
        {"_payload": request.payload, "_data": session.data_text, "_until": None},
        id=operation_id,
        session_id=session.id,
        kind=kind,
        ordinal=ordinal,
        amount=amount,
        state=State.STARTED,
        created_at=now,
        updated_at=now,
        origin=request.origin,
        by=request.by,
        idempotency_key=request.idempotency_key,
        fingerprint=request.fingerprint if request.idempotency_key is not None else None,
        final=request.final,
        reason=request.reason,
        capture_id=request.capture.id if request.capture is not None else None,
        reverses=None,
        reference=None,
        sure=True,
        answer=None,
        error=None,
        note=None,
        dispute=None,
        session_reference=session.reference,
        session_status=session.status,
        hold=hold,
        attempt=1,
        lease_until=lease_until,
        sent_at=now,
        doubted_at=None,
        capture=None,
        webhook_url=None,
        deadline=None,
    )
    ledger = Ledger(session, now)
    ledger.apply(Begun(operation))
    return ledger, operation


def _check_decimals(session: SessionRow, amount: Money, capabilities: Capabilities) -> None:
    """Refuse an amount that the gateway has no decimals for, before anything is sent."""
    try:
        capabilities.minor(amount)
    except InvalidAmount as error:
        raise InvalidAmount(f"{session.provider}: {error}", session_id=session.id) from None


def _check_status(session: SessionRow, kind: Kind) -> None:
    if kind is not INITIATE and not session.initiated and session.status is not Status.CANCELED:
        raise InvalidTransition(
            "the provider has not accepted this session yet: call initiate again with the same "
            "idempotency_key, or initiate a new session",
            session_id=session.id,
        )
    if session.status not in ALLOWED[kind] and not _is_left_over(session, kind):
        raise InvalidTransition(f"cannot {kind} a session that is {session.status}", session_id=session.id)
    if session.authorizing is not None and kind in (AUTHORIZE, UPDATE):
        raise InvalidTransition(
            f"cannot {kind}: an authorization is pending at the provider; sync() asks how it stands",
            session_id=session.id,
        )
    if session.cancel_requested and kind is AUTHORIZE:
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


def _check_increment(session: SessionRow, request: Request, capabilities: Capabilities) -> None:
    """Refuse to raise what is authorized, where that cannot be."""
    another = "initiate another session for the difference"
    if not (request.increment and capabilities.increment):
        raise InvalidTransition(
            f"cannot update a session that is {session.status}: {session.provider} does not raise what is "
            f"authorized; {another}, or cancel this one and initiate a new one",
            session_id=session.id,
        )
    if session.captured or session.capturing or session.pending or session.cancel_requested:
        raise InvalidTransition(
            "cannot raise what is authorized once a part of it was captured, or a cancel was asked for: "
            f"{another}",
            session_id=session.id,
        )
    asked, least = request.amount, max(session.authorized_amount, session.amount)
    # What a lookup found to be authorized may be asked for: after a restore that is the same call again.
    found = session.amount < session.authorized_amount == asked
    if asked is not None and asked.currency == least.currency and asked <= least and not found:
        raise InvalidAmount(
            f"cannot update to {asked}: what is authorized can only be raised, to more than {least}; to take "
            "less, capture less with final=True",
            session_id=session.id,
        )


def _is_left_over(session: SessionRow, kind: Kind) -> bool:
    """Return whether a canceled session has something that a cancel or refund can still give back."""
    if session.status is not Status.CANCELED:
        return False
    if kind is CANCEL:
        return session.cancel_requested or not session.released
    return kind is REFUND and session.captured > 0


def _amount(session: SessionRow, request: Request, capabilities: Capabilities) -> Money:
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
        return _capture_amount(session, asked, capabilities)
    if kind is REFUND:
        return _refund_amount(session, request, capabilities)
    if kind is CANCEL and session.authorized:
        return Money.from_minor(session.authorized - session.captured - session.capturing, currency)
    return session.amount


def _capture_amount(session: SessionRow, asked: Money | None, capabilities: Capabilities) -> Money:
    left, offered = session.authorized - session.captured - session.capturing, capabilities.capture
    if offered == "none":
        raise NotSupported(f"{session.provider} does not capture", session_id=session.id)
    if capabilities.increment and asked is not None and left == session.authorized < asked.minor:
        raise InvalidAmount(
            f"cannot capture {asked}: {session.authorized_amount} is authorized; raise that first, with "
            "update(session_id, amount), and capture then",
            session_id=session.id,
        )
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


def _refund_amount(session: SessionRow, request: Request, capabilities: Capabilities) -> Money:
    left = _refundable(session)
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


def _refundable(session: SessionRow) -> int:
    """Return how much is left to refund: not what was refunded, is being refunded, or was charged back."""
    return session.captured - session.refunded - session.refunding - session.charged_back


def _part(session: SessionRow, asked: Money | None, left: int, verb: str) -> Money:
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


def claim(
    session: SessionRow, operation: Operation, *, now: datetime, capabilities: Capabilities
) -> tuple[Ledger, Operation]:
    """Take over an operation in doubt that no worker has leased, or whose lease has run out."""
    ledger = Ledger(session, now)
    ledger.apply(Claimed(operation, now + capabilities.call_limit + LEASE_MARGIN))
    return ledger, ledger.written[operation.id]


def requested_cancel(session: SessionRow) -> Request | None:
    """Return the cancel that was requested, once nothing is in doubt."""
    wanted = session.cancel_requested and session.open is None
    return Request(CANCEL, by=session.cancel_by) if wanted else None


def follow_up(ledger: Ledger) -> Request | None:
    """Return what is to be sent because of a change: the requested cancel, unless it was just refused."""
    if not ledger.row.cancel_requested:
        return None
    if any(row.kind is CANCEL and row.state in REFUSED for row in ledger.written.values()):
        return None  # recovery attempts it again
    return requested_cancel(ledger.session)
