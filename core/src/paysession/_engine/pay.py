"""The call behind a shop's "Pay" button: continue what the payer began, or begin it.

A payer reloads, goes back, comes again the next day, takes another method, opens two tabs; the cart
changes meanwhile, and the shop runs in several processes. At no time may two sessions of a collection be open
in which the payer could pay the same amount, and a payment that was made must not be asked for again. So each
attempt here looks at all sessions of the collection, then does one thing, and begins again if anything has
changed.

New sessions of a collection are numbered: calls that decide on the same state derive the same id, so that one
of them begins the session and the others find it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from paysession._engine.arguments import checked_checkout
from paysession._engine.recovery import ATTEMPTS, too_fast
from paysession._ledger.ledger import UNAUTHORIZED
from paysession._ledger.rules import Request, requested_cancel
from paysession.errors import (
    Declined,
    IdempotencyMismatch,
    InvalidAmount,
    InvalidTransition,
    NotSupported,
    SessionBusy,
)
from paysession.money import Money
from paysession.operation import CAPTURE, INITIATE, REFUND, UPDATE, State
from paysession.values import Status, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from paysession._engine.run import Engine
    from paysession.checkout import Checkout
    from paysession.payments import Payments
    from paysession.session import CaptureMode, PaymentCollection, PaymentSession, SessionRow

__all__ = ["Pay", "Wanted"]

PATIENCE: Final = 10.0
"""Seconds to wait for another call that is in progress, such as the first click of a double click."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25


class Wanted(NamedTuple):
    """What the payer wants to pay with, checked.

    Attributes:
        collection_id: What is paid for.
        provider: The provider that the payer chose.
        checkout: What is known of the payer's visit; None: whatever was known before.
        data: What the provider needs, as JSON text.
        capture: How it is captured.
        key: The caller's key, or None.
        by: Who asks.
        abandon_after: When a new session is abandoned.
        extra: A digest of what else a repetition must have in common.
    """

    collection_id: str
    provider: str
    checkout: Checkout | None
    data: str
    capture: CaptureMode
    key: str | None
    by: str | None
    abandon_after: timedelta | None
    extra: str

    def request(self, key: str) -> Request:
        """Return the request that begins a session under a key."""
        return Request(INITIATE, idempotency_key=key, extra=self.extra, origin="payer", by=self.by)


def _row(session: PaymentSession) -> SessionRow:
    """Return a session that a call has returned as what it is: the row that the engine works on."""
    return cast("SessionRow", session)


