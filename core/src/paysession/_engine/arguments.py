"""What callers hand in, checked before anything is read or written.

What cannot be stored is refused with `InvalidData`; an id that cannot exist is `NotFound`, as any other
that does not. Card data is refused by the names that it is given: see `CARD_NUMBER` and `SECURITY_CODE`.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

from paysession.checkout import Checkout
from paysession.errors import InvalidAmount, InvalidData, NotFound
from paysession.money import Money
from paysession.session import PaymentSession
from paysession.text import is_storable, shown
from paysession.values import decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from paysession.session import PaymentCollection

__all__ = [
    "CARD_NUMBER",
    "SECURITY_CODE",
    "check_amount",
    "check_card_data",
    "checked_by",
    "checked_capture",
    "checked_checkout",
    "checked_data",
    "checked_filter",
    "checked_flag",
    "checked_id",
    "checked_key",
    "checked_limit",
    "checked_moment",
    "checked_patience",
    "checked_payload",
    "checked_text",
    "collection_id_of",
    "share_of",
]

MAX_TEXT: Final = 200
MOST_ROWS: Final = 1000
_NO_CHECKOUT: Final = Checkout()

CARD_NUMBER: Final = re.compile(
    r"(credit|debit|bank|payment)?card(number|num|no|nr)|cc(number|num|no|nr)"
    r"|((credit|debit|bank|payment)?card|full|primary|cc)?pan(number)?|primaryaccountnumber"
)
"""The names under which a card number is refused, unless it is masked.

Without regard to case, and to anything in a name but letters and digits: ``cardNumber``, ``card_number``
and ``CARD NUMBER`` are one name. So are ``card[number]``, ``card.number`` and ``number`` in a mapping that is
called ``card``. What else a name begins or ends with makes it another one (``cvc_check``,
``gift_card_number``, ``encryptedCardNumber``), and there no value is looked at: a gateway's numeric reference
may look like a card number.
"""

SECURITY_CODE: Final = re.compile(
    r"((credit|debit|bank|payment)?card|cc)?(cvc|cvv|ccv|csc|cvn|cvd)[0-9]?(code|number|value)?"
    r"|(card)?securitycode|card(verification|validation|security)(code|number|value)"
)
"""The names under which a card's security code is refused, in the same way."""

_MASKED: Final = re.compile(r"[0-9 -]*[xX*\u2022][0-9xX*\u2022 -]*")
_MOST_DIGITS: Final = 10
"""So many digits of a masked card number may be shown: the first six and the last four."""

_CARD: Final = re.compile(r"(credit|debit|bank|payment)?card")
_LONG: Final = 40
_NUMBER: Final = ("number", "num", "no", "nr")


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
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise InvalidData(f"{name} is a str of 1 to {MAX_TEXT} characters")
    if not is_storable(value):
        raise InvalidData(f"{name} has a NUL or half a surrogate pair, which no database can hold")
    return value if type(value) is str else str.__str__(value)


def checked_id(value: str, kind: str) -> str:
    """Return an id of the caller's, or say that there is no such thing."""
    if not isinstance(value, str):
        raise NotFound(f"{kind} is named by its id, a str, not by a {_class_of(value)}")
    if not is_storable(value):
        raise NotFound(f"{kind} with the id {shown(value)} cannot exist")
    return value


def _class_of(value: object) -> str:
    return (PaymentSession if isinstance(value, PaymentSession) else type(value)).__name__


def checked_filter(value: str | None, name: str) -> str | None:
    """Return what a list is filtered by or goes on after, or refuse what cannot be stored anywhere."""
    if value is not None and not (isinstance(value, str) and is_storable(value)):
        raise InvalidData(f"{name} is a str, not {shown(value)}")
    return value


def checked_capture(value: str | None) -> str | None:
    """Return the id of a capture that a caller names, or refuse what cannot be one."""
    if value is not None and not (isinstance(value, str) and is_storable(value)):
        raise InvalidData(f"{shown(value)} is no capture of this session that succeeded")
    return value


def checked_flag(value: bool, name: str) -> bool:
    """Return a flag of the caller's, or refuse what may be meant as its contrary, such as "no"."""
    if not isinstance(value, bool):
        raise InvalidData(f"{name} is True or False, not {shown(value)}")
    return value


