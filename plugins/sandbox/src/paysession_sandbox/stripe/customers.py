"""Customers: https://docs.stripe.com/api/customers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from paysession_sandbox.stripe import payment_methods
from paysession_sandbox.stripe.account import token
from paysession_sandbox.stripe.parameters import (
    EXPAND,
    anything,
    boolean,
    clearable,
    integer,
    left_out,
    list_of,
    merged,
    metadata,
    nested,
    pick,
    read,
    text,
)
from paysession_sandbox.stripe.wire import below

if TYPE_CHECKING:
    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = ["create", "delete", "listed", "retrieve", "session", "update"]

_SETTINGS: Final = nested(
    {"default_payment_method": clearable(text()), "custom_fields": left_out, "footer": left_out}
)
_FIELDS: Final = {
    "address": clearable(anything),
    "description": clearable(text()),
    "email": clearable(text(512)),
    "name": clearable(text(256)),
    "phone": clearable(text(20)),
    "preferred_locales": list_of(text()),
    "shipping": clearable(anything),
    "invoice_settings": _SETTINGS,
    "metadata": metadata,
    "expand": EXPAND,
    "source": left_out,
    "tax": left_out,
    "test_clock": left_out,
}
_KEPT: Final = ("address", "description", "email", "name", "phone", "preferred_locales", "shipping")
_LIST: Final = {
    "email": text(512),
    "created": anything,
    "limit": integer(1, 100),
    "starting_after": text(),
    "ending_before": text(),
    "expand": EXPAND,
}


def create(account: Account, params: Json) -> Json:
    """POST /v1/customers."""
    asked = read(params, {**_FIELDS, "payment_method": text()})
    if "payment_method" in asked:
        payment_methods.find(account, asked["payment_method"])
    settings = below(asked, "invoice_settings")
    customer = account.new(
        "customer",
        {
            **dict.fromkeys(_KEPT),
            "preferred_locales": [],
            **pick(asked, _KEPT),
            "balance": 0,
            "currency": None,
            "customer_account": None,
            "default_source": None,
            "delinquent": False,
            "discount": None,
            "invoice_prefix": token(8).upper(),
            "invoice_settings": {
                "custom_fields": None,
                "default_payment_method": settings.get("default_payment_method"),
                "footer": None,
                "rendering_options": None,
            },
            "metadata": merged({}, asked.get("metadata")),
            "next_invoice_sequence": 1,
            "tax_exempt": "none",
            "test_clock": None,
        },
    )
    if "payment_method" in asked:
        payment_methods.attach(account, {"customer": customer["id"]}, asked["payment_method"])
    account.record_event("customer.created", customer)
    return account.show(customer, asked.get("expand", ()))


def retrieve(account: Account, params: Json, identifier: str) -> Json:
    """GET /v1/customers/{id}: one that was deleted says so."""
    asked = read(params, {"expand": EXPAND})
    return account.show(account.get("customer", identifier), asked.get("expand", ()))


def update(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/customers/{id}."""
    asked = read(params, _FIELDS)
    customer = account.get("customer", identifier)
    customer["metadata"] = merged(customer["metadata"], asked.get("metadata"))
    customer.update(pick(asked, _KEPT))
    customer["invoice_settings"].update(below(asked, "invoice_settings"))
    account.record_event("customer.updated", customer)
    return account.show(customer, asked.get("expand", ()))


def delete(account: Account, params: Json, identifier: str) -> Json:
    """DELETE /v1/customers/{id}: its payment methods are not its own any more."""
    read(params, {})
    customer = account.get("customer", identifier)
    for method in account.all("payment_method"):
        if method["customer"] == identifier:
            method.update(customer=None, _used=True)
    account.record_event("customer.deleted", customer)
    gone = {"id": identifier, "object": "customer", "deleted": True}
    account.objects["customer"].pop(identifier)
    return gone


def listed(account: Account, params: Json) -> Json:
    """GET /v1/customers."""
    asked = read(params, _LIST)
    return account.listed(
        "customer",
        asked,
        lambda row: bool(row["email"] == asked.get("email", row["email"])),
        url="/v1/customers",
    )


def session(account: Account, params: Json) -> Json:
    """POST /v1/customer_sessions: what lets a page show a customer's saved payment methods."""
    asked = read(
        params,
        {
            "customer": text(),
            "components": nested({"payment_element": nested({"enabled": boolean, "features": anything})}),
            "expand": EXPAND,
        },
    )
    customer = account.get("customer", asked.get("customer", ""), param="customer", status=400)
    element = below(asked, "components").get("payment_element", {})
    features = {
        "payment_method_allow_redisplay_filters": ["always"],
        "payment_method_redisplay": "disabled",
        "payment_method_redisplay_limit": 3,
        "payment_method_remove": "disabled",
        "payment_method_save": "disabled",
        "payment_method_save_usage": None,
        **below(element, "features"),
    }
    return {
        "object": "customer_session",
        "client_secret": f"cuss_secret_{token(40)}",
        "components": {
            "buy_button": {"enabled": False},
            "customer_sheet": {"enabled": False, "features": None},
            "mobile_payment_element": {"enabled": False, "features": None},
            "payment_element": {"enabled": element.get("enabled", False), "features": features},
            "pricing_table": {"enabled": False},
        },
        "created": account.now,
        "customer": customer["id"],
        "customer_account": None,
        "expires_at": account.now + 1800,
        "livemode": False,
    }
