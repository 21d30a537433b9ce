"""The rules of PayPal's, as its own client meets them, and requests that no client would send."""

import json

import pytest
import requests
from paypalserversdk.exceptions.error_exception import ErrorException
from paypalserversdk.models.capture_request import CaptureRequest
from paypalserversdk.models.checkout_payment_intent import CheckoutPaymentIntent
from paypalserversdk.models.money import Money
from paypalserversdk.models.refund_request import RefundRequest

CAPTURE = CheckoutPaymentIntent.CAPTURE


def issue(caught):
    return caught.value.response_code, caught.value.details[0].issue


def test_a_request_id_is_kept_for_6_hours_with_orders_and_45_days_with_payments(client, paypal, clock):
    first = client.create(paypal_request_id="one")
    assert client.create(paypal_request_id="one").id == first.id
    assert client.create(paypal_request_id="two").id != first.id
    paypal.payer_approves(first.id)
    order = client.orders.authorize_order({"id": first.id}).body
    id_ = order.purchase_units[0].payments.authorizations[0].id
    asked = {
        "authorization_id": id_,
        "paypal_request_id": "c",
        "body": CaptureRequest(amount=Money("EUR", "1.00")),
    }
    capture = client.payments.capture_authorized_payment(asked).body
    clock.forward(hours=6)
    assert client.create(paypal_request_id="one").id != first.id, "forgotten by now: a second order"
    client.forget_token()
    assert client.payments.capture_authorized_payment(asked).body.id == capture.id
    assert paypal.effects == ["authorize 42.00", "capture 1.00"]


def capture(client, id_, value="42.00", currency="EUR", **more):
    body = CaptureRequest(amount=Money(currency, value), **more)
    return client.payments.capture_authorized_payment({"authorization_id": id_, "body": body}).body


def refund(client, id_, value, currency="EUR"):
    body = RefundRequest(amount=Money(currency, value))
    return client.payments.refund_captured_payment({"capture_id": id_, "body": body}).body


def test_a_final_capture_that_is_declined_leaves_the_authorization_as_it_was(client, paypal):
    order = client.create()
    paypal.payer_approves(order.id)
    order = client.orders.authorize_order({"id": order.id}).body
    id_ = order.purchase_units[0].payments.authorizations[0].id
    paypal.ledger.next_status["capture"] = ["DECLINED"]
    assert capture(client, id_, final_capture=True).status == "DECLINED"
    assert capture(client, id_, final_capture=True).status == "COMPLETED"


def test_an_order_is_authorized_once_and_only_after_the_approval(client, paypal, clock):
    order = client.create()
    with pytest.raises(ErrorException) as caught:
        client.orders.authorize_order({"id": order.id})
    assert issue(caught) == (422, "ORDER_NOT_APPROVED")
    paypal.payer_approves(order.id)
    client.orders.authorize_order({"id": order.id})
    with pytest.raises(ErrorException) as caught:
        client.orders.authorize_order({"id": order.id})
    assert issue(caught) == (422, "ORDER_ALREADY_AUTHORIZED")
    late = client.create(CAPTURE)
    paypal.payer_approves(late.id)
    with pytest.raises(ErrorException) as caught:
        client.orders.authorize_order({"id": late.id})
    assert issue(caught) == (422, "ACTION_DOES_NOT_MATCH_INTENT")
    later = client.create()
    paypal.payer_approves(later.id)
    clock.forward(hours=3)
    with pytest.raises(ErrorException) as caught:
        client.orders.authorize_order({"id": later.id})
    assert issue(caught) == (422, "ORDER_EXPIRED")
    with pytest.raises(ErrorException) as caught:
        client.orders.capture_order({"id": late.id})
    assert issue(caught) == (404, "INVALID_RESOURCE_ID")
    assert paypal.effects == ["authorize 42.00"]


