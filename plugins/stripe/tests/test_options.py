"""What a shop may ask for with one payment: what is refused, and what goes over the wire."""

import json

import pytest

from paysession.provider import Address, Checkout, Declined, InvalidData, Money, NotApplied, Payer, Status
from paysession.values import decode, replace
from paysession_stripe import Stripe, StripeOptions

KEY = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"
API = "https://api.stripe.com"
ADDRESS = {"line1": "1 Main Street", "city": "Berlin", "country": "DE"}
INTENT = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 4200,
    "amount_capturable": 0,
    "amount_received": 0,
    "currency": "eur",
    "status": "requires_payment_method",
    "client_secret": "pi_1_secret_x",
    "metadata": {},
    "latest_charge": None,
}
CUSTOMER = {"object": "customer", "id": "cus_1"}


@pytest.fixture
def sent(wire, forms, values):
    """Return a function that initiates with options, and returns the form that was sent."""
    providers = []

    def sent(options=None, *, settings=None, found=INTENT, **changes):
        provider = Stripe(api_key=KEY, max_network_retries=0, **(settings or {}))
        providers.append(provider)
        wire.post(f"{API}/v1/payment_intents", json=found)
        data = options.to_data() if isinstance(options, StripeOptions) else options
        session = values.session(data=data, **changes)
        sent.outcome = provider.initiate(session, values.operation(session, "initiate"))
        return forms.form(wire.calls[-1].request.body)

    yield sent
    for provider in providers:
        provider.close()


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ui": "popup"}, "ui is elements, hosted or embedded"),
        ({"name": "x" * 257}, "name is a text of 1 to 256"),
        ({"capture": "later"}, "capture is manual, automatic or where_possible"),
        ({"capture_methods": {"ideal": "manual"}}, "'ideal' cannot be captured later"),
        ({"capture_methods": {"card": "soon"}}, r"capture_methods\[card\] is manual or automatic"),
        ({"capture_methods": ["card"]}, "is a mapping"),
        ({"metadata": {"paysession_session": "x"}}, "does not begin with paysession_"),
        ({"metadata": {"a[b]": "x"}}, "no square bracket"),
        ({"metadata": {"a": 7}}, r"metadata\[a\] is a text"),
        ({"metadata": {str(n): "x" for n in range(41)}}, "at most 40"),
        ({"shipping": {"name": "Jenny"}}, "shipping needs address"),
        ({"shipping": {"name": "Jenny", "address": {"line1": "x", "planet": "y"}}}, "no 'planet'"),
        ({"shipping": {"name": "Jenny", "address": {"line1": 7}}}, "line1 is a text"),
        ({"statement_descriptor_suffix": "12345"}, "a letter among them"),
        ({"payment_method_configuration": "pm_1"}, "begins with pmc_"),
        ({"allowed_payment_method_types": "card"}, "a list of payment methods"),
        ({"excluded_payment_method_types": ["cash"]}, "no payment method 'cash'"),
        ({"payment_method_options": {"cash": {}}}, "no payment method 'cash'"),
        ({"payment_method_options": {"card": {"capture_method": "manual"}}}, "goes into capture_methods"),
        ({"mandate_data": {"customer_acceptance": {}}}, "needs type"),
        ({"stripe_account": "acct"}, "begins with acct_"),
        ({"transfer_data": {"destination": "Jenny"}}, "acct_"),
        ({"transfer_data": {"destination": "acct_1", "amount": "1.00"}}, "amount is a Money"),
        ({"application_fee_amount": -1}, "application_fee_amount is a Money"),
    ],
)
def test_a_mistake_is_refused_in_the_shops_own_code(given, told):
    with pytest.raises(ValueError, match=told):
        StripeOptions(**given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"customer": "cus_1", "customer_reference": "7"}, "not both"),
        ({"payment_method": "pm_1", "setup_future_usage": "off_session"}, "kept already"),
        (
            {"allowed_payment_method_types": ["card"], "excluded_payment_method_types": ["ideal"]},
            "not both",
        ),
        ({"ui": "hosted", "payment_method": "pm_1"}, "hosted page takes no payment_method"),
        ({"ui": "embedded", "radar_session": "rse_1"}, "embedded page takes no radar_session"),
    ],
)
def test_what_excludes_each_other_is_refused_by_the_helper_and_by_initiate(given, told, values):
    with pytest.raises(ValueError, match=told):
        StripeOptions(**given).to_data()
    session = values.session(data=given)
    with pytest.raises(InvalidData, match=told):
        Stripe(api_key=KEY).initiate(session, values.operation(session, "initiate"))


