"""What is sent: the bodies of the writing calls, as pure functions.

``custom_id`` is always the session's id. ``invoice_id`` ends with the session's id (an order) or the
operation's key (a capture, a refund): so an effect is matched beyond doubt, and an account that
refuses duplicate invoice numbers refuses a second effect of one operation even when PayPal has
forgotten its request id. It begins with the host's reference, for the payer's eyes.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from paysession.provider import Declined
from paysession_paypal import amounts
from paysession_paypal.data import PayPalData
from paysession_paypal.sources import SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paysession.provider import Address, Money, Operation, PaymentSession
    from paysession_paypal.settings import Settings
    from paysession_paypal.sources import Source

__all__ = [
    "amount_patch",
    "authorize_body",
    "capture_body",
    "captures_at_once",
    "invoice_id",
    "key_of",
    "label_of",
    "order_body",
    "order_headers",
    "refund_body",
    "source_of",
]

_INVOICE, _LABEL, _NOTE, _FULL_NAME = 127, 127, 255, 300
_LOCALE: Final = re.compile(r"[a-z]{2}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_EMAIL: Final = re.compile(rf"{_ATOM}(\.{_ATOM})*@([A-Za-z0-9-]+\.)+[A-Za-z0-9]+")
_MAX_EMAIL: Final = 254


def order_body(session: PaymentSession, settings: Settings) -> dict[str, Any]:
    """Return the body that creates an order.

    Args:
        session: The session; what its checkout says of the payer's visit wins over the settings.
        settings: The provider's.

    Raises:
        Declined: PayPal would refuse such an order, or it is not offered. Nothing was sent.
    """
    source, data = source_of(session, settings), PayPalData.of(session)
    body: dict[str, Any] = {
        "intent": "CAPTURE" if captures_at_once(session, settings) else "AUTHORIZE",
        "purchase_units": [_unit(session, settings)],
    }
    if data.vault_id is not None:
        return body  # nothing is paid, and no payer asked, before the session is authorized
    if source.bank:
        # PayPal captures by itself once the payer has approved at the bank: these take no call of ours.
        body["processing_instruction"] = "ORDER_COMPLETE_ON_PAYMENT_APPROVAL"
    if source.key:
        body["payment_source"] = {source.key: _source_body(source, session, settings, data)}
    return body


def source_of(session: PaymentSession, settings: Settings) -> Source:
    """Return what a session is paid with.

    Raises:
        Declined: It is not one that the settings offer.
    """
    name = PayPalData.of(session).payment_source or settings.payment_sources[0]
    if name not in settings.payment_sources:
        offered = ", ".join(settings.payment_sources)
        message = f"the payment source {name!r:.40} is not offered; payment_sources are {offered}"
        raise Declined("PAYMENT_SOURCE_NOT_OFFERED", message, conclusive=True)
    return SOURCES[name]


def captures_at_once(session: PaymentSession, settings: Settings) -> bool:
    """Return whether a session's order is captured without an authorization before."""
    at_once = settings.intent == "capture" or session.capture == "automatic"
    return at_once or source_of(session, settings).bank


def order_headers(session: PaymentSession, partner: str = "") -> dict[str, str]:
    """Return the headers of a session's order: what PayPal calls the payer's device, and the partner."""
    device = PayPalData.of(session).client_metadata_id or ""
    return _filled({"PayPal-Client-Metadata-Id": device, "PayPal-Partner-Attribution-Id": partner})


def authorize_body(session: PaymentSession) -> dict[str, Any] | None:
    """Return the body that authorizes, or captures, an order; None: the payer has chosen how to pay."""
    data = PayPalData.of(session)
    if data.vault_id is None:
        return None
    return {"payment_source": {data.source.key or data.source.name: {"vault_id": data.vault_id}}}


