"""Notifications: verified, stored, acknowledged, and only then looked into.

A notification is a hint that there is something to see. What is recorded is what the provider reports
when it is asked, through the same path as a redirect return, a sync and recovery. What matches no
session yet (it overtook our own answer) is kept and tried again for 3 days; if it names a session by our own
id, as after a restore that lost it, for 90 days.

Where a gateway does not sign, anybody may have sent it: what matches no session is forgotten, and what
matches one says no more than that the gateway may be queried about it.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import datetime, timedelta
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from paysession._engine.recovery import ATTEMPTS
from paysession._ledger.facts import Details
from paysession.change import Change, Notification
from paysession.checkout import dump_payer, load_payer
from paysession.errors import (
    ConfigurationError,
    InvalidData,
    NotApplied,
    OutcomeUnknown,
    PaysessionError,
    ProviderNotFound,
    WebhookRejected,
)
from paysession.money import Money
from paysession.operation import CANCEL, Kind, dump_dispute, load_dispute
from paysession.outcome import Effect, WebhookReply
from paysession.store import Stale
from paysession.values import Failure, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from paysession._engine.run import Engine
    from paysession._plugins.registry import Provider
    from paysession.checkout import Payer
    from paysession.outcome import WebhookEvent
    from paysession.session import SessionRow

__all__ = ["Headers", "Inbox"]

logger = logging.getLogger("paysession")

MAX_BODY: Final = 1_048_576
INTERVAL: Final = timedelta(seconds=30)
"""How often notifications that nobody can verify may have the gateway queried about one session."""
MOST_UNVERIFIED: Final = 8
"""How many events of one such request, and how many references of each, are compared with ours."""
KEPT: Final = timedelta(days=3)
"""How long a notification without a session is tried again: as long as gateways send theirs again."""
KEPT_OF_OURS: Final = timedelta(days=90)
"""How long one is tried again that names a session by our id, or another payment than its session does: a
session that a restore lost may be begun again late, and an operator may take long for what is in doubt."""
REJECTIONS_LOGGED_EVERY: Final = 60.0
"""Seconds between two log lines about notifications for one provider that were rejected."""
_FIRST, _MOST = timedelta(seconds=10), timedelta(hours=1)


class Headers(Protocol):
    """A request's headers: any mapping, and what a framework has that is none (werkzeug's)."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return names, in any case, and values."""
        ...