def test_a_kept_method_may_be_kept_anew_with_the_payer_at_hand():
    options = StripeOptions(payment_method="pm_1", setup_future_usage="off_session", off_session=False)
    assert {"payment_method": "pm_1", "setup_future_usage": "off_session", "off_session": False} == (
        options.to_data()
    )


def test_personal_data_is_not_in_the_repr():
    options = StripeOptions(
        name="Jenny",
        email="j@shop.example",
        receipt_email="j@shop.example",
        shipping={"name": "Jenny", "address": ADDRESS},
        metadata={"who": "Jenny"},
    )
    assert "Jenny" not in repr(options)
    assert "shop.example" not in repr(options)


# --- what is sent ---------------------------------------------------------------------------------


def test_every_option_of_a_payment_reaches_stripe(sent):
    form = sent(
        StripeOptions(
            customer="cus_1",
            metadata={"order": "1001"},
            receipt_email="jenny@shop.example",
            description="Two books",
            shipping={"name": "Jenny", "address": ADDRESS, "phone": "+491"},
            statement_descriptor_suffix="BOOKS",
            payment_method_configuration="pmc_1abc",
            excluded_payment_method_types=["ideal", "klarna"],
            payment_method_options={"card": {"request_three_d_secure": "any"}},
            setup_future_usage="off_session",
            radar_session="rse_1",
            on_behalf_of="acct_2",
            transfer_data={"destination": "acct_2", "amount": Money("40.00", "EUR")},
            transfer_group="order-1001",
            application_fee_amount=Money("1.23", "EUR"),
        )
    )
    assert form["metadata"].pop("paysession_session").startswith("ps_")
    del form["metadata"]["paysession_operation"], form["metadata"]["paysession_reference"]
    assert {
        "amount": "4200",
        "currency": "eur",
        "capture_method": "manual",
        "customer": "cus_1",
        "metadata": {"order": "1001"},
        "receipt_email": "jenny@shop.example",
        "description": "Two books",
        "shipping": {"name": "Jenny", "address": ADDRESS, "phone": "+491"},
        "statement_descriptor_suffix": "BOOKS",
        "payment_method_configuration": "pmc_1abc",
        "excluded_payment_method_types": ["ideal", "klarna"],
        "payment_method_options": {"card": {"request_three_d_secure": "any"}},
        "setup_future_usage": "off_session",
        "radar_options": {"session": "rse_1"},
        "on_behalf_of": "acct_2",
        "transfer_data": {"destination": "acct_2", "amount": "4000"},
        "transfer_group": "order-1001",
        "application_fee_amount": "123",
    } == form


def test_what_only_made_the_payment_is_not_kept(sent):
    sent(StripeOptions(shipping={"name": "J", "address": ADDRESS}, metadata={"a": "b"}, description="x"))
    assert {"payment_intent": "pi_1", "status": "requires_payment_method"} == decode(sent.outcome.data)


def test_a_payment_belongs_to_the_connected_account_that_is_given_and_stays_there(sent, wire, values):
    sent(StripeOptions(stripe_account="acct_7"), settings={"stripe_account": "acct_1"})
    assert "acct_7" == wire.calls[-1].request.headers["Stripe-Account"]
    assert "acct_7" == sent.outcome.next_action.params["stripe_account"]
    provider = Stripe(api_key=KEY, stripe_account="acct_1")
    wire.get(f"{API}/v1/payment_intents/pi_1", json=INTENT)
    provider.retrieve(values.session(reference="pi_1", data=decode(sent.outcome.data)), None)
    assert "acct_7" == wire.calls[-1].request.headers["Stripe-Account"]
    provider.close()


def test_the_payers_address_and_language_go_to_stripe_and_to_the_browser(sent):
    checkout = Checkout(email="jenny@shop.example", locale="de")
    assert "jenny@shop.example" == sent(checkout=checkout)["receipt_email"]
    shown = sent.outcome.next_action.params
    assert ("jenny@shop.example", "de") == (shown["email"], shown["locale"])


