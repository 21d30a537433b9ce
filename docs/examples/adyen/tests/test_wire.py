"""Adyen's API and webhooks as documented: each request to the last field, and each answer."""

import json

import pytest
import urllib3
from fake_adyen import ACCOUNT, API_KEY, HMAC_KEY, items_of, signature, webhook
from paysession_adyen import Adyen

from paysession import MemoryStore, Payments
from paysession.provider import (
    Checkout,
    ConfigurationError,
    Declined,
    Money,
    NotApplied,
    OutcomeUnknown,
    Payer,
    Registry,
    WebhookRejected,
)

BASE = "https://checkout-test.adyen.com/v71"
SESSION = {
    "id": "CSD9CAC34EBAE225DD",
    "sessionData": "Ab02b4c0!BQABAgBHYkM",
    "expiresAt": "2030-01-01T12:00:00+01:00",
}
RECEIVED = {"status": "received", "pspReference": "993617895204576J"}


class Answers:
    """Adyen's answers, and what was sent to it."""

    def __init__(self):
        self.sent = []
        self.next = []

    def request(self, method, url, json=None, headers=None, redirect=None):
        self.sent.append((method, url.removeprefix(BASE), json, headers))
        assert redirect is False
        status, told = self.next.pop(0)
        if isinstance(told, Exception):
            raise told
        return urllib3.HTTPResponse(told if isinstance(told, bytes) else _written(told), status=status)

    def clear(self):
        self.next.clear()


def _written(told):
    return json.dumps(told).encode()


@pytest.fixture
def wire():
    return Answers()


@pytest.fixture
def shop(wire):
    provider = Adyen(
        api_key=API_KEY, merchant_account=ACCOUNT, client_key="test_CK", webhook_hmac_key=HMAC_KEY
    )
    object.__setattr__(provider, "_pool", wire)
    payments = Payments(MemoryStore(), Registry({"adyen": provider}))
    payments.provider = provider
    return payments


def begin(shop, wire, amount="42.00", currency="EUR", **options):
    order = shop.create_collection(Money(amount, currency), reference=f"order {len(wire.sent)}")
    wire.next.append((201, SESSION))
    return shop.initiate(order.id, provider="adyen", **options)


def item(session, code, psp, *, success="true", value=4200, currency="EUR", ours=None, **more):
    told = {
        "amount": {"currency": currency, "value": value},
        "eventCode": code,
        "eventDate": "2026-03-14T15:09:26+01:00",
        "merchantAccountCode": ACCOUNT,
        "merchantReference": ours or session.id,
        "pspReference": psp,
        "reason": "",
        "success": success,
        **more,
    }
    told["additionalData"] = {**more.get("additionalData", {}), "hmacSignature": signature(told)}
    return told


def tell(shop, *items):
    return shop.handle_webhook("adyen", headers={}, body=webhook(*items)).status


def authorized(shop, wire):
    session = begin(shop, wire)
    assert tell(shop, item(session, "AUTHORISATION", "P1")) == 200
    return shop.get(session.id)


# --- requests -----------------------------------------------------------------------------------------


def test_a_session_is_made_as_documented(shop, wire):
    visit = Checkout(
        return_url="https://shop.example/back", locale="nl-NL", email="s@example.com", ip="1.2.3.4"
    )
    session = begin(shop, wire, checkout=visit, data={"country": "NL", "shopper": "c-1"})
    method, path, body, headers = wire.sent[0]
    assert (method, path) == ("POST", "/sessions")
    assert body == {
        "merchantAccount": ACCOUNT,
        "amount": {"currency": "EUR", "value": 4200},
        "reference": session.id,
        "returnUrl": "https://shop.example/back",
        "channel": "Web",
        "shopperLocale": "nl-NL",
        "shopperEmail": "s@example.com",
        "shopperIP": "1.2.3.4",
        "countryCode": "NL",
        "shopperReference": "c-1",
        "additionalData": {"manualCapture": "true"},
    }
    key = shop.history(session.id)[0].key
    assert headers == {"X-API-Key": API_KEY, "Idempotency-Key": key}
    assert len(key) <= 64
    assert session.next_action.params == {
        "id": SESSION["id"],
        "sessionData": SESSION["sessionData"],
        "clientKey": "test_CK",
        "environment": "test",
    }
    assert session.expires_at.isoformat() == "2030-01-01T11:00:00+00:00"


def test_an_automatic_session_is_captured_by_adyen(shop, wire):
    session = begin(shop, wire, capture="automatic")
    body = wire.sent[0][2]
    assert body["captureDelayHours"] == 0
    assert "additionalData" not in body
    ours = body["reference"]
    tell(shop, item(session, "AUTHORISATION", "P1", ours=ours))
    assert shop.get(session.id).captured == 4200
    tell(shop, item(session, "CAPTURE", "C1", ours=ours, originalReference="P1"))  # where the account has it
    assert shop.get(session.id).captured == 4200
    tell(shop, item(session, "CAPTURE_FAILED", "C1", ours=ours, originalReference="P1"))
    assert shop.get(session.id).captured == 0


