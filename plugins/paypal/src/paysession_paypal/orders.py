"""PayPal's orders as typed values: what was read is what is decided on, and nothing else is.

A status that PayPal's OpenAPI files do not have, or a row that cannot be read, is unknown for that row alone:
the rest of the order is read, and `Order.unclear` says what was not understood.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from attrs import evolve, field, frozen

from paysession.provider import Address, Failure, Money, OutcomeUnknown, Payer
from paysession_paypal import amounts
from paysession_paypal.document import as_list, as_object, as_text, moment, text_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from paysession_paypal.document import Document

__all__ = [
    "AUTHORIZATION",
    "CAPTURE",
    "LIVE",
    "ORDER",
    "REFUND",
    "Authorization",
    "Capture",
    "Order",
    "Refund",
    "State",
    "read_authorization",
    "read_capture",
    "read_order",
    "read_refund",
]

State = Literal["pending", "succeeded", "failed", "reversed"]

AUTHORIZATION: Final[Mapping[str, State]] = {
    "CREATED": "succeeded",
    "PARTIALLY_CAPTURED": "succeeded",
    "CAPTURED": "succeeded",
    "PENDING": "pending",
    "DENIED": "failed",
    "VOIDED": "reversed",
    # In no file of 2024, but in those before, and seen by other integrations.
    "EXPIRED": "reversed",
}
CAPTURE: Final[Mapping[str, State]] = {
    "COMPLETED": "succeeded",
    "PARTIALLY_REFUNDED": "succeeded",
    "REFUNDED": "succeeded",
    # Of a notification's name, and seen by other integrations: settled, and taken back since.
    "REVERSED": "succeeded",
    "PENDING": "pending",
    "DECLINED": "failed",
    "FAILED": "failed",
}
REFUND: Final[Mapping[str, State]] = {
    "COMPLETED": "succeeded",
    "PENDING": "pending",
    "CANCELLED": "failed",
    "FAILED": "failed",
}
ORDER: Final = frozenset({"CREATED", "SAVED", "APPROVED", "VOIDED", "COMPLETED", "PAYER_ACTION_REQUIRED"})
INTENT: Final = frozenset({"AUTHORIZE", "CAPTURE"})

LIVE: Final = ("CREATED", "PARTIALLY_CAPTURED")
"""The statuses of an authorization of which more can be captured."""

DISPUTED: Final = "BUYER_COMPLAINT"
CHARGED_BACK: Final = "CHARGEBACK"
"""Why a capture that had been settled is PENDING or DECLINED again: the payer disputes it at PayPal, or the
funds were reversed because of a dispute at the card's issuer (capture status details, Payments v2)."""

VALID: Final = timedelta(days=29)
"""How long an authorization may be captured."""
HONORED: Final = timedelta(days=3)
"""How long PayPal keeps the funds of an authorization for certain; afterwards a capture may be refused
(https://developer.paypal.com/docs/checkout/standard/customize/authorization/)."""

NOT_CAPTURED: Final = "PayPal declined the capture"
NOT_REFUNDED: Final = "PayPal could not refund"


@frozen(kw_only=True)
class Authorization:
    """An authorization of an order.

    Attributes:
        id: PayPal's id.
        status: One of `AUTHORIZATION`, or a word that is not known.
        amount: How much was authorized.
        created_at: When it was made.
        expires_at: When it can no longer be captured.
    """

    id: str
    status: str
    amount: Money
    created_at: datetime | None
    expires_at: datetime | None

    @property
    def state(self) -> State:
        """What became of it; pending, if the word is not known."""
        return AUTHORIZATION.get(self.status, "pending")

    @property
    def live(self) -> bool:
        """Whether more can be captured of it."""
        return self.status in LIVE

    @property
    def honored_until(self) -> datetime | None:
        """Until when PayPal keeps the funds for certain."""
        return self.created_at + HONORED if self.created_at is not None else None


