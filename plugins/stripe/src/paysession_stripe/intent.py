"""A PaymentIntent, its charge, its refunds and its disputes as Stripe stated them, as frozen values.

Everything that is taken out of Stripe's JSON is taken out here. What does not read as expected is a
`ValueError`: an answer that cannot be read proves nothing about what happened.

Our own marks are in the metadata that we send with every write, so that each effect is found again
and distinguished from one that somebody made in Stripe's dashboard:

- on the PaymentIntent ``paysession_session``; for each capture ``paysession_capture_<end of the key>``,
  which Stripe writes in the request that captures: ``<operation's key> <amount> <operation's number>``;
- on a refund ``paysession_session`` and ``paysession_operation``.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from paysession.provider import Address, Failure, Payer
from paysession_stripe.amounts import from_stripe
from paysession_stripe.declines import category, message_key
from paysession_stripe.methods import PayerMethod, held_until
from paysession_stripe.reading import integer, items, json_object, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paysession.provider import Money, Operation
    from paysession_stripe.reading import Json

__all__ = [
    "OPERATION",
    "PAGE",
    "REFERENCE",
    "SESSION",
    "Capture",
    "Charge",
    "Dispute",
    "Intent",
    "Refund",
    "capture_mark",
    "read_customer",
    "read_dispute",
    "read_intent",
    "read_refund",
]

SESSION: Final = "paysession_session"
OPERATION: Final = "paysession_operation"
REFERENCE: Final = "paysession_reference"
PAGE: Final = "paysession_page"
_CAPTURE: Final = "paysession_capture_"
_MARK: Final = re.compile(r"(\S{1,50}) ([0-9]{1,15})(?: ([0-9]{1,9}))?")

_ROOM: Final = 45
"""With so many metadata keys another capture's mark takes the place of the oldest: Stripe allows 50 keys, and
as many captures (https://docs.stripe.com/payments/multicapture). The mark that is lost is of a capture that
the ledger has long settled: only one operation of a session is open at a time."""

_TRANSFER: Final = timedelta(days=30)
"""How long a bank transfer is waited for; Stripe itself sets it no limit."""


@frozen
class Capture:
    """A capture that carries the mark of one of our operations."""

    key: str
    amount: Money


@frozen
class Refund:
    """One refund; every one that Stripe lists is of money.

    Before API version 2025-03-31 what was not captured was listed as a refund too
    (https://docs.stripe.com/changelog/basil/2025-03-31/remove-refund-from-partial-capture-and-payment-cancellation-flow).

    Attributes:
        id: Stripe's id.
        amount: Its amount.
        status: ``pending``, ``requires_action``, ``succeeded``, ``failed`` or ``canceled``.
        key: The key of our operation that made it, or None.
        created_at: When it was made.
        failure: Why it failed, in Stripe's word.
    """

    id: str
    amount: Money
    status: str
    key: str | None
    created_at: datetime | None = None
    failure: str | None = None


@frozen
class Dispute:
    """A payer's dispute of the charge with their bank.

    Attributes:
        id: Stripe's id.
        amount: What is disputed, in the currency that Stripe states: perhaps not the charge's.
        status: ``needs_response``, ``under_review``, ``lost``, ``won``, or of an inquiry (``warning_...``).
        reason: Why, in Stripe's word.
        due_at: Until when evidence can be submitted.
        fee: What Stripe charges the merchant for it, in the currency of the balance.
        created_at: When it was opened.
        withdrawn: Whether it took money from the merchant's balance that was not returned.
    """

    id: str
    amount: Money
    status: str
    reason: str | None = None
    due_at: datetime | None = None
    fee: Money | None = None
    created_at: datetime | None = None
    withdrawn: bool = False


@frozen
class Charge:
    """The charge of a PaymentIntent; it has at most one that succeeded.

    Attributes:
        id: Stripe's id.
        disputed: Whether the payer disputed it.
        capture_before: Until when it can be captured: as Stripe states it, or as long as such a method is
            known to hold; None: neither is known.
        refunds: Its refunds, the latest first.
        method: What the payer paid with.
        payer: Who paid, as far as they said so.
        kept: The payment method that a method which pays once leaves behind, such as iDEAL a SEPA debit.
        kept_as: The kind of what can be kept.
        multicapture: Whether it can be captured several times; None: Stripe does not say.
        incremental: Whether what it holds can be raised; None: Stripe does not say.
        fee: What Stripe kept, in the currency of the balance.
        net: What remains.
    """

    id: str
    disputed: bool = False
    capture_before: datetime | None = None
    refunds: tuple[Refund, ...] = ()
    method: PayerMethod | None = None
    payer: Payer | None = field(default=None, repr=False)
    kept: str | None = None
    kept_as: str | None = None
    multicapture: bool | None = None
    incremental: bool | None = None
    fee: Money | None = None
    net: Money | None = None


@frozen
class Intent:
    """A PaymentIntent.

    Attributes:
        id: Stripe's id.
        status: Stripe's own word.
        amount: What is to be authorized.
        capturable: What is authorized and not captured.
        received: What was captured, all in all: nothing while the payer has something to do.
        livemode: Whether it is about real money.
        session_id: The id of our session that it carries, or None.
        client_secret: What lets the payer's browser confirm it.
        redirect: Where the payer is to be sent, if Stripe says so.
        payable_until: Until when the payer can pay what they were shown: a voucher, a code.
        error: Why the last attempt to pay it failed.
        canceled_for: Why it was canceled, in Stripe's word.
        payment_method: The payment method that it is, or is to be, paid with.
        captures: The captures that carry one of our keys.
        reuse: The metadata key of the oldest of them, if there is room for no other.
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
    payable_until: datetime | None = None
    error: Failure | None = None
    canceled_for: str | None = None
    payment_method: str | None = None
    captures: tuple[Capture, ...] = ()
    reuse: str | None = None
    charge: Charge | None = None

    @property
    def holds(self) -> bool:
        """Whether money is held or was taken."""
        return self.status == "requires_capture" or bool(self.received)

    @property
    def authorized(self) -> Money:
        """What is authorized now, captured parts included."""
        return self.received + self.capturable

    @property
    def keepable(self) -> str | None:
        """The payment method that can be charged again."""
        kept = self.charge.kept if self.charge is not None else None
        return kept or self.payment_method

    @property
    def capture_before(self) -> datetime | None:
        """Until when what is authorized can be captured."""
        held = self.charge is not None and self.status == "requires_capture"
        return self.charge.capture_before if held and self.charge is not None else None

    def captured_by(self, operation: Operation) -> bool:
        """Return whether one of its captures is of this operation."""
        return any(mark.key == operation.key for mark in self.captures)


def capture_mark(operation: Operation, amount: int, reuse: str | None = None) -> dict[str, str]:
    """Return the metadata by which a capture of ours is known, written by the capture itself.

    Args:
        operation: The capture.
        amount: Its amount as Stripe counts.
        reuse: The metadata key to overwrite, if there is room for no other.
    """
    # By the whole of what makes the key its own: after a restore another capture may have this ordinal.
    name = operation.key.removeprefix(f"{operation.session_id}-").replace("-", "_")
    return {reuse or f"{_CAPTURE}{name}": f"{operation.key} {amount} {operation.ordinal}"}


def read_intent(found: Json) -> Intent:
    """Read a PaymentIntent.

    Raises:
        ValueError: It is none, or not one that can be read.
    """
    _check_object(found, "payment_intent")
    currency, status = _text(found, "currency"), _text(found, "status")
    metadata, received = _metadata(found), _money(found, "amount_received", currency)
    if status == "requires_action":
        # What has arrived of a bank transfer is the payer's until all of it has: a cancel gives it back.
        received -= received
    return Intent(
        id=_text(found, "id"),
        status=status,
        amount=_money(found, "amount", currency),
        capturable=_money(found, "amount_capturable", currency),
        received=received,
        livemode=found.get("livemode") is True,
        session_id=metadata.get(SESSION),
        client_secret=text(found, "client_secret"),
        redirect=_redirect(found.get("next_action")),
        payable_until=_payable_until(found.get("next_action"), _time(found.get("created"))),
        error=_failure(found.get("last_payment_error")),
        canceled_for=text(found, "cancellation_reason"),
        payment_method=_id_of(found.get("payment_method")),
        captures=tuple(_captures(metadata, currency)),
        reuse=_oldest(metadata) if len(metadata) >= _ROOM else None,
        charge=_charge(found.get("latest_charge"), _time(found.get("created"))),
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
        status=text(found, "status") or "succeeded",
        key=_metadata(found).get(OPERATION),
        created_at=_time(found.get("created")),
        failure=text(found, "failure_reason"),
    )


def read_dispute(found: Json) -> Dispute:
    """Read a dispute.

    Raises:
        ValueError: It is none, or not one that can be read.
    """
    _check_object(found, "dispute")
    evidence = json_object(found.get("evidence_details")) or {}
    return Dispute(
        id=_text(found, "id"),
        amount=_money(found, "amount", _text(found, "currency")),
        status=_text(found, "status"),
        reason=text(found, "reason"),
        due_at=_time(evidence.get("due_by")),
        fee=_fee(found.get("balance_transactions")),
        created_at=_time(found.get("created")),
        withdrawn=_moved(found.get("balance_transactions")) < 0,
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
    value = text(found, name)
    if value is None:
        raise ValueError(f"Stripe's answer has no {name}")
    return value


def _id_of(value: object) -> str | None:
    """Return the id of an object, which Stripe shows by its id or expanded."""
    if isinstance(value, str):
        return value or None
    return text(json_object(value) or {}, "id")


def _money(found: Json, name: str, currency: str) -> Money:
    amount = integer(found, name)
    if amount is None:
        raise ValueError(f"Stripe's answer has no {name}")
    return from_stripe(amount, currency)


def _metadata(found: Json) -> dict[str, str]:
    metadata = json_object(found.get("metadata")) or {}
    return {key: value for key, value in metadata.items() if isinstance(value, str) and value}


def _captures(metadata: Mapping[str, str], currency: str) -> list[Capture]:
    marks = [_MARK.fullmatch(value) for name, value in metadata.items() if name.startswith(_CAPTURE)]
    return [Capture(mark[1], from_stripe(int(mark[2]), currency)) for mark in marks if mark]


def _oldest(metadata: Mapping[str, str]) -> str | None:
    """Return the metadata key of the capture that was made first, by the number of its operation."""
    marks = {name: _MARK.fullmatch(value) for name, value in metadata.items() if name.startswith(_CAPTURE)}
    numbered = [(int(mark[3] or 0), name) for name, mark in marks.items() if mark]
    return min(numbered)[1] if numbered else None


def _redirect(action: object) -> str | None:
    if action is None:
        return None
    return text(json_object(_mapping(action).get("redirect_to_url")) or {}, "url")


def _payable_until(action: object, created: datetime | None) -> datetime | None:
    """Return until when the payer can do what they are to do, where that takes days."""
    found = json_object(action) or {}
    kind = text(found, "type") or ""
    shown = json_object(found.get(kind)) or {}
    until = _time(shown.get("expires_at")) or _time(shown.get("expires_after"))
    if until is None and kind == "display_bank_transfer_instructions" and created is not None:
        return created + _TRANSFER
    return until


def _failure(error: object) -> Failure | None:
    if error is None:
        return None
    found = _mapping(error)
    code = text(found, "decline_code") or text(found, "code") or text(found, "type") or "declined"
    advice = text(found, "advice_code")
    return Failure(code, text(found, "message") or code, category(code, advice), message_key(code, advice))


def _charge(charge: object, created: datetime | None) -> Charge | None:
    """Read a charge; ``created``: when its PaymentIntent was made."""
    if charge is None:
        return None
    if isinstance(charge, str):
        return Charge(charge)
    found = _mapping(charge)
    refunds = json_object(found.get("refunds")) or {}
    details = json_object(found.get("payment_method_details")) or {}
    kind = text(details, "type") or ""
    used = json_object(details.get(kind)) or {}
    debit, card = _id_of(used.get("generated_sepa_debit")), _id_of(used.get("generated_card"))
    begun = _time(found.get("created")) or created
    fee, net = _cost(found.get("balance_transaction"))
    return Charge(
        id=_text(found, "id"),
        disputed=found.get("disputed") is True,
        capture_before=_time(used.get("capture_before"))
        or (None if begun is None else held_until(kind, begun)),
        refunds=tuple(read_refund(_mapping(refund)) for refund in items(refunds.get("data"))),
        method=PayerMethod.of_charge(found),
        payer=_payer(found.get("billing_details")),
        kept=debit or card,
        kept_as="sepa_debit" if debit is not None else "card" if card is not None else kind or None,
        multicapture=_is_available(used, "multicapture"),
        incremental=_is_available(used, "incremental_authorization"),
        fee=fee,
        net=net,
    )


def _is_available(used: Json, feature: str) -> bool | None:
    """Return whether a charge has what some accounts are given; None: Stripe does not say."""
    status = text(json_object(used.get(feature)) or {}, "status")
    return None if status is None else status == "available"


def _payer(details: object) -> Payer | None:
    """Return who paid, as far as they said so; None: they said nothing."""
    found = json_object(details) or {}
    place = json_object(found.get("address")) or {}
    parts = {name: text(place, name) for name in ("line1", "line2", "city", "postal_code", "country")}
    address = Address(**parts, region=text(place, "state"))
    payer = Payer(
        name=text(found, "name"),
        email=text(found, "email"),
        address=address if address != Address() else None,
    )
    return payer if payer != Payer() else None


def _fee(transactions: object) -> Money | None:
    """Return what Stripe charges for a dispute: the fees of all that it moved, if they can be read.

    A fee for answering it is returned when it is won, as a fee of less than nothing.
    """
    rows = [json_object(row) or {} for row in items(transactions)]
    stated = [(text(row, "currency"), integer(row, "fee")) for row in rows]
    fees = [(currency, fee) for currency, fee in stated if currency is not None and fee is not None]
    total = sum(fee for _, fee in fees)
    if total <= 0 or len({currency for currency, _ in fees}) > 1:
        return None
    with suppress(ValueError):
        return from_stripe(total, fees[0][0])
    return None


def _moved(transactions: object) -> int:
    """Return what a dispute moved to the merchant's balance; less than nothing: it was withdrawn."""
    rows = [json_object(row) or {} for row in items(transactions)]
    return sum(integer(row, "amount") or 0 for row in rows)


def _cost(transaction: object) -> tuple[Money | None, Money | None]:
    """Return what Stripe kept and what remains, which is no reason to doubt the rest if it cannot be read."""
    found = json_object(transaction) or {}
    currency = text(found, "currency")
    if currency is None:
        return None, None
    return _amount(found, "fee", currency), _amount(found, "net", currency)


def _amount(found: Json, name: str, currency: str) -> Money | None:
    with suppress(ValueError):  # a net may be less than nothing, which no Money is
        return _money(found, name, currency)
    return None


def _time(value: object) -> datetime | None:
    """Return a time that Stripe stated; one that is none is no reason to doubt the rest."""
    with suppress(ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(value, UTC) if type(value) is int else None
    return None
