"""A gateway that hangs: its callers are answered in time, nothing is lost or sent twice, the others go on."""

import asyncio
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from paysession import (
    AsyncPayments,
    Capabilities,
    MemoryStore,
    Money,
    NotApplied,
    OutcomeUnknown,
    Payments,
    SessionBusy,
    SettingsError,
    hookimpl,
)
from paysession._engine import lanes
from paysession._plugins.registry import Registry
from paysession.payments import CALL_DEADLINE
from paysession_testing import FakeProvider

PATIENCE = timedelta(seconds=20)
"""As long as anything takes on however busy a machine."""


class Hanging(FakeProvider):
    """A gateway that does not answer some of its calls before a test lets it."""

    def __init__(self, *hooks, **options):
        super().__init__(**options)
        self.hooks, self.entered, self.go = set(hooks), threading.Semaphore(0), threading.Event()
        self.seen, self.looked = [], threading.Semaphore(0)

    def _answer(self, operation, act):
        self.seen.append(operation)
        if operation.kind in self.hooks:
            self.entered.release()
            assert self.go.wait(20)
        return super()._answer(operation, act)

    @hookimpl
    def retrieve(self, session, operation):
        self.looked.release()
        if "retrieve" in self.hooks:
            self.entered.release()
            assert self.go.wait(20)
        return super().retrieve(session)


def opened(provider, deadline=PATIENCE, **others):
    registry = Registry({"fake": provider, **others})
    return Payments(MemoryStore(), registry, call_deadline=deadline)


@contextmanager
def impatient(pay):
    """A block in which callers wait for a moment: for what does not come while they wait."""
    pay._calls.patience = 0.02
    yield
    pay._calls.patience = PATIENCE.total_seconds()


@contextmanager
def given_up(pay, fake):
    """A block in which callers wait until a hook of the gateway hangs, and no longer."""
    wait = lanes._Call.wait

    def until_it_hangs(call, seconds):
        end = time.monotonic() + 20
        while call._answer.empty():
            if fake.entered.acquire(timeout=0.001):
                pay._calls._here.end, seconds = time.monotonic(), 0
                break
            assert time.monotonic() < end
        return wait(call, seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes._Call, "wait", until_it_hangs)
        yield


def begun(pay, reference="r", provider="fake"):
    order = pay.create_collection(Money("42.00", "EUR"), reference=reference)
    return pay.initiate(order.id, provider=provider)


def ended(pay):
    """Wait until what goes on without its caller has ended."""
    end = time.monotonic() + 20
    while any(lane.running for lane in pay.lanes()):
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_caller_is_answered_in_time_and_the_call_goes_on():
    fake = Hanging("capture")
    with opened(fake) as pay:
        session = pay.authorize(begun(pay).id)
        with (
            given_up(pay, fake),
            pytest.raises(OutcomeUnknown, match="within the time of this call") as caught,
        ):
            pay.capture(session.id, Money("10.00", "EUR"), idempotency_key="k")
        assert caught.value.operation_id == pay.get(session.id).open
        with pytest.raises(SessionBusy, match="in flight"):
            pay.capture(session.id, Money("1.00", "EUR"))
        fake.go.set()
        ended(pay)
        assert (pay.get(session.id).captured, pay.get(session.id).open) == (1000, None)
        assert pay.capture(session.id, Money("10.00", "EUR"), idempotency_key="k").captured == 1000
    assert [row.kind for row in fake.ledger] == ["authorize", "capture"]


def test_what_goes_on_records_a_refusal_as_well():
    fake = Hanging("capture")
    with opened(fake) as pay:
        session = pay.authorize(begun(pay).id)
        fake.fail_next("declined", kind="capture")
        with given_up(pay, fake), pytest.raises(OutcomeUnknown):
            pay.capture(session.id)
        fake.go.set()
        ended(pay)
        assert pay.history(session.id)[-1].state == "declined"
        assert pay.get(session.id).open is None


def test_a_lookup_is_a_part_of_the_callers_time_and_takes_no_longer():
    fake = Hanging("retrieve")
    with opened(fake) as pay:
        session = pay.authorize(begun(pay).id)
        fake.fail_next("lost_answer", kind="capture")
        with given_up(pay, fake), pytest.raises(OutcomeUnknown):
            pay.capture(session.id)
        with impatient(pay), pytest.raises(OutcomeUnknown, match="time of this call"):
            pay.sync(session.id)
        fake.hooks.clear()
        fake.go.set()
        ended(pay)


