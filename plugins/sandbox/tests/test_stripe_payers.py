"""What payers do with the documented test cards and bank accounts: https://docs.stripe.com/testing."""

from datetime import timedelta

import pytest

RETURN = {"return_url": "https://shop.example/back"}
CARD = {"exp_month": 12, "exp_year": 2030, "cvc": "123"}


def card(stripe, number, **details):
    return stripe.payment_methods.create({"type": "card", "card": {**CARD, "number": number, **details}}).id


def debit(stripe, iban="DE89370400440532013000", **params):
    intent = stripe.payment_intents.create({"amount": 4200, "currency": "eur", **params})
    data = {
        "type": "sepa_debit",
        "sepa_debit": {"iban": iban},
        "billing_details": {"name": "Jenny Rosen", "email": "jenny@example.com"},
    }
    return stripe.payment_intents.confirm(intent.id, {"payment_method_data": data, **RETURN})


@pytest.mark.parametrize(
    ("number", "brand", "funding"),
    [
        ("4242424242424242", "visa", "credit"),
        ("4000056655665556", "visa", "debit"),
        ("5555555555554444", "mastercard", "credit"),
        ("5105105105105100", "mastercard", "prepaid"),
        ("6011111111111117", "discover", "credit"),
    ],
)
def test_a_card_that_works_pays(stripe, pay, number, brand, funding):
    intent = pay(card(stripe, number))
    assert (intent.status, intent.amount_received) == ("succeeded", 4200)
    method = stripe.payment_methods.retrieve(intent.payment_method)
    assert (method.card.brand, method.card.funding, method.card.last4) == (brand, funding, number[-4:])


@pytest.mark.parametrize(
    ("method", "code", "decline_code"),
    [
        ("4000000000000002", "card_declined", "generic_decline"),
        ("4000000000009995", "card_declined", "insufficient_funds"),
        ("4000000000009987", "card_declined", "lost_card"),
        ("4000000000009979", "card_declined", "stolen_card"),
        ("4000000000006975", "card_declined", "card_velocity_exceeded"),
        ("4000000000000341", "card_declined", "generic_decline"),
        ("4100000000000019", "card_declined", "fraudulent"),
        ("4000000000000069", "expired_card", None),
        ("4000000000000127", "incorrect_cvc", None),
        ("4000000000000119", "processing_error", None),
        ("4111111111111111", "card_declined", "test_mode_live_card"),
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
    ],
)
def test_a_card_that_is_declined_leaves_the_payment_open(stripe, refused, method, code, decline_code):
    intent = stripe.payment_intents.create({"amount": 4200, "currency": "eur"})
    method = method if method.startswith("pm_") else card(stripe, method)
    error = refused(stripe.payment_intents.confirm, intent.id, {"payment_method": method, **RETURN})
    assert (error.http_status, error.error.type, error.error.code) == (402, "card_error", code)
    assert error.error.decline_code == decline_code
    assert error.error.payment_intent.id == intent.id
    intent = stripe.payment_intents.retrieve(intent.id, {"expand": ["latest_charge"]})
    assert (intent.status, intent.payment_method, intent.last_payment_error.code) == (
        "requires_payment_method",
        None,
        code,
    )
    assert (intent.latest_charge.status, intent.latest_charge.paid) == ("failed", False)
    again = stripe.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa", **RETURN})
    assert (again.status, again.last_payment_error) == ("succeeded", None)


@pytest.mark.parametrize(
    ("details", "code"),
    [
        ({"number": "4242424242424241"}, "incorrect_number"),
        ({"exp_month": 13}, "invalid_expiry_month"),
        ({"exp_year": 2025}, "invalid_expiry_year"),
        ({"cvc": "12"}, "invalid_cvc"),
        ({"number": "378282246310005", "cvc": "123"}, "invalid_cvc"),
    ],
)
def test_a_card_that_is_mistyped_is_refused_when_it_is_typed(stripe, refused, details, code):
    error = refused(
        stripe.payment_methods.create,
        {"type": "card", "card": {"number": "4242424242424242", **CARD, **details}},
    )
    assert (error.http_status, error.error.code) == (402, code)


