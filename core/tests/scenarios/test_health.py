"""How payments are: each figure by itself, and all of them through an outage of a gateway under load."""

import logging
from datetime import timedelta

import pytest
from attrs import evolve

from helpers import eur
from paysession import (
    CursorLost,
    InvalidData,
    NotApplied,
    OutcomeUnknown,
    Payments,
    PaysessionError,
    StoreError,
    hookimpl,
)
from paysession._plugins.registry import Registry
from paysession.outcome import Effect, Snapshot
from paysession_testing import FakeProvider

SECOND = timedelta(seconds=1)


def attempt(call, *args, **kwargs):
    try:
        return call(*args, **kwargs)
    except PaysessionError as error:
        return error


def lose(told, session):
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    told.fake.snapshot = NotApplied("no connection")
    attempt(told.payments.capture, session.id)


def test_all_is_well_where_nothing_is_wrong(told):
    told.session("captured")
    health = told.payments.health()
    assert (health.failing, health.problems, health.store) == (False, (), None)
    assert (health.in_doubt, health.oldest_doubt, health.needs_operator) == (0, None, 0)
    assert (health.recovery_lag, health.inbox_lag, health.feed_lag) == (0 * SECOND, 0 * SECOND, None)


def test_a_provider_that_sessions_wait_for_is_to_be_selected(told):
    session = told.session("requires_more")
    another = Payments(told.store, Registry({"another": FakeProvider()}))
    health = another.health()
    assert (health.failing, health.unselected) == (False, ("fake",))
    assert health.problems == ("sessions wait for the provider fake, which is not selected",)
    assert told.payments.health().unselected == ()
    assert Payments(told.store, Registry({})).health().unselected == ()  # a probe of the database
    told.payments.cancel(session.id)
    assert another.health().problems == ()


def test_doubt_is_a_problem_once_it_lasts(told):
    lose(told, told.session())
    told.clock.forward(minutes=2)
    told.payments.recover()
    health = told.payments.health()
    assert (health.in_doubt, health.oldest_doubt, health.problems) == (1, timedelta(minutes=2), ())
    health = told.payments.health(max_doubt=timedelta(minutes=1))
    assert (health.failing, health.problems) == (False, ("an operation has been in doubt for 120 s",))


def test_recovery_that_does_not_run_is_failing(told):
    lose(told, told.session())
    told.clock.forward(minutes=4)
    assert not told.payments.health().failing
    told.clock.forward(minutes=4)
    health = told.payments.health()
    assert (health.failing, health.problems) == (True, ("recovery is 475 s behind",))
    told.payments.recover()
    assert told.payments.health().recovery_lag == 0 * SECOND


def test_notifications_that_nobody_processes_are_failing(told):
    session = told.session("requires_more")
    headers, body = told.fake.webhook(session.id)
    told.payments.handle_webhook("fake", headers=headers, body=body, settle=False)
    told.clock.forward(minutes=6)
    health = told.payments.health()
    assert (health.inbox_lag, health.failing) == (timedelta(minutes=6), True)
    assert "the inbox is 360 s behind" in health.problems
    told.payments.recover()
    assert told.payments.health().inbox_lag == 0 * SECOND


def test_a_reader_of_the_feed_is_measured_by_its_cursor(told):
    told.session()
    first, last = told.payments.events()
    told.clock.forward(minutes=7)
    assert told.payments.health(after=last.cursor).feed_lag == 0 * SECOND
    health = told.payments.health(after=first.cursor)
    assert (health.feed_lag, health.problems) == (
        timedelta(minutes=7),
        ("the feed's reader is 420 s behind",),
    )
    with pytest.raises(InvalidData):
        told.payments.health(after="nonsense")
    with pytest.raises(CursorLost):
        told.payments.health(after="99-abcdefgh")


def test_what_is_left_to_an_operator_is_counted_and_is_no_failure(told):
    session = told.session("captured")
    told.payments.refund(session.id)
    charged = Effect("chargeback", eur("42.00"), reference="dp_1")
    told.fake.snapshot = Snapshot("authorized", effects=[charged])
    told.payments.sync(session.id)
    headers, body = told.fake.webhook("ps_unknown")
    told.payments.handle_webhook("fake", headers=headers, body=body)
    health = told.payments.health()
    assert (health.conflicts, health.unmatched, health.failing) == (1, 1, False)
    two = evolve(health, conflicts=2, unmatched=2).judged(timedelta(0), timedelta(0))
    assert two.problems == ("2 conflicts are open", "2 notifications match no session")
    assert health.problems == ("1 conflict is open", "1 notification matches no session")


def test_an_operation_that_no_gateway_can_settle_is_counted_and_known_without_the_provider(make_told):
    told = make_told(lookup="none", replay_window=timedelta(0))
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    attempt(told.payments.capture, session.id)
    told.clock.forward(minutes=1)
    told.payments.recover()
    assert told.payments.health().problems == ("1 operation needs an operator",)
    (row,) = told.payments.in_doubt()
    assert (row.provider, row.reference, row.needs_operator) == ("fake", "order-1", True)

    def unavailable(name):
        raise StoreError("its secret is not here")

    told.payments._registry.provider = unavailable
    (row,) = told.payments.in_doubt()
    assert row.needs_operator


def test_doubt_that_a_gateway_can_settle_needs_no_operator_where_the_provider_is_unavailable(told):
    lose(told, told.session())

    def unavailable(name):
        raise StoreError("its secret is not here")

    told.payments._registry.provider = unavailable
    (row,) = told.payments.in_doubt()
    assert not row.needs_operator


