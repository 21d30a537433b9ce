"""PaymentIntents: https://docs.stripe.com/api/payment_intents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from paysession_sandbox.stripe import amounts, attempts, charges, payment_methods, search
from paysession_sandbox.stripe.account import token
from paysession_sandbox.stripe.parameters import (
    EXPAND,
    anything,
    boolean,
    choice,
    clearable,
    currency,
    integer,
    left_out,
    list_of,
    merged,
    metadata,
    nested,
    pick,
    read,
    required,
    text,
    url,
)
from paysession_sandbox.stripe.refusals import Refusal, card_error, invalid, unexpected_state
from paysession_sandbox.stripe.wire import below

if TYPE_CHECKING:
    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = [
    "PUBLIC",
    "authenticate",
    "cancel",
    "capture",
    "confirm",
    "create",
    "end",
    "increment_authorization",
    "listed",
    "retrieve",
    "search_for",
    "update",
]

OPEN: Final = ("requires_payment_method", "requires_confirmation", "requires_action")
_MOST_CAPTURES: Final = 50
"""https://docs.stripe.com/payments/multicapture"""

_MOST_INCREMENTS: Final = 10
"""Declines included: https://docs.stripe.com/api/payment_intents/increment_authorization"""

_SUFFIX: Final = text(22, r"[^<>\"'*\\]*[A-Za-z][^<>\"'*\\]*")
_USAGE: Final = choice("off_session", "on_session")
_METHOD: Final = choice("automatic", "automatic_async", "manual")
_KINDS: Final = list_of(text())
_NOT_IMITATED: Final = dict.fromkeys(
    (
        "amount_details",
        "application_fee_amount",
        "confirmation_token",
        "customer_account",
        "hooks",
        "mandate",
        "on_behalf_of",
        "payment_details",
        "payment_method_configuration",
        "radar_options",
        "transfer_data",
    ),
    left_out,
)
_FIELDS: Final = {
    "allowed_payment_method_types": _KINDS,
    "capture_method": _METHOD,
    "customer": text(),
    "description": clearable(text(1000)),
    "excluded_payment_method_types": clearable(_KINDS),
    "metadata": metadata,
    "payment_method": text(),
    "payment_method_data": nested(payment_methods.DATA),
    "payment_method_options": anything,
    "receipt_email": clearable(text()),
    "setup_future_usage": clearable(_USAGE),
    "shipping": clearable(anything),
    "statement_descriptor": text(22),
    "statement_descriptor_suffix": _SUFFIX,
    "transfer_group": text(),
    "expand": EXPAND,
}
_CONFIRMING: Final = {
    "error_on_requires_action": boolean,
    "mandate_data": anything,
    "off_session": boolean,
    "return_url": url,
    "use_stripe_sdk": boolean,
}
_CREATE: Final = {
    "amount": required(integer(0)),
    "currency": required(currency),
    "automatic_payment_methods": nested(
        {"enabled": required(boolean), "allow_redirects": choice("always", "never")}
    ),
    "confirm": boolean,
    "confirmation_method": choice("automatic", "manual"),
    **_FIELDS,
    **_CONFIRMING,
    **_NOT_IMITATED,
}
_UPDATE: Final = {"amount": integer(0), "currency": currency, **_FIELDS, **_NOT_IMITATED}
_CONFIRM: Final = {
    "client_secret": text(),
    "capture_method": _METHOD,
    "payment_method": text(),
    "payment_method_data": nested(payment_methods.DATA),
    "payment_method_options": anything,
    "receipt_email": clearable(text()),
    "setup_future_usage": clearable(_USAGE),
    "shipping": clearable(anything),
    "allowed_payment_method_types": _KINDS,
    "excluded_payment_method_types": clearable(_KINDS),
    "expand": EXPAND,
    **_CONFIRMING,
    **dict.fromkeys(
        ("amount_details", "amount_to_confirm", "confirmation_token", "hooks", "mandate"), left_out
    ),
    **dict.fromkeys(("payment_details", "radar_options"), left_out),
}
_CAPTURE: Final = {
    "amount_to_capture": integer(0),
    "final_capture": boolean,
    "metadata": metadata,
    "statement_descriptor": text(22),
    "statement_descriptor_suffix": _SUFFIX,
    "expand": EXPAND,
    **dict.fromkeys(
        ("amount_details", "application_fee_amount", "hooks", "payment_details", "transfer_data"), left_out
    ),
}
_INCREMENT: Final = {
    "amount": required(integer(1)),
    "description": text(1000),
    "metadata": metadata,
    "statement_descriptor": text(22),
    "expand": EXPAND,
    **dict.fromkeys(
        ("amount_details", "application_fee_amount", "hooks", "payment_details", "transfer_data"), left_out
    ),
}
_CANCEL: Final = {
    "cancellation_reason": choice("duplicate", "fraudulent", "requested_by_customer", "abandoned"),
    "expand": EXPAND,
}
_LIST: Final = {
    "customer": text(),
    "created": anything,
    "limit": integer(1, 100),
    "starting_after": text(),
    "ending_before": text(),
    "expand": EXPAND,
}
_FOR_ALL: Final = """
amount amount_details automatic_payment_methods canceled_at cancellation_reason capture_method
client_secret confirmation_method created currency description id last_payment_error livemode next_action
object payment_method payment_method_types processing receipt_email setup_future_usage shipping status
"""
PUBLIC: Final = frozenset(_FOR_ALL.split())
"""What a browser may see: "retrievable with publishable key" in the API's reference."""


