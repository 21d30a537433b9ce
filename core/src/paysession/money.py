"""Amounts of money: integer minor units and a currency, nothing else.

The number of decimals of each currency is ISO 4217's (the active list; funds and metals that have
no minor unit are not currencies a payer can pay in). Where a gateway counts differently (UGX at
Stripe, HUF at PayPal), its provider converts.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

from attrs import frozen

from paysession.errors import InvalidAmount
from paysession.text import shown
from paysession.values import Value

__all__ = ["MAX_MINOR", "Money", "Totals", "exponent"]

MAX_MINOR: Final = 10**15 - 1
"""The largest amount in minor units: it fits a 64-bit column and a JSON number exactly."""

_MOST_DIGITS: Final = 100
"""No computed amount has more, and Python refuses to read whole numbers of thousands of digits."""

_TWO_DECIMALS = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE "
    "CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD "
    "HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK "
    "MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD "
    "RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH "
    "USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG"
)
_EXPONENTS: Final[dict[str, int]] = {
    **dict.fromkeys(_TWO_DECIMALS.split(), 2),
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}


def exponent(currency: str) -> int:
    """Return the number of decimals of a currency (ISO 4217): 2 for EUR, 0 for JPY.

    Raises:
        InvalidAmount: There is no such currency; codes are written in capitals.
    """
    try:
        return _EXPONENTS[currency]
    except (KeyError, TypeError):
        raise InvalidAmount(
            f"{shown(currency)} is not a currency: give an ISO 4217 code in capitals, such as 'EUR'"
        ) from None


@frozen(slots=False, eq=False, repr=False, init=False)
class Money(Value):
    """An amount of money, zero or more: ``Money("42.00", "EUR")``.

    Args:
        amount: A str or a Decimal in the currency's main unit. Never a float (it cannot hold
            0.10), and no bare int: is 4200 forty-two or four thousand two hundred? For minor
            units there is `Money.from_minor`.
        currency: An ISO 4217 code in capitals.

    Raises:
        InvalidAmount: The amount is of another type, negative, not finite, larger than
            `MAX_MINOR`, or has more decimals than the currency; or the currency is unknown.
    """

    minor: int
    """The amount in minor units (cents)."""
    currency: str
    """The ISO 4217 code."""

    def __init__(self, amount: str | Decimal, currency: str) -> None:
        digits = exponent(currency)
        if not isinstance(amount, str | Decimal):
            raise InvalidAmount(
                f"an amount is given as a str or Decimal, not as {type(amount).__name__}: "
                f'Money("42.00", "{currency}"), or Money.from_minor(4200, "{currency}") for minor units'
            )
        try:
            value = Decimal(amount)
        except InvalidOperation:
            raise InvalidAmount(f"{amount!r:.40} is not a number") from None
        if not value.is_finite():
            raise InvalidAmount(f"{amount!s:.40} is not a finite amount")
        if not value:  # whatever its exponent: 0E+999999999 must not be expanded
            _set(self, 0, currency)
            return
        if value.adjusted() > 15:  # noqa: PLR2004 - beyond MAX_MINOR; 1E+999999 must not be expanded
            raise InvalidAmount(f"{amount!s:.40} {currency} is too large")
        sign, numerals, shift = value.as_tuple()
        if len(numerals) > _MOST_DIGITS:
            raise InvalidAmount(f"{amount!s:.40}... has too many digits; round it first")
        assert isinstance(shift, int)  # noqa: S101 - finite, so no letter stands there
        places = shift + digits
        coefficient = int("".join(map(str, numerals)))
        if places >= 0:
            minor = coefficient * 10**places
        else:
            minor, rest = divmod(coefficient, 10**-places) if -places <= len(numerals) else (0, coefficient)
            if rest:
                raise InvalidAmount(
                    f"{amount!s:.40} has more decimals than {currency} ({digits}); round it first"
                )
        _set(self, -minor if sign else minor, currency)

    @classmethod
    def from_minor(cls, minor: int, currency: str) -> Money:
        """Return an amount from integer minor units: ``Money.from_minor(4200, "EUR")`` is 42 euros.

        Raises:
            InvalidAmount: Not an int, negative, larger than `MAX_MINOR`, or an unknown currency.
        """
        if type(minor) is not int:
            raise InvalidAmount(f"minor units are given as an int, not as {type(minor).__name__}")
        if type(currency) is not str or currency not in _EXPONENTS:
            exponent(currency)
        money = object.__new__(cls)
        if not 0 <= minor <= MAX_MINOR:
            _check_minor(minor, currency)
        money.__dict__["minor"] = minor
        money.__dict__["currency"] = currency
        return money

    @property
    def amount(self) -> Decimal:
        """The amount in the currency's main unit, with all its decimals."""
        return Decimal(self.minor).scaleb(-_EXPONENTS[self.currency])

    def __add__(self, other: Money) -> Money:
        return Money.from_minor(self.minor + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money.from_minor(self.minor - self._same(other), self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.minor < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.minor <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.minor > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.minor >= self._same(other)

    def __bool__(self) -> bool:
        return self.minor != 0

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency}"

    def __repr__(self) -> str:
        return f"Money('{self.amount:f}', '{self.currency}')"

    def _same(self, other: Money) -> int:
        if not isinstance(other, Money):
            raise TypeError(f"{self} is compared with, or added to, a Money, not {type(other).__name__}")
        if self.currency != other.currency:
            raise InvalidAmount(f"{self} and {other} are of two currencies")
        return other.minor


class Totals(Value):
    """What was authorized, captured, refunded and charged back, of an amount and in its currency.

    The totals are kept as integer minor units (``authorized``), and shown as `Money`.
    """

    amount: Money
    authorized: int
    captured: int
    refunded: int
    charged_back: int

    @property
    def authorized_amount(self) -> Money:
        """What is authorized, captured parts included."""
        return Money.from_minor(self.authorized, self.amount.currency)

    @property
    def captured_amount(self) -> Money:
        """What was captured, refunds and chargebacks not deducted."""
        return Money.from_minor(self.captured, self.amount.currency)

    @property
    def refunded_amount(self) -> Money:
        """What was given back, chargebacks not included."""
        return Money.from_minor(self.refunded, self.amount.currency)

    @property
    def charged_back_amount(self) -> Money:
        """What disputes took back, without what came back when they were won."""
        return Money.from_minor(self.charged_back, self.amount.currency)


def _check_minor(minor: int, currency: str) -> None:
    if minor < 0:
        raise InvalidAmount("an amount of money is never negative")
    if minor > MAX_MINOR:
        raise InvalidAmount(f"too many minor units of {currency}: at most {MAX_MINOR:,}")


def _set(money: Money, minor: int, currency: str) -> None:
    _check_minor(minor, currency)
    money.__dict__["minor"] = minor
    money.__dict__["currency"] = currency
