"""A gateway that cannot be asked, such as a bank: what its statements tell is recorded, once."""

import json
from datetime import timedelta

import pytest

from helpers import eur
from paysession import Failure, Outcome, OutcomeUnknown, hookimpl
from paysession.outcome import Effect, WebhookEvent
from paysession_testing import FakeProvider

CLOSED = Failure("AC04", "The account is closed.")


class Bank(FakeProvider):
    """Takes transfers, accepts or declines debits later, and tells of it in statements."""

    def __init__(self):
        super().__init__(lookup="none", approve=False)
        self.lines = ()

    @hookimpl
    def authorize(self):
        return Outcome.pending()

    @hookimpl
    def capture(self, operation):
        return Outcome.captured(operation.amount)

    @hookimpl
    def cancel(self):
        return Outcome.canceled()

    @hookimpl
    def parse_webhook(self, body):
        return [WebhookEvent(None, "statement", session_id=json.loads(body), effects=self.lines)]


@pytest.fixture
def shop(make_shop):
    return make_shop(Bank())


def state(shop, session, *lines):
    """Have the bank state these lines, twice; return the session and what was told of them."""
    earlier = len(shop.events())
    shop.fake.lines = lines
    body = json.dumps(session.id).encode()
    assert shop.payments.handle_webhook("fake", headers={}, body=body).body == "ok"
    session, events = shop.payments.get(session.id), shop.events()[earlier:]
    assert shop.payments.handle_webhook("fake", headers={}, body=body).body == "ok"
    assert shop.payments.get(session.id) == session  # banks send everything again
    return session, [event.type for event in events]


class Deaf(Bank):
    """Its answer to an authorization is lost; a statement of it comes first."""

    meanwhile = staticmethod(bool)

    @hookimpl
    def authorize(self):
        self.meanwhile()
        raise OutcomeUnknown("reset")


@pytest.mark.parametrize("key", ["its own", None], ids=["with its key", "without a key"])
def test_a_failure_that_is_stated_while_the_call_has_yet_to_answer_is_its_end(make_shop, key):
    shop = make_shop(Deaf())
    session = shop.session("requires_more")

    def failed():
        operation = shop.payments.history(session.id)[-1]
        line = Effect("authorize", eur("42.00"), "failed", "debit_1", key and operation.id, error=CLOSED)
        state(shop, session, line)

    shop.fake.meanwhile = failed
    assert shop.payments.authorize(session.id).status == "error"
    operation = shop.payments.history(session.id)[-1]
    assert (operation.state, operation.error) == ("declined", CLOSED)
    # What was stated before comes after it: nothing is under way any more.
    began = Effect("authorize", eur("42.00"), "pending", "debit_1", key and operation.id)
    if key is not None:
        session, _ = state(shop, session, began)
        assert (session.status, session.pending) == ("error", 0)


def test_a_failure_of_an_earlier_authorization_says_nothing_about_the_one_in_flight(make_shop):
    shop = make_shop(Deaf())
    session = shop.session("requires_more")
    line = Effect("authorize", eur("42.00"), "failed", "debit_1", f"{session.id}-99", error=CLOSED)
    shop.fake.meanwhile = lambda: state(shop, session, line)
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(session.id)


@pytest.mark.parametrize(
    ("stated", "status"), [("failed", "error"), ("pending", "pending"), ("succeeded", "authorized")]
)
def test_a_statement_of_an_authorization_says_that_the_session_was_begun(make_shop, stated, status):
    class Silent(Bank):
        @hookimpl
        def initiate(self):
            raise OutcomeUnknown("reset")

    shop = make_shop(Silent())
    with pytest.raises(OutcomeUnknown):
        shop.payments.initiate(shop.order.id, provider="fake")
    (session,) = shop.payments.sessions()
    session, events = state(shop, session, Effect("authorize", eur("42.00"), stated, "debit_1"))
    assert (session.status, session.initiated, session.open) == (status, True, None)
    assert events[0] == "session.initiated"
    assert shop.rows(session.id)[0] == ("initiate", "host", "succeeded", "found", 4200)


