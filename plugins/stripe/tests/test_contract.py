"""The contract of a provider, on Stripe: a payer in the browser, and a card that was saved before."""

import pytest

from paysession_stripe.contract import SandboxCounterpart, StripeContract


class TestStripe(StripeContract):
    pass


class SavedCard(SandboxCounterpart):
    """An account with a customer whose card is charged without them."""

    cannot = {"ask": "the payer is away", "decline": "the payer is away"}

    def __init__(self):
        super().__init__()
        customer = self.sandbox.call("POST", "/v1/customers", {"email": "jenny@example.com"})["id"]
        attach = "/v1/payment_methods/pm_card_visa/attach"
        card = self.sandbox.call("POST", attach, {"customer": customer})["id"]
        self.data = {"customer": customer, "payment_method": card}


class TestSavedCard(StripeContract):
    @pytest.fixture
    def gateway(self):
        return SavedCard()
