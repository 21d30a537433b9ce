"""An operation: one attempt to cause one effect at a provider, written down before it is sent."""

from __future__ import annotations

import json
import re
from datetime import datetime
from enum import StrEnum
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import field, frozen
from attrs.validators import in_, instance_of, optional

from paysession.money import Money, Totals
from paysession.values import Status, Value, decode, in_utc, text_or_none

if TYPE_CHECKING:
    from paysession.values import Failure

__all__ = [
    "AUTHORIZE",
    "CANCEL",
    "CAPTURE",
    "CHARGEBACK",
    "INITIATE",
    "KEY_LENGTH",
    "REFUND",
    "REFUSED",
    "UPDATE",
    "Dispute",
    "DisputeStatus",
    "Event",
    "EventType",
    "Kind",
    "Operation",
    "Origin",
    "Resolution",
    "State",
    "dump_dispute",
    "load_dispute",
]

KEY_LENGTH: Final = 50
"""An operation's key has at most so many characters; a subkey has up to 13 more, with its label."""

_LABEL = re.compile(r"[a-z0-9]{1,12}")


class Kind(StrEnum):
    """Which effect an operation is to cause, or, for one of the provider's, has had."""

    INITIATE = "initiate"
    UPDATE = "update"
    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    REFUND = "refund"
    CANCEL = "cancel"
    CHARGEBACK = "chargeback"
    """The payer's bank took money back in a dispute, or may: a gateway reports it, and nobody asks for it."""


INITIATE, UPDATE, AUTHORIZE, CAPTURE, REFUND, CANCEL, CHARGEBACK = Kind
"""The kinds by themselves: the rules ask for them dozens of times an operation, and `Kind.CAPTURE` is
looked up in a class of classes, five times slower than a name."""


class State(StrEnum):
    """What became of an operation."""

    STARTED = "started"
    """Begun; what became of it is not known yet. While its lease lives it is in progress."""
    PENDING = "pending"
    """Accepted by the provider and not finished there: a bank debit, a slow refund."""
    SUCCEEDED = "succeeded"
    """The provider answered, and the answer was applied."""
    DECLINED = "declined"
    """The provider certainly refused."""
    NOT_APPLIED = "not_applied"
    """It certainly did not happen."""

    @property
    def closed(self) -> bool:
        """Whether nothing more can come of the operation."""
        return self not in _OPEN


_OPEN: Final = (State.STARTED, State.PENDING)
REFUSED: Final = (State.DECLINED, State.NOT_APPLIED)
"""The states of an operation that had no effect."""


DisputeStatus = Literal["opened", "under_review", "won", "lost"]
"""How a dispute stands: see `Dispute`."""


@frozen(slots=False, eq=False, repr=False)
class Dispute(Value):
    """How a payer's dispute stands, besides the money that it moved.

    Attributes:
        status: ``opened`` (the merchant may answer it), ``under_review`` (it was answered), ``won`` or
            ``lost``, as the merchant sees it.
        reason: Why the payer disputes, in the gateway's word, such as ``fraudulent``.
        evidence_due_by: Until when the merchant may answer, in UTC.
        fee: What the gateway charges the merchant for it. It is in no total of the session, and may be in
            another currency.
    """

    status: DisputeStatus = field(validator=in_(("opened", "under_review", "won", "lost")))
    reason: str | None = field(
        default=None, converter=text_or_none, validator=optional(instance_of(str)), kw_only=True
    )
    evidence_due_by: datetime | None = field(default=None, converter=in_utc, kw_only=True)
    fee: Money | None = field(default=None, validator=optional(instance_of(Money)), kw_only=True)

    @property
    def is_open(self) -> bool:
        """Whether it is not decided yet."""
        return self.status in ("opened", "under_review")

    @property
    def summary(self) -> str:
        """How it stands, in one line, as the ``detail`` of events has it."""
        parts: list[str] = [self.status]
        if self.reason is not None:
            parts.append(self.reason)
        if self.evidence_due_by is not None and self.status == "opened":
            parts.append(f"evidence due by {self.evidence_due_by:%Y-%m-%dT%H:%M:%SZ}")
        if self.fee is not None:
            parts.append(f"fee {self.fee}")
        return "; ".join(parts)


