"""What `Payments` reports of itself: what is in doubt, what a round of recovery did, what is installed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from paysession.values import Value

if TYPE_CHECKING:
    from datetime import datetime

    from paysession.money import Money
    from paysession.operation import Operation
    from paysession.outcome import Capabilities

__all__ = [
    "Capture",
    "Health",
    "InDoubt",
    "Lane",
    "ProviderInfo",
    "Pruned",
    "Recovery",
    "Resync",
    "Unmatched",
    "Unsynced",
]


@frozen(slots=False, eq=False, repr=False)
class Capture(Value):
    """A capture that succeeded, and what of it can still be given back.

    Attributes:
        operation: The capture; its ``id`` is what `Payments.refund` takes as ``capture=``.
        amount: What it took, without what was reversed since.
        refunded_amount: What refunds that refer to it gave back, or are giving back.
        refundable_amount: What may still be refunded of it: never more than is left of the session.
        charged_back_amount: What disputes that refer to it took back.
    """

    operation: Operation
    amount: Money
    refunded_amount: Money
    refundable_amount: Money
    charged_back_amount: Money


@frozen(slots=False, eq=False, repr=False)
class InDoubt(Value):
    """An operation whose outcome is not known.

    Attributes:
        operation: The operation: one in doubt, or the one that a gateway which cannot be queried should have
            reported by now (a pending one, or the last one of a session that has expired).
        age: For how long it has been open.
        reason: What is known of it.
        next_check: When recovery looks again.
        needs_operator: The gateway cannot be queried about it, and sending again is not safe any more: see
            `Payments.resolve` and `Payments.cancel`.
        leased_until: Until when a worker may be processing it; None: no worker is.
        provider: The session's provider.
        reference: The host's reference of the session's collection: the order.
    """

    operation: Operation
    age: timedelta
    reason: str
    next_check: datetime | None
    needs_operator: bool
    leased_until: datetime | None = None
    provider: str = ""
    reference: str = ""


@frozen(slots=False, eq=False, repr=False)
class Lane(Value):
    """The threads for one purpose, and what they are busy with at this moment.

    Attributes:
        name: A provider's name: its calls. For `AsyncPayments` also ``store`` (reads, and what changes the
            store alone), ``webhooks`` and ``recovery``.
        limit: How many threads there are at most.
        running: How many are busy.
        waiting: How many calls wait for one.
        late: How many calls to the provider's gateway go on although their callers were answered that they
            are in doubt.
    """

    name: str
    limit: int
    running: int
    waiting: int
    late: int = 0


@frozen(slots=False, eq=False, repr=False, kw_only=True)
class Health(Value):
    """How payments are, at one moment. Counts end at 1,000.

    Attributes:
        at: When that was, by the store's clock.
        store: What is wrong with the database, in a sentence; None: it can be read, and its schema suits.
        in_doubt: How many operations are in doubt, without those that a call or a worker works on just now.
        oldest_doubt: For how long the oldest of them has been open; None: none is.
        needs_operator: How many of them only an operator can settle.
        conflicts: How many conflicts are open.
        unmatched: How many notifications match no session.
        recovery_lag: For how long the session that waits longest has been due: workers are missing, or slow.
        inbox_lag: The same of notifications.
        feed_lag: How old the first event is that a reader has not handled; None: no cursor was given.
        unselected: The providers that sessions wait for, and that are not selected here.
        problems: What is not as it should be, in sentences.
        failing: Whether payments cannot go on as they should: the database, or a lag. What else is in
            ``problems`` is for an operator.
    """

    at: datetime
    store: str | None = None
    in_doubt: int = 0
    oldest_doubt: timedelta | None = None
    needs_operator: int = 0
    conflicts: int = 0
    unmatched: int = 0
    recovery_lag: timedelta = timedelta(0)
    inbox_lag: timedelta = timedelta(0)
    feed_lag: timedelta | None = None
    unselected: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    failing: bool = False

    def judged(self, max_lag: timedelta, max_doubt: timedelta) -> Health:
        """Return the same with what is wrong, and whether that is failing.

        Args:
            max_lag: How far behind recovery, the inbox and a reader of the feed may be.
            max_doubt: How long an operation may be in doubt.
        """
        failing: list[str] = [f"the database: {self.store}"] if self.store is not None else []
        lags = {
            "recovery": self.recovery_lag,
            "the inbox": self.inbox_lag,
            "the feed's reader": self.feed_lag,
        }
        failing += [
            f"{name} is {_seconds(lag)} behind" for name, lag in lags.items() if lag and lag > max_lag
        ]
        notes: list[str] = []
        if self.oldest_doubt is not None and self.oldest_doubt > max_doubt:
            notes.append(f"an operation has been in doubt for {_seconds(self.oldest_doubt)}")
        counts = (
            (self.needs_operator, "operation needs an operator", "operations need an operator"),
            (self.conflicts, "conflict is open", "conflicts are open"),
            (self.unmatched, "notification matches no session", "notifications match no session"),
        )
        notes += [f"{count} {one if count == 1 else more}" for count, one, more in counts if count]
        notes += [f"sessions wait for the provider {name}, which is not selected" for name in self.unselected]
        return evolve(self, problems=(*failing, *notes), failing=bool(failing))


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():.0f} s"


@frozen(slots=False, eq=False, repr=False)
class Recovery(Value):
    """What one round of `Payments.recover` did.

    Attributes:
        looked: How many sessions were processed.
        settled: The ids of those that are at rest now, in their order.
        waiting: The ids of those that will be processed again, in their order.
        notifications: How many stored notifications were processed.
        notifications_done: How many of them need no further attempt.
    """

    looked: int
    settled: tuple[str, ...]
    waiting: tuple[str, ...]
    notifications: int
    notifications_done: int


@frozen(slots=False, eq=False, repr=False)
class Unsynced(Value):
    """A session that `Payments.resync` could not bring up to the gateway's state.

    Attributes:
        session_id: The session.
        provider: Its provider.
        reason: Why, in one sentence.
        queryable: Whether its gateway can be queried, so that another run may succeed. If not, somebody has
            to compare the gateway's own statement.
    """

    session_id: str
    provider: str
    reason: str
    queryable: bool


@frozen(slots=False, eq=False, repr=False)
class Resync(Value):
    """What `Payments.resync` has done.

    Attributes:
        looked: How many sessions were looked at.
        changed: How many of them the gateway changed in the ledger.
        failed: How many could not be queried now, or are in doubt: run it again for them.
        not_queryable: How many belong to a provider that cannot be queried.
        unsynced: Those two kinds of sessions, the first 1,000 of them.
        last: The id of the last session; give it as ``after`` to go on from there.
        complete: Whether there are no more.
    """

    looked: int = 0
    changed: int = 0
    failed: int = 0
    not_queryable: int = 0
    unsynced: tuple[Unsynced, ...] = ()
    last: str | None = None
    complete: bool = False


@frozen(slots=False, eq=False, repr=False)
class Pruned(Value):
    """What `Payments.prune` has deleted, or would.

    Attributes:
        notifications: How many notifications.
        events: How many events.
    """

    notifications: int
    events: int


@frozen(slots=False, eq=False, repr=False)
class Unmatched(Value):
    """A notification that matches no session of the ledger.

    Attributes:
        id: Our id of the notification.
        provider: The provider that it is for.
        type: The gateway's name for what happened.
        session_id: The id of a session of ours that it carries, if it does.
        references: The gateway's ids in it.
        received_at: When it was received.
        due_at: When it is tried again; None: after 3 days, or 90 if it names a session by our id, it is not.
    """

    id: str
    provider: str
    type: str
    session_id: str | None
    references: tuple[str, ...]
    received_at: datetime
    due_at: datetime | None


@frozen(slots=False, eq=False, repr=False)
class ProviderInfo(Value):
    """A provider that is selected or installed.

    Attributes:
        name: The name under which sessions are initiated.
        distribution: The distribution it comes from, with its version.
        selected: Whether this application selected it.
        capabilities: What it can do, if it could be loaded.
        problem: What is wrong with it, in one sentence, or None.
        mode: Whose money it moves, in one word (``test``, ``live``), if it says so.
        offered: Whether a payer may choose it; see ``Payments.initiate(origin="payer")``.
        webhook_url: Where its gateway may send notifications; None without a ``public_url``.
        plugin: The provider itself, if it could be loaded: for what it offers besides the hooks.
    """

    name: str
    distribution: str
    selected: bool
    capabilities: Capabilities | None
    problem: str | None
    mode: str | None = None
    offered: bool = False
    webhook_url: str | None = None
    plugin: object = field(default=None, repr=False, eq=False)
