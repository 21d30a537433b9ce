"""Stripe's hosted page: a Checkout Session in place of the PaymentIntent, until the payer has confirmed."""

import pytest

from paysession.provider import (
    Answer,
    Checkout,
    ClientAction,
    Declined,
    InvalidData,
    Item,
    Money,
    NotApplied,
    OutcomeUnknown,
    Redirect,
    Status,
)
from paysession.values import decode
from paysession_stripe import Stripe, StripeOptions

KEY = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"
API = "https://api.stripe.com/v1"
URL = "https://checkout.stripe.com/c/pay/cs_test_1"
BACK = Checkout(
    return_url="https://shop.example/back",
    cancel_url="https://shop.example/cart",
    email="jenny@shop.example",
    locale="de",
    description="Two books",
)
PAGE = {
    "id": "cs_test_1",
    "object": "checkout.session",
    "status": "open",
    "amount_total": 4200,
    "currency": "eur",
    "url": URL,
    "expires_at": 1_767_312_000,
    "payment_intent": None,
    "metadata": {"paysession_session": "ps_1"},
}
EXPIRED = {**PAGE, "status": "expired", "url": None}
COMPLETE = {**PAGE, "status": "complete", "url": None, "payment_intent": "pi_1"}
HELD = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 4200,
    "amount_capturable": 4200,
    "amount_received": 0,
    "currency": "eur",
    "status": "requires_capture",
    "client_secret": "pi_1_secret_x",
    "metadata": {"paysession_session": "ps_1"},
    "latest_charge": "ch_1",
}
TRYING = {**HELD, "status": "requires_payment_method", "amount_capturable": 0, "latest_charge": None}
FAILED = {**TRYING, "last_payment_error": {"code": "payment_intent_payment_attempt_failed"}}
VOUCHER = {**HELD, "status": "requires_action", "amount_capturable": 0, "latest_charge": None}


@pytest.fixture
def stripe():
    provider = Stripe(api_key=KEY, ui="hosted", max_network_retries=0)
    yield provider
    provider.close()


@pytest.fixture
def session(values):
    return values.session(id="ps_1", reference="cs_test_1", data={"ui": "hosted"}, checkout=BACK)


@pytest.mark.parametrize("where", ["settings", "options"])
def test_a_page_is_made_and_the_payer_sent_there(wire, forms, values, where):
    settings = {"ui": "hosted"} if where == "settings" else {}
    options = StripeOptions(ui="hosted" if where == "options" else None, capture="where_possible")
    provider = Stripe(api_key=KEY, max_network_retries=0, **settings)
    wire.post(f"{API}/checkout/sessions", json=PAGE)
    session = values.session(id="ps_1", data=options.to_data(), checkout=BACK)
    operation = values.operation(session, "initiate")
    outcome = provider.initiate(session, operation)
    provider.close()
    assert (Answer.PENDING, Redirect(URL), "cs_test_1") == (
        outcome.answer,
        outcome.next_action,
        outcome.reference,
    )
    assert "2026-01-02T00:00:00+00:00" == outcome.expires_at.isoformat()
    assert {"ui": "hosted", "status": "open", "capture": "where_possible"} == decode(outcome.data)
    form = forms.form(wire.calls[0].request.body)
    assert operation.key == wire.calls[0].request.headers["Idempotency-Key"]
    line = {"currency": "eur", "unit_amount": "4200", "product_data": {"name": "Two books"}}
    assert [{"quantity": "1", "price_data": line}] == form["line_items"]
    assert ("payment", "hosted_page", "de") == (form["mode"], form["ui_mode"], form["locale"])
    assert ("https://shop.example/back", "https://shop.example/cart") == (
        form["success_url"],
        form["cancel_url"],
    )
    assert {"enabled": "false"} == form["adaptive_pricing"]
    assert "jenny@shop.example" == form["customer_email"]
    payment = form["payment_intent_data"]
    assert ("automatic", "Two books") == (payment["capture_method"], payment["description"])
    assert "manual" == form["payment_method_options"]["card"]["capture_method"]
    assert "ps_1" == form["metadata"]["paysession_session"] == payment["metadata"]["paysession_session"]
    assert ("yes", None) == (
        payment["metadata"]["paysession_page"],
        form["metadata"].get("paysession_page"),
    )


