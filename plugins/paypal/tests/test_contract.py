"""The contract of a provider, on PayPal."""

from paysession_paypal.contract import PayPalContract


class TestPayPal(PayPalContract):
    pass