def amount_patch(session: PaymentSession, amount: Money) -> list[dict[str, Any]]:
    """Return the patch that changes an order's amount, and its lines where they add up to one of the two.

    The only purchase unit has the ``reference_id`` that PayPal gives it: ``default``.
    """
    path = "/purchase_units/@reference_id=='default'"
    before, items = _items(session, session.amount), _items(session, amount)
    value = _amount(amount, items)
    patch: list[dict[str, Any]] = [{"op": "replace", "path": f"{path}/amount", "value": value}]
    if items:
        patch.append({"op": "add", "path": f"{path}/items", "value": items})
    elif before:
        patch.append({"op": "remove", "path": f"{path}/items"})
    return patch


def _unit(session: PaymentSession, settings: Settings) -> dict[str, Any]:
    """Return the only purchase unit."""
    plain = settings.invoice_number == "plain"
    items, address = _items(session, session.amount), shipping_of(session)
    preference = _preference(session, settings)
    return _filled(
        {
            "custom_id": session.id,
            "invoice_id": _line(session.collection_reference, _INVOICE)
            if plain
            else invoice_id(session, session.id),
            "amount": _amount(session.amount, items),
            "items": items,
            "description": _line(session.checkout.description or "", _LABEL),
            "soft_descriptor": settings.soft_descriptor,
            "payee": {"merchant_id": settings.merchant_id} if settings.merchant_id else {},
            "shipping": address if preference == "SET_PROVIDED_ADDRESS" else {},
        }
    )


def _amount(amount: Money, items: list[dict[str, Any]]) -> dict[str, Any]:
    written: dict[str, Any] = amounts.write(amount)
    # PayPal refuses lines without their total.
    return {**written, "breakdown": {"item_total": amounts.write(amount)}} if items else written


def _items(session: PaymentSession, amount: Money) -> list[dict[str, Any]]:
    """Return the lines of the checkout; none, unless they add up to the amount exactly.

    PayPal refuses an order whose lines do not. A session may be for a part of what is paid for.
    """
    items = session.checkout.items
    if any(item.amount.currency != amount.currency for item in items):
        return []
    if sum(item.amount.minor * item.quantity for item in items) != amount.minor:
        return []
    return [
        _filled(
            {
                "name": _line(item.name, _LABEL) or "-",
                "unit_amount": amounts.write(item.amount),
                "quantity": str(item.quantity),
                "sku": _line(item.reference or "", _LABEL),
            }
        )
        for item in items
    ]


def _preference(session: PaymentSession, settings: Settings) -> str:
    """Return where the address comes from that the goods are sent to.

    Raises:
        Declined: The settings say that the shop gives it, and it does not.
    """
    preference, given = settings.shipping_preference, bool(shipping_of(session))
    if preference == "SET_PROVIDED_ADDRESS" and not given:
        message = "shipping_preference is SET_PROVIDED_ADDRESS, but the checkout has no address with country"
        raise Declined("MISSING_SHIPPING_ADDRESS", message, conclusive=True)
    if preference == "AUTO":
        return "SET_PROVIDED_ADDRESS" if given else "NO_SHIPPING"
    return preference


def shipping_of(session: PaymentSession) -> dict[str, Any]:
    """Return the address of a session's checkout as PayPal writes it; empty: there is none that it takes."""
    address = session.checkout.address
    written = _address(address)
    if address is None or not written:
        return {}
    payer = session.checkout.payer
    name = _line(address.name or (payer.name if payer is not None else "") or "", _FULL_NAME)
    return _filled({"type": "SHIPPING", "name": {"full_name": name} if name else {}, "address": written})


def _address(address: Address | None) -> dict[str, Any]:
    country = address.country if address is not None else None
    if address is None or not re.fullmatch(r"[A-Z]{2}", country or ""):
        return {}
    return _filled(
        {
            "address_line_1": _line(address.line1 or "", 300),
            "address_line_2": _line(address.line2 or "", 300),
            "admin_area_2": _line(address.city or "", 120),
            "admin_area_1": _line(address.region or "", 300),
            "postal_code": _line(address.postal_code or "", 60),
            "country_code": country,
        }
    )


