"""Closing: the calls that run end first, later ones are refused, and nobody waits for itself."""

import asyncio
import inspect
import os
import subprocess
import sys
import threading

import pytest

from paysession import AsyncPayments, Money, Outcome, OutcomeUnknown, Payments, StoreError, hookimpl
from paysession_testing import FakeProvider

EUR = Money("42.00", "EUR")


class Slow(FakeProvider):
    """Its authorization waits for a word."""

    def __init__(self):
        super().__init__()
        self.entered, self.go, self.order = threading.Event(), threading.Event(), []

    @hookimpl
    def authorize(self, session, operation):
        self.entered.set()
        assert self.go.wait(20)
        self.order.append("authorized")
        return Outcome.authorized()

    @hookimpl
    def close(self):
        self.order.append("closed")


def opened(provider, **more):
    return Payments.open("memory:", providers={"fake": provider}, environ={}, **more)


def begun(pay):
    return pay.initiate(pay.create_collection(EUR, reference="r").id, provider="fake").id


def test_closing_waits_for_a_call_to_a_provider_and_refuses_later_calls():
    slow = Slow()
    pay = opened(slow)
    session = begun(pay)
    done = []
    running = threading.Thread(target=lambda: done.append(pay.authorize(session)))
    running.start()
    assert slow.entered.wait(20)
    closing = [threading.Thread(target=pay.close) for _ in range(2)]
    for thread in closing:
        thread.start()
    while not pay._gate.closed:
        pass
    with pytest.raises(StoreError, match="closed"):
        pay.get(session)
    assert slow.order == []
    assert all(thread.is_alive() for thread in closing)
    slow.go.set()
    for thread in (running, *closing):
        thread.join(20)
        assert not thread.is_alive()
    assert done[0].status == "authorized"
    assert slow.order == ["authorized", "closed"]
    pay.close()
    assert slow.order == ["authorized", "closed"]


def test_every_public_call_is_refused_once_it_is_closed():
    pay = opened(FakeProvider())
    pay.close()
    names = [
        name
        for name, value in vars(Payments).items()
        if inspect.isfunction(value) and not name.startswith("_") and name != "close"
    ]
    assert len(names) > 15
    for name in names:
        with pytest.raises(StoreError, match="closed"):
            getattr(pay, name)()  # what it is called with is not looked at any more
        assert inspect.signature(getattr(Payments, name)).parameters.keys() >= {"self"}


class Closer:
    """An observer that closes."""

    def __init__(self):
        self.pay, self.provider, self.seen = None, None, []

    @hookimpl
    def session_changed(self, after):
        if after.status == "authorized":
            self.pay.close()
            self.pay.close()
            self.seen.append(list(self.provider.order))
            self.seen.append(self.pay.get(after.id).status)  # a part of the call that runs


def test_an_observer_that_closes_does_not_wait_for_its_own_call():
    observer, slow = Closer(), Slow()
    slow.go.set()
    pay = opened(slow, plugins=[observer])
    observer.pay, observer.provider = pay, slow
    session = begun(pay)
    thread = threading.Thread(target=pay.authorize, args=(session,))
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert observer.seen == [["authorized"], "authorized"]
    assert slow.order == ["authorized", "closed"]
    with pytest.raises(StoreError, match="closed"):
        pay.get(session)


def test_an_observer_that_closes_in_a_thread_of_a_recovery_run_does_not_wait_for_the_run():
    class Settled:
        @hookimpl
        def session_changed(self, after):
            if after.status == "authorized":
                seen.append(threading.current_thread().name)
                pay.close()

    seen, fakes = [], [FakeProvider(lookup="none") for _ in range(4)]
    providers = {f"fake{n}": provider for n, provider in enumerate(fakes)}
    pay = Payments.open("memory:", providers=providers, plugins=[Settled()], environ={})
    for name, provider in providers.items():
        order = pay.create_collection(EUR, reference=name)
        session = pay.initiate(order.id, provider=name)
        provider.fail_next("timeout", kind="authorize")
        with pytest.raises(OutcomeUnknown):
            pay.authorize(session.id)
    seen.clear()
    thread = threading.Thread(target=pay.recover, kwargs={"now": True})
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert len(seen) == 4
    assert any(name.startswith("paysession recover") for name in seen)
    assert pay._gate._released


def test_a_store_that_fails_to_close_is_logged_and_closed_for_good(caplog):
    pay = opened(FakeProvider())
    pay._store.close = lambda: 1 / 0
    pay.close()
    assert "the store failed to close" in caplog.text
    pay.close()


def test_a_close_that_was_interrupted_is_done_by_the_next():
    class Stop(BaseException):
        pass

    pay = opened(FakeProvider())
    closed, outcomes = [], [Stop]

    def close():
        if outcomes:
            raise outcomes.pop()
        closed.append(1)

    pay._store.close = close
    with pytest.raises(Stop):
        pay.close()
    pay.close()
    pay.close()
    assert closed == [1]


def shut(pay):
    while not pay._closed:
        pass
    return True


def test_asynchronous_payments_close_once_after_what_runs():
    slow = Slow()

    async def live():
        pay = AsyncPayments.open("memory:", providers={"fake": slow}, environ={})
        order = await pay.create_collection(EUR, reference="r")
        session = await pay.initiate(order.id, provider="fake")
        running = asyncio.create_task(pay.authorize(session.id))
        await asyncio.to_thread(slow.entered.wait, 20)
        closing = [asyncio.create_task(pay.close()) for _ in range(2)]
        assert await asyncio.to_thread(shut, pay)
        with pytest.raises(StoreError, match="closed"):
            await pay.get(session.id)
        slow.go.set()
        await asyncio.gather(*closing)
        await pay.close()
        return await running

    assert asyncio.run(live()).status == "authorized"
    assert slow.order == ["authorized", "closed"]


FORKED = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from paysession import Money, Outcome, Payments, hookimpl
from paysession._plugins.registry import _loading
from paysession_testing import FakeProvider
entered, go = threading.Event(), threading.Event()
class Slow(FakeProvider):
    @hookimpl
    def authorize(self, session, operation):
        entered.set()
        go.wait()
        return Outcome.authorized()
pay = Payments.open("memory:", providers={"fake": Slow()}, environ={})
order = pay.create_collection(Money("42.00", "EUR"), reference="r")
session = pay.initiate(order.id, provider="fake")
thread = threading.Thread(target=pay.authorize, args=(session.id,))
thread.start()
entered.wait()
if os.fork() == 0:
    pay.close()  # it does not wait for a thread that only its parent has
    os._exit(7)
print(os.waitstatus_to_exitcode(os.wait()[1]))
held, end = threading.Event(), threading.Event()
def load():
    with _loading:
        held.set()
        end.wait(0.2)
loading = threading.Thread(target=load)
loading.start()
held.wait()
if os.fork() == 0:
    os._exit(7 if _loading.acquire(blocking=False) else 1)
print(os.waitstatus_to_exitcode(os.wait()[1]))
go.set()
thread.join()
loading.join()
pay.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_child_waits_for_no_thread_of_its_parent():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKED], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.split(), done.stderr) == (["7", "7"], "")
