"""Whole lives of a session through `Payments`, with what payers and dashboards do in between."""

import threading

import pytest

from paysession import Checkout, Declined, InvalidAmount, InvalidTransition, OutcomeUnknown, PaysessionError
from paysession.operation import State
from paysession.provider import Money, hookimpl

EUR42 = Money("42.00", "EUR")
THREE_DS = "4000002500003155"
ALWAYS_THREE_DS = "4000002760003184"  # after it was kept, too: https://docs.stripe.com/testing
DECLINED = "4000000000000341"


def eur(amount):
    return Money(amount, "EUR")


@pytest.fixture
def begin(payments):
    def begin(payments=payments, **changes):
        order = payments.create_collection(EUR42, reference="order-1001")
        checkout = Checkout(return_url="https://shop.example/back/{session_id}")
        return payments.initiate(order.id, provider="stripe", checkout=checkout, **changes)

    return begin


@pytest.fixture
def taken(payments, begin, payer):
    """An authorized session."""
    session = begin()
    payer.confirm(session)
    return payments.resume(session.id)


def totals(session):
    return (session.status, session.authorized, session.captured, session.refunded)


def test_a_new_customer_pays_and_gets_some_of_it_back(payments, begin, payer, sandbox):
    session = begin(data={"email": "jenny@example.com", "name": "Jenny Rosen"})
    assert session.data["customer"].startswith("cus_")
    payer.confirm(session)
    session = payments.resume(session.id)
    assert ("authorized", 4200, 0, 0) == totals(session)
    session = payments.capture(session.id)
    session = payments.refund(session.id, eur("5.00"), reason="requested_by_customer")
    session = payments.refund(session.id, eur("7.00"))
    assert ("authorized", 4200, 4200, 1200) == totals(session)
    assert session == payments.sync(session.id)
    assert "partially_refunded" == payments.collection(session.collection_id).status
    kinds = [(row.kind, row.origin) for row in payments.history(session.id)]
    assert [("initiate", "host"), ("authorize", "provider")] == kinds[:2]  # by the payer, in the browser
    assert [("capture", "host"), ("refund", "host"), ("refund", "host")] == kinds[2:]
    ids = [row.reference and row.reference[:3] for row in payments.history(session.id)]
    assert ["pi_", None, "ch_", "re_", "re_"] == ids


def test_a_partial_capture_is_the_only_one_and_lets_go_of_the_rest(payments, taken):
    session = payments.capture(taken.id, eur("20.00"))
    assert ("authorized", 2000, 2000, 0) == totals(session)
    assert session == payments.sync(taken.id)
    with pytest.raises(InvalidAmount, match="nothing is left"):
        payments.capture(taken.id, eur("5.00"))
    with pytest.raises(InvalidTransition, match="refund it instead"):
        payments.cancel(taken.id)


def test_the_remainder_of_a_partial_capture_is_no_refund(payments, taken, sandbox):
    payments.capture(taken.id, eur("20.00"))
    assert [] == sandbox.call("GET", "/v1/refunds", {"payment_intent": taken.reference})["data"]
    assert eur("0.00") == payments.sync(taken.id).refunded_amount


def test_several_captures_where_the_account_may(make, open_payments, begin, payer):
    payments = open_payments(make(multicapture=True))
    session = begin(payments)
    payer.confirm(session)
    payments.authorize(session.id)
    payments.capture(session.id, eur("10.00"), idempotency_key="a")
    payments.capture(session.id, eur("10.00"), idempotency_key="a")
    session = payments.capture(session.id, eur("10.00"), idempotency_key="b")
    assert ("authorized", 4200, 2000, 0) == totals(session)
    assert session == payments.sync(session.id)
    payments.refund(session.id, eur("15.00"))
    session = payments.cancel(session.id)
    assert ("authorized", 2000, 2000, 1500) == totals(session)
    assert session == payments.sync(session.id)


def test_several_captures_and_the_last_takes_all_that_is_left(make, open_payments, begin, payer, sandbox):
    payments = open_payments(make(multicapture=True))
    session = begin(payments)
    payer.confirm(session)
    payments.authorize(session.id)
    payments.capture(session.id, eur("40.00"))
    session = payments.capture(session.id)
    assert ("authorized", 4200, 4200, 0) == totals(session)
    finals = [request.params["final_capture"] for request in sandbox.writes("/capture")]
    assert ["false", "true"] == finals


