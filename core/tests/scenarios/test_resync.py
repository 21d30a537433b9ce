"""Querying the gateways about many sessions, and notifications that match none."""

from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from helpers import eur
from paysession import InvalidData, MemoryStore, NotApplied, OutcomeUnknown, Payments
from paysession._plugins.registry import Registry
from paysession.provider import Snapshot
from paysession_testing import FakeProvider

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def sessions(shop, count, provider="fake"):
    made = []
    for number in range(count):
        order = shop.payments.create_collection(eur("10.00"), reference=f"{provider}-{number}")
        session = shop.payments.initiate(order.id, provider=provider)
        made.append(shop.payments.authorize(session.id))
        shop.clock.forward(minutes=1)
    return sorted(made, key=lambda row: row.id)


def test_what_happened_at_the_gateway_is_recorded(shop):
    one, two, three = sessions(shop, 3)
    shop.fake.capture_in_dashboard(one.id, eur("4.00"))
    shop.fake.capture_in_dashboard(three.id, eur("5.00"))
    report = shop.payments.resync(since=LONG_AGO)
    assert (report.looked, report.changed, report.failed, report.not_queryable) == (3, 2, 0, 0)
    assert (report.unsynced, report.last, report.complete) == ((), three.id, True)
    assert [shop.payments.get(row.id).captured for row in (one, two, three)] == [400, 0, 500]
    again = shop.payments.resync(since=LONG_AGO)
    assert (again.looked, again.changed) == (3, 0)


def test_only_sessions_touched_since_and_of_the_provider_are_queried(shop):
    one, two, three = sessions(shop, 3)
    assert shop.payments.resync(since=two.updated_at).looked == 2
    assert shop.payments.resync(since=three.updated_at + timedelta(seconds=1)).looked == 0
    assert shop.payments.resync(since=one.updated_at, provider="fake").looked == 3
    assert shop.payments.resync(since=one.updated_at, provider="other").looked == 0


def test_it_goes_on_where_an_earlier_run_ended(shop):
    made = sessions(shop, 5)
    seen = []
    report = shop.payments.resync(since=LONG_AGO, limit=2, progress=seen.append)
    assert (report.looked, report.last, report.complete, seen) == (2, made[1].id, False, [report])
    report = shop.payments.resync(since=LONG_AGO, after=report.last, limit=3)
    assert (report.looked, report.last) == (3, made[4].id)
    report = shop.payments.resync(since=LONG_AGO, after=report.last)
    assert (report.looked, report.last, report.complete) == (0, made[4].id, True)


def test_a_limit_that_is_no_whole_number_of_pages_is_kept(shop, monkeypatch):
    monkeypatch.setattr("paysession._engine.resync.PAGE", 2)
    made = sessions(shop, 5)
    report = shop.payments.resync(since=LONG_AGO, limit=3)
    assert (report.looked, report.last, report.complete) == (3, made[2].id, False)


def test_it_reports_progress_by_pages_and_may_be_interrupted(shop, monkeypatch):
    monkeypatch.setattr("paysession._engine.resync.PAGE", 2)
    made = sessions(shop, 5)
    looked = []

    def interrupt(report):
        looked.append((report.looked, report.complete))
        if len(looked) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.payments.resync(since=LONG_AGO, progress=interrupt)
    assert shop.payments.resync(since=LONG_AGO, after=made[3].id, progress=interrupt).looked == 1
    assert looked == [(2, False), (4, False), (1, True)]


def test_a_failure_with_one_session_is_reported_and_does_not_stop_the_others(shop, monkeypatch):
    one, two, three, four = sessions(shop, 4)
    fails = {one.id: NotApplied("the gateway is down"), two.id: ZeroDivisionError("a fault of ours")}
    sync = shop.payments._recovery.sync

    def failing(session_id, by):
        if session_id in fails:
            raise fails[session_id]
        return sync(session_id, by)

    monkeypatch.setattr(shop.payments._recovery, "sync", failing)
    shop.fake.capture_in_dashboard(four.id, eur("4.00"))
    report = shop.payments.resync(since=LONG_AGO)
    assert (report.looked, report.changed, report.failed) == (4, 1, 2)
    assert [(row.session_id, row.provider, row.reason, row.queryable) for row in report.unsynced] == [
        (one.id, "fake", "the gateway is down", True),
        (two.id, "fake", "unexpected ZeroDivisionError; the log has it", True),
    ]
    assert shop.payments.get(four.id).captured == 400