def test_a_transfer_authorizes_and_captures_what_arrived(shop):
    session, events = state(
        shop, shop.session("requires_more"), Effect("capture", eur("42.00"), reference="t1")
    )
    assert shop.books(session.id) == ("authorized", 4200, 4200, 0, None)
    assert (session.held, session.next_action) == (4200, None)
    assert events == ["session.authorized", "session.captured"]
    assert shop.rows(session.id)[1:] == [
        ("authorize", "provider", "succeeded", "implied", 4200),
        ("capture", "provider", "succeeded", "found", 4200),
    ]


def test_a_transfer_of_too_little_is_not_taken_for_all(shop):
    session, events = state(
        shop, shop.session("requires_more"), Effect("capture", eur("20.00"), reference="t1")
    )
    assert shop.books(session.id) == ("authorized", 2000, 2000, 0, "amount")
    assert shop.payments.collection(shop.order.id).held == 2000
    assert events == ["session.authorized", "session.captured", "session.conflict"]
    session, events = state(shop, session, Effect("capture", eur("22.00"), reference="t2"))
    assert (session.authorized, session.captured, session.held) == (4200, 4200, 4200)
    assert events == ["session.captured"]


def test_a_transfer_of_too_much_is_booked_and_reported(shop):
    session, events = state(
        shop, shop.session("requires_more"), Effect("capture", eur("50.00"), reference="t1")
    )
    assert shop.books(session.id) == ("authorized", 5000, 5000, 0, "over_limit")
    assert not session.cancel_requested  # money that arrived is refunded, not cancelled
    assert events == ["session.authorized", "session.captured", "session.conflict"]
    assert shop.payments.collection(shop.order.id).held == 5000


@pytest.mark.parametrize("amount", ["20.00", "42.00"])
def test_a_transfer_for_a_canceled_session_is_reported_and_can_be_refunded(shop, amount):
    session = shop.payments.cancel(shop.session("requires_more").id)
    session, events = state(shop, session, Effect("capture", eur(amount), reference="t1"))
    minor = eur(amount).minor
    assert shop.books(session.id) == ("canceled", minor, minor, 0, "authorized_after_cancel")
    assert (session.held, session.cancel_requested) == (minor, False)
    assert events == ["session.captured", "session.conflict"]


def test_a_transfer_under_way_reserves_its_amount_until_it_arrives(shop):
    session = shop.session("requires_more")
    session, events = state(shop, session, Effect("capture", eur("42.00"), "pending", "t1"))
    assert shop.books(session.id) == ("authorized", 4200, 0, 0, None)
    assert (session.capturing, session.pending) == (4200, 1)
    assert events == ["session.authorized", "operation.pending"]
    assert session.due_at == shop.clock.now + timedelta(days=14)  # then an operator is needed
    session, events = state(shop, session, Effect("capture", eur("42.00"), "succeeded", "t1"))
    assert (session.captured, session.capturing, session.pending) == (4200, 0, 0)
    assert events == ["session.captured"]


def test_a_transfer_that_bounced_was_never_money(shop):
    session = shop.session("requires_more")
    session, events = state(shop, session, Effect("capture", eur("42.00"), "failed", "t1"))
    assert (session.status, session.captured, events) == ("requires_more", 0, ["operation.failed"])
    assert shop.rows(session.id)[-1] == ("capture", "provider", "declined", "failed", 4200)
    session, events = state(shop, session, Effect("capture", eur("42.00"), "pending", "t1"))
    assert (session.status, events) == ("requires_more", [])


def test_a_debit_that_the_bank_accepted_is_authorized(shop):
    session = shop.session()
    assert (session.status, session.pending) == ("pending", 1)
    session, events = state(shop, session, Effect("authorize", eur("42.00"), reference="m1"))
    assert shop.books(session.id) == ("authorized", 4200, 0, 0, None)
    assert shop.rows(session.id)[1:] == [("authorize", "host", "succeeded", "found", 4200)]
    assert shop.payments.history(session.id)[1].reference == "m1"
    assert events == ["session.authorized"]


def test_an_authorization_stated_again_after_its_rest_was_released_stays_released(shop):
    session = shop.session()
    accepted = Effect("authorize", eur("42.00"), reference="m1")
    state(shop, session, accepted)
    shop.payments.capture(session.id, eur("20.00"))
    session = shop.payments.cancel(session.id)
    assert shop.books(session.id) == ("authorized", 2000, 2000, 0, None)
    session, events = state(shop, session, accepted)
    assert shop.books(session.id) == ("authorized", 2000, 2000, 0, None)
    assert events == []