def test_what_the_dashboard_captures_between_ours_is_booked_once(make, open_payments, begin, payer, sandbox):
    payments = open_payments(make(multicapture=True))
    session = begin(payments)
    payer.confirm(session)
    payments.authorize(session.id)
    payments.capture(session.id, eur("10.00"))
    for captured in (1500, 1800):  # the dashboard takes 5.00, and then 3.00 more
        amount = str(500 if captured == 1500 else 300)
        path = f"payment_intents/{session.reference}/capture"
        payer.send(path, amount_to_capture=amount, final_capture="false")
        for _ in range(2):
            assert ("authorized", 4200, captured, 0) == totals(payments.sync(session.id))
    session = payments.capture(session.id, eur("5.00"))
    assert ("authorized", 4200, 2300, 0) == totals(session)
    assert session == payments.sync(session.id)
    captures = [row for row in payments.history(session.id) if row.kind == "capture"]
    assert [("host", 1000), ("provider", 500), ("provider", 300), ("host", 500)] == [
        (row.origin, row.amount.minor) for row in captures
    ]


def test_a_capture_in_doubt_is_not_mistaken_for_the_dashboards_of_the_same_amount(
    make, open_payments, begin, payer, sandbox, clock
):
    payments = open_payments(make(multicapture=True))
    session = begin(payments)
    payer.confirm(session)
    payments.authorize(session.id)
    sandbox.fail("drop_before", "/capture")
    sandbox.fail("drop_before", session.reference, method="GET")
    with pytest.raises(OutcomeUnknown):
        payments.capture(session.id, eur("10.00"))
    payer.send(
        f"payment_intents/{session.reference}/capture", amount_to_capture="1000", final_capture="false"
    )
    clock.advance(minutes=10)
    payments.recover()
    session = payments.get(session.id)
    assert (("authorized", 4200, 2000, 0), False) == (totals(session), session.in_doubt)
    captures = [row for row in payments.history(session.id) if row.kind == "capture"]
    assert {("host", 1000), ("provider", 1000)} == {(row.origin, row.amount.minor) for row in captures}


def test_marks_that_somebody_takes_off_book_nothing_twice(make, open_payments, begin, payer, sandbox):
    payments = open_payments(make(multicapture=True))
    session = begin(payments)
    payer.confirm(session)
    payments.authorize(session.id)
    payments.capture(session.id, eur("10.00"))
    session = payments.capture(session.id, eur("10.00"))
    sandbox.patch(lambda intent: intent.update(metadata={}))
    assert session == payments.sync(session.id)


@pytest.mark.parametrize("number", [THREE_DS, ALWAYS_THREE_DS])
@pytest.mark.parametrize("success", [True, False])
def test_three_d_secure_both_ways(payments, begin, payer, number, success):
    session = begin()
    payer.confirm(session, number)
    session = payments.resume(session.id)
    assert ("requires_more", "stripe.next_action") == (session.status, session.next_action.kind)
    payer.authenticate(session, success=success)
    session = payments.resume(session.id)
    if success:
        assert ("authorized", 4200, 0, 0) == totals(session)
    else:
        assert ("error", "payment_intent_authentication_failure") == (session.status, session.error.code)


def test_a_declined_card_and_then_another_session(payments, begin, payer):
    session = begin()
    payer.confirm(session, DECLINED)
    session = payments.resume(session.id)
    assert ("error", "generic_decline") == (session.status, session.error.code)
    assert "stripe.payment_element" == payments.resume(session.id).next_action.kind
    other = begin(replaces=session.id)
    payer.confirm(other)
    assert "authorized" == payments.resume(other.id).status


def test_a_saved_card_is_charged_without_the_payer(payments, begin, payer):
    session = begin(data=payer.saved_card(), capture="automatic")
    assert ("pending", 0, 0, 0) == totals(session)
    session = payments.authorize(session.id)
    assert ("authorized", 4200, 4200, 0) == totals(session)
    assert ("authorized", 4200, 4200, 0) == totals(payments.sync(session.id))


def test_a_return_charges_no_saved_card_and_repeats_no_decline(payments, begin, payer, sandbox):
    session = begin(data=payer.saved_card(), capture="automatic")
    for _ in range(3):
        assert session == payments.resume(session.id, payload={"redirect_status": "succeeded"})
    assert [] == sandbox.writes("/confirm")
    session = begin(data=payer.saved_card(DECLINED), replaces=session.id)
    session = payments.authorize(session.id)
    assert ("error", 1) == (session.status, len(sandbox.writes("/confirm")))
    seen = payments.resume(session.id)  # with the declined charge's id, which the answer did not have
    for _ in range(3):
        assert seen == payments.resume(session.id)
    assert ("error", session.error) == (seen.status, seen.error)
    assert 1 == len([e for e in payments.events() if (e.session_id, e.type) == (session.id, "session.error")])
    assert 1 == len(sandbox.writes("/confirm"))


