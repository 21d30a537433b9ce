"""What a session is paid with: buttons in the page, Pay Later and Venmo, cards, banks, and what was saved before."""

import json

import pytest

from paysession.operation import State
from paysession.provider import Address, Checkout, ClientAction, Declined, Kind, NotApplied, Payer, Status
from paysession_paypal.data import PayPalData
from paysession_paypal.sources import SOURCES

BANKS = [name for name, source in SOURCES.items() if source.bank]
ALL = ",".join(SOURCES)
BACK = "https://shop.example/back/{session_id}"
ANN = Payer(name="Ann Payer", email="ann@shop.example", address=Address(country="NL"))
CHECKOUT = Checkout(return_url=BACK, cancel_url="https://shop.example/no", payer=ANN, ip="192.0.2.7")


@pytest.fixture
def till(make_shop, make_provider):
    """Return a shop whose sessions may be paid with anything."""
    return make_shop(make_provider(payment_sources=ALL))


def begin(shop, source=None, **data):
    data = {"payment_source": source, **data} if source else data
    return shop.session("initiated", checkout=CHECKOUT, data=data)


def created(fake):
    return json.loads(fake.calls("create")[-1].body)


# --- which of them --------------------------------------------------------------------------------


def test_only_paypal_is_offered_unless_the_settings_say_so(shop, fake):
    for source in SOURCES:
        if source != "paypal":
            with pytest.raises(Declined, match="not offered"):
                begin(shop, source)
    assert fake.calls() == [], "nothing was sent"
    assert begin(shop).status is Status.REQUIRES_MORE


def test_the_first_one_of_the_settings_is_the_default(make_shop, make_provider, fake):
    session = begin(make_shop(make_provider(payment_sources=["ideal", "paypal"])))
    assert list(created(fake)["payment_source"]) == ["ideal"]
    assert PayPalData.of(session).payment_source == "ideal"


@pytest.mark.parametrize("value", ["", "paypal,bitcoin", []])
def test_what_no_source_is_called_is_refused_at_the_start(make_provider, value):
    with pytest.raises(ValueError, match="payment_sources"):
        make_provider(payment_sources=value)


# --- buttons in the page --------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["paypal", "paylater", "venmo"])
def test_the_buttons_are_given_the_order_and_on_approval_the_session_goes_on(till, fake, source):
    session = begin(till, source, flow="buttons")
    assert session.next_action == ClientAction(
        "paypal.buttons",
        {"order": session.reference, "client_id": fake.client_id, "currency": "EUR", "intent": "authorize"},
    )
    assert list(created(fake)["payment_source"]) == ["venmo" if source == "venmo" else "paypal"]
    query = fake.payer_approves(session.reference)
    session = till.payments.resume(session.id, payload={"orderID": query["token"]})
    assert (session.status, session.authorized) == (Status.AUTHORIZED, 4200)


def test_a_payer_who_approves_and_closes_the_page_is_no_lost_sale(till, fake):
    session = begin(till, flow="buttons")
    fake.payer_approves(session.reference)
    till.settle(minutes=10)
    assert till.payments.get(session.id).status is Status.AUTHORIZED


def test_a_look_leaves_what_the_page_needs_as_it_is(till):
    session = begin(till, flow="buttons")
    assert till.payments.sync(session.id).next_action == session.next_action


def test_apple_pay_and_google_pay_are_added_by_the_page(till, fake):
    for source in ("apple_pay", "google_pay"):
        session = begin(till, source)
        assert session.next_action.kind == f"paypal.{source}"
        assert "payment_source" not in created(fake)
        till.payments.cancel(session.id)


# --- cards ----------------------------------------------------------------------------------------


def test_a_card_is_typed_into_the_page_and_told_by_its_last_digits(till, fake):
    session = begin(till, "card")
    assert session.next_action.kind == "paypal.card_fields"
    session = till.payments.resume(session.id, payload=fake.payer_approves(session.reference))
    assert session.status is Status.AUTHORIZED
    assert PayPalData.of(session).card == {
        "brand": "VISA",
        "last_digits": "1111",
        "liability_shift": "POSSIBLE",
    }