def dump_dispute(dispute: Dispute) -> str:
    """Return a dispute as JSON text, for a store."""
    tree: dict[str, Any] = {"status": dispute.status}
    if dispute.reason is not None:
        tree["reason"] = dispute.reason
    if dispute.evidence_due_by is not None:
        tree["evidence_due_by"] = dispute.evidence_due_by.isoformat()
    if dispute.fee is not None:
        tree["fee"] = [dispute.fee.minor, dispute.fee.currency]
    return json.dumps(tree, separators=(",", ":"))


def load_dispute(text: str) -> Dispute:
    """Return the dispute that `dump_dispute` made a text of."""
    tree = json.loads(text)
    moment, fee = tree.get("evidence_due_by"), tree.get("fee")
    return Dispute(
        tree["status"],
        reason=tree.get("reason"),
        evidence_due_by=datetime.fromisoformat(moment) if moment is not None else None,
        fee=Money.from_minor(*fee) if fee is not None else None,
    )


Resolution = Literal["succeeded", "declined", "not_applied"]
"""What an operator may say of an operation; see `Payments.resolve`."""

Origin = Literal["host", "payer", "provider"]
"""Who caused an operation: see `Operation.origin`."""


@frozen(slots=False, eq=False, repr=False, kw_only=True)
class Operation(Value):
    """One attempt to cause one effect at a provider.

    Captures and refunds *are* operations; there is no second record of them. They are never
    deleted or rewritten: a reversal is a new operation.

    Attributes:
        id: The operation's id: the session's id, a number, and a digest of what was asked for. The number is
            the attempt where the caller gave a key, else the ordinal. That of an effect that was found at the
            gateway derives from the gateway's id of it. So a database that is restored from a
            backup gives the same call the same key again, and never the key of a lost operation to another.
        session_id: The session it belongs to.
        kind: Which effect.
        ordinal: Its number in the session, from 1. An effect that was found at the gateway has the number of
            the operation before it; rows of one number are in the order of ``created_at``.
        amount: This operation's amount (not a total).
        state: What became of it.
        origin: ``host`` if our application asked for it, ``payer`` if the payer caused it (chose the
            provider, or approved at the gateway), ``provider`` if the effect was found there.
        by: Who asked for it, if the application said so.
        idempotency_key: The caller's key, if one was given.
        final: For a capture: whether what is left is released. Where the provider does not (its answer is
            not ``released=True``), the core asks it to ``cancel`` once the capture has succeeded.
        reason: For a refund: why. For the cancel of a session that nobody paid in time: ``abandoned``.
        capture_id: For a refund or chargeback: the id of the capture operation that it refers to.
        capture: The capture operation itself; filled in when a hook is called.
        reverses: The id of the operation that this one undoes (a refund that failed after it
            had succeeded, a chargeback whose dispute was won), or None.
        reference: The gateway's id of this effect, if known.
        dispute: For a chargeback: how the dispute stands, if the gateway reports that.
        sure: Whether that effect is known to be this operation's. False: nothing told it apart from one alike
            that somebody else made there, because the gateway shows no keys (``keyed_effects``).
        answer: The provider's answer in one word, once it is closed or pending. ``merged``: it was found at
            the gateway, and turned out to be the effect of an operation of ours, which ``note`` names.
        error: Why it was declined, was not applied or is in doubt.
        note: What a person or a late answer added.
        webhook_url: Where the provider may send its notifications; filled in when a hook is
            called, None without a ``public_url``.
        deadline: Until when the caller waits for the hook's answer, on the store's clock; filled in when a
            hook is called. None: nobody's time is limited. See `time_left`.
        created_at: When it was written down.
        updated_at: When it last changed.
    """

    id: str
    session_id: str
    kind: Kind
    ordinal: int
    amount: Money
    state: State
    created_at: datetime
    updated_at: datetime
    origin: Origin = "host"
    by: str | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = field(default=None, repr=False)
    """A digest of the caller's parameters, to tell a repeated call from another one."""
    final: bool = False
    reason: str | None = None
    capture_id: str | None = None
    reverses: str | None = None
    reference: str | None = None
    sure: bool = True
    answer: str | None = None
    error: Failure | None = None
    note: str | None = None
    dispute: Dispute | None = None
    _payload: str | None = field(default=None, repr=False, alias="payload")
    _data: str = field(default="{}", repr=False, alias="data")
    """The session's ``data`` as it was at begin, as JSON text: what a repetition is sent with."""
    session_reference: str | None = None
    """The session's ``reference`` as it was at begin."""
    session_status: Status = Status.PENDING
    """The session's status as it was at begin."""
    hold: int = 0
    """Minor units that this operation added to the collection's held amount."""
    attempt: int = 1
    """The number of the lease: every claim takes the next one, and only the worker that has it may finish."""
    lease_until: datetime | None = None
    """Until when the worker with this ``attempt`` may take; None: it is not leased."""
    sent_at: datetime | None = None
    """When it was first sent under its key: the provider's replay window counts from here."""
    doubted_at: datetime | None = None
    """When a request of it last went unanswered, at the latest: the gateway may take a while longer."""

    capture: Operation | None = field(default=None, repr=False)
    webhook_url: str | None = field(default=None, repr=False)
    deadline: datetime | None = field(default=None, repr=False)
    _until: float | None = field(default=None, repr=False, alias="until")
    """The deadline on the clock of ``time.monotonic``, which nobody can set."""

    def time_left(self) -> float | None:
        """Return how many seconds there are until the deadline, at least 0; None: there is none.

        A provider gives its client no more than this for the requests of a hook, lookups before and after
        included. A request for which nothing is left is not sent: that is `NotApplied` before the first one.
        """
        return None if self._until is None else max(self._until - monotonic(), 0.0)

    @property
    def place(self) -> tuple[int, datetime]:
        """The operation's place in the session's history: greater than those of all before it."""
        return self.ordinal, self.created_at

    @property
    def increments(self) -> bool:
        """Whether this update raises what is authorized already: to ``amount``, and before any capture."""
        return self.kind is UPDATE and self.session_status is Status.AUTHORIZED

    @property
    def key(self) -> str:
        """The idempotency key to send: the same for every repetition of this operation."""
        return self.id

    def subkey(self, label: str) -> str:
        """Return the key of a second write in the same step (the customer, then the intent).

        Args:
            label: 1 to 12 small letters and digits, the same at each repetition.
        """
        if not _LABEL.fullmatch(label):
            raise ValueError(f"a subkey's label is 1 to 12 small letters and digits, not {label!r}")
        return f"{self.id}-{label}"

    @property
    def message(self) -> str:
        """What is known of why it was declined, was not applied or is in doubt."""
        return self.error.message if self.error is not None else "no answer was recorded"

    @property
    def data_text(self) -> str:
        """The session's ``data`` as it was at begin, as JSON text."""
        return self._data

    @property
    def payload(self) -> dict[str, Any]:
        """What came from the payer's browser: untrusted, and erased when the operation closes."""
        return decode(self._payload)


