"""What a host application writes against: every call of paysession, and nothing of how it is done."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from paysession._ledger.evidence import verify
from paysession._ledger.facts import ConflictClosed
from paysession._ledger.rules import Request
from paysession.arguments import (
    check_amount,
    checked_checkout,
    checked_flag,
    checked_key,
    checked_limit,
    checked_payload,
    checked_text,
    collection_id_of,
    share_of,
)
from paysession.change import Change
from paysession.engine import Engine
from paysession.errors import (
    Declined,
    IdempotencyMismatch,
    InvalidAmount,
    InvalidData,
    NotApplied,
    NotFound,
    OutcomeUnknown,
    PaysessionError,
    ProviderError,
    SessionBusy,
    StoreError,
)
from paysession.money import Money
from paysession.opening import checked_url, open_store, selection
from paysession.operation import AUTHORIZE, CANCEL, CAPTURE, INITIATE, REFUND, UPDATE
from paysession.outcome import Outcome
from paysession.plugins import Registry, installed
from paysession.reports import InDoubt, ProviderInfo, Recovery
from paysession.session import PaymentCollection, PaymentSession, summarize
from paysession.settings import load_file
from paysession.store import OverLimit, Stale
from paysession.values import Status, encode, replace
from paysession.webhooks import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from paysession._ledger.ledger import Ledger
    from paysession.operation import Event, Operation
    from paysession.outcome import WebhookReply
    from paysession.session import Conflict
    from paysession.store import Store
    from paysession.values import Checkout
    from paysession.webhooks import Headers

__all__ = ["Payments"]

_CAPTURES: Final = ("manual", "automatic")
_UNAUTHORIZED: Final = (Status.PENDING, Status.REQUIRES_MORE, Status.ERROR)


class Payments:
    """Takes payments. Opened once per process with `Payments.open`; thread-safe.

    Args:
        store: Where the books are kept.
        registry: The selected providers and plugins.
        public_url: Where the host serves payments.
        token: Returns 16 random hexadecimal digits for the id of a session without an idempotency key (with
            one the id is derived from it, and is no secret); injectable for tests.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        *,
        public_url: str | None = None,
        token: Callable[[], str] = lambda: os.urandom(8).hex(),
    ) -> None:
        self._store = store
        self._registry = registry
        self._engine = Engine(store, registry, public_url)
        self._recovery = self._engine.recovery
        self._inbox = Inbox(self._engine)
        self._token = token

    @classmethod
    def open(
        cls,
        url: str | None = None,
        *,
        providers: Mapping[str, object] | Iterable[str] | None = None,
        plugins: Iterable[object] | None = None,
        public_url: str | None = None,
        config: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> Self:
        """Open the books and select providers.

        Args:
            url: Where the books are kept: ``sqlite:///payments.db``, ``memory:`` for tests.
                Without it, the file's ``store`` or ``PAYSESSION_DB``.
            providers: The selected providers by name: a mapping of settings for each, with
                ``"use"`` for another account of a plugin; or an instance; or just the names.
                Without it, those of the file; without a file, every installed one, loaded when
                it is first used.
            plugins: Observers and wrappers: names of installed ones, or instances.
            public_url: Where the host serves payments; providers are told to send notifications
                to ``<public_url>/webhooks/<provider>``.
            config: A TOML file with the same: ``store``, ``public_url``, ``plugins`` and tables
                ``[providers.NAME]``.
            environ: The environment, ``os.environ`` by default, with settings as
                ``PAYSESSION_<PROVIDER>__<SETTING>``.
            clock: Returns the time in UTC; the store's by default.

        Raises:
            ConfigurationError: Something of it is missing or wrong; the sentence says what.
        """
        environ = os.environ if environ is None else environ
        file = load_file(config) if config is not None else {}
        url = url or environ.get("PAYSESSION_DB") or file.get("store")
        if not url:
            raise StoreError('say where the books are kept: Payments.open("sqlite:///payments.db")')
        chosen = selection(providers, file)
        eager = chosen is not None
        if chosen is None:
            chosen = dict.fromkeys(installed("paysession.providers"))
        registry = Registry(chosen, file.get("plugins", ()) if plugins is None else plugins, environ)
        registry.load_plugins()
        if eager:
            registry.load_all()
        public_url = checked_url(public_url or file.get("public_url"))
        return cls(open_store(url, clock=clock), registry, public_url=public_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the providers and the store."""
        self._registry.close()
        self._store.close()

    # --- collections ------------------------------------------------------------------------------

    def create_collection(self, amount: Money, *, reference: str) -> PaymentCollection:
        """Say what has to be paid. With the same reference again, it is the same collection.

        Args:
            amount: More than zero.
            reference: The host's own name for it, such as the order's number: 1 to 200 characters.

        Raises:
            InvalidAmount: Not an amount of money, or zero.
            IdempotencyMismatch: The reference exists with another amount.
        """
        check_amount(amount)
        reference = checked_text(reference, "reference")
        now = self._store.now()
        collection = PaymentCollection(
            id=collection_id_of(reference), reference=reference, amount=amount, created_at=now, updated_at=now
        )
        try:
            self._store.commit(Change(collection=collection))
        except Stale:
            found = self.collection(reference=reference)
            if found.amount != amount:
                raise IdempotencyMismatch(
                    f"the collection {reference!r} exists with {found.amount}, not {amount}; "
                    "update_collection() changes its amount"
                ) from None
            return found
        return collection

    def update_collection(self, collection_id: str, amount: Money) -> PaymentCollection:
        """Change what has to be paid; never below what its sessions hold.

        Raises:
            InvalidAmount: Zero, another currency, or less than is held.
            NotFound: There is no such collection.
        """
        check_amount(amount)
        row = self._collection(collection_id)
        if row.amount.currency != amount.currency:
            raise InvalidAmount(f"{amount} is not in the collection's currency {row.amount.currency}")
        changed = replace(row, amount=amount, updated_at=self._store.now())
        try:
            self._store.commit(Change(collection=changed, collection_amount=True))
        except OverLimit:
            held = Money.from_minor(self._collection(collection_id).held, amount.currency)
            raise InvalidAmount(
                f"{amount} is below {held}, which its sessions hold; cancel one first"
            ) from None
        return self.collection(collection_id)

    def collection(self, id: str | None = None, *, reference: str | None = None) -> PaymentCollection:  # noqa: A002
        """Return a collection, by its id or by the host's reference, with its status and totals.

        Raises:
            NotFound: There is no such collection.
        """
        if id is None:
            if reference is None:
                raise NotFound("give the collection's id or its reference")
            try:
                row = self._collection(collection_id_of(checked_text(reference, "reference")))
            except NotFound:
                raise NotFound(f"there is no collection with the reference {reference!r:.80}") from None
            return self._with_totals(row)
        return self._with_totals(self._collection(id))

    def collections(self, *, after: str | None = None, limit: int = 100) -> tuple[PaymentCollection, ...]:
        """Return collections in the order of their ids, ``limit`` at a time, after an id."""
        rows = self._store.collections(after=after, limit=checked_limit(limit))
        return tuple(map(self._with_totals, rows))

    def _collection(self, collection_id: str) -> PaymentCollection:
        if not isinstance(collection_id, str):
            raise NotFound(f"a collection is named by its id, a str, not by a {type(collection_id).__name__}")
        row = self._store.collection(collection_id)
        if row is None:
            hint = "" if collection_id.startswith("pc_") else "; your own name for it is given as reference="
            raise NotFound(f"there is no collection with the id {collection_id!r:.80}{hint}")
        return row

    def _with_totals(self, row: PaymentCollection) -> PaymentCollection:
        sessions = self._store.sessions(collection_id=row.id, limit=None)
        status, authorized, captured, refunded = summarize(row.amount.minor, sessions)
        return replace(row, status=status, authorized=authorized, captured=captured, refunded=refunded)

    # --- the life of a session --------------------------------------------------------------------

    def initiate(
        self,
        collection_id: str,
        *,
        provider: str,
        amount: Money | None = None,
        data: Mapping[str, Any] | None = None,
        payload: Mapping[str, Any] | None = None,
        checkout: Checkout | None = None,
        capture: str = "manual",
        replaces: str | None = None,
        idempotency_key: str | None = None,
    ) -> PaymentSession:
        """Begin a payment with one provider. Nothing is charged by this alone.

        Args:
            collection_id: What it pays for.
            provider: The name of a selected provider.
            amount: How much of it; all that no session holds, by default.
            data: What the provider needs to know, from the host's server: the customer's id there.
            payload: What came from the payer's browser: untrusted, and erased when it is done.
            checkout: What is known of the payer's visit.
            capture: ``automatic`` asks the provider to capture at authorization.
            replaces: A session to cancel first; uncertainty about that refuses this call.
            idempotency_key: The same key returns the first result.

        Raises:
            Declined: The provider refused; the session is canceled.
            NotApplied: It did not happen; call again with the same key.
            OutcomeUnknown: It is in doubt; nothing is charged in any case.
            RequestError: Something of what was asked is wrong.
        """
        collection = self._collection(collection_id)
        handle = self._registry.provider(provider)
        if capture not in _CAPTURES:
            raise InvalidData(f"capture is 'manual' or 'automatic', not {capture!r:.40}")
        if amount is not None:
            check_amount(amount)
        text = encode(data, "data")
        key = checked_key(idempotency_key)
        now = self._store.now()
        session_id = self._session_id(collection, key, now)
        visit = checked_checkout(checkout, session_id)
        existing = self._store.session(session_id) if key is not None else None
        if replaces is not None and existing is None:
            replaced = self.cancel(replaces)
            if replaced.status is not Status.CANCELED and not replaced.captured:
                raise SessionBusy(
                    "the cancel of the session to be replaced is not finished there; try again later",
                    session_id=replaces,
                )
            collection = self._collection(collection_id)
        digest = sha256(f"{text} {provider} {capture} {amount}".encode()).hexdigest()[:32] if key else ""
        request = Request(INITIATE, payload=checked_payload(payload), idempotency_key=key, extra=digest)
        if existing is not None:
            return self._engine.perform(existing, request)
        session = PaymentSession(
            id=session_id,
            collection_id=collection.id,
            collection_reference=collection.reference,
            provider=handle.name,
            amount=share_of(collection, amount),
            capture=capture,
            checkout=visit,
            data=text,
            created_at=now,
            updated_at=now,
            version=0,
        )
        return self._engine.perform(session, request)

    def _session_id(self, collection: PaymentCollection, key: str | None, now: datetime) -> str:
        """Return an id that sorts by time; the same key gives the same id, so it needs no index."""
        if key is None:
            return f"ps_{int(now.timestamp() * 1000):012x}{self._token()}"
        digest = sha256(f"{collection.id} {key}".encode()).hexdigest()[:16]
        return f"ps_{int(collection.created_at.timestamp() * 1000):012x}{digest}"

    def update(self, session_id: str, amount: Money, *, idempotency_key: str | None = None) -> PaymentSession:
        """Change the amount of a session that is not authorized yet.

        Raises:
            InvalidAmount: Zero, another currency, or more than the collection's amount.
            InvalidTransition: It is authorized or canceled.
            Declined, NotApplied, OutcomeUnknown: The provider's answer; the amount is as it was.
        """
        check_amount(amount)
        session = self.get(session_id)
        share_of(self._collection(session.collection_id), amount)
        key = checked_key(idempotency_key)
        return self._engine.perform(session, Request(UPDATE, amount, idempotency_key=key))

    def authorize(
        self,
        session_id: str,
        *,
        payload: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> PaymentSession:
        """Authorize the session's amount. A decline raises nothing: the status is then ``error``.

        An authorized session is returned as it is, without a call.

        Args:
            session_id: The session.
            payload: What came back from the payer's browser: untrusted, handed to the provider.
            idempotency_key: The same key returns the first result.

        Raises:
            InvalidAmount: Other sessions hold the collection's amount.
            InvalidTransition: It is canceled, or an authorization is pending.
            NotApplied: It did not happen; try again.
            OutcomeUnknown: It is in doubt.
        """
        session = self.get(session_id)
        request = Request(
            AUTHORIZE, payload=checked_payload(payload), idempotency_key=checked_key(idempotency_key)
        )
        return self._engine.perform(session, request)

    def resume(self, session_id: str, *, payload: Mapping[str, Any] | None = None) -> PaymentSession:
        """The payer came back: authorize if that is due, settle doubt, and tell how it stands.

        Never raises for a busy session, for doubt or for a decline: look at ``status``,
        ``in_doubt`` and ``error``.

        Raises:
            InvalidAmount: Other sessions hold the collection's amount, or it was lowered.
        """
        session = self.get(session_id)
        try:
            if session.open is not None:
                session = self._recovery.recover(session_id)
            if session.authorizing is not None:
                session = self._recovery.sync(session_id)
            if (
                session.status in _UNAUTHORIZED
                and session.open is None
                and session.authorizing is None
                and session.initiated
                and not session.cancel_wanted
            ):
                request = Request(AUTHORIZE, payload=checked_payload(payload), origin="payer")
                session = self._engine.perform(session, request)
        except (SessionBusy, ProviderError):
            return self.get(session_id)
        return session

    def capture(
        self,
        session_id: str,
        amount: Money | None = None,
        *,
        final: bool = False,
        idempotency_key: str | None = None,
    ) -> PaymentSession:
        """Take what is authorized, or a part of it.

        Args:
            session_id: The session.
            amount: How much; all that is left, by default. When nothing is left of what was
                captured, the session is returned as it is.
            final: Let go of the rest.
            idempotency_key: Two captures of one amount are two captures; with the same key, one.

        Raises:
            InvalidAmount: More than is left.
            InvalidTransition: The session is not authorized.
            NotSupported: The provider does not capture, or not in parts.
            Declined, NotApplied, OutcomeUnknown: The provider's answer.
        """
        key = checked_key(idempotency_key)
        final = checked_flag(final, "final")
        if amount is not None:
            check_amount(amount)
        return self._engine.perform(
            self.get(session_id), Request(CAPTURE, amount, idempotency_key=key, final=final)
        )

    def refund(
        self,
        session_id: str,
        amount: Money | None = None,
        *,
        capture: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> PaymentSession:
        """Give back what was captured, or a part of it.

        Args:
            session_id: The session.
            amount: How much; all that is left, by default. When nothing is left of what was
                refunded, the session is returned as it is.
            capture: The id of the capture operation that it refers to.
            reason: Why, in the host's words; handed to the provider.
            idempotency_key: Two refunds of one amount are two refunds; with the same key, one.

        Raises:
            InvalidAmount: More than is left.
            InvalidTransition: The session is not authorized.
            NotSupported: The provider does not refund, or not in parts, or wants a capture named.
            Declined, NotApplied, OutcomeUnknown: The provider's answer.
        """
        key = checked_key(idempotency_key)
        if amount is not None:
            check_amount(amount)
        request = Request(
            REFUND,
            amount,
            idempotency_key=key,
            reason=None if reason is None else checked_text(reason, "reason"),
            capture_id=capture,
        )
        return self._engine.perform(self.get(session_id), request)

    def cancel(self, session_id: str, *, idempotency_key: str | None = None) -> PaymentSession:
        """Let go of what is authorized and not captured; before any capture, end the session.

        A canceled session is returned as it is, without a call, unless the provider holds money
        for it all the same. If an operation is in doubt the cancel is remembered, and runs once
        the doubt is settled.

        Raises:
            InvalidTransition: Everything is captured: refund it instead.
            OutcomeUnknown: It is in doubt, or waits for another operation in doubt.
            Declined, NotApplied: The provider's answer; the session is as it was.
        """
        session = self.get(session_id)
        request = Request(CANCEL, idempotency_key=checked_key(idempotency_key))
        if session.open is None:
            if session.initiated or session.status is not Status.PENDING:
                return self._engine.perform(session, request)
            session = self._recovery.abandon(session_id)
            if session.status is Status.CANCELED:
                return session
            return self.cancel(session_id, idempotency_key=idempotency_key)  # it was accepted just now
        session = self._recovery.recover(session_id)
        if session.open is None:
            return self.cancel(session_id, idempotency_key=idempotency_key)
        session = self._recovery.want_cancel(session_id)
        if session.open is None:  # settled just now
            return self.cancel(session_id, idempotency_key=idempotency_key)
        raise OutcomeUnknown(
            f"the operation {session.open} is in doubt; the cancel is remembered and runs once it is settled",
            session_id=session_id,
            operation_id=session.open,
        )

    # --- finding out ------------------------------------------------------------------------------

    def sync(self, session_id: str) -> PaymentSession:
        """Ask the provider how the session stands, and book it.

        With a provider that cannot be asked (``lookup="none"``, or local) it stands as it stood.

        Raises:
            NotApplied, OutcomeUnknown: The provider could not be asked.
        """
        return self._recovery.sync(session_id)

    def recover(self, *, limit: int = 100) -> Recovery:
        """Settle what is due: doubt, pending operations, wanted cancels, stored notifications.

        Call it every few seconds from whatever scheduler the host has; any number of processes
        may, at any time. Nothing that a provider answers is raised.

        Args:
            limit: At most so many sessions, and so many notifications.
        """
        limit = checked_limit(limit)
        notifications, done = self._inbox.settle_due(limit)
        due = self._store.due(self._store.now(), limit)
        settled: list[str] = []
        waiting: list[str] = []
        for session_id in due:
            session = self._recovery.attend(session_id)
            (waiting if session.due_at is not None else settled).append(session_id)
        return Recovery(len(due), tuple(settled), tuple(waiting), notifications, done)

    def in_doubt(self, *, limit: int = 100) -> tuple[InDoubt, ...]:
        """Return the operations whose outcome is not known, the oldest first, with their age."""
        now = self._store.now()
        rows: list[InDoubt] = []
        for operation in self._store.in_doubt(checked_limit(limit)):
            session = self._store.session(operation.session_id)
            if session is None or (operation.lease_until is not None and operation.lease_until > now):
                continue  # somebody is at it
            reason = (
                operation.error.message if operation.error is not None else "the process that sent it is gone"
            )
            rows.append(
                InDoubt(
                    operation,
                    now - operation.created_at,
                    reason,
                    session.due_at,
                    self._recovery.needs_person(session, operation),
                )
            )
        return tuple(rows)

    def resolve(
        self, operation_id: str, outcome: Outcome | Declined | NotApplied, *, note: str
    ) -> PaymentSession:
        """Settle an operation by a person's word, where no provider can tell.

        Args:
            operation_id: An operation in doubt, or a pending one.
            outcome: What became of it: an `Outcome`, a `Declined` or a `NotApplied`.
            note: Who says so, and why; kept with the operation.

        Raises:
            InvalidTransition: The operation is closed.
            InvalidData: The outcome does not fit the operation.
            SessionBusy: Somebody is at it.
        """
        note = checked_text(note, "note")
        if not isinstance(outcome, Outcome | Declined | NotApplied):
            raise InvalidData(
                f"an outcome is an Outcome, a Declined or a NotApplied, not {type(outcome).__name__}"
            )
        if not isinstance(operation_id, str):
            raise NotFound(f"an operation is named by its id, a str, not by a {type(operation_id).__name__}")
        operation = self._store.operation(operation_id)
        if isinstance(outcome, Outcome) and operation is not None:
            try:
                verify(self.get(operation.session_id), operation, outcome)
            except OutcomeUnknown as error:
                raise InvalidData(f"that does not fit the operation: {error}") from None
        return self._recovery.resolve(operation_id, outcome, note)

    # --- conflicts --------------------------------------------------------------------------------

    def conflicts(
        self,
        *,
        open: bool = True,  # noqa: A002 - the word for it
        after: str | None = None,
        limit: int = 100,
    ) -> tuple[Conflict, ...]:
        """Return what gateways showed that contradicts the ledger, in the order in which it was found.

        Args:
            open: Only what is open; False: what was closed as well.
            after: The id to go on after.
            limit: How many at most, 1 to 1000.
        """
        open_ = checked_flag(open, "open")
        return tuple(self._store.conflicts(open=open_, after=after, limit=checked_limit(limit)))

    def acknowledge(self, conflict_id: str, *, by: str, note: str) -> Conflict:
        """Close a conflict by hand; one that is closed is returned as it is.

        Nothing of the payment changes. A conflict whose cause is still there opens again, as a new one, when
        the gateway shows it the next time.

        Args:
            conflict_id: The conflict.
            by: Who acknowledges it: 1 to 200 characters.
            note: What they found out, or did about it: 1 to 200 characters.

        Raises:
            NotFound: There is no such conflict.
        """
        by, note = checked_text(by, "by"), checked_text(note, "note")
        conflict = self._store.conflict(conflict_id) if isinstance(conflict_id, str) else None
        if conflict is None:
            raise NotFound(f"there is no conflict {conflict_id!r:.80}")
        kind = conflict.kind

        def rule(session: PaymentSession) -> Ledger | None:
            ledger = self._engine.ledger(session)
            if kind in ledger.conflicts and ledger.conflicts[kind].id == conflict_id:
                ledger.apply(ConflictClosed(kind, by, note))
            return ledger if ledger.changed else None

        if conflict.closed_at is None:
            self._engine.decide(conflict.session_id, rule)
        return self._store.conflict(conflict_id) or conflict

    # --- reading ----------------------------------------------------------------------------------

    def get(self, session_id: str) -> PaymentSession:
        """Return a session as the books have it; no provider is called.

        Raises:
            NotFound: There is no such session.
        """
        return self._engine.load(session_id)

    def sessions(
        self,
        *,
        collection_id: str | None = None,
        reference: str | None = None,
        provider: str | None = None,
        status: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> tuple[PaymentSession, ...]:
        """Return sessions in the order of their ids.

        Args:
            collection_id: Only those of this collection.
            reference: Only those of the collection with this host's reference.
            provider: Only those of this provider.
            status: Only those with this status.
            after: The id to go on after.
            limit: How many at most, 1 to 1000.
        """
        if reference is not None and collection_id is None:
            collection_id = collection_id_of(reference)
        if status is not None and status not in tuple(Status):
            raise InvalidData(f"a status is one of {', '.join(Status)}, not {status!r:.40}")
        return tuple(
            self._store.sessions(
                collection_id=collection_id,
                provider=provider,
                status=status,
                after=after,
                limit=checked_limit(limit),
            )
        )

    def history(self, session_id: str) -> tuple[Operation, ...]:
        """Return all operations of a session in their order.

        Raises:
            NotFound: There is no such session.
        """
        self.get(session_id)
        return tuple(self._store.operations(session_id))

    def events(self, *, after: str | None = None, limit: int = 100) -> tuple[Event, ...]:
        """Return what happened after a cursor: every transition once, in order per session.

        Args:
            after: The ``cursor`` of the last event that was handled; save it in the transaction
                that handles the event, and each is handled exactly once.
            limit: How many at most, 1 to 1000.

        Raises:
            InvalidData: The cursor is none of this feed's.
        """
        try:
            return tuple(self._store.events(after=after, limit=checked_limit(limit)))
        except ValueError:
            raise InvalidData(f"{after!r:.80} is no cursor of this event feed") from None

    def providers(self) -> tuple[ProviderInfo, ...]:
        """Return the selected providers, and the installed ones that are not selected."""
        found: list[ProviderInfo] = []
        offered = installed("paysession.providers")
        for name in self._registry.names:
            where = offered[name].distribution if name in offered else ""
            try:
                handle = self._registry.provider(name)
            except PaysessionError as error:
                found.append(ProviderInfo(name, where, True, None, str(error)))
            else:
                where = handle.distribution or where
                found.append(ProviderInfo(name, where, True, handle.capabilities, None, handle.mode))
        for name, entry in offered.items():
            if name not in self._registry.names:
                found.append(ProviderInfo(name, entry.distribution, False, None, None))
        return tuple(found)

    def handle_webhook(
        self, provider: str, *, headers: Headers, body: bytes, settle: bool = True
    ) -> WebhookReply:
        """Take a provider's notification in; answer the HTTP request with what is returned.

        Verified, stored, then looked into: what is booked is what the provider tells when it is
        asked. Whatever cannot be verified or stored is not acknowledged.

        Args:
            provider: The name of the selected provider, from the URL.
            headers: The request's headers.
            body: The request's body as raw bytes, before any decoding.
            settle: False stores only, and leaves the rest to `recover`.
        """
        return self._inbox.receive(provider, headers, body, settle=settle)
