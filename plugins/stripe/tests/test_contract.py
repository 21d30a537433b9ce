"""The contract of a provider, on Stripe."""

from paysession_stripe.contract import StripeContract


class TestStripe(StripeContract):
    pass
