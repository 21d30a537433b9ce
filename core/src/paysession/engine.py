"""The protocol of every operation: begin, call, finish; and recovery, which finds out what was lost.

    begin    one commit: the rules are checked, the operation and its key are written down
    call     the provider's hook, with no transaction and no lock held
    finish   one commit: the answer is applied, if the operation is still ours to finish

A process may die between any two of these lines. What it leaves is an operation that is `started`,
with a lease that runs out; `Engine.recover` takes it over, asks the provider what became of it, and
sends it again, under the same key, only where that cannot cause a second effect.

All decisions are pure functions (``lifecycle``, ``reconcile``); here is the order in which they are
asked, and who wins when two are at it: every commit is guarded by the session's version.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from paysession import lifecycle
from paysession.errors import (
    Declined,
    IdempotencyMismatch,
    InvalidAmount,
    InvalidTransition,
    NotApplied,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    PaysessionError,
    ProviderError,
    SessionBusy,
)
from paysession.operation import Kind, Operation, State
from paysession.outcome import Outcome, Snapshot
from paysession.reconcile import apply_snapshot
from paysession.store import OverLimit, Stale
from paysession.values import Status, replace

if TYPE_CHECKING:
    from paysession.draft import Draft
    from paysession.lifecycle import Request
    from paysession.plugins import Provider, Registry
    from paysession.session import PaymentSession
    from paysession.store import Store

__all__ = ["Engine"]

logger = logging.getLogger("paysession")

ATTEMPTS: Final = 20
"""How often a decision is made again because the session moved meanwhile."""

GRACE: Final = timedelta(minutes=10)
"""How long after the last possible send an absent effect counts as evidence that there is none."""

_OPEN: Final = (State.STARTED, State.PENDING)


class Engine:
    """Carries operations out.

    Args:
        store: Where the books are kept.
        registry: The selected providers.
        public_url: Where the host serves payments; notifications go to ``/webhooks/<provider>``
            below it.
    """

    def __init__(self, store: Store, registry: Registry, public_url: str | None = None) -> None:
        self.store = store
        self.registry = registry
        self._webhooks = f"{public_url.rstrip('/')}/webhooks/" if public_url else None

    def load(self, session_id: str) -> PaymentSession:
        """Return a session, or raise `NotFound`."""
        session = self.store.session(session_id)
        if session is None:
            raise NotFound(f"there is no session {session_id!r:.80}")
        return session

    # --- begin, call, finish ----------------------------------------------------------------------

    def perform(self, session_id: str, request: Request, new: PaymentSession | None = None) -> PaymentSession:
        """Carry one operation out, and return the session after it.

        Args:
            session_id: The session.
            request: What is asked of it.
            new: The session itself, if it is yet to be written.

        Raises:
            SessionBusy: Another operation of the session is in flight or in doubt.
            IdempotencyMismatch: The caller's key was used with other parameters.
            RequestError: The rules forbid it.
            Declined, NotApplied, OutcomeUnknown: The provider's answer.
        """
        for _ in range(ATTEMPTS):
            session = new or self.load(session_id)
            provider = self.registry.provider(session.provider)
            if request.idempotency_key is not None and new is None:
                settled = self._repeated(session, request)
                if settled is not None:
                    return settled
                if session.open is not None:
                    session = self.load(session_id)
            if session.open is not None:
                session = self._make_way(session)
            if lifecycle.nothing_left(session, request):
                return session
            if not provider.implements(request.kind):
                raise NotSupported(
                    f"the provider {provider.name} does not {request.kind}", session_id=session_id
                )
            if request.kind is Kind.REFUND and (
                request.capture_id is not None or provider.capabilities.refund_needs_capture
            ):
                rows = self.store.operations(session_id)
                request = lifecycle.with_capture(session, request, rows, provider.capabilities)
            now = self.store.now()
            draft, operation = lifecycle.begin(session, request, provider.capabilities, now)
            operation = replace(operation, capture=request.capture, webhook_url=self._webhook_url(session))
            try:
                if provider.capabilities.local:
                    return self._perform_at_once(provider, session, draft, operation)
                self.store.commit(draft.change(guarded=True))
            except Stale:
                new = None
                continue
            except OverLimit:
                raise self._no_room(session) from None
            return self._call(provider, draft.session, operation)
        raise SessionBusy("the session changes too fast; try again", session_id=session_id)

    def _webhook_url(self, session: PaymentSession) -> str | None:
        return f"{self._webhooks}{session.provider}" if self._webhooks else None

    def _no_room(self, session: PaymentSession) -> InvalidAmount:
        return InvalidAmount(
            f"the collection {session.collection_reference!r} has no room for {session.amount}: another "
            "session holds its amount; cancel that one, or wait until it is settled",
            session_id=session.id,
        )

    def _repeated(self, session: PaymentSession, request: Request) -> PaymentSession | None:
        """Return what the caller's key led to before; None: it is new, or its next attempt is due."""
        key = request.idempotency_key
        assert key is not None  # noqa: S101 - asked only with a key
        earlier = self.store.repeated(session.id, key)
        if earlier is None:
            return None
        if earlier.fingerprint != request.fingerprint:
            raise IdempotencyMismatch(
                f"the idempotency key {key!r:.80} was used before with other parameters; use a new key "
                "for a new request",
                session_id=session.id,
                operation_id=earlier.id,
            )
        if earlier.state is State.STARTED:
            session = self.recover(session.id)
            earlier = self.store.operation(earlier.id) or earlier
        if earlier.state is State.STARTED:
            raise self._in_doubt(earlier)
        if earlier.state is State.NOT_APPLIED:
            return None
        if earlier.state is State.DECLINED and earlier.kind is not Kind.AUTHORIZE:
            raise self._declined(earlier)
        return self.load(session.id)

    def _make_way(self, session: PaymentSession) -> PaymentSession:
        """Settle the doubt that stands before another operation, or refuse."""
        session = self.recover(session.id)
        if session.open is not None:
            raise SessionBusy(
                f"the operation {session.open} of this session is in doubt; recover() settles it",
                session_id=session.id,
                operation_id=session.open,
            )
        return session

    def _perform_at_once(
        self, provider: Provider, session: PaymentSession, begun: Draft, operation: Operation
    ) -> PaymentSession:
        """Carry out an operation whose effects are ours: one commit holds all of it."""
        answer = self._ask(provider, session, operation)
        if isinstance(answer, OutcomeUnknown):
            # Its effects are ours and nothing was written, so nothing happened.
            answer = NotApplied(answer.message)
        opened = replace(begun.session, version=session.version)
        draft = self._settled(provider, opened, operation, answer)
        draft.before = session
        self.store.commit(draft.change(guarded=True))
        self._tell(draft)
        return self._result(draft.session, draft.operations[operation.id], answer)

    def _call(self, provider: Provider, session: PaymentSession, operation: Operation) -> PaymentSession:
        """Send an operation that was begun or claimed, and finish it."""
        answer = self._ask(provider, session, operation)
        return self._finish(provider, session, operation, answer)

    def _ask(
        self, provider: Provider, session: PaymentSession, operation: Operation
    ) -> Outcome | ProviderError:
        """Call the hook; what it raises is an answer too."""
        lease = operation.lease_until
        if lease is not None and self.store.now() > lease - provider.capabilities.call_limit:
            late = "the process was paused for too long before it sent anything"
            return NotApplied(late) if operation.attempt == 1 else OutcomeUnknown(late)
        try:
            outcome = provider.perform(operation.kind, session, operation)
            lifecycle.verify(session, operation, outcome)
        except ProviderError as error:
            return error
        return outcome

    def _settled(
        self,
        provider: Provider,
        session: PaymentSession,
        operation: Operation,
        answer: Outcome | ProviderError,
        note: str | None = None,
    ) -> Draft:
        """Return what an answer does to the books."""
        now, capabilities = self.store.now(), provider.capabilities
        if isinstance(answer, Outcome):
            return lifecycle.apply_outcome(
                session, operation, answer, now=now, capabilities=capabilities, note=note
            )
        if isinstance(answer, Declined | NotApplied):
            return lifecycle.apply_refusal(
                session, operation, answer, now=now, capabilities=capabilities, note=note
            )
        return lifecycle.doubt(session, operation, answer, now=now)

    def _finish(
        self,
        provider: Provider,
        session: PaymentSession,
        operation: Operation,
        answer: Outcome | ProviderError,
    ) -> PaymentSession:
        """Write an answer down, if the operation is still ours to finish.

        A provider that does not know what became of it is asked once, at once: often that settles
        it within the call.
        """
        if isinstance(answer, OutcomeUnknown) and provider.capabilities.lookup != "none":
            found = self._look(provider, session, operation)
            if found is not None:
                return self._result(*found, answer)
        for _ in range(ATTEMPTS):
            draft = self._settled(provider, session, operation, answer)
            try:
                self.store.commit(draft.change())
            except Stale:
                session = self.load(session.id)
                current = self.store.operation(operation.id)
                if (
                    current is None
                    or current.state is not State.STARTED
                    or current.attempt != operation.attempt
                ):
                    return self._overtaken(provider, session, current or operation, answer)
                operation = replace(current, capture=operation.capture, webhook_url=operation.webhook_url)
                continue
            self._tell(draft)
            written = draft.operations[operation.id]
            if written.state is State.STARTED:
                self.registry.tell("operation_in_doubt", operation=written)
            return self._result(self._follow(draft.session), written, answer)
        raise SessionBusy("the session changes too fast; try again", session_id=session.id)

    def _overtaken(
        self,
        provider: Provider,
        session: PaymentSession,
        operation: Operation,
        answer: Outcome | ProviderError,
    ) -> PaymentSession:
        """Somebody else settled the operation, or took it over: keep our answer, and look."""
        agrees = isinstance(answer, Outcome) and (
            operation.state in (State.SUCCEEDED, State.PENDING)
            and operation.reference in (None, answer.reference)
        )
        if not agrees and not (isinstance(answer, OutcomeUnknown) and operation.state.closed):
            session = self._keep(session, operation.id, answer)
            if operation.state is not State.STARTED and provider.capabilities.lookup != "none":
                try:
                    session = self.sync(session.id)
                except (ProviderError, SessionBusy):
                    session = self.load(session.id)
            operation = self.store.operation(operation.id) or operation
        if operation.state is State.STARTED:
            raise SessionBusy(
                "this call was overtaken: recovery has taken the operation over",
                session_id=session.id,
                operation_id=operation.id,
            )
        return self._result(session, operation, answer)

    def _keep(
        self, session: PaymentSession, operation_id: str, answer: Outcome | ProviderError
    ) -> PaymentSession:
        """Note a late answer with its operation, and have recovery look."""
        for _ in range(ATTEMPTS):
            current = self.store.operation(operation_id)
            if current is None:
                break
            draft = lifecycle.note(session, current, f"late answer: {_shown(answer)}", now=self.store.now())
            try:
                self.store.commit(draft.change())
            except Stale:
                session = self.load(session.id)
                continue
            return draft.session
        return session

    def _result(
        self, session: PaymentSession, operation: Operation, answer: Outcome | ProviderError
    ) -> PaymentSession:
        """Return the session, or raise what the caller must hear of."""
        state = operation.state
        if state is State.STARTED:
            raise self._in_doubt(operation)
        if state is State.NOT_APPLIED:
            error = answer if isinstance(answer, NotApplied) else NotApplied(_message(operation))
            error.session_id, error.operation_id = session.id, operation.id
            raise error
        if state is State.DECLINED and operation.kind is not Kind.AUTHORIZE:
            raise self._declined(operation)
        return session

    def _in_doubt(self, operation: Operation) -> OutcomeUnknown:
        return OutcomeUnknown(
            f"it is not known whether the {operation.kind} of {operation.amount} happened "
            f"({_message(operation)}); do not repeat it under a new key: recover() settles it",
            session_id=operation.session_id,
            operation_id=operation.id,
        )

    def _declined(self, operation: Operation) -> Declined:
        error = operation.error
        return Declined(
            error.code if error is not None else "declined",
            _message(operation),
            session_id=operation.session_id,
            operation_id=operation.id,
        )

    # --- looking ----------------------------------------------------------------------------------

    def _look(
        self, provider: Provider, session: PaymentSession, operation: Operation
    ) -> tuple[PaymentSession, Operation] | None:
        """Ask the provider about an operation in doubt; None: that did not settle it."""
        try:
            self._apply_truth(provider, session.id, operation)
        except (ProviderError, Stale):
            return None
        current = self.store.operation(operation.id)
        if current is None or current.state is State.STARTED:
            return None
        return self.load(session.id), current

    def _apply_truth(
        self, provider: Provider, session_id: str, operation: Operation | None
    ) -> tuple[PaymentSession, Snapshot]:
        """Fetch a snapshot and book it at the version that was read before it was fetched."""
        for _ in range(ATTEMPTS):
            session = self.load(session_id)
            snapshot = provider.retrieve(session, operation)
            draft = self.book(provider, session, snapshot)
            if draft is None:
                return session, snapshot
            try:
                self.store.commit(draft.change())
            except Stale:
                continue
            self._tell(draft)
            return self._follow(draft.session), snapshot
        raise Stale(session_id)

    def book(self, provider: Provider, session: PaymentSession, snapshot: Snapshot) -> Draft | None:
        """Return what a snapshot does to the books; None: nothing."""
        collection = self.store.collection(session.collection_id)
        assert collection is not None  # noqa: S101 - sessions are written with their collection
        draft = apply_snapshot(
            session,
            self.store.operations(session.id),
            snapshot,
            room=collection.amount.minor - collection.held,
            now=self.store.now(),
            capabilities=provider.capabilities,
        )
        return draft if draft.changed else None

    def commit(self, draft: Draft) -> PaymentSession:
        """Commit a draft, tell the observers, and do what was wanted once nothing is in doubt."""
        self.store.commit(draft.change())
        self._tell(draft)
        return self._follow(draft.session)

    # --- recovery ---------------------------------------------------------------------------------

    def recover(self, session_id: str) -> PaymentSession:
        """Find out what became of the session's open operation; return the session as it is then.

        Raises:
            SessionBusy: Somebody is at it, and the lease has not run out.
        """
        for _ in range(ATTEMPTS):
            session = self.load(session_id)
            if session.open is None:
                return session
            operation = self.store.operation(session.open)
            if operation is None or operation.state is not State.STARTED:
                continue
            now = self.store.now()
            if operation.lease_until is not None and operation.lease_until > now:
                raise SessionBusy(
                    f"the {operation.kind} {operation.id} is in flight; try again shortly",
                    session_id=session_id,
                    operation_id=operation.id,
                )
            provider = self.registry.provider(session.provider)
            draft, claimed = lifecycle.claim(session, operation, now=now, capabilities=provider.capabilities)
            try:
                self.store.commit(draft.change())
            except Stale:
                continue
            return self._find_out(provider, draft.session, claimed)
        raise SessionBusy("the session changes too fast; try again", session_id=session_id)

    def _find_out(self, provider: Provider, session: PaymentSession, operation: Operation) -> PaymentSession:
        """Look first; then, where it cannot cause a second effect, send again under the same key."""
        capabilities = provider.capabilities
        now = self.store.now()
        sent_at = operation.sent_at or operation.created_at
        reason: ProviderError = OutcomeUnknown(_message(operation))
        seen: Snapshot | None = None
        if capabilities.lookup != "none":
            try:
                session, seen = self._apply_truth(provider, session.id, operation)
            except ProviderError as error:
                return self._still_in_doubt(session.id, operation, error)
            except Stale:
                return self.load(session.id)
            if session.open != operation.id:
                return session
            if capabilities.lookup == "lagging" and now < sent_at + capabilities.lookup_lag:
                return self._still_in_doubt(session.id, operation, reason)
        window_ends = sent_at + capabilities.window(operation.kind)
        if now + capabilities.call_limit < window_ends:
            return self._send_again(provider, session, operation)
        # Initiating is inert, so an abandoned one needs no evidence: what turns up is cancelled.
        no_effect = operation.kind is Kind.INITIATE or (seen is not None and seen.tells(operation.kind))
        if no_effect and now >= window_ends + max(GRACE, capabilities.lookup_lag):
            # Nothing was sent since, and the provider, asked now, knows nothing of it.
            gone = NotApplied("the provider shows no trace of it, long after it was last sent")
            return self._settle(provider, session.id, operation, gone)
        return self._still_in_doubt(session.id, operation, reason)

    def _send_again(
        self, provider: Provider, session: PaymentSession, operation: Operation
    ) -> PaymentSession:
        """Repeat an operation with its key and with the session as it was at begin."""
        operation = replace(
            operation,
            capture=self.store.operation(operation.capture_id) if operation.capture_id else None,
            webhook_url=self._webhook_url(session),
        )
        as_begun = replace(
            session,
            _data=operation.data_text,
            reference=operation.session_reference,
            status=operation.session_status,
        )
        answer = self._ask(provider, as_begun, operation)
        if not _is_success(answer) and provider.capabilities.lookup != "none":
            # A gateway replays the decline, the 500 or the "payer must act" of an effect that has
            # happened since: the lookup decides, not the replay.
            found = self._look(provider, session, operation)
            if found is not None:
                return found[0]
        if isinstance(answer, NotApplied):
            # That says nothing about the first time it was sent.
            answer = OutcomeUnknown(answer.message, data=answer.data, reference=answer.reference)
        return self._settle(provider, session.id, operation, answer)

    def _still_in_doubt(self, session_id: str, operation: Operation, reason: ProviderError) -> PaymentSession:
        provider = self.registry.provider(self.load(session_id).provider)
        unknown = OutcomeUnknown(reason.message, data=reason.data, reference=reason.reference)
        return self._settle(provider, session_id, operation, unknown)

    def _settle(
        self,
        provider: Provider,
        session_id: str,
        operation: Operation,
        answer: Outcome | ProviderError,
        note: str | None = None,
    ) -> PaymentSession:
        """Write down what recovery or a person found out; who was overtaken leaves it as it is."""
        for _ in range(ATTEMPTS):
            session = self.load(session_id)
            current = self.store.operation(operation.id)
            if current is None or current.state.closed or current.attempt != operation.attempt:
                return session
            draft = self._settled(provider, session, current, answer, note)
            try:
                return self.commit(draft)
            except Stale:
                continue
        raise SessionBusy("the session changes too fast; try again", session_id=session_id)

    def resolve(
        self, operation_id: str, answer: Outcome | Declined | NotApplied, note: str
    ) -> PaymentSession:
        """Settle an operation by a person's word."""
        operation = self.store.operation(operation_id)
        if operation is None:
            raise NotFound(f"there is no operation {operation_id!r:.80}")
        session = self.load(operation.session_id)
        if operation.state not in _OPEN:
            raise InvalidTransition(
                f"the operation is closed: {operation.state}",
                session_id=session.id,
                operation_id=operation_id,
            )
        if operation.lease_until is not None and operation.lease_until > self.store.now():
            raise SessionBusy(
                "the operation is in flight; try again shortly",
                session_id=session.id,
                operation_id=operation_id,
            )
        provider = self.registry.provider(session.provider)
        return self._settle(provider, session.id, operation, answer, note)

    # --- asking for the truth ---------------------------------------------------------------------

    def sync(self, session_id: str) -> PaymentSession:
        """Ask the provider how the session stands, book it, and go on where it says `ready`.

        Raises:
            NotApplied, OutcomeUnknown: The provider could not be asked.
        """
        session = self.load(session_id)
        provider = self.registry.provider(session.provider)
        if session.open is not None:
            with suppress(SessionBusy):  # in flight: what the provider shows can be booked all the same
                session = self.recover(session_id)
        if provider.capabilities.lookup == "none" or provider.capabilities.local:
            return session
        operation = self.store.operation(session.open) if session.open is not None else None
        try:
            session, snapshot = self._apply_truth(provider, session_id, operation)
        except Stale:
            raise SessionBusy("the session changes too fast; try again", session_id=session_id) from None
        if (
            snapshot.ready
            and session.status in (Status.PENDING, Status.REQUIRES_MORE)
            and session.open is None
            and session.authorizing is None
            and session.initiated
        ):
            session = self.perform(session_id, lifecycle.Request(Kind.AUTHORIZE))
        return session

    def want_cancel(self, session_id: str) -> PaymentSession:
        """Remember that a cancel was asked for while an operation is in doubt."""
        for _ in range(ATTEMPTS):
            session = self.load(session_id)
            if session.cancel_wanted or session.open is None:
                return session
            try:
                return self.commit(lifecycle.want_cancel(session, now=self.store.now()))
            except Stale:
                continue
        raise SessionBusy("the session changes too fast; try again", session_id=session_id)

    def abandon(self, session_id: str) -> PaymentSession:
        """End a session that no provider has accepted: there is nothing to cancel anywhere."""
        for _ in range(ATTEMPTS):
            session = self.load(session_id)
            if session.open is not None or session.initiated or session.status is Status.CANCELED:
                return session
            try:
                return self.commit(lifecycle.abandon(session, now=self.store.now()))
            except Stale:
                continue
        raise SessionBusy("the session changes too fast; try again", session_id=session_id)

    def needs_person(self, session: PaymentSession, operation: Operation) -> bool:
        """Return whether only a person can tell what became of an operation."""
        try:
            capabilities = self.registry.provider(session.provider).capabilities
        except PaysessionError:
            return True
        sent_at = operation.sent_at or operation.created_at
        replayable = self.store.now() < sent_at + capabilities.window(operation.kind)
        return capabilities.lookup == "none" and not replayable

    def attend(self, session_id: str) -> PaymentSession:
        """Do whatever is due for a session; what stays open gets a later time.

        Provider failures and busy sessions are not raised: the next round looks again.
        """
        session = self.load(session_id)
        try:
            if session.open is not None:
                session = self.recover(session_id)
            elif not session.cancel_wanted:
                session = self.sync(session_id)
            session = self._follow(session)
        except SessionBusy:
            return self.load(session_id)
        except PaysessionError as error:
            logger.info("session %s is not settled: %s", session_id, error)
            session = self.load(session_id)
        return self._postpone(session)

    def _postpone(self, session: PaymentSession) -> PaymentSession:
        now = self.store.now()
        for _ in range(ATTEMPTS):
            if session.due_at is None or session.due_at > now:
                return session
            try:
                capabilities = self.registry.provider(session.provider).capabilities
            except PaysessionError:
                capabilities = None
            draft = lifecycle.postpone(session, now=now, capabilities=capabilities)
            try:
                self.store.commit(draft.change())
            except Stale:
                session = self.load(session.id)
                continue
            return draft.session
        return session

    # --- afterwards -------------------------------------------------------------------------------

    def _tell(self, draft: Draft) -> None:
        before = draft.before if draft.before.version else None
        operation = next(iter(draft.operations.values()), None)
        self.registry.tell("session_changed", before=before, after=draft.session, operation=operation)
        for kind, expected, found in draft.conflicts:
            logger.warning("session %s: %s: expected %s, found %s", draft.session.id, kind, expected, found)
            self.registry.tell(
                "conflict_found",
                session=draft.session,
                operation=operation,
                kind=kind,
                expected=expected,
                found=found,
            )

    def _follow(self, session: PaymentSession) -> PaymentSession:
        """Run the cancel that is wanted, once nothing is in doubt; if it fails recovery goes on."""
        if not session.cancel_wanted or session.open is not None:
            return session
        try:
            return self.perform(session.id, lifecycle.Request(Kind.CANCEL))
        except PaysessionError as error:
            logger.info("the cancel of session %s is still wanted: %s", session.id, error)
            session = self.load(session.id)
            if isinstance(error, InvalidTransition) and session.open is None:
                # Everything is captured meanwhile: there is nothing left to cancel.
                session = self._forget_cancel(session)
            return session

    def _forget_cancel(self, session: PaymentSession) -> PaymentSession:
        try:
            return self.commit(lifecycle.forget_cancel(session, now=self.store.now()))
        except Stale:
            return self.load(session.id)


def _is_success(answer: Outcome | ProviderError) -> bool:
    return isinstance(answer, Outcome) and answer.answer.value in (
        "authorized",
        "captured",
        "refunded",
        "canceled",
    )


def _message(operation: Operation) -> str:
    return operation.error.message if operation.error is not None else "no answer was recorded"


def _shown(answer: Outcome | ProviderError) -> str:
    if isinstance(answer, Outcome):
        return f"{answer.answer} {answer.amount or ''} {answer.reference or ''}".strip()
    return f"{type(answer).__name__}: {answer.message}"[:500]
