"""A clock that is set while a request is in flight, or in doubt, leads to no second effect."""

import os
import threading
from datetime import UTC, datetime, timedelta

import pytest

from paysession import (
    Capabilities,
    MemoryStore,
    Money,
    NotApplied,
    Outcome,
    OutcomeUnknown,
    Payments,
    SessionBusy,
    hookimpl,
)
from paysession._engine.elapsed import Elapsed, InFlight, is_in_flight, stopwatch
from paysession._plugins.registry import Registry
from paysession.outcome import Effect, Snapshot

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AMOUNT = Money("42.00", "EUR")


class Machine:
    """A machine's clock and its stopwatch: time passes on both, and the clock can be set besides."""

    def __init__(self):
        self.clock, self.seconds = NOON, 0.0

    def now(self):
        return self.clock

    def stopwatch(self):
        return self.seconds

    def passes(self, **duration):
        self.clock += timedelta(**duration)
        self.seconds += timedelta(**duration).total_seconds()

    def set(self, **by):
        self.clock += timedelta(**by)


class Gateway:
    """A gateway that shows every effect at once; ``meanwhile`` happens while a capture is in flight."""

    def __init__(self, **options):
        self.capabilities = Capabilities(capture="multiple", lookup="consistent", **options)
        self.effects = []
        self.meanwhile = bool
        self.looked = bool
        self.lost = None

    @hookimpl
    def initiate(self):
        return Outcome.pending(reference="gw")

    @hookimpl
    def authorize(self):
        return Outcome.authorized()

    @hookimpl
    def cancel(self):
        return Outcome.canceled()

    @hookimpl
    def capture(self, operation):
        self.meanwhile()
        if self.lost is not None:
            raise self.lost
        reference = f"c{len(self.effects) + 1}"
        self.effects.append(Effect("capture", operation.amount, "succeeded", reference, operation.key))
        return Outcome.captured(operation.amount, reference=reference)

    @hookimpl
    def retrieve(self, session):
        captured = sum(effect.amount.minor for effect in self.effects)
        shown = Snapshot(
            "authorized",
            authorized=session.amount,
            captured=Money.from_minor(captured, "EUR"),
            effects=list(self.effects),
            session_id=session.id,
        )
        self.looked()
        return shown


class Hosts:
    """Two processes, as far as they can be told apart here, on the same ledger and machine."""

    def __init__(self, store=MemoryStore, **options):
        self.machine = Machine()
        self.gateway = Gateway(**options)
        self.store = store(clock=self.machine.now)
        self.one, self.two = self.started(), self.started()
        order = self.one.create_collection(AMOUNT, reference="order-1")
        session = self.one.initiate(order.id, provider="gate", capture="manual")
        self.session_id = self.one.authorize(session.id).id

    def started(self):
        registry = Registry({"gate": self.gateway})
        return Payments(self.store, registry, stopwatch=self.machine.stopwatch)

    def capture(self, payments):
        return payments.capture(self.session_id, idempotency_key="parcel-1")

    def operation(self):
        return self.one.history(self.session_id)[-1]


# --- a request in flight ---------------------------------------------------------------------------


@pytest.fixture
def trusting():
    """Return a host whose clock is moved, and has no stopwatch: what a test's ``clock=`` is."""
    hosts = Hosts(call_limit=timedelta(seconds=10))
    hosts.one = Payments(hosts.store, Registry({"gate": hosts.gateway}))
    return hosts


def test_what_is_unanswered_in_this_process_is_never_presumed_absent(trusting):
    seen = []

    def meanwhile():
        trusting.gateway.meanwhile = bool
        trusting.machine.set(days=2)
        trusting.one.recover()
        with pytest.raises(OutcomeUnknown):
            trusting.capture(trusting.one)
        seen.append(trusting.operation().state)

    trusting.gateway.meanwhile = meanwhile
    with pytest.raises(SessionBusy, match="lost its lease"):
        trusting.capture(trusting.one)
    trusting.machine.set(hours=1)
    trusting.one.recover()
    assert seen == ["started"]
    assert trusting.capture(trusting.one).captured == 4200
    assert len(trusting.gateway.effects) == 1


def test_an_answer_during_the_lookup_is_no_proof_of_absence(trusting):
    answered, looked = threading.Event(), threading.Event()

    def answer_during_the_lookup():
        trusting.gateway.looked = bool
        looked.set()
        assert answered.wait(10)

    def recover_meanwhile():
        trusting.gateway.meanwhile = bool
        trusting.machine.set(days=2)
        trusting.gateway.looked = answer_during_the_lookup
        recovery.start()
        assert looked.wait(10)

    recovery = threading.Thread(target=trusting.one.recover)
    trusting.gateway.meanwhile = recover_meanwhile
    with pytest.raises(SessionBusy):
        trusting.capture(trusting.one)
    answered.set()
    recovery.join(10)
    assert trusting.operation().state == "started"
    trusting.machine.set(hours=1)
    trusting.one.recover()
    assert (trusting.one.get(trusting.session_id).captured, len(trusting.gateway.effects)) == (4200, 1)


