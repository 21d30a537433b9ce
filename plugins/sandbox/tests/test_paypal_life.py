"""PayPal's own client lives whole lives at the stand-in."""

import requests
from paypalserversdk.models.amount_with_breakdown import AmountWithBreakdown
from paypalserversdk.models.capture_request import CaptureRequest
from paypalserversdk.models.checkout_payment_intent import CheckoutPaymentIntent
from paypalserversdk.models.money import Money
from paypalserversdk.models.order_authorize_request import OrderAuthorizeRequest
from paypalserversdk.models.order_authorize_request_payment_source import OrderAuthorizeRequestPaymentSource
from paypalserversdk.models.order_request import OrderRequest
from paypalserversdk.models.patch import Patch
from paypalserversdk.models.payment_source import PaymentSource
from paypalserversdk.models.payment_token_request import PaymentTokenRequest
from paypalserversdk.models.payment_token_request_payment_source import PaymentTokenRequestPaymentSource
from paypalserversdk.models.paypal_wallet import PaypalWallet
from paypalserversdk.models.paypal_wallet_attributes import PaypalWalletAttributes
from paypalserversdk.models.paypal_wallet_vault_instruction import PaypalWalletVaultInstruction
from paypalserversdk.models.purchase_unit_request import PurchaseUnitRequest
from paypalserversdk.models.reauthorize_request import ReauthorizeRequest
from paypalserversdk.models.refund_request import RefundRequest
from paypalserversdk.models.setup_token_request import SetupTokenRequest
from paypalserversdk.models.setup_token_request_payment_source import SetupTokenRequestPaymentSource
from paypalserversdk.models.vault_experience_context import VaultExperienceContext
from paypalserversdk.models.vault_paypal_wallet_request import VaultPaypalWalletRequest
from paypalserversdk.models.vault_token_request import VaultTokenRequest
from paypalserversdk.models.vault_token_request_type import VaultTokenRequestType

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


def test_an_authorization_is_continued_after_its_honor_period(client, paypal, clock):
    _, id_ = client.authorized()
    clock.forward(days=4)
    client.forget_token()
    asked = {"authorization_id": id_, "body": ReauthorizeRequest(amount=Money("EUR", "45.00"))}
    again = client.payments.reauthorize_payment({**asked, "paypal_request_id": "r", **WHOLE}).body
    assert (again.status, again.amount.value, again.id != id_) == ("CREATED", "45.00", True)
    captured = client.payments.capture_authorized_payment({"authorization_id": again.id, **WHOLE}).body
    assert captured.amount.value == "45.00"


def order(intent, **source):
    unit = PurchaseUnitRequest(amount=AmountWithBreakdown("EUR", "10.00"))
    return OrderRequest(intent, [unit], payment_source=PaymentSource(paypal=PaypalWallet(**source)))


def test_an_account_is_saved_without_a_payment_and_pays_later(client, paypal):
    context = VaultExperienceContext(
        return_url="https://shop.example/back", cancel_url="https://shop.example/no"
    )
    wallet = VaultPaypalWalletRequest(
        usage_type="MERCHANT", description="Tea, every month", experience_context=context
    )
    body = SetupTokenRequest(payment_source=SetupTokenRequestPaymentSource(paypal=wallet))
    setup = client.vault.create_setup_token({"body": body, "paypal_request_id": "s"}).body
    assert setup.status == "PAYER_ACTION_REQUIRED"
    approve = next(link.href for link in setup.links if link.rel == "approve")
    assert "Tea, every month" in requests.get(approve, timeout=5).text
    gone = requests.post(approve.replace("approve?", "approve/yes?"), allow_redirects=False, timeout=5)
    back = f"https://shop.example/back?approval_token_id={setup.id}&approval_session_id={setup.id}"
    assert gone.headers["Location"] == back
    assert client.vault.get_setup_token(setup.id).body.status == "APPROVED"
    token = VaultTokenRequest(setup.id, VaultTokenRequestType.SETUP_TOKEN)
    body = PaymentTokenRequest(payment_source=PaymentTokenRequestPaymentSource(token=token))
    saved = client.vault.create_payment_token({"body": body, "paypal_request_id": "t"}).body
    assert saved.payment_source.paypal.description == "Tea, every month"
    found = client.vault.list_customer_payment_tokens({"customer_id": saved.customer.id}).body
    assert [row.id for row in found.payment_tokens] == [saved.id]
    body = order(CheckoutPaymentIntent.CAPTURE, vault_id=saved.id)
    paid = client.orders.create_order({"body": body, "paypal_request_id": "o", **WHOLE}).body
    assert (paid.status, paid.purchase_units[0].payments.captures[0].status) == ("COMPLETED", "COMPLETED")
    held = client.create()
    source = OrderAuthorizeRequestPaymentSource(paypal=PaypalWallet(vault_id=saved.id))
    asked = {"id": held.id, "body": OrderAuthorizeRequest(payment_source=source), "paypal_request_id": "a"}
    assert client.orders.authorize_order({**asked, **WHOLE}).body.status == "COMPLETED"
    client.vault.delete_payment_token(saved.id)
    assert (
        client.vault.list_customer_payment_tokens({"customer_id": saved.customer.id}).body.payment_tokens
        == []
    )
    assert paypal.effects == ["capture 10.00", "authorize 42.00"]


def test_an_account_is_saved_with_a_payment(client, paypal):
    keeps = PaypalWalletAttributes(
        vault=PaypalWalletVaultInstruction(store_in_vault="ON_SUCCESS", usage_type="MERCHANT")
    )
    body = order(CheckoutPaymentIntent.CAPTURE, attributes=keeps)
    made = client.orders.create_order({"body": body, "paypal_request_id": "o"}).body
    paypal.payer_approves(made.id)
    paid = client.orders.capture_order({"id": made.id, "paypal_request_id": "c", **WHOLE}).body
    vault = paid.payment_source.paypal.attributes.vault
    assert vault.status == "VAULTED"
    found = client.vault.list_customer_payment_tokens({"customer_id": vault.customer.id}).body
    assert [row.id for row in found.payment_tokens] == [vault.id]
