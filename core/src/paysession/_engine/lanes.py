"""How long a call may keep its caller waiting, and how much of a process one gateway can hold up.

A gateway that hangs is a matter of its provider's own time limits, which add up to minutes. Whoever
called is answered before that: the hook runs in a thread beside, and when the caller's time is over
the call goes on without the caller. Its answer is written down as any other, by that thread. So
nothing is lost, and nothing is sent a second time meanwhile: the operation's lease keeps others away.
"""

from __future__ import annotations

import logging
import os
import threading
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Final, Generic, ParamSpec, TypeVar

from paysession._engine.elapsed import InFlight
from paysession.errors import NotApplied, OutcomeUnknown, PaysessionError, ProviderError
from paysession.reports import Lane
from paysession.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from datetime import datetime

    from paysession._plugins.registry import Provider
    from paysession.operation import Operation
    from paysession.outcome import Outcome

__all__ = ["HookCalls", "TimeOver", "Workers", "unsent"]

logger = logging.getLogger("paysession")

MOST_LATE: Final = 32
"""How many calls of one provider may go on without their callers; then nothing more is sent to it until
one of them ends. A gateway that hangs holds up so many threads, and no more."""

_CALLER: Final = "caller"
_GATEWAY: Final = "gateway"

_P = ParamSpec("_P")
_R = TypeVar("_R")


class TimeOver(Exception):
    """The caller's time is over; the call of the hook goes on."""


class Workers:
    """Threads for one purpose, and how many are busy. They start when they are needed.

    Args:
        name: The purpose.
        limit: How many threads there are at most.
    """

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.late: Final[dict[object, None]] = {}
        """The calls that go on without their callers."""
        # Each entry is one step of the interpreter, and needs no lock.
        self._waiting: dict[object, None] = {}
        self._running: dict[object, None] = {}
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - not all hosts have a use for it

        self._threads = ThreadPoolExecutor(limit, thread_name_prefix=f"paysession {name}")

    def submit(self, work: Callable[[], _R]) -> Future[_R]:
        """Have work done as soon as a thread is free.

        Raises:
            RuntimeError: It is not done: after `shut`, or because no thread could be started.
        """
        from concurrent.futures import Future  # noqa: PLC0415 - see above

        ticket = object()
        future: Future[_R] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            self._running[ticket] = None
            self._waiting.pop(ticket, None)
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - raised where the result is read
                self._running.pop(ticket, None)
                future.set_exception(error)
            else:
                self._running.pop(ticket, None)
                future.set_result(result)

        self._waiting[ticket] = None
        future.add_done_callback(lambda _: self._waiting.pop(ticket, None))
        try:
            self._threads.submit(run)
        except BaseException as error:
            # Where no thread could be started it waits for a free one all the same. It is taken back, unless
            # it has begun just now: a caller who hears that it is not done may repeat it.
            if future.cancel() or not isinstance(error, RuntimeError):
                raise
        return future

    def shut(self, *, wait: bool) -> None:
        """Take no more work.

        Args:
            wait: Until all that was taken is done.
        """
        self._threads.shutdown(wait=wait)

    def figures(self) -> Lane:
        """Return how many are busy."""
        return Lane(self.name, self.limit, len(self._running), len(self._waiting), len(self.late))