def test_a_declined_card_cannot_be_saved_and_0341_can(stripe, refused):
    customer = stripe.customers.create({})
    attach = stripe.payment_methods.attach
    assert refused(attach, card(stripe, "4000000000000002"), {"customer": customer.id}).http_status == 402
    assert attach(card(stripe, "4000000000000341"), {"customer": customer.id}).customer == customer.id


# --- 3D Secure ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", ["4000002500003155", "4000002760003184", "4000000000003220", "4000003800000446"]
)
@pytest.mark.parametrize("success", [True, False])
def test_the_bank_asks_the_payer(stripe, pay, sandbox, number, success):
    intent = pay(card(stripe, number), capture_method="manual")
    assert (intent.status, intent.next_action.type) == ("requires_action", "redirect_to_url")
    assert intent.latest_charge is None
    sandbox.authenticate(intent.id, success=success)
    intent = stripe.payment_intents.retrieve(intent.id, {"expand": ["latest_charge"]})
    if success:
        assert (intent.status, intent.amount_capturable) == ("requires_capture", 4200)
        assert intent.latest_charge.payment_method_details.card.three_d_secure.result == "authenticated"
    else:
        assert (intent.status, intent.payment_method) == ("requires_payment_method", None)
        assert intent.last_payment_error.code == "payment_intent_authentication_failure"


def test_a_card_is_declined_after_the_payer_has_authenticated(stripe, pay, sandbox):
    intent = pay(card(stripe, "4000008400001629"))
    sandbox.authenticate(intent.id)
    intent = stripe.payment_intents.retrieve(intent.id)
    assert (intent.status, intent.last_payment_error.code) == ("requires_payment_method", "card_declined")


@pytest.mark.parametrize(
    "number", ["4242424242424242", "4000003800000446", "4000002500003155", "4000002760003184"]
)
def test_off_session_only_what_is_set_up_passes(stripe, sandbox, refused, number):
    customer = stripe.customers.create({})
    saved = stripe.payment_methods.attach(card(stripe, number), {"customer": customer.id})
    params = {
        "amount": 4200, "currency": "eur", "customer": customer.id, "payment_method": saved.id,
        "off_session": True, "confirm": True,
    }  # fmt: skip
    if number in ("4242424242424242", "4000003800000446"):
        assert stripe.payment_intents.create(params).status == "succeeded"
        return
    error = refused(stripe.payment_intents.create, params)
    assert (error.error.code, error.error.decline_code) == (
        "authentication_required",
        "authentication_required",
    )
    intent = stripe.setup_intents.create({"customer": customer.id, "payment_method": saved.id})
    stripe.setup_intents.confirm(intent.id, RETURN)
    sandbox.authenticate(intent.id)
    if number == "4000002500003155":
        assert stripe.payment_intents.create(params).status == "succeeded"
    else:
        assert refused(stripe.payment_intents.create, params).error.code == "authentication_required"


def test_the_bank_is_asked_because_the_shop_wants_it(stripe, pay):
    intent = pay(payment_method_options={"card": {"request_three_d_secure": "any"}})
    assert intent.status == "requires_action"


# --- banks ----------------------------------------------------------------------------------------


def test_a_debit_takes_its_time_and_settles(stripe, sandbox):
    intent = debit(stripe)
    charge = stripe.charges.retrieve(intent.latest_charge)
    assert (intent.status, charge.status, charge.captured) == ("processing", "pending", False)
    sandbox.advance(seconds=5)
    intent = stripe.payment_intents.retrieve(intent.id)
    assert (intent.status, intent.amount_received) == ("succeeded", 4200)
    assert (
        stripe.mandates.retrieve(
            stripe.charges.retrieve(intent.latest_charge).payment_method_details.sepa_debit.mandate
        ).status
        == "active"
    )


@pytest.mark.parametrize(
    ("iban", "after", "status"),
    [
        ("DE89370400440532013000", 5, "succeeded"),
        ("DE08370400440532013003", 180, "succeeded"),
        ("DE62370400440532013001", 5, "requires_payment_method"),
        ("DE78370400440532013004", 180, "requires_payment_method"),
    ],
)
def test_the_account_number_decides_what_comes_of_a_debit(stripe, sandbox, iban, after, status):
    intent = debit(stripe, iban)
    sandbox.advance(seconds=after - 1)
    assert stripe.payment_intents.retrieve(intent.id).status == "processing"
    sandbox.advance(seconds=1)
    assert stripe.payment_intents.retrieve(intent.id).status == status


