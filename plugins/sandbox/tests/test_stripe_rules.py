"""What the stand-in refuses, as Stripe documents it: parameters, limits, states, keys."""

import threading
from contextlib import suppress
from datetime import timedelta

import pytest
import stripe as sdk


def create(stripe, **params):
    return stripe.payment_intents.create({"amount": 4200, "currency": "eur", **params})


def error_of(error):
    """Return what a refusal says: the status, the type, the code and the parameter."""
    return error.http_status, error.error.type, error.error.code, error.error.param


# --- keys of the API ------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["sk_live_1", "pk_live_1", "whatever"])
def test_only_test_keys_are_taken(make_client, refused, key):
    assert refused(make_client(key).v1.payment_intents.list).http_status == 401


def test_a_publishable_key_may_do_what_a_browser_does(make_client, stripe, refused):
    browser = make_client("pk_test_1").v1
    assert refused(browser.payment_intents.list).http_status == 401
    intent = create(stripe, metadata={"order": "1001"})
    wrong = refused(
        browser.payment_intents.retrieve, intent.id, {"client_secret": f"{intent.id}_secret_guessed"}
    )
    assert error_of(wrong)[2:] == (None, "client_secret")
    shown = browser.payment_intents.retrieve(intent.id, {"client_secret": intent.client_secret})
    assert (shown.status, "metadata" in shown, "latest_charge" in shown) == (
        "requires_payment_method",
        False,
        False,
    )
    method = browser.payment_methods.create(
        {
            "type": "card",
            "card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"},
        }
    )
    paid = browser.payment_intents.confirm(
        intent.id,
        {
            "client_secret": intent.client_secret,
            "payment_method": method.id,
            "return_url": "https://shop.example",
        },
    )
    assert paid.status == "succeeded"


def test_a_connected_account_has_objects_of_its_own(stripe, make_client, refused):
    intent = create(stripe)
    other = make_client(stripe_account="acct_1").v1
    assert refused(other.payment_intents.retrieve, intent.id).http_status == 404


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"payment_method_options": {"card": {}}, "transfer_data": {"destination": "acct_1"}}, "parameter_unknown", "transfer_data"),
        ({"automatic_payment_methods": {"enabled": True, "colour": "red"}}, "parameter_unknown", "automatic_payment_methods[colour]"),
        ({"payment_method_types": ["card"]}, "parameter_unknown", "payment_method_types"),
        ({"amount": "12.50"}, "parameter_invalid_integer", "amount"),
        ({"amount": 49}, "amount_too_small", "amount"),
        ({"amount": 100_000_000}, "amount_too_large", "amount"),
        ({"amount": 550, "currency": "ugx"}, "invalid_charge_amount", "amount"),
        ({"amount": 5124, "currency": "kwd"}, "invalid_charge_amount", "amount"),
        ({"currency": "xyz"}, None, "currency"),
        ({"capture_method": "later"}, None, "capture_method"),
        ({"customer": "cus_gone"}, "resource_missing", "customer"),
        ({"payment_method": "pm_gone"}, "resource_missing", "payment_method"),
        ({"statement_descriptor_suffix": "123"}, None, "statement_descriptor_suffix"),
        ({"statement_descriptor_suffix": "x" * 23}, None, "statement_descriptor_suffix"),
        ({"metadata": {f"k{place}": "v" for place in range(51)}}, None, "metadata"),
        ({"metadata": {"k" * 41: "v"}}, None, "metadata"),
        ({"metadata": {"k": "v" * 501}}, None, "metadata[k]"),
        ({"off_session": True}, None, "off_session"),
        ({"expand": ["nothing"]}, None, "expand"),
        ({"expand": ["latest_charge.refunds.data.charge.customer"]}, None, "expand"),
    ],
)  # fmt: skip
def test_a_parameter_that_is_not_right_is_refused(stripe, refused, params, code, param):
    assert error_of(refused(create, stripe, **params)) == (400, "invalid_request_error", code, param)


def test_what_is_missing_is_named(stripe, refused):
    error = refused(stripe.payment_intents.create, {"currency": "eur"})
    assert error_of(error) == (400, "invalid_request_error", "parameter_missing", "amount")


def test_a_customers_name_has_at_most_256_characters(stripe, refused):
    assert error_of(refused(stripe.customers.create, {"name": "x" * 257}))[3] == "name"


