"""Notifications: only PayPal's own are believed."""

import json
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from paysession.provider import OutcomeUnknown, WebhookRejected
from paysession_paypal import certificates, signature
from paysession_paypal.signature import Signature
from paysession_paypal.webhooks import Postback, parse
from paysession_sandbox.paypal import Fault
from paysession_sandbox.paypal.signing import CERT_URL, NAME, Authority

PAYLOADS = [
    b'{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","resource":{"id":"C1","breakdown": {}}}',
    b'{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","resource":{"id":"C1","rate":1.0,"x":1E2}}',
    '{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","resource":{"id":"C1","name":"é \\u00e9 / \\/"}}'.encode(),
    b'\n {"id":"WH-1" ,\t"event_type":"PAYMENT.CAPTURE.COMPLETED","resource":{"id":"C1","id":"C1"}} \n',
]


# --- the signature --------------------------------------------------------------------------------


@pytest.mark.parametrize("body", PAYLOADS)
def test_a_valid_notification_is_read_from_its_raw_bytes(verifier, fake, body):
    (event,) = parse(verifier[0], fake.signer.headers(body), body)
    assert (event.type, event.references) == ("PAYMENT.CAPTURE.COMPLETED", ("C1",))


@pytest.mark.parametrize(
    ("kind", "resource", "payment"),
    [
        ("CHECKOUT.ORDER.APPROVED", {"id": "O1"}, "O1"),
        (
            "PAYMENT.CAPTURE.COMPLETED",
            {"id": "C1", "supplementary_data": {"related_ids": {"order_id": "O1"}}},
            "O1",
        ),
        ("PAYMENT.CAPTURE.COMPLETED", {"id": "C1"}, None),
        ("PAYMENT.CAPTURE.COMPLETED", {"id": "C1", "supplementary_data": {"related_ids": "O1"}}, None),
        ("CHECKOUT.PAYMENT-APPROVAL.REVERSED", {"order_id": "O1", "purchase_units": []}, "O1"),
        (
            "PAYMENT.AUTHORIZATION.VOIDED",
            {"id": "A1", "supplementary_data": {"related_ids": {"order_id": "O1"}}},
            "O1",
        ),
        (
            "PAYMENT.CAPTURE.REFUNDED",
            {"id": "R1", "links": [{"rel": "up", "href": "https://x/v2/payments/captures/C1"}]},
            None,
        ),
        ("CUSTOMER.DISPUTE.CREATED", {"id": "D1"}, None),
        (
            "CUSTOMER.DISPUTE.RESOLVED",
            {"dispute_id": "D1", "disputed_transactions": [{"seller_transaction_id": "C1"}]},
            None,
        ),
    ],
)
def test_the_order_is_named_where_a_notification_says_which_it_is(kind, resource, payment):
    body = json.dumps({"id": "WH-1", "event_type": kind, "resource": resource}).encode()
    (event,) = parse(Believes(), {}, body)
    assert event.payment == payment


@pytest.mark.parametrize("body", PAYLOADS)
def test_one_byte_flipped_is_rejected(verifier, fake, body):
    headers = fake.signer.headers(body)
    for place in range(0, len(body), 7):
        flipped = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        with pytest.raises(WebhookRejected):
            parse(verifier[0], headers, flipped)


@pytest.mark.parametrize("body", PAYLOADS)
def test_the_same_json_written_anew_is_rejected(verifier, fake, body):
    anew = json.dumps(json.loads(body)).encode()
    with pytest.raises(WebhookRejected, match="signature"):
        parse(verifier[0], fake.signer.headers(body), anew)


@pytest.mark.parametrize(
    "name",
    [
        "paypal-transmission-id",
        "paypal-transmission-time",
        "paypal-transmission-sig",
        "paypal-cert-url",
        "paypal-auth-algo",
    ],
)
def test_each_header_is_needed_and_is_covered(verifier, fake, name):
    body = PAYLOADS[0]
    headers = fake.signer.headers(body)
    # The certificate's URL is not signed, and need not be: whatever stands there at PayPal is PayPal's.
    for value in (None, "", "x", headers[name][:-1])[: 3 if name == "paypal-cert-url" else 4]:
        changed = {**headers, name: value}
        if value is None:
            del changed[name]
        with pytest.raises(WebhookRejected):
            parse(verifier[0], changed, body)


