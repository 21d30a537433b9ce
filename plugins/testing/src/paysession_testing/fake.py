"""A provider with a gateway of its own in memory: it keeps a ledger, and fails on demand."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import evolve, field, frozen, mutable

from paysession.provider import (
    Capabilities,
    Declined,
    Dispute,
    Effect,
    Failure,
    Kind,
    Money,
    NotApplied,
    Operation,
    Outcome,
    OutcomeUnknown,
    PaymentSession,
    Redirect,
    Snapshot,
    Status,
    WebhookEvent,
    WebhookRejected,
    hookimpl,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FAULTS", "FakeProvider", "LedgerEntry"]

FAULTS: Final = (
    "declined",
    "not_applied",
    "timeout",
    "lost_answer",
    "raises",
    "none",
    "wrong_type",
    "wrong_amount",
    "wrong_currency",
)
"""What `FakeProvider.fail_next` can make of the next call:

``declined``: refused. ``not_applied``: certainly not executed. ``timeout``: nothing happened, and
nobody knows. ``lost_answer``: it happened, and the answer was lost. ``raises``: it happened, and the
plugin raised something of its own. ``none``, ``wrong_type``, ``wrong_amount``, ``wrong_currency``: it
happened, and the answer is useless.
"""


@frozen
class LedgerEntry:
    """One effect in the gateway's own ledger.

    Attributes:
        kind: ``authorize``, ``update`` (what was authorized was raised by so much), ``capture``, ``refund``,
            ``cancel`` or ``chargeback``.
        session_id: Whose.
        amount: How much.
        key: The key under which it was asked for; empty if nobody of ours asked.
        reference: The gateway's id of it.
    """

    kind: Kind
    session_id: str
    amount: Money
    key: str
    reference: str


@mutable
class _Account:
    """The gateway's object for one session."""

    session_id: str
    amount: Money
    approved: bool = False
    declined: bool = False
    canceled: bool = False
    authorized: int = 0
    effects: list[Effect] = field(factory=list[Effect])

    def total(self, kind: Kind) -> int:
        return sum(e.amount.minor for e in self.effects if e.kind == kind and e.state == "succeeded")


