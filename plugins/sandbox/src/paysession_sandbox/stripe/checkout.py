"""Checkout Sessions: https://docs.stripe.com/api/checkout/sessions. Their page is in `pages`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from paysession_sandbox.stripe import amounts, charges, payment_intents, setup_intents
from paysession_sandbox.stripe.account import page, token
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
from paysession_sandbox.stripe.refusals import Refusal, invalid, missing
from paysession_sandbox.stripe.wire import below

if TYPE_CHECKING:
    from paysession_sandbox.stripe.account import Account
    from paysession_sandbox.stripe.wire import Json

__all__ = [
    "create",
    "expire",
    "follow",
    "line_items",
    "listed",
    "retrieve",
    "submit",
    "time_is_over",
    "update",
]

_SHORTEST, _LONGEST = timedelta(minutes=30), timedelta(hours=24)
_PRICE: Final = nested(
    {
        "currency": required(currency),
        "unit_amount": integer(0),
        "product_data": nested(
            {"name": required(text()), "description": text(), "images": anything, "metadata": metadata}
        ),
        "tax_behavior": text(),
        "product": left_out,
        "recurring": left_out,
        "unit_amount_decimal": left_out,
    }
)
_ITEM: Final = nested(
    {
        "price_data": _PRICE,
        "quantity": integer(1),
        "price": left_out,
        "adjustable_quantity": left_out,
        "metadata": metadata,
    }
)
_INTENT: Final = nested(
    {
        "capture_method": choice("automatic", "automatic_async", "manual"),
        "description": text(1000),
        "metadata": metadata,
        "receipt_email": text(),
        "setup_future_usage": choice("off_session", "on_session"),
        "shipping": anything,
        "statement_descriptor": text(22),
        "statement_descriptor_suffix": text(22),
        "transfer_group": text(),
        "application_fee_amount": left_out,
        "on_behalf_of": left_out,
        "transfer_data": left_out,
    }
)
_NOT_IMITATED: Final = """
after_expiration allow_promotion_codes automatic_tax billing_address_collection
branding_settings consent_collection custom_fields custom_text customer_account customer_update discounts
excluded_payment_method_types integration_identifier invoice_creation managed_payments name_collection
optional_items origin_context payment_method_collection payment_method_configuration payment_method_data
permissions phone_number_collection saved_payment_method_options shipping_address_collection
shipping_options subscription_data tax_id_collection wallet_options
"""
_EMPTY: Final = """
adaptive_pricing after_expiration allow_promotion_codes billing_address_collection collected_information
consent consent_collection currency_conversion customer_account invoice payment_link
payment_method_configuration_details permissions recovered_from saved_payment_method_options
shipping_address_collection shipping_cost subscription wallet_options
"""
"""Fields of a Session that are null here."""

_CREATE: Final = {
    "adaptive_pricing": nested({"enabled": boolean}),  # prices are in one currency here in any case
    "cancel_url": url,
    "client_reference_id": text(200),
    "currency": currency,
    "customer": text(),
    "customer_creation": choice("always", "if_required"),
    "customer_email": text(512),
    "expires_at": integer(0),
    "line_items": list_of(_ITEM),
    "locale": text(),
    "metadata": metadata,
    "mode": choice("payment", "setup", "subscription"),
    "payment_intent_data": _INTENT,
    "payment_method_options": anything,
    "payment_method_types": list_of(text()),
    "redirect_on_completion": choice("always", "if_required", "never"),
    "return_url": url,
    "setup_intent_data": nested({"description": text(), "metadata": metadata}),
    "submit_type": choice("auto", "book", "donate", "pay", "subscribe"),
    "success_url": url,
    "ui_mode": choice("elements", "embedded_page", "hosted_page"),
    "expand": EXPAND,
    **dict.fromkeys(_NOT_IMITATED.split(), left_out),
}
_LIST: Final = {
    "customer": text(),
    "payment_intent": text(),
    "status": choice("complete", "expired", "open"),
    "created": anything,
    "limit": integer(1, 100),
    "starting_after": text(),
    "ending_before": text(),
    "expand": EXPAND,
}


def create(account: Account, params: Json) -> Json:
    """POST /v1/checkout/sessions."""
    asked = read(params, _CREATE)
    mode, ui = asked.get("mode"), asked.get("ui_mode", "hosted_page")
    if mode is None:
        raise missing("mode")
    if mode == "subscription":
        raise invalid("mode", "paysession-sandbox does not imitate subscriptions")
    items = [_line(account, item, place) for place, item in enumerate(asked.get("line_items") or ())]
    code, total = _check(asked, items, mode, ui)
    until = account.now + int(_LONGEST.total_seconds())
    expires_at = asked.get("expires_at", until)
    if not account.now + int(_SHORTEST.total_seconds()) - 60 <= expires_at <= until:
        raise invalid("expires_at", "It must be between 30 minutes and 24 hours from now.")
    customer = None
    if asked.get("customer"):
        customer = account.get("customer", asked["customer"], param="customer", status=400)["id"]
    session = account.new(
        "checkout.session",
        {
            **_fixed(),
            "amount_subtotal": total,
            "amount_total": total,
            "cancel_url": asked.get("cancel_url"),
            "client_reference_id": asked.get("client_reference_id"),
            "client_secret": None,
            "currency": code,
            "customer": customer,
            "customer_creation": asked.get("customer_creation", "if_required") if mode == "payment" else None,
            "customer_details": None,
            "customer_email": asked.get("customer_email"),
            "expires_at": expires_at,
            "locale": asked.get("locale"),
            "metadata": merged({}, asked.get("metadata")),
            "mode": mode,
            "payment_intent": None,
            "payment_method_options": below(asked, "payment_method_options"),
            "payment_method_types": asked.get("payment_method_types") or list(account.settings.methods),
            "payment_status": "unpaid" if mode == "payment" else "no_payment_required",
            "setup_intent": None,
            "status": "open",
            "submit_type": asked.get("submit_type"),
            "success_url": asked.get("success_url"),
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
            "ui_mode": ui,
            "url": None,
            "_data": asked.get("payment_intent_data") or below(asked, "setup_intent_data"),
            "_line_items": items,
        },
    )
    if ui == "hosted_page":
        session["url"] = f"{account.base}/c/pay/{session['id']}"
    else:
        session["client_secret"] = f"{session['id']}_secret_{token(25)}"
        session.update(pick(asked, ["return_url", "redirect_on_completion"]))
    account.later(timedelta(seconds=expires_at - account.now), "checkout_over", session["id"])
    return account.show(session, asked.get("expand", ()))


def _fixed() -> Json:
    return {
        **dict.fromkeys(_EMPTY.split()),
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "custom_fields": [],
        "custom_text": dict.fromkeys(
            ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
        ),
        "discounts": [],
        "invoice_creation": None,
        "origin_context": None,
        "payment_method_collection": "if_required",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
    }


def _line(account: Account, item: Json, place: int) -> Json:
    price = item.get("price_data")
    if price is None:
        raise missing(f"line_items[{place}][price_data]")
    for name in ("unit_amount", "product_data"):
        if name not in price:
            raise missing(f"line_items[{place}][price_data][{name}]")
    quantity = item.get("quantity", 1)
    total = price["unit_amount"] * quantity
    return {
        "id": f"li_{token()}",
        "object": "item",
        "amount_discount": 0,
        "amount_subtotal": total,
        "amount_tax": 0,
        "amount_total": total,
        "currency": price["currency"],
        "description": price["product_data"]["name"],
        "metadata": merged({}, item.get("metadata")),
        "price": {
            "id": f"price_{token()}",
            "object": "price",
            "active": False,
            "billing_scheme": "per_unit",
            "created": account.now,
            "currency": price["currency"],
            "custom_unit_amount": None,
            "livemode": False,
            "lookup_key": None,
            "metadata": {},
            "nickname": None,
            "product": f"prod_{token(14)}",
            "recurring": None,
            "tax_behavior": price.get("tax_behavior", "unspecified"),
            "tiers_mode": None,
            "transform_quantity": None,
            "type": "one_time",
            "unit_amount": price["unit_amount"],
            "unit_amount_decimal": str(price["unit_amount"]),
        },
        "quantity": quantity,
    }


def _check(asked: Json, items: list[Json], mode: str, ui: str) -> tuple[str | None, int | None]:
    if ui == "hosted_page" and "success_url" not in asked:
        raise missing("success_url")
    if ui != "hosted_page" and "return_url" not in asked and asked.get("redirect_on_completion") != "never":
        raise missing("return_url")
    if "customer" in asked and "customer_email" in asked:
        raise invalid("customer_email", "Give either customer or customer_email.")
    if mode == "setup":
        if items:
            raise invalid("line_items", "A Session in setup mode has no line items.")
        return asked.get("currency"), None
    if not items:
        raise missing("line_items")
    codes = {item["currency"] for item in items}
    if len(codes) > 1 or asked.get("currency", items[0]["currency"]) not in codes:
        raise invalid("line_items", "All line items of a Session have one currency.")
    total = sum(item["amount_total"] for item in items)
    amounts.check(total, items[0]["currency"])
    return items[0]["currency"], total


# --- the payer ------------------------------------------------------------------------------------


def submit(account: Account, session: Json, form: Json) -> Json:
    """Pay, or save a payment method, as the payer does on the page; return the intent.

    Args:
        account: Whose.
        session: The Session, which is open.
        form: ``payment_method_data`` or ``payment_method``, and the payer's ``email`` and ``name``.

    Raises:
        Refusal: It is not open any more, or the card is declined; the payer may try again.
    """
    if session["status"] != "open":
        raise Refusal(400, message=f"This Checkout Session is {session['status']}.")
    billing = below(below(form, "payment_method_data"), "billing_details")
    email = billing.get("email") or session["customer_email"]
    chosen = pick(form, ["payment_method", "payment_method_data"])
    if session["mode"] == "setup":
        return _set_up(account, session, chosen)
    intent = account.named("payment_intent", session["payment_intent"]) or _intent(account, session)
    session["customer_details"] = {
        "address": None,
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": billing.get("name"),
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    payment_intents.confirm(
        account, {**chosen, "return_url": f"{account.base}/c/back/{session['id']}"}, intent["id"]
    )
    return intent


def _intent(account: Account, session: Json) -> Json:
    data = session["_data"]
    if session["customer"] is None and session["customer_creation"] == "always":
        from paysession_sandbox.stripe import customers  # noqa: PLC0415 - here only

        session["customer"] = customers.create(account, {"email": session["customer_email"] or ""})["id"]
    asked: Json = {
        **data,
        "amount": session["amount_total"],
        "currency": session["currency"],
        "allowed_payment_method_types": session["payment_method_types"],
        "payment_method_options": session["payment_method_options"],
    }
    if session["customer"] is not None:
        asked["customer"] = session["customer"]
    intent = payment_intents.make(account, asked)
    intent["_session"] = session["id"]
    session["payment_intent"] = intent["id"]
    return intent


def _set_up(account: Account, session: Json, chosen: Json) -> Json:
    intent = account.named("setup_intent", session["setup_intent"])
    if intent is None:
        asked = {**session["_data"], **({"customer": session["customer"]} if session["customer"] else {})}
        intent = setup_intents.make(account, asked)
        intent["_session"] = session["id"]
        session["setup_intent"] = intent["id"]
    back = f"{account.base}/c/back/{session['id']}"
    setup_intents.confirm(account, {**chosen, "return_url": back}, intent["id"])
    follow(account, session)
    return intent


def follow(account: Account, session: Json) -> None:
    """Bring a Session up to what its intent has become."""
    if session["mode"] == "setup":
        intent = account.named("setup_intent", session["setup_intent"])
        if session["status"] == "open" and intent is not None and intent["status"] == "succeeded":
            _complete(account, session, session["payment_status"])
        return
    intent = account.named("payment_intent", session["payment_intent"])
    if intent is None:
        return
    paid = {"succeeded": "paid", "requires_capture": "unpaid", "processing": "unpaid"}.get(intent["status"])
    if session["status"] == "open" and paid is not None:
        _complete(account, session, paid)
    elif (
        session["status"] == "complete"
        and session["payment_status"] == "unpaid"
        and not session.get("_failed")
    ):
        if intent["status"] == "succeeded":
            session["payment_status"] = "paid"
            charge = account.get("charge", intent["latest_charge"])
            if not charges.is_held(intent, charge["payment_method_details"]["type"]):
                account.record_event("checkout.session.async_payment_succeeded", session)
        elif intent["status"] == "requires_payment_method":
            session["_failed"] = True
            account.record_event("checkout.session.async_payment_failed", session)


def _complete(account: Account, session: Json, payment_status: str) -> None:
    account.drop_timers(session["id"])
    session.update(status="complete", payment_status=payment_status, url=None)
    account.record_event("checkout.session.completed", session)


def target(session: Json) -> str:
    """Return where the payer's browser goes after paying."""
    place = str(session["success_url"] or session.get("return_url") or "/")
    return place.replace("{CHECKOUT_SESSION_ID}", session["id"])