def test_an_operation_in_doubt_is_reported(told):
    session = told.session()
    told.fake.answers["capture"] = OutcomeUnknown("reset")
    told.fake.snapshot = Snapshot("authorized")
    with pytest.raises(OutcomeUnknown):
        told.payments.capture(session.id)
    report = told.payments.resync(since=LONG_AGO)
    (row,) = report.unsynced
    assert told.key(session.id, 3) in row.reason
    assert (report.failed, row.queryable) == (1, True)


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"lookup": "none"}, "its gateway cannot be queried"), ({"local": True}, "recorded by hand")],
    ids=["no lookup", "local"],
)
def test_sessions_of_a_provider_that_cannot_be_queried_are_reported(make_shop, options, reason):
    fake = FakeProvider()
    fake.capabilities = evolve(fake.capabilities, **options)
    shop = make_shop(fake)
    (session,) = sessions(shop, 1)
    report = shop.payments.resync(since=LONG_AGO)
    assert (report.looked, report.changed, report.failed, report.not_queryable) == (1, 0, 0, 1)
    (row,) = report.unsynced
    assert (row.session_id, row.queryable) == (session.id, False)
    assert reason in row.reason


def test_sessions_of_a_provider_that_is_not_there_are_reported(shop):
    (session,) = sessions(shop, 1)
    with Payments(shop.store, Registry({"other": FakeProvider()})) as payments:
        report = payments.resync(since=LONG_AGO)
    assert (report.failed, report.unsynced[0].session_id) == (1, session.id)
    assert "fake" in report.unsynced[0].reason


def test_a_report_names_so_many_sessions_and_counts_the_rest(make_shop, monkeypatch):
    monkeypatch.setattr("paysession._engine.resync.KEPT", 2)
    shop = make_shop(FakeProvider(lookup="none"))
    made = sessions(shop, 3)
    report = shop.payments.resync(since=LONG_AGO)
    assert (report.not_queryable, [row.session_id for row in report.unsynced]) == (
        3,
        [row.id for row in made[:2]],
    )


@pytest.mark.parametrize(
    "asked",
    [
        {"since": "2026-01-01"},
        {"since": datetime(2026, 1, 1)},  # noqa: DTZ001 - that is what is refused
        {"since": None},
        {"since": LONG_AGO, "limit": 0},
        {"since": LONG_AGO, "limit": True},
        {"since": LONG_AGO, "limit": "5"},
    ],
    ids=repr,
)
def test_what_makes_no_sense_is_refused(shop, asked):
    with pytest.raises(InvalidData):
        shop.payments.resync(**asked)


# --- notifications --------------------------------------------------------------------------------


def notify(shop, session_id):
    headers, body = shop.fake.webhook(session_id)
    assert shop.payments.handle_webhook("fake", headers=headers, body=body).status == 200


def test_notifications_of_lost_sessions_are_listed(shop):
    (kept,) = sessions(shop, 1)
    notify(shop, kept.id)
    notify(shop, "ps_lost")
    (found,) = shop.payments.unmatched()
    assert (found.provider, found.session_id, found.received_at) == ("fake", "ps_lost", shop.clock.now)
    assert found.due_at is not None
    for _ in range(100):
        shop.clock.forward(hours=1)
        shop.payments.recover()
    (found,) = shop.payments.unmatched(provider="fake")
    assert found.due_at is not None  # it names a session of ours, which may be begun again
    for _ in range(30):
        shop.clock.forward(days=3)
        shop.payments.recover()
    (found,) = shop.payments.unmatched(provider="fake")
    assert found.due_at is None
    assert shop.payments.unmatched(provider="other") == shop.payments.unmatched(after=found.id) == ()


def test_a_notification_whose_session_came_back_is_listed_no_longer(shop):
    order = shop.payments.create_collection(eur("10.00"), reference="order-2")
    session = shop.payments.initiate(order.id, provider="fake", idempotency_key="k")
    other = MemoryStore(clock=shop.clock)
    other.identity = shop.store.identity
    with Payments(other, Registry({"fake": shop.fake})) as payments:
        payments.create_collection(eur("10.00"), reference="order-2")
        headers, body = shop.fake.webhook(session.id)
        payments.handle_webhook("fake", headers=headers, body=body)
        assert [row.session_id for row in payments.unmatched()] == [session.id]
        assert payments.initiate(order.id, provider="fake", idempotency_key="k").id == session.id
        assert payments.unmatched() == ()


def test_unmatched_notifications_are_paged_past_those_that_match(shop):
    (kept,) = sessions(shop, 1)
    for number in range(4):
        notify(shop, f"ps_lost{number}")
    for _ in range(4):  # they match, and cannot be settled: the gateway is down
        headers, body = shop.fake.webhook(kept.id)
        shop.payments.handle_webhook("fake", headers=headers, body=body, settle=False)
    pages, after = [], None
    while rows := shop.payments.unmatched(after=after, limit=1):
        pages += rows
        after = rows[-1].id
    assert sorted(row.session_id for row in pages) == [f"ps_lost{number}" for number in range(4)]
