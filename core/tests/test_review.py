"""What a review found: each of these failed before the commit that brought it."""

import asyncio
import threading
from datetime import timedelta

import pytest
from attrs import evolve

from paysession import (
    AsyncPayments,
    Declined,
    Failure,
    InvalidTransition,
    MemoryStore,
    Money,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    SessionBusy,
    hookimpl,
)
from paysession.outcome import Effect, Snapshot
from paysession.testing import FakeProvider


def eur(amount):
    return Money(amount, "EUR")


def cancels(told):
    return [kind for kind, _ in told.fake.calls].count("cancel")


def test_async_close_waits():
    entered, go = threading.Event(), threading.Event()
    order = []

    class Slow(FakeProvider):
        @hookimpl
        def authorize(self, session, operation):
            entered.set()
            go.wait(5)
            order.append("authorize ended")
            return Outcome.authorized()

        @hookimpl
        def close(self):
            order.append("closed")

    async def main():
        payments = AsyncPayments.open("memory:", providers={"fake": Slow()})
        c = await payments.create_collection(eur("42.00"), reference="r")
        s = await payments.initiate(c.id, provider="fake")
        task = asyncio.create_task(payments.authorize(s.id))
        await asyncio.to_thread(entered.wait)
        threading.Timer(0.3, go.set).start()
        await payments.close()
        await task

    asyncio.run(main())
    assert order == ["authorize ended", "closed"]


def test_two_browsers_at_once_over_limit(make_told):
    class Racing(MemoryStore):
        then = None

        def operations(self, session_id):
            then, self.then = self.then, None
            if then is not None:
                then()
            return super().operations(session_id)

    told = make_told(store=Racing)
    one, two = told.session("requires_more"), told.session("requires_more")
    told.fake.authorize_in_browser(one.id)
    told.fake.authorize_in_browser(two.id)
    told.store.then = lambda: told.payments.sync(two.id)
    told.payments.sync(one.id)
    told.settle()
    held = told.payments.collection(told.order.id).held
    assert held == 4200, (held, told.books(one.id), told.books(two.id))
    assert "session.conflict" in told.told()