def test_a_shop_that_writes_its_own_receipts_has_none_sent(sent):
    checkout = Checkout(email="jenny@shop.example")
    assert "receipt_email" not in sent(settings={"receipts": False}, checkout=checkout)
    form = sent(StripeOptions(receipt_email="j@x.example"), settings={"receipts": False}, checkout=checkout)
    assert "j@x.example" == form["receipt_email"]


def test_where_the_goods_go_to_is_what_stripe_is_shown(sent):
    place = Address(name="Jenny", line1="1 Main Street", city="Berlin", region="BE", country="DE")
    shown = {"name": "Jenny", "address": {**ADDRESS, "state": "BE"}}
    assert shown == sent(checkout=Checkout(address=place))["shipping"]
    given = {"name": "Tom", "address": {"line1": "2 Main Street"}}
    assert given == sent(StripeOptions(shipping=given), checkout=Checkout(address=place))["shipping"]
    nameless = Checkout(address=Address(line1="1 Main Street"))
    assert "shipping" not in sent(checkout=nameless)
    named = Checkout(address=Address(line1="1 Main Street"), payer=Payer(name="Jenny"))
    assert "Jenny" == sent(checkout=named)["shipping"]["name"]


@pytest.mark.parametrize(
    ("status", "code"), [(400, "resource_missing"), (404, "resource_missing"), (400, None)]
)
def test_what_stripe_does_not_take_is_a_mistake_of_ours_and_no_decline(wire, values, status, code):
    refusal = {"type": "invalid_request_error", "code": code, "message": "No such customer: 'cus_x'"}
    wire.post(f"{API}/v1/payment_intents", status=status, json={"error": refusal})
    session = values.session(data={"customer": "cus_x1"})
    with pytest.raises(InvalidData, match="No such customer"):
        Stripe(api_key=KEY).initiate(session, values.operation(session, "initiate"))


# --- when it is captured --------------------------------------------------------------------------


def held(form):
    options = form.get("payment_method_options", {})
    return {kind for kind, part in options.items() if part.get("capture_method") == "manual"}


def test_a_payment_is_held_where_the_method_can_wait_and_taken_at_once_elsewhere(sent):
    for form in (
        sent(StripeOptions(capture="where_possible")),
        sent(settings={"capture_method": "where_possible"}),
    ):
        assert "automatic" == form["capture_method"]
        assert {"card", "klarna", "link", "paypal"} <= held(form)
        assert "ideal" not in form["payment_method_options"]


def test_single_methods_are_held_or_taken_at_once(sent):
    form = sent(StripeOptions(capture="automatic", capture_methods={"card": "manual"}))
    assert ("automatic", {"card"}) == (form["capture_method"], held(form))
    form = sent(StripeOptions(capture="manual", capture_methods={"klarna": "automatic"}))
    assert "automatic" == form["capture_method"]
    assert "klarna" not in held(form)
    assert "card" in held(form)


def test_a_session_that_is_to_be_captured_at_once_is_whatever_the_options_say(sent):
    form = sent(StripeOptions(capture="where_possible"), capture="automatic")
    assert ("automatic", set()) == (form["capture_method"], held(form))


def test_several_captures_are_asked_for_where_the_card_is_held(sent):
    asked = {"request_multicapture": "if_available"}
    form = sent(settings={"multicapture": True})
    assert asked == form["payment_method_options"]["card"]
    form = sent(StripeOptions(capture="where_possible"), settings={"multicapture": True})
    assert {**asked, "capture_method": "manual"} == form["payment_method_options"]["card"]
    assert "payment_method_options" not in sent(settings={"multicapture": True}, capture="automatic")


def test_a_longer_hold_and_increments_are_asked_for_where_the_card_is_held(sent):
    names = ("extended_authorization", "incremental_authorization", "multicapture")
    settings, asked = dict.fromkeys(names, True), {f"request_{name}": "if_available" for name in names}
    assert asked == sent(settings=settings)["payment_method_options"]["card"]
    form = sent(StripeOptions(capture="where_possible"), settings=settings)
    assert {**asked, "capture_method": "manual"} == form["payment_method_options"]["card"]
    never = {"card": {"request_extended_authorization": "never"}}
    form = sent(StripeOptions(payment_method_options=never), settings=settings)
    assert "never" == form["payment_method_options"]["card"]["request_extended_authorization"]
    assert "payment_method_options" not in sent(settings=settings, capture="automatic")


# --- customers ------------------------------------------------------------------------------------


