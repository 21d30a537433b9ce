"""A payer disputes a payment with the bank: what the gateway reports of it, and what the ledger says then."""

import json
from datetime import UTC, datetime

import pytest

from helpers import cents
from paysession import Capabilities, Declined, Dispute, InvalidAmount, InvalidData, Outcome, hookimpl
from paysession.outcome import Effect, Snapshot, WebhookEvent
from paysession_testing import FakeProvider

DUE = datetime(2026, 1, 20, 12, tzinfo=UTC)


def disputed(state, minor=4200, *, reference="dp_1", **stands):
    dispute = Dispute(stands.pop("status"), **stands) if stands else None
    return Effect("chargeback", cents(minor), state, reference, dispute=dispute)


def looks(told, session_id, *effects, status="authorized", **totals):
    """Query the gateway, which shows these effects; return what the feed has of it."""
    count = len(told.payments.events())
    told.fake.snapshot = Snapshot(status, effects=effects, **totals)
    told.payments.sync(session_id)
    return [(event.type, event.detail) for event in told.payments.events()[count:]]


def figures(told, session_id):
    row = told.payments.get(session_id)
    return (row.status, row.captured, row.refunded, row.charged_back, row.disputes)


def test_a_dispute_is_no_refund_and_the_capture_stays(told):
    session = told.session("captured")
    opened = {"status": "opened", "reason": "fraudulent", "evidence_due_by": DUE, "fee": cents(1500)}
    assert looks(told, session.id, disputed("pending", **opened)) == [
        ("session.disputed", "opened; fraudulent; evidence due by 2026-01-20T12:00:00Z; fee 15.00 EUR")
    ]
    assert figures(told, session.id) == ("authorized", 4200, 0, 0, 1)
    assert looks(told, session.id, disputed("succeeded", status="lost", reason="fraudulent")) == [
        ("session.disputed", "lost; fraudulent"),
        ("session.charged_back", "lost; fraudulent"),
    ]
    assert figures(told, session.id) == ("authorized", 4200, 0, 4200, 0)
    assert told.payments.get(session.id).charged_back_amount == cents(4200)
    collection = told.payments.collection(told.order.id)
    assert (collection.status, collection.charged_back_amount, collection.refunded) == (
        "captured",
        cents(4200),
        0,
    )
    event = told.payments.events()[-1]
    assert (event.amount, event.charged_back_amount, event.captured_amount) == (
        cents(4200),
        cents(4200),
        cents(4200),
    )
    assert told.payments.history(session.id)[-1].dispute == Dispute("lost", reason="fraudulent")


def test_a_dispute_that_is_won_gives_the_money_back(told):
    session = told.session("captured")
    assert looks(told, session.id, disputed("succeeded", status="opened"))[-1] == (
        "session.charged_back",
        "opened",
    )
    assert figures(told, session.id) == ("authorized", 4200, 0, 4200, 1)
    assert looks(told, session.id, disputed("succeeded", status="under_review")) == [
        ("session.disputed", "under_review")
    ]
    assert looks(told, session.id, disputed("reversed", status="won")) == [("session.dispute_won", "won")]
    assert figures(told, session.id) == ("authorized", 4200, 0, 0, 0)
    first, undone = told.payments.history(session.id)[-2:]
    assert (undone.kind, undone.reverses, first.dispute) == ("chargeback", first.id, Dispute("won"))
    assert looks(told, session.id, disputed("reversed", status="won")) == []


def test_a_dispute_that_ends_without_the_money_being_taken_is_won(told):
    session = told.session("captured")
    looks(told, session.id, disputed("pending", status="opened"))
    assert looks(told, session.id, disputed("failed")) == [("session.dispute_won", "won")]
    assert figures(told, session.id) == ("authorized", 4200, 0, 0, 0)


def test_a_dispute_that_is_shown_again_as_it_stands_is_no_news(told):
    session = told.session("captured")
    opened = disputed("pending", status="opened", reason="fraudulent")
    assert [type_ for type_, _ in looks(told, session.id, opened)] == ["session.disputed"]
    version = told.payments.get(session.id).version
    assert looks(told, session.id, opened) == []
    assert told.payments.get(session.id).version == version


def test_a_dispute_that_was_over_is_not_opened_again_by_what_shows_it_later(told):
    session = told.session("captured")
    looks(told, session.id, disputed("pending", status="opened"))
    looks(told, session.id, disputed("failed", status="won"))
    assert looks(told, session.id, disputed("pending", status="under_review")) == []
    assert figures(told, session.id) == ("authorized", 4200, 0, 0, 0)
    assert told.payments.history(session.id)[-1].dispute == Dispute("won")


