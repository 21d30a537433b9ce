"""The pages that a payer sees: Stripe Checkout's, and that of the payer's bank.

https://docs.stripe.com/payments/checkout and https://docs.stripe.com/payments/3d-secure/authentication-flow.
"""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from paysession_sandbox import pages
from paysession_sandbox.stripe import checkout, payment_intents, setup_intents
from paysession_sandbox.stripe.refusals import Refusal
from paysession_sandbox.stripe.wire import Answer, Json, below

if TYPE_CHECKING:
    from paysession_sandbox.stripe.account import Account

__all__ = ["answer", "money"]

_HTML: Final = {"Content-Type": "text/html; charset=utf-8"}
_WHOLE: Final = frozenset(("jpy", "krw", "clp", "vnd", "xof", "xaf", "xpf"))
_NAMES: Final = {
    "card": "Card",
    "sepa_debit": "SEPA Direct Debit",
    "ideal": "iDEAL",
    "bancontact": "Bancontact",
}


def money(amount: int, currency: str) -> str:
    """Return an amount as a payer reads it."""
    return f"{amount} {currency.upper()}" if currency in _WHOLE else f"{amount / 100:.2f} {currency.upper()}"


def answer(account: Account, method: str, path: str, form: Json) -> Answer | None:
    """Answer a browser; None: there is no such page.

    Args:
        account: The account.
        method: The HTTP method.
        path: The path.
        form: The parameters of the query, or of the form.
    """
    parts = path.strip("/").split("/")
    try:
        if parts[:2] == ["c", "pay"] and len(parts) == 3:  # noqa: PLR2004 - /c/pay/ID
            return _checkout(account, method, parts[2], form)
        if parts[:2] == ["c", "back"] and len(parts) == 3:  # noqa: PLR2004
            return _back(account, parts[2])
        if parts[0] == "payer" and len(parts) == 2:  # noqa: PLR2004 - /payer/ID
            return _bank(account, method, parts[1], form)
    except Refusal as refusal:
        body = f"<h1>It does not work</h1><p>{escape(str(refusal.error.get('message')))}</p>"
        return Answer(refusal.status, pages.page("Not Stripe", body, narrow=True), _HTML)
    return None


def _away(place: str) -> Answer:
    return Answer(303, b"", {"Location": place, **_HTML})


# --- the payer's bank -----------------------------------------------------------------------------


def _bank(account: Account, method: str, identifier: str, form: Json) -> Answer:
    kind, act = (
        ("setup_intent", setup_intents.authenticate)
        if identifier.startswith("seti_")
        else ("payment_intent", payment_intents.authenticate)
    )
    intent = account.get(kind, identifier)
    if form.get("client_secret") != intent["client_secret"]:
        raise Refusal(404, message="This page is gone.")
    framed = form.get("framed") == "1"
    if method == "POST":
        act(account, identifier, success=form.get("success") == "true")
        if framed:
            done = "<script>parent.postMessage({sandbox: 'done'}, '*')</script><p>Done.</p>"
            return Answer(200, pages.page("Not your bank", done, narrow=True), _HTML)
        return _away(back_to_shop(intent))
    if intent["status"] != "requires_action":
        return Answer(200, pages.page("Not your bank", "<h1>This is done already</h1>", narrow=True), _HTML)
    what = (
        f"pay {money(intent['amount'], intent['currency'])}" if kind == "payment_intent" else "save your card"
    )
    hidden = {"client_secret": intent["client_secret"], **({"framed": "1"} if framed else {})}
    place = f"/payer/{identifier}"
    passes = pages.button("Complete authentication", place, True, success="true", **hidden)
    fails = pages.button("Fail authentication", place, success="false", **hidden)
    body = (
        f"<h1>Your bank wants to be sure</h1><p>Is it you who wants to {escape(what)}?</p>"
        f"<div class='row'>{passes}{fails}</div>"
        "<p class='soft'>This is paysession-sandbox: no bank, and no money.</p>"
    )
    return Answer(200, pages.page("Not your bank", f"<section>{body}</section>", narrow=True), _HTML)


def back_to_shop(intent: Json) -> str:
    """Return the address that the payer's browser goes back to, with what Stripe adds to it."""
    kind = intent["object"]
    paid = intent["status"] in ("succeeded", "requires_capture", "processing")
    query = {
        kind: intent["id"],
        f"{kind}_client_secret": intent["client_secret"],
        "redirect_status": "succeeded" if paid else "failed",
    }
    place = str(intent["_return_url"] or "/")
    return f"{place}{'&' if '?' in place else '?'}{urlencode(query)}"


# --- Checkout -------------------------------------------------------------------------------------


