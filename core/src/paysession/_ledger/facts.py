"""Everything that can change a session, as values: nothing else does.

A fact says what happened, not what follows from it: ``ledger.apply`` knows that. Amounts are integer minor
units of the session's currency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from paysession.checkout import Payer
    from paysession.money import Money
    from paysession.operation import Dispute, EventType, Kind, Operation, State
    from paysession.session import Conflict, ConflictKind
    from paysession.values import Failure, NextAction, Status

__all__ = [
    "Accepted",
    "Begun",
    "CancelCleared",
    "CancelRequested",
    "Claimed",
    "ConflictClosed",
    "ConflictOpened",
    "Details",
    "Disputed",
    "Fact",
    "Forgotten",
    "Found",
    "Identified",
    "Noted",
    "OperatorNeeded",
    "Postponed",
    "Presented",
    "Recognized",
    "Refused",
    "Released",
    "Reopened",
    "Reversed",
    "Succeeded",
    "Unanswered",
]


class Begun(NamedTuple):
    """An operation was decided on; it is written before anything is sent."""

    operation: Operation


class Claimed(NamedTuple):
    """A worker took an operation in doubt over, until its lease runs out."""

    operation: Operation
    lease_until: datetime


class Unanswered(NamedTuple):
    """A request of an operation was not answered, or not in a way that can be understood.

    Attributes:
        operation: The operation, which stays in doubt.
        reason: What is known of it, for an operator.
        lost_at: When a request last went unanswered; None: none was, it was only looked up.
        needs_operator: Whether no gateway can settle it any more.
    """

    operation: Operation
    reason: str
    lost_at: datetime | None
    needs_operator: bool = False


class Accepted(NamedTuple):
    """The gateway accepted an operation, and has not finished it.

    Attributes:
        operation: The operation.
        reference: The gateway's id of the effect.
        answer: What showed it, in a word.
        note: What an operator said.
        released: For a capture: the rest of the authorization is gone already.
    """

    operation: Operation
    reference: str | None = None
    answer: str = "pending"
    note: str | None = None
    released: bool = False


class Succeeded(NamedTuple):
    """An operation had its effect.

    Attributes:
        operation: The operation.
        answer: What showed it, in a word: the provider's answer, or ``found``.
        amount: How much; None: what was asked.
        reference: The gateway's id of the effect.
        released: For a capture: the rest of the authorization is gone.
        granted: For an authorization: whether the amount is authorized by it. An authorization that the
            payer has to go on with, or that the gateway canceled, is over without.
        note: What an operator said.
    """

    operation: Operation
    answer: str
    amount: Money | None = None
    reference: str | None = None
    released: bool = False
    granted: bool = True
    note: str | None = None


class Refused(NamedTuple):
    """An operation had no effect, and will have none.

    Attributes:
        operation: The operation.
        state: ``DECLINED`` or ``NOT_APPLIED``.
        failure: Why.
        note: What an operator said.
        answer: What showed it, if it was not an answer to our request.
    """

    operation: Operation
    state: State
    failure: Failure
    note: str | None = None
    answer: str | None = None


class Found(NamedTuple):
    """An effect happened that no open operation of ours asked for.

    Attributes:
        kind: Which effect.
        amount: How much.
        state: ``PENDING``, ``SUCCEEDED``, or ``DECLINED``: it failed there.
        answer: What showed it, in a word.
        reference: The gateway's id of it.
        capture_id: For a refund or chargeback: the id of the capture operation that it refers to.
        refused: The operation that asked for it and was settled as refused, if there is one.
        released: For a capture: the rest of the authorization is gone.
        lost: The key of ours that it carries, where the ledger has no operation with it: the operation was
            lost when a backup was restored, and gets its id back.
        error: Why it failed, with ``DECLINED``.
        dispute: For a chargeback: how the dispute stands.
    """

    kind: Kind
    amount: Money
    state: State
    answer: str = "found"
    reference: str | None = None
    capture_id: str | None = None
    refused: Operation | None = None
    released: bool = False
    lost: str | None = None
    error: Failure | None = None
    dispute: Dispute | None = None


class Disputed(NamedTuple):
    """The dispute of a chargeback stands otherwise than it did: that moves no money by itself."""

    operation: Operation
    dispute: Dispute


class Identified(NamedTuple):
    """The gateway's id of an operation's effect became known.

    Attributes:
        operation: The operation.
        reference: The gateway's id.
        sure: Whether it is known to be that of this operation's effect, and of no other one alike. If it is,
            and another effect was taken for the operation's before, that one becomes an operation of its own.
        answer: What showed it, in a word, where that matters; None: as it was.
    """

    operation: Operation
    reference: str
    sure: bool = True
    answer: str | None = None


class Recognized(NamedTuple):
    """What was found without our key is the effect of an operation of ours: that takes its place.

    It moves no total. What refers to the row that was found refers to the operation from then on.

    Attributes:
        operation: The operation, not closed yet.
        found: The row of what was found.
        released: For a capture: the rest of the authorization is gone.
        note: What an operator said.
    """

    operation: Operation
    found: Operation
    released: bool = False
    note: str | None = None


class Reversed(NamedTuple):
    """So much of an operation that had succeeded was undone since."""

    operation: Operation
    amount: Money
    error: Failure | None = None


class Released(NamedTuple):
    """Nothing is authorized any more beyond what was, or is being, captured.

    Attributes:
        operation: The operation that released it; None: none of ours.
    """

    operation: Operation | None = None


class Reopened(NamedTuple):
    """The gateway's object is open though the session is canceled: a payer could still use it."""