# --- creating and changing ------------------------------------------------------------------------


def create(account: Account, params: Json) -> Json:
    """POST /v1/payment_intents."""
    if "payment_method_types" in params:
        # https://docs.stripe.com/changelog, 2026-09-30.endive
        raise invalid(
            "payment_method_types", "Use allowed_payment_method_types instead.", "parameter_unknown"
        )
    asked = read(params, _CREATE)
    amounts.check(asked["amount"], asked["currency"])
    if not asked.get("confirm"):
        for name in ("off_session", "return_url", "error_on_requires_action", "mandate_data"):
            if name in asked:
                raise invalid(name, f"{name} may be given only when `confirm` is true.")
    intent = make(account, asked)
    shown = account.show(intent, asked.get("expand", ()))
    if asked.get("confirm"):
        # What was read into the PaymentIntent is not read into it again.
        rest = pick(asked, _CONFIRMING)
        try:
            carry_out(account, intent, rest, browser=False)
        except Refusal as refusal:
            if not refusal.executed:
                account.forget(intent)
            raise
        shown = account.show(intent, asked.get("expand", ()))
    return shown


def make(account: Account, asked: Json) -> Json:
    """Make a PaymentIntent of parameters that were read."""
    method, customer = _method(account, asked), _customer(account, asked)
    automatic = asked.get("automatic_payment_methods") or {"enabled": True}
    intent = account.new(
        "payment_intent",
        {
            "amount": asked["amount"],
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": 0,
            "application": None,
            "application_fee_amount": None,
            "automatic_payment_methods": {"allow_redirects": "always", **automatic},
            "canceled_at": None,
            "cancellation_reason": None,
            "capture_method": asked.get("capture_method", "automatic_async"),
            "client_secret": "",
            "confirmation_method": asked.get("confirmation_method", "automatic"),
            "currency": asked["currency"],
            "customer": customer,
            "customer_account": None,
            "description": asked.get("description"),
            "excluded_payment_method_types": asked.get("excluded_payment_method_types"),
            "last_payment_error": None,
            "latest_charge": None,
            "metadata": merged({}, asked.get("metadata")),
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_configuration_details": None,
            "payment_method_options": below(asked, "payment_method_options"),
            "payment_method_types": [],
            "processing": None,
            "receipt_email": asked.get("receipt_email"),
            "review": None,
            "setup_future_usage": asked.get("setup_future_usage"),
            "shipping": asked.get("shipping"),
            "statement_descriptor": asked.get("statement_descriptor"),
            "statement_descriptor_suffix": asked.get("statement_descriptor_suffix"),
            "status": "requires_payment_method",
            "transfer_data": None,
            "transfer_group": asked.get("transfer_group"),
            "_allowed": asked.get("allowed_payment_method_types"),
            "_mandate": None,
            "_return_url": None,
        },
    )
    intent["client_secret"] = f"{intent['id']}_secret_{token(25)}"
    _offer(account, intent)
    if method is not None:
        _take(intent, method)
        intent["status"] = "requires_confirmation"
    account.record_event("payment_intent.created", intent)
    return intent