def test_after_a_decline_the_payer_approves_again(client, paypal):
    order = client.create(CAPTURE)
    paypal.payer_approves(order.id)
    paypal.decline_next()
    for said in ("INSTRUMENT_DECLINED", "ORDER_NOT_APPROVED"):
        with pytest.raises(ErrorException) as caught:
            client.orders.capture_order({"id": order.id})
        assert issue(caught) == (422, said)
    paypal.payer_approves(order.id)
    assert client.orders.capture_order({"id": order.id}).body.status == "COMPLETED"
    assert paypal.effects == ["capture 42.00"]


@pytest.mark.parametrize(
    ("amount", "currency", "said"),
    [
        ("0.00", "EUR", "CANNOT_BE_ZERO_OR_NEGATIVE"),
        ("1.001", "EUR", "DECIMAL_PRECISION"),
        ("100.50", "HUF", "DECIMAL_PRECISION"),
        ("1.0", "JPY", "DECIMAL_PRECISION"),
        ("1.00", "KWD", "INVALID_CURRENCY_CODE"),
    ],
)
def test_amounts_have_paypals_rules(client, amount, currency, said):
    with pytest.raises(ErrorException) as caught:
        client.create(amount=amount, currency=currency)
    assert issue(caught) == (422, said)


def test_captures_never_exceed_the_authorization_and_end_with_it(client, paypal, clock):
    _, id_ = client.authorized()
    capture(client, id_, "40.00")
    for value, currency, said in (
        ("2.01", "EUR", "MAX_CAPTURE_AMOUNT_EXCEEDED"),
        ("1.00", "USD", "AUTH_CAPTURE_CURRENCY_MISMATCH"),
    ):
        with pytest.raises(ErrorException) as caught:
            capture(client, id_, value, currency)
        assert issue(caught) == (422, said)
    capture(client, id_, "1.00", final_capture=True)
    with pytest.raises(ErrorException) as caught:
        capture(client, id_, "1.00")
    assert issue(caught) == (422, "AUTHORIZATION_ALREADY_CAPTURED")
    with pytest.raises(ErrorException) as caught:
        client.payments.void_payment({"authorization_id": id_})
    assert issue(caught) == (422, "PREVIOUSLY_CAPTURED")
    _, other = client.authorized()
    clock.forward(days=29)
    client.forget_token()
    with pytest.raises(ErrorException) as caught:
        capture(client, other)
    assert issue(caught) == (422, "AUTHORIZATION_EXPIRED")
    clock.forward(days=1)
    client.forget_token()
    with pytest.raises(ErrorException) as caught:
        capture(client, other)
    assert issue(caught) == (422, "AUTHORIZATION_VOIDED")
    with pytest.raises(ErrorException) as caught:
        client.payments.void_payment({"authorization_id": other})
    assert issue(caught) == (422, "PREVIOUSLY_VOIDED")


def test_refunds_never_exceed_their_capture_nor_180_days(client, paypal, clock):
    _, id_ = client.authorized()
    first, second = capture(client, id_, "20.00"), capture(client, id_, "20.00")
    refund(client, first.id, "15.00")
    with pytest.raises(ErrorException) as caught:
        refund(client, first.id, "5.01")
    assert issue(caught) == (422, "REFUND_AMOUNT_EXCEEDED")
    refund(client, first.id, "5.00")
    with pytest.raises(ErrorException) as caught:
        refund(client, first.id, "0.01")
    assert issue(caught) == (422, "CAPTURE_FULLY_REFUNDED")
    clock.forward(days=180)
    client.forget_token()
    with pytest.raises(ErrorException) as caught:
        refund(client, second.id, "1.00")
    assert issue(caught) == (422, "REFUND_TIME_LIMIT_EXCEEDED")


def test_an_authorization_is_captured_at_most_ten_times(client, paypal):
    _, id_ = client.authorized()
    for _ in range(10):
        capture(client, id_, "1.00")
    with pytest.raises(ErrorException) as caught:
        capture(client, id_, "1.00")
    assert issue(caught) == (422, "MAX_CAPTURE_COUNT_EXCEEDED")