class Presented(NamedTuple):
    """How the gateway's object stands before it is authorized.

    Attributes:
        status: ``pending``, ``requires_more`` or ``error``.
        next_action: What the payer must do.
        error: Why it failed, with ``error``.
        event: The type of the event that says so, or None.
        operation: The operation that showed it, or None.
    """

    status: Status
    next_action: NextAction | None = None
    error: Failure | None = None
    event: EventType | None = None
    operation: Operation | None = None


class Details(NamedTuple):
    """What the gateway keeps with its object: no rule depends on it."""

    data: str | None = None
    reference: str | None = None
    expires_at: datetime | None = None
    next_action: NextAction | None = None
    payer: Payer | None = None


class Forgotten(NamedTuple):
    """What is personal in the session, its operations and its conflicts is to be erased.

    Attributes:
        by: Who asked for it.
        conflicts: The session's conflicts, those that are closed as well.
    """

    by: str
    conflicts: Sequence[Conflict] = ()


class CancelRequested(NamedTuple):
    """A cancel was asked for, and is to be sent once nothing is in doubt.

    Attributes:
        by: Who asked, if the application said so.
    """

    by: str | None = None


class CancelCleared(NamedTuple):
    """The requested cancel has nothing left to cancel."""


class Noted(NamedTuple):
    """An answer came too late to be applied: it is kept for an operator, and recovery queries at once."""

    operation: Operation
    text: str


class Postponed(NamedTuple):
    """Recovery looked, or is about to, and nothing of the payment changed: it looks again later."""


class OperatorNeeded(NamedTuple):
    """The time of what is pending, or of the payer, is over, and the gateway cannot be queried."""


class ConflictOpened(NamedTuple):
    """The gateway's truth contradicts what was asked for, or what the ledger had said."""

    kind: ConflictKind
    expected: object
    found: object


class ConflictClosed(NamedTuple):
    """The cause of a conflict is gone, or somebody acknowledged it.

    Attributes:
        kind: What it is about.
        by: Who acknowledged it.
        note: What they said.
    """

    kind: ConflictKind
    by: str | None = None
    note: str | None = None


Fact: TypeAlias = (
    Begun
    | Claimed
    | Unanswered
    | Accepted
    | Succeeded
    | Refused
    | Found
    | Disputed
    | Identified
    | Recognized
    | Reversed
    | Released
    | Reopened
    | Presented
    | Details
    | Forgotten
    | CancelRequested
    | CancelCleared
    | Noted
    | OperatorNeeded
    | Postponed
    | ConflictOpened
    | ConflictClosed
)