def test_a_shops_customer_is_found_by_the_shops_own_id(sent, wire, forms):
    known = {**CUSTOMER, "metadata": {"paysession_customer": "o'brien"}}
    wire.get(f"{API}/v1/customers/search", json={"object": "search_result", "data": [known]})
    assert "cus_1" == sent(StripeOptions(customer_reference="o'brien"))["customer"]
    query = forms.form(wire.calls[0].request.url.partition("?")[2])["query"]
    assert r"metadata['paysession_customer']:'o\'brien'" == query
    assert "cus_1" == decode(sent.outcome.data)["customer"]


def test_a_shops_customer_who_is_not_found_is_made_once_for_all_sessions(sent, wire, forms):
    found = {"object": "search_result", "data": [{**CUSTOMER, "metadata": {"paysession_customer": "71"}}]}
    wire.get(f"{API}/v1/customers/search", json=found)  # of another customer
    wire.post(f"{API}/v1/customers", json={**CUSTOMER, "id": "cus_2"})
    for _ in range(2):
        assert "cus_2" == sent(StripeOptions(customer_reference="7", email="j@x.example"))["customer"]
    made = [call.request for call in wire.calls if call.request.url.endswith("/v1/customers")]
    assert 1 == len({request.headers["Idempotency-Key"] for request in made})
    assert {"metadata": {"paysession_customer": "7"}, "email": "j@x.example"} == forms.form(made[0].body)


def test_a_payment_that_was_not_made_is_tried_again_with_the_same_customer(payments, sandbox):
    order = payments.create_collection(Money("42.00", "EUR"), reference="order-1001")
    asked = {
        "provider": "stripe",
        "data": {"customer_reference": "user-17"},
        "idempotency_key": "order-1001:1",
    }
    sandbox.fail("429", "/v1/payment_intents")
    with pytest.raises(NotApplied):
        payments.initiate(order.id, **asked)
    session = payments.initiate(order.id, **asked)
    assert ("pending", 1) == (session.status, len(sandbox.writes("/v1/customers")))
    assert sandbox.account().get("payment_intent", session.reference)["customer"] == session.data["customer"]


def test_a_customer_who_was_not_made_is_made_by_the_next_attempt(payments, sandbox):
    order = payments.create_collection(Money("42.00", "EUR"), reference="order-1001")
    data = {"customer_reference": "user-17", "setup_future_usage": "off_session"}
    asked = {"provider": "stripe", "data": data, "idempotency_key": "order-1001:1"}
    sandbox.fail("429", "/v1/customers")
    with pytest.raises(NotApplied):
        payments.initiate(order.id, **asked)
    session = payments.initiate(order.id, **asked)
    found = sandbox.account().get("payment_intent", session.reference)["customer"]
    assert "user-17" == sandbox.account().get("customer", found)["metadata"]["paysession_customer"]


def test_an_account_without_a_search_makes_the_customer(sent, wire):
    wire.get(f"{API}/v1/customers/search", status=400, json={"error": {"message": "No search here."}})
    wire.post(f"{API}/v1/customers", json=CUSTOMER)
    assert "cus_1" == sent(StripeOptions(customer_reference="7"))["customer"]


def test_who_keeps_a_payment_method_becomes_a_customer(sent, wire, forms):
    wire.post(f"{API}/v1/customers", json=CUSTOMER)
    checkout = Checkout(email="jenny@shop.example", locale="de")
    assert "cus_1" == sent(StripeOptions(setup_future_usage="off_session"), checkout=checkout)["customer"]
    form = forms.form(wire.calls[0].request.body)
    assert ("jenny@shop.example", ["de"]) == (form["email"], form["preferred_locales"])


def test_a_guest_stays_one(sent, wire):
    assert "customer" not in sent(checkout=Checkout(email="jenny@shop.example"))
    assert 1 == len(wire.calls)


# --- what was kept --------------------------------------------------------------------------------


def paid(details, **changes):
    charge = {
        "object": "charge",
        "id": "ch_1",
        "created": 1_767_225_600,
        "payment_method_details": details,
        "outcome": {"type": "authorized", "risk_level": "normal", "risk_score": 12},
        **changes,
    }
    return {
        **INTENT,
        "status": "succeeded",
        "amount_received": 4200,
        "payment_method": "pm_9",
        "latest_charge": charge,
    }