@pytest.mark.parametrize(("shift", "passes"), [("POSSIBLE", True), ("NO", False), ("UNKNOWN", False)])
def test_without_the_issuers_liability_a_card_is_declined_if_the_settings_say_so(
    make_shop, make_provider, fake, shift, passes
):
    shop = make_shop(make_provider(payment_sources="card", require_liability_shift=True))
    session = begin(shop)
    fake.ledger.next_status["liability_shift"] = [shift]
    query = fake.payer_approves(session.reference)
    if passes:
        assert shop.payments.resume(session.id, payload=query).status is Status.AUTHORIZED
        return
    session = shop.payments.resume(session.id, payload=query)
    assert (session.status, session.error.code) == (Status.ERROR, "LIABILITY_NOT_SHIFTED")
    assert (fake.effects, fake.calls("authorize")) == ([], []), "nothing was sent"


# --- banks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", BANKS)
def test_a_bank_is_told_who_pays_and_paypal_captures_by_itself(till, fake, source):
    session = begin(till, source)
    body = created(fake)
    assert (body["intent"], body["processing_instruction"]) == (
        "CAPTURE", "ORDER_COMPLETE_ON_PAYMENT_APPROVAL",
    )  # fmt: skip
    told = body["payment_source"][source]
    assert (told["name"], told["country_code"]) == ("Ann Payer", "NL")
    assert ("email" in told) is (source in ("blik", "p24"))
    session = till.payments.resume(session.id, payload=fake.payer_approves(session.reference))
    assert (session.status, session.captured) == (Status.AUTHORIZED, 4200)
    assert fake.calls("capture_order", "authorize") == [], "no call of ours moves the money"


def test_the_payers_approval_at_a_bank_is_pending_until_paypal_has_captured(till, fake):
    session = begin(till, "ideal")
    fake.ledger.next_status["bank"] = ["LATER"]
    session = till.payments.resume(session.id, payload=fake.payer_approves(session.reference))
    assert session.status is Status.PENDING
    till.settle(minutes=5)
    session = till.payments.get(session.id)
    assert (session.status, session.held) == (Status.PENDING, 4200)
    fake.ledger.bank_pays(session.reference)
    till.settle(minutes=30)
    session = till.payments.get(session.id)
    assert (session.status, session.captured, session.conflict) == (Status.AUTHORIZED, 4200, None)


def test_a_payer_who_never_comes_back_from_the_bank_is_found(till, fake):
    session = begin(till, "ideal")
    fake.payer_approves(session.reference)
    till.settle(minutes=30)
    session = till.payments.get(session.id)
    assert (session.captured, session.conflict, fake.effects) == (4200, None, ["capture 42.00"])


def test_a_cancel_at_a_bank_waits_until_the_payer_cannot_pay_any_more(till, fake, clock):
    session = begin(till, "ideal")
    till.payments.cancel(session.id)
    session = till.payments.sync(session.id)
    assert session.status is not Status.CANCELED, "the payer may still pay"
    clock.forward(hours=4)
    till.settle(hours=1)
    session = till.payments.get(session.id)
    assert (session.status, session.conflict, fake.effects) == (Status.CANCELED, None, [])


def test_a_payer_who_pays_at_the_bank_during_a_cancel_has_paid_and_the_cancel_failed(till, fake):
    session = begin(till, "ideal")
    till.payments.cancel(session.id)
    fake.payer_approves(session.reference)
    till.settle(minutes=30)
    session = till.payments.get(session.id)
    (cancel,) = [row for row in till.payments.history(session.id) if row.kind is Kind.CANCEL]
    assert (session.status, session.captured, cancel.state) == (Status.AUTHORIZED, 4200, State.DECLINED)
    assert till.payments.refund(session.id).refunded == 4200