class FakeProvider:
    """A provider for a shop's own tests: ``Payments.open("memory:", providers={"fake": FakeProvider()})``.

    The payer is sent to a page that does not exist; `payer_approves` and `payer_declines` act in
    the payer's place. `fail_next` makes the next call go wrong. `ledger` is what really happened,
    whatever the ledger says.

    Args:
        approve: The payer approves at once, so that ``authorize`` succeeds without more.
        capture: As in `Capabilities`.
        refund: As in `Capabilities`.
        lookup: As in `Capabilities`; ``lagging`` is declared with a lag of a minute.
        replay_window: As in `Capabilities`; zero: the gateway knows no keys at all.
        increment: As in `Capabilities`: ``update`` raises what is authorized already. Needs a lookup.
        webhook_secret: Signs what `webhook` returns.
    """

    def __init__(
        self,
        *,
        approve: bool = True,
        capture: Literal["none", "full", "once", "multiple"] = "multiple",
        refund: Literal["none", "full", "multiple"] = "multiple",
        lookup: Literal["consistent", "lagging", "none"] = "consistent",
        replay_window: timedelta = timedelta(hours=24),
        increment: bool = False,
        webhook_secret: str = "whsec_fake",  # noqa: S107 - it guards nothing
    ) -> None:
        self.capabilities = Capabilities(
            capture=capture,
            refund=refund,
            lookup=lookup,
            lookup_lag=timedelta(minutes=1) if lookup == "lagging" else timedelta(0),
            replay_window=replay_window,
            increment=increment,
        )
        self.ledger: list[LedgerEntry] = []
        self.calls: list[tuple[Kind, str]] = []
        """Every call of a hook that reached the gateway: the kind and the key."""
        self._approve = approve
        self._secret = webhook_secret.encode()
        self._accounts: dict[str, _Account] = {}
        self._replies: dict[str, Outcome | Declined] = {}
        self._faults: list[tuple[Kind | None, str, Callable[[], object] | None]] = []
        self._lock = threading.RLock()
        self._events = 0

    # --- what a test makes happen ---

    def payer_approves(self, session_id: str) -> None:
        """Approve as the payer, also one who gave up before; `resume` then authorizes."""
        account = self._account(session_id)
        account.approved, account.declined = True, False

    def payer_declines(self, session_id: str) -> None:
        """Give up as the payer; `resume` then ends with status ``error``."""
        account = self._account(session_id)
        account.approved, account.declined = False, True

    def fail_next(
        self, fault: str, *, kind: Kind | str | None = None, then: Callable[[], object] | None = None
    ) -> None:
        """Make the next call (of this kind) go wrong; several are taken in order.

        Args:
            fault: One of `FAULTS`.
            kind: Only a call of this kind.
            then: Called in the middle of that call: to move a clock, or to wait for a thread.
        """
        if fault not in FAULTS:
            raise ValueError(f"a fault is one of {', '.join(FAULTS)}, not {fault!r}")
        self._faults.append((Kind(kind) if kind is not None else None, fault, then))

    def refund_in_dashboard(self, session_id: str, amount: Money) -> None:
        """Refund as somebody in the gateway's dashboard would."""
        with self._lock:
            self._effect(self._account(session_id), Kind.REFUND, amount, "")

    def capture_in_dashboard(self, session_id: str, amount: Money) -> None:
        """Capture as somebody in the gateway's dashboard would."""
        with self._lock:
            self._effect(self._account(session_id), Kind.CAPTURE, amount, "")

    def cancel_in_dashboard(self, session_id: str) -> None:
        """Cancel as somebody in the gateway's dashboard would, or as an expiry does."""
        with self._lock:
            account = self._account(session_id)
            account.canceled = True
            account.authorized = account.total(Kind.CAPTURE)

    def dispute(self, session_id: str, amount: Money, dispute: Dispute | None = None) -> str:
        """Take money back as the payer's bank does in a dispute; return the gateway's id of it.

        Args:
            session_id: The session.
            amount: How much.
            dispute: How it stands; opened, by default.
        """
        with self._lock:
            account = self._account(session_id)
            reference = self._record(Kind.CHARGEBACK, account, amount, "")
            found = dispute or Dispute("opened")
            account.effects.append(Effect(Kind.CHARGEBACK, amount, "succeeded", reference, dispute=found))
        return reference

    def decide_dispute(self, session_id: str, reference: str, *, won: bool) -> None:
        """Decide a dispute for the merchant, who gets the money back, or for the payer.

        Args:
            session_id: The session.
            reference: What `dispute` returned.
            won: Whether the merchant wins.
        """
        with self._lock:
            account = self._account(session_id)
            account.effects[:] = [
                evolve(
                    effect,
                    state="reversed" if won else "succeeded",
                    dispute=Dispute("won" if won else "lost"),
                )
                if effect.reference == reference
                else effect
                for effect in account.effects
            ]

    def authorize_in_browser(self, session_id: str, amount: Money | None = None) -> None:
        """Authorize as a payer's browser can, without our ``authorize``."""
        with self._lock:
            account = self._account(session_id)
            account.authorized, account.canceled = (amount or account.amount).minor, False

    def webhook(self, session_id: str, *, id: str | None = None) -> tuple[dict[str, str], bytes]:  # noqa: A002
        """Return the headers and body of a signed notification about a session."""
        with self._lock:
            self._events += 1
            body = json.dumps({"id": id or f"evt_{self._events}", "session": session_id}).encode()
        signature = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        return {"Fake-Signature": signature}, body

    def total(self, session_id: str, kind: Kind | str) -> int:
        """Return what the ledger holds of one kind for a session, in minor units."""
        kind = Kind(kind)
        rows = [row for row in self.ledger if row.session_id == session_id and row.kind is kind]
        return sum(row.amount.minor for row in rows)

    # --- the hooks ---

    @hookimpl
    def initiate(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Make the gateway's object."""

        def make() -> Outcome:
            self._accounts[session.id] = _Account(session.id, session.amount, approved=self._approve)
            return Outcome.requires_more(
                next_action=Redirect(f"https://fake.example/approve/{session.id}"),
                data={**session.data, "account": session.id},
                reference=f"fake_{session.id}",
            )

        return self._answer(operation, make)

    @hookimpl
    def update(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Change the amount, or raise what is authorized."""

        def change() -> Outcome:
            account = self._account(session.id)
            if operation.increments:
                return self._raise(account, operation)
            if account.authorized or account.canceled:
                raise OutcomeUnknown("the account is authorized or canceled")
            account.amount = operation.amount
            return Outcome.requires_more()

        return self._answer(operation, change)

    @hookimpl
    def authorize(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Authorize, if the payer has approved."""

        def authorize() -> Outcome:
            account = self._account(session.id)
            if account.canceled:
                return Outcome.canceled()
            if account.declined:
                raise Declined("payer_declined", "the payer gave up")
            if not account.approved and not account.authorized:
                return Outcome.requires_more(next_action=session.next_action)
            if not account.authorized:
                account.authorized = account.amount.minor
                self._record(Kind.AUTHORIZE, account, account.amount, operation.key)
            amount = Money.from_minor(account.authorized, account.amount.currency)
            if session.capture == "automatic":
                self._effect(account, Kind.CAPTURE, amount, operation.key)
                return Outcome.captured(amount)
            return Outcome.authorized(amount=amount)

        return self._answer(operation, authorize)

    @hookimpl
    def capture(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Capture."""

        def capture() -> Outcome:
            account = self._account(session.id)
            if account.canceled or account.total(Kind.CAPTURE) + operation.amount.minor > account.authorized:
                raise OutcomeUnknown("the account's state does not allow it")
            reference = self._effect(account, Kind.CAPTURE, operation.amount, operation.key)
            if operation.final or self.capabilities.capture == "once":
                account.authorized = account.total(Kind.CAPTURE)
            return Outcome.captured(operation.amount, reference=reference, released=operation.final)

        return self._answer(operation, capture)

    @hookimpl
    def refund(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Refund."""

        def refund() -> Outcome:
            account = self._account(session.id)
            if account.total(Kind.REFUND) + operation.amount.minor > account.total(Kind.CAPTURE):
                raise OutcomeUnknown("the account's state does not allow it")
            reference = self._effect(account, Kind.REFUND, operation.amount, operation.key)
            return Outcome.refunded(operation.amount, reference=reference)

        return self._answer(operation, refund)

    @hookimpl
    def cancel(self, session: PaymentSession, operation: Operation) -> Outcome:
        """Release what is not captured."""

        def cancel() -> Outcome:
            account = self._account(session.id)
            if account.canceled:
                raise OutcomeUnknown("it is canceled already")
            account.canceled = True
            account.authorized = account.total(Kind.CAPTURE)
            self._record(Kind.CANCEL, account, operation.amount, operation.key)
            return Outcome.canceled()

        return self._answer(operation, cancel)

    @hookimpl
    def retrieve(self, session: PaymentSession) -> Snapshot:
        """Tell the truth."""
        with self._lock:
            account = self._accounts.get(session.id)
            if account is None:
                return Snapshot.absent()
            error = None
            captured = account.total(Kind.CAPTURE)
            if account.authorized and (captured or not account.canceled):
                status = Status.AUTHORIZED
            elif account.canceled:
                status = Status.CANCELED
            elif account.declined:
                status, error = Status.ERROR, Failure("payer_declined", "the payer gave up")
            else:
                status = Status.REQUIRES_MORE
            currency = account.amount.currency
            return Snapshot(
                status,
                amount=account.amount,
                authorized=Money.from_minor(account.authorized, currency),
                captured=Money.from_minor(captured, currency),
                refunded=Money.from_minor(account.total(Kind.REFUND), currency),
                effects=account.effects,
                ready=status is Status.REQUIRES_MORE and account.approved,
                session_id=account.session_id,
                reference=f"fake_{session.id}",
                error=error,
            )

    @hookimpl
    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> list[WebhookEvent]:
        """Verify what `webhook` returned."""
        expected = hmac.new(self._secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected.encode(), headers.get("fake-signature", "").encode()):
            raise WebhookRejected("the signature does not match")
        try:
            told = json.loads(body)
            return [WebhookEvent(told["id"], "account.changed", session_id=told["session"])]
        except (ValueError, TypeError, KeyError):
            raise WebhookRejected("it cannot be read") from None

    # --- the gateway ---

    def _account(self, session_id: str) -> _Account:
        account = self._accounts.get(session_id)
        if account is None:
            raise Declined("unknown_account", "the gateway knows no such account")
        return account

    def _raise(self, account: _Account, operation: Operation) -> Outcome:
        more = operation.amount.minor - account.authorized
        if account.canceled or not account.authorized or account.total(Kind.CAPTURE) or more <= 0:
            raise OutcomeUnknown("the account's state does not allow it")
        account.authorized, account.amount = operation.amount.minor, operation.amount
        raised = Money.from_minor(more, operation.amount.currency)
        self._record(Kind.UPDATE, account, raised, operation.key)
        return Outcome.authorized(amount=operation.amount)

    def _record(self, kind: Kind, account: _Account, amount: Money, key: str) -> str:
        reference = f"fx_{len(self.ledger) + 1}"
        self.ledger.append(LedgerEntry(kind, account.session_id, amount, key, reference))
        return reference

    def _effect(self, account: _Account, kind: Kind, amount: Money, key: str) -> str:
        reference = self._record(kind, account, amount, key)
        account.effects.append(Effect(kind, amount, "succeeded", reference, key))
        return reference

    def _answer(self, operation: Operation, act: Callable[[], Outcome]) -> Outcome:
        """Answer as a gateway that replays what it answered to a key, unless a fault is due."""
        fault, then = self._take_fault(operation.kind)
        if then is not None:
            then()
        if fault == "not_applied":
            raise NotApplied("connection refused")
        if fault == "timeout":
            raise OutcomeUnknown("no answer within the time limit")
        with self._lock:
            self.calls.append((operation.kind, operation.key))
            reply = self._replies.get(operation.key) if self.capabilities.window(operation.kind) else None
            if reply is None:
                try:
                    reply = Declined("refused", "refused on demand") if fault == "declined" else act()
                except Declined as declined:
                    reply = declined
                self._replies[operation.key] = reply
        if isinstance(reply, Declined):
            raise Declined(reply.code, reply.message)
        return reply if fault in (None, "declined") else _spoilt(fault, operation.amount)

    def _take_fault(self, kind: Kind) -> tuple[str | None, Callable[[], object] | None]:
        with self._lock:
            for place, (wanted, fault, then) in enumerate(self._faults):
                if wanted in (None, kind):
                    del self._faults[place]
                    return fault, then
        return None, None


def _spoilt(fault: str, amount: Money) -> Any:
    """Return, or raise, what arrives in place of a good answer."""
    if fault == "none":
        return None
    if fault == "wrong_type":
        return {"status": "ok"}
    if fault == "wrong_amount":
        return Outcome.captured(Money.from_minor(amount.minor + 1, amount.currency))
    if fault == "wrong_currency":
        return Outcome.captured(Money.from_minor(amount.minor, "USD" if amount.currency != "USD" else "EUR"))
    if fault == "raises":
        raise RuntimeError("a fault in the plugin")
    raise OutcomeUnknown("the connection was reset before the answer came")
