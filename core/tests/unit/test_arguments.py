"""What callers hand in: what is kept as it is, and where each bound lies."""

from datetime import UTC, datetime, timedelta

import pytest

from helpers import NOW, eur
from paysession import Checkout, InvalidAmount, InvalidData, Money, NotFound
from paysession._engine import arguments
from paysession.session import PaymentCollection
from paysession.values import replace

UNSTORABLE = ["a\0", "a\ud800"]
"""Texts that a database cannot hold."""


def order(amount="42.00", held=0):
    """Return an order of which its sessions hold so many minor units."""
    collection = PaymentCollection(
        id="pc_1", reference="r", amount=eur(amount), created_at=NOW, updated_at=NOW
    )
    return replace(collection, held=held)


@pytest.mark.parametrize(("held", "share"), [(0, "42.00"), (4100, "1.00"), (4199, "0.01")])
def test_without_an_amount_a_session_is_of_all_that_no_other_holds(held, share):
    assert arguments.share_of(order(held=held), None) == eur(share)


@pytest.mark.parametrize("held", [4200, 4300])
def test_where_nothing_is_left_no_session_begins(held):
    with pytest.raises(InvalidAmount, match="nothing is left of the collection 'r'"):
        arguments.share_of(order(held=held), None)


def test_a_share_is_at_most_the_orders_amount_and_in_its_currency():
    assert arguments.share_of(order(held=4200), eur("42.00")) == eur("42.00")  # whether it fits is seen later
    with pytest.raises(InvalidAmount, match="more than"):
        arguments.share_of(order(), eur("42.01"))
    with pytest.raises(InvalidAmount, match="currency"):
        arguments.share_of(order(), Money("1.00", "USD"))


def test_a_text_has_up_to_200_characters_and_is_a_plain_one_afterwards():
    class Key(str):
        __slots__ = ()

        def __str__(self):
            return "another"

    assert arguments.checked_text("k" * 200, "key") == "k" * 200
    kept = arguments.checked_text(Key("k"), "key")
    assert (kept, type(kept)) == ("k", str)
    for wrong in ("", "k" * 201, b"k", None, *UNSTORABLE):
        with pytest.raises(InvalidData, match="^key "):
            arguments.checked_text(wrong, "key")


def test_an_optional_key_or_name_may_be_left_out():
    for checked in (arguments.checked_key, arguments.checked_by):
        assert (checked(None), checked("a")) == (None, "a")
        with pytest.raises(InvalidData):
            checked("")


@pytest.mark.parametrize("wrong", UNSTORABLE)
def test_an_id_that_no_database_can_hold_does_not_exist(wrong):
    assert arguments.checked_id("ps_1", "a session") == "ps_1"
    with pytest.raises(NotFound, match="a session with the id .* cannot exist"):
        arguments.checked_id(wrong, "a session")


@pytest.mark.parametrize("wrong", [7, *UNSTORABLE])
def test_what_a_list_is_filtered_by_or_a_refund_refers_to_may_be_left_out_and_is_a_text(wrong):
    for checked in (lambda value: arguments.checked_filter(value, "after"), arguments.checked_capture):
        assert (checked(None), checked("a"), checked("")) == (None, "a", "")
        with pytest.raises(InvalidData):
            checked(wrong)


@pytest.mark.parametrize("flag", [True, False])
def test_a_flag_is_true_or_false(flag):
    assert arguments.checked_flag(flag, "final") is flag
    for wrong in (1, 0, "no", None):
        with pytest.raises(InvalidData, match="^final is True or False"):
            arguments.checked_flag(wrong, "final")


def test_a_time_has_a_zone_and_may_be_left_out():
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert (arguments.checked_moment(moment, "created_after"), arguments.checked_moment(None, "x")) == (
        moment,
        None,
    )
    for wrong in (moment.replace(tzinfo=None), moment.date(), "2026-01-01"):
        with pytest.raises(InvalidData, match="^created_after is a datetime with a time zone"):
            arguments.checked_moment(wrong, "created_after")


def test_a_session_is_abandoned_after_more_than_no_time():
    least = timedelta(microseconds=1)
    assert (arguments.checked_patience(least), arguments.checked_patience(None)) == (least, None)
    for wrong in (timedelta(0), timedelta(seconds=-1), 60, "1h"):
        with pytest.raises(InvalidData):
            arguments.checked_patience(wrong)


def test_a_list_has_from_one_to_a_thousand_rows():
    assert [arguments.checked_limit(limit) for limit in (1, 1000)] == [1, 1000]
    for wrong in (0, -1, 1001, True, 1.0, None):
        with pytest.raises(InvalidData, match="from 1 to 1000"):
            arguments.checked_limit(wrong)