@pytest.mark.parametrize(
    ("payer", "source", "lacking"),
    [
        (Payer(name="Ann"), "ideal", "a country"),
        (Payer(address=Address(country="NL")), "bancontact", "a name"),
        (Payer(name="Ann", address=Address(country="PL")), "p24", "an e-mail address"),
    ],
)
def test_a_bank_without_what_it_needs_to_know_is_declined_and_nothing_is_sent(
    till, fake, payer, source, lacking
):
    with pytest.raises(Declined, match=lacking):
        till.session("initiated", checkout=Checkout(payer=payer), data={"payment_source": source})
    assert fake.calls() == []


# --- what was saved -------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["paypal", "venmo", "card"])
def test_a_payment_saves_how_it_was_paid_if_the_session_asks_for_it(till, fake, source):
    session = begin(till, source, save=True)
    vault = created(fake)["payment_source"][source]["attributes"]["vault"]
    assert vault["store_in_vault"] == "ON_SUCCESS"
    session = till.payments.resume(session.id, payload=fake.payer_approves(session.reference))
    (token,) = fake.ledger.vault
    assert PayPalData.of(session).vaulted == {
        "id": token, "status": "VAULTED", "customer": f"cus_{token[-6:]}",
    }  # fmt: skip
    assert PayPalData.of(till.payments.sync(session.id)).save, "the payer's consent is kept"


def test_nothing_is_saved_that_nobody_asked_for(till, fake):
    session = begin(till)
    till.payments.resume(session.id, payload=fake.payer_approves(session.reference))
    assert fake.ledger.vault == {}
    assert "attributes" not in created(fake)["payment_source"]["paypal"]


@pytest.mark.parametrize("capture", ["manual", "automatic"])
def test_what_was_saved_pays_without_the_payer_once_the_shop_authorizes(shop, fake, capture):
    token = fake.ledger.save()
    session = shop.session("initiated", data={"vault_id": token}, capture=capture)
    assert (session.status, session.next_action, fake.effects) == (Status.PENDING, None, [])
    session = shop.payments.authorize(session.id)
    assert (session.status, session.authorized) == (Status.AUTHORIZED, 4200)
    assert session.captured == (4200 if capture == "automatic" else 0)
    (row,) = fake.calls("authorize", "capture_order")
    assert json.loads(row.body) == {"payment_source": {"paypal": {"vault_id": token}}}


def test_what_was_saved_is_never_charged_by_a_payers_visit_or_by_recovery(shop, fake):
    session = shop.session("initiated", data={"vault_id": fake.ledger.save()})
    try:
        shop.payments.resume(session.id, payload={"token": session.reference})
    except NotApplied as error:
        assert "at the shop's request only" in error.message
    shop.settle(hours=1)
    assert fake.effects == []


def test_what_was_deleted_is_declined(shop, fake):
    token = fake.ledger.save()
    shop.provider.forget(token)
    assert fake.ledger.vault == {}
    session = shop.session("initiated", data={"vault_id": token})
    session = shop.payments.authorize(session.id)
    assert (session.status, session.error.code) == (Status.ERROR, "TOKEN_ID_NOT_FOUND")
    assert fake.effects == []


@pytest.mark.parametrize("committed", [True, False])
def test_a_saved_payment_whose_answer_is_lost_moves_money_once(make_shop, make_provider, fake, committed):
    from paysession.provider import OutcomeUnknown
    from paysession_sandbox.paypal import Fault

    shop = make_shop(make_provider(timeout=2.0))
    session = shop.session("initiated", data={"vault_id": fake.ledger.save()})
    fake.fail("authorize", Fault.drop(committed=committed))
    try:
        shop.payments.authorize(session.id, idempotency_key="a")
    except OutcomeUnknown:
        shop.settle()
    assert shop.payments.get(session.id).authorized == 4200
    assert fake.effects == ["authorize 42.00"]