def checked_checkout(checkout: Checkout | None, session_id: str) -> Checkout:
    """Return what is known of the payer's visit, with the session's id in its URLs, or refuse it."""
    if checkout is None:
        return _NO_CHECKOUT
    if not isinstance(checkout, Checkout):
        raise InvalidData(f"checkout is a Checkout, not {type(checkout).__name__}")
    checkout.check()
    for name, url in (("return_url", checkout.return_url), ("cancel_url", checkout.cancel_url)):
        _check_query(url, f"checkout: {name}")
    return checkout.filled(session_id)


def _check_query(url: str | None, name: str) -> None:
    """Refuse card data in a URL's query."""
    if url is None or "=" not in url:
        return
    from urllib.parse import parse_qsl, urlsplit  # noqa: PLC0415 - only such a URL pays for it

    try:
        pairs = parse_qsl(urlsplit(url).query)
    except ValueError:  # no URL, which is for the provider to say
        return
    check_card_data([dict([pair]) for pair in pairs], name)


def checked_key(value: str | None) -> str | None:
    """Return the caller's idempotency key, or refuse it."""
    return None if value is None else checked_text(value, "idempotency_key")


def checked_by(value: str | None) -> str | None:
    """Return who asks, or refuse it."""
    return None if value is None else checked_text(value, "by")


def checked_data(value: Mapping[str, Any] | None, name: str) -> str:
    """Return a mapping as the JSON text that is stored, or refuse it."""
    text = encode(value, name)
    if text != "{}":
        check_card_data(decode(text), name)
    return text


def checked_payload(value: Mapping[str, Any] | None) -> str | None:
    """Return a payload as the JSON text that is stored, or refuse it."""
    return None if value is None else checked_data(value, "payload")


def check_card_data(tree: Any, name: str) -> None:
    """Refuse JSON with names of card data in it, or with text that no store can hold.

    Args:
        tree: The JSON, as Python has read it.
        name: Which argument it is.

    Raises:
        InvalidData: There is such a name at any depth, with anything under it; or such a text.
    """
    waiting: list[tuple[str, Any]] = [("", tree)]
    while waiting:
        above, part = waiting.pop()
        if isinstance(part, dict):
            for key, below in cast("dict[str, Any]", part).items():
                if below not in _EMPTY and _is_card_data(above, key, below):
                    raise InvalidData(
                        f"{name}: {shown(key)} is a name of card data, which must not pass through here: let "
                        "the gateway's own form take it in the browser, and pass on the token that it returns"
                    )
                # Only its end can say more of what is below it, and a payer may send a very long one.
                waiting += [(key[-_LONG:], below), ("", key)]
        elif isinstance(part, list):
            waiting += [(above, below) for below in cast("Iterable[Any]", part)]
        elif isinstance(part, str) and not is_storable(part):
            raise InvalidData(f"{name} has a text with a NUL or half a surrogate pair")


_EMPTY: Final[tuple[Any, ...]] = (None, "", [], {})


def _is_card_data(above: str, key: str, value: object) -> bool:
    *_, parent, name = ["", "", *filter(None, map(_plain, re.split(r"[\[\].]+", f"{above}.{key}")))]
    if SECURITY_CODE.fullmatch(name):
        return True
    is_number = CARD_NUMBER.fullmatch(name) or (name in _NUMBER and _CARD.fullmatch(parent))
    return bool(is_number) and not _is_masked(value)


def _is_masked(value: object) -> bool:
    """Return whether a card number is shown in part, as gateways send it back with the payer."""
    if not isinstance(value, str) or not _MASKED.fullmatch(value):
        return False
    return sum(map(str.isdigit, value)) <= _MOST_DIGITS


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def checked_moment(value: datetime | None, name: str) -> datetime | None:
    """Return an optional time of the caller's, or refuse one without a time zone."""
    if value is not None and (not isinstance(value, datetime) or value.utcoffset() is None):
        raise InvalidData(f"{name} is a datetime with a time zone, such as datetime.now(UTC)")
    return value


def checked_patience(value: timedelta | None) -> timedelta | None:
    """Return how long an unpaid session may wait, or refuse it."""
    if value is not None and (not isinstance(value, timedelta) or value <= timedelta(0)):
        raise InvalidData("abandon_after is a timedelta of more than nothing, such as timedelta(hours=24)")
    return value


def checked_limit(limit: int) -> int:
    """Return how many rows are wanted, or refuse it."""
    if type(limit) is not int or not 0 < limit <= MOST_ROWS:
        raise InvalidData(f"limit is an int from 1 to {MOST_ROWS}")
    return limit
