"""What the tests of every subject share."""

import copy
from datetime import UTC, datetime

from paysession import Capabilities, MemoryStore, Money, Outcome, Payments, Status, hookimpl
from paysession._plugins.registry import Registry
from paysession.store import SessionRow
from paysession.values import replace

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def eur(amount):
    """Return an amount of euros, written as `Money` takes it: ``eur("42.00")``."""
    return Money(amount, "EUR")


def cents(minor):
    """Return an amount of euros in minor units."""
    return Money.from_minor(minor, "EUR")


def a_session(status=Status.PENDING, **changes):
    """Return the row of a session of 42 euros that the gateway knows; figures are what the test says."""
    session = SessionRow(
        id="ps_1", collection_id="pc_1", collection_reference="r", provider="p", amount=eur("42.00"),
        created_at=NOW, updated_at=NOW, status=status, initiated=True, ordinal=1,
    )  # fmt: skip
    return replace(session, **changes)


class Least:
    """The least that is a provider: the three hooks that it has to have, and nothing in them."""

    capabilities = Capabilities()

    @hookimpl
    def initiate(self): ...

    @hookimpl
    def authorize(self): ...

    @hookimpl
    def cancel(self): ...


class Willing:
    """A gateway that can be queried, refuses nothing, and waits for its payers; a test adds what it shows."""

    capabilities = Capabilities(lookup="consistent")

    @hookimpl
    def initiate(self):
        return Outcome.pending()

    @hookimpl
    def authorize(self):
        return Outcome.authorized()

    @hookimpl
    def cancel(self):
        return Outcome.canceled()


class Backup:
    """A copy of a shop's ledger in memory, and the way back to it."""

    def __init__(self, shop):
        self._shop = shop
        self._rows = self._copy(shop.store)

    def restore(self):
        store = MemoryStore(clock=self._shop.clock)
        vars(store).update(copy.deepcopy(self._rows))
        store.identity = self._shop.store.identity
        self._shop.store = store
        self._shop.payments = Payments(store, Registry({"fake": self._shop.fake}))

    @staticmethod
    def _copy(store):
        rows = {
            name: value for name, value in vars(store).items() if name not in ("now", "identity", "_lock")
        }
        return copy.deepcopy(rows)