def test_a_body_made_up_under_a_true_signature_does_not_pass_for_the_true_one(verifier, fake):
    true = PAYLOADS[0]
    headers = fake.signer.headers(true)
    made_up = forged(true, b'{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED","resource":{"id":"C2"}}')
    assert made_up != true
    ids = [parse(verifier[0], headers, body)[0].id for body in (true, made_up, true)]
    assert ids[0] == ids[2] != ids[1]
    assert headers["paypal-transmission-id"] in ids[0]
    other = {**fake.signer.headers(b"{}"), "paypal-transmission-id": "another"}
    assert parse(Believes(), other, true)[0].id not in ids  # asked for again by the merchant


def forged(body, other):
    """Return another body with the same CRC: four bytes of white space and more are all it takes."""
    wanted = zlib.crc32(body)
    head = other[:-1] + b',"x":"'
    rows = []  # what each bit of ten letters changes in the CRC of the whole
    base = head + b"@" * 40 + b'"}'
    for place in range(40):
        flipped = bytearray(base)
        flipped[len(head) + place] ^= 1
        rows.append((zlib.crc32(bytes(flipped)) ^ zlib.crc32(base), 1 << place))
    difference, chosen = zlib.crc32(base) ^ wanted, 0
    for bit in reversed(range(32)):
        pivot = next(row for row in rows if row[0] >> bit & 1)
        rows = [
            (row[0] ^ pivot[0], row[1] ^ pivot[1]) if row[0] >> bit & 1 else row
            for row in rows
            if row is not pivot
        ]
        if difference >> bit & 1:
            difference, chosen = difference ^ pivot[0], chosen ^ pivot[1]
    letters = bytes(ord("@") ^ (chosen >> place & 1) for place in range(40))
    return head + letters + b'"}'


class Believes:
    """A verifier of everything."""

    def check(self, headers, body):
        pass


def test_a_signature_for_another_webhook_is_rejected(verifier, fake):
    with pytest.raises(WebhookRejected, match="signature"):
        parse(verifier[0], fake.signer.headers(PAYLOADS[0], webhook_id="0EH40505U7160970P"), PAYLOADS[0])


def test_without_a_webhook_id_nothing_is_believed(make_provider, fake):
    for way in ("local", "postback"):
        provider = make_provider(webhook_id="", webhook_verification=way)
        with pytest.raises(WebhookRejected, match="webhook_id"):
            provider.parse_webhook(fake.signer.headers(PAYLOADS[0]), PAYLOADS[0])
    assert fake.exchanges == []


def test_a_clock_that_is_slow_by_less_than_an_hour_refuses_nothing(verifier, fake, clock):
    """PayPal signs the time, so one in the future is no forgery: our clock is wrong."""
    checker, _ = verifier
    body = b'{"id":"WH-1"}'
    checker.check(fake.signer.headers(body, at=clock() + timedelta(minutes=55)), body)


@pytest.mark.parametrize("age", [timedelta(days=-5), timedelta(minutes=61)])
def test_a_stale_notification_and_one_from_the_future_are_rejected(verifier, fake, clock, age):
    with pytest.raises(WebhookRejected, match="stale"):
        parse(verifier[0], fake.signer.headers(PAYLOADS[0], at=clock() + age), PAYLOADS[0])
    assert verifier[1] == [], "not even its certificate was fetched"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b'"x"', b"{", b"\xff", b"[" * 100_000, b"{}x", b'{"a":NaN}x']
)
def test_what_is_no_json_object_is_rejected(verifier, fake, body):
    with pytest.raises(WebhookRejected, match="JSON"):
        parse(verifier[0], fake.signer.headers(body), body)


@pytest.mark.parametrize(
    ("resource", "session_id", "references"),
    [
        ({"purchase_units": [{"custom_id": "ps_1"}]}, "ps_1", ()),
        ({"custom_id": "ps_1", "id": "C1"}, "ps_1", ("C1",)),
        (
            {"id": "R1", "links": [{"rel": "up", "href": "https://x/v2/payments/captures/C1"}]},
            None,
            ("R1", "C1"),
        ),
        ({"supplementary_data": {"related_ids": {"order_id": "O1", "x": 7}}}, None, ("O1",)),
    ],
)
def test_what_a_notification_is_about_is_told(resource, session_id, references):
    body = json.dumps({"id": "WH-1", "event_type": "PAYMENT.X", "resource": resource}).encode()
    (event,) = parse(Believes(), {}, body)
    assert (event.session_id, event.references) == (session_id, references)
    assert parse(Believes(), {}, body.replace(json.dumps(resource).encode(), b"{}")) == ()


