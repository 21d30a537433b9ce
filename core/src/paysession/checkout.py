"""What the host knows of the payer's visit, and who paid: values that nobody but the provider needs.

What is personal in them is in no repr, so in no log, and `Payments.forget` erases it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from attrs import AttrsInstance, asdict, field, fields, frozen

from paysession.errors import InvalidData
from paysession.money import Money
from paysession.text import is_storable, shown, storable
from paysession.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Address",
    "Checkout",
    "Item",
    "Payer",
    "dump_checkout",
    "dump_payer",
    "load_checkout",
    "load_payer",
    "reported",
    "with_payer",
]

_Made = TypeVar("_Made", bound=Value)

MOST_ITEMS: Final = 200
MAX_TEXT: Final = 2000


def _private() -> Any:
    return field(default=None, repr=False)


@frozen(slots=False, eq=False, repr=False, kw_only=True)
class Address(Value):
    """A postal address; every field is optional.

    Attributes:
        name: Who receives what is sent there.
        line1: Street and number.
        line2: What else the street's line has.
        city: The city.
        postal_code: The postal code.
        region: The state or province, as the gateway spells it.
        country: An ISO 3166 code of two capital letters.
    """

    name: str | None = _private()
    line1: str | None = _private()
    line2: str | None = _private()
    city: str | None = _private()
    postal_code: str | None = _private()
    region: str | None = _private()
    country: str | None = _private()


def _address(value: Address | Mapping[str, Any] | None) -> Address | None:
    return _made(Address, value, "an address")


@frozen(slots=False, eq=False, repr=False, kw_only=True)
class Payer(Value):
    """Who pays; every field is optional, and none of them is shown in a repr.

    Attributes:
        name: The full name.
        email: The e-mail address.
        address: The billing address: an `Address`, or a mapping with its fields.
    """

    name: str | None = _private()
    email: str | None = _private()
    address: Address | None = field(default=None, repr=False, converter=_address)


def _payer(value: Payer | Mapping[str, Any] | None) -> Payer | None:
    return _made(Payer, value, "a payer")


def _amount(value: Money | Mapping[str, Any]) -> Money:
    if isinstance(value, Money):
        return value
    try:
        return Money.from_minor(value["minor"], value["currency"])
    except (TypeError, KeyError):
        raise InvalidData(f"an item's amount is a Money, not {shown(value)}") from None


@frozen(slots=False, eq=False, repr=False)
class Item(Value):
    """One line of what is paid for.

    A gateway that compares the lines with the payment's amount is given them only where they add up to it.

    Attributes:
        name: What it is, in words for the payer.
        amount: The price of one, with tax.
        quantity: How many.
        reference: The host's own number of it.
    """

    name: str
    amount: Money = field(converter=_amount)
    quantity: int = field(default=1, kw_only=True)
    reference: str | None = field(default=None, kw_only=True)


def _items(value: Iterable[Item | Mapping[str, Any]] | None) -> tuple[Item, ...]:
    try:
        rows = tuple(value or ())
    except TypeError:
        raise InvalidData(f"items are a list of Item, not {shown(value)}") from None
    found = (_made(Item, row, "an item") for row in rows)
    return tuple(row for row in found if row is not None)


@frozen(slots=False, eq=False, repr=False, kw_only=True)
class Checkout(Value):
    """What the host knows of the payer's visit; every field is optional.

    ``{session_id}`` in a URL is filled in when the session is initiated; so is ``%7Bsession_id%7D``,
    which a framework's ``url_for`` makes of it.

    Attributes:
        return_url: Where the provider sends the payer back to.
        cancel_url: Where it sends a payer who gave up.
        locale: The payer's language, as a BCP 47 tag.
        email: The payer's e-mail address; ``payer.email``, where only that is given.
        ip: The payer's IP address.
        user_agent: The payer's browser.
        description: What is paid for, in words for the payer.
        address: Where it is sent to: an `Address`, or a mapping with its fields.
        items: What is paid for, line by line: each an `Item`, or a mapping with its fields.
        payer: Who pays, as far as the host knows: a `Payer`, or a mapping with its fields.
    """

    return_url: str | None = None
    cancel_url: str | None = None
    locale: str | None = None
    email: str | None = _private()
    ip: str | None = _private()
    user_agent: str | None = _private()
    description: str | None = None
    address: Address | None = field(default=None, repr=False, converter=_address)
    items: tuple[Item, ...] = field(default=(), repr=False, converter=_items)
    payer: Payer | None = field(default=None, repr=False, converter=_payer)

    def __attrs_post_init__(self) -> None:
        if self.email is None and self.payer is not None:
            self.__dict__["email"] = self.payer.email

    def filled(self, session_id: str) -> Checkout:
        """Return a copy whose URLs carry the session's id."""
        return replace(
            self,
            return_url=_filled(self.return_url, session_id),
            cancel_url=_filled(self.cancel_url, session_id),
        )

    def check(self) -> None:
        """Refuse what is of a wrong type, and what no store can hold.

        Raises:
            InvalidData: The sentence says where.
        """
        for name, text in _texts(self, "checkout: "):
            if not isinstance(text, str):
                raise InvalidData(f"{name} is a str, not {type(text).__name__}")
            if not is_storable(text):
                raise InvalidData(f"{name} has a NUL or half a surrogate pair")
        for item in self.items:
            if type(item.quantity) is not int or item.quantity < 1:
                raise InvalidData(f"checkout: an item's quantity is a whole number above zero: {item.name}")
        if len(self.items) > MOST_ITEMS:
            raise InvalidData(f"checkout: {len(self.items)} items; at most {MOST_ITEMS} are kept")


