"""Stripe for paysession: cards, wallets and bank payments through PaymentIntents."""

from __future__ import annotations

from paysession_stripe.data import StripeData
from paysession_stripe.provider import Stripe

__all__ = ["Stripe", "StripeData"]
