"""SetupIntents: https://docs.stripe.com/api/setup_intents. They save a payment method, and charge nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from paysession_sandbox.stripe import payment_methods
from paysession_sandbox.stripe.account import token
from paysession_sandbox.stripe.parameters import (
    EXPAND,
    anything,
    boolean,
    choice,
    clearable,
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
from paysession_sandbox.stripe.refusals import Refusal, card_error, unexpected_state
from paysession_sandbox.stripe.wire import below

if TYPE_CHECKING:
    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = ["PUBLIC", "authenticate", "cancel", "confirm", "create", "listed", "retrieve", "update"]

OPEN: Final = ("requires_payment_method", "requires_confirmation", "requires_action")
_CONFIRMING: Final = {
    "mandate_data": anything,
    "payment_method": text(),
    "payment_method_data": nested(payment_methods.DATA),
    "payment_method_options": anything,
    "return_url": url,
    "use_stripe_sdk": boolean,
    "confirmation_token": left_out,
    "expand": EXPAND,
}
_CREATE: Final = {
    **_CONFIRMING,
    "allowed_payment_method_types": list_of(text()),
    "automatic_payment_methods": nested(
        {"enabled": required(boolean), "allow_redirects": choice("always", "never")}
    ),
    "confirm": boolean,
    "customer": text(),
    "description": clearable(text(1000)),
    "metadata": metadata,
    "usage": choice("off_session", "on_session"),
    **dict.fromkeys(("attach_to_self", "flow_directions", "on_behalf_of", "single_use"), left_out),
    **dict.fromkeys(("customer_account", "payment_method_configuration"), left_out),
}
_UPDATE: Final = {
    "customer": text(),
    "description": clearable(text(1000)),
    "metadata": metadata,
    "payment_method": text(),
    "expand": EXPAND,
}
_LIST: Final = {
    "customer": text(),
    "payment_method": text(),
    "created": anything,
    "limit": integer(1, 100),
    "starting_after": text(),
    "ending_before": text(),
    "expand": EXPAND,
}
_FOR_ALL: Final = """
automatic_payment_methods cancellation_reason client_secret created description id last_setup_error
livemode next_action object payment_method payment_method_types status usage
"""
PUBLIC: Final = frozenset(_FOR_ALL.split())
"""What a browser may see."""


def create(account: Account, params: Json) -> Json:
    """POST /v1/setup_intents."""
    asked = read(params, _CREATE)
    intent = make(account, asked)
    if asked.get("confirm"):
        _carry_out(account, intent, asked, browser=False)
    return account.show(intent, asked.get("expand", ()))


def make(account: Account, asked: Json) -> Json:
    """Make a SetupIntent of parameters that were read."""
    customer = None
    if asked.get("customer"):
        customer = account.get("customer", asked["customer"], param="customer", status=400)["id"]
    kinds = [kind for kind in account.settings.methods if kind not in payment_methods.REDIRECTS]
    allowed = asked.get("allowed_payment_method_types")
    automatic = asked.get("automatic_payment_methods") or {"enabled": True}
    intent = account.new(
        "setup_intent",
        {
            "application": None,
            "automatic_payment_methods": {"allow_redirects": "always", **automatic},
            "cancellation_reason": None,
            "client_secret": "",
            "customer": customer,
            "customer_account": None,
            "description": asked.get("description"),
            "flow_directions": None,
            "last_setup_error": None,
            "latest_attempt": None,
            "mandate": None,
            "metadata": merged({}, asked.get("metadata")),
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_configuration_details": None,
            "payment_method_options": below(asked, "payment_method_options"),
            "payment_method_types": [kind for kind in kinds if allowed is None or kind in allowed],
            "single_use_mandate": None,
            "status": "requires_payment_method",
            "usage": asked.get("usage", "off_session"),
            "_return_url": None,
        },
    )
    intent["client_secret"] = f"{intent['id']}_secret_{token(25)}"
    if asked.get("payment_method"):
        intent["payment_method"] = payment_methods.find(account, asked["payment_method"])["id"]
        intent["status"] = "requires_confirmation"
    account.record_event("setup_intent.created", intent)
    return intent


def update(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/setup_intents/{id}."""
    asked = read(params, _UPDATE)
    intent = account.get("setup_intent", identifier, param="intent")
    intent["metadata"] = merged(intent["metadata"], asked.get("metadata"))
    intent.update(pick(asked, ["description", "customer"]))
    if asked.get("payment_method"):
        intent["payment_method"] = payment_methods.find(account, asked["payment_method"])["id"]
        intent.update(status="requires_confirmation", next_action=None)
    return account.show(intent, asked.get("expand", ()))


def confirm(account: Account, params: Json, identifier: str, *, browser: bool = False) -> Json:
    """POST /v1/setup_intents/{id}/confirm."""
    asked = read(params, {**_CONFIRMING, "client_secret": text()})
    intent = account.get("setup_intent", identifier, param="intent")
    if intent["status"] not in OPEN:
        raise unexpected_state("setup_intent", account.show(intent), "a confirmation", OPEN)
    _carry_out(account, intent, asked, browser=browser)
    return account.show(intent, asked.get("expand", ()))


