"""A Stripe of your own: stateful, over real sockets, for tests, demos and browsers.

It is written from Stripe's documentation, and checked in this package's tests against Stripe's
OpenAPI file, in both directions, and with Stripe's own Python package as a client.
"""

from __future__ import annotations

from paysession_sandbox.stripe.account import API_VERSION, Settings
from paysession_sandbox.stripe.cards import CARDS, TOKENS
from paysession_sandbox.stripe.faults import FAULTS
from paysession_sandbox.stripe.refusals import Refusal
from paysession_sandbox.stripe.server import StripeSandbox
from paysession_sandbox.stripe.wire import Answer, Request, decode_form

__all__ = [
    "API_VERSION",
    "CARDS",
    "FAULTS",
    "TOKENS",
    "Answer",
    "Refusal",
    "Request",
    "Settings",
    "StripeSandbox",
    "decode_form",
]