# --- calls ----------------------------------------------------------------------------------------


def retrieve(account: Account, params: Json, identifier: str) -> Json:
    """GET /v1/checkout/sessions/{id}."""
    asked = read(params, {"expand": EXPAND})
    return account.show(account.get("checkout.session", identifier), asked.get("expand", ()))


def update(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/checkout/sessions/{id}: its metadata."""
    asked = read(
        params, {"metadata": metadata, "expand": EXPAND, "client_reference_id": clearable(text(200))}
    )
    session = account.get("checkout.session", identifier)
    session["metadata"] = merged(session["metadata"], asked.get("metadata"))
    return account.show(session, asked.get("expand", ()))


def line_items(account: Account, params: Json, identifier: str) -> Json:
    """GET /v1/checkout/sessions/{id}/line_items."""
    read(
        params,
        {"limit": integer(1, 100), "starting_after": text(), "ending_before": text(), "expand": EXPAND},
    )
    session = account.get("checkout.session", identifier)
    return page(session["_line_items"], f"/v1/checkout/sessions/{identifier}/line_items")


def expire(account: Account, params: Json, identifier: str) -> Json:
    """POST /v1/checkout/sessions/{id}/expire."""
    asked = read(params, {"expand": EXPAND})
    session = account.get("checkout.session", identifier)
    if session["status"] != "open":
        message = (
            f"Only Checkout Sessions with a status of open can be expired; this one is {session['status']}."
        )
        raise Refusal(400, executed=True, message=message)
    account.drop_timers(identifier)
    time_is_over(account, identifier)
    return account.show(session, asked.get("expand", ()))


def time_is_over(account: Account, identifier: str) -> None:
    """Close the page; an unfinished PaymentIntent is canceled with it."""
    session = account.get("checkout.session", identifier)
    if session["status"] != "open":
        return
    session.update(status="expired", url=None)
    intent = account.named("payment_intent", session["payment_intent"])
    if intent is not None and intent["status"] in payment_intents.OPEN:
        payment_intents.end(account, intent)
    account.record_event("checkout.session.expired", session)


def listed(account: Account, params: Json) -> Json:
    """GET /v1/checkout/sessions."""
    asked = read(params, _LIST)

    def wanted(row: Json) -> bool:
        return all(
            row[name] == asked[name] for name in ("customer", "payment_intent", "status") if name in asked
        )

    return account.listed("checkout.session", asked, wanted, url="/v1/checkout/sessions")