def _carry_out(account: Account, intent: Json, asked: Json, *, browser: bool) -> None:
    if "payment_method_data" in asked:
        method: Any = payment_methods.make(account, asked["payment_method_data"])
    elif asked.get("payment_method"):
        method = payment_methods.find(account, asked["payment_method"])
    else:
        method = account.named("payment_method", intent["payment_method"])
    if method is None:
        raise Refusal(
            400,
            executed=True,
            code="setup_intent_unexpected_state",
            message="You cannot confirm this SetupIntent because it's missing a payment method.",
            setup_intent=account.show(intent),
        )
    if method["_used"] and method["customer"] is None:
        raise payment_methods.used_up()
    intent.update(payment_method=method["id"], last_setup_error=None, next_action=None)
    intent["_return_url"] = asked.get("return_url")
    attempt = account.new(
        "setup_attempt",
        {
            "application": None,
            "customer": intent["customer"],
            "customer_account": None,
            "flow_directions": None,
            "on_behalf_of": None,
            "payment_method": method["id"],
            "payment_method_details": {"type": method["type"], method["type"]: {}},
            "setup_error": None,
            "setup_intent": intent["id"],
            "status": "processing",
            "usage": intent["usage"],
        },
    )
    intent["latest_attempt"] = attempt["id"]
    card = payment_methods.card_of(method) if method["type"] == "card" else None
    if card is not None and card.authentication not in ("never", "on_session"):
        place = f"{account.base}/payer/{intent['id']}?client_secret={intent['client_secret']}"
        attempt["status"] = "requires_action"
        if browser or asked.get("use_stripe_sdk") or intent["_return_url"] is None:
            action: Json = {
                "type": "use_stripe_sdk",
                "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": place},
            }
        else:
            target = {"return_url": intent["_return_url"], "url": place}
            action = {"type": "redirect_to_url", "redirect_to_url": target}
        intent.update(status="requires_action", next_action=action)
        account.record_event("setup_intent.requires_action", intent)
        return
    if card is not None and card.code and not card.attaches:
        error = {"code": card.code, "message": "Your card was declined.", "type": "card_error"}
        if card.decline_code:
            error["decline_code"] = card.decline_code
        _fail(account, intent, method, error)
        shown = account.show(intent)
        raise card_error(card.code, error["message"], card.decline_code or None, setup_intent=shown)
    _succeed(account, intent, method)


def _succeed(account: Account, intent: Json, method: Json) -> None:
    method["_set_up"] = True
    intent.update(status="succeeded", next_action=None)
    attempt = account.named("setup_attempt", intent["latest_attempt"])
    if attempt is not None:
        attempt["status"] = "succeeded"
    if intent["customer"] is not None:
        payment_methods.keep(account, method, intent["customer"])
    account.record_event("setup_intent.succeeded", intent)


def _fail(account: Account, intent: Json, method: Json, error: Json) -> None:
    shown = {**error, "payment_method": account.show(method)}
    intent.update(
        status="requires_payment_method", payment_method=None, next_action=None, last_setup_error=shown
    )
    attempt = account.named("setup_attempt", intent["latest_attempt"])
    if attempt is not None:
        attempt.update(status="failed", setup_error=shown)
    account.record_event("setup_intent.setup_failed", intent)


def authenticate(account: Account, identifier: str, *, success: bool) -> Json:
    """Act as the payer on the page of the bank."""
    intent = account.get("setup_intent", identifier)
    if intent["status"] != "requires_action":
        raise unexpected_state("setup_intent", account.show(intent), "an authentication", ["requires_action"])
    method = account.get("payment_method", intent["payment_method"])
    if success:
        _succeed(account, intent, method)
    else:
        _fail(
            account,
            intent,
            method,
            {
                "code": "setup_intent_authentication_failure",
                "message": "The payment method could not be authenticated.",
                "type": "card_error",
            },
        )
    return intent


def cancel(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/setup_intents/{id}/cancel."""
    reasons = choice("abandoned", "requested_by_customer", "duplicate")
    asked = read(params, {"cancellation_reason": reasons, "expand": EXPAND})
    intent = account.get("setup_intent", identifier, param="intent")
    if intent["status"] not in OPEN:
        raise unexpected_state("setup_intent", account.show(intent), "a cancellation", OPEN)
    intent.update(status="canceled", cancellation_reason=asked.get("cancellation_reason"), next_action=None)
    account.record_event("setup_intent.canceled", intent)
    return account.show(intent, asked.get("expand", ()))


def retrieve(account: Account, params: Json, identifier: str) -> Json:
    """GET /v1/setup_intents/{id}."""
    asked = read(params, {"client_secret": text(), "expand": EXPAND})
    return account.show(account.get("setup_intent", identifier, param="intent"), asked.get("expand", ()))


def listed(account: Account, params: Json) -> Json:
    """GET /v1/setup_intents."""
    asked = read(params, _LIST)

    def wanted(row: Json) -> bool:
        return all(row[name] == asked[name] for name in ("customer", "payment_method") if name in asked)

    return account.listed("setup_intent", asked, wanted, url="/v1/setup_intents")
