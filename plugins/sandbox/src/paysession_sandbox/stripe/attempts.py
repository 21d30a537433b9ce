"""What a payment method does when it is charged: it pays, is declined, wants the payer, or takes its time.

https://docs.stripe.com/payments/paymentintents/lifecycle
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from paysession_sandbox.stripe import charges, disputes, payment_methods
from paysession_sandbox.stripe.account import token
from paysession_sandbox.stripe.cards import BANK_ACCOUNTS, BankAccount
from paysession_sandbox.stripe.refusals import card_error
from paysession_sandbox.stripe.wire import below

if TYPE_CHECKING:
    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = [
    "authenticate",
    "begin",
    "debit_fails",
    "debit_is_due",
    "debit_settles",
    "dispute_after",
    "expire",
    "wants_payer",
]

_MESSAGES: Final = {
    "card_declined": "Your card was declined.",
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
    "payment_intent_authentication_failure": (
        "The payment method could not be authenticated. Choose another one and try again."
    ),
    "payment_intent_payment_attempt_failed": "The payment failed.",
    "charge_exceeds_source_limit": "The payment exceeds what the account may collect in a week.",
}


def wants_payer(method: Json, *, off_session: bool, asked: str | None) -> bool:
    """Return whether the bank wants to see the payer: https://docs.stripe.com/testing#regulatory-cards.

    Args:
        method: The payment method.
        off_session: Whether the payer is away.
        asked: ``request_three_d_secure`` of the payment.
    """
    if method["type"] != "card":
        return method["type"] in payment_methods.REDIRECTS
    when = payment_methods.card_of(method).authentication
    if when == "unless_set_up":
        return not (off_session and method["_set_up"])
    if when == "on_session":
        return not off_session
    return when == "always" or (asked in ("any", "challenge") and not off_session)


def begin(account: Account, intent: Json, method: Json, *, off_session: bool, sdk: bool) -> None:
    """Charge a payment method that is confirmed.

    Raises:
        Refusal: A card is declined.
    """
    asked = below(intent["payment_method_options"], "card").get("request_three_d_secure")
    intent.update(payment_method=method["id"], last_payment_error=None, next_action=None)
    if wants_payer(method, off_session=off_session, asked=asked):
        if off_session:
            decline(account, intent, method, "authentication_required", "authentication_required")
        _ask_payer(account, intent, method, sdk=sdk)
        return
    _pay(account, intent, method, authenticated=False)


def _ask_payer(account: Account, intent: Json, method: Json, *, sdk: bool) -> None:
    """Wait for the payer, who authenticates with the bank: https://docs.stripe.com/payments/3d-secure."""
    place = f"{account.base}/payer/{intent['id']}?client_secret={intent['client_secret']}"
    if method["type"] == "card" and (sdk or intent["_return_url"] is None):
        action: Json = {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {
                "type": "three_d_secure_redirect",
                "stripe_js": place,
                "source": f"src_{token()}",
            },
        }
    else:
        action = {
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": intent["_return_url"], "url": place},
        }
    intent.update(status="requires_action", next_action=action)
    account.record_event("payment_intent.requires_action", intent)


def authenticate(account: Account, intent: Json, *, success: bool) -> None:
    """Have the payer pass, or fail, what the bank asks; a decline shows in the PaymentIntent."""
    method = account.get("payment_method", intent["payment_method"])
    intent["next_action"] = None
    if not success:
        code = "payment_intent_authentication_failure"
        error: Json = {"code": code, "message": _MESSAGES[code], "type": "invalid_request_error"}
        if method["type"] == "card":
            error["type"] = "card_error"
        _fall_back(account, intent, method, error)
        return
    _pay(account, intent, method, authenticated=True, quiet=True)


def _pay(account: Account, intent: Json, method: Json, *, authenticated: bool, quiet: bool = False) -> None:
    if method["type"] == "sepa_debit":
        _debit(account, intent, method)
        return
    if method["type"] == "card":
        card = payment_methods.card_of(method)
        if card.code:
            decline(
                account, intent, method, card.code, card.decline_code, blocked=card.risk, quiet=quiet,
                authenticated=authenticated,
            )  # fmt: skip
            return
    charge = charges.make(account, intent, method, authenticated=authenticated)
    intent["latest_charge"] = charge["id"]
    charges.succeed(account, charge)
    keep_for_later(account, intent, method, authenticated=authenticated)
    if charges.is_held(intent, method["type"]):
        until = below(charge["payment_method_details"], method["type"])["capture_before"]
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        account.later(timedelta(seconds=until - account.now), "expire", intent["id"])
        account.record_event("payment_intent.amount_capturable_updated", intent)
        return
    _received(account, intent, charge)
    dispute_after(account, method, charge)


def dispute_after(account: Account, method: Json, charge: Json) -> None:
    """Have the payer dispute what a card for that has paid: https://docs.stripe.com/testing#disputes."""
    why = payment_methods.card_of(method).dispute if method["type"] == "card" else ""
    if why:
        reason = "fraudulent" if why == "inquiry" else why
        disputes.open_one(account, charge, reason=reason, inquiry=why == "inquiry")


def _received(account: Account, intent: Json, charge: Json) -> None:
    charges.capture(account, charge, intent["amount"])
    intent.update(status="succeeded", amount_received=intent["amount"], amount_capturable=0)
    account.record_event("payment_intent.succeeded", intent)


