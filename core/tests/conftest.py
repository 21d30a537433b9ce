from datetime import UTC, datetime, timedelta

import pytest

from paysession import MemoryStore, Money, Payments
from paysession.plugins import Registry
from paysession.testing import FakeProvider


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.now

    def forward(self, **duration):
        self.now += timedelta(**duration)


class Shop:
    """Payments with a fake provider, and a session of 42 euros to work on."""

    def __init__(self, provider=None, plugins=(), store=MemoryStore):
        self.clock = Clock()
        self.fake = provider if provider is not None else FakeProvider()
        self.store = store(clock=self.clock)
        self.payments = Payments(self.store, Registry({"fake": self.fake}, plugins))
        self.order = self.payments.create_collection(Money("42.00", "EUR"), reference="order-1")

    def session(self, status="authorized", **options):
        session = self.payments.initiate(self.order.id, provider="fake", **options)
        if status == "requires_more":
            return session
        session = self.payments.authorize(session.id)
        if status == "captured":
            session = self.payments.capture(session.id)
        return session

    def settle(self):
        """Let recovery come round until nothing is due any more."""
        for _ in range(20):
            self.clock.forward(hours=2)
            self.payments.recover()


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def make_shop():
    return Shop
