"""What a gateway that cannot be queried reports late or in an unusual order, and what a lookup shows too early."""

import json

import pytest

from helpers import cents
from paysession import Capabilities, Declined, Outcome, OutcomeUnknown, hookimpl
from paysession.errors import PaysessionError
from paysession.outcome import Effect, Snapshot, WebhookEvent
from paysession_testing import FakeProvider


class Deaf(FakeProvider):
    """Cannot be queried: it reports single effects."""

    def __init__(self, **options):
        super().__init__(lookup="none", **options)
        self.answers = {}

    def answer(self, kind, default):
        answer = self.answers.get(kind, default)
        answer = answer() if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    @hookimpl
    def authorize(self, operation):
        return self.answer("authorize", Outcome.authorized())

    @hookimpl
    def capture(self, operation):
        return self.answer("capture", Outcome.captured(operation.amount))

    @hookimpl
    def update(self):
        return self.answer("update", Outcome.requires_more())

    @hookimpl
    def cancel(self):
        return self.answer("cancel", Outcome.canceled())

    @hookimpl
    def parse_webhook(self, body):
        session_id, kind, minor, state, reference, key, capture = json.loads(body)
        effect = Effect(kind, cents(minor), state, reference, key, capture=capture)
        return [WebhookEvent(None, "x", session_id, effects=[effect])]


@pytest.fixture
def deaf(make_shop):
    return make_shop(Deaf())


def report(shop, session, kind, minor, state="succeeded", reference=None, key=None, capture=None):
    body = json.dumps([session.id, kind, minor, state, reference, key, capture]).encode()
    assert shop.payments.handle_webhook("fake", headers={}, body=body).status == 200
    return shop.payments.get(session.id)


def test_a_capture_at_authorization_is_one_whichever_names_it(deaf):
    session = deaf.session("requires_more")

    def overtaken():
        report(deaf, session, "authorize", 4200, reference="a1")
        return Outcome.captured(cents(4200))

    deaf.fake.answers["authorize"] = overtaken
    deaf.payments.authorize(session.id)
    report(deaf, session, "capture", 4200, reference="c1")
    assert deaf.books(session.id) == ("authorized", 4200, 4200, 0, None)


def test_a_release_counts_for_an_authorization_that_is_reported_after_it(deaf):
    session = deaf.session("requires_more")
    report(deaf, session, "capture", 1000, reference="c1")
    report(deaf, session, "cancel", 3200, reference="v1")
    report(deaf, session, "authorize", 4200, reference="a1")
    assert deaf.books(session.id)[:4] == ("authorized", 1000, 1000, 0)


def test_money_for_a_canceled_session_is_authorized_once(deaf):
    session = deaf.payments.cancel(deaf.session("requires_more").id)
    report(deaf, session, "capture", 4200, reference="c1")
    report(deaf, session, "authorize", 4200, reference="a1")
    assert deaf.books(session.id) == ("canceled", 4200, 4200, 0, "authorized_after_cancel")


def test_a_capture_that_is_reversed_before_its_authorization_is_reported_is_not_authorized(deaf):
    session = deaf.session("requires_more")
    report(deaf, session, "capture", 1000, reference="c1")
    report(deaf, session, "capture", 3000, "reversed", "c2")
    report(deaf, session, "authorize", 4200, reference="a1")
    assert deaf.books(session.id)[:3] == ("authorized", 1200, 1000)


def test_a_capture_in_doubt_may_precede_a_cancel_that_is_reported(deaf):
    session = deaf.session()
    deaf.fake.answers["capture"] = OutcomeUnknown("reset")
    with pytest.raises(PaysessionError):
        deaf.payments.capture(session.id, cents(1000))
    (capture,) = [row for row in deaf.payments.history(session.id) if row.kind == "capture"]
    report(deaf, session, "cancel", 3200, reference="v1")
    assert deaf.payments.get(session.id).open == capture.id
    report(deaf, session, "capture", 1000, reference="c1", key=capture.id)
    assert [row.state for row in deaf.payments.history(session.id) if row.kind == "capture"] == ["succeeded"]