def test_a_gateway_that_says_no_more_than_the_effect_is_enough(told):
    session = told.session("captured")
    assert looks(told, session.id, disputed("pending")) == [("session.disputed", None)]
    assert told.payments.get(session.id).disputes == 1
    assert looks(told, session.id, disputed("succeeded")) == [("session.charged_back", None)]
    assert told.payments.get(session.id).disputes == 0
    assert looks(told, session.id, disputed("reversed")) == [("session.dispute_won", None)]


def test_a_dispute_that_was_won_before_anybody_looked_is_on_record(told):
    session = told.session("captured")
    assert [type_ for type_, _ in looks(told, session.id, disputed("reversed", status="won"))] == [
        "session.disputed",
        "session.charged_back",
        "session.dispute_won",
    ]
    assert looks(told, session.id, disputed("reversed", status="won")) == []


def test_a_total_alone_shows_what_was_charged_back(told):
    session = told.session("captured")
    captured = {"authorized": cents(4200), "captured": cents(4200)}
    assert looks(told, session.id, charged_back=cents(1000), **captured) == [
        ("session.disputed", None),
        ("session.charged_back", None),
    ]
    assert looks(told, session.id, charged_back=cents(0), **captured) == [("session.dispute_won", None)]
    assert figures(told, session.id) == ("authorized", 4200, 0, 0, 0)


def test_what_was_charged_back_is_neither_captured_again_nor_refunded(told):
    session = told.session()
    told.payments.capture(session.id, cents(2000))
    key = told.payments.history(session.id)[-1]
    shown = Effect("capture", cents(2000), "succeeded", key.reference, key.key)
    looks(told, session.id, shown, disputed("succeeded", 1500), authorized=cents(4200))
    with pytest.raises(InvalidAmount, match=r"22\.00 EUR is left"):
        told.payments.capture(session.id, cents(4200))
    with pytest.raises(InvalidAmount, match=r"5\.00 EUR is left to refund"):
        told.payments.refund(session.id, cents(2000))
    assert told.payments.refund(session.id).refunded == 500


def test_a_chargeback_counts_against_the_capture_that_it_names(told):
    told.fake.capabilities = Capabilities(
        capture="multiple", refund="multiple", lookup="consistent", refund_needs_capture=True
    )
    session = told.session()
    for minor in (1000, 2000):
        told.payments.capture(session.id, cents(minor))
    captures = [row for row in told.payments.history(session.id) if row.kind == "capture"]
    shown = [Effect("capture", row.amount, "succeeded", row.reference, row.key) for row in captures]
    effect = Effect("chargeback", cents(1500), reference="dp_1", capture=captures[1].reference)
    looks(told, session.id, *shown, effect, authorized=cents(4200))
    with pytest.raises(InvalidAmount, match=r"5\.00 EUR is left to refund"):
        told.payments.refund(session.id, cents(1000), capture=captures[1].id)
    first, second = told.payments.captures(session.id)
    assert (first.charged_back_amount, first.refundable_amount) == (cents(0), cents(1000))
    assert (second.refunded_amount, second.charged_back_amount, second.refundable_amount) == (
        cents(0),
        cents(1500),
        cents(500),
    )


def test_a_chargeback_of_what_was_refunded_is_reported_until_it_is_won(told):
    session = told.session("captured")
    told.payments.refund(session.id)
    refund = told.payments.history(session.id)[-1]
    ours = Effect("refund", cents(4200), "succeeded", refund.reference, refund.key)
    assert looks(told, session.id, ours, disputed("succeeded"))[-1] == (
        "session.conflict",
        "over_captured: expected 42.00 EUR, found 84.00 EUR",
    )
    looks(told, session.id, ours, disputed("reversed"))
    assert told.payments.conflicts() == ()


def test_a_shops_own_tests_dispute_a_payment_and_decide_it(shop):
    session = shop.session("captured")
    lost, kept = (shop.fake.dispute(session.id, cents(minor)) for minor in (1000, 2000))
    session = shop.payments.sync(session.id)
    assert (session.charged_back, session.disputes) == (3000, 2)
    shop.fake.decide_dispute(session.id, lost, won=False)
    shop.fake.decide_dispute(session.id, kept, won=True)
    session = shop.payments.sync(session.id)
    assert (session.charged_back, session.disputes, session.captured) == (1000, 0, 4200)


