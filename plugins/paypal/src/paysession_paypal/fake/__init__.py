"""A PayPal of one's own: stateful, over real sockets, for tests and for the demo.

It approves in the payer's place, replays by request id, moves its clock, fails on demand, and signs
notifications with a certificate authority of its own. What it accepts and answers is checked
against PayPal's OpenAPI files in this package's tests.
"""

from __future__ import annotations

from paysession_paypal.fake.app import Answer, Event, Exchange
from paysession_paypal.fake.clock import Clock
from paysession_paypal.fake.faults import Fault
from paysession_paypal.fake.server import PayPalFake

__all__ = ["Answer", "Clock", "Event", "Exchange", "Fault", "PayPalFake"]
