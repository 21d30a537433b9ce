"""The contract of a provider, on Stripe: a payer in the browser, and a card that was saved before."""

import pytest

from paysession_stripe.contract import SandboxCounterpart, StripeContract


class TestStripe(StripeContract):
    pass


class SavedCard(SandboxCounterpart):
    """An account with a customer whose card is charged without them."""

    cannot = {"ask": "the payer is away", "decline": "the payer is away"}

    def __init__(self, local):
        super().__init__(local)
        customer = local.call("POST", "/v1/customers", {"email": "jenny@example.com"})["id"]
        card = local.call("GET", "/v1/payment_methods/pm_card_visa")["id"]
        local.call("POST", f"/v1/payment_methods/{card}/attach", {"customer": customer})
        self.data = {"customer": customer, "payment_method": card}


class TestSavedCard(StripeContract):
    @pytest.fixture
    def gateway(self, local):
        return SavedCard(local)