def test_an_authorization_is_continued_once_after_three_days_for_at_most_15_percent_more(
    session, paypal, client
):
    _, id_ = client.authorized()

    def again(of, value="42.00"):
        amount = {"amount": {"currency_code": "EUR", "value": value}}
        session.authorize()
        _, said = session.send("POST", f"/v2/payments/authorizations/{of}/reauthorize", amount)
        return said["details"][0]["issue"] if "details" in said else said["id"]

    assert again(id_) == "REAUTHORIZATION_NOT_SUPPORTED"
    paypal.clock.forward(days=3)
    assert again(id_, "48.31") == "TRANSACTION_REFUSED"
    continued = again(id_, "48.30")
    paypal.clock.forward(days=3)
    assert again(continued) == "REAUTHORIZATION_NOT_SUPPORTED"
    _, said = session.send("POST", f"/v2/payments/authorizations/{continued}/void")
    assert said["details"][0]["issue"] == "CANNOT_BE_VOIDED"


@pytest.mark.parametrize(
    ("total", "price", "said"),
    [(None, "21.00", "ITEM_TOTAL_REQUIRED"), ("42.00", "20.00", "ITEM_TOTAL_MISMATCH"), ("40.00", "20.00", "AMOUNT_MISMATCH")],
)  # fmt: skip
def test_lines_add_up_to_the_amount(session, total, price, said):
    def money(value):
        return {"currency_code": "EUR", "value": value}

    breakdown = {"breakdown": {"item_total": money(total)}} if total else {}
    item = {"name": "A book", "quantity": "2", "unit_amount": money(price)}
    unit = {"amount": {**money("42.00"), **breakdown}, "items": [item]}
    body = {"intent": "CAPTURE", "purchase_units": [unit]}
    status, refused = session.send("POST", "/v2/checkout/orders", body)
    assert (status, refused["details"][0]["issue"]) == (422, said)


def test_a_bank_captures_by_itself_once_the_payer_has_approved(session, paypal):
    unit = {"amount": {"currency_code": "EUR", "value": "42.00"}}
    source = {"ideal": {"name": "Jenny Rosen", "country_code": "NL"}}
    completes = {"processing_instruction": "ORDER_COMPLETE_ON_PAYMENT_APPROVAL"}

    def create(intent, **more):
        body = {"intent": intent, "purchase_units": [unit], "payment_source": source, **more}
        return session.send("POST", "/v2/checkout/orders", body)[1]

    def refused(said):
        return said["details"][0]["issue"]

    assert refused(create("CAPTURE")) == "ORDER_COMPLETE_ON_PAYMENT_APPROVAL"
    held = create("AUTHORIZE", **completes)
    paypal.payer_approves(held["id"])
    _, said = session.send("POST", f"/v2/checkout/orders/{held['id']}/authorize")
    assert refused(said) == "UNSUPPORTED_INTENT_FOR_PAYMENT_SOURCE"
    order = create("CAPTURE", **completes)
    paypal.ledger.next_status["bank"] = ["LATER"]
    paypal.payer_approves(order["id"])
    _, said = session.send("POST", f"/v2/checkout/orders/{order['id']}/capture")
    assert (refused(said), paypal.effects) == ("ORDER_COMPLETION_IN_PROGRESS", [])
    paypal.ledger.bank_pays(order["id"])
    another = create("CAPTURE", **completes)
    paypal.payer_approves(another["id"])
    _, shown = session.send("GET", f"/v2/checkout/orders/{another['id']}")
    assert (shown["status"], paypal.effects) == ("COMPLETED", ["capture 42.00"] * 2)


@pytest.mark.parametrize("won", [True, False])
def test_a_disputed_capture_is_pending_until_the_dispute_is_decided(client, session, paypal, won):
    captured = capture(client, client.authorized()[1]).id

    def status():
        return client.payments.get_captured_payment({"capture_id": captured}).body.status

    paypal.ledger.dispute(captured)
    _, found = session.send("GET", f"/v1/customer/disputes?disputed_transaction_id={captured}")
    (row,) = found["items"]
    assert (status(), row["status"]) == ("PENDING", "WAITING_FOR_SELLER_RESPONSE")
    paypal.ledger.decide(captured, won=won)
    assert status() == ("COMPLETED" if won else "DECLINED")
    assert ("chargeback 42.00" in paypal.effects) is not won


