"""What a host application writes against: every call of paysession, and nothing of how it is done."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal

from paysession._engine.arguments import (
    MOST_ROWS,
    check_amount,
    check_card_data,
    checked_by,
    checked_capture,
    checked_checkout,
    checked_data,
    checked_filter,
    checked_flag,
    checked_id,
    checked_key,
    checked_limit,
    checked_moment,
    checked_patience,
    checked_payload,
    checked_text,
    collection_id_of,
    share_of,
)
from paysession._engine.elapsed import stopwatch
from paysession._engine.gate import Gate, gated
from paysession._engine.health import COUNTED, MAX_DOUBT, MAX_LAG, health_of
from paysession._engine.inbox import Inbox
from paysession._engine.lanes import HookCalls
from paysession._engine.pay import Pay, Wanted
from paysession._engine.resync import resync
from paysession._engine.returns import ReturnLimit
from paysession._engine.rounds import Rounds
from paysession._engine.run import Engine
from paysession._ledger.evidence import verify
from paysession._ledger.facts import ConflictClosed, Forgotten
from paysession._ledger.rules import Request, standing
from paysession._plugins.opening import (
    checked_deadline,
    checked_environ,
    checked_offer,
    checked_path,
    checked_url,
    open_store,
    read_patience,
    selection,
)
from paysession._plugins.registry import Registry, installed
from paysession._plugins.settings import load_config
from paysession.change import Change
from paysession.errors import (
    ConfigurationError,
    Declined,
    IdempotencyMismatch,
    InvalidAmount,
    InvalidData,
    InvalidTransition,
    Mistaken,
    NotApplied,
    NotFound,
    NotOffered,
    OutcomeUnknown,
    PaysessionError,
    ProviderError,
    SessionBusy,
    SettingsError,
    StoreError,
)
from paysession.money import Money
from paysession.operation import AUTHORIZE, CANCEL, CAPTURE, INITIATE, REFUND, UPDATE, Event, State
from paysession.outcome import Outcome
from paysession.reports import Capture, Health, InDoubt, ProviderInfo, Pruned, Resync, Unmatched
from paysession.retention import Retention, after, before
from paysession.session import PaymentCollection, PaymentSession, SessionRow, Sums, summarize
from paysession.store import OverLimit, Stale
from paysession.text import shown
from paysession.values import Status, decode, encode, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Self

    from paysession._engine.inbox import Headers
    from paysession._ledger.ledger import Ledger
    from paysession.change import Notification
    from paysession.checkout import Checkout
    from paysession.operation import Operation, Resolution
    from paysession.outcome import WebhookReply
    from paysession.reports import Lane, Recovery
    from paysession.session import CaptureMode, Conflict
    from paysession.store import Store

__all__ = ["Payments"]

_CAPTURES: Final = ("manual", "automatic")
_ORIGINS: Final = ("host", "payer")
PRUNED_AT_ONCE: Final = 1000
"""How many rows one transaction deletes, so that nobody waits for it for long."""

_UNAUTHORIZED: Final = (Status.PENDING, Status.REQUIRES_MORE, Status.ERROR)


_TIMED: Final = (
    "pay",
    "initiate",
    "update",
    "authorize",
    "resume",
    "capture",
    "refund",
    "cancel",
    "sync",
    "handle_webhook",
    "_settle_webhook",
)
"""The calls that may reach a gateway while somebody waits for their answer."""

CALL_DEADLINE: Final = timedelta(seconds=25)
"""How long such a call keeps its caller by default: less than most web servers and proxies wait."""


@gated(beside=("close",), also=("_receive_webhook", "_settle_webhook"), timed=_TIMED)
class Payments:
    """Takes payments. Opened once per process with `Payments.open`; thread-safe.

    Args:
        store: Where the ledger is kept.
        registry: The selected providers and plugins.
        public_url: Where the host serves payments.
        offered: The providers that a payer may choose; all selected ones that are not
            ``operator_only``, by default.
        retention: How long `prune` keeps what payments themselves do not need.
        abandon_after: How long after a session was created it is canceled if it is not authorized.
        token: Returns 16 random hexadecimal digits for the id of a session without an idempotency key (with
            one the id is derived from it and from the store's secret); injectable for tests.
        stopwatch: Returns the seconds of a clock that nobody can set, by which a store's clock is corrected
            that was set; None: the store's clock is trusted.
        call_deadline: How long a call that may reach a gateway keeps its caller; None: as long as the
            provider's own time limits let it.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        *,
        public_url: str | None = None,
        offered: Iterable[str] | None = None,
        retention: Retention | None = None,
        abandon_after: timedelta | None = None,
        token: Callable[[], str] = lambda: os.urandom(8).hex(),
        stopwatch: Callable[[], float] | None = None,
        call_deadline: timedelta | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._gate = Gate(self._release)
        self._calls = HookCalls(call_deadline, self._gate.part)
        self._engine = Engine(store, registry, public_url, stopwatch, self._calls)
        self._recovery = self._engine.recovery
        self._inbox = Inbox(self._engine)
        self._rounds = Rounds(self._engine, self._inbox, self._gate)
        self.retention: Final = retention if retention is not None else Retention()
        """How long `prune` keeps notifications and events by default."""
        self._token = token
        self._returns = ReturnLimit()
        self._offered = None if offered is None else tuple(offered)
        self._abandon_after = checked_patience(abandon_after)

    @classmethod
    def open(
        cls,
        url: str | None = None,
        *,
        providers: Mapping[str, object] | Iterable[str] | None = None,
        plugins: Iterable[object] | None = None,
        offered: Iterable[str] | None = None,
        allow_mixed_modes: bool | None = None,
        retention: Retention | None = None,
        abandon_after: timedelta | None = None,
        public_url: str | None = None,
        call_deadline: timedelta | None = CALL_DEADLINE,
        config: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
        load_providers: bool = True,
        clock: Callable[[], datetime] | None = None,
    ) -> Self:
        """Open the store and select providers.

        Args:
            url: Where the ledger is kept: ``sqlite:///payments.db``, ``memory:`` for tests.
                Without it, the file's ``store`` or ``PAYSESSION_DB``.
            providers: The selected providers by name: a mapping of settings for each, with
                ``"use"`` for another account of a plugin; or an instance; or just the names.
                Without it, those of the file; without a file, every installed one, loaded when
                it is first used.
            plugins: Observers and wrappers: names of installed ones, or instances.
            offered: The names of the providers that a payer may choose, in the order to show them;
                without it, all selected ones that are not ``operator_only``. See `initiate`.
            allow_mixed_modes: True lets providers of test mode and of live mode be selected
                together, so that test money can pay a live order. They are refused otherwise.
            retention: How long `prune` keeps notifications and events.
            abandon_after: `recover` cancels a session at the gateway that is not authorized this long after
                it was created; without it, what the file says, or never. `initiate` and `pay` may say
                something else for one session.
            public_url: Where the host serves payments; providers are told to send notifications
                to ``<public_url>/webhooks/<provider>``.
            call_deadline: How long a call that may reach a gateway keeps its caller in total, lookups
                included; then it is answered as in doubt (`OutcomeUnknown`), and goes on by itself: what
                comes of it is recorded, and nothing is sent twice. None: as long as the provider's own time
                limits let it, which may be minutes. `recover` and `resync` take their time in any case.
            config: A TOML file with the same: ``store``, ``public_url``, ``plugins``, ``offered``,
                ``allow_mixed_modes``, ``call_deadline`` (in seconds) and tables ``[retention]`` and
                ``[providers.NAME]``. As `paysession.Found`, it is a file that nobody named, and redirects no
                secret that comes from elsewhere.
            environ: The environment, ``os.environ`` by default, with settings as
                ``PAYSESSION_<PROVIDER>__<SETTING>``.
            load_providers: False loads each provider when a call first needs it, and no plugin before: what
                only reads (lists, history, events, `in_doubt`, `health`) works without their secrets.
            clock: Returns the time in UTC; the store's by default. It is trusted: setting it forward lets
                time pass, where the store's own clock is compared with a stopwatch.

        Raises:
            ConfigurationError: Something of it is missing or wrong; the sentence says what.
        """
        environ = os.environ if environ is None else checked_environ(environ)
        file = load_config(checked_path(config)) if config is not None else {}
        if url is None or (isinstance(url, str) and not url):
            url = environ.get("PAYSESSION_DB") or file.get("store")
        if url is None or (isinstance(url, str) and not url):
            raise StoreError('say where the ledger is kept: Payments.open("sqlite:///payments.db")')
        chosen = selection(providers, file, config)
        eager = chosen is not None
        if chosen is None:
            chosen = dict.fromkeys(installed("paysession.providers"))
        mixed = file.get("allow_mixed_modes", False) if allow_mixed_modes is None else allow_mixed_modes
        registry = Registry(
            chosen, file.get("plugins", ()) if plugins is None else plugins, environ, allow_mixed_modes=mixed
        )
        if checked_flag(load_providers, "load_providers"):
            registry.load_plugins()
            if eager:
                registry.load_all()
        public_url = checked_url(public_url) or checked_url(file.get("public_url"))
        if retention is None:
            retention = Retention.of(file.get("retention", {}))
        elif not isinstance(retention, Retention):
            raise SettingsError("retention is a Retention, such as Retention(events=timedelta(days=90))")
        if call_deadline is CALL_DEADLINE:
            deadline = checked_deadline(file.get("call_deadline", call_deadline))
        else:
            deadline = checked_deadline(call_deadline)
        if abandon_after is None:
            abandon_after = read_patience(file.get("abandon_after"))
        offered = file.get("offered") if offered is None else offered
        if load_providers:
            offered = checked_offer(offered, registry)
        return cls(
            open_store(url, clock=clock),
            registry,
            public_url=public_url,
            offered=offered,
            retention=retention,
            abandon_after=abandon_after,
            stopwatch=stopwatch if clock is None else None,
            call_deadline=deadline,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the providers and the store. A second close does nothing.

        Calls that run end first, those to a provider included; later ones are a `StoreError`. From
        within a call (in an observer) this returns at once, since a call cannot wait for itself: the
        last call to end closes.
        """
        self._gate.close()

    def _release(self) -> None:
        self._calls.close()
        self._registry.close()
        self._store.close()

    # --- what a payer may choose ------------------------------------------------------------------

    @property
    def offered(self) -> tuple[str, ...]:
        """The names of the providers that a payer may choose: what a checkout page shows."""
        if self._offered is not None:
            return self._offered
        return tuple(name for name in self._registry.names if self._is_for_payers(name))

    def _is_for_payers(self, name: str) -> bool:
        try:
            return not self._registry.provider(name).capabilities.operator_only
        except ConfigurationError:
            return False  # it cannot be used at all; `providers` says why

    # --- collections ------------------------------------------------------------------------------

    def create_collection(self, amount: Money, *, reference: str, by: str | None = None) -> PaymentCollection:
        """Say what has to be paid. With the same reference again, it is the same collection.

        Args:
            amount: More than zero.
            reference: The host's own name for it, such as the order's number: 1 to 200 characters.
            by: Who asks: 1 to 200 characters.

        Raises:
            InvalidAmount: Not an amount of money, or zero.
            IdempotencyMismatch: The reference exists with another amount.
        """
        check_amount(amount)
        reference = checked_text(reference, "reference")
        now = self._store.now()
        collection = PaymentCollection(
            id=collection_id_of(reference),
            reference=reference,
            amount=amount,
            created_at=now,
            updated_at=now,
            by=checked_by(by),
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

    def update_collection(
        self, collection_id: str, amount: Money, *, by: str | None = None
    ) -> PaymentCollection:
        """Change what has to be paid; never below what its sessions hold.

        An order may be paid or not paid by that alone, so the feed has an event ``collection.updated``.

        Args:
            collection_id: The collection.
            amount: What has to be paid now: more than zero. The same amount changes nothing.
            by: Who asks: 1 to 200 characters.

        Raises:
            InvalidAmount: Zero, another currency, or less than is held.
            NotFound: There is no such collection.
        """
        check_amount(amount)
        row = self._collection(collection_id)
        if row.amount.currency != amount.currency:
            raise InvalidAmount(f"{amount} is not in the collection's currency {row.amount.currency}")
        by = checked_by(by)
        if row.amount == amount:
            return self._with_totals(row)
        changed = replace(row, amount=amount, updated_at=self._store.now(), by=by)
        event = self._updated(row, self._with_totals(changed))
        try:
            self._store.commit(Change(collection=changed, collection_amount=True, events=(event,)))
        except OverLimit:
            held = Money.from_minor(self._collection(collection_id).held, amount.currency)
            raise InvalidAmount(
                f"{amount} is below {held}, which its sessions hold: cancel what is not captured first; what "
                "was captured counts, also once it is refunded"
            ) from None
        return self.collection(collection_id)

    def _updated(self, before: PaymentCollection, after: PaymentCollection) -> Event:
        """Return the event of a collection's new amount, with its totals as they were read just before."""
        return Event(
            id=f"{after.id}:{int(after.updated_at.timestamp() * 1000):012x}-{self._token()}",
            type="collection.updated",
            session_id=None,
            collection_id=after.id,
            reference=after.reference,
            provider=None,
            operation_id=None,
            by=after.by,
            amount=after.amount,
            status=None,
            authorized=after.authorized,
            captured=after.captured,
            refunded=after.refunded,
            charged_back=after.charged_back,
            version=0,
            detail=str(before.amount),
            occurred_at=after.updated_at,
        )

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
        rows = self._store.collections(after=checked_filter(after, "after"), limit=checked_limit(limit))
        sums = self._store.sums([row.id for row in rows])
        return tuple(summarize(row, sums.get(row.id, Sums())) for row in rows)

    def _collection(self, collection_id: str) -> PaymentCollection:
        row = self._store.collection(checked_id(collection_id, "a collection"))
        if row is None:
            hint = "" if collection_id.startswith("pc_") else "; your own name for it is given as reference="
            raise NotFound(f"there is no collection with the id {collection_id!r:.80}{hint}")
        return row

    def _with_totals(self, row: PaymentCollection) -> PaymentCollection:
        return summarize(row, self._store.sums([row.id]).get(row.id, Sums()))

    # --- the life of a session --------------------------------------------------------------------

    def pay(
        self,
        collection_id: str,
        *,
        provider: str,
        checkout: Checkout | None = None,
        data: Mapping[str, Any] | None = None,
        capture: CaptureMode = "manual",
        idempotency_key: str | None = None,
        by: str | None = None,
        abandon_after: timedelta | None = None,
    ) -> PaymentSession:
        """Return the session with which a payer pays what is left of a collection: what a "Pay" button calls.

        Call it as often as the payer asks: after a reload, with the back button, the next day, with another
        method, in two tabs, from several processes at once. One session at a time can be paid.

        - If the amount is authorized already, or a bank is at work on it, that session is returned.
        - The collection's open session with this provider is continued. The gateway is queried first, since
          the payer may have paid a moment ago. If the collection's amount has changed, the session is
          updated; where the provider cannot do that, it is replaced.
        - A session with another provider, ``data``, ``capture`` or ``checkout`` (but for the payer's IP
          address and browser), one that has failed and one that has expired are canceled, and a new one is
          begun.
        - While it is in doubt what a session holds, nothing is begun. A call that is in progress elsewhere
          is waited for, up to 10 seconds.

        It is for a payer's own choice: the provider must be one of `offered`. What an operator begins (a
        till), or what pays a part, is for `initiate`; `pay` then pays the rest, and cancels what is open.

        Args:
            collection_id: What is paid for.
            provider: The name of the provider that the payer chose.
            checkout: What is known of the payer's visit; None: an open session's own will do.
            data: What the provider needs to know, from the host's server.
            capture: ``automatic`` asks the provider to capture at authorization.
            idempotency_key: The same key returns the session that it began, also a canceled one. Leave it out
                unless your requests have keys of their own: the call is safe to repeat without.
            by: Who asks: 1 to 200 characters, kept with the operations.
            abandon_after: See `initiate`.

        Raises:
            NotOffered: A payer may not choose this provider.
            SessionBusy: A session is in doubt; nothing was begun. Try again shortly.
            Declined: The provider refused to begin, or does not cancel a session that could still be paid.
            NotApplied, OutcomeUnknown: The provider's answer; call again.
            RequestError: Something of what was asked is wrong.
        """
        self._check_offered(provider)
        collection = self._collection(collection_id)
        name = self._registry.provider(provider).name
        capture, text = _checked_capture_mode(capture), checked_data(data, "data")
        checked_checkout(checkout, "")
        wanted = Wanted(
            collection_id=collection.id,
            provider=name,
            checkout=checkout,
            data=text,
            capture=capture,
            key=checked_key(idempotency_key),
            by=checked_by(by),
            abandon_after=self._checked_patience(abandon_after),
            extra=_extra(text, provider, capture, None),
        )
        return Pay(self, self._engine, self._begin, wanted).run()

    def _begin(
        self, wanted: Wanted, collection: PaymentCollection, amount: Money, key: str | None
    ) -> SessionRow:
        """Return a new session, which is yet to be written."""
        now = self._store.now()
        session_id = self._session_id(collection, key, now)
        patience = wanted.abandon_after
        return SessionRow(
            id=session_id,
            collection_id=collection.id,
            collection_reference=collection.reference,
            provider=wanted.provider,
            amount=amount,
            capture=wanted.capture,
            checkout=checked_checkout(wanted.checkout, session_id),
            data=wanted.data,
            created_at=now,
            updated_at=now,
            abandon_at=None if patience is None else after(now, patience),
            version=0,
        )

    def _check_offered(self, provider: str) -> None:
        if not (isinstance(provider, str) and provider in self.offered):
            raise NotOffered(
                f"a payer may not choose the provider {shown(provider)}; offered are: "
                f"{', '.join(self.offered) or 'none'}"
            )

    def _checked_patience(self, abandon_after: timedelta | None) -> timedelta | None:
        return self._abandon_after if abandon_after is None else checked_patience(abandon_after)

    def initiate(
        self,
        collection_id: str,
        *,
        provider: str,
        amount: Money | None = None,
        data: Mapping[str, Any] | None = None,
        payload: Mapping[str, Any] | None = None,
        checkout: Checkout | None = None,
        capture: CaptureMode = "manual",
        replaces: str | None = None,
        origin: Literal["host", "payer"] = "host",
        idempotency_key: str | None = None,
        by: str | None = None,
        abandon_after: timedelta | None = None,
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
            origin: ``payer`` if the provider's name came from the payer: then it must be one of
                `offered`. ``host`` if the application or an operator chose it.
            idempotency_key: The same key returns the first result.
            by: Who asks: 1 to 200 characters, kept with the operation.
            abandon_after: `recover` cancels the session if it is not authorized this long after it was
                created; by default what `open` was given.

        Raises:
            Declined: The provider refused; the session is canceled.
            NotApplied: It did not happen; call again with the same key.
            OutcomeUnknown: It is in doubt; nothing is charged in any case.
            NotOffered: A payer may not choose this provider.
            RequestError: Something of what was asked is wrong.
        """
        if not isinstance(origin, str) or origin not in _ORIGINS:
            raise InvalidData(f"origin is 'host' or 'payer', not {shown(origin)}")
        if origin == "payer":
            self._check_offered(provider)
        collection = self._collection(collection_id)
        name = self._registry.provider(provider).name
        capture = _checked_capture_mode(capture)
        if amount is not None:
            check_amount(amount)
        text = checked_data(data, "data")
        browser = checked_payload(payload)
        key = checked_key(idempotency_key)
        by = checked_by(by)
        checked_checkout(checkout, "")
        patience = self._checked_patience(abandon_after)
        existing = self._store.session(self._session_id(collection, key)) if key is not None else None
        if replaces is not None and existing is None:
            if amount is not None:
                share_of(collection, amount)
            replaced = self.cancel(replaces, by=by)
            if replaced.status is not Status.CANCELED and not replaced.captured:
                raise SessionBusy(
                    "the cancel of the session to be replaced is not finished there; try again later",
                    session_id=replaces,
                )
            collection = self._collection(collection_id)
        extra = _extra(text, provider, capture, amount) if key else ""
        request = Request(INITIATE, payload=browser, idempotency_key=key, extra=extra, origin=origin, by=by)
        if existing is not None:
            return self._engine.perform(existing, request)
        wanted = Wanted(collection.id, name, checkout, text, capture, key, by, patience, extra)
        session = self._begin(wanted, collection, share_of(collection, amount), key)
        return self._engine.perform(session, request)

    def _session_id(self, collection: PaymentCollection, key: str | None, now: datetime | None = None) -> str:
        """Return an id that sorts by time; the same key gives the same id, so it needs no index.

        It stands in the address of the return page, so nobody else may be able to compute it.
        """
        if key is None:
            now = now or self._store.now()
            return f"ps_{int(now.timestamp() * 1000):012x}{self._token()}"
        identity, text = self._store.identity, f"{collection.id} {key}"
        if identity.since is not None and collection.created_at < identity.since:
            digest = sha256(text.encode()).hexdigest()[:16]
        else:
            digest = identity.digest(text)
        return f"ps_{int(collection.created_at.timestamp() * 1000):012x}{digest}"

    def update(
        self, session_id: str, amount: Money, *, idempotency_key: str | None = None, by: str | None = None
    ) -> PaymentSession:
        """Change the amount of a session, or raise what it has authorized.

        An authorized session is raised to a higher amount where its provider declares ``increment``, before
        anything of it is captured. The difference is held of the collection's amount from the beginning, so
        raise that first (`update_collection`). A decline leaves what is authorized as it was.

        Args:
            session_id: The session.
            amount: The new amount: the whole of it, no difference. An authorized session of just that amount
                is returned as it is.
            idempotency_key: The same key returns the first result.
            by: Who asks: 1 to 200 characters, kept with the operation.

        Raises:
            InvalidAmount: Zero, another currency, or more than the collection's amount; of an authorized
                session, less than is authorized, or a difference that other sessions hold.
            InvalidTransition: It is canceled; or authorized, and partly captured, or its provider cannot
                raise what is authorized.
            Declined, NotApplied, OutcomeUnknown: The provider's answer; the amount is as it was.
        """
        check_amount(amount)
        session = self._engine.load(session_id)
        share_of(self._collection(session.collection_id), amount)
        request = Request(
            UPDATE,
            amount,
            idempotency_key=checked_key(idempotency_key),
            by=checked_by(by),
            increment=True,
        )
        return self._engine.perform(session, request)

    def authorize(
        self,
        session_id: str,
        *,
        payload: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        by: str | None = None,
    ) -> PaymentSession:
        """Authorize the session's amount. A decline raises nothing: the status is then ``error``.

        An authorized session is returned as it is, without a call.

        Args:
            session_id: The session.
            payload: What came back from the payer's browser: untrusted, handed to the provider.
            idempotency_key: The same key returns the first result.
            by: Who asks: 1 to 200 characters, kept with the operation.

        Raises:
            InvalidAmount: Other sessions hold the collection's amount.
            InvalidTransition: It is canceled, or an authorization is pending.
            NotApplied: It did not happen; try again.
            OutcomeUnknown: It is in doubt.
        """
        session = self._engine.load(session_id)
        request = Request(
            AUTHORIZE,
            payload=checked_payload(payload),
            idempotency_key=checked_key(idempotency_key),
            by=checked_by(by),
        )
        return self._engine.perform(session, request)

    def resume(self, session_id: str, *, payload: Mapping[str, Any] | None = None) -> PaymentSession:
        """Return the session of a payer who came back, after a query of the gateway.

        Anybody who knows the session's id may cause this call, so it only looks, and finishes what the payer
        did at the gateway: where that shows that the payer approved, the session is authorized. It never
        charges a saved payment method that `authorize` was not called for, never repeats what was declined,
        never confirms a manual payment, and writes nothing when it learns nothing new. A session's returns
        query the gateway 5 times without a wait, then once in 10 seconds, in each process.

        Where nobody can be asked (``lookup="none"``, or local) the session is returned as it is: a
        notification settles it, or `authorize`.

        It raises nothing of a busy session, of doubt, of a decline, or of an amount that another session
        holds: look at ``status``, ``in_doubt`` and ``error``.

        Args:
            session_id: The session.
            payload: What came back from the payer's browser: untrusted, handed to the provider.

        Raises:
            NotFound: There is no such session.
            InvalidData: The payload cannot be stored, or brings card data.
        """
        session = self._engine.load(session_id)
        text = checked_payload(payload)
        if session.open is None and not (session.initiated and session.status in _UNAUTHORIZED):
            return session  # at rest
        capabilities = self._registry.provider(session.provider).capabilities
        if capabilities.lookup == "none" or capabilities.local:
            return session
        if not self._returns.allows(session_id, self._store.now()):
            return session
        try:
            return self._recovery.payer_returned(session_id, text)
        except (SessionBusy, ProviderError):
            return self._engine.load(session_id)

    def capture(
        self,
        session_id: str,
        amount: Money | None = None,
        *,
        final: bool = False,
        idempotency_key: str | None = None,
        by: str | None = None,
    ) -> PaymentSession:
        """Take what is authorized, or a part of it.

        Args:
            session_id: The session.
            amount: How much; all that is left, by default. When nothing is left of what was
                captured, the session is returned as it is.
            final: Release the rest.
            idempotency_key: Two captures of one amount are two captures; with the same key, one. Without
                a key, one that finds the same one in doubt is that one, if that was done.
            by: Who asks: 1 to 200 characters, kept with the operation.

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
        request = Request(CAPTURE, amount, idempotency_key=key, final=final, by=checked_by(by))
        return self._engine.perform(self._engine.load(session_id), request)

    def refund(
        self,
        session_id: str,
        amount: Money | None = None,
        *,
        capture: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        by: str | None = None,
    ) -> PaymentSession:
        """Give back what was captured, or a part of it.

        Args:
            session_id: The session.
            amount: How much; all that is left, by default. When nothing is left of what was
                refunded, the session is returned as it is.
            capture: The id of the capture operation that it refers to.
            reason: Why, in the host's words; handed to the provider.
            idempotency_key: Two refunds of one amount are two refunds; with the same key, one. Without
                a key, one that finds the same one in doubt is that one, if that was done.
            by: Who asks: 1 to 200 characters, kept with the operation.

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
            capture_id=checked_capture(capture),
            by=checked_by(by),
        )
        return self._engine.perform(self._engine.load(session_id), request)

    def cancel(
        self, session_id: str, *, idempotency_key: str | None = None, by: str | None = None
    ) -> PaymentSession:
        """Release what is authorized and not captured; before any capture, end the session.

        A canceled session is returned as it is, without a call, unless the provider holds money
        for it all the same. If an operation is in doubt the cancel is remembered, and runs once
        the doubt is settled.

        Args:
            session_id: The session.
            idempotency_key: The same key returns the first result.
            by: Who asks: 1 to 200 characters, kept with the operation.

        Raises:
            InvalidTransition: Everything is captured: refund it instead.
            OutcomeUnknown: It is in doubt, or waits for another operation in doubt.
            Declined, NotApplied: The provider's answer; the session is as it was.
        """
        session = self._engine.load(session_id)
        by = checked_by(by)
        request = Request(CANCEL, idempotency_key=checked_key(idempotency_key), by=by)
        if session.open is None:
            if session.initiated or session.status is not Status.PENDING:
                return self._engine.perform(session, request)
            session = self._recovery.abandon(session_id)
            if session.status is Status.CANCELED:
                return session
            return self.cancel(session_id, idempotency_key=idempotency_key, by=by)  # accepted just now
        session = self._recovery.recover(session_id)
        if session.open is None:
            return self.cancel(session_id, idempotency_key=idempotency_key, by=by)
        session = self._recovery.want_cancel(session_id, by)
        if session.open is None:  # settled just now
            return self.cancel(session_id, idempotency_key=idempotency_key, by=by)
        raise OutcomeUnknown(
            f"the operation {session.open} is in doubt; the cancel is remembered and runs once it is settled",
            session_id=session_id,
            operation_id=session.open,
        )

    # --- finding out ------------------------------------------------------------------------------

    def sync(self, session_id: str, *, by: str | None = None) -> PaymentSession:
        """Query the gateway about the session, and record what it shows.

        Where that shows that the payer approved, the session is authorized. With a provider that cannot be
        queried (``lookup="none"``, or local) the session is returned unchanged.

        Args:
            session_id: The session.
            by: Who asks: 1 to 200 characters, kept with the authorization if one is sent. What is found was
                asked for by nobody here.

        Raises:
            NotApplied, OutcomeUnknown: The gateway could not be queried.
            ConfigurationError, InvalidData: It could not, because of a mistake of ours.
        """
        by = checked_by(by)
        try:
            return self._recovery.sync(session_id, by)
        except Mistaken as error:
            error.mistake.session_id = session_id
            raise error.mistake from None

    def recover(self, *, limit: int = 100, provider: str | None = None, now: bool = False) -> Recovery:
        """Settle what is due: doubt, pending operations, requested cancels, stored notifications.

        Call it every few seconds from whatever scheduler the host has; any number of processes
        may, at any time. Nothing that a provider answers is raised.

        The work of each provider is done beside that of the others, in threads that end with the
        call; with one provider there are none. Each has an even share of ``limit``, and what it does
        not need goes to the others. A provider that has used up 10 seconds leaves the rest to the
        next run, if more than one is selected: one slow gateway does not delay another's sessions.

        Args:
            limit: At most so many sessions, and so many notifications.
            provider: Only what belongs to this provider.
            now: Also what is not due yet, after an outage for instance.

        Raises:
            ProviderNotFound: No such provider is selected.
            InvalidData: ``limit`` or ``now`` is not what it has to be.
        """
        if provider is not None:
            provider = self._registry.provider(provider).name
        return self._rounds.run(checked_limit(limit), provider, now=checked_flag(now, "now"))

    def resync(
        self,
        *,
        since: datetime,
        provider: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        progress: Callable[[Resync], None] | None = None,
        by: str | None = None,
    ) -> Resync:
        """Query the gateway about every session touched since a time, and record what it shows.

        For a database that was restored from a backup, an asynchronous replica that was promoted, and
        notifications that were lost: nothing is due then, and `recover` does not look. What fails with one
        session is reported, and does not keep the others from being queried. It may be interrupted and
        repeated at any time, beside a running application, and by several processes.

        Args:
            since: Sessions whose ``updated_at`` is not before it. After a restore that is when the oldest
                payment was begun that may have been captured or refunded since the backup.
            provider: Only sessions of this provider.
            after: The id of a session to go on after: ``last`` of an earlier report.
            limit: At most so many sessions; all of them by default. Each takes one lookup, or two.
            progress: Called with the report so far, after every 100 sessions.
            by: Who asks; see `sync`.

        Raises:
            InvalidData: ``since`` has no time zone, or ``limit`` is no number of sessions.
        """
        if not isinstance(since, datetime) or since.utcoffset() is None:
            raise InvalidData("since is a datetime with a time zone, such as datetime.now(UTC)")
        if limit is not None and (type(limit) is not int or limit < 1):
            raise InvalidData("limit is an int above zero, or None for all sessions")
        if progress is not None and not callable(progress):
            raise InvalidData(f"progress is a function, not {shown(progress)}")
        provider, after = checked_filter(provider, "provider"), checked_filter(after, "after")
        return resync(
            self._engine,
            since=since,
            provider=provider,
            after=after,
            limit=limit,
            progress=progress,
            by=checked_by(by),
        )

    def prune(
        self, retention: Retention | None = None, *, dry_run: bool = False, limit: int | None = None
    ) -> Pruned:
        """Delete notifications and events that nobody needs any more. Payments themselves are kept.

        A notification is needed while anything is due for it, and to recognize a duplicate. An event is
        needed until every reader of the feed has handled it: a reader that is further behind than the
        retention gets `CursorLost`. One that has read all finds its place, also if nothing happened for long.

        It may be interrupted, repeated, and run beside a running application.

        Args:
            retention: How long they are kept; by default what `open` was given.
            dry_run: Delete nothing, and return what would be.
            limit: At most so many of each, 1 to 1000; all of them by default.
        """
        if retention is None:
            retention = self.retention
        elif not isinstance(retention, Retention):
            raise InvalidData("retention is a Retention, such as Retention(events=timedelta(days=90))")
        now = self._store.now()
        notifications = before(now, retention.notifications)
        events = before(now, retention.events)
        if checked_flag(dry_run, "dry_run"):
            return Pruned(*self._store.prunable(notifications_before=notifications, events_before=events))
        total = Pruned(0, 0)
        while True:
            done = self._store.prune(
                notifications_before=notifications,
                events_before=events,
                limit=PRUNED_AT_ONCE if limit is None else checked_limit(limit),
            )
            total = Pruned(total.notifications + done[0], total.events + done[1])
            if limit is not None or not any(done):
                return total

    def forget(self, collection_id: str, *, by: str) -> PaymentCollection:
        """Erase a payer's personal data wherever it is kept, and keep the ledger.

        Erased are, of each session of the collection: ``checkout``, ``payer``, ``data``, ``next_action``,
        what came from the browser, the words of reasons, notes and failures (their codes stay), and the
        bodies of notifications that wait. Amounts, states, times, ids and who asked for what stay. What the
        gateway reports of the payer later is not kept; what it has itself, it keeps.

        It may be repeated, and is recorded as the event ``session.forgotten`` of each session.

        Args:
            collection_id: What was paid.
            by: Who asks for it: 1 to 200 characters.

        Raises:
            InvalidTransition: A session is not over: it waits for the payer, or holds money that is neither
                captured nor canceled.
            SessionBusy: An operation is in doubt, or pending at the gateway, or a dispute is not decided.
            NotFound: There is no such collection.
        """
        by = checked_text(by, "by")
        row = self._collection(collection_id)
        sessions = self._store.sessions(collection_id=row.id, limit=None)
        for session in sessions:
            _check_over(session)

        def rule(session: SessionRow) -> Ledger | None:
            _check_over(session)
            ledger = self._engine.ledger(session, whole=True)
            closed = self._store.conflicts(session_id=session.id, open=False, limit=MOST_ROWS)
            ledger.apply(Forgotten(by, tuple(closed)))
            return ledger if ledger.erased else None

        references: set[str] = set()
        for session in sessions:
            references.update(filter(None, [session.reference]))
            references.update(row.reference for row in self._store.operations(session.id) if row.reference)
            self._engine.decide(session.id, rule)
        self._inbox.forget(sessions, references)
        return self._with_totals(row)

    def unmatched(
        self, *, provider: str | None = None, after: str | None = None, limit: int = 100
    ) -> tuple[Unmatched, ...]:
        """Return notifications that match no session, in the order of their ids.

        After a restore they name the payments that were begun since the backup was made.

        Args:
            provider: Only those for this provider.
            after: The id to go on after.
            limit: How many at most, 1 to 1000.
        """
        provider, after = checked_filter(provider, "provider"), checked_filter(after, "after")
        rows = self._inbox.unmatched(provider, after, checked_limit(limit))
        return tuple(
            Unmatched(
                row.id, row.provider, row.type, row.session_id, row.references, row.received_at, row.due_at
            )
            for row in rows
        )

    def in_doubt(self, *, limit: int = 100) -> tuple[InDoubt, ...]:
        """Return every operation whose outcome is not known, the oldest first, with its age.

        Those that a call or a worker is processing just now are among them, with ``leased_until``, and so is
        what a gateway that cannot be queried should have reported by now, with ``needs_operator``.

        Args:
            limit: How many at most, 1 to 1000.
        """
        limit, now = checked_limit(limit), self._store.now()
        rows: list[InDoubt] = []
        for operation in self._store.in_doubt(limit):
            session = self._store.session(operation.session_id)
            if session is None:
                continue
            lease = operation.lease_until
            leased = lease if lease is not None and lease > now else None
            gone = "the process that sent it is gone" if leased is None else "it is in progress"
            reason = operation.error.message if operation.error is not None else gone
            needed = leased is None and self._recovery.needs_operator(session, operation)
            age = now - operation.created_at
            rows.append(
                InDoubt(
                    operation,
                    age,
                    reason,
                    session.due_at,
                    needed,
                    leased,
                    provider=session.provider,
                    reference=session.collection_reference,
                )
            )
        for session in self._store.unattended(limit):
            if session.open is not None:
                continue  # it is among those
            history = self._store.operations(session.id)
            pending = [operation for operation in history if operation.state is State.PENDING]
            operation = pending[0] if pending else history[-1]
            age = now - operation.created_at
            rows.append(
                InDoubt(
                    operation,
                    age,
                    "its time is over, and nothing was reported",
                    None,
                    True,
                    provider=session.provider,
                    reference=session.collection_reference,
                )
            )
        rows.sort(key=lambda row: (row.operation.created_at, row.operation.id))
        return tuple(rows[:limit])

    def health(
        self,
        *,
        after: str | None = None,
        max_lag: timedelta = MAX_LAG,
        max_doubt: timedelta = MAX_DOUBT,
    ) -> Health:
        """Return how payments are: for a probe, a page or a metric. No gateway is queried.

        A database that cannot be read is a figure of it, and raises nothing.

        Args:
            after: The cursor of a reader of the feed, to say how far behind it is.
            max_lag: How far behind recovery, the inbox and the reader may be.
            max_doubt: How long an operation may be in doubt.

        Raises:
            InvalidData: ``after`` is no cursor.
            CursorLost: Its event is not in the feed.
        """
        after = checked_filter(after, "after")
        for name, limit in (("max_lag", max_lag), ("max_doubt", max_doubt)):
            if not isinstance(limit, timedelta):
                raise InvalidData(f"{name} is a timedelta, not {type(limit).__name__}")
        try:
            unread = self.events(after=after, limit=1) if after is not None else None
            doubts = self.in_doubt(limit=COUNTED)
            found = health_of(self._store, self._inbox, doubts, unread, self._registry.names)
        except StoreError as error:
            found = Health(at=datetime.now(UTC), store=str(error))
        return found.judged(max_lag, max_doubt)

    def resolve(
        self,
        operation_id: str,
        outcome: Resolution | Outcome | Declined | NotApplied,
        *,
        note: str,
        by: str | None = None,
    ) -> PaymentSession:
        """Settle an operation manually, where no gateway can be queried about it.

        One that can be queried is queried first: what it shows counts.

        Args:
            operation_id: An operation in doubt, or a pending one.
            outcome: What became of it: ``succeeded`` (with what was asked), ``declined`` or
                ``not_applied``; or an `Outcome`, a `Declined` or a `NotApplied` that says more.
            note: How it is known; kept with the operation.
            by: Who says so: 1 to 200 characters, kept before the note.

        Raises:
            InvalidTransition: The operation is closed, or the gateway shows what became of it.
            InvalidData: The outcome does not fit the operation.
            SessionBusy: It is in progress.
        """
        note, by = checked_text(note, "note"), checked_by(by)
        operation = self._store.operation(checked_id(operation_id, "an operation"))
        if isinstance(outcome, str):
            outcome = _resolution(outcome, operation, note)
        if not isinstance(outcome, Outcome | Declined | NotApplied):
            raise InvalidData(
                "an outcome is 'succeeded', 'declined' or 'not_applied', or an Outcome, a Declined or a "
                f"NotApplied, not {shown(outcome)}"
            )
        if outcome.data is not None:
            data = outcome.data if isinstance(outcome, Outcome) else encode(outcome.data, "data")
            check_card_data(decode(data), "data")
        if isinstance(outcome, Outcome) and operation is not None:
            try:
                session = self._engine.load(operation.session_id)
                capabilities = self._registry.provider(session.provider).capabilities
                verify(session, operation, outcome, capabilities)
            except OutcomeUnknown as error:
                raise InvalidData(f"that does not fit the operation: {error}") from None
        return self._recovery.resolve(operation_id, outcome, note if by is None else f"{by}: {note}")

    # --- conflicts --------------------------------------------------------------------------------

    def conflicts(
        self,
        *,
        session_id: str | None = None,
        open: bool = True,  # noqa: A002 - the word for it
        after: str | None = None,
        limit: int = 100,
    ) -> tuple[Conflict, ...]:
        """Return what gateways showed that contradicts the ledger, in the order in which it was found.

        Args:
            session_id: Only that of this session.
            open: Only what is open; False: what was closed as well.
            after: The id to go on after.
            limit: How many at most, 1 to 1000.
        """
        open_, after = checked_flag(open, "open"), checked_filter(after, "after")
        session_id, limit = checked_filter(session_id, "session_id"), checked_limit(limit)
        return tuple(self._store.conflicts(session_id=session_id, open=open_, after=after, limit=limit))

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
        conflict = self._store.conflict(checked_id(conflict_id, "a conflict"))
        if conflict is None:
            raise NotFound(f"there is no conflict {conflict_id!r:.80}")
        kind = conflict.kind

        def rule(session: SessionRow) -> Ledger | None:
            ledger = self._engine.ledger(session)
            if kind in ledger.conflicts and ledger.conflicts[kind].id == conflict_id:
                ledger.apply(ConflictClosed(kind, by, note))
            return ledger if ledger.changed else None

        if conflict.closed_at is None:
            self._engine.decide(conflict.session_id, rule)
        return self._store.conflict(conflict_id) or conflict

    # --- reading ----------------------------------------------------------------------------------

    def get(self, session_id: str) -> PaymentSession:
        """Return a session as the ledger has it; no provider is called.

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
        gateway_reference: str | None = None,
        has_conflict: bool | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        newest: bool = False,
        after: str | None = None,
        limit: int = 100,
    ) -> tuple[PaymentSession, ...]:
        """Return sessions in the order in which they were created.

        The last id of a page is ``after`` of the next one. Whatever sessions are created meanwhile, no page
        repeats or skips one.

        Args:
            collection_id: Only those of this collection.
            reference: Only those of the collection with this host's reference.
            provider: Only those of this provider.
            status: Only those with this status.
            gateway_reference: Only those with this gateway's id: the session's own, or that of one of its
                operations (a capture, a refund).
            has_conflict: True: only those with an open conflict. False: only those without.
            created_after: Only those created at this time or later.
            created_before: Only those created earlier than this.
            newest: The newest first.
            after: The id of the session to go on after.
            limit: How many at most, 1 to 1000.

        Raises:
            InvalidData: A filter is not what it has to be.
            NotFound: There is no session with the id ``after``.
        """
        collection_id = checked_filter(collection_id, "collection_id")
        reference = checked_filter(reference, "reference")
        if reference is not None and collection_id is None:
            collection_id = collection_id_of(reference)
        if status is not None and (not isinstance(status, str) or status not in tuple(Status)):
            raise InvalidData(f"a status is one of {', '.join(Status)}, not {shown(status)}")
        return tuple(
            self._store.sessions(
                collection_id=collection_id,
                provider=checked_filter(provider, "provider"),
                status=status,
                gateway_reference=checked_filter(gateway_reference, "gateway_reference"),
                has_conflict=None if has_conflict is None else checked_flag(has_conflict, "has_conflict"),
                created_after=checked_moment(created_after, "created_after"),
                created_before=checked_moment(created_before, "created_before"),
                newest=checked_flag(newest, "newest"),
                after=self._engine.load(after) if after is not None else None,
                limit=checked_limit(limit),
            )
        )

    def history(self, session_id: str) -> tuple[Operation, ...]:
        """Return all operations of a session in their order.

        Raises:
            NotFound: There is no such session.
        """
        self._engine.load(session_id)
        return tuple(self._store.operations(session_id))

    def captures(self, session_id: str) -> tuple[Capture, ...]:
        """Return the captures of a session that succeeded, in their order, each with what is left to refund.

        Raises:
            NotFound: There is no such session.
        """
        session = self._engine.load(session_id)
        operations, most = self._store.operations(session_id), session.refundable_amount.minor
        currency, found = session.amount.currency, standing(operations)
        return tuple(
            Capture(
                operation,
                Money.from_minor(found[operation.id].captured, currency),
                Money.from_minor(found[operation.id].refunded, currency),
                Money.from_minor(max(0, min(most, found[operation.id].left)), currency),
                Money.from_minor(found[operation.id].charged_back, currency),
            )
            for operation in operations
            if operation.id in found
        )

    def events(self, *, after: str | None = None, limit: int = 100) -> tuple[Event, ...]:
        """Return what happened after a cursor: every transition once, in order per session.

        Args:
            after: The ``cursor`` of the last event that was handled; save it in the transaction
                that handles the event, and each is handled exactly once.
            limit: How many at most, 1 to 1000.

        Raises:
            InvalidData: It is no cursor.
            CursorLost: The event of the cursor is not in this feed, as after a restore; read it from its
                start with ``after=None``.
        """
        after, limit = checked_filter(after, "after"), checked_limit(limit)
        refused = InvalidData(f"{shown(after)} is no cursor of this event feed")
        try:
            return tuple(self._store.events(after=after, limit=limit))
        except ValueError:
            raise refused from None

    def lanes(self) -> tuple[Lane, ...]:
        """Return how many calls to each provider's gateway are running now, in the order of their names.

        Only where the callers' time is limited by ``call_deadline`` and the provider's own limits are longer.
        Calls that are ``late`` go on although their callers have been answered; while there are 32 of them,
        further ones are refused as `NotApplied`.
        """
        return self._calls.figures()

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
                found.append(
                    ProviderInfo(
                        name,
                        where,
                        True,
                        handle.capabilities,
                        None,
                        handle.mode,
                        offered=name in self.offered,
                        webhook_url=self._engine.webhook_url(name),
                        plugin=handle.plugin,
                    )
                )
        for name, entry in offered.items():
            if name not in self._registry.names:
                found.append(ProviderInfo(name, entry.distribution, False, None, None))
        return tuple(found)

    def handle_webhook(
        self, provider: str, *, headers: Headers, body: bytes, settle: bool = True
    ) -> WebhookReply:
        """Take a provider's notification in; answer the HTTP request with what is returned.

        Verified, stored, then looked into: what is recorded is what the provider reports when it is
        asked. Whatever cannot be verified or stored is not acknowledged.

        Args:
            provider: The name of the selected provider, from the URL.
            headers: The request's headers.
            body: The request's body as raw bytes, before any decoding.
            settle: False stores only, and leaves the rest to `recover`.

        Raises:
            InvalidData: The host passed in something else than headers, bytes and a flag. What the
                request itself brings raises nothing.
        """
        settle = checked_flag(settle, "settle")
        reply, waiting = self._receive_webhook(provider, headers, body)
        if settle:
            self._settle_webhook(waiting)
        return reply

    def _receive_webhook(
        self, provider: str, headers: Headers, body: bytes
    ) -> tuple[WebhookReply, list[Notification]]:
        return self._inbox.receive(provider, headers, body)

    def _settle_webhook(self, waiting: list[Notification]) -> None:
        self._inbox.settle_all(waiting)


def _check_over(session: SessionRow) -> None:
    """Refuse to erase what a session still needs.

    Raises:
        InvalidTransition, SessionBusy: It is not over.
    """
    if session.open is not None or session.pending:
        raise SessionBusy(
            "an operation of this session is in doubt or pending; try again when it is settled",
            session_id=session.id,
            operation_id=session.open,
        )
    if session.disputes:
        raise SessionBusy(
            "a dispute of this session is not decided, and its evidence may be needed; try again afterwards",
            session_id=session.id,
        )
    if session.status in _UNAUTHORIZED:
        raise InvalidTransition(
            f"the session {session.id} still waits for its payer: cancel it first", session_id=session.id
        )
    if session.authorized > session.captured or session.cancel_requested:
        raise InvalidTransition(
            f"the session {session.id} holds money that is not captured: capture or cancel it first",
            session_id=session.id,
        )


def _checked_capture_mode(capture: CaptureMode) -> CaptureMode:
    if not isinstance(capture, str) or capture not in _CAPTURES:
        raise InvalidData(f"capture is 'manual' or 'automatic', not {shown(capture)}")
    return capture


def _extra(data: str, provider: str, capture: str, amount: Money | None) -> str:
    """Return a digest of what a repeated `initiate` must have in common with the first."""
    return sha256(f"{data} {provider} {capture} {amount}".encode()).hexdigest()[:32]


def _resolution(word: str, operation: Operation | None, note: str) -> Outcome | Declined | NotApplied:
    """Return what an operator says in a word, as the outcome of an operation."""
    if word == "declined":
        return Declined("resolved", note)
    if word == "not_applied":
        return NotApplied(note)
    if word != "succeeded":
        raise InvalidData(f"an outcome is 'succeeded', 'declined' or 'not_applied', not {shown(word)}")
    kind = operation.kind if operation is not None else INITIATE
    if operation is not None and kind is CAPTURE:
        return Outcome.captured(operation.amount, released=operation.final)
    if operation is not None and kind is REFUND:
        return Outcome.refunded(operation.amount)
    if kind is AUTHORIZE or (operation is not None and operation.increments):
        return Outcome.authorized()
    return Outcome.canceled() if kind is CANCEL else Outcome.pending()
