"""What is sent: the parameters of each write, decided from the session and the operation alone.

So a repetition under the same key is sent with the same parameters, which Stripe insists on: it gets
the session's ``data`` and status as they were at begin.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from paysession_stripe.amounts import to_stripe
from paysession_stripe.intent import OPERATION, PAGE, REFERENCE, SESSION, capture_mark
from paysession_stripe.methods import HOLDABLE
from paysession_stripe.page import LOCALES

if TYPE_CHECKING:
    from stripe.params import (
        CustomerCreateParams,
        PaymentIntentCaptureParams,
        PaymentIntentConfirmParams,
        PaymentIntentCreateParams,
        PaymentIntentIncrementAuthorizationParams,
        RefundCreateParams,
    )
    from stripe.params.checkout import SessionCreateParams as CheckoutSessionCreateParams

    from paysession.provider import Operation, PaymentSession
    from paysession_stripe.data import StripeData

__all__ = [
    "CUSTOMER",
    "EXPAND",
    "Defaults",
    "capture",
    "confirmation",
    "customer",
    "customer_key",
    "increment",
    "intent",
    "is_last",
    "page",
    "refund",
    "release",
]

EXPAND: Final = ("latest_charge.refunds", "latest_charge.balance_transaction")
"""Shown with a PaymentIntent: its charge with the deadline for capture, the refunds of that, and its cost."""

CUSTOMER: Final = "paysession_customer"
"""The metadata of a customer that carries the shop's own id of them."""

_REASONS: Final = ("duplicate", "fraudulent", "requested_by_customer")
"""What Stripe takes as a refund's reason; other words are kept in the refund's metadata."""

_DESCRIPTION: Final = 1000
_NAME: Final = 256


@frozen(kw_only=True)
class Defaults:
    """What the provider's settings say where a payment's own options say nothing.

    Attributes:
        capture: ``manual``, ``automatic`` or ``where_possible``.
        multicapture: Whether the account may capture one payment several times.
        extended: Whether a card is held for longer than a week where that is available.
        incremental: Whether what a card holds can be raised where that is available.
        suffix: What follows the shop's name on the payer's statement.
        receipts: Whether Stripe sends a receipt to the payer's address.
    """

    capture: str = "manual"
    multicapture: bool = False
    extended: bool = False
    incremental: bool = False
    suffix: str = ""
    receipts: bool = True


def customer(session: PaymentSession, data: StripeData) -> CustomerCreateParams:
    """Return how the customer is created."""
    params: CustomerCreateParams = {"metadata": {SESSION: session.id}}
    if data.customer_reference is not None:
        # The same for every session of this customer: the key of this request is, too.
        params["metadata"] = {CUSTOMER: data.customer_reference}
    email = data.email or session.checkout.email
    if email is not None:
        params["email"] = email
    name = data.name or (session.checkout.payer.name if session.checkout.payer is not None else None)
    if name is not None:
        params["name"] = name[:_NAME]
    if session.checkout.locale:
        params["preferred_locales"] = [session.checkout.locale]
    return params


def customer_key(params: CustomerCreateParams) -> str:
    """Return the key under which the customer of a shop's own id is created, whichever session asks first."""
    digest = sha256(repr(sorted(params.items(), key=str)).encode()).hexdigest()
    return f"paysession-customer-{digest[:40]}"


def intent(
    session: PaymentSession, operation: Operation, data: StripeData, defaults: Defaults, *, amount: int
) -> PaymentIntentCreateParams:
    """Return how the PaymentIntent is created.

    Which payment methods it offers is said by the options, or else by the account's dashboard.
    """
    params: PaymentIntentCreateParams = {
        "amount": amount,
        "currency": session.amount.currency.lower(),
        "metadata": {
            **(data.metadata or {}),
            SESSION: session.id,
            OPERATION: operation.key,
            REFERENCE: session.collection_reference,
        },
    }
    how: Any = params
    how |= _capturing(session, data, defaults)
    for name in (
        "customer",
        "payment_method",
        "setup_future_usage",
        "payment_method_configuration",
        "allowed_payment_method_types",
        "excluded_payment_method_types",
        "on_behalf_of",
        "transfer_data",
        "transfer_group",
        "application_fee_amount",
    ):
        value = getattr(data, name)
        if value is not None:
            how[name] = value
    if data.payment_method is not None and session.checkout.return_url is None and not _restricted(data):
        # It is confirmed from here, and Stripe wants an address to come back to for whatever
        # might redirect: without one, only what does not redirect is accepted.
        params["automatic_payment_methods"] = {"enabled": True, "allow_redirects": "never"}
    if data.radar_session is not None:
        params["radar_options"] = {"session": data.radar_session}
    how |= _described(session, data, defaults)
    return params


