"""Disputes and chargebacks: what the order shows of them, and what PayPal says when it is queried about them."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from paysession.operation import Dispute, State
from paysession.provider import Kind, Money, Status
from paysession_paypal.data import PayPalData
from paysession_paypal.disputes import Disputed, read_case
from paysession_paypal.webhooks import parse
from paysession_sandbox.paypal import Fault

EUR = "EUR"
EUR20, EUR42 = Money("20.00", EUR), Money("42.00", EUR)
ANSWER_BY = datetime(2026, 1, 11, 12, tzinfo=UTC)
NOT_RECEIVED = "MERCHANDISE_OR_SERVICE_NOT_RECEIVED"


@pytest.fixture
def paid(shop):
    """Return a shop, its session that was captured at once, and that capture's id."""
    session = shop.session(capture="automatic")
    (capture,) = session.data["captures"]
    return shop, session.id, capture


class Trusting:
    """Takes any notification for PayPal's."""

    def check(self, headers, body):
        pass


def forbid(fake):
    """Let the app have no permission to see disputes."""
    document = {"name": "NOT_AUTHORIZED", "message": "No permission.", "debug_id": "f00d"}
    for call in ("show_dispute", "show_disputes"):
        fake.fail(call, Fault.answer(403, json.dumps(document).encode()), times=50)


@pytest.fixture(params=["disputes seen", "no permission"])
def permission(request, fake):
    """Run a test twice: PayPal shows disputes, or the app has no permission to see them."""
    if request.param == "no permission":
        forbid(fake)
    return request.param == "disputes seen"


def rows(shop, session_id):
    """Return every chargeback of a session."""
    return [
        row for row in shop.payments.history(session_id) if row.kind is Kind.CHARGEBACK and not row.reverses
    ]


@pytest.fixture
def notify(shop, fake, monkeypatch):
    """Return a function that delivers the fake's latest notification, which the provider trusts."""

    def notify(event=None):
        event = event or fake.events[-1]
        reply = shop.payments.handle_webhook("paypal", headers={}, body=event.body)
        assert reply.status == 200

    monkeypatch.setattr(shop.provider, "verifier", Trusting())
    return notify


def disputes_told(shop):
    """Return the events of disputes, in their order."""
    kinds = ("session.disputed", "session.charged_back", "session.dispute_won")
    return [event.type for event in shop.payments.events() if event.type in kinds]


# --- disputes -------------------------------------------------------------------------------------


def test_a_disputed_payment_stays_paid_whoever_wins(paid, fake, permission):
    shop, session_id, capture = paid
    fake.ledger.dispute(capture)
    session = shop.look(session_id)
    assert (session.status, session.captured_amount, session.conflict) == (Status.AUTHORIZED, EUR42, None)
    assert (session.disputes, PayPalData.of(session).captures) == (1, {capture: "disputed"})
    fake.ledger.decide(capture, won=True)
    session = shop.look(session_id, days=9)
    assert (session.status, session.captured_amount, session.refunded) == (Status.AUTHORIZED, EUR42, 0)
    assert (session.disputes, session.charged_back) == (0, 0)
    assert disputes_told(shop) == ["session.disputed", "session.dispute_won"]
    assert shop.look(session_id, days=9).version == session.version, "it is over, and nothing is news"


def test_a_disputed_capture_is_not_capturable_again(captured, fake):
    shop, session_id, capture = captured
    fake.ledger.dispute(capture)
    assert shop.look(session_id).captured_amount == EUR20
    assert (fake.effects.count("capture 20.00"), shop.books()[2:]) == (1, (4200, 2000, 0))
    shop.payments.capture(session_id, Money("22.00", EUR))
    assert fake.effects[-1] == "capture 22.00", "what is left of the authorization is"