@pytest.mark.parametrize("ui", ["hosted", "embedded"])
def test_a_page_needs_an_address_to_come_back_to(stripe, values, ui):
    session = values.session(data={"ui": ui})
    with pytest.raises(InvalidData, match=f"{ui} page needs .*return_url"):
        stripe.initiate(session, values.operation(session, "initiate"))


SECRET = "cs_test_1_secret_x"
EMBEDDED = {**PAGE, "url": None, "client_secret": SECRET}


@pytest.mark.parametrize("where", ["settings", "options"])
def test_a_page_is_embedded_in_the_shops_own(wire, forms, values, where):
    settings = {"ui": "embedded"} if where == "settings" else {}
    data = {"ui": "embedded"} if where == "options" else {}
    provider = Stripe(
        api_key=KEY, publishable_key="pk_test_1", stripe_account="acct_1", max_network_retries=0, **settings
    )
    wire.post(f"{API}/checkout/sessions", json=EMBEDDED)
    session = values.session(id="ps_1", data=data, checkout=BACK)
    outcome = provider.initiate(session, values.operation(session, "initiate"))
    params = {"client_secret": SECRET, "publishable_key": "pk_test_1", "stripe_account": "acct_1"}
    assert ClientAction("stripe.embedded_page", params) == outcome.next_action
    form = forms.form(wire.calls[0].request.body)
    assert ("embedded_page", "https://shop.example/back") == (form["ui_mode"], form["return_url"])
    assert not {"success_url", "cancel_url"} & form.keys()
    assert "embedded" == decode(outcome.data)["ui"]
    wire.get(f"{API}/checkout/sessions/cs_test_1", json=EMBEDDED)
    waiting = values.session(id="ps_1", reference="cs_test_1", data=decode(outcome.data), checkout=BACK)
    assert outcome.next_action == provider.retrieve(waiting, None).next_action
    wire.replace("GET", f"{API}/checkout/sessions/cs_test_1", json={**EMBEDDED, "status": "expired"})
    assert provider.retrieve(waiting, None).next_action is None
    provider.close()


def test_a_page_asks_for_a_longer_hold_and_several_captures_as_well(wire, forms, values):
    settings = {"ui": "hosted", "extended_authorization": True, "multicapture": True}
    provider = Stripe(api_key=KEY, max_network_retries=0, **settings)
    wire.post(f"{API}/checkout/sessions", json=PAGE)
    session = values.session(id="ps_1", checkout=BACK)
    provider.initiate(session, values.operation(session, "initiate"))
    provider.close()
    asked = {"request_extended_authorization": "if_available", "request_multicapture": "if_available"}
    assert {"card": asked} == forms.form(wire.calls[0].request.body)["payment_method_options"]


def test_a_new_amount_is_a_new_page_of_the_same_kind(wire, forms, stripe, values):
    session = values.session(id="ps_1", reference="cs_test_1", data={"ui": "embedded"}, checkout=BACK)
    new = {**EMBEDDED, "id": "cs_test_2", "amount_total": 5000, "client_secret": "cs_test_2_secret_x"}
    wire.post(f"{API}/checkout/sessions", json=new)
    wire.post(f"{API}/checkout/sessions/cs_test_1/expire", json={**EMBEDDED, "status": "expired"})
    outcome = stripe.update(session, values.operation(session, "update", Money("50.00", "EUR"), 2))
    assert "cs_test_2_secret_x" == outcome.next_action.params["client_secret"]
    assert "embedded_page" == forms.form(wire.calls[0].request.body)["ui_mode"]


def test_a_kept_payment_method_is_charged_without_a_page(wire, stripe, values):
    intent = {**TRYING, "status": "requires_confirmation"}
    wire.post(f"{API}/payment_intents", json=intent)
    session = values.session(id="ps_1", data={"customer": "cus_1", "payment_method": "pm_1"}, checkout=BACK)
    outcome = stripe.initiate(session, values.operation(session, "initiate"))
    assert ("pi_1", None) == (outcome.reference, outcome.next_action)


def test_what_a_page_does_not_take_is_refused_where_the_settings_ask_for_one(stripe, values):
    session = values.session(data={"radar_session": "rse_1"}, checkout=BACK)
    with pytest.raises(InvalidData, match="hosted page takes no radar_session"):
        stripe.initiate(session, values.operation(session, "initiate"))


