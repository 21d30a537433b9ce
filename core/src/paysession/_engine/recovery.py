"""Recovery: reconciling an operation whose answer was lost with what the gateway has.

The gateway is queried first, wherever it can be. What it shows is recorded by ``evidence``; what
it does not show is sent again, under the same key, only where that cannot cause a second effect.
Everything that learns of the gateway's state comes through here: a caller that meets doubt, the
payer's return, a notification, `sync`, and the runs of ``Payments.recover``.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from paysession._engine.elapsed import is_in_flight
from paysession._engine.lanes import TimeOver
from paysession._ledger.evidence import (
    from_answer,
    from_details,
    from_effects,
    from_second_payment,
    from_snapshot,
    is_readable,
    still_in_doubt,
)
from paysession._ledger.facts import CancelRequested, Details, OperatorNeeded, Postponed, Released
from paysession._ledger.ids import number_of
from paysession._ledger.ledger import UNAUTHORIZED
from paysession._ledger.rules import LEASE_MARGIN, Request, claim, requested_cancel
from paysession._ledger.schedule import schedule
from paysession._ledger.verdict import (
    ABSENT,
    GRACE,
    IN_FLIGHT,
    REPEATED,
    Doubt,
    Repetition,
    Verdict,
    decide,
)
from paysession.errors import (
    Declined,
    InvalidData,
    InvalidTransition,
    NotApplied,
    NotFound,
    OutcomeUnknown,
    PaysessionError,
    ProviderError,
    RequestError,
    SessionBusy,
)
from paysession.operation import CAPTURE, REFUND, Kind, State
from paysession.outcome import Outcome
from paysession.store import Stale
from paysession.values import Status, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from paysession._engine.run import Engine
    from paysession._ledger.ledger import Ledger
    from paysession._plugins.registry import Provider
    from paysession.operation import Operation
    from paysession.outcome import Effect, Snapshot
    from paysession.session import SessionRow

__all__ = ["ATTEMPTS", "Recoverer", "too_fast"]

logger = logging.getLogger("paysession")

ATTEMPTS: Final = 20
"""How often a decision is made again because the session moved meanwhile."""

ABANDONED: Final = "abandoned"
"""The reason of the cancel of a session that nobody paid in time, and the detail of its event."""

RETURN_TRIES: Final = 3
"""How many attempts in a row that were not applied a payer's returns may cause without a wait."""

RETURN_WAIT: Final = timedelta(minutes=1)
"""How long a payer's return waits after those before it authorizes again; doubled each time."""

_WAITING: Final = (Status.PENDING, Status.REQUIRES_MORE)