def _filled(url: str | None, session_id: str) -> str | None:
    return url and url.replace("{session_id}", session_id).replace("%7Bsession_id%7D", session_id)


def _texts(value: Value, place: str) -> Iterable[tuple[str, object]]:
    """Return what of a value has to be text, with where it stands."""
    for name, part in value.__dict__.items():
        if name == "items":
            for item in part:
                yield from _texts(item, f"{place}an item's ")
        elif isinstance(part, Address | Payer):
            yield from _texts(part, f"{place}{name}: ")
        elif part is not None and name not in ("amount", "quantity"):
            yield f"{place}{name}", part


def _made(cls: type[_Made], value: _Made | Mapping[str, Any] | None, what: str) -> _Made | None:
    """Return a value that may be given as a mapping of its fields."""
    if value is None or isinstance(value, cls):
        return value
    known = {part.name for part in fields(cast("type[AttrsInstance]", cls))}
    if not hasattr(value, "keys"):
        raise InvalidData(f"{what} is {cls.__name__} or a mapping of its fields, not {shown(value)}")
    try:
        given = dict(cast("Mapping[str, Any]", value))
    except Exception as error:  # noqa: BLE001 - a mapping of the caller's own may raise whatever it likes
        raise InvalidData(f"{what} cannot be read: {type(error).__name__}") from None
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InvalidData(f"{what} has no field {shown(unknown[0])}; it has {', '.join(sorted(known))}")
    try:
        return cls(**given)
    except TypeError as error:
        raise InvalidData(f"{what}: {error}") from None


# --- what a gateway reports, and what is stored ------------------------------------------------------


def reported(payer: Payer | None) -> Payer | None:
    """Return what a gateway reports of a payer, as every store can hold it.

    Raises:
        TypeError: It is no `Payer`, or one of its fields is no text.
    """
    if payer is None:
        return None
    if not isinstance(payer, Payer):
        raise TypeError(f"payer is a Payer, not {type(payer).__name__}")
    for name, text in _texts(payer, "payer: "):
        if not isinstance(text, str):
            raise TypeError(f"{name} is a str, not {type(text).__name__}")
    return replace(payer, **_storable(payer))


def _storable(value: Value) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, part in value.__dict__.items():
        if isinstance(part, Address):
            kept[name] = replace(part, **_storable(part))
        else:
            kept[name] = None if part is None else storable(part)[:MAX_TEXT]
    return kept


def with_payer(known: Payer | None, found: Payer) -> Payer:
    """Return what is known of a payer with what was found: what was not found stays as it is known."""
    if known is None:
        return found
    return replace(known, **{name: part for name, part in found.__dict__.items() if part is not None})


_NO_CHECKOUT: Final = Checkout()


def dump_checkout(checkout: Checkout) -> str:
    """Return a checkout as JSON text, for a store."""
    if checkout == _NO_CHECKOUT:
        return "{}"
    tree = asdict(cast("AttrsInstance", checkout), filter=lambda _, part: part is not None and part != ())
    return json.dumps(tree, separators=(",", ":"))


def load_checkout(text: str) -> Checkout:
    """Return the checkout that `dump_checkout` wrote."""
    return _NO_CHECKOUT if text == "{}" else Checkout(**json.loads(text))


def dump_payer(payer: Payer | None) -> str | None:
    """Return a payer as JSON text, for a store."""
    if payer is None:
        return None
    tree = asdict(cast("AttrsInstance", payer), filter=lambda _, part: part is not None)
    return json.dumps(tree, separators=(",", ":"))


def load_payer(text: str | None) -> Payer | None:
    """Return the payer that `dump_payer` wrote."""
    return None if text is None else Payer(**json.loads(text))