def test_what_goes_on_looks_the_operation_up_for_as_long_again_and_no_longer():
    class Hidden(Hanging):
        shown = threading.Event()

        @hookimpl
        def retrieve(self, session, operation):
            assert self.shown.wait(20)
            return FakeProvider.retrieve(self, session)

    fake = Hidden("capture")
    with opened(fake) as pay:
        session = pay.authorize(begun(pay).id)
        fake.fail_next("lost_answer", kind="capture")
        with given_up(pay, fake), pytest.raises(OutcomeUnknown):
            pay.capture(session.id)
        with impatient(pay):
            fake.go.set()
            end = time.monotonic() + 20
            while pay.in_doubt()[0].leased_until is not None:
                assert time.monotonic() < end
                time.sleep(0.001)
        fake.shown.set()
        ended(pay)
        assert pay.get(session.id).in_doubt
        assert pay.sync(session.id).captured == 4200


def test_a_lookup_sees_how_long_its_caller_waits_and_for_which_operation():
    class Looking(FakeProvider):
        asked = ()

        @hookimpl
        def retrieve(self, session, operation):
            self.asked += (operation,)
            return super().retrieve(session)

    fake = Looking()
    with opened(fake) as pay:
        session = pay.sync(begun(pay).id)
        fake.fail_next("lost_answer", kind="capture")
        pay.capture(session.id)
        nothing, capture = fake.asked
        assert nothing is None
        assert (capture.kind, 0 < capture.time_left() <= 20) == ("capture", True)


def test_what_recovery_sends_again_and_is_not_answered_in_time_is_in_progress():
    fake = Hanging("capture")
    with opened(fake) as pay:
        session = pay.authorize(begun(pay).id)
        fake.hooks.clear()
        fake.fail_next("timeout", kind="capture")
        with pytest.raises(OutcomeUnknown):
            pay.capture(session.id, Money("10.00", "EUR"))
        fake.hooks.add("capture")
        with given_up(pay, fake), pytest.raises(SessionBusy, match="in doubt"):
            pay.capture(session.id, Money("5.00", "EUR"))
        fake.go.set()
        ended(pay)
        assert pay.get(session.id).captured == 1000


def test_what_the_caller_has_no_time_left_for_is_not_begun():
    fake = FakeProvider()
    with opened(fake) as pay:
        session = pay.authorize(begun(pay).id)
        before = list(fake.calls)
        with pytest.raises(NotApplied, match="over before it was sent"):
            pay._calls.until(time.monotonic(), lambda: pay.capture(session.id))
        assert (fake.calls, pay.get(session.id)) == (before, session)


def test_closing_waits_for_what_goes_on():
    fake, closed = Hanging("capture"), threading.Event()
    pay = opened(fake)
    session = pay.authorize(begun(pay).id)
    with given_up(pay, fake), pytest.raises(OutcomeUnknown):
        pay.capture(session.id)
    store = pay._store
    closing = threading.Thread(target=lambda: (pay.close(), closed.set()))
    closing.start()
    while not pay._gate.closed:
        pass
    assert not closed.is_set()
    fake.go.set()
    closing.join(20)
    assert closed.is_set()
    assert store.session(session.id).captured == 4200


def test_a_hook_sees_how_long_its_caller_waits():
    fake = Hanging()
    with opened(fake) as pay:
        before = datetime.now(UTC)
        pay.authorize(begun(pay).id)
        for operation in fake.seen:
            assert before < operation.deadline <= datetime.now(UTC) + timedelta(seconds=20)
            assert 0 < operation.time_left() <= 20
    with opened(fake, None) as pay:
        begun(pay)
    assert (fake.seen[-1].deadline, fake.seen[-1].time_left()) == (None, None)


def test_a_hook_whose_own_limit_is_shorter_is_called_in_the_callers_thread():
    class Quick(Hanging):
        @property
        def capabilities(self):
            return Capabilities(call_limit=timedelta(seconds=2))

        @capabilities.setter
        def capabilities(self, _):
            pass

        def _answer(self, operation, act):
            self.seen.append(threading.get_ident())
            return FakeProvider._answer(self, operation, act)

    fake = Quick()
    with opened(fake, timedelta(seconds=5)) as pay:
        begun(pay)
        assert pay.lanes() == ()
    assert fake.seen == [threading.get_ident()]


