"""What to do about an operation in doubt that nothing has settled: the rules as tables, first match wins.

`ABSENT` is asked after the gateway was queried (or cannot be) and did not show the operation; `REPEATED`
after the operation was sent again under its key. Both are data, which the documentation prints.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from attrs import frozen

from paysession._ledger.evidence import would_show
from paysession.errors import Declined, NotApplied
from paysession.operation import INITIATE
from paysession.outcome import Outcome
from paysession.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from paysession.errors import ProviderError
    from paysession.operation import Operation
    from paysession.outcome import Capabilities, Snapshot
    from paysession.session import SessionRow

__all__ = ["ABSENT", "GRACE", "IN_FLIGHT", "REPEATED", "Doubt", "Repetition", "Rule", "Verdict", "decide"]

IN_FLIGHT: Final = timedelta(minutes=2)
"""How long a request that nobody waits for any more may still be carried out."""

GRACE: Final = timedelta(minutes=10)
"""How long after the last possible send an absent effect counts as evidence that there is none."""


class Verdict(StrEnum):
    """What to do."""

    SETTLE = "settle"
    """It is known what became of the operation: record that."""
    RESEND = "send again"
    """Send the same request again under its key."""
    WAIT = "wait"
    """Look again later."""
    OPERATOR = "operator"
    """Only an operator can find out: look again later, and list it as such."""


class Doubt(NamedTuple):
    """An operation in doubt that the gateway, if it can be queried, was just seen not to show.

    Attributes:
        session: The session.
        operation: The operation.
        capabilities: What the provider declared.
        seen: What the lookup showed; None: the gateway cannot be queried.
        at_least: How long ago the operation was first sent, at least.
        at_most: The same, at most.
        unanswered: Whether a request of it that this process sent is unanswered.
        window: For how long after the first send the gateway keeps its key.
    """

    session: SessionRow
    operation: Operation
    capabilities: Capabilities
    seen: Snapshot | None
    at_least: timedelta
    at_most: timedelta
    unanswered: bool
    window: timedelta

    @property
    def may_lag(self) -> bool:
        """Whether the lookup may not show yet what was sent."""
        return self.capabilities.lookup == "lagging" and self.at_least < self.capabilities.lookup_lag

    @property
    def repeatable(self) -> bool:
        """Whether the gateway still keeps the key when a repetition is carried out.

        That may be as late as `IN_FLIGHT` after its caller has stopped waiting for the answer.
        """
        return self.at_most + self.capabilities.call_limit + IN_FLIGHT < self.window

    @property
    def covered(self) -> bool:
        """Whether the lookup would have shown the effect."""
        return self.seen is not None and would_show(self.session, self.seen, self.operation.kind)

    @property
    def inert(self) -> bool:
        """Whether nothing can come of it: initiating has no effect, unless its cancel was requested."""
        return self.seen is None and self.operation.kind is INITIATE and not self.session.cancel_requested

    @property
    def certain(self) -> bool:
        """Whether no request of it can be carried out, or be on its way, any more."""
        grace = max(GRACE, IN_FLIGHT + self.capabilities.lookup_lag)
        return not self.unanswered and self.at_least >= self.window + grace


class Repetition(NamedTuple):
    """What a gateway answered when an operation was sent again, and a lookup did not settle it.

    Attributes:
        answer: The answer.
        in_flight: Whether an earlier request of it may still be carried out.
    """

    answer: Outcome | ProviderError
    in_flight: bool


_Case = TypeVar("_Case")


@frozen(slots=False, eq=False, repr=False)
class Rule(Value, Generic[_Case]):
    """One row of a table.

    Attributes:
        evidence: What is known, in words.
        applies: Whether it is.
        verdict: What to do then.
        reason: Why.
    """

    evidence: str
    applies: Callable[[_Case], bool]
    verdict: Verdict
    reason: str


ABSENT: Final[tuple[Rule[Doubt], ...]] = (
    Rule(
        "not shown, and the lookup may lag that much",
        lambda doubt: doubt.may_lag,
        Verdict.WAIT,
        "the lookup may not show it yet",
    ),
    Rule(
        "not shown (or the gateway cannot be queried), and it still keeps the key",
        lambda doubt: doubt.repeatable,
        Verdict.RESEND,
        "one key, one effect",
    ),
    Rule(
        "the key is forgotten; a lookup would show the effect, or there can be none; within the grace period",
        lambda doubt: (doubt.covered or doubt.inert) and not doubt.certain,
        Verdict.WAIT,
        "a request may still be on its way",
    ),
    Rule(
        "the same, after the grace period",
        lambda doubt: doubt.covered or doubt.inert,
        Verdict.SETTLE,
        "as not applied: nothing was sent since, and the gateway knows nothing of it",
    ),
    Rule(
        "the key is forgotten, and no lookup would show the effect",
        lambda _: True,
        Verdict.OPERATOR,
        "absence proves nothing, and sending again could be a second effect",
    ),
)
"""After a lookup that did not show the operation, or where there is none."""

REPEATED: Final[tuple[Rule[Repetition], ...]] = (
    Rule(
        "an outcome",
        lambda repetition: isinstance(repetition.answer, Outcome),
        Verdict.SETTLE,
        "the key makes it the answer to the first request",
    ),
    Rule(
        "declined, conclusively",
        lambda repetition: isinstance(repetition.answer, Declined) and repetition.answer.conclusive,
        Verdict.SETTLE,
        "no request of ours, earlier or later, can have had the effect",
    ),
    Rule(
        "declined, and no earlier request can be in flight",
        lambda repetition: isinstance(repetition.answer, Declined) and not repetition.in_flight,
        Verdict.SETTLE,
        "nothing else can come of it",
    ),
    Rule(
        "declined, while an earlier request may be in flight",
        lambda repetition: isinstance(repetition.answer, Declined),
        Verdict.WAIT,
        "a gateway that keeps no refusals may carry the earlier one out after this",
    ),
    Rule(
        "not applied",
        lambda repetition: isinstance(repetition.answer, NotApplied),
        Verdict.WAIT,
        "that says nothing about the requests before",
    ),
    Rule("no answer", lambda _: True, Verdict.WAIT, "nothing was learned"),
)
"""After the operation was sent again under its key, and a lookup did not settle it."""


def decide(rules: tuple[Rule[_Case], ...], case: _Case) -> Rule[_Case]:
    """Return the first rule of a table that applies; the last one always does."""
    return next(rule for rule in rules if rule.applies(case))