def test_a_clock_set_forward_does_not_take_the_senders_turn():
    hosts = Hosts(call_limit=timedelta(seconds=10))

    def meanwhile():
        hosts.machine.set(minutes=12)
        hosts.two.recover()
        with pytest.raises(SessionBusy, match="in flight"):
            hosts.capture(hosts.two)
        with pytest.raises(SessionBusy, match="in flight"):
            hosts.two.resolve(hosts.operation().id, NotApplied("I think"), note="ann")

    hosts.gateway.meanwhile = meanwhile
    assert hosts.capture(hosts.one).captured == 4200
    assert (hosts.operation().attempt, len(hosts.gateway.effects)) == (1, 1)


def test_a_process_that_was_paused_sends_nothing_though_the_clock_was_set_back():
    hosts = Hosts(call_limit=timedelta(seconds=10))
    commit = hosts.store.commit

    def paused_after_begin(change):
        commit(change)
        hosts.store.commit = commit
        hosts.machine.passes(minutes=20)
        hosts.machine.set(minutes=-20)

    hosts.store.commit = paused_after_begin
    with pytest.raises(NotApplied, match="paused"):
        hosts.capture(hosts.one)
    assert hosts.gateway.effects == []


def test_a_child_process_forgets_the_requests_of_its_parent():
    with InFlight("ps_1-1"):
        child = os.fork()
        if not child:
            os._exit(0 if not is_in_flight("ps_1-1") else 1)
        assert os.waitpid(child, 0)[1] == 0
        with InFlight("ps_1-1"):
            pass
        assert is_in_flight("ps_1-1")
    assert not is_in_flight("ps_1-1")


# --- an operation in doubt -------------------------------------------------------------------------


@pytest.fixture
def doubted():
    hosts = Hosts()
    hosts.gateway.lost = OutcomeUnknown("timeout")
    with pytest.raises(OutcomeUnknown):
        hosts.capture(hosts.one)
    hosts.gateway.lost = None
    return hosts


def test_a_clock_set_forward_does_not_end_the_doubt_early(doubted):
    doubted.machine.passes(seconds=30)
    doubted.machine.set(minutes=12)
    for host in (doubted.one, doubted.two):
        doubted.machine.passes(minutes=3)
        host.recover()
        assert doubted.operation().state == "started"
        assert [row.needs_operator for row in host.in_doubt()] == [False]
    doubted.machine.passes(minutes=10)
    doubted.two.recover()
    assert doubted.operation().state == "not_applied"


def test_a_process_that_started_after_the_clock_was_set_goes_by_the_clock(doubted):
    doubted.machine.passes(seconds=30)
    doubted.machine.set(minutes=12)
    doubted.started().recover()
    assert doubted.operation().state == "not_applied"


def test_a_clock_set_forward_does_not_make_a_stale_refusal_an_answer():
    hosts = Hosts(replay_window=timedelta(days=1))
    hosts.gateway.lost = OutcomeUnknown("timeout")
    with pytest.raises(OutcomeUnknown):
        hosts.capture(hosts.one)
    hosts.gateway.lost = NotApplied("busy")
    hosts.machine.passes(seconds=30)
    hosts.machine.set(minutes=12)
    assert not hosts.one._recovery._none_in_flight(hosts.one._registry.provider("gate"), hosts.operation())
    hosts.machine.passes(minutes=2)
    assert hosts.one._recovery._none_in_flight(hosts.one._registry.provider("gate"), hosts.operation())


def test_a_clock_set_back_does_not_prolong_the_replay_window():
    hosts = Hosts(replay_window=timedelta(hours=1))
    hosts.gateway.lost = OutcomeUnknown("timeout")
    sent = []
    hosts.gateway.meanwhile = lambda: sent.append(hosts.machine.seconds)
    with pytest.raises(OutcomeUnknown):
        hosts.capture(hosts.one)
    hosts.machine.passes(minutes=50)
    hosts.one.recover()
    hosts.machine.set(minutes=-50)
    hosts.machine.passes(minutes=55)
    hosts.one.recover()
    assert sent == [0, 3000]


def test_a_clock_set_back_does_not_prolong_the_window_of_what_was_sent_again_since():
    hosts = Hosts(replay_window=timedelta(hours=2))
    hosts.gateway.lost = OutcomeUnknown("timeout")
    sent = []
    hosts.gateway.meanwhile = lambda: sent.append(hosts.machine.seconds)
    with pytest.raises(OutcomeUnknown):
        hosts.capture(hosts.one)
    hosts.machine.passes(minutes=30)
    hosts.machine.set(minutes=-10)
    for minutes in (0, 15):
        hosts.machine.passes(minutes=minutes)
        hosts.one.recover()
    assert sent == [0, 1800, 2700]
    hosts.machine.passes(minutes=75)
    hosts.one.recover()
    assert sent == [0, 1800, 2700]