def test_an_invoice_number_is_used_once(client, paypal):
    _, id_ = client.authorized()
    capture(client, id_, "1.00", invoice_id="INV-1")
    with pytest.raises(ErrorException) as caught:
        capture(client, id_, "1.00", invoice_id="INV-1")
    assert issue(caught) == (422, "DUPLICATE_INVOICE_ID")


def test_what_does_not_exist_is_not_found(client):
    for ask in (
        lambda: client.orders.get_order({"id": "O7"}),
        lambda: client.payments.get_authorized_payment({"authorization_id": "A7"}),
        lambda: client.payments.get_captured_payment({"capture_id": "C7"}),
        lambda: client.payments.get_refund({"refund_id": "R7"}),
    ):
        with pytest.raises(ErrorException) as caught:
            ask()
        assert caught.value.name == "RESOURCE_NOT_FOUND"
        assert caught.value.debug_id


def test_wrong_credentials_get_no_token(paypal):
    for secret in ("", "wrong"):
        answer = requests.post(
            f"{paypal.url}/v1/oauth2/token",
            data={"grant_type": "client_credentials"},
            auth=(paypal.client_id, secret),
            timeout=5,
        )
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


# --- what is saved --------------------------------------------------------------------------------

SETUP = {"payment_source": {"paypal": {"usage_type": "MERCHANT"}}}


def turn(session, token):
    """Turn a setup token into a payment token; return PayPal's issue with it, or None."""
    body = {"payment_source": {"token": {"id": token, "type": "SETUP_TOKEN"}}}
    _, said = session.send("POST", "/v3/vault/payment-tokens", body)
    return said["details"][0]["issue"] if "details" in said else None


def test_a_setup_token_becomes_a_payment_token_once_and_only_after_the_approval(session, paypal, clock):
    _, setup = session.send("POST", "/v3/vault/setup-tokens", SETUP)
    assert turn(session, setup["id"]) == "PAYER_ACTION_REQUIRED"
    session.post(f"/agreements/approve/no?approval_session_id={setup['id']}", allow_redirects=False)
    assert turn(session, setup["id"]) == "PAYER_ACTION_REQUIRED"
    session.post(f"/agreements/approve/yes?approval_session_id={setup['id']}", allow_redirects=False)
    assert turn(session, setup["id"]) is None
    assert turn(session, setup["id"]) == "SETUP_TOKEN_ALREADY_VAULTED"
    assert len(paypal.ledger.vault) == 1
    _, late = session.send("POST", "/v3/vault/setup-tokens", SETUP)
    session.post(f"/agreements/approve/yes?approval_session_id={late['id']}", allow_redirects=False)
    clock.forward(days=3)
    session.authorize()
    assert turn(session, late["id"]) == "INVALID_RESOURCE_ID"


def test_a_request_id_of_the_vault_is_kept_for_3_hours(session, clock):
    def begin():
        return session.send("POST", "/v3/vault/setup-tokens", SETUP, **{"PayPal-Request-Id": "one"})

    first, again = begin(), begin()
    assert (first[0], again[0], first[1]["id"] == again[1]["id"]) == (201, 200, True)
    clock.forward(hours=3)
    assert begin()[1]["id"] != first[1]["id"]


def test_a_card_is_not_saved_and_that_is_said(session):
    status, said = session.send("POST", "/v3/vault/setup-tokens", {"payment_source": {"card": {}}})
    assert (status, said["details"][0]["issue"]) == (422, "UNSUPPORTED_PAYMENT_SOURCE")
    assert "PayPal's and Venmo's only" in said["details"][0]["description"]


