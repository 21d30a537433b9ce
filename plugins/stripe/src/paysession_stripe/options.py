"""What a shop may ask for with one payment: typed, checked before anything is sent, JSON in ``data``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import evolve, field, fields, frozen

from paysession.provider import Money
from paysession_stripe.amounts import to_stripe
from paysession_stripe.methods import HOLDABLE, METHODS

if TYPE_CHECKING:
    from attrs import Attribute

__all__ = ["CAPTURES", "PAGES", "StripeOptions", "check_suffix"]

CAPTURES: Final = ("manual", "automatic", "where_possible")
"""How a payment is captured. ``where_possible``: later with methods that can wait, at once with others."""

PAGES: Final = ("hosted", "embedded")
"""Where the payer pays on a page of Stripe's, a Checkout Session, and not in the shop's own."""

_ID: Final = re.compile(r"[A-Za-z0-9_]{4,255}")
_PREFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "customer": ("cus_",),
    "payment_method": ("pm_", "card_", "src_"),
    "payment_method_configuration": ("pmc_",),
    "on_behalf_of": ("acct_",),
    "stripe_account": ("acct_",),
}
_MOST_METADATA: Final = 40
"""Of Stripe's 50 keys; the others are our marks."""
_SHIPPING: Final = ("name", "phone", "carrier", "tracking_number", "address")
_ADDRESS: Final = ("line1", "line2", "city", "postal_code", "state", "country")
_SUFFIX: Final = re.compile(r"""(?=.*[A-Za-z])[\x20-\x7e\u00a1-\u024f]{1,22}""")
_NOT_IN_SUFFIX: Final = re.compile(r"""[<>\\'"*]""")


def check_suffix(value: str) -> None:
    r"""Refuse a statement descriptor suffix that Stripe would refuse with every payment.

    At most 22 Latin characters, one of them a letter, none of ``< > \ ' " *``
    (https://docs.stripe.com/get-started/account/statement-descriptors).

    Raises:
        ValueError: It is none.
    """
    if not _SUFFIX.fullmatch(value) or _NOT_IN_SUFFIX.search(value):
        raise ValueError(
            "statement_descriptor_suffix has 1 to 22 Latin characters, a letter among them, "
            "and none of <>\\'\"*"
        )


def _text(most: int) -> Any:
    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if value is not None and not (isinstance(value, str) and 0 < len(value) <= most):
            raise ValueError(f"{attribute.name} is a text of 1 to {most} characters")

    return check


def _id(_: object, attribute: Attribute[Any], value: object) -> None:
    # An id may end up in a path, where "" would address the whole collection.
    prefixes = _PREFIXES[attribute.name]
    if value is not None and not (
        isinstance(value, str) and _ID.fullmatch(value) and value.startswith(prefixes)
    ):
        raise ValueError(f"{attribute.name} is an id of Stripe that begins with {' or '.join(prefixes)}")


def _one_of(*values: str) -> Any:
    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if value is not None and value not in values:
            raise ValueError(f"{attribute.name} is {', '.join(values[:-1])} or {values[-1]}")

    return check


def _flag(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name} is true or false")  # noqa: TRY004 - one error for all of data


def _amount(value: Any) -> Any:
    return to_stripe(value) if isinstance(value, Money) else value


