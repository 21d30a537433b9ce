"""Notifications, signed as Vipps' documentation does it."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from attrs import evolve
from paysession_vipps import Vipps

from paysession.provider import WebhookRejected

NOW = datetime(2026, 1, 19, 16, 26, 40, tzinfo=UTC)
# The secret, the address, the body, the date and the signature of request-authentication.md.
HOOK_SECRET = "A0+AeKBRG2KRGvnNwJpQlb6IJFk48CKXCIcrLoHncVJKDILsQSxS6NWCccwWm6r6FhGKhiHTBsG2wo/xU6FY/A=="
HOOK_URL = "https://webhook.site/e2cee29b-012e-4f1d-8ef4-e95fd74a7a63"
HOOK_BODY = b'{"some-unique-content":"ee6e441b-cc4a-46f8-895d-a5af79bcc233/hello-world"}'
SCHEME = "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature="
HOOK_HEADERS = {
    "x-ms-date": "Thu, 30 Mar 2023 08:38:32 GMT",
    "x-ms-content-sha256": "lNlsp1XA03N34HrQsVzPgJKtC+r7l/RBF4V3JQUWMj4=",
    "authorization": f"{SCHEME}agAiSyogQbDHpeucoNwYz+yAr5nJ+v+zasdkSbqzv+U=",
}
# The payload of the webhooks guide.
EVENT = {
    "msn": "123456",
    "reference": "ps-01a2100088003ecf7e092d8b959a",
    "pspReference": "dd8e0a8e-2b26-40ed-98f1-1d5832fc129f",
    "name": "AUTHORIZED",
    "amount": {"currency": "NOK", "value": 49900},
    "timestamp": "2026-01-19T16:26:32.099Z",
    "idempotencyKey": "7c8b81e7-b08b-46e4-9729-191cb801c132",
    "success": True,
}


@pytest.fixture
def vipps(vipps: Vipps) -> Vipps:
    return evolve(vipps, webhook_secret=HOOK_SECRET, webhook_url=HOOK_URL)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paysession_vipps.time.time", NOW.timestamp)


def signed(body: bytes, at: datetime, url: str = HOOK_URL, secret: str = HOOK_SECRET) -> dict[str, str]:
    """Sign by the recipe of request-authentication.md."""
    host, _, path = url.removeprefix("https://").partition("/")
    date = format_datetime(at, usegmt=True)
    content = base64.b64encode(hashlib.sha256(body).digest()).decode()
    text = f"POST\n/{path}\n{date};{host};{content}"
    signature = base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()
    return {"x-ms-date": date, "x-ms-content-sha256": content, "authorization": SCHEME + signature}


def test_the_recipe_gives_the_documented_signature() -> None:
    assert signed(HOOK_BODY, datetime(2023, 3, 30, 8, 38, 32, tzinfo=UTC)) == HOOK_HEADERS


def test_the_documented_signature_is_taken(vipps: Vipps) -> None:
    # Its content is no notification of a payment: that is seen after the signature was taken.
    with pytest.raises(WebhookRejected, match="cannot be read"):
        vipps.parse_webhook(HOOK_HEADERS, HOOK_BODY)
    with pytest.raises(WebhookRejected, match="signature"):
        vipps.parse_webhook(HOOK_HEADERS, HOOK_BODY.replace(b"hello", b"hallo"))
    with pytest.raises(WebhookRejected, match="signature"):
        vipps.parse_webhook(HOOK_HEADERS | {"x-ms-date": "Thu, 30 Mar 2023 08:38:33 GMT"}, HOOK_BODY)


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("age", [timedelta(seconds=8), timedelta(days=7), timedelta(minutes=-4)])
def test_a_notification(vipps: Vipps, age: timedelta) -> None:
    body = json.dumps(EVENT).encode()
    (event,) = vipps.parse_webhook(signed(body, NOW - age), body)
    assert event.id == "dd8e0a8e-2b26-40ed-98f1-1d5832fc129f AUTHORIZED 2026-01-19T16:26:32.099Z"
    assert event.type == "AUTHORIZED"
    assert list(event.references) == [EVENT["reference"]]


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("age", [timedelta(days=9), timedelta(minutes=-6)])
def test_a_notification_of_another_time(vipps: Vipps, age: timedelta) -> None:
    body = json.dumps(EVENT).encode()
    with pytest.raises(WebhookRejected, match="stale"):
        vipps.parse_webhook(signed(body, NOW - age), body)


@pytest.mark.usefixtures("now")
def test_a_notification_to_another_address_or_of_another_secret(vipps: Vipps) -> None:
    body = json.dumps(EVENT).encode()
    for headers in (
        signed(body, NOW, url="https://webhook.site/another"),
        signed(body, NOW, url=f"{HOOK_URL}?unit=2"),
        signed(body, NOW, secret="another"),
        {},
    ):
        with pytest.raises(WebhookRejected, match="signature"):
            vipps.parse_webhook(headers, body)