def test_an_old_report_does_not_reopen_what_was_declined(deaf):
    session = deaf.session()
    deaf.fake.answers["capture"] = Declined("no", "no")
    with pytest.raises(Declined):
        deaf.payments.capture(session.id, cents(1000))
    (capture,) = [row for row in deaf.payments.history(session.id) if row.kind == "capture"]
    report(deaf, session, "capture", 1000, "failed", "c1", capture.id)
    report(deaf, session, "capture", 1000, "pending", "c1", capture.id)
    assert deaf.payments.get(session.id).capturing == 0


def test_an_answer_to_an_update_is_older_than_what_was_reported_meanwhile(deaf):
    session = deaf.session("requires_more")

    def overtaken():
        report(deaf, session, "authorize", 4200, "failed", "a1")
        return Outcome.requires_more()

    deaf.fake.answers["update"] = overtaken
    assert deaf.payments.update(session.id, cents(4000)).status == "error"


def test_a_pending_capture_of_a_canceled_session_is_held(deaf):
    session = deaf.payments.cancel(deaf.session().id)
    session = report(deaf, session, "capture", 1000, "pending", "c1")
    assert (session.authorized, session.capturing, session.held) == (1000, 1000, 1000)


def test_a_chargeback_of_what_was_refunded_is_reported_until_the_refund_is_undone(deaf):
    session = deaf.session()
    report(deaf, session, "capture", 4200, reference="c1")
    report(deaf, session, "refund", 4200, reference="r1")
    report(deaf, session, "capture", 4200, "reversed", "c1")
    assert [conflict.kind for conflict in deaf.payments.conflicts()] == ["over_captured"]
    report(deaf, session, "refund", 4200, "reversed", "r1")
    assert deaf.payments.conflicts() == ()


def test_over_limit_closes_when_less_is_held(deaf):
    session = deaf.session()
    deaf.fake.answers["capture"] = Outcome.pending(reference="c1")
    deaf.payments.capture(session.id)
    report(deaf, session, "capture", 1000, reference="c2")
    assert deaf.payments.get(session.id).conflict == "over_limit"
    report(deaf, session, "capture", 4200, "failed", "c1")
    assert deaf.payments.get(session.id).conflict is None


def lagging(told):
    told.fake.capabilities = Capabilities(
        capture="multiple", refund="multiple", lookup="lagging", lookup_lag=told.fake.capabilities.call_limit
    )
    return type(told)(told.fake)


def shown(*effects, status="authorized", **totals):
    return Snapshot(status, effects=effects, **{name: cents(minor) for name, minor in totals.items()})


def test_a_total_from_before_a_reversal_is_no_new_capture(make_told):
    told = lagging(make_told())
    session = told.session("captured")
    reference = told.payments.history(session.id)[-1].reference
    told.clock.forward(hours=1)
    told.fake.snapshot = shown(
        Effect("capture", cents(4200), "reversed", reference), authorized=0, captured=0
    )
    told.payments.sync(session.id)
    told.fake.snapshot = shown(
        Effect("capture", cents(4200), "succeeded", reference), authorized=4200, captured=4200
    )
    assert told.payments.sync(session.id).captured == 0


def test_less_authorized_than_is_known_counts_once_it_cannot_be_older(make_told):
    told = lagging(make_told())
    session = told.session()
    told.fake.snapshot = shown(authorized=3000)
    assert told.payments.sync(session.id).authorized == 4200
    told.clock.forward(hours=1)
    assert told.payments.sync(session.id).authorized == 3000


def test_a_second_authorization_that_a_total_shows_is_an_operation(told):
    session = told.session()
    told.fake.snapshot = shown(authorized=5000)
    told.payments.sync(session.id)
    assert told.rows(session.id)[-1] == ("authorize", "provider", "succeeded", "found", 800)
    assert told.payments.sync(session.id).version == told.payments.get(session.id).version