@pytest.mark.parametrize("automatic", [True, False])
def test_a_lost_dispute_takes_the_capture_back_and_does_not_cancel(shop, fake, automatic, permission):
    session = shop.session(capture="automatic" if automatic else "manual")
    if not automatic:
        session = shop.payments.capture(session.id, EUR42)
    (capture,) = session.data["captures"]
    fake.ledger.dispute(capture)
    shop.look(session.id)
    fake.ledger.decide(capture, won=False)
    session = shop.look(session.id)
    assert (session.status, session.captured_amount, session.charged_back_amount) == (
        Status.AUTHORIZED, EUR42, EUR42,
    )  # fmt: skip
    assert (session.conflict, session.refunded, session.disputes) == (None, 0, 0)
    assert disputes_told(shop) == ["session.disputed", "session.disputed", "session.charged_back"]


def test_money_that_comes_back_after_a_chargeback_is_the_merchants_again(paid, fake, permission):
    shop, session_id, capture = paid
    fake.ledger.decide(capture, won=False)
    assert shop.look(session_id).charged_back_amount == EUR42
    fake.ledger.decide(capture, won=True)
    session = shop.look(session_id)
    assert (session.charged_back, session.captured_amount, session.conflict) == (0, EUR42, None)
    assert disputes_told(shop)[-1] == "session.dispute_won"


def test_a_notification_of_a_dispute_leads_to_a_look(paid, fake):
    shop, session_id, capture = paid
    fake.ledger.dispute(capture)
    event = fake.events[-1]
    assert event.document["event_type"] == "CUSTOMER.DISPUTE.CREATED"
    (found,) = parse(Trusting(), {}, event.body)
    assert (found.session_id, capture in found.references) == (session_id, True)


def test_a_chargeback_takes_what_was_refunded_before_into_account(captured, fake):
    shop, session_id, capture = captured
    shop.payments.refund(session_id, Money("5.00", EUR))
    fake.ledger.decide(capture, won=False)
    session = shop.look(session_id)
    assert (session.charged_back_amount, session.refunded_amount) == (Money("15.00", EUR), Money("5.00", EUR))


@pytest.mark.parametrize("status", ["REVERSED", "PENDING"])
def test_a_chargeback_in_other_words_is_one(paid, fake, status, reword):
    shop, session_id, capture = paid
    fake.ledger.decide(capture, won=False)

    reword("captures", status)
    session = shop.look(session_id)
    assert (session.status, session.charged_back_amount) == (Status.AUTHORIZED, EUR42)


def test_a_part_that_was_taken_back_without_a_refund_is_reported(paid, fake, caplog):
    """The order does not say how much it was, so it is a conflict, and not a figure that was guessed."""
    shop, session_id, capture = paid
    fake.ledger.reverse_part(capture, Decimal("10.00"))
    session = shop.look(session_id)
    assert (session.conflict, session.refunded, session.captured_amount) == ("status", 0, EUR42)
    assert f"a part of {capture} was given back" in PayPalData.of(session).unclear[0]
    assert capture in caplog.text
    fake.ledger.capture_of(capture)[1].status = "COMPLETED"
    session = shop.look(session_id)
    assert (session.conflict, PayPalData.of(session).unclear) == (None, ())


def test_a_refund_that_is_not_listed_yet_is_no_part_that_was_taken_back(captured, fake):
    shop, session_id, _ = captured
    shop.payments.refund(session_id, Money("5.00", EUR))
    unlisted = 0

    def lagging(call, document):
        nonlocal unlisted
        if call == "show":
            unlisted += document["purchase_units"][0]["payments"].pop("refunds", None) is not None
        return document

    fake.twist(lagging)
    assert shop.look(session_id, seconds=1).conflict is None
    assert unlisted == 1


# --- what PayPal says of a dispute ----------------------------------------------------------------


def test_the_reason_and_the_due_date_are_those_of_the_dispute(paid, fake):
    shop, session_id, capture = paid
    dispute = fake.ledger.dispute(capture)
    shop.look(session_id)
    (row,) = rows(shop, session_id)
    assert row.dispute == Dispute("opened", reason=NOT_RECEIVED, evidence_due_by=ANSWER_BY)
    assert (row.amount, row.state, row.reference) == (EUR42, State.PENDING, f"{capture} dispute")
    (kept,) = PayPalData.of(shop.payments.get(session_id)).disputes.values()
    assert (kept.id, kept.due, kept.is_open) == (dispute.id, ANSWER_BY, True)
    fake.ledger.answer_dispute(capture)
    shop.look(session_id)
    (row,) = rows(shop, session_id)
    assert row.dispute == Dispute("under_review", reason=NOT_RECEIVED)


