"""The contract of a provider, on what ships with the core: its gateway, and the fake for shops."""

import hashlib
import hmac

import pytest

from paysession.outcome import Effect
from paysession.testing import BaseProviderContract, Counterpart, FakeProvider, Request
from paysession.testing.contract.gateway import GatewayCounterpart
from paysession.testing.gateway_provider import GatewayProvider


class TestGatewayProvider(BaseProviderContract):
    @pytest.fixture
    def gateway(self):
        return GatewayCounterpart()

    @pytest.fixture
    def make_provider(self):
        return lambda url: GatewayProvider(url, timeout=0.5)


class FakeWire:
    """FakeProvider has its gateway within itself: faults are asked of it, and its calls are its requests."""

    url = "memory:"
    lookups_fail = False
    waited_out = 0

    def __init__(self, fake):
        self.fake = fake
        self.struck = 0
        self.errors = []

    @property
    def requests(self):
        return [self.request(kind, key) for kind, key in list(self.fake.calls)]

    def request(self, kind, key):
        session_id = key.rpartition("-")[0]
        amount = self.fake._accounts[session_id].amount.minor
        return Request("POST", f"/{kind}", {"idempotency-key": key}, f"{session_id} {amount}".encode())

    def fail(self, fault, *, on="write", amount=None):
        self.struck = 1
        before = ("reset", "drop_before", "500_before", "408", "409", "429", "401")
        word = "wrong_amount" if fault == "wrong_amount" else "timeout" if fault in before else "lost_answer"
        self.fake.fail_next("not_applied" if fault == "429" else word)

    def refused(self):
        self.fake.fail_next("not_applied")
        return self.url

    def clear(self):
        pass

    def close(self):
        pass


class FakeCounterpart(Counterpart):
    cannot = {"date": "its notifications are for tests, and carry no time"}

    def __init__(self, fake):
        self.fake = fake

    def ledger(self, session):
        made = [Effect("initiate", session.amount)] if session.id in self.fake._accounts else []
        rows = [row for row in self.fake.ledger if row.session_id == session.id]
        return made + [Effect(row.kind, row.amount, "succeeded", row.reference) for row in rows]

    def approve(self, session):
        self.fake.payer_approves(session.id)

    def decline(self, session):
        self.fake.payer_declines(session.id)

    def notification(self, session):
        return self.fake.webhook(session.id)[1]

    def sign(self, body, at):
        return {"Fake-Signature": hmac.new(b"whsec_fake", body, hashlib.sha256).hexdigest()}

    def refund_in_dashboard(self, session, amount):
        self.fake.refund_in_dashboard(session.id, amount)


class TestFakeProvider(BaseProviderContract):
    @pytest.fixture
    def fake(self):
        return FakeProvider(approve=False)

    @pytest.fixture
    def gateway(self, fake):
        return FakeCounterpart(fake)

    @pytest.fixture
    def wire(self, fake):
        return FakeWire(fake)

    @pytest.fixture
    def make_provider(self, fake):
        return lambda url: fake
