import asyncio
import inspect
import threading

import pytest

from paysession import AsyncPayments, Money, Outcome, Payments, StoreError, hookimpl
from paysession_testing import FakeProvider


def test_every_call_is_mirrored_with_the_same_arguments():
    calls = [name for name, _ in inspect.getmembers(Payments, inspect.isfunction) if name[0] != "_"]
    for name in calls:
        mine, theirs = getattr(AsyncPayments, name), getattr(Payments, name)
        assert inspect.iscoroutinefunction(mine), name
        assert list(inspect.signature(mine).parameters) == list(inspect.signature(theirs).parameters), name
        for key, parameter in inspect.signature(theirs).parameters.items():
            assert inspect.signature(mine).parameters[key].default == parameter.default, name


def test_one_life_in_a_loop():
    fake = FakeProvider()

    async def live():
        async with AsyncPayments.open("memory:", providers={"fake": fake}, environ={}) as pay:
            order = await pay.create_collection(Money("42.00", "EUR"), reference="r")
            order = await pay.update_collection(order.id, Money("43.00", "EUR"))
            session = await pay.initiate(order.id, provider="fake", idempotency_key="k")
            assert pay._providers == {session.id: "fake"}  # or each call would have to read it first
            session = await pay.update(session.id, Money("40.00", "EUR"))
            session = await pay.resume(session.id)
            assert session == await pay.authorize(session.id)
            keys = [pay.capture(session.id, idempotency_key="c") for _ in range(8)]
            await asyncio.gather(*keys, return_exceptions=True)
            await pay.refund(session.id, Money("1.00", "EUR"), reason="because")
            with pytest.raises(Exception, match="refund"):
                await pay.cancel(session.id)
            await pay.sync(session.id)
            await pay.recover()
            headers, body = fake.webhook(session.id)
            assert (await pay.handle_webhook("fake", headers=headers, body=body)).status == 200
            assert not await pay.in_doubt()
            assert (await pay.get(session.id)).captured == 4000
            assert len(await pay.sessions(reference="r")) == 1
            assert [row.kind for row in await pay.history(session.id)].count("capture") == 1
            assert len(await pay.events()) == 6
            assert (await pay.collection(reference="r")).status == "partially_refunded"
            assert len(await pay.collections()) == 1
            assert (await pay.providers())[0].name == "fake"
            with pytest.raises(Exception, match="closed"):
                first = (await pay.history(session.id))[0]
                await pay.resolve(first.id, __import__("paysession").Outcome.pending(), note="n")

    asyncio.run(live())
    assert [row.kind for row in fake.ledger] == ["authorize", "capture", "refund"]


def test_a_cancelled_task_does_not_tear_an_operation_apart():
    fake = FakeProvider()

    async def live():
        async with AsyncPayments.open("memory:", providers={"fake": fake}, environ={}) as pay:
            order = await pay.create_collection(Money("42.00", "EUR"), reference="r")
            session = await pay.initiate(order.id, provider="fake")
            loop, entered, leave = (
                asyncio.get_running_loop(),
                asyncio.Event(),
                __import__("threading").Event(),
            )

            def hold():
                loop.call_soon_threadsafe(entered.set)
                leave.wait(10)

            fake.fail_next("lost_answer", kind="authorize", then=hold)
            task = asyncio.create_task(pay.authorize(session.id))
            await entered.wait()
            task.cancel()
            leave.set()
            with pytest.raises(asyncio.CancelledError):
                await task
        return pay, session

    pay, session = asyncio.run(live())
    assert pay._payments._store.session(session.id).status == "authorized"


def test_closing_waits_for_the_operations_that_run():
    entered, go, order = threading.Event(), threading.Event(), []

    class Slow(FakeProvider):
        @hookimpl
        def authorize(self, session, operation):
            entered.set()
            go.wait()
            order.append("authorized")
            return Outcome.authorized()

        @hookimpl
        def close(self):
            order.append("closed")

    async def main():
        payments = AsyncPayments.open("memory:", providers={"fake": Slow()})
        order = await payments.create_collection(Money("42.00", "EUR"), reference="r")
        session = await payments.initiate(order.id, provider="fake")
        running = asyncio.create_task(payments.authorize(session.id))
        await asyncio.to_thread(entered.wait)
        threads = payments._here()["provider", "fake"]
        shut = threads.shut

        def wait_for_them(*, wait):
            go.set()  # not before: who closed the store by now has not waited
            shut(wait=wait)

        threads.shut = wait_for_them
        await payments.close()
        return await running

    assert asyncio.run(main()).status == "authorized"
    assert order == ["authorized", "closed"]


def test_closed_payments_say_so():
    async def live():
        payments = AsyncPayments.open("memory:", providers={"fake": FakeProvider()}, environ={})
        await payments.close()
        await payments.events()

    with pytest.raises(StoreError, match="closed"):
        asyncio.run(live())
