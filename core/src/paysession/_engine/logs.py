"""What is logged of a change once it is committed: doubt, refusals, disputes, and what others did.

Each happens once, and so does its record: they are made of the events of the commit. The words are for
people; programs read the attributes of the record that `_attributes` gives it. Nothing of a payer's or a
provider's ``data`` is in either.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from paysession.operation import CANCEL, CAPTURE, INITIATE, REFUND, REFUSED, Kind, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paysession._ledger.ledger import Ledger
    from paysession.operation import EventType, Operation

__all__ = ["RECORDS", "log_change"]

logger = logging.getLogger("paysession")

RECORDS: Final[Mapping[EventType, tuple[int, str]]] = {
    "operation.in_doubt": (logging.WARNING, "{what} is in doubt: {detail} ({operation})"),
    "operation.settled": (logging.INFO, "{what} is settled after {age:.0f} s: {detail} ({operation})"),
    "operation.failed": (logging.INFO, "{what} was {state}: {detail} ({operation})"),
    "session.error": (logging.INFO, "{what} was {state}: {detail} ({operation})"),
    "session.canceled": (logging.INFO, "{what} was {state}: {detail} ({operation})"),
    "session.released": (logging.INFO, "{what} was {state} ({operation})"),
    "session.captured": (logging.INFO, "{what} was {state} ({operation})"),
    "session.refunded": (logging.INFO, "{what} was {state} ({operation})"),
    "session.reversed": (logging.WARNING, "{what} was undone ({operation})"),
    "session.disputed": (logging.WARNING, "{money} is disputed: {detail}"),
    "session.charged_back": (logging.WARNING, "{money} was charged back: {detail}"),
    "session.dispute_won": (logging.INFO, "{money} was disputed, and is kept: {detail}"),
    "session.conflict": (logging.WARNING, "{session}: {detail}"),
}
"""The level and the sentence of each event's record; `_is_news` says which events have none."""

_FOUND: Final[Mapping[EventType, Kind]] = {
    "session.canceled": CANCEL,
    "session.captured": CAPTURE,
    "session.refunded": REFUND,
    "session.released": CANCEL,
}
"""The events that are logged where somebody else than we caused them, and of which kind of operation."""


def log_change(ledger: Ledger) -> None:
    """Log what a change that was committed means for an operator."""
    for type_, operation, detail in ledger.events:
        level, sentence = RECORDS.get(type_, (logging.NOTSET, ""))
        if type_ == "operation.failed" and _was_accepted(ledger, operation):
            level = logging.WARNING
        if level and logger.isEnabledFor(level) and _is_news(type_, operation):
            fields = _attributes(ledger, type_, operation, detail)
            logger.log(level, "%s", sentence.format(**_words(fields, operation)), extra=fields)


def _is_news(type_: EventType, operation: Operation | None) -> bool:
    """Return whether an event says more than how payments go: a refusal, or what was found at the gateway."""
    if type_ not in _FOUND and type_ not in ("operation.failed", "session.error"):
        return True
    if operation is None:
        return False
    if operation.state in REFUSED:  # what follows from a refusal has no record of its own
        return type_ not in _FOUND or operation.kind is INITIATE
    found = operation.origin == "provider" and operation.reverses is None and operation.answer != "captured"
    return found and operation.kind is _FOUND.get(type_)


def _was_accepted(ledger: Ledger, operation: Operation | None) -> bool:
    """Return whether a capture or refund failed that had been accepted: somebody may rely on it."""
    before = ledger.known.get(operation.id) if operation is not None else None
    return before is not None and before.state is State.PENDING and before.kind in (CAPTURE, REFUND)


def _words(fields: Mapping[str, Any], operation: Operation | None) -> dict[str, Any]:
    """Return what the sentences are filled with."""
    amount, place = f"{fields['amount']} {fields['currency']}", f"session {fields['session_id']}"
    refused = operation is not None and operation.state in REFUSED
    return {
        "what": f"{fields['kind']} of {amount} with {fields['provider']}",
        "money": f"{amount} of {place} with {fields['provider']}",
        "operation": f"operation {fields['operation_id']}",
        "session": place,
        "state": operation.state.replace("_", " ") if operation and refused else "found at the gateway",
        "age": fields["age_seconds"],
        "detail": fields["detail"] or "nothing more is known",
    }


def _attributes(
    ledger: Ledger, type_: EventType, operation: Operation | None, detail: str | None
) -> dict[str, Any]:
    """Return the attributes that a record has besides those of the logging module."""
    session = ledger.before
    amount = operation.amount if operation is not None else session.amount
    age = (ledger.now - operation.created_at).total_seconds() if operation is not None else None
    return {
        "payment_event": type_,
        "session_id": session.id,
        "order_reference": session.collection_reference,
        "provider": session.provider,
        "operation_id": operation.id if operation is not None else None,
        "kind": str(operation.kind) if operation is not None else None,
        "amount": f"{amount.amount:f}",
        "currency": amount.currency,
        "age_seconds": age,
        "detail": detail,
    }
