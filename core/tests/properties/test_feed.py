"""A shop that follows the feed alone marks every order that is paid, once, whatever came first.

Random lives of an order: payers pay and come back or do not, notifications are lost or come twice, carts change before and
after, money is taken by the shop, by the gateway or in its dashboard, answers are lost. The shop reads the feed now and
then, and dies now and then before it has saved how far it has read.
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

LIVES = 250
STEPS = 40
AMOUNTS = (1000, 2500, 4000, 4200, 6000)
TYPES = ("session.captured", "collection.updated")


class Shop:
    """A shop with two orders: what it writes in one transaction is written at once, or not at all."""

    def __init__(self, seed, types=TYPES):
        self.random = random.Random(seed)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        window = timedelta(hours=self.random.choice([0, 24]))
        self.gates = {name: FakeProvider(approve=False, replay_window=window) for name in ("card", "wallet")}
        self.payments = Payments(MemoryStore(clock=lambda: self.now), Registry(dict(self.gates)))
        self.orders = [
            self.payments.create_collection(Money.from_minor(4200, "EUR"), reference=f"order-{n}").id
            for n in range(2)
        ]
        self.types = types
        self.cursor = None
        self.paid = {}
        self.parcels = []
        self.by_update = 0

    def follow(self):
        """Handle the events that are new; a shop that dies before its commit has done nothing."""
        cursor, paid, parcels, by_update = self.cursor, dict(self.paid), list(self.parcels), self.by_update
        dies = self.random.random() < 0.2
        for event in self.payments.events(after=cursor, limit=self.random.choice([1, 3, 100])):
            if event.type in self.types:
                due = self.payments.collection(event.collection_id)
                if due.captured_amount >= due.amount and event.collection_id not in paid:
                    paid[event.collection_id] = due.amount
                    parcels.append(event.reference)
                    by_update += event.type == "collection.updated"
            cursor = event.cursor
        if not dies:
            self.cursor, self.paid, self.parcels, self.by_update = cursor, paid, parcels, by_update

    def step(self):
        chosen = self.random.choice(
            [self.pays, self.pays, self.payer, self.payer, self.returns, self.captures, self.changes]
            + [self.dashboard, self.fails, self.recovers, self.follow]
        )
        with contextlib.suppress(PaysessionError):
            chosen()

    def session(self):
        rows = self.payments.sessions()
        return self.random.choice(rows) if rows else None

    def pays(self):
        order, name = self.random.choice(self.orders), self.random.choice(list(self.gates))
        self.payments.pay(order, provider=name, capture=self.random.choice(["automatic", "manual"]))

    def payer(self):
        session = self.session()
        if session is not None and session.initiated and session.status in ("pending", "requires_more"):
            gate = self.gates[session.provider]
            self.random.choice([gate.payer_approves, gate.authorize_in_browser])(session.id)

    def returns(self):
        session = self.session()
        if session is None:
            return
        if self.random.random() < 0.5:
            self.payments.resume(session.id)
        else:
            headers, body = self.gates[session.provider].webhook(session.id)
            for _ in range(self.random.choice([1, 2])):
                self.payments.handle_webhook(session.provider, headers=headers, body=body)

    def captures(self):
        session = self.session()
        if session is not None:
            part = self.random.choice([None, Money.from_minor(1000, "EUR"), Money.from_minor(2500, "EUR")])
            self.payments.capture(session.id, part, final=self.random.random() < 0.3)

    def changes(self):
        amount = Money.from_minor(self.random.choice(AMOUNTS), "EUR")
        self.payments.update_collection(self.random.choice(self.orders), amount)

    def dashboard(self):
        session = self.session()
        left = session.capturable_amount if session is not None else None
        if left:
            self.gates[session.provider].capture_in_dashboard(session.id, left)

    def fails(self):
        self.random.choice(list(self.gates.values())).fail_next(self.random.choice(FAULTS))

    def recovers(self):
        self.now += timedelta(minutes=self.random.choice([1, 10, 200]))
        self.payments.recover()

    def rest(self):
        """Settle everything, and let the shop read all of it."""
        for gate in self.gates.values():
            gate._faults.clear()
        for _ in range(30):
            self.now += timedelta(hours=3)
            self.payments.recover()
        for row in self.payments.sessions():
            with contextlib.suppress(PaysessionError):
                self.payments.sync(row.id)
        while self.cursor is None or self.payments.events(after=self.cursor):
            self.follow()


def live(seed, types=TYPES):
    shop = Shop(seed, types)
    for _ in range(STEPS):
        shop.step()
    shop.payments.create_collection(Money("1.00", "EUR"), reference="last")  # so that the feed is not empty
    shop.payments.update_collection(shop.payments.collection(reference="last").id, Money("2.00", "EUR"))
    shop.rest()
    return shop


def missed(shop):
    """Return the orders that are paid in the ledger and that the shop has not marked."""
    rows = [shop.payments.collection(order) for order in shop.orders]
    return [row.reference for row in rows if row.captured_amount >= row.amount and row.id not in shop.paid]


@pytest.mark.parametrize("lives", [100, pytest.param(LIVES, marks=pytest.mark.slow)])
def test_every_order_that_is_paid_is_marked_once(monkeypatch, lives):
    monkeypatch.setattr(paying, "PATIENCE", 0.0)
    marked = by_update = 0
    for seed in range(lives):
        shop = live(seed)
        assert not missed(shop), f"seed {seed}"
        assert len(shop.parcels) == len(set(shop.parcels)) == len(shop.paid), f"seed {seed}"
        for order in shop.paid:
            assert shop.payments.collection(order).captured > 0, f"seed {seed}"
        marked += len(shop.paid)
        by_update += shop.by_update
    assert marked > lives / 3
    assert by_update > lives / 50  # the lives reach what they are for


@pytest.mark.slow
def test_a_shop_that_does_not_look_at_changed_carts_misses_some(monkeypatch):
    """The test above can fail."""
    monkeypatch.setattr(paying, "PATIENCE", 0.0)
    assert any(missed(live(seed, ("session.captured",))) for seed in range(LIVES))
