"""What an order says of the shop, the goods and the payer: each setting, and each part of the checkout."""

import itertools
import json
from base64 import urlsafe_b64decode

import pytest

from paysession.provider import Address, Checkout, Declined, Item, Money, Payer

EUR42 = Money("42.00", "EUR")
BACK = "https://shop.example/back"
HOME = Address(
    name="Ann Payer", line1="1 Main St", city="Kiel", postal_code="24103", region="SH", country="DE"
)
BOOKS = (
    Item("Two books", Money("15.00", "EUR"), quantity=2, reference="b-7"),
    Item("Postage", Money("12.00", "EUR")),
)


def created(fake):
    return json.loads(fake.calls("create")[-1].body)


def unit_of(fake):
    return created(fake)["purchase_units"][0]


def context_of(fake):
    return created(fake)["payment_source"]["paypal"]["experience_context"]


@pytest.fixture
def order(make_provider, make_hand, fake):
    """Return a function that makes an order; the hand that made it."""

    numbers = itertools.count()

    def order(checkout=None, *, amount=EUR42, **settings):
        checkout = checkout or Checkout(return_url=BACK)
        number = f"ps_0198a1b2c3d4e5f6{next(numbers):04}"
        hand = make_hand(make_provider(**settings), amount=amount, checkout=checkout, id=number)
        hand.do("initiate")
        return hand

    return order


# --- the address ----------------------------------------------------------------------------------


@pytest.mark.parametrize("preference", ["AUTO", "SET_PROVIDED_ADDRESS"])
def test_the_checkouts_address_is_where_the_goods_go(order, fake, preference):
    order(Checkout(return_url=BACK, address=HOME), shipping_preference=preference)
    assert context_of(fake)["shipping_preference"] == "SET_PROVIDED_ADDRESS"
    assert unit_of(fake)["shipping"] == {
        "type": "SHIPPING",
        "name": {"full_name": "Ann Payer"},
        "address": {
            "address_line_1": "1 Main St",
            "admin_area_2": "Kiel",
            "admin_area_1": "SH",
            "postal_code": "24103",
            "country_code": "DE",
        },
    }


@pytest.mark.parametrize("address", [None, Address(line1="1 Main St"), Address(country="Germany")])
def test_without_an_address_there_is_no_shipping_or_no_order(order, fake, address):
    checkout = Checkout(return_url=BACK, address=address)
    order(checkout)
    assert context_of(fake)["shipping_preference"] == "NO_SHIPPING"
    assert "shipping" not in unit_of(fake)
    count = len(fake.calls())
    with pytest.raises(Declined) as caught:
        order(checkout, shipping_preference="SET_PROVIDED_ADDRESS")
    assert caught.value.code == "MISSING_SHIPPING_ADDRESS"
    assert len(fake.calls()) == count, "nothing was sent"


@pytest.mark.parametrize("preference", ["NO_SHIPPING", "GET_FROM_FILE"])
def test_an_address_is_not_sent_where_it_is_not_used(order, fake, preference):
    order(Checkout(return_url=BACK, address=HOME), shipping_preference=preference)
    assert context_of(fake)["shipping_preference"] == preference
    assert "shipping" not in unit_of(fake)


def test_the_payers_own_address_and_e_mail_are_filled_in_on_paypals_page(order, fake):
    payer = Payer(name="Ann", email="ann@shop.example", address=HOME)
    order(Checkout(return_url=BACK, payer=payer))
    wallet = created(fake)["payment_source"]["paypal"]
    assert (wallet["email_address"], wallet["address"]["admin_area_2"]) == ("ann@shop.example", "Kiel")


# --- the lines ------------------------------------------------------------------------------------


def test_lines_that_add_up_to_the_cent_are_sent_with_their_total(order, fake):
    order(Checkout(return_url=BACK, items=BOOKS))
    unit = unit_of(fake)
    assert unit["items"] == [
        {
            "name": "Two books",
            "unit_amount": {"currency_code": "EUR", "value": "15.00"},
            "quantity": "2",
            "sku": "b-7",
        },
        {"name": "Postage", "unit_amount": {"currency_code": "EUR", "value": "12.00"}, "quantity": "1"},
    ]
    assert unit["amount"]["breakdown"] == {"item_total": {"currency_code": "EUR", "value": "42.00"}}


