import pytest

from paysession.provider import Declined, Money
from paysession_stripe import amounts
from paysession_stripe.amounts import from_stripe, to_charge, to_stripe


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("42.00", "EUR", 4200),
        ("0.50", "USD", 50),
        ("500", "JPY", 500),
        ("12000", "VND", 12_000),
        ("5", "UGX", 500),
        ("5", "ISK", 500),
        ("1234.56", "HUF", 123_456),
        ("99.99", "TWD", 9999),
        ("5.120", "KWD", 5120),
        ("5.12", "TND", 5120),
        ("10.00", "MGA", 10),
    ],
)
def test_amounts_are_counted_as_stripe_counts(amount, currency, expected):
    money = Money(amount, currency)
    assert expected == to_stripe(money)
    assert money == from_stripe(expected, currency.lower())


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        ("5.124", "KWD", "invalid_amount"),
        ("10.50", "MGA", "invalid_amount"),
        ("5.120", "LYD", "unsupported_currency"),
        ("5", "UYI", "unsupported_currency"),
        ("1.0000", "CLF", "unsupported_currency"),
    ],
)
def test_what_stripe_would_round_or_does_not_charge_is_refused(amount, currency, code):
    with pytest.raises(Declined) as refused:
        to_stripe(Money(amount, currency))
    assert code == refused.value.code
    assert currency in refused.value.message


@pytest.mark.parametrize("amount", [Money("0.01", "USD"), Money("1", "JPY"), Money("0.01", "HUF")])
def test_how_little_can_be_charged_is_for_stripe_to_say(amount):
    # It depends on the payment method, and on the currency of the account's balance.
    assert to_charge(amount) > 0


@pytest.mark.parametrize(
    ("most", "above", "currency"),
    [
        ("999999.99", "1000000.00", "USD"),
        ("99999999", "100000000", "JPY"),
        ("999999", "1000000", "UGX"),
        ("99999999.99", "100000000.00", "COP"),
        ("9999999.99", "10000000.00", "INR"),
        ("9999999999.99", "10000000000.00", "IDR"),
    ],
)
def test_a_charge_of_too_many_digits_is_refused_and_says_so(most, above, currency):
    assert to_charge(Money(most, currency)) > 0
    with pytest.raises(Declined, match="digits") as refused:
        to_charge(Money(above, currency))
    assert ("amount_too_large", "configuration") == (refused.value.code, refused.value.category)


def test_a_shop_that_takes_cards_only_may_charge_more():
    assert 120_000_000 == to_charge(Money("1200000.00", "HUF"), max_digits=12)


def test_a_part_may_be_less_than_the_minimum_of_a_charge():
    assert 10 == to_stripe(Money("0.10", "EUR"))


def test_a_fraction_of_a_currency_without_decimals_is_not_read():
    with pytest.raises(ValueError, match="UGX"):
        from_stripe(550, "ugx")


def test_every_currency_with_a_rule_of_its_own_is_one_that_we_know():
    ruled = (
        amounts._ZERO_DECIMAL
        | amounts._STILL_TWO_DECIMAL
        | amounts._THREE_DECIMAL
        | amounts._MORE_DIGITS.keys()
    )
    assert all(Money.from_minor(1, currency).currency == currency for currency in ruled)