def test_metadata_of_a_capture_counts_with_what_is_there(stripe, pay, refused):
    intent = pay(capture_method="manual", metadata={f"k{place}": "v" for place in range(50)})
    assert (
        error_of(refused(stripe.payment_intents.capture, intent.id, {"metadata": {"one": "more"}}))[3]
        == "metadata"
    )
    assert stripe.payment_intents.retrieve(intent.id).status == "requires_capture"


def test_an_id_that_names_nothing_is_not_found(stripe, refused):
    assert error_of(refused(stripe.payment_intents.retrieve, "pi_gone"))[:3] == (
        404,
        "invalid_request_error",
        "resource_missing",
    )


def test_a_confirmation_that_might_redirect_needs_an_address_to_come_back_to(stripe, refused):
    intent = create(stripe)
    assert (
        error_of(refused(stripe.payment_intents.confirm, intent.id, {"payment_method": "pm_card_visa"}))[3]
        == "return_url"
    )
    never = create(stripe, automatic_payment_methods={"enabled": True, "allow_redirects": "never"})
    assert stripe.payment_intents.confirm(never.id, {"payment_method": "pm_card_visa"}).status == "succeeded"


def test_the_payer_cannot_be_away_while_a_card_is_kept(stripe, refused):
    customer = stripe.customers.create({})
    card = stripe.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    intent = create(stripe, customer=customer.id, payment_method=card.id)
    error = refused(
        stripe.payment_intents.confirm, intent.id, {"off_session": True, "setup_future_usage": "off_session"}
    )
    assert error_of(error)[3] == "setup_future_usage"


def test_a_payment_method_of_another_customer_is_refused(stripe, refused):
    one, other = stripe.customers.create({}), stripe.customers.create({})
    card = stripe.payment_methods.attach("pm_card_visa", {"customer": one.id})
    assert error_of(refused(create, stripe, payment_method=card.id))[3] == "payment_method"
    assert error_of(refused(create, stripe, customer=other.id, payment_method=card.id))[3] == "payment_method"
    assert create(stripe, customer=one.id, payment_method=card.id).status == "requires_confirmation"


def test_what_paid_once_and_was_not_kept_cannot_pay_again(stripe, pay, refused):
    used = pay().payment_method
    assert error_of(refused(create, stripe, payment_method=used))[3] == "payment_method"
    customer = stripe.customers.create({})
    assert (
        error_of(refused(stripe.payment_methods.attach, used, {"customer": customer.id}))[3]
        == "payment_method"
    )


@pytest.mark.parametrize("kind", ["ideal", "bancontact", "sepa_debit"])
def test_what_cannot_be_captured_later_is_not_offered_for_that(stripe, refused, kind):
    intent = create(stripe, capture_method="manual")
    assert intent.payment_method_types == ["card"]
    details = {"iban": "DE89370400440532013000"} if kind == "sepa_debit" else {}
    method = {"type": kind, kind: details, "billing_details": {"name": "Jenny", "email": "j@example.com"}}
    error = refused(
        stripe.payment_intents.confirm,
        intent.id,
        {"payment_method_data": method, "return_url": "https://shop.example"},
    )
    assert error_of(error)[2] == "payment_intent_incompatible_payment_method"


# --- states ---------------------------------------------------------------------------------------


def in_state(stripe, pay, sandbox, status):
    if status == "requires_payment_method":
        return create(stripe)
    if status == "requires_confirmation":
        return create(stripe, payment_method="pm_card_visa")
    if status == "requires_action":
        return pay("pm_card_authenticationRequired")
    if status == "requires_capture":
        return pay(capture_method="manual")
    if status == "succeeded":
        return pay()
    if status == "canceled":
        return stripe.payment_intents.cancel(create(stripe).id)
    debit = {"type": "sepa_debit", "sepa_debit": {"iban": "DE89370400440532013000"}}
    debit["billing_details"] = {"name": "Jenny", "email": "j@example.com"}
    intent = create(stripe)
    return stripe.payment_intents.confirm(
        intent.id, {"payment_method_data": debit, "return_url": "https://shop.example"}
    )


OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
STATUSES = (*OPEN, "requires_capture", "processing", "succeeded", "canceled")


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    ("call", "params", "allowed"),
    [
        ("update", {"amount": 4000}, OPEN),
        ("confirm", {"payment_method": "pm_card_visa", "return_url": "https://shop.example"}, OPEN),
        ("capture", {}, ("requires_capture",)),
        ("cancel", {}, (*OPEN, "requires_capture")),
    ],
)
def test_what_a_state_does_not_allow_is_refused_with_the_payment_intent(
    stripe, pay, sandbox, refused, status, call, params, allowed
):
    intent = in_state(stripe, pay, sandbox, status)
    assert intent.status == status
    act = getattr(stripe.payment_intents, call)
    if status in allowed:
        act(intent.id, params)
        return
    error = refused(act, intent.id, params)
    assert error_of(error)[:3] == (400, "invalid_request_error", "payment_intent_unexpected_state")
    assert error.error.payment_intent.id == intent.id
    assert stripe.payment_intents.retrieve(intent.id).status == status


def test_metadata_may_change_at_any_time(stripe, pay):
    intent = pay(metadata={"a": "1", "b": "2"})
    intent = stripe.payment_intents.update(intent.id, {"metadata": {"a": "", "c": "3"}})
    assert intent.metadata.to_dict() == {"b": "2", "c": "3"}


def test_a_confirmation_without_a_payment_method_is_a_refusal_for_the_state(stripe, refused):
    error = refused(stripe.payment_intents.confirm, create(stripe).id, {"return_url": "https://shop.example"})
    assert error_of(error)[2] == "payment_intent_unexpected_state"


# --- captures and refunds -------------------------------------------------------------------------


def test_no_more_is_captured_than_is_held(stripe, pay, refused):
    intent = pay(capture_method="manual")
    error = refused(stripe.payment_intents.capture, intent.id, {"amount_to_capture": 4201})
    assert error_of(error)[2:] == ("amount_too_large", "amount_to_capture")
    assert refused(stripe.payment_intents.capture, intent.id, {"amount_to_capture": 0}).http_status == 400


def test_several_captures_only_where_the_charge_says_so(stripe, pay, sandbox, refused):
    options = {"card": {"request_multicapture": "if_available"}}
    unasked = pay(capture_method="manual")
    error = refused(
        stripe.payment_intents.capture, unasked.id, {"amount_to_capture": 10, "final_capture": False}
    )
    assert error_of(error)[3] == "final_capture"
    sandbox.settings.multicapture = False
    unable = pay(capture_method="manual", payment_method_options=options)
    error = refused(
        stripe.payment_intents.capture, unable.id, {"amount_to_capture": 10, "final_capture": False}
    )
    assert error_of(error)[3] == "final_capture"


def test_a_payment_is_captured_at_most_fifty_times(stripe, pay, sandbox, refused):
    intent = pay(
        capture_method="manual", payment_method_options={"card": {"request_multicapture": "if_available"}}
    )
    path = f"/v1/payment_intents/{intent.id}/capture"
    for _ in range(50):
        sandbox.call("POST", path, {"amount_to_capture": 10, "final_capture": False})
    assert refused(stripe.payment_intents.capture, intent.id, {"amount_to_capture": 10}).http_status == 400


def test_no_more_is_refunded_than_was_captured(stripe, pay, refused):
    intent = pay()
    stripe.refunds.create({"payment_intent": intent.id, "amount": 4000})
    assert (
        error_of(refused(stripe.refunds.create, {"payment_intent": intent.id, "amount": 201}))[3] == "amount"
    )
    stripe.refunds.create({"payment_intent": intent.id})
    error = refused(stripe.refunds.create, {"payment_intent": intent.id})
    assert error_of(error)[2] == "charge_already_refunded"


def test_what_was_not_captured_cannot_be_refunded(stripe, pay, refused):
    intent = pay(capture_method="manual")
    assert refused(stripe.refunds.create, {"payment_intent": intent.id}).http_status == 400
    assert refused(stripe.refunds.create, {}).error.code == "parameter_missing"


def test_what_is_charged_back_cannot_be_refunded_as_well(stripe, pay, sandbox, refused):
    intent = pay()
    dispute = sandbox.dispute(intent.id)
    assert error_of(refused(stripe.refunds.create, {"payment_intent": intent.id}))[2] == "charge_disputed"
    sandbox.decide(dispute["id"], "won")
    assert stripe.refunds.create({"payment_intent": intent.id}).status == "succeeded"


# --- idempotency ----------------------------------------------------------------------------------


def keyed(stripe, key, **params):
    params = {"amount": 4200, "currency": "eur", **params}
    return stripe.payment_intents.create(params, {"idempotency_key": key})