class Rejections:
    """Counts what was rejected, and logs it at a bounded rate: anybody can send it, any number of times.

    The first of a provider is logged at once, and then how many there were, at most once in
    `REJECTIONS_LOGGED_EVERY` seconds. It takes no lock, which a fork could leave held in the child.

    Args:
        clock: Returns seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._waiting: dict[str, int] = {}
        self._log_at: dict[str, float] = {}

    def count(self, provider: str, error: WebhookRejected) -> None:
        """Count one, and log how many there were if it is time to."""
        number = self._waiting.get(provider, 0) + 1
        now = self._clock()
        if now < self._log_at.get(provider, now):
            self._waiting[provider] = number
            return
        self._waiting[provider], self._log_at[provider] = 0, now + REJECTIONS_LOGGED_EVERY
        if number == 1:
            logger.warning("a notification for %s was rejected: %s", provider, error)
        else:
            logger.warning("%d notifications for %s were rejected, the last: %s", number, provider, error)


class Inbox:
    """Takes notifications in and settles them.

    Args:
        engine: Carries out what they lead to.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.store
        self._rejections = Rejections()

    def receive(
        self, provider: str, headers: Headers, body: bytes
    ) -> tuple[WebhookReply, list[Notification]]:
        """Verify and store a request; return the answer, 2xx only for what is stored, and what is due now.

        Args:
            provider: The provider's name, from the URL.
            headers: The request's.
            body: The request's.
        """
        if not isinstance(body, bytes):
            raise InvalidData(f"a webhook's body is given as the raw bytes, not as {type(body).__name__}")
        lowered = _lowered(headers)
        if len(body) > MAX_BODY:
            return WebhookReply(413, "too large"), []
        try:
            handle = self._engine.registry.provider(provider)
            events = handle.parse_webhook(lowered, body)
        except ProviderNotFound:
            return WebhookReply(404, "no such provider"), []
        except WebhookRejected as error:
            self._rejections.count(provider, error)
            return WebhookReply(400, "rejected"), []
        except (OutcomeUnknown, ConfigurationError) as error:
            logger.warning("a notification for %s could not be checked: %s", provider, error)
            return WebhookReply(503, "try again"), []
        try:
            if handle.capabilities.unsigned_webhooks:
                stored = [self._keep_unverified(provider, event) for event in events[:MOST_UNVERIFIED]]
            else:
                stored = [self._keep(provider, event, body) for event in events]
        except Exception:  # the gateway must send again what we could not keep
            logger.exception("a notification for %s could not be stored", provider)
            return WebhookReply(503, "try again"), []
        waiting = [notification for notification in stored if notification is not None]
        return WebhookReply(200, "ok" if waiting else "nothing new"), waiting

    def settle_all(self, notifications: Iterable[Notification]) -> None:
        """Look into notifications, for as long as the caller's time lasts: recovery does the rest."""
        for notification in notifications:
            if not self._engine.calls.over:
                self.settle(notification)

    def keep_listed(self, provider: str, event: WebhookEvent) -> Notification | None:
        """Store what a gateway's list of changes names; None: its notification was received, or is now."""
        digest = sha256(f"{provider}\n{event.id}".encode()).hexdigest()
        if self._store.notification(f"wh_{digest[:32]}") is not None:
            return None
        return self._keep(provider, event, b"")

    def _keep(self, provider: str, event: WebhookEvent, body: bytes) -> Notification | None:
        """Store a notification; None: it was processed before, or is by another delivery now."""
        name = event.id if event.id is not None else os.urandom(16).hex()
        now = self._store.now()
        digest = sha256(f"{provider}\n{name}".encode()).hexdigest()
        key = f"wh_{digest[:32]}"
        known = self._store.notification(key) if event.id is not None else None
        if known is not None:
            return known if known.state == "received" else None
        notification = Notification(
            id=key,
            provider=provider,
            type=event.type[:200],
            received_at=now,
            session_id=event.session_id,
            references=tuple(event.references),
            effects=_dump(event.effects),
            details=_dump_details(event.data, event.reference, event.payer, event.payment),
            body=body,
            due_at=now,
        )
        try:
            self._store.commit(Change(notification=notification))
        except Stale:
            return None  # another delivery of it was faster
        return notification

    def _keep_unverified(self, provider: str, event: WebhookEvent) -> Notification | None:
        """Store that there may be news of a session of ours; None: not now, or it is no session of ours.

        Anybody can send it, any number of times. So it is kept once for each session, whatever else it
        says, and a delivery writes nothing while an earlier one is waiting.
        """
        now = self._store.now()
        session_id = self._match(provider, event.session_id, event.references[:MOST_UNVERIFIED])
        if session_id is None:
            return None
        digest = sha256(f"{provider}\nunverified\n{session_id}".encode()).hexdigest()
        notification = Notification(
            id=f"wh_{digest[:32]}",
            provider=provider,
            type="unverified",
            received_at=now,
            session_id=session_id,
            due_at=now,
        )
        known = self._store.notification(notification.id)
        if known is not None:
            due_at = max(now, known.received_at + INTERVAL)
            if known.state == "received" and known.due_at is not None and known.due_at <= due_at:
                return None  # the gateway will be queried then, or is just about to be
            notification = replace(known, state="received", attempts=known.attempts + 1, due_at=due_at)
        try:
            self._store.commit(Change(notification=notification, notification_seen=known is not None))
        except Stale:  # another delivery was faster
            return None
        return notification if notification.due_at == now else None

    def _claim(self, notification: Notification, now: datetime) -> Notification:
        """Note that the gateway is queried now because of a notification that cannot be verified.

        What is delivered from now on is for another query. If this process dies, it is done after the
        interval.

        Raises:
            Stale: Another worker does it.
        """
        claimed = replace(
            notification,
            state="processed",
            received_at=now,
            due_at=now + INTERVAL,
            attempts=notification.attempts + 1,
        )
        self._store.commit(Change(notification=claimed, notification_seen=True))
        return claimed

    def settle(self, notification: Notification) -> bool:
        """Look into a notification; whether it needs no further attempt.

        Nothing is raised: what fails is tried again by `Payments.recover`.
        """
        try:
            return self._settle(notification)
        except Exception:  # it is stored, and due as before
            logger.exception("what became of the notification %s could not be stored", notification.id)
            return False

    def _settle(self, notification: Notification) -> bool:
        now = self._store.now()
        again, first = None, notification.state == "received"
        state, done = "processed", True
        try:
            found = self._match(notification.provider, notification.session_id, notification.references)
            if found is None:
                kept = KEPT if notification.session_id is None else KEPT_OF_OURS
                done = now >= notification.received_at + kept
                state = "unmatched" if done else "received"
                again = None if done else self._later(notification)
            else:
                provider = self._engine.registry.provider(notification.provider)
                if provider.capabilities.unsigned_webhooks:
                    notification = self._claim(notification, now)
                again = self._apply(provider, notification, found, first=first)
                done = again is None
                if again is not None and provider.capabilities.lookup == "none":
                    state, notification = "received", replace(notification, details="{}")
        except (PaysessionError, Stale) as error:
            logger.info("the notification %s is not settled: %s", notification.id, error)
            done, state = False, "received"
        except Exception:  # a fault here must not lose the notification
            logger.exception("the notification %s could not be settled", notification.id)
            done, state = False, "received"
        attempts = notification.attempts + 1
        due_at = None if done else again or now + _wait(attempts)
        # What was in it has been put to use; the payer's data need not be kept for longer.
        seen = replace(notification, state=state, attempts=attempts, due_at=due_at)
        if state == "processed":
            seen = _emptied(seen)
        try:
            self._store.commit(Change(notification=seen, notification_seen=True))
        except Stale:  # another worker has written what became of it, or there is more to look into
            return False
        return done

    def forget(self, sessions: Sequence[SessionRow], references: Collection[str]) -> None:
        """Erase what notifications that led to nothing yet say of sessions; what they are about is kept.

        Args:
            sessions: The sessions.
            references: The gateway's ids of them and of their operations.
        """
        ids = {session.id for session in sessions}
        for provider in sorted({session.provider for session in sessions}):
            after = None
            while rows := self._store.unprocessed(provider=provider, after=after, limit=1000):
                after = rows[-1].id
                for row in rows:
                    if row.session_id in ids or any(name in references for name in row.references):
                        self._erase(row)

    def _erase(self, notification: Notification) -> None:
        for _ in range(ATTEMPTS):
            kept = _load_details(notification.details) or Details()
            erased = replace(
                notification,
                body=b"",
                details=_dump_details(None, kept.reference, None, _payment(notification)),
                attempts=notification.attempts + 1,
            )
            try:
                self._store.commit(Change(notification=erased, notification_seen=True, erased=True))
            except Stale:
                found = self._store.notification(notification.id)
                if found is None or found.state == "processed":
                    return  # it is empty
                notification = found
            else:
                return

    def unmatched(self, provider: str | None, after: str | None, limit: int) -> list[Notification]:
        """Return notifications that match no session now, in the order of their ids."""
        found: list[Notification] = []
        while len(found) < limit:
            rows = self._store.unprocessed(provider=provider, after=after, limit=limit)
            found += [
                row for row in rows if self._match(row.provider, row.session_id, row.references) is None
            ]
            if len(rows) < limit:
                break
            after = rows[-1].id
        return found[:limit]

    def _match(self, provider: str, session_id: str | None, references: Sequence[str]) -> str | None:
        if session_id is not None:
            session = self._store.session(session_id)
            if session is not None and session.provider == provider:
                return session.id
        if references:
            return self._store.find_session(provider, references)
        return None

    def _apply(
        self, provider: Provider, notification: Notification, session_id: str, *, first: bool
    ) -> datetime | None:
        """Record what a notification leads to; return when to do so again, if it may have been too early."""
        recovery = self._engine.recovery
        effects, details = _load(notification.effects), _load_details(notification.details)
        if provider.capabilities.lookup != "none":
            effects = []  # the gateway is queried instead; the lookup may need the details
        if effects or details is not None:
            now, wait = self._store.now(), _wait(notification.attempts + 1)
            patient = now < notification.received_at + KEPT
            _, recorded = recovery.record_effects(provider, session_id, effects, details, patient=patient)
            if effects:
                return None if recorded else now + wait
        shown_by = notification.received_at + provider.capabilities.lookup_lag
        lagging = provider.capabilities.lookup == "lagging"
        early = first and lagging and self._store.now() < shown_by
        session = recovery.sync(session_id)
        if self._is_canceling(session):
            return max(shown_by, self._store.now() + _wait(notification.attempts + 1))
        if not self._is_compared(provider, notification, session_id):
            return max(shown_by, self._later(notification))
        return shown_by if early else None

    def _later(self, notification: Notification) -> datetime:
        """Return when a notification is tried again that waits for what may never come: an old one seldom."""
        now, since = self._store.now(), notification.received_at
        if now < since + KEPT:
            return now + _wait(notification.attempts + 1)
        return min(now + (now - since) / 8, since + KEPT_OF_OURS)  # when it is given up at the latest

    def _is_compared(self, provider: Provider, notification: Notification, session_id: str) -> bool:
        """Return whether the payment that a notification names was compared with the session's own."""
        payment = _payment(notification)
        if provider.capabilities.lookup == "none":
            return True
        try:
            compared = self._engine.recovery.compare_payment(provider, session_id, payment)
        except (NotApplied, OutcomeUnknown) as error:
            logger.info(
                "the payment %s of session %s could not be queried: %s",
                payment if payment is not None else "reported",
                session_id,
                error,
            )
            compared = False
        if not compared and self._store.now() >= notification.received_at + KEPT_OF_OURS:
            logger.warning("the payment %s of session %s was never compared with ours", payment, session_id)
            return True
        return compared

    def _is_canceling(self, session: SessionRow) -> bool:
        """Return whether a cancel is under way.

        Until it is over, what was authorized again meanwhile cannot be told from what it is to release.
        """
        operation = self._store.operation(session.open) if session.open is not None else None
        return operation is not None and operation.kind is CANCEL