@pytest.mark.parametrize("amount", ["41.99", "42.01", "20.00"])
def test_lines_that_do_not_add_up_are_left_out(order, fake, amount):
    """PayPal refuses such an order; a session may well be for a part of what is paid for."""
    order(Checkout(return_url=BACK, items=BOOKS), amount=Money(amount, "EUR"))
    assert "items" not in unit_of(fake)
    assert "breakdown" not in unit_of(fake)["amount"]


def test_lines_in_another_currency_are_left_out(order, fake):
    order(Checkout(return_url=BACK, items=(Item("Book", Money("42.00", "USD")),)))
    assert "items" not in unit_of(fake)


def test_a_new_amount_takes_the_lines_off_and_the_old_one_puts_them_on_again(order, fake):
    hand = order(Checkout(return_url=BACK, items=BOOKS))
    hand.do("update", "40.00")
    steps = json.loads(fake.calls("patch")[-1].body)
    assert [(step["op"], step["path"].rpartition("/")[2]) for step in steps] == [
        ("replace", "amount"),
        ("remove", "items"),
    ]
    assert "items" not in fake.ledger.orders[hand.session.reference].unit
    other = order(Checkout(return_url=BACK, items=BOOKS), amount=Money("40.00", "EUR"))
    other.do("update", "42.00")
    unit = fake.ledger.orders[other.session.reference].unit
    assert (len(unit["items"]), unit["amount"]["breakdown"]["item_total"]["value"]) == (2, "42.00")


# --- the settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value", "name", "sent"),
    [
        ("landing_page", "LOGIN", "landing_page", "LOGIN"),
        ("user_action", "CONTINUE", "user_action", "CONTINUE"),
        ("immediate_payment", True, "payment_method_preference", "IMMEDIATE_PAYMENT_REQUIRED"),
        ("brand_name", "The Shop", "brand_name", "The Shop"),
        ("locale", "de-DE", "locale", "de-DE"),
    ],
)
def test_what_paypals_page_is_like(order, fake, setting, value, name, sent):
    order()
    assert context_of(fake).get(name, "PAY_NOW") == "PAY_NOW", "not said unless it is asked for"
    order(**{setting: value})
    assert context_of(fake)[name] == sent


def test_the_checkouts_language_wins_over_the_settings(order, fake):
    order(Checkout(return_url=BACK, locale="fr-FR"), locale="de-DE")
    assert context_of(fake)["locale"] == "fr-FR"


def test_the_invoice_number_may_be_the_reference_alone(order, fake):
    hand = order(invoice_number="plain", soft_descriptor="SHOP 1001")
    assert unit_of(fake)["invoice_id"] == "order-1001"
    assert unit_of(fake)["soft_descriptor"] == "SHOP 1001"
    hand.do("authorize", payload=fake.payer_approves(hand.session.reference))
    hand.do("capture", "20.00")
    capture = json.loads(fake.calls("capture")[-1].body)
    assert capture["invoice_id"] == f"order-1001 {hand.last.key}", "by which it is matched"
    fake.ledger.capture(next(iter(hand.session.data["authorizations"])), {})
    keys = [effect.key for effect in hand.look().effects if effect.kind == "capture"]
    assert keys == [hand.last.key, ""], "what the dashboard captures is none of ours"


def test_the_payers_device_is_named_with_the_order_and_with_its_payment(make_provider, make_hand, fake):
    hand = make_hand(make_provider(), data=json.dumps({"client_metadata_id": "dev-7"}))
    hand.do("initiate")
    hand.do("authorize", payload=fake.payer_approves(hand.session.reference))
    for call in ("create", "authorize"):
        assert fake.calls(call)[0].headers["paypal-client-metadata-id"] == "dev-7"
    assert "paypal-client-metadata-id" not in fake.calls("show")[0].headers


def test_a_platform_acts_for_its_merchant_in_every_call(order, fake):
    hand = order(merchant_id="ABCDEFGHJKLM2", partner_attribution_id="Shop_BN")
    hand.do("authorize", payload=fake.payer_approves(hand.session.reference))
    assert unit_of(fake)["payee"] == {"merchant_id": "ABCDEFGHJKLM2"}
    assert fake.calls("create")[0].headers["paypal-partner-attribution-id"] == "Shop_BN"
    for row in fake.calls("create", "show", "authorize"):
        head, claims, signature = row.headers["paypal-auth-assertion"].split(".")
        padded = [json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (head, claims)]
        assert padded == [{"alg": "none"}, {"iss": fake.client_id, "payer_id": "ABCDEFGHJKLM2"}]
        assert signature == ""


