"""The contract of a provider, on a fake Vipps that keeps to Vipps' documentation."""

import base64
import hashlib
import hmac
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from paysession_vipps import Vipps

from paysession.provider import Effect, Money, PaymentSession
from paysession_testing import BaseProviderContract, Counterpart, Reply, Request

KEYS = {"client_id": "fb492b5e-7907-4d83-ba20-c7fb60ca35de", "client_secret": "Y8Kteew6GE2Zmeyc"}
SUBSCRIPTION_KEY = "0f14ebcab0ec4b29ae0cb90d91b4a84a"
MSN = "123456"
TOKEN = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1Ni"
WEBHOOK_SECRET = "090a478d-37ff-4e77-970e-d457aeb26a3a"
WEBHOOK_URL = "https://shop.example/pay/webhooks/vipps?unit=1"

MINIMUM = {"NOK": 100, "DKK": 1, "EUR": 1}
KINDS = {"AUTHORIZED": "authorize", "CAPTURED": "capture", "REFUNDED": "refund", "CANCELLED": "cancel"}


class Problem(Exception):
    """A refusal: an HTTP status, and an error code where Vipps gives one."""

    def __init__(self, status: int, code: str = "", title: str = "Bad Request") -> None:
        super().__init__(title)
        self.status, self.code, self.title = status, code, title

    def reply(self) -> Reply:
        """Return it as a problem document."""
        details = [{"name": "ErrorCode", "reason": self.code}] if self.code else []
        return (
            self.status,
            {"Content-Type": "application/problem+json"},
            {
                "type": f"https://httpstatuses.io/{self.status}",
                "title": self.title,
                "status": self.status,
                "extraDetails": details,
                "traceId": "00-813b63975adcaaeef2b0ec7c103c40e3-706492e906541d31-01",
            },
        )