def test_a_part_of_a_payment_may_be_disputed_and_lost(paid, fake):
    shop, session_id, capture = paid
    fake.ledger.dispute(capture, Decimal("10.00"))
    shop.look(session_id)
    (row,) = rows(shop, session_id)
    assert (row.amount, row.state) == (Money("10.00", EUR), State.PENDING)
    fake.ledger.decide(capture, won=False, fee=Decimal("15.00"))
    session = shop.look(session_id)
    assert (session.charged_back_amount, session.captured_amount) == (Money("10.00", EUR), EUR42)
    assert (session.conflict, session.disputes, session.refundable_amount) == (None, 0, Money("32.00", EUR))
    (row,) = rows(shop, session_id)
    assert row.dispute == Dispute("lost", reason=NOT_RECEIVED, fee=Money("15.00", EUR))
    assert disputes_told(shop) == ["session.disputed", "session.disputed", "session.charged_back"]


@pytest.mark.parametrize("stated", ["moved", "refunded", "disputed"])
def test_how_much_was_taken_of_a_part_is_what_the_dispute_states(paid, fake, stated):
    """By what was debited; where that is left out by what the payer got; else by what was disputed."""
    shop, session_id, capture = paid
    fake.ledger.dispute(capture, Decimal("12.00"))
    fake.ledger.decide(capture, won=False, amount=Decimal("10.00"))

    def silent(call, document):
        if call == "show_dispute" and stated != "moved":
            del document["money_movements"]
        if call == "show_dispute" and stated == "disputed":
            del document["dispute_outcome"]["amount_refunded"]
        return document

    fake.twist(silent)
    session = shop.look(session_id)
    amount = "12.00" if stated == "disputed" else "10.00"
    assert (session.charged_back_amount, session.conflict) == (Money(amount, EUR), None)


@pytest.mark.parametrize("of", [0, 1])
def test_what_a_dispute_of_two_captures_took_counts_once(shop, fake, of):
    session = shop.session()
    for amount in (EUR20, Money("22.00", EUR)):
        session = shop.payments.capture(session.id, amount)
    captures = list(session.data["captures"])
    fake.ledger.dispute(captures[of], Decimal("10.00"))
    fake.ledger.decide(captures[of], won=False)

    def both(call, document):
        if call == "show_dispute":
            (row,) = document["disputed_transactions"]
            rows = [{**row, "seller_transaction_id": capture} for capture in captures]
            document["disputed_transactions"] = rows
        return document

    fake.twist(both)
    session = shop.look(session.id)
    assert (session.charged_back_amount, session.conflict) == (Money("10.00", EUR), None)
    assert [row.reference for row in rows(shop, session.id) if row.state is State.SUCCEEDED] == [
        f"{captures[of]} dispute"
    ]
    assert shop.look(session.id, days=2).disputes == 0


def test_what_was_debited_in_another_currency_is_what_was_decided(paid, fake):
    """The merchant's balance is in dollars: the payer got euros."""
    shop, session_id, capture = paid
    fake.ledger.dispute(capture, Decimal("12.00"))
    fake.ledger.decide(capture, won=False, amount=Decimal("10.00"))

    def converted(call, document):
        if call == "show_dispute":
            (row,) = document["money_movements"]
            row["amount"] = {"currency_code": "USD", "value": "11.42"}
        return document

    fake.twist(converted)
    session = shop.look(session_id)
    assert (session.charged_back_amount, session.conflict) == (Money("10.00", EUR), None)


def test_a_part_that_is_returned_is_the_merchants_again(paid, fake):
    shop, session_id, capture = paid
    fake.ledger.dispute(capture, Decimal("10.00"))
    fake.ledger.decide(capture, won=False)
    assert shop.look(session_id).charged_back_amount == Money("10.00", EUR)
    fake.ledger.decide(capture, won=True)
    session = shop.look(session_id, days=9)
    assert (session.charged_back, session.conflict) == (0, None)
    assert disputes_told(shop)[-1] == "session.dispute_won"