def test_a_key_gives_the_same_answer_again(stripe, sandbox):
    first, again = keyed(stripe, "k1"), keyed(stripe, "k1")
    assert (first.id, sandbox.summary()["payment_intent"]) == (again.id, 1)
    assert [answer.headers.get("Idempotent-Replayed") for _, answer in sandbox.answers] == [None, "true"]
    assert sandbox.effects == [("/v1/payment_intents", "k1")]


def test_a_key_gives_the_answer_as_it_was_whatever_has_become_of_it(stripe, pay, sandbox):
    first = keyed(stripe, "k1")
    stripe.payment_intents.cancel(first.id)
    again = keyed(stripe, "k1")
    assert (again.id, again.status) == (first.id, "requires_payment_method")


def test_a_key_with_other_parameters_is_refused(stripe, refused):
    keyed(stripe, "k1")
    assert error_of(refused(keyed, stripe, "k1", amount=4300))[:2] == (400, "idempotency_error")


def test_a_declined_card_is_kept_for_its_key_and_a_mistake_is_not(stripe, sandbox, refused):
    intent = create(stripe)
    declined = {"payment_method": "pm_card_chargeDeclined", "return_url": "https://shop.example"}
    options = {"idempotency_key": "k1"}
    for _ in range(2):
        assert refused(stripe.payment_intents.confirm, intent.id, declined, options).http_status == 402
    assert sandbox.summary()["charge"] == 1
    assert refused(keyed, stripe, "k2", amount=1).http_status == 400
    assert keyed(stripe, "k2", amount=4200).status == "requires_payment_method"


def test_a_refusal_for_the_state_is_kept_for_its_key(stripe, sandbox, refused):
    intent = create(stripe)
    capture = (stripe.payment_intents.capture, intent.id, {}, {"idempotency_key": "k1"})
    assert refused(*capture).http_status == 400
    stripe.payment_intents.update(intent.id, {"capture_method": "manual"})
    sandbox.call(
        "POST",
        f"/v1/payment_intents/{intent.id}/confirm",
        {"payment_method": "pm_card_visa", "return_url": "https://shop.example"},
    )
    assert refused(*capture).error.code == "payment_intent_unexpected_state"
    assert stripe.payment_intents.retrieve(intent.id).status == "requires_capture"


def test_a_key_in_use_is_refused_until_the_first_request_is_done(stripe, sandbox, refused):
    sandbox.fail("slow", "/v1/payment_intents")
    done = []

    def create():
        with suppress(sdk.StripeError):
            done.append(keyed(stripe, "k1"))

    first = threading.Thread(target=create)
    first.start()
    assert sandbox.wait_until_held(10)
    assert error_of(refused(keyed, stripe, "k1"))[:3] == (409, "idempotency_error", "idempotency_key_in_use")
    sandbox.release()
    first.join(10)
    assert keyed(stripe, "k1").id == done[0].id


def test_a_key_is_forgotten_after_a_day(stripe, sandbox):
    first = keyed(stripe, "k1")
    sandbox.advance(hours=23)
    assert keyed(stripe, "k1").id == first.id
    sandbox.advance(hours=1)
    assert keyed(stripe, "k1").id != first.id


def test_a_key_has_at_most_255_characters(stripe, refused):
    assert refused(keyed, stripe, "k" * 256).http_status == 400


# --- searching ------------------------------------------------------------------------------------


def test_a_search_finds_what_is_old_enough(stripe, sandbox, refused):
    sandbox.settings.search_lag = timedelta(minutes=1)
    intent = create(stripe, metadata={"order": "1001"})
    query = {"query": "metadata['order']:'1001' AND status:\"requires_payment_method\""}
    assert stripe.payment_intents.search(query).data == []
    sandbox.advance(minutes=1)
    assert [row.id for row in stripe.payment_intents.search(query).data] == [intent.id]
    assert stripe.payment_intents.search({"query": "amount>4200"}).data == []
    assert len(stripe.payment_intents.search({"query": "amount>=4200 OR currency:'usd'"}).data) == 1
    assert stripe.payment_intents.search({"query": "-metadata['order']:'1001'"}).data == []
    for wrong in ("nonsense", "colour:'red'", "amount>1 AND amount<2 OR amount>3"):
        assert error_of(refused(stripe.payment_intents.search, {"query": wrong}))[3] == "query"