def test_a_capture_that_came_and_went_is_not_authorized_where_only_effects_say_so(told):
    session = told.session()
    told.fake.snapshot = shown(Effect("capture", cents(1200), "reversed", "c9"))
    assert told.payments.sync(session.id).authorized == 3000


def test_a_reversal_and_the_next_authorization_in_one_lookup_are_no_end(told):
    session = told.session("captured")
    reference = told.payments.history(session.id)[-1].reference
    told.fake.snapshot = shown(
        Effect("capture", cents(4200), "reversed", reference), authorized=1000, captured=0
    )
    told.payments.sync(session.id)
    assert told.books(session.id)[:3] == ("authorized", 1000, 0)
    assert "authorized_after_cancel" not in {conflict.kind for conflict in told.payments.conflicts()}


def test_a_failed_capture_and_the_next_authorization_in_one_lookup_are_no_end(told):
    session = told.session()
    told.fake.answers["capture"] = Outcome.pending(reference="c1")
    told.payments.capture(session.id, cents(1000))
    told.fake.answers["cancel"] = Outcome.canceled()
    told.payments.cancel(session.id)
    told.fake.snapshot = shown(Effect("capture", cents(1000), "failed", "c1"), authorized=2000)
    told.payments.sync(session.id)
    assert told.books(session.id)[:2] == ("authorized", 2000)
    assert "session.canceled" not in told.told()


def test_an_operator_need_not_say_that_a_final_capture_released_the_rest(make_shop):
    shop = make_shop(Deaf())
    shop.fake.capabilities = Capabilities(capture="multiple", lookup="none", final_capture_releases=True)
    shop = type(shop)(shop.fake)
    session = shop.session()
    shop.fake.answers["capture"] = Outcome.pending(reference="c1")
    shop.payments.capture(session.id, cents(1000), final=True)
    (capture,) = [row for row in shop.payments.history(session.id) if row.kind == "capture"]
    session = shop.payments.resolve(capture.id, Outcome.captured(cents(1000)), note="ann")
    assert (session.authorized, session.captured) == (1000, 1000)
    assert [row.kind for row in shop.payments.history(session.id)][-1] == "capture"


def refunded_before_captured(deaf):
    """A session of which a refund is reported that names a capture nobody knows yet."""
    session = deaf.session()
    report(deaf, session, "capture", 1000, reference="c1")
    return session, report(deaf, session, "refund", 3000, reference="r1", capture="c2")


def test_a_refund_waits_for_the_capture_that_it_names(deaf):
    session, waiting = refunded_before_captured(deaf)
    assert (waiting.captured, waiting.refunded, waiting.conflict) == (1000, 0, None)
    report(deaf, session, "capture", 3000, reference="c2")
    deaf.settle()
    assert deaf.books(session.id) == ("authorized", 4200, 4000, 3000, None)
    refund = deaf.payments.history(session.id)[-1]
    capture = next(row for row in deaf.payments.history(session.id) if row.reference == "c2")
    assert (refund.kind, refund.capture_id) == ("refund", capture.id)
    assert not deaf.payments.conflicts(open=False)


def test_a_refund_whose_capture_is_never_reported_is_recorded_in_the_end(deaf):
    session, _ = refunded_before_captured(deaf)
    deaf.clock.forward(days=3, seconds=-1)
    deaf.payments.recover()
    assert deaf.payments.get(session.id).refunded == 0
    deaf.clock.forward(hours=1, seconds=1)
    deaf.payments.recover()
    assert deaf.books(session.id) == ("authorized", 4200, 1000, 3000, "over_captured")


def test_a_refund_does_not_wait_where_its_capture_may_be_one_without_an_id(deaf):
    session = deaf.session()
    deaf.payments.capture(session.id, cents(1000))
    assert report(deaf, session, "refund", 1000, reference="r1", capture="c1").refunded == 1000
