"""The contract of a provider, on what ships with the core: its gateway, and the fake for shops."""

import hashlib
import hmac
import subprocess
import sys

import attrs
import pytest

from paysession.money import Money
from paysession.outcome import Effect
from paysession_testing import BaseProviderContract, Counterpart, FakeProvider, Request
from paysession_testing.contract.bench import Bench
from paysession_testing.contract.gateway import GatewayCounterpart
from paysession_testing.contract.notifications import UNKNOWN, without_webhook_settings
from paysession_testing.contract.wire import Proxy
from paysession_testing.gateway_provider import GatewayProvider, ListingProvider


class TestGatewayProvider(BaseProviderContract):
    @pytest.fixture
    def gateway(self):
        return GatewayCounterpart()

    @pytest.fixture
    def make_provider(self):
        return lambda url: ListingProvider(url, timeout=0.5)

    @pytest.fixture
    def provider_without_webhook_secret(self, wire):
        return GatewayProvider(wire.url, webhook_secret=None)


class TestSlowGateway(TestGatewayProvider):
    """Captures and refunds are accepted first, and finished later."""

    @pytest.fixture
    def gateway(self):
        return GatewayCounterpart(slow=True)


class TestDebit(TestGatewayProvider):
    """The payer pays by a debit that the bank finishes later."""

    @pytest.fixture
    def gateway(self):
        return GatewayCounterpart(debit=True)


class FakeWire:
    """FakeProvider has its gateway within itself: faults are asked of it, and its calls are its requests."""

    url = "memory:"
    lookups_fail = False
    waited_out = 0
    read_out = 0
    strayed = ()

    def __init__(self, fake):
        self.fake = fake
        self.struck = 0
        self.errors = []

    @property
    def requests(self):
        return [self.request(kind, key) for kind, key in list(self.fake.calls)]

    def request(self, kind, key):
        session_id = key.partition("-")[0]
        amount = self.fake._accounts[session_id].amount.minor
        return Request("POST", f"/{kind}", {"idempotency-key": key}, f"{session_id} {amount}".encode())

    def fail(self, fault, *, on="write", amount=None):
        self.struck = 1
        words = {"wrong_amount": "wrong_amount", "wrong_currency": "wrong_currency"}
        words |= dict.fromkeys(("reset", "drop_before", "500_before", "408", "409"), "timeout")
        words |= dict.fromkeys(("400", "401", "403", "429"), "not_applied")
        self.fake.fail_next(words.get(fault, "lost_answer"))

    def refused(self):
        self.fake.fail_next("not_applied")
        return self.url

    def clear(self):
        pass

    def close(self):
        pass


class FakeCounterpart(Counterpart):
    cannot = {
        "date": "its notifications are for tests, and carry no time",
        **dict.fromkeys(("return", "notify"), "it has no page, and sends nothing by itself"),
    }

    def __init__(self, fake):
        self.fake = fake

    def ledger(self, session):
        made = [Effect("initiate", session.amount)] if session.id in self.fake._accounts else []
        rows = [row for row in self.fake.ledger if row.session_id == session.id]
        raised = sum(row.amount.minor for row in rows if row.kind == "update")
        for row in rows:
            if row.kind != "update":
                amount = Money.from_minor(row.amount.minor + raised * (row.kind == "authorize"), "EUR")
                made.append(Effect(row.kind, amount, "succeeded", row.reference))
        return made

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

    def capture_in_dashboard(self, session, amount):
        self.fake.capture_in_dashboard(session.id, amount)

    def cancel_in_dashboard(self, session):
        self.fake.cancel_in_dashboard(session.id)


class TestFakeProvider(BaseProviderContract):
    @pytest.fixture
    def provider_without_webhook_secret(self):
        return None  # it has a secret in any case

    @pytest.fixture
    def fake(self):
        return FakeProvider(approve=False, increment=True)

    @pytest.fixture
    def gateway(self, fake):
        return FakeCounterpart(fake)

    @pytest.fixture
    def wire(self, fake):
        return FakeWire(fake)

    @pytest.fixture
    def make_provider(self, fake):
        return lambda url: fake


def test_a_test_that_a_subclass_overrides_or_deletes_fails_by_its_name():
    class Lenient(BaseProviderContract):
        test_data_is_json = None

        def test_initiate_charges_nothing(self):
            pass

    for name in ("test_data_is_json", "test_initiate_charges_nothing"):
        with pytest.raises(pytest.fail.Exception, match=f"Lenient overrides or deletes {name}"):
            getattr(Lenient(), name)()


def test_a_mixin_in_front_of_the_contract_overrides_nothing_either():
    class Lenient:
        def test_data_is_json(self):
            pass

    class Contract(Lenient, BaseProviderContract):
        pass

    with pytest.raises(pytest.fail.Exception, match="Contract overrides or deletes test_data_is_json"):
        Contract().test_data_is_json()


def test_importing_the_tools_for_shops_imports_no_pytest():
    words = "import sys, paysession_testing as t; t.FakeProvider, t.Counterpart; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", words], check=True)


def test_a_counterpart_that_is_not_written_says_what_to_write():
    class Bare(Counterpart):
        pass

    wire = Proxy(Bare())
    bench = Bench(Bare(), wire, lambda url: GatewayProvider(url, timeout=0.5))
    with pytest.raises(pytest.fail.Exception, match=r"write handle\(\)"):
        bench.initiate()
    bench.close()
    wire.close()


def test_a_feature_that_is_unknown_is_refused():
    class Odd(Counterpart):
        cannot = {"declines": "never"}

    with pytest.raises(
        ValueError, match="cannot names features of ask, decline, sign, date, dashboard, approval"
    ):
        Bench(Odd(), FakeWire(FakeProvider()), lambda url: FakeProvider())


def test_a_provider_whose_webhook_secret_the_kit_cannot_find_is_not_passed_over():
    @attrs.frozen
    class Signed:
        signature_key: str = "k"

    @attrs.frozen
    class Required:
        webhook_secret: str

    assert without_webhook_settings(Signed()) is without_webhook_settings(object()) is UNKNOWN
    assert without_webhook_settings(Required("k")) is None
