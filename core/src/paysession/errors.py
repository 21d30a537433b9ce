"""Every error that paysession raises.

::

    PaysessionError
    ├── ConfigurationError      the installation or the settings are wrong
    │   ├── ProviderNotFound        no such provider is installed or selected
    │   ├── ProviderLoadError       a provider's distribution cannot be loaded, or breaks the contract
    │   ├── SettingsError           an unknown, missing or malformed setting
    │   └── StoreError              no such store, or its schema is not current
    ├── RequestError            the call cannot be carried out as asked; nothing was changed
    │   ├── InvalidAmount           not an amount, or not one that is available
    │   ├── InvalidData             ``data``, ``payload`` or another argument cannot be stored
    │   ├── InvalidTransition       the session's status does not allow the operation
    │   ├── NotOffered              a payer may not choose this provider
    │   ├── NotSupported            the provider does not offer the operation
    │   ├── NotFound                no such collection, session or operation
    │   ├── CursorLost              the event of a cursor is not in the feed: read it from its start again
    │   └── IdempotencyMismatch     the key was used before with other parameters
    ├── SessionBusy             another operation of the session is in flight; try again shortly
    ├── ProviderError           what a provider may answer instead of an outcome
    │   ├── Declined                it certainly refused
    │   ├── NotApplied              it certainly did not happen; trying again is safe
    │   └── OutcomeUnknown          it may have happened; only the provider knows
    └── WebhookRejected         a notification that cannot be trusted or read

Each carries ``session_id`` and ``operation_id`` where there is one, and says what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paysession.reasons import category_of, payer_message_key_of
from paysession.text import as_text, storable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from typing import Any

    from paysession.reasons import FailureCategory, PayerMessageKey

__all__ = [
    "ConfigurationError",
    "CursorLost",
    "Declined",
    "IdempotencyMismatch",
    "InvalidAmount",
    "InvalidData",
    "InvalidTransition",
    "NotApplied",
    "NotFound",
    "NotOffered",
    "NotSupported",
    "OutcomeUnknown",
    "PaysessionError",
    "ProviderError",
    "ProviderLoadError",
    "ProviderNotFound",
    "RequestError",
    "SessionBusy",
    "SettingsError",
    "StoreError",
    "WebhookRejected",
]


class PaysessionError(Exception):
    """The root of the tree: catch it to catch everything that paysession raises.

    What no store or log file can hold of a text (NUL, half a surrogate pair) is escaped in the message.

    Attributes:
        session_id: The session concerned, or None.
        operation_id: The operation concerned, or None.
    """

    def __init__(
        self, message: str, *, session_id: str | None = None, operation_id: str | None = None
    ) -> None:
        message = as_text(message)
        super().__init__(message)
        self.message = message
        self.session_id = session_id
        self.operation_id = operation_id

    def __str__(self) -> str:
        return self.message


class ConfigurationError(PaysessionError):
    """The installation or the settings are wrong."""


class ProviderNotFound(ConfigurationError):
    """No provider of that name is installed, or the application did not select it."""


class ProviderLoadError(ConfigurationError):
    """A provider or plugin cannot be loaded, or does not keep the contract of its hooks."""


class SettingsError(ConfigurationError):
    """A setting is unknown, missing or cannot be read."""


class StoreError(ConfigurationError):
    """No store answers to that URL, or its schema is not the one this version needs."""


class RequestError(PaysessionError):
    """The call cannot be carried out as asked; nothing was changed."""


class InvalidAmount(RequestError):
    """Not an amount of money, in the wrong currency, or more than is available."""


class InvalidData(RequestError):
    """An argument cannot be stored: not JSON, too large, or of the wrong type."""


class InvalidTransition(RequestError):
    """The session's status does not allow the operation."""


class NotOffered(RequestError):
    """A payer may not choose this provider: it is not offered, or it is for operators only."""


class NotSupported(RequestError):
    """The provider does not offer the operation, or not in this form."""


class NotFound(RequestError):
    """No such collection, session or operation."""