def looked_at(wire, values, found):
    wire.get(f"{API}/v1/payment_intents/pi_1", json=found)
    provider = Stripe(api_key=KEY)
    try:
        session = values.session(reference="pi_1", data={"customer": "cus_1", "payment_intent": "pi_1"})
        return decode(provider.retrieve(session, None).data)
    finally:
        provider.close()


def test_what_a_one_time_method_leaves_behind_is_what_can_be_charged_again(wire, values):
    data = looked_at(wire, values, paid({"type": "ideal", "ideal": {"generated_sepa_debit": "pm_sepa"}}))
    assert {
        "customer": "cus_1",
        "payment_method": "pm_sepa",
        "allowed_payment_method_types": ["sepa_debit"],
    } == StripeOptions.kept(data).to_data()


def test_a_kept_method_of_a_known_kind_is_not_kept_from_redirecting(sent, wire, values):
    data = looked_at(wire, values, paid({"type": "paypal", "paypal": {}}))
    form = sent(StripeOptions.kept(data))
    assert ("pm_9", ["paypal"]) == (form["payment_method"], form["allowed_payment_method_types"])
    assert "automatic_payment_methods" not in form


def test_a_session_that_kept_nothing_says_so():
    with pytest.raises(ValueError, match="kept no payment method"):
        StripeOptions.kept({"customer": "cus_1"})


def test_the_payers_method_is_known_without_any_number(wire, values):
    from paysession_stripe import StripeData

    card = {
        "brand": "visa",
        "last4": "4242",
        "exp_month": 12,
        "exp_year": 2030,
        "country": "US",
        "funding": "credit",
        "fingerprint": "secret",
        "wallet": {"type": "apple_pay"},
        "three_d_secure": {"result": "authenticated"},
    }
    cost = {"object": "balance_transaction", "currency": "usd", "fee": 152, "net": 4848}
    data = looked_at(wire, values, paid({"type": "card", "card": card}, balance_transaction=cost))
    assert "secret" not in json.dumps(data)
    read = StripeData.from_json(data)
    assert ("1.52 USD", "48.48 USD") == (read.fee, read.net)
    method = read.method
    assert ("card", "visa", "4242", 12, 2030) == (
        method.type,
        method.brand,
        method.last4,
        method.exp_month,
        method.exp_year,
    )
    assert ("US", "credit", "apple_pay", "authenticated") == (
        method.country,
        method.funding,
        method.wallet,
        method.three_d_secure,
    )
    assert ("authorized", "normal", 12) == (method.outcome, method.risk_level, method.risk_score)


def test_who_paid_is_reported(wire, values):
    address = {"line1": "1 Main Street", "city": "Berlin", "state": "BE", "country": "DE", "line2": None}
    details = {"name": "Jenny", "email": "j@x.example", "phone": None, "address": address}
    wire.get(f"{API}/v1/payment_intents/pi_1", json=paid({"type": "card"}, billing_details=details))
    provider = Stripe(api_key=KEY)
    session = values.session(reference="pi_1")
    place = Address(line1="1 Main Street", city="Berlin", region="BE", country="DE")
    expected = Payer(name="Jenny", email="j@x.example", address=place)
    assert expected == provider.retrieve(session, None).payer
    assert expected == provider.authorize(session, values.operation(session, "authorize", ordinal=2)).payer
    provider.close()


@pytest.mark.parametrize(
    ("action", "until"),
    [
        (
            {"type": "oxxo_display_details", "oxxo_display_details": {"expires_after": 1_768_435_200}},
            "2026-01-15",
        ),
        (
            {"type": "boleto_display_details", "boleto_display_details": {"expires_at": 1_768_435_200}},
            "2026-01-15",
        ),
        ({"type": "display_bank_transfer_instructions"}, "2026-01-31"),
        ({"type": "use_stripe_sdk"}, "None"),
        ({"type": "oxxo_display_details", "oxxo_display_details": 7}, "None"),
    ],
)
def test_until_when_a_voucher_can_be_paid_is_reported(wire, values, action, until):
    found = {**INTENT, "status": "requires_action", "next_action": action, "created": 1_767_225_600}
    wire.get(f"{API}/v1/payment_intents/pi_1", json=found)
    provider = Stripe(api_key=KEY)
    seen = provider.retrieve(values.session(reference="pi_1"), None)
    assert (Status.REQUIRES_MORE, until) == (seen.status, str(seen.expires_at)[:10])
    provider.close()


