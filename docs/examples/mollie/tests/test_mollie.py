"""The contract of a provider, on Mollie: its API as a small fake, from its documentation."""

import json
from urllib.parse import urlencode

import pytest
from paysession_mollie import Mollie

from paysession.provider import Effect, Money
from paysession_testing import BaseProviderContract, Counterpart

STATES = {"pending": "pending", "succeeded": "succeeded", "refunded": "succeeded", "failed": "failed"}


class FakeMollie(Counterpart):
    currencies = ("EUR", "JPY", "KWD")
    cannot = {
        "sign": "a notification carries the payment's id and nothing else; the payment is fetched",
        "date": "as above",
    }

    def __init__(self):
        self.payments = {}

    def handle(self, method, path, headers, body):
        told = json.loads(body) if body else {}
        if path == "/payments":
            return 201, {}, self.create(told)
        _, _, place = path.partition("/payments/")
        id_, _, verb = place.partition("?")[0].partition("/")
        payment = self.payments.get(id_)
        if payment is None:
            return 404, {}, {"status": 404, "title": "Not Found", "detail": "No payment exists with token."}
        if method == "GET":
            return 200, {}, payment
        answer = self.cancel(payment) if method == "DELETE" else self.act(payment, verb, told)
        return answer or (422, {}, {"status": 422, "detail": f"The payment is {payment['status']}."})

    def create(self, told):
        id_ = f"tr_{len(self.payments) + 1:06}"
        page = {"href": f"https://www.mollie.com/checkout/{id_}", "type": "text/html"}
        payment = {
            "resource": "payment",
            "id": id_,
            "status": "open",
            "isCancelable": True,
            "amount": told["amount"],
            "metadata": told["metadata"],
            "captureMode": told["captureMode"],
            "_links": {"checkout": page},
            "_embedded": {"captures": [], "refunds": [], "chargebacks": []},
        }
        self.payments[id_] = payment
        return payment

    def act(self, payment, verb, told):
        at_once = payment["captureMode"] == "automatic" and "approved" in payment
        captured = value(payment) if at_once else self.total(payment, "captures")
        if verb == "captures" and payment["status"] == "authorized":
            if value(told) <= value(payment) - captured:
                row = self.part(payment, "captures", "cpt", told)
                if self.total(payment, "captures") == value(payment):
                    payment["status"] = "paid"
                return 201, {}, row
        if verb == "refunds" and value(told) <= captured - self.total(payment, "refunds"):
            return 201, {}, self.part(payment, "refunds", "re", told)
        if verb == "release-authorization" and payment["status"] == "authorized":
            payment["status"], payment["released"] = ("paid" if captured else "canceled"), True
            return 202, {}, b""
        return None

    def cancel(self, payment):
        if payment["status"] != "open":
            return None
        payment["status"] = "canceled"
        return 200, {}, payment

    def part(self, payment, name, prefix, told):
        rows = payment["_embedded"][name]
        row = {"id": f"{prefix}_{len(rows) + 1}_{payment['id']}", "status": "pending", **told}
        rows.append(row)
        return row

    def total(self, payment, name):
        return sum(value(row) for row in payment["_embedded"][name])

    # --- for the kit ---

    def of(self, session):
        return [row for row in self.payments.values() if row["metadata"]["session"] == session.id]

    def ledger(self, session):
        found = []
        for payment in self.of(session):
            amount = Money(payment["amount"]["value"], payment["amount"]["currency"])
            found.append(Effect("initiate", amount))
            if "approved" in payment:
                found.append(Effect("authorize", amount))
                if payment["captureMode"] == "automatic":
                    found.append(Effect("capture", amount))
            if payment.get("released"):
                found.append(Effect("cancel", amount))
            for kind, name in (("capture", "captures"), ("refund", "refunds")):
                for row in payment["_embedded"][name]:
                    money = Money(row["amount"]["value"], row["amount"]["currency"])
                    found.append(Effect(kind, money, STATES[row["status"]]))
            for row in payment["_embedded"]["chargebacks"]:
                taken = Money(row["amount"]["value"], row["amount"]["currency"])
                found.append(Effect("chargeback", taken, "reversed" if row["reversedAt"] else "succeeded"))
        return found

    def approve(self, session):
        payment = self.payments[session.reference]
        automatic = payment["captureMode"] == "automatic"
        payment |= {"status": "paid" if automatic else "authorized", "approved": True}

    def decline(self, session):
        self.payments[session.reference]["status"] = "failed"

    def finish(self, session):
        for payment in self.of(session):
            for row in payment["_embedded"]["captures"]:
                row["status"] = "succeeded"
            for row in payment["_embedded"]["refunds"]:
                row["status"] = "refunded"

    def fail(self, session):
        for payment in self.of(session):
            for row in payment["_embedded"]["captures"] + payment["_embedded"]["refunds"]:
                row["status"] = "failed" if row["status"] == "pending" else row["status"]

    def notification(self, session):
        return urlencode({"id": session.reference}).encode()

    def sign(self, body, at):
        return {"Content-Type": "application/x-www-form-urlencoded"}

    def refund_in_dashboard(self, session, amount):
        payment = self.payments[session.reference]
        told = {"amount": {"currency": amount.currency, "value": f"{amount.amount:f}"}, "metadata": None}
        self.part(payment, "refunds", "re", told)["status"] = "refunded"

    def charge_back(self, session, amount):
        payment = self.payments[session.reference]
        rows = payment["_embedded"]["chargebacks"]
        told = {"amount": {"currency": amount.currency, "value": f"{amount.amount:f}"}, "reversedAt": None}
        rows.append({"resource": "chargeback", "id": f"chb_{len(rows) + 1}_{payment['id']}", **told})


def value(told):
    return Money(told["amount"]["value"], told["amount"]["currency"]).minor


class TestMollie(BaseProviderContract):
    @pytest.fixture
    def gateway(self):
        return FakeMollie()

    @pytest.fixture
    def make_provider(self):
        return lambda url: Mollie(api_key="test_of_the_shop", api_base=url, timeout=0.5)