# --- the certificate ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        CERT_URL.replace("https", "http"),
        CERT_URL.replace("api.sandbox.paypal.com", "api.sandbox.paypal.com.evil.example"),
        CERT_URL.replace("api.sandbox.paypal.com", "api-sandbox-paypal.com"),
        CERT_URL.replace("api.sandbox.paypal.com", "evilpaypal.com"),
        CERT_URL.replace("api.sandbox.paypal.com", "www.paypal.com"),
        CERT_URL.replace("api.sandbox.paypal.com", "api.paypal.com"),
        CERT_URL.replace("api.sandbox.paypal.com", "127.0.0.1"),
        CERT_URL.replace("api.sandbox.paypal.com", "localhost"),
        CERT_URL.replace("api.sandbox.paypal.com", "[::1]"),
        CERT_URL.replace("api.sandbox.paypal.com", "169.254.169.254"),
        CERT_URL.replace("api.sandbox.paypal.com", "api.sandbox.paypal.com:8443"),
        CERT_URL.replace("api.sandbox.paypal.com", "api.sandbox.paypal.com:port"),
        CERT_URL.replace("https://", "https://evil.example@"),
        CERT_URL.replace("https://", "https://api.sandbox.paypal.com@evil.example/"),
        CERT_URL.replace("https://", "https://evil.example\\@"),
        CERT_URL.replace("https://", "https:///"),
        CERT_URL.replace("paypal", "payp\u0430l"),
        CERT_URL.replace("/certs/", "/certs/../../../redirect?to=http://evil.example/"),
        CERT_URL.replace("/v1/notifications/certs/", "/v1/reporting/"),
        CERT_URL.replace("/certs/", "/certs/%2e%2e/%2e%2e/oauth2/"),
        CERT_URL.replace("/certs/", "/certs/more/"),
        CERT_URL.replace("/certs/", "/certs//"),
        CERT_URL.replace("CERT-", "CERT_"),
        CERT_URL.replace("CERT-", "CERT%2d"),
        CERT_URL.replace("CERT-", "CERT-\u0661"),
        CERT_URL.replace("api.sandbox.paypal.com", "api.sandbox.paypal.com:443"),
        CERT_URL.replace("api.", "API."),
        f"{CERT_URL}?n=1",
        f"{CERT_URL}#1",
        f"{CERT_URL};1",
        f"{CERT_URL}/",
        f"{CERT_URL}%00",
        f"{CERT_URL}\n",
        f" {CERT_URL}",
        f"{CERT_URL}{'0' * 100}",
        CERT_URL.rpartition("/")[0] + "/",
        "file:///etc/ssl/certs/ca-certificates.crt",
        "https://[",
        "x",
    ],
)
def test_a_certificate_url_that_is_not_paypals_is_not_fetched(verifier, fake, url):
    with pytest.raises(WebhookRejected, match="URL"):
        parse(verifier[0], fake.signer.headers(PAYLOADS[0], cert_url=url), PAYLOADS[0])
    assert verifier[1] == []


def test_a_live_shop_does_not_believe_the_sandbox(fake, clock, make_checker):
    live = make_checker(environment="live")
    with pytest.raises(WebhookRejected, match="URL"):
        parse(live, fake.signer.headers(PAYLOADS[0]), PAYLOADS[0])
    url = CERT_URL.replace("api.sandbox.paypal.com", "api.paypal.com")
    with pytest.raises(WebhookRejected, match="not PayPal's"):
        parse(live, fake.signer.headers(PAYLOADS[0], cert_url=url), PAYLOADS[0])


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("name", "begins", "ends", "foreign", "sentence"),
    [
        (NAME, -2 * DAY, -DAY, False, "cannot be trusted"),
        (NAME, DAY, 2 * DAY, False, "cannot be trusted"),
        (NAME, -DAY, DAY, True, "cannot be trusted"),
        ("messageverificationcerts.paypal.com.evil.example", -DAY, DAY, False, "not PayPal's"),
        ("evilpaypal.com", -DAY, DAY, False, "not PayPal's"),
        ("*.sandbox.paypal.com", -DAY, DAY, False, "not PayPal's"),
    ],
    ids=["expired", "not valid yet", "foreign authority", "look-alike", "another's", "wildcard"],
)
def test_a_certificate_that_is_not_paypals_today_is_not_believed(
    fake, clock, make_checker, name, begins, ends, foreign, sentence
):
    authority = Authority.make("Foreign", clock()) if foreign else fake.signer.authority
    pem, key = authority.issue(name, clock() + begins, clock() + ends)
    checker = make_checker(pem)
    with pytest.raises(WebhookRejected, match=sentence):
        parse(checker, fake.signer.headers(PAYLOADS[0], key=key), PAYLOADS[0])


