"""Stripe's own client lives whole lives at the stand-in."""

import pytest
import requests
from stripe import InvalidRequestError

from paysession_sandbox.stripe.refusals import Refusal


def test_a_card_is_authorized_captured_in_part_and_refunded(stripe, pay, sandbox):
    customer = stripe.customers.create({"email": "jenny@example.com", "name": "Jenny Rosen"})
    intent = pay(customer=customer.id, capture_method="manual", metadata={"order": "1001"})
    assert (intent.status, intent.amount_capturable, intent.amount_received) == ("requires_capture", 4200, 0)
    intent = stripe.payment_intents.capture(
        intent.id,
        {"amount_to_capture": 2000, "expand": ["latest_charge.refunds"]},
    )
    charge = intent.latest_charge
    assert (intent.status, intent.amount_capturable, intent.amount_received) == ("succeeded", 0, 2000)
    assert (charge.captured, charge.amount_captured, charge.amount_refunded) == (True, 2000, 0)
    assert charge.refunds.data == []  # since 2025-03-31.basil the released rest is no refund
    assert stripe.balance_transactions.retrieve(charge.balance_transaction).amount == 2000
    refund = stripe.refunds.create(
        {"payment_intent": intent.id, "amount": 500, "reason": "requested_by_customer"}
    )
    assert (refund.status, refund.amount) == ("succeeded", 500)
    assert stripe.balance_transactions.retrieve(refund.balance_transaction).amount == -500
    charge = stripe.charges.retrieve(intent.latest_charge.id)
    assert (charge.amount_refunded, charge.refunded) == (500, False)
    assert [row.id for row in stripe.refunds.list({"payment_intent": intent.id}).data] == [refund.id]
    kinds = [event.type for event in stripe.events.list({"limit": 100}).data]
    assert kinds[::-1] == [
        "customer.created",
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
        "charge.captured",
        "payment_intent.succeeded",
        "charge.refunded",
        "refund.created",
    ]


def test_several_captures_and_the_release_of_the_rest(stripe, pay, sandbox):
    options = {"card": {"request_multicapture": "if_available"}}
    intent = pay(capture_method="manual", payment_method_options=options)
    for amount in (1000, 1500):
        intent = stripe.payment_intents.capture(
            intent.id, {"amount_to_capture": amount, "final_capture": False}
        )
    assert (intent.status, intent.amount_capturable, intent.amount_received) == (
        "requires_capture",
        1700,
        2500,
    )
    intent = stripe.payment_intents.capture(intent.id, {"amount_to_capture": 0, "final_capture": True})
    assert (intent.status, intent.amount_capturable, intent.amount_received) == ("succeeded", 0, 2500)
    assert sandbox.captures(intent.id) == [1000, 1500]


def test_a_saved_card_pays_again_without_the_payer(stripe, pay):
    customer = stripe.customers.create({"email": "jenny@example.com"})
    first = pay(customer=customer.id, setup_future_usage="off_session")
    saved = stripe.customers.payment_methods.list(customer.id, {"type": "card"}).data
    assert [row.id for row in saved] == [first.payment_method]
    second = stripe.payment_intents.create(
        {
            "amount": 1000,
            "currency": "eur",
            "customer": customer.id,
            "payment_method": first.payment_method,
            "off_session": True,
            "confirm": True,
        }
    )
    assert (second.status, second.amount_received) == ("succeeded", 1000)


def test_a_setup_intent_saves_a_card(stripe, sandbox):
    customer = stripe.customers.create({})
    intent = stripe.setup_intents.create({"customer": customer.id})
    intent = stripe.setup_intents.confirm(
        intent.id,
        {"payment_method": "pm_card_authenticationRequiredOnSetup", "return_url": "https://shop.example"},
    )
    assert (intent.status, intent.next_action.type) == ("requires_action", "redirect_to_url")
    sandbox.authenticate(intent.id)
    intent = stripe.setup_intents.retrieve(intent.id)
    assert intent.status == "succeeded"
    paid = stripe.payment_intents.create(
        {
            "amount": 1000,
            "currency": "eur",
            "customer": customer.id,
            "payment_method": intent.payment_method,
            "off_session": True,
            "confirm": True,
        }
    )
    assert paid.status == "succeeded"


def test_a_checkout_session_is_paid_and_another_expires(stripe, sandbox, clock):
    params = {
        "mode": "payment",
        "success_url": "https://shop.example/thanks?s={CHECKOUT_SESSION_ID}",
        "line_items": [
            {
                "price_data": {"currency": "eur", "unit_amount": 2100, "product_data": {"name": "A book"}},
                "quantity": 2,
            }
        ],
        "payment_intent_data": {"metadata": {"order": "1001"}},
    }
    session = stripe.checkout.sessions.create(params)
    assert (session.status, session.payment_status, session.amount_total) == ("open", "unpaid", 4200)
    assert session.payment_intent is None  # it is there once the payer pays
    items = stripe.checkout.sessions.line_items.list(session.id).data
    assert [(row.description, row.quantity, row.amount_total) for row in items] == [("A book", 2, 4200)]
    sandbox.pay_checkout(session.id, "pm_card_visa", email="jenny@example.com")
    session = stripe.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    assert (session.status, session.payment_status) == ("complete", "paid")
    assert (session.payment_intent.status, session.payment_intent.metadata["order"]) == ("succeeded", "1001")
    other = stripe.checkout.sessions.create(params)
    sandbox.advance(hours=24)
    assert stripe.checkout.sessions.retrieve(other.id).status == "expired"
    assert [event["type"] for event in sandbox.events()][-1] == "checkout.session.expired"


