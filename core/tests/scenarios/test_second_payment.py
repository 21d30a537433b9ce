"""A session with two payments at the gateway, as after a restore that had ``initiate`` sent under two keys."""

import json
from datetime import timedelta
from itertools import pairwise

import pytest

from helpers import Backup, eur
from paysession import NotApplied, Outcome, OutcomeUnknown, Status
from paysession.outcome import Capabilities, Snapshot, WebhookEvent
from paysession.provider import hookimpl


class Orders:
    """A gateway that shows each order by its id, and whose notifications name one.

    Attributes:
        refusals: What the next calls of ``initiate`` raise, one after the other.
        shown: What ``retrieve`` shows of each order, or raises.
        asked: The orders that it was asked for.
        meanwhile: What happens while ``authorize`` is called.
        looking: What happens, once, before it shows the order O1.
    """

    def __init__(self, *, lookup="consistent", first=2):
        self.capabilities = Capabilities(
            capture="multiple",
            refund="none",
            replay_window=timedelta(hours=24),
            lookup=lookup,
            lookup_lag=timedelta(seconds=30) if lookup == "lagging" else timedelta(0),
        )
        self.refusals, self.shown, self.asked = [], {}, []
        self.meanwhile = self.looking = bool
        self._ids, self._first = {}, first

    def show(self, order, session, status, **totals):
        amounts = {name: eur(amount) for name, amount in totals.items()}
        self.shown[order] = Snapshot(status, session_id=session.id, reference=order, **amounts)

    @hookimpl
    def initiate(self, session, operation):
        if self.refusals:
            raise self.refusals.pop(0)
        order = self._ids.setdefault(operation.key, f"O{self._first + len(self._ids)}")
        self.show(order, session, Status.REQUIRES_MORE)
        return Outcome.requires_more(reference=order)

    @hookimpl
    def authorize(self, session, operation):
        self.meanwhile()
        return Outcome.authorized(reference="O1")

    @hookimpl
    def capture(self, session, operation):
        raise OutcomeUnknown("lost")

    @hookimpl
    def cancel(self, session, operation):
        return Outcome.canceled()

    @hookimpl
    def retrieve(self, session):
        self.asked.append(session.reference)
        if session.reference == "O1":
            looking, self.looking = self.looking, bool
            looking()
        found = self.shown.get(session.reference, Snapshot.absent())
        if isinstance(found, Exception):
            raise found
        return found

    @hookimpl
    def parse_webhook(self, headers, body):
        said = json.loads(body)
        return [WebhookEvent(None, "news", said["session"], payment=said["payment"])]


@pytest.fixture
def orders(make_shop):
    return make_shop(Orders())


def notify(shop, session, payment):
    body = json.dumps({"session": session.id, "payment": payment}).encode()
    assert shop.payments.handle_webhook("fake", headers={}, body=body).status == 200


def conflicts(shop):
    return [(row.kind, row.expected, row.found) for row in shop.payments.conflicts()]


def due(shop):
    """Return the notifications that are looked into again."""
    shop.clock.forward(hours=1)
    return shop.store.due_notifications(shop.clock(), 10, "fake")


ALIVE = [
    (Status.REQUIRES_MORE, {}),
    (Status.PENDING, {}),
    (Status.ERROR, {}),
    (Status.REQUIRES_MORE, {"captured": "42.00", "refunded": "42.00"}),
    (Status.AUTHORIZED, {"authorized": "42.00", "captured": "0.00"}),
    (Status.AUTHORIZED, {}),
    (Status.AUTHORIZED, {"authorized": "42.00", "captured": "42.00", "refunded": "41.99"}),
    (Status.AUTHORIZED, {"authorized": "42.00", "captured": "20.00", "refunded": "20.00"}),
]
OVER = [
    (None, {}),
    (Status.CANCELED, {"authorized": "0.00", "captured": "0.00"}),
    (Status.AUTHORIZED, {"authorized": "42.00", "captured": "42.00", "refunded": "42.00"}),
    (
        Status.AUTHORIZED,
        {"authorized": "20.00", "captured": "20.00", "refunded": "5.00", "charged_back": "15.00"},
    ),
]


@pytest.mark.parametrize(("status", "totals"), ALIVE)
def test_a_payment_that_is_alive_and_not_the_sessions_own_is_a_conflict(orders, status, totals):
    session = orders.session("requires_more")
    orders.fake.show("O1", session, status, **totals)
    notify(orders, session, "O1")
    assert conflicts(orders) == [("second_payment", "O2", "O1")]
    assert orders.payments.get(session.id).conflict == "second_payment"
    assert orders.payments.get(session.id).reference == "O2"