class FakeVipps(Counterpart):
    """Vipps with a ledger of its own: the event log of each payment."""

    amount = Money("420.00", "NOK")
    currencies = ("NOK", "EUR", "JPY", "KWD")
    secrets = (WEBHOOK_SECRET, KEYS["client_secret"], SUBSCRIPTION_KEY, TOKEN)
    under_way = timedelta(days=7)
    cannot = {"notify": "a webhook is registered once, for the sales unit"}

    def __init__(self) -> None:
        self.payments: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, list[dict[str, Any]]] = {}
        self._ids = itertools.count(1)

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer as Vipps does."""
        told = json.loads(body) if body else {}
        try:
            if (method, path) == ("POST", "/accesstoken/get"):
                return 200, {}, self._give_token(headers)
            return self._answer(method, path, headers, told)
        except Problem as problem:
            return problem.reply()

    def is_write(self, request: Request) -> bool:
        """Return whether it can have an effect: a token is none."""
        return request.method == "POST" and request.path != "/accesstoken/get"

    def refusal(self, status: int) -> Reply:
        """Word a refusal."""
        return Problem(status).reply()

    def _give_token(self, headers: Mapping[str, str]) -> dict[str, str]:
        if any(headers.get(name) != value for name, value in KEYS.items()):
            raise Problem(401, title="Unauthorized")
        return {
            "token_type": "Bearer",
            "expires_in": "86398",
            "expires_on": "1495271273",
            "access_token": TOKEN,
        }

    def _answer(self, method: str, path: str, headers: Mapping[str, str], told: dict[str, Any]) -> Reply:
        if headers.get("authorization") != f"Bearer {TOKEN}":
            raise Problem(401, title="Unauthorized")
        if headers.get("ocp-apim-subscription-key") != SUBSCRIPTION_KEY:
            raise Problem(401, title="Access denied due to invalid subscription key")
        if headers.get("merchant-serial-number") != MSN:
            raise Problem(403, title="Forbidden")
        prefix, _, rest = path.partition("/epayment/v1/payments")
        if prefix:
            raise Problem(404, title="Resource not found")
        reference, _, verb = rest.strip("/").partition("/")
        key = headers.get("idempotency-key")
        if method == "POST" and not (key and len(key) <= 50):
            raise Problem(400)
        if not reference:
            return 201, {}, self._create(told, str(key))
        if reference not in self.payments:
            raise Problem(404, "5090", "Reference not found")
        payment = self.payments[reference]
        if method == "GET":
            return 200, {}, self.logs[reference] if verb == "events" else payment
        {"capture": self._capture, "refund": self._refund, "cancel": self._cancel}[verb](
            payment, told, str(key)
        )
        names = ("amount", "state", "aggregate", "pspReference", "reference")
        return 200, {}, {name: payment[name] for name in names}

    def _create(self, told: dict[str, Any], key: str) -> dict[str, Any]:
        reference, amount = told["reference"], told["amount"]
        if (
            not re.fullmatch(r"[a-zA-Z0-9-]{8,64}", reference)
            or not 3 <= len(told["paymentDescription"]) <= 100
            or amount["currency"] not in MINIMUM
            or told["paymentMethod"] != {"type": "WALLET"}
            or told["userFlow"] != "WEB_REDIRECT"
            or not str(told["returnUrl"]).startswith("https://")
            or told.keys() - {"customer", "metadata", "reference", "amount", "paymentDescription"}
            != {"paymentMethod", "userFlow", "returnUrl"}
        ):
            raise Problem(400)
        if amount["value"] < MINIMUM[amount["currency"]]:
            raise Problem(400, "6010", "Amount too small")
        if reference in self.payments:
            raise Problem(409, "4150", "Reference exists")
        nothing = {"currency": amount["currency"], "value": 0}
        names = ("authorizedAmount", "cancelledAmount", "capturedAmount", "refundedAmount")
        page = f"https://landing.vipps.no?token={reference}"
        payment = {
            "aggregate": {name: dict(nothing) for name in names},
            "amount": amount,
            "state": "CREATED",
            "paymentMethod": {"type": "WALLET"},
            "profile": {},
            "pspReference": self._psp_reference(),
            "reference": reference,
            "redirectUrl": page,
            "metadata": told["metadata"],
        }
        self.payments[reference], self.logs[reference] = payment, []
        self._log(payment, "CREATED", amount["value"], key, payment["pspReference"])
        return {"redirectUrl": page, "reference": reference}

    def _capture(self, payment: dict[str, Any], told: dict[str, Any], key: str | None) -> None:
        value, left = told["modificationAmount"]["value"], self._left(payment)
        if payment["state"] != "AUTHORIZED":
            raise Problem(400, "6080", "Cannot capture before reservation")
        if not left and payment["aggregate"]["cancelledAmount"]["value"]:
            raise Problem(400, "6070", "Cannot capture a cancelled payment")
        if value > left:
            raise Problem(400, "6090", "Capture amount too high")
        payment["aggregate"]["capturedAmount"]["value"] += value
        self._log(payment, "CAPTURED", value, key)

    def _refund(self, payment: dict[str, Any], told: dict[str, Any], key: str | None) -> None:
        value, total = told["modificationAmount"]["value"], payment["aggregate"]
        if value > total["capturedAmount"]["value"] - total["refundedAmount"]["value"]:
            raise Problem(400, "6150", "Not enough refundable")
        total["refundedAmount"]["value"] += value
        self._log(payment, "REFUNDED", value, key)

    def _cancel(self, payment: dict[str, Any], told: dict[str, Any], key: str | None) -> None:
        del told, key  # the log of a cancellation has no key
        if payment["state"] == "CREATED":
            payment["state"] = "TERMINATED"
            payment["aggregate"]["cancelledAmount"]["value"] = payment["amount"]["value"]
            self._log(payment, "TERMINATED", payment["amount"]["value"])
            return
        left = self._left(payment)
        if payment["state"] != "AUTHORIZED" or not left:
            raise Problem(
                400, "6040" if payment["state"] == "AUTHORIZED" else "6190", "Payment cannot be cancelled"
            )
        payment["aggregate"]["cancelledAmount"]["value"] += left
        self._log(payment, "CANCELLED", left)

    def _left(self, payment: dict[str, Any]) -> int:
        total = {name: amount["value"] for name, amount in payment["aggregate"].items()}
        return int(total["authorizedAmount"] - total["cancelledAmount"] - total["capturedAmount"])

    def _psp_reference(self) -> str:
        return f"20182000{next(self._ids):04}"

    def _log(
        self, payment: dict[str, Any], name: str, value: int, key: str | None = None, psp: str | None = None
    ) -> None:
        event = {
            "reference": payment["reference"],
            "pspReference": psp or self._psp_reference(),
            "name": name,
            "amount": {"currency": payment["amount"]["currency"], "value": value},
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "success": True,
        }
        if key is not None:
            event["idempotencyKey"] = key
        self.logs[payment["reference"]].append(event)

    # --- for the kit --------------------------------------------------------------------------------

    def _of(self, session: PaymentSession) -> dict[str, Any]:
        return next(one for one in self.payments.values() if one["metadata"]["session"] == session.id)

    def ledger(self, session: PaymentSession) -> Sequence[Effect]:
        """Return what really happened."""
        found: list[Effect] = []
        for payment in self.payments.values():
            if payment["metadata"]["session"] == session.id:
                for event in self.logs[payment["reference"]]:
                    amount = Money.from_minor(event["amount"]["value"], event["amount"]["currency"])
                    if event["name"] == "CREATED":
                        found.append(Effect("initiate", amount))
                    elif event["name"] in KINDS:
                        found.append(Effect(KINDS[event["name"]], amount))
        return found

    def approve(self, session: PaymentSession) -> None:
        """Approve in the app: Vipps reserves at once."""
        payment = self._of(session)
        payment["state"] = "AUTHORIZED"
        payment["aggregate"]["authorizedAmount"]["value"] = payment["amount"]["value"]
        created = self.logs[payment["reference"]][0]
        self._log(payment, "AUTHORIZED", payment["amount"]["value"], created["idempotencyKey"])

    def decline(self, session: PaymentSession) -> None:
        """Cancel in the app."""
        payment = self._of(session)
        payment["state"] = "ABORTED"
        self._log(payment, "ABORTED", payment["amount"]["value"])

    def notification(self, session: PaymentSession) -> bytes:
        """Return the last event as it is posted."""
        return json.dumps({"msn": MSN, **self.logs[self._of(session)["reference"]][-1]}).encode()

    def sign(self, body: bytes, at: datetime) -> Mapping[str, str]:
        """Sign as the documentation's recipe does."""
        return self._signed(body, at, WEBHOOK_SECRET, "shop.example", "/pay/webhooks/vipps?unit=1")

    def sign_with_nothing(self, body: bytes, at: datetime) -> tuple[Mapping[str, str], bytes]:
        """Sign with an empty secret, for a webhook without an address."""
        return self._signed(body, at, "", "", "/"), body

    @staticmethod
    def _signed(body: bytes, at: datetime, secret: str, host: str, path: str) -> Mapping[str, str]:
        date = format_datetime(at.astimezone(UTC), usegmt=True)
        content = base64.b64encode(hashlib.sha256(body).digest()).decode()
        text = f"POST\n{path}\n{date};{host};{content}"
        signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
        return {
            "x-ms-date": date,
            "x-ms-content-sha256": content,
            "Authorization": "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature="
            + base64.b64encode(signature).decode(),
        }

    def refund_in_dashboard(self, session: PaymentSession, amount: Money) -> None:
        """Refund in Vipps' portal."""
        self._refund(self._of(session), _modification(amount), None)

    def capture_in_dashboard(self, session: PaymentSession, amount: Money) -> None:
        """Capture in Vipps' portal."""
        self._capture(self._of(session), _modification(amount), None)

    def cancel_in_dashboard(self, session: PaymentSession) -> None:
        """Cancel in Vipps' portal."""
        self._cancel(self._of(session), {}, None)


def _modification(amount: Money) -> dict[str, Any]:
    return {"modificationAmount": {"currency": amount.currency, "value": amount.minor}}


class TestVipps(BaseProviderContract):
    @pytest.fixture
    def gateway(self) -> Counterpart:
        return FakeVipps()

    @pytest.fixture
    def make_provider(self) -> Callable[[str], Vipps]:
        def make(url: str) -> Vipps:
            return Vipps(
                **KEYS,
                subscription_key=SUBSCRIPTION_KEY,
                merchant_serial_number=MSN,
                webhook_secret=WEBHOOK_SECRET,
                webhook_url=WEBHOOK_URL,
                api_base=url,
                timeout=0.5,
            )

        return make
