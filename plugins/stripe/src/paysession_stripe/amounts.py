"""How Stripe counts money, and which amounts it takes.

Amounts are integers in what Stripe calls the smallest currency unit, which is ISO 4217's minor unit
for most currencies and not for all: see https://docs.stripe.com/currencies.
"""

from __future__ import annotations

from typing import Final

from paysession import PaysessionError
from paysession.provider import Declined, Money

__all__ = ["EXPONENTS", "MAX_DIGITS", "from_stripe", "to_charge", "to_stripe"]

_ZERO_DECIMAL: Final = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF")
)
"""Counted in whole units, the ariary (MGA) too, which has a subunit on paper."""

_STILL_TWO_DECIMAL: Final = frozenset({"ISK", "UGX"})
"""Without decimals today, and counted in hundredths all the same: 5 UGX is 500."""

EXPONENTS: Final = {**dict.fromkeys(sorted(_STILL_TWO_DECIMAL), 2), "MGA": 0}
"""With how many decimals Stripe counts where ISO 4217 has another number."""

_THREE_DECIMAL: Final = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
"""Counted in thousandths, of which the last digit must be 0: 5.12 KWD is 5120, 5.124 is refused."""

MAX_DIGITS: Final = 8
"""How many digits an amount may have with every payment method; cards take up to 12."""

_MORE_DIGITS: Final = {"COP": 10, "IDR": 12, "INR": 9}


def to_stripe(money: Money) -> int:
    """Return an amount as Stripe counts it.

    Raises:
        Declined: Stripe does not take such an amount, or not that currency.
    """
    currency, minor = money.currency, money.minor
    decimals = _decimals(currency)
    if currency in _STILL_TWO_DECIMAL:
        return minor * 100
    if currency in _ZERO_DECIMAL:
        whole, rest = divmod(minor, 100 if decimals else 1)
        if rest:
            raise _refused("invalid_amount", f"Stripe takes {currency} in whole units only, not {money}")
        return whole
    if currency in _THREE_DECIMAL and minor % 10:
        raise _refused(
            "invalid_amount", f"Stripe takes {currency} with two decimals, not {money}: round it first"
        )
    return minor


def to_charge(money: Money, max_digits: int = MAX_DIGITS) -> int:
    """Return an amount that is to be charged, as Stripe counts it.

    Args:
        money: The amount.
        max_digits: How many digits Stripe takes, where it does not take more of that currency.

    Raises:
        Declined: Stripe does not take such an amount: more digits than it reads, or a currency that it
            does not count like this. The least that it takes depends on the payment method, and on the
            currency of the account: Stripe itself says so (``amount_too_small``).
    """
    amount = to_stripe(money)
    digits = max(max_digits, _MORE_DIGITS.get(money.currency, 0))
    if amount >= 10**digits:
        most = from_stripe(_largest(digits, money.currency), money.currency)
        raise _refused(
            "amount_too_large",
            f"{money} is more than {most}: Stripe takes {digits} digits (cards may have up to 12: "
            "see the setting max_digits)",
        )
    return amount


def from_stripe(amount: int, currency: str) -> Money:
    """Return an amount that Stripe stated.

    Raises:
        ValueError: It is no amount of that currency.
    """
    currency = currency.upper()
    try:
        if currency in _STILL_TWO_DECIMAL:
            amount, rest = divmod(amount, 100)
            if rest:
                raise ValueError(f"Stripe stated a fraction of {currency}")
        elif currency in _ZERO_DECIMAL:
            amount *= 100 if _decimals(currency) else 1
        return Money.from_minor(amount, currency)
    except PaysessionError as error:
        raise ValueError(f"Stripe stated an amount that is none: {error}") from None


def _refused(code: str, message: str) -> Declined:
    """Return the refusal of an amount: no payer can correct it."""
    return Declined(code, message, category="configuration")


def _decimals(currency: str) -> int:
    """Return the decimals of a currency that Stripe is known to count as we do, or as listed above."""
    decimals = -int(Money.from_minor(0, currency).amount.as_tuple().exponent)
    listed = currency in _ZERO_DECIMAL | _STILL_TWO_DECIMAL | _THREE_DECIMAL
    if decimals != 2 and not listed:  # noqa: PLR2004 - two decimals are the rule
        raise _refused("unsupported_currency", f"Stripe does not charge in {currency}")
    return decimals


def _largest(digits: int, currency: str) -> int:
    most = int("9" * digits)
    return most - most % 100 if currency in _STILL_TWO_DECIMAL else most