@pytest.mark.parametrize("number", ["4242424242424242", ALWAYS_THREE_DS])
def test_a_card_that_is_kept_pays_the_next_order_without_the_payer(payments, begin, payer, number):
    session = begin(data={"email": "jenny@example.com", "setup_future_usage": "off_session"})
    assert "paid_with" not in session.data
    payer.confirm(session, number)
    if number == ALWAYS_THREE_DS:
        assert "paid_with" not in payments.resume(session.id).data
        payer.authenticate(session, success=True)
    kept = payments.resume(session.id).data
    order = payments.create_collection(eur("10.00"), reference="order-1002")
    data = {"customer": kept["customer"], "payment_method": kept["paid_with"]}
    session = payments.initiate(order.id, provider="stripe", data=data)
    session = payments.authorize(session.id)
    if number == ALWAYS_THREE_DS:
        assert ("error", "authentication_required") == (session.status, session.error.code)
    else:
        assert (("authorized", 1000, 0, 0), kept["paid_with"]) == (totals(session), session.data["paid_with"])


def test_a_saved_card_whose_bank_wants_the_payer(payments, begin, payer):
    session = begin(data=payer.saved_card(THREE_DS))
    session = payments.authorize(session.id)
    assert ("error", "authentication_required") == (session.status, session.error.code)
    session = payments.authorize(session.id)
    assert "requires_more" == session.status
    payer.authenticate(session, success=True)
    assert "authorized" == payments.resume(session.id).status


def test_an_update_that_the_payer_overtook_leaves_the_former_amount(payments, begin, payer):
    session = begin()
    payer.confirm(session)
    with pytest.raises(Declined):
        payments.update(session.id, eur("40.00"))
    session = payments.get(session.id)
    assert (("authorized", 4200, 0, 0), EUR42) == (totals(session), session.amount)


def test_an_update_in_doubt_that_the_payer_confirmed_is_settled_by_the_amount(
    payments, begin, payer, sandbox, clock
):
    session = begin()
    sandbox.fail("drop_after", f"/{session.reference}")
    sandbox.fail("drop_before", session.reference, method="GET")
    with pytest.raises(OutcomeUnknown):
        payments.update(session.id, eur("40.00"))
    payer.confirm(session)
    clock.advance(minutes=10)
    payments.recover()
    session = payments.get(session.id)
    assert (("authorized", 4000, 0, 0), eur("40.00")) == (totals(session), session.amount)
    assert (False, None) == (session.in_doubt, session.conflict)


def test_a_payer_who_never_returns_is_no_lost_sale(payments, begin, payer, clock):
    session = begin()
    payer.confirm(session)
    clock.advance(minutes=15)
    payments.recover()
    assert ("authorized", 4200, 0, 0) == totals(payments.get(session.id))


def test_what_the_dashboard_captures_and_refunds_enters_the_ledger(payments, taken, payer):
    payer.send(f"payment_intents/{taken.reference}/capture", amount_to_capture="3000")
    payer.send("refunds", payment_intent=taken.reference, amount="500")
    session = payments.sync(taken.id)
    assert ("authorized", 3000, 3000, 500) == totals(session)
    found = {(row.kind, row.amount.minor) for row in payments.history(taken.id) if row.origin == "provider"}
    assert {("capture", 3000), ("refund", 500)} <= found
    assert session == payments.sync(taken.id)


def test_what_the_dashboard_cancels_enters_the_ledger(payments, taken, payer):
    payer.send(f"payment_intents/{taken.reference}/cancel")
    assert ("canceled", 0, 0, 0) == totals(payments.sync(taken.id))


def test_a_refund_of_the_dashboard_counts_against_the_capture(payments, taken, payer):
    payments.capture(taken.id)
    payer.send("refunds", payment_intent=taken.reference, amount="4000")
    payments.sync(taken.id)
    capture, refund = [row for row in payments.history(taken.id) if row.kind in ("capture", "refund")]
    assert capture.id == refund.capture_id
    with pytest.raises(InvalidAmount, match=r"2\.00 EUR is left"):
        payments.refund(taken.id, eur("3.00"), capture=capture.id)


def test_a_refund_of_the_dashboard_is_never_taken_for_ours(payments, taken, payer):
    payments.capture(taken.id)
    payer.send("refunds", payment_intent=taken.reference, amount="500")
    session = payments.refund(taken.id, eur("5.00"))
    assert eur("5.00") == session.refunded_amount
    assert eur("10.00") == payments.sync(taken.id).refunded_amount


