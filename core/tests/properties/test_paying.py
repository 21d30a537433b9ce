"""Payers who click, come back, change the method and the cart, while gateways fail: one payment at a time.

Random lives of one order, with two methods and two processes of one shop. (Hypothesis as a state machine hardly gets past the
first failures: its lists are short, and end in zeros.)
"""

import contextlib
import random
from datetime import UTC, datetime, timedelta

import pytest

from paysession import MemoryStore, Money, Payments, PaysessionError
from paysession._engine import pay as paying
from paysession._plugins.registry import Registry
from paysession_testing import FakeProvider
from paysession_testing.fake import FAULTS

LIVES = 100
STEPS = 40
METHODS = ("card", "wallet")
UNPAID = ("pending", "requires_more", "error")


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch):
    """A call in progress is one of a killed process here: its lease is as good as a day."""
    monkeypatch.setattr(paying, "PATIENCE", 0.0)


class Gone(BaseException):
    """A process is killed."""


class Life:
    """One order, and what is done to it."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.lookup = self.choice("consistent", "consistent", "consistent", "none")
        window = timedelta(hours=self.choice(0, 24, 24))
        self.gates = {
            name: FakeProvider(approve=False, lookup=self.lookup, replay_window=window) for name in METHODS
        }
        store = MemoryStore(clock=lambda: self.now)
        self.shops = [Payments(store, Registry(dict(self.gates))) for _ in range(2)]
        self.payments = self.shops[0]
        self.order = self.payments.create_collection(Money("42.00", "EUR"), reference="order").id
        self.shown = None
        self.seen = {"open": 0, "paid": 0, "refused": 0}

    def choice(self, *options):
        return self.random.choice(options)

    @property
    def sessions(self):
        return self.payments.sessions(collection_id=self.order)

    def due(self):
        return self.payments.collection(self.order).amount.minor

    def shows(self, session):
        """Return how a session stands at its gateway."""
        return self.gates[session.provider].retrieve(session=session).status

    def is_paid(self):
        """Return whether the whole amount is authorized, and nothing of that is in doubt."""
        if any(row.in_doubt or row.cancel_requested for row in self.sessions):
            return False
        return sum(row.held for row in self.sessions if row.status == "authorized") >= self.due()

    def payable(self):
        """Return the sessions of which nothing is in doubt and that a payer could pay at a gateway.

        Of one whose beginning was never answered no payer has seen the page.
        """
        certain = [
            row for row in self.sessions if row.initiated and not (row.in_doubt or row.cancel_requested)
        ]
        return [row.id for row in certain if self.shows(row) in UNPAID]

    def pay(self):
        method, customer = self.choice(*METHODS), self.choice("cus_1", "cus_1", "cus_2")
        capture, paid = self.choice("automatic", "automatic", "manual"), self.is_paid()
        try:
            session = self.choice(*self.shops).pay(
                self.order, provider=method, data={"customer": customer}, capture=capture
            )
        except (PaysessionError, Gone):
            assert not paid, "a payer who has paid is shown that"
            self.shown = None
            self.seen["refused"] += 1
            return
        self.shown = session
        others = sum(row.held for row in self.sessions if row.id != session.id)
        if self.shows(session) == "authorized" and self.lookup != "none" and not session.in_doubt:
            assert session.status == "authorized", "the payer has paid there"
        if session.status in UNPAID and session.authorizing is None:
            self.seen["open"] += 1
            assert (session.provider, session.capture) == (method, capture)
            assert session.data["customer"] == customer
            assert session.amount.minor == self.due() - others
            unseen = self.lookup == "none" and self.shows(session) not in UNPAID
            assert self.payable() == ([] if unseen else [session.id])
        else:
            self.seen["paid"] += 1
            assert self.due() - others <= session.held

    def payer(self):
        """Do something on the page that is shown."""
        session = self.shown
        if session is None or self.shows(session) not in UNPAID:
            return
        gate = self.gates[session.provider]
        self.choice(gate.payer_approves, gate.authorize_in_browser, gate.payer_declines)(session.id)

    def returns(self):
        session = self.shown
        if session is None:
            return
        if self.choice(True, False):
            headers, body = self.gates[session.provider].webhook(session.id)
            self.payments.handle_webhook(session.provider, headers=headers, body=body)
        else:
            self.payments.resume(session.id)

    def cart(self):
        self.payments.update_collection(self.order, Money.from_minor(self.choice(500, 4000, 5000), "EUR"))

    def fails(self):
        self.gates[self.choice(*METHODS)].fail_next(self.choice(*FAULTS))

    def is_killed(self):
        def die():
            raise Gone

        self.gates[self.choice(*METHODS)].fail_next("timeout", then=die)

    def time_passes(self):
        self.now += timedelta(minutes=self.choice(1, 5, 90, 1600))
        self.payments.recover()

    def live(self):
        steps = [self.pay] * 6 + [self.payer, self.returns, self.cart, self.time_passes, self.time_passes]
        for _ in range(STEPS):
            chosen = self.choice(*steps, *(self.choice([self.fails], [self.is_killed], [], [])))
            with contextlib.suppress(PaysessionError, Gone):
                chosen()

    def check(self):
        """Compare the ledger with the gateways, once everything is settled."""
        for gate in self.gates.values():
            gate._faults.clear()
        for _ in range(60):
            self.now += timedelta(hours=3)
            self.payments.recover()
        for row in self.sessions:
            with contextlib.suppress(PaysessionError):
                self.payments.sync(row.id)
        for gate in self.gates.values():
            keys = [(row.kind, row.key) for row in gate.ledger if row.key]
            assert len(keys) == len(set(keys)), "two effects of one operation"
        taken = sum(self.gates[row.provider].total(row.id, "capture") for row in self.sessions)
        assert self.payments.collection(self.order).captured == taken


@pytest.mark.parametrize("lives", [25, pytest.param(LIVES, marks=pytest.mark.slow)])
def test_one_session_at_a_time_can_be_paid(lives):
    seen = {"open": 0, "paid": 0, "refused": 0}
    for seed in range(lives):
        life = Life(seed)
        try:
            life.live()
            life.check()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        for name, number in life.seen.items():
            seen[name] += number
    assert min(seen.values()) > 2 * lives, seen  # the lives reach what they are for
