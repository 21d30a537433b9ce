"""Stripe for paysession: cards, wallets and bank payments, in your page or on Stripe's."""

from __future__ import annotations

from paysession_stripe.data import StripeData
from paysession_stripe.methods import PayerMethod
from paysession_stripe.options import StripeOptions
from paysession_stripe.provider import Stripe

__all__ = ["PayerMethod", "Stripe", "StripeData", "StripeOptions"]
