"""The fake PayPal is PayPal enough: PayPal's own client drives it, and its rules are PayPal's.

Whatever is asked and answered here is held against PayPal's OpenAPI files as well (see conftest).
"""

import pytest
import requests
from paypalserversdk.configuration import Configuration
from paypalserversdk.exceptions.error_exception import ErrorException
from paypalserversdk.http.auth.o_auth_2 import ClientCredentialsAuthCredentials
from paypalserversdk.models.amount_with_breakdown import AmountWithBreakdown
from paypalserversdk.models.capture_request import CaptureRequest
from paypalserversdk.models.checkout_payment_intent import CheckoutPaymentIntent
from paypalserversdk.models.money import Money
from paypalserversdk.models.order_request import OrderRequest
from paypalserversdk.models.patch import Patch
from paypalserversdk.models.purchase_unit_request import PurchaseUnitRequest
from paypalserversdk.models.refund_request import RefundRequest
from paypalserversdk.paypal_serversdk_client import PaypalServersdkClient

AUTHORIZE, CAPTURE = CheckoutPaymentIntent.AUTHORIZE, CheckoutPaymentIntent.CAPTURE
WHOLE = {"prefer": "return=representation"}


class Here(Configuration):
    """The client's configuration, pointed at the fake."""

    url = ""

    def get_base_uri(self, server=None):
        return self.url


@pytest.fixture
def client(fake):
    config = Here(
        client_credentials_auth_credentials=ClientCredentialsAuthCredentials(
            o_auth_client_id=fake.client_id, o_auth_client_secret=fake.client_secret
        )
    )
    config.url = fake.url
    client = PaypalServersdkClient(config=config)
    yield client
    config.http_client.session.close()


def create(client, intent=AUTHORIZE, amount="42.00", currency="EUR", **options):
    unit = PurchaseUnitRequest(amount=AmountWithBreakdown(currency, amount), custom_id="ps_1")
    return client.orders.create_order({"body": OrderRequest(intent, [unit]), **options}).body


def issue(caught):
    return caught.value.response_code, caught.value.details[0].issue


def test_paypals_own_client_lives_a_whole_life(client, fake):
    order = create(client, **WHOLE)
    assert (order.status, order.purchase_units[0].amount.value) == ("CREATED", "42.00")
    assert [link.rel for link in order.links] == ["self", "approve", "update", "authorize"]
    fake.payer_approves(order.id)
    assert client.orders.get_order({"id": order.id}).body.status == "APPROVED"
    order = client.orders.authorize_order({"id": order.id, **WHOLE}).body
    (authorization,) = order.purchase_units[0].payments.authorizations
    assert (order.status, authorization.status, authorization.amount.value) == (
        "COMPLETED",
        "CREATED",
        "42.00",
    )
    captures = []
    for value in ("20.00", "15.00"):
        asked = {"authorization_id": authorization.id, "body": CaptureRequest(amount=Money("EUR", value))}
        captures.append(client.payments.capture_authorized_payment({**asked, **WHOLE}).body)
    assert [(row.status, row.amount.value) for row in captures] == [
        ("COMPLETED", "20.00"),
        ("COMPLETED", "15.00"),
    ]
    refund = client.payments.refund_captured_payment(
        {"capture_id": captures[0].id, "body": RefundRequest(amount=Money("EUR", "5.00")), **WHOLE}
    ).body
    assert (refund.status, refund.amount.value) == ("COMPLETED", "5.00")
    assert client.payments.get_refund({"refund_id": refund.id}).body.amount.value == "5.00"
    assert (
        client.payments.get_captured_payment({"capture_id": captures[0].id}).body.status
        == "PARTIALLY_REFUNDED"
    )
    voided = client.payments.void_payment({"authorization_id": authorization.id, **WHOLE}).body
    assert voided.status == "VOIDED"
    assert (
        client.payments.get_authorized_payment({"authorization_id": authorization.id}).body.status == "VOIDED"
    )
    payments = client.orders.get_order({"id": order.id}).body.purchase_units[0].payments
    assert [len(rows) for rows in (payments.authorizations, payments.captures, payments.refunds)] == [1, 2, 1]
    assert fake.effects == ["authorize 42.00", "capture 20.00", "capture 15.00", "refund 5.00", "void 7.00"]


def test_paypals_own_client_captures_at_once_and_patches(client, fake):
    order = create(client, CAPTURE)
    value = {"currency_code": "EUR", "value": "40.00"}
    path = "/purchase_units/@reference_id=='default'/amount"
    client.orders.patch_order({"id": order.id, "body": [Patch(op="replace", path=path, value=value)]})
    fake.payer_approves(order.id)
    order = client.orders.capture_order({"id": order.id, **WHOLE}).body
    (capture,) = order.purchase_units[0].payments.captures
    assert (capture.status, capture.amount.value, capture.final_capture) == ("COMPLETED", "40.00", True)
    assert fake.effects == ["capture 40.00"]


