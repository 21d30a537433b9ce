"""What callers hand in, checked before anything is read or written."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict

from paysession.errors import InvalidAmount, InvalidData
from paysession.money import Money
from paysession.values import Checkout, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paysession.session import PaymentCollection

__all__ = [
    "check_amount",
    "checked_checkout",
    "checked_flag",
    "checked_key",
    "checked_limit",
    "checked_moment",
    "checked_payload",
    "checked_text",
    "collection_id_of",
    "share_of",
]

MAX_TEXT: Final = 200
MOST_ROWS: Final = 1000
_NO_CHECKOUT: Final = Checkout()


def collection_id_of(reference: str) -> str:
    """Return the id of the collection with a host's reference: derived, so it needs no index."""
    return f"pc_{sha256(reference.encode()).hexdigest()[:28]}"


def share_of(collection: PaymentCollection, amount: Money | None) -> Money:
    """Return a session's amount: what was asked, or all that no session holds."""
    if amount is None:
        left = collection.amount.minor - collection.held
        if left <= 0:
            raise InvalidAmount(
                f"nothing is left of the collection {collection.reference!r}: other sessions hold its amount"
            )
        return Money.from_minor(left, collection.amount.currency)
    if amount.currency != collection.amount.currency:
        raise InvalidAmount(f"{amount} is not in the collection's currency {collection.amount.currency}")
    if amount > collection.amount:
        raise InvalidAmount(f"{amount} is more than the collection's {collection.amount}")
    return amount


def check_amount(amount: Money) -> None:
    """Refuse what is no amount, or none that moves money."""
    if not isinstance(amount, Money):
        raise InvalidAmount(
            f'an amount is a Money, such as Money("42.00", "EUR"), not {type(amount).__name__}'
        )
    if not amount:
        raise InvalidAmount("an amount of zero moves no money; there is nothing to authorize")


def checked_text(value: str, name: str) -> str:
    """Return a short text of the caller's, or refuse it."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or "\x00" in value:
        raise InvalidData(f"{name} is a str of 1 to {MAX_TEXT} characters")
    return value


def checked_flag(value: bool, name: str) -> bool:
    """Return a flag of the caller's, or refuse what may be meant as its contrary, such as "no"."""
    if not isinstance(value, bool):
        raise InvalidData(f"{name} is True or False, not {value!r:.40}")
    return value


def checked_checkout(checkout: Checkout | None, session_id: str) -> Checkout:
    """Return what is known of the payer's visit, with the session's id in its URLs, or refuse it."""
    if checkout is None:
        return _NO_CHECKOUT
    if not isinstance(checkout, Checkout):
        raise InvalidData(f"checkout is a Checkout, not {type(checkout).__name__}")
    for name, value in asdict(checkout).items():
        if value is not None and not isinstance(value, str):
            raise InvalidData(f"checkout: {name} is a str, not {type(value).__name__}")
    return checkout.filled(session_id)


def checked_key(value: str | None) -> str | None:
    """Return the caller's idempotency key, or refuse it."""
    return None if value is None else checked_text(value, "idempotency_key")


def checked_payload(value: Mapping[str, Any] | None) -> str | None:
    """Return a payload as the JSON text that is stored, or refuse it."""
    return None if value is None else encode(value, "payload")


def checked_moment(value: datetime | None, name: str) -> datetime | None:
    """Return an optional time of the caller's, or refuse one without a time zone."""
    if value is not None and (not isinstance(value, datetime) or value.utcoffset() is None):
        raise InvalidData(f"{name} is a datetime with a time zone, such as datetime.now(UTC)")
    return value


def checked_limit(limit: int) -> int:
    """Return how many rows are wanted, or refuse it."""
    if type(limit) is not int or not 0 < limit <= MOST_ROWS:
        raise InvalidData(f"limit is an int from 1 to {MOST_ROWS}")
    return limit