@frozen(kw_only=True)
class Capture:
    """A capture of an order.

    Attributes:
        id: PayPal's id.
        status: One of `CAPTURE`, or a word that is not known.
        amount: What was taken, refunds not deducted.
        invoice_id: Ours, with the operation's key at its end, if we made it.
        final: No more can be captured of the authorization.
        reason: Why it is pending or was declined.
        fee: What PayPal keeps of it, if it says so.
    """

    id: str
    status: str
    amount: Money
    invoice_id: str | None
    final: bool
    reason: str | None
    fee: Money | None = None

    @property
    def disputed(self) -> bool:
        """Whether it was settled, and the payer disputes it now."""
        return self.status == "PENDING" and self.reason == DISPUTED

    @property
    def charged_back(self) -> bool:
        """Whether it was settled, and taken back in a dispute."""
        again = self.status in ("PENDING", "DECLINED") and self.reason == CHARGED_BACK
        return again or self.status == "REVERSED"

    @property
    def gone(self) -> bool:
        """Whether it was settled, and given back whole, by refunds or a chargeback."""
        refunded = self.status == "REFUNDED" or (self.status == "PENDING" and self.reason == "REFUNDED")
        return refunded or self.charged_back

    @property
    def state(self) -> State:
        """What became of it, what was given back since not counted; pending, if the word is not known."""
        if self.disputed or self.gone:
            return "succeeded"
        return CAPTURE.get(self.status, "pending")

    @property
    def standing(self) -> str:
        """The same in one word for the host, with ``disputed`` and ``charged_back`` beside."""
        if self.charged_back:
            return "charged_back"
        return "disputed" if self.disputed else self.state

    @property
    def settled(self) -> bool:
        """Whether the money was taken, whatever was given back since."""
        return self.state == "succeeded"

    @property
    def failed(self) -> bool:
        """Whether nothing came of it."""
        return self.state == "failed"

    @property
    def failure(self) -> Failure | None:
        """Why nothing came of it, if nothing did."""
        return Failure(self.reason or self.status, NOT_CAPTURED) if self.failed else None


@frozen(kw_only=True)
class Refund:
    """A refund of a capture.

    Attributes:
        id: PayPal's id.
        status: One of `REFUND`, or a word that is not known.
        amount: What was given back.
        invoice_id: Ours, with the operation's key at its end, if we made it.
        capture: The id of the capture, if PayPal links to it, or there is no other.
        reason: Why it is pending or failed.
        created_at: When it was made.
    """

    id: str
    status: str
    amount: Money
    invoice_id: str | None
    capture: str | None
    reason: str | None
    created_at: datetime | None = None

    @property
    def state(self) -> State:
        """What became of it; pending, if the word is not known."""
        return REFUND.get(self.status, "pending")

    @property
    def failed(self) -> bool:
        """Whether nothing came of it."""
        return self.state == "failed"

    @property
    def failure(self) -> Failure | None:
        """Why nothing came of it, if nothing did."""
        return Failure(self.reason or self.status, NOT_REFUNDED) if self.failed else None


@frozen(kw_only=True)
class Order:
    """An order of one purchase unit, with the history of its payments.

    Attributes:
        id: PayPal's id.
        status: One of `ORDER`, or a word that is not known.
        intent: ``AUTHORIZE`` or ``CAPTURE``.
        session_id: Our session's id, which is the unit's ``custom_id``.
        amount: What is to be paid.
        approve_url: PayPal's approval page for the payer.
        created_at: When it was created.
        updated_at: When it last changed, in PayPal's words.
        authorizations: In PayPal's order.
        captures: In PayPal's order.
        refunds: In PayPal's order.
        unclear: What was not understood of its payments, by kind (``authorizations``, ``captures``,
            ``refunds``): words for a log.
        unread: The kinds of which a row could not be read at all, so that it may be anything.
        document: The whole order, as PayPal showed it.
    """

    id: str
    status: str
    intent: str
    session_id: str | None
    amount: Money
    approve_url: str | None
    created_at: datetime | None
    updated_at: str | None
    authorizations: tuple[Authorization, ...]
    captures: tuple[Capture, ...]
    refunds: tuple[Refund, ...]
    unclear: Mapping[str, tuple[str, ...]]
    unread: frozenset[str]
    document: Document = field(repr=False)

    @property
    def approval(self) -> str:
        """What tells one approval of the payer from the next; ``none`` while there is none."""
        return self.updated_at or "undated" if self.status == "APPROVED" else "none"

    @property
    def payer(self) -> Payer | None:
        """Who pays, as far as PayPal says so; the address is that of the payer's account."""
        payer = as_object(self.document.get("payer")) or {}
        source = self.source
        name = _name(payer) or _name(source)
        email = text_in(payer, "email_address") or text_in(source, "email_address")
        address = _address(payer) or _address(source)
        return Payer(name=name, email=email, address=address) if name or email or address else None

    @property
    def source(self) -> Document:
        """What the order is paid with, as PayPal showed it."""
        sources = as_object(self.document.get("payment_source")) or {}
        nothing: Document = {}
        return next((found for found in map(as_object, sources.values()) if found), nothing)

    @property
    def unit(self) -> Document:
        """The only purchase unit, as PayPal showed it."""
        return _list(self.document, "purchase_units")[0]


