"""What payers let a merchant save: setup tokens, which they approve, and the payment tokens made of these.

https://developer.paypal.com/api/payment-tokens/save-without-purchase/paypal is what it follows. A payer's
way to pay that is saved with a payment becomes a payment token as well.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from paysession_sandbox.paypal import documents
from paysession_sandbox.paypal.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paysession_sandbox.paypal.ledger import Ledger
    from paysession_sandbox.paypal.objects import SetupToken

__all__ = ["approve", "begin", "listed", "saved", "setup", "setup_of", "turn"]

LIVES: Final = timedelta(days=3)
"""How long a setup token waits to become a payment token."""
WALLETS: Final = ("paypal", "venmo")
_SHOWN: Final = (
    "description",
    "shipping",
    "permit_multiple_payment_tokens",
    "usage_pattern",
    "usage_type",
    "customer_type",
)


def begin(ledger: Ledger, body: Mapping[str, Any]) -> SetupToken:
    """Make a setup token, which the payer is to approve."""
    ((source, told),) = body["payment_source"].items()
    if source not in WALLETS:
        raise Problem(422, "UNSUPPORTED_PAYMENT_SOURCE")
    customer = body.get("customer", {}).get("id")
    return ledger.begin_to_save(source, customer, dict(told))


def setup_of(ledger: Ledger, token: str) -> SetupToken:
    """Return a setup token; one that waited too long is gone."""
    row = ledger.setups.get(token)
    if row is None or ledger.now() >= row.created_at + LIVES:
        raise Problem(404, "INVALID_RESOURCE_ID")
    return row


def approve(ledger: Ledger, token: str) -> SetupToken:
    """Approve as the payer."""
    row = setup_of(ledger, token)
    if row.status == "PAYER_ACTION_REQUIRED":
        row.status = "APPROVED"
    return row


def turn(ledger: Ledger, body: Mapping[str, Any]) -> str:
    """Turn an approved setup token into a payment token; return its id."""
    asked = body["payment_source"]["token"]
    if asked["type"] != "SETUP_TOKEN":
        raise Problem(422, "UNSUPPORTED_PAYMENT_SOURCE")
    row = setup_of(ledger, asked["id"])
    if row.status == "PAYER_ACTION_REQUIRED":
        raise Problem(422, "PAYER_ACTION_REQUIRED")
    if row.status == "VAULTED":
        raise Problem(422, "SETUP_TOKEN_ALREADY_VAULTED")
    row.status = "VAULTED"
    return ledger.save(row.source, row.customer, _shown(row))


def _shown(row: SetupToken) -> dict[str, Any]:
    return {name: part for name, part in row.told.items() if name in _SHOWN}


# --- the JSON that PayPal writes ------------------------------------------------------------------


def setup(row: SetupToken, base: str) -> dict[str, Any]:
    """Return a setup token."""
    shown = _shown(row)
    url = f"{base}/v3/vault/setup-tokens/{row.id}"
    links = [documents.link("self", url)]
    if row.status == "PAYER_ACTION_REQUIRED":
        links.append(documents.link("approve", f"{base}/agreements/approve?approval_session_id={row.id}"))
    else:
        shown |= documents.PAYERS
    if row.status == "APPROVED":
        links.append(documents.link("confirm", f"{base}/v3/vault/payment-tokens", "POST"))
    return {
        "id": row.id,
        "customer": {"id": row.customer},
        "status": row.status,
        "payment_source": {row.source: shown},
        "links": links,
    }


def saved(ledger: Ledger, token: str, base: str) -> dict[str, Any]:
    """Return a payment token."""
    source = ledger.vault.get(token)
    row = ledger.saved.get(token)
    if source is None or row is None:
        raise Problem(404, "INVALID_RESOURCE_ID")
    url = f"{base}/v3/vault/payment-tokens/{token}"
    return {
        "id": token,
        "customer": {"id": row.customer},
        "payment_source": {source: {**row.shown, **documents.PAYERS}},
        "links": [documents.link("self", url), documents.link("delete", url, "DELETE")],
    }


def listed(ledger: Ledger, customer: str, base: str) -> dict[str, Any]:
    """Return what a customer has saved."""
    tokens = [
        token for token, row in ledger.saved.items() if row.customer == customer and token in ledger.vault
    ]
    return {
        "customer": {"id": customer},
        "payment_tokens": [saved(ledger, token, base) for token in tokens],
        "links": [documents.link("self", f"{base}/v3/vault/payment-tokens?customer_id={customer}")],
    }