class CursorLost(RequestError):
    """The event that a cursor names is not in the feed, so nobody can say what comes after it.

    The database was restored from a backup, an asynchronous replica without the last commits was promoted,
    the event was deleted, or it is another database. Read the feed from its start (``after=None``), and
    handle each event by the session or collection as it is now: see "When a cursor is lost" in the
    reference of events.
    """


class IdempotencyMismatch(RequestError):
    """The idempotency key (or the collection's reference) was used before with other parameters."""


class SessionBusy(PaysessionError):
    """Another operation of the session is in flight; nothing was done, try again shortly."""


class ProviderError(PaysessionError):
    """What a provider may answer instead of an outcome: it is raised by hooks.

    Args:
        message: The provider's own words, without secrets.
        data: Replaces the session's ``data``; None leaves it.
        reference: The gateway's id, if one is known by now.
    """

    def __init__(
        self,
        message: str,
        *,
        data: Mapping[str, Any] | None = None,
        reference: str | None = None,
        session_id: str | None = None,
        operation_id: str | None = None,
    ) -> None:
        super().__init__(message, session_id=session_id, operation_id=operation_id)
        self.data = data
        self.reference = storable(reference) if isinstance(reference, str) else reference


class Declined(ProviderError):
    """It certainly refused: a new attempt is a new request.

    Args:
        code: A stable, machine-readable reason such as ``card_declined``.
        message: A sentence for the merchant.
        conclusive: Whether it proves as well that no earlier request of the same operation has had, or can
            still have, the effect: the authorization has expired, say. Then the operation is settled at once,
            also where it was sent before. Leave it out for anything that our own earlier request may have
            caused, such as "already captured".
        category: What may follow: ``hard``, ``soft``, ``authentication`` or ``try_later``. A mistake of ours
            is no decline: raise `ConfigurationError` or `InvalidData` for that.
        payer_message_key: What the payer may be told; by default that of the category.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        conclusive: bool = False,
        category: FailureCategory | None = None,
        payer_message_key: PayerMessageKey | None = None,
        data: Mapping[str, Any] | None = None,
        reference: str | None = None,
        session_id: str | None = None,
        operation_id: str | None = None,
    ) -> None:
        super().__init__(
            message or code,
            data=data,
            reference=reference,
            session_id=session_id,
            operation_id=operation_id,
        )
        self.code = as_text(code)
        self.conclusive = conclusive
        self.category: FailureCategory = category_of(category)
        self.payer_message_key: PayerMessageKey = payer_message_key_of(payer_message_key, self.category)


class NotApplied(ProviderError):
    """It certainly did not happen, and trying again is safe.

    Connection refused, 429, 503 before execution, a request that was not understood.

    Args:
        retry_after: How long the provider asks to wait, if it said so.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        data: Mapping[str, Any] | None = None,
        reference: str | None = None,
        session_id: str | None = None,
        operation_id: str | None = None,
    ) -> None:
        super().__init__(
            message, data=data, reference=reference, session_id=session_id, operation_id=operation_id
        )
        self.retry_after = retry_after


class Mistaken(NotApplied):
    """What a hook's `ConfigurationError` or `InvalidData` counts as: it did not happen, by a mistake of ours.

    The caller is raised the mistake itself; this is for the core alone.

    Args:
        mistake: What the hook raised.
    """

    def __init__(self, mistake: ConfigurationError | InvalidData) -> None:
        super().__init__(mistake.message)
        self.mistake = mistake
        self.code = "invalid_data" if isinstance(mistake, InvalidData) else "configuration"


class OutcomeUnknown(ProviderError):
    """It may have happened: a timeout, a reset, a 5xx, an answer that cannot be read.

    Also a refusal *because of the object's state* (already authorized, already voided): it may be
    our own earlier request that brought the object there. The operation stays open under its key
    until the provider, or an operator, says what became of it: see ``Payments.recover``.
    """


class WebhookRejected(PaysessionError):
    """A notification that is forged, stale, or cannot be read. Nothing was stored."""