def _source_body(
    source: Source, session: PaymentSession, settings: Settings, data: PayPalData
) -> dict[str, Any]:
    checkout, payer = session.checkout, session.checkout.payer
    locale = checkout.locale or settings.locale
    context = {
        "return_url": checkout.return_url or settings.return_url.replace("{session_id}", session.id),
        "cancel_url": checkout.cancel_url or settings.cancel_url.replace("{session_id}", session.id),
        "brand_name": _line(settings.brand_name, _LABEL),
        "locale": locale if _LOCALE.fullmatch(locale) else "",
        "shipping_preference": _preference(session, settings),
        "landing_page": settings.landing_page,
        "user_action": settings.user_action,
        "payment_method_preference": "IMMEDIATE_PAYMENT_REQUIRED" if settings.immediate_payment else "",
    }
    email = checkout.email or ""
    email = email if len(email) <= _MAX_EMAIL and _EMAIL.fullmatch(email) else ""
    billing = _address(payer.address if payer is not None else None)
    saving = _saving(source) if data.save else {}
    if source.key == "paypal":
        wallet = {"experience_context": _filled(context), "email_address": email, "address": billing}
        return _filled({**wallet, "attributes": saving})
    if source.key == "venmo":
        fewer = {name: context[name] for name in ("brand_name", "shipping_preference")}
        return _filled({"experience_context": _filled(fewer), "email_address": email, "attributes": saving})
    if source.key == "card":
        fewer = {name: context[name] for name in ("return_url", "cancel_url")}
        return _filled(
            {"experience_context": _filled(fewer), "billing_address": billing, "attributes": saving}
        )
    return _bank(source, session, context, email)


def _bank(source: Source, session: PaymentSession, context: Mapping[str, str], email: str) -> dict[str, Any]:
    """Return what a bank has to know of the payer.

    Raises:
        Declined: The checkout does not say who pays, or from which country.
    """
    checkout, payer = session.checkout, session.checkout.payer
    places = (payer.address if payer is not None else None, checkout.address)
    country = next((place.country for place in places if place is not None and place.country), "")
    name = payer.name if payer is not None else None
    name = name or (checkout.address.name if checkout.address is not None else None)
    name = _line(name or "", _FULL_NAME)
    lacking = [
        word
        for word, given in (("a name", name), ("a country", country), ("an e-mail address", email))
        if not given and (word != "an e-mail address" or source.name == "p24")
    ]
    if lacking:
        message = f"{source.name} needs {' and '.join(lacking)} of the payer, and the checkout lacks that"
        raise Declined("MISSING_REQUIRED_PARAMETER", message, conclusive=True)
    shared = ("return_url", "cancel_url", "brand_name", "locale", "shipping_preference")
    fewer = {part: context[part] for part in shared}
    if source.name == "blik":
        agent = _line(checkout.user_agent or "", 256)
        fewer |= {"consumer_ip": checkout.ip or "", "consumer_user_agent": agent}
    mail = {"email": email} if source.name in ("blik", "p24") else {}
    return _filled({"name": name, "country_code": country, **mail, "experience_context": _filled(fewer)})


def _saving(source: Source) -> dict[str, Any]:
    """Return the wish to save how the payer pays, once the payment has succeeded."""
    wallets = {"paypal": {"usage_type": "MERCHANT"}, "venmo": {"usage_type": "MERCHANT"}}
    return {"vault": {"store_in_vault": "ON_SUCCESS", **wallets.get(source.key, {})}}


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


def label_of(object_id: str) -> str:
    """Return a label for the key of a write about one of several objects: the same for the same object."""
    return sha256(object_id.encode()).hexdigest()[:12]


def _line(text: str, most: int) -> str:
    """Return a text as one line that can be printed; PayPal refuses a request over a control character."""
    words = " ".join(text.split())
    return "".join(filter(str.isprintable, words))[:most].rstrip()


def _filled(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tree.items() if value not in ("", {}, [])}