def test_of_what_was_taken_whole_a_part_may_come_back(paid, fake):
    shop, session_id, capture = paid
    dispute = fake.ledger.dispute(capture)
    fake.ledger.decide(capture, won=False)
    assert shop.look(session_id).charged_back_amount == EUR42
    fake.ledger.capture_of(capture)[1].status = "PARTIALLY_REFUNDED"
    dispute.movements.append(("CREDIT", "DISPUTE_SETTLEMENT", Decimal("12.00")))
    session = shop.look(session_id)
    assert (session.charged_back_amount, session.conflict) == (Money("30.00", EUR), None)


def test_a_part_that_was_taken_besides_our_own_refund_is_found_by_any_lookup(captured, fake):
    """The order shows the refund and not what was taken, and the notification may be lost."""
    shop, session_id, capture = captured
    shop.payments.refund(session_id, Money("5.00", EUR))
    fake.ledger.dispute(capture, Decimal("8.00"))
    fake.ledger.decide(capture, won=False)
    session = shop.look(session_id)
    assert (session.charged_back_amount, session.refunded_amount) == (Money("8.00", EUR), Money("5.00", EUR))
    assert session.conflict is None


def test_many_disputes_that_are_known_do_not_hide_another_one(captured, fake):
    """Of each capture only so many are asked for at once, and the order shows nothing of any of them."""
    shop, session_id, capture = captured
    shop.payments.refund(session_id, Money("5.00", EUR))
    for _ in range(7):
        fake.ledger.dispute(capture, Decimal("1.00"))
        fake.ledger.decide(capture, won=False)
    shop.look(session_id)
    session = shop.look(session_id)
    assert (session.charged_back_amount, session.conflict) == (Money("7.00", EUR), None)


def test_a_claim_that_ended_with_a_refund_counts_once(captured, fake, notify):
    """The merchant refunded in the Resolution Center: the order lists it, and the dispute says it again."""
    shop, session_id, capture = captured
    dispute = fake.ledger.dispute(capture, Decimal("8.00"), stage="INQUIRY")
    shop.look(session_id)
    notify()
    assert len(rows(shop, session_id)) == 1
    fake.ledger.refund(capture, {"amount": {"currency_code": EUR, "value": "8.00"}})
    dispute.status, dispute.outcome, dispute.refunded = "RESOLVED", "RESOLVED_BUYER_FAVOUR", Decimal("8.00")
    dispute.updated_at = shop.clock()
    session = shop.look(session_id, days=2)
    assert (session.refunded_amount, session.charged_back, session.disputes) == (Money("8.00", EUR), 0, 0)


def test_a_refund_from_before_a_dispute_is_not_its_end(captured, fake, notify):
    shop, session_id, capture = captured
    fake.ledger.refund(capture, {"amount": {"currency_code": EUR, "value": "8.00"}})
    shop.clock.forward(days=1)
    fake.ledger.dispute(capture, Decimal("8.00"))
    fake.ledger.decide(capture, won=False)
    notify()
    session = shop.payments.get(session_id)
    assert (session.refunded_amount, session.charged_back_amount) == (Money("8.00", EUR), Money("8.00", EUR))


def test_a_refund_from_after_a_dispute_is_not_its_end(captured, fake):
    """What was taken stays taken, whatever the merchant gives back of its own accord later."""
    shop, session_id, capture = captured
    fake.ledger.dispute(capture, Decimal("8.00"))
    fake.ledger.decide(capture, won=False)
    assert shop.look(session_id).charged_back_amount == Money("8.00", EUR)
    shop.clock.forward(days=5)
    fake.ledger.refund(capture, {"amount": {"currency_code": EUR, "value": "8.00"}})
    session = shop.look(session_id)
    assert (session.refunded_amount, session.charged_back_amount) == (Money("8.00", EUR), Money("8.00", EUR))
    assert "session.dispute_won" not in disputes_told(shop)


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
def test_a_dispute_of_no_sensible_time_is_read_all_the_same(captured, fake, notify, time):
    shop, session_id, capture = captured
    fake.ledger.dispute(capture, Decimal("8.00"), stage="INQUIRY")

    def odd(call, document):
        return {**document, "update_time": time} if call == "show_dispute" else document

    fake.twist(odd)
    notify()
    assert shop.payments.get(session_id).disputes == 1