@pytest.mark.parametrize(
    ("amount", "currency", "value"), [("5", "ISK", 500), ("5", "CLP", 500), ("100.00", "IDR", 100)]
)
def test_amounts_are_counted_as_adyen_does(shop, wire, amount, currency, value):
    begin(shop, wire, amount, currency)
    assert wire.sent[0][2]["amount"] == {"currency": currency, "value": value}


@pytest.mark.parametrize("data", [{"country": "Netherlands"}, {"shopper": "x"}, {"card": "1"}])
def test_other_data_is_refused_before_anything_is_sent(shop, wire, data):
    with pytest.raises(Declined, match="data has a country"):
        begin(shop, wire, data=data)
    assert wire.sent == []


def test_modifications_name_the_payment_and_are_pending(shop, wire):
    session = authorized(shop, wire)
    wire.next += [(201, RECEIVED), (201, {**RECEIVED, "pspReference": "R1"})]
    session = shop.capture(session.id, Money("30.00", "EUR"))
    operation = shop.history(session.id)[-1]
    method, path, body, headers = wire.sent[-1]
    assert (method, path) == ("POST", "/payments/P1/captures")
    amount = {"currency": "EUR", "value": 3000}
    assert body == {"merchantAccount": ACCOUNT, "reference": operation.key, "amount": amount}
    assert headers["Idempotency-Key"] == operation.key
    assert (session.capturing, operation.reference) == (3000, "993617895204576J")
    captured = item(session, "CAPTURE", "993617895204576J", value=3000, originalReference="P1")
    tell(shop, captured)
    session = shop.get(session.id)
    assert (session.authorized, session.captured) == (3000, 3000)  # Adyen releases what one capture leaves
    shop.refund(session.id, Money("5.00", "EUR"))
    assert wire.sent[-1][1] == "/payments/P1/refunds"
    refunded = item(session, "REFUND", "R1", value=500, originalReference="P1")
    tell(shop, refunded)
    assert shop.get(session.id).refunded == 500


def test_a_cancel_has_no_amount_and_leaves_the_sessions_reference(shop, wire):
    session = authorized(shop, wire)
    wire.next.append((201, RECEIVED))
    session = shop.cancel(session.id)
    assert wire.sent[-1][1] == "/payments/P1/cancels"
    assert set(wire.sent[-1][2]) == {"merchantAccount", "reference"}
    assert (session.status, session.pending, session.reference) == ("authorized", 1, "P1")
    tell(shop, item(session, "CANCELLATION", "X1", originalReference="P1"))
    assert shop.get(session.id).status == "canceled"


def test_what_nobody_has_paid_can_only_expire(shop, wire):
    session = begin(shop, wire)
    with pytest.raises(Declined, match="expires by itself"):
        shop.cancel(session.id)
    assert len(wire.sent) == 1


REFUSED = urllib3.exceptions.NewConnectionError(
    urllib3.connection.HTTPConnection("checkout-test.adyen.com"), "refused"
)


@pytest.mark.parametrize(
    ("status", "told", "raised"),
    [
        (422, {"status": 422, "errorCode": "167", "message": "Original pspReference required"}, Declined),
        (422, {"status": 422, "errorCode": "704", "message": "request already in progress"}, OutcomeUnknown),
        (400, {"status": 400, "errorCode": "702", "message": "Unexpected input"}, NotApplied),
        (404, {"status": 404}, NotApplied),
        (429, {"status": 429}, NotApplied),
        (401, {"status": 401, "errorCode": "000"}, ConfigurationError),
        (403, {"status": 403, "errorCode": "901"}, ConfigurationError),
        (500, {"status": 500}, OutcomeUnknown),
        (503, b"<html>", OutcomeUnknown),
        (404, b"<html>", OutcomeUnknown),
        (201, b"<html>", OutcomeUnknown),
        (201, {"status": "settled", "pspReference": "C1"}, OutcomeUnknown),
        (0, REFUSED, NotApplied),
        (0, urllib3.exceptions.ReadTimeoutError(None, "", "slow"), OutcomeUnknown),
        (0, urllib3.exceptions.ProtocolError("reset"), OutcomeUnknown),
    ],
)
def test_a_capture_that_fails(shop, wire, status, told, raised):
    session = authorized(shop, wire)
    wire.next.append((status, told))
    with pytest.raises(raised) as caught:
        shop.capture(session.id)
    assert API_KEY not in str(caught.value)


# --- webhooks -----------------------------------------------------------------------------------------


def test_the_documented_signature_is_that_of_this_code():
    # https://docs.adyen.com/development-resources/webhooks/verify-hmac-signatures
    told = {
        "pspReference": "7914073381342284",
        "originalReference": "",
        "merchantAccountCode": "TestMerchant",
        "merchantReference": "TestPayment-1407325143704",
        "amount": {"value": 1130, "currency": "EUR"},
        "eventCode": "AUTHORISATION",
        "success": "true",
        "additionalData": {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},
    }
    assert Adyen(api_key="k", merchant_account="a", webhook_hmac_key=HMAC_KEY)._is_signed(told)
    assert signature(told) == told["additionalData"]["hmacSignature"]