def test_a_refund_that_the_dashboard_made_impossible_is_refused_and_both_are_booked(payments, taken, payer):
    payments.capture(taken.id)
    payer.send("refunds", payment_intent=taken.reference)
    with pytest.raises(Declined, match="is given back") as refused:
        payments.refund(taken.id)
    assert "charge_already_refunded" == refused.value.code
    session = payments.get(taken.id)
    assert (("authorized", 4200, 4200, 4200), False) == (totals(session), session.in_doubt)
    ours, theirs = [row for row in payments.history(taken.id) if row.kind == "refund"]
    assert [("host", State.DECLINED), ("provider", State.SUCCEEDED)] == [
        (row.origin, row.state) for row in (ours, theirs)
    ]


def test_a_capture_that_the_dashboard_made_impossible_is_refused_and_theirs_is_booked(payments, taken, payer):
    payer.send(f"payment_intents/{taken.reference}/capture", amount_to_capture="3000")
    with pytest.raises(Declined, match="takes no further capture") as refused:
        payments.capture(taken.id, eur("42.00"))
    assert "payment_intent_succeeded" == refused.value.code
    session = payments.get(taken.id)
    assert (("authorized", 3000, 3000, 0), False) == (totals(session), session.in_doubt)


def test_a_cancel_that_the_dashboard_made_impossible_is_refused(payments, taken, payer):
    payer.send(f"payment_intents/{taken.reference}/capture")
    with pytest.raises(Declined) as refused:
        payments.cancel(taken.id)
    assert "already_captured" == refused.value.code
    assert ("authorized", 4200, 4200, 0) == totals(payments.sync(taken.id))


@pytest.mark.parametrize("ours", [0, 500])
def test_what_the_dashboard_captured_before_a_cancel_is_booked_with_it(
    make, open_payments, begin, payer, ours
):
    payments = open_payments(make(multicapture=True))
    session = begin(payments)
    payer.confirm(session)
    session = payments.resume(session.id)
    if ours:
        payments.capture(session.id, eur("5.00"))
    payer.send(
        f"payment_intents/{session.reference}/capture", amount_to_capture="1000", final_capture="false"
    )
    session = payments.cancel(session.id)
    assert ("authorized", 1000 + ours, 1000 + ours, 0) == totals(session)
    assert (None, False) == (session.conflict, session.in_doubt)
    assert session == payments.sync(session.id)


def test_a_chargeback_is_booked_and_undone_if_the_dispute_is_won(payments, taken, sandbox):
    payments.capture(taken.id)
    charge = payments.get(taken.id).data["latest_charge"]
    dispute = {
        "object": "dispute",
        "id": "dp_1",
        "amount": 4200,
        "currency": "eur",
        "status": "needs_response",
    }
    sandbox.disputes[charge] = [dispute]
    assert 4200 == payments.sync(taken.id).charged_back
    dispute["status"] = "under_review"
    assert 4200 == payments.sync(taken.id).charged_back
    dispute["status"] = "won"
    session = payments.sync(taken.id)
    assert ("authorized", 4200, 4200, 0) == totals(session)
    assert 0 == session.charged_back
    undone = payments.history(taken.id)[-1]
    assert ("chargeback", "dispute_won") == (undone.kind, undone.error.code)
    assert "session.dispute_won" in [event.type for event in payments.events()]
    assert session == payments.sync(taken.id)


def test_a_second_dispute_of_a_charge_is_booked_beside_the_first(payments, taken, sandbox):
    # "One Charge can now have multiple sequential Disputes": https://github.com/stripe/openapi/issues/156
    payments.capture(taken.id)
    charge = payments.get(taken.id).data["latest_charge"]
    first = {"object": "dispute", "id": "dp_1", "amount": 3000, "currency": "eur", "status": "lost"}
    second = {
        "object": "dispute",
        "id": "dp_2",
        "amount": 1200,
        "currency": "eur",
        "status": "needs_response",
    }
    sandbox.disputes[charge] = [first]
    assert 3000 == payments.sync(taken.id).charged_back
    sandbox.disputes[charge].append(second)
    assert 4200 == payments.sync(taken.id).charged_back
    assert ["dp_1", "dp_2"] == [
        row.reference for row in payments.history(taken.id) if row.kind == "chargeback"
    ]
    second["status"] = "won"
    assert 3000 == payments.sync(taken.id).charged_back


