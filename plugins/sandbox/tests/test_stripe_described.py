"""Every call that the stand-in offers is one of Stripe's, and answers as Stripe's OpenAPI file describes it."""

import re
import sys

import pytest

from paysession_sandbox.stripe import api

description = sys.modules["paysession_sandbox_description"]
pytestmark = pytest.mark.skipif(
    description.path() is None, reason="Stripe's description is not here: set PAYSESSION_SPECS"
)

SESSION = {
    "mode": "payment",
    "success_url": "https://shop.example",
    "line_items": [
        {"price_data": {"currency": "eur", "unit_amount": 100, "product_data": {"name": "A"}}, "quantity": 1}
    ],
}
HELD = {
    "capture_method": "manual",
    "payment_method_options": {"card": {"request_incremental_authorization": "if_available"}},
}
CONFIRM = {"payment_method": "pm_card_visa", "return_url": "https://shop.example"}
PARAMS = {
    "POST /v1/checkout/sessions": SESSION,
    "POST /v1/customer_sessions": {"components": {"payment_element": {"enabled": True}}},
    "POST /v1/payment_intents": {"amount": 4200, "currency": "eur"},
    "POST /v1/payment_intents/ID/confirm": CONFIRM,
    "POST /v1/payment_intents/ID/increment_authorization": {"amount": 5000},
    "POST /v1/setup_intents/ID/confirm": CONFIRM,
    "POST /v1/payment_methods": {"type": "card", "card": {"token": "tok_visa"}},
    "POST /v1/refunds": {},
    "POST /v1/webhook_endpoints": {"url": "http://127.0.0.1:9/hook", "enabled_events": ["payout.paid"]},
}
FOR_SEARCHES = {"query": "metadata['order']:'1'"}


@pytest.fixture
def ids(sandbox):
    """Return a function that returns the id of an object which a call can be made with."""

    def made(call):
        method, _, path = call.partition(" ")
        kind = path.split("/")[2]
        post = sandbox.call
        if kind == "checkout":
            return post("POST", "/v1/checkout/sessions", SESSION)["id"]
        if kind == "customers":
            return post("POST", "/v1/customers", {"email": "a@example.com"})["id"]
        if kind == "setup_intents":
            return post("POST", "/v1/setup_intents")["id"]
        if kind == "payment_methods":
            customer = post("POST", "/v1/customers")["id"]
            attached = post("POST", "/v1/payment_methods/pm_card_visa/attach", {"customer": customer})["id"]
            return "pm_card_visa" if path.endswith("attach") else attached
        if kind == "webhook_endpoints":
            return post("POST", "/v1/webhook_endpoints", PARAMS["POST /v1/webhook_endpoints"])["id"]
        params = {"amount": 4200, "currency": "eur", "metadata": {"order": "1"}}
        params |= HELD if path.endswith(("/capture", "/increment_authorization")) else {}
        intent = post("POST", "/v1/payment_intents", params)["id"]
        if path.endswith(("/confirm", "/cancel")) and kind == "payment_intents":
            return intent
        if kind == "mandates":
            data = {"type": "sepa_debit", "sepa_debit": {"iban": "DE89370400440532013000"}}
            data["billing_details"] = {"name": "A", "email": "a@example.com"}
            given = {"payment_method_data": data, "return_url": "https://shop.example"}
            post("POST", f"/v1/payment_intents/{intent}/confirm", given)
            return next(sandbox.account().all("mandate"))["id"]
        paid = post("POST", f"/v1/payment_intents/{intent}/confirm", CONFIRM)
        if kind == "refunds" and call != "POST /v1/refunds":
            sandbox.settings.refund_status = "requires_action" if path.endswith("/cancel") else "succeeded"
            return post("POST", "/v1/refunds", {"payment_intent": intent})["id"]
        if kind == "radar":
            return sandbox.warn_of_fraud(intent)["id"]
        if kind == "disputes":
            return sandbox.dispute(intent)["id"]
        charge = sandbox.call("GET", f"/v1/charges/{paid['latest_charge']}")
        found = {"charges": charge["id"], "balance_transactions": charge["balance_transaction"]}
        return found.get(kind) or (sandbox.events()[0]["id"] if kind == "events" else intent)

    return made


@pytest.mark.parametrize("call", api._CALLS)
def test_a_call_is_stripes_and_answers_as_stripe_does(call, sandbox, ids):
    method, _, path = call.partition(" ")
    identifier = ids(call) if "ID" in path or method == "GET" or call == "POST /v1/refunds" else ""
    params = dict(PARAMS.get(call, FOR_SEARCHES if path.endswith("/search") else {}))
    if call == "POST /v1/refunds":
        params["payment_intent"] = next(sandbox.account().all("payment_intent"))["id"]
    if call == "POST /v1/customer_sessions":
        params["customer"] = sandbox.call("POST", "/v1/customers")["id"]
    if call.endswith("/attach"):
        params["customer"] = sandbox.call("POST", "/v1/customers")["id"]
    path = re.sub("ID", identifier, path)
    found = sandbox.call(method, path, params)
    assert description.operation(method, path) is not None
    assert description.answer_problems(method, path, 200, found) == []
