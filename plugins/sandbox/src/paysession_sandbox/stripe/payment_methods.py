"""PaymentMethods: https://docs.stripe.com/api/payment_methods."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from paysession_sandbox.stripe.account import token
from paysession_sandbox.stripe.cards import CARDS, TOKENS, Card, sound
from paysession_sandbox.stripe.parameters import (
    EXPAND,
    anything,
    choice,
    clearable,
    integer,
    merged,
    metadata,
    nested,
    pick,
    read,
    required,
    text,
)
from paysession_sandbox.stripe.refusals import Refusal, card_error, invalid, missing
from paysession_sandbox.stripe.wire import below

if TYPE_CHECKING:
    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = [
    "BILLING",
    "DATA",
    "REDIRECTS",
    "attach",
    "card_of",
    "create",
    "detach",
    "find",
    "make",
    "of_customer",
]

REDIRECTS: Final = ("bancontact", "ideal")
"""The methods whose payer is sent to a page of their bank."""

BILLING: Final = nested(
    {
        "address": anything,
        "email": clearable(text()),
        "name": clearable(text()),
        "phone": clearable(text()),
        "tax_id": clearable(text()),
    }
)
_CARD: Final = nested(
    {
        "number": text(),
        "exp_month": integer(),
        "exp_year": integer(),
        "cvc": text(),
        "token": text(),
        "networks": anything,
    }
)
_TYPES: Final = ("card", "sepa_debit", "ideal", "bancontact")
DATA: Final = {
    "type": required(choice(*_TYPES)),
    "card": _CARD,
    "sepa_debit": nested({"iban": required(text())}),
    "ideal": nested({"bank": text()}),
    "bancontact": nested({}),
    "billing_details": BILLING,
    "metadata": metadata,
    "allow_redisplay": choice("always", "limited", "unspecified"),
    "radar_options": anything,
}
"""A payment method within another call, too."""

_CREATE: Final = {**DATA, "expand": EXPAND}
_UPDATE: Final = {
    "billing_details": BILLING,
    "metadata": metadata,
    "allow_redisplay": choice("always", "limited", "unspecified"),
    "card": nested({"exp_month": integer(), "exp_year": integer(), "networks": anything}),
    "expand": EXPAND,
}
_LIST: Final = {
    "customer": text(),
    "type": text(),
    "allow_redisplay": text(),
    "limit": integer(1, 100),
    "starting_after": text(),
    "ending_before": text(),
    "expand": EXPAND,
}
_NO_ADDRESS: Final = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


def make(account: Account, params: Json) -> Json:
    """Make a payment method of what a payer typed in.

    Raises:
        Refusal: A card's number, date or code cannot be right, or an account number.
    """
    kind = params["type"]
    if kind == "card":
        details, private = _card(account, params.get("card"))
    elif kind == "sepa_debit":
        details, private = _bank_account(params.get("sepa_debit"), below(params, "billing_details"))
    else:
        details = {"bank": below(params, kind).get("bank"), "bic": None} if kind == "ideal" else {}
        private = {"_number": "", "_set_up": True, "_used": False}
    billing = below(params, "billing_details")
    return account.new(
        "payment_method",
        {
            "allow_redisplay": params.get("allow_redisplay", "unspecified"),
            "billing_details": {
                "address": {**_NO_ADDRESS, **below(billing, "address")},
                **{name: billing.get(name) for name in ("email", "name", "phone", "tax_id")},
            },
            "customer": None,
            "customer_account": None,
            "metadata": merged({}, params.get("metadata")),
            "type": kind,
            kind: details,
            **private,
        },
    )


def _card(account: Account, given: Json | None) -> tuple[Json, Json]:
    if given is None:
        raise missing("card")
    if "token" in given:
        if given["token"] not in TOKENS:
            raise Refusal(400, code="resource_missing", param="card[token]", message="No such token")
        given = {"number": TOKENS[given["token"]], "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    for name in ("number", "exp_month", "exp_year"):
        if name not in given:
            raise missing(f"card[{name}]")
    number = given["number"].replace(" ", "").replace("-", "")
    if not sound(number):
        raise _mistyped("incorrect_number", "number", "Your card number is incorrect.")
    if not 1 <= given["exp_month"] <= 12:  # noqa: PLR2004 - months
        raise _mistyped("invalid_expiry_month", "exp_month", "Your card's expiration month is invalid.")
    year = given["exp_year"] + (2000 if given["exp_year"] < 100 else 0)  # noqa: PLR2004 - 30 is 2030
    today = datetime.fromtimestamp(account.now, UTC)
    if (year, given["exp_month"]) < (today.year, today.month) or year > today.year + 50:
        raise _mistyped("invalid_expiry_year", "exp_year", "Your card's expiration year is invalid.")
    card = CARDS.get(number, Card())
    digits = 4 if card.brand == "amex" else 3
    code = given.get("cvc")
    if code is not None and not (code.isdigit() and len(code) == digits):
        raise _mistyped("invalid_cvc", "cvc", "Your card's security code is invalid.")
    details = {
        "brand": card.brand,
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "unchecked" if code is not None else None,
        },
        "country": card.country,
        "display_brand": card.brand,
        "exp_month": given["exp_month"],
        "exp_year": year,
        "fingerprint": _fingerprint(number),
        "funding": card.funding,
        "generated_from": None,
        "last4": number[-4:],
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
    return details, {"_number": number, "_set_up": False, "_used": False}


def _bank_account(given: Json | None, billing: Json) -> tuple[Json, Json]:
    if given is None:
        raise missing("sepa_debit")
    iban = given["iban"].replace(" ", "").upper()
    if not _sound_iban(iban):
        raise invalid("sepa_debit[iban]", "The IBAN you provided is invalid.", "invalid_bank_account_iban")
    for name in ("name", "email"):
        if not billing.get(name):
            raise missing(f"billing_details[{name}]")
    details = {
        "bank_code": iban[4:12],
        "branch_code": "",
        "country": iban[:2],
        "fingerprint": _fingerprint(iban),
        "generated_from": {"charge": None, "setup_attempt": None},
        "last4": iban[-4:],
    }
    return details, {"_number": iban, "_set_up": True, "_used": False}


def _sound_iban(iban: str) -> bool:
    """Return whether an account number's check digits are right (ISO 13616)."""
    if not iban.isalnum() or not 15 <= len(iban) <= 34:  # noqa: PLR2004 - as long as they are
        return False
    turned = iban[4:] + iban[:4]
    return int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1