def test_a_database_that_cannot_be_read_is_a_figure(told):
    def broken():
        raise StoreError("the database cannot be reached")

    told.store.now = broken
    health = told.payments.health()
    assert (health.failing, health.store) == (True, "the database cannot be reached")
    assert health.problems == ("the database: the database cannot be reached",)


def test_a_limit_that_is_none_is_refused(told):
    with pytest.raises(InvalidData, match="max_lag is a timedelta"):
        told.payments.health(max_lag=300)


def test_what_only_reads_needs_no_providers_secret(tmp_path):
    pytest.importorskip("paysession_sql")
    pytest.importorskip("paysession_stripe")
    settings = {"providers": {"stripe": {}}, "environ": {}}
    with Payments.open(f"sqlite:///{tmp_path}/l.db", load_providers=False, **settings) as payments:
        assert (payments.in_doubt(), payments.events(), payments.health().problems) == ((), (), ())
    with pytest.raises(PaysessionError):
        Payments.open("memory:", **settings)


# --- an outage under load --------------------------------------------------------------------------


class Gateway(FakeProvider):
    """A gateway that can be down: then a request is refused, or its answer is lost, and no lookup works."""

    def __init__(self):
        super().__init__()
        self.down, self.requests = False, 0
        self.refused, self.lost = [], []

    def _answer(self, operation, act):
        if not self.down:
            return super()._answer(operation, act)
        self.requests += 1
        if self.requests % 2:
            self.refused.append(operation.id)
            raise NotApplied("connection refused")
        if operation.id not in self.lost:
            self.lost.append(operation.id)
        if self.requests % 4:
            super()._answer(operation, act)  # it was carried out, and the answer did not arrive
        raise OutcomeUnknown("no answer in time")

    @hookimpl
    def retrieve(self, session):
        if self.down:
            raise NotApplied("connection refused")
        return super().retrieve(session)


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def records():
    logger, handler = logging.getLogger("paysession"), Kept()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.records
    logger.removeHandler(handler)
    logger.setLevel(level)


class Load:
    """A shop under load: every ten seconds one more order is paid and captured, and recovery runs."""

    def __init__(self, shop):
        self.shop, self.number = shop, 0

    def run(self, seconds):
        for _ in range(seconds // 10):
            self.shop.clock.forward(seconds=10)
            self.pay()
            self.shop.payments.recover()

    def pay(self):
        pay, self.number = self.shop.payments, self.number + 1
        order = pay.create_collection(eur("42.00"), reference=f"order {self.number}")
        begun = attempt(pay.initiate, order.id, provider="fake", idempotency_key="k")
        if isinstance(begun, PaysessionError):
            return
        attempt(pay.authorize, begun.id)
        attempt(pay.capture, begun.id, idempotency_key="k")


def by_event(records, name):
    return [row for row in records if getattr(row, "payment_event", None) == name]


def test_an_outage_of_three_minutes_shows_in_logs_feed_and_health_and_leaves_nothing(make_shop, records):
    shop = make_shop(Gateway())
    load, pay, gateway = Load(shop), shop.payments, shop.fake
    load.run(60)
    before = pay.health()
    assert (records, before.problems) == ([], ())
    # Some are authorized when it begins, and captured while it lasts.
    waiting = []
    for number in range(6):
        order = pay.create_collection(eur("42.00"), reference=f"waiting {number}")
        waiting.append(pay.authorize(pay.initiate(order.id, provider="fake").id))

    gateway.down = True
    for session in waiting:
        attempt(pay.capture, session.id, idempotency_key="w")
        load.run(30)
    outage = list(records)
    lost = list(gateway.lost)
    assert len(lost) > 5
    began = by_event(outage, "operation.in_doubt")
    assert [row.operation_id for row in began] == lost
    assert {row.levelname for row in began} == {"WARNING"}
    refused = by_event(outage, "operation.failed")
    assert {row.levelname for row in refused} == {"INFO"}
    assert {row.operation_id for row in refused} == set(gateway.refused) - set(lost)
    assert not by_event(outage, "operation.settled")
    health = pay.health()
    assert (health.in_doubt, health.needs_operator, health.failing) == (len(lost), 0, False)
    assert timedelta(seconds=120) < health.oldest_doubt <= timedelta(seconds=180)
    assert health.recovery_lag <= timedelta(seconds=10)
    assert pay.health(max_doubt=timedelta(minutes=1)).problems == (
        f"an operation has been in doubt for {health.oldest_doubt.total_seconds():.0f} s",
    )

    gateway.down = False
    load.run(600)
    settled = by_event(records, "operation.settled")
    assert sorted(row.operation_id for row in settled) == sorted(lost)
    assert {row.levelname for row in settled} == {"INFO"}
    others = [row for row in records if not hasattr(row, "payment_event")]
    assert all(row.levelname == "INFO" and "is not settled" in row.getMessage() for row in others)
    events = [event for event in pay.events(limit=1000) if event.type.startswith("operation.")]
    for name, ids in (("operation.in_doubt", lost), ("operation.settled", lost)):
        assert sorted(row.operation_id for row in events if row.type == name) == sorted(ids)
    after = pay.health()
    assert evolve(after, at=before.at) == before
    count = len(records)
    load.run(600)
    assert len(records) == count
    for session in pay.sessions(limit=1000):
        assert session.captured == gateway.total(session.id, "capture")