def test_calls_go_on_after_a_clock_was_set_back():
    hosts = Hosts()
    hosts.machine.passes(minutes=100)
    hosts.one.recover()
    hosts.machine.set(minutes=-50)
    hosts.machine.passes(minutes=1)
    assert hosts.capture(hosts.one).captured == 4200


def test_a_process_that_is_paused_while_its_clock_is_set_back_sends_nothing():
    class Paused(MemoryStore):
        """The process stands still between the commit of begin and the call."""

        pause = False

        def commit(self, change):
            super().commit(change)
            if self.pause:
                self.pause = False
                hosts.machine.passes(seconds=31)
                hosts.machine.set(minutes=-50)

    hosts = Hosts(store=Paused)
    hosts.store.pause = True
    with pytest.raises(NotApplied, match="paused"):
        hosts.capture(hosts.one)
    assert hosts.gateway.effects == []
    assert hosts.capture(hosts.one).captured == 4200


def test_nothing_is_repeated_while_a_lagging_lookup_may_miss_it():
    hosts = Hosts(replay_window=timedelta(days=1))
    hosts.gateway.capabilities = Capabilities(
        capture="multiple",
        replay_window=timedelta(days=1),
        lookup="lagging",
        lookup_lag=timedelta(minutes=5),
    )
    hosts.one, hosts.two = hosts.started(), hosts.started()
    sent = []
    hosts.gateway.meanwhile = lambda: sent.append(hosts.machine.seconds)
    hosts.gateway.lost = OutcomeUnknown("timeout")
    with pytest.raises(OutcomeUnknown):
        hosts.capture(hosts.one)
    hosts.machine.set(minutes=12)
    hosts.two.recover()
    assert sent == [0]
    hosts.machine.passes(minutes=6)
    hosts.two.recover()
    assert sent == [0, 360]


def test_a_lagging_lookup_lags_by_the_stopwatch():
    hosts = Hosts()
    hosts.gateway.capabilities = Capabilities(
        capture="multiple", lookup="lagging", lookup_lag=timedelta(minutes=5)
    )
    hosts.one, hosts.two = hosts.started(), hosts.started()
    hosts.capture(hosts.one)
    hosts.gateway.effects.clear()  # it does not show the capture yet
    hosts.machine.set(minutes=12)
    session = hosts.two.sync(hosts.session_id)
    assert (session.captured, session.conflict) == (4200, None)


# --- the stopwatch by itself -----------------------------------------------------------------------


@pytest.fixture
def machine():
    """Return a machine that has run for a day."""
    machine = Machine()
    machine.seconds = 86_400.0
    return machine


@pytest.fixture
def elapsed(machine):
    return Elapsed(machine.now, machine.stopwatch)


def seconds(*durations):
    return [duration.total_seconds() for duration in durations]


def test_without_a_stopwatch_the_clock_is_trusted(machine):
    elapsed = Elapsed(machine.now)
    machine.set(minutes=12)
    assert seconds(elapsed.at_least(NOON), elapsed.at_most(NOON)) == [720, 720]
    assert elapsed.at_least(NOON + timedelta(hours=1)) == timedelta(0)


def test_time_that_passes_on_both_is_time(machine, elapsed):
    machine.passes(minutes=12)
    assert seconds(elapsed.at_least(NOON), elapsed.at_most(NOON)) == [720, 720]


def test_what_a_clock_is_set_forward_by_has_not_certainly_passed(machine, elapsed):
    machine.passes(seconds=5)
    machine.set(minutes=12)
    machine.passes(seconds=5)
    assert seconds(elapsed.at_least(NOON), elapsed.at_most(NOON)) == [10, 730]
    later = elapsed.now() + timedelta(seconds=1)
    machine.passes(seconds=3)
    assert seconds(elapsed.at_least(later), elapsed.at_most(later)) == [2, 2]


def test_what_a_clock_is_set_back_by_can_have_passed(machine, elapsed):
    machine.passes(minutes=12)
    machine.set(minutes=-12)
    machine.passes(seconds=5)
    assert seconds(elapsed.at_least(NOON), elapsed.at_most(NOON)) == [5, 725]
    machine.passes(hours=1)
    later = elapsed.now()
    machine.passes(seconds=3)
    assert seconds(elapsed.at_least(later), elapsed.at_most(later)) == [3, 3]


