"""Payment sessions carried out by plugins: money is never moved twice and never lost.

A host application opens `Payments`, says what has to be paid and by which provider; a provider's
plugin knows the gateway (``paysession.provider`` is what its author imports); the core keeps the
ledger.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from paysession.checkout import Address, Checkout, Item, Payer
from paysession.errors import (
    ConfigurationError,
    CursorLost,
    Declined,
    IdempotencyMismatch,
    InvalidAmount,
    InvalidData,
    InvalidTransition,
    NotApplied,
    NotFound,
    NotOffered,
    NotSupported,
    OutcomeUnknown,
    PaysessionError,
    ProviderError,
    ProviderLoadError,
    ProviderNotFound,
    RequestError,
    SessionBusy,
    SettingsError,
    StoreError,
    WebhookRejected,
)
from paysession.hooks import API_VERSION, hookimpl
from paysession.money import Money
from paysession.operation import Dispute, Event, Kind, Operation, Resolution, State
from paysession.outcome import Capabilities, Outcome, WebhookReply
from paysession.reasons import CATEGORIES, PAYER_MESSAGES
from paysession.session import CaptureMode, Conflict, PaymentCollection, PaymentSession
from paysession.values import (
    ClientAction,
    Failure,
    Instructions,
    NextAction,
    Redirect,
    Secret,
    Status,
)

if TYPE_CHECKING:
    from paysession._plugins.registry import installed
    from paysession._plugins.settings import Found, load_config
    from paysession.aio import AsyncPayments
    from paysession.payments import Payments
    from paysession.reports import (
        Capture,
        Health,
        InDoubt,
        Lane,
        ProviderInfo,
        Pruned,
        Recovery,
        Resync,
        Unmatched,
        Unsynced,
    )
    from paysession.retention import Retention
    from paysession.store import MemoryStore

__all__ = [
    "API_VERSION",
    "CATEGORIES",
    "PAYER_MESSAGES",
    "Address",
    "AsyncPayments",
    "Capabilities",
    "Capture",
    "CaptureMode",
    "Checkout",
    "ClientAction",
    "ConfigurationError",
    "Conflict",
    "CursorLost",
    "Declined",
    "Dispute",
    "Event",
    "Failure",
    "Found",
    "Health",
    "IdempotencyMismatch",
    "InDoubt",
    "Instructions",
    "InvalidAmount",
    "InvalidData",
    "InvalidTransition",
    "Item",
    "Kind",
    "Lane",
    "MemoryStore",
    "Money",
    "NextAction",
    "NotApplied",
    "NotFound",
    "NotOffered",
    "NotSupported",
    "Operation",
    "Outcome",
    "OutcomeUnknown",
    "Payer",
    "PaymentCollection",
    "PaymentSession",
    "Payments",
    "PaysessionError",
    "ProviderError",
    "ProviderInfo",
    "ProviderLoadError",
    "ProviderNotFound",
    "Pruned",
    "Recovery",
    "Redirect",
    "RequestError",
    "Resolution",
    "Resync",
    "Retention",
    "Secret",
    "SessionBusy",
    "SettingsError",
    "State",
    "Status",
    "StoreError",
    "Unmatched",
    "Unsynced",
    "WebhookRejected",
    "WebhookReply",
    "hookimpl",
    "installed",
    "load_config",
]

if not TYPE_CHECKING:  # a checker of types sees the names above, and no others
    # What a provider's module needs is loaded with this one; what opens payments, when it is first named.
    # asyncio costs more than all the rest, and scripts do without.
    _LATER = {
        "AsyncPayments": "paysession.aio",
        "Found": "paysession._plugins.settings",
        "MemoryStore": "paysession.store",
        "Payments": "paysession.payments",
        "Retention": "paysession.retention",
        "installed": "paysession._plugins.registry",
        "load_config": "paysession._plugins.settings",
    }

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_LATER.get(name, "paysession.reports")), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
