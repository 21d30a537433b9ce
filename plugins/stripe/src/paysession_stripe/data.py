"""What a session's private ``data`` holds: a typed value here, plain JSON in the books."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from attrs import Factory, evolve, field, fields, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attrs import Attribute

    from paysession_stripe.intent import Intent

__all__ = ["REQUESTS", "StripeData"]

_PREFIXES: Final = {
    "customer": ("cus_",),
    "payment_method": ("pm_", "card_", "src_"),
    "payment_intent": ("pi_",),
}
_ID: Final = re.compile(r"[A-Za-z0-9_]{4,255}")
_USAGES: Final = ("on_session", "off_session")


def _text(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None and not (isinstance(value, str) and 0 < len(value) <= 500):  # noqa: PLR2004
        raise ValueError(f"{attribute.name} is a text of 1 to 500 characters")


def _id(_: object, attribute: Attribute[Any], value: object) -> None:
    # An id ends up in a path: "" would address the whole collection.
    prefixes = _PREFIXES[attribute.name]
    if value is not None and not (
        isinstance(value, str) and _ID.fullmatch(value) and value.startswith(prefixes)
    ):
        raise ValueError(f"{attribute.name} is an id of Stripe that begins with {' or '.join(prefixes)}")


def _usage(_: object, attribute: Attribute[Any], value: object) -> None:
    if value not in (None, *_USAGES):
        raise ValueError(f"{attribute.name} is {' or '.join(_USAGES)}")


def _flag(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name} is true or false")  # noqa: TRY004 - one error for all of data


@frozen(kw_only=True)
class StripeData:
    """What Stripe and we know of one session.

    The first six may be given to ``Payments.initiate(data=...)``; the others are written by us.

    Attributes:
        customer: The customer's id at Stripe.
        email: Without a ``customer``: one is created with this address.
        name: Without a ``customer``: one is created with this name.
        payment_method: A saved payment method of that customer. It is charged by ``authorize``,
            without the payer unless the bank wants them.
        off_session: Whether the payer is away when a saved payment method is charged.
        setup_future_usage: ``off_session`` or ``on_session`` keeps the payment method for later.
        payment_intent: The PaymentIntent's id.
        latest_charge: The id of its charge.
        paid_with: The payment method that paid. With ``setup_future_usage`` it is kept with the
            customer, and can be the ``payment_method`` of a later session.
        status: The PaymentIntent's status as it was last seen, in Stripe's own word.
        last_error: Why Stripe last declined, in Stripe's own word.
        extra: What another version of this package wrote, kept as it is.
    """

    customer: str | None = field(default=None, validator=_id)
    email: str | None = field(default=None, validator=_text, repr=False)
    name: str | None = field(default=None, validator=_text, repr=False)
    payment_method: str | None = field(default=None, validator=_id)
    off_session: bool = field(default=True, validator=_flag)
    setup_future_usage: str | None = field(default=None, validator=_usage)
    payment_intent: str | None = field(default=None, validator=_id)
    latest_charge: str | None = field(default=None, validator=_text)
    paid_with: str | None = field(default=None, validator=_text)
    status: str | None = field(default=None, validator=_text)
    last_error: str | None = field(default=None, validator=_text)
    extra: Mapping[str, Any] = Factory(dict[str, Any])

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StripeData:
        """Return what the books hold.

        Raises:
            ValueError: A value is not of its type.
        """
        known = {name: value for name, value in data.items() if name in _NAMES}
        return cls(**known, extra={name: value for name, value in data.items() if name not in _NAMES})

    @classmethod
    def requested(cls, data: Mapping[str, Any]) -> StripeData:
        """Return what the host asked for.

        Raises:
            ValueError: There is a key or a value that is not for the host to give.
        """
        for name in data:
            if name not in REQUESTS:
                raise ValueError(f"data has no {name!r:.80}; it may have {', '.join(REQUESTS)}")
        return cls.from_json(data)

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain JSON; what is not set is left out."""
        told = {name: getattr(self, name) for name in _NAMES}
        if self.off_session:
            del told["off_session"]
        return {**{name: value for name, value in told.items() if value is not None}, **self.extra}

    def seen(self, intent: Intent) -> StripeData:
        """Return the same with what a PaymentIntent shows."""
        return evolve(
            self,
            payment_intent=intent.id,
            latest_charge=intent.charge.id if intent.charge is not None else self.latest_charge,
            paid_with=intent.payment_method if intent.holds else self.paid_with,
            status=intent.status,
            last_error=intent.error.code if intent.error is not None else None,
        )


_NAMES: Final = tuple(attribute.name for attribute in fields(StripeData) if attribute.name != "extra")
REQUESTS: Final = _NAMES[: _NAMES.index("payment_intent")]
"""What a host may give when it initiates a session."""
