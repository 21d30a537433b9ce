"""Amounts as PayPal writes them: a string, with the number of decimals that PayPal allows.

PayPal takes no decimals for HUF, JPY and TWD
(https://developer.paypal.com/api/rest/reference/currency-codes/), where ISO 4217, and so `Money`,
has two for HUF and TWD.
"""

from __future__ import annotations

import re
from typing import Final

from paysession.provider import Declined, InvalidAmount, Money, OutcomeUnknown
from paysession_paypal.document import as_object, as_text, text_in

__all__ = ["EXPONENTS", "WHOLE", "of_text", "read", "text", "write"]

EXPONENTS: Final = {"HUF": 0, "JPY": 0, "TWD": 0}
"""With how many decimals PayPal counts, for the capabilities and the contract."""

WHOLE: Final = frozenset(EXPONENTS)
"""The currencies that PayPal takes no decimals for."""
_NUMBER: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,10})?")


def write(money: Money) -> dict[str, str]:
    """Return an amount for PayPal: ``{"currency_code": "EUR", "value": "42.00"}``.

    Raises:
        Declined: PayPal takes no decimals of this currency, and the amount has some. It cannot succeed, so
            it is not sent.
    """
    amount = money.amount
    if money.currency in WHOLE:
        whole = amount.to_integral_value()
        if whole != amount:
            message = f"PayPal takes {money.currency} without decimals; {money} was not sent"
            raise Declined("DECIMALS_NOT_SUPPORTED", message, conclusive=True)
        amount = whole
    return {"currency_code": money.currency, "value": f"{amount:f}"}


def read(value: object) -> Money:
    """Return an amount of PayPal's.

    Raises:
        OutcomeUnknown: It is not an amount that can be understood.
    """
    tree = as_object(value) or {}
    number, currency = text_in(tree, "value"), text_in(tree, "currency_code")
    if number is None or currency is None or not _NUMBER.fullmatch(number):
        raise OutcomeUnknown("PayPal stated no amount")
    try:
        return Money(number, currency)
    except InvalidAmount as error:
        raise OutcomeUnknown(f"PayPal stated an amount that cannot be read: {error}") from None


def text(money: Money | None) -> str | None:
    """Return an amount as it is stored in a session's data, such as ``42.00 EUR``."""
    return f"{money.amount:f} {money.currency}" if money is not None else None


def of_text(value: object) -> Money | None:
    """Return an amount that was stored; None: it cannot be read."""
    number, _, currency = (as_text(value) or "").partition(" ")
    try:
        return Money(number, currency)
    except InvalidAmount:
        return None
