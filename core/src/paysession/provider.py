"""What a provider author imports: the values, the errors and the marker of the hooks."""

from __future__ import annotations

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
from paysession.money import Money
from paysession.operation import Dispute, Kind, Operation
from paysession.outcome import Answer, Capabilities, Effect, Outcome, Snapshot, WebhookEvent
from paysession.reasons import FailureCategory, PayerMessageKey
from paysession.session import PaymentSession
from paysession.values import ClientAction, Failure, Instructions, Redirect, Secret, Status

__all__ = [
    "API_VERSION",
    "Address",
    "Answer",
    "Capabilities",
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
    "Redirect",
    "Secret",
    "Snapshot",
    "Status",
    "WebhookEvent",
    "WebhookRejected",
    "hookimpl",
]
