"""The fake PayPal's objects as the JSON that PayPal writes."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from paysession_sandbox.paypal.ledger import VALID

if TYPE_CHECKING:
    from datetime import datetime

    from paysession_sandbox.paypal.objects import Authorization, Capture, Dispute, Order, Refund

__all__ = ["authorization", "capture", "dispute", "dispute_summary", "link", "order", "refund"]

PAYER: Final = "QYR5Z8XDVJNXQ"
_EMAIL: Final = "payer@example.com"
PAYERS: Final = {"payer_id": PAYER, "email_address": _EMAIL}
"""What is shown of the payer."""
RESPONSE: Final = timedelta(days=10)
"""How long a merchant may answer a dispute."""
FEE: Final = Decimal("0.03")
"""What this PayPal keeps of each capture."""
_WHOLE: Final = ("HUF", "JPY", "TWD")
_PLAIN: Final = re.compile(r"[A-Za-z0-9:|-]+")


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _money(amount: Decimal, currency: str) -> dict[str, str]:
    value = f"{amount:.0f}" if currency in _WHOLE else f"{amount:.2f}"
    return {"currency_code": currency, "value": value}


def link(rel: str, href: str, method: str = "GET") -> dict[str, str]:
    """Return a link, as PayPal gives it with an object."""
    return {"href": href, "rel": rel, "method": method}


def _filled(tree: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tree.items() if value is not None}


def order(row: Order, base: str) -> dict[str, Any]:
    """Return an order.

    Args:
        row: The order.
        base: The URL of the fake, without a slash at its end.
    """
    url = f"{base}/v2/checkout/orders/{row.id}"
    links = [link("self", url)]
    if row.approved_at is None:
        rel = "approve" if row.status == "CREATED" else "payer-action"
        links += [link(rel, f"{base}/checkoutnow?token={row.id}"), link("update", url, "PATCH")]
    if row.status in ("CREATED", "APPROVED"):
        action = row.intent.lower()
        links.append(link(action, f"{url}/{action}", "POST"))
    payments = _filled(
        {
            "authorizations": [authorization(a, row, base, inside=True) for a in row.authorizations] or None,
            "captures": [capture(c, row, base, inside=True) for c in row.captures] or None,
            "refunds": [refund(r, c, row, base) for c in row.captures for r in c.refunds] or None,
        }
    )
    unit = {**row.unit, "amount": {**row.unit["amount"], **_money(row.amount, row.currency)}}
    document: dict[str, Any] = {
        "id": row.id,
        "intent": row.intent,
        "status": row.status,
        "purchase_units": [{**unit, "payments": payments} if payments else unit],
        "create_time": _time(row.created_at),
        "links": links,
    }
    if row.approved_at is not None:
        document["update_time"] = _time(row.approved_at)
        document["payer"] = PAYERS
        source = row.source or "paypal"
        shown = row.paid_with
        if source in ("paypal", "venmo"):
            shown = {"account_id": PAYER, "email_address": _EMAIL, **shown}
        document["payment_source"] = {source: shown}
    if row.instruction is not None:
        document["processing_instruction"] = row.instruction
    return document


def authorization(row: Authorization, of: Order, base: str, *, inside: bool = False) -> dict[str, Any]:
    """Return an authorization; ``inside`` an order it does not name what is above it."""
    url = f"{base}/v2/payments/authorizations/{row.id}"
    links = [link("self", url)]
    if row.status in ("CREATED", "PARTIALLY_CAPTURED"):
        links += [link("capture", f"{url}/capture", "POST"), link("void", f"{url}/void", "POST")]
    links.append(link("up", f"{base}/v2/checkout/orders/{of.id}"))
    return _filled(
        {
            "id": row.id,
            "status": row.status,
            "status_details": {"reason": "PENDING_REVIEW"} if row.status == "PENDING" else None,
            "amount": _money(row.amount, of.currency),
            "invoice_id": of.unit.get("invoice_id"),
            "custom_id": of.unit.get("custom_id"),
            "seller_protection": {"status": "NOT_ELIGIBLE"},
            "expiration_time": _time(row.created_at + VALID),
            "create_time": _time(row.created_at),
            "update_time": _time(row.created_at),
            "links": links,
            "supplementary_data": None if inside else {"related_ids": {"order_id": of.id}},
        }
    )


def capture(row: Capture, of: Order, base: str, *, inside: bool = False) -> dict[str, Any]:
    """Return a capture; ``inside`` an order it does not name what is above it."""
    url = f"{base}/v2/payments/captures/{row.id}"
    above = next((a for a in of.authorizations if row in a.captures), None)
    parent = f"payments/authorizations/{above.id}" if above is not None else f"checkout/orders/{of.id}"
    related = {"order_id": of.id, **({"authorization_id": above.id} if above is not None else {})}
    gross = _money(row.amount, of.currency)
    fee = (row.amount * FEE).quantize(Decimal(1) if of.currency in _WHOLE else Decimal("0.01"))
    return _filled(
        {
            "id": row.id,
            "status": row.status,
            "status_details": {"reason": row.reason} if row.reason else None,
            "amount": gross,
            "invoice_id": row.invoice_id,
            "custom_id": of.unit.get("custom_id"),
            "final_capture": row.final,
            "seller_protection": {"status": "NOT_ELIGIBLE"},
            "seller_receivable_breakdown": {
                "gross_amount": gross,
                "paypal_fee": _money(fee, of.currency),
                "net_amount": _money(row.amount - fee, of.currency),
            },
            "create_time": _time(row.created_at),
            "update_time": _time(row.created_at),
            "links": [
                link("self", url),
                link("refund", f"{url}/refund", "POST"),
                link("up", f"{base}/v2/{parent}"),
            ],
            "supplementary_data": None if inside else {"related_ids": related},
        }
    )


def dispute(row: Dispute, of: Capture, order: Order, base: str) -> dict[str, Any]:
    """Return a dispute."""
    currency = order.currency
    refunded = {"amount_refunded": _money(row.refunded, currency)} if row.refunded else {}
    transaction = {
        "seller_transaction_id": of.id,
        "create_time": _time(of.created_at),
        "transaction_status": of.status if of.status in ("COMPLETED", "PENDING") else "REVERSED",
        "gross_amount": _money(of.amount, currency),
        # PayPal's file of disputes gives invoice numbers fewer characters than that of payments.
        "invoice_number": of.invoice_id if _PLAIN.fullmatch(of.invoice_id or "") else None,
        "custom": order.unit.get("custom_id"),
    }
    movements = [
        {"affected_party": "SELLER", "type": kind, "reason": reason, "amount": _money(amount, currency)}
        for kind, reason, amount in row.movements
    ]
    return {
        **dispute_summary(row, order, base),
        "disputed_transactions": [_filled(transaction)],
        **({"dispute_outcome": {"outcome_code": row.outcome, **refunded}} if row.outcome else {}),
        **({"money_movements": movements} if movements else {}),
    }


def dispute_summary(row: Dispute, order: Order, base: str) -> dict[str, Any]:
    """Return what a list has of a dispute."""
    return _filled(
        {
            "dispute_id": row.id,
            "create_time": _time(row.created_at),
            "update_time": _time(row.updated_at or row.created_at),
            "reason": row.reason,
            "status": row.status,
            "dispute_amount": _money(row.amount, order.currency),
            "dispute_life_cycle_stage": row.stage,
            "seller_response_due_date": None if row.outcome else _time(row.created_at + RESPONSE),
            "links": [link("self", f"{base}/v1/customer/disputes/{row.id}")],
        }
    )


def refund(row: Refund, of: Capture, order: Order, base: str) -> dict[str, Any]:
    """Return a refund."""
    gross = _money(row.amount, order.currency)
    return _filled(
        {
            "id": row.id,
            "status": row.status,
            "amount": gross,
            "invoice_id": row.invoice_id,
            "custom_id": row.custom_id or order.unit.get("custom_id"),
            "note_to_payer": row.note,
            "seller_payable_breakdown": {
                "gross_amount": gross,
                "total_refunded_amount": _money(of.refunded, order.currency),
            },
            "create_time": _time(row.created_at),
            "update_time": _time(row.created_at),
            "links": [
                link("self", f"{base}/v2/payments/refunds/{row.id}"),
                link("up", f"{base}/v2/payments/captures/{of.id}"),
            ],
        }
    )