def _emptied(notification: Notification) -> Notification:
    """Return a notification without what was put to use; what is looked into again names its payment."""
    details = "{}"
    if notification.due_at is not None:
        details = _dump_details(None, None, None, _payment(notification))
    return replace(notification, body=b"", details=details, effects="[]")


def _wait(attempts: int) -> timedelta:
    """Return how long a notification waits after so many attempts."""
    return min(_FIRST * (1 << min(attempts, 16)), _MOST)


def _lowered(headers: Headers) -> dict[str, str]:
    try:
        return {str(key).lower(): str(value) for key, value in headers.items()}
    except Exception as error:  # noqa: BLE001 - they are no headers, whatever they are
        raise InvalidData(
            f"headers are given as a mapping of names to values, not as {type(headers).__name__}: "
            f"{type(error).__name__}"
        ) from None


def _dump(effects: Sequence[Effect]) -> str:
    return json.dumps(
        [
            {
                "kind": effect.kind,
                "minor": effect.amount.minor,
                "currency": effect.amount.currency,
                "state": effect.state,
                "reference": effect.reference,
                "key": effect.key,
                "capture": effect.capture,
                "error": effect.error and list(_reason(effect.error)),
                "dispute": effect.dispute and dump_dispute(effect.dispute),
                "created_at": effect.created_at and effect.created_at.isoformat(),
            }
            for effect in effects
        ]
    )


