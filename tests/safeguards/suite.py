"""The contract on the shipped providers, with one safeguard taken out of each: run by ``test_safeguards``."""

import pytest
import requests

import paysession_paypal.gateway
import paysession_stripe.gateway
from paysession.provider import Declined, OutcomeUnknown
from paysession_paypal import PayPal
from paysession_paypal import amounts as paypal_amounts
from paysession_paypal.contract import PayPalContract
from paysession_paypal.signature import Signature
from paysession_paypal.wire import Lost
from paysession_stripe import Stripe, webhooks
from paysession_stripe import amounts as stripe_amounts
from paysession_stripe.contract import StripeContract


def key_not_sent(monkeypatch):
    send = requests.Session.send

    def without(self, request, **options):
        for name in ("Idempotency-Key", "PayPal-Request-Id"):
            request.headers.pop(name, None)
        return send(self, request, **options)

    monkeypatch.setattr(requests.Session, "send", without)


def stripe_timeout_declined(monkeypatch):
    sort = paysession_stripe.gateway.sort

    def wrong(error, **options):
        found = sort(error, **options)
        return Declined("timeout") if "no answer came" in found.message else found

    monkeypatch.setattr(paysession_stripe.gateway, "sort", wrong)


def paypal_timeout_declined(monkeypatch):
    write = paysession_paypal.gateway.Gateway._write

    def wrong(self, *arguments, **options):
        try:
            return write(self, *arguments, **options)
        except OutcomeUnknown as error:
            if isinstance(error.__context__, Lost):
                raise Declined("timeout") from None
            raise

    monkeypatch.setattr(paysession_paypal.gateway.Gateway, "_write", wrong)


def stripe_webhook_not_verified(monkeypatch):
    monkeypatch.setattr(webhooks, "_verify", lambda *_: None)


def paypal_webhook_not_verified(monkeypatch):
    monkeypatch.setattr(Signature, "check", lambda *_: None)


def stripe_secret_in_repr(monkeypatch):
    monkeypatch.setattr(Stripe, "__repr__", lambda self: f"Stripe({self.api_key.reveal()!r})")


def paypal_secret_in_repr(monkeypatch):
    monkeypatch.setattr(PayPal, "__repr__", lambda self: f"PayPal({self.client_secret.reveal()!r})")


def stripe_wrong_unit(monkeypatch):
    monkeypatch.setattr(stripe_amounts, "to_charge", lambda money, _=0: int(money.amount * 100))


def paypal_wrong_unit(monkeypatch):
    wrong = lambda money: {"currency_code": money.currency, "value": str(money.minor)}  # noqa: E731
    monkeypatch.setattr(paypal_amounts, "write", wrong)


REMOVED = {
    "StripeKeyNotSent": (
        StripeContract,
        key_not_sent,
        "test_every_write_carries_the_operations_key[capture]",
    ),
    "StripeTimeoutDeclined": (
        StripeContract,
        stripe_timeout_declined,
        "test_a_timeout_is_unknown_and_in_time[capture]",
    ),
    "StripeWebhookNotVerified": (
        StripeContract,
        stripe_webhook_not_verified,
        "test_a_forged_notification_is_rejected[signature]",
    ),
    "StripeSecretInRepr": (StripeContract, stripe_secret_in_repr, "test_secrets_stay_out_of_reprs"),
    "StripeWrongUnit": (StripeContract, stripe_wrong_unit, "test_amounts_are_right_in_every_currency"),
    "PayPalKeyNotSent": (
        PayPalContract,
        key_not_sent,
        "test_every_write_carries_the_operations_key[capture]",
    ),
    "PayPalTimeoutDeclined": (
        PayPalContract,
        paypal_timeout_declined,
        "test_a_timeout_is_unknown_and_in_time[capture]",
    ),
    "PayPalWebhookNotVerified": (
        PayPalContract,
        paypal_webhook_not_verified,
        "test_a_forged_notification_is_rejected[signature]",
    ),
    "PayPalSecretInRepr": (PayPalContract, paypal_secret_in_repr, "test_secrets_stay_out_of_reprs"),
    "PayPalWrongUnit": (PayPalContract, paypal_wrong_unit, "test_amounts_are_right_in_every_currency"),
}


def contract_without(contract, remove):
    class Contract(contract):
        @pytest.fixture(autouse=True)
        def removed(self, monkeypatch):
            remove(monkeypatch)

    return Contract


for name, (contract, remove, _) in REMOVED.items():
    globals()[f"Test{name}"] = contract_without(contract, remove)