_Row = TypeVar("_Row", Authorization, Capture, Refund)


def read_order(document: Document) -> Order:
    """Return an order as typed values.

    Raises:
        OutcomeUnknown: Something is missing that nothing can be said without. It carries the order's id.
    """
    try:
        return _order(document)
    except OutcomeUnknown as error:
        raise OutcomeUnknown(error.message, reference=text_in(document, "id")) from None


def _order(document: Document) -> Order:
    units = _list(document, "purchase_units")
    if len(units) != 1:
        raise OutcomeUnknown(f"PayPal shows an order of {len(units)} purchase units, not one")
    unit = units[0]
    payments, amount = as_object(unit.get("payments")) or {}, amounts.read(unit.get("amount"))
    currency = amount.currency
    authorizations, odd_authorizations = _rows(payments, "authorizations", read_authorization, currency)
    captures, odd_captures = _rows(payments, "captures", read_capture, currency)
    refunds, odd_refunds = _rows(payments, "refunds", read_refund, currency)
    if len(captures) == 1 and not odd_captures:
        # A link may be missing; of one capture there is no doubt which it is.
        refunds = tuple(evolve(row, capture=row.capture or captures[0].id) for row in refunds)
    unclear = {
        "authorizations": (*odd_authorizations, *_undocumented(authorizations, AUTHORIZATION)),
        "captures": (*odd_captures, *_undocumented(captures, CAPTURE)),
        "refunds": (*odd_refunds, *_undocumented(refunds, REFUND)),
    }
    unread = {"authorizations": odd_authorizations, "captures": odd_captures, "refunds": odd_refunds}
    status = _text(document, "status")
    if status not in ORDER and not (authorizations or captures):
        raise OutcomeUnknown(f"PayPal's order has the status {status!r:.40}, which is not documented")
    return Order(
        id=_text(document, "id"),
        status=status,
        intent=_intent(document),
        session_id=text_in(unit, "custom_id"),
        amount=amount,
        # With payment_source the link is called payer-action, without it approve.
        approve_url=_link(document, "payer-action") or _link(document, "approve"),
        created_at=moment(document.get("create_time")),
        updated_at=text_in(document, "update_time"),
        authorizations=authorizations,
        captures=captures,
        refunds=refunds,
        unclear={kind: words for kind, words in unclear.items() if words},
        unread=frozenset(kind for kind, words in unread.items() if words),
        document=document,
    )


def _undocumented(rows: Iterable[_Row], known: Collection[str]) -> Iterator[str]:
    return (
        f"{row.id} has the status {row.status!r:.40}, which is not documented"
        for row in rows
        if row.status not in known
    )


def read_authorization(document: Document) -> Authorization:
    """Return an authorization as a typed value.

    Raises:
        OutcomeUnknown: It has no id, status or amount.
    """
    created_at = moment(document.get("create_time"))
    return Authorization(
        id=_text(document, "id"),
        status=_text(document, "status"),
        amount=amounts.read(document.get("amount")),
        created_at=created_at,
        expires_at=moment(document.get("expiration_time")) or (created_at and created_at + VALID),
    )


