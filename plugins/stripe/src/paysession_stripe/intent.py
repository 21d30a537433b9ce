"""A PaymentIntent, its charge and its refunds as Stripe stated them, read into frozen values.

Everything that is taken out of Stripe's JSON is taken out here. What does not read as expected is a
`ValueError`: an answer that cannot be read tells nothing about what happened.

Our own marks are in the metadata that we send with every write, so that each effect is found again
and told from one that somebody made in Stripe's dashboard:

- on the PaymentIntent ``paysession_session``; for each capture ``paysession_capture_<end of the key>``,
  which Stripe writes in the request that captures: ``<operation's key> <amount>``;
- on a refund ``paysession_session`` and ``paysession_operation``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import field, frozen

from paysession.provider import Failure
from paysession_stripe.amounts import from_stripe

if TYPE_CHECKING:
    from paysession.provider import Money, Operation

__all__ = [
    "OPERATION",
    "REFERENCE",
    "SESSION",
    "Capture",
    "Charge",
    "Dispute",
    "Intent",
    "Json",
    "Refund",
    "capture_mark",
    "json_object",
    "read_customer",
    "read_dispute",
    "read_intent",
    "read_refund",
]

SESSION: Final = "paysession_session"
OPERATION: Final = "paysession_operation"
REFERENCE: Final = "paysession_reference"
_CAPTURE: Final = "paysession_capture_"
_MARK: Final = re.compile(r"(\S{1,50}) ([0-9]{1,15})")

Json = Mapping[str, Any]
"""A JSON object as it was decoded."""


def json_object(value: object) -> Json | None:
    """Return a decoded value if it is a JSON object."""
    return cast("Json", value) if isinstance(value, Mapping) else None


@frozen
class Capture:
    """A capture that carries the mark of one of our operations."""

    key: str
    amount: Money


@frozen
class Refund:
    """One refund.

    Attributes:
        id: Stripe's id.
        amount: Its amount.
        status: ``pending``, ``requires_action``, ``succeeded``, ``failed`` or ``canceled``.
        key: The key of our operation that made it, or None.
        moved_money: False for one that let go of an authorization: Stripe records what is not
            captured as a refund too, one without a balance transaction.
        failure: Why it failed, in Stripe's word.
    """

    id: str
    amount: Money
    status: str
    key: str | None
    moved_money: bool
    failure: str | None = None


@frozen
class Dispute:
    """A payer's dispute of the charge with their bank."""

    id: str
    amount: Money
    status: str


@frozen
class Charge:
    """The charge of a PaymentIntent; it has at most one that succeeded.

    Attributes:
        id: Stripe's id.
        disputed: Whether the payer disputed it.
        capture_before: Until when it can be captured, if Stripe says so.
        refunds: Its refunds, the latest first.
    """

    id: str
    disputed: bool = False
    capture_before: datetime | None = None
    refunds: tuple[Refund, ...] = ()


@frozen
class Intent:
    """A PaymentIntent.

    Attributes:
        id: Stripe's id.
        status: Stripe's own word.
        amount: What is to be authorized.
        capturable: What is authorized and not captured.
        received: What was captured, all in all.
        livemode: Whether it is about real money.
        session_id: The id of our session that it carries, or None.
        client_secret: What lets the payer's browser confirm it.
        redirect: Where the payer is to be sent, if Stripe says so.
        error: Why the last attempt to pay it failed.
        payment_method: The payment method that it is, or is to be, paid with.
        captures: The captures that carry one of our keys.
        charge: Its latest charge.
    """

    id: str
    status: str
    amount: Money
    capturable: Money
    received: Money
    livemode: bool
    session_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    redirect: str | None = field(default=None, repr=False)
    error: Failure | None = None
    payment_method: str | None = None
    captures: tuple[Capture, ...] = ()
    charge: Charge | None = None

    @property
    def holds(self) -> bool:
        """Whether money is held or was taken."""
        return self.status == "requires_capture" or bool(self.received)

    @property
    def authorized(self) -> Money:
        """What is authorized now, captured parts included."""
        return self.received + self.capturable


def capture_mark(operation: Operation, amount: int) -> dict[str, str]:
    """Return the metadata by which a capture of ours is known, written by the capture itself."""
    # By the whole of what makes the key its own: after a restore another capture may have this ordinal.
    name = operation.key.removeprefix(f"{operation.session_id}-").replace("-", "_")
    return {f"{_CAPTURE}{name}": f"{operation.key} {amount}"}