def test_an_inquiry_that_holds_no_money_is_seen_with_its_due_date(paid, fake, notify):
    shop, session_id, capture = paid
    fake.ledger.dispute(capture, Decimal("10.00"), stage="INQUIRY")
    notify()
    session = shop.payments.get(session_id)
    assert (session.disputes, session.conflict, PayPalData.of(session).dispute) == (1, None, None)
    assert PayPalData.of(session).captures == {capture: "succeeded"}
    (row,) = rows(shop, session_id)
    assert (row.amount, row.dispute.evidence_due_by) == (Money("10.00", EUR), ANSWER_BY)
    fake.ledger.escalate(capture)
    session = shop.look(session_id, hours=6)
    assert PayPalData.of(session).captures == {capture: "disputed"}
    fake.ledger.decide(capture, won=True)
    session = shop.look(session_id, days=1)
    assert (session.disputes, len(rows(shop, session_id))) == (0, 1)
    assert disputes_told(shop) == ["session.disputed", "session.dispute_won"]


def test_a_second_dispute_of_a_capture_is_one_of_its_own(paid, fake):
    shop, session_id, capture = paid
    for won in (True, False):
        fake.ledger.dispute(capture)
        assert shop.look(session_id).disputes == 1
        fake.ledger.decide(capture, won=won)
        shop.look(session_id)
    session = shop.payments.get(session_id)
    assert (session.charged_back_amount, session.disputes, session.conflict) == (EUR42, 0, None)
    assert [(row.state, row.reference) for row in rows(shop, session_id)] == [
        (State.DECLINED, f"{capture} dispute"),
        (State.SUCCEEDED, f"{capture} dispute 2"),
    ]


def test_what_one_dispute_took_stays_taken_while_another_holds_the_rest(paid, fake):
    shop, session_id, capture = paid

    def silent(call, document):
        if call == "show_dispute":
            document.pop("money_movements", None)
        return document

    fake.twist(silent)
    fake.ledger.dispute(capture, Decimal("10.00"))
    fake.ledger.decide(capture, won=False)
    assert shop.look(session_id).charged_back_amount == Money("10.00", EUR)
    fake.ledger.dispute(capture, Decimal("5.00"))
    session = shop.look(session_id)
    assert (session.charged_back_amount, session.disputes, session.conflict) == (Money("10.00", EUR), 1, None)


def test_what_is_taken_once_more_on_appeal_is_another_chargeback_of_the_same_dispute(paid, fake):
    shop, session_id, capture = paid
    dispute = fake.ledger.dispute(capture)
    for won, charged_back in ((False, EUR42), (True, EUR42 - EUR42), (False, EUR42)):
        fake.ledger.decide(capture, won=won)
        assert shop.look(session_id).charged_back_amount == charged_back
    assert [(row.reference, row.dispute.status) for row in rows(shop, session_id)] == [
        (f"{capture} dispute", "won"),
        (f"{capture} dispute 2", "lost"),
    ]
    kept = PayPalData.of(shop.look(session_id)).disputes
    assert [(entry.id, entry.over) for entry in kept.values()] == [(dispute.id, True), (dispute.id, False)]
    assert disputes_told(shop)[-3:] == ["session.dispute_won", "session.disputed", "session.charged_back"]


def test_without_permission_a_second_dispute_is_seen_too(paid, fake):
    shop, session_id, capture = paid
    forbid(fake)
    for won in (True, False):
        fake.ledger.dispute(capture)
        assert shop.look(session_id).disputes == 1
        fake.ledger.decide(capture, won=won)
        shop.look(session_id)
    assert [row.state for row in rows(shop, session_id)] == [State.DECLINED, State.SUCCEEDED]