def test_a_gateway_that_hangs_holds_up_so_many_threads_and_no_more(monkeypatch):
    monkeypatch.setattr(lanes, "MOST_LATE", 2)
    fake = Hanging("authorize")
    with opened(fake) as pay:
        sessions = [begun(pay, f"{n}") for n in range(3)]
        for session in sessions[:2]:
            with given_up(pay, fake), pytest.raises(OutcomeUnknown):
                pay.authorize(session.id)
        with pytest.raises(NotApplied, match="2 calls to fake are not answered yet"):
            pay.authorize(sessions[2].id)
        (lane,) = pay.lanes()
        assert (lane.name, lane.running, lane.late) == ("fake", 2, 2)
        fake.go.set()
        ended(pay)
        assert pay.authorize(sessions[2].id).status == "authorized"
        assert [pay.get(row.id).status for row in sessions] == ["authorized"] * 3
    assert len(fake.ledger) == 3


def no_more_threads(patch):
    def start(_):
        raise RuntimeError("can't start new thread")

    patch.setattr(threading.Thread, "start", start)


def test_a_call_for_which_no_thread_could_be_started_was_not_sent_and_is_not_later(monkeypatch):
    fake = Hanging("authorize")
    with opened(fake, None) as pay:
        first, second = begun(pay, "1"), begun(pay, "2")
        pay._calls.patience = PATIENCE.total_seconds()  # from now on a thread calls the gateway
        with given_up(pay, fake), pytest.raises(OutcomeUnknown):
            pay.authorize(first.id)
        no_more_threads(monkeypatch)
        with pytest.raises(NotApplied, match="no thread could call fake: can't start new thread"):
            pay.authorize(second.id)
        with pytest.raises(OutcomeUnknown, match="no thread could query fake: can't start new thread"):
            pay.sync(second.id)
        fake.go.set()
        ended(pay)
        monkeypatch.undo()
        assert pay.authorize(second.id).status == pay.get(first.id).status == "authorized"
        assert [row.state for row in pay.history(second.id)] == ["succeeded", "not_applied", "succeeded"]
    assert [row.kind for row in fake.ledger] == ["authorize"] * 2


def test_an_exception_in_the_caller_leaves_the_answer_to_the_thread(monkeypatch):
    class Stopped(BaseException):
        pass

    fake = Hanging("capture")
    with opened(fake) as pay:
        session = pay.authorize(begun(pay).id)
        queue = lanes.SimpleQueue

        class Interrupted:
            def __init__(self):
                self.put = queue().put

            def get(self, timeout=None):
                assert fake.entered.acquire(timeout=20)
                raise Stopped

        monkeypatch.setattr(lanes, "SimpleQueue", Interrupted)
        with pytest.raises(Stopped):
            pay.capture(session.id)
        monkeypatch.undo()
        fake.go.set()
        ended(pay)
        assert pay.get(session.id).captured == 4200


def test_the_default_is_25_seconds_and_a_file_may_say_another(tmp_path):
    assert timedelta(seconds=25) == CALL_DEADLINE
    file = tmp_path / "paysession.toml"
    file.write_text('store = "memory:"\ncall_deadline = 7.5\n')
    for options, seconds in (
        ({}, 7.5),
        ({"call_deadline": timedelta(seconds=3)}, 3),
        ({"call_deadline": None}, None),
    ):
        with Payments.open(
            config=str(file), providers={"fake": FakeProvider()}, environ={}, **options
        ) as pay:
            assert pay._calls.patience == seconds
    with Payments.open("memory:", providers={"fake": FakeProvider()}, environ={}) as pay:
        assert pay._calls.patience == 25


@pytest.mark.parametrize("value", [timedelta(0), timedelta(seconds=-1), "25", True, float("nan"), 1e9])
def test_a_deadline_that_makes_no_sense_is_refused(value):
    with pytest.raises(SettingsError, match="call_deadline is a time"):
        Payments.open("memory:", providers={"fake": FakeProvider()}, environ={}, call_deadline=value)


# --- asyncio --------------------------------------------------------------------------------------


