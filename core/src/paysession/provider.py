"""What a provider author imports: the values, the errors and the marker of the hooks."""

from __future__ import annotations

from paysession.checkout import Address, Checkout, Item, Payer
from paysession.endpoint import Endpoint
from paysession.errors import Declined, InvalidAmount, NotApplied, OutcomeUnknown, WebhookRejected
from paysession.hooks import API_VERSION, hookimpl
from paysession.money import Money
from paysession.operation import Kind, Operation
from paysession.outcome import Answer, Capabilities, Effect, Outcome, Snapshot, WebhookEvent
from paysession.session import PaymentSession
from paysession.values import ClientAction, Failure, Instructions, Redirect, Secret, Status

__all__ = [
    "API_VERSION",
    "Address",
    "Answer",
    "Capabilities",
    "Checkout",
    "ClientAction",
    "Declined",
    "Effect",
    "Endpoint",
    "Failure",
    "Instructions",
    "InvalidAmount",
    "Item",
    "Kind",
    "Money",
    "NotApplied",
    "Operation",
    "Outcome",
    "OutcomeUnknown",
    "Payer",
    "PaymentSession",
    "Redirect",
    "Secret",
    "Snapshot",
    "Status",
    "WebhookEvent",
    "WebhookRejected",
    "hookimpl",
]
