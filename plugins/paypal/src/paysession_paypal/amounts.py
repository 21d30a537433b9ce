"""Amounts as PayPal writes them: a string, with the number of decimals that PayPal allows.

PayPal takes no decimals for HUF, JPY and TWD
(https://developer.paypal.com/api/rest/reference/currency-codes/), where ISO 4217, and so `Money`,
has two for HUF and TWD.
"""

from __future__ import annotations

import re
from typing import Final

from paysession.provider import Declined, InvalidAmount, Money, OutcomeUnknown
from paysession_paypal.document import as_object, text_in

__all__ = ["EXPONENTS", "WHOLE", "read", "write"]

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