def test_only_who_asks_for_the_whole_is_shown_it(client, fake):
    order = create(client)
    assert (order.id is not None, order.status) == (True, "CREATED")
    assert not hasattr(order, "purchase_units")
    fake.payer_approves(order.id)
    order = client.orders.authorize_order({"id": order.id}).body
    authorization = order.purchase_units[0].payments.authorizations[0]
    capture = client.payments.capture_authorized_payment(
        {"authorization_id": authorization.id, "body": CaptureRequest(amount=Money("EUR", "1.00"))}
    ).body
    assert (capture.status, hasattr(capture, "amount")) == ("COMPLETED", False)
    answer = client.payments.void_payment({"authorization_id": authorization.id})
    assert (answer.status_code, answer.body) == (204, None)


def test_a_request_id_is_kept_for_6_hours_with_orders_and_45_days_with_payments(client, fake, clock):
    first = create(client, paypal_request_id="one")
    assert create(client, paypal_request_id="one").id == first.id
    assert create(client, paypal_request_id="two").id != first.id
    fake.payer_approves(first.id)
    order = client.orders.authorize_order({"id": first.id}).body
    id_ = order.purchase_units[0].payments.authorizations[0].id
    asked = {
        "authorization_id": id_,
        "paypal_request_id": "c",
        "body": CaptureRequest(amount=Money("EUR", "1.00")),
    }
    capture = client.payments.capture_authorized_payment(asked).body
    clock.forward(hours=6)
    assert create(client, paypal_request_id="one").id != first.id, "forgotten by now: a second order"
    client.oauth_2._o_auth_token = None
    assert client.payments.capture_authorized_payment(asked).body.id == capture.id
    assert fake.effects == ["authorize 42.00", "capture 1.00"]


def authorized(client, fake):
    order = create(client)
    fake.payer_approves(order.id)
    order = client.orders.authorize_order({"id": order.id}).body
    return order.id, order.purchase_units[0].payments.authorizations[0].id


def capture(client, id_, value="42.00", currency="EUR", **more):
    body = CaptureRequest(amount=Money(currency, value), **more)
    return client.payments.capture_authorized_payment({"authorization_id": id_, "body": body}).body


def refund(client, id_, value, currency="EUR"):
    body = RefundRequest(amount=Money(currency, value))
    return client.payments.refund_captured_payment({"capture_id": id_, "body": body}).body


def test_an_order_is_authorized_once_and_only_after_the_approval(client, fake, clock):
    order = create(client)
    with pytest.raises(ErrorException) as caught:
        client.orders.authorize_order({"id": order.id})
    assert issue(caught) == (422, "ORDER_NOT_APPROVED")
    fake.payer_approves(order.id)
    client.orders.authorize_order({"id": order.id})
    with pytest.raises(ErrorException) as caught:
        client.orders.authorize_order({"id": order.id})
    assert issue(caught) == (422, "ORDER_ALREADY_AUTHORIZED")
    late = create(client, CAPTURE)
    fake.payer_approves(late.id)
    with pytest.raises(ErrorException) as caught:
        client.orders.authorize_order({"id": late.id})
    assert issue(caught) == (422, "ACTION_DOES_NOT_MATCH_INTENT")
    later = create(client)
    fake.payer_approves(later.id)
    clock.forward(hours=3)
    with pytest.raises(ErrorException) as caught:
        client.orders.authorize_order({"id": later.id})
    assert issue(caught) == (422, "ORDER_EXPIRED")
    with pytest.raises(ErrorException) as caught:
        client.orders.capture_order({"id": late.id})
    assert issue(caught) == (404, "INVALID_RESOURCE_ID")
    assert fake.effects == ["authorize 42.00"]


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
        create(client, amount=amount, currency=currency)
    assert issue(caught) == (422, said)


def test_captures_never_exceed_the_authorization_and_end_with_it(client, fake, clock):
    _, id_ = authorized(client, fake)
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
    _, other = authorized(client, fake)
    clock.forward(days=29)
    client.oauth_2._o_auth_token = None
    with pytest.raises(ErrorException) as caught:
        capture(client, other)
    assert issue(caught) == (422, "AUTHORIZATION_EXPIRED")
    clock.forward(days=1)
    client.oauth_2._o_auth_token = None
    with pytest.raises(ErrorException) as caught:
        capture(client, other)
    assert issue(caught) == (422, "AUTHORIZATION_VOIDED")
    with pytest.raises(ErrorException) as caught:
        client.payments.void_payment({"authorization_id": other})
    assert issue(caught) == (422, "PREVIOUSLY_VOIDED")


def test_refunds_never_exceed_their_capture_nor_180_days(client, fake, clock):
    _, id_ = authorized(client, fake)
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
    client.oauth_2._o_auth_token = None
    with pytest.raises(ErrorException) as caught:
        refund(client, second.id, "1.00")
    assert issue(caught) == (422, "REFUND_TIME_LIMIT_EXCEEDED")