def _count(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None and (type(value) is not int or value < 0):
        raise ValueError(f"{attribute.name} is a Money, or a whole number as Stripe counts")


def _suffix(_: object, __: Attribute[Any], value: object) -> None:
    if value is not None:
        check_suffix(value if isinstance(value, str) else "")


def _kinds(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is None:
        return
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ValueError(f"{attribute.name} is a list of payment methods such as card")
    for kind in cast("Sequence[object]", value):
        if kind not in METHODS:
            raise ValueError(f"{attribute.name}: Stripe has no payment method {kind!r:.40}")


def _metadata(_: object, __: Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping) or len(cast("Mapping[str, str]", value)) > _MOST_METADATA:
        raise ValueError(f"metadata is a mapping of at most {_MOST_METADATA} texts")
    for key, part in cast("Mapping[object, object]", value).items():
        named = isinstance(key, str) and 0 < len(key) <= 40 and not re.search(r"[\[\]]", key)  # noqa: PLR2004 - Stripe's
        if not named or str(key).startswith("paysession_"):
            raise ValueError(
                "a key of metadata has 1 to 40 characters, no square bracket, "
                "and does not begin with paysession_"
            )
        if not isinstance(part, str) or not 0 < len(part) <= 500:  # noqa: PLR2004 - Stripe's
            raise ValueError(f"metadata[{key}] is a text of 1 to 500 characters")


def _only(where: str, found: object, names: Sequence[str], required: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise ValueError(f"{where} is a mapping with {', '.join(names)}")  # noqa: TRY004 - as above
    mapping = cast("Mapping[str, Any]", found)
    for name in mapping:
        if name not in names:
            raise ValueError(f"{where} has no {name!r:.40}; it has {', '.join(names)}")
    for name in required:
        if name not in mapping:
            raise ValueError(f"{where} needs {name}")
    return mapping


def _texts(where: str, found: Mapping[str, Any]) -> None:
    for name, part in found.items():
        if not isinstance(part, str) or not part:
            raise ValueError(f"{where}: {name} is a text")


def _shipping(_: object, __: Attribute[Any], value: object) -> None:
    if value is None:
        return
    shipping = _only("shipping", value, _SHIPPING, ("name", "address"))
    address = _only("shipping: address", shipping["address"], _ADDRESS, ("line1",))
    _texts("shipping: address", address)
    _texts("shipping", {name: part for name, part in shipping.items() if name != "address"})


def _transfer(_: object, __: Attribute[Any], value: object) -> None:
    if value is None:
        return
    transfer = _only("transfer_data", value, ("destination", "amount"), ("destination",))
    if not re.fullmatch(r"acct_\w+", str(transfer["destination"]), re.ASCII):
        raise ValueError("transfer_data: destination is a connected account, acct_...")
    if "amount" in transfer and (type(transfer["amount"]) is not int or transfer["amount"] <= 0):
        raise ValueError("transfer_data: amount is a Money, or a whole number as Stripe counts")


def _transfer_amount(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: _amount(part) for name, part in cast("Mapping[str, object]", value).items()}


def _per_method(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise ValueError(f"{attribute.name} is a mapping by payment method")  # noqa: TRY004 - as above
    for kind, part in cast("Mapping[object, object]", value).items():
        if kind not in METHODS:
            raise ValueError(f"{attribute.name}: Stripe has no payment method {kind!r:.40}")
        if not isinstance(part, Mapping):
            raise ValueError(f"{attribute.name}[{kind}] is a mapping of that method's options")  # noqa: TRY004
        if "capture_method" in part:
            raise ValueError(f"{attribute.name}[{kind}]: capture_method goes into capture_methods")


def _capture_methods(_: object, __: Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise ValueError("capture_methods is a mapping such as {'card': 'manual'}")  # noqa: TRY004 - as above
    for kind, part in cast("Mapping[object, object]", value).items():
        if part not in ("manual", "automatic"):
            raise ValueError(f"capture_methods[{kind}] is manual or automatic")
        if kind not in METHODS or (part == "manual" and kind not in HOLDABLE):
            raise ValueError(
                f"capture_methods: {kind!r:.40} cannot be captured later; these can: {', '.join(HOLDABLE)}"
            )


def _mandate(_: object, __: Attribute[Any], value: object) -> None:
    if value is None:
        return
    mandate = _only("mandate_data", value, ("customer_acceptance",), ("customer_acceptance",))
    acceptance = mandate["customer_acceptance"]
    names = ("type", "accepted_at", "online", "offline")
    _only("mandate_data: customer_acceptance", acceptance, names, ("type",))


_KEPT: Final = {"kept": True}
"""What later hooks need as well; the rest is forgotten once the payment is made at Stripe."""


@frozen(kw_only=True)
class StripeOptions:
    """What may be given with one payment: ``payments.initiate(..., data=StripeOptions(...).to_data())``.

    Everything is optional, and checked here: a mistake is a ``ValueError`` in your own code. A plain mapping
    with the same names does as well; then a mistake ends ``initiate`` before anything is sent.

    Attributes:
        ui: ``elements`` (Stripe's form in your page, the default), ``hosted`` (a page of Stripe's) or
            ``embedded`` (that page, in a frame of yours).
        customer: The customer's id at Stripe (``cus_...``).
        customer_reference: Your own id of the customer: the customer at Stripe that carries it is used, or
            made once. Not together with ``customer``.
        email: The address of a customer who is made; without ``customer``.
        name: The name of a customer who is made, at most 256 characters.
        payment_method: A kept payment method of that customer, which ``authorize`` charges.
        off_session: Whether the payer is away when a kept payment method is charged.
        setup_future_usage: ``off_session`` or ``on_session``: keep what the payer pays with, for later.
        capture: ``manual``, ``automatic`` or ``where_possible``, instead of the setting ``capture_method``.
        capture_methods: The same for single kinds, such as ``{"card": "manual"}``.
        metadata: At most 40 texts of yours on the payment at Stripe.
        receipt_email: Where Stripe sends a receipt, instead of ``Checkout.email``.
        description: What is shown in the dashboard, instead of ``Checkout.description``.
        shipping: ``name``, ``address`` (``line1``, ``city``, ...), ``phone``, ``carrier``,
            ``tracking_number``.
        statement_descriptor_suffix: What follows the shop's name on the payer's statement.
        payment_method_configuration: The dashboard's configuration that says what is offered (``pmc_...``).
        allowed_payment_method_types: Only these kinds are offered.
        excluded_payment_method_types: These kinds are not offered.
        payment_method_options: By kind, what Stripe takes as ``payment_method_options``.
        mandate_data: The customer's acceptance of a mandate, for a kept bank debit.
        radar_session: The id of a Radar session (``rse_...``).
        stripe_account: The connected account (``acct_...``) that the payment belongs to.
        on_behalf_of: The connected account whose business it is.
        transfer_data: ``destination`` (``acct_...``) and perhaps ``amount``: what is passed on to it.
        transfer_group: Your name for payments and transfers that belong together.
        application_fee_amount: What the platform keeps: a `Money`, or a number as Stripe counts.
    """

    ui: str | None = field(default=None, validator=_one_of("elements", *PAGES), metadata=_KEPT)
    customer: str | None = field(default=None, validator=_id, metadata=_KEPT)
    customer_reference: str | None = field(default=None, validator=_text(255), metadata=_KEPT)
    email: str | None = field(default=None, validator=_text(512), repr=False, metadata=_KEPT)
    name: str | None = field(default=None, validator=_text(256), repr=False, metadata=_KEPT)
    payment_method: str | None = field(default=None, validator=_id, metadata=_KEPT)
    off_session: bool = field(default=True, validator=_flag, metadata=_KEPT)
    setup_future_usage: str | None = field(
        default=None, validator=_one_of("on_session", "off_session"), metadata=_KEPT
    )
    capture: str | None = field(default=None, validator=_one_of(*CAPTURES))
    capture_methods: Mapping[str, str] | None = field(default=None, validator=_capture_methods)
    metadata: Mapping[str, str] | None = field(default=None, validator=_metadata, repr=False)
    receipt_email: str | None = field(default=None, validator=_text(512), repr=False)
    description: str | None = field(default=None, validator=_text(1000))
    shipping: Mapping[str, Any] | None = field(default=None, validator=_shipping, repr=False)
    statement_descriptor_suffix: str | None = field(default=None, validator=_suffix)
    payment_method_configuration: str | None = field(default=None, validator=_id)
    allowed_payment_method_types: Sequence[str] | None = field(default=None, validator=_kinds)
    excluded_payment_method_types: Sequence[str] | None = field(default=None, validator=_kinds)
    payment_method_options: Mapping[str, Mapping[str, Any]] | None = field(
        default=None, validator=_per_method
    )
    mandate_data: Mapping[str, Any] | None = field(
        default=None, validator=_mandate, repr=False, metadata=_KEPT
    )
    radar_session: str | None = field(default=None, validator=_text(255))
    stripe_account: str | None = field(default=None, validator=_id, metadata=_KEPT)
    on_behalf_of: str | None = field(default=None, validator=_id)
    transfer_data: Mapping[str, Any] | None = field(
        default=None, converter=_transfer_amount, validator=_transfer
    )
    transfer_group: str | None = field(default=None, validator=_text(255))
    application_fee_amount: int | None = field(default=None, converter=_amount, validator=_count)

    def check(self) -> None:
        """Refuse what Stripe refuses together.

        Raises:
            ValueError: Two options exclude each other.
        """
        if self.customer is not None and self.customer_reference is not None:
            raise ValueError("give customer or customer_reference, not both")
        if self.payment_method is not None and self.off_session and self.setup_future_usage is not None:
            raise ValueError(
                "a kept payment method that is charged while the payer is away is kept already: leave "
                "setup_future_usage out, or give off_session=False"
            )
        if self.allowed_payment_method_types and self.excluded_payment_method_types:
            raise ValueError("give allowed_payment_method_types or excluded_payment_method_types, not both")
        if self.ui in PAGES:
            for name in ("payment_method", "mandate_data", "radar_session"):
                if getattr(self, name) is not None:
                    raise ValueError(f"Stripe's {self.ui} page takes no {name}")

    def to_data(self) -> dict[str, Any]:
        """Return it as plain JSON, for ``data=``; what is not set is left out.

        Raises:
            ValueError: Two options exclude each other.
        """
        self.check()
        return self._json()

    def _json(self) -> dict[str, Any]:
        found = {part.name: getattr(self, part.name) for part in fields(StripeOptions)}
        if self.off_session:
            del found["off_session"]
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names that ``data`` may have when a session is initiated."""
        return tuple(part.name for part in fields(StripeOptions))

    @classmethod
    def kept(cls, data: Mapping[str, Any], **more: Any) -> StripeOptions:
        """Return the options that charge the payment method which an earlier session kept.

        Args:
            data: ``session.data`` of that session, which was made with ``setup_future_usage``.
            **more: Further options.

        Raises:
            ValueError: That session kept none.
        """
        if data.get("customer") is None or data.get("paid_with") is None:
            raise ValueError("this session kept no payment method with a customer")
        options = cls(customer=data["customer"], payment_method=data["paid_with"], **more)
        kind = data.get("kept_as")
        if kind is not None and options.allowed_payment_method_types is None:
            options = evolve(options, allowed_payment_method_types=[kind])
        return options
