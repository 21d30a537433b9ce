"""What to fix, where several mistakes end in the same failure: read off the last lookup and the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paysession import Kind, State, Status
from paysession.provider import REFUSED, Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paysession import Operation
    from paysession_testing.contract.bench import Bench

__all__ = ["of_doubt", "of_ledger", "untold"]

_TOTALS: Final = {Kind.CAPTURE: "captured", Kind.REFUND: "refunded"}


def untold(snapshot: Snapshot, kind: Kind) -> str | None:
    """Say what a lookup leaves out of what happened; None: it tells of such an effect."""
    if snapshot.status is None:
        return (
            "look for session.reference, or for session.id while none is known; where that cannot be, raise "
            "OutcomeUnknown: Snapshot.absent() says that there certainly is nothing"
        )
    if kind is Kind.UPDATE and snapshot.amount is None:
        return "give amount= in the Snapshot: what the gateway's object is to authorize settles an update"
    if kind is Kind.AUTHORIZE and snapshot.status is not Status.AUTHORIZED:
        return f"answer the status authorized for what the gateway authorized; it was {snapshot.status}"
    told = any(effect.kind is kind for effect in snapshot.effects)
    name = _TOTALS.get(kind)
    if name is not None and getattr(snapshot, name) is None and not told:
        return (
            f"give {name}= in the Snapshot, as a total (0 where there is none), or an Effect of each {kind}"
        )
    return None


def of_doubt(bench: Bench, operation: Operation) -> str:
    """Say what keeps recovery from settling an operation."""
    seen = _last_look(bench)
    lacking = untold(seen, operation.kind) if isinstance(seen, Snapshot) else None
    if isinstance(seen, BaseException):
        lacking = (
            "let retrieve raise only if the gateway cannot be asked; without session.reference look for "
            "session.id, or answer Snapshot.absent() if nothing can have happened without one"
        )
    if not bench.capabilities.window(operation.kind):
        lacking = lacking or "let retrieve tell what happened"
        return (
            f"{lacking}; nothing is sent again without replay_window=, which is declared where the gateway "
            "keeps idempotency keys"
        )
    return lacking or "let retrieve tell what happened, and answer a repetition as the first time"


def of_ledger(bench: Bench, rows: Sequence[Operation], kind: Kind, effects: int) -> str:
    """Say why the operations of one kind in the ledger are not those that so many effects lead to."""
    own = [row for row in rows if row.kind is kind and row.origin == "host"]
    booked = [row for row in rows if row.kind is kind and row.state in (State.SUCCEEDED, State.PENDING)]
    found = [row for row in booked if row.origin != "host"]
    if found and len(booked) > effects:
        return (
            f"give the Effect of a {kind} the reference that the hook answered: as {found[0].reference} it "
            "was taken for another one"
        )
    if effects > len(own):
        keyed = any(bench.gateway.carries(request, row.id) for row in own for request in bench.wire.requests)
        if not keyed and bench.capabilities.window(kind):
            return (
                "send operation.key as the idempotency key; or declare replay_window=timedelta(0) if the "
                "gateway knows no keys, so that nothing is sent again"
            )
        return (
            "send each request once: whether it may be sent again, and with which key, is for the core to say"
        )
    seen, refused = _last_look(bench), any(row.state in REFUSED for row in own)
    lacking = untold(seen, kind) if refused and isinstance(seen, Snapshot) else None
    return lacking or (
        "answer OutcomeUnknown to what may have happened, and to what did with the amount that the gateway "
        "stated; let retrieve tell all that happened"
    )


def _last_look(bench: Bench) -> object:
    """Return what the last lookup answered or raised; None: there was none."""
    call = next((call for call in reversed(bench.recorder.calls) if call.hook == "retrieve"), None)
    return (call.error or call.answer) if call is not None else None
