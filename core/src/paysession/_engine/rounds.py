"""One run of recovery: what is due is settled, the work of each provider beside that of the others.

A gateway that hangs holds up its own sessions only. Each provider has its share of what one run
processes, so that one backlog leaves room for the others, and a provider that uses up its time leaves
the rest of its share to the next run. So does one that answers nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from paysession._engine.upkeep import CHANGES, SWEEP, Upkeep
from paysession.reports import Recovery

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from paysession._engine.gate import Gate
    from paysession._engine.inbox import Inbox
    from paysession._engine.run import Engine

__all__ = ["ALL", "Rounds"]

logger = logging.getLogger("paysession")

WORKERS: Final = 8
"""How many providers are worked on at a time."""

PATIENCE: Final = 10.0
"""Seconds after which a provider begins nothing more in a run that others may be waiting for."""

MOST_UNANSWERED: Final = 5
"""How many sessions in a row a provider may have no answer for, before a run leaves it the rest of its share:
a gateway that is down is not asked about each of a hundred sessions."""

ALL: Final = datetime.max.replace(tzinfo=UTC)
"""Until when something is due, for whatever is due some time."""


class Rounds:
    """Settles what is due.

    Args:
        engine: Carries out what that leads to.
        inbox: Settles notifications.
        gate: What the threads of a run enter through, as parts of the call.
    """

    def __init__(self, engine: Engine, inbox: Inbox, gate: Gate) -> None:
        self._engine = engine
        self._inbox = inbox
        self._gate = gate
        self._upkeep = Upkeep(engine, inbox)

    def run(self, limit: int, provider: str | None, *, now: bool) -> Recovery:
        """Do one run; see `Payments.recover`."""
        store = self._engine.store
        until = ALL if now else store.now()
        self._upkeep.begin(self._engine.registry.names if provider is None else (provider,))
        if provider is not None:
            parts = [
                _Part(self._engine, self._inbox, self._upkeep, provider, until, limit, limit, patience=None)
            ]
        else:
            names = store.due_providers(until)
            patience = PATIENCE if len(self._engine.registry.names) > 1 else None
            sessions = notifications = dict.fromkeys(names, limit)
            if len(names) > 1:
                sessions = _shares({name: len(store.due(until, limit, name)) for name in names}, limit)
                notifications = _shares(
                    {name: len(store.due_notifications(until, limit, name)) for name in names}, limit
                )
            parts = [
                _Part(
                    self._engine,
                    self._inbox,
                    self._upkeep,
                    name,
                    until,
                    sessions[name],
                    notifications[name],
                    patience=patience,
                )
                for name in names
                if sessions[name] or notifications[name]
            ]
        _work_off(parts, self._gate)
        settled = sorted(session_id for part in parts for session_id in part.settled)
        waiting = sorted(session_id for part in parts for session_id in part.waiting)
        return Recovery(
            len(settled) + len(waiting),
            tuple(settled),
            tuple(waiting),
            sum(part.notifications for part in parts),
            sum(part.notifications_done for part in parts),
        )


class _Part:
    """One provider's share of a run, and what became of it."""

    def __init__(
        self,
        engine: Engine,
        inbox: Inbox,
        upkeep: Upkeep,
        provider: str,
        until: datetime,
        sessions: int,
        notifications: int,
        *,
        patience: float | None,
    ) -> None:
        self.provider = provider
        self.settled: list[str] = []
        self.waiting: list[str] = []
        self.notifications = self.notifications_done = 0
        self.error: BaseException | None = None
        self._engine, self._inbox, self._upkeep = engine, inbox, upkeep
        self._until, self._patience = until, patience
        self._most = sessions, notifications
        self._contended = False

    def process(self, stop: threading.Event) -> None:
        """Process the share, up to the end of what is begun when `stop` is set or its time is over."""
        begun = time.monotonic()
        store, recovery = self._engine.store, self._engine.recovery
        notifications = self._most[1]

        def over() -> bool:
            late = self._patience is not None and time.monotonic() - begun >= self._patience
            return stop.is_set() or late

        for notification in store.due_notifications(self._until, notifications, self.provider):
            if self.notifications and over():
                return
            if notification.type in (CHANGES, SWEEP):
                self._upkeep.run(notification, over)
                continue
            self.notifications += 1
            self.notifications_done += self._inbox.settle(notification)
        calls, failed = self._engine.calls, 0
        # Read after the notifications, which may have settled some of them.
        for session_id in self._due():
            if (self.settled or self.waiting) and over():
                return
            if failed >= MOST_UNANSWERED:
                logger.info("%s answered nothing %d times: the rest waits", self.provider, failed)
                return
            before = calls.unanswered(self.provider)
            session = recovery.attend(session_id, early=self._until is ALL)
            after = calls.unanswered(self.provider)
            failed = 0 if not after else failed + (after > before)
            if session is None:
                self._contended = True
            else:
                (self.waiting if session.due_at is not None else self.settled).append(session_id)

    def _due(self) -> Iterator[str]:
        """Hand out the sessions of the share, the longest due first.

        Workers that begin at a time are handed the same ones. Who finds that another was faster reads
        anew what is due, and goes on somewhere in it: they spread out instead of following each other.
        """
        most, handed = self._most[0], dict[str, None]()
        while len(handed) < most:
            rows = self._engine.store.due(self._until, most, self.provider)
            last = len(rows) < most
            rows = [session_id for session_id in rows if session_id not in handed]
            if not rows:
                return
            if self._contended:
                from random import randrange  # noqa: PLC0415 - it costs 1 ms, and is rarely needed

                rows = rows[randrange(len(rows)) :]  # noqa: S311 - nobody gains by guessing it
            self._contended = False
            for session_id in rows[: most - len(handed)]:
                handed[session_id] = None
                yield session_id
                if self._contended:
                    break
            else:
                if last:
                    return


def _work_off(parts: list[_Part], gate: Gate) -> None:
    """Process parts side by side: in this thread, and in others that end with the call."""
    left, stop = deque(parts), threading.Event()

    def work() -> None:
        while left and not stop.is_set():
            try:
                part = left.popleft()
            except IndexError:
                return
            try:
                part.process(stop)
            except Exception as error:  # noqa: BLE001 - raised in the thread that called
                part.error = error

    threads = [
        threading.Thread(target=gate.part(work), name=f"paysession recover {number}", daemon=True)
        for number in range(1, min(len(parts), WORKERS))
    ]
    started: list[threading.Thread] = []
    try:
        with suppress(RuntimeError):  # no thread can be started: this one does it all
            for thread in threads:
                thread.start()
                started.append(thread)
        work()
        for thread in started:
            thread.join()
    finally:
        # A signal ended the call: what the others have begun is finished, and nothing more is begun.
        stop.set()
    error = next((part.error for part in parts if part.error is not None), None)
    if error is not None:
        raise error


def _shares(found: Mapping[str, int], limit: int) -> dict[str, int]:
    """Divide a limit evenly among providers; what one does not need goes to the others."""
    given = dict.fromkeys(found, 0)
    while limit and (short := [name for name in found if found[name] > given[name]]):
        part = max(1, limit // len(short))
        for name in short:
            more = min(part, found[name] - given[name], limit)
            given[name] += more
            limit -= more
    return given