def _checkout(account: Account, method: str, identifier: str, form: Json) -> Answer:
    session = account.get("checkout.session", identifier)
    if session["client_secret"] not in (None, form.get("client_secret")):  # an embedded one is its payer's
        raise Refusal(404, message="This page is gone.")
    if session["status"] != "open":
        body = f"<h1>This page is {escape(session['status'])}</h1><p>You can close it.</p>"
        return Answer(
            200, pages.page("Not Stripe Checkout", f"<section>{body}</section>", narrow=True), _HTML
        )
    error = ""
    if method == "POST":
        try:
            intent = checkout.submit(account, session, _typed(form))
        except Refusal as refusal:
            error = str(refusal.error.get("message"))
        else:
            action = intent["next_action"]
            if action is not None:
                inner = below(action, action["type"])
                return _away(str(inner.get("url") or inner["stripe_js"]))
            checkout.follow(account, session)
            return _paid(session)
    return Answer(200, pages.page("Not Stripe Checkout", _form(session, form, error), narrow=True), _HTML)


def _typed(form: Json) -> Json:
    """Return what a payer typed in as Stripe's parameters."""
    kind = str(form.get("type", "card"))
    billing = {name: form[name] for name in ("name", "email") if form.get(name)}
    data: Json = {"type": kind, "billing_details": billing}
    if kind == "card":
        month, _, year = str(form.get("expiry", "")).replace(" ", "").partition("/")
        data["card"] = {"number": str(form.get("number", "")), "exp_month": month, "exp_year": year}
        data["card"]["cvc"] = str(form.get("cvc", ""))
    elif kind == "sepa_debit":
        data["sepa_debit"] = {"iban": str(form.get("iban", ""))}
    return {"payment_method_data": data}


def _form(session: Json, form: Json, error: str) -> str:
    heading = (
        "Save your card"
        if session["mode"] == "setup"
        else money(session["amount_total"], session["currency"])
    )
    lines = "".join(
        pages.cells(
            escape(f"{item['quantity']} x {item['description']}"),
            money(item["amount_total"], item["currency"]),
        )
        for item in session["_line_items"]
    )
    kinds = [
        kind
        for kind in session["payment_method_types"]
        if session["currency"] in (None, "eur") or kind == "card"
    ]
    chosen = form.get("type", "card")
    options = "".join(
        f'<option value="{kind}"{" selected" if kind == chosen else ""}>{_NAMES[kind]}</option>'
        for kind in kinds
    )
    notice = f'<p class="notice bad" role="alert">{escape(error)}</p>' if error else ""
    email = str(form.get("email") or session["customer_email"] or "")
    back = (
        f'<p><a href="{escape(session["cancel_url"])}">Back to the shop</a></p>'
        if session["cancel_url"]
        else ""
    )
    pay = "Save" if session["mode"] == "setup" else "Pay"
    return (
        f"<section><h1>{escape(heading)}</h1><table>{lines}</table></section>"
        f'<section>{notice}<form method="post"><label>Pay with<select name="type">{options}</select></label>'
        + pages.field("Email", "email", email, type="email", autocomplete="email")
        + pages.field("Name", "name", str(form.get("name", "")), autocomplete="name")
        + pages.field(
            "Card number",
            "number",
            str(form.get("number", "")),
            inputmode="numeric",
            placeholder="4242 4242 4242 4242",
        )
        + pages.field("Expires", "expiry", str(form.get("expiry", "")), placeholder="12 / 34")
        + pages.field("Security code", "cvc", "", inputmode="numeric", placeholder="123")
        + pages.field(
            "IBAN (for a debit)", "iban", str(form.get("iban", "")), placeholder="DE89 3704 0044 0532 0130 00"
        )
        + f'<button class="main full">{pay}</button></form>{back}'
        "<p class='soft'>This is paysession-sandbox: use a test card of Stripe's.</p></section>"
    )


def _back(account: Account, identifier: str) -> Answer:
    """Go on after the bank's page: to the shop if it is paid, else to the form."""
    session = account.get("checkout.session", identifier)
    checkout.follow(account, session)
    if session["status"] == "complete":
        return _paid(session)
    secret = session["client_secret"]
    return _away(f"/c/pay/{identifier}{'?' + urlencode({'client_secret': secret}) if secret else ''}")


def _paid(session: Json) -> Answer:
    """Send the payer back to the shop; within the shop's page, have its script do so."""
    if session["client_secret"] is None:
        return _away(checkout.target(session))
    stays = session.get("redirect_on_completion") == "never"
    message = json.dumps({"sandbox": "paid", "address": None if stays else checkout.target(session)})
    script = message.replace("<", "\\u003c")
    body = f"<script>parent.postMessage({script}, '*')</script><section><p>Thank you.</p></section>"
    return Answer(200, pages.page("Not Stripe Checkout", body, narrow=True), _HTML)