EventType = Literal[
    "collection.updated",
    "operation.failed",
    "operation.in_doubt",
    "operation.pending",
    "operation.settled",
    "session.authorized",
    "session.canceled",
    "session.captured",
    "session.changed",
    "session.charged_back",
    "session.conflict",
    "session.dispute_won",
    "session.disputed",
    "session.error",
    "session.forgotten",
    "session.initiated",
    "session.refunded",
    "session.released",
    "session.requires_more",
    "session.reversed",
    "session.updated",
]
"""What an event says: see the reference of events."""


@frozen(slots=False, eq=False, repr=False, kw_only=True)
class Event(Totals):
    """One transition of one session or collection, as written in the transaction that made it.

    It names amounts and states only: no ``data``, no next action, nothing of the payer's.

    Attributes:
        cursor: Its place in the feed, to be given to ``Payments.events(after=...)``. Empty until
            it is read from the store.
        id: Unique, and the same at each reading: the session's id and version, and a digest, so that after
            a restore no other event has it.
        type: What happened: one of `EventType`.
        session_id: The session; None if it is of the collection alone.
        collection_id: Its collection.
        reference: The host's reference of the collection.
        provider: The session's provider, or None.
        operation_id: The operation that made the transition, or None.
        by: Who asked for it, if the application said so.
        amount: That operation's amount, or the session's; for ``collection.updated`` what has to be paid now.
        status: The session's status after it, or None.
        version: The session's version after it: events of one session are in its order. 0 without a session.
        detail: For a conflict, what was expected and what was found; for a failure its code; for
            ``collection.updated`` what had to be paid before; for a dispute how it stands (see `Dispute`).
        occurred_at: When the transition was written.
    """

    cursor: str = ""
    id: str
    type: EventType
    session_id: str | None
    collection_id: str
    reference: str
    provider: str | None
    operation_id: str | None
    by: str | None = None
    amount: Money
    status: Status | None
    authorized: int
    captured: int
    refunded: int
    charged_back: int = 0
    version: int
    detail: str | None = None
    occurred_at: datetime