def test_what_the_order_showed_first_is_the_dispute_that_is_seen_later(paid, fake):
    shop, session_id, capture = paid
    fake.fail("show_disputes", Fault.answer(503))
    fake.ledger.dispute(capture, Decimal("10.00"))
    shop.look(session_id)
    assert [(row.amount, row.dispute.reason) for row in rows(shop, session_id)] == [
        (EUR42, "BUYER_COMPLAINT")
    ]
    shop.look(session_id)
    fake.ledger.decide(capture, won=False)
    session = shop.look(session_id)
    (row,) = rows(shop, session_id)
    assert (row.amount, session.charged_back_amount) == (Money("10.00", EUR), Money("10.00", EUR))


@pytest.mark.parametrize("fault", [Fault.drop(), Fault.answer(503), Fault.answer(200, b"<html>")])
def test_an_order_is_read_although_its_disputes_cannot_be(paid, fake, fault):
    shop, session_id, capture = paid
    fake.ledger.dispute(capture)
    shop.look(session_id)
    known = rows(shop, session_id)
    fake.fail("show_disputes", fault)
    session = shop.look(session_id)
    assert (session.status, session.disputes) == (Status.AUTHORIZED, 1)
    assert rows(shop, session_id) == known, "what is known of it stays"


def test_an_open_inquiry_is_not_won_because_disputes_cannot_be_queried(paid, fake, notify):
    shop, session_id, capture = paid
    fake.ledger.dispute(capture, stage="INQUIRY")
    notify()
    forbid(fake)
    assert shop.look(session_id, days=1).disputes == 1
    assert disputes_told(shop) == ["session.disputed"]


def test_a_dispute_that_could_not_be_queried_is_asked_for_at_the_next_lookup(paid, fake, notify):
    shop, session_id, capture = paid
    dispute = fake.ledger.dispute(capture, stage="INQUIRY")
    fake.fail("show_dispute", Fault.answer(503))
    notify()
    session = shop.payments.get(session_id)
    assert (session.disputes, PayPalData.of(session).dispute) == (0, dispute.id)
    session = shop.look(session_id)
    assert (session.disputes, PayPalData.of(session).dispute) == (1, None)


@pytest.mark.parametrize("fault", [Fault.answer(503), Fault.answer(403, b'{"name": "NOT_AUTHORIZED"}')])
def test_a_dispute_that_was_named_is_asked_for_although_no_list_is_to_be_had(captured, fake, notify, fault):
    shop, session_id, capture = captured
    shop.payments.refund(session_id, Money("5.00", EUR))
    fake.ledger.dispute(capture, Decimal("8.00"), stage="INQUIRY")
    fake.fail("show_disputes", fault, times=9)
    notify()
    session = shop.payments.get(session_id)
    assert (session.disputes, PayPalData.of(session).dispute) == (1, None)


def test_a_dispute_of_another_payment_is_not_taken_for_this_ones(shop, fake, notify):
    """Whoever has seen a delivery can make up others: they name a dispute, and PayPal says whose it is."""
    session = shop.session(capture="automatic")
    (capture,) = session.data["captures"]
    other = shop.payments.create_collection(EUR42, reference="order-1002")
    theirs = shop.payments.initiate(other.id, provider="paypal", capture="automatic")
    shop.payments.resume(theirs.id, payload=fake.payer_approves(theirs.reference))
    fake.ledger.dispute(next(iter(fake.ledger.orders[theirs.reference].captures)).id, stage="INQUIRY")
    event = fake.events[-1]
    (transaction,) = event.document["resource"]["disputed_transactions"]
    transaction.update(seller_transaction_id=capture, custom=session.id)
    notify(event)
    session = shop.payments.get(session.id)
    assert (session.disputes, PayPalData.of(session).dispute, len(fake.calls("show_dispute"))) == (0, None, 1)


@pytest.mark.parametrize("name", ["../orders/O1", "D1?x=1", "", 7, "D" * 300])
def test_a_dispute_of_another_name_is_not_asked_for(name):
    resource = {"dispute_id": name, "disputed_transactions": [{"custom": "ps_1"}]}
    body = json.dumps({"event_type": "CUSTOMER.DISPUTE.CREATED", "resource": resource}).encode()
    (event,) = parse(Trusting(), {}, body)
    assert (event.session_id, event.data) == ("ps_1", None)