def _dump_details(data: str | None, reference: str | None, payer: Payer | None, payment: str | None) -> str:
    """Return what an event says beside its effects, as JSON text."""
    parts = {"data": data, "reference": reference, "payer": dump_payer(payer), "payment": payment}
    known = {name: part for name, part in parts.items() if part is not None}
    return json.dumps(known) if known else "{}"


def _load_details(text: str) -> Details | None:
    parts = json.loads(text)
    if not parts.keys() - {"payment"}:
        return None
    return Details(parts.get("data"), parts.get("reference"), payer=load_payer(parts.get("payer")))


def _payment(notification: Notification) -> str | None:
    """Return the gateway's id of the payment that a notification is about, if it says so."""
    payment: str | None = json.loads(notification.details).get("payment")
    return payment


def _reason(error: Failure) -> tuple[str, ...]:
    return error.code, error.message, error.category, error.payer_message_key


def _load(text: str) -> list[Effect]:
    return [
        Effect(
            Kind(part["kind"]),
            Money.from_minor(part["minor"], part["currency"]),
            part["state"],
            part["reference"],
            part["key"],
            capture=part["capture"],
            error=part["error"] and Failure(*part["error"]),
            dispute=load_dispute(part["dispute"]) if part.get("dispute") else None,
            created_at=part.get("created_at") and datetime.fromisoformat(part["created_at"]),
        )
        for part in json.loads(text)
    ]
