"""The campaign at PayPal: the real provider, at the stand-in of paysession-sandbox."""

import sys
from pathlib import Path

from at_stand_in import for_the_campaign, on_the_wire
from attrs import frozen
from paypal_server import CLIENT_ID, CLIENT_SECRET, WEBHOOK_ID
from variants import IN_THE_STORE, Sound
from world import PAYLOAD_SECRET, Site

import paysession_paypal.transport  # noqa: F401 - loaded once, before any fork
from paysession import Checkout, NotApplied, OutcomeUnknown, hookimpl
from paysession_paypal import PayPal
from paysession_testing.gateway_process import GatewayProcess

FAULTS = {
    "drop_before": 6,
    "drop_after": 9,
    "silent_before": 0.5,
    "silent_after": 1,
    "late": 1,
    "400": 1,
    "401": 1,
    "403": 1,
    "408": 2,
    "409": 3,
    "429": 4,
    "500_before": 3,
    "500_after": 6,
    "503": 3,
    "html_before": 1,
    "html_after": 2,
    "redirect": 1,
    "garbage": 3,
    "list": 1,
    "null": 1,
    "truncated": 4,
    "delayed": 8,
}
"""How often each fault strikes, relative to the others."""


class PayPalProcess(GatewayProcess):
    """The stand-in, in a process of its own."""

    command = (sys.executable, str(Path(__file__).with_name("paypal_server.py")))

    def url(self, account):
        return f"http://127.0.0.1:{self.port}"


@frozen
class Account:
    """The account at PayPal."""

    name: str
    askable = True
    increments = False


class UnknownIsNotApplied(Sound):
    """A timeout that is taken for a failure."""

    class Provider(PayPal):
        @hookimpl
        def capture(self, session, operation):
            try:
                return super().capture(session, operation)
            except OutcomeUnknown as error:
                raise NotApplied(error.message) from None

        @hookimpl
        def refund(self, session, operation):
            try:
                return super().refund(session, operation)
            except OutcomeUnknown as error:
                raise NotApplied(error.message) from None


class AtPayPal(Site):
    """PayPal's stand-in, and the provider for PayPal."""

    accounts = {"paypal": Account("paypal")}
    currencies = ("EUR", "EUR", "JPY", "USD")
    secrets = (CLIENT_SECRET,)
    faults = FAULTS
    named = ("refund",)
    pace = 2.0
    broken = {"unknown-is-not-applied": UnknownIsNotApplied, **IN_THE_STORE}

    def start(self):
        return PayPalProcess()

    def open(self, gateway, name, seed):
        gateway.call(None, "open", name=name, seed=seed)

    def enter(self, world, points):
        if points is not None:
            on_the_wire(points, world.gateway.port)

    def provider(self, world, name, points):
        return for_the_campaign(world.variant.Provider or PayPal)(
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            endpoint=world.gateway.url(name),
            webhook_id=WEBHOOK_ID,
            webhook_verification="postback",
            timeout=1.0,
        )

    def asked(self, world, account, script):
        asked = {"checkout": Checkout(return_url="https://shop.example/back/{session_id}")}
        if script.random() < 0.15:
            asked["data"] = {"vault_id": world.gateway.call(account.name, "saved")}
        return asked

    def pay(self, host, account, session, script):
        if session.status == "pending":  # with what was saved
            host.attempt(host.pay.authorize, session.id)
        else:
            super().pay(host, account, session, script)

    def payload(self, session):
        return {"token": session.reference, "PayerID": PAYLOAD_SECRET}

    def payer(self, host, account, session, act):
        host.world.gateway.call(account, "payer", shown=host.pay.get(session.id).reference, act=act)

    def is_known(self, session, view):
        # An order that nobody paid needs no end: money moves by our own calls, and none follows a cancel.
        return view["status"] != "open" or session.status != "canceled"

    def forged(self, headers, body):
        return headers, body.replace(b'"WH-', b'"WH-forged', 1)
