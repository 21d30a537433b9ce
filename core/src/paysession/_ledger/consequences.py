"""What follows from what was recorded: conflicts that open or are over, and the cancel of what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paysession._ledger.facts import CancelRequested, ConflictClosed, ConflictOpened
from paysession.money import Money
from paysession.operation import CAPTURE, REFUSED, Operation, State
from paysession.values import Status

if TYPE_CHECKING:
    from paysession._ledger.ledger import Ledger
    from paysession.outcome import Capabilities
    from paysession.session import ConflictKind

__all__ = ["amounts", "compare_capture", "conclude", "is_as_asked", "is_resolved", "releases"]


def compare_capture(ledger: Ledger, capabilities: Capabilities) -> None:
    """Report a capture that shows that more was authorized than was asked for.

    Others may have captured meanwhile. A later lookup shows nothing new, and so would not report it.
    """
    row = ledger.row
    if (
        row.authorized > max(ledger.before.authorized, row.amount.minor)
        and not is_resolved(ledger, "over_limit", capabilities)
        and not ledger.conflicts
    ):
        ledger.apply(ConflictOpened("amount", *amounts(ledger, row.amount.minor, row.authorized)))


def conclude(ledger: Ledger, capabilities: Capabilities) -> None:
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
        kept = amounts(ledger, row.captured - row.returned)
        ledger.apply(ConflictOpened("authorized_after_cancel", "nothing", *kept))
    for kind in list(ledger.conflicts):
        if ledger.conflicts[kind] not in ledger.opened and is_resolved(ledger, kind, capabilities):
            ledger.apply(ConflictClosed(kind))


def _leaves_rest(ledger: Ledger, operation: Operation) -> bool:
    """Return whether what is left was to be released with this capture, or with a final one meanwhile."""
    if operation.kind is not CAPTURE or operation.state not in (State.SUCCEEDED, *REFUSED):
        return False
    finals = [op for op in ledger.operations if op.final and op.state is State.SUCCEEDED]
    if operation.state is State.SUCCEEDED:
        return operation in finals
    return any(op.updated_at >= operation.created_at for op in finals)


def releases(operation: Operation, capabilities: Capabilities) -> bool:
    """Return whether the gateway releases the rest of the authorization when this succeeds."""
    final = operation.final and capabilities.final_capture_releases
    return operation.kind is CAPTURE and (final or capabilities.capture == "once")


def is_as_asked(found: int, asked: int, capabilities: Capabilities) -> bool:
    """Return whether an authorized amount is what was asked, or a part of it where that may come."""
    return found == asked or (capabilities.partial_authorization and found < asked)


def is_resolved(ledger: Ledger, conflict: ConflictKind, capabilities: Capabilities) -> bool:
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
    return conflict == "amount" and is_as_asked(row.authorized, row.amount.minor, capabilities)


def amounts(ledger: Ledger, *minor: int) -> tuple[Money, ...]:
    """Return amounts in the session's currency."""
    currency = ledger.row.amount.currency
    return tuple(Money.from_minor(part, currency) for part in minor)


def _totals(ledger: Ledger) -> tuple[Money, Money]:
    captured, returned = amounts(ledger, ledger.row.captured, ledger.row.returned)
    return captured, returned
