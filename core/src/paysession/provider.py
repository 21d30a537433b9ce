"""What the author of a provider imports: the values, the errors and the marker of the hooks.

``bounded_pools`` and ``BoundedResponse`` limit the time and the size of whole answers; `Registry` and
`Provider` call a provider's hooks as the engine does, with every check, for tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paysession._plugins.registry import Provider, Registry
from paysession._plugins.settings import secrets_of
from paysession.checkout import Address, Checkout, Item, Payer
from paysession.endpoint import Endpoint
from paysession.errors import (
    ConfigurationError,
    Declined,
    InvalidAmount,
    InvalidData,
    NotApplied,
    OutcomeUnknown,
    WebhookRejected,
)
from paysession.hooks import API_VERSION, hookimpl
from paysession.money import Money, exponent
from paysession.operation import REFUSED, Dispute, Kind, Operation, State
from paysession.outcome import ANSWERS, Answer, Capabilities, Changes, Effect, Outcome, Snapshot, WebhookEvent
from paysession.reasons import FailureCategory, PayerMessageKey
from paysession.session import PaymentSession
from paysession.values import ClientAction, Failure, Instructions, Redirect, Secret, Status

if TYPE_CHECKING:
    from paysession.bounded import BoundedResponse, bounded_pools

__all__ = [
    "ANSWERS",
    "API_VERSION",
    "REFUSED",
    "Address",
    "Answer",
    "BoundedResponse",
    "Capabilities",
    "Changes",
    "Checkout",
    "ClientAction",
    "ConfigurationError",
    "Declined",
    "Dispute",
    "Effect",
    "Endpoint",
    "Failure",
    "FailureCategory",
    "Instructions",
    "InvalidAmount",
    "InvalidData",
    "Item",
    "Kind",
    "Money",
    "NotApplied",
    "Operation",
    "Outcome",
    "OutcomeUnknown",
    "Payer",
    "PayerMessageKey",
    "PaymentSession",
    "Provider",
    "Redirect",
    "Registry",
    "Secret",
    "Snapshot",
    "State",
    "Status",
    "WebhookEvent",
    "WebhookRejected",
    "bounded_pools",
    "exponent",
    "hookimpl",
    "secrets_of",
]


if not TYPE_CHECKING:  # a checker of types sees the names above, and no others

    def __getattr__(name: str) -> Any:
        if name in {"BoundedResponse", "bounded_pools"}:  # http.client is not imported until a provider sends
            from paysession import bounded  # noqa: PLC0415

            return getattr(bounded, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