def read_intent(found: Json) -> Intent:
    """Read a PaymentIntent.

    Raises:
        ValueError: It is none, or not one that can be read.
    """
    _check_object(found, "payment_intent")
    currency = _text(found, "currency")
    metadata = _metadata(found)
    return Intent(
        id=_text(found, "id"),
        status=_text(found, "status"),
        amount=_money(found, "amount", currency),
        capturable=_money(found, "amount_capturable", currency),
        received=_money(found, "amount_received", currency),
        livemode=found.get("livemode") is True,
        session_id=metadata.get(SESSION),
        client_secret=_optional(found, "client_secret"),
        redirect=_redirect(found.get("next_action")),
        error=_failure(found.get("last_payment_error")),
        payment_method=_optional(found, "payment_method"),
        captures=tuple(_captures(metadata, currency)),
        charge=_charge(found.get("latest_charge")),
    )


def read_customer(found: Json) -> str:
    """Read a customer; return the id.

    Raises:
        ValueError: It is none, or not one that can be read.
    """
    _check_object(found, "customer")
    return _text(found, "id")


def read_refund(found: Json) -> Refund:
    """Read a refund.

    Raises:
        ValueError: It is none, or not one that can be read.
    """
    _check_object(found, "refund")
    return Refund(
        id=_text(found, "id"),
        amount=_money(found, "amount", _text(found, "currency")),
        status=_optional(found, "status") or "succeeded",
        key=_metadata(found).get(OPERATION),
        moved_money=found.get("balance_transaction") is not None,
        failure=_optional(found, "failure_reason"),
    )


def read_dispute(found: Json) -> Dispute:
    """Read a dispute.

    Raises:
        ValueError: It is none, or not one that can be read.
    """
    _check_object(found, "dispute")
    return Dispute(
        id=_text(found, "id"),
        amount=_money(found, "amount", _text(found, "currency")),
        status=_text(found, "status"),
    )


def _check_object(found: Json, name: str) -> None:
    if _mapping(found).get("object") != name:
        raise ValueError(f"Stripe answered something that is no {name}")


def _mapping(value: object) -> Json:
    found = json_object(value)
    if found is None:
        raise ValueError("Stripe answered something that is no object")
    return found


def _text(found: Json, name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"Stripe's answer has no {name}")
    return value


def _optional(found: Json, name: str) -> str | None:
    value = found.get(name)
    return value if isinstance(value, str) and value else None


def _money(found: Json, name: str, currency: str) -> Money:
    amount = found.get(name)
    if type(amount) is not int:
        raise ValueError(f"Stripe's answer has no {name}")
    return from_stripe(amount, currency)


def _metadata(found: Json) -> dict[str, str]:
    metadata = json_object(found.get("metadata")) or {}
    return {key: value for key, value in metadata.items() if isinstance(value, str) and value}


def _captures(metadata: Mapping[str, str], currency: str) -> list[Capture]:
    marks = [_MARK.fullmatch(value) for name, value in metadata.items() if name.startswith(_CAPTURE)]
    return [Capture(mark[1], from_stripe(int(mark[2]), currency)) for mark in marks if mark]


def _redirect(action: object) -> str | None:
    if action is None:
        return None
    return _optional(json_object(_mapping(action).get("redirect_to_url")) or {}, "url")


def _failure(error: object) -> Failure | None:
    if error is None:
        return None
    told = _mapping(error)
    code = _optional(told, "decline_code") or _optional(told, "code") or _optional(told, "type") or "declined"
    return Failure(code, _optional(told, "message") or code)


def _charge(charge: object) -> Charge | None:
    if charge is None:
        return None
    if isinstance(charge, str):
        return Charge(charge)
    found = _mapping(charge)
    refunds = json_object(found.get("refunds")) or {}
    details = json_object(found.get("payment_method_details")) or {}
    card = json_object(details.get("card")) or {}
    return Charge(
        id=_text(found, "id"),
        disputed=found.get("disputed") is True,
        capture_before=_time(card.get("capture_before")),
        refunds=tuple(read_refund(_mapping(refund)) for refund in _list(refunds.get("data"))),
    )


def _time(value: object) -> datetime | None:
    """Return a time that Stripe stated; one that is none is no reason to doubt the rest."""
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(value, UTC) if type(value) is int else None
    return None


def _list(value: object) -> Sequence[object]:
    return cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()