def _fingerprint(number: str) -> str:
    from hashlib import sha256  # noqa: PLC0415 - here only

    return sha256(number.encode()).hexdigest()[:16]


def _mistyped(code: str, param: str, message: str) -> Refusal:
    error = card_error(code, message, param=param)
    error.executed = False
    return error


def card_of(method: Json) -> Card:
    """Return what a card does; one that is no test card is declined: it would be a real one."""
    real = Card(code="card_declined", decline_code="test_mode_live_card")
    return CARDS.get(method["_number"], real)


def find(account: Account, identifier: str, *, param: str = "payment_method", status: int = 400) -> Json:
    """Return a payment method; the name of a test card, such as ``pm_card_visa``, becomes a new one."""
    if identifier in TOKENS and identifier.startswith("pm_"):
        return make(account, {"type": "card", "card": {"token": identifier}})
    return account.get("payment_method", identifier, param=param, status=status)


def create(account: Account, params: Json) -> Json:
    """POST /v1/payment_methods."""
    asked = read(params, _CREATE)
    return account.show(make(account, asked), asked.get("expand", ()))


def retrieve(account: Account, params: Json, identifier: str) -> Json:
    """GET /v1/payment_methods/{id}."""
    asked = read(params, {"expand": EXPAND})
    return account.show(find(account, identifier, status=404), asked.get("expand", ()))


