"""What is asked of a session, before the rules have seen it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, evolve

from paysession.errors import InvalidData, NotSupported
from paysession.operation import (
    AUTHORIZE,
    CANCEL,
    CAPTURE,
    INITIATE,
    REFUND,
    REFUSED,
    Kind,
    State,
    digest_of,
)
from paysession.values import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paysession.money import Money
    from paysession.operation import Operation
    from paysession.outcome import Capabilities
    from paysession.session import PaymentSession

__all__ = ["Request", "nothing_to_do", "with_capture"]


@define
class Request:
    """What is asked of a session, before the rules have seen it.

    Attributes:
        kind: Which effect.
        amount: How much; None: all that is left.
        payload: What the payer's browser sent, as JSON text.
        idempotency_key: The caller's key.
        final: For a capture: let go of the rest.
        reason: For a refund: why.
        capture_id: For a refund: the capture that the caller named.
        capture: For a refund: the capture that it refers to, named or found.
        capture_left: For a refund of one capture: how much of that is left, in minor units.
        extra: A digest of what else a repetition must have in common.
        origin: ``host``, or ``payer`` when the payer caused it: chose the provider, or approved there.
        attempt: With a caller's key, which attempt it is: after one that was not applied comes the next.
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
    origin: str = "host"
    attempt: int = 1

    @property
    def fingerprint(self) -> str:
        """What must be the same when an idempotency key is used again."""
        parts = (self.amount, self.final, self.reason, self.capture_id, self.extra)
        return " ".join([self.kind, *map(str, parts)])

    def digest(self, session_id: str, amount: Money | None = None) -> str:
        """Return the digest that the id of this request's operation ends with.

        With a caller's key it stands for the call, whatever the ledger makes of it: repeated after a restore,
        the call is recognized. Without one it stands for the effect, which takes the amount.
        """
        if self.idempotency_key is not None:
            return digest_of(session_id, self.fingerprint, self.idempotency_key)
        capture = self.capture.id if self.capture is not None else None
        return digest_of(session_id, self.fingerprint, None, amount, capture)


def with_capture(
    session: PaymentSession, request: Request, operations: Sequence[Operation], capabilities: Capabilities
) -> Request:
    """Return a refund request with the capture that it refers to, and what is left of that.

    Raises:
        InvalidData: The operation named is no capture of this session that succeeded.
        NotSupported: The provider refunds one capture at a time, and several could be meant.
    """
    rows = {row.id: row for row in operations}
    stands = {row.id: row.amount.minor for row in operations if row.reverses is None}
    for row in operations:
        if row.reverses is not None:
            stands[row.reverses] -= row.amount.minor
    left: dict[str, int] = {}
    for row in operations:
        if row.kind is CAPTURE and row.state is State.SUCCEEDED and stands.get(row.id):
            left[row.id] = stands[row.id]
    for row in operations:
        if row.kind is REFUND and row.capture_id in left and row.state not in REFUSED:
            left[row.capture_id] -= stands[row.id]
    chosen = request.capture_id
    if chosen is not None and not (isinstance(chosen, str) and chosen in left):
        raise InvalidData(
            f"{chosen!r:.80} is no capture of this session that succeeded", session_id=session.id
        )
    if chosen is None and capabilities.refund_needs_capture:
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
    return evolve(request, capture=rows[chosen], capture_left=left[chosen])


def nothing_to_do(session: PaymentSession, request: Request) -> bool:
    """Return whether what is asked for is done already: then no provider is called."""
    if request.amount is not None or request.capture_id is not None or session.open is not None:
        return False
    if request.kind is INITIATE:
        return session.initiated
    if request.kind is AUTHORIZE:
        return session.status is Status.AUTHORIZED
    if request.kind is CANCEL:
        return session.status is Status.CANCELED and session.conflict is None
    if request.kind is CAPTURE:
        left = session.authorized - session.captured - session.capturing
        return session.status is Status.AUTHORIZED and session.captured > 0 and left == 0
    if request.kind is REFUND:
        return session.refunded > 0 and session.captured - session.refunded - session.refunding == 0
    return False