@pytest.mark.parametrize(("status", "totals"), OVER)
def test_a_payment_of_which_nothing_is_left_is_none(orders, status, totals):
    session = orders.session("requires_more")
    orders.fake.show("O1", session, status, **totals)
    before = orders.payments.get(session.id)
    notify(orders, session, "O1")
    assert (conflicts(orders), due(orders)) == ([], [])
    assert orders.payments.get(session.id) == before


@pytest.mark.parametrize(("status", "totals"), OVER)
def test_it_closes_once_a_notification_shows_that_nothing_is_left(orders, status, totals):
    session = orders.session("requires_more")
    orders.fake.show("O1", session, Status.AUTHORIZED, authorized="42.00")
    notify(orders, session, "O1")
    orders.fake.show("O1", session, status, **totals)
    notify(orders, session, "O1")
    assert conflicts(orders) == []
    (closed,) = orders.payments.conflicts(open=False)
    assert (closed.kind, closed.closed_by) == ("second_payment", None)


@pytest.mark.parametrize("gone", [True, False])
def test_it_closes_with_a_notification_that_names_no_payment_as_well(orders, gone):
    session = orders.session("requires_more")
    orders.fake.show("O1", session, Status.AUTHORIZED, captured="42.00")
    notify(orders, session, "O1")
    if gone:
        del orders.fake.shown["O1"]
    else:
        orders.fake.show("O1", session, Status.AUTHORIZED, captured="42.00", refunded="42.00")
    notify(orders, session, None)
    assert conflicts(orders) == []


def test_a_lookup_that_lags_does_not_close_it_by_showing_nothing(make_shop):
    shop = make_shop(Orders(lookup="lagging"))
    session = shop.session("requires_more")
    shop.fake.show("O1", session, Status.AUTHORIZED, captured="42.00")
    notify(shop, session, "O1")
    del shop.fake.shown["O1"]
    notify(shop, session, "O1")
    assert conflicts(shop) == [("second_payment", "O2", "O1")]


def test_news_of_the_own_payment_or_of_a_third_one_does_not_close_it(orders):
    session = orders.session("requires_more")
    orders.fake.show("O1", session, Status.AUTHORIZED, authorized="42.00")
    orders.fake.show("O3", session, Status.CANCELED)
    for payment in ("O1", "O2", "O3", None):
        notify(orders, session, payment)
    assert conflicts(orders) == [("second_payment", "O2", "O1")]


def test_the_own_payment_is_not_queried_twice(orders):
    session = orders.session("requires_more")
    notify(orders, session, "O2")
    assert (orders.fake.asked, conflicts(orders), due(orders)) == (["O2"], [], [])
    assert [row.details for row in orders.store._notifications.values()] == ["{}"]


@pytest.mark.parametrize(
    "shown",
    [
        {"session_id": "ps_of_somebody_else", "reference": "O1"},
        {"session_id": None, "reference": "O1"},
        {"session_id": "own", "reference": "O2"},
        {"session_id": "own", "reference": None},
    ],
)
def test_what_the_gateway_does_not_show_as_this_sessions_payment_is_not_believed(orders, shown):
    session = orders.session("requires_more")
    if shown["session_id"] == "own":
        shown = {**shown, "session_id": session.id}
    orders.fake.shown["O1"] = Snapshot(Status.AUTHORIZED, authorized=eur("42.00"), **shown)
    notify(orders, session, "O1")
    again = shown["session_id"] == "ps_of_somebody_else"  # what shows another session is no answer
    assert (conflicts(orders), len(due(orders))) == ([], int(again))


@pytest.mark.parametrize("error", [NotApplied("away"), OutcomeUnknown("odd"), RuntimeError("bug")])
def test_it_is_queried_again_if_the_gateway_does_not_answer(orders, error):
    session = orders.session("requires_more")
    orders.fake.shown["O1"] = error
    notify(orders, session, "O1")
    assert (conflicts(orders), len(due(orders))) == ([], 1)
    orders.fake.show("O1", session, Status.AUTHORIZED, authorized="42.00")
    orders.payments.recover()
    assert conflicts(orders) == [("second_payment", "O2", "O1")]


