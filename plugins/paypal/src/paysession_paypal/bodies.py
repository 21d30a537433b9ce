"""What is sent: the bodies of the writing calls, as pure functions.

``custom_id`` is always the session's id. ``invoice_id`` ends with the session's id (an order) or the
operation's key (a capture, a refund): so an effect is matched beyond doubt, and an account that
refuses duplicate invoice numbers refuses a second effect of one operation even when PayPal has
forgotten its request id. It begins with the host's reference, for the payer's eyes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from paysession_paypal import amounts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paysession.provider import Money, Operation, PaymentSession

__all__ = ["amount_patch", "capture_body", "invoice_id", "key_of", "order_body", "refund_body"]

_INVOICE, _LABEL, _NOTE = 127, 127, 255
_LOCALE: Final = re.compile(r"[a-z]{2}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_EMAIL: Final = re.compile(rf"{_ATOM}(\.{_ATOM})*@([A-Za-z0-9-]+\.)+[A-Za-z0-9]+")
_MAX_EMAIL: Final = 254


def order_body(
    session: PaymentSession,
    *,
    intent: str,
    return_url: str,
    cancel_url: str,
    brand_name: str,
    shipping_preference: str,
) -> dict[str, Any]:
    """Return the body that creates an order.

    Args:
        session: The session; what its checkout tells of the payer's visit wins over the settings.
        intent: ``AUTHORIZE`` or ``CAPTURE``.
        return_url: Where the payer comes back to; empty: not said.
        cancel_url: Where one who gave up comes back to; empty: not said.
        brand_name: The label on PayPal's pages; empty: the account's.
        shipping_preference: Where the shipping address comes from.
    """
    checkout = session.checkout
    context = {
        "return_url": checkout.return_url or return_url.replace("{session_id}", session.id),
        "cancel_url": checkout.cancel_url or cancel_url.replace("{session_id}", session.id),
        "brand_name": _line(brand_name, _LABEL),
        "locale": checkout.locale if _LOCALE.fullmatch(checkout.locale or "") else "",
        "shipping_preference": shipping_preference,
        # Nothing more is asked of the payer after the return.
        "user_action": "PAY_NOW",
    }
    unit = {
        "custom_id": session.id,
        "invoice_id": invoice_id(session, session.id),
        "amount": amounts.write(session.amount),
        "description": _line(checkout.description or "", _LABEL),
    }
    email = checkout.email or ""
    known = len(email) <= _MAX_EMAIL and _EMAIL.fullmatch(email)
    wallet = {"experience_context": _filled(context), "email_address": email if known else ""}
    return {
        "intent": intent,
        "purchase_units": [_filled(unit)],
        "payment_source": {"paypal": _filled(wallet)},
    }


def amount_patch(amount: Money) -> list[dict[str, Any]]:
    """Return the patch that changes an order's amount.

    The only purchase unit has the ``reference_id`` that PayPal gives it: ``default``.
    """
    path = "/purchase_units/@reference_id=='default'/amount"
    return [{"op": "replace", "path": path, "value": amounts.write(amount)}]


def capture_body(session: PaymentSession, operation: Operation) -> dict[str, Any]:
    """Return the body that captures an authorization."""
    return {
        "amount": amounts.write(operation.amount),
        "invoice_id": invoice_id(session, operation.key),
        "final_capture": operation.final,
    }


def refund_body(session: PaymentSession, operation: Operation) -> dict[str, Any]:
    """Return the body that refunds a capture."""
    body = {
        "amount": amounts.write(operation.amount),
        "custom_id": session.id,
        "invoice_id": invoice_id(session, operation.key),
        "note_to_payer": _line(operation.reason or "", _NOTE),
    }
    return _filled(body)


def invoice_id(session: PaymentSession, key: str) -> str:
    """Return an invoice number: the host's reference, and a key that makes it unique."""
    reference = _line(session.collection_reference, _INVOICE - len(key) - 1)
    return f"{reference} {key}"


def key_of(invoice: str | None, session_id: str) -> str | None:
    """Return the operation's key in an invoice number; empty: another's; None: there is none."""
    if invoice is None:
        return None
    key = invoice.rpartition(" ")[2]
    return key if key.startswith(f"{session_id}-") else ""


def _line(text: str, most: int) -> str:
    """Return a text as one line that can be printed; PayPal refuses a request over a control character."""
    words = " ".join(text.split())
    return "".join(filter(str.isprintable, words))[:most].rstrip()


def _filled(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tree.items() if value != ""}
