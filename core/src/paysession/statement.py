"""What a verified notification tells of a gateway that cannot be asked, such as a bank's statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paysession.money import Money
from paysession.operation import REFUSED, Kind, State
from paysession.outcome import Answer, Snapshot
from paysession.values import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paysession.operation import Operation
    from paysession.outcome import Effect
    from paysession.session import PaymentSession

__all__ = ["snapshot_of_effects"]

_BEFORE: Final = (Status.PENDING, Status.REQUIRES_MORE, Status.ERROR)


def snapshot_of_effects(
    session: PaymentSession, operations: Sequence[Operation], effects: Iterable[Effect]
) -> Snapshot:
    """Return what a verified notification tells, for a gateway that cannot be asked.

    It tells of one moment, and may come late: what the books know of already says nothing about how
    the session stands now.
    """
    status, authorized, error = session.status, None, None
    effects = tuple(effects)
    known = [effect for effect in effects if any(_is_known(row, effect) for row in operations)]
    effects = tuple(effect for effect in effects if effect.state != "pending" or effect not in known)
    for effect in effects:
        if effect in known:
            continue
        done = effect.state in ("pending", "succeeded")
        if effect.kind is Kind.CANCEL and effect.state == "succeeded":
            status = Status.CANCELED
        elif effect.kind is Kind.CAPTURE and done:
            if status is not Status.AUTHORIZED:
                # What arrived was authorized, and no more: a payer may transfer too little.
                authorized = Money.from_minor(0, session.amount.currency)
            status = Status.AUTHORIZED
        elif effect.kind is Kind.AUTHORIZE and effect.state == "succeeded":
            status = Status.AUTHORIZED
            authorized = effect.amount if session.status is not Status.AUTHORIZED else None
        elif effect.kind is Kind.AUTHORIZE and effect.state == "failed" and status in _BEFORE:
            status, error = Status.ERROR, effect.error
    return Snapshot(status, authorized=authorized, effects=effects, error=error)


def _is_known(row: Operation, effect: Effect) -> bool:
    """Return whether an operation is that effect, and is closed as the effect tells."""
    same = effect.key == row.id or (
        row.reference is not None and row.reference in (effect.reference, effect.key)
    )
    if row.kind is not effect.kind or not same:
        return False
    if row.kind is Kind.AUTHORIZE and row.answer in (Answer.REQUIRES_MORE, Answer.CANCELED):
        return False  # an authorization that came to no effect then; the payer may have acted since
    if effect.state == "pending":
        # It began, and has come to its end since.
        return row.state is State.SUCCEEDED or (row.state.closed and row.answer == "pending")
    told = (State.SUCCEEDED,) if effect.state == "succeeded" else REFUSED
    return row.state in told
