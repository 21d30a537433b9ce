"""When observers are notified: once of each change of a payment, and of nothing else."""

import pytest

from paysession import Money, OutcomeUnknown, Payments, SessionBusy, hookimpl
from paysession._plugins.registry import Registry
from paysession_testing import FakeProvider


class Observer:
    def __init__(self):
        self.seen = []

    @hookimpl
    def session_changed(self, before, after, operation):
        kind, state = (str(operation.kind), str(operation.state)) if operation else (None, None)
        self.seen.append((kind, state, str(after.status)))


@pytest.fixture
def observer():
    return Observer()


@pytest.fixture
def shop(make_shop, observer):
    return make_shop(plugins=[observer])


def test_an_operation_is_reported_once_it_has_an_answer_and_not_when_it_begins(shop, observer):
    session = shop.session()
    shop.payments.capture(session.id, Money("10.00", "EUR"))
    assert observer.seen == [
        ("initiate", "succeeded", "requires_more"),
        ("authorize", "succeeded", "authorized"),
        ("capture", "succeeded", "authorized"),
    ]


def test_a_look_that_shows_nothing_new_is_reported_to_nobody(shop, observer):
    session = shop.session("requires_more")
    shop.fake.payer_declines(session.id)
    shop.payments.recover(now=True)
    observer.seen.clear()
    shop.settle()
    assert shop.payments.get(session.id).checks > 3
    assert observer.seen == []


class Slow(FakeProvider):
    """A gateway that cannot be queried; something happens before it captures, once."""

    meanwhile = staticmethod(bool)

    @hookimpl
    def capture(self, session, operation):
        meanwhile, self.meanwhile = self.meanwhile, bool
        meanwhile()
        return super().capture(session, operation)


@pytest.fixture
def slow(make_shop, observer):
    return make_shop(Slow(lookup="none"), plugins=[observer])


def test_a_late_answer_that_says_nothing_new_is_reported_to_nobody(slow, observer):
    session = slow.session()

    def recovered():
        slow.clock.forward(minutes=5)
        slow.payments.recover()
        observer.seen.clear()
        settled.append(slow.payments.get(session.id))

    settled = []
    slow.fake.meanwhile = recovered
    assert [slow.payments.capture(session.id)] == settled
    assert (settled[0].captured, observer.seen) == (4200, [])


def test_a_late_answer_that_is_only_noted_is_reported_to_nobody(slow, observer):
    session = slow.session()

    def taken_over():
        slow.clock.forward(minutes=5)
        slow.fake.fail_next("timeout", kind="capture")
        slow.payments.recover()
        observer.seen.clear()

    slow.fake.meanwhile = taken_over
    with pytest.raises(SessionBusy, match="lost its lease"):
        slow.payments.capture(session.id)
    assert slow.payments.history(session.id)[-1].note is not None
    assert observer.seen == []


class Doubts:
    """An observer of what is in doubt."""

    def __init__(self):
        self.seen = []

    @hookimpl
    def operation_in_doubt(self, operation):
        self.seen.append(operation.id)


def test_what_is_in_doubt_is_reported_when_its_answer_is_lost_and_nothing_else_is(make_shop):
    doubts = Doubts()
    shop = make_shop(plugins=[doubts])
    session = shop.session()
    shop.payments.capture(session.id, Money("10.00", "EUR"))
    assert doubts.seen == []
    shop.fake.fail_next("timeout", kind="capture")
    with pytest.raises(OutcomeUnknown) as caught:
        shop.payments.capture(session.id, Money("5.00", "EUR"))
    assert doubts.seen == [caught.value.operation_id]


def test_taking_over_what_is_in_doubt_is_reported_to_nobody(make_shop, observer):
    shop = make_shop(FakeProvider(lookup="none"), plugins=[observer])
    session = shop.session()
    shop.fake.fail_next("timeout", kind="capture")
    with pytest.raises(OutcomeUnknown):
        shop.payments.capture(session.id)
    observer.seen.clear()
    shop.clock.forward(minutes=1)
    shop.payments.recover()
    assert observer.seen == [("capture", "succeeded", "authorized")]


def test_a_session_that_waits_for_its_provider_is_reported_to_nobody(shop, observer):
    session = shop.session("requires_more")
    observer.seen.clear()
    without = Payments(shop.store, Registry({"other": shop.fake}, [observer]))
    shop.clock.forward(days=1)
    assert without.recover().waiting == (session.id,)
    assert shop.payments.get(session.id).due_at > shop.clock.now
    assert observer.seen == []