@pytest.mark.parametrize("named", ["reference", "key"])
def test_an_authorization_stated_again_after_its_cancel_stays_canceled(shop, named):
    session = shop.session()
    name = {"reference": "m1", "key": shop.key(session.id, 2)}[named]
    accepted = Effect("authorize", eur("42.00"), **{named: name})
    state(shop, session, accepted)
    session = shop.payments.cancel(session.id)
    session, events = state(shop, session, accepted)
    assert (shop.books(session.id), events) == (("canceled", 0, 0, 0, None), [])
    session, events = state(shop, session, Effect("authorize", eur("42.00"), reference="m2"))
    assert events == ["session.conflict", "session.released"]  # another one is not the same


def test_an_authorization_of_another_amount_is_booked_as_stated(shop):
    session = shop.session("requires_more")
    session, events = state(shop, session, Effect("authorize", eur("30.00"), reference="m1"))
    assert shop.books(session.id) == ("authorized", 3000, 0, 0, "amount")
    assert shop.events()[-1].detail == "amount: expected 42.00 EUR, found 30.00 EUR"
    assert events == ["session.authorized", "session.conflict"]


def test_a_debit_that_the_bank_refused_ends_in_error_with_its_reason(shop):
    session = shop.session()
    refused = Effect("authorize", eur("42.00"), "failed", "m1", error=CLOSED)
    session, events = state(shop, session, refused)
    assert (session.status, session.error, session.held, session.pending) == ("error", CLOSED, 0, 0)
    assert shop.payments.history(session.id)[1].error == CLOSED
    assert events == ["session.error"]


def test_a_debit_in_doubt_that_the_bank_works_on_is_pending(make_shop):
    class Lost(Bank):
        @hookimpl
        def authorize(self):
            raise OutcomeUnknown("reset")

    shop = make_shop(Lost())
    session = shop.session("requires_more")
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(session.id)
    session, events = state(shop, session, Effect("authorize", eur("42.00"), "pending", "m1"))
    assert (session.status, session.pending, session.in_doubt) == ("pending", 1, False)
    assert events == ["operation.pending"]


def test_a_refused_authorization_does_not_touch_what_was_authorized_before(shop):
    session = shop.session()
    session, _ = state(shop, session, Effect("authorize", eur("42.00"), reference="m1"))
    session, events = state(shop, session, Effect("authorize", eur("42.00"), "failed", "m0"))
    assert (shop.books(session.id), events) == (("authorized", 4200, 0, 0, None), [])


def test_a_mandate_that_the_bank_ended_cancels_the_session(shop):
    session = shop.session()
    session, _ = state(shop, session, Effect("authorize", eur("42.00"), reference="m1"))
    session, events = state(shop, session, Effect("cancel", eur("42.00"), reference="x1"))
    assert shop.books(session.id) == ("canceled", 0, 0, 0, None)
    assert events == ["session.canceled"]
    assert shop.payments.collection(shop.order.id).held == 0


@pytest.mark.parametrize("state_", ["pending", "failed", "reversed"])
def test_a_cancel_that_did_not_happen_cancels_nothing(shop, state_):
    session, events = state(shop, shop.session("requires_more"), Effect("cancel", eur("42.00"), state_, "x1"))
    assert (session.status, events) == ("requires_more", [])


def test_a_debit_returned_after_it_was_captured_is_undone(shop):
    session, _ = state(shop, shop.session("requires_more"), Effect("capture", eur("42.00"), reference="t1"))
    returned = Effect("capture", eur("42.00"), "reversed", "t1", error=CLOSED)
    session, events = state(shop, session, returned)
    assert shop.books(session.id) == ("canceled", 0, 0, 0, None)
    assert shop.payments.history(session.id)[-1].error == CLOSED
    assert events == ["session.reversed", "session.canceled"]


