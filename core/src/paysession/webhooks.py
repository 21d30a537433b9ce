"""Notifications: verified, stored, acknowledged, and only then looked into.

A notification is a hint that there is something to see. What is booked is what the provider tells
when it is asked, through the same path as a redirect return, a sync and recovery. What matches no
session yet (it overtook our own answer) is kept and tried again for 3 days.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from paysession.change import Change, Notification
from paysession.errors import (
    ConfigurationError,
    OutcomeUnknown,
    PaysessionError,
    ProviderNotFound,
    WebhookRejected,
)
from paysession.money import Money
from paysession.operation import Kind
from paysession.outcome import Effect, WebhookReply
from paysession.store import Stale
from paysession.values import Failure, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from paysession.engine import Engine
    from paysession.outcome import WebhookEvent

__all__ = ["Headers", "Inbox"]

logger = logging.getLogger("paysession")

MAX_BODY: Final = 1_048_576
KEPT: Final = timedelta(days=3)
"""How long a notification without a session is tried again: as long as gateways send theirs again."""
_FIRST, _MOST = timedelta(seconds=10), timedelta(hours=1)


class Headers(Protocol):
    """A request's headers: any mapping, and what a framework has that is none (werkzeug's)."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return names, in any case, and values."""
        ...


class Inbox:
    """Takes notifications in and settles them.

    Args:
        engine: Carries out what they lead to.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.store

    def receive(self, provider: str, headers: Headers, body: bytes, *, settle: bool) -> WebhookReply:
        """Verify, store and acknowledge a request; 2xx is answered only for what is stored."""
        if not isinstance(body, bytes):
            raise TypeError(f"a webhook's body is given as the raw bytes, not as {type(body).__name__}")
        if not hasattr(headers, "items"):
            raise TypeError(f"headers are given as a mapping, not as {type(headers).__name__}")
        if len(body) > MAX_BODY:
            return WebhookReply(413, "too large")
        lowered = {str(key).lower(): str(value) for key, value in headers.items()}
        try:
            events = self._engine.registry.provider(provider).parse_webhook(lowered, body)
        except ProviderNotFound:
            return WebhookReply(404, "no such provider")
        except WebhookRejected as error:
            logger.warning("a notification for %s was rejected: %s", provider, error)
            return WebhookReply(400, "rejected")
        except (OutcomeUnknown, ConfigurationError) as error:
            logger.warning("a notification for %s could not be checked: %s", provider, error)
            return WebhookReply(503, "try again")
        try:
            stored = [self._keep(provider, event, body) for event in events]
        except Exception:  # the gateway must send again what we could not keep
            logger.exception("a notification for %s could not be stored", provider)
            return WebhookReply(503, "try again")
        waiting = [notification for notification in stored if notification is not None]
        if settle:
            for notification in waiting:
                self.settle(notification)
        return WebhookReply(200, "ok" if waiting else "nothing new")

    def _keep(self, provider: str, event: WebhookEvent, body: bytes) -> Notification | None:
        """Store a notification; None: it was processed before."""
        name = event.id if event.id is not None else os.urandom(16).hex()
        now = self._store.now()
        digest = sha256(f"{provider}\n{name}".encode()).hexdigest()
        notification = Notification(
            id=f"wh_{digest[:32]}",
            provider=provider,
            type=event.type[:200],
            received_at=now,
            session_id=event.session_id,
            references=tuple(event.references),
            effects=_dump(event.effects),
            body=body,
            due_at=now,
        )
        try:
            self._store.commit(Change(notification=notification))
        except Stale:
            known = self._store.notification(notification.id)
            return known if known is not None and known.state == "received" else None
        return notification

    def settle(self, notification: Notification) -> bool:
        """Look into a notification; whether it needs no further attempt.

        Nothing is raised: what fails is tried again by `Payments.recover`.
        """
        now = self._store.now()
        again = None
        state, done = "processed", True
        try:
            found = self._match(notification)
            if found is None:
                done = now >= notification.received_at + KEPT
                state = "unmatched" if done else "received"
            else:
                again = self._apply(notification, found)
                done = again is None
        except (PaysessionError, Stale) as error:
            logger.info("the notification %s is not settled: %s", notification.id, error)
            done, state = False, "received"
        except Exception:  # a fault here must not lose the notification
            logger.exception("the notification %s could not be settled", notification.id)
            done, state = False, "received"
        attempts = notification.attempts + 1
        wait = min(_FIRST * (1 << min(attempts, 16)), _MOST)
        due_at = None if done else again or now + wait
        seen = replace(notification, state=state, attempts=attempts, due_at=due_at)
        self._store.commit(Change(notification=seen, notification_seen=True))
        return done

    def _match(self, notification: Notification) -> str | None:
        if notification.session_id is not None:
            session = self._store.session(notification.session_id)
            if session is not None and session.provider == notification.provider:
                return session.id
        if notification.references:
            return self._store.find_session(notification.provider, notification.references)
        return None

    def _apply(self, notification: Notification, session_id: str) -> datetime | None:
        """Book what a notification leads to; return when to look again, if that may have been too early."""
        recovery = self._engine.recovery
        effects = _load(notification.effects)
        provider = self._engine.registry.provider(notification.provider)
        if not effects or provider.capabilities.lookup != "none":
            shown_by = notification.received_at + provider.capabilities.lookup_lag
            early = provider.capabilities.lookup == "lagging" and self._store.now() < shown_by
            recovery.sync(session_id)
            return shown_by if early else None
        recovery.book_effects(provider, session_id, effects)
        return None


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
                "error": effect.error and [effect.error.code, effect.error.message],
            }
            for effect in effects
        ]
    )


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
        )
        for part in json.loads(text)
    ]
