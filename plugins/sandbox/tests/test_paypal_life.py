"""PayPal's own client lives whole lives at the stand-in."""

from paypalserversdk.models.capture_request import CaptureRequest
from paypalserversdk.models.checkout_payment_intent import CheckoutPaymentIntent
from paypalserversdk.models.money import Money
from paypalserversdk.models.patch import Patch
from paypalserversdk.models.refund_request import RefundRequest

WHOLE = {"prefer": "return=representation"}


def test_paypals_own_client_lives_a_whole_life(client, paypal):
    order = client.create(**WHOLE)
    assert (order.status, order.purchase_units[0].amount.value) == ("CREATED", "42.00")
    assert [link.rel for link in order.links] == ["self", "approve", "update", "authorize"]
    paypal.payer_approves(order.id)
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
    assert paypal.effects == ["authorize 42.00", "capture 20.00", "capture 15.00", "refund 5.00", "void 7.00"]


def test_paypals_own_client_captures_at_once_and_patches(client, paypal):
    order = client.create(CheckoutPaymentIntent.CAPTURE)
    value = {"currency_code": "EUR", "value": "40.00"}
    path = "/purchase_units/@reference_id=='default'/amount"
    client.orders.patch_order({"id": order.id, "body": [Patch(op="replace", path=path, value=value)]})
    paypal.payer_approves(order.id)
    order = client.orders.capture_order({"id": order.id, **WHOLE}).body
    (capture,) = order.purchase_units[0].payments.captures
    assert (capture.status, capture.amount.value, capture.final_capture) == ("COMPLETED", "40.00", True)
    assert paypal.effects == ["capture 40.00"]


def test_only_who_asks_for_the_whole_is_shown_it(client, paypal):
    order = client.create()
    assert (order.id is not None, order.status) == (True, "CREATED")
    assert not hasattr(order, "purchase_units")
    paypal.payer_approves(order.id)
    order = client.orders.authorize_order({"id": order.id}).body
    authorization = order.purchase_units[0].payments.authorizations[0]
    capture = client.payments.capture_authorized_payment(
        {"authorization_id": authorization.id, "body": CaptureRequest(amount=Money("EUR", "1.00"))}
    ).body
    assert (capture.status, hasattr(capture, "amount")) == ("COMPLETED", False)
    answer = client.payments.void_payment({"authorization_id": authorization.id})
    assert (answer.status_code, answer.body) == (204, None)