def test_an_amount_is_money_and_more_than_nothing():
    arguments.check_amount(eur("0.01"))
    for wrong in (eur("0.00"), 42, "42.00", None):
        with pytest.raises(InvalidAmount):
            arguments.check_amount(wrong)


# --- a payer's visit ---------------------------------------------------------------------------------


def test_nothing_is_known_of_a_visit_that_nothing_is_said_of():
    assert arguments.checked_checkout(None, "ps_1") == Checkout()


def test_a_visit_has_the_sessions_id_in_its_urls():
    url = "https://shop.example/{session_id}?a=b"
    filled = arguments.checked_checkout(Checkout(return_url=url, cancel_url=url), "ps_1")
    assert filled.return_url == filled.cancel_url == "https://shop.example/ps_1?a=b"


@pytest.mark.parametrize("name", ["return_url", "cancel_url"])
def test_card_data_in_the_query_of_a_url_is_refused_by_the_urls_name(name):
    with pytest.raises(InvalidData, match=f"^checkout: {name}: 'cvc' is a name of card data"):
        arguments.checked_checkout(Checkout(**{name: "https://shop.example/?a=b&cvc=123"}), "ps_1")


@pytest.mark.parametrize("url", ["https://shop.example/?cvc", "https://[shop.example/?cvc=123"])
def test_a_url_that_has_no_pairs_or_is_none_is_left_to_the_provider(url):
    assert arguments.checked_checkout(Checkout(return_url=url), "ps_1").return_url == url


# --- card data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tree",
    [
        {"cvc": "1"},
        {"cvc": 0},
        {"cvc": False},
        {"cvc": {"a": ""}},
        {"a": [[{"cvc": "1"}]]},
        {"card": {"number": "4"}},
        {"card": [[{"number": "4"}]]},
        {"a.card": {"number": "4"}},
        {"a": {"Payment-Card": {"x.y": 1, "no": "4"}}},
        {"x" * 60 + "[card]": {"number": "4"}},
        {"..card..number..": "4"},
    ],
    ids=str,
)
def test_a_name_of_card_data_is_refused_wherever_it_stands(tree):
    with pytest.raises(InvalidData, match="^data: .* is a name of card data"):
        arguments.check_card_data(tree, "data")


@pytest.mark.parametrize(
    "tree",
    [
        {"cvc": None},
        {"cvc": ""},
        {"cvc": []},
        {"cvc": {}},
        {"card": {"order": {"number": "4"}}},
        {"number": "4"},
        {"order": {"number": "4"}},
        {"card": "number"},
        {"a" + "card": {"number": "4"}},
        ["cvc", 1, None],
    ],
    ids=str,
)
def test_nothing_under_a_name_and_other_names_are_no_card_data(tree):
    arguments.check_card_data(tree, "data")


@pytest.mark.parametrize(
    "number",
    [
        "4444XXXX1111",
        "450601******1234",
        "XXXXXXXXXXXX1111",
        "4506 01xx xxxx 1234",
        "\u2022\u2022\u2022\u2022 1111",
    ],
)
def test_a_masked_card_number_is_no_card_data(number):
    arguments.check_card_data({"cardno": number, "card": {"number": number}}, "payload")


@pytest.mark.parametrize(
    "tree",
    [
        {"cardno": "4506011234X1234"},
        {"cardno": "4506011234561234 x of it"},
        {"cardno": "11111111111"},
        {"cardno": 1111},
        {"cardno": ["XXXX1111"]},
        {"cvc": "***"},
        {"card": {"cvc": "12X"}},
    ],
)
def test_what_shows_more_than_a_masked_card_number_may_is_card_data(tree):
    with pytest.raises(InvalidData, match="is a name of card data"):
        arguments.check_card_data(tree, "payload")


@pytest.mark.parametrize("wrong", UNSTORABLE)
def test_a_text_in_json_that_no_database_can_hold_is_refused(wrong):
    with pytest.raises(InvalidData, match="^data has a text with"):
        arguments.check_card_data({"a": [wrong]}, "data")


def test_a_mapping_becomes_the_json_that_is_stored():
    assert arguments.checked_data({"b": 1, "a": [None]}, "data") == '{"b":1,"a":[null]}'
    assert arguments.checked_data(None, "data") == arguments.checked_data({}, "data") == "{}"
    assert (arguments.checked_payload(None), arguments.checked_payload({})) == (None, "{}")
    with pytest.raises(InvalidData, match="^payload: 'pan'"):
        arguments.checked_payload({"pan": "4"})
