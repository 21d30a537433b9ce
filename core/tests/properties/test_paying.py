"""Payers who click, come back, change the method and the cart, while gateways fail: one payment at a time."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from paysession import MemoryStore, Money, Payments, PaysessionError
from paysession._engine import pay as paying
from paysession._plugins.registry import Registry
from paysession_testing import FakeProvider
from paysession_testing.fake import FAULTS

METHODS = ("card", "wallet")
UNPAID = ("pending", "requires_more", "error")


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch):
    """A call in progress is one of a killed process here: its lease is as good as a day."""
    monkeypatch.setattr(paying, "PATIENCE", 0.0)


class Gone(BaseException):
    """A process is killed."""


class Machine(RuleBasedStateMachine):
    """One order, two methods, two processes of one shop."""

    @initialize(hours=st.sampled_from([24, 0]), lookup=st.sampled_from(["consistent", "consistent", "none"]))
    def begin(self, hours, lookup):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.gates = {
            name: FakeProvider(approve=False, lookup=lookup, replay_window=timedelta(hours=hours))
            for name in METHODS
        }
        store = MemoryStore(clock=lambda: self.now)
        self.shops = [Payments(store, Registry(dict(self.gates))) for _ in range(2)]
        self.payments = self.shops[0]
        self.order = self.payments.create_collection(Money("42.00", "EUR"), reference="order")
        self.shown = None
        self.most = 4200

    def left(self, session):
        """Return what the order's other sessions leave, in minor units."""
        rows = self.payments.sessions(collection_id=self.order.id)
        amount = self.payments.collection(self.order.id).amount.minor
        return amount - sum(row.held for row in rows if row.id != session.id)

    def payable(self):
        """Return the sessions of which nothing is in doubt and that a payer could pay at a gateway."""
        return [
            row
            for row in self.payments.sessions(collection_id=self.order.id)
            if not row.in_doubt
            and not row.cancel_wanted
            and self.gates[row.provider].retrieve(session=row).status in UNPAID
        ]

    @rule(
        method=st.sampled_from(METHODS),
        shop=st.sampled_from([0, 1]),
        customer=st.sampled_from(["cus_1", "cus_1", "cus_2"]),
        capture=st.sampled_from(["automatic", "automatic", "manual"]),
    )
    def pay(self, method, shop, customer, capture):
        try:
            session = self.shops[shop].pay(
                self.order.id, provider=method, data={"customer": customer}, capture=capture
            )
        except (PaysessionError, Gone):
            self.shown = None
            return
        self.shown = session
        if session.status in UNPAID and session.authorizing is None:
            assert (session.provider, session.capture) == (method, capture)
            assert session.amount.minor == self.left(session)
            assert [row.id for row in self.payable()] == [session.id]
        else:
            assert self.left(session) <= session.held

    @precondition(lambda self: getattr(self, "shown", None) is not None)
    @rule(how=st.sampled_from(["approves", "approves", "browser", "declines"]))
    def payer(self, how):
        """Do something on the page that is shown."""
        gate, session = self.gates[self.shown.provider], self.shown
        if gate.retrieve(session=session).status not in UNPAID:
            return
        if how == "browser":
            gate.authorize_in_browser(session.id)
        elif how == "approves":
            gate.payer_approves(session.id)
        else:
            gate.payer_declines(session.id)

    @precondition(lambda self: getattr(self, "shown", None) is not None)
    @rule(notified=st.booleans())
    def returns(self, notified):
        gate, session = self.gates[self.shown.provider], self.shown
        with contextlib.suppress(PaysessionError, Gone):
            if notified:
                headers, body = gate.webhook(session.id)
                self.payments.handle_webhook(session.provider, headers=headers, body=body)
            else:
                self.payments.resume(session.id)

    @rule(minor=st.sampled_from([500, 4000, 4200, 5000]))
    def cart(self, minor):
        with contextlib.suppress(PaysessionError):
            self.payments.update_collection(self.order.id, Money.from_minor(minor, "EUR"))
            self.most = max(self.most, minor)

    @rule(method=st.sampled_from(METHODS), fault=st.sampled_from(FAULTS))
    def fails(self, method, fault):
        self.gates[method].fail_next(fault)

    @rule(method=st.sampled_from(METHODS))
    def is_killed(self, method):
        def die():
            raise Gone

        self.gates[method].fail_next("timeout", then=die)

    @rule(minutes=st.sampled_from([1, 5, 90, 1600]), recover=st.booleans())
    def time_passes(self, minutes, recover):
        self.now += timedelta(minutes=minutes)
        if recover:
            with contextlib.suppress(Gone):
                self.payments.recover()

    def teardown(self):
        if not hasattr(self, "gates"):
            return
        for gate in self.gates.values():
            gate._faults.clear()
        for _ in range(60):
            self.now += timedelta(hours=3)
            self.payments.recover()
        for gate in self.gates.values():
            keys = [(row.kind, row.key) for row in gate.ledger if row.key]
            assert len(keys) == len(set(keys)), "two effects of one operation"
        for row in self.payments.sessions():
            with contextlib.suppress(PaysessionError):
                self.payments.sync(row.id)
        totals = self.payments.collection(self.order.id)
        taken = sum(
            gate.total(row.id, "capture")
            for row in self.payments.sessions()
            for gate in [self.gates[row.provider]]
        )
        assert totals.captured == taken
        self.payments.close()


TestPaying = Machine.TestCase
TestPaying.settings = settings(
    max_examples=120,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