def test_a_clock_that_is_set_back_as_soon_as_it_was_read_has_not_gone_back_since(machine, elapsed):
    reading = elapsed.reading()
    machine.set(minutes=-12)
    assert elapsed.at_most(NOON) == timedelta(0)
    assert not elapsed.is_after(NOON + timedelta(seconds=1), NOON, reading)
    machine.passes(seconds=1)
    assert not elapsed.is_after(NOON + timedelta(seconds=1), NOON, reading)
    machine.passes(seconds=1)
    assert elapsed.is_after(NOON + timedelta(seconds=1), NOON, reading)


def test_a_time_is_over_by_the_clock_alone_if_that_was_set_forward(machine, elapsed):
    reading = elapsed.reading()
    machine.set(seconds=2)
    assert elapsed.is_after(NOON + timedelta(seconds=1), NOON, reading)
    assert not elapsed.is_after(NOON + timedelta(seconds=3), NOON, reading)


def test_without_a_stopwatch_the_clock_says_when_a_time_is_over(machine):
    elapsed = Elapsed(machine.now)
    reading = elapsed.reading()
    machine.passes(seconds=2)
    assert elapsed.is_after(NOON + timedelta(seconds=1), NOON, reading)
    machine.set(minutes=-12)
    assert not elapsed.is_after(NOON + timedelta(seconds=1), NOON, reading)


@pytest.mark.parametrize("drift", [0.9, -0.9])
def test_a_drift_below_a_second_is_no_setting(machine, elapsed, drift):
    machine.passes(seconds=5)
    machine.set(seconds=drift)
    passed = 5 + drift
    assert seconds(elapsed.at_least(NOON), elapsed.at_most(NOON)) == [passed, passed]


@pytest.mark.parametrize(("by", "passed"), [(1, [5, 6]), (-1, [4, 5])])
def test_a_second_is_a_setting(machine, elapsed, by, passed):
    machine.passes(seconds=5)
    machine.set(seconds=by)
    assert seconds(elapsed.at_least(NOON), elapsed.at_most(NOON)) == passed


def test_one_look_at_the_stopwatch_is_enough_unless_the_clock_was_set_just_now(machine):
    looks = []

    def stopwatch():
        looks.append(1)
        return machine.stopwatch()

    elapsed = Elapsed(machine.now, stopwatch)
    for by in (0, 12, -12):
        machine.passes(hours=1)
        machine.set(minutes=by)
        elapsed.now()
        looks.clear()
        machine.passes(hours=1)
        elapsed.now()
        assert len(looks) == 1


def test_two_threads_that_notice_a_setting_at_once_count_it_once(machine, elapsed):
    class Lock:
        """Another thread was faster to get it."""

        def __enter__(self):
            elapsed._lock = threading.Lock()
            elapsed.now()

        def __exit__(self, *_):
            pass

    elapsed._lock = Lock()
    machine.set(minutes=12)
    machine.passes(minutes=30)
    assert seconds(elapsed.at_least(NOON), elapsed.at_most(NOON)) == [1800, 2520]


def test_of_settings_that_are_counted_together_all_count_for_whatever_came_before_the_last(machine, elapsed):
    for _ in range(17):
        machine.passes(minutes=1)
        machine.set(minutes=2)
        elapsed.now()
    between = NOON + timedelta(minutes=4)  # after the first was noticed, and before the second was
    machine.passes(minutes=1)
    assert elapsed.at_least(between) <= timedelta(minutes=16)


def test_many_settings_of_the_clock_stay_bounded_and_cautious(machine, elapsed):
    for _ in range(100):
        machine.set(minutes=2)
        elapsed.now()
        machine.set(minutes=-1)
        elapsed.now()
    machine.passes(seconds=7)
    assert seconds(elapsed.at_least(NOON)) == [0]
    assert elapsed.at_most(NOON) >= timedelta(minutes=200)
    assert len(elapsed._forward._rows) == len(elapsed._back._rows) == 16


@pytest.mark.parametrize("pause", [300, 1])
def test_a_thread_paused_between_two_readings_learns_nothing(machine, pause):
    def paused():
        now = machine.clock
        machine.passes(seconds=pause)
        return now

    elapsed = Elapsed(machine.now, machine.stopwatch)
    elapsed._now = paused
    elapsed.now()
    elapsed._now = machine.now
    # It read twice, because the first reading looked as if the clock had been set.
    assert seconds(elapsed.at_least(NOON), elapsed.at_most(NOON)) == [2 * pause, 2 * pause]


def test_the_machines_stopwatch_goes_on():
    first = stopwatch()
    assert stopwatch() >= first


def test_the_clock_that_a_host_gives_is_trusted_and_the_stores_own_is_not():
    with Payments.open("memory:", providers={}) as payments:
        assert payments._engine.elapsed._stopwatch is stopwatch
    with Payments.open("memory:", providers={}, clock=lambda: NOON) as payments:
        assert payments._engine.elapsed._stopwatch is None