def keep_for_later(account: Account, intent: Json, method: Json, *, authenticated: bool) -> None:
    """Save what paid with the customer, where that was asked for: https://docs.stripe.com/payments/save-during-payment.

    What is not saved cannot be used again.
    """
    method["_used"] = True
    if intent["setup_future_usage"] is None or intent["customer"] is None:
        return
    if method["type"] in payment_methods.REDIRECTS:
        charge = account.get("charge", intent["latest_charge"])
        made = payment_methods.reusable_debit(account, method, intent["customer"], charge["id"])
        charge["payment_method_details"][method["type"]]["generated_sepa_debit"] = made["id"]
        return
    method["_set_up"] = method["_set_up"] or authenticated
    payment_methods.keep(account, method, intent["customer"])


def decline(
    account: Account,
    intent: Json,
    method: Json,
    code: str,
    decline_code: str,
    *,
    blocked: bool = False,
    quiet: bool = False,
    authenticated: bool = False,
) -> None:
    """Have an attempt fail: https://docs.stripe.com/declines.

    Raises:
        Refusal: Always, unless ``quiet``.
    """
    message = _MESSAGES.get(decline_code) or _MESSAGES.get(code, _MESSAGES["card_declined"])
    charge = charges.make(account, intent, method, authenticated=authenticated)
    intent["latest_charge"] = charge["id"]
    charges.fail(account, charge, code, message, decline_code, blocked=blocked)
    error: Json = {"charge": charge["id"], "code": code, "message": message, "type": "card_error"}
    error["doc_url"] = f"https://docs.stripe.com/error-codes#{code.replace('_', '-')}"
    if decline_code:
        error["decline_code"] = decline_code
    shown = _fall_back(account, intent, method, error)
    if not quiet:
        details = {
            name: value
            for name, value in shown.items()
            if name not in ("code", "message", "type", "decline_code")
        }
        raise card_error(code, message, decline_code or None, payment_intent=account.show(intent), **details)


def _fall_back(account: Account, intent: Json, method: Json, error: Json) -> Json:
    """Let the PaymentIntent wait for another payment method."""
    shown = {**error, "payment_method": account.show(method)}
    method["_used"] = True
    intent.update(
        status="requires_payment_method", payment_method=None, next_action=None, last_payment_error=shown
    )
    account.record_event("payment_intent.payment_failed", intent)
    return shown


# --- direct debits --------------------------------------------------------------------------------


def _bank_account(method: Json) -> BankAccount:
    return BANK_ACCOUNTS.get(method["_number"][-4:], BANK_ACCOUNTS["3000"])


def _debit(account: Account, intent: Json, method: Json) -> None:
    """Have the bank collect it, which takes days: https://docs.stripe.com/payments/sepa-debit."""
    mandate = account.new(
        "mandate",
        {
            "customer_acceptance": {
                "accepted_at": account.now,
                "online": {"ip_address": "127.0.0.1", "user_agent": "paysession-sandbox"},
                "type": "online",
            },
            "multi_use": {},
            "payment_method": method["id"],
            "payment_method_details": {
                "sepa_debit": {"reference": token(16).upper(), "url": f"{account.base}/mandate"},
                "type": "sepa_debit",
            },
            "status": "active",
            "type": "multi_use",
        },
    )
    intent["_mandate"] = mandate["id"]
    charge = charges.make(account, intent, method, authenticated=False)
    intent.update(status="processing", latest_charge=charge["id"])
    keep_for_later(account, intent, method, authenticated=True)
    account.record_event("charge.pending", charge)
    account.record_event("payment_intent.processing", intent)
    does = _bank_account(method)
    account.later(does.after, "debit", intent["id"])


def debit_is_due(account: Account, identifier: str) -> None:
    """Have the bank settle, or return, a debit that is under way."""
    intent = account.get("payment_intent", identifier)
    does = _bank_account(account.get("payment_method", intent["payment_method"]))
    if does.outcome == "failed":
        debit_fails(account, intent, does.reason)
        return
    debit_settles(account, intent)
    if does.outcome == "disputed":
        disputes.open_one(account, account.get("charge", intent["latest_charge"]), reason="general")


def debit_settles(account: Account, intent: Json) -> None:
    """Have the money of a debit come."""
    account.drop_timers(intent["id"])
    charge = account.get("charge", intent["latest_charge"])
    charges.succeed(account, charge)
    _received(account, intent, charge)


def debit_fails(account: Account, intent: Json, reason: str = "generic_decline") -> None:
    """Have the bank return a debit."""
    account.drop_timers(intent["id"])
    charge = account.get("charge", intent["latest_charge"])
    method = account.get("payment_method", intent["payment_method"])
    code = reason if reason == "charge_exceeds_source_limit" else "payment_intent_payment_attempt_failed"
    charges.fail(account, charge, code, _MESSAGES[code], reason)
    error: Json = {
        "charge": charge["id"],
        "code": code,
        "message": _MESSAGES[code],
        "type": "invalid_request_error",
    }
    _fall_back(account, intent, method, error)


def expire(account: Account, identifier: str) -> None:
    """Have an authorization run out: what was not captured is released."""
    intent: Any = account.get("payment_intent", identifier)
    if intent["status"] != "requires_capture":
        return
    charge = account.get("charge", intent["latest_charge"])
    intent["amount_capturable"] = 0
    if intent["amount_received"]:
        intent["status"] = "succeeded"
        account.record_event("payment_intent.succeeded", intent)
        return
    intent.update(status="canceled", cancellation_reason="expired", canceled_at=account.now)
    account.record_event("charge.expired", charge)
    account.record_event("payment_intent.canceled", intent)