def update(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/payment_methods/{id}: the details of one that is kept with a customer."""
    asked = read(params, _UPDATE)
    method = account.get("payment_method", identifier, param="payment_method")
    if method["customer"] is None:
        raise invalid(
            "payment_method", "You must save this PaymentMethod to a customer before you can update it."
        )
    method["metadata"] = merged(method["metadata"], asked.get("metadata"))
    method["billing_details"].update(below(asked, "billing_details"))
    method.update(pick(asked, ["allow_redisplay"]))
    if method["type"] == "card":
        method["card"].update(pick(below(asked, "card"), ["exp_month", "exp_year"]))
    account.record_event("payment_method.updated", method)
    return account.show(method, asked.get("expand", ()))


def listed(account: Account, params: Json) -> Json:
    """GET /v1/payment_methods."""
    asked = read(params, _LIST)
    return _page(account, asked, asked.get("customer"), "/v1/payment_methods")


def of_customer(account: Account, params: Json, customer: str) -> Json:
    """GET /v1/customers/{customer}/payment_methods."""
    asked = read(params, {name: reader for name, reader in _LIST.items() if name != "customer"})
    account.get("customer", customer, param="customer")
    return _page(account, asked, customer, f"/v1/customers/{customer}/payment_methods")


def _page(account: Account, asked: Json, customer: str | None, url: str) -> Json:
    def wanted(row: Json) -> bool:
        kind: Any = asked.get("type", row["type"])
        return bool(row["customer"] is not None and row["customer"] == customer and row["type"] == kind)

    return account.listed("payment_method", asked, wanted, url=url)


def attach(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/payment_methods/{id}/attach."""
    asked = read(params, {"customer": required(text()), "expand": EXPAND})
    method = find(account, identifier, status=404)
    customer = account.get("customer", asked["customer"], param="customer", status=400)
    if method["type"] in REDIRECTS:
        raise invalid("payment_method", f"A payment method of type {method['type']} cannot be saved.")
    if method["customer"] not in (None, customer["id"]):
        raise invalid(
            "payment_method", "The payment method you provided has already been attached to a customer."
        )
    if method["_used"] and method["customer"] is None:
        raise used_up()
    if method["type"] == "card" and not card_of(method).attaches:
        card = card_of(method)
        raise card_error(card.code, "Your card was declined.", card.decline_code or None)
    keep(account, method, customer["id"])
    return account.show(method, asked.get("expand", ()))


def keep(account: Account, method: Json, customer: str) -> None:
    """Save a payment method with a customer."""
    if method["customer"] is None:
        method["customer"] = customer
        if method["type"] == "card" and method["card"]["checks"]["cvc_check"] == "unchecked":
            method["card"]["checks"]["cvc_check"] = "pass"
        account.record_event("payment_method.attached", method)


def detach(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/payment_methods/{id}/detach."""
    asked = read(params, {"expand": EXPAND})
    method = account.get("payment_method", identifier, param="payment_method")
    if method["customer"] is None:
        raise invalid("payment_method", "The payment method you provided is not attached to a customer.")
    previous = {"customer": method["customer"]}
    method.update(customer=None, _used=True)
    account.record_event("payment_method.detached", method, previous)
    return account.show(method, asked.get("expand", ()))


def used_up() -> Refusal:
    """Return the refusal of a payment method that was used once, and is not saved with a customer."""
    return invalid(
        "payment_method",
        "This PaymentMethod was used before without being attached to a Customer, or was detached from one. "
        "It may not be used again.",
    )


def reusable_debit(account: Account, method: Json, customer: str, charge: str) -> Json:
    """Return the direct debit that comes of a payment by iDEAL or Bancontact that is to be kept."""
    return account.new(
        "payment_method",
        {
            "allow_redisplay": "unspecified",
            "billing_details": method["billing_details"],
            "customer": customer,
            "customer_account": None,
            "metadata": {},
            "type": "sepa_debit",
            "sepa_debit": {
                "bank_code": "37040044",
                "branch_code": "",
                "country": "DE",
                "fingerprint": token(16),
                "generated_from": {"charge": charge, "setup_attempt": None},
                "last4": "3000",
            },
            "_number": "DE89370400440532013000",
            "_set_up": True,
            "_used": False,
        },
    )