class Deaf(FakeProvider):
    """Cannot be queried: it reports disputes one by one."""

    def __init__(self):
        super().__init__(lookup="none")

    @hookimpl
    def parse_webhook(self, body):
        session_id, state, status = json.loads(body)
        dispute = Dispute(status) if status else None
        effect = Effect("chargeback", cents(4200), state, "dp_1", dispute=dispute)
        return [WebhookEvent(None, "x", session_id, effects=[effect])]


@pytest.fixture
def deaf(make_shop):
    shop = make_shop(Deaf())
    session = shop.session("captured")

    def report(state, status=None):
        body = json.dumps([session.id, state, status]).encode()
        assert shop.payments.handle_webhook("fake", headers={}, body=body).status == 200
        return shop.payments.get(session.id)

    return shop, report


def test_reports_that_come_late_do_not_reopen_a_dispute(deaf):
    shop, report = deaf
    assert report("succeeded", "lost").charged_back == 4200
    assert report("pending", "opened").disputes == 0
    assert shop.payments.history(report("succeeded", "under_review").id)[-1].dispute == Dispute("lost")
    assert report("reversed", "won").charged_back == 0
    assert report("succeeded", "opened").disputes == 0


def test_a_dispute_that_was_over_when_its_beginning_is_reported_is_not_opened_again(deaf):
    shop, report = deaf
    report("failed", "won")
    assert shop.told()[-2:] == ["session.disputed", "session.dispute_won"]
    before = shop.told()
    assert report("pending", "opened").disputes == 0
    assert shop.told() == before


def test_a_dispute_whose_money_came_back_is_not_opened_by_a_late_report(deaf):
    _, report = deaf
    assert report("succeeded").charged_back == 4200
    assert report("reversed").charged_back == 0
    assert report("succeeded", "opened").disputes == 0


def test_an_inquiry_that_was_closed_before_anybody_looked_is_on_record_once(told):
    session = told.session("captured")
    shown = looks(told, session.id, disputed("failed", status="won", reason="inquiry"))
    assert shown == [("session.disputed", "won; inquiry"), ("session.dispute_won", "won; inquiry")]
    assert looks(told, session.id, disputed("failed", status="won", reason="inquiry")) == []
    assert figures(told, session.id) == ("authorized", 4200, 0, 0, 0)


def test_an_open_dispute_at_a_gateway_that_cannot_be_queried_waits_for_its_report(deaf):
    shop, report = deaf
    assert report("pending", "opened").due_at is None
    shop.clock.forward(days=90)
    shop.payments.recover()
    assert shop.payments.in_doubt() == ()


def test_an_operator_says_how_a_dispute_ended(deaf):
    shop, report = deaf
    session = report("pending", "opened")
    row = shop.payments.history(session.id)[-1]
    with pytest.raises(InvalidData, match="does not fit"):
        shop.payments.resolve(row.id, Outcome.captured(row.amount), note="ann")
    session = shop.payments.resolve(row.id, Declined("won"), note="ann: the bank wrote")
    assert (session.disputes, shop.told()[-1]) == (0, "session.dispute_won")


def test_an_operator_says_that_the_money_was_taken(deaf):
    shop, report = deaf
    row = shop.payments.history(report("pending", "opened").id)[-1]
    session = shop.payments.resolve(row.id, Outcome.refunded(row.amount), note="ann: the bank wrote")
    assert (session.charged_back, session.refunded, shop.told()[-1]) == (4200, 0, "session.charged_back")


def test_recovery_queries_the_gateway_about_a_dispute_every_day(told):
    session = told.session("captured")
    looks(told, session.id, disputed("succeeded", status="opened"))
    told.fake.snapshot = Snapshot("authorized", effects=[disputed("reversed", status="won")])
    for _ in range(2):
        told.clock.forward(days=1)
        told.payments.recover()
    assert told.payments.get(session.id).charged_back == 0


@pytest.mark.parametrize(
    "wrong", [{"status": "closed"}, {"status": "won", "evidence_due_by": DUE.replace(tzinfo=None)}]
)
def test_a_dispute_that_is_none_is_refused(wrong):
    with pytest.raises((ValueError, TypeError)):
        Dispute(wrong.pop("status"), **wrong)


def test_only_a_chargeback_has_a_dispute():
    with pytest.raises(TypeError, match="only an effect of the kind chargeback"):
        Effect("refund", cents(1), dispute=Dispute("opened"))
