"""The campaign at Stripe: the real provider, at the stand-in of paysession-sandbox."""

import secrets
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from at_stand_in import for_the_campaign, on_the_wire
from attrs import field, frozen
from stripe_server import SECRET
from stripe_variants import BROKEN
from world import Site

from paysession import Checkout
from paysession_sandbox.stripe.deliveries import sign
from paysession_stripe import Stripe, provider
from paysession_testing.gateway_process import GatewayProcess

API_KEY = "sk_test_campaign4711"

FAULTS = {
    "drop_before": 6,
    "drop_after": 9,
    "silent_before": 0.5,
    "silent_after": 1,
    "late": 1,
    "400": 1,
    "408": 2,
    "409": 3,
    "424": 1,
    "429": 4,
    "lock_timeout": 2,
    "500_before": 3,
    "500_after": 6,
    "kept_500_before": 1,
    "kept_500_after": 2,
    "503": 3,
    "html_before": 1,
    "html_after": 2,
    "redirect": 1,
    "garbage": 3,
    "list": 1,
    "null": 1,
    "truncated": 4,
    "tampered_amount": 2,
    "tampered_currency": 1,
    "tampered_status": 2,
    "delayed": 8,
}
"""How often each fault strikes, relative to the others."""


_RAISES = {"incremental_authorization": True}


class StripeProcess(GatewayProcess):
    """The stand-in, in a process of its own."""

    command = (sys.executable, str(Path(__file__).with_name("stripe_server.py")))


@frozen
class Account:
    """One account at Stripe, and the settings of the provider that speaks to it."""

    name: str
    settings: dict = field(factory=dict)
    multicapture: bool = True
    lag: float = 0.0
    saved: bool = False
    askable = True

    @property
    def increments(self):
        return self.settings.get("incremental_authorization", False)


class AtStripe(Site):
    """Stripe's stand-in, and the provider for Stripe."""

    accounts = {
        account.name: account
        for account in (
            Account("several", {"multicapture": True, **_RAISES}),
            Account("once", multicapture=False),
            Account("raised", _RAISES, multicapture=False),
            Account(
                "retries",
                {
                    "multicapture": True,
                    "capture_method": "where_possible",
                    "max_network_retries": 1,
                    **_RAISES,
                },
            ),
            Account("kept", {"multicapture": True, **_RAISES}, saved=True),
            Account("hosted", {"multicapture": True, "ui": "hosted", **_RAISES}),
            Account("lagging", {"multicapture": True}, lag=45.0),
        )
    }
    restorable = tuple(accounts)
    currencies = ("EUR", "EUR", "JPY", "USD")
    secrets = (API_KEY, SECRET)
    faults = FAULTS
    named = ("refund", "chargeback")
    pace = 2.0
    broken = BROKEN

    def start(self):
        gateway = StripeProcess()
        _load(gateway)
        return gateway

    def open(self, gateway, name, seed):
        account = self.accounts[name]
        gateway.call(None, "open", name=name, multicapture=account.multicapture, lag=account.lag, seed=seed)

    def enter(self, world, points):
        provider.datetime = _campaign_time(world.shared)  # it asks for the events until now
        if points is not None:
            on_the_wire(points, world.gateway.port)

    def provider(self, world, name, points):
        settings = {"timeout": 1, "max_network_retries": 0, **self.accounts[name].settings}
        return for_the_campaign(world.variant.Provider or Stripe)(
            api_key=API_KEY,
            publishable_key="pk_test_campaign",
            webhook_secret=SECRET,
            api_base=world.gateway.url(name),
            **settings,
        )

    def asked(self, world, account, script):
        asked = {"checkout": Checkout(return_url="https://shop.example/back/{session_id}")}
        place = script.randrange(100)
        if account.saved:
            asked["data"] = world.gateway.call(account.name, "saved", place=place)
        return asked

    def pay(self, host, account, session, script):
        if account.saved and script.random() < 0.95:
            host.attempt(host.pay.authorize, session.id)
            if script.random() < 0.6:
                self.payer(host, account.name, session, "approve")  # the bank asked for them
                host.attempt(host.pay.resume, session.id)
            return
        super().pay(host, account, session, script)

    def payer(self, host, account, session, act):
        # The payer is at what the shop showed: now, or when they opened it.
        late = host.chance.random() < 0.2
        shown = session.reference if late else host.pay.get(session.id).reference
        host.world.gateway.call(account, "payer", shown=shown, act=act)

    def is_known(self, session, view):
        # A page that was made, and whose address the shop never learned, waits for nobody until it closes.
        return view["status"] != "open" or view["id"] == session.reference

    def repeated(self, gateway, accounts):
        return [
            f"{path} was carried out {count} times under the key {key}"
            for name in accounts
            for path, key, count in gateway.call(name, "repeated")
        ]

    def forged(self, headers, body):
        forged = body.replace(b"evt_", f"evt_forged{secrets.token_hex(4)}".encode())
        at = int(headers["stripe-signature"].partition("=")[2].partition(",")[0])
        return {"stripe-signature": sign(forged, "whsec_forger", at)}, forged


def _load(gateway):
    """Load, once and before any fork, what the stripe package loads when it is first used."""
    with closing(Stripe(api_key=API_KEY, api_base=gateway.url("nobody"), max_network_retries=0)) as stripe:
        api = stripe._gateway().account("")._v1
        for name in ("customers", "payment_intents", "refunds", "events", "disputes"):
            getattr(api, name)
        assert api.checkout.sessions


def _campaign_time(shared):
    class CampaignTime(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(shared.seconds(), tz or UTC)

    return CampaignTime
