from decimal import Decimal

import iso4217
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paysession import InvalidAmount, Money
from paysession.money import _EXPONENTS, MAX_MINOR, exponent


def test_the_table_of_currencies_is_that_of_iso_4217():
    expected = {c.code: c.exponent for c in iso4217.Currency if c.exponent is not None}
    assert expected == _EXPONENTS


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("42.00", "EUR", 4200),
        ("42", "EUR", 4200),
        (Decimal("0.01"), "EUR", 1),
        ("1e3", "JPY", 1000),
        ("5.123", "KWD", 5123),
        ("0.0001", "CLF", 1),
        ("12.340", "EUR", 1234),
        ("12.34000", "EUR", 1234),
        ("0.00000", "EUR", 0),
        ("7.0", "JPY", 7),
        ("0", "EUR", 0),
        ("-0.00", "EUR", 0),
        ("0E+999999", "EUR", 0),
        ("9999999999999.99", "EUR", MAX_MINOR),
    ],
)
def test_an_amount_is_held_in_minor_units(amount, currency, minor):
    assert minor == Money(amount, currency).minor
    assert Money(amount, currency) == Money.from_minor(minor, currency)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        (42.0, "EUR"),
        (42, "EUR"),
        (True, "EUR"),
        (None, "EUR"),
        ("12.345", "EUR"),
        ("12.34001", "EUR"),
        ("0.00001", "EUR"),
        ("0.5", "JPY"),
        ("-1", "EUR"),
        ("-0.01", "EUR"),
        ("1000000000000000", "EUR"),
        ("10000000000000.00", "EUR"),
        ("1e999999999", "EUR"),
        ("1e-999999", "EUR"),
        ("NaN", "EUR"),
        ("Infinity", "EUR"),
        ("sNaN", "EUR"),
        ("", "EUR"),
        ("42,00", "EUR"),
        ("42.00", "eur"),
        ("42.00", "XXX"),
        ("42.00", "XAU"),
        ("42.00", ""),
        ("42.00", None),
        ("42.00", ["EUR"]),
    ],
)
def test_what_is_no_amount_is_refused(amount, currency):
    with pytest.raises(InvalidAmount, match=r"^.{10,200}$"):
        Money(amount, currency)


@pytest.mark.parametrize("minor", [1.0, "1", True, -1, 10**15, Decimal(1), None])
def test_minor_units_are_a_plain_int_within_bounds(minor):
    with pytest.raises(InvalidAmount):
        Money.from_minor(minor, "EUR")


def test_the_largest_amount_is_accepted():
    assert MAX_MINOR == Money.from_minor(MAX_MINOR, "EUR").minor


amounts = st.builds(
    Money.from_minor, st.integers(0, MAX_MINOR // 2), st.sampled_from(["EUR", "JPY", "KWD", "CLF"])
)


@given(amounts)
def test_an_amount_survives_its_text(money):
    assert money == Money(str(money.amount), money.currency)
    assert money == Money(money.amount, money.currency)
    assert str(money) == f"{money.amount:f} {money.currency}"
    assert money == eval(repr(money))


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_amounts_add_subtract_and_compare_as_integers(a, b):
    one, two = Money.from_minor(a, "EUR"), Money.from_minor(b, "EUR")
    assert a + b == (one + two).minor
    assert (a < b, a <= b, a > b, a >= b, a == b) == (
        one < two,
        one <= two,
        one > two,
        one >= two,
        one == two,
    )
    if a >= b:
        assert a - b == (one - two).minor
    else:
        with pytest.raises(InvalidAmount):
            _ = one - two
    assert bool(a) == bool(one)


@pytest.mark.parametrize("other", [0, "1.00", None])
def test_only_money_is_compared_with_money(other):
    with pytest.raises(TypeError, match="a Money, not"):
        assert Money("1", "EUR") > other


def test_two_currencies_do_not_mix():
    for act in (lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x < y, lambda x, y: x >= y):
        with pytest.raises(InvalidAmount, match="two currencies"):
            act(Money("1", "EUR"), Money("1", "USD"))
    assert Money("1", "EUR") != Money("1", "USD")


def test_the_number_of_decimals_is_told():
    assert (0, 2, 3, 4) == tuple(map(exponent, ("JPY", "EUR", "KWD", "CLF")))


def test_money_cannot_be_changed():
    with pytest.raises(AttributeError):
        Money("1", "EUR").minor = 2
