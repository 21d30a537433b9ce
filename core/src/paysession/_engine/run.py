"""The protocol of every operation: begin, call, finish.

    begin    one commit: the rules are checked, the operation and its key are written down
    call     the provider's hook, with no transaction and no lock held
    finish   one commit: the answer is applied, if the operation is still ours to finish

A process may die between any two of these lines. What it leaves is an operation that is `started`,
with a lease that runs out; ``recovery`` takes it over.

All decisions are pure functions of ``_ledger``; here is the order in which they are asked, and what
happens when two workers change one session: every commit is guarded by the session's version
(`Engine.swap`). A commit calls no gateway: what is to be sent because of it is returned as a value, and
sent afterwards.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from paysession._engine.arguments import checked_id
from paysession._engine.elapsed import Elapsed
from paysession._engine.lanes import HookCalls, TimeOver, unsent
from paysession._engine.logs import log_change
from paysession._engine.recovery import ATTEMPTS, Recoverer, too_fast
from paysession._ledger.evidence import from_answer, from_late_answer, verify
from paysession._ledger.facts import CancelCleared, Noted
from paysession._ledger.ids import found_id, number_of
from paysession._ledger.ledger import FAILED, Ledger
from paysession._ledger.rules import Request, begin, follow_up, is_repetition, nothing_to_do, with_capture
from paysession.errors import (
    Declined,
    IdempotencyMismatch,
    InvalidAmount,
    InvalidTransition,
    Mistaken,
    NotApplied,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    PaysessionError,
    ProviderError,
    SessionBusy,
)
from paysession.operation import (
    AUTHORIZE,
    CANCEL,
    CAPTURE,
    INITIATE,
    REFUND,
    REFUSED,
    Operation,
    State,
)
from paysession.outcome import Answer, Outcome, effects_of
from paysession.session import SessionRow
from paysession.store import OverLimit, Stale
from paysession.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paysession._plugins.registry import Provider, Registry
    from paysession.money import Money
    from paysession.outcome import Capabilities
    from paysession.store import Store

__all__ = ["Engine"]

logger = logging.getLogger("paysession")

_AFTER_AUTHORIZATION: Final = (CAPTURE, REFUND, CANCEL)
"""The kinds of which a refusal may mean that the ledger is behind: the gateway is queried at once."""


class Step(NamedTuple):
    """What a commit came to.

    Attributes:
        session: The session after it.
        ledger: What was committed; None: there was nothing to change.
        then: What is to be sent because of it; None: nothing.
    """

    session: SessionRow
    ledger: Ledger | None = None
    then: Request | None = None


class Engine:
    """Carries operations out.

    Attributes:
        store: Where the ledger is kept.
        registry: The selected providers.
        elapsed: Says how long ago something was sent.
        calls: Calls hooks within the time that a caller has.
        recovery: Settles what was left open.

    Args:
        store: Where the ledger is kept.
        registry: The selected providers.
        public_url: Where the host serves payments; notifications go to ``/webhooks/<provider>``
            below it.
        stopwatch: Returns the seconds of a clock that nobody can set; None: the store's clock is trusted.
        calls: Calls hooks within the time that a caller has; without a limit by default.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        public_url: str | None = None,
        stopwatch: Callable[[], float] | None = None,
        calls: HookCalls | None = None,
    ) -> None:
        self.store = store
        self.registry = registry
        self.elapsed = Elapsed(store.now, stopwatch)
        self.calls = calls if calls is not None else HookCalls()
        self.recovery = Recoverer(self)
        self._webhooks = f"{public_url.rstrip('/')}/webhooks/" if public_url else None

    def webhook_url(self, provider: str) -> str | None:
        """Return where a provider's gateway may send its notifications; None without a public URL."""
        return f"{self._webhooks}{provider}" if self._webhooks is not None else None

    def load(self, session_id: str) -> SessionRow:
        """Return a session, or raise `NotFound`."""
        session = self.store.session(checked_id(session_id, "a session"))
        if session is None:
            raise NotFound(f"there is no session {session_id!r:.80}")
        return session

    def ledger(self, session: SessionRow, *, whole: bool = False) -> Ledger:
        """Return the ledger of a session, to apply facts to.

        Args:
            session: The session that the decision is made on.
            whole: With all its operations, which matching effects needs.
        """
        store = self.store
        operations = store.operations(session.id) if whole else ()
        conflicts = store.conflicts(session_id=session.id) if session.conflict is not None else ()
        return Ledger(session, store.now(), operations, conflicts)

    # --- begin, call, finish ----------------------------------------------------------------------

    def perform(self, session: SessionRow, request: Request) -> SessionRow:
        """Carry one operation out, and return the session after it.

        Args:
            session: The session as it was read just now; version 0: it is yet to be written.
            request: What is asked of it.

        Raises:
            SessionBusy: Another operation of the session is in flight or in doubt.
            IdempotencyMismatch: The caller's key was used with other parameters.
            RequestError: The rules forbid it.
            Declined, NotApplied, OutcomeUnknown: The provider's answer.
        """
        provider = self.registry.provider(session.provider)
        begun: Operation | None = None
        answer: Outcome | ProviderError | None = None
        reading: float | None = None

        def plan(session: SessionRow) -> Ledger | SessionRow:
            nonlocal request, begun, answer, reading
            while request.idempotency_key is not None and session.version:
                settled = self._repeated(session, request)
                if isinstance(settled, SessionRow):
                    return settled
                request = settled
                if session.open is None:
                    break
                session = self.load(session.id)
                if session.open is not None:
                    session = self._make_way(session)
                # The same call may have been carried out elsewhere before this was read: look again.
            waiting = session.open
            if waiting is not None:
                session = self._make_way(session)
            if self._is_done(session, request, waiting):
                return session
            if not provider.implements(request.kind):
                raise NotSupported(
                    f"the provider {provider.name} does not {request.kind}", session_id=session.id
                )
            if request.kind is REFUND:
                request = self._with_capture(session, request, provider.capabilities)
            self.calls.check(session.id)
            reading = self.elapsed.reading()
            ledger, begun = begin(session, request, provider.capabilities, self.elapsed.now())
            if request.capture is not None or self._webhooks is not None:
                begun = self.addressed(begun, session, request.capture)
            ledger.guarded = True
            if provider.capabilities.local:
                answer = self._answer_at_once(provider, session, ledger, begun, reading)
            return ledger

        local = provider.capabilities.local  # what was only begun is no news
        full = partial(self._no_room, asked=request.amount)
        step = self.swap(plan, session.id, session, full=full, observed=local)
        if step.ledger is None or begun is None:
            return step.session
        if answer is not None:
            return self._result(step.session, step.ledger.written[begun.id], answer)
        return self._call(provider, step.session, begun, reading)

    def _with_capture(self, session: SessionRow, request: Request, capabilities: Capabilities) -> Request:
        """Return a refund that has to refer to a capture with the capture; any other refund as it is."""
        if request.capture_id is None and not capabilities.refund_needs_capture:
            return request
        rows: Sequence[Operation]
        if isinstance(request.capture_id, str):
            found = self.store.refunds_of(request.capture_id)
            rows = [row for row in found if row.session_id == session.id]
        else:
            rows = self.store.operations(session.id)
        return with_capture(session, request, rows)

    def _call(
        self, provider: Provider, session: SessionRow, operation: Operation, reading: float | None
    ) -> SessionRow:
        """Call the provider for an operation that was begun, and finish it; ``reading``: see `ask`."""
        shown = self.calls.shown(operation, self.store.now)
        try:
            return self.calls.make(
                provider,
                operation,
                partial(self.ask, provider, session, shown, reading),
                partial(self._finish, provider, session, operation),
            )
        except TimeOver:
            raise OutcomeUnknown(
                f"{provider.name} did not answer the {operation.kind} of {operation.amount} within the time "
                "of this call, which goes on; do not repeat it under a new key: what comes of it is recorded",
                session_id=session.id,
                operation_id=operation.id,
            ) from None

    def addressed(self, operation: Operation, session: SessionRow, capture: Operation | None) -> Operation:
        """Return an operation with what a hook is shown of it and no store keeps."""
        return replace(operation, capture=capture, webhook_url=self.webhook_url(session.provider))

    def _no_room(self, session: SessionRow, asked: Money | None) -> InvalidAmount:
        return InvalidAmount(
            f"the collection {session.collection_reference!r} has no room for {asked or session.amount}: "
            "another session holds its amount, or it was lowered; cancel that one or update this one",
            session_id=session.id,
        )

    def _repeated(self, session: SessionRow, request: Request) -> SessionRow | Request:
        """Return what the caller's key led to before, or the request if a first or next attempt is due."""
        key = request.idempotency_key
        assert key is not None  # noqa: S101 - asked only with a key
        earlier = self.store.repeated(session.id, key, request.digest(session.id))
        if earlier is None:
            return request
        if earlier.idempotency_key is not None and earlier.fingerprint != request.fingerprint:
            raise IdempotencyMismatch(
                f"the idempotency key {key!r:.80} was used before with other parameters; use a new key "
                "for a new request",
                session_id=session.id,
                operation_id=earlier.id,
            )
        if earlier.state is State.STARTED:
            session = self.recovery.recover(session.id)
            earlier = self.store.operation(earlier.id) or earlier
        if earlier.state is State.STARTED:
            raise self._in_doubt(earlier)
        if earlier.state is State.NOT_APPLIED:
            attempts = number_of(session.id, earlier.id) or earlier.ordinal
            return request._replace(attempt=attempts + 1)
        if earlier.state is State.DECLINED and earlier.kind is not AUTHORIZE:
            raise self._declined(earlier)
        return self.load(session.id)

    def _make_way(self, session: SessionRow) -> SessionRow:
        """Settle the doubt that stands before another operation, or refuse."""
        session = self.recovery.recover(session.id)
        if session.open is not None:
            raise SessionBusy(
                f"the operation {session.open} of this session is in doubt; recover() settles it",
                session_id=session.id,
                operation_id=session.open,
            )
        return session

    def _is_done(self, session: SessionRow, request: Request, waiting: str | None) -> bool:
        """Return whether what is asked is done, as by what was waiting before it and is settled now."""
        settled = self.store.operation(waiting) if waiting is not None else None
        return is_repetition(request, settled) or nothing_to_do(session, request)

    def _answer_at_once(
        self,
        provider: Provider,
        session: SessionRow,
        ledger: Ledger,
        operation: Operation,
        reading: float | None,
    ) -> Outcome | ProviderError:
        """Carry out an operation whose effects are ours: one commit holds its beginning and its end."""
        answer = self.ask(provider, session, operation, reading)
        if isinstance(answer, OutcomeUnknown):
            # Its effects are ours and nothing was written, so nothing happened.
            answer = NotApplied(answer.message)
        from_answer(ledger, operation, answer, provider.capabilities)
        return answer

    def ask(
        self, provider: Provider, session: SessionRow, operation: Operation, reading: float | None
    ) -> Outcome | ProviderError:
        """Call the hook; what it raises is an answer too.

        Args:
            provider: The session's.
            session: As the hook is shown it.
            operation: The same.
            reading: The stopwatch's, from before the operation was begun or claimed.
        """
        lease, begun = operation.lease_until, operation.updated_at
        limit = provider.capabilities.call_limit
        if lease is not None and self.elapsed.is_after(lease - limit, begun, reading):
            return unsent(operation, "the process was paused for too long before it sent anything")
        try:
            outcome = provider.perform(operation.kind, session, operation)
            verify(session, operation, outcome, provider.capabilities)
        except ProviderError as error:
            return error
        return outcome

    def _finish(
        self,
        provider: Provider,
        session: SessionRow,
        operation: Operation,
        answer: Outcome | ProviderError,
    ) -> SessionRow:
        """Write an answer down, if the operation is still ours to finish.

        A provider that does not know what became of it is asked once, at once: often that settles
        it within the call.
        """
        if isinstance(answer, OutcomeUnknown) and provider.capabilities.lookup != "none":
            found = self.recovery.look(provider, session, operation)
            if found is not None:
                return self._result(*found, answer)
        current = operation

        def plan(now: SessionRow) -> Ledger | None:
            nonlocal current
            if now.version != session.version:
                found = self.store.operation(operation.id)
                current = found or operation
                if found is None or found.state is not State.STARTED or found.attempt != operation.attempt:
                    return None
                current = replace(found, capture=operation.capture, webhook_url=operation.webhook_url)
            whole = now.version != session.version or self._was_found(now, current, answer)
            ledger = self.ledger(now, whole=whole)
            from_answer(ledger, current, answer, provider.capabilities)
            return ledger

        step = self.swap(plan, session.id, session)
        if step.ledger is None:
            return self._overtaken(provider, step.session, current, answer)
        written = step.ledger.written[operation.id]
        if written.state is State.STARTED:
            self.registry.notify("operation_in_doubt", operation=written)
        session = step.session if step.then is None else self.carry_on(step.session, step.then)
        if isinstance(answer, Declined) and (operation.kind in _AFTER_AUTHORIZATION or operation.increments):
            self.recovery.query(provider, session.id)
        return self._result(session, written, answer)

    def _was_found(self, session: SessionRow, operation: Operation, answer: Outcome | ProviderError) -> bool:
        """Return whether what an answer names was found before the operation began, as after a restore."""
        if operation.kind is CAPTURE:
            known = session.captured + session.capturing
        elif operation.kind is REFUND:
            known = session.refunded + session.refunding
        else:
            return False
        if not known or not isinstance(answer, Outcome) or answer.reference is None:
            return False
        return self.store.operation(found_id(session.id, operation.kind, answer.reference)) is not None

    def _overtaken(
        self,
        provider: Provider,
        session: SessionRow,
        operation: Operation,
        answer: Outcome | ProviderError,
    ) -> SessionRow:
        """Somebody else settled the operation, or took it over: keep our answer, and look."""
        if (
            isinstance(answer, Outcome)
            and operation.state in (State.SUCCEEDED, State.PENDING)
            and operation.reference in (None, answer.reference)
        ):
            session = self._fill_in(provider, session.id, operation, answer)
            if _tells_more(session, operation, answer):
                session = self._look_again(provider, session, operation, answer)
                operation = self.store.operation(operation.id) or operation
        elif isinstance(answer, Outcome) and not operation.sure:
            # Another effect was taken for ours, which happened as well.
            effects = effects_of(operation, answer)
            session = self.recovery.record_effects(provider, session.id, effects)[0]
            operation = self.store.operation(operation.id) or operation
        elif not (isinstance(answer, OutcomeUnknown) and operation.state.closed):
            session = self._keep(session, operation.id, answer)
            if operation.state is not State.STARTED:
                session = self._look_again(provider, session, operation, answer)
            operation = self.store.operation(operation.id) or operation
        if operation.state is State.STARTED:
            raise SessionBusy(
                "this call lost its lease: recovery has taken the operation over",
                session_id=session.id,
                operation_id=operation.id,
            )
        overtaken = (
            operation.answer == FAILED and isinstance(answer, Outcome) and answer.answer is Answer.PENDING
        )
        if isinstance(answer, Outcome) and operation.state in REFUSED and not overtaken:
            if operation.kind is AUTHORIZE:
                return session
            if operation.kind is not INITIATE:
                raise OutcomeUnknown(
                    f"the provider did {operation.kind} {operation.amount}, after that had been settled as "
                    f"{operation.state}; look at the session before you repeat it",
                    session_id=session.id,
                    operation_id=operation.id,
                )
        return self._result(session, operation, answer)

    def _fill_in(
        self, provider: Provider, session_id: str, operation: Operation, answer: Outcome
    ) -> SessionRow:
        """Merge the late details of an answer into what was settled in its sense meanwhile."""

        def rule(session: SessionRow) -> Ledger | None:
            ledger = self.ledger(session)
            from_late_answer(ledger, operation, answer, provider.capabilities)
            return ledger if ledger.changed else None

        return self.decide(session_id, rule)

    def _look_again(
        self,
        provider: Provider,
        session: SessionRow,
        operation: Operation,
        answer: Outcome | ProviderError,
    ) -> SessionRow:
        """Have the provider's truth decide between an answer and what was settled meanwhile."""
        if provider.capabilities.lookup != "none":
            try:
                return self.recovery.sync(session.id)
            except (ProviderError, SessionBusy):
                return self.load(session.id)
        if isinstance(answer, Outcome) and (
            operation.state in REFUSED or _tells_more(session, operation, answer)
        ):
            return self.recovery.record_effects(provider, session.id, effects_of(operation, answer))[0]
        return session

    def _keep(self, session: SessionRow, operation_id: str, answer: Outcome | ProviderError) -> SessionRow:
        """Note a late answer with its operation, and have recovery look."""

        def plan(session: SessionRow) -> Ledger | None:
            current = self.store.operation(operation_id)
            if current is None:
                return None
            ledger = self.ledger(session)
            ledger.apply(Noted(current, f"late answer: {_shown(answer)}"))
            return ledger

        try:
            return self.swap(plan, session.id, session, observed=False).session
        except SessionBusy:
            return self.load(session.id)

    def _result(
        self, session: SessionRow, operation: Operation, answer: Outcome | ProviderError
    ) -> SessionRow:
        """Return the session, or raise what the caller must hear of."""
        state = operation.state
        if state is State.SUCCEEDED:
            return session
        if state is State.STARTED:
            raise self._in_doubt(operation)
        if state is State.NOT_APPLIED:
            error: PaysessionError = (
                answer if isinstance(answer, NotApplied) else NotApplied(operation.message)
            )
            if isinstance(error, Mistaken):
                error = error.mistake
            error.session_id, error.operation_id = session.id, operation.id
            raise error
        if state is State.DECLINED and operation.kind is not AUTHORIZE:
            raise self._declined(operation)
        return session

    def _in_doubt(self, operation: Operation) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"it is not known whether the {operation.kind} of {operation.amount} happened "
            f"({operation.message}); do not repeat it under a new key: recover() settles it",
            session_id=operation.session_id,
            operation_id=operation.id,
        )

    def _declined(self, operation: Operation) -> Declined:
        error = operation.error
        return Declined(
            error.code if error is not None else "declined",
            operation.message,
            category=error.category if error is not None else None,
            payer_message_key=error.payer_message_key if error is not None else None,
            session_id=operation.session_id,
            operation_id=operation.id,
        )

    # --- committing, and what follows ---------------------------------------------------------------

    def decide(self, session_id: str, plan: Callable[[SessionRow], Ledger | SessionRow | None]) -> SessionRow:
        """Commit what a plan makes of the session as it is, and then do what follows from that.

        Args:
            session_id: The session.
            plan: See `swap`.

        Raises:
            SessionBusy: The session moved at every attempt.
        """
        session, _, then = self.swap(plan, session_id)
        return self.carry_on(session, then)

    def swap(
        self,
        plan: Callable[[SessionRow], Ledger | SessionRow | None],
        session_id: str,
        session: SessionRow | None = None,
        *,
        full: Callable[[SessionRow], PaysessionError] | None = None,
        observed: bool = True,
    ) -> Step:
        """Commit what a plan makes of a session, and again if the session moves meanwhile.

        This is the one loop of compare and swap. It calls no gateway: what follows is returned.

        Args:
            plan: Makes the change, as a ledger with facts applied. None, or a session: there is nothing to
                change, and this is how it stands. It may raise `Stale` to be asked again.
            session_id: The session.
            session: The session as it was read just now; None: it is read.
            full: Makes the error for a session that its collection has no room for; None: the plan looks at
                the room by itself, and is asked again.
            observed: Whether the observers are notified.

        Raises:
            SessionBusy: The session moved at every attempt.
        """
        for _ in range(ATTEMPTS):
            read, session = session or self.load(session_id), None
            try:
                ledger = plan(read)
            except Stale:
                continue
            if not isinstance(ledger, Ledger):
                return Step(ledger or read)
            change = ledger.change()
            try:
                self.store.commit(change)
            except Stale:
                continue
            except OverLimit:
                # What holds the amount may be this session's own operation.
                session = self.load(session_id)
                if full is not None and session.version == ledger.before.version:
                    raise full(session) from None
                continue
            if observed:
                self.notify(ledger)
            else:
                log_change(ledger)
            return Step(ledger.session, ledger, follow_up(ledger))
        raise too_fast(session_id)

    def carry_on(self, session: SessionRow, then: Request | None) -> SessionRow:
        """Send what follows from a change; if that fails recovery goes on.

        Nothing follows from a cancel that was sent: it is in doubt, refused, or has nothing left to do.
        """
        if then is None:
            return session
        try:
            return self.perform(session, then)
        except PaysessionError as error:
            logger.info("the cancel of session %s is still wanted: %s", session.id, error)
            session = self.load(session.id)
            if isinstance(error, InvalidTransition) and session.open is None:
                return self._clear_cancel(session)
            return session

    def _clear_cancel(self, session: SessionRow) -> SessionRow:
        """Clear the cancel request of a session of which everything is captured meanwhile."""

        def plan(now: SessionRow) -> Ledger | None:
            if now.version != session.version:
                return None
            ledger = self.ledger(now)
            ledger.apply(CancelCleared())
            return ledger

        return self.swap(plan, session.id, session).session

    def notify(self, ledger: Ledger) -> None:
        """Notify the observers of a change that was committed."""
        log_change(ledger)
        if not ledger.opened and not self.registry.observed:
            return
        before = ledger.before if ledger.before.version else None
        operation = next(iter(ledger.written.values()), None)
        self.registry.notify("session_changed", before=before, after=ledger.session, operation=operation)
        for conflict in ledger.opened:
            self.registry.notify(
                "conflict_found",
                session=ledger.session,
                operation=operation,
                kind=conflict.kind,
                expected=conflict.expected,
                found=conflict.found,
            )


def _tells_more(session: SessionRow, operation: Operation, answer: Outcome) -> bool:
    """Return whether an answer goes beyond what was settled in its sense meanwhile."""
    if answer.answer in (Answer.PENDING, Answer.REQUIRES_MORE):
        return False  # it is from before
    if operation.state is State.PENDING:
        return True
    if operation.kind is AUTHORIZE:
        if answer.answer is Answer.CAPTURED and not session.captured:
            return True  # a lookup between authorization and capture
        return (operation.answer == Answer.CANCELED) is not (answer.answer is Answer.CANCELED) or (
            operation.answer == Answer.REQUIRES_MORE
        )
    if operation.answer != "found" or operation.reference is not None:
        return False
    # Settled by a total, which may have been of somebody else's: ours comes on top of it.
    if operation.kind is CAPTURE:
        return session.authorized > session.captured + session.capturing
    returned = session.refunded + session.refunding + session.charged_back
    return operation.kind is REFUND and session.captured > returned


def _shown(answer: Outcome | ProviderError) -> str:
    if isinstance(answer, Outcome):
        return f"{answer.answer} {answer.amount or ''} {answer.reference or ''}".strip()
    return f"{type(answer).__name__}: {answer.message}"[:500]