def read_capture(document: Document) -> Capture:
    """Return a capture as a typed value.

    Raises:
        OutcomeUnknown: It has no id, status or amount.
    """
    return Capture(
        id=_text(document, "id"),
        status=_text(document, "status"),
        amount=amounts.read(document.get("amount")),
        invoice_id=text_in(document, "invoice_id"),
        final=document.get("final_capture") is True,
        reason=_reason(document),
        fee=_fee(document),
    )


def read_refund(document: Document) -> Refund:
    """Return a refund as a typed value.

    Raises:
        OutcomeUnknown: It has no id, status or amount.
    """
    up = _link(document, "up")
    return Refund(
        id=_text(document, "id"),
        status=_text(document, "status"),
        amount=amounts.read(document.get("amount")),
        invoice_id=text_in(document, "invoice_id"),
        capture=up.rstrip("/").rpartition("/")[2] if up else None,
        reason=_reason(document),
        created_at=moment(document.get("create_time")),
    )


# --- JSON -----------------------------------------------------------------------------------------


def _rows(
    payments: Document, name: str, read: Callable[[Document], _Row], currency: str
) -> tuple[tuple[_Row, ...], list[str]]:
    """Return the rows that can be read, and what is wrong with the others."""
    value: object = payments.get(name)
    if not isinstance(value, list | None):
        return (), [f"{name} is no list"]
    rows: list[_Row] = []
    odd: list[str] = []
    for number, part in enumerate(as_list(payments.get(name))):
        try:
            row = read(as_object(part) or {})
        except OutcomeUnknown as error:
            odd.append(f"{name}[{number}]: {error.message}")
            continue
        if row.amount.currency == currency:
            rows.append(row)
        else:
            odd.append(f"{row.id} is in {row.amount.currency}, the order in {currency}")
    return tuple(rows), odd


def _list(document: Document, name: str) -> list[Document]:
    value: object = document.get(name)
    rows = [as_object(row) for row in as_list(value)]
    found = [row for row in rows if row is not None]
    if len(found) != len(rows) or not isinstance(value, list | None):
        raise OutcomeUnknown(f"PayPal's {name} cannot be read")
    return found


def _text(document: Document, name: str) -> str:
    value = text_in(document, name)
    if value is None:
        raise OutcomeUnknown(f"PayPal's answer has no {name}")
    return value


def _intent(document: Document) -> str:
    value = _text(document, "intent")
    if value not in INTENT:
        raise OutcomeUnknown(f"PayPal's answer has the intent {value!r:.40}, which is not documented")
    return value


def _link(document: Document, rel: str) -> str | None:
    """Return a link, if there is one that can be read: they are optional everywhere."""
    for link in filter(None, map(as_object, as_list(document.get("links")))):
        href = as_text(link.get("href"))
        if link.get("rel") == rel and href is not None and href.startswith(("https://", "http://")):
            return href
    return None


def _reason(document: Document) -> str | None:
    return text_in(as_object(document.get("status_details")) or {}, "reason")


def _name(person: Document) -> str | None:
    """Return the name of a person, which PayPal writes in two parts, or as one text."""
    name = person.get("name")
    parts = as_object(name) or {}
    words = [text_in(parts, "given_name"), text_in(parts, "surname")]
    return " ".join(filter(None, words)) or text_in(parts, "full_name") or as_text(name)


def _address(person: Document) -> Address | None:
    address = as_object(person.get("address")) or as_object(person.get("billing_address")) or {}
    if not address:
        return None
    return Address(
        line1=text_in(address, "address_line_1"),
        line2=text_in(address, "address_line_2"),
        city=text_in(address, "admin_area_2"),
        region=text_in(address, "admin_area_1"),
        postal_code=text_in(address, "postal_code"),
        country=text_in(address, "country_code"),
    )


def _fee(document: Document) -> Money | None:
    breakdown = as_object(document.get("seller_receivable_breakdown")) or {}
    try:
        return amounts.read(breakdown.get("paypal_fee"))
    except OutcomeUnknown:
        return None  # it is not said with every capture, and proves nothing