def test_a_page_is_closed_after_its_payers_data_was_erased(wire, stripe, values):
    wire.post(f"{API}/checkout/sessions/cs_test_1/expire", json=EXPIRED)
    session = values.session(id="ps_1", reference="cs_test_1")
    assert Answer.CANCELED == stripe.cancel(session, values.operation(session, "cancel", ordinal=2)).answer


@pytest.mark.parametrize(("second", "lines"), [("32.00", 2), ("31.00", 1)])
def test_the_lines_of_an_order_are_shown_where_they_add_up(wire, forms, stripe, values, second, lines):
    wire.post(f"{API}/checkout/sessions", json=PAGE)
    items = [Item("Book", Money("5.00", "EUR"), quantity=2), Item("Lamp", Money(second, "EUR"))]
    checkout = Checkout(return_url="https://shop.example/back", items=items)
    session = values.session(checkout=checkout)
    stripe.initiate(session, values.operation(session, "initiate"))
    sent = forms.form(wire.calls[0].request.body)["line_items"]
    assert lines == len(sent)
    assert 4200 == sum(int(line["quantity"]) * int(line["price_data"]["unit_amount"]) for line in sent)


@pytest.mark.parametrize("locale", ["tlh", "de-AT"])
def test_a_language_that_the_page_does_not_have_is_left_to_the_browser(wire, forms, stripe, values, locale):
    wire.post(f"{API}/checkout/sessions", json=PAGE)
    session = values.session(checkout=Checkout(return_url="https://shop.example/back", locale=locale))
    stripe.initiate(session, values.operation(session, "initiate"))
    assert "locale" not in forms.form(wire.calls[0].request.body)


def test_an_open_page_waits_for_the_payer(wire, stripe, session, values):
    wire.get(f"{API}/checkout/sessions/cs_test_1", json=PAGE)
    seen = stripe.retrieve(session, None)
    assert (Status.PENDING, Redirect(URL), "cs_test_1", "ps_1") == (
        seen.status,
        seen.next_action,
        seen.reference,
        seen.session_id,
    )
    assert (values.eur("42.00"), values.eur("0.00")) == (seen.amount, seen.captured)
    outcome = stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert (Answer.REQUIRES_MORE, Redirect(URL)) == (outcome.answer, outcome.next_action)


def test_a_page_that_has_closed_ends_the_session(wire, stripe, session, values):
    wire.get(f"{API}/checkout/sessions/cs_test_1", json=EXPIRED)
    assert Status.CANCELED == stripe.retrieve(session, None).status
    assert (
        Answer.CANCELED == stripe.authorize(session, values.operation(session, "authorize", ordinal=2)).answer
    )


def test_a_payer_whose_card_was_declined_goes_on_at_the_page(wire, stripe, session):
    failed = {**TRYING, "last_payment_error": {"code": "card_declined"}}
    wire.get(f"{API}/checkout/sessions/cs_test_1", json={**PAGE, "payment_intent": "pi_1"})
    wire.get(f"{API}/payment_intents/pi_1", json=failed)
    seen = stripe.retrieve(session, None)
    assert (Status.ERROR, Redirect(URL)) == (seen.status, seen.next_action)


def test_a_page_that_closed_after_a_decline_ends_the_session(wire, stripe, session):
    wire.get(f"{API}/checkout/sessions/cs_test_1", json={**EXPIRED, "payment_intent": "pi_1"})
    wire.get(f"{API}/payment_intents/pi_1", json=TRYING)
    assert Status.CANCELED == stripe.retrieve(session, None).status


def test_a_paid_page_is_authorized_and_captured_by_its_payment_intent(wire, stripe, session, values):
    wire.get(f"{API}/checkout/sessions/cs_test_1", json=COMPLETE)
    wire.get(f"{API}/payment_intents/pi_1", json=HELD)
    outcome = stripe.authorize(session, values.operation(session, "authorize", ordinal=2))
    assert (Answer.AUTHORIZED, values.eur("42.00"), "pi_1") == (
        outcome.answer,
        outcome.amount,
        outcome.reference,
    )
    paid = values.session(
        id="ps_1", reference=outcome.reference, data=decode(outcome.data), authorized=4200, checkout=BACK
    )
    taken = {**HELD, "status": "succeeded", "amount_received": 4200, "amount_capturable": 0}
    wire.post(f"{API}/payment_intents/pi_1/capture", json=taken)
    assert Answer.CAPTURED == stripe.capture(paid, values.operation(paid, "capture", ordinal=3)).answer