def _restricted(data: StripeData) -> bool:
    """Return whether the options say which kinds are offered, so that Stripe takes no other restriction."""
    return data.allowed_payment_method_types is not None


def _described(session: PaymentSession, data: StripeData, defaults: Defaults) -> dict[str, Any]:
    """Return what the payer and the shop read of a payment."""
    params: dict[str, Any] = {}
    description = data.description or session.checkout.description
    if description:
        params["description"] = description[:_DESCRIPTION]
    suffix = data.statement_descriptor_suffix or defaults.suffix
    if suffix:
        params["statement_descriptor_suffix"] = suffix
    receipt = data.receipt_email or (session.checkout.email if defaults.receipts else None)
    if receipt:
        params["receipt_email"] = receipt
    shipping = data.shipping or _shipping(session)
    if shipping is not None:
        params["shipping"] = shipping
    return params


def _shipping(session: PaymentSession) -> dict[str, Any] | None:
    """Return where the goods go to, if the host said so: Stripe wants a name and a street."""
    place, payer = session.checkout.address, session.checkout.payer
    if place is None or not place.line1:
        return None
    name = place.name or (payer.name if payer is not None else None)
    if not name:
        return None
    parts = {
        "line1": place.line1,
        "line2": place.line2,
        "city": place.city,
        "postal_code": place.postal_code,
        "state": place.region,
        "country": place.country,
    }
    return {"name": name, "address": {key: part for key, part in parts.items() if part}}


def _lines(session: PaymentSession, title: str, amount: int) -> list[dict[str, Any]]:
    """Return the lines of a page: the host's where they add up to the amount, else one for all."""
    items = session.checkout.items
    rows = [(item.name, to_stripe(item.amount), item.quantity) for item in items]
    same = all(item.amount.currency == session.amount.currency for item in items)
    if not (same and rows and sum(each * count for _, each, count in rows) == amount):
        rows = [(title, amount, 1)]
    currency = session.amount.currency.lower()
    return [
        {
            "quantity": count,
            "price_data": {"currency": currency, "unit_amount": each, "product_data": {"name": name}},
        }
        for name, each, count in rows
    ]


def _capturing(session: PaymentSession, data: StripeData, defaults: Defaults) -> dict[str, Any]:
    """Return when the money is taken, for the payment and by payment method.

    Where a payment as a whole is captured later, Stripe offers no method that cannot wait. So where some wait
    and others do not, the payment is captured at once, and each method that waits says so for itself.
    """
    how = "automatic" if session.capture == "automatic" else data.capture or defaults.capture
    later: set[str] = set(HOLDABLE) if how == "where_possible" else set()
    for kind, when in (data.capture_methods or {}).items():
        if when == "manual":
            later.add(kind)
        elif how == "manual":
            how, later = "where_possible", later | set(HOLDABLE)
    for kind, when in (data.capture_methods or {}).items():
        if when == "automatic":
            later.discard(kind)
    options: dict[str, dict[str, Any]] = {
        kind: dict(part) for kind, part in (data.payment_method_options or {}).items()
    }
    if how != "manual":
        for kind in sorted(later):
            options.setdefault(kind, {})["capture_method"] = "manual"
    if how == "manual" or "card" in later:
        asked = {
            "multicapture": defaults.multicapture,
            "extended_authorization": defaults.extended,
            "incremental_authorization": defaults.incremental,
        }
        wanted = {f"request_{name}": "if_available" for name, wanted in asked.items() if wanted}
        if wanted:
            options["card"] = wanted | options.get("card", {})
    params: dict[str, Any] = {"capture_method": "manual" if how == "manual" else "automatic"}
    if options:
        params["payment_method_options"] = options
    return params


