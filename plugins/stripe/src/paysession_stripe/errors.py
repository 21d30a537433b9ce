"""What a request raises besides the core's three kinds of failure: the same kinds, with what Stripe said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paysession.provider import Declined, OutcomeUnknown

if TYPE_CHECKING:
    from paysession_stripe.intent import Intent

__all__ = ["Refused", "StateRefused"]


class StateRefused(OutcomeUnknown):
    """Stripe refused because of the state of the object: the object says what that proves."""


class Refused(Declined):
    """Stripe refused for certain.

    Attributes:
        status: The HTTP status: 402 where the payment was declined, another one for a mistake of ours.
        intent: The PaymentIntent after it, where Stripe shows it.
    """

    status: int = 0
    intent: Intent | None = None
