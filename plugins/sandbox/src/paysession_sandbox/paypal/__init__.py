"""A PayPal of one's own: stateful, over real sockets, for tests and for the demo.

It approves in the payer's place, replays by request id, moves its clock, fails on demand, and signs
notifications with a certificate authority of its own. What it accepts and answers is checked
against PayPal's OpenAPI files in this package's tests.
"""

from __future__ import annotations

from paysession_sandbox.paypal.app import Answer, Event, Exchange
from paysession_sandbox.paypal.clock import Clock
from paysession_sandbox.paypal.faults import FAULTS, Fault
from paysession_sandbox.paypal.server import PayPalFake

__all__ = ["FAULTS", "Answer", "Clock", "Event", "Exchange", "Fault", "PayPalFake"]