def test_an_authorization_names_the_payment_and_the_payer(shop, wire):
    session = begin(shop, wire)
    more = {"cardHolderName": "J. Payer", "shopperEmail": "s@example.com"}
    tell(shop, item(session, "AUTHORISATION", "P1", additionalData=more))
    session = shop.get(session.id)
    assert (session.status, session.reference) == ("authorized", "P1")
    assert session.payer == Payer(name="J. Payer", email="s@example.com")


def test_a_refusal_and_then_another_attempt(shop, wire):
    session = begin(shop, wire)
    tell(shop, item(session, "AUTHORISATION", "P1", success="false", reason="Not enough balance"))
    session = shop.get(session.id)
    assert (session.status, session.error.message) == ("error", "Not enough balance")
    assert session.reference is None
    tell(shop, item(session, "AUTHORISATION", "P2"))
    session = shop.get(session.id)
    assert (session.status, session.reference) == ("authorized", "P2")


def test_a_capture_that_is_refused_and_one_that_fails_later(shop, wire):
    session = authorized(shop, wire)
    wire.next += [(201, {**RECEIVED, "pspReference": f"C{number}"}) for number in (1, 2)]
    shop.capture(session.id)
    tell(shop, item(session, "CAPTURE", "C1", success="false", originalReference="P1"))
    session = shop.get(session.id)
    assert (session.authorized, session.captured, session.capturing) == (4200, 0, 0)
    shop.capture(session.id)
    tell(shop, item(session, "CAPTURE", "C2", originalReference="P1"))
    tell(shop, item(session, "CAPTURE_FAILED", "C2", originalReference="P1"))
    assert shop.get(session.id).captured == 0


def test_a_chargeback_and_its_reversal(shop, wire):
    session = authorized(shop, wire)
    wire.next.append((201, RECEIVED))
    shop.capture(session.id)
    tell(shop, item(session, "CAPTURE", RECEIVED["pspReference"], originalReference="P1"))
    tell(shop, item(session, "NOTIFICATION_OF_CHARGEBACK", "D1", originalReference="P1"))
    assert (shop.get(session.id).charged_back, shop.get(session.id).disputes) == (0, 1)
    tell(shop, item(session, "CHARGEBACK", "D1", originalReference="P1"))
    session = shop.get(session.id)
    assert (session.charged_back, session.refunded, session.captured) == (4200, 0, 4200)
    tell(shop, item(session, "CHARGEBACK_REVERSED", "D1", originalReference="P1"))
    assert (shop.get(session.id).charged_back, shop.get(session.id).disputes) == (0, 0)


def test_an_authorization_that_expires_is_released(shop, wire):
    session = authorized(shop, wire)
    tell(shop, item(session, "EXPIRE", "E1", originalReference="P1"))
    assert shop.get(session.id).status == "canceled"


def test_several_items_of_several_sessions(shop, wire):
    first, second = begin(shop, wire), begin(shop, wire)
    tell(shop, item(first, "AUTHORISATION", "P1"), item(second, "AUTHORISATION", "P2"))
    assert [shop.get(row.id).reference for row in (first, second)] == ["P1", "P2"]


@pytest.mark.parametrize(
    "change",
    [
        {"eventCode": "REPORT_AVAILABLE"},
        {"eventCode": "SOMETHING_NEW"},
        {"merchantAccountCode": "AnotherShop"},
        {"amount": {"currency": "XXX", "value": 1}},
        {"amount": {"currency": "ISK", "value": 1}},
        {"merchantReference": "order of another system"},
    ],
)
def test_a_signed_item_that_is_no_news_of_ours_is_acknowledged(shop, wire, change):
    session = begin(shop, wire)
    told = item(session, "AUTHORISATION", "P1") | change
    told["additionalData"] = {"hmacSignature": signature(told)}
    assert tell(shop, told) == 200
    assert shop.get(session.id).status == "requires_more"


def test_a_signed_item_without_an_amount_is_acknowledged(shop, wire):
    told = item(begin(shop, wire), "REPORT_AVAILABLE", "P1")
    whole = {"hmacSignature": signature(told | {"amount": {"value": "", "currency": ""}})}
    del told["amount"]
    assert tell(shop, told | {"additionalData": whole}) == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"notificationItems": []}',
        b'{"notificationItems": [{}]}',
        b'{"notificationItems": [{"NotificationRequestItem": {"eventCode": "AUTHORISATION"}}]}',
    ],
)
def test_what_is_no_webhook_is_rejected(shop, body):
    with pytest.raises(WebhookRejected):
        shop.provider.parse_webhook({}, body)


def test_the_same_payment_has_a_notification_id_for_each_event(shop, wire):
    session = begin(shop, wire)
    told = [
        item(session, "AUTHORISATION", "P1", success="false"),
        item(session, "AUTHORISATION", "P1"),
        item(session, "EXPIRE", "P1"),
    ]
    ids = {event.id for event in shop.provider.parse_webhook({}, webhook(*told))}
    assert len(ids) == 3
    assert items_of(webhook(*told)) == told