def test_a_debit_may_be_disputed_at_once(stripe, sandbox):
    intent = debit(stripe, "DE35370400440532013002")
    sandbox.advance(seconds=5)
    (dispute,) = stripe.disputes.list({"payment_intent": intent.id}).data
    assert (dispute.status, dispute.amount) == ("needs_response", 4200)


def test_the_bank_may_be_played_by_hand(stripe, sandbox):
    settled, failed = debit(stripe), debit(stripe)
    sandbox.settle_debit(settled.id)
    sandbox.fail_debit(failed.id)
    statuses = [stripe.payment_intents.retrieve(row.id).status for row in (settled, failed)]
    assert statuses == ["succeeded", "requires_payment_method"]


@pytest.mark.parametrize("kind", ["ideal", "bancontact"])
@pytest.mark.parametrize("success", [True, False])
def test_the_payer_goes_to_a_page_of_the_bank(stripe, sandbox, kind, success):
    intent = stripe.payment_intents.create({"amount": 4200, "currency": "eur"})
    data = {"type": kind, "billing_details": {"name": "Jenny Rosen"}}
    intent = stripe.payment_intents.confirm(intent.id, {"payment_method_data": data, **RETURN})
    assert (intent.status, intent.next_action.type) == ("requires_action", "redirect_to_url")
    sandbox.authenticate(intent.id, success=success)
    status = stripe.payment_intents.retrieve(intent.id).status
    assert status == ("succeeded" if success else "requires_payment_method")


def test_what_paid_by_ideal_is_kept_as_a_debit(stripe, sandbox):
    customer = stripe.customers.create({})
    params = {"amount": 4200, "currency": "eur", "customer": customer.id, "setup_future_usage": "off_session"}
    intent = stripe.payment_intents.create(params)
    stripe.payment_intents.confirm(intent.id, {"payment_method_data": {"type": "ideal"}, **RETURN})
    sandbox.authenticate(intent.id)
    intent = stripe.payment_intents.retrieve(intent.id, {"expand": ["latest_charge"]})
    kept = intent.latest_charge.payment_method_details.ideal.generated_sepa_debit
    assert [row.id for row in stripe.customers.payment_methods.list(customer.id).data] == [kept]


# --- later ----------------------------------------------------------------------------------------


def test_an_authorization_runs_out_after_seven_days(stripe, pay, sandbox, refused):
    intent = pay(capture_method="manual")
    charge = stripe.charges.retrieve(intent.latest_charge)
    assert charge.payment_method_details.card.capture_before == intent.created + 7 * 86_400
    sandbox.advance(days=6)
    assert stripe.payment_intents.retrieve(intent.id).status == "requires_capture"
    sandbox.advance(days=1)
    intent = stripe.payment_intents.retrieve(intent.id)
    assert (intent.status, intent.cancellation_reason) == ("canceled", "expired")
    assert refused(stripe.payment_intents.capture, intent.id).error.code == "payment_intent_unexpected_state"
    assert [event["type"] for event in sandbox.events()][-2:] == ["charge.expired", "payment_intent.canceled"]


def test_an_extended_authorization_holds_for_thirty_days(stripe, pay, sandbox):
    longer = {"card": {"request_extended_authorization": "if_available"}}
    intent = pay(capture_method="manual", payment_method_options=longer)
    card = stripe.charges.retrieve(intent.latest_charge).payment_method_details.card
    assert (card.extended_authorization.status, card.capture_before) == (
        "enabled",
        intent.created + 30 * 86_400,
    )
    sandbox.advance(days=29)
    assert stripe.payment_intents.retrieve(intent.id).status == "requires_capture"
    sandbox.advance(days=1)
    assert stripe.payment_intents.retrieve(intent.id).status == "canceled"


def test_an_authorization_is_incremented_where_that_was_asked_for(stripe, pay, refused):
    asked = {"card": {"request_incremental_authorization": "if_available"}}
    intent, plain = pay(capture_method="manual", payment_method_options=asked), pay(capture_method="manual")
    intent = stripe.payment_intents.increment_authorization(intent.id, {"amount": 5000})
    assert (intent.amount, intent.amount_capturable) == (5000, 5000)
    assert (
        refused(stripe.payment_intents.increment_authorization, intent.id, {"amount": 5000}).param == "amount"
    )
    assert refused(stripe.payment_intents.increment_authorization, plain.id, {"amount": 5000})
    assert stripe.payment_intents.capture(intent.id).amount_received == 5000
    assert refused(
        stripe.payment_intents.increment_authorization, intent.id, {"amount": 6000}
    ).error.code == ("payment_intent_unexpected_state")