def test_an_invoice_number_is_used_once(client, fake):
    _, id_ = authorized(client, fake)
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


def test_wrong_credentials_get_no_token(fake):
    for secret in ("", "wrong"):
        answer = requests.post(
            f"{fake.url}/v1/oauth2/token",
            data={"grant_type": "client_credentials"},
            auth=(fake.client_id, secret),
            timeout=5,
        )
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


# --- hostile, and in a browser --------------------------------------------------------------------


@pytest.fixture
def strict(fake):
    """Return a session with a token, for requests that no client would send; they break PayPal's files."""
    token = requests.post(
        f"{fake.url}/v1/oauth2/token",
        data={"grant_type": "client_credentials"},
        auth=(fake.client_id, fake.client_secret),
        timeout=5,
    ).json()["access_token"]
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        yield session
    fake.exchanges.clear()


def test_without_its_content_type_a_write_is_refused_with_415(strict, fake):
    for path in ("/v2/checkout/orders", "/v2/checkout/orders/O1/authorize", "/v2/checkout/orders/O1/capture"):
        answer = strict.post(fake.url + path, timeout=5)
        assert (answer.status_code, answer.json()["name"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"[]", b"7", b"null", b"{}", b'{"intent": "AUTHORIZE"}', b'{"intent": 1, "purchase_units": []}',
     b'{"intent": "AUTHORIZE", "purchase_units": [{"amount": "42"}]}', b"[" * 100_000],
)  # fmt: skip
def test_a_body_that_is_none_of_paypals_is_refused_with_400(strict, fake, body):
    answer = strict.post(
        f"{fake.url}/v2/checkout/orders", data=body, headers={"Content-Type": "application/json"}, timeout=5
    )
    assert (answer.status_code, answer.json()["name"]) == (400, "INVALID_REQUEST")
    assert fake.ledger.orders == {}


def test_with_a_payment_source_a_request_id_is_needed(strict, fake):
    order = {
        "intent": "AUTHORIZE",
        "purchase_units": [{"amount": {"currency_code": "EUR", "value": "1.00"}}],
        "payment_source": {"paypal": {}},
    }
    answer = strict.post(f"{fake.url}/v2/checkout/orders", json=order, timeout=5)
    assert answer.json()["details"][0]["issue"] == "PAYPAL_REQUEST_ID_REQUIRED"


def test_a_token_that_is_none_is_refused(fake):
    answer = requests.get(
        f"{fake.url}/v2/checkout/orders/O1", headers={"Authorization": "Bearer x"}, timeout=5
    )
    assert (answer.status_code, answer.json()["name"]) == (401, "AUTHENTICATION_FAILURE")


def test_the_payer_approves_or_gives_up_in_a_browser(provider, make_hand, fake):
    from paysession.provider import Checkout

    visit = Checkout(return_url="https://shop.example/back?x=1", cancel_url="https://shop.example/no")
    hand = make_hand(provider, checkout=visit)
    page = hand.do("initiate").next_action.url
    shown = requests.get(page, timeout=5).text
    assert "This is not PayPal" in shown
    assert "Pay 42.00 EUR" in shown
    order_id = hand.session.reference
    gave_up = requests.post(
        f"{fake.url}/checkoutnow/cancel?token={order_id}", allow_redirects=False, timeout=5
    )
    assert gave_up.headers["Location"] == f"https://shop.example/no?token={order_id}"
    assert fake.ledger.orders[order_id].status == "PAYER_ACTION_REQUIRED"
    paid = requests.post(f"{fake.url}/checkoutnow/approve?token={order_id}", allow_redirects=False, timeout=5)
    assert paid.headers["Location"] == f"https://shop.example/back?x=1&token={order_id}&PayerID=QYR5Z8XDVJNXQ"
    assert "You have approved it" in requests.get(page, timeout=5).text


def test_a_brand_cannot_write_into_the_approval_page(make_provider, make_hand, fake):
    hand = make_hand(make_provider(brand_name="<script>alert(1)</script>"))
    page = requests.get(hand.do("initiate").next_action.url, timeout=5)
    assert "<script>" not in page.text
    for path in ("/checkoutnow?token=O7", "/checkoutnow", "/nothing", "/checkoutnow/approve?token=<b>"):
        assert requests.get(fake.url + path, timeout=5).status_code == 404


def test_its_notifications_are_of_paypals_shape(client, fake, verifier):
    from paysession_paypal.webhooks import parse

    order_id, id_ = authorized(client, fake)
    refund(client, capture(client, id_, "20.00").id, "5.00")
    client.payments.void_payment({"authorization_id": id_})
    for event in fake.events:
        (read,) = parse(verifier[0], fake.signer.headers(event.body), event.body)
        assert read.session_id == "ps_1"
        assert order_id in read.references or read.type == "PAYMENT.CAPTURE.REFUNDED"