class Recoverer:
    """Settles what is open, and asks providers for the truth.

    Args:
        engine: Carries out what that leads to.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # --- what is in doubt -------------------------------------------------------------------------

    def recover(self, session_id: str) -> SessionRow:
        """Find out what became of the session's open operation; return the session as it is then.

        Raises:
            SessionBusy: It is in progress, and its lease has not run out.
        """
        claimed: Operation | None = None
        reading = self._engine.elapsed.reading()

        def plan(session: SessionRow) -> Ledger | None:
            nonlocal claimed
            if session.open is None:
                return None
            operation = self._engine.store.operation(session.open)
            if operation is None or operation.state is not State.STARTED:
                raise Stale(session_id)
            provider = self._engine.registry.provider(session.provider)
            now = self._engine.elapsed.now()
            if self._is_leased(provider, operation, now):
                raise SessionBusy(
                    f"the {operation.kind} {operation.id} is in flight; try again shortly",
                    session_id=session_id,
                    operation_id=operation.id,
                )
            ledger, claimed = claim(session, operation, now=now, capabilities=provider.capabilities)
            return ledger

        session, ledger, _ = self._engine.swap(plan, session_id, observed=False)
        if ledger is None or claimed is None:
            return session
        provider = self._engine.registry.provider(session.provider)
        return self._find_out(provider, session, self._whole(session, claimed), reading)

    def _is_leased(self, provider: Provider, operation: Operation, now: datetime) -> bool:
        """Return whether an operation is in progress, also if the clock was set forward since then."""
        until = operation.lease_until
        if until is None or until > now:
            return until is not None
        lease = provider.capabilities.call_limit + LEASE_MARGIN
        return self._engine.elapsed.at_least(until - lease) < lease

    def _whole(self, session: SessionRow, operation: Operation) -> Operation:
        """Return an operation as the hooks are shown it."""
        capture = self._engine.store.operation(operation.capture_id) if operation.capture_id else None
        return self._engine.addressed(operation, session, capture)

    def _find_out(
        self, provider: Provider, session: SessionRow, operation: Operation, reading: float | None
    ) -> SessionRow:
        """Look first; then, where it cannot cause a second effect, send again under the same key.

        Args:
            provider: The session's.
            session: The operation's.
            operation: The one in doubt.
            reading: The stopwatch's, from before it was claimed.
        """
        capabilities = provider.capabilities
        elapsed = self._engine.elapsed
        sent_at = operation.sent_at or operation.created_at
        # Both before the lookup: an answer that comes during it may be of an effect that it does not show.
        passed, unanswered = elapsed.at_least(sent_at), is_in_flight(operation.id)
        reason: ProviderError = OutcomeUnknown(operation.message)
        seen: Snapshot | None = None
        none_in_flight = self._none_in_flight(provider, operation)
        if capabilities.lookup != "none":
            try:
                session, seen = self._apply_truth(
                    provider, session.id, operation, none_in_flight=none_in_flight
                )
            except ProviderError as error:
                return self._still_in_doubt(session.id, operation, error, operation.doubted_at)
            except SessionBusy:
                return self._engine.load(session.id)
            if session.open != operation.id:
                return session
            none_in_flight = none_in_flight and is_readable(
                session, seen
            )  # what cannot be read may show it all the same
        window = capabilities.window(operation.kind)
        if self._was_restored(operation):
            window = (operation.doubted_at or sent_at) - sent_at  # it is queried, and not sent again
        doubt = Doubt(
            session=session,
            operation=operation,
            capabilities=capabilities,
            seen=seen,
            at_least=passed,
            at_most=elapsed.at_most(sent_at),  # the lookup took its time
            unanswered=unanswered,
            window=window,
        )
        rule = decide(ABSENT, doubt)
        if rule.verdict is Verdict.RESEND:
            return self._send_again(provider, session, operation, reading, none_in_flight=none_in_flight)
        if rule.verdict is Verdict.SETTLE:
            gone = NotApplied("the provider shows no trace of it, long after it was last sent")
            return self._settle(provider, session.id, operation, gone)
        needed = rule.verdict is Verdict.OPERATOR
        return self._still_in_doubt(
            session.id, operation, reason, operation.doubted_at, needs_operator=needed
        )

    def _was_restored(self, operation: Operation) -> bool:
        """Return whether an operation in doubt may have been closed in a history that a restore has lost.

        An operation begins when the one before it is closed or pending, so one of ours at the gateway that
        the ledger did not know of says that there may have been an answer to this one. Sent again, it could
        cause a second effect: the caller may have repeated it since, as the next attempt.
        """
        return any(
            row.ordinal > operation.ordinal
            and row.origin == "provider"
            and number_of(row.session_id, row.id) is not None
            for row in self._engine.store.operations(operation.session_id)
        )

    def _send_again(
        self,
        provider: Provider,
        session: SessionRow,
        operation: Operation,
        reading: float | None,
        *,
        none_in_flight: bool,
    ) -> SessionRow:
        """Repeat an operation with its key, and with ``data``, reference and status as they were at begin.

        Args:
            provider: The session's.
            session: The operation's.
            operation: The one in doubt.
            reading: The stopwatch's, from before it was claimed.
            none_in_flight: Whether none of its requests could be under way when the provider was queried.
        """
        as_begun = replace(
            session,
            data=operation.data_text,
            reference=operation.session_reference,
            status=operation.session_status,
        )
        calls = self._engine.calls
        shown = calls.shown(operation, self._engine.store.now)
        try:
            return calls.make(
                provider,
                operation,
                partial(self._engine.ask, provider, as_begun, shown, reading),
                partial(self._sent_again, provider, session, operation, none_in_flight=none_in_flight),
            )
        except TimeOver:
            return self._engine.load(session.id)  # it is in flight

    def _sent_again(
        self,
        provider: Provider,
        session: SessionRow,
        operation: Operation,
        answer: Outcome | ProviderError,
        *,
        none_in_flight: bool,
    ) -> SessionRow:
        """Write down what the answer to a repetition says, or what a lookup shows after it."""
        none_in_flight = none_in_flight and not isinstance(answer, OutcomeUnknown)
        if not _is_success(answer) and provider.capabilities.lookup != "none":
            # A gateway replays the decline, the 500 or the "payer must act" of an effect that has
            # happened since: the lookup decides, not the replay.
            found = self.look(provider, session, operation, none_in_flight=none_in_flight)
            if found is not None:
                return found[0]
        rule = decide(REPEATED, Repetition(answer, in_flight=not none_in_flight))
        if isinstance(answer, ProviderError) and rule.verdict is Verdict.WAIT:
            lost_at = None if isinstance(answer, OutcomeUnknown) else operation.doubted_at
            return self._still_in_doubt(session.id, operation, answer, lost_at)
        return self._settle(provider, session.id, operation, answer)

    def _none_in_flight(self, provider: Provider, operation: Operation) -> bool:
        """Return whether no request of a claimed operation can be under way, or unseen yet, any more."""
        lost_at = operation.doubted_at
        seen_after = IN_FLIGHT + provider.capabilities.lookup_lag
        return (
            lost_at is not None
            and not is_in_flight(operation.id)
            and self._engine.elapsed.at_least(lost_at) >= seen_after
        )

    def _still_in_doubt(
        self,
        session_id: str,
        operation: Operation,
        reason: ProviderError,
        lost_at: datetime | None = None,
        *,
        needs_operator: bool = False,
    ) -> SessionRow:
        """Record that an operation is still in doubt.

        Args:
            session_id: Its session.
            operation: The operation, as it was claimed.
            reason: Why.
            lost_at: When a request of it last went unanswered; None: just now.
            needs_operator: Whether no gateway can settle it any more.
        """

        def rule(ledger: Ledger, current: Operation) -> None:
            capabilities = self._engine.registry.provider(ledger.before.provider).capabilities
            still_in_doubt(
                ledger, current, reason, capabilities, lost_at=lost_at, needs_operator=needs_operator
            )

        # What a notification showed meanwhile to be pending is in doubt no more.
        return self._write(session_id, operation, rule, started=True)

    def _settle(
        self,
        provider: Provider,
        session_id: str,
        operation: Operation,
        answer: Outcome | ProviderError,
        note: str | None = None,
    ) -> SessionRow:
        """Write down what recovery or a person found out."""

        def rule(ledger: Ledger, current: Operation) -> None:
            from_answer(ledger, current, answer, provider.capabilities, note=note)

        return self._write(session_id, operation, rule, whole=isinstance(answer, Outcome))

    def _write(
        self,
        session_id: str,
        operation: Operation,
        rule: Callable[[Ledger, Operation], None],
        *,
        started: bool = False,
        whole: bool = False,
    ) -> SessionRow:
        """Commit what a rule makes of a claimed operation; a worker that lost the lease leaves it.

        Args:
            session_id: Its session.
            operation: The operation, as it was claimed.
            rule: What is applied.
            started: Whether it is left as well once it is pending.
            whole: Whether the rule compares the session's other operations.
        """
        engine = self._engine

        def decide(session: SessionRow) -> Ledger | None:
            current = engine.store.operation(operation.id)
            if current is None or current.state.closed or current.attempt != operation.attempt:
                return None
            if started and current.state is not State.STARTED:
                return None
            ledger = engine.ledger(session, whole=whole)
            rule(ledger, current)
            return ledger

        return engine.decide(session_id, decide)

    def resolve(self, operation_id: str, answer: Outcome | Declined | NotApplied, note: str) -> SessionRow:
        """Settle an operation as an operator resolved it."""
        operation = self._engine.store.operation(operation_id)
        if operation is None:
            raise NotFound(f"there is no operation {operation_id!r:.80}")
        session = self._engine.load(operation.session_id)
        if operation.state.closed:
            raise InvalidTransition(
                f"the operation is closed: {operation.state}",
                session_id=session.id,
                operation_id=operation_id,
            )
        provider = self._engine.registry.provider(session.provider)
        if self._is_leased(provider, operation, self._engine.elapsed.now()):
            raise SessionBusy(
                "the operation is in flight; try again shortly",
                session_id=session.id,
                operation_id=operation_id,
            )
        self.query(provider, session.id, self._whole(session, operation))
        operation = self._engine.store.operation(operation_id) or operation
        if operation.state.closed:
            raise InvalidTransition(
                f"the gateway was queried first, and says what became of it: {operation.state}",
                session_id=session.id,
                operation_id=operation_id,
            )
        session = self._settle(provider, session.id, operation, answer, note)
        current = self._engine.store.operation(operation_id)
        if current is not None and not (current.note or "").startswith(note):  # the word was not written down
            raise SessionBusy(
                "the operation was in progress elsewhere just now; look at it, and try again if it is open",
                session_id=session.id,
                operation_id=operation_id,
            )
        return session

    def look(
        self, provider: Provider, session: SessionRow, operation: Operation, *, none_in_flight: bool = False
    ) -> tuple[SessionRow, Operation] | None:
        """Ask the provider about an operation in doubt; None: that did not settle it.

        Args:
            provider: The session's.
            session: The operation's.
            operation: The one in doubt.
            none_in_flight: Whether none of its requests can be under way any more.
        """
        try:
            self._apply_truth(provider, session.id, operation, none_in_flight=none_in_flight)
        except (ProviderError, SessionBusy):
            return None
        current = self._engine.store.operation(operation.id)
        if current is None or current.state is State.STARTED:
            return None
        return self._engine.load(session.id), current

    # --- querying the gateway ---------------------------------------------------------------------

    def _apply_truth(
        self,
        provider: Provider,
        session_id: str,
        operation: Operation | None,
        *,
        none_in_flight: bool = False,
    ) -> tuple[SessionRow, Snapshot]:
        """Fetch a snapshot and record it at the version that was read before it was fetched."""
        snapshot: Snapshot | None = None

        def plan(session: SessionRow) -> Ledger | None:
            nonlocal snapshot
            asked_at = session.updated_at + self._engine.elapsed.at_least(session.updated_at)
            snapshot = self._engine.calls.look(
                provider, partial(provider.retrieve, session, self._shown(operation))
            )
            return self._record(provider, session, snapshot, asked_at, none_in_flight=none_in_flight)

        session = self._engine.decide(session_id, plan)
        assert snapshot is not None  # noqa: S101 - the plan was asked
        return session, snapshot

    def _shown(self, operation: Operation | None) -> Operation | None:
        return operation and self._engine.calls.shown(operation, self._engine.store.now)

    def query(self, provider: Provider, session_id: str, operation: Operation | None = None) -> None:
        """Query the gateway about a session, if that is possible now, and record what it shows.

        Args:
            provider: The session's.
            session_id: The session.
            operation: One in doubt that the lookup is to show; None: there is none.
        """
        if provider.capabilities.lookup == "none" or provider.capabilities.local:
            return
        try:
            self._apply_truth(provider, session_id, operation)
        except (ProviderError, SessionBusy) as error:
            logger.info("session %s could not be queried: %s", session_id, error)

    def record_effects(
        self,
        provider: Provider,
        session_id: str,
        effects: Sequence[Effect],
        details: Details | None = None,
        *,
        patient: bool = False,
    ) -> tuple[SessionRow, bool]:
        """Record what a gateway that cannot be queried reports, and what else a notification says.

        Data that cannot be added to the session's is logged and left out.

        Args:
            provider: The session's.
            session_id: The session.
            effects: What happened.
            details: What else the notification says.
            patient: Whether what is not understood yet can be recorded later; else it is recorded as it is.

        Returns:
            The session, and whether all effects were recorded.
        """
        recorded = True

        def rule(session: SessionRow) -> Ledger | None:
            nonlocal recorded
            ledger = self._engine.ledger(session, whole=bool(effects))
            if effects:
                room = self._room(session)
                recorded = from_effects(ledger, effects, provider.capabilities, room=room, patient=patient)
            try:
                from_details(ledger, details or Details())
            except InvalidData as error:
                logger.warning("session %s: a notification's data is left out: %s", session_id, error)
            return ledger if ledger.changed else None

        return self._engine.decide(session_id, rule), recorded

    def compare_payment(self, provider: Provider, session_id: str, reference: str | None) -> bool:
        """Query the gateway about a payment that a notification named, if it is not the session's own.

        A restore that lost a session, or an attempt at ``initiate`` that was held to be not applied, may have
        left two payments of one session. What the notification says is not believed: the gateway has to show
        a payment that carries the session's id.

        Args:
            provider: The session's.
            session_id: The session.
            reference: The gateway's id of the payment; None: it says none, so that of an open conflict.

        Returns:
            Whether it need not be looked at again. It must be while the session's own payment is unknown.

        Raises:
            NotApplied, OutcomeUnknown: The gateway could not be queried.
        """
        session = self._engine.load(session_id)
        other = reference if reference is not None else self._reported(session)
        if other is None or session.reference == other:
            return True
        opened = self._engine.store.operation(session.open) if session.open is not None else None
        # The answer to a capture or refund names no other payment.
        if session.reference is None or (opened is not None and opened.kind not in (CAPTURE, REFUND)):
            return False
        named = replace(session, reference=other)
        snapshot = self._engine.calls.look(provider, partial(provider.retrieve, named, None))
        is_gone = snapshot.status is None and provider.capabilities.lookup == "consistent"
        if not is_gone and (snapshot.session_id != session_id or snapshot.reference != other):
            return True
        known = True

        def plan(session: SessionRow) -> Ledger | None:
            nonlocal known
            if session.reference == other:
                return None
            ledger = self._engine.ledger(session)
            known = from_second_payment(ledger, other, snapshot)
            return ledger if ledger.changed else None

        self._engine.decide(session_id, plan)
        return known

    def _reported(self, session: SessionRow) -> str | None:
        """Return the gateway's id of the second payment that a conflict of the session is about."""
        if session.conflict is None:
            return None
        conflict = self._engine.ledger(session).conflicts.get("second_payment")
        return conflict.found if conflict is not None else None

    def _record(
        self,
        provider: Provider,
        session: SessionRow,
        snapshot: Snapshot,
        asked_at: datetime,
        *,
        none_in_flight: bool = False,
    ) -> Ledger | None:
        """Return what a snapshot does to the ledger; None: nothing."""
        ledger = self._engine.ledger(session, whole=True)
        room = self._room(session)
        from_snapshot(
            ledger,
            snapshot,
            provider.capabilities,
            room=room,
            asked_at=asked_at,
            none_in_flight=none_in_flight,
        )
        return ledger if ledger.changed else None

    def _room(self, session: SessionRow) -> int:
        """Return how much of the collection's amount no session holds, in minor units."""
        collection = self._engine.store.collection(session.collection_id)
        assert collection is not None  # noqa: S101 - sessions are written with their collection
        return collection.amount.minor - collection.held

    def sync(self, session_id: str, by: str | None = None) -> SessionRow:
        """Query the gateway, record what it shows, and authorize the session where that says `ready`.

        Args:
            session_id: The session.
            by: Who asks, if it was a person.

        Raises:
            NotApplied, OutcomeUnknown: The gateway could not be queried.
        """
        session = self._engine.load(session_id)
        provider = self._engine.registry.provider(session.provider)
        if session.open is not None:
            with suppress(SessionBusy):  # in flight: what the provider shows can be recorded all the same
                session = self.recover(session_id)
        if provider.capabilities.lookup == "none" or provider.capabilities.local:
            return session
        operation = self._engine.store.operation(session.open) if session.open is not None else None
        if operation is not None:
            operation = self._whole(session, operation)
        session, snapshot = self._apply_truth(provider, session_id, operation)
        return self._finish_approved(session, snapshot, by=by)

    def payer_returned(self, session_id: str, payload: str | None) -> SessionRow:
        """Query the gateway for a payer who came back, and finish what the payer approved there.

        An operation in doubt is left to `recover`, which repeats it: here only what the gateway shows of it
        is recorded. A session that is at rest, or that nobody can be asked about, is returned unchanged.

        Raises:
            NotApplied, OutcomeUnknown: The gateway could not be queried, or authorizing failed.
            SessionBusy: Another call changes the session at this moment.
        """
        session = self._engine.load(session_id)
        provider = self._engine.registry.provider(session.provider)
        operation = self._engine.store.operation(session.open) if session.open is not None else None
        none_in_flight = False
        if operation is not None:
            if operation.lease_until is not None and operation.lease_until > self._engine.store.now():
                return session  # its answer is on the way
            operation, none_in_flight = (
                self._whole(session, operation),
                self._none_in_flight(provider, operation),
            )
        session, snapshot = self._apply_truth(provider, session_id, operation, none_in_flight=none_in_flight)
        if snapshot.ready and self._failed_just_now(session_id):
            return session
        return self._finish_approved(session, snapshot, payload)

    def _finish_approved(
        self, session: SessionRow, snapshot: Snapshot, payload: str | None = None, *, by: str | None = None
    ) -> SessionRow:
        """Authorize a session that the payer has approved at the gateway; any other is returned unchanged.

        What was declined stays `error` until the gateway shows that the payer acted again, so a decline is
        not repeated here.
        """
        if not (
            snapshot.ready
            and session.status in _WAITING
            and session.open is None
            and session.authorizing is None
            and session.initiated
            and not session.cancel_requested
        ):
            return session
        try:
            request = Request(Kind.AUTHORIZE, payload=payload, origin="payer", by=by)
            return self._engine.perform(session, request)
        except RequestError as error:  # another session holds the amount: ask again when it is due
            logger.warning("session %s is ready and cannot be authorized: %s", session.id, error)
            return self._engine.load(session.id)

    def _failed_just_now(self, session_id: str) -> bool:
        """Return whether a payer's reload has to wait, because the last attempts were not applied."""
        rows = [row for row in self._engine.store.operations(session_id) if row.kind is Kind.AUTHORIZE]
        failed = len(list(takewhile(lambda row: row.state is State.NOT_APPLIED, reversed(rows))))
        if failed < RETURN_TRIES:
            return False
        wait = RETURN_WAIT * (1 << min(failed - RETURN_TRIES, 16))
        return self._engine.store.now() < rows[-1].updated_at + wait

    def want_cancel(self, session_id: str, by: str | None = None) -> SessionRow:
        """Remember that a cancel was asked for while an operation is in doubt."""

        def rule(session: SessionRow) -> Ledger | None:
            if session.cancel_requested or session.open is None:
                return None
            ledger = self._engine.ledger(session)
            ledger.apply(CancelRequested(by))
            return ledger

        return self._engine.decide(session_id, rule)

    def abandon(self, session_id: str) -> SessionRow:
        """End a session that no provider has accepted: there is nothing to cancel anywhere."""

        def rule(session: SessionRow) -> Ledger | None:
            if session.open is not None or session.initiated or session.status is Status.CANCELED:
                return None
            ledger = self._engine.ledger(session)
            ledger.apply(Released())
            ledger.row.due_at = None
            return ledger

        return self._engine.decide(session_id, rule)

    def needs_operator(self, session: SessionRow, operation: Operation) -> bool:
        """Return whether only an operator can find out what became of an operation in doubt."""
        try:
            capabilities = self._engine.registry.provider(session.provider).capabilities
        except PaysessionError:
            # Nobody can query it; or it is unavailable in this process only, and recovery has recorded it.
            selected = session.provider in self._engine.registry.names
            return session.attention_at is not None or not selected
        sent_at = operation.sent_at or operation.created_at
        known_by = sent_at + capabilities.window(operation.kind)
        if capabilities.lookup != "none":
            known_by += max(GRACE, IN_FLIGHT + capabilities.lookup_lag)
        return sent_at + self._engine.elapsed.at_least(sent_at) >= known_by

    def attend(self, session_id: str, *, early: bool = False) -> SessionRow | None:
        """Do whatever is due for a session; what stays open gets a later time.

        None: another worker was faster.

        Provider failures and busy sessions are not raised: the next round looks again.

        Args:
            session_id: The session.
            early: Also what is not due yet; that is due then as well.
        """
        session = self._engine.load(session_id)
        due = session.due_at is not None and session.due_at <= self._engine.store.now()
        if session.due_at is None or not (due or early):
            return None
        looks = ordinal = 0
        try:
            if session.open is not None:
                session = self.recover(session_id)  # its lease keeps other workers away
            elif session.cancel_requested:
                pass
            elif not self._is_queryable(session):
                if not self._is_abandoned(session):
                    return self._hand_over(session)
            else:
                # The next look is set before this one, so that no other worker asks the same.
                if due:
                    looks, ordinal = session.checks + 1, session.ordinal
                    self._engine.store.commit(self._postponed(session).change())
                session = self.sync(session_id)
            if self._is_abandoned(session):
                session = self._engine.perform(session, Request(Kind.CANCEL, reason=ABANDONED))
            session = self._engine.carry_on(session, requested_cancel(session))
        except Stale:
            return None
        except SessionBusy:
            return self._engine.load(session_id)
        except PaysessionError as error:
            logger.info("session %s is not settled: %s", session_id, error)
            session = self._engine.load(session_id)
        except Exception:  # a fault with one session must not keep recovery from the others
            logger.exception("session %s could not be looked into", session_id)
            session = self._engine.load(session_id)
        if (
            looks
            and session.ordinal > ordinal
            and session.status in _WAITING
            and session.open is None
            and session.authorizing is None
        ):
            # It was ready, and authorizing it failed: that begins no new row of looks.
            session = replace(session, checks=looks - 1, due_at=self._engine.store.now())
        return self._postpone(session)

    def _is_queryable(self, session: SessionRow) -> bool:
        return self._engine.registry.provider(session.provider).capabilities.lookup != "none"

    def _is_abandoned(self, session: SessionRow) -> bool:
        """Return whether the time is over that an unpaid session had."""
        return (
            session.abandon_at is not None
            and session.abandon_at <= self._engine.store.now()
            and session.status in UNAUTHORIZED
            and session.initiated
            and session.open is None
            and session.authorizing is None
            and not session.cancel_requested
        )

    def _hand_over(self, session: SessionRow) -> SessionRow:
        """Leave a session whose time is over to an operator: no gateway can be queried about it."""
        ledger = self._engine.ledger(session)
        ledger.apply(OperatorNeeded())
        logger.warning("session %s needs an operator: its time is over, and nothing was reported", session.id)
        self._engine.store.commit(ledger.change())
        self._engine.notify(ledger)
        return ledger.session

    def _postpone(self, session: SessionRow) -> SessionRow:
        now = self._engine.store.now()

        def plan(session: SessionRow) -> Ledger | None:
            return self._postponed(session) if session.due_at is not None and session.due_at <= now else None

        try:
            return self._engine.swap(plan, session.id, session, observed=False).session
        except SessionBusy:
            return self._engine.load(session.id)

    def _postponed(self, session: SessionRow) -> Ledger:
        try:
            capabilities = self._engine.registry.provider(session.provider).capabilities
        except PaysessionError:
            capabilities = None
        ledger = self._engine.ledger(session)
        ledger.apply(Postponed())
        schedule(ledger, capabilities, doubt=session.open is not None)
        return ledger


def too_fast(session_id: str) -> SessionBusy:
    """Return the error for a session that moved at every attempt to change it."""
    return SessionBusy("the session changes too fast; try again", session_id=session_id)


def _is_success(answer: Outcome | ProviderError) -> bool:
    return isinstance(answer, Outcome) and answer.answer.value in (
        "authorized",
        "captured",
        "refunded",
        "canceled",
    )