def test_a_declined_increment_changes_nothing_and_counts_as_one_of_ten(stripe, pay, refused, sandbox):
    asked = {"card": {"request_incremental_authorization": "if_available"}}
    intent = pay(capture_method="manual", payment_method_options=asked)
    for amount in range(4300, 5100, 100):
        stripe.payment_intents.increment_authorization(intent.id, {"amount": amount})
    before = stripe.payment_intents.retrieve(intent.id)
    sandbox.decline_increments(intent.id)
    for amount in (6000, 6100):
        error = refused(stripe.payment_intents.increment_authorization, intent.id, {"amount": amount})
        assert (error.http_status, error.error.code) == (402, "card_declined")
    error = refused(stripe.payment_intents.increment_authorization, intent.id, {"amount": 6200})
    assert (error.http_status, "at most 10" in error.error.message) == (400, True)
    assert stripe.payment_intents.retrieve(intent.id) == before
    assert stripe.payment_intents.capture(intent.id).amount_received == 5000


def test_a_card_is_held_and_ideal_taken_in_one_payment(stripe, sandbox, pay):
    options = {"card": {"capture_method": "manual"}}
    assert pay(payment_method_options=options).status == "requires_capture"
    intent = stripe.payment_intents.create(
        {"amount": 4200, "currency": "eur", "payment_method_options": options}
    )
    stripe.payment_intents.confirm(intent.id, {"payment_method_data": {"type": "ideal"}, **RETURN})
    sandbox.authenticate(intent.id)
    assert stripe.payment_intents.retrieve(intent.id).status == "succeeded"


def test_a_warning_of_fraud_is_actionable_until_the_payment_is_refunded(stripe, pay, sandbox):
    intent = pay()
    warning = sandbox.warn_of_fraud(intent.id)
    assert (warning["actionable"], warning["charge"]) == (True, intent.latest_charge)
    assert [row["data"]["object"]["id"] for row in sandbox.events("radar.early_fraud_warning.created")] == [
        warning["id"]
    ]
    stripe.refunds.create({"payment_intent": intent.id})
    (found,) = stripe.radar.early_fraud_warnings.list({"payment_intent": intent.id}).data
    assert (found.id, found.actionable) == (warning["id"], False)


def test_refunds_of_some_cards_come_later_or_fail_later(stripe, pay, sandbox):
    later, fails = pay("pm_card_pendingRefund"), pay("pm_card_refundFail")
    later = stripe.refunds.create({"payment_intent": later.id, "amount": 500})
    fails = stripe.refunds.create({"payment_intent": fails.id, "amount": 500})
    assert (later.status, later.balance_transaction, fails.status) == ("pending", None, "succeeded")
    sandbox.advance(seconds=5)
    later, fails = stripe.refunds.retrieve(later.id), stripe.refunds.retrieve(fails.id)
    assert (later.status, fails.status, fails.failure_reason) == (
        "succeeded",
        "failed",
        "expired_or_canceled_card",
    )
    assert stripe.charges.retrieve(fails.charge).amount_refunded == 0


def test_a_card_that_disputes_and_one_that_only_asks(stripe, pay, sandbox):
    for method, status in (
        ("pm_card_createDispute", "needs_response"),
        ("pm_card_createDisputeInquiry", "warning_needs_response"),
    ):
        intent = pay(method)
        (dispute,) = stripe.disputes.list({"payment_intent": intent.id}).data
        assert dispute.status == status
        assert stripe.charges.retrieve(intent.latest_charge).disputed == (status == "needs_response")


def test_a_refund_may_have_no_balance_transaction_for_a_while(stripe, pay, sandbox):
    intent = pay()
    sandbox.settings.balance_lag = timedelta(minutes=5)
    refund = stripe.refunds.create({"payment_intent": intent.id, "amount": 500})
    assert (refund.status, refund.balance_transaction) == ("succeeded", None)
    sandbox.advance(minutes=5)
    assert stripe.refunds.retrieve(refund.id).balance_transaction.startswith("txn_")