class HookCalls:
    """Calls hooks within the time that a caller's call has.

    Args:
        patience: How long a call may keep its caller; None: as long as its hooks take.
        part: Makes of a thread's work a part of the call that begins it, so that closing waits for it.
    """

    def __init__(
        self,
        patience: timedelta | None = None,
        part: Callable[[Callable[[], None]], Callable[[], None]] = lambda work: work,
    ) -> None:
        self.patience = None if patience is None else patience.total_seconds()
        self._part = part
        self._here = _Here()
        self._of_process: dict[int, dict[str, Workers]] = {}
        self._unanswered: dict[str, int] = {}

    # --- the caller's time ------------------------------------------------------------------------

    def within(self, call: Callable[_P, _R], /, *args: _P.args, **named: _P.kwargs) -> _R:
        """Call something that changes a session for a caller: its time begins, unless it has."""
        here = self._here
        if self.patience is None or here.end is not None:
            return call(*args, **named)
        here.end = monotonic() + self.patience
        try:
            return call(*args, **named)
        finally:
            here.end = None

    def until(self, end: float, call: Callable[[], _R]) -> _R:
        """Call something whose time ends at a moment of ``time.monotonic``."""
        self._here.end = end
        try:
            return call()
        finally:
            self._here.end = None

    def left(self) -> float | None:
        """Return how many seconds the call of this thread has left; None: as many as it takes."""
        end = self._here.end
        return None if end is None else end - monotonic()

    @property
    def over(self) -> bool:
        """Whether the time of this thread's call is over, so that nothing more is to be begun."""
        left = self.left()
        return left is not None and left <= 0

    def check(self, session_id: str) -> None:
        """Refuse to begin anything where the time of this thread's call is over.

        Raises:
            NotApplied: It is.
        """
        end = self._here.end
        if end is not None and end <= monotonic():
            raise NotApplied("the time of this call was over before it was sent", session_id=session_id)

    def shown(self, operation: Operation, now: Callable[[], datetime]) -> Operation:
        """Return an operation that shows the hook how much time it has.

        Args:
            operation: The operation.
            now: The store's clock.
        """
        end = self._here.end
        if end is None:
            return operation
        left = timedelta(seconds=max(end - monotonic(), 0.0))
        return replace(operation, deadline=now() + left, until=end)

    # --- calling hooks ----------------------------------------------------------------------------

    def make(
        self,
        provider: Provider,
        operation: Operation,
        ask: Callable[[], Outcome | ProviderError],
        answered: Callable[[Outcome | ProviderError], _R],
    ) -> _R:
        """Call a hook that may have an effect, and do with its answer what is to be done, whoever is there.

        Args:
            provider: Whose hook it is.
            operation: What it is called for.
            ask: Calls it; what it raises is returned.
            answered: Writes the answer down.

        Raises:
            TimeOver: The caller's time is over; ``answered`` is called when the answer comes.
        """
        with InFlight(operation.id):
            left = self._short_of(provider)
            if left is None:
                return answered(self._noted(provider.name, ask))
            ask = partial(self._noted, provider.name, ask)
            workers = self._workers(provider.name)
            if len(workers.late) >= MOST_LATE:
                return answered(
                    unsent(operation, f"{MOST_LATE} calls to {provider.name} are not answered yet")
                )

            def late(answer: Outcome | ProviderError) -> None:
                try:
                    self.within(answered, answer)  # a lookup after it has as much time again, and no more
                except PaysessionError as error:
                    logger.info("a late answer to %s came to: %s", operation.id, error)

            def waited() -> ProviderError:
                return unsent(operation, f"no thread was free to call {provider.name}")

            call = _Call(workers, ask, late, waited)
            try:
                workers.submit(self._part(partial(_in_flight, operation.id, call.run)))
            except RuntimeError as error:
                return answered(unsent(operation, f"no thread could call {provider.name}: {error}"))
            return answered(call.wait(left))

    def look(self, provider: Provider, ask: Callable[[], _R]) -> _R:
        """Call a hook that has no effect.

        Raises:
            OutcomeUnknown: It did not answer within the caller's time. What it answers later is of no use.
        """
        left = self._short_of(provider)
        if left is None:
            return self._noted(provider.name, ask)
        ask = partial(self._noted, provider.name, ask)
        workers = self._workers(provider.name)
        if left <= 0 or len(workers.late) >= MOST_LATE:
            raise OutcomeUnknown(f"{provider.name} was not queried: the time of this call was over")
        call = _Call(workers, ask, lambda _: None, None)
        try:
            workers.submit(call.run)  # no part of the call: if its caller is gone nothing comes of it
        except RuntimeError as error:
            raise OutcomeUnknown(f"no thread could query {provider.name}: {error}") from None
        try:
            return call.wait(left)
        except TimeOver:
            raise OutcomeUnknown(
                f"{provider.name} did not answer the query within the time of this call"
            ) from None

    def unanswered(self, provider: str) -> int:
        """Return how many calls to a provider in a row had no answer that says anything."""
        return self._unanswered.get(provider, 0)

    def _noted(self, provider: str, ask: Callable[[], _R]) -> _R:
        useless = False
        try:
            answer = ask()
            useless = isinstance(answer, (NotApplied, OutcomeUnknown))
        except (NotApplied, OutcomeUnknown):
            useless = True
            raise
        finally:
            self._unanswered[provider] = self._unanswered.get(provider, 0) + 1 if useless else 0
        return answer

    def _short_of(self, provider: Provider) -> float | None:
        """Return how much time there is, where the hook may take longer; None: it runs in this thread."""
        end = self._here.end
        if end is None or provider.capabilities.local:
            return None
        left = end - monotonic()
        return None if provider.capabilities.call_limit.total_seconds() <= left else left

    def _workers(self, provider: str) -> Workers:
        # A forked child does not have its parent's threads.
        here = self._of_process.setdefault(os.getpid(), {})
        workers = here.get(provider)
        # There are as many threads as callers, and those that go on without them.
        return workers if workers is not None else here.setdefault(provider, Workers(provider, 4096))

    def figures(self) -> tuple[Lane, ...]:
        """Return how many calls of each provider are running, where callers have a limited time."""
        here = self._of_process.get(os.getpid(), {})
        return tuple(here[name].figures() for name in sorted(here))

    def close(self) -> None:
        """Let the threads end."""
        for workers in self._of_process.get(os.getpid(), {}).values():
            workers.shut(wait=False)