class Pay:
    """One call of `Payments.pay`.

    Args:
        payments: Carries the single steps out.
        engine: The payments' engine.
        begin: Returns a session that is yet to be written: of a collection, for an amount, under a key.
        wanted: What the payer wants.
    """

    def __init__(
        self,
        payments: Payments,
        engine: Engine,
        begin: Callable[[Wanted, PaymentCollection, Money, str], SessionRow],
        wanted: Wanted,
    ) -> None:
        self._payments = payments
        self._engine = engine
        self._store = engine.store
        self._begin = begin
        self._wanted = wanted

    def run(self) -> SessionRow:
        """Return the session to continue with.

        Raises:
            SessionBusy: Something of the collection is in doubt, or still in progress after a while.
        """
        until, pause = time.monotonic() + PATIENCE, _FIRST_PAUSE
        attempts = 0
        while attempts < ATTEMPTS:
            try:
                session = self._attempt()
            except SessionBusy as error:
                if not self._in_progress(error) or time.monotonic() >= until:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            if session is not None:
                return session
            attempts += 1
        raise too_fast(self._wanted.collection_id)

    def _in_progress(self, error: SessionBusy) -> bool:
        """Return whether a call has leased the operation in the way, or has just finished it."""
        operation = self._store.operation(error.operation_id) if error.operation_id is not None else None
        if operation is None or operation.state is not State.STARTED:
            return operation is not None
        return operation.lease_until is not None and operation.lease_until > self._store.now()

    def _attempt(self) -> SessionRow | None:
        """Look at all sessions and do what is next; None: something has changed, look again."""
        wanted = self._wanted
        repeated = self._repeated()
        if repeated is not None and repeated.status is Status.CANCELED:
            return repeated
        rows = self._store.sessions(collection_id=wanted.collection_id, limit=None)
        sessions = [row for row in map(self._settled, rows) if not _is_over(row)]
        holders = [session for session in sessions if _holds(session)]
        if holders and self._left(holders) <= 0:
            return holders[-1]
        waiting = [session for session in sessions if session not in holders]
        fitting = [session for session in waiting if self._fits(session)]
        current = fitting[-1] if fitting else None
        for session in waiting:
            if session is not current and not self._end(session):
                return None
        if current is None:
            return self._new(len(rows))
        left = self._left(holders)
        if left <= 0:
            return None
        amount = Money.from_minor(left, current.amount.currency)
        if not current.initiated:
            return self._again(current, amount)
        return current if current.amount == amount else self._updated(current, amount)

    def _repeated(self) -> SessionRow | None:
        """Return the session that the caller's key began, if it was asked for the same.

        Raises:
            IdempotencyMismatch: It was not.
        """
        key = self._wanted.key
        if key is None:
            return None
        collection = self._payments.collection(self._wanted.collection_id)
        session = self._store.session(self._begin(self._wanted, collection, collection.amount, key).id)
        return None if session is None else self._engine.perform(session, self._wanted.request(key))

    def _settled(self, session: SessionRow) -> SessionRow:
        """Return a session once nothing of it is in doubt; the gateway is queried if it is not authorized.

        The payer may have paid a moment ago.

        Raises:
            SessionBusy: It is in doubt.
        """
        if session.status is Status.AUTHORIZED and self._is_harmless(session):
            return session
        if session.open is not None:
            session = self._engine.recovery.recover(session.id)
        session = self._engine.carry_on(session, requested_cancel(session))
        if session.initiated and session.open is None and session.status in UNAUTHORIZED:
            session = _row(self._payments.resume(session.id))
        if (session.open is not None and not self._is_harmless(session)) or session.cancel_requested:
            raise SessionBusy(
                f"the session {session.id} of this collection is in doubt: it is not known yet what it "
                "holds; recover() settles it",
                session_id=session.id,
                operation_id=session.open,
            )
        return session

    def _is_harmless(self, session: SessionRow) -> bool:
        """Return whether nothing that is in doubt can change what the session holds."""
        if session.cancel_requested:
            return False
        operation = self._store.operation(session.open) if session.open is not None else None
        return operation is None or (operation.kind in (CAPTURE, REFUND) and not operation.final)

    def _left(self, holders: Sequence[SessionRow]) -> int:
        """Return what no session holds that is authorized, or about to be, in minor units."""
        collection = self._payments.collection(self._wanted.collection_id)
        return collection.amount.minor - sum(session.held for session in holders)

    def _fits(self, session: SessionRow) -> bool:
        """Return whether the payer can go on with a session; its amount may be another."""
        wanted, expires_at = self._wanted, session.expires_at
        if (
            session.provider != wanted.provider
            or session.capture != wanted.capture
            or session.status not in (Status.PENDING, Status.REQUIRES_MORE)
            or (expires_at is not None and expires_at <= self._store.now())
        ):
            return False
        begun = next(row for row in self._store.operations(session.id) if row.kind is INITIATE)
        if begun.data_text != wanted.data:
            return False
        if wanted.checkout is None:
            return True
        # On the way between home and office a payer has another address, and means the same payment.
        visit = replace(
            checked_checkout(wanted.checkout, session.id),
            ip=session.checkout.ip,
            user_agent=session.checkout.user_agent,
        )
        return visit == session.checkout

    def _end(self, session: SessionRow) -> bool:
        """Cancel a session that the payer does not go on with; return whether it has ended.

        Raises:
            ProviderError: The gateway does not cancel it, and it is not paid either: it could still be.
            SessionBusy: It has not finished the cancel.
        """
        try:
            session = _row(self._payments.cancel(session.id, by=self._wanted.by))
        except (Declined, InvalidTransition):
            session = _row(self._payments.get(session.id))
            if session.status in UNAUTHORIZED and session.authorizing is None:
                raise
            return False
        if session.status is not Status.CANCELED:
            raise SessionBusy(
                f"the cancel of the session {session.id} is not finished at the gateway; try again later",
                session_id=session.id,
            )
        return True

    def _new(self, number: int) -> SessionRow | None:
        """Begin the next session; None: another call has begun it meanwhile, with something else."""
        wanted = self._wanted
        collection = self._payments.collection(wanted.collection_id)
        left = collection.amount.minor - collection.held
        if left <= 0:
            return None
        key = wanted.key or f"paysession.pay:{number}"
        session = self._begin(wanted, collection, Money.from_minor(left, collection.amount.currency), key)
        found = self._store.session(session.id)
        if found is not None and wanted.key is None:
            return None
        try:
            session = self._engine.perform(found or session, wanted.request(key))
        except IdempotencyMismatch:
            if wanted.key is not None:
                raise
            return None
        return session if session.status is not Status.CANCELED or wanted.key is not None else None

    def _again(self, session: SessionRow, amount: Money) -> SessionRow | None:
        """Begin a session again that the provider has not accepted; None: it cannot be, and is ended."""
        begun = next(row for row in self._store.operations(session.id) if row.kind is INITIATE)
        if begun.idempotency_key is not None and session.amount == amount:
            try:
                return self._engine.perform(session, self._wanted.request(begun.idempotency_key))
            except IdempotencyMismatch:
                pass
        self._end(session)
        return None

    def _updated(self, session: SessionRow, amount: Money) -> SessionRow | None:
        """Change a session's amount; None: it cannot be changed, and is ended, or it is authorized by now."""
        provider = self._engine.registry.provider(session.provider)
        if provider.implements(UPDATE):
            try:
                # Not `Payments.update`: what the payer has authorized meanwhile is not raised.
                return self._engine.perform(session, Request(UPDATE, amount, by=self._wanted.by))
            except (InvalidTransition, InvalidAmount):
                return None
            except (Declined, NotSupported):
                pass
        self._end(session)
        return None


def _is_over(session: SessionRow) -> bool:
    return session.status is Status.CANCELED and not session.held


def _holds(session: SessionRow) -> bool:
    """Return whether a session keeps what it holds: it is authorized, or a bank is at work on it."""
    return session.status not in UNAUTHORIZED or session.authorizing is not None
