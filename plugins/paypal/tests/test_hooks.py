"""Each hook by itself, against the fake over sockets: what it answers, as PayPal stated it."""

import json

import pytest

from paysession.provider import (
    Answer,
    Checkout,
    Declined,
    Kind,
    Money,
    NotApplied,
    OutcomeUnknown,
    Redirect,
    Status,
)
from paysession.values import replace


def body_of(exchange):
    return json.loads(exchange.body)


def test_initiate_creates_the_order_and_sends_the_payer_to_it(hand, fake):
    outcome = hand.do("initiate")
    assert outcome.answer is Answer.REQUIRES_MORE
    assert outcome.next_action == Redirect(f"{fake.url}/checkoutnow?token={outcome.reference}")
    assert hand.session.data["order"] == outcome.reference
    (unit,) = body_of(fake.calls("create")[0])["purchase_units"]
    assert unit["custom_id"] == hand.session.id
    assert unit["invoice_id"] == f"order-1001 {hand.session.id}"
    assert fake.effects == []


def test_the_payers_visit_reaches_paypal_and_wins_over_the_settings(make_provider, make_hand, fake):
    provider = make_provider(return_url="https://set.example/{session_id}", brand_name="Shop\n& Sons")
    visit = Checkout(
        cancel_url="https://shop.example/no",
        locale="de-DE",
        email="ann@shop.example",
        description="Two\tbooks",
    )
    hand = make_hand(provider, checkout=visit)
    hand.do("initiate")
    body = body_of(fake.calls("create")[0])
    wallet = body["payment_source"]["paypal"]
    assert wallet["email_address"] == "ann@shop.example"
    assert wallet["experience_context"] == {
        "return_url": f"https://set.example/{hand.session.id}",
        "cancel_url": "https://shop.example/no",
        "brand_name": "Shop & Sons",
        "locale": "de-DE",
        "shipping_preference": "NO_SHIPPING",
        "user_action": "PAY_NOW",
    }
    assert body["purchase_units"][0]["description"] == "Two books"


def test_what_paypal_would_refuse_of_the_visit_is_left_out(provider, make_hand, fake):
    hand = make_hand(provider, checkout=Checkout(locale="xx_yy", email="no address"), reference="r" * 200)
    hand.do("initiate")
    body = body_of(fake.calls("create")[0])
    assert "email_address" not in body["payment_source"]["paypal"]
    assert "locale" not in body["payment_source"]["paypal"]["experience_context"]
    assert len(body["purchase_units"][0]["invoice_id"]) == 127


def test_authorize_answers_the_amount_that_paypal_states(hand, fake):
    hand.do("initiate")
    query = fake.payer_approves(hand.session.reference)
    outcome = hand.do("authorize", payload=query)
    assert (outcome.answer, outcome.amount) == (Answer.AUTHORIZED, Money("42.00", "EUR"))
    assert fake.effects == ["authorize 42.00"]
    assert hand.session.data["payer"] == query["PayerID"]
    assert len(hand.session.data["authorizations"]) == 1


def test_authorize_before_the_approval_sends_the_payer_again_and_writes_nothing(hand, fake):
    first = hand.do("initiate")
    outcome = hand.do("authorize")
    assert outcome.answer is Answer.REQUIRES_MORE
    assert outcome.next_action == first.next_action
    assert fake.calls("authorize") == []


def test_authorize_looks_before_it_writes(hand, fake):
    hand.authorized(fake)
    outcome = hand.do("authorize")
    assert (outcome.answer, outcome.amount) == (Answer.AUTHORIZED, Money("42.00", "EUR"))
    assert len(fake.calls("authorize")) == 1


@pytest.mark.parametrize("token", ["O0000000000000099", "", 7, ["O"]])
def test_a_return_with_another_orders_token_does_nothing(hand, fake, token):
    hand.do("initiate")
    fake.payer_approves(hand.session.reference)
    before = len(fake.calls())
    with pytest.raises(NotApplied, match="another order"):
        hand.do("authorize", payload={"token": token})
    assert len(fake.calls()) == before


def test_a_session_that_points_to_another_sessions_order_does_nothing(hand, make_hand, provider, fake):
    other = make_hand(provider, id="ps_other")
    other.do("initiate")
    fake.payer_approves(other.session.reference)
    hand.do("initiate")
    hand.session = replace(hand.session, reference=other.session.reference)
    with pytest.raises(NotApplied, match="not this session's"):
        hand.do("authorize")
    assert fake.effects == []


