"""What `Payments` tells of itself: what is in doubt, what a round of recovery did, what is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from paysession.operation import Operation
    from paysession.outcome import Capabilities

__all__ = ["InDoubt", "ProviderInfo", "Recovery"]


@frozen
class InDoubt:
    """An operation whose outcome is not known.

    Attributes:
        operation: The operation.
        age: For how long it has been open.
        reason: What is known of it.
        next_check: When recovery looks again.
        needs_person: The provider cannot tell, and repeating is not safe any more: see `resolve`.
    """

    operation: Operation
    age: timedelta
    reason: str
    next_check: datetime | None
    needs_person: bool


@frozen
class Recovery:
    """What one round of `Payments.recover` did.

    Attributes:
        looked: How many sessions were due.
        settled: The ids of those that are at rest now.
        waiting: The ids of those that will be looked at again.
        notifications: How many stored notifications were due.
        notifications_done: How many of them need no further attempt.
    """

    looked: int
    settled: tuple[str, ...]
    waiting: tuple[str, ...]
    notifications: int
    notifications_done: int


@frozen
class ProviderInfo:
    """A provider that is selected or installed.

    Attributes:
        name: The name under which sessions are initiated.
        distribution: The distribution it comes from, with its version.
        selected: Whether this application selected it.
        capabilities: What it can do, if it could be loaded.
        problem: What is wrong with it, in one sentence, or None.
        mode: Whose money it moves, in one word (``test``, ``live``), if it tells.
        offered: Whether a payer may choose it; see ``Payments.initiate(origin="payer")``.
    """

    name: str
    distribution: str
    selected: bool
    capabilities: Capabilities | None
    problem: str | None
    mode: str | None = None
    offered: bool = False