def test_a_refund_names_the_transfer_it_gives_back(shop):
    session, _ = state(shop, shop.session("requires_more"), Effect("capture", eur("42.00"), reference="t1"))
    session, events = state(
        shop,
        session,
        Effect("refund", eur("2.00"), reference="r1", capture="t1"),
        Effect("refund", eur("3.00"), reference="r2", capture="unknown"),
    )
    assert (session.refunded, events) == (200, ["session.refunded"])
    shop.settle()
    shop.clock.forward(days=3)
    shop.payments.recover()  # the other capture was never reported
    rows = shop.payments.history(session.id)
    assert [(row.amount.minor, row.capture_id) for row in rows][-2:] == [(200, rows[2].id), (300, None)]


def test_a_statement_about_an_unknown_session_is_kept_until_it_is_known(shop):
    shop.fake.lines = (Effect("capture", eur("42.00"), reference="t1", error=CLOSED, key="k"),)
    body = json.dumps("ps_unknown").encode()
    assert shop.payments.handle_webhook("fake", headers={}, body=body).body == "ok"
    assert not shop.events()
    assert shop.payments.recover().notifications == 0  # not due at once
    shop.clock.forward(seconds=20)
    done = shop.payments.recover()
    assert (done.notifications, done.notifications_done) == (1, 0)


class Impatient(Bank):
    """It captures at authorization, and its statement may come before its answer, or after."""

    meanwhile = staticmethod(bool)

    @hookimpl
    def authorize(self, operation):
        self.meanwhile()
        return Outcome.captured(operation.amount, reference="debit_1")


@pytest.mark.parametrize("first", ["the statement", "the answer"])
def test_a_capture_at_authorization_is_booked_once_though_the_answer_does_not_name_it(make_shop, first):
    """First the authorization alone is stated; our answer, which adds the capture, comes after that."""
    shop = make_shop(Impatient())
    session = shop.session("requires_more")
    stated = []

    def authorized():
        key = shop.payments.history(session.id)[-1].id
        stated.append(Effect("capture", eur("42.00"), reference="fx_1", key=key))
        shop.clock.forward(minutes=5)
        state(shop, session, Effect("authorize", eur("42.00"), reference="debit_1", key=key))
        if first == "the statement":
            state(shop, session, *stated)

    shop.fake.meanwhile = authorized
    assert shop.payments.authorize(session.id).captured == 4200
    state(shop, session, *stated)
    assert shop.books(session.id) == ("authorized", 4200, 4200, 0, None)
    (capture,) = (row for row in shop.payments.history(session.id) if row.kind == "capture")
    assert capture.reference == "fx_1"


def test_a_capture_that_is_stated_again_without_its_reference_is_the_same(shop):
    session = shop.session("requires_more")
    shop.payments.authorize(session.id)
    key = shop.payments.history(session.id)[-1].id
    session, _ = state(shop, session, Effect("capture", eur("42.00"), reference="t1", key=key))
    session, events = state(shop, session, Effect("capture", eur("42.00"), key=key))
    assert (session.captured, events) == (4200, [])


@pytest.mark.parametrize("key", [None, "till 1"])
def test_what_carries_a_key_of_somebody_elses_is_nothing_that_was_stated_before(shop, key):
    session = shop.session("requires_more")
    session, _ = state(shop, session, Effect("capture", eur("20.00"), key=key))
    session, _ = state(shop, session, Effect("capture", eur("20.00"), key="till 2"))
    assert session.captured == 4000


def test_what_is_stated_without_a_name_is_nothing_that_has_one(shop):
    session = shop.session("requires_more")
    session, _ = state(shop, session, Effect("capture", eur("20.00"), reference="t1"))
    session, _ = state(shop, session, Effect("capture", eur("20.00")))
    assert session.captured == 4000


def test_what_is_new_in_a_statement_is_booked_beside_what_is_known(shop):
    session = shop.session("requires_more")
    first = Effect("capture", eur("20.00"), reference="t1")
    session, _ = state(shop, session, first)
    session, events = state(shop, session, first, Effect("capture", eur("22.00"), reference="t2"))
    assert (session.status, session.captured) == ("authorized", 4200)
    assert events == ["session.captured"]


def test_another_authorization_in_a_statement_is_recorded_and_reported(shop):
    session = shop.session("requires_more")
    session, _ = state(shop, session, Effect("authorize", eur("42.00"), reference="a1"))
    session, events = state(shop, session, Effect("authorize", eur("10.00"), reference="a2"))
    assert (session.authorized, session.held, session.conflict) == (5200, 5200, "over_limit")
    assert events == ["session.changed", "session.conflict"]