class _Here(threading.local):
    """When the time of this thread's call is over, on the clock of ``time.monotonic``."""

    end: float | None = None


class _Call(Generic[_R]):
    """A hook's call in a thread beside its caller's: who is there when the answer comes writes it down.

    Args:
        workers: The threads.
        ask: The call.
        late: What is done with an answer for which nobody waits any more.
        unsent: The answer, if nobody waits any more before it begins; None: there is none.
    """

    def __init__(
        self,
        workers: Workers,
        ask: Callable[[], _R],
        late: Callable[[_R], None],
        unsent: Callable[[], _R] | None,
    ) -> None:
        self._workers = workers
        context = copy_context()  # traces and log contexts follow into the thread
        self._ask: Callable[[], _R] = lambda: context.run(ask)
        self._late, self._unsent = late, unsent
        self._answer: SimpleQueue[tuple[_R | None, BaseException | None]] = SimpleQueue()
        self._decided: dict[str, str] = {}
        """Who was first, by one step of a dict that nothing can interrupt."""

    def run(self) -> None:
        """Call, in a thread of the workers."""
        try:
            answer, error = self._result()
            if self._decided.setdefault("by", _GATEWAY) == _GATEWAY:
                self._answer.put((answer, error))
            elif error is None:
                self._late(answer)  # type: ignore[arg-type] # there is one where there is no error
            elif not isinstance(error, ProviderError):
                logger.error("a call that nobody waits for failed", exc_info=error)
        except Exception:
            logger.exception("a late answer could not be written down")
        finally:
            self._workers.late.pop(self, None)

    def _result(self) -> tuple[_R | None, BaseException | None]:
        try:
            if self._decided:  # it waited for a thread for all of its caller's time
                return (self._unsent() if self._unsent is not None else None), None
            return self._ask(), None
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            return None, error

    def wait(self, seconds: float) -> _R:
        """Return the answer.

        Raises:
            TimeOver: It did not come; what does is for ``late``.
        """
        try:
            answer, error = self._answer.get(timeout=max(seconds, 0.0))
        except Empty:
            if self._give_up():
                raise TimeOver from None
            answer, error = self._answer.get()
        except BaseException:  # of a signal handler: whoever called is not there any more
            self._give_up()
            raise
        if error is not None:
            raise error
        return answer  # type: ignore[return-value] # there is one where there is no error

    def _give_up(self) -> bool:
        """Leave the answer to the thread; return whether it was not there before."""
        self._workers.late[self] = None
        if self._decided.setdefault("by", _CALLER) == _CALLER:
            return True
        self._workers.late.pop(self, None)
        return False


def unsent(operation: Operation, reason: str) -> ProviderError:
    """Return what is to be recorded of an operation that was not sent, or not once more."""
    return NotApplied(reason) if operation.attempt == 1 else OutcomeUnknown(reason)


def _in_flight(operation_id: str, run: Callable[[], None]) -> None:
    with InFlight(operation_id):
        run()