def test_it_is_queried_once_more_as_it_may_have_ended_while_it_was_reported(orders):
    session = orders.session("requires_more")
    orders.fake.show("O1", session, Status.AUTHORIZED, authorized="42.00")
    notify(orders, session, "O1")
    assert len(due(orders)) == 1
    orders.fake.show("O1", session, Status.CANCELED)
    orders.payments.recover()
    assert (conflicts(orders), due(orders)) == ([], [])


def test_what_is_reported_and_stands_is_queried_once_more_only(orders):
    session = orders.session("requires_more")
    orders.fake.show("O1", session, Status.AUTHORIZED, authorized="42.00")
    notify(orders, session, "O1")
    assert len(due(orders)) == 1
    orders.payments.recover()
    assert (conflicts(orders), due(orders)) == ([("second_payment", "O2", "O1")], [])


@pytest.mark.parametrize("end", ["canceled", "acknowledged"])
def test_a_third_payment_is_reported_once_the_conflict_about_the_second_is_over(orders, end):
    session = orders.session("requires_more")
    for payment in ("O1", "O3"):
        orders.fake.show(payment, session, Status.AUTHORIZED, authorized="42.00")
        notify(orders, session, payment)
    for _ in range(3):
        assert due(orders)
        orders.payments.recover()
    assert conflicts(orders) == [("second_payment", "O2", "O1")]
    if end == "canceled":
        orders.fake.show("O1", session, Status.CANCELED)
        notify(orders, session, "O1")
    else:
        (conflict,) = orders.payments.conflicts()
        orders.payments.acknowledge(conflict.id, by="ann", note="refunded by hand")
    assert due(orders)
    orders.payments.recover()
    assert conflicts(orders) == [("second_payment", "O2", "O3")]


def test_it_is_queried_for_ninety_days_after_an_eighth_of_its_age_in_the_end(orders, caplog):
    session = orders.session("requires_more")
    orders.fake.shown["O1"] = OutcomeUnknown("odd")
    notify(orders, session, "O1")
    received, ages = orders.clock.now, []
    orders.clock.forward(days=3)
    for _ in range(87 * 4):
        orders.fake.asked.clear()
        orders.payments.recover()
        ages += [orders.clock.now - received] * orders.fake.asked.count("O1")
        orders.clock.forward(hours=6)
    waits = [(later - earlier, earlier / 8) for earlier, later in pairwise(ages)]
    assert all(eighth <= wait < eighth + timedelta(hours=6) for wait, eighth in waits)
    assert (len(ages), "never compared" in caplog.text) == (28, False)
    orders.payments.recover()
    assert f"the payment O1 of session {session.id} was never compared with ours" in caplog.text
    orders.fake.asked.clear()
    orders.clock.forward(days=2)
    orders.payments.recover()
    assert "O1" not in orders.fake.asked


@pytest.mark.parametrize("error", [NotApplied("away"), OutcomeUnknown("odd")])
def test_it_is_given_up_after_ninety_days_in_which_the_gateway_did_not_answer(orders, error, caplog):
    session = orders.session("requires_more")
    orders.fake.shown["O1"] = error
    notify(orders, session, "O1")
    orders.clock.forward(days=90)
    orders.payments.recover()
    assert f"the payment O1 of session {session.id} was never compared with ours" in caplog.text
    assert due(orders) == []


def test_what_is_compared_on_the_last_day_is_not_said_to_be_missed(orders, caplog):
    session = orders.session("requires_more")
    orders.fake.shown["O1"] = OutcomeUnknown("odd")
    notify(orders, session, "O1")
    orders.fake.show("O1", session, Status.CANCELED)
    orders.clock.forward(days=90)
    orders.payments.recover()
    assert (orders.fake.asked.count("O1"), due(orders)) == (2, [])
    assert "never compared" not in caplog.text


def test_it_is_found_out_however_long_the_session_was_lost(orders):
    session = orders.session("requires_more")
    orders.fake.show("O1", session, Status.AUTHORIZED, authorized="42.00")
    backup = Backup(orders)
    lost = orders.payments.initiate(orders.order.id, provider="fake", idempotency_key="i2")
    orders.fake.show("O3", lost, Status.AUTHORIZED, authorized="42.00")
    backup.restore()
    notify(orders, lost, "O3")
    for _ in range(20):
        orders.clock.forward(days=1)
        orders.payments.recover()
    assert [row.session_id for row in orders.payments.unmatched()] == [lost.id]
    orders.fake._ids.clear()  # the gateway has forgotten the key
    orders.fake._first = 7
    again = orders.payments.initiate(orders.order.id, provider="fake", idempotency_key="i2")
    assert (again.id, again.reference) == (lost.id, "O7")
    orders.clock.forward(days=6)
    orders.payments.recover()
    assert conflicts(orders) == [("second_payment", "O7", "O3")]
    assert orders.payments.unmatched() == ()