def test_without_a_platform_no_call_names_one(order, fake):
    order()
    assert all("paypal-auth-assertion" not in row.headers for row in fake.calls())


# --- reauthorization ------------------------------------------------------------------------------


def test_a_capture_after_the_honor_period_reauthorizes_if_the_settings_say_so(
    make_shop, make_provider, fake, clock
):
    shop = make_shop(make_provider(reauthorize=True))
    session = shop.session()
    clock.forward(days=4)
    session = shop.payments.capture(session.id, Money("20.00", "EUR"), idempotency_key="c")
    assert session.captured_amount == Money("20.00", "EUR")
    (row,) = fake.calls("reauthorize")
    assert json.loads(row.body) == {"amount": {"currency_code": "EUR", "value": "42.00"}}
    new, old = fake.ledger.orders[session.reference].authorizations
    assert fake.calls("capture")[0].path.split("/")[-2] == new.id
    shop.payments.capture(session.id, Money("10.00", "EUR"))
    assert len(fake.calls("reauthorize")) == 1, "once something is captured PayPal allows no other"
    assert [row.path.split("/")[-2] for row in fake.calls("capture")] == [new.id] * 2
    assert shop.payments.sync(session.id).authorized_amount == EUR42
    assert shop.payments.cancel(session.id).authorized_amount == Money("30.00", "EUR")
    assert (old.status, new.status) == ("VOIDED", "VOIDED")


@pytest.mark.parametrize(("days", "setting", "count"), [(2, True, 0), (4, False, 0), (4, True, 1)])
def test_within_the_honor_period_and_unasked_nothing_is_reauthorized(
    make_shop, make_provider, fake, clock, days, setting, count
):
    shop = make_shop(make_provider(reauthorize=setting))
    session = shop.session()
    clock.forward(days=days)
    shop.payments.capture(session.id, Money("20.00", "EUR"))
    assert len(fake.calls("reauthorize")) == count


def test_where_paypal_does_not_reauthorize_the_authorization_itself_is_captured(
    make_shop, make_provider, fake, clock, refuse
):
    shop = make_shop(make_provider(reauthorize=True))
    session = shop.session()
    clock.forward(days=4)
    refuse("reauthorize", "REAUTHORIZATION_NOT_SUPPORTED")
    session = shop.payments.capture(session.id, Money("20.00", "EUR"))
    assert (session.captured_amount, len(fake.ledger.orders[session.reference].authorizations)) == (
        Money("20.00", "EUR"), 1,
    )  # fmt: skip


def test_a_capture_that_is_declined_after_a_reauthorization_is_tried_again_at_that(
    make_shop, make_provider, fake, clock, refuse
):
    shop = make_shop(make_provider(reauthorize=True))
    session = shop.session()
    clock.forward(days=4)
    refuse("capture", "PAYER_CANNOT_PAY")
    with pytest.raises(Declined):
        shop.payments.capture(session.id, Money("20.00", "EUR"))
    shop.payments.capture(session.id, Money("20.00", "EUR"))
    new, _ = fake.ledger.orders[session.reference].authorizations
    assert len(fake.calls("reauthorize")) == 1
    assert fake.calls("capture")[-1].path.split("/")[-2] == new.id


@pytest.mark.parametrize("call", ["reauthorize", "capture"])
@pytest.mark.parametrize("committed", [True, False])
def test_a_reauthorization_whose_answer_is_lost_is_made_once(
    make_shop, make_provider, fake, clock, call, committed
):
    from paysession.provider import OutcomeUnknown
    from paysession_sandbox.paypal import Fault

    shop = make_shop(make_provider(reauthorize=True, timeout=2.0))
    session = shop.session()
    clock.forward(days=4)
    fake.fail(call, Fault.drop(committed=committed))
    try:
        shop.payments.capture(session.id, Money("20.00", "EUR"), idempotency_key="c")
    except OutcomeUnknown:
        shop.settle()
    session = shop.payments.get(session.id)
    assert (session.captured_amount, session.in_doubt) == (Money("20.00", "EUR"), False)
    assert fake.effects.count("capture 20.00") == 1
    assert len(fake.ledger.orders[session.reference].authorizations) == 2
