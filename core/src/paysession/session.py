"""A payment session and the collection it belongs to: the ledger, as frozen values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from attrs import Factory, field, frozen

from paysession.checkout import Checkout
from paysession.money import Money, Totals
from paysession.values import Status, Value, decode, replace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from paysession.checkout import Payer
    from paysession.values import Failure, NextAction

__all__ = [
    "CaptureMode",
    "CollectionStatus",
    "Conflict",
    "ConflictKind",
    "PaymentCollection",
    "PaymentSession",
    "SessionRow",
    "Sums",
    "summarize",
]


CaptureMode = Literal["manual", "automatic"]
"""Whether a session is captured by a call of its own, or with its authorization."""

CollectionStatus = Literal[
    "not_paid",
    "awaiting",
    "partially_authorized",
    "authorized",
    "partially_captured",
    "captured",
    "partially_refunded",
    "refunded",
    "canceled",
]
"""How far a collection is paid; derived from its sessions."""

ConflictKind = Literal[
    "amount",
    "authorized_after_cancel",
    "cancel_refused",
    "currency",
    "effect_after_refusal",
    "open_after_cancel",
    "over_captured",
    "over_limit",
    "second_payment",
    "status",
]
"""What a conflict is about: see the reference of events."""


@frozen(slots=False, eq=False, repr=False, kw_only=True)
class Conflict(Value):
    """What a gateway showed that contradicts what was asked for, or what was reported before.

    It closes by itself once its cause is gone, or when somebody acknowledges it
    (``Payments.acknowledge``). Several of a session can be open at once, one of each kind.

    Attributes:
        id: The conflict's id; later ones have greater ids.
        session_id: The session.
        kind: What it is about.
        expected: What was asked for, or reported, in words.
        found: What the gateway showed, in words.
        opened_at: When it was recorded.
        closed_at: When it was closed, or None.
        closed_by: Who acknowledged it; None if it is open, or closed by itself.
        note: What they said.
    """

    id: str
    session_id: str
    kind: ConflictKind
    expected: str
    found: str
    opened_at: datetime
    closed_at: datetime | None = None
    closed_by: str | None = None
    note: str | None = None


@frozen(slots=False, eq=False, repr=False, kw_only=True)
class PaymentSession(Totals):
    """An amount to be authorized by one provider.

    Amounts in lower-case plain names (``authorized``, ``held``) are integer minor units of the
    session's currency; ``authorized_amount`` and its like are the same as `Money`.

    Attributes:
        id: The session's id.
        collection_id: What it pays for.
        collection_reference: The host's reference of that.
        provider: The name of the selected provider.
        amount: What is to be authorized.
        status: Where it stands; see `Status`.
        next_action: What the payer must do: all that a browser may see. Kept out of events and
            reprs.
        expires_at: When the provider's object, or its authorization, expires.
        capture: ``manual``, or ``automatic`` if capture at authorization was asked for.
        reference: The gateway's id.
        checkout: What the host said of the payer's visit.
        payer: Who paid, as far as the gateway reports it. Kept out of events and reprs.
        error: Why authorizing failed.
        conflict: The kind of the newest open conflict with what the gateway showed
            (``authorized_after_cancel``, ``over_limit``, ``over_captured``, ``amount``, ...), or None.
        forgotten_at: When what is personal in it was erased (`Payments.forget`), or None. Nothing of that
            kind is kept from then on.
        version: Goes up with every change.
        created_at: When it was initiated.
        updated_at: When it last changed.
    """

    id: str
    collection_id: str
    collection_reference: str
    provider: str
    amount: Money
    created_at: datetime
    updated_at: datetime
    status: Status = Status.PENDING
    capture: CaptureMode = "manual"
    checkout: Checkout = field(default=Factory(Checkout), repr=False)
    payer: Payer | None = field(default=None, repr=False)
    reference: str | None = None
    next_action: NextAction | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    error: Failure | None = None
    conflict: ConflictKind | None = None
    forgotten_at: datetime | None = None
    version: int = 1
    _data: str = field(default="{}", repr=False, alias="data")

    authorized: int = 0
    captured: int = 0
    refunded: int = 0
    charged_back: int = 0
    capturing: int = 0
    """Captures that are accepted and not finished: reserved, and not yet in ``captured``."""
    refunding: int = 0
    """Refunds that are accepted and not finished: reserved, and not yet in ``refunded``."""
    pending: int = 0
    """How many operations are accepted and not finished."""
    disputes: int = 0
    """How many disputes of it are not decided."""
    held: int = 0
    """What this session holds of its collection's amount."""

    open: str | None = None
    """The id of the operation whose outcome is not known yet."""
    authorizing: str | None = None
    """The id of an authorization that is accepted and not finished."""
    cancel_requested: bool = False
    """Whether a cancel is requested, to be sent once nothing is in doubt."""
    abandon_at: datetime | None = None
    """When it is canceled if it is not authorized by then; None: never."""

    @property
    def data(self) -> dict[str, Any]:
        """What belongs to the provider, such as the customer's id there: a copy, server-side only."""
        return decode(self._data)

    @property
    def data_text(self) -> str:
        """``data`` as the JSON text that is stored."""
        return self._data

    @property
    def capturable_amount(self) -> Money:
        """What is authorized and neither captured nor being captured: what `capture` may take."""
        ends = self.status is not Status.AUTHORIZED or self.cancel_requested
        left = 0 if ends else self.authorized - self.captured - self.capturing
        return Money.from_minor(max(0, left), self.amount.currency)

    @property
    def refundable_amount(self) -> Money:
        """What is captured and not refunded, being refunded or charged back: what `refund` may give back."""
        left = self.captured - self.refunded - self.refunding - self.charged_back
        return Money.from_minor(max(0, left), self.amount.currency)

    @property
    def in_doubt(self) -> bool:
        """Whether an operation was begun whose outcome is not known (yet)."""
        return self.open is not None