def test_a_pending_refund_that_fails_later_gives_its_amount_free(payments, taken, sandbox):
    payments.capture(taken.id)
    sandbox.refund_status = "pending"
    session = payments.refund(taken.id, eur("5.00"))
    assert (0, 500) == (session.refunded, session.refunding)
    sandbox.refund_status = "failed"
    session = payments.sync(taken.id)
    assert (0, 0) == (session.refunded, session.refunding)
    (row,) = [row for row in payments.history(taken.id) if row.kind == "refund"]
    assert (State.DECLINED, "refund_failed") == (row.state, row.error.code)
    assert f"the refund {row.reference} failed" == row.error.message


def test_a_refund_that_succeeded_and_fails_later_is_undone(payments, taken, sandbox):
    payments.capture(taken.id)
    payments.refund(taken.id, eur("5.00"))
    sandbox.refund_status = "failed"
    session = payments.sync(taken.id)
    assert ("authorized", 4200, 4200, 0) == totals(session)
    assert session == payments.sync(taken.id)


def test_a_bank_debit_is_pending_until_stripe_says_more(payments, begin, payer, sandbox):
    session = begin()
    payer.confirm(session)

    def processing(intent):
        intent.update(status="processing", amount_capturable=0)

    sandbox.patch(processing)
    session = payments.resume(session.id)
    assert ("pending", True) == (session.status, session.authorizing is not None)
    assert session.status == payments.sync(session.id).status
    sandbox.patches.remove(processing)
    assert ("authorized", 4200, 0, 0) == totals(payments.resume(session.id))


def test_a_bank_debit_that_is_captured_at_once_is_booked_when_it_arrives(payments, begin, payer, sandbox):
    session = begin(capture="automatic")
    payer.confirm(session)

    def processing(intent):
        intent.update(status="processing", amount_received=0)

    sandbox.patch(processing)
    session = payments.resume(session.id)
    assert ("pending", 0, 0, 0) == totals(session)
    sandbox.patches.remove(processing)
    session = payments.sync(session.id)
    assert ("authorized", 4200, 4200, 0) == totals(session)
    assert session == payments.sync(session.id)


def test_a_bank_debit_that_fails_is_an_error_and_holds_nothing(payments, begin, payer, sandbox):
    session = begin()
    payer.confirm(session)

    def show(intent):
        intent.update(status=shown, amount_capturable=0, last_payment_error=error)

    shown, error = "processing", None
    sandbox.patch(show)
    payments.resume(session.id)
    shown, error = (
        "requires_payment_method",
        {"code": "payment_intent_payment_attempt_failed", "message": "No."},
    )
    session = payments.sync(session.id)
    assert ("error", "payment_intent_payment_attempt_failed") == (session.status, session.error.code)
    assert (0, None) == (session.held, session.authorizing)


def test_an_expired_authorization_ends_the_session(payments, taken, payer, sandbox):
    payer.send(f"payment_intents/{taken.reference}/cancel")
    sandbox.patch(lambda intent: intent.update(cancellation_reason="expired"))
    with pytest.raises(Declined):
        payments.capture(taken.id)
    assert ("canceled", 0, 0, 0) == totals(payments.get(taken.id))