def test_a_certificate_that_expires_is_not_believed_any_longer_though_it_is_kept(fake, clock, make_checker):
    pem, key = fake.signer.authority.issue(NAME, clock() - DAY, clock() + DAY)
    checker = make_checker(pem)
    assert parse(checker, fake.signer.headers(PAYLOADS[0], key=key), PAYLOADS[0])
    clock.forward(days=2)
    with pytest.raises(WebhookRejected, match="cannot be trusted"):
        parse(checker, fake.signer.headers(PAYLOADS[0], key=key), PAYLOADS[0])


def test_a_foreign_intermediate_beside_it_does_not_make_it_chain(fake, clock, make_checker):
    foreign = Authority.make("Foreign", clock())
    pem, key = foreign.issue(NAME, clock() - DAY, clock() + DAY)
    checker = make_checker(pem + foreign.pem())
    with pytest.raises(WebhookRejected, match="cannot be trusted"):
        parse(checker, fake.signer.headers(PAYLOADS[0], key=key), PAYLOADS[0])


def test_a_chain_over_an_intermediate_is_followed(fake, clock, make_checker):
    between = fake.signer.authority.subordinate("Between", clock())
    pem, key = between.issue(NAME, clock() - DAY, clock() + DAY)
    assert parse(make_checker(pem + between.pem()), fake.signer.headers(PAYLOADS[0], key=key), PAYLOADS[0])
    with pytest.raises(WebhookRejected, match="cannot be trusted"):
        parse(make_checker(pem), fake.signer.headers(PAYLOADS[0], key=key), PAYLOADS[0])


def test_the_authoritys_own_certificate_signs_no_notifications(fake, make_checker):
    authority = fake.signer.authority
    checker = make_checker(authority.certificate.public_bytes(Encoding.PEM))
    with pytest.raises(WebhookRejected):
        parse(checker, fake.signer.headers(PAYLOADS[0], key=authority.key), PAYLOADS[0])


