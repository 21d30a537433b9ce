"""A provider whose effects are ours, such as cash at the counter: an operation is one transaction."""

import pytest
from attrs import evolve

from helpers import eur
from paysession import (
    Capabilities,
    Declined,
    InvalidAmount,
    MemoryStore,
    NotApplied,
    Outcome,
    SessionBusy,
    hookimpl,
)
from paysession.store import Stale


class Till:
    """Cash: nobody else knows of it."""

    capabilities = Capabilities(capture="multiple", refund="multiple", local=True)

    def __init__(self):
        self.fault = None
        self.seen = []

    def _done(self, session, operation, outcome):
        self.seen.append((str(operation.kind), session.version, session.status))
        if self.fault is not None:
            raise self.fault
        return outcome

    @hookimpl
    def initiate(self, session, operation):
        return self._done(session, operation, Outcome.pending(data={"till": 1}, reference="slip 1"))

    @hookimpl
    def authorize(self, session, operation):
        return self._done(session, operation, Outcome.authorized())

    @hookimpl
    def capture(self, session, operation):
        return self._done(session, operation, Outcome.captured(operation.amount))

    @hookimpl
    def refund(self, session, operation):
        return self._done(session, operation, Outcome.refunded(operation.amount))

    @hookimpl
    def cancel(self, session, operation):
        return self._done(session, operation, Outcome.canceled())


class Counting(MemoryStore):
    """A store that counts its commits, and may be taken by somebody else a few times."""

    commits = stale = 0

    def commit(self, change):
        self.commits += 1
        if self.stale:
            self.stale -= 1
            raise Stale("somebody was faster")
        super().commit(change)


class Watch:
    def __init__(self):
        self.heard = []

    @hookimpl
    def session_changed(self, before, after, operation):
        self.heard.append((before and before.version, after.version, str(operation.kind)))


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def shop(make_shop, watch):
    return make_shop(Till(), plugins=[watch], store=Counting)


def test_each_operation_is_one_commit_one_version_and_one_event(shop, watch):
    before = shop.store.commits
    session = shop.session("captured")
    session = shop.payments.refund(session.id, eur("2.00"))
    assert shop.books(session.id) == ("authorized", 4200, 4200, 200, None)
    assert (session.version, shop.store.commits - before) == (4, 4)
    assert (session.open, session.due_at, session.data, session.reference) == (
        None,
        None,
        {"till": 1},
        "slip 1",
    )
    assert shop.told() == ["session.initiated", "session.authorized", "session.captured", "session.refunded"]
    assert [event.version for event in shop.payments.events()] == [1, 2, 3, 4]
    assert watch.heard == [(None, 1, "initiate"), (1, 2, "authorize"), (2, 3, "capture"), (3, 4, "refund")]
    assert shop.fake.seen == [
        ("initiate", 0, "pending"),
        ("authorize", 1, "pending"),
        ("capture", 2, "authorized"),
        ("refund", 3, "authorized"),
    ]


@pytest.mark.parametrize(
    ("fault", "raised", "state"),
    [
        (Declined("empty", "the till is empty"), Declined, "declined"),
        (NotApplied("the till is closed"), NotApplied, "not_applied"),
        (RuntimeError("out of paper"), NotApplied, "not_applied"),
    ],
    ids=["declined", "not applied", "raises"],
)
def test_what_a_person_did_not_do_is_never_in_doubt(shop, fault, raised, state):
    session = shop.session("captured")
    shop.fake.fault = fault
    with pytest.raises(raised, match="till|out of paper") as caught:
        shop.payments.refund(session.id)
    operation = shop.payments.history(session.id)[-1]
    assert (caught.value.session_id, caught.value.operation_id) == (session.id, operation.id)
    assert (operation.state, shop.told()[-1]) == (state, "operation.failed")
    assert shop.books(session.id) == ("authorized", 4200, 4200, 0, None)
    assert not shop.payments.in_doubt()
    shop.fake.fault = None
    assert shop.payments.refund(session.id).refunded == 4200


def test_it_holds_the_orders_amount_like_any_other(shop):
    one, two = shop.session("requires_more"), shop.session("requires_more")
    shop.payments.authorize(one.id)
    with pytest.raises(InvalidAmount, match="no room") as caught:
        shop.payments.authorize(two.id)
    assert caught.value.session_id == two.id
    assert shop.payments.get(two.id) == two
    shop.payments.cancel(one.id)
    assert shop.payments.authorize(two.id).status == "authorized"


def test_somebody_faster_is_seen_before_it_is_done_again(shop):
    session = shop.session()
    shop.store.stale = 1
    assert shop.payments.capture(session.id, eur("10.00")).captured == 1000
    assert [row.amount.minor for row in shop.payments.history(session.id)] == [4200, 4200, 1000]


def test_a_session_that_never_rests_is_busy(shop):
    session = shop.session()
    shop.store.stale = 1000
    with pytest.raises(SessionBusy, match="too fast") as caught:
        shop.payments.capture(session.id)
    assert caught.value.session_id == session.id
    shop.store.stale = 0
    assert shop.payments.get(session.id) == session


def test_nobody_is_asked_about_it(shop):
    session = shop.session()
    assert shop.payments.sync(session.id) == session
    assert shop.payments.recover().looked == 0


def test_nobody_is_queried_about_what_is_recorded_by_hand(make_shop):
    class Asked(Till):
        capabilities = evolve(Till.capabilities, lookup="consistent")

        @hookimpl
        def retrieve(self):
            raise AssertionError("there is nobody to query")

    shop = make_shop(Asked())
    session = shop.session("requires_more")
    assert shop.payments.sync(session.id) == session
