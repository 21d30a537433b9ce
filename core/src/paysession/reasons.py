"""Why a payment failed, in words of which there are few: for rules of a shop's own, and for the payer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CATEGORIES",
    "PAYER_MESSAGES",
    "FailureCategory",
    "PayerMessageKey",
    "category_of",
    "payer_message_key_of",
]

FailureCategory = Literal["hard", "soft", "authentication", "try_later", "configuration"]
"""What may follow a failure; see `CATEGORIES`."""

CATEGORIES: Final[Mapping[FailureCategory, str]] = {
    "hard": "the same means of payment will be refused again: ask for another one",
    "soft": "another attempt may succeed, with other details, less money, or another means of payment",
    "authentication": "the payer was not recognized, 3DS for instance: the payer has to try again",
    "try_later": "nothing is wrong with the payment: the same attempt may succeed later",
    "configuration": "a mistake of ours (a key, a setting, an unknown customer): no payer can correct it",
}
"""What each category means; a decline that says nothing else is ``soft``."""

PayerMessageKey = Literal[
    "declined",
    "check_details",
    "insufficient_funds",
    "method_expired",
    "authentication_failed",
    "try_again_later",
    "canceled",
    "being_checked",
    "not_available",
]
"""What the payer may be told, as a key that a shop translates; see `PAYER_MESSAGES`."""

PAYER_MESSAGES: Final[Mapping[PayerMessageKey, str]] = {
    "declined": "The payment was refused. Please use another way to pay.",
    "check_details": "Something does not fit. Please check what you entered, and try again.",
    "insufficient_funds": "There is not enough money, or a limit is reached. Please use another way to pay.",
    "method_expired": "This means of payment has expired. Please use another one.",
    "authentication_failed": "Your payment was not confirmed. Please try again.",
    "try_again_later": "That did not work just now. Please try again later.",
    "canceled": "The payment was canceled.",
    "being_checked": "We are checking whether the payment went through. Please do not pay again.",
    "not_available": "This way to pay is not available at present. Please use another one.",
}
"""A sentence in English for each key, as a start: no key says more than a thief may know of a card."""

_CATEGORIES: Final = frozenset(get_args(FailureCategory))
_KEYS: Final = frozenset(get_args(PayerMessageKey))
_BY_CATEGORY: Final[Mapping[FailureCategory, PayerMessageKey]] = {
    "hard": "declined",
    "soft": "declined",
    "authentication": "authentication_failed",
    "try_later": "try_again_later",
    "configuration": "not_available",
}


def category_of(word: FailureCategory | None) -> FailureCategory:
    """Return a category; what is none is ``soft``: a word that a provider misspells must not make doubt."""
    return word if isinstance(word, str) and word in _CATEGORIES else "soft"


def payer_message_key_of(word: PayerMessageKey | None, category: FailureCategory) -> PayerMessageKey:
    """Return a payer's message; what is none is the one of the category."""
    return word if isinstance(word, str) and word in _KEYS else _BY_CATEGORY[category]
