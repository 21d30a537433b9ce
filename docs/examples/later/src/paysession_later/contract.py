"""The contract of a provider, filled in for Later: its gateway as a small fake."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest

from paysession.provider import Effect, Money
from paysession_later import Later
from paysession_testing import BaseProviderContract, Counterpart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from paysession.provider import PaymentSession
    from paysession_testing import Reply

__all__ = ["LaterContract"]

SECRET = "whsec_of_the_fake"  # noqa: S105 - it guards nothing


class FakeLater(Counterpart):
    """Later with a ledger of its own."""

    secrets = (SECRET,)

    def __init__(self) -> None:
        self.payments: dict[str, dict[str, Any]] = {}

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer as Later does."""
        del headers
        told: dict[str, Any] = json.loads(body) if body else {}
        _, _, place = path.partition("/payments")
        if not place:
            return 201, {}, self._create(told)
        if place.startswith("?reference="):
            found = [row for row in self.payments.values() if row["reference"] == place.partition("=")[2]]
            return 200, {}, {"payments": found}
        id_, _, verb = place.strip("/").partition("/")
        payment = self.payments.get(id_)
        if payment is None:
            return 404, {}, {"error": "no_such_payment"}
        if method == "GET":
            return 200, {}, payment
        answer = self._act(payment, verb, told)
        return (200, {}, answer) if answer is not None else (409, {}, {"error": f"is_{payment['status']}"})

    def _create(self, told: dict[str, Any]) -> dict[str, Any]:
        id_ = f"pay_{len(self.payments) + 1}"
        payment = {
            "id": id_,
            "status": "open",
            "page": f"https://later.example/pay/{id_}",
            "amount": told["amount"],
            "currency": told["currency"],
            "reference": told["reference"],
            "automatic": told["automatic"],
            "authorized": 0,
            "captured": 0,
            "refunded": 0,
            "effects": [],
        }
        self.payments[id_] = payment
        return payment

    def _act(self, payment: dict[str, Any], verb: str, told: dict[str, Any]) -> dict[str, Any] | None:
        """Do something with a payment; None: its state does not allow it."""
        amount = told.get("amount", 0)
        key = told.get("operation")
        if verb == "amount" and payment["status"] == "open":
            payment["amount"] = amount
            return payment
        if verb == "authorize" and payment["status"] == "approved":
            payment |= {"status": "authorized", "authorized": payment["amount"]}
            self._record(payment, "authorize", payment["amount"], key)
            if payment["automatic"]:
                payment["captured"] = payment["amount"]
                self._record(payment, "capture", payment["amount"], key)
            return payment
        if verb == "captures" and amount <= payment["authorized"] - payment["captured"]:
            payment["captured"] += amount
            if told["final"]:
                payment["authorized"] = payment["captured"]
            return self._record(payment, "capture", amount, key)
        if verb == "refunds" and amount <= payment["captured"] - payment["refunded"]:
            payment["refunded"] += amount
            return self._record(payment, "refund", amount, key)
        left = (payment["authorized"] or payment["amount"]) - payment["captured"]
        if verb == "cancel" and payment["status"] != "canceled" and left:
            payment["authorized"] = payment["captured"]
            payment["status"] = "authorized" if payment["captured"] else "canceled"
            self._record(payment, "cancel", left, key)
            return payment
        return None

    def _record(self, payment: dict[str, Any], kind: str, amount: int, key: str | None) -> dict[str, Any]:
        effect = {
            "id": f"{kind}_{len(payment['effects']) + 1}_{payment['id']}",
            "kind": kind,
            "amount": amount,
            "currency": payment["currency"],
            "state": "succeeded",
            "operation": key,
        }
        payment["effects"].append(effect)
        return effect

    # --- for the kit --------------------------------------------------------------------------------

    def ledger(self, session: PaymentSession) -> Sequence[Effect]:
        """Return what really happened for a session."""
        found: list[Effect] = []
        for payment in self.payments.values():
            if payment["reference"] == session.id:
                found.append(Effect("initiate", Money.from_minor(payment["amount"], payment["currency"])))
                found += [
                    Effect(row["kind"], Money.from_minor(row["amount"], row["currency"]), row["state"])
                    for row in payment["effects"]
                ]
        return found

    def approve(self, session: PaymentSession) -> None:
        """Approve on Later's page."""
        self.payments[str(session.reference)]["status"] = "approved"

    def decline(self, session: PaymentSession) -> None:
        """Give up on Later's page."""
        self.payments[str(session.reference)]["status"] = "declined"

    def notification(self, session: PaymentSession) -> bytes:
        """Return what Later posts when something happened to the payment."""
        payment = self.payments[str(session.reference)]
        event = {
            "id": f"evt_{payment['id']}_{payment['status']}_{len(payment['effects'])}",
            "type": f"payment.{payment['status']}",
            "reference": payment["reference"],
            "payment": payment["id"],
        }
        return json.dumps(event).encode()

    def sign(self, body: bytes, at: datetime) -> Mapping[str, str]:
        """Sign as Later does."""
        return self._signed(body, SECRET, at)

    def sign_with_nothing(self, body: bytes, at: datetime) -> tuple[Mapping[str, str], bytes]:
        """Sign with an empty secret."""
        return self._signed(body, "", at), body

    @staticmethod
    def _signed(body: bytes, secret: str, at: datetime) -> Mapping[str, str]:
        stamp = str(int(at.timestamp()))
        signature = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {"Later-Signature": f"{stamp},{signature}", "Content-Type": "application/json"}

    def refund_in_dashboard(self, session: PaymentSession, amount: Money) -> None:
        """Refund in Later's dashboard: no key of ours."""
        payment = self.payments[str(session.reference)]
        payment["refunded"] += amount.minor
        self._record(payment, "refund", amount.minor, None)


class LaterContract(BaseProviderContract):
    """Run by this package's tests, and by ``paysession check later``."""

    @pytest.fixture
    def gateway(self) -> Counterpart:
        """Return the fake."""
        return FakeLater()

    @pytest.fixture
    def make_provider(self) -> Callable[[str], Later]:
        """Return what makes a provider for an address."""

        def make(url: str) -> Later:
            return Later(
                api_key="sk_of_the_tests",
                webhook_secret=SECRET,
                api_base=url,
                timeout=0.5,
            )

        return make