def test_a_paid_page_is_ours_though_somebody_took_our_mark_off_the_payment(wire, stripe, session):
    wire.get(f"{API}/checkout/sessions/cs_test_1", json=COMPLETE)
    wire.get(f"{API}/payment_intents/pi_1", json={**HELD, "metadata": {}})
    seen = stripe.retrieve(session, None)
    assert ("pi_1", "ps_1") == (seen.reference, seen.session_id)


def test_a_cancel_closes_the_page(wire, stripe, session, values):
    wire.post(f"{API}/checkout/sessions/cs_test_1/expire", json=EXPIRED)
    operation = values.operation(session, "cancel", ordinal=2)
    assert Answer.CANCELED == stripe.cancel(session, operation).answer
    assert operation.subkey("page") == wire.calls[0].request.headers["Idempotency-Key"]


@pytest.mark.parametrize(
    ("page", "intent", "expected"),
    [
        (EXPIRED, None, Answer.CANCELED),
        (COMPLETE, HELD, OutcomeUnknown),
        (
            COMPLETE,
            {**HELD, "status": "succeeded", "amount_received": 4200, "amount_capturable": 0},
            Declined,
        ),
        (COMPLETE, {**HELD, "status": "processing", "amount_capturable": 0}, Declined),
        (COMPLETE, VOUCHER, Declined),
    ],
)
def test_a_page_that_cannot_be_closed_is_looked_at(wire, stripe, session, values, page, intent, expected):
    refusal = {"error": {"type": "invalid_request_error", "message": "Only an open page can be expired."}}
    wire.post(f"{API}/checkout/sessions/cs_test_1/expire", status=400, json=refusal)
    wire.get(f"{API}/checkout/sessions/cs_test_1", json=page)
    if intent is not None:
        wire.get(f"{API}/payment_intents/pi_1", json=intent)
    operation = values.operation(session, "cancel", ordinal=2)
    if isinstance(expected, Answer):
        assert expected == stripe.cancel(session, operation).answer
    else:
        with pytest.raises(expected):
            stripe.cancel(session, operation)


@pytest.mark.parametrize("refused", [False, True])
def test_a_payment_that_failed_after_its_page_was_left_is_canceled(wire, stripe, session, values, refused):
    refusal = {"error": {"type": "invalid_request_error", "message": "Not this one."}}
    wire.post(f"{API}/checkout/sessions/cs_test_1/expire", status=400, json=refusal)
    wire.get(f"{API}/checkout/sessions/cs_test_1", json=COMPLETE)
    wire.get(f"{API}/payment_intents/pi_1", json=FAILED)
    answer = {"status": 400, "json": refusal} if refused else {"json": {**TRYING, "status": "canceled"}}
    wire.post(f"{API}/payment_intents/pi_1/cancel", **answer)
    assert Answer.CANCELED == stripe.cancel(session, values.operation(session, "cancel", ordinal=2)).answer


def test_a_payment_that_is_paid_while_it_is_canceled_is_not_taken_for_canceled(wire, stripe, session, values):
    refusal = {"error": {"type": "invalid_request_error", "message": "Not this one."}}
    wire.post(f"{API}/checkout/sessions/cs_test_1/expire", status=400, json=refusal)
    wire.get(f"{API}/checkout/sessions/cs_test_1", json=COMPLETE)
    wire.get(f"{API}/payment_intents/pi_1", json=FAILED)
    wire.get(f"{API}/payment_intents/pi_1", json=HELD)
    wire.post(f"{API}/payment_intents/pi_1/cancel", status=400, json=refusal)
    with pytest.raises(OutcomeUnknown):
        stripe.cancel(session, values.operation(session, "cancel", ordinal=2))


def test_what_was_paid_since_a_cancel_began_is_canceled_by_its_payment_intent(wire, stripe, values):
    session = values.session(id="ps_1", reference="cs_test_1", data={"ui": "hosted"}, authorized=4200)
    wire.get(f"{API}/checkout/sessions/cs_test_1", json=COMPLETE)
    wire.post(
        f"{API}/payment_intents/pi_1/cancel", json={**HELD, "status": "canceled", "amount_capturable": 0}
    )
    assert Answer.CANCELED == stripe.cancel(session, values.operation(session, "cancel", ordinal=3)).answer


NEW = {**PAGE, "id": "cs_test_2", "amount_total": 5000, "url": "https://checkout.stripe.com/c/pay/cs_test_2"}