@frozen(slots=False, eq=False, repr=False, kw_only=True)
class SessionRow(PaymentSession):
    """A session as a store keeps it: with what the rules and recovery remember.

    Every session that is read is one. Applications and providers see a `PaymentSession`; what is added here
    is for the engine and for stores, and may change.

    Attributes:
        granted: What was authorized by all authorizations together, without what was released or reversed.
        released: Whether nothing is authorized any more beyond what was, or is being, captured.
        initiated: Whether the provider has answered ``initiate``.
        ordinal: The number of the last operation.
        cancel_by: Who requested the cancel that waits, if the application said so.
        due_at: When recovery has something to do here; None when all is at rest.
        attention_at: Since when only an operator can find out how it stands: its time is over, and the
            gateway cannot be queried. None again with the next change.
        checks: How often in a row recovery queried the gateway and could not settle: the wait grows with it.
    """

    granted: int = 0
    released: bool = False
    initiated: bool = False
    ordinal: int = 0
    cancel_by: str | None = None
    due_at: datetime | None = field(default=None, repr=False)
    attention_at: datetime | None = field(default=None, repr=False)
    checks: int = field(default=0, repr=False)


@frozen(slots=False, eq=False, repr=False, kw_only=True)
class PaymentCollection(Totals):
    """What has to be paid: an amount and the host's reference.

    Attributes:
        id: The collection's id, derived from the reference.
        reference: The host's own name for it: the order, the cart.
        amount: What has to be paid.
        status: ``not_paid``, ``awaiting``, ``partially_authorized``, ``authorized``,
            ``partially_captured``, ``captured``, ``partially_refunded``, ``refunded`` or
            ``canceled``; derived from its sessions when it is read.
        authorized_amount: The total of its sessions.
        captured_amount: The total of its sessions.
        refunded_amount: The total of its sessions, chargebacks not included.
        charged_back_amount: The total of its sessions. The status says nothing of it.
        held: Minor units that sessions hold, from the moment that authorizing begins.
        created_at: When it was created.
        updated_at: When its amount last changed.
        by: Who created it, or changed its amount last, if the application said so.
    """

    id: str
    reference: str
    amount: Money
    created_at: datetime
    updated_at: datetime
    by: str | None = None
    held: int = 0
    status: CollectionStatus = "not_paid"
    authorized: int = 0
    captured: int = 0
    refunded: int = 0
    charged_back: int = 0


class Sums(NamedTuple):
    """What the sessions of a collection come to; amounts in minor units.

    Attributes:
        sessions: How many there are.
        canceled: How many of them are canceled.
        unfinished: How many of them are ``pending`` or ``requires_more``.
        authorized: What they authorized, captured parts included.
        captured: What they captured, refunds not deducted.
        refunded: What they gave back.
        charged_back: What disputes took back.
    """

    sessions: int = 0
    canceled: int = 0
    unfinished: int = 0
    authorized: int = 0
    captured: int = 0
    refunded: int = 0
    charged_back: int = 0

    @classmethod
    def of(cls, sessions: Sequence[PaymentSession]) -> Sums:
        """Return the sums of sessions."""
        return cls(
            len(sessions),
            sum(row.status is Status.CANCELED for row in sessions),
            sum(row.status in UNFINISHED for row in sessions),
            sum(row.authorized for row in sessions),
            sum(row.captured for row in sessions),
            sum(row.refunded for row in sessions),
            sum(row.charged_back for row in sessions),
        )


UNFINISHED: Final = (Status.PENDING, Status.REQUIRES_MORE)


def summarize(collection: PaymentCollection, sums: Sums) -> PaymentCollection:
    """Return a collection with the status and the totals that the sums of its sessions lead to."""
    amount = collection.amount.minor
    status: CollectionStatus
    if sums.refunded:
        status = "refunded" if sums.refunded >= sums.captured else "partially_refunded"
    elif sums.captured:
        status = "captured" if sums.captured >= amount else "partially_captured"
    elif sums.authorized:
        status = "authorized" if sums.authorized >= amount else "partially_authorized"
    elif sums.sessions and sums.canceled == sums.sessions:
        status = "canceled"
    elif sums.unfinished:
        status = "awaiting"
    else:
        status = "not_paid"
    return replace(
        collection,
        status=status,
        authorized=sums.authorized,
        captured=sums.captured,
        refunded=sums.refunded,
        charged_back=sums.charged_back,
    )