def test_an_order_is_not_paid_with_what_was_never_saved_or_is_something_else(session, paypal):
    unit = {"amount": {"currency_code": "EUR", "value": "1.00"}}
    order = {"intent": "CAPTURE", "purchase_units": [unit]}
    mismatched = "MISMATCHED_VAULT_ID_TO_PAYMENT_SOURCE"
    of_venmo = paypal.ledger.save("venmo")
    for token, issues in (
        ("V7", (mismatched, "TOKEN_ID_NOT_FOUND")),
        (of_venmo, (mismatched, mismatched)),
    ):
        source = {"payment_source": {"paypal": {"vault_id": token}}}
        _, refused = session.send("POST", "/v2/checkout/orders", {**order, **source})
        _, made = session.send("POST", "/v2/checkout/orders", order)
        _, late = session.send("POST", f"/v2/checkout/orders/{made['id']}/capture", source)
        assert tuple(said["details"][0]["issue"] for said in (refused, late)) == issues
    assert paypal.effects == []


def test_who_asks_for_an_id_token_gets_one(paypal):
    for more, given in (({}, False), ({"response_type": "id_token"}, True)):
        data = {"grant_type": "client_credentials", **more}
        by = (paypal.client_id, paypal.client_secret)
        answer = requests.post(f"{paypal.url}/v1/oauth2/token", data=data, auth=by, timeout=5)
        assert ("id_token" in answer.json()) is given


# --- notifications --------------------------------------------------------------------------------


def question(headers, body, webhook_id):
    """Return what a shop asks PayPal, to know whether a notification is genuine: with its very bytes."""
    names = ("auth-algo", "cert-url", "transmission-id", "transmission-sig", "transmission-time")
    asked = {name.replace("-", "_"): headers[f"paypal-{name}"] for name in names}
    return json.dumps({**asked, "webhook_id": webhook_id})[:-1].encode() + b', "webhook_event":' + body + b"}"


def test_a_registered_webhook_is_sent_what_it_asked_for_and_a_shop_can_verify_it(
    client, session, paypal, hook
):
    url, taken = hook
    told = {"url": url, "event_types": [{"name": "PAYMENT.CAPTURE.COMPLETED"}]}
    _, webhook = session.send("POST", "/v1/notifications/webhooks", told)
    capture(client, client.authorized()[1])
    assert paypal.deliveries.wait_for(1)
    assert [json.loads(body)["event_type"] for _, body in taken] == ["PAYMENT.CAPTURE.COMPLETED"]
    headers, body = taken[0]
    for webhook_id, genuine in ((webhook["id"], "SUCCESS"), (paypal.signer.webhook_id, "FAILURE")):
        asked = question(headers, body, webhook_id)
        answer = session.post(
            "/v1/notifications/verify-webhook-signature",
            data=asked,
            headers={"Content-Type": "application/json"},
        )
        assert answer.json() == {"verification_status": genuine}


# --- requests that no client would send -----------------------------------------------------------


def test_without_its_content_type_a_write_is_refused_with_415(strict):
    for path in ("/v2/checkout/orders", "/v2/checkout/orders/O1/authorize", "/v2/checkout/orders/O1/capture"):
        answer = strict.post(path)
        assert (answer.status_code, answer.json()["name"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"[]", b"7", b"null", b"{}", b'{"intent": "AUTHORIZE"}', b'{"intent": 1, "purchase_units": []}',
     b'{"intent": "AUTHORIZE", "purchase_units": [{"amount": "42"}]}', b"[" * 100_000],
)  # fmt: skip
def test_a_body_that_is_none_of_paypals_is_refused_with_400(strict, paypal, body):
    answer = strict.post("/v2/checkout/orders", data=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["name"]) == (400, "INVALID_REQUEST")
    assert paypal.ledger.orders == {}


def test_with_a_payment_source_a_request_id_is_needed(strict):
    order = {
        "intent": "AUTHORIZE",
        "purchase_units": [{"amount": {"currency_code": "EUR", "value": "1.00"}}],
        "payment_source": {"paypal": {}},
    }
    answer = strict.post("/v2/checkout/orders", json=order)
    assert answer.json()["details"][0]["issue"] == "PAYPAL_REQUEST_ID_REQUIRED"


def test_a_token_that_is_none_is_refused(paypal):
    answer = requests.get(
        f"{paypal.url}/v2/checkout/orders/O1", headers={"Authorization": "Bearer x"}, timeout=5
    )
    assert (answer.status_code, answer.json()["name"]) == (401, "AUTHENTICATION_FAILURE")