def _offer(account: Account, intent: Json) -> None:
    """Decide which payment methods a payer is offered: those of the account that can do what is asked."""
    kinds = [kind for kind in account.settings.methods if kind == "card" or intent["currency"] == "eur"]
    if intent["capture_method"] == "manual":
        # What cannot be captured later is not offered:
        # https://docs.stripe.com/payments/place-a-hold-on-a-payment-method
        kinds = [kind for kind in kinds if kind == "card"]
    if intent["automatic_payment_methods"]["allow_redirects"] == "never":
        kinds = [kind for kind in kinds if kind not in payment_methods.REDIRECTS]
    if intent["_allowed"] is not None:
        kinds = [kind for kind in kinds if kind in intent["_allowed"]]
    left = [kind for kind in kinds if kind not in (intent["excluded_payment_method_types"] or ())]
    if not left:
        raise invalid(
            "allowed_payment_method_types", "No payment method is left that could pay this PaymentIntent."
        )
    intent["payment_method_types"] = left


def _method(account: Account, asked: Json) -> Json | None:
    if "payment_method_data" in asked:
        if "payment_method" in asked:
            raise invalid("payment_method_data", "Give either payment_method or payment_method_data.")
        return payment_methods.make(account, asked["payment_method_data"])
    if asked.get("payment_method"):
        return payment_methods.find(account, asked["payment_method"])
    return None


def _customer(account: Account, asked: Json) -> str | None:
    if not asked.get("customer"):
        return None
    return str(account.get("customer", asked["customer"], param="customer", status=400)["id"])


def _take(intent: Json, method: Json) -> None:
    """Put a payment method into a PaymentIntent, if it can pay that."""
    owner = method["customer"]
    if owner is not None and owner != intent["customer"]:
        raise invalid(
            "payment_method", f"The payment method {method['id']} belongs to the Customer {owner}: give that."
        )
    if method["_used"] and owner is None:
        raise payment_methods.used_up()
    if method["type"] not in intent["payment_method_types"]:
        raise invalid(
            "payment_method",
            f"The PaymentMethod provided ({method['type']}) is not allowed for this PaymentIntent.",
            "payment_intent_incompatible_payment_method",
        )
    intent["payment_method"] = method["id"]