def test_reads_other_providers_and_notifications_do_not_wait_behind_a_gateway_that_hangs():
    hanging, other = Hanging("authorize"), FakeProvider()

    async def live():
        pay = AsyncPayments(opened(hanging, other=other), max_workers=2)
        async with pay:
            orders = [await pay.create_collection(Money("42.00", "EUR"), reference=f"{n}") for n in range(5)]
            sessions = [await pay.initiate(order.id, provider="fake") for order in orders[:4]]
            calls = [asyncio.create_task(pay.authorize(session.id)) for session in sessions]
            for _ in range(2):
                assert await asyncio.to_thread(hanging.entered.acquire, timeout=20)
            assert (await pay.get(sessions[3].id)).status == "requires_more"
            session = await pay.initiate(orders[4].id, provider="other")
            assert (await pay.authorize(session.id)).status == "authorized"
            headers, body = hanging.webhook(sessions[3].id)
            reply = await pay.handle_webhook("fake", headers=headers, body=body, settle=False)
            assert reply.status == 200
            (lane,) = [lane for lane in await pay.lanes() if lane.name == "fake"]
            assert (lane.limit, lane.running, lane.waiting) == (2, 2, 2)
            hanging.go.set()
            assert [row.status for row in await asyncio.gather(*calls)] == ["authorized"] * 4
            names = [lane.name for lane in await pay.lanes()]
            assert names == ["store", "webhooks", "fake", "other"]

    asyncio.run(live())


async def behind_one(pay, fake):
    """Have the only thread of a provider busy; return the call that it carries out, and another session."""
    orders = [await pay.create_collection(Money("42.00", "EUR"), reference=f"{n}") for n in range(2)]
    first, second = [await pay.initiate(order.id, provider="fake") for order in orders]
    running = asyncio.create_task(pay.authorize(first.id))
    assert await asyncio.to_thread(fake.entered.acquire, timeout=20)
    return running, second


def test_a_call_that_waited_in_line_for_all_of_its_time_was_not_begun():
    fake = Hanging("authorize")

    async def live():
        async with AsyncPayments(opened(fake), max_workers=1) as pay:
            running, second = await behind_one(pay, fake)
            with impatient(pay), pytest.raises(NotApplied, match="all 1 threads for fake were busy"):
                await pay.authorize(second.id)
            fake.go.set()
            await running
            assert [row.kind for row in await pay.history(second.id)] == ["initiate"]

    asyncio.run(live())


def test_a_task_that_is_cancelled_in_line_is_not_begun():
    fake = Hanging("authorize")

    async def live():
        async with AsyncPayments(opened(fake), max_workers=1) as pay:
            running, second = await behind_one(pay, fake)
            waiting = asyncio.create_task(pay.authorize(second.id))
            while not any(lane.waiting for lane in await pay.lanes()):
                await pay.get(second.id)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            fake.go.set()
            await running
            assert [row.kind for row in await pay.history(second.id)] == ["initiate"]

    asyncio.run(live())


def test_a_task_for_which_no_thread_could_be_started_is_not_begun_later(monkeypatch):
    fake = Hanging("authorize")
    payments = opened(fake, None)
    session = begun(payments)
    other = payments.create_collection(Money("42.00", "EUR"), reference="other")

    async def live():
        async with AsyncPayments(payments) as pay:
            running = asyncio.create_task(pay.authorize(session.id))
            assert await asyncio.to_thread(fake.entered.acquire, timeout=20)
            with monkeypatch.context() as patch:
                no_more_threads(patch)
                with pytest.raises(NotApplied, match="no thread could be started for fake"):
                    await pay.initiate(other.id, provider="fake")
            fake.go.set()
            await running

    asyncio.run(live())
    assert [operation.kind for operation in fake.seen] == ["initiate", "authorize"]


def test_a_notification_is_stored_and_acknowledged_while_the_gateway_hangs():
    fake = Hanging("retrieve")

    async def live():
        async with AsyncPayments(opened(fake)) as pay:
            order = await pay.create_collection(Money("42.00", "EUR"), reference="r")
            session = await pay.initiate(order.id, provider="fake")
            headers, body = fake.webhook(session.id)
            with impatient(pay):
                assert (await pay.handle_webhook("fake", headers=headers, body=body)).status == 200
            fake.go.set()

    asyncio.run(live())