def test_another_amount_is_another_page_and_the_former_one_is_closed(wire, forms, stripe, values):
    data = {"ui": "hosted", "metadata": {"channel": "web"}}
    session = values.session(id="ps_1", reference="cs_test_1", data=data, checkout=BACK)
    wire.post(f"{API}/checkout/sessions", json=NEW)
    wire.post(f"{API}/checkout/sessions/cs_test_1/expire", json=EXPIRED)
    outcome = stripe.update(session, values.operation(session, "update", Money("50.00", "EUR"), 2))
    assert ("cs_test_2", Redirect(NEW["url"])) == (outcome.reference, outcome.next_action)
    form = forms.form(wire.calls[0].request.body)
    assert "5000" == form["line_items"][0]["price_data"]["unit_amount"]
    assert "web" == form["metadata"]["channel"]


@pytest.mark.parametrize(("page", "paid"), [(EXPIRED, False), (COMPLETE, True)])
def test_a_former_page_that_is_not_open_is_looked_at(wire, stripe, session, values, page, paid):
    wire.post(f"{API}/checkout/sessions", json=NEW)
    refusal = {"error": {"type": "invalid_request_error", "message": "Only an open page can be expired."}}
    wire.post(f"{API}/checkout/sessions/cs_test_1/expire", status=400, json=refusal)
    wire.get(f"{API}/checkout/sessions/cs_test_1", json=page)
    operation = values.operation(session, "update", Money("50.00", "EUR"), 2)
    if paid:
        wire.post(f"{API}/checkout/sessions/cs_test_2/expire", json={**NEW, "status": "expired"})
        with pytest.raises(OutcomeUnknown, match="former page"):
            stripe.update(session, operation)
    else:
        assert "cs_test_2" == stripe.update(session, operation).reference


@pytest.mark.parametrize(
    ("intent", "expected"),
    [
        ({**HELD, "status": "processing", "amount_capturable": 0}, "its amount stands"),
        (VOUCHER, "try again"),
        (FAILED, "begin a new payment"),
    ],
)
def test_an_update_of_a_page_that_the_payer_has_left_is_declined(
    wire, stripe, session, values, intent, expected
):
    wire.post(f"{API}/checkout/sessions", json=NEW)
    refusal = {"error": {"type": "invalid_request_error", "message": "Only an open page can be expired."}}
    wire.post(f"{API}/checkout/sessions/cs_test_1/expire", status=400, json=refusal)
    wire.get(f"{API}/checkout/sessions/cs_test_1", json=COMPLETE)
    wire.post(f"{API}/checkout/sessions/cs_test_2/expire", json={**NEW, "status": "expired"})
    wire.get(f"{API}/payment_intents/pi_1", json=intent)
    operation = values.operation(session, "update", Money("50.00", "EUR"), 2)
    with pytest.raises(Declined, match=expected):
        stripe.update(session, operation)
    assert 1 == sum(call.request.url.endswith("/cs_test_1") for call in wire.calls)


def test_an_update_that_came_after_the_payer_had_paid_is_declined_once_that_is_recorded(wire, stripe, values):
    wire.post(f"{API}/checkout/sessions", json=NEW)
    refusal = {"error": {"type": "invalid_request_error", "message": "Only an open page can be expired."}}
    wire.post(f"{API}/checkout/sessions/cs_test_1/expire", status=400, json=refusal)
    wire.get(f"{API}/checkout/sessions/cs_test_1", json=COMPLETE)
    wire.post(f"{API}/checkout/sessions/cs_test_2/expire", json={**NEW, "status": "expired"})
    data = {"ui": "hosted"}
    session = values.session(id="ps_1", reference="cs_test_1", data=data, authorized=2600, checkout=BACK)
    with pytest.raises(Declined, match="had paid before") as refused:
        stripe.update(session, values.operation(session, "update", Money("50.00", "EUR"), 2))
    assert ("authorized", True) == (refused.value.code, refused.value.conclusive)


def test_a_page_that_cannot_be_read_proves_nothing(wire, stripe, session):
    wire.get(f"{API}/checkout/sessions/cs_test_1", json={**PAGE, "amount_total": None})
    with pytest.raises(OutcomeUnknown):
        stripe.retrieve(session, None)


def test_nothing_is_captured_before_the_page_has_made_a_payment(stripe, session, values):
    with pytest.raises(NotApplied):
        stripe.capture(session, values.operation(session, "capture", ordinal=3))