def test_an_order_for_another_amount_is_not_authorized(hand, fake):
    hand.do("initiate")
    fake.payer_approves(hand.session.reference)
    hand.session = replace(hand.session, amount=Money("41.00", "EUR"))
    with pytest.raises(NotApplied, match="update it"):
        hand.do("authorize")
    assert fake.effects == []


def test_authorize_after_the_order_is_gone_ends_the_session(hand, fake, clock):
    hand.do("initiate")
    clock.forward(hours=6)
    assert hand.do("authorize").answer is Answer.CANCELED
    assert hand.look().status is Status.CANCELED


def test_an_order_that_paypal_does_not_know_yet_is_not_taken_for_gone(hand, fake):
    hand.do("initiate")
    hand.session = replace(hand.session, reference="O0000000000000077")
    with pytest.raises(NotApplied, match=r"\(yet\)"):
        hand.do("authorize")
    assert hand.look().status is None


def test_authorize_too_late_after_the_approval_ends_the_session(hand, fake, clock):
    hand.do("initiate")
    fake.payer_approves(hand.session.reference)
    clock.forward(hours=6)
    assert hand.do("authorize").answer is Answer.CANCELED
    assert fake.effects == []


@pytest.mark.parametrize("intent", ["setting", "session"])
def test_capture_at_once_answers_what_was_captured(make_provider, make_hand, fake, intent):
    by_setting = intent == "setting"
    provider = make_provider(intent="capture" if by_setting else "authorize")
    hand = make_hand(provider, capture="manual" if by_setting else "automatic")
    hand.do("initiate")
    outcome = hand.do("authorize", payload=fake.payer_approves(hand.session.reference))
    assert (outcome.answer, outcome.amount) == (Answer.CAPTURED, Money("42.00", "EUR"))
    assert fake.effects == ["capture 42.00"]


def test_what_was_captured_at_once_can_be_refunded_without_naming_it(make_provider, make_hand, fake):
    hand = make_hand(make_provider(intent="capture"))
    hand.do("initiate")
    hand.do("authorize", payload=fake.payer_approves(hand.session.reference))
    nameless = hand.operation("capture", "42.00")
    outcome = hand.do("refund", "2.00", capture=nameless)
    assert (outcome.answer, outcome.amount) == (Answer.REFUNDED, Money("2.00", "EUR"))


@pytest.mark.parametrize("issue", ["INSTRUMENT_DECLINED", "PAYER_ACTION_REQUIRED"])
def test_a_payment_that_the_payer_can_mend_sends_the_payer_back_to_paypal(
    make_provider, make_hand, fake, refuse, issue
):
    hand = make_hand(make_provider(intent="capture"))
    first = hand.do("initiate")
    query = fake.payer_approves(hand.session.reference)
    refuse("capture_order", issue)
    outcome = hand.do("authorize", payload=query)
    assert outcome.answer is Answer.REQUIRES_MORE
    assert outcome.next_action == first.next_action
    snapshot = hand.look()
    assert (snapshot.status, snapshot.ready) == (Status.REQUIRES_MORE, False), "only the payer may try again"
    assert hand.do("authorize", payload=query).answer is Answer.CAPTURED
    assert "declined" not in hand.session.data


def test_a_payment_that_paypal_refuses_is_declined(hand, fake, refuse):
    hand.do("initiate")
    query = fake.payer_approves(hand.session.reference)
    refuse("authorize", "PAYER_CANNOT_PAY")
    with pytest.raises(Declined) as caught:
        hand.do("authorize", payload=query)
    assert caught.value.code == "PAYER_CANNOT_PAY"
    assert "debug_id f" in caught.value.message


def test_a_pending_authorization_is_pending_until_paypal_decides(hand, fake):
    fake.ledger.next_status["authorize"] = ["PENDING"]
    hand.do("initiate")
    outcome = hand.do("authorize", payload=fake.payer_approves(hand.session.reference))
    assert outcome.answer is Answer.PENDING
    snapshot = hand.look()
    assert snapshot.status is Status.PENDING
    assert [(e.kind, e.state) for e in snapshot.effects] == [(Kind.AUTHORIZE, "pending")]
    fake.ledger.settle(next(iter(hand.session.data["authorizations"])), "CREATED")
    assert hand.look().status is Status.AUTHORIZED


