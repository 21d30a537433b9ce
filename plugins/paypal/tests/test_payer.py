"""The payer's ways: who returns twice, late, never, or with what is not theirs; and money as time goes by."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from paysession import InvalidAmount, InvalidTransition, SessionBusy
from paysession.operation import State
from paysession.provider import Checkout, Declined, Kind, Money, NotApplied, OutcomeUnknown
from paysession_sandbox.paypal import Fault

EUR20 = Money("20.00", "EUR")


# --- coming back ----------------------------------------------------------------------------------


def test_a_double_click_on_the_return_url_authorizes_once(shop, fake):
    session = shop.session("approved")
    first = shop.payments.resume(session.id, payload=shop.query)
    second = shop.payments.resume(session.id, payload=shop.query)
    assert first == second
    assert fake.effects == ["authorize 42.00"]
    assert len(fake.calls("authorize")) == 1


def test_returns_at_once_authorize_once(shop, fake):
    session = shop.session("approved")
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(shop.payments.resume, session.id, payload=shop.query) for _ in range(8)]
        assert {str(job.result().status) for job in jobs} <= {"authorized", "requires_more"}
    shop.settle()
    assert fake.effects == ["authorize 42.00"]
    assert shop.books() == ("authorized", 4200, 4200, 0, 0)


@pytest.mark.parametrize("token", ["O0000000000000099", "", "../payments", 7, ["x"], {"a": 1}])
def test_a_wrong_token_changes_nothing_and_is_sent_nowhere(shop, fake, token):
    session = shop.session("approved")
    before = len(fake.exchanges)
    returned = shop.payments.resume(session.id, payload={"token": token, "PayerID": "X"})
    assert (str(returned.status), returned.in_doubt) == ("requires_more", False)
    assert [row.method for row in fake.exchanges[before:]] == ["GET"], "the order is looked at, no more"
    assert fake.effects == []
    assert str(shop.payments.resume(session.id, payload=shop.query).status) == "authorized"


def test_another_sessions_token_pays_neither(shop, fake):
    mine = shop.session("initiated")
    theirs = shop.session("approved")
    returned = shop.payments.resume(mine.id, payload=shop.query)
    assert str(returned.status) == "requires_more"
    assert fake.effects == []
    assert str(shop.payments.resume(theirs.id, payload=shop.query).status) == "authorized"
    assert [entry[1] for entry in fake.ledger.effects] == [theirs.id]


def test_a_return_without_approval_sends_the_payer_again(shop, fake):
    session = shop.session("initiated")
    for payload in ({"token": session.reference}, {"token": session.reference, "PayerID": "FORGED"}, None):
        returned = shop.payments.resume(session.id, payload=payload)
        assert (str(returned.status), returned.next_action) == ("requires_more", session.next_action)
    assert fake.calls("authorize") == []


def test_a_return_after_cancel_moves_no_money(shop, fake):
    session = shop.session("approved")
    assert str(shop.payments.cancel(session.id).status) == "canceled"
    assert str(shop.payments.resume(session.id, payload=shop.query).status) == "canceled"
    with pytest.raises(InvalidTransition):
        shop.payments.authorize(session.id, payload=shop.query)
    shop.settle()
    assert (fake.effects, shop.payments.get(session.id).conflict) == ([], None)


def test_an_approval_after_six_hours_ends_the_session(shop, fake, clock):
    session = shop.session("initiated")
    clock.forward(hours=6)
    assert str(shop.payments.resume(session.id, payload={"token": session.reference}).status) == "canceled"
    assert fake.effects == []
    again = shop.session()
    assert str(again.status) == "authorized", "the collection is free for another try"


@pytest.mark.parametrize("intent", ["authorize", "capture"])
def test_a_return_six_hours_after_the_approval_ends_the_session(
    make_shop, make_provider, fake, clock, intent
):
    shop = make_shop(make_provider(intent=intent))
    session = shop.session("approved")
    clock.forward(hours=6)
    assert str(shop.payments.resume(session.id, payload=shop.query).status) == "canceled"
    assert fake.effects == []


def test_a_payer_who_approved_and_never_returns_is_found_by_recovery(shop, fake):
    shop.session("approved")
    shop.settle()
    assert fake.effects == ["authorize 42.00"]
    assert shop.books() == ("authorized", 4200, 4200, 0, 0)


def test_a_payer_who_never_approves_is_released(shop, fake):
    shop.session("initiated")
    shop.settle(hours=1)
    assert shop.books() == ("canceled", 4200, 0, 0, 0)
    assert fake.effects == []


def test_an_update_after_the_approval_is_refused_and_the_former_amount_is_paid(shop, fake):
    session = shop.session("approved")
    with pytest.raises(Declined, match="different from the amount"):
        shop.payments.update(session.id, Money("40.00", "EUR"))
    assert str(shop.payments.resume(session.id, payload=shop.query).status) == "authorized"
    assert fake.effects == ["authorize 42.00"]


def test_an_updated_order_is_paid_with_its_new_amount(shop, fake):
    session = shop.session("initiated")
    session = shop.payments.update(session.id, Money("40.00", "EUR"))
    query = fake.payer_approves(session.reference)
    session = shop.payments.resume(session.id, payload=query)
    assert (session.authorized_amount, fake.effects) == (Money("40.00", "EUR"), ["authorize 40.00"])


def approve_again(fake, session):
    """Approve with another card, after PayPal sent the payer back to its page."""
    fake.ledger.orders[session.reference].status = "PAYER_ACTION_REQUIRED"
    fake.payer_approves(session.reference)


def test_a_declined_instrument_sends_the_payer_back_and_a_second_try_pays_once(
    make_shop, make_provider, fake, refuse
):
    shop = make_shop(make_provider(intent="capture"))
    session = shop.session("approved")
    refuse("capture_order", "INSTRUMENT_DECLINED")
    session = shop.payments.resume(session.id, payload=shop.query)
    assert str(session.status) == "requires_more"
    assert session.next_action is not None
    shop.settle()
    version = shop.payments.get(session.id).version
    for _ in range(3):
        shop.payments.resume(session.id, payload=shop.query)
    assert shop.payments.get(session.id).version == version
    assert fake.effects == [], "only the payer may try again"
    approve_again(fake, session)
    session = shop.payments.resume(session.id, payload=shop.query)
    assert fake.effects == ["capture 42.00"]
    assert (session.captured, str(session.status)) == (4200, "authorized")


def test_a_second_approval_is_found_by_recovery(make_shop, make_provider, fake, refuse):
    shop = make_shop(make_provider(intent="capture"))
    session = shop.session("approved")
    refuse("capture_order", "INSTRUMENT_DECLINED")
    shop.payments.resume(session.id, payload=shop.query)
    shop.settle()
    assert fake.effects == []
    approve_again(fake, session)
    shop.settle(minutes=20)
    assert fake.effects == ["capture 42.00"]


def test_an_approval_that_paypal_has_not_seen_everywhere_is_tried_again(shop, fake, refuse):
    session = shop.session("approved")
    refuse("authorize", "ORDER_NOT_APPROVED")
    assert str(shop.payments.resume(session.id, payload=shop.query).status) == "requires_more"
    assert str(shop.payments.resume(session.id, payload=shop.query).status) == "authorized"
    assert fake.effects == ["authorize 42.00"]


def test_a_decline_ends_in_error_and_only_the_host_may_try_again(shop, fake, refuse):
    session = shop.session("approved")
    refuse("authorize", "PAYER_CANNOT_PAY")
    session = shop.payments.resume(session.id, payload=shop.query)
    assert (str(session.status), session.error.code) == ("error", "PAYER_CANNOT_PAY")
    shop.settle()
    assert shop.books()[0] == "error"
    assert str(shop.payments.resume(session.id, payload=shop.query).status) == "error"
    assert str(shop.payments.authorize(session.id, payload=shop.query).status) == "authorized"


# --- capture at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"intent": "capture"}, {}], ids=["by setting", "by session"])
def test_capture_at_once_is_captured_refunded_and_not_cancelled(make_shop, make_provider, fake, settings):
    shop = make_shop(make_provider(**settings))
    session = shop.session(capture="manual" if settings else "automatic")
    assert shop.books() == ("authorized", 4200, 4200, 4200, 0)
    with pytest.raises(InvalidTransition, match="refund"):
        shop.payments.cancel(session.id)
    shop.payments.refund(session.id, Money("2.00", "EUR"))
    shop.payments.sync(session.id)
    assert shop.books() == ("authorized", 4200, 4200, 4200, 200)
    assert fake.effects == ["capture 42.00", "refund 2.00"]


def test_a_capture_at_once_that_paypal_holds_is_pending_until_it_decides(make_shop, make_provider, fake):
    fake.ledger.next_status["capture"] = ["PENDING"]
    shop = make_shop(make_provider(intent="capture"))
    session = shop.session()
    assert (str(session.status), session.captured, session.in_doubt) == ("pending", 0, False)
    (capture,) = fake.ledger.orders[session.reference].captures
    fake.ledger.settle(capture.id, "COMPLETED")
    shop.settle()
    assert shop.books() == ("authorized", 4200, 4200, 4200, 0)


def test_a_capture_at_once_that_was_denied_while_it_was_cancelled_leaves_nothing_open(
    make_shop, make_provider, fake
):
    fake.ledger.next_status["capture"] = ["PENDING"]
    shop = make_shop(make_provider(intent="capture"))
    session = shop.session()
    (capture,) = fake.ledger.orders[session.reference].captures
    fake.ledger.settle(capture.id, "DECLINED")
    shop.payments.cancel(session.id)
    shop.settle(hours=1)
    session = shop.payments.get(session.id)
    assert (str(session.status), session.due_at, session.conflict) == ("canceled", None, None)
    assert all(row.state.closed for row in shop.payments.history(session.id))


# --- as time goes by ------------------------------------------------------------------------------


def test_a_capture_on_day_4_succeeds(shop, fake, clock):
    """The honor period is over (3 days), the authorization is not (29 days)."""
    session = shop.session()
    clock.forward(days=4)
    session = shop.payments.capture(session.id, EUR20)
    assert (session.captured_amount, fake.effects[-1]) == (EUR20, "capture 20.00")


def test_a_capture_on_day_30_is_declined_and_the_session_is_over(shop, fake, clock):
    session = shop.session()
    clock.forward(days=30)
    with pytest.raises((Declined, InvalidTransition)):
        shop.payments.capture(session.id, EUR20)
    shop.settle()
    assert shop.books() == ("canceled", 4200, 0, 0, 0)
    assert "capture 20.00" not in fake.effects
    assert shop.payments.in_doubt() == ()


def test_after_day_30_only_what_was_captured_stays(shop, fake, clock):
    session = shop.session()
    shop.payments.capture(session.id, EUR20)
    clock.forward(days=30)
    shop.settle()
    assert shop.books() == ("authorized", 4200, 2000, 2000, 0)
    assert fake.effects[-1] == "void 22.00"
    shop.payments.refund(session.id, Money("5.00", "EUR"))
    assert shop.books() == ("authorized", 4200, 2000, 2000, 500)


def test_an_authorization_that_ran_out_is_noticed_without_being_asked_for(shop, fake, clock):
    session = shop.session()
    assert session.expires_at == clock() + timedelta(days=29)
    clock.forward(days=30, hours=1)
    shop.settle(rounds=2)
    assert shop.books()[0] == "canceled"


def test_a_capture_in_doubt_on_the_last_day_is_never_sent_after_the_end(shop, fake, clock):
    session = shop.session()
    clock.forward(days=28, hours=23)
    fake.fail("capture", Fault.drop(), times=100)
    fake.fail("show", Fault.answer(500), times=100)
    with pytest.raises(Exception, match="not known"):
        shop.payments.capture(session.id, EUR20)
    fake.fix()
    clock.forward(days=2)
    shop.settle()
    assert shop.books() == ("canceled", 4200, 0, 0, 0)
    (row,) = [row for row in shop.payments.history(session.id) if row.kind is Kind.CAPTURE]
    assert (row.state, row.error.code) == (State.DECLINED, "AUTHORIZATION_VOIDED")
    assert "capture 20.00" not in fake.effects


# --- what others do in the dashboard --------------------------------------------------------------


def test_a_void_in_the_dashboard_ends_the_session(shop, fake):
    session = shop.session()
    fake.ledger.void(next(iter(session.data["authorizations"])))
    shop.payments.sync(session.id)
    assert shop.books() == ("canceled", 4200, 0, 0, 0)


def test_captures_and_refunds_in_the_dashboard_are_booked_as_the_providers(shop, fake):
    session = shop.session()
    pay = shop.payments
    pay.capture(session.id, EUR20)
    ours = pay.history(session.id)[-1]
    _, other = fake.ledger.capture(
        next(iter(session.data["authorizations"])), {"amount": {"currency_code": "EUR", "value": "20.00"}}
    )
    fake.ledger.refund(other.id, {"amount": {"currency_code": "EUR", "value": "20.00"}})
    pay.sync(session.id)
    assert shop.books() == ("authorized", 4200, 4200, 4000, 2000)
    theirs = [row for row in pay.history(session.id) if row.origin == "provider"]
    assert [(row.kind, row.amount) for row in theirs] == [(Kind.CAPTURE, EUR20), (Kind.REFUND, EUR20)]
    assert theirs[1].capture_id == theirs[0].id, "what is left of each capture is known"
    with pytest.raises(InvalidAmount):
        pay.refund(session.id, Money("1.00", "EUR"), capture=theirs[0].id)
    pay.refund(session.id, EUR20, capture=ours.id)
    assert shop.books() == ("authorized", 4200, 4200, 4000, 4000)


@pytest.mark.parametrize(
    ("ends", "state", "books"),
    [
        ("COMPLETED", State.SUCCEEDED, ("authorized", 4200, 4200, 2000, 0)),
        ("DECLINED", State.DECLINED, ("authorized", 4200, 4200, 0, 0)),
    ],
)
def test_a_capture_that_paypal_holds_is_reserved_until_paypal_decides(shop, fake, ends, state, books):
    session = shop.session()
    fake.ledger.next_status["capture"] = ["PENDING"]
    shop.payments.capture(session.id, EUR20)
    shop.payments.sync(session.id)
    assert shop.books() == ("authorized", 4200, 4200, 0, 0)
    with pytest.raises(InvalidAmount, match=r"22\.00 EUR is left"):
        shop.payments.capture(session.id, Money("22.01", "EUR"))
    row = shop.payments.history(session.id)[-1]
    fake.ledger.settle(row.reference, ends)
    shop.settle(hours=6)
    assert shop.payments.history(session.id)[-1].state is state
    assert shop.books() == books


def test_a_pending_refund_that_fails_is_given_back_to_what_can_be_refunded(shop, fake):
    session = shop.session()
    shop.payments.capture(session.id, EUR20)
    fake.ledger.next_status["refund"] = ["PENDING"]
    shop.payments.refund(session.id, EUR20)
    row = shop.payments.history(session.id)[-1]
    assert (row.state, shop.books()) == (State.PENDING, ("authorized", 4200, 4200, 2000, 0))
    fake.ledger.settle(row.reference, "FAILED")
    shop.settle(hours=6)
    row = shop.payments.history(session.id)[-1]
    assert (row.state, row.error.code) == (State.DECLINED, "FAILED")
    shop.payments.refund(session.id, EUR20)
    assert shop.books() == ("authorized", 4200, 4200, 2000, 2000)


def test_two_captures_of_one_amount_are_two_and_each_is_refunded_by_name(shop, fake):
    session = shop.session()
    pay = shop.payments
    for _ in range(2):
        pay.capture(session.id, EUR20)
    first, second = [row for row in pay.history(session.id) if row.kind is Kind.CAPTURE]
    with pytest.raises(Exception, match="name it with capture="):
        pay.refund(session.id, Money("5.00", "EUR"))
    pay.refund(session.id, EUR20, capture=second.id)
    pay.refund(session.id, EUR20, capture=first.id)
    assert shop.books() == ("authorized", 4200, 4200, 4000, 4000)
    statuses = {capture.id: capture.status for capture in fake.ledger.orders[session.reference].captures}
    assert statuses == {first.reference: "REFUNDED", second.reference: "REFUNDED"}


def test_captures_at_once_with_one_key_are_one(shop, fake):
    session = shop.session()

    def capture(_):
        try:
            return shop.payments.capture(session.id, EUR20, idempotency_key="ship-1").captured
        except SessionBusy:
            return None

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(capture, range(8))) <= {2000, None}
    assert fake.effects == ["authorize 42.00", "capture 20.00"]
    assert len(fake.calls("capture")) == 1


def test_a_final_capture_releases_the_rest(shop, fake):
    session = shop.session()
    session = shop.payments.capture(session.id, EUR20, final=True)
    assert shop.books() == ("authorized", 4200, 2000, 2000, 0)
    shop.payments.sync(session.id)
    assert shop.books() == ("authorized", 4200, 2000, 2000, 0)
    assert session.conflict is None


# --- what a browser may see -----------------------------------------------------------------------


def test_the_next_action_is_the_approval_page_and_nothing_more(shop, fake):
    session = shop.session("initiated")
    assert session.next_action.url == f"{fake.url}/checkoutnow?token={session.reference}"
    assert (session.next_action.method, session.next_action.fields) == ("GET", {})


def test_without_a_return_url_nothing_is_invented(make_shop, make_provider, fake):
    shop = make_shop(make_provider())
    session = shop.session("initiated", checkout=Checkout())
    assert "return_url" not in str(fake.calls("create")[0].body)
    assert str(session.status) == "requires_more"


def test_a_host_that_lost_its_reference_is_told_and_nothing_is_sent(make_hand, provider, fake):
    hand = make_hand(provider)
    for kind in ("authorize", "update"):
        with pytest.raises(NotApplied, match="no order"):
            hand.do(kind)
    assert fake.exchanges == []


def test_what_others_captured_before_a_cancel_is_booked_with_it(shop, fake):
    session = shop.session()
    euros = {"amount": {"currency_code": "EUR", "value": "20.00"}}
    fake.ledger.capture(next(iter(session.data["authorizations"])), euros)
    session = shop.payments.cancel(session.id)
    assert shop.books() == ("authorized", 4200, 2000, 2000, 0)
    assert (session.conflict, session.in_doubt) == (None, False)


def test_a_void_after_which_nothing_can_be_looked_at_is_in_doubt_until_it_can(shop, fake):
    session = shop.session()
    fake.fail("show", Fault.drop(), times=2)
    with pytest.raises(OutcomeUnknown):
        shop.payments.cancel(session.id)
    shop.settle()
    assert shop.books() == ("canceled", 4200, 0, 0, 0)
    assert [row for row in fake.effects if row.startswith("void")] == ["void 42.00"]