@pytest.mark.parametrize(
    "pem", [b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff"]
)
def test_what_is_no_certificate_is_rejected(fake, make_checker, pem):
    checker = make_checker(lambda url, timeout: pem)
    with pytest.raises(WebhookRejected, match="no certificate"):
        parse(checker, fake.signer.headers(PAYLOADS[0]), PAYLOADS[0])


def test_the_public_authorities_are_trusted_if_nothing_else_is_said(fake, clock):
    checker = Signature(fake.signer.webhook_id, now=clock, fetch=lambda url, timeout: fake.signer.certificate)
    with pytest.raises(WebhookRejected, match="cannot be trusted"):
        parse(checker, fake.signer.headers(PAYLOADS[0]), PAYLOADS[0])


def test_a_certificate_is_fetched_once_and_only_a_good_one_is_kept(verifier, fake, make_checker):
    for _ in range(3):
        parse(verifier[0], fake.signer.headers(PAYLOADS[0]), PAYLOADS[0])
    assert verifier[1] == [CERT_URL]
    answers, seconds = [b"<html>", fake.signer.certificate], 0.0
    checker = make_checker(lambda url, timeout: answers.pop(0), elapsed=lambda: seconds)
    for _ in range(3):
        with pytest.raises(WebhookRejected, match="no certificate"):
            parse(checker, fake.signer.headers(PAYLOADS[0]), PAYLOADS[0])
    seconds += certificates.FAILED_FOR
    assert parse(checker, fake.signer.headers(PAYLOADS[0]), PAYLOADS[0])


def test_only_so_many_certificates_are_kept(verifier, fake):
    urls = [f"{CERT_URL}{number}" for number in range(certificates.KEPT + 1)]
    for url in [*urls, urls[-1], urls[0]]:
        assert parse(verifier[0], fake.signer.headers(PAYLOADS[0], cert_url=url), PAYLOADS[0])
    assert verifier[1] == [*urls, urls[0]]


def test_a_certificate_with_another_kind_of_key_is_rejected(fake, clock, make_checker):
    elliptic = ec.generate_private_key(ec.SECP256R1())
    pem, _ = fake.signer.authority.issue(NAME, clock() - DAY, clock() + DAY, key=elliptic.public_key())
    with pytest.raises(WebhookRejected, match="no RSA key"):
        parse(make_checker(pem), fake.signer.headers(PAYLOADS[0]), PAYLOADS[0])


def test_a_certificate_is_fetched_over_http_with_a_limit_and_no_redirect(fake):
    pem = fake.signer.certificate
    fake.fail("show", Fault.answer(200, pem))
    url = f"{fake.url}/v2/checkout/orders/CERT1"
    assert signature._fetch(url, 2.0) == pem
    assert "authorization" not in fake.exchanges[-1].headers
    for fault in (
        Fault.answer(302, headers={"Location": f"{fake.url}/elsewhere"}),
        Fault.answer(404),
        Fault.answer(500),
        Fault.answer(200, b"x" * (signature.MAX_CERTIFICATE + 1)),
        Fault.drop(),
        Fault.hang(),
    ):
        fake.fail("show", fault)
        with pytest.raises(OutcomeUnknown, match="could not be fetched"):
            signature._fetch(url, 0.2)
    assert {exchange.path for exchange in fake.exchanges} == {"/v2/checkout/orders/CERT1"}


# --- or by asking PayPal --------------------------------------------------------------------------


@pytest.fixture
def asking(make_provider, fake, clock):
    provider = make_provider(timeout=1.0)
    provider.verifier = Postback(
        fake.signer.webhook_id, lambda body: provider._gateway().verify_webhook(body), now=clock
    )
    return provider


@pytest.mark.parametrize("body", PAYLOADS)
def test_the_postback_carries_the_raw_bytes(asking, fake, body):
    (event,) = asking.parse_webhook(fake.signer.headers(body), body)
    assert event.references == ("C1",)
    (question,) = fake.calls("verify")
    assert question.body.endswith(b',"webhook_event":' + body + b"}")


def test_what_paypal_did_not_send_is_rejected_by_asking(asking, fake):
    body = PAYLOADS[0]
    headers = fake.signer.headers(body)
    with pytest.raises(WebhookRejected, match="did not send"):
        asking.parse_webhook(headers, body.replace(b"C1", b"C2"))
    with pytest.raises(WebhookRejected, match="did not send"):
        asking.parse_webhook(fake.signer.headers(body, webhook_id="0EH40505U7160970P"), body)


@pytest.mark.parametrize(
    "fault", [Fault.answer(500), Fault.drop(), Fault.hang(), Fault.answer(200, b'{"verification_status":1}')]
)
def test_when_paypal_cannot_be_asked_it_is_to_send_again(asking, fake, fault):
    fake.fail("verify", fault)
    with pytest.raises(OutcomeUnknown, match="could not be asked"):
        asking.parse_webhook(fake.signer.headers(PAYLOADS[0]), PAYLOADS[0])


def test_nothing_can_be_smuggled_into_the_question(fake, clock):
    questions = []
    checker = Postback("W", lambda body: bool(questions.append(body)), now=clock)
    headers = {**fake.signer.headers(b"{}"), "paypal-transmission-id": 'x","webhook_id":"evil'}
    with pytest.raises(WebhookRejected, match="did not send"):
        parse(checker, headers, PAYLOADS[0])
    assert json.loads(questions[0])["webhook_id"] == "W"
    with pytest.raises(WebhookRejected, match="JSON"):
        parse(checker, headers, b'{}, "webhook_id": "evil"')
    assert len(questions) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("paypal-auth-algo", "none"),
        ("paypal-cert-url", "https://evil.example/v1/notifications/certs/CERT-1"),
        ("paypal-cert-url", CERT_URL.replace("api.sandbox", "api")),
        ("paypal-transmission-id", ""),
        ("paypal-transmission-sig", "\u00e9"),
        ("paypal-transmission-sig", "x"),
        ("paypal-transmission-time", "1999-01-01T00:00:00Z"),
        ("paypal-transmission-time", "2999-01-01T00:00:00Z"),
        ("paypal-transmission-time", "yesterday"),
    ],
)
def test_what_cannot_be_genuine_is_not_asked_about(asking, fake, name, value):
    with pytest.raises(WebhookRejected):
        asking.parse_webhook({**fake.signer.headers(PAYLOADS[0]), name: value}, PAYLOADS[0])
    assert fake.exchanges == []


def test_a_live_shop_does_not_ask_about_what_the_sandbox_signed(make_provider, fake):
    live = make_provider(environment="live", webhook_verification="postback")
    headers = fake.signer.headers(PAYLOADS[0], at=datetime.now(UTC))
    with pytest.raises(WebhookRejected, match="URL"):
        live.parse_webhook(headers, PAYLOADS[0])
    assert fake.exchanges == []
