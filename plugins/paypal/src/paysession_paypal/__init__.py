"""PayPal for paysession: Orders v2 and Payments v2 over ``paypalrestsdk``.

Importing this imports no SDK: that happens when PayPal is first called.
"""

from __future__ import annotations

from paysession_paypal.provider import PayPal
from paysession_paypal.settings import Settings
from paysession_paypal.wire import Lost, NotSent, Reply, Request, Transport

__all__ = ["Lost", "NotSent", "PayPal", "Reply", "Request", "Settings", "Transport"]
