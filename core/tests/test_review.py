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