def test_what_is_decided_against_the_merchant_shows_in_the_order_within_a_day(paid, fake, notify):
    """Until then it may be taken; afterwards PayPal has paid it."""
    shop, session_id, capture = paid
    dispute = fake.ledger.dispute(capture, stage="INQUIRY")
    dispute.status, dispute.outcome, dispute.updated_at = "RESOLVED", "RESOLVED_BUYER_FAVOUR", shop.clock()
    notify()
    assert (shop.payments.get(session_id).disputes, shop.payments.get(session_id).charged_back) == (1, 0)
    session = shop.look(session_id, hours=25)
    assert (session.disputes, session.charged_back) == (0, 0)
    assert disputes_told(shop) == ["session.disputed", "session.dispute_won"]


def test_an_order_at_rest_costs_no_query_of_disputes(paid, fake):
    shop, session_id, capture = paid
    shop.look(session_id)
    assert fake.calls("show_disputes") == []
    fake.ledger.dispute(capture)
    fake.ledger.decide(capture, won=False)
    shop.look(session_id)
    asked = len(fake.calls("show_disputes"))
    shop.look(session_id, days=1)
    assert (asked, len(fake.calls("show_disputes"))) == (1, 1), (
        "it is decided, and the order shows what it took"
    )


@pytest.mark.parametrize(
    ("document", "status", "taken", "fee"),
    [
        ({"status": "OPEN"}, "opened", None, None),
        ({"status": "OTHER"}, "opened", None, None),
        ({"status": "WAITING_FOR_SELLER_RESPONSE"}, "opened", None, None),
        ({"status": "WAITING_FOR_BUYER_RESPONSE"}, "under_review", None, None),
        ({"status": "UNDER_REVIEW"}, "under_review", None, None),
        ({"status": "RESOLVED"}, "won", None, None),
        ({"status": "RESOLVED", "dispute_outcome": {"outcome_code": "CANCELED_BY_BUYER"}}, "won", None, None),
        ({"status": "RESOLVED", "dispute_outcome": {"outcome_code": "RESOLVED_WITH_PAYOUT"}}, "won", None, None),
        ({"status": "RESOLVED", "dispute_outcome": {"outcome_code": "ACCEPTED"}}, "lost", EUR20, None),
        (
            {
                "status": "OPEN",
                "money_movements": [
                    {"affected_party": "SELLER", "type": "DEBIT", "reason": "DISPUTE_SETTLEMENT", "amount": "5.00"},
                    {"affected_party": "BUYER", "type": "CREDIT", "reason": "DISPUTE_SETTLEMENT", "amount": "5.00"},
                    {"affected_party": "SELLER", "type": "DEBIT", "reason": "CHARGEBACK_FEE", "amount": "20.00"},
                    {"affected_party": "SELLER", "type": "CREDIT", "reason": "DISPUTE_SETTLEMENT", "amount": "1.00"},
                ],
            },
            "opened",
            Money("4.00", EUR),
            EUR20,
        ),
    ],
)  # fmt: skip
def test_how_a_dispute_is_read(document, status, taken, fee):
    whole = {"dispute_id": "PP-D-1", "dispute_amount": {"currency_code": EUR, "value": "20.00"}, **document}
    for row in whole.get("money_movements", ()):
        row["amount"] = {"currency_code": EUR, "value": row["amount"]}
    case = read_case(whole)
    assert (case.status, case.taken, case.fee, case.amount) == (status, taken, fee, EUR20)


def test_what_is_kept_of_a_dispute_is_read_back_as_it_was():
    kept = Disputed(
        capture="C1",
        amount=EUR20,
        status="lost",
        id="PP-D-1",
        reason=NOT_RECEIVED,
        due=ANSWER_BY,
        claim=EUR20,
        moved=True,
        fee=Money("15.00", "USD"),
        taken=EUR20,
        over=True,
        created_at=ANSWER_BY - timedelta(days=10),
        updated_at=ANSWER_BY + timedelta(days=1),
    )
    stored = json.loads(json.dumps({"C1 dispute": kept.json()}))
    assert Disputed.read(stored) == {"C1 dispute": kept}
    assert Disputed.read({"C1 dispute": {"capture": "C1"}, "C2 dispute": "42.00 EUR", "C3": None}) == {}
    assert Disputed.read([]) == {}