def page(
    session: PaymentSession, operation: Operation, data: StripeData, defaults: Defaults, *, amount: int
) -> CheckoutSessionCreateParams:
    """Return how Stripe's page is created, hosted or embedded, in the currency of the session."""
    marks = {
        **(data.metadata or {}),
        SESSION: session.id,
        OPERATION: operation.key,
        REFERENCE: session.collection_reference,
    }
    checkout = session.checkout
    described = _described(session, data, defaults)
    taken = _capturing(session, data, defaults)
    payment: dict[str, Any] = {
        "capture_method": taken["capture_method"],
        "metadata": {**marks, PAGE: "yes"},
        **described,
    }
    for name in (
        "setup_future_usage",
        "on_behalf_of",
        "transfer_data",
        "transfer_group",
        "application_fee_amount",
    ):
        value = getattr(data, name)
        if value is not None:
            payment[name] = value
    title = described.get("description") or session.collection_reference
    params: dict[str, Any] = {
        "mode": "payment",
        "client_reference_id": session.id,
        "line_items": _lines(session, title, amount),
        "adaptive_pricing": {"enabled": False},  # the amount that is paid is the one that was asked for
        "metadata": marks,
        "payment_intent_data": payment,
    }
    if data.ui == "embedded":  # the payer leaves it by a link of the shop's
        params |= {"ui_mode": "embedded_page", "return_url": checkout.return_url}
    else:
        params |= {
            "ui_mode": "hosted_page",
            "success_url": checkout.return_url,
            "cancel_url": checkout.cancel_url or checkout.return_url,
        }
    if data.customer is not None:
        params["customer"] = data.customer
    elif checkout.email:
        params["customer_email"] = checkout.email
    if checkout.locale in LOCALES:
        params["locale"] = checkout.locale
    if "payment_method_options" in taken:
        params["payment_method_options"] = taken["payment_method_options"]
    if data.payment_method_configuration is not None:
        params["payment_method_configuration"] = data.payment_method_configuration
    if data.allowed_payment_method_types is not None:
        params["payment_method_types"] = [*data.allowed_payment_method_types]
    if data.excluded_payment_method_types is not None:
        params["excluded_payment_method_types"] = [*data.excluded_payment_method_types]
    found: Any = params
    form: CheckoutSessionCreateParams = found
    return form


def confirmation(session: PaymentSession, data: StripeData) -> PaymentIntentConfirmParams:
    """Return how a kept payment method is charged."""
    params: PaymentIntentConfirmParams = {"expand": [*EXPAND]}
    if data.payment_method is not None and data.last_error is not None:
        # Stripe takes the payment method off a PaymentIntent that was declined.
        params["payment_method"] = data.payment_method
    if data.off_session and data.last_error != "authentication_required":
        # Otherwise the bank wanted the payer, and whoever tries again has the payer at hand.
        params["off_session"] = True
    if session.checkout.return_url is not None:
        params["return_url"] = session.checkout.return_url
    if data.mandate_data is not None:
        mandate: Any = data.mandate_data
        params["mandate_data"] = mandate
    return params


def capture(
    session: PaymentSession, operation: Operation, data: StripeData, *, multicapture: bool
) -> PaymentIntentCaptureParams:
    """Return how a capture is made. It carries our mark in the metadata that it writes."""
    amount = to_stripe(operation.amount)
    params: PaymentIntentCaptureParams = {
        "amount_to_capture": amount,
        "metadata": capture_mark(operation, amount, data.reuse),
        "expand": [*EXPAND],
    }
    if multicapture and data.multicapture is not False:  # Stripe refuses the word where it is not available
        params["final_capture"] = operation.final or is_last(session, operation)
    return params


def increment(amount: int) -> PaymentIntentIncrementAuthorizationParams:
    """Return how what is authorized is raised: to this amount in all, as Stripe counts."""
    return {"amount": amount, "expand": [*EXPAND]}


def is_last(session: PaymentSession, operation: Operation) -> bool:
    """Return whether a capture takes all that is left."""
    return operation.amount >= session.authorized_amount - session.captured_amount


def release() -> PaymentIntentCaptureParams:
    """Return how the rest is released after a capture: a final capture of nothing.

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
