"""A gateway that cannot be queried: what it should have reported by now is left to an operator, visibly."""

from datetime import timedelta

import pytest

from paysession import Money, Outcome, hookimpl
from paysession.outcome import Effect, WebhookEvent
from paysession.values import replace
from paysession_testing import FakeProvider

PART = Money("10.00", "EUR")


class Slow(FakeProvider):
    """It accepts captures, and reports by notification only."""

    check_after = None
    effects = ()
    data = None

    def __init__(self):
        super().__init__(lookup="none")

    @hookimpl
    def initiate(self, session, operation):
        outcome = super().initiate(session, operation)
        return replace(outcome, expires_at=session.created_at + timedelta(hours=1))

    @hookimpl
    def capture(self):
        return Outcome.pending(reference="c1", check_after=self.check_after)

    @hookimpl
    def parse_webhook(self, body):
        return [WebhookEvent(None, "report", session_id=body.decode(), effects=self.effects, data=self.data)]


@pytest.fixture
def shop(make_shop):
    return make_shop(Slow())


@pytest.mark.parametrize(("check_after", "days"), [(None, 14), (timedelta(days=2), 2)])
def test_a_pending_capture_is_left_to_an_operator_once_its_time_is_over(shop, check_after, days):
    shop.fake.check_after = check_after
    session = shop.payments.capture(shop.session().id, PART)
    assert not shop.payments.in_doubt()
    shop.clock.forward(days=days, seconds=-1)
    shop.payments.recover()
    assert not shop.payments.in_doubt()
    shop.clock.forward(seconds=1)
    shop.payments.recover()
    (doubt,) = shop.payments.in_doubt()
    assert (doubt.operation.kind, doubt.operation.state, doubt.needs_operator) == ("capture", "pending", True)
    assert (doubt.next_check, shop.payments.get(session.id).status) == (None, "authorized")
    version = shop.payments.get(session.id).version
    for _ in range(3):
        shop.clock.forward(days=10)
        shop.payments.recover()
    assert shop.payments.get(session.id).version == version  # it is listed, and not asked for in vain


def test_a_report_that_comes_after_all_takes_it_off_the_list(shop):
    session = shop.payments.capture(shop.session().id, PART)
    shop.clock.forward(days=15)
    shop.payments.recover()
    shop.fake.effects = [Effect("capture", PART, reference="c1")]
    shop.payments.handle_webhook("fake", headers={}, body=session.id.encode())
    assert (shop.payments.get(session.id).captured, shop.payments.in_doubt()) == (1000, ())


def test_a_report_of_something_else_does_not_put_the_operator_off(shop):
    session = shop.payments.capture(shop.session().id, PART)
    shop.clock.forward(days=13)
    shop.fake.data = {"batch": 7}
    shop.payments.handle_webhook("fake", headers={}, body=session.id.encode())
    assert shop.payments.get(session.id).data["batch"] == 7
    shop.clock.forward(days=1)
    shop.payments.recover()
    assert [doubt.needs_operator for doubt in shop.payments.in_doubt()] == [True]


def test_an_operator_resolves_what_was_never_reported(shop):
    shop.payments.capture(shop.session().id, PART)
    shop.clock.forward(days=15)
    shop.payments.recover()
    (doubt,) = shop.payments.in_doubt()
    session = shop.payments.resolve(
        doubt.operation.id, Outcome.captured(PART), note="ann: it is on the statement"
    )
    assert (session.captured, shop.payments.in_doubt()) == (1000, ())


def test_a_session_that_expired_is_left_to_an_operator_an_hour_later(shop):
    session = shop.session("requires_more")
    shop.clock.forward(hours=2)
    assert shop.payments.recover().settled == (session.id,)
    (doubt,) = shop.payments.in_doubt()
    assert (doubt.operation.session_id, doubt.needs_operator) == (session.id, True)
    shop.payments.cancel(session.id)
    assert not shop.payments.in_doubt()


def test_observers_hear_of_what_is_left_to_an_operator(make_shop):
    class Observer:
        seen = ()

        @hookimpl
        def session_changed(self, before, after):
            self.seen += ((before.due_at is None, after.due_at is None),)

    observer = Observer()
    shop = make_shop(Slow(), plugins=[observer])
    shop.session("requires_more")
    observer.seen = ()
    shop.clock.forward(hours=2)
    shop.payments.recover()
    assert observer.seen == ((False, True),)
