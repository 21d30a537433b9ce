"""A session with two payments at the gateway, as after a restore that had ``initiate`` sent under two keys."""

import json
from datetime import timedelta

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
    """

    def __init__(self, *, lookup="consistent", first=2):
        self.capabilities = Capabilities(
            capture="none", refund="none", replay_window=timedelta(hours=24), lookup=lookup
        )
        self.refusals, self.shown, self.asked = [], {}, []
        self.meanwhile = bool
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
    def cancel(self, session, operation):
        return Outcome.canceled()

    @hookimpl
    def retrieve(self, session):
        self.asked.append(session.reference)
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
    notify(orders, session, "O1")
    assert (conflicts(orders), due(orders)) == ([], [])


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
    assert conflicts(orders) == []


@pytest.mark.parametrize("error", [NotApplied("away"), OutcomeUnknown("odd"), RuntimeError("bug")])
def test_it_is_queried_again_if_the_gateway_does_not_answer(orders, error):
    session = orders.session("requires_more")
    orders.fake.shown["O1"] = error
    notify(orders, session, "O1")
    assert (conflicts(orders), len(due(orders))) == ([], 1)
    orders.fake.show("O1", session, Status.AUTHORIZED, authorized="42.00")
    orders.payments.recover()
    assert (conflicts(orders), due(orders)) == ([("second_payment", "O2", "O1")], [])


def test_it_is_queried_for_three_days(orders):
    session = orders.session("requires_more")
    orders.fake.shown["O1"] = OutcomeUnknown("odd")
    notify(orders, session, "O1")
    orders.clock.forward(days=3, seconds=-1)
    orders.payments.recover()
    assert len(due(orders)) == 1
    orders.payments.recover()
    assert due(orders) == []


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
    assert (conflicts(orders), due(orders)) == ([("second_payment", "O2", "O1")], [])


def test_it_waits_while_an_operation_is_open_that_may_bring_the_payment(orders):
    session = orders.session("requires_more")
    orders.fake.show("O1", session, Status.REQUIRES_MORE)
    orders.fake.meanwhile = lambda: notify(orders, session, "O1")
    orders.payments.authorize(session.id)
    assert (conflicts(orders), len(due(orders))) == ([], 1)
    orders.fake.show("O1", session, Status.AUTHORIZED, authorized="42.00")
    orders.payments.recover()
    assert (conflicts(orders), due(orders)) == ([], [])


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