def test_a_payment_of_a_page_that_holds_nothing_ends_with_its_page(stripe, sandbox):
    price = {"currency": "eur", "unit_amount": 4200, "product_data": {"name": "A book"}}
    params = {
        "mode": "payment",
        "success_url": "https://shop.example/thanks",
        "line_items": [{"price_data": price, "quantity": 1}],
    }
    session = stripe.checkout.sessions.create(params)
    with pytest.raises(Refusal, match="declined"):
        sandbox.pay_checkout(session.id, "pm_card_visa_chargeDeclined")
    intent = stripe.checkout.sessions.retrieve(session.id).payment_intent
    with pytest.raises(InvalidRequestError, match="Expire the Checkout Session"):
        stripe.payment_intents.cancel(intent)
    stripe.checkout.sessions.expire(session.id)
    assert stripe.payment_intents.retrieve(intent).status == "canceled"


@pytest.mark.parametrize("ends", ["always", "never"])
def test_an_embedded_page_is_for_who_has_its_secret_and_hands_the_payer_to_the_shop(stripe, sandbox, ends):
    price = {"currency": "eur", "unit_amount": 4200, "product_data": {"name": "A book"}}
    params = {
        "mode": "payment",
        "ui_mode": "embedded_page",
        "line_items": [{"price_data": price, "quantity": 1}],
        "redirect_on_completion": ends,
        **(
            {"return_url": "https://shop.example/</script>?s={CHECKOUT_SESSION_ID}"}
            if ends == "always"
            else {}
        ),
    }
    session = stripe.checkout.sessions.create(params)
    assert session.url is None
    place = f"{sandbox.url}/c/pay/{session.id}"
    for query in ("", "?client_secret=x"):
        assert requests.get(place + query, timeout=5).status_code == 404
    secret = {"client_secret": session.client_secret}
    assert "42.00 EUR" in requests.get(place, secret, timeout=5).text
    typed = {"number": "4242424242424242", "expiry": "12/34", "cvc": "123", "email": "j@example.com"}
    paid = requests.post(place, typed, params=secret, allow_redirects=False, timeout=5)
    assert paid.status_code == 200
    there = f'"https://shop.example/\\u003c/script>?s={session.id}"' if ends == "always" else "null"
    assert f'"address": {there}' in paid.text
    assert stripe.checkout.sessions.retrieve(session.id).payment_status == "paid"


def test_lists_are_paged_the_newest_first(stripe, pay):
    made = [pay().id for _ in range(5)]
    page = stripe.payment_intents.list({"limit": 2})
    assert ([row.id for row in page.data], page.has_more) == (made[:2:-1], True)
    assert [row.id for row in page.auto_paging_iter()] == made[::-1]
    before = stripe.payment_intents.list({"limit": 2, "ending_before": made[0]})
    assert [row.id for row in before.data] == [made[2], made[1]]


def test_a_customer_lives_and_is_deleted(stripe, refused):
    customer = stripe.customers.create({"email": "a@example.com", "metadata": {"a": "1", "b": "2"}})
    stripe.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    customer = stripe.customers.update(customer.id, {"name": "Ann", "metadata": {"a": ""}})
    assert (customer.name, dict(customer.metadata.to_dict())) == ("Ann", {"b": "2"})
    assert [row.id for row in stripe.customers.list({"email": "a@example.com"}).data] == [customer.id]
    assert stripe.customers.delete(customer.id).deleted is True
    assert refused(stripe.customers.retrieve, customer.id).http_status == 404


@pytest.mark.parametrize("outcome", ["won", "lost"])
def test_a_dispute_takes_the_money_and_only_a_won_one_brings_it_back(stripe, pay, sandbox, outcome):
    intent = pay()
    dispute = sandbox.dispute(intent.id, amount=1000)
    charge = stripe.charges.retrieve(intent.latest_charge)
    assert (charge.disputed, charge.amount_captured, charge.amount_refunded) == (True, 4200, 0)
    (found,) = stripe.disputes.list({"charge": charge.id}).data
    assert (found.id, found.status, found.amount) == (dispute["id"], "needs_response", 1000)
    assert [row.amount for row in found.balance_transactions] == [-1000]
    sandbox.decide(dispute["id"], outcome)
    found = stripe.disputes.retrieve(dispute["id"])
    assert (found.status, [row.amount for row in found.balance_transactions]) == (
        outcome,
        [-1000, 1000] if outcome == "won" else [-1000],
    )
    kinds = [event["type"] for event in sandbox.events() if "dispute" in event["type"]]
    assert kinds[:2] == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    assert kinds[-1] == "charge.dispute.closed"
    assert ("charge.dispute.funds_reinstated" in kinds) == (outcome == "won")


def test_a_dispute_that_nobody_answers_is_lost(stripe, pay, sandbox):
    dispute = sandbox.dispute(pay().id)
    sandbox.advance(days=8)
    assert stripe.disputes.retrieve(dispute["id"]).status == "lost"


@pytest.mark.parametrize(("evidence", "status"), [("winning_evidence", "won"), ("losing_evidence", "lost")])
def test_evidence_decides_a_dispute(stripe, pay, evidence, status):
    intent = pay("pm_card_createDispute")
    (dispute,) = stripe.disputes.list({"payment_intent": intent.id}).data
    dispute = stripe.disputes.update(dispute.id, {"evidence": {"uncategorized_text": evidence}})
    assert dispute.status == status
