"""Limits of an amount: https://docs.stripe.com/currencies."""

from __future__ import annotations

from typing import Final

from paysession_sandbox.stripe.refusals import invalid

__all__ = ["check"]

_SHOWN_WITH_TWO: Final = frozenset(("isk", "ugx"))
"""Whole currencies that are given with two decimals for compatibility, which must be zero."""

_THREE: Final = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])
"""With three decimals, of which the last must be zero."""

_MOST: Final = 99_999_999
_LEAST: Final = {
    "usd": 50, "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250,
    "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300,
    "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip
"""https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts"""


def check(amount: int, currency: str) -> None:
    """Refuse an amount that is too small, too large, or has decimals that its currency has not.

    Raises:
        Refusal: It is one of them.
    """
    least = _LEAST.get(currency, 1)
    if amount < least:
        raise invalid("amount", f"The amount must be at least {least} {currency}.", "amount_too_small")
    if amount > _MOST:
        raise invalid("amount", f"The amount must be no more than {_MOST} {currency}.", "amount_too_large")
    if currency in _SHOWN_WITH_TWO and amount % 100:
        raise invalid(
            "amount", f"{currency} has no decimals: the amount must end in 00.", "invalid_charge_amount"
        )
    if currency in _THREE and amount % 10:
        raise invalid("amount", f"The last decimal of {currency} must be 0.", "invalid_charge_amount")