def test_a_failure_that_is_stated_again_after_the_payer_tried_again_says_nothing_new(shop):
    session = shop.session("requires_more")
    shop.payments.authorize(session.id)
    key = shop.payments.history(session.id)[-1].id
    failed = Effect("authorize", eur("42.00"), "failed", "debit_1", key, error=CLOSED)
    session, _ = state(shop, session, failed)
    assert session.status == "error"
    shop.payments.authorize(session.id)
    session, events = state(shop, session, failed)
    assert (session.status, session.pending, events) == ("pending", 1, [])


def test_what_is_stated_to_be_pending_while_it_is_sent_again_is_in_doubt_no_more(make_shop):
    shop = make_shop(Deaf())
    session = shop.session("requires_more")
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(session.id)
    operation = shop.payments.history(session.id)[-1]
    line = Effect("authorize", eur("42.00"), "pending", "debit_1", operation.id)
    shop.fake.meanwhile = lambda: state(shop, session, line)
    shop.clock.forward(minutes=10)
    shop.payments.recover()
    assert shop.payments.history(session.id)[-1].attempt == 2
    assert shop.rows(session.id)[-1][2:] == ("pending", "pending", 4200)
    assert not shop.payments.in_doubt()
    doubt = [event.type for event in shop.payments.events() if event not in shop.events()]
    assert doubt == ["operation.in_doubt", "operation.settled"]


def test_an_authorization_after_all_was_given_back_twice_is_not_over_the_limit(shop):
    session, _ = state(shop, shop.session("requires_more"), Effect("authorize", eur("42.00"), reference="a1"))
    state(shop, session, Effect("capture", eur("42.00"), reference="t1"))
    state(shop, session, Effect("refund", eur("42.00"), reference="r1", capture="t1"))
    state(shop, session, Effect("chargeback", eur("42.00"), reference="d1", capture="t1"))
    assert [row.kind for row in shop.payments.conflicts()] == ["over_captured"]
    session, _ = state(shop, session, Effect("authorize", eur("42.00"), reference="a2"))
    assert (session.authorized, session.refunded + session.charged_back) == (8400, 8400)
    assert "over_limit" not in {row.kind for row in shop.payments.conflicts(open=False)}


def test_an_authorization_that_is_stated_after_its_capture_was_undone_is_no_second_one(make_shop):
    shop = make_shop(Deaf())
    session = shop.session("requires_more")
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(session.id)
    state(shop, session, Effect("capture", eur("42.00"), reference="t1"))
    session, _ = state(shop, session, Effect("capture", eur("42.00"), "reversed", "t1"))
    assert (session.status, session.authorized) == ("canceled", 0)
    session, events = state(shop, session, Effect("authorize", eur("42.00"), reference="a1"))
    assert (session.status, session.authorized, events) == ("canceled", 0, [])
    assert shop.payments.history(session.id)[1].reference == "a1"
    session, events = state(shop, session, Effect("authorize", eur("42.00"), reference="a2"))
    assert events == ["session.conflict", "session.released"]  # another one is not the same


def test_an_authorization_under_anothers_key_is_never_taken_for_ours_once_it_is_over(make_shop):
    shop = make_shop(Deaf())
    session = shop.session("requires_more")
    with pytest.raises(OutcomeUnknown):
        shop.payments.authorize(session.id)
    state(shop, session, Effect("capture", eur("42.00"), reference="t1"))
    session, _ = state(shop, session, Effect("capture", eur("42.00"), "reversed", "t1"))
    _, events = state(shop, session, Effect("authorize", eur("42.00"), reference="a1", key="theirs"))
    assert events == ["session.conflict", "session.released"]


def test_an_implied_authorization_that_is_stated_after_the_end_is_no_news(shop):
    session, _ = state(shop, shop.session("requires_more"), Effect("capture", eur("42.00"), reference="t1"))
    state(shop, session, Effect("capture", eur("42.00"), "reversed", "t1"))
    session, events = state(shop, session, Effect("authorize", eur("42.00"), reference="a1"))
    assert (session.status, session.authorized, events) == ("canceled", 0, [])
    assert not shop.payments.conflicts()