def test_eight_threads_take_payments_with_one_provider(payments, payer, sandbox):
    failures = []

    def pay(number):
        try:
            order = payments.create_collection(EUR42, reference=f"order-{number}")
            session = payments.initiate(order.id, provider="stripe")
            payer.confirm(session)
            payments.authorize(session.id)
            payments.capture(session.id)
            payments.refund(session.id, eur("1.00"))
        except PaysessionError as error:
            failures.append(error)

    threads = [threading.Thread(target=pay, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [] == failures
    sessions = payments.sessions()
    assert [("authorized", 4200, 4200, 100)] * 8 == [totals(session) for session in sessions]
    assert 8 == len({session.reference for session in sessions})


def test_an_initiate_lost_in_a_crash_is_found_again_after_the_key_has_expired(
    payments, begin, sandbox, clock
):
    sandbox.fail("drop_after", "/v1/payment_intents")
    sandbox.fail("500_before", "/search", method="GET")
    with pytest.raises(OutcomeUnknown):
        begin(idempotency_key="1")
    clock.advance(days=3)
    payments.recover()
    (session,) = payments.sessions()
    assert (False, "pending") == (session.in_doubt, session.status)
    assert session.reference.startswith("pi_")
    assert 1 == len(sandbox.writes("/v1/payment_intents"))


@pytest.fixture
def notify(payments, sandbox):
    """Return a function that delivers the events of a kind, as they were signed."""

    def notify(kind, payments=payments):
        for event in sandbox.events(kind):
            headers, body = sandbox.signed(event, "whsec_test")
            assert 200 == payments.handle_webhook("stripe", headers=headers, body=body).status

    return notify


def at_page(payments, sandbox, ui="hosted"):
    """Return a session that was paid on a page of Stripe's."""
    order = payments.create_collection(EUR42, reference="order-1001")
    checkout = Checkout(return_url="https://shop.example/back")
    session = payments.initiate(order.id, provider="stripe", data={"ui": ui}, checkout=checkout)
    sandbox.pay_checkout(session.reference, "pm_card_visa")
    return payments.resume(session.id)


@pytest.mark.parametrize("ui", ["hosted", "embedded"])
def test_a_dispute_of_what_a_page_took_in_parts_is_found(make, open_payments, sandbox, notify, ui):
    payments = open_payments(make(multicapture=True))
    session = at_page(payments, sandbox, ui)
    assert ("authorized", 4200, 0, 0) == totals(session)
    payments.capture(session.id, eur("20.00"))
    payments.capture(session.id, eur("22.00"))
    sandbox.dispute(session.reference)
    notify("charge.dispute.created", payments)
    assert 4200 == payments.get(session.id).charged_back


def test_an_inquiry_is_shown_and_moves_no_money(payments, taken, sandbox, notify):
    payments.capture(taken.id)
    inquiry = sandbox.dispute(taken.reference, inquiry=True)
    notify("charge.dispute.created")
    row = payments.history(taken.id)[-1]
    assert ("chargeback", State.PENDING, "opened") == (row.kind, row.state, row.dispute.status)
    sandbox.decide(inquiry["id"], "warning_closed")
    notify("charge.dispute.closed")
    assert "won" == payments.history(taken.id)[-1].dispute.status
    assert ("authorized", 4200, 4200, 0) == totals(payments.get(taken.id))
    assert 0 == payments.get(taken.id).charged_back


def at_open_page(payments, ui="hosted"):
    order = payments.create_collection(EUR42, reference="order-1001")
    checkout = Checkout(return_url="https://shop.example/back")
    session = payments.initiate(order.id, provider="stripe", data={"ui": ui}, checkout=checkout)
    payments.update_collection(order.id, eur("50.00"))
    return session


@pytest.mark.parametrize("ui", ["hosted", "embedded"])
def test_an_update_whose_answer_was_lost_after_the_former_page_had_closed_is_found(
    payments, sandbox, clock, notify, ui
):
    session = at_open_page(payments, ui)
    sandbox.fail("drop_after", "/expire", times=9)
    with pytest.raises(OutcomeUnknown):
        payments.update(session.id, eur("50.00"))
    sandbox.clear_faults()
    notify("checkout.session.expired")
    clock.advance(minutes=5)
    payments.recover()
    session = payments.get(session.id)
    assert ("pending", eur("50.00"), False) == (session.status, session.amount, session.in_doubt)
    sandbox.pay_checkout(session.reference, "pm_card_visa")
    assert ("authorized", 5000, 0, 0) == totals(payments.resume(session.id))


def test_the_notification_of_the_former_pages_end_does_not_end_an_update_in_flight(
    payments, sandbox, monkeypatch
):
    session = at_open_page(payments)
    serve = sandbox.serve

    def notified(request):
        answer = serve(request)
        if request.path.endswith("/expire"):
            payments.sync(session.id)
        return answer

    monkeypatch.setattr(sandbox, "serve", notified)
    session = payments.update(session.id, eur("50.00"))
    assert ("pending", eur("50.00")) == (session.status, session.amount)


def test_a_debit_of_a_page_that_fails_stands_in_nobodys_way(payments, sandbox):
    order = payments.create_collection(EUR42, reference="order-1001")
    checkout = Checkout(return_url="https://shop.example/back")
    data = {"ui": "hosted", "capture": "automatic"}
    asked = {"provider": "stripe", "data": data, "checkout": checkout}
    session = payments.pay(order.id, **asked)
    billing = {"name": "Jenny", "email": "jenny@shop.example"}
    debit = {"type": "sepa_debit", "sepa_debit": {"iban": "DE89370400440532013000"}}
    method = sandbox.call("POST", "/v1/payment_methods", {**debit, "billing_details": billing})
    intent = sandbox.pay_checkout(session.reference, method["id"])
    assert "pending" == payments.resume(session.id).status
    sandbox.fail_debit(intent["id"])
    assert "error" == payments.sync(session.id).status
    again = payments.pay(order.id, **asked)
    assert ("pending", "canceled") == (again.status, payments.sync(session.id).status)


class Watch:
    """An observer that keeps what it is shown of warnings of fraud."""

    def __init__(self):
        self.seen = []

    @hookimpl
    def session_changed(self, before, after):
        if before and after.data.get("fraud_warning") != before.data.get("fraud_warning"):
            self.seen.append((after.id, after.data["fraud_warning"]))


@pytest.mark.parametrize("ui", ["elements", "hosted"])
def test_a_warning_of_fraud_reaches_observers_once_and_stays_with_the_session(
    make, open_payments, payer, sandbox, notify, caplog, ui
):
    watch = Watch()
    payments = open_payments(make(), [watch])
    if ui == "elements":
        order = payments.create_collection(EUR42, reference="order-1001")
        session = payments.initiate(order.id, provider="stripe")
        payer.confirm(session)
        session = payments.resume(session.id)
    else:
        session = at_page(payments, sandbox)
    sandbox.warn_of_fraud(session.reference)
    notify("radar.early_fraud_warning.created", payments)
    notify("radar.early_fraud_warning.created", payments)
    assert [(session.id, "made_with_stolen_card")] == watch.seen
    (line,) = [record.getMessage() for record in caplog.records if "fraud" in record.getMessage()]
    assert f"of session {session.id} for fraud (made_with_stolen_card)" in line
    assert "refund it before it is disputed" in line
    assert ("authorized", 4200, 0, 0) == totals(payments.get(session.id))
    payments.capture(session.id)
    session = payments.refund(session.id, reason="fraudulent")
    assert "made_with_stolen_card" == payments.sync(session.id).data["fraud_warning"]
    assert ("authorized", 4200, 4200, 4200) == totals(session)


def test_a_warning_of_fraud_about_somebody_elses_payment_is_not_logged(
    make, open_payments, sandbox, notify, caplog
):
    payments = open_payments(make())
    asked = {"amount": 500, "currency": "eur", "payment_method": "pm_card_visa", "confirm": "true"}
    theirs = sandbox.call("POST", "/v1/payment_intents", {**asked, "return_url": "https://other.example"})
    sandbox.warn_of_fraud(theirs["id"])
    notify("radar.early_fraud_warning.created", payments)
    assert 1 == len(payments.unmatched())
    assert "fraud" not in caplog.text


def test_a_key_that_may_not_read_disputes_reads_the_rest_of_a_disputed_payment(
    payments, taken, sandbox, caplog
):
    payments.capture(taken.id)
    sandbox.call("POST", "/v1/refunds", {"payment_intent": taken.reference, "amount": 200})
    sandbox.dispute(taken.reference, amount=4000)
    sandbox.fail("403", "/v1/disputes", "GET")
    session = payments.sync(taken.id)
    assert (200, 0) == (session.refunded, session.charged_back)
    assert (200, 4000) == (payments.sync(taken.id).refunded, payments.get(taken.id).charged_back)
    sandbox.fail("403", "/v1/disputes", "GET")
    assert 4000 == payments.sync(taken.id).charged_back  # what is known of it stays
    (line,) = [text for record in caplog.records if "to read disputes" in (text := record.getMessage())]
    assert line.startswith("disputes are not recorded")


def test_a_longer_hold_says_until_when_it_can_be_captured(make, open_payments, begin, payer):
    payments = open_payments(make(extended_authorization=True))
    session = begin(payments)
    payer.confirm(session)
    held = payments.resume(session.id)
    assert 29 <= (held.expires_at - session.created_at.now(held.expires_at.tzinfo)).days <= 30


def test_what_is_authorized_in_addition_at_stripe_is_recorded_and_can_be_captured(
    payments, begin, payer, sandbox
):
    asked = {"payment_method_options": {"card": {"request_incremental_authorization": "if_available"}}}
    session = begin(data=asked)
    payer.confirm(session)
    session = payments.resume(session.id)
    payments.update_collection(session.collection_id, eur("50.00"))
    with pytest.raises(InvalidTransition, match="cannot update a session that is authorized"):
        payments.update(session.id, eur("50.00"))
    with pytest.raises(InvalidAmount, match=r"42\.00 EUR is left to capture"):
        payments.capture(session.id, eur("50.00"))
    payer.send(f"payment_intents/{session.reference}/increment_authorization", amount="5000")
    session = payments.sync(session.id)
    assert ("authorized", 5000, 0, 0) == totals(session)
    assert "amount" == session.conflict  # the session asked for less
    session = payments.capture(session.id, eur("50.00"))
    assert ("authorized", 5000, 5000, 0) == totals(session)


@pytest.fixture
def held(make, open_payments, begin, payer):
    """Return payments, and an authorized session of 42 euros whose order has come to 50."""

    def hold(**settings):
        payments = open_payments(make(incremental_authorization=True, **settings))
        session = begin(payments)
        if session.reference.startswith("cs_"):
            payer.sandbox.pay_checkout(session.reference, "pm_card_visa")
        else:
            payer.confirm(session)
        session = payments.resume(session.id)
        payments.update_collection(session.collection_id, eur("50.00"))
        return payments, session

    return hold


@pytest.mark.parametrize("ui", ["elements", "hosted"])
def test_what_is_authorized_is_raised_and_captured_whole(held, sandbox, ui):
    payments, session = held(ui=ui)
    session = payments.update(session.id, eur("50.00"), idempotency_key="k")
    assert ("authorized", 5000, 0, 0, None) == (*totals(session), session.conflict)
    assert session == payments.update(session.id, eur("50.00"), idempotency_key="k")
    (sent,) = sandbox.writes("/increment_authorization")
    assert "5000" == sent.params["amount"]
    assert session.expires_at is not None
    assert ("authorized", 5000, 0, 0) == totals(payments.sync(session.id))
    assert ("authorized", 5000, 5000, 0) == totals(payments.capture(session.id))


def test_a_bank_that_holds_no_more_leaves_the_authorization(held, sandbox):
    payments, session = held()
    sandbox.decline_increments(session.reference)
    with pytest.raises(Declined) as refused:
        payments.update(session.id, eur("50.00"))
    assert ("generic_decline", "soft") == (refused.value.code, refused.value.category)
    assert ("authorized", 4200, 0, 0) == totals(payments.get(session.id))
    assert ("authorized", 4200, 4200, 0) == totals(payments.capture(session.id))


def test_a_card_that_cannot_be_raised_is_refused_before_anything_is_sent(
    held, sandbox, make, open_payments, begin, payer
):
    never = {"payment_method_options": {"card": {"request_incremental_authorization": "never"}}}
    payments = open_payments(make(incremental_authorization=True))
    session = begin(payments, data=never)
    payer.confirm(session)
    session = payments.resume(session.id)
    payments.update_collection(session.collection_id, eur("50.00"))
    with pytest.raises(Declined, match="take the difference in another session") as refused:
        payments.update(session.id, eur("50.00"))
    assert "incremental_authorization_unavailable" == refused.value.code
    assert [] == sandbox.writes("/increment_authorization")
    assert ("authorized", 4200, 0, 0) == totals(payments.get(session.id))


def test_the_eleventh_increment_is_refused(held):
    payments, session = held()
    for cents in range(4210, 4310, 10):
        payments.update(session.id, Money.from_minor(cents, "EUR"))
    with pytest.raises(Declined, match="at most 10"):
        payments.update(session.id, eur("50.00"))
    assert ("authorized", 4300, 0, 0) == totals(payments.get(session.id))


@pytest.mark.parametrize("ends", ["capture", "cancel"])
def test_an_increment_of_what_ended_at_stripe_is_declined_and_recorded(held, payer, ends):
    payments, session = held()
    payer.send(f"payment_intents/{session.reference}/{ends}")
    with pytest.raises(Declined) as refused:
        payments.update(session.id, eur("50.00"))
    status, captured = ("authorized", 4200) if ends == "capture" else ("canceled", 0)
    assert f"payment_intent_{'succeeded' if ends == 'capture' else 'canceled'}" == refused.value.code
    assert (status, captured, captured, 0) == totals(payments.get(session.id))


def test_more_than_is_authorized_is_not_captured_and_the_refusal_names_the_increment(held):
    payments, session = held()
    with pytest.raises(InvalidAmount, match="raise that first, with update"):
        payments.capture(session.id, eur("50.00"))


def test_a_raised_authorization_is_released_whole(held, payer, sandbox):
    payments, session = held()
    payments.update(session.id, eur("50.00"))
    assert ("canceled", 0, 0, 0) == totals(payments.cancel(session.id))
    assert 0 == sandbox.account().get("payment_intent", session.reference)["amount_capturable"]


def test_one_payment_holds_a_card_and_takes_ideal_at_once(make, open_payments, begin, payer, sandbox):
    payments = open_payments(make(capture_method="where_possible"))
    card, ideal = begin(payments), begin(payments)
    payer.confirm(card)
    assert ("authorized", 4200, 0, 0) == totals(payments.resume(card.id))
    data = {"payment_method_data[type]": "ideal", "payment_method_data[billing_details][name]": "Jenny"}
    path = f"payment_intents/{ideal.reference}/confirm"
    payer.send(path, return_url="https://shop.example/back", **data)
    payer.authenticate(ideal, success=True)
    assert ("authorized", 4200, 4200, 0) == totals(payments.resume(ideal.id))
    assert ("authorized", 4200, 4200, 0) == totals(payments.capture(card.id))
