"""Refusals as facts: what an answer, an effect or a lookup says of an operation that will have no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paysession._ledger.facts import Refused
from paysession._ledger.ledger import FAILED
from paysession.errors import Declined, Mistaken
from paysession.operation import State
from paysession.values import Failure

if TYPE_CHECKING:
    from paysession.errors import NotApplied
    from paysession.operation import Operation

__all__ = ["declined", "failed", "failure", "refusal"]


def refusal(operation: Operation, error: Declined | NotApplied, note: str | None = None) -> Refused:
    """Return what a provider's answer, or what amounts to one, says of an operation."""
    if isinstance(error, Declined):
        reason = Failure(error.code, error.message, error.category, error.payer_message_key)
        return Refused(operation, State.DECLINED, reason, note)
    if isinstance(error, Mistaken):
        reason = Failure(error.code, error.message, "configuration")
    else:
        reason = Failure("not_applied", error.message, "try_later")
    return Refused(operation, State.NOT_APPLIED, reason, note)


def failed(operation: Operation, error: Failure | None) -> Refused:
    """Return what an effect that failed says of its operation: that is final."""
    return Refused(operation, State.DECLINED, failure(error), answer=FAILED)


def failure(error: Failure | None) -> Failure:
    """Return why something failed, in the words that the gateway gave for it."""
    return error or Failure("failed", "the provider reports that it failed")


def declined(error: Failure | None) -> Declined:
    """Return the refusal that a lookup shows, as the provider would have answered it."""
    known = failure(error)
    key = known.payer_message_key
    return Declined(known.code, known.message, category=known.category, payer_message_key=key)