def update(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/payment_intents/{id}: what is charged, only before it is confirmed; the rest at any time."""
    if "payment_method_types" in params:
        raise invalid(
            "payment_method_types", "Use allowed_payment_method_types instead.", "parameter_unknown"
        )
    asked = read(params, _UPDATE)
    intent = account.get("payment_intent", identifier, param="intent")
    free = {"metadata", "description", "receipt_email", "shipping", "transfer_group", "expand"}
    if not set(asked) <= free and intent["status"] not in OPEN:
        names = ", ".join(sorted(set(asked) - free))
        raise unexpected_state("payment_intent", account.show(intent), f"a change of {names}", OPEN)
    changed = {**intent, **pick(asked, ["amount", "currency"])}
    amounts.check(changed["amount"], changed["currency"])
    customer = _customer(account, asked)
    if customer is not None and intent["customer"] not in (None, customer):
        raise invalid("customer", "The customer of a PaymentIntent cannot be changed.")
    with account.changing(intent):
        _change(account, intent, asked, customer)
    return account.show(intent, asked.get("expand", ()))


def _change(account: Account, intent: Json, asked: Json, customer: str | None) -> None:
    intent["metadata"] = merged(intent["metadata"], asked.get("metadata"))
    names = "amount capture_method currency description excluded_payment_method_types receipt_email "
    names += "setup_future_usage shipping statement_descriptor statement_descriptor_suffix transfer_group"
    intent.update(pick(asked, names.split()))
    intent["customer"] = customer or intent["customer"]
    intent["_allowed"] = asked.get("allowed_payment_method_types", intent["_allowed"])
    intent["payment_method_options"].update(below(asked, "payment_method_options"))
    _offer(account, intent)
    method = _method(account, asked)
    if method is not None:
        _take(intent, method)
        intent.update(status="requires_confirmation", next_action=None)


# --- paying ---------------------------------------------------------------------------------------


def confirm(account: Account, params: Json, identifier: str, *, browser: bool = False) -> Json:
    """POST /v1/payment_intents/{id}/confirm: this charges."""
    asked = read(params, _CONFIRM)
    intent = account.get("payment_intent", identifier, param="intent")
    if intent["status"] not in OPEN:
        raise unexpected_state("payment_intent", account.show(intent), "a confirmation", OPEN)
    with account.changing(intent):
        carry_out(account, intent, asked, browser=browser)
    return account.show(intent, asked.get("expand", ()))


def carry_out(account: Account, intent: Json, asked: Json, *, browser: bool) -> None:
    """Confirm a PaymentIntent with parameters that were read.

    Raises:
        Refusal: It lacks something, or the card is declined.
    """
    off_session = asked.get("off_session", False)
    if off_session and asked.get("setup_future_usage"):
        raise invalid("setup_future_usage", "It cannot be given with off_session: the payer is away.")
    intent.update(pick(asked, ("capture_method", "receipt_email", "setup_future_usage", "shipping")))
    intent["payment_method_options"].update(below(asked, "payment_method_options"))
    _offer(account, intent)
    method = _method(account, asked) or account.named("payment_method", intent["payment_method"])
    if method is None:
        raise Refusal(
            400,
            executed=True,
            code="payment_intent_unexpected_state",
            message="You cannot confirm this PaymentIntent because it's missing a payment method.",
            payment_intent=account.show(intent),
        )
    redirecting = intent["automatic_payment_methods"]["enabled"] and (
        intent["automatic_payment_methods"]["allow_redirects"] == "always"
    )
    if (
        redirecting
        and not browser
        and not off_session
        and "return_url" not in asked
        and not asked.get("use_stripe_sdk")
    ):
        raise invalid(
            "return_url",
            "Some of the payment methods that this PaymentIntent accepts might redirect the payer: give a "
            "`return_url`, or set `automatic_payment_methods[allow_redirects]` to `never`.",
        )
    _take(intent, method)
    intent["_return_url"] = asked.get("return_url", intent["_return_url"])
    asked_3ds = below(intent["payment_method_options"], "card").get("request_three_d_secure")
    if asked.get("error_on_requires_action") and attempts.wants_payer(
        method, off_session=False, asked=asked_3ds
    ):
        attempts.decline(account, intent, method, "authentication_required", "authentication_required")
    sdk = browser or asked.get("use_stripe_sdk", False)
    attempts.begin(account, intent, method, off_session=off_session, sdk=sdk)


def authenticate(account: Account, identifier: str, *, success: bool) -> Json:
    """Act as the payer on the page of the bank."""
    intent = account.get("payment_intent", identifier)
    if intent["status"] != "requires_action":
        raise unexpected_state(
            "payment_intent", account.show(intent), "an authentication", ["requires_action"]
        )
    attempts.authenticate(account, intent, success=success)
    return intent


def capture(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/payment_intents/{id}/capture."""
    asked = read(params, _CAPTURE)
    intent = account.get("payment_intent", identifier, param="intent")
    if intent["status"] != "requires_capture":
        raise unexpected_state("payment_intent", account.show(intent), "a capture", ["requires_capture"])
    charge = account.get("charge", intent["latest_charge"])
    amount: int = asked["amount_to_capture"] if "amount_to_capture" in asked else intent["amount_capturable"]
    final = asked.get("final_capture", True)
    _check_capture(intent, charge, asked, amount)
    intent["metadata"] = merged(intent["metadata"], asked.get("metadata"))
    intent.update(pick(asked, ("statement_descriptor", "statement_descriptor_suffix")))
    charges.capture(account, charge, amount)
    intent["amount_received"] += amount
    intent["amount_capturable"] -= amount
    if final or not intent["amount_capturable"]:
        intent.update(status="succeeded", amount_capturable=0)
        account.drop_timers(intent["id"])
        account.record_event("charge.captured", charge)
        account.record_event("payment_intent.succeeded", intent)
        method: Any = account.named("payment_method", intent["payment_method"])
        attempts.dispute_after(account, method, charge)
    else:
        account.record_event("charge.updated", charge)
        account.record_event("payment_intent.amount_capturable_updated", intent)
    return account.show(intent, asked.get("expand", ()))


def _check_capture(intent: Json, charge: Json, asked: Json, amount: int) -> None:
    several = (
        below(charge["payment_method_details"], "card").get("multicapture", {}).get("status") == "available"
    )
    if "final_capture" in asked and not several:
        raise Refusal(
            400,
            executed=True,
            param="final_capture",
            message="This payment cannot be captured several times: see card.multicapture of the charge.",
        )
    if amount > intent["amount_capturable"]:
        raise Refusal(
            400,
            executed=True,
            code="amount_too_large",
            param="amount_to_capture",
            message=f"{amount} is more than what can be captured, {intent['amount_capturable']}.",
        )
    if amount == 0 and not (several and asked.get("final_capture") and intent["amount_received"]):
        raise Refusal(
            400, executed=True, code="amount_too_small", param="amount_to_capture", message="It is nothing."
        )
    if amount and len(charge["_captures"]) >= _MOST_CAPTURES:
        raise Refusal(
            400, executed=True, message=f"A payment can be captured at most {_MOST_CAPTURES} times."
        )


def increment_authorization(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/payment_intents/{id}/increment_authorization: hold more of the same card."""
    asked = read(params, _INCREMENT)
    intent = account.get("payment_intent", identifier, param="intent")
    if intent["status"] != "requires_capture":
        raise unexpected_state("payment_intent", account.show(intent), "an increment", ["requires_capture"])
    charge = account.get("charge", intent["latest_charge"])
    card = below(charge["payment_method_details"], "card")
    if card["incremental_authorization"]["status"] != "available" or intent["amount_received"]:
        raise Refusal(400, executed=True, message="This payment's authorization cannot be incremented.")
    if asked["amount"] <= intent["amount"]:
        raise invalid("amount", f"It must be more than {intent['amount']}.")
    amounts.check(asked["amount"], intent["currency"])
    attempts_before = charge.get("_increments", 0)
    if attempts_before >= _MOST_INCREMENTS:
        raise Refusal(
            400,
            executed=True,
            message=f"A PaymentIntent can have at most {_MOST_INCREMENTS} attempts to increment it.",
        )
    charge["_increments"] = attempts_before + 1
    if charge.get("_holds_no_more"):
        # No other field of the PaymentIntent or the charge changes.
        shown = account.show(intent)
        raise card_error("card_declined", "Your card was declined.", "generic_decline", payment_intent=shown)
    intent.update(amount=asked["amount"], amount_capturable=asked["amount"])
    intent["metadata"] = merged(intent["metadata"], asked.get("metadata"))
    charge["amount"] = card["amount_authorized"] = asked["amount"]
    account.record_event("payment_intent.amount_capturable_updated", intent)
    return account.show(intent, asked.get("expand", ()))


def cancel(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/payment_intents/{id}/cancel."""
    asked = read(params, _CANCEL)
    intent = account.get("payment_intent", identifier, param="intent")
    allowed = (*OPEN, "requires_capture")
    if intent["status"] not in allowed:
        raise unexpected_state("payment_intent", account.show(intent), "a cancellation", allowed)
    if intent.get("_session") is not None and intent["status"] != "requires_capture":
        raise Refusal(400, executed=True, message="Expire the Checkout Session of this payment instead.")
    end(account, intent, asked.get("cancellation_reason"))
    return account.show(intent, asked.get("expand", ()))


def end(account: Account, intent: Json, reason: str | None = None) -> None:
    """Cancel a PaymentIntent."""
    account.drop_timers(intent["id"])
    intent.update(
        status="canceled",
        amount_capturable=0,
        canceled_at=account.now,
        cancellation_reason=reason,
        next_action=None,
    )
    account.record_event("payment_intent.canceled", intent)


# --- looking --------------------------------------------------------------------------------------


def retrieve(account: Account, params: Json, identifier: str) -> Json:
    """GET /v1/payment_intents/{id}."""
    asked = read(params, {"client_secret": text(), "expand": EXPAND})
    return account.show(account.get("payment_intent", identifier, param="intent"), asked.get("expand", ()))


def listed(account: Account, params: Json) -> Json:
    """GET /v1/payment_intents."""
    asked = read(params, _LIST)

    def wanted(row: Json) -> bool:
        return "customer" not in asked or bool(row["customer"] == asked["customer"])

    return account.listed("payment_intent", asked, wanted, url="/v1/payment_intents")


def search_for(account: Account, params: Json) -> Json:
    """GET /v1/payment_intents/search."""
    return search.search(account, "payment_intent", params, "/v1/payment_intents/search")