@pytest.mark.parametrize(
    "details",
    [{}, {"type": 7}, {"type": "card", "card": []}, {"type": "card", "card": {"exp_month": "12"}}, []],
)
def test_a_method_that_cannot_be_read_is_no_reason_to_doubt_the_payment(wire, values, details):
    assert "succeeded" == looked_at(wire, values, paid(details))["status"]


# --- several captures -----------------------------------------------------------------------------


def capture(wire, values, data, metadata=None, **changes):
    found = {**INTENT, "status": "requires_capture", "amount_received": 100, "amount_capturable": 4100}
    wire.post(f"{API}/v1/payment_intents/pi_1/capture", json={**found, "metadata": metadata or {}})
    provider = Stripe(api_key=KEY, multicapture=True)
    try:
        session = values.session(reference="pi_1", authorized=4200, status=Status.AUTHORIZED, data=data)
        operation = values.operation(session, "capture", Money("1.00", "EUR"), 50, **changes)
        return provider.capture(session, operation), operation
    finally:
        provider.close()


def test_with_many_captures_the_newest_mark_takes_the_place_of_the_oldest(wire, values, forms):
    marks = {f"paysession_capture_{n}_x": f"ps_1-{n}-x 100 {n}" for n in range(9, 54)}
    outcome, _ = capture(wire, values, {"payment_intent": "pi_1"}, marks)
    data = decode(outcome.data)
    assert "paysession_capture_9_x" == data["reuse"]
    _, operation = capture(wire, values, data, marks)
    form = forms.form(wire.calls[-1].request.body)
    assert {"paysession_capture_9_x": f"{operation.key} 100 50"} == form["metadata"]


@pytest.mark.parametrize(("seen", "sent"), [(True, "false"), (None, "false")])
def test_a_charge_that_takes_several_captures_is_told_which_is_the_last(wire, values, forms, seen, sent):
    capture(wire, values, {"payment_intent": "pi_1"} | ({} if seen is None else {"multicapture": seen}))
    assert sent == forms.form(wire.calls[-1].request.body)["final_capture"]


def test_a_charge_that_takes_one_capture_is_not_captured_in_part_by_mistake(values):
    data = {"payment_intent": "pi_1", "multicapture": False}
    session = values.session(reference="pi_1", authorized=4200, status=Status.AUTHORIZED, data=data)
    with pytest.raises(Declined, match="final=True") as refused:
        Stripe(api_key=KEY, multicapture=True).capture(
            session, values.operation(session, "capture", Money("1.00", "EUR"), 3)
        )
    assert ("multicapture_unavailable", "configuration") == (refused.value.code, refused.value.category)


def test_the_only_capture_of_a_charge_is_not_called_the_last(wire, values, forms):
    capture(wire, values, {"payment_intent": "pi_1", "multicapture": False}, final=True)
    assert "final_capture" not in forms.form(wire.calls[-1].request.body)


def test_whether_a_charge_takes_several_captures_is_seen_when_it_is_authorized(wire, values):
    for status, expected in (("available", True), ("unavailable", False)):
        card = {"multicapture": {"status": status}}
        assert expected is looked_at(wire, values, paid({"type": "card", "card": card}))["multicapture"]
        wire.remove("GET", f"{API}/v1/payment_intents/pi_1")


# --- a decline ------------------------------------------------------------------------------------


def test_after_a_decline_the_data_show_how_the_payment_stands(wire, values):
    saved = {**INTENT, "status": "requires_confirmation", "payment_method": "pm_1"}
    wire.get(f"{API}/v1/payment_intents/pi_1", json=saved)
    after = {**INTENT, "last_payment_error": {"code": "card_declined", "decline_code": "lost_card"}}
    error = {
        "type": "card_error",
        "code": "card_declined",
        "decline_code": "lost_card",
        "payment_intent": after,
    }
    wire.post(f"{API}/v1/payment_intents/pi_1/confirm", status=402, json={"error": error})
    provider = Stripe(api_key=KEY)
    data = {"customer": "cus_1", "payment_method": "pm_1", "status": "requires_confirmation"}
    session = replace(values.session(reference="pi_1", data=data))
    with pytest.raises(Declined) as refused:
        provider.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert ("requires_payment_method", "lost_card") == (
        refused.value.data["status"],
        refused.value.data["last_error"],
    )
    provider.close()
