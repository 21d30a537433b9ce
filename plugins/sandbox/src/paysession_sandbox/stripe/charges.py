"""Charges: https://docs.stripe.com/api/charges. One is made by each attempt to pay a PaymentIntent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from paysession_sandbox.stripe import balance
from paysession_sandbox.stripe.account import token
from paysession_sandbox.stripe.parameters import EXPAND, anything, integer, merged, metadata, pick, read, text
from paysession_sandbox.stripe.wire import below

if TYPE_CHECKING:
    from datetime import timedelta

    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = ["capture", "fail", "is_held", "listed", "make", "retrieve", "succeed", "update"]

_LIST: Final = {
    "created": anything,
    "customer": text(),
    "payment_intent": text(),
    "transfer_group": text(),
    "limit": integer(1, 100),
    "starting_after": text(),
    "ending_before": text(),
    "expand": EXPAND,
}


def make(account: Account, intent: Json, method: Json, *, authenticated: bool) -> Json:
    """Make the charge of an attempt; whether it succeeds is said afterwards."""
    return account.new(
        "charge",
        {
            "amount": intent["amount"],
            "amount_captured": 0,
            "amount_refunded": 0,
            "application": None,
            "application_fee": None,
            "application_fee_amount": None,
            "balance_transaction": None,
            "billing_details": dict(method["billing_details"]),
            "calculated_statement_descriptor": intent["statement_descriptor"] or "SANDBOX",
            "captured": False,
            "currency": intent["currency"],
            "customer": intent["customer"],
            "description": intent["description"],
            "disputed": False,
            "failure_balance_transaction": None,
            "failure_code": None,
            "failure_message": None,
            "fraud_details": {},
            "metadata": dict(intent["metadata"]),
            "on_behalf_of": None,
            "outcome": None,
            "paid": False,
            "payment_intent": intent["id"],
            "payment_method": method["id"],
            "payment_method_details": _details(account, intent, method, authenticated=authenticated),
            "receipt_email": intent["receipt_email"],
            "receipt_number": None,
            "receipt_url": None,
            "refunded": False,
            "review": None,
            "shipping": intent["shipping"],
            "source_transfer": None,
            "statement_descriptor": intent["statement_descriptor"],
            "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
            "status": "pending",
            "transfer_data": None,
            "transfer_group": intent["transfer_group"],
            "_captures": [],
        },
    )


def is_held(intent: Json, kind: str) -> bool:
    """Return whether a payment with a method is only authorized: a card's own option comes first.

    https://docs.stripe.com/payments/place-a-hold-on-a-payment-method
    """
    own = below(intent["payment_method_options"], kind).get("capture_method")
    return kind == "card" and (own or intent["capture_method"]) == "manual"


def _details(account: Account, intent: Json, method: Json, *, authenticated: bool) -> Json:
    kind = method["type"]
    if kind == "card":
        return {"type": "card", "card": _card_details(account, intent, method, authenticated=authenticated)}
    if kind == "sepa_debit":
        shown = {
            name: method[kind][name]
            for name in ("bank_code", "branch_code", "country", "fingerprint", "last4")
        }
        return {"type": kind, kind: {**shown, "mandate": intent["_mandate"]}}
    details: Json = {
        "bic": None,
        "generated_sepa_debit": None,
        "generated_sepa_debit_mandate": None,
        "iban_last4": None,
        "verified_name": "Jenny Rosen",
    }
    if kind == "ideal":
        details |= {"bank": method["ideal"]["bank"], "transaction_id": token(16)}
    else:
        details |= {"bank_code": None, "bank_name": None, "preferred_language": None}
    return {"type": kind, kind: details}


def _card_details(account: Account, intent: Json, method: Json, *, authenticated: bool) -> Json:
    card = method["card"]
    held = is_held(intent, "card")
    asked = below(intent["payment_method_options"], "card")
    several = held and asked.get("request_multicapture") == "if_available" and account.settings.multicapture
    more = held and asked.get("request_incremental_authorization") == "if_available"
    longer = held and asked.get("request_extended_authorization") == "if_available"
    until = account.settings.extended_authorization if longer else account.settings.authorization
    passed: Json = {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": None}
    if card["checks"]["cvc_check"] is not None:
        passed["cvc_check"] = "pass"
    shown: Json = {
        "amount_authorized": intent["amount"],
        "authorization_code": "123456",
        "brand": card["brand"],
        "checks": passed,
        "country": card["country"],
        "exp_month": card["exp_month"],
        "exp_year": card["exp_year"],
        "extended_authorization": {"status": "enabled" if longer else "disabled"},
        "fingerprint": card["fingerprint"],
        "funding": card["funding"],
        "incremental_authorization": {"status": "available" if more else "unavailable"},
        "installments": None,
        "last4": card["last4"],
        "mandate": None,
        "multicapture": {"status": "available" if several else "unavailable"},
        "network": card["brand"],
        "network_token": {"used": False},
        "network_transaction_id": token(15),
        "overcapture": {"maximum_amount_capturable": intent["amount"], "status": "unavailable"},
        "regulated_status": "unregulated",
        "three_d_secure": None,
        "wallet": None,
    }
    if held:
        shown["capture_before"] = account.now + int(until.total_seconds())
    if authenticated:
        shown["three_d_secure"] = {
            "authentication_flow": "challenge",
            "electronic_commerce_indicator": "05",
            "exemption_indicator": None,
            "result": "authenticated",
            "result_reason": None,
            "transaction_id": token(36),
            "version": "2.2.0",
        }
    return shown


def succeed(account: Account, charge: Json) -> None:
    """Have the bank accept it."""
    charge.update(status="succeeded", paid=True, outcome=_outcome("authorized", "approved_by_network"))
    account.record_event("charge.succeeded", charge)


def fail(
    account: Account, charge: Json, code: str, message: str, decline_code: str, *, blocked: bool = False
) -> None:
    """Have the bank, or fraud prevention, refuse it."""
    kind, network = (
        ("blocked", "not_sent_to_network") if blocked else ("issuer_declined", "declined_by_network")
    )
    charge.update(
        status="failed",
        paid=False,
        failure_code=code,
        failure_message=message,
        outcome={
            **_outcome(kind, network),
            "reason": "highest_risk_level" if blocked else decline_code or code,
            "risk_level": "highest" if blocked else "normal",
            "risk_score": 90 if blocked else 32,
            "seller_message": message,
        },
    )
    account.record_event("charge.failed", charge)


def _outcome(kind: str, network: str) -> Json:
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": network,
        "reason": None,
        "risk_level": "normal",
        "risk_score": 32,
        "seller_message": "Payment complete.",
        "type": kind,
    }


def capture(account: Account, charge: Json, amount: int) -> None:
    """Take a part of what it holds, or all."""
    charge["_captures"].append(amount)
    charge.update(captured=True, amount_captured=charge["amount_captured"] + amount)
    if amount:
        _enter(account, charge, amount)


def _enter(account: Account, charge: Json, amount: int) -> None:
    lag: timedelta = account.settings.balance_lag
    kind = "charge" if charge["payment_method_details"]["type"] == "card" else "payment"
    if lag and charge["balance_transaction"] is None:
        account.later(lag, "balance", charge["id"])
        return
    entry = balance.record(account, kind, amount, charge["currency"], charge["id"])
    if charge["balance_transaction"] is None:
        charge["balance_transaction"] = entry["id"]


def balance_comes(account: Account, identifier: str) -> None:
    """Give a charge, or a refund, its balance transaction."""
    charge = account.named("charge", identifier)
    if charge is not None:
        entry = balance.record(account, "charge", charge["amount_captured"], charge["currency"], identifier)
        charge["balance_transaction"] = entry["id"]
        account.record_event("charge.updated", charge, {"balance_transaction": None})
        return
    refund = account.get("refund", identifier)
    if refund["status"] == "succeeded":
        entry = balance.record(account, "refund", -refund["amount"], refund["currency"], identifier)
        refund["balance_transaction"] = entry["id"]
        account.record_event("refund.updated", refund, {"balance_transaction": None})


# --- calls ----------------------------------------------------------------------------------------


def retrieve(account: Account, params: Json, identifier: str) -> Json:
    """GET /v1/charges/{id}."""
    asked = read(params, {"expand": EXPAND})
    return account.show(account.get("charge", identifier), asked.get("expand", ()))


def update(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/charges/{id}."""
    asked = read(
        params,
        {
            "description": text(),
            "metadata": metadata,
            "receipt_email": text(),
            "shipping": anything,
            "transfer_group": text(),
            "expand": EXPAND,
        },
    )
    charge = account.get("charge", identifier)
    charge["metadata"] = merged(charge["metadata"], asked.get("metadata"))
    charge.update(pick(asked, ("description", "receipt_email", "shipping", "transfer_group")))
    account.record_event("charge.updated", charge)
    return account.show(charge, asked.get("expand", ()))


def listed(account: Account, params: Json) -> Json:
    """GET /v1/charges."""
    asked = read(params, _LIST)

    def wanted(row: Json) -> bool:
        names: Any = ("customer", "payment_intent", "transfer_group")
        return all(row[name] == asked[name] for name in names if name in asked)

    return account.listed("charge", asked, wanted, url="/v1/charges")