def test_a_denied_authorization_is_declined(hand, fake):
    fake.ledger.next_status["authorize"] = ["DENIED"]
    hand.do("initiate")
    with pytest.raises(Declined):
        hand.do("authorize", payload=fake.payer_approves(hand.session.reference))
    snapshot = hand.look()
    assert (snapshot.status, snapshot.error.code) == (Status.ERROR, "AUTHORIZATION_DENIED")


def test_captures_in_parts_answer_each_its_own_amount_and_id(hand, fake):
    hand.authorized(fake)
    first = hand.do("capture", "20.00")
    second = hand.do("capture", "15.00", final=True)
    assert (first.answer, first.amount, first.released) == (Answer.CAPTURED, Money("20.00", "EUR"), False)
    assert (second.amount, second.released) == (Money("15.00", "EUR"), True)
    assert hand.session.data["captures"] == dict.fromkeys([first.reference, second.reference], "succeeded")
    assert fake.effects == ["authorize 42.00", "capture 20.00", "capture 15.00"]
    sent = [body_of(exchange) for exchange in fake.calls("capture")]
    assert [body["invoice_id"] for body in sent] == [f"order-1001 {op.key}" for op in hand.operations[-2:]]


def test_a_capture_that_paypal_holds_is_pending_and_one_it_denies_is_declined(hand, fake):
    fake.ledger.next_status["capture"] = ["PENDING", "DECLINED"]
    hand.authorized(fake)
    outcome = hand.do("capture", "20.00")
    assert outcome.answer is Answer.PENDING
    with pytest.raises(Declined):
        hand.do("capture", "15.00")
    states = {e.key: e.state for e in hand.look().effects if e.kind is Kind.CAPTURE}
    assert states == {hand.operations[-2].key: "pending", hand.operations[-1].key: "failed"}


def test_a_refund_is_of_one_capture_and_answers_its_own_amount(hand, fake):
    hand.authorized(fake)
    hand.do("capture", "20.00")
    capture = hand.last
    outcome = hand.do("refund", "5.00", capture=capture, reason="broken\ncup")
    assert (outcome.answer, outcome.amount) == (Answer.REFUNDED, Money("5.00", "EUR"))
    sent = body_of(fake.calls("refund")[0])
    assert sent["custom_id"] == hand.session.id
    assert sent["invoice_id"] == f"order-1001 {hand.last.key}"
    assert sent["note_to_payer"] == "broken cup"


def test_a_refund_that_is_not_finished_is_pending_and_may_fail_later(hand, fake):
    fake.ledger.next_status["refund"] = ["PENDING"]
    hand.authorized(fake)
    hand.do("capture", "20.00")
    outcome = hand.do("refund", "5.00", capture=hand.last)
    assert outcome.answer is Answer.PENDING
    fake.ledger.settle(outcome.reference, "FAILED")
    effect = hand.look().effects[-1]
    assert (effect.kind, effect.state, effect.reference) == (Kind.REFUND, "failed", outcome.reference)


def test_a_refund_of_an_unknown_capture_is_not_sent(hand, fake):
    hand.authorized(fake)
    with pytest.raises(NotApplied, match="which"):
        hand.do("refund", "5.00")
    assert fake.calls("refund") == []


def test_cancel_voids_what_is_left(hand, fake):
    hand.authorized(fake)
    hand.do("capture", "20.00")
    assert hand.do("cancel", "22.00").answer is Answer.CANCELED
    assert fake.effects[-1] == "void 22.00"
    snapshot = hand.look()
    assert (snapshot.authorized, snapshot.captured) == (Money("20.00", "EUR"), Money("20.00", "EUR"))


def test_cancel_of_an_order_that_nobody_paid_changes_nothing_at_paypal(hand, fake):
    hand.do("initiate")
    assert hand.do("cancel").answer is Answer.CANCELED
    assert {exchange.method for exchange in fake.calls()[2:]} == {"GET"}
    hand.session = replace(hand.session, status=Status.CANCELED)
    fake.payer_approves(hand.session.reference)
    snapshot = hand.look()
    assert (snapshot.status, snapshot.ready) == (Status.CANCELED, False), "an approval moves no money"


