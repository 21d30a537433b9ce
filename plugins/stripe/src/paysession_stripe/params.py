"""What is sent: the parameters of each write, decided from the session and the operation alone.

So a repetition under the same key is sent with the same parameters, which Stripe insists on: it gets
the session's ``data`` and status as they were at begin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paysession_stripe.amounts import to_stripe
from paysession_stripe.intent import OPERATION, REFERENCE, SESSION, capture_mark

if TYPE_CHECKING:
    from stripe.params import (
        CustomerCreateParams,
        PaymentIntentCaptureParams,
        PaymentIntentConfirmParams,
        PaymentIntentCreateParams,
        RefundCreateParams,
    )

    from paysession.provider import Operation, PaymentSession
    from paysession_stripe.data import StripeData

__all__ = ["EXPAND", "capture", "confirmation", "customer", "intent", "refund", "release"]

EXPAND: Final = ("latest_charge.refunds",)
"""Told with a PaymentIntent: its charge with the deadline for capture, and the refunds of that."""

_REASONS: Final = ("duplicate", "fraudulent", "requested_by_customer")
"""What Stripe takes as a refund's reason; other words are kept in the refund's metadata."""

_DESCRIPTION: Final = 1000


def customer(session: PaymentSession, data: StripeData) -> CustomerCreateParams:
    """Return how the customer is created."""
    params: CustomerCreateParams = {"metadata": {SESSION: session.id}}
    if data.email is not None:
        params["email"] = data.email
    if data.name is not None:
        params["name"] = data.name
    return params


def intent(
    session: PaymentSession,
    operation: Operation,
    data: StripeData,
    *,
    amount: int,
    automatic: bool,
    multicapture: bool,
    suffix: str,
) -> PaymentIntentCreateParams:
    """Return how the PaymentIntent is created.

    Which payment methods it offers is said nowhere: they are those of the account's dashboard.
    """
    params: PaymentIntentCreateParams = {
        "amount": amount,
        "currency": session.amount.currency.lower(),
        "capture_method": "automatic" if automatic else "manual",
        "metadata": {
            SESSION: session.id,
            OPERATION: operation.key,
            REFERENCE: session.collection_reference,
        },
    }
    if data.customer is not None:
        params["customer"] = data.customer
    if data.payment_method is not None:
        params["payment_method"] = data.payment_method
        if session.checkout.return_url is None:
            # It is confirmed from here, and Stripe wants an address to come back to for whatever
            # might redirect: without one, only what does not redirect is accepted.
            params["automatic_payment_methods"] = {"enabled": True, "allow_redirects": "never"}
    if data.setup_future_usage is not None:
        params["setup_future_usage"] = data.setup_future_usage
    if session.checkout.description:
        params["description"] = session.checkout.description[:_DESCRIPTION]
    if suffix:
        params["statement_descriptor_suffix"] = suffix
    if multicapture and not automatic:
        params["payment_method_options"] = {"card": {"request_multicapture": "if_available"}}
    return params


def confirmation(session: PaymentSession, data: StripeData) -> PaymentIntentConfirmParams:
    """Return how a saved payment method is charged."""
    params: PaymentIntentConfirmParams = {"expand": [*EXPAND]}
    if data.payment_method is not None and data.last_error is not None:
        # Stripe takes the payment method off a PaymentIntent that was declined.
        params["payment_method"] = data.payment_method
    if data.off_session and data.last_error != "authentication_required":
        # Otherwise the bank wanted the payer, and whoever tries again has the payer at hand.
        params["off_session"] = True
    if session.checkout.return_url is not None:
        params["return_url"] = session.checkout.return_url
    return params


def capture(
    session: PaymentSession, operation: Operation, *, multicapture: bool
) -> PaymentIntentCaptureParams:
    """Return how a capture is made. It carries our mark in the metadata that it writes."""
    amount = to_stripe(operation.amount)
    params: PaymentIntentCaptureParams = {
        "amount_to_capture": amount,
        "metadata": capture_mark(operation, amount),
        "expand": [*EXPAND],
    }
    if multicapture:
        left = session.authorized_amount - session.captured_amount
        params["final_capture"] = operation.final or operation.amount >= left
    return params


def release() -> PaymentIntentCaptureParams:
    """Return how the rest is let go of after a capture: a final capture of nothing.

    https://docs.stripe.com/payments/multicapture
    """
    return {"amount_to_capture": 0, "final_capture": True, "expand": [*EXPAND]}


def refund(session: PaymentSession, operation: Operation, intent_id: str) -> RefundCreateParams:
    """Return how a refund is made."""
    metadata = {SESSION: session.id, OPERATION: operation.key}
    params: RefundCreateParams = {
        "payment_intent": intent_id,
        "amount": to_stripe(operation.amount),
        "metadata": metadata,
    }
    if operation.reason in _REASONS:
        params["reason"] = operation.reason
    elif operation.reason:
        metadata["reason"] = operation.reason
    return params
