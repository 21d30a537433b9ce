"""The same calls for asyncio: each whole operation runs in one thread, in threads apart for each purpose."""

# The same payments with another face: it looks inside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import contextvars
import os
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeVar

from paysession._engine.arguments import checked_flag
from paysession._engine.health import MAX_DOUBT, MAX_LAG
from paysession._engine.lanes import Workers
from paysession.errors import NotApplied, SettingsError, StoreError
from paysession.payments import Payments
from paysession.reports import Lane
from paysession.session import PaymentSession

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta
    from types import TracebackType
    from typing import Self

    from paysession._engine.inbox import Headers
    from paysession.checkout import Checkout
    from paysession.errors import Declined
    from paysession.money import Money
    from paysession.operation import Event, Operation, Resolution
    from paysession.outcome import Outcome, WebhookReply
    from paysession.reports import Capture, Health, InDoubt, ProviderInfo, Pruned, Recovery, Resync, Unmatched
    from paysession.retention import Retention
    from paysession.session import CaptureMode, Conflict, PaymentCollection

__all__ = ["AsyncPayments"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

_STORE, _WEBHOOKS, _RECOVERY = "store", "webhooks", "recovery"
_FIXED: Final = {_STORE: 16, _WEBHOOKS: 16, _RECOVERY: 4}
"""How many threads the purposes have that wait for no gateway on a caller's behalf. The store has as many
connections to PostgreSQL by default; recovery has one run at a time, mostly."""

_REMEMBERED: Final = 10_000
"""Of how many sessions the provider is remembered, which never changes."""


class AsyncPayments:
    """`Payments` for asyncio, call by call; see there for what each does and raises.

    A whole operation (begin, call, finish) runs in one thread, so a task that is cancelled while it
    waits does not tear an operation apart: the thread goes on to its end.

    The calls to each provider have threads of their own, and so have reads, notifications and recovery: a
    gateway that hangs delays neither another's calls nor a read, nor that a notification is stored. How
    busy they are is what `lanes` returns.

    Args:
        payments: The payments that carry the calls out.
        max_workers: How many operations of one provider run at once; others wait in line, for as long as
            their caller's time lasts (``call_deadline``).

    Raises:
        SettingsError: ``max_workers`` is no number of threads.
    """

    def __init__(self, payments: Payments, *, max_workers: int = 64) -> None:
        if type(max_workers) is not int or max_workers < 1:
            raise SettingsError("max_workers is an int from 1")
        self._payments = payments
        self._calls = payments._calls
        self._max_workers = max_workers
        self._of_process: dict[int, dict[tuple[str, str], Workers]] = {}
        self._providers: dict[str, str] = {}
        self._closed = False

    @classmethod
    def open(cls, url: str | None = None, *, max_workers: int = 64, **options: Any) -> Self:
        """Open as `Payments.open` does, with the same options."""
        return cls(Payments.open(url, **options), max_workers=max_workers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for the calls that run, then close; later ones are a `StoreError`.

        A second close does nothing. A call whose observer waits for this to end would wait for itself.
        """
        self._closed = True
        # Not in one of those threads: it would close the store under the operations in the others.
        for workers in list(self._here().values()):
            await asyncio.to_thread(workers.shut, wait=True)
        await asyncio.to_thread(self._payments.close)

    async def lanes(self) -> tuple[Lane, ...]:
        """Return how busy the threads for each purpose are: what there is to watch.

        ``store`` serves what only reads or changes the store, ``webhooks`` stores notifications,
        ``recovery`` is for `recover`, `resync`, `prune` and `resolve`; each provider has its own.
        """
        late = {lane.name: lane.late for lane in self._calls.figures()}
        lanes = [(key, workers.figures()) for key, workers in sorted(self._here().items())]
        return tuple(
            Lane(lane.name, lane.limit, lane.running, lane.waiting, late.get(key[1], 0) if key[0] else 0)
            for key, lane in lanes
        )

    # --- threads ----------------------------------------------------------------------------------

    def _here(self) -> dict[tuple[str, str], Workers]:
        """Return this process's threads: a forked child does not have its parent's."""
        return self._of_process.setdefault(os.getpid(), {})

    def _workers(self, kind: str, name: str, limit: int) -> Workers:
        if self._closed:
            raise StoreError("these payments are closed: open them again")
        here = self._here()
        workers = here.get((kind, name))
        return workers if workers is not None else here.setdefault((kind, name), Workers(name, limit))

    async def _in(self, workers: Workers, call: Callable[[], _R], *, end: float | None = None) -> _R:
        """Run a call in a thread.

        Args:
            workers: The threads for its purpose.
            call: The call.
            end: When its caller's time is over, on the clock of ``time.monotonic``.

        Raises:
            NotApplied: No thread was free before that, or could be started.
            StoreError: The payments are closed.
        """
        context = contextvars.copy_context()  # traces and log contexts follow into the thread
        try:
            future = workers.submit(partial(context.run, call))
        except RuntimeError as error:  # they are shut, or no thread could be started
            if self._closed:
                raise StoreError(f"these payments are closed: {error}") from None
            raise NotApplied(f"no thread could be started for {workers.name}: {error}") from None
        running = asyncio.wrap_future(future)
        if end is not None:
            try:
                done, _ = await asyncio.wait({running}, timeout=max(0.0, end - monotonic()))
            except asyncio.CancelledError:
                running.cancel()  # what waits for a thread is not begun
                raise
            if not done and future.cancel():
                raise NotApplied(
                    f"all {workers.limit} threads for {workers.name} were busy for as long as this call had: "
                    "nothing was sent"
                )
        return await running

    async def _run(self, call: Callable[_P, _R], /, *args: _P.args, **named: _P.kwargs) -> _R:
        """Run what waits for no gateway."""
        workers = self._workers("", _STORE, _FIXED[_STORE])
        return await self._in(workers, partial(call, *args, **named))

    async def _recovering(self, call: Callable[_P, _R], /, *args: _P.args, **named: _P.kwargs) -> _R:
        """Run what may take long, and what no payer waits for."""
        workers = self._workers("", _RECOVERY, _FIXED[_RECOVERY])
        return await self._in(workers, partial(call, *args, **named))

    async def _with(self, provider: str, call: Callable[_P, _R], /, *args: _P.args, **named: _P.kwargs) -> _R:
        """Run what calls a provider; the caller's time begins now, also if it has to wait for a thread."""
        work = partial(call, *args, **named)
        if provider not in self._payments._registry.names:  # an error, which needs no threads
            return await self._in(self._workers("", _STORE, _FIXED[_STORE]), work)
        workers = self._workers("provider", provider, self._max_workers)
        if self._calls.patience is None:
            found = await self._in(workers, work)
        else:
            end = monotonic() + self._calls.patience
            found = await self._in(workers, partial(self._calls.until, end, work), end=end)
        if isinstance(found, PaymentSession):
            self._remember(found)
        return found

    def _remember(self, session: PaymentSession) -> None:
        if len(self._providers) >= _REMEMBERED:
            self._providers.clear()
        self._providers[session.id] = session.provider

    async def _on(
        self, session_id: str, call: Callable[_P, PaymentSession], /, *args: _P.args, **named: _P.kwargs
    ) -> PaymentSession:
        """Run what calls the provider of a session."""
        provider = self._providers.get(session_id) if isinstance(session_id, str) else None
        if provider is None:
            session = await self._run(self._payments.get, session_id)
            self._remember(session)
            provider = session.provider
        return await self._with(provider, call, *args, **named)

    @property
    def offered(self) -> tuple[str, ...]:
        """See `Payments.offered`."""
        return self._payments.offered

    async def create_collection(
        self, amount: Money, *, reference: str, by: str | None = None
    ) -> PaymentCollection:
        """See `Payments.create_collection`."""
        return await self._run(self._payments.create_collection, amount, reference=reference, by=by)

    async def update_collection(
        self, collection_id: str, amount: Money, *, by: str | None = None
    ) -> PaymentCollection:
        """See `Payments.update_collection`."""
        return await self._run(self._payments.update_collection, collection_id, amount, by=by)

    async def collection(
        self,
        id: str | None = None,  # noqa: A002 - the name in Payments
        *,
        reference: str | None = None,
    ) -> PaymentCollection:
        """See `Payments.collection`."""
        return await self._run(self._payments.collection, id, reference=reference)

    async def collections(
        self, *, after: str | None = None, limit: int = 100
    ) -> tuple[PaymentCollection, ...]:
        """See `Payments.collections`."""
        return await self._run(self._payments.collections, after=after, limit=limit)

    async def pay(
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
        """See `Payments.pay`."""
        return await self._with(
            provider,
            self._payments.pay,
            collection_id,
            provider=provider,
            checkout=checkout,
            data=data,
            capture=capture,
            idempotency_key=idempotency_key,
            by=by,
            abandon_after=abandon_after,
        )

    async def initiate(
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
        """See `Payments.initiate`."""
        return await self._with(
            provider,
            self._payments.initiate,
            collection_id,
            provider=provider,
            amount=amount,
            data=data,
            payload=payload,
            checkout=checkout,
            capture=capture,
            replaces=replaces,
            origin=origin,
            idempotency_key=idempotency_key,
            by=by,
            abandon_after=abandon_after,
        )

    async def update(
        self, session_id: str, amount: Money, *, idempotency_key: str | None = None, by: str | None = None
    ) -> PaymentSession:
        """See `Payments.update`."""
        return await self._on(
            session_id, self._payments.update, session_id, amount, idempotency_key=idempotency_key, by=by
        )

    async def authorize(
        self,
        session_id: str,
        *,
        payload: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        by: str | None = None,
    ) -> PaymentSession:
        """See `Payments.authorize`."""
        return await self._on(
            session_id,
            self._payments.authorize,
            session_id,
            payload=payload,
            idempotency_key=idempotency_key,
            by=by,
        )

    async def resume(self, session_id: str, *, payload: Mapping[str, Any] | None = None) -> PaymentSession:
        """See `Payments.resume`."""
        return await self._on(session_id, self._payments.resume, session_id, payload=payload)

    async def capture(
        self,
        session_id: str,
        amount: Money | None = None,
        *,
        final: bool = False,
        idempotency_key: str | None = None,
        by: str | None = None,
    ) -> PaymentSession:
        """See `Payments.capture`."""
        return await self._on(
            session_id,
            self._payments.capture,
            session_id,
            amount,
            final=final,
            idempotency_key=idempotency_key,
            by=by,
        )

    async def refund(
        self,
        session_id: str,
        amount: Money | None = None,
        *,
        capture: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        by: str | None = None,
    ) -> PaymentSession:
        """See `Payments.refund`."""
        return await self._on(
            session_id,
            self._payments.refund,
            session_id,
            amount,
            capture=capture,
            reason=reason,
            idempotency_key=idempotency_key,
            by=by,
        )

    async def cancel(
        self, session_id: str, *, idempotency_key: str | None = None, by: str | None = None
    ) -> PaymentSession:
        """See `Payments.cancel`."""
        return await self._on(
            session_id, self._payments.cancel, session_id, idempotency_key=idempotency_key, by=by
        )

    async def sync(self, session_id: str, *, by: str | None = None) -> PaymentSession:
        """See `Payments.sync`."""
        return await self._on(session_id, self._payments.sync, session_id, by=by)

    async def recover(self, *, limit: int = 100, provider: str | None = None, now: bool = False) -> Recovery:
        """See `Payments.recover`."""
        return await self._recovering(self._payments.recover, limit=limit, provider=provider, now=now)

    async def resync(
        self,
        *,
        since: datetime,
        provider: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        progress: Callable[[Resync], None] | None = None,
        by: str | None = None,
    ) -> Resync:
        """See `Payments.resync`; ``progress`` is called in a thread of the executor."""
        return await self._recovering(
            self._payments.resync,
            since=since,
            provider=provider,
            after=after,
            limit=limit,
            progress=progress,
            by=by,
        )

    async def prune(
        self, retention: Retention | None = None, *, dry_run: bool = False, limit: int | None = None
    ) -> Pruned:
        """See `Payments.prune`."""
        return await self._recovering(self._payments.prune, retention, dry_run=dry_run, limit=limit)

    async def forget(self, collection_id: str, *, by: str) -> PaymentCollection:
        """See `Payments.forget`."""
        return await self._run(self._payments.forget, collection_id, by=by)

    async def unmatched(
        self, *, provider: str | None = None, after: str | None = None, limit: int = 100
    ) -> tuple[Unmatched, ...]:
        """See `Payments.unmatched`."""
        return await self._run(self._payments.unmatched, provider=provider, after=after, limit=limit)

    async def health(
        self,
        *,
        after: str | None = None,
        max_lag: timedelta = MAX_LAG,
        max_doubt: timedelta = MAX_DOUBT,
    ) -> Health:
        """See `Payments.health`."""
        return await self._run(self._payments.health, after=after, max_lag=max_lag, max_doubt=max_doubt)

    async def in_doubt(self, *, limit: int = 100) -> tuple[InDoubt, ...]:
        """See `Payments.in_doubt`."""
        return await self._run(self._payments.in_doubt, limit=limit)

    async def resolve(
        self,
        operation_id: str,
        outcome: Resolution | Outcome | Declined | NotApplied,
        *,
        note: str,
        by: str | None = None,
    ) -> PaymentSession:
        """See `Payments.resolve`."""
        return await self._recovering(self._payments.resolve, operation_id, outcome, note=note, by=by)

    async def conflicts(
        self,
        *,
        session_id: str | None = None,
        open: bool = True,  # noqa: A002 - the name in Payments
        after: str | None = None,
        limit: int = 100,
    ) -> tuple[Conflict, ...]:
        """See `Payments.conflicts`."""
        return await self._run(
            self._payments.conflicts, session_id=session_id, open=open, after=after, limit=limit
        )

    async def acknowledge(self, conflict_id: str, *, by: str, note: str) -> Conflict:
        """See `Payments.acknowledge`."""
        return await self._run(self._payments.acknowledge, conflict_id, by=by, note=note)

    async def get(self, session_id: str) -> PaymentSession:
        """See `Payments.get`."""
        return await self._run(self._payments.get, session_id)

    async def sessions(
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
        """See `Payments.sessions`."""
        return await self._run(
            self._payments.sessions,
            collection_id=collection_id,
            reference=reference,
            provider=provider,
            status=status,
            gateway_reference=gateway_reference,
            has_conflict=has_conflict,
            created_after=created_after,
            created_before=created_before,
            newest=newest,
            after=after,
            limit=limit,
        )

    async def history(self, session_id: str) -> tuple[Operation, ...]:
        """See `Payments.history`."""
        return await self._run(self._payments.history, session_id)

    async def captures(self, session_id: str) -> tuple[Capture, ...]:
        """See `Payments.captures`."""
        return await self._run(self._payments.captures, session_id)

    async def events(self, *, after: str | None = None, limit: int = 100) -> tuple[Event, ...]:
        """See `Payments.events`."""
        return await self._run(self._payments.events, after=after, limit=limit)

    async def providers(self) -> tuple[ProviderInfo, ...]:
        """See `Payments.providers`."""
        return await self._run(self._payments.providers)

    async def handle_webhook(
        self, provider: str, *, headers: Headers, body: bytes, settle: bool = True
    ) -> WebhookReply:
        """See `Payments.handle_webhook`."""
        workers = self._workers("", _WEBHOOKS, _FIXED[_WEBHOOKS])
        settle = checked_flag(settle, "settle")
        receive = partial(self._payments._receive_webhook, provider, headers, body)
        reply, waiting = await self._in(workers, receive)
        if settle and waiting:
            with suppress(NotApplied):  # the threads for the provider are busy: recovery does it
                await self._with(provider, self._payments._settle_webhook, waiting)
        return reply