@pytest.mark.parametrize("refusal", [NotApplied("away"), OutcomeUnknown("lost")])
def test_it_waits_until_the_sessions_own_payment_is_known(orders, refusal):
    orders.fake.refusals = [refusal, refusal]
    with pytest.raises(type(refusal)) as caught:
        orders.payments.initiate(orders.order.id, provider="fake", idempotency_key="i1")
    session = orders.payments.get(caught.value.session_id)
    orders.fake.show("O1", session, Status.AUTHORIZED, authorized="42.00")
    notify(orders, session, "O1")
    assert (conflicts(orders), len(due(orders))) == ([], 1)
    orders.fake.refusals.clear()
    orders.payments.initiate(orders.order.id, provider="fake", idempotency_key="i1")
    orders.payments.recover()
    assert conflicts(orders) == [("second_payment", "O2", "O1")]


def test_it_waits_while_an_operation_is_open_that_may_bring_the_payment(orders):
    session = orders.session("requires_more")
    orders.fake.show("O1", session, Status.REQUIRES_MORE)
    orders.fake.meanwhile = lambda: notify(orders, session, "O1")
    orders.payments.authorize(session.id)
    assert (conflicts(orders), len(due(orders))) == ([], 1)
    orders.fake.show("O1", session, Status.AUTHORIZED, authorized="42.00")
    orders.payments.recover()
    assert (conflicts(orders), due(orders)) == ([], [])


def test_it_does_not_wait_for_a_capture_in_doubt_which_brings_no_other_payment(orders):
    session = orders.payments.authorize(orders.session("requires_more").id)
    with pytest.raises(OutcomeUnknown):
        orders.payments.capture(session.id)
    orders.fake.show("O3", session, Status.AUTHORIZED, authorized="42.00")
    notify(orders, session, "O3")
    assert orders.payments.in_doubt()
    assert conflicts(orders) == [("second_payment", "O1", "O3")]


def test_a_gateway_without_a_lookup_is_not_asked(make_shop):
    shop = make_shop(Orders(lookup="none"))
    session = shop.session("requires_more")
    notify(shop, session, "O1")
    assert (shop.fake.asked, conflicts(shop), due(shop)) == ([], [], [])


def test_a_second_payment_is_found_out_after_a_restore_that_lost_the_session(make_shop):
    shop = make_shop(Orders(first=1))
    backup = Backup(shop)
    shop.fake.refusals = [NotApplied("away")]
    with pytest.raises(NotApplied):
        shop.payments.initiate(shop.order.id, provider="fake", idempotency_key="i1")
    lost = shop.payments.initiate(shop.order.id, provider="fake", idempotency_key="i1")
    shop.fake.show("O1", lost, Status.AUTHORIZED, authorized="42.00")
    backup.restore()
    session = shop.payments.initiate(shop.order.id, provider="fake", idempotency_key="i1")
    assert (session.id, lost.reference, session.reference) == (lost.id, "O1", "O2")
    notify(shop, session, "O1")
    assert shop.payments.events()[-1].detail == "second_payment: expected O2, found O1"


def test_an_erased_notification_still_names_the_payment(orders):
    session = orders.session("requires_more")
    orders.fake.shown["O2"] = OutcomeUnknown("odd")
    notify(orders, session, "O1")
    orders.payments.cancel(session.id)
    orders.payments.forget(orders.order.id, by="ann")
    assert [json.loads(row.details) for row in due(orders)] == [{"payment": "O1"}]


def test_what_becomes_the_sessions_own_payment_while_it_is_queried_is_no_second_one(orders):
    session = orders.session("requires_more")
    orders.fake.show("O1", session, Status.AUTHORIZED, authorized="42.00")
    orders.fake.looking = lambda: orders.payments.authorize(session.id)
    notify(orders, session, "O1")
    assert orders.payments.get(session.id).reference == "O1"
    assert (conflicts(orders), due(orders)) == ([], [])


def test_a_notification_of_a_session_with_another_conflict_is_done_with_at_once(orders):
    session = orders.session("requires_more")
    orders.fake.show("O2", session, Status.AUTHORIZED, authorized="40.00")
    for _ in range(2):
        notify(orders, session, None)
        assert due(orders) == []
    assert orders.payments.get(session.id).conflict == "amount"
