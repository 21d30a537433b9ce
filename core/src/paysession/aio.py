"""The same calls for asyncio: each whole operation runs in one thread of an executor of its own."""

from __future__ import annotations

import asyncio
import contextvars
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from paysession.errors import SettingsError, StoreError
from paysession.payments import Payments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from types import TracebackType
    from typing import Self

    from paysession._engine.inbox import Headers
    from paysession.checkout import Checkout
    from paysession.errors import Declined, NotApplied
    from paysession.money import Money
    from paysession.operation import Event, Operation
    from paysession.outcome import Outcome, WebhookReply
    from paysession.reports import InDoubt, ProviderInfo, Pruned, Recovery, Resync, Unmatched
    from paysession.retention import Retention
    from paysession.session import Conflict, PaymentCollection, PaymentSession

__all__ = ["AsyncPayments"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


class AsyncPayments:
    """`Payments` for asyncio, call by call; see there for what each does and raises.

    A whole operation (begin, call, finish) runs in one thread, so a task that is cancelled while it
    waits does not tear an operation apart: the thread goes on to its end.

    Args:
        payments: The payments that carry the calls out.
        max_workers: How many operations run at once.

    Raises:
        SettingsError: ``max_workers`` is no number of threads.
    """

    def __init__(self, payments: Payments, *, max_workers: int = 64) -> None:
        if type(max_workers) is not int or max_workers < 1:
            raise SettingsError("max_workers is an int from 1")
        self._payments = payments
        self._max_workers = max_workers
        self._of_process: dict[int, ThreadPoolExecutor] = {}
        self._threads()  # a number that makes no sense is an error now

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
        # Not in one of those threads: it would close the store under the operations in the others.
        await asyncio.to_thread(self._threads().shutdown)
        await asyncio.to_thread(self._payments.close)

    def _threads(self) -> ThreadPoolExecutor:
        """Return this process's executor: a forked child does not have its parent's threads."""
        process = os.getpid()
        threads = self._of_process.get(process)
        if threads is None:
            made = ThreadPoolExecutor(self._max_workers, thread_name_prefix="paysession")
            threads = self._of_process.setdefault(process, made)
        return threads

    async def _run(self, call: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        context = contextvars.copy_context()  # traces and log contexts follow into the thread
        work = partial(context.run, partial(call, *args, **kwargs))
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads(), work)
        except RuntimeError as error:  # as the executor says that it is shut down
            raise StoreError(f"these payments are closed: {error}") from None
        return await running

    @property
    def offered(self) -> tuple[str, ...]:
        """See `Payments.offered`."""
        return self._payments.offered

    async def create_collection(self, amount: Money, *, reference: str) -> PaymentCollection:
        """See `Payments.create_collection`."""
        return await self._run(self._payments.create_collection, amount, reference=reference)

    async def update_collection(self, collection_id: str, amount: Money) -> PaymentCollection:
        """See `Payments.update_collection`."""
        return await self._run(self._payments.update_collection, collection_id, amount)

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

    async def initiate(
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
        origin: str = "host",
        idempotency_key: str | None = None,
    ) -> PaymentSession:
        """See `Payments.initiate`."""
        return await self._run(
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
        )

    async def update(
        self, session_id: str, amount: Money, *, idempotency_key: str | None = None
    ) -> PaymentSession:
        """See `Payments.update`."""
        return await self._run(self._payments.update, session_id, amount, idempotency_key=idempotency_key)

    async def authorize(
        self,
        session_id: str,
        *,
        payload: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> PaymentSession:
        """See `Payments.authorize`."""
        return await self._run(
            self._payments.authorize, session_id, payload=payload, idempotency_key=idempotency_key
        )

    async def resume(self, session_id: str, *, payload: Mapping[str, Any] | None = None) -> PaymentSession:
        """See `Payments.resume`."""
        return await self._run(self._payments.resume, session_id, payload=payload)

    async def capture(
        self,
        session_id: str,
        amount: Money | None = None,
        *,
        final: bool = False,
        idempotency_key: str | None = None,
    ) -> PaymentSession:
        """See `Payments.capture`."""
        return await self._run(
            self._payments.capture, session_id, amount, final=final, idempotency_key=idempotency_key
        )

    async def refund(
        self,
        session_id: str,
        amount: Money | None = None,
        *,
        capture: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> PaymentSession:
        """See `Payments.refund`."""
        return await self._run(
            self._payments.refund,
            session_id,
            amount,
            capture=capture,
            reason=reason,
            idempotency_key=idempotency_key,
        )

    async def cancel(self, session_id: str, *, idempotency_key: str | None = None) -> PaymentSession:
        """See `Payments.cancel`."""
        return await self._run(self._payments.cancel, session_id, idempotency_key=idempotency_key)

    async def sync(self, session_id: str) -> PaymentSession:
        """See `Payments.sync`."""
        return await self._run(self._payments.sync, session_id)

    async def recover(self, *, limit: int = 100, provider: str | None = None, now: bool = False) -> Recovery:
        """See `Payments.recover`."""
        return await self._run(self._payments.recover, limit=limit, provider=provider, now=now)

    async def resync(
        self,
        *,
        since: datetime,
        provider: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        progress: Callable[[Resync], None] | None = None,
    ) -> Resync:
        """See `Payments.resync`; ``progress`` is called in a thread of the executor."""
        return await self._run(
            self._payments.resync, since=since, provider=provider, after=after, limit=limit, progress=progress
        )

    async def prune(
        self, retention: Retention | None = None, *, dry_run: bool = False, limit: int | None = None
    ) -> Pruned:
        """See `Payments.prune`."""
        return await self._run(self._payments.prune, retention, dry_run=dry_run, limit=limit)

    async def forget(self, collection_id: str, *, by: str) -> PaymentCollection:
        """See `Payments.forget`."""
        return await self._run(self._payments.forget, collection_id, by=by)

    async def unmatched(
        self, *, provider: str | None = None, after: str | None = None, limit: int = 100
    ) -> tuple[Unmatched, ...]:
        """See `Payments.unmatched`."""
        return await self._run(self._payments.unmatched, provider=provider, after=after, limit=limit)

    async def in_doubt(self, *, limit: int = 100) -> tuple[InDoubt, ...]:
        """See `Payments.in_doubt`."""
        return await self._run(self._payments.in_doubt, limit=limit)

    async def resolve(
        self, operation_id: str, outcome: Outcome | Declined | NotApplied, *, note: str
    ) -> PaymentSession:
        """See `Payments.resolve`."""
        return await self._run(self._payments.resolve, operation_id, outcome, note=note)

    async def conflicts(
        self,
        *,
        open: bool = True,  # noqa: A002 - the name in Payments
        after: str | None = None,
        limit: int = 100,
    ) -> tuple[Conflict, ...]:
        """See `Payments.conflicts`."""
        return await self._run(self._payments.conflicts, open=open, after=after, limit=limit)

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
        return await self._run(
            self._payments.handle_webhook, provider, headers=headers, body=body, settle=settle
        )