def test_cancel_voids_an_authorization_that_the_ledger_does_not_know(hand, fake):
    hand.do("initiate")
    begun = hand.session
    hand.do("authorize", payload=fake.payer_approves(hand.session.reference))
    hand.session = begun
    assert hand.do("cancel").answer is Answer.CANCELED
    assert fake.effects == ["authorize 42.00", "void 42.00"]


def test_cancel_of_what_was_captured_at_once_is_refused(make_provider, make_hand, fake):
    hand = make_hand(make_provider(intent="capture"))
    hand.do("initiate")
    hand.do("authorize", payload=fake.payer_approves(hand.session.reference))
    with pytest.raises(Declined, match="refund"):
        hand.do("cancel")


def test_update_changes_the_order_and_looks_whether_it_did(hand, fake):
    hand.do("initiate")
    outcome = hand.do("update", "50.00")
    assert outcome.answer is Answer.REQUIRES_MORE
    assert hand.look().amount == Money("50.00", "EUR")
    assert [exchange.call for exchange in fake.calls()[1:3]] == ["create", "patch"]


def test_update_after_the_approval_is_declined(hand, fake):
    hand.do("initiate")
    fake.payer_approves(hand.session.reference)
    with pytest.raises(Declined) as caught:
        hand.do("update", "50.00")
    assert caught.value.code == "AMOUNT_CHANGE_NOT_ALLOWED"


def test_update_after_the_authorization_is_a_matter_of_looking(hand, fake):
    hand.authorized(fake)
    with pytest.raises(OutcomeUnknown, match="ORDER_ALREADY_COMPLETED"):
        hand.do("update", "50.00")


@pytest.mark.parametrize(
    ("currency", "amount", "sent"), [("HUF", "1500.00", "1500"), ("TWD", "300", "300"), ("JPY", "42", "42")]
)
def test_currencies_without_decimals_are_written_without_and_read_back(
    provider, make_hand, fake, currency, amount, sent
):
    hand = make_hand(provider, amount=Money(amount, currency)).authorized(fake)
    value = body_of(fake.calls("create")[0])["purchase_units"][0]["amount"]
    assert value == {"currency_code": currency, "value": sent}
    assert hand.look().authorized == Money(amount, currency)


@pytest.mark.parametrize("currency", ["HUF", "TWD"])
def test_decimals_that_paypal_would_refuse_are_not_sent(provider, make_hand, fake, currency):
    hand = make_hand(provider, amount=Money("10.50", currency))
    with pytest.raises(Declined, match="without decimals"):
        hand.do("initiate")
    assert fake.calls() == [], "it can never succeed, so nothing is sent, and no caller is asked to try again"


@pytest.mark.parametrize("kind", ["capture", "refund"])
def test_a_part_with_decimals_that_paypal_would_refuse_is_not_sent(provider, make_hand, fake, kind):
    hand = make_hand(provider, amount=Money("1500", "HUF")).authorized(fake)
    hand.do("capture", "1000")
    capture = hand.last
    with pytest.raises(Declined) as caught:
        hand.do(kind, "10.50", capture=capture)
    assert (caught.value.code, caught.value.conclusive) == ("DECIMALS_NOT_SUPPORTED", True)


def test_a_currency_that_paypal_does_not_know_is_declined(provider, make_hand):
    hand = make_hand(provider, amount=Money("1.234", "KWD"))
    with pytest.raises(Declined) as caught:
        hand.do("initiate")
    assert caught.value.code == "INVALID_CURRENCY_CODE"


def test_what_the_host_gave_in_data_is_kept(provider, make_hand, fake):
    from paysession.values import encode

    hand = make_hand(provider, data=encode({"customer": "c-7", "captures": "mine"}, "data"))
    hand.authorized(fake)
    assert hand.session.data["customer"] == "c-7"


def test_every_write_carries_the_operations_key(hand, fake):
    hand.authorized(fake)
    hand.do("capture", "20.00")
    hand.do("refund", "5.00", capture=hand.last)
    hand.do("cancel")
    writes = [exchange for exchange in fake.calls() if exchange.call != "token" and exchange.method != "GET"]
    assert [exchange.headers["paypal-request-id"] for exchange in writes] == [
        op.key for op in hand.operations
    ]
